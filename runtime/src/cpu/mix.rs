//! Mixing of a warehouse's cells into kernels.

use crate::program::{KernelLayout, Mix};

use super::epilogue::Finish;
use super::gemm::{self, Channels, Product, Right};
use super::operands::Operands;
use super::pack::Matrix;
use super::threads::Threads;
use super::tile::Tile;

/// Runs a [`Mix`]: one product for all samples, since they all mix the same cells.
pub(super) fn run(op: &Mix, operands: &Operands<'_>, output: &mut [f32], threads: &Threads) {
    let data = operands.input(op.attention);
    let left = Matrix { data, layout: KernelLayout::Rows, depth: op.cells, first_row: 0 };
    let right = Right::Plain { data: operands.weight(op.warehouse), stride: op.cell };
    let product = Product { left, right, finish: Finish::NONE, channels: Channels::Rows, columns: op.cell };
    gemm::run(vec![(product, Tile::new(output, op.cell))], threads);
}
