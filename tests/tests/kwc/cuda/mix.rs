//! Mixing of warehouse cells.

use kwc_program::cuda::Precision::{F16, F32};

use super::compare::assert_agrees;
use super::device::Ran;

/// A dynamic layer of its own warehouse, whose cells are parts of its kernel.
fn spec(channels: usize, warehouse: &str, conv: &str) -> String {
    format!(
        "
kwc: 1
name: mix
input: {{ channels: {channels}, height: 3, width: 3 }}
warehouses: {{ {warehouse} }}
layers:
  - conv: {{ name: a, {conv}, warehouse: w }}
"
    )
}

#[test]
fn cuda_mixing_of_cells_of_every_size() {
    for (channels, warehouse, conv) in [
        (16, "budget: 1, cell_in_ratio: 1/4, cell_out_ratio: 1/3", "out: 24, kernel: 1"),
        (5, "budget: 3", "out: 7, kernel: 3"),
        (12, "budget: 2, cell_in_ratio: 1/3", "out: 12, kernel: 3"),
        (48, "budget: 4, cell_out_ratio: 1/2, cell_in_ratio: 1/2", "out: 40, kernel: 3"),
        (64, "budget: 10", "out: 64, kernel: 3"),
    ] {
        for batch in [1, 3, 9] {
            let spec = spec(channels, warehouse, conv);
            assert_agrees(&spec, F32, batch, &[]);
            let ran = assert_agrees(&spec, F16, batch, &[]);
            assert!(ran.launches.iter().any(|(kernel, _)| kernel.starts_with("mix_")), "{conv}");
        }
    }
}

/// 108 cells of 16384 elements, nine mixtures, eight samples: the mixtures of all samples are one tile of columns.
#[test]
fn cuda_mixing_reads_a_warehouse_once() {
    let ran = assert_agrees(&spec(128, "budget: 12", "out: 128, kernel: 3"), F16, 8, &[]);
    let mut mixed = ran.launches.iter().filter(|(kernel, _)| kernel.starts_with("mix_"));
    let (Some((_, counters)), None) = (mixed.next(), mixed.next()) else { panic!("one launch mixes") };
    let (warehouse, result) = (108 * 16384 * 2 / 32, 8 * 9 * 16384 * 2 / 32);
    assert!(counters.global_loads.sectors < 2 * warehouse, "{}", counters.global_loads.sectors);
    assert_eq!(counters.global_stores.sectors, result);
    assert_eq!((counters.bank_conflicts, counters.local), (0, 0));
    // Whole tiles: cells in steps of at most 16 more.
    assert!(counters.tensor_multiply_adds <= 8 * 9 * 16384 * 128, "{}", counters.tensor_multiply_adds);
}

/// Three layers share a warehouse with a basis: mixing runs over fewer cells where the basis is folded in, and over all of
/// them where the caller asks for the attention.
#[test]
fn cuda_mixing_with_a_folded_basis() {
    let spec = "
kwc: 1
name: folded
input: { channels: 16, height: 3, width: 3 }
warehouses: { budget: 8, basis_ratio: 1/16, cell_in_ratio: 1/2, cell_out_ratio: 1/2 }
layers:
  - conv: { name: a, out: 16, kernel: 1, warehouse: w }
  - conv: { name: b, out: 16, kernel: 3, padding: 1, warehouse: w }
  - conv: { name: c, out: 16, kernel: 1, warehouse: w }
";
    for batch in [1, 5] {
        assert_agrees(spec, F32, batch, &[]);
        let folded = products(&assert_agrees(spec, F16, batch, &[]));
        let whole = products(&assert_agrees(spec, F16, batch, &["a.attention", "b.attention", "c.attention"]));
        assert_eq!((folded.len(), whole.len()), (3, 3));
        // The first layer has 4 of the 44 mixtures.
        assert!(2 * folded[0] < whole[0], "{folded:?} of {whole:?} multiply-adds");
    }
}

/// Multiply-adds of each mixing.
fn products(ran: &Ran) -> Vec<u64> {
    let mixed = ran.launches.iter().filter(|(kernel, _)| kernel.starts_with("mix_"));
    mixed.map(|(_, counters)| counters.tensor_multiply_adds).collect()
}

/// The same in single precision: 63 columns of 64 that a block may have.
#[test]
fn cuda_mixing_in_f32_reads_a_warehouse_once() {
    let ran = assert_agrees(&spec(64, "budget: 6", "out: 64, kernel: 3"), F32, 7, &[]);
    let mut mixed = ran.launches.iter().filter(|(kernel, _)| kernel.starts_with("mix_f32_"));
    let (Some((_, counters)), None) = (mixed.next(), mixed.next()) else { panic!("one launch mixes") };
    let warehouse = 54 * 4096 * 4 / 32;
    assert!(counters.global_loads.sectors < 3 * warehouse / 2, "{}", counters.global_loads.sectors);
    assert_eq!(counters.global_stores.sectors, 7 * 9 * 4096 * 4 / 32);
    assert_eq!((counters.bank_conflicts, counters.local), (0, 0));
}
