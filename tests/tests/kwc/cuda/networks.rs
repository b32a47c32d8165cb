//! Golden networks, whole, through the CUDA plan.

use kwc_compiler::pipeline;
use kwc_compiler::plan::cuda::Options;
use kwc_compiler::weights::Checkpoint;
use kwc_compiler::weights::pack::pack_cuda;
use kwc_program::cuda::Precision;

use super::device;
use crate::golden::{assert_near, cases, checked, folder, json, max_over_std, package, tensors, tolerance};

/// Runs a golden network in a precision, as a batch and its first sample alone, and judges it by the golden data's rule.
fn assert_golden(subfolder: &str, name: &str, precision: Precision) {
    let golden = json(&format!("{subfolder}/{name}.json"));
    let spec = if subfolder == "full" { format!("cases/full/{name}.yaml") } else { format!("cases/{name}.yaml") };
    let checked = checked(&package().join(spec));
    let io = tensors(&format!("{subfolder}/{name}.io.safetensors"));
    let input = io["input"].f32();
    let reference = &io["output_f64"].data;
    let batch = io["input"].shape[0];
    let options = Options { precision, max_batch: batch.max(1), ..Options::default() };
    let network = pipeline::cuda(&checked, &options).unwrap();
    let weights = folder().join(format!("{subfolder}/{name}.weights.safetensors"));
    let mut weights = Checkpoint::open(&weights, None).unwrap();
    let mut packed = vec![0; network.planned.program.weight_bytes];
    pack_cuda(&network.planned, &mut weights, &mut packed, &mut |_, _| {}).unwrap();
    let ptx = device::ptx(&network);
    for count in [batch, 1] {
        let input = &input[..input.len() / batch * count];
        let reference = &reference[..reference.len() / batch * count];
        let ran = device::run_ptx(&network, &ptx, &packed, count, &[input], 3);
        assert!(ran.findings.is_empty(), "{name}: {:#?}", ran.findings);
        let what = format!("{subfolder}/{name}, {precision:?}, batch {count}");
        match precision {
            Precision::F32 => assert_near(&what, max_over_std(&ran.outputs[0], reference), tolerance(&golden)),
            Precision::F16 => {
                let moved = golden["reference_error"]["f16_storage_rel_l2"].as_f64().unwrap();
                assert_near(&what, relative_l2(&ran.outputs[0], reference), 2.0 * moved + 0.003);
            }
        }
    }
}

fn relative_l2(y: &[f32], reference: &[f64]) -> f64 {
    let square = |x: f64| x * x;
    let distance: f64 = y.iter().zip(reference).map(|(a, b)| square(f64::from(*a) - b)).sum();
    (distance / reference.iter().map(|b| square(*b)).sum::<f64>()).sqrt()
}

/// The golden networks whose weights are there.
fn networks() -> Vec<(&'static str, String)> {
    ["networks", "full"]
        .into_iter()
        .flat_map(|folder| cases(folder, ".weights.safetensors").into_iter().map(move |name| (folder, name)))
        .collect()
}

#[test]
fn cuda_networks_in_f32() {
    for (folder, name) in networks() {
        assert_golden(folder, &name, Precision::F32);
    }
}

#[test]
fn cuda_networks_in_f16() {
    for (folder, name) in networks() {
        assert_golden(folder, &name, Precision::F16);
    }
}
