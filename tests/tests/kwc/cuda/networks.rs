//! Golden networks, whole: through `kwc run --device cuda` on the virtual GPU.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use kwc_program::cuda::Precision;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use tempfile::TempDir;

use crate::golden::{assert_near, cases, folder, json, max_over_std, package, tensors, tolerance};
use crate::vgpu::Vgpu;

/// The command under test.
const KWC: &str = env!("CARGO_BIN_EXE_kwc-under-test");

/// A network with its weights and an input, for `kwc run --device cuda`.
struct Case {
    spec: PathBuf,
    weights: PathBuf,
    precision: Precision,
    /// Holds the input, and what runs compile and write.
    directory: TempDir,
}

impl Case {
    fn new(spec: &str, weights: &str, precision: Precision, shape: &[usize], input: &[f32]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        write(&directory.path().join("input.safetensors"), shape, input);
        Self { spec: package().join(spec), weights: folder().join(weights), precision, directory }
    }

    /// Runs the network with so many samples at a time. The virtual GPU must find nothing wrong; `seed` orders warps and
    /// blocks.
    fn run(&self, samples: usize, seed: u64) -> Vec<f32> {
        let output = self.directory.path().join("output.safetensors");
        let input = self.directory.path().join("input.safetensors");
        let precision = match self.precision {
            Precision::F16 => "f16",
            Precision::F32 => "f32",
        };
        let samples = samples.to_string();
        let arguments: [&OsStr; 14] = [
            "run".as_ref(),
            self.spec.as_ref(),
            "--weights".as_ref(),
            self.weights.as_ref(),
            "--input".as_ref(),
            input.as_ref(),
            "--output".as_ref(),
            output.as_ref(),
            "--device".as_ref(),
            "cuda".as_ref(),
            "--precision".as_ref(),
            precision.as_ref(),
            "--batch".as_ref(),
            samples.as_ref(),
        ];
        // Later runs find what the first compiled.
        let vgpu = Vgpu::new()
            .seed(seed)
            .variable("KWC_NVRTC", crate::vgpu::nvrtc().path())
            .variable("XDG_CACHE_HOME", self.directory.path());
        let run = vgpu.command(Path::new(KWC), &arguments);
        assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
        run.assert_clean();
        read(&output)
    }
}

/// Runs a golden network in a precision, as a batch and its samples one by one, under three seeds in all, and judges it by
/// the golden data's rule.
fn assert_golden(subfolder: &str, name: &str, precision: Precision) {
    let golden = json(&format!("{subfolder}/{name}.json"));
    let spec = if subfolder == "full" { format!("cases/full/{name}.yaml") } else { format!("cases/{name}.yaml") };
    let io = tensors(&format!("{subfolder}/{name}.io.safetensors"));
    let reference = &io["output_f64"].data;
    let input = &io["input"];
    let weights = format!("{subfolder}/{name}.weights.safetensors");
    let case = Case::new(&spec, &weights, precision, &input.shape, &input.f32());
    for (seed, samples) in [(1, input.shape[0]), (2, 1), (3, input.shape[0])] {
        let y = case.run(samples, seed);
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

/// The trained network on the first of its test images: in single precision every class is the reference's, in half
/// precision at most two differ.
#[test]
fn cuda_digits() {
    const IMAGES: usize = 200;
    let golden = json("digits/digits_resnet18_kw1x.json");
    let io = tensors("digits/digits_test.io.safetensors");
    let image = golden["input"].as_object().unwrap();
    let (mean, std) = (image["mean"].as_f64().unwrap() as f32, image["std"].as_f64().unwrap() as f32);
    let pixels = &io["images"].data[..IMAGES * 28 * 28];
    let input: Vec<f32> = pixels.iter().map(|&v| (v as f32 / 255.0 - mean) / std).collect();
    let class = |row: &[f64]| (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]));
    for (precision, tolerated) in [(Precision::F32, 0), (Precision::F16, 2)] {
        let weights = "digits/digits_resnet18_kw1x.pth";
        let case = Case::new("cases/digits_resnet18_kw1x.yaml", weights, precision, &[IMAGES, 1, 28, 28], &input);
        let y: Vec<f64> = case.run(40, 1).into_iter().map(f64::from).collect();
        assert_eq!(y.len(), IMAGES * 10);
        let reference = io["output_f64"].data.chunks(10);
        let differ = y.chunks(10).zip(reference).filter(|(y, reference)| class(y) != class(reference)).count();
        assert!(differ <= tolerated, "{differ} classes differ in {precision:?}");
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
