//! Mixing of warehouse cells into kernels.
//!
//! One product for a layer and all samples: `[batch * mixtures, cells] x [cells, cell]`, where a cell's elements are stored
//! `[cell_spatial, cell_in, pitch]`, its output channels last and padded. The product, as written, is the kernel that the
//! convolution reads.

mod plain;
mod tensor;
mod tiles;

use kwc_program::cuda::{Argument, Element};
use kwc_program::{BufferId, Mix, Step};

use super::elementwise::used;
use super::kernel::{Constant, Parameter, ParameterKind};
use super::lower::Lowering;
use super::storage::{Mixed, Storage, padded};
use super::weights::Order;

/// A product to launch.
struct Product {
    attention: BufferId,
    /// Elements from one mixture's attention to the next.
    pitch: usize,
    warehouse: Argument,
    output: BufferId,
    mixtures: usize,
    cells: usize,
    /// Elements of a cell, padding included.
    cell: usize,
}

impl Product {
    fn constants(&self) -> Vec<(&'static str, Constant)> {
        vec![
            ("CELL", self.cell.into()),
            ("CELLS", self.cells.into()),
            ("MIXTURES", self.mixtures.into()),
            ("ATTENTION_PITCH", self.pitch.into()),
        ]
    }

    fn parameters(&self, element: Element) -> Vec<Parameter> {
        vec![
            used("attention", ParameterKind::Input(element)),
            used("warehouse", ParameterKind::Input(element)),
            used("output", ParameterKind::Output(element)),
            used("batch", ParameterKind::Batch),
        ]
    }

    fn arguments(&self) -> [Option<Argument>; 4] {
        [
            Some(Argument::Buffer(self.attention)),
            Some(self.warehouse),
            Some(Argument::Buffer(self.output)),
            Some(Argument::Batch),
        ]
    }
}

/// Adds the launch of a layer's mixing.
pub(super) fn lower(lowering: &mut Lowering<'_>, step: &Step, op: &Mix) {
    let attention = lowering.read_attention(op.attention);
    let cell_out = *lowering.steps.program.weights[op.warehouse.0 as usize].shape.last().unwrap_or(&1);
    let pitch = padded(cell_out);
    let order = Order::Rows { width: cell_out, pitch };
    let element = lowering.element();
    let layout = "[cells * cell_spatial * cell_in, cell_out]";
    let warehouse = Argument::Weight(lowering.weight(op.warehouse, order, element, layout));
    let cell = op.cell / cell_out * pitch;
    let buffer = lowering.allocate(op.mixtures * cell * element.bytes());
    let mixed = Mixed { buffer, element, block: cell_out, pitch, elements: op.mixtures * cell };
    lowering.store(op.output, Storage::Kernel(mixed));
    let product = Product {
        attention: attention.buffer,
        pitch: attention.pitch,
        warehouse,
        output: buffer,
        mixtures: op.mixtures,
        cells: op.cells,
        cell,
    };
    let launched = match element {
        Element::F16 => tensor::lower(lowering, step, &product),
        Element::F32 => false,
    };
    if !launched {
        plain::lower(lowering, step, &product, element);
    }
}

/// A figure of a launch.
fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
