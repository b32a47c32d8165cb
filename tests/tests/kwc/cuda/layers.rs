//! Golden layers through the CUDA plan, with their attentions.

use kwc_compiler::pipeline;
use kwc_compiler::plan::cuda::Options;
use kwc_compiler::weights::Checkpoint;
use kwc_compiler::weights::pack::pack_cuda;
use kwc_program::cuda::Precision;

use super::device;
use super::networks::relative_l2;
use crate::golden::{Tensor, assert_near, cases, checked_text, folder, json, max_over_std, tensors};
use crate::layers::{TOLERANCE, spec};

/// Relative L2 distance that is near enough in half precision.
const TOLERANCE_F16: f64 = 4e-3;

/// Runs a golden case, the whole batch and its first sample alone, and compares outputs and attentions.
fn assert_golden(name: &str, precision: Precision) {
    let case = json(&format!("layers/{name}.json"));
    let io = tensors(&format!("layers/{name}.io.safetensors"));
    let layers = case["layers"].as_array().unwrap().len();
    let inputs: Vec<&Tensor> = (0..layers).map(|i| &io[&format!("{i}/input")]).collect();
    let checked = checked_text(&spec(&case, &inputs));
    let attention = |i| format!("{}.attention", case["plan"]["layers"][i]["name"].as_str().unwrap());
    let batch = inputs[0].shape[0];
    let options = Options {
        precision,
        max_batch: batch,
        dumps: (0..layers).map(attention).collect(),
        temperature: case["temperature"].as_f64().filter(|&t| t != 0.0).map(|t| t as f32),
        ..Options::default()
    };
    let network = pipeline::cuda(&checked, &options).unwrap();
    let weights = folder().join(format!("layers/{name}.weights.safetensors"));
    let mut packed = vec![0; network.planned.program.weight_bytes];
    pack_cuda(&network.planned, &mut Checkpoint::open(&weights, None).unwrap(), &mut packed, &mut |_, _| {}).unwrap();
    let ptx = device::ptx(&network);
    let data: Vec<Vec<f32>> = inputs.iter().map(|t| t.f32()).collect();
    for count in [batch, 1] {
        let data: Vec<&[f32]> = data.iter().map(|x| &x[..x.len() / batch * count]).collect();
        let ran = device::run_ptx(&network, &ptx, &packed, count, &data, 5);
        assert!(ran.findings.is_empty(), "{name}: {:#?}", ran.findings);
        for (kind, values) in [("output", &ran.outputs), ("attention", &ran.dumps)] {
            for (i, values) in values.iter().enumerate() {
                let reference = &io[&format!("{i}/{kind}")].data;
                let reference = &reference[..reference.len() / batch * count];
                let what = format!("{name}, {precision:?}, batch {count}, {kind} {i}");
                match precision {
                    Precision::F32 => assert_near(&what, max_over_std(values, reference), TOLERANCE),
                    Precision::F16 => assert_near(&what, relative_l2(values, reference), TOLERANCE_F16),
                }
            }
        }
    }
}

#[test]
fn cuda_layers_in_f32() {
    let names = cases("layers", ".json");
    assert!(names.len() >= 12, "{names:?}");
    names.iter().for_each(|name| assert_golden(name, Precision::F32));
}

#[test]
fn cuda_layers_in_f16() {
    let names = cases("layers", ".json");
    assert!(names.len() >= 12, "{names:?}");
    names.iter().for_each(|name| assert_golden(name, Precision::F16));
}
