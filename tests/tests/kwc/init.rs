//! Random states: the same seed gives the same bytes, and the network is worth running on them.

use std::path::{Path, PathBuf};
use std::process::Command;

use half::f16;
use kwc_compiler::plan::Options;
use kwc_compiler::weights::{Checkpoint, State, Tensors};

use crate::golden::{checked, model, package};

/// Runs `kwc init`.
fn init(case: &str, seed: u64, folder: &Path) -> PathBuf {
    let path = folder.join(format!("{case}_{seed}.safetensors"));
    let status = Command::new(env!("CARGO_BIN_EXE_kwc-under-test"))
        .args(["init".as_ref(), package().join(format!("cases/{case}.yaml")).as_os_str()])
        .args(["-o".as_ref(), path.as_os_str()])
        .args(["--seed", &seed.to_string(), "--threads", "2"])
        .output()
        .unwrap();
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
    path
}

/// A smooth image: per channel a plane wave with its own direction and phase, and an offset.
fn image(shape: &[usize], seed: f32) -> Vec<f32> {
    let [channels, height, width] = shape else { panic!("not an image: {shape:?}") };
    let mut values = Vec::new();
    for c in 0..*channels {
        let phase = seed * 1.7 + c as f32 * 2.3;
        for y in 0..*height {
            for x in 0..*width {
                let (y, x) = (y as f32 / *height as f32, x as f32 / *width as f32);
                values.push((4.0 * (x * phase.sin() + y * phase.cos()) + phase).sin() + 0.4 * (seed + c as f32).cos());
            }
        }
    }
    values
}

fn norm(values: impl Iterator<Item = f32>) -> f64 {
    values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt()
}

/// Relative distance of two vectors.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    norm(a.iter().zip(b).map(|(a, b)| a - b)) / norm(b.iter().copied())
}

/// All values of a state, rounded to f16.
fn rounded(path: &Path) -> State {
    let mut checkpoint = Checkpoint::open(path, None).unwrap();
    let infos: Vec<_> = checkpoint.tensors().map(|(name, info)| (name.to_owned(), info.shape.clone())).collect();
    let mut state = State::default();
    for (name, shape) in infos {
        let mut values = vec![0.0; shape.iter().product()];
        checkpoint.read(&name, 0, &mut values).unwrap();
        for v in &mut values {
            *v = f16::from_f32(*v).to_f32();
        }
        state.insert(name, shape, values).unwrap();
    }
    state
}

#[test]
fn outputs_depend_on_the_input_more_than_on_rounding() {
    let folder = tempfile::tempdir().unwrap();
    for case in ["resnet18_kw4x", "resnet50_kw1d2x_basis", "mobilenetv2_kw1d2x", "mobilenetv2_static", "convnext_kw1x"]
    {
        let path = init(case, 7, folder.path());
        let checked = checked(&package().join(format!("cases/{case}.yaml")));
        let network = checked.network();
        let shape = network.value(network.inputs[0].value).shape.dims();
        let images: Vec<Vec<f32>> = [1.0, 2.0, 3.0].map(|seed| image(&shape, seed)).into();
        let run = |tensors: &mut dyn Tensors| -> Vec<Vec<f32>> {
            let mut model = model(&checked, &Options::default(), tensors, 1);
            let mut outputs = Vec::new();
            for image in &images {
                model.run(1, &[image]).unwrap();
                outputs.push(model.output(0).to_vec());
            }
            outputs
        };
        let exact = run(&mut Checkpoint::open(&path, None).unwrap());
        let stored = run(&mut rounded(&path));
        for i in 0..images.len() {
            let moved = distance(&stored[i], &exact[i]);
            for j in (0..images.len()).filter(|&j| j != i) {
                let apart = distance(&exact[j], &exact[i]);
                assert!(apart >= 0.1, "{case}: outputs of images {i} and {j} differ by {apart}");
                assert!(
                    moved < apart,
                    "{case}: f16 moves the output of image {i} by {moved}, image {j} is {apart} away"
                );
            }
        }
    }
}

#[test]
fn a_seed_is_a_state() {
    let folder = tempfile::tempdir().unwrap();
    let first = std::fs::read(init("resnet18_kw1x", 3, folder.path())).unwrap();
    let again = std::fs::read(init("resnet18_kw1x", 3, folder.path())).unwrap();
    assert!(first == again, "the same seed gave other bytes");
    for other in [2, 4] {
        let other = std::fs::read(init("resnet18_kw1x", other, folder.path())).unwrap();
        assert!(first != other, "another seed gave the same bytes");
    }
}
