//! Mixing of warehouse cells into kernels.
//!
//! One product for a layer and all samples: `[batch * mixtures, cells] x [cells, cell]`, where a cell's elements are stored
//! `[cell_spatial, cell_in, pitch]`, its output channels last and padded. The product, as written, is the kernel that the
//! convolution reads.

use kwc_program::cuda::{Argument, Extent};
use kwc_program::{Mix, Step};

use super::elementwise::used;
use super::kernel::{Family, Kernel, ParameterKind};
use super::lower::Lowering;
use super::storage::{Attention, Mixed, Storage, padded};
use super::weights::Order;
use super::work::{Amount, Work};

/// Threads of a block of the plain product.
const THREADS: u32 = 256;
/// Elements of a cell that a block makes.
const ELEMENTS: usize = 256;
/// Mixtures that a block makes.
const COLUMNS: usize = 32;

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
    plain(lowering, step, op, attention, warehouse, cell, buffer);
}

/// The product with multiply-adds in `f32`.
fn plain(
    lowering: &mut Lowering<'_>,
    step: &Step,
    op: &Mix,
    attention: Attention,
    warehouse: Argument,
    cell: usize,
    output: kwc_program::BufferId,
) {
    let element = attention.element;
    let constants = vec![
        ("Element", element.into()),
        ("CELL", cell.into()),
        ("CELLS", op.cells.into()),
        ("MIXTURES", op.mixtures.into()),
        ("ATTENTION_PITCH", attention.pitch.into()),
        ("ELEMENTS", ELEMENTS.into()),
        ("COLUMNS", COLUMNS.into()),
    ];
    let parameters = vec![
        used("attention", ParameterKind::Input(element)),
        used("warehouse", ParameterKind::Input(element)),
        used("output", ParameterKind::Output(element)),
        used("batch", ParameterKind::Batch),
    ];
    let arguments = [
        Some(Argument::Buffer(attention.buffer)),
        Some(warehouse),
        Some(Argument::Buffer(output)),
        Some(Argument::Batch),
    ];
    let blocks = u32::try_from(cell.div_ceil(ELEMENTS)).unwrap_or(u32::MAX);
    let columns = Extent {
        fixed: 0,
        per_sample: u32::try_from(op.mixtures).unwrap_or(u32::MAX),
        divisor: u32::try_from(COLUMNS).unwrap_or(u32::MAX),
    };
    let useful = Amount::per_sample(op.mixtures * op.cells * cell);
    let bytes = element.bytes();
    let each = Amount::per_sample((op.mixtures * attention.pitch + op.mixtures * cell) * bytes);
    let once = Amount::fixed(op.cells * cell * bytes);
    let passes = (op.mixtures * lowering.batch).div_ceil(COLUMNS);
    let work = Work {
        useful,
        padded: useful,
        tensor: false,
        compulsory: once + each,
        moved: Amount::fixed(op.cells * cell * bytes * passes) + each,
    };
    let kernel = Kernel {
        family: Family::MixF32,
        constants,
        epilogue: None,
        parameters,
        threads: THREADS,
        resident: 0,
        shared_bytes: 0,
    };
    lowering.launch(&step.layer, kernel, [Extent::fixed(blocks), columns, Extent::ONE], &arguments, work);
}
