//! Reordering: what the caller gives and gets, and what is flattened.

use std::borrow::Cow;

use kwc_program::{BufferId, Export, Import, Op, Port};

use super::lower::{Lowering, Map, Storage};
use crate::ir::{ChannelOrder, LayerId, Shape};
use crate::plan::steps::{self, Steps};

/// Channels from which on an input isn't padded: the convolution that reads it has whole vectors of channels.
const MANY_CHANNELS: usize = 16;

/// An input in the caller's order: channels first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given {
    pub buffer: BufferId,
    pub channels: usize,
    pub size: [usize; 3],
    /// Zeros around it once it is imported.
    pub padding: [usize; 3],
}

impl Given {
    pub(super) fn positions(&self) -> usize {
        self.size.iter().product()
    }
}

/// How an input is stored.
pub(super) fn input(steps: &Steps, port: &Port, shape: &Shape, buffer: BufferId) -> Storage {
    let padding = padding(steps, port.buffer, shape);
    let (channels, positions) = (shape.channels, shape.positions());
    if padding == [0; 3] && is_last(shape) {
        return Storage::Map(Map { buffer, channels, positions, flattens: true, producer: None });
    }
    let size = steps::three(&shape.spatial, 1);
    Storage::Given(Given { buffer, channels, size, padding })
}

/// Whether the caller's order of a value is the Program's.
fn is_last(shape: &Shape) -> bool {
    match shape.order {
        ChannelOrder::Last => true,
        ChannelOrder::First => shape.channels == 1 || shape.positions() == 1,
    }
}

/// The padding of the convolutions that read an input of few channels, if nothing else reads it.
fn padding(steps: &Steps, buffer: BufferId, shape: &Shape) -> [usize; 3] {
    if shape.channels >= MANY_CHANNELS || shape.order == ChannelOrder::Last {
        return [0; 3];
    }
    let mut readers = steps.steps.iter().filter(|step| step.op.reads().contains(&buffer)).map(|step| match &step.op {
        steps::Op::Conv(op) if op.input == buffer && op.epilogue.add != Some(buffer) && op.groups == 1 => {
            Some(op.padding)
        }
        steps::Op::Conv(_)
        | steps::Op::Linear(_)
        | steps::Op::GlobalAverage(_)
        | steps::Op::Attention(_)
        | steps::Op::Mix(_)
        | steps::Op::Pool(_)
        | steps::Op::LayerNorm(_)
        | steps::Op::Map(_)
        | steps::Op::Concat(_)
        | steps::Op::Upsample(_)
        | steps::Op::GatherRows(_) => None,
    });
    match readers.next().flatten() {
        Some(padding) if readers.all(|other| other == Some(padding)) => padding,
        Some(_) | None => [0; 3],
    }
}

impl Lowering<'_> {
    /// An input in the Program's order, with its padding.
    pub(super) fn import(&mut self, given: Given) -> Map {
        if let Some(&map) = self.imported.get(&given.buffer) {
            return map;
        }
        let Given { buffer, channels, size, padding } = given;
        let positions = size.iter().zip(padding).map(|(size, padding)| size + 2 * padding).product();
        let output = self.buffer(positions * channels);
        self.push(Op::Import(Import { input: buffer, output, channels, input_size: size, padding }));
        let map = Map { buffer: output, channels, positions, flattens: false, producer: None };
        self.imported.insert(buffer, map);
        map
    }

    /// A map in the order of PyTorch.
    pub(super) fn export(&mut self, map: Map) -> BufferId {
        if map.is_flat() {
            return map.buffer;
        }
        if let Some(&exported) = self.exported.get(&map.buffer) {
            return exported;
        }
        let Map { buffer, channels, positions, .. } = map;
        let output = self.buffer(positions * channels);
        self.push(Op::Export(Export { input: buffer, output, channels, positions }));
        self.exported.insert(buffer, output);
        output
    }

    /// Outputs and dumps, from the buffers of the steps to those that the caller gets.
    pub(super) fn ports(&mut self) -> (Vec<Port>, Vec<Port>) {
        let network = self.checked.network();
        let mut outputs = Vec::new();
        for (port, output) in self.steps.outputs.iter().zip(&network.outputs) {
            outputs.push(self.port(port, Some(output.value)));
        }
        let mut dumps = Vec::new();
        for port in &self.steps.dumps {
            dumps.push(self.port(port, network.paths.get(port.name.as_ref()).copied()));
        }
        (outputs, dumps)
    }

    /// A port for a value, or for an attention, which has none.
    fn port(&mut self, port: &Port, value: Option<crate::ir::ValueId>) -> Port {
        let network = self.checked.network();
        let value = value.map(|value| network.value(value));
        let buffer = match (self.storage(port.buffer), value) {
            (Storage::Given(given), _) => given.buffer,
            (Storage::Map(map), None) => map.buffer,
            (Storage::Map(_), Some(value)) => {
                self.layer.clone_from(&port.name);
                self.id = value.producer.unwrap_or(LayerId(0));
                let map = self.read(port.buffer, value.shape.channels, value.shape.positions());
                if is_last(&value.shape) { map.buffer } else { self.export(map) }
            }
            (Storage::Attention(_) | Storage::Kernel(_), _) => unreachable!("{} is no value", port.buffer),
        };
        Port { name: port.name.clone(), buffer, shape: Cow::Owned(port.shape.to_vec()) }
    }
}
