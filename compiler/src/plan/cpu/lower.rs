//! Lowering: steps to the operations of a Program.

use std::borrow::Cow;
use std::collections::BTreeMap;

use kwc_program::{
    BufferId, Concat, ConcatPart, Conv, Epilogue, FORMAT_VERSION, GatherRows, GlobalAverage, LayerNorm, Mixing, Op,
    Pool, Port, Program, Step, Text, Upsample, WeightId,
};

use super::edges::{self, Given};
use super::weights::Weights;
use crate::check::Checked;
use crate::ir::LayerId;
use crate::plan::Planned;
use crate::plan::place::{self, Lifetime};
use crate::plan::recipe;
use crate::plan::steps::{self, Basis, Steps};

/// Lowers all steps.
pub(crate) fn lower(checked: &Checked, steps: &Steps) -> Planned {
    let mut lowering = Lowering::new(checked, steps);
    for (step, layer) in steps.steps.iter().zip(&steps.layers) {
        lowering.layer = Cow::Owned(step.layer.clone());
        lowering.id = *layer;
        lowering.lower_step(&step.op);
    }
    lowering.finish()
}

/// How a buffer of the steps is stored.
#[derive(Debug, Clone, Copy)]
pub(super) enum Storage {
    /// An input that has to be imported.
    Given(Given),
    /// An activation.
    Map(Map),
    /// The attention of a dynamic layer.
    Attention(Attention),
    /// The kernel of a dynamic layer: how its convolution mixes it.
    Kernel(Mixing),
}

/// An activation `[positions, channels]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Map {
    pub buffer: BufferId,
    pub channels: usize,
    pub positions: usize,
    /// Whether flattening takes the channels of one position together, as that of tokens does.
    pub flattens: bool,
    /// The operation that wrote it, by its place in the Program.
    pub producer: Option<usize>,
}

impl Map {
    /// Whether it is stored as the vector that flattening it makes.
    pub(super) const fn is_flat(&self) -> bool {
        self.flattens || self.channels == 1 || self.positions == 1
    }
}

/// An attention `[mixtures, cells]`, or over what a folded basis makes of the cells.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attention {
    pub buffer: BufferId,
    /// The basis that is folded into the warehouse.
    pub folded: Option<Basis>,
}

/// A Program in the making.
pub(super) struct Lowering<'a> {
    pub checked: &'a Checked,
    pub steps: &'a Steps,
    pub weights: Weights<'a>,
    /// How each buffer of the steps is stored, once it is.
    storage: Vec<Option<Storage>>,
    /// Inputs in the Program's order, by the caller's buffer.
    pub imported: BTreeMap<BufferId, Map>,
    /// Maps in the order of PyTorch, by the buffer that they are made of.
    pub exported: BTreeMap<BufferId, BufferId>,
    /// Whether the last layer that reads a warehouse takes it from its end.
    pub turns: BTreeMap<WeightId, bool>,
    /// Elements of each buffer of the Program.
    buffers: Vec<usize>,
    pub ops: Vec<Step>,
    layers: Vec<LayerId>,
    /// The layer that is lowered, by its path and its id.
    pub layer: Text,
    pub id: LayerId,
}

impl<'a> Lowering<'a> {
    fn new(checked: &'a Checked, steps: &'a Steps) -> Self {
        let mut lowering = Self {
            checked,
            steps,
            weights: Weights::new(steps),
            storage: vec![None; steps.buffers.len()],
            imported: BTreeMap::new(),
            exported: BTreeMap::new(),
            turns: BTreeMap::new(),
            buffers: Vec::new(),
            ops: Vec::new(),
            layers: Vec::new(),
            layer: Cow::Borrowed(""),
            id: LayerId(0),
        };
        let network = checked.network();
        for (port, input) in steps.inputs.iter().zip(&network.inputs) {
            let shape = &network.value(input.value).shape;
            let buffer = lowering.buffer(shape.elements());
            lowering.store(port.buffer, edges::input(steps, port, shape, buffer));
        }
        lowering
    }

    fn lower_step(&mut self, op: &steps::Op) {
        match op {
            steps::Op::Conv(op) => self.convolution(op),
            steps::Op::Linear(op) => self.linear(op),
            steps::Op::GlobalAverage(op) => self.global_average(op),
            steps::Op::Attention(op) => self.attention(op),
            steps::Op::Mix(op) => self.mix(op),
            steps::Op::Pool(op) => self.pool(op),
            steps::Op::LayerNorm(op) => self.layer_norm(op),
            steps::Op::Map(op) => self.map(op),
            steps::Op::Concat(op) => self.concat(op),
            steps::Op::Upsample(op) => self.upsample(op),
            steps::Op::GatherRows(op) => self.gather_rows(op),
        }
    }

    /// A buffer of so many elements per sample.
    pub(super) fn buffer(&mut self, length: usize) -> BufferId {
        self.buffers.push(length);
        BufferId(u32::try_from(self.buffers.len() - 1).unwrap_or(u32::MAX))
    }

    /// Adds an operation.
    pub(super) fn push(&mut self, op: Op) {
        self.ops.push(Step { layer: self.layer.clone(), op });
        self.layers.push(self.id);
    }

    /// Says how a buffer of the steps is stored.
    pub(super) fn store(&mut self, buffer: BufferId, storage: Storage) {
        self.storage[buffer.0 as usize] = Some(storage);
    }

    /// How a buffer of the steps is stored. Steps write what later ones read: an invariant of the steps.
    pub(super) fn storage(&self, buffer: BufferId) -> Storage {
        match self.storage[buffer.0 as usize] {
            Some(storage) => storage,
            None => unreachable!("{buffer} is read before it is written"),
        }
    }

    /// A buffer of the steps as an activation of these channels and positions; reordered where it isn't stored so.
    pub(super) fn read(&mut self, buffer: BufferId, channels: usize, positions: usize) -> Map {
        let map = match self.storage(buffer) {
            Storage::Given(given) if (channels, positions) == (given.channels, given.positions()) => {
                return self.import(given);
            }
            // The caller's order is that of flattening.
            Storage::Given(given) => {
                return Map { buffer: given.buffer, channels, positions, flattens: true, producer: None };
            }
            Storage::Map(map) => map,
            Storage::Attention(_) | Storage::Kernel(_) => unreachable!("{buffer} is no activation"),
        };
        if (map.channels, map.positions) == (channels, positions) {
            return map;
        }
        Map { buffer: self.export(map), channels, positions, flattens: true, producer: None }
    }

    /// A buffer for what the next operation makes of one of the steps: the same as one of `operands` where the step works in
    /// place, else a fresh one.
    pub(super) fn write(&mut self, to: BufferId, like: Map, operands: &[BufferId]) -> BufferId {
        let length = like.channels * like.positions;
        let old = match self.storage[to.0 as usize] {
            Some(Storage::Map(old)) => Some(old.buffer),
            Some(Storage::Given(given)) => self.imported.get(&given.buffer).map(|imported| imported.buffer),
            Some(Storage::Attention(_) | Storage::Kernel(_)) | None => None,
        };
        let old = old.filter(|old| operands.contains(old) && self.buffers[old.0 as usize] == length);
        let buffer = old.unwrap_or_else(|| self.buffer(length));
        self.exported.remove(&buffer);
        self.store(to, Storage::Map(Map { buffer, producer: Some(self.ops.len()), ..like }));
        buffer
    }

    /// An epilogue with the Program's buffers and weights.
    pub(super) fn epilogue(&mut self, epilogue: &Epilogue, channels: usize, positions: usize) -> Epilogue {
        Epilogue {
            scale: epilogue.scale.map(|weight| self.weights.vector(weight)),
            shift: epilogue.shift.map(|weight| self.weights.vector(weight)),
            add: epilogue.add.map(|buffer| self.read(buffer, channels, positions).buffer),
            activation: epilogue.activation,
        }
    }

    /// The average that a convolution makes of its own result, or an operation for it.
    fn global_average(&mut self, op: &steps::GlobalAverage) {
        let input = self.read(op.input, op.channels, op.positions);
        let like = Map { channels: op.channels, positions: 1, flattens: true, producer: None, ..input };
        if let Some(producer) = input.producer
            && let Op::Conv(Conv { average, .. }) = self.ops[producer].op
        {
            let buffer = average.unwrap_or_else(|| self.buffer(op.channels));
            if let Op::Conv(conv) = &mut self.ops[producer].op {
                conv.average = Some(buffer);
            }
            self.store(op.output, Storage::Map(Map { buffer, ..like }));
            return;
        }
        let output = self.write(op.output, like, &[]);
        self.push(Op::GlobalAverage(GlobalAverage {
            input: input.buffer,
            output,
            channels: op.channels,
            positions: op.positions,
        }));
    }

    fn pool(&mut self, op: &steps::Pool) {
        let input = self.read(op.input, op.channels, op.input_size.iter().product());
        let like = Map { positions: op.output_size.iter().product(), flattens: false, ..input };
        let output = self.write(op.output, like, &[]);
        self.push(Op::Pool(Pool {
            kind: op.kind,
            input: input.buffer,
            output,
            channels: op.channels,
            input_size: op.input_size,
            output_size: op.output_size,
            kernel_size: op.kernel_size,
            stride: op.stride,
            padding: op.padding,
        }));
    }

    fn layer_norm(&mut self, op: &steps::LayerNorm) {
        let input = self.read(op.input, op.channels, op.positions);
        let output = self.write(op.output, Map { flattens: op.channels_last, ..input }, &[input.buffer]);
        let (weight, bias) = (self.weights.vector(op.weight), self.weights.vector(op.bias));
        self.push(Op::LayerNorm(LayerNorm {
            input: input.buffer,
            output,
            channels: op.channels,
            positions: op.positions,
            weight,
            bias,
            epsilon: op.epsilon,
            activation: op.activation,
        }));
    }

    fn map(&mut self, op: &steps::Map) {
        let input = self.read(op.input, op.channels, op.positions);
        let epilogue = self.epilogue(&op.epilogue, op.channels, op.positions);
        let operands: Vec<BufferId> = [input.buffer].into_iter().chain(epilogue.add).collect();
        let output = self.write(op.output, Map { flattens: op.channels_last, ..input }, &operands);
        self.push(Op::Map(kwc_program::Map {
            input: input.buffer,
            output,
            channels: op.channels,
            positions: op.positions,
            epilogue,
        }));
    }

    fn concat(&mut self, op: &steps::Concat) {
        let part = |part: &steps::ConcatPart| ConcatPart {
            buffer: self.read(part.buffer, part.channels, op.positions).buffer,
            channels: part.channels,
        };
        let inputs: Vec<ConcatPart> = op.inputs.iter().map(part).collect();
        let like = Map {
            buffer: op.output,
            channels: inputs.iter().map(|part| part.channels).sum(),
            positions: op.positions,
            flattens: op.channels_last,
            producer: None,
        };
        let output = self.write(op.output, like, &[]);
        self.push(Op::Concat(Concat { inputs: Cow::Owned(inputs), output, positions: op.positions }));
    }

    fn upsample(&mut self, op: &steps::Upsample) {
        let input = self.read(op.input, op.channels, op.input_size.iter().product());
        let positions = input.positions * op.factor.iter().product::<usize>();
        let output = self.write(op.output, Map { positions, flattens: false, ..input }, &[]);
        self.push(Op::Upsample(Upsample {
            input: input.buffer,
            output,
            channels: op.channels,
            input_size: op.input_size,
            factor: op.factor,
        }));
    }

    /// The rows of an attention in the order of the method.
    fn gather_rows(&mut self, op: &steps::GatherRows) {
        let input = self.read_attention(op.input).buffer;
        let like = Map { buffer: input, channels: op.width, positions: op.rows.len(), flattens: true, producer: None };
        let output = self.write(op.output, like, &[]);
        self.push(Op::GatherRows(GatherRows { input, output, rows: op.rows.clone(), width: op.width }));
    }

    fn finish(mut self) -> Planned {
        let (outputs, dumps) = self.ports();
        let inputs = (0..).zip(&self.steps.inputs);
        let inputs: Vec<Port> = inputs.map(|(index, port)| Port { buffer: BufferId(index), ..port.clone() }).collect();
        let last = self.ops.len();
        let mut lifetimes: Vec<Lifetime> =
            self.buffers.iter().map(|&length| Lifetime { length, first: last, last: 0 }).collect();
        let mut touch = |buffer: BufferId, step: usize| {
            let lifetime = &mut lifetimes[buffer.0 as usize];
            lifetime.first = lifetime.first.min(step);
            lifetime.last = lifetime.last.max(step);
        };
        for (index, step) in self.ops.iter().enumerate() {
            for buffer in touched(&step.op) {
                touch(buffer, index);
            }
        }
        for port in &inputs {
            touch(port.buffer, 0);
        }
        // What the caller reads afterwards is live to the end.
        for port in outputs.iter().chain(&dumps) {
            touch(port.buffer, last);
        }
        let (buffers, arena) = place::place(&lifetimes);
        let program = Program {
            format: FORMAT_VERSION,
            name: Cow::Owned(self.steps.name.clone()),
            inputs: Cow::Owned(inputs),
            outputs: Cow::Owned(outputs),
            dumps: Cow::Owned(dumps),
            buffers: Cow::Owned(buffers),
            arena,
            weights_id: Cow::Owned(recipe::table_id("cpu", &self.weights.weights, &self.weights.recipes)),
            weights: Cow::Owned(self.weights.weights),
            weight_elements: self.weights.elements,
            steps: Cow::Owned(self.ops),
        };
        Planned { program, recipes: self.weights.recipes, layers: self.layers }
    }
}

/// The buffers that an operation reads or writes.
fn touched(op: &Op) -> Vec<BufferId> {
    match op {
        Op::Import(op) => vec![op.input, op.output],
        Op::Export(op) => vec![op.input, op.output],
        Op::Conv(op) => {
            let mixed = match &op.kernel.source {
                kwc_program::Source::Weight(_) => None,
                kwc_program::Source::Mixed(mixing) => Some(mixing.attention),
            };
            [op.input, op.output].into_iter().chain(mixed).chain(op.epilogue.add).chain(op.average).collect()
        }
        Op::GlobalAverage(op) => vec![op.input, op.output],
        Op::Attention(op) => vec![op.average, op.output],
        Op::Pool(op) => vec![op.input, op.output],
        Op::LayerNorm(op) => vec![op.input, op.output],
        Op::Map(op) => [op.input, op.output].into_iter().chain(op.epilogue.add).collect(),
        Op::Concat(op) => op.inputs.iter().map(|part| part.buffer).chain([op.output]).collect(),
        Op::Upsample(op) => vec![op.input, op.output],
        Op::GatherRows(op) => vec![op.input, op.output],
    }
}
