//! Mixing of a warehouse's cells into kernels.

use crate::program::{KernelLayout, Mix};

use super::epilogue::Finish;
use super::gemm::{self, Channels, Product, Right};
use super::operands::Operands;
use super::pack::Matrix;
use super::simd::{self, Loop, multiply_add};
use super::threads::{Threads, grow};
use super::tile::Tile;

/// Mixtures, of all samples, up to which a warehouse is read as it lies: packing it would cost more than multiplying.
const FEW: usize = 16;
/// Columns of a cell that a task mixes at a time; their sums for a few mixtures stay in the first-level cache.
const COLUMNS: usize = 512;
/// Cells that are added in one pass over the sums.
const CELLS: usize = 4;
/// Values that are mixed in registers.
const LANES: usize = 16;

/// Runs a [`Mix`]: one product for all samples, since they all mix the same cells.
pub(super) fn run(op: &Mix, operands: &Operands<'_>, output: &mut [f32], threads: &Threads) {
    let (attention, warehouse) = (operands.input(op.attention), operands.weight(op.warehouse));
    let tile = Tile::new(output, op.cell);
    if tile.rows() <= FEW {
        let tasks = tile.grid(FEW, COLUMNS);
        return threads.each(tasks, |(_, column, tile), scratch| {
            let sums = grow(&mut scratch.right, FEW * COLUMNS).as_chunks_mut::<COLUMNS>().0;
            simd::run(Stream { attention, warehouse, op, column, tile, sums });
        });
    }
    let left = Matrix { data: attention, layout: KernelLayout::Rows, depth: op.cells, first_row: 0 };
    let right = Right::Plain { data: warehouse, stride: op.cell };
    let product = Product { left, right, finish: Finish::NONE, channels: Channels::Rows, columns: op.cell };
    gemm::run(vec![(product, tile)], threads);
}

/// Mixes a strip of columns for all mixtures, a few cells at a time.
struct Stream<'a, 't> {
    attention: &'a [f32],
    warehouse: &'a [f32],
    op: &'a Mix,
    /// First column of the strip.
    column: usize,
    tile: Tile<'t>,
    /// The strip's sums, `[mixtures, COLUMNS]`: rows of the output itself would compete for the same lines of the cache.
    sums: &'a mut [[f32; COLUMNS]],
}

impl Loop for Stream<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Self { attention, warehouse, op, column, mut tile, sums } = self;
        let width = tile.columns();
        let sums = &mut sums[..tile.rows()];
        sums.fill([0.0; COLUMNS]);
        for first in (0..op.cells).step_by(CELLS) {
            // Cells beyond the last are the first of the pass again, with a factor of 0.
            let present = CELLS.min(op.cells - first);
            let cells: [&[f32]; CELLS] = std::array::from_fn(|cell| {
                let cell = if cell < present { first + cell } else { first };
                &warehouse[cell * op.cell + column..][..width]
            });
            for (row, sums) in sums.iter_mut().enumerate() {
                let mut factors = [0.0; CELLS];
                factors[..present].copy_from_slice(&attention[row * op.cells + first..][..present]);
                add_cells::<FUSED>(&mut sums[..width], cells, factors);
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            tile.row(row).copy_from_slice(&sums[..width]);
        }
    }
}

/// Adds cells, each times its factor, to the sums of a mixture.
#[inline(always)]
fn add_cells<const FUSED: bool>(sums: &mut [f32], cells: [&[f32]; CELLS], factors: [f32; CELLS]) {
    let mix = |sum: f32, values: [f32; CELLS]| {
        values.iter().zip(factors).fold(sum, |sum, (&value, factor)| multiply_add::<FUSED>(value, factor, sum))
    };
    let (chunks, rest) = sums.as_chunks_mut::<LANES>();
    let [(a, a_rest), (b, b_rest), (c, c_rest), (d, d_rest)] = cells.map(<[f32]>::as_chunks::<LANES>);
    for ((((sums, a), b), c), d) in chunks.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        for (lane, sum) in sums.iter_mut().enumerate() {
            *sum = mix(*sum, [a[lane], b[lane], c[lane], d[lane]]);
        }
    }
    for ((((sum, &a), &b), &c), &d) in rest.iter_mut().zip(a_rest).zip(b_rest).zip(c_rest).zip(d_rest) {
        *sum = mix(*sum, [a, b, c, d]);
    }
}
