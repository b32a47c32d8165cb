//! Mixing with multiply-adds in single precision.

use kwc_program::cuda::{Element, Extent};

use super::Product;
use crate::plan::cuda::kernel::{Family, Kernel, count};
use crate::plan::cuda::lower::Lowering;
use crate::plan::cuda::work::{Amount, Work};
use crate::plan::steps::Step;

/// Threads of a block.
const THREADS: u32 = 256;
/// Elements of a cell that a block makes.
const ELEMENTS: usize = 256;
/// Cells of a step.
const STEP: usize = 16;
/// Columns that a block may make: mixtures of all samples.
const COLUMNS: [usize; 4] = [8, 16, 32, 64];

/// Adds the launch of a product.
pub(super) fn lower(lowering: &mut Lowering<'_>, step: &Step, product: &Product, element: Element) {
    let all = product.mixtures * lowering.batch;
    let columns = COLUMNS.into_iter().find(|&columns| columns >= all).unwrap_or(64);
    let mut constants = product.constants();
    constants.extend([("Element", element.into()), ("COLUMNS", columns.into())]);
    let blocks = product.cell.div_ceil(ELEMENTS);
    let passes = all.div_ceil(columns);
    let extent = Extent { fixed: 0, per_sample: count(product.mixtures), divisor: count(columns) };
    let grid = [Extent::fixed(count(blocks)), extent, Extent::ONE];
    let bytes = element.bytes();
    let attention = product.mixtures * product.pitch * bytes;
    let result = Amount::per_sample(product.mixtures * product.cell * bytes);
    let once = product.cells * product.cell * bytes;
    let work = Work {
        useful: Amount::per_sample(product.mixtures * product.cells * product.cell),
        // Whole tiles: as many as the largest batch has.
        padded: Amount::fixed(passes * columns * product.cells.next_multiple_of(STEP) * blocks * ELEMENTS),
        tensor: false,
        compulsory: Amount::fixed(once) + Amount::per_sample(attention) + result,
        moved: Amount::fixed(once * passes) + Amount::per_sample(attention * blocks) + result,
    };
    let kernel = Kernel {
        family: Family::MixF32,
        constants,
        epilogue: None,
        parameters: product.parameters(element),
        threads: THREADS,
        // The widest takes more than half of the registers.
        resident: if columns == 64 { 1 } else { 2 },
        shared_bytes: 0,
    };
    lowering.launch(&step.layer, kernel, grid, &product.arguments(), work);
}
