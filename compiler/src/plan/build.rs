//! Building: from groups of layers to steps over buffers and weights.

use std::borrow::Cow;
use std::collections::BTreeMap;

use kwc_program::{BufferId, Epilogue, Port, WeightId};

use super::fuse::{self, Group};
use super::recipe::{self, Affine, Recipe};
use super::steps::{GatherRows, GlobalAverage, Op as StepOp, Operand, Step, Steps, Weight};
use super::{Dump, Options, layers};
use crate::check::Checked;
use crate::ir::{ChannelOrder, Layer, LayerId, Network, Shape, ValueId, WarehouseId};

/// Plans all groups of a network.
pub(super) fn build(checked: &Checked, options: &Options, dumps: &[Dump]) -> Steps {
    let network = checked.network();
    let mut uses = vec![0; network.values.len()];
    for input in network.layers.iter().flat_map(|l| &l.inputs) {
        uses[input.index()] += 1;
    }
    let mut pinned = vec![false; network.values.len()];
    for port in &network.outputs {
        pinned[port.value.index()] = true;
    }
    for dump in dumps {
        if let Dump::Value(_, value) = dump {
            pinned[value.index()] = true;
        }
    }
    let groups = fuse::groups(network, &uses, &pinned, options.fuse);

    let mut builder = Builder::new(checked, options, uses, pinned);
    for input in &network.inputs {
        builder.fresh(input.value);
    }
    for group in &groups {
        builder.layer = group.anchor;
        layers::group(&mut builder, group);
    }
    builder.finish(dumps)
}

/// Steps in the making.
pub(super) struct Builder<'a> {
    pub checked: &'a Checked,
    pub network: &'a Network,
    pub options: &'a Options,
    /// Readers of each value that haven't run yet.
    uses: Vec<usize>,
    pinned: Vec<bool>,
    /// Where each value is stored, once it is.
    values: Vec<Option<BufferId>>,
    /// Elements of each buffer.
    buffers: Vec<usize>,
    /// Pending readers of each buffer; pinned ones never end.
    pending: Vec<usize>,
    /// Channel averages that were computed already.
    averages: BTreeMap<ValueId, BufferId>,
    /// The attention of each dynamic layer, in packed order.
    pub attentions: BTreeMap<LayerId, BufferId>,
    pub warehouses: BTreeMap<WarehouseId, WeightId>,
    weights: Vec<Weight>,
    recipes: Vec<Recipe>,
    steps: Vec<Step>,
    /// The layer that steps are being added of, and that of each step.
    layer: LayerId,
    layers: Vec<LayerId>,
}

impl<'a> Builder<'a> {
    fn new(checked: &'a Checked, options: &'a Options, uses: Vec<usize>, pinned: Vec<bool>) -> Self {
        let network = checked.network();
        Self {
            checked,
            network,
            options,
            values: vec![None; uses.len()],
            uses,
            pinned,
            buffers: Vec::new(),
            pending: Vec::new(),
            averages: BTreeMap::new(),
            attentions: BTreeMap::new(),
            warehouses: BTreeMap::new(),
            weights: Vec::new(),
            recipes: Vec::new(),
            steps: Vec::new(),
            layer: LayerId(0),
            layers: Vec::new(),
        }
    }

    /// Shape of a value.
    pub(super) fn shape(&self, value: ValueId) -> &'a Shape {
        &self.network.value(value).shape
    }

    /// A buffer for one step's result.
    pub(super) fn buffer(&mut self, length: usize) -> BufferId {
        let id = BufferId(u32::try_from(self.buffers.len()).unwrap_or(u32::MAX));
        self.buffers.push(length);
        self.pending.push(0);
        id
    }

    /// Stores a value in a buffer of its own.
    pub(super) fn fresh(&mut self, value: ValueId) -> BufferId {
        let buffer = self.buffer(self.shape(value).elements());
        self.store(value, buffer);
        buffer
    }

    /// Says that a value is stored in a buffer, perhaps together with others.
    pub(super) fn store(&mut self, value: ValueId, buffer: BufferId) {
        self.values[value.index()] = Some(buffer);
        self.pending[buffer.0 as usize] += self.uses[value.index()] + usize::from(self.pinned[value.index()]);
    }

    /// Where a value is stored. Values are computed before they are read: an invariant of [`Checked`].
    pub(super) fn read(&self, value: ValueId) -> BufferId {
        self.values[value.index()].unwrap_or(BufferId(u32::MAX))
    }

    /// Where a value is stored; one of its readers runs now.
    pub(super) fn consume(&mut self, value: ValueId) -> BufferId {
        let buffer = self.read(value);
        let pending = &mut self.pending[buffer.0 as usize];
        *pending = pending.saturating_sub(1);
        buffer
    }

    /// Whether nothing that has yet to run reads a buffer.
    pub(super) fn is_free(&self, buffer: BufferId) -> bool {
        self.pending[buffer.0 as usize] == 0
    }

    /// A buffer for a value: `candidate`'s, where nothing reads that any more, else a fresh one. The step must be able to
    /// work in place, and none of `others` may be the candidate.
    pub(super) fn in_place(&mut self, value: ValueId, candidate: Option<BufferId>, others: &[BufferId]) -> BufferId {
        let candidate = candidate.filter(|_| self.options.in_place);
        let free = candidate.filter(|&b| self.is_free(b) && !others.contains(&b));
        let fits = free.filter(|b| self.buffers[b.0 as usize] == self.shape(value).elements());
        match fits {
            Some(buffer) => {
                self.store(value, buffer);
                buffer
            }
            None => self.fresh(value),
        }
    }

    /// The channel averages of a value; computed where they aren't yet.
    pub(super) fn average(&mut self, layer: &Layer, value: ValueId, stored: BufferId) -> BufferId {
        let shape = self.shape(value);
        if shape.positions() == 1 {
            return stored;
        }
        if let Some(&buffer) = self.averages.get(&value) {
            return buffer;
        }
        let output = self.buffer(shape.channels);
        self.step(
            &layer.path,
            StepOp::GlobalAverage(GlobalAverage {
                input: stored,
                output,
                channels: shape.channels,
                positions: shape.positions(),
                channels_last: shape.order == ChannelOrder::Last,
            }),
        );
        // Other layers may ask for it later: nothing may overwrite it.
        self.pending[output.0 as usize] += 1;
        self.averages.insert(value, output);
        output
    }

    /// Adds a step.
    pub(super) fn step(&mut self, layer: &str, op: StepOp) {
        self.steps.push(Step { layer: layer.to_owned(), op });
        self.layers.push(self.layer);
    }

    /// Adds a weight.
    pub(super) fn weight(&mut self, name: String, shape: Vec<usize>, recipe: Recipe) -> WeightId {
        let id = WeightId(u32::try_from(self.weights.len()).unwrap_or(u32::MAX));
        self.weights.push(Weight { name, shape });
        self.recipes.push(recipe);
        id
    }

    /// A vector of factors for a chain of per-channel maps, if it has any.
    pub(super) fn scale(&mut self, path: &str, channels: usize, affine: &[Affine]) -> Option<WeightId> {
        recipe::scales(affine)
            .then(|| self.weight(format!("{path}.scale"), vec![channels], Recipe::Scale(affine.to_vec())))
    }

    /// A vector of terms for a chain of per-channel maps, if it has any.
    pub(super) fn shift(&mut self, path: &str, channels: usize, affine: &[Affine]) -> Option<WeightId> {
        recipe::shifts(affine)
            .then(|| self.weight(format!("{path}.shift"), vec![channels], Recipe::Shift(affine.to_vec())))
    }

    /// The epilogue of a group whose kernel is `kernel`: a static kernel takes the factors into itself.
    pub(super) fn epilogue(
        &mut self,
        group: &Group,
        kernel: Option<Operand>,
        add: Option<BufferId>,
        channels: usize,
    ) -> Epilogue {
        let path = &self.network.layer(group.anchor).path;
        let scale = match kernel {
            Some(Operand::Weight(_)) => None,
            Some(Operand::Buffer(_)) | None => self.scale(path, channels, &group.affine),
        };
        let shift = self.shift(path, channels, &group.affine);
        Epilogue { scale, shift, add, activation: group.activation }
    }

    fn finish(mut self, dumps: &[Dump]) -> Steps {
        let network = self.network;
        let port = |name: &str, buffer: BufferId, shape: Vec<usize>| Port {
            name: Cow::Owned(name.to_owned()),
            buffer,
            shape: Cow::Owned(shape),
        };
        let mut dumped = Vec::new();
        for dump in dumps {
            match dump {
                Dump::Value(name, value) => dumped.push(port(name, self.read(*value), self.shape(*value).dims())),
                Dump::Attention(name, layer) => {
                    let (buffer, shape) = self.gather_attention(*layer);
                    dumped.push(port(name, buffer, shape));
                }
            }
        }
        let edge = |ports: &[crate::ir::Port]| -> Vec<Port> {
            ports.iter().map(|p| port(&p.name, self.read(p.value), self.shape(p.value).dims())).collect()
        };
        let (inputs, outputs) = (edge(&network.inputs), edge(&network.outputs));
        Steps {
            name: network.name.clone(),
            inputs,
            outputs,
            dumps: dumped,
            buffers: self.buffers,
            weights: self.weights,
            recipes: self.recipes,
            steps: self.steps,
            layers: self.layers,
        }
    }

    /// The attention of a layer in the method's own order of mixtures, for the caller.
    fn gather_attention(&mut self, layer: LayerId) -> (BufferId, Vec<usize>) {
        self.layer = layer;
        let part = self.checked.mixtures(layer);
        let cells = self.checked.cells(part.warehouse).cells;
        // Row of the packed attention for each mixture in the method's order.
        let mut rows = vec![0; part.mixtures];
        for (packed, mixture) in (0..).zip(recipe::packed_order(part.grid)) {
            rows[mixture] = packed;
        }
        let input = self.attentions.get(&layer).copied().unwrap_or(BufferId(u32::MAX));
        let output = self.buffer(part.mixtures * cells);
        let op = StepOp::GatherRows(GatherRows { input, output, rows: Cow::Owned(rows), width: cells });
        let path = self.network.layer(layer).path.clone();
        self.step(&path, op);
        (output, vec![part.mixtures, cells])
    }
}
