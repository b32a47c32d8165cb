//! Lowering: the steps of a plan to launches, for one range of batch sizes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use kwc_program::cuda::{ALIGNMENT, Argument, Buffer, Element, Extent, KernelId, Launch, Variant, Weight};
use kwc_program::{BufferId, WeightId};

use super::conv::{Choice, Unmixed};
use super::kernel::{Epilogue, Kernel};
use super::storage::{Attention, KernelOperand, Map, Mixed, Port, Storage, Sums, padded};
use super::weights::{Order, PackRecipe};
use super::work::Work;
use super::{Options, attention, average, conv, elementwise, linear, mix, norm, pool};
use crate::check::Checked;
use crate::ir::{ChannelOrder, Shape};
use crate::partition::Grid;
use crate::plan::place::{self, Lifetime};
use crate::plan::steps::{Op, Operand, Step, Steps};
use crate::plan::{Base, Error};

/// Bytes of a sample's tensor, or of a weight, at most: kernels index elements in 32 bits.
const MOST_BYTES: usize = i32::MAX as usize;
/// Blocks of a grid in x at most.
const MOST_BLOCKS: u64 = i32::MAX as u64;

/// What all variants share: kernels and weights.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub kernels: Vec<Kernel>,
    pub entries: Vec<kwc_program::cuda::Kernel>,
    pub weights: Vec<Weight>,
    pub recipes: Vec<PackRecipe>,
    pub weight_bytes: usize,
    pub counters: usize,
}

/// A variant, and what its launches have to do.
pub(super) struct Lowered {
    pub variant: Variant,
    pub work: Vec<Work>,
    /// What the model said of dynamic layers that could be computed in two ways.
    pub choices: Vec<Choice>,
    /// Why it can't be launched, if it can't.
    pub refusal: Option<Error>,
}

/// Lowers all steps for batches of up to `batch` samples.
pub(super) fn lower(checked: &Checked, options: &Options, steps: &Steps, batch: usize, shared: &mut Shared) -> Lowered {
    let mut lowering = Lowering::new(checked, options, steps, batch, shared);
    for (index, step) in steps.steps.iter().enumerate() {
        lowering.step = index;
        lowering.lower_step(step);
    }
    lowering.finish()
}

/// A variant in the making.
pub(super) struct Lowering<'a> {
    pub checked: &'a Checked,
    pub options: &'a Options,
    pub steps: &'a Steps,
    /// The largest batch that this variant is for: sizes are chosen for it.
    pub batch: usize,
    /// Index of the step that is being lowered.
    pub step: usize,
    shared: &'a mut Shared,
    /// How each buffer of the steps is stored, once it is.
    storage: Vec<Option<Storage>>,
    /// The same activations in other forms, made on demand: by buffer of the steps and whether flattened.
    converted: BTreeMap<(BufferId, bool), Map>,
    /// Partial sums that the step which made a buffer left beside it.
    pub sums: BTreeMap<BufferId, Sums>,
    /// Outputs and dumps that their step wrote itself.
    written: Vec<bool>,
    buffers: Vec<Lifetime>,
    launches: Vec<Launch>,
    work: Vec<Work>,
    /// As [`Lowered::choices`].
    pub choices: Vec<Choice>,
    counters: usize,
    refusal: Option<Error>,
}

impl<'a> Lowering<'a> {
    fn new(checked: &'a Checked, options: &'a Options, steps: &'a Steps, batch: usize, shared: &'a mut Shared) -> Self {
        let mut lowering = Self {
            checked,
            options,
            steps,
            batch,
            step: 0,
            shared,
            storage: vec![None; steps.buffers.len()],
            converted: BTreeMap::new(),
            sums: BTreeMap::new(),
            written: vec![false; steps.outputs.len() + steps.dumps.len()],
            buffers: Vec::new(),
            launches: Vec::new(),
            work: Vec::new(),
            choices: Vec::new(),
            counters: 0,
            refusal: None,
        };
        for port in steps.inputs.iter().chain(steps.outputs.iter()).chain(steps.dumps.iter()) {
            lowering.allocate(port.shape.iter().product::<usize>() * Element::F32.bytes());
        }
        let network = checked.network();
        for (index, (port, input)) in steps.inputs.iter().zip(&network.inputs).enumerate() {
            let shape = &network.value(input.value).shape;
            let port_storage = port_of(BufferId(index as u32), shape);
            lowering.storage[port.buffer.0 as usize] = Some(Storage::Port(port_storage));
        }
        lowering
    }

    fn lower_step(&mut self, step: &Step) {
        match &step.op {
            Op::Conv(op) => conv::lower(self, step, op),
            Op::Linear(op) if op.positions == 1 => linear::lower(self, step, op),
            Op::Linear(op) => conv::lower_linear(self, step, op),
            Op::GlobalAverage(op) => average::lower(self, step, op),
            Op::Attention(op) => attention::lower(self, step, op),
            Op::Mix(op) => mix::lower(self, step, op),
            Op::Pool(op) => pool::lower(self, step, op),
            Op::LayerNorm(op) => norm::lower(self, step, op),
            Op::Map(op) => elementwise::map(self, step, op),
            Op::Concat(op) => elementwise::concat(self, step, op),
            Op::Upsample(op) => elementwise::upsample(self, step, op),
            Op::GatherRows(op) => elementwise::gather_rows(self, step, op),
        }
    }

    /// Type of activations, kernels and warehouses.
    pub(super) fn element(&self) -> Element {
        self.options.precision.element()
    }

    /// A buffer of so many bytes per sample, live from the next launch on.
    pub(super) fn allocate(&mut self, bytes: usize) -> BufferId {
        let id = BufferId(u32::try_from(self.buffers.len()).unwrap_or(u32::MAX));
        let now = self.launches.len();
        self.buffers.push(Lifetime { length: bytes, first: now, last: now });
        id
    }

    /// A fresh activation of the usual element for a buffer of the steps.
    pub(super) fn fresh(&mut self, to: BufferId, channels: usize, positions: usize, channels_last: bool) -> Map {
        let element = self.element();
        let pitch = padded(channels);
        let buffer = self.allocate(positions * pitch * element.bytes());
        let map = Map { buffer, element, channels, positions, pitch, channels_last };
        self.store(to, Storage::Map(map));
        map
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

    /// A buffer of the steps as an activation of these channels and positions; converted where it isn't stored so.
    pub(super) fn read(&mut self, layer: &str, buffer: BufferId, channels: usize, positions: usize) -> Map {
        let stored = match self.storage(buffer) {
            Storage::Map(map) => map,
            Storage::Port(port) => match self.converted.get(&(buffer, false)) {
                Some(&map) => map,
                None => {
                    let map = elementwise::import(self, layer, port);
                    self.converted.insert((buffer, false), map);
                    map
                }
            },
            Storage::Sums(sums) => match self.converted.get(&(buffer, false)) {
                Some(&map) => map,
                None => {
                    let map = average::finish(self, layer, sums);
                    self.converted.insert((buffer, false), map);
                    map
                }
            },
            Storage::Attention(_) | Storage::Kernel(_) | Storage::Unmixed(_) => {
                unreachable!("{buffer} is no activation")
            }
        };
        if (stored.channels, stored.positions) == (channels, positions) {
            return stored;
        }
        if let Some(&map) = self.converted.get(&(buffer, true)) {
            return map;
        }
        let map = elementwise::flatten(self, layer, stored);
        self.converted.insert((buffer, true), map);
        map
    }

    /// The attention that a buffer of the steps holds.
    pub(super) fn read_attention(&self, buffer: BufferId) -> Attention {
        match self.storage(buffer) {
            Storage::Attention(attention) => attention,
            Storage::Port(_) | Storage::Map(_) | Storage::Sums(_) | Storage::Kernel(_) | Storage::Unmixed(_) => {
                unreachable!("{buffer} is no attention")
            }
        }
    }

    /// The mixed kernel that a buffer of the steps holds.
    pub(super) fn read_mixed(&self, buffer: BufferId) -> Mixed {
        match self.storage(buffer) {
            Storage::Kernel(mixed) => mixed,
            Storage::Port(_) | Storage::Map(_) | Storage::Sums(_) | Storage::Attention(_) | Storage::Unmixed(_) => {
                unreachable!("{buffer} is no kernel")
            }
        }
    }

    /// The kernel of a convolution, if it mixes it itself.
    pub(super) fn read_unmixed(&self, kernel: Operand) -> Option<Unmixed> {
        let Operand::Buffer(buffer) = kernel else { return None };
        match self.storage(buffer) {
            Storage::Unmixed(unmixed) => Some(unmixed),
            Storage::Port(_) | Storage::Map(_) | Storage::Sums(_) | Storage::Attention(_) | Storage::Kernel(_) => None,
        }
    }

    /// The kernel of a convolution or linear layer: `[rows, in_channels * positions]` as the steps have it. A static one is
    /// packed for [`KernelOperand`].
    pub(super) fn kernel_operand(
        &mut self,
        kernel: Operand,
        rows: usize,
        in_channels: usize,
        positions: usize,
        channel_block: usize,
    ) -> KernelOperand {
        match kernel {
            Operand::Weight(weight) => {
                let order = Order::Kernel { rows, in_channels, positions, pitch: padded(rows) };
                let weight = self.weight(weight, order, self.element(), "[positions, in_channels, out_channels]");
                KernelOperand::fixed(weight, rows, in_channels)
            }
            Operand::Buffer(buffer) => {
                let Mixed { buffer, block, pitch, elements, .. } = self.read_mixed(buffer);
                let argument = Argument::Buffer(buffer);
                KernelOperand { argument, sample_stride: elements, block, pitch, channel_block }
            }
        }
    }

    /// A packed weight: one of the steps' in another order.
    pub(super) fn weight(
        &mut self,
        weight: WeightId,
        order: Order,
        element: Element,
        layout: &'static str,
    ) -> WeightId {
        let source = &self.steps.weights[weight.0 as usize];
        let base = Base::Recipe(self.steps.recipes[weight.0 as usize].clone());
        let recipe = PackRecipe { base, elements: source.elements(), order, element };
        let name = source.name.clone();
        self.pack(name, recipe, layout)
    }

    /// A packed weight by its recipe; equal ones are one.
    pub(super) fn pack(&mut self, name: String, recipe: PackRecipe, layout: &'static str) -> WeightId {
        let shared = &mut *self.shared;
        let index = shared.recipes.iter().position(|r| *r == recipe).unwrap_or_else(|| {
            let shape = recipe.order.shape(recipe.elements);
            let weight = Weight {
                name: Cow::Owned(name),
                offset: shared.weight_bytes,
                element: recipe.element,
                shape: Cow::Owned(shape),
                layout: Cow::Borrowed(layout),
            };
            shared.weight_bytes += weight.bytes().next_multiple_of(ALIGNMENT);
            shared.weights.push(weight);
            shared.recipes.push(recipe);
            shared.recipes.len() - 1
        });
        WeightId(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// A vector with one `f32` per channel, padded.
    pub(super) fn vector(&mut self, weight: WeightId) -> Argument {
        let length = padded(self.steps.weights[weight.0 as usize].elements());
        Argument::Weight(self.weight(weight, Order::Padded { length }, Element::F32, "[channels]"))
    }

    /// An epilogue, and its operands: scale, shift, addend.
    pub(super) fn epilogue(
        &mut self,
        layer: &str,
        epilogue: &kwc_program::Epilogue,
        channels: usize,
        positions: usize,
    ) -> (Epilogue, [Option<Argument>; 3]) {
        let scale = epilogue.scale.map(|weight| self.vector(weight));
        let shift = epilogue.shift.map(|weight| self.vector(weight));
        let add = epilogue.add.map(|buffer| Argument::Buffer(self.read(layer, buffer, channels, positions).buffer));
        let kind = Epilogue {
            scale: scale.is_some(),
            shift: shift.is_some(),
            add: add.is_some(),
            activation: epilogue.activation,
        };
        (kind, [scale, shift, add])
    }

    /// Counters for a launch: the first of `count` that are its own.
    pub(super) fn counters(&mut self, count: usize) -> Argument {
        let first = self.counters;
        self.counters += count;
        self.shared.counters = self.shared.counters.max(self.counters);
        Argument::Counter(u32::try_from(first).unwrap_or(u32::MAX))
    }

    /// Whether a later step averages a buffer of the steps over its positions.
    pub(super) fn is_averaged(&self, buffer: BufferId) -> bool {
        let later = self.steps.steps.iter().skip(self.step + 1);
        later.into_iter().any(|step| matches!(&step.op, Op::GlobalAverage(op) if op.input == buffer))
    }

    /// The output port of a buffer of the steps that nothing else reads: its step may write the port itself, as `f32` in
    /// PyTorch's order, and must if this gives one.
    pub(super) fn claim_output(&mut self, buffer: BufferId) -> Option<BufferId> {
        let steps = self.steps;
        let ports: Vec<usize> = steps
            .outputs
            .iter()
            .chain(steps.dumps.iter())
            .enumerate()
            .filter(|(_, port)| port.buffer == buffer)
            .map(|(index, _)| index)
            .collect();
        let [port] = ports[..] else { return None };
        let later = &steps.steps[self.step + 1..];
        if later.iter().any(|step| step.op.reads().contains(&buffer)) {
            return None;
        }
        self.written[port] = true;
        Some(BufferId(u32::try_from(steps.inputs.len() + port).unwrap_or(u32::MAX)))
    }

    /// The mixture grid of the dynamic layer of a path.
    pub(super) fn mixture_grid(&self, path: &str) -> Grid {
        let mut layers = self.checked.network().dynamic_layers();
        match layers.find(|(_, layer, _)| layer.path == path) {
            Some((id, _, _)) => self.checked.mixtures(id).grid,
            None => unreachable!("only dynamic layers have mixtures, and `{path}` is none"),
        }
    }

    /// Says that a layer can't be launched: the first one is the error of the plan.
    pub(super) fn refuse(&mut self, layer: &str, what: String) {
        // What is launched after the steps is named by its port.
        let step = self.steps.steps.get(self.step).filter(|step| step.layer == layer);
        let place = step.and_then(|_| self.checked.place(*self.steps.layers.get(self.step)?));
        let layer = match (layer, place) {
            ("", Some(place)) => format!("the layer at {place}"),
            (name, Some(place)) => format!("layer `{name}` at {place}"),
            (name, None) => format!("layer `{name}`"),
        };
        self.refusal.get_or_insert(Error::TooLarge { layer, what });
    }

    /// Refuses what kernels can't index or a grid can't count: they have 32 bits, and two of a grid's dimensions 16.
    fn check_launch(&mut self, layer: &str, grid: &[Extent; 3], arguments: &[Argument]) {
        for argument in arguments {
            let bytes = match *argument {
                Argument::Buffer(buffer) => self.buffers[buffer.0 as usize].length,
                Argument::Weight(weight) => self.shared.weights[weight.0 as usize].bytes(),
                Argument::Counter(_) | Argument::Batch | Argument::Int(_) => 0,
            };
            if bytes > MOST_BYTES {
                self.refuse(layer, format!("a tensor of it takes {bytes} bytes, and {MOST_BYTES} are the most"));
            }
        }
        let most = [MOST_BLOCKS, u64::from(u16::MAX), u64::from(u16::MAX)];
        for ((extent, most), axis) in grid.iter().zip(most).zip(["x", "y", "z"]) {
            let blocks = extent.blocks(self.batch);
            if blocks > most || extent.per_sample == u32::MAX || extent.fixed == u32::MAX {
                self.refuse(
                    layer,
                    format!(
                        "its grid has {blocks} blocks in {axis} with a batch of {}, and {most} are the most",
                        self.batch
                    ),
                );
            }
        }
    }

    /// Whether an earlier launch, of this range of batch sizes or of one before, has a kernel.
    pub(super) fn has(&self, kernel: &Kernel) -> bool {
        self.shared.kernels.contains(kernel)
    }

    /// Adds a launch. There is one argument for each of the kernel's parameters; those of unused ones are `None`.
    pub(super) fn launch(
        &mut self,
        layer: &str,
        kernel: Kernel,
        grid: [Extent; 3],
        arguments: &[Option<Argument>],
        work: Work,
    ) {
        debug_assert_eq!(kernel.parameters.len(), arguments.len(), "{:?}", kernel.family);
        let arguments: Vec<Argument> = arguments.iter().flatten().copied().collect();
        self.check_launch(layer, &grid, &arguments);
        let now = self.launches.len();
        for argument in &arguments {
            if let Argument::Buffer(buffer) = argument {
                self.buffers[buffer.0 as usize].last = now;
            }
        }
        let shared = &mut *self.shared;
        let index = shared.kernels.iter().position(|k| *k == kernel).unwrap_or_else(|| {
            let same = shared.kernels.iter().filter(|k| k.family == kernel.family).count();
            shared.entries.push(kwc_program::cuda::Kernel {
                symbol: Cow::Owned(format!("{}_{same}", kernel.family.name())),
                threads: kernel.threads,
                shared_bytes: kernel.shared_bytes,
            });
            shared.kernels.push(kernel);
            shared.kernels.len() - 1
        });
        let kernel = KernelId(u32::try_from(index).unwrap_or(u32::MAX));
        let layer = Cow::Owned(layer.to_owned());
        self.launches.push(Launch { layer, kernel, grid, arguments: Cow::Owned(arguments) });
        self.work.push(work);
    }

    fn finish(mut self) -> Lowered {
        let steps = self.steps;
        let network = self.checked.network();
        let output_shapes: Vec<Shape> =
            network.outputs.iter().map(|port| network.value(port.value).shape.clone()).collect();
        let ports: Vec<_> = steps.outputs.iter().chain(steps.dumps.iter()).cloned().collect();
        for (index, port) in ports.iter().enumerate() {
            if self.written[index] {
                continue;
            }
            let to = BufferId(u32::try_from(steps.inputs.len() + index).unwrap_or(u32::MAX));
            let shape = match output_shapes.get(index) {
                Some(shape) => shape.clone(),
                None => match network.paths.get(port.name.as_ref()) {
                    Some(&value) => network.value(value).shape.clone(),
                    // A dump of an attention is written by its step.
                    None => continue,
                },
            };
            let map = self.read(&port.name, port.buffer, shape.channels, shape.positions());
            elementwise::export(&mut self, &port.name, map, port_of(to, &shape));
        }
        let last = self.launches.len();
        let (inputs, fixed) = (steps.inputs.len(), steps.inputs.len() + ports.len());
        for (index, buffer) in self.buffers[..fixed].iter_mut().enumerate() {
            if index >= inputs {
                // The caller reads it afterwards.
                buffer.last = last;
            }
        }
        self.first_writes(inputs, fixed);
        let (buffers, arena) = place::place_aligned(&self.buffers, ALIGNMENT);
        let buffers = buffers.iter().map(|b| Buffer { offset: b.offset, length: b.length }).collect();
        let variant = Variant { batch: self.batch, buffers, arena, launches: Cow::Owned(self.launches) };
        Lowered { variant, work: self.work, choices: self.choices, refusal: self.refusal }
    }

    /// Outputs and dumps live from their first launch, not from the first of all.
    fn first_writes(&mut self, inputs: usize, fixed: usize) {
        for index in inputs..fixed {
            let id = BufferId(u32::try_from(index).unwrap_or(u32::MAX));
            let first = self.launches.iter().position(|l| l.arguments.contains(&Argument::Buffer(id)));
            self.buffers[index].first = first.unwrap_or(0);
        }
    }
}

fn port_of(buffer: BufferId, shape: &Shape) -> Port {
    Port {
        buffer,
        channels: shape.channels,
        positions: shape.positions(),
        channels_last: shape.order == ChannelOrder::Last,
    }
}
