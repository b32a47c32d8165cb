//! `kwc bench`: how long a network takes.

mod processor;
mod text;

use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use kwc_compiler::check::Checked;
use kwc_compiler::plan::cuda::{Bounds, Limit};
use kwc_runtime::cpu::Instructions;
use kwc_runtime::cuda::{LaunchTime, Profile};
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::SeedableRng as _;
use serde::Serialize;

use crate::failure::Failure;
use crate::model::{Device, Model, ModelArguments};
use crate::spec::SpecArguments;
use crate::terminal::{self, Format};
use crate::warnings::Warnings;
use crate::{init, progress};

/// Time to measure for, if it isn't said how many runs.
const TIME: Duration = Duration::from_secs(2);
/// Fewest and most runs then.
const RUNS: (u32, u32) = (5, 50);

/// Measure how long a network takes on random inputs, by batch and by layer or kernel
#[derive(Debug, Args)]
#[command(
    mut_arg("weights", |weights| weights.required(false).help(
        "The trained weights: a PyTorch checkpoint (.pth, .pt) or a .safetensors file; on the processor also the \
         weights.safetensors of `kwc compile --target cpu` [default: random ones]"
    )),
    override_usage = "kwc bench <SPEC> [--weights <FILE>] [OPTIONS]",
    after_help = "\
Examples:
  kwc bench specs/resnet18.yaml
  kwc bench specs/resnet18.yaml --weights kw.pth --batch 1,8 --threads 2 --per-layer
  kwc bench specs/resnet18.yaml --batch 1 --instructions avx2
  kwc bench SPEC --per-layer --format json | jq '.batches[].layers.shares'
  kwc bench specs/resnet18.yaml --weights kw.pth --device cuda --gpu a100 --batch 1,8,32
  kwc bench SPEC --weights compiled/NAME/weights.safetensors
  kwc bench SPEC --weights W --device cuda --format json | jq '.batches[].launches'

A run takes inputs from the host's memory and leaves outputs there. Percentiles are of single runs, one after the other; \
throughput is samples over the time of all runs.

On the processor, GFLOP/s are two for each multiply-add of convolutions, linear layers, mixing and attentions, at the median. \
They stand beside the peak of the micro-kernel on data in the first-level cache and beside the bandwidth of reading memory, both \
measured here with the same threads. The floor is the time that these allow, with all weights in memory (those that stay in a cache are read faster): step by step the longer of arithmetic and of reading \
the weights; where a kernel is mixed, convolution plus the longer of mixing and of reading the warehouse. With `--per-layer`, \
steps run one by one: `mixing` is the threads' time spent mixing over their number, `convolution` the rest of such a step.

On a GPU, the graph is the same run without the copies, and each launch is \
measured on its own between two events, which adds a few microseconds to it, beside its lower bound (see `kwc plan --help`). \
All batches share a plan for the largest, or for `--max-batch`; `--gpu` is the one that bounds are of, too."
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    spec: SpecArguments,

    #[command(flatten)]
    model: ModelArguments,

    /// Samples to run at a time
    #[arg(
        long,
        value_delimiter = ',',
        default_values_t = [1, 2, 4, 8],
        value_name = "N,...",
        value_parser = clap::value_parser!(u16).range(1..=4096)
    )]
    batch: Vec<u16>,

    /// Runs to measure [default: 50 on a GPU, 5 to 50 in about 2 seconds on the processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    iterations: Option<u32>,

    /// Runs before those
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    warm_up: u32,

    /// Show where the time goes, layer by layer, on the processor
    #[arg(long)]
    per_layer: bool,

    /// Instructions of the processor to use [default: the best that it has]
    #[arg(long, value_enum, value_name = "SET")]
    instructions: Option<InstructionsName>,

    /// Which random inputs, and which random weights
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,

    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Names of sets of instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum InstructionsName {
    /// Those that every processor has
    Portable,
    /// AVX2 and FMA
    Avx2,
    /// AVX-512F
    Avx512,
}

impl From<InstructionsName> for Instructions {
    fn from(name: InstructionsName) -> Self {
        match name {
            InstructionsName::Portable => Self::Portable,
            InstructionsName::Avx2 => Self::Avx2,
            InstructionsName::Avx512 => Self::Avx512,
        }
    }
}

/// What was measured. Times are microseconds.
#[derive(Serialize)]
struct Measured {
    network: String,
    device: String,
    /// Of activations and kernels.
    precision: String,
    /// The GPU that bounds are of; null on the processor.
    bounds_of: Option<&'static str>,
    /// What the processor can do; null on a GPU.
    machine: Option<processor::Machine>,
    /// What a pass costs; null on a GPU.
    cost: Option<processor::Cost>,
    /// Whether weights are random ones, because none were given.
    random_weights: bool,
    /// Runs that were asked for; null where time decided.
    iterations: Option<u32>,
    warm_up: u32,
    seed: u64,
    batches: Vec<Batch>,
    warnings: Warnings,
}

/// Times at one batch size.
#[derive(Serialize)]
struct Batch {
    batch: usize,
    /// Runs that were measured.
    iterations: u32,
    latency: Latency,
    /// Samples a second.
    throughput: f64,
    /// On the processor.
    #[serde(flatten)]
    processor: Option<processor::Measured>,
    /// On a GPU.
    #[serde(flatten)]
    device: Option<DeviceTimes>,
}

/// Times of single runs, with copies from and to the host.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Latency {
    least: f64,
    p50: f64,
    p90: f64,
    p99: f64,
}

impl Latency {
    /// Percentiles by nearest rank: the least of the times that so many percent of all don't exceed.
    fn new(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        let rank = |percent: usize| {
            let rank = (times.len() * percent).div_ceil(100).max(1);
            times.get(rank - 1).copied().unwrap_or(0.0)
        };
        Self { least: rank(0), p50: rank(50), p90: rank(90), p99: rank(99) }
    }
}

/// What a GPU's events say.
#[derive(Serialize)]
struct DeviceTimes {
    /// The whole pass, without copies.
    graph: Spread,
    /// Sum of the launches' bounds.
    bound: f64,
    launches: Vec<Launch>,
}

/// Repetitions of the same.
#[derive(Serialize)]
struct Spread {
    least: f32,
    median: f32,
}

#[derive(Serialize)]
struct Launch {
    layer: String,
    kernel: String,
    /// Blocks: x, y, z.
    grid: [u64; 3],
    threads: u32,
    time: Spread,
    bound: f64,
    /// What binds.
    limit: Limit,
}

/// Measures a network and prints the times.
///
/// # Errors
/// What is wrong with the spec, the weights or the device, or with options that are for another one.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    refuse(arguments)?;
    let checked = arguments.spec.load()?;
    let sizes: Vec<usize> = arguments.batch.iter().map(|&batch| usize::from(batch)).collect();
    let largest = sizes.iter().copied().max().unwrap_or(1);
    if arguments.model.at_most(largest) < largest {
        return Err(Failure::input(format!("a batch of {largest} is larger than the plan's largest"))
            .hint(format!("say `--max-batch {largest}`, or name smaller ones with `--batch`")));
    }
    let gpu = arguments.model.plan(&[], largest).gpu;
    let opened = arguments.model.open_or_draw(&checked, largest, arguments.seed)?;
    let opened = opened.with_instructions(arguments.instructions.map(Instructions::from));
    let bounds = opened.cuda().map(|planned| sizes.iter().map(|&batch| planned.bounds(gpu, batch)).collect::<Vec<_>>());
    let precision =
        opened.cuda().map_or_else(|| "f32".to_owned(), |p| format!("{:?}", p.program.precision).to_lowercase());
    let mut warnings = Warnings::default();
    let mut model = opened.load(&mut warnings)?;
    let device = match &model {
        Model::Cpu(_) => arguments.model.device.to_string(),
        Model::Cuda(model) => {
            let name = model.device().name();
            if !name.to_lowercase().contains(gpu.name) {
                terminal::note(
                    &format!("bounds are of the GPU {}; this is {name}", gpu.name),
                    "say with `--gpu` which one it is most like",
                );
            }
            format!("{}, {name}", arguments.model.device)
        }
    };
    let (machine, cost) = match &model {
        Model::Cpu(model) => (Some(processor::Machine::measure(model)?), Some(processor::Cost::of(model.program()))),
        Model::Cuda(_) => (None, None),
    };
    let mut batches = Vec::new();
    for (index, &batch) in sizes.iter().enumerate() {
        let bounds = bounds.as_ref().and_then(|all| all.get(index)?.as_ref());
        batches.push(measure(arguments, &checked, &mut model, batch, machine.as_ref(), bounds)?);
    }
    let measured = Measured {
        network: checked.network().name.clone(),
        device,
        precision,
        bounds_of: bounds.is_some().then_some(gpu.name),
        machine,
        cost,
        random_weights: arguments.model.weights.is_none(),
        iterations: match model {
            Model::Cpu(_) => arguments.iterations,
            Model::Cuda(_) => Some(arguments.iterations.unwrap_or(RUNS.1)),
        },
        warm_up: arguments.warm_up,
        seed: arguments.seed,
        batches,
        warnings,
    };
    match arguments.format {
        Format::Text => terminal::print(&text::draw(&measured)),
        Format::Json => terminal::print_json(&measured),
    }
}

/// Refuses options that are not for the device.
fn refuse(arguments: &Arguments) -> Result<(), Failure> {
    match arguments.model.device {
        Device::Cpu => match arguments.instructions.map(Instructions::from) {
            Some(set) if !set.is_available() => {
                let has = Instructions::ALL
                    .into_iter()
                    .filter(|set| set.is_available())
                    .map(|set| format!("`{}`", set.name()));
                Err(Failure::input(format!("this processor has no {} instructions", set.name()))
                    .hint(format!("it has {}; left out, the best is taken", has.collect::<Vec<_>>().join(", "))))
            }
            Some(_) | None => Ok(()),
        },
        Device::Cuda(_) if arguments.per_layer => Err(Failure::input("`--per-layer` is for runs on the processor")
            .hint("leave it out: on a GPU every launch is shown")),
        Device::Cuda(_) if arguments.instructions.is_some() => {
            Err(Failure::input("`--instructions` is for runs on the processor").hint("leave it out"))
        }
        Device::Cuda(_) => Ok(()),
    }
}

/// Whether so many runs in so much time are enough.
fn is_enough(arguments: &Arguments, runs: u32, time: Duration) -> bool {
    match (arguments.iterations, arguments.model.device) {
        (Some(iterations), _) => runs >= iterations,
        (None, Device::Cuda(_)) => runs >= RUNS.1,
        (None, Device::Cpu) => runs >= RUNS.1 || (runs >= RUNS.0 && time >= TIME),
    }
}

fn measure(
    arguments: &Arguments,
    checked: &Checked,
    model: &mut Model,
    batch: usize,
    machine: Option<&processor::Machine>,
    bounds: Option<&Bounds>,
) -> Result<Batch, Failure> {
    let network = checked.network();
    let mut rng = Pcg64Mcg::seed_from_u64(arguments.seed);
    let elements = network.inputs.iter().map(|p| network.value(p.value).shape.dims().iter().product::<usize>());
    let inputs: Vec<Vec<f32>> =
        elements.map(|elements| init::normal(&mut rng, 0.0, 1.0, batch * elements)).collect::<Result<_, _>>()?;
    let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    let bar =
        progress::bar("Measuring", (arguments.warm_up.saturating_add(arguments.iterations.unwrap_or(RUNS.1))) as usize);
    for _ in 0..arguments.warm_up {
        model.run_on(batch, &inputs)?;
        bar.advance(1);
    }
    let mut times = Vec::new();
    let begin = Instant::now();
    let mut iterations = 0;
    while !is_enough(arguments, iterations, begin.elapsed()) {
        let start = Instant::now();
        model.run_on(batch, &inputs)?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
        iterations += 1;
        bar.advance(1);
    }
    drop(bar);
    let all: f64 = times.iter().sum();
    let throughput = batch as f64 * f64::from(iterations) / (all / 1e6);
    let latency = Latency::new(times);
    let (processor, device) = match (model, machine, bounds) {
        (Model::Cpu(model), Some(machine), _) => {
            let mut measured = processor::compare(machine, model, batch, latency.p50);
            if arguments.per_layer {
                measured.layers = Some(processor::layers(machine, model, batch, &inputs, iterations)?);
            }
            (Some(measured), None)
        }
        (Model::Cuda(model), _, Some(bounds)) => {
            (None, Some(device_times(model.profile(batch, iterations as usize)?, bounds)))
        }
        (Model::Cuda(_) | Model::Cpu(_), _, _) => (None, None),
    };
    Ok(Batch { batch, iterations, latency, throughput, processor, device })
}

fn device_times(profile: Profile, bounds: &Bounds) -> DeviceTimes {
    let launches = profile.launches.into_iter().zip(&bounds.launches).map(|(launch, bound)| {
        let LaunchTime { layer, kernel, grid, threads, time } = launch;
        let time = Spread { least: time.least, median: time.median };
        Launch { layer, kernel, grid, threads, time, bound: bound.bound, limit: bound.limit }
    });
    DeviceTimes {
        launches: launches.collect(),
        graph: Spread { least: profile.graph.least, median: profile.graph.median },
        bound: bounds.sums.bound,
    }
}
