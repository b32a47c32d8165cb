//! The processor's side: what it can do at most, what a network needs at least, and where the time goes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kwc_runtime::cpu::{Instructions, Model, measure};
use kwc_runtime::program::{Op, Program, Source, Step, Work};
use serde::Serialize;

use crate::failure::Failure;
use crate::progress;

/// Passes that the times of layers are medians of, at most.
const PASSES: usize = 20;

/// What the processor can do, measured with the model's own threads and instructions.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Machine {
    threads: usize,
    #[serde(serialize_with = "name")]
    instructions: Instructions,
    /// Operations a second, two for each multiply-add, of the micro-kernel on data in the first-level cache.
    peak: f64,
    /// Bytes a second, read from memory.
    bandwidth: f64,
}

fn name<S: serde::Serializer>(instructions: &Instructions, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(instructions.name())
}

impl Machine {
    /// Measures; takes less than a second.
    ///
    /// # Errors
    /// There aren't so many threads, or there isn't the memory to read.
    pub(super) fn measure(model: &Model) -> Result<Self, Failure> {
        let (threads, instructions) = (model.threads(), model.instructions());
        let peak = 2.0 * measure::peak(instructions, Some(threads))?;
        let bandwidth = measure::read_bandwidth(Some(threads))?;
        Ok(Self { threads, instructions, peak, bandwidth })
    }

    /// `2 threads, avx2`
    pub(super) fn describe(&self) -> String {
        let threads = if self.threads == 1 { "thread" } else { "threads" };
        format!("{} {threads}, {}", self.threads, self.instructions.name())
    }

    /// Threads that it was measured with.
    pub(super) const fn threads(&self) -> usize {
        self.threads
    }

    /// Operations a second, in units of 1e9.
    pub(super) fn peak(&self) -> f64 {
        self.peak / 1e9
    }

    /// Bytes a second, in units of 1e9.
    pub(super) fn bandwidth(&self) -> f64 {
        self.bandwidth / 1e9
    }

    /// Microseconds for so many multiply-adds.
    fn compute(&self, multiply_adds: u64, batch: usize) -> f64 {
        2.0 * multiply_adds as f64 * batch as f64 / self.peak * 1e6
    }

    /// Microseconds for reading so many bytes.
    fn read(&self, bytes: u64) -> f64 {
        bytes as f64 / self.bandwidth * 1e6
    }

    fn floor(&self, needs: &[Needs], batch: usize) -> Floor {
        let mut floor = Floor::default();
        for Needs { work, bytes } in needs {
            let (all, read) = (self.compute(work.total(), batch), self.read(*bytes));
            let convolution = self.compute(work.convolution, batch);
            floor.arithmetic += all;
            floor.reading += read;
            floor.least += if work.mixing > 0 { convolution + (all - convolution).max(read) } else { all.max(read) };
        }
        floor
    }

    /// The rate of so much work.
    fn rate(&self, multiply_adds: u64, batch: usize, microseconds: f64) -> Rate {
        let flops =
            if microseconds > 0.0 { 2.0 * multiply_adds as f64 * batch as f64 / microseconds * 1e6 } else { 0.0 };
        Rate { flops, of_peak: flops / self.peak }
    }
}

/// What a step needs.
struct Needs {
    /// Of one sample.
    work: Work,
    /// Of weights, for all samples.
    bytes: u64,
}

impl Needs {
    fn of(program: &Program) -> Vec<Self> {
        program.steps.iter().map(|step| Self { work: step.op.work(), bytes: step.weight_bytes(program) }).collect()
    }
}

/// Multiply-adds of one sample, and bytes of weights.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Cost {
    pub(super) multiply_adds: Work,
    /// What a pass reads, each layer its whole warehouse.
    pub(super) weight_bytes: u64,
}

impl Cost {
    pub(super) fn of(program: &Program) -> Self {
        let needs = Needs::of(program);
        let multiply_adds = needs.iter().fold(Work::NONE, |sum, needs| sum.plus(&needs.work));
        Self { multiply_adds, weight_bytes: needs.iter().map(|needs| needs.bytes).fold(0, u64::saturating_add) }
    }
}

/// How fast something is done.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Rate {
    /// Operations a second, two for each multiply-add.
    pub(super) flops: f64,
    /// A fraction of the measured peak.
    pub(super) of_peak: f64,
}

/// The least time of something, at the measured peak and bandwidth. Microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(super) struct Floor {
    /// All multiply-adds at the peak.
    pub(super) arithmetic: f64,
    /// All weights, read once for each layer.
    pub(super) reading: f64,
    /// The sum over steps of the longer of the two; where a kernel is mixed, of the convolution and of the longer of mixing
    /// and reading.
    pub(super) least: f64,
}

/// A batch, beside what the processor can do.
#[derive(Serialize)]
pub(super) struct Measured {
    /// Threads that it ran on: where there is little to do, just one.
    pub(super) threads: usize,
    #[serde(flatten)]
    pub(super) rate: Rate,
    pub(super) floor: Floor,
    /// The median over the floor.
    pub(super) ratio: f64,
    /// Where the time goes, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) layers: Option<Layers>,
}

/// Compares the median of a batch with what the processor can do.
pub(super) fn compare(machine: &Machine, model: &Model, batch: usize, median: f64) -> Measured {
    let program = model.program();
    let floor = machine.floor(&Needs::of(program), batch);
    let rate = machine.rate(Cost::of(program).multiply_adds.total(), batch, median);
    Measured { threads: model.threads_at(batch), rate, floor, ratio: median / floor.least, layers: None }
}

/// Times of all layers, the steps done one by one.
#[derive(Serialize)]
pub(super) struct Layers {
    /// Passes that times are medians of.
    pub(super) passes: usize,
    pub(super) rows: Vec<Layer>,
    /// Sums of the rows.
    pub(super) sum: Times,
    /// The same as fractions of its time.
    pub(super) shares: Times,
}

/// Microseconds; the time is the sum of the parts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(super) struct Times {
    pub(super) time: f64,
    pub(super) attention: f64,
    /// The time that threads spend mixing, divided by the number of threads.
    pub(super) mixing: f64,
    /// What is left of the steps that convolve.
    pub(super) convolution: f64,
    /// Averages, pooling, norms, additions, reordering.
    pub(super) rest: f64,
}

impl Times {
    fn new(attention: f64, mixing: f64, convolution: f64, rest: f64) -> Self {
        Self { time: attention + mixing + convolution + rest, attention, mixing, convolution, rest }
    }

    fn plus(&self, other: &Self) -> Self {
        Self::new(
            self.attention + other.attention,
            self.mixing + other.mixing,
            self.convolution + other.convolution,
            self.rest + other.rest,
        )
    }

    fn over(&self, whole: f64) -> Self {
        let share = |part: f64| if whole > 0.0 { part / whole } else { 0.0 };
        Self {
            time: share(self.time),
            attention: share(self.attention),
            mixing: share(self.mixing),
            convolution: share(self.convolution),
            rest: share(self.rest),
        }
    }
}

/// A layer: its attention, its convolution, and what else is done in its name.
#[derive(Serialize)]
pub(super) struct Layer {
    /// Path of its module; empty for what stems from none.
    pub(super) layer: String,
    pub(super) kind: String,
    /// Whether its kernel is mixed.
    pub(super) dynamic: bool,
    #[serde(flatten)]
    pub(super) times: Times,
    /// Its time as a fraction of all.
    pub(super) share: f64,
    /// Of one sample.
    pub(super) multiply_adds: Work,
    #[serde(flatten)]
    pub(super) rate: Rate,
    pub(super) floor: Floor,
}

/// Times the steps of `iterations` passes one by one, or of fewer.
///
/// # Errors
/// The inputs don't fit.
pub(super) fn layers(
    machine: &Machine,
    model: &mut Model,
    batch: usize,
    inputs: &[&[f32]],
    iterations: u32,
) -> Result<Layers, Failure> {
    let passes = PASSES.min(iterations as usize);
    let steps = model.program().steps.len();
    let mut times = vec![Vec::with_capacity(passes); steps];
    let bar = progress::bar("Measuring layers", passes);
    for _ in 0..passes {
        model.begin(batch, inputs)?;
        for (step, times) in times.iter_mut().enumerate() {
            times.push(timed(model, step)?);
        }
        bar.advance(1);
    }
    drop(bar);
    let program = model.program();
    let rows: Vec<Layer> =
        rows(program).iter().map(|steps| layer(machine, program, batch, passes, steps, &times)).collect();
    let sum = rows.iter().fold(Times::default(), |sum, row| sum.plus(&row.times));
    let rows = rows.into_iter().map(|row| Layer { share: row.times.over(sum.time).time, ..row }).collect();
    Ok(Layers { passes, rows, sum, shares: sum.over(sum.time) })
}

/// The parts of one step's time in one pass.
fn timed(model: &mut Model, index: usize) -> Result<Times, Failure> {
    let mixed = model.mixing_time();
    let start = Instant::now();
    model.step(index)?;
    let time = micro(start.elapsed());
    let mixing = micro(model.mixing_time().saturating_sub(mixed)) / model.threads_at(model.batch()) as f64;
    let mixing = mixing.min(time);
    Ok(match model.program().steps.get(index).map(|step| part(&step.op)) {
        Some(Part::Attention) => Times::new(time, 0.0, 0.0, 0.0),
        Some(Part::Convolution) => Times::new(0.0, mixing, time - mixing, 0.0),
        Some(Part::Rest) | None => Times::new(0.0, 0.0, 0.0, time),
    })
}

enum Part {
    Attention,
    Convolution,
    Rest,
}

fn part(op: &Op) -> Part {
    match op {
        Op::Attention(_) => Part::Attention,
        Op::Conv(_) => Part::Convolution,
        Op::Import(_)
        | Op::Export(_)
        | Op::GlobalAverage(_)
        | Op::Pool(_)
        | Op::LayerNorm(_)
        | Op::Map(_)
        | Op::Concat(_)
        | Op::Upsample(_)
        | Op::GatherRows(_) => Part::Rest,
    }
}

fn micro(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// The steps of each layer, layers in the order in which they begin. A step without a layer is on its own.
fn rows(program: &Program) -> Vec<Vec<usize>> {
    let mut rows: Vec<Vec<usize>> = Vec::new();
    let mut of_layer = BTreeMap::new();
    for (index, step) in program.steps.iter().enumerate() {
        let next = rows.len();
        let row = if step.layer.is_empty() { next } else { *of_layer.entry(&*step.layer).or_insert(next) };
        match rows.get_mut(row) {
            Some(row) => row.push(index),
            None => rows.push(vec![index]),
        }
    }
    rows
}

/// One row: medians over the passes of the sums over its steps.
fn layer(
    machine: &Machine,
    program: &Program,
    batch: usize,
    passes: usize,
    indices: &[usize],
    times: &[Vec<Times>],
) -> Layer {
    let steps: Vec<&Step> = indices.iter().filter_map(|&index| program.steps.get(index)).collect();
    let sums = (0..passes).map(|pass| {
        let of_pass = indices.iter().filter_map(|&index| times.get(index)?.get(pass));
        of_pass.fold(Times::default(), |sum, times| sum.plus(times))
    });
    let sums: Vec<Times> = sums.collect();
    let median = |part: fn(&Times) -> f64| middle(sums.iter().map(part).collect());
    let times =
        Times::new(median(|t| t.attention), median(|t| t.mixing), median(|t| t.convolution), median(|t| t.rest));
    let needs: Vec<Needs> =
        steps.iter().map(|step| Needs { work: step.op.work(), bytes: step.weight_bytes(program) }).collect();
    let work = needs.iter().fold(Work::NONE, |sum, needs| sum.plus(&needs.work));
    let main = steps.iter().find(|step| matches!(step.op, Op::Conv(_))).or(steps.first());
    let dynamic = |step: &&Step| matches!(&step.op, Op::Conv(conv) if matches!(conv.kernel.source, Source::Mixed(_)));
    Layer {
        layer: main.map(|step| step.layer.to_string()).unwrap_or_default(),
        kind: main.map(|step| kind(&step.op)).unwrap_or_default(),
        dynamic: steps.iter().any(dynamic),
        times,
        share: 0.0,
        multiply_adds: work,
        rate: machine.rate(work.total(), batch, times.time),
        floor: machine.floor(&needs, batch),
    }
}

/// The lower of the two in the middle, as percentiles have it.
fn middle(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len().div_ceil(2).saturating_sub(1)).copied().unwrap_or(0.0)
}

/// What a step is: `conv 3x3`, `depthwise 7x7`, `pool`.
fn kind(op: &Op) -> String {
    let name = match op {
        Op::Conv(conv) => {
            let name = if conv.is_depthwise() { "depthwise" } else { "conv" };
            let [depth, height, width] = conv.kernel_size;
            let depth = if depth == 1 { String::new() } else { format!("{depth}x") };
            return format!("{name} {depth}{height}x{width}");
        }
        Op::Import(_) => "import",
        Op::Export(_) => "export",
        Op::GlobalAverage(_) => "average",
        Op::Attention(_) => "attention",
        Op::Pool(_) => "pool",
        Op::LayerNorm(_) => "norm",
        Op::Map(_) => "map",
        Op::Concat(_) => "concat",
        Op::Upsample(_) => "upsample",
        Op::GatherRows(_) => "gather",
    };
    name.to_owned()
}
