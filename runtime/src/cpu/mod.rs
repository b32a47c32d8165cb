//! Programs on the CPU, in `f32`.
//!
//! [`Model::new`] checks everything that a Program could get wrong (`check`), so that execution needs no checks: an
//! accepted Program neither panics nor touches memory that is not its own. The kernels are one file per subject; all
//! products of matrices, convolution and mixing included, go through `gemm`.

mod activation;
mod attention;
mod check;
mod conv;
mod depthwise;
mod epilogue;
mod gemm;
mod layout;
mod linear;
mod map;
mod mix;
mod norm;
mod operands;
mod pack;
mod pool;
mod simd;
mod statistics;
mod threads;
mod tile;
mod windows;

use crate::program::{BufferId, Op, Port, Program, WeightId};
use crate::{Error, Weights};
use operands::Operands;
use threads::Threads;

/// How a model runs.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Threads to use; `None` is one for each processor that is available.
    pub threads: Option<usize>,
}

/// A Program with its weights, its threads and its memory.
///
/// The results of a run stay readable until the next one.
#[derive(Debug)]
pub struct Model {
    program: Program,
    weights: Weights,
    threads: Threads,
    arena: Weights,
    /// Samples of the current run; 0 before the first.
    batch: usize,
}

impl Model {
    /// Checks the Program and starts the threads. Activation memory is allocated by the first run.
    ///
    /// # Errors
    ///
    /// [`Error::Format`], [`Error::WeightCount`], [`Error::Program`] or [`Error::Step`] for a Program that this runtime
    /// cannot execute with these weights; [`Error::Threads`] if the threads cannot be had.
    pub fn new(program: Program, weights: Weights, options: &Options) -> Result<Self, Error> {
        check::program(&program)?;
        if weights.len() != program.weight_elements {
            return Err(Error::WeightCount { expected: program.weight_elements, found: weights.len() });
        }
        let threads = Threads::new(options.threads)?;
        let arena = Weights::zeroed_for("the activations", 0)?;
        Ok(Self { program, weights, threads, arena, batch: 0 })
    }

    /// Runs the network on `batch` samples: `inputs` has one slice per input of the Program, `[batch, shape...]`.
    ///
    /// # Errors
    ///
    /// As [`Model::begin`].
    pub fn run(&mut self, batch: usize, inputs: &[&[f32]]) -> Result<(), Error> {
        self.begin(batch, inputs)?;
        for index in 0..self.program.steps.len() {
            self.step(index)?;
        }
        Ok(())
    }

    /// Makes room for `batch` samples and stores the inputs; the steps then run one by one with [`Model::step`].
    ///
    /// # Errors
    ///
    /// [`Error::EmptyBatch`], [`Error::InputCount`] or [`Error::InputLength`] if the inputs do not fit, and
    /// [`Error::Memory`] if the activations of that many samples do not fit into memory. The model can be used again
    /// after any of them.
    pub fn begin(&mut self, batch: usize, inputs: &[&[f32]]) -> Result<(), Error> {
        if batch == 0 {
            return Err(Error::EmptyBatch);
        }
        let ports = &self.program.inputs;
        if inputs.len() != ports.len() {
            return Err(Error::InputCount { expected: ports.len(), found: inputs.len() });
        }
        let memory = |elements| Error::Memory { what: "the activations", elements };
        let elements = self.program.arena.checked_mul(batch).ok_or_else(|| memory(usize::MAX))?;
        for (port, input) in ports.iter().zip(inputs) {
            let expected = port.shape.iter().product::<usize>() * batch;
            if input.len() != expected {
                let (name, shape) = (port.name.to_string(), port.shape.to_vec());
                return Err(Error::InputLength { name, shape, batch, expected, found: input.len() });
            }
        }
        if self.arena.len() < elements {
            self.batch = 0;
            // The old arena goes before the new one comes.
            self.arena = Weights::zeroed_for("the activations", 0)?;
            self.arena = Weights::zeroed_for("the activations", elements)?;
        }
        self.batch = batch;
        for (port, input) in ports.iter().zip(inputs) {
            let place = operands::place(&self.program, port.buffer, batch);
            self.arena[place].copy_from_slice(input);
        }
        Ok(())
    }

    /// Runs one step. Steps read what earlier ones wrote, so the order is the caller's responsibility.
    ///
    /// # Errors
    ///
    /// [`Error::Order`] if the Program has no such step or no run has begun.
    pub fn step(&mut self, index: usize) -> Result<(), Error> {
        let Some(step) = self.program.steps.get(index) else {
            return Err(Error::Order { index, what: "the program has fewer steps" });
        };
        if self.batch == 0 {
            return Err(Error::Order { index, what: "no run has begun" });
        }
        let (operands, output) =
            Operands::split(&self.program, &self.weights, &mut self.arena, output(&step.op), self.batch);
        let threads = &self.threads;
        match &step.op {
            Op::Conv(op) => conv::run(op, &operands, output, threads),
            Op::Linear(op) => linear::run(op, &operands, output, threads),
            Op::GlobalAverage(op) => pool::global_average(op, &operands, output, threads),
            Op::Attention(op) => attention::run(op, &operands, output, threads),
            Op::Mix(op) => mix::run(op, &operands, output, threads),
            Op::Pool(op) => pool::run(op, &operands, output, threads),
            Op::LayerNorm(op) => norm::run(op, &operands, output, threads),
            Op::Map(op) => map::run(op, &operands, output, threads),
            Op::Concat(op) => layout::concat(op, &operands, output),
            Op::Upsample(op) => layout::upsample(op, &operands, output),
            Op::GatherRows(op) => layout::gather_rows(op, &operands, output),
        }
        Ok(())
    }

    /// Output `index` of the last run, `[batch, shape...]`; empty if there is no such output or nothing has run.
    #[must_use]
    pub fn output(&self, index: usize) -> &[f32] {
        self.port(self.program.outputs.get(index))
    }

    /// Dump `index` of the last run, `[batch, shape...]`; empty if there is no such dump or nothing has run.
    #[must_use]
    pub fn dump(&self, index: usize) -> &[f32] {
        self.port(self.program.dumps.get(index))
    }

    /// What a buffer holds now, `batch * length` elements; empty if there is no such buffer or nothing has run.
    ///
    /// Buffers share memory: one that later steps no longer need holds whatever was written over it.
    #[must_use]
    pub fn buffer(&self, id: BufferId) -> &[f32] {
        let place = operands::place(&self.program, id, self.batch);
        self.arena.get(place).unwrap_or_default()
    }

    /// A packed weight; empty if there is no such weight.
    #[must_use]
    pub fn weight(&self, id: WeightId) -> &[f32] {
        let place = operands::weight_place(&self.program, id);
        self.weights.get(place).unwrap_or_default()
    }

    /// A packed weight, to be changed; empty if there is no such weight.
    #[must_use]
    pub fn weight_mut(&mut self, id: WeightId) -> &mut [f32] {
        let place = operands::weight_place(&self.program, id);
        self.weights.get_mut(place).unwrap_or_default()
    }

    /// The Program that this model runs.
    #[must_use]
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Samples of the last run; 0 before the first.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Threads that the model runs on.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads.count()
    }

    fn port(&self, port: Option<&Port>) -> &[f32] {
        port.map(|port| self.buffer(port.buffer)).unwrap_or_default()
    }
}

/// The one buffer that an operation writes.
fn output(op: &Op) -> BufferId {
    match op {
        Op::Conv(op) => op.output,
        Op::Linear(op) => op.output,
        Op::GlobalAverage(op) => op.output,
        Op::Attention(op) => op.output,
        Op::Mix(op) => op.output,
        Op::Pool(op) => op.output,
        Op::LayerNorm(op) => op.output,
        Op::Map(op) => op.output,
        Op::Concat(op) => op.output,
        Op::Upsample(op) => op.output,
        Op::GatherRows(op) => op.output,
    }
}
