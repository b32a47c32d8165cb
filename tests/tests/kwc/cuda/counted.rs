//! What the kernels of a whole network do, counted: `resnet50` in half precision, a batch of eight.

use std::collections::BTreeMap;

use kwc_compiler::pipeline;
use kwc_compiler::plan::cuda::{Family, Options};
use kwc_compiler::weights::pack::pack_cuda;

use super::compare::{Numbers, random_state};
use super::device;
use crate::golden::{checked, package};

const BATCH: usize = 8;
/// Graph nodes that a forward pass may have, its two copies included.
const NODES: usize = 160;

/// Sums over the launches of a family.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    launches: usize,
    useful: u64,
    padded: u64,
    counted: u64,
    compulsory: u64,
    moved: u64,
    bytes: u64,
    conflicts: u64,
}

#[test]
#[expect(clippy::print_stdout, reason = "output of a test")]
fn cuda_resnet50_counts() {
    let checked = checked(&package().join("../specs/resnet50.yaml"));
    let network = pipeline::cuda(&checked, &Options { max_batch: BATCH, ..Options::default() }).unwrap();
    let planned = &network.planned;
    let mut numbers = Numbers::new(3);
    let mut state = random_state(&checked, &mut numbers);
    let mut weights = vec![0; planned.program.weight_bytes];
    pack_cuda(planned, &mut state, &mut weights, &mut |_, _| {}).unwrap();
    drop(state);
    let input = numbers.take(BATCH * planned.program.inputs[0].elements());
    let launches = device::count(&network, &device::ptx(&network), &weights, BATCH, &[&input]);

    let variant = planned.program.variant(BATCH).unwrap();
    let works = planned.work.last().unwrap();
    assert_eq!(launches.len(), variant.launches.len());
    let mut families: BTreeMap<Family, Sums> = BTreeMap::new();
    for ((launch, work), (symbol, counters)) in variant.launches.iter().zip(works).zip(&launches) {
        let family = planned.kernels[launch.kernel.0 as usize].family;
        let sums = families.entry(family).or_default();
        let bytes = 32 * (counters.global_loads.sectors + counters.global_stores.sectors);
        sums.launches += 1;
        sums.useful += work.useful.of(BATCH);
        sums.padded += work.padded.of(BATCH);
        sums.counted += counters.tensor_multiply_adds;
        sums.compulsory += work.compulsory.of(BATCH);
        sums.moved += work.moved.of(BATCH);
        sums.bytes += bytes;
        sums.conflicts += counters.bank_conflicts;
        println!(
            "{:28} {symbol:24} {:>12} of {:>12} padded, bytes {:>10}: {:.2} x compulsory, {:.2} x tiles, conflicts {}",
            launch.layer,
            work.useful.of(BATCH),
            work.padded.of(BATCH),
            bytes,
            bytes as f64 / work.compulsory.of(BATCH) as f64,
            bytes as f64 / work.moved.of(BATCH) as f64,
            counters.bank_conflicts,
        );
        assert_eq!(counters.local, 0, "{symbol} uses local memory");
        if work.tensor {
            assert_eq!(counters.tensor_multiply_adds, work.padded.of(BATCH), "{symbol} of {}", launch.layer);
        }
        if matches!(family, Family::Conv | Family::Mix | Family::MixConv) {
            assert_eq!(counters.bank_conflicts, 0, "{symbol} of {}", launch.layer);
        }
        if family == Family::Conv {
            assert!(bytes as f64 <= 1.1 * work.moved.of(BATCH) as f64, "{symbol} of {}", launch.layer);
        }
    }
    for (family, sums) in &families {
        println!("{:20} {sums:?}", family.name());
    }
    let total = |of: fn(&Sums) -> u64| families.values().map(of).sum::<u64>() as f64;
    let products = [Family::Conv, Family::Stem, Family::Mix, Family::Direct];
    let product =
        |of: fn(&Sums) -> u64| products.iter().filter_map(|family| families.get(family)).map(of).sum::<u64>() as f64;
    let on_tensor_cores =
        families.iter().filter(|(_, sums)| sums.counted > 0).map(|(_, sums)| sums.useful).sum::<u64>();
    println!("products on tensor cores: {:.4}", on_tensor_cores as f64 / product(|s| s.useful));
    println!("useful over padded: {:.3}", total(|s| s.useful) / total(|s| s.padded));
    println!("bytes: {:.2} x compulsory", total(|s| s.bytes) / total(|s| s.compulsory));
    println!("launches: {}", launches.len());
    let mixing = families[&Family::Mix];
    println!("mixing: {:.3} x compulsory", mixing.bytes as f64 / mixing.compulsory as f64);

    assert!(on_tensor_cores as f64 >= 0.99 * product(|s| s.useful));
    assert!(total(|s| s.useful) >= 0.9 * total(|s| s.padded));
    assert!(mixing.bytes as f64 <= 1.15 * mixing.compulsory as f64);
    assert!(launches.len() + 2 <= NODES, "{} launches", launches.len());
}
