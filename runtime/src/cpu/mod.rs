//! Programs on the CPU, in `f32`.
//!
//! [`Model::new`] checks everything that a Program could get wrong (`check`), so that execution needs no checks: an
//! accepted Program neither panics nor touches memory that is not its own. The kernels are one file per subject; all
//! products, convolution and mixing included, end in the micro-kernels of `micro`.

mod activation;
mod attention;
mod check;
mod clock;
mod conv;
mod depthwise;
mod epilogue;
mod layout;
mod machine;
mod map;
pub mod measure;
mod micro;
mod mix;
mod norm;
mod operands;
mod pieces;
mod pool;
mod reorder;
mod simd;
mod statistics;
mod threads;
mod windows;

use std::time::Duration;

use crate::program::{BufferId, Op, Port, Program, WeightId};
use crate::{Error, Weights};
use machine::Machine;
use operands::Operands;

pub use micro::Instructions;

/// How a model runs.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Threads to use, whatever there is to do. `None` is one for each processor that is available, and just one for passes
    /// that are over before others wake.
    pub threads: Option<usize>,
    /// Instructions that the micro-kernels use; `None` is the best that the processor has.
    pub instructions: Option<Instructions>,
}

/// A Program with its weights, its threads and its memory.
///
/// The results of a run stay readable until the next one.
#[derive(Debug)]
pub struct Model {
    program: Program,
    weights: Weights,
    machine: Machine,
    memory: Memory,
}

/// What the steps of a model work in.
#[derive(Debug)]
struct Memory {
    arena: Weights,
    /// Averages that a step leaves beside its output.
    averages: Vec<f32>,
    /// Samples of the current run; 0 before the first.
    batch: usize,
}

impl Model {
    /// Checks the Program and starts the threads. Activation memory is allocated by the first run.
    ///
    /// # Errors
    ///
    /// [`Error::Format`], [`Error::WeightCount`], [`Error::WeightsId`], [`Error::Program`] or [`Error::Step`] for a
    /// Program that this runtime cannot execute with these weights; [`Error::Threads`] if the threads cannot be had,
    /// [`Error::Instructions`] if this processor lacks those that were asked for, [`Error::Memory`] if there is no memory.
    pub fn new(program: Program, weights: Weights, options: &Options) -> Result<Self, Error> {
        check::program(&program)?;
        weights.check(&program)?;
        let machine = Machine::new(&program, options)?;
        let arena = Weights::zeroed_for("the activations", 0)?;
        let memory = Memory { arena, averages: Vec::new(), batch: 0 };
        Ok(Self { program, weights, machine, memory })
    }

    /// Runs the network on `batch` samples: `inputs` has one slice per input of the Program, `[batch, shape...]`.
    ///
    /// # Errors
    ///
    /// As [`Model::begin`].
    pub fn run(&mut self, batch: usize, inputs: &[&[f32]]) -> Result<(), Error> {
        self.begin(batch, inputs)?;
        let Self { program, weights, machine, memory } = self;
        let memory = &mut *memory;
        machine.threads.enter(|| {
            for step in program.steps.iter() {
                execute(program, weights, machine, memory, &step.op);
            }
        });
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
        self.machine.begin(batch)?;
        let held = &mut self.memory;
        if held.arena.len() < elements {
            held.batch = 0;
            // The old arena goes before the new one comes.
            held.arena = Weights::zeroed_for("the activations", 0)?;
            held.arena = Weights::zeroed_for("the activations", elements)?;
        }
        held.batch = batch;
        for (port, input) in ports.iter().zip(inputs) {
            let place = operands::place(&self.program, port.buffer, batch);
            held.arena[place].copy_from_slice(input);
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
        if self.memory.batch == 0 {
            return Err(Error::Order { index, what: "no run has begun" });
        }
        execute(&self.program, &self.weights, &self.machine, &mut self.memory, &step.op);
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
        let place = operands::place(&self.program, id, self.memory.batch);
        self.memory.arena.get(place).unwrap_or_default()
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
        self.memory.batch
    }

    /// Threads that the model runs on.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.machine.threads.count()
    }

    /// Threads that a pass over so many samples runs on.
    #[must_use]
    pub fn threads_at(&self, batch: usize) -> usize {
        if self.machine.is_little(batch) { 1 } else { self.threads() }
    }

    /// Instructions that the micro-kernels use.
    #[must_use]
    pub fn instructions(&self) -> Instructions {
        self.machine.micro.instructions()
    }

    /// Time that threads have spent mixing kernels inside of convolutions, all threads added, since the model was made.
    #[must_use]
    pub fn mixing_time(&self) -> Duration {
        self.machine.mixing.total()
    }

    fn port(&self, port: Option<&Port>) -> &[f32] {
        port.map(|port| self.buffer(port.buffer)).unwrap_or_default()
    }
}

/// Does what a step says.
fn execute(program: &Program, weights: &[f32], machine: &Machine, memory: &mut Memory, op: &Op) {
    let Memory { arena, averages, batch } = memory;
    let (operands, output) = Operands::split(program, weights, arena, output(op), *batch);
    let threads = &machine.threads;
    match op {
        Op::Import(op) => reorder::import(op, &operands, output, threads),
        Op::Export(op) => reorder::export(op, &operands, output, threads),
        Op::Conv(op) => {
            conv::run(op, &operands, output, machine, averages);
            if let Some(average) = op.average {
                arena[operands::place(program, average, *batch)].copy_from_slice(averages);
            }
        }
        Op::GlobalAverage(op) => pool::global_average(op, &operands, output, threads),
        Op::Attention(op) => attention::run(op, &operands, output, machine),
        Op::Pool(op) => pool::run(op, &operands, output, threads),
        Op::LayerNorm(op) => norm::run(op, &operands, output, threads),
        Op::Map(op) => map::run(op, &operands, output, threads),
        Op::Concat(op) => layout::concat(op, &operands, output, threads),
        Op::Upsample(op) => layout::upsample(op, &operands, output, threads),
        Op::GatherRows(op) => layout::gather_rows(op, &operands, output, threads),
    }
}

/// The buffer that an operation writes, beside averages.
fn output(op: &Op) -> BufferId {
    match op {
        Op::Import(op) => op.output,
        Op::Export(op) => op.output,
        Op::Conv(op) => op.output,
        Op::GlobalAverage(op) => op.output,
        Op::Attention(op) => op.output,
        Op::Pool(op) => op.output,
        Op::LayerNorm(op) => op.output,
        Op::Map(op) => op.output,
        Op::Concat(op) => op.output,
        Op::Upsample(op) => op.output,
        Op::GatherRows(op) => op.output,
    }
}
