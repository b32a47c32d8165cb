//! Mixing of warehouse cells into kernels.
//!
//! One product for a layer and all samples: `[batch * mixtures, cells] x [cells, cell]`, where a cell's elements are stored
//! `[cell_spatial, cell_in, pitch]`, its output channels last and padded. The product, as written, is the kernel that the
//! convolution reads. For few samples and positions the convolution may mix instead, and nothing is launched here
//! ([`conv::choose_inside`]).

mod plain;
mod tensor;
mod tiles;

use kwc_program::cuda::{Argument, Element};
use kwc_program::{BufferId, WeightId};

use super::conv;
use super::elementwise::used;
use super::kernel::{Constant, Parameter, ParameterKind};
use super::lower::Lowering;
use super::storage::{Mixed, Storage, padded};
use super::weights::{Order, PackRecipe};
use crate::plan::steps::{Attention as AttentionOp, Basis, Mix, Step};
use crate::plan::{Base, Fold};

/// Layout of a warehouse.
const LAYOUT: &str = "[cells * cell_spatial * cell_in, cell_out]";

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
        vec![("CELL", self.cell.into()), ("CELLS", self.cells.into()), ("ATTENTION_PITCH", self.pitch.into())]
    }

    fn parameters(&self, element: Element) -> Vec<Parameter> {
        vec![
            used("attention", ParameterKind::Input(element)),
            used("warehouse", ParameterKind::Input(element)),
            used("output", ParameterKind::Output(element)),
            used("batch", ParameterKind::Batch),
            used("mixtures", ParameterKind::Int),
        ]
    }

    fn arguments(&self) -> [Option<Argument>; 5] {
        [
            Some(Argument::Buffer(self.attention)),
            Some(self.warehouse),
            Some(Argument::Buffer(self.output)),
            Some(Argument::Batch),
            Some(Argument::int(self.mixtures)),
        ]
    }
}

/// Cells of [`Fold`].
pub(super) const fn folded_cells(basis: &Basis, mixtures: usize) -> usize {
    basis.local + basis.rank + mixtures
}

/// The basis of an attention, if it is folded into the layer's cells: where that leaves fewer cells to read and to mix.
/// Blending with a temperature, and a caller who wants the attention, need one over the cells of the warehouse.
pub(super) fn folded(lowering: &Lowering<'_>, op: &AttentionOp) -> Option<Basis> {
    let is_fewer = |basis: &Basis| folded_cells(basis, op.mixtures) < op.cells;
    let is_gathered = lowering.steps.is_gathered(op.output);
    op.basis.filter(|basis| is_fewer(basis) && op.temperature.is_none() && !is_gathered)
}

/// Packs the cells that a layer mixes if its basis is folded in.
fn folded_warehouse(lowering: &mut Lowering<'_>, step: &Step, op: &Mix, basis: &Basis, order: Order) -> Argument {
    let recipe = |weight: WeightId| lowering.steps.recipes[weight.0 as usize].clone();
    let fold = Fold {
        warehouse: recipe(op.warehouse),
        fc3: recipe(basis.fc3),
        bias: recipe(basis.bias),
        cells: op.cells,
        cell: op.cell,
        local: basis.local,
        start_cell: basis.start_cell,
        rank: basis.rank,
        mixtures: op.mixtures,
    };
    let elements = folded_cells(basis, op.mixtures) * op.cell;
    let recipe = PackRecipe { base: Base::Folded(fold), elements, order, element: lowering.element() };
    Argument::Weight(lowering.pack(format!("{}.attention.folded", step.layer), recipe, LAYOUT))
}

/// Adds the launch of a layer's mixing.
pub(super) fn lower(lowering: &mut Lowering<'_>, step: &Step, op: &Mix) {
    let attention = lowering.read_attention(op.attention);
    let cell_out = *lowering.steps.weights[op.warehouse.0 as usize].shape.last().unwrap_or(&1);
    let pitch = padded(cell_out);
    let order = Order::Rows { width: cell_out, pitch };
    let element = lowering.element();
    let warehouse = match attention.folded {
        Some(basis) => folded_warehouse(lowering, step, op, &basis, order),
        None => Argument::Weight(lowering.weight(op.warehouse, order, element, LAYOUT)),
    };
    let cell = op.cell / cell_out * pitch;
    if element == Element::F16 {
        let apart = tensor::seconds(lowering, cell, attention.cells, op.mixtures);
        let inside = |apart| conv::choose_inside(lowering, step, op, attention, warehouse, cell_out, apart);
        if let Some(unmixed) = apart.and_then(inside) {
            lowering.store(op.output, Storage::Unmixed(unmixed));
            return;
        }
    }
    let buffer = lowering.allocate(op.mixtures * cell * element.bytes());
    let mixed = Mixed { buffer, element, block: cell_out, pitch, elements: op.mixtures * cell };
    lowering.store(op.output, Storage::Kernel(mixed));
    let product = Product {
        attention: attention.buffer,
        pitch: attention.pitch,
        warehouse,
        output: buffer,
        mixtures: op.mixtures,
        cells: attention.cells,
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
