//! Mixing with multiply-adds in single precision.

use kwc_program::Step;
use kwc_program::cuda::{Element, Extent};

use super::{Product, count};
use crate::plan::cuda::kernel::{Family, Kernel};
use crate::plan::cuda::lower::Lowering;
use crate::plan::cuda::work::{Amount, Work};

/// Threads of a block.
const THREADS: u32 = 256;
/// Elements of a cell that a block makes.
const ELEMENTS: usize = 256;
/// Mixtures that a block makes.
const COLUMNS: usize = 32;

/// Adds the launch of a product.
pub(super) fn lower(lowering: &mut Lowering<'_>, step: &Step, product: &Product, element: Element) {
    let mut constants = product.constants();
    constants.extend([("Element", element.into()), ("ELEMENTS", ELEMENTS.into()), ("COLUMNS", COLUMNS.into())]);
    let columns = Extent { fixed: 0, per_sample: count(product.mixtures), divisor: count(COLUMNS) };
    let grid = [Extent::fixed(count(product.cell.div_ceil(ELEMENTS))), columns, Extent::ONE];
    let bytes = element.bytes();
    let useful = Amount::per_sample(product.mixtures * product.cells * product.cell);
    let each = Amount::per_sample((product.mixtures * product.pitch + product.mixtures * product.cell) * bytes);
    let once = product.cells * product.cell * bytes;
    let passes = (product.mixtures * lowering.batch).div_ceil(COLUMNS);
    let work = Work {
        useful,
        padded: useful,
        tensor: false,
        compulsory: Amount::fixed(once) + each,
        moved: Amount::fixed(once * passes) + each,
    };
    let kernel = Kernel {
        family: Family::MixF32,
        constants,
        epilogue: None,
        parameters: product.parameters(element),
        threads: THREADS,
        resident: 1,
        shared_bytes: 0,
    };
    lowering.launch(&step.layer, kernel, grid, &product.arguments(), work);
}
