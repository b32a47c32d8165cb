//! Golden data: where it is, how it is read, and how near to it is near enough.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use kwc_compiler::check::Checked;
use kwc_compiler::pipeline::front;
use kwc_compiler::plan::{Options, plan};
use kwc_compiler::source::Files;
use kwc_compiler::weights::{Tensors, pack::pack};
use kwc_runtime::Weights;
use kwc_runtime::cpu::{self, Instructions};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

/// The folder of this package.
pub(crate) fn package() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The folder of golden data: `KWC_GOLDEN`, or the one in this package.
pub(crate) fn folder() -> PathBuf {
    std::env::var_os("KWC_GOLDEN").map_or_else(|| package().join("golden"), PathBuf::from)
}

/// A JSON file of golden data.
pub(crate) fn json(file: &str) -> Value {
    let path = folder().join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Names of all cases in a folder of golden data: files `NAME` + `suffix`, sorted. None if there is no such folder.
pub(crate) fn cases(subfolder: &str, suffix: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder().join(subfolder)) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(suffix).map(str::to_owned))
        .collect();
    names.sort();
    names
}

/// A tensor of golden data. Every number in it is exact in f64.
#[derive(Debug, Clone)]
pub(crate) struct Tensor {
    /// As PyTorch has it.
    pub(crate) shape: Vec<usize>,
    /// Row-major.
    pub(crate) data: Vec<f64>,
}

impl Tensor {
    /// The elements in f32.
    pub(crate) fn f32(&self) -> Vec<f32> {
        self.data.iter().map(|&v| v as f32).collect()
    }
}

/// All tensors of a safetensors file of golden data.
pub(crate) fn tensors(file: &str) -> BTreeMap<String, Tensor> {
    let path = folder().join(file);
    let bytes = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file = SafeTensors::deserialize(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let read = |(name, view): (&str, safetensors::tensor::TensorView<'_>)| {
        (name.to_owned(), Tensor { shape: view.shape().to_vec(), data: numbers(view.dtype(), view.data()) })
    };
    file.iter().map(read).collect()
}

fn numbers(dtype: Dtype, bytes: &[u8]) -> Vec<f64> {
    fn each<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f64) -> Vec<f64> {
        bytes.as_chunks::<N>().0.iter().map(|&chunk| number(chunk)).collect()
    }
    if dtype == Dtype::F64 {
        each(bytes, f64::from_le_bytes)
    } else if dtype == Dtype::F32 {
        each(bytes, |b| f64::from(f32::from_le_bytes(b)))
    } else if dtype == Dtype::F16 {
        each(bytes, |b| half::f16::from_le_bytes(b).to_f64())
    } else if dtype == Dtype::I64 {
        each(bytes, |b| i64::from_le_bytes(b) as f64)
    } else if dtype == Dtype::U8 {
        each(bytes, |[b]| f64::from(b))
    } else {
        panic!("golden data has no {dtype:?}")
    }
}

/// Greatest difference of any element, relative to the reference's spread: `max|y - reference| / std(reference)`.
pub(crate) fn max_over_std(y: &[f32], reference: &[f64]) -> f64 {
    assert_eq!(y.len(), reference.len(), "lengths differ");
    let count = reference.len() as f64;
    let mean = reference.iter().sum::<f64>() / count;
    let variance = reference.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / count;
    assert!(variance > 0.0, "a constant reference tells nothing");
    max_difference(y, reference) / variance.sqrt()
}

/// Greatest difference of any element; infinite where a number is missing.
pub(crate) fn max_difference(y: &[f32], reference: &[f64]) -> f64 {
    assert_eq!(y.len(), reference.len(), "lengths differ");
    let differences = y.iter().zip(reference).map(|(&y, &r)| (f64::from(y) - r).abs());
    differences.fold(0.0, |max, d| if d.is_nan() { f64::INFINITY } else { max.max(d) })
}

/// How far a network in f32 may be from `output_f64`, in standard deviations: the reference's own f32 result is off by
/// `f32_vs_f64_max_over_std`, and another order of summation by some times that.
pub(crate) fn tolerance(golden: &Value) -> f64 {
    (50.0 * golden["reference_error"]["f32_vs_f64_max_over_std"].as_f64().unwrap()).max(1e-5)
}

/// Fails if `distance` is greater than `tolerance`; `--nocapture` shows how near the others are.
#[track_caller]
#[expect(clippy::print_stdout, reason = "output of a test")]
pub(crate) fn assert_near(what: &str, distance: f64, tolerance: f64) {
    println!("{what}: {distance:.2e} of {tolerance:.2e}");
    assert!(distance <= tolerance, "{what} is off by {distance:e}, more than {tolerance:e}");
}

/// Specs in files, and one that may be in memory.
struct Specs<'a> {
    text: Option<&'a str>,
}

impl Files for Specs<'_> {
    fn read(&self, path: &str) -> Result<String, String> {
        self.text.map_or_else(|| fs::read_to_string(path).map_err(|e| e.to_string()), |text| Ok(text.to_owned()))
    }

    fn resolve(&self, from: &str, relative: &str) -> String {
        Path::new(from).with_file_name(relative).to_string_lossy().into_owned()
    }
}

/// The checked network of a spec file.
pub(crate) fn checked(path: &Path) -> Checked {
    check(&path.to_string_lossy(), &Specs { text: None })
}

/// The checked network of a spec in memory.
pub(crate) fn checked_text(text: &str) -> Checked {
    check("spec.yaml", &Specs { text: Some(text) })
}

fn check(path: &str, files: &Specs<'_>) -> Checked {
    match front(path, files, &[]) {
        Ok(checked) => checked,
        Err(failure) => panic!("{}", failure.diagnostics.render(&failure.sources, false)),
    }
}

/// The instruction sets whose micro-kernels this processor can execute, the plainest first.
pub(crate) fn instruction_sets() -> impl Iterator<Item = Instructions> {
    Instructions::ALL.into_iter().filter(|set| set.is_available())
}

/// A model of a network, its weights packed from `tensors`, with the best instructions that there are.
pub(crate) fn model(checked: &Checked, options: &Options, tensors: &mut dyn Tensors, threads: usize) -> cpu::Model {
    model_with(checked, options, tensors, &cpu::Options { threads: Some(threads), instructions: None })
}

/// A model of a network, its weights packed from `tensors`.
pub(crate) fn model_with(
    checked: &Checked,
    options: &Options,
    tensors: &mut dyn Tensors,
    how: &cpu::Options,
) -> cpu::Model {
    let planned = plan(checked, options).unwrap();
    let mut weights = Weights::zeroed(planned.program.weight_elements).unwrap();
    pack(&planned, tensors, &mut weights, &mut |_, _| {}).unwrap();
    cpu::Model::new(planned.program, weights, how).unwrap()
}
