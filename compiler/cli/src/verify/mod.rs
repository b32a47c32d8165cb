//! `kwc verify`: whether a GPU computes what the processor does.

mod compare;
mod text;

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::Args;
use kwc_compiler::check::Checked;
use kwc_compiler::hash::Hasher;
use kwc_compiler::ir::{Network, ValueId};
use kwc_compiler::plan::cuda::{Mixing, Options};
use kwc_runtime::cuda::CodeUsed;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::SeedableRng as _;
use serde::Serialize;

use crate::failure::Failure;
use crate::inputs::Inputs;
use crate::model::{Device, Model, ModelArguments, Precision};
use crate::output::Output;
use crate::spec::SpecArguments;
use crate::terminal::{self, Format};
use crate::warnings::{Warnings, not_finite};
use crate::{progress, smooth};
use compare::Comparison;

/// Relative error of an output up to which a GPU is right, in single and in half precision.
const TOLERANCES: (f64, f64) = (1e-4, 5e-2);

/// Compare what a GPU computes with what the processor computes, layer by layer
#[derive(Debug, Args)]
#[command(
    override_usage = "kwc verify <SPEC> --weights <FILE> [OPTIONS]",
    mut_arg("device", |device| device.default_value("cuda")),
    mut_arg("weights", |weights| {
        weights.help("The trained weights: a PyTorch checkpoint (.pth, .pt) or a .safetensors file")
    }),
    after_help = "\
Examples:
  kwc verify specs/resnet18.yaml --weights kw.pth
  kwc verify specs/resnet18.yaml --weights kw.pth --input x.safetensors --report report.json
  kwc init SPEC -o W && kwc verify SPEC --weights W --precision f32

The network runs twice on either device: as it runs in use, for its outputs, and unfused, for the result of every module. \
A GPU computes few samples with other kernels than many, so the outputs are compared for single samples and for each range \
of batch sizes that the samples suffice for. Give the `--max-batch`, `--gpu` and `--mixing` that the network is compiled with. An error is relative: |gpu - cpu| / |cpu| over all values (L2). Values that are infinite or not a \
number on the GPU only are counted as overflow; in half precision, those that are not zero on the processor, and zero or \
below 2^-14 on the GPU, where f16 has fewer digits, as underflow. What is infinite or not a number on the processor is \
counted as not finite, and left out of the rest. In JSON an infinite error is null.

The exit code is 1 if an output's error is above the tolerance, and if outputs are not finite on the processor: that says \
nothing about the GPU."
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    spec: SpecArguments,

    #[command(flatten)]
    model: ModelArguments,

    /// A .safetensors file, or images [default: random smooth inputs]
    #[arg(long, short, num_args = 1.., value_name = "FILE")]
    input: Vec<PathBuf>,

    /// Random samples, where there is no `--input`
    #[arg(long, default_value_t = 3, value_name = "N", conflicts_with = "input", value_parser = clap::value_parser!(u16).range(1..=256))]
    samples: u16,

    /// Which random samples
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,

    /// Largest relative error of an output [default: 1e-4 in f32, 5e-2 in f16]
    #[arg(long, value_name = "X", value_parser = tolerance)]
    tolerance: Option<f64>,

    /// Layers to show, those with the largest errors first; 0 shows all, in the order in which they run
    #[arg(long, default_value_t = 12, value_name = "N")]
    top: usize,

    /// Where to write all figures, as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,

    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// A relative error: finite, and not negative.
fn tolerance(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value),
        Ok(_) | Err(_) => Err("it is a number from 0 on, as in 1e-3".to_owned()),
    }
}

/// What a comparison found.
#[derive(Debug, Serialize)]
struct Report {
    kwc: &'static str,
    network: String,
    device: String,
    gpu: Gpu,
    precision: &'static str,
    plan: Plan,
    samples: usize,
    /// Of the random samples; null where there is `--input`.
    seed: Option<u64>,
    /// SHA-256 of the weights' file.
    weights: String,
    tolerance: f64,
    /// Whether every output is within the tolerance; null where outputs are not finite on the processor.
    right: Option<bool>,
    /// For each range of batch sizes.
    outputs: Vec<RangedOutput>,
    /// In the order in which they run; errors of earlier layers are in those of later ones.
    layers: Vec<Comparison>,
    /// Of weights and inputs.
    warnings: Warnings,
}

/// What the device is, by its driver, and what compiled for it.
#[derive(Debug, Serialize)]
struct Gpu {
    name: String,
    /// `8.0`
    compute_capability: String,
    /// The CUDA version that the driver is for.
    driver: String,
    /// The version of NVRTC that compiled the kernels, as `13.0`; null where the file of kept kernels does not say.
    nvrtc: Option<String>,
}

/// The plan's options, those of the network without dumps.
#[derive(Debug, Serialize)]
struct Plan {
    max_batch: usize,
    gpu: &'static str,
    mixing: &'static str,
}

impl Plan {
    fn of(options: &Options) -> Self {
        let mixing = match options.mixing {
            Mixing::Auto => "auto",
            Mixing::Apart => "apart",
            Mixing::Inside => "inside",
        };
        Self { max_batch: options.max_batch, gpu: options.gpu.name, mixing }
    }
}

/// The version of NVRTC that made a model's code, if that is known.
fn nvrtc(model: &Model) -> Option<String> {
    let used = match model {
        Model::Cpu(_) => return None,
        Model::Cuda(model) => model.code_used(),
    };
    match used {
        CodeUsed::Compiled { nvrtc: (major, minor), .. } => Some(format!("{major}.{minor}")),
        // Kept as KEY-sm_80-nvrtc-13.0.ptx.
        CodeUsed::Cached { path } => {
            let (_, version) = path.file_stem()?.to_str()?.rsplit_once("-nvrtc-")?;
            Some(version.to_owned())
        }
        // This verb brings the source only.
        CodeUsed::Cubin { .. } | CodeUsed::Ptx { .. } | _ => None,
    }
}

impl Gpu {
    /// The GPU of a model, if it runs on one.
    fn of(model: &Model) -> Option<Self> {
        let device = match model {
            Model::Cpu(_) => return None,
            Model::Cuda(model) => model.device(),
        };
        let version = |(major, minor): (i32, i32)| format!("{major}.{minor}");
        Some(Self {
            name: device.name().to_owned(),
            compute_capability: version(device.compute_capability()),
            driver: version(device.driver_version()),
            nvrtc: nvrtc(model),
        })
    }
}

/// An output, all samples of which were computed in batches of one size.
#[derive(Debug, Serialize)]
struct RangedOutput {
    /// Samples of a batch; the last one may have fewer.
    batch: usize,
    #[serde(flatten)]
    comparison: Comparison,
}

/// Runs the network on both devices and prints how far they are apart.
///
/// # Errors
/// What is wrong with the spec, the weights, the input or the device; [`Failure::Input`] if an output is not within the
/// tolerance.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let device = match arguments.model.device {
        Device::Cuda(_) => arguments.model.device,
        Device::Cpu => {
            return Err(Failure::input("the processor is what the device is compared with")
                .hint("leave `--device` out, or name a GPU: `--device cuda:1`"));
        }
    };
    let report_file = arguments.report.as_ref().map(|path| {
        let mut inputs: Vec<&Path> = arguments.input.iter().map(PathBuf::as_path).collect();
        inputs.extend(arguments.model.weights.as_deref());
        inputs.push(Path::new(&arguments.spec.spec));
        Output::at(path, &inputs)
    });
    let report_file = report_file.transpose()?;
    let checked = arguments.spec.load()?;
    let (samples, inputs) = samples(arguments, &checked)?;
    let (precision, tolerance) = match arguments.model.precision() {
        Precision::F32 => ("f32", TOLERANCES.0),
        Precision::F16 => ("f16", TOLERANCES.1),
    };
    let tolerance = arguments.tolerance.unwrap_or(tolerance);
    let mut warnings = Warnings::default();
    for (port, values) in checked.network().inputs.iter().zip(&inputs) {
        warnings.input(&port.name, not_finite(values), values.len());
    }
    let (gpu, outputs) = outputs(&arguments.model, device, &checked, samples, &inputs, &mut warnings)?;
    let layers = layers(&arguments.model, device, &checked, samples, &inputs, &mut warnings)?;
    let right = verdict(&outputs, tolerance);
    let report = Report {
        kwc: env!("CARGO_PKG_VERSION"),
        network: checked.network().name.clone(),
        device: device.to_string(),
        gpu,
        precision,
        plan: Plan::of(&arguments.model.plan(&[], samples)),
        samples,
        seed: arguments.input.is_empty().then_some(arguments.seed),
        weights: arguments.model.weights.as_deref().map(sha256).transpose()?.unwrap_or_default(),
        tolerance,
        right,
        outputs,
        layers,
        warnings,
    };
    if let Some(file) = &report_file {
        let text = terminal::json(&report)?;
        file.write(|file| file.write_all(text.as_bytes()))?;
    }
    match arguments.format {
        Format::Json => terminal::print_json(&report)?,
        Format::Text => terminal::print(&text::draw(&report, arguments.top))?,
    }
    match right {
        Some(true) => return Ok(()),
        Some(false) => {}
        None => {
            return Err(Failure::input(format!("no verdict on the GPU: {}", report.not_finite()))
                .hint("look for such values in the inputs and the weights; both are warned of by name"));
        }
    }
    let worst = report.outputs.iter().filter_map(|output| output.comparison.relative_error).fold(0.0, f64::max);
    Err(Failure::input(format!("the outputs differ by {worst:.2e}, more than {tolerance:.2e}"))
        .hint("the first layer with a large error is where to look; `--precision f32` tells rounding from mistakes"))
}

/// Whether all outputs are within the tolerance, if that can be said: not where they are not finite on the processor.
fn verdict(outputs: &[RangedOutput], tolerance: f64) -> Option<bool> {
    if outputs.iter().any(|output| output.comparison.not_finite > 0) {
        return None;
    }
    Some(outputs.iter().all(|output| output.comparison.relative_error.is_some_and(|error| error <= tolerance)))
}

impl Report {
    /// How many values of the outputs the processor has that are no finite numbers, and the first layer with any.
    fn not_finite(&self) -> String {
        // Each range of batch sizes has the same outputs.
        let batch = self.outputs.first().map_or(0, |output| output.batch);
        let once = self.outputs.iter().filter(|output| output.batch == batch).map(|output| &output.comparison);
        let (bad, all) = once.fold((0, 0), |(bad, all), next| (bad + next.not_finite, all + next.values));
        let first = self.layers.iter().find(|layer| layer.not_finite > 0);
        let first = first.map_or_else(String::new, |layer| format!(", from layer `{}` on", layer.name));
        format!("not a number on the processor too: {bad} of {all} values of the outputs{first}")
    }
}

/// SHA-256 of a file.
fn sha256(path: &Path) -> Result<String, Failure> {
    let mut hasher = Hasher::default();
    let mut hash = || std::io::copy(&mut File::open(path)?, &mut hasher);
    hash().map_err(|e| Failure::file(path, format!("can't be read: {e}")))?;
    Ok(hasher.finish())
}

/// The samples to compare on: their number, and one vector per input.
fn samples(arguments: &Arguments, checked: &Checked) -> Result<(usize, Vec<Vec<f32>>), Failure> {
    let network = checked.network();
    if !arguments.input.is_empty() {
        let mut inputs = Inputs::open(&arguments.input, network)?;
        let samples = inputs.samples();
        return Ok((samples, inputs.read(0..samples)?));
    }
    let samples = usize::from(arguments.samples);
    let mut rng = Pcg64Mcg::seed_from_u64(arguments.seed);
    let inputs = network.inputs.iter().map(|port| smooth::smooth(&network.value(port.value).shape, samples, &mut rng));
    Ok((samples, inputs.collect::<Result<_, _>>()?))
}

/// The outputs as they are computed in use, fused: in batches of the largest size of each range.
fn outputs(
    model: &ModelArguments,
    device: Device,
    checked: &Checked,
    samples: usize,
    inputs: &[Vec<f32>],
    warnings: &mut Warnings,
) -> Result<(Gpu, Vec<RangedOutput>), Failure> {
    // The GPU first: a machine without one says so at once.
    let mut gpu = model.open_on(device, checked, &[], samples)?.load(warnings)?;
    let mut cpu = model.open_on(Device::Cpu, checked, &[], samples)?.load(warnings)?;
    cpu.run(samples, inputs.to_vec())?;
    let half = half(model);
    let mut outputs = Vec::new();
    let mut batches = gpu.ranges(samples);
    if batches.first() != Some(&1) {
        batches.insert(0, 1);
    }
    for batch in batches {
        let mut comparisons: Vec<Comparison> =
            cpu.ports().0.iter().map(|port| Comparison::new(port.name, port.shape, half)).collect();
        for start in (0..samples).step_by(batch) {
            let range = start..(start + batch).min(samples);
            gpu.run(range.len(), inputs.iter().map(|input| part(input, samples, &range).to_vec()).collect())?;
            for (index, comparison) in comparisons.iter_mut().enumerate() {
                comparison.add(gpu.output(index), part(cpu.output(index), samples, &range))?;
            }
        }
        let finished =
            comparisons.into_iter().map(|comparison| RangedOutput { batch, comparison: comparison.finish() });
        outputs.extend(finished);
    }
    let gpu = Gpu::of(&gpu).ok_or_else(|| Failure::input("the device that is compared is no GPU"))?;
    Ok((gpu, outputs))
}

/// The values of some of all samples.
fn part<'v>(values: &'v [f32], samples: usize, range: &Range<usize>) -> &'v [f32] {
    let length = values.len() / samples.max(1);
    values.get(range.start * length..range.end * length).unwrap_or_default()
}

/// Whether the GPU stores f16.
fn half(model: &ModelArguments) -> bool {
    match model.precision() {
        Precision::F16 => true,
        Precision::F32 => false,
    }
}

/// The results of all modules, one sample at a time.
fn layers(
    model: &ModelArguments,
    device: Device,
    checked: &Checked,
    samples: usize,
    inputs: &[Vec<f32>],
    warnings: &mut Warnings,
) -> Result<Vec<Comparison>, Failure> {
    let paths = modules(checked.network());
    let mut gpu = model.open_on(device, checked, &paths, 1)?.load(warnings)?;
    let mut cpu = model.open_on(Device::Cpu, checked, &paths, 1)?.load(warnings)?;
    let mut comparisons: Vec<Comparison> =
        cpu.ports().1.iter().map(|port| Comparison::new(port.name, port.shape, half(model))).collect();
    let bar = progress::bar("Comparing layers", samples);
    for sample in 0..samples {
        let range = sample..sample + 1;
        let inputs = inputs.iter().map(|input| part(input, samples, &range).to_vec()).collect();
        run_both(&mut gpu, &mut cpu, inputs)?;
        for (index, comparison) in comparisons.iter_mut().enumerate() {
            comparison.add(gpu.dump(index), cpu.dump(index))?;
        }
        bar.advance(1);
    }
    drop(bar);
    Ok(comparisons.into_iter().map(Comparison::finish).collect())
}

fn run_both(gpu: &mut Model, cpu: &mut Model, inputs: Vec<Vec<f32>>) -> Result<(), Failure> {
    gpu.run(1, inputs.clone())?;
    cpu.run(1, inputs)
}

/// Paths of all modules in the order in which they run, and of the attentions; one path for each value.
fn modules(network: &Network) -> Vec<String> {
    let mut of_value: Vec<(ValueId, &str)> = Vec::new();
    for (path, &value) in &network.paths {
        // Of several names, the longest is nearest to the layer.
        match of_value.iter_mut().find(|(other, _)| *other == value) {
            Some((_, known)) if known.len() < path.len() => *known = path,
            Some(_) => {}
            None => of_value.push((value, path)),
        }
    }
    of_value.sort_by_key(|(value, _)| *value);
    let attention = |value: ValueId| {
        let layer = network.value(value).producer.map(|id| network.layer(id))?;
        layer.op.warehouse().map(|_| format!("{}.attention", kwc_compiler::state::module_path(layer)))
    };
    let both = of_value.iter().flat_map(|&(value, path)| attention(value).into_iter().chain([path.to_owned()]));
    both.collect()
}
