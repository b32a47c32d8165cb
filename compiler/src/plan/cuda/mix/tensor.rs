//! Mixing in half precision, on tensor cores.

use kwc_program::cuda::{Element, Extent};

use super::Product;
use super::tiles::{Problem, Tiles, costs};
use crate::plan::cuda::choice::{Choices, cheapest};
use crate::plan::cuda::gpu::Gpu;
use crate::plan::cuda::kernel::{Constant, Family, Kernel, count};
use crate::plan::cuda::lower::Lowering;
use crate::plan::cuda::work::{Amount, Work};
use crate::plan::steps::Step;

/// Seconds that the model gives a product of so many elements of a cell, cells, and mixtures of a sample; none if its
/// attentions don't fit in shared memory.
pub(super) fn seconds(lowering: &Lowering<'_>, cell: usize, cells: usize, mixtures: usize) -> Option<f64> {
    let problem = Problem { cell, cells, columns: mixtures * lowering.batch };
    let gpu = lowering.options.gpu;
    cheapest(costs(&problem, gpu)).map(|tiles| tiles.seconds(&problem, gpu))
}

/// Adds the launch of a product, if its attentions fit in shared memory.
pub(super) fn lower(lowering: &mut Lowering<'_>, step: &Step, product: &Product) -> bool {
    let problem = Problem { cell: product.cell, cells: product.cells, columns: product.mixtures * lowering.batch };
    let with = |batch| Problem { columns: product.mixtures * batch, ..problem };
    let choices = Choices::new(lowering, |batch| costs(&with(batch), lowering.options.gpu));
    let kernel = |tiles: &Tiles| kernel(product, &problem, tiles, lowering.options.gpu);
    let Some((tiles, kernel)) = choices.take(lowering, kernel) else { return false };
    let columns = Extent { fixed: 0, per_sample: count(product.mixtures), divisor: count(tiles.c_tile()) };
    let grid = [columns, Extent::fixed(count(tiles.e_blocks(&problem))), Extent::ONE];
    let work = work(product, &problem, &tiles);
    lowering.launch(&step.layer, kernel, grid, &product.arguments(), work);
    true
}

fn kernel(product: &Product, problem: &Problem, tiles: &Tiles, gpu: &Gpu) -> Kernel {
    let mut constants = product.constants();
    constants.extend(
        [
            ("E_TILE", tiles.e_tile()),
            ("C_TILE", tiles.c_tile()),
            ("K_TILE", tiles.k_tile),
            ("WARPS_E", tiles.warps_e),
            ("WARPS_C", tiles.warps_c),
            ("STAGES", tiles.stages),
            ("TILES", tiles.tiles),
        ]
        .map(|(name, value)| (name, Constant::from(value))),
    );
    Kernel {
        family: Family::Mix,
        constants,
        epilogue: None,
        parameters: product.parameters(Element::F16),
        threads: count(tiles.threads()),
        resident: count(tiles.resident(problem, gpu)),
        shared_bytes: count(tiles.shared_bytes(problem)),
    }
}

fn work(product: &Product, problem: &Problem, tiles: &Tiles) -> Work {
    let bytes = Element::F16.bytes();
    let result = Amount::per_sample(product.mixtures * product.cell * bytes);
    let attention = product.mixtures * product.pitch * bytes;
    Work {
        useful: Amount::per_sample(product.mixtures * product.cells * product.cell),
        // Whole tiles of columns: as many as the largest batch has.
        padded: Amount::fixed(tiles.multiply_adds(problem)),
        tensor: true,
        compulsory: Amount::fixed(product.cells * product.cell * bytes) + Amount::per_sample(attention) + result,
        moved: Amount::fixed(tiles.warehouse_bytes(problem))
            + Amount::per_sample(attention * tiles.e_blocks(problem))
            + result,
    }
}
