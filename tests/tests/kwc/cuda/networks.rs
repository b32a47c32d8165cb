//! Golden networks, whole: through `kwc run --device cuda` on the virtual GPU.

use std::path::Path;

use kwc_program::cuda::Precision;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use crate::golden::{assert_near, cases, folder, json, max_over_std, package, tensors, tolerance};
use crate::vgpu::Vgpu;

/// The command under test.
const KWC: &str = env!("CARGO_BIN_EXE_kwc-under-test");

/// Runs a golden network in a precision, as a batch and its samples one by one, under three seeds in all, and judges it by
/// the golden data's rule. The virtual GPU must find nothing wrong.
fn assert_golden(subfolder: &str, name: &str, precision: Precision) {
    let golden = json(&format!("{subfolder}/{name}.json"));
    let spec = if subfolder == "full" { format!("cases/full/{name}.yaml") } else { format!("cases/{name}.yaml") };
    let io = tensors(&format!("{subfolder}/{name}.io.safetensors"));
    let reference = &io["output_f64"].data;
    let batch = io["input"].shape[0];
    let directory = tempfile::tempdir().unwrap();
    let input = directory.path().join("input.safetensors");
    write(&input, &io["input"].shape, &io["input"].f32());
    for (seed, samples) in [(1, batch), (2, 1), (3, batch)] {
        let output = directory.path().join("output.safetensors");
        let arguments = [
            "run",
            package().join(&spec).to_str().unwrap(),
            "--weights",
            folder().join(format!("{subfolder}/{name}.weights.safetensors")).to_str().unwrap(),
            "--input",
            input.to_str().unwrap(),
            "--output",
            output.to_str().unwrap(),
            "--device",
            "cuda",
            "--precision",
            match precision {
                Precision::F16 => "f16",
                Precision::F32 => "f32",
            },
            "--batch",
            &samples.to_string(),
        ]
        .map(str::to_owned);
        let nvrtc = crate::vgpu::nvrtc().path();
        // Later runs find what the first compiled.
        let vgpu = Vgpu::new().seed(seed).variable("KWC_NVRTC", nvrtc).variable("XDG_CACHE_HOME", directory.path());
        let run = vgpu.command(Path::new(KWC), &arguments);
        assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
        run.assert_clean();
        let y = read(&output);
        let what = format!("{subfolder}/{name}, {precision:?}, batch {samples}");
        match precision {
            Precision::F32 => assert_near(&what, max_over_std(&y, reference), tolerance(&golden)),
            Precision::F16 => {
                let moved = golden["reference_error"]["f16_storage_rel_l2"].as_f64().unwrap();
                assert_near(&what, relative_l2(&y, reference), 2.0 * moved + 0.003);
            }
        }
    }
}

fn write(path: &Path, shape: &[usize], values: &[f32]) {
    let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    let view = TensorView::new(Dtype::F32, shape.to_vec(), &bytes).unwrap();
    std::fs::write(path, safetensors::serialize([("input", view)], None).unwrap()).unwrap();
}

fn read(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let output = tensors.tensor("output").unwrap();
    output.data().chunks_exact(4).map(|x| f32::from_le_bytes(x.try_into().unwrap())).collect()
}

/// Relative L2 distance.
pub(super) fn relative_l2(y: &[f32], reference: &[f64]) -> f64 {
    assert_eq!(y.len(), reference.len());
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
