//! Products of matrices, `[rows, depth] x [depth, columns]`, with the epilogue applied while results are hot.
//!
//! The usual blocking: a task owns a tile of the output; it walks the depth in chunks, packs the right side's chunk into
//! panels of [`WIDTH`] columns and blocks of the left side into panels of [`HEIGHT`] rows, and multiplies panel by panel
//! with all `HEIGHT x WIDTH` sums in registers. Packing is where the operands' layouts end: a kernel in blocks, a map seen
//! through a convolution's windows and a plain matrix all become the same panels.

use super::activation::activate;
use super::epilogue::{Add, Finish};
use super::pack::{Matrix, pack_columns};
use super::simd::{self, Loop, multiply_add};
use super::threads::{Scratch, Threads, grow};
use super::tile::Tile;
use super::windows::Windows;

/// Rows of a left panel. With `WIDTH`, its sums take 12 of the 16 registers of 8 lanes.
const HEIGHT: usize = 6;
/// Columns of a right panel.
pub(super) const WIDTH: usize = 16;
/// Depth of a chunk: two panels of it (22 KiB) fit the first-level cache.
const DEPTH: usize = 256;
/// Rows of the left side that are packed at a time (96 KiB).
const ROWS: usize = 16 * HEIGHT;
/// Columns of a task (512 KiB when packed).
const COLUMNS: usize = 32 * WIDTH;

/// The right side of a product, `[depth, columns]`.
#[derive(Clone, Copy)]
pub(super) enum Right<'a> {
    /// Row after row.
    Plain {
        /// Its elements.
        data: &'a [f32],
        /// Elements from one row to the next.
        stride: usize,
    },
    /// The transpose of a matrix `[columns, depth]`.
    Transposed(Matrix<'a>),
    /// A map through a convolution's windows.
    Windows(Windows<'a>),
}

/// Which dimension of the output is channels.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Channels {
    /// A row is a channel.
    Rows,
    /// A column is a channel.
    Columns,
}

/// One product; the output's tile says how many rows and columns.
#[derive(Clone, Copy)]
pub(super) struct Product<'a> {
    /// `[rows, depth]`
    pub(super) left: Matrix<'a>,
    /// `[depth, columns]`
    pub(super) right: Right<'a>,
    /// What is done to the result.
    pub(super) finish: Finish<'a>,
    /// Which dimension `finish` takes for channels.
    pub(super) channels: Channels,
    /// Columns of the whole output.
    pub(super) columns: usize,
}

/// Computes products, each into its own tile.
pub(super) fn run(products: Vec<(Product<'_>, Tile<'_>)>, threads: &Threads) {
    let count = products.len();
    let mut tasks = Vec::with_capacity(count);
    for (product, tile) in products {
        let (rows, columns) = cut(&product, tile.rows(), tile.columns(), count, threads.count());
        tasks.extend(tile.grid(rows, columns).into_iter().map(|(row, column, tile)| (product, row, column, tile)));
    }
    threads.each(tasks, |(product, row, column, tile), scratch| product.tile(row, column, tile, scratch));
}

/// Size of the tiles into which an output is cut: the one that should be done first.
///
/// Smaller tiles balance better but pack more: each packs all the rows and all the columns that it needs. Costs are in
/// cycles per element, as measured on one machine; only their proportions matter.
fn cut(product: &Product<'_>, rows: usize, columns: usize, products: usize, threads: usize) -> (usize, usize) {
    const LEFT: usize = 10;
    const RIGHT: usize = 5;
    const WINDOW: usize = 12;
    /// Multiplications of one vector register's worth, per element of a `HEIGHT x WIDTH` tile, in tenths of a cycle.
    const MULTIPLY: usize = HEIGHT * WIDTH * 10 / 13;
    let right = match product.right {
        Right::Plain { .. } => RIGHT,
        Right::Transposed(_) => LEFT,
        Right::Windows(_) => WINDOW,
    };
    let mut best = (usize::MAX, rows, columns.min(COLUMNS));
    let mut parts = 1;
    while parts <= 4 * threads {
        let mut bands = 1;
        while bands <= 4 * threads {
            let height = rows.div_ceil(bands).next_multiple_of(HEIGHT);
            let width = columns.div_ceil(parts).next_multiple_of(WIDTH).min(COLUMNS);
            let work = height.saturating_mul(LEFT).saturating_add(width * right);
            let work = work.saturating_add(height.div_ceil(HEIGHT).saturating_mul(width.div_ceil(WIDTH) * MULTIPLY));
            let tasks = rows.div_ceil(height).saturating_mul(columns.div_ceil(width)).saturating_mul(products);
            let time = work.saturating_mul(tasks.div_ceil(threads));
            if time < best.0 {
                best = (time, height, width);
            }
            bands *= 2;
        }
        parts *= 2;
    }
    (best.1, best.2)
}

impl Product<'_> {
    /// Computes the tile that starts at `(row, column)` of the output.
    fn tile(&self, row: usize, column: usize, mut tile: Tile<'_>, scratch: &mut Scratch) {
        let depth = self.left.depth;
        let chunk = depth.div_ceil(depth.div_ceil(DEPTH).max(1)).max(1);
        let left = grow(&mut scratch.left, ROWS * DEPTH);
        let right = grow(&mut scratch.right, COLUMNS * DEPTH);
        let (left, right) = (left.as_chunks_mut::<HEIGHT>().0, right.as_chunks_mut::<WIDTH>().0);
        for start in (0..depth).step_by(chunk) {
            let length = chunk.min(depth - start);
            let stage = Stage { first: start == 0, last: start + length == depth };
            let right = &mut right[..tile.columns().div_ceil(WIDTH) * length];
            self.pack_right((column, tile.columns()), (start, length), right);
            for top in (0..tile.rows()).step_by(ROWS) {
                let bottom = (top + ROWS).min(tile.rows());
                let left = &mut left[..(bottom - top).div_ceil(HEIGHT) * length];
                self.left.pack(row + top..row + bottom, start, length, left);
                for (across, right) in right.chunks_exact(length).enumerate() {
                    for (down, left) in left.chunks_exact(length).enumerate() {
                        let sums = simd::run(Multiply { left, right });
                        let (down, across) = (top + down * HEIGHT, across * WIDTH);
                        let rows = HEIGHT.min(tile.rows() - down);
                        let width = WIDTH.min(tile.columns() - across);
                        for (sums, down) in sums.iter().zip(down..down + rows) {
                            let output = &mut tile.row(down)[across..across + width];
                            self.store(sums, output, row + down, column + across, stage);
                        }
                    }
                }
            }
        }
    }

    fn pack_right(&self, columns: (usize, usize), depth: (usize, usize), panels: &mut [[f32; WIDTH]]) {
        match &self.right {
            Right::Plain { data, stride } => pack_columns(data, *stride, columns, depth, panels),
            Right::Transposed(matrix) => matrix.pack(columns.0..columns.0 + columns.1, depth.0, depth.1, panels),
            Right::Windows(windows) => windows.pack(columns, depth, panels),
        }
    }

    /// Adds one row of sums to the output at `(row, column)`, and finishes it in the last stage.
    fn store(&self, sums: &[f32; WIDTH], output: &mut [f32], row: usize, column: usize, stage: Stage) {
        let finish = &self.finish;
        let width = output.len();
        let mut values = *sums;
        match (finish.scale, self.channels) {
            (None, Channels::Rows | Channels::Columns) => {}
            (Some(scale), Channels::Rows) => values.iter_mut().for_each(|value| *value *= scale[row]),
            (Some(scale), Channels::Columns) => add_each(&mut values, &scale[column..column + width], |v, s| v * s),
        }
        if stage.first {
            match (finish.shift, self.channels) {
                (None, Channels::Rows | Channels::Columns) => {}
                (Some(shift), Channels::Rows) => values.iter_mut().for_each(|value| *value += shift[row]),
                (Some(shift), Channels::Columns) => add_each(&mut values, &shift[column..column + width], |v, s| v + s),
            }
            match finish.add.part(row * self.columns + column, width) {
                Add::Nothing => {}
                Add::Own => add_each(&mut values, output, |v, s| v + s),
                Add::Other(add) => add_each(&mut values, add, |v, s| v + s),
            }
        } else {
            add_each(&mut values, output, |v, s| v + s);
        }
        if stage.last {
            activate(finish.activation, &mut values);
        }
        match <&mut [f32; WIDTH]>::try_from(&mut *output) {
            Ok(output) => *output = values,
            Err(_) => output.copy_from_slice(&values[..width]),
        }
    }
}

/// Where a chunk of the depth stands among the others.
#[derive(Clone, Copy)]
struct Stage {
    first: bool,
    last: bool,
}

/// Combines values with others, of which the last may be missing.
#[inline]
fn add_each(values: &mut [f32; WIDTH], others: &[f32], combine: impl Fn(f32, f32) -> f32) {
    if let Ok(others) = <&[f32; WIDTH]>::try_from(others) {
        values.iter_mut().zip(others).for_each(|(value, &other)| *value = combine(*value, other));
    } else {
        values.iter_mut().zip(others).for_each(|(value, &other)| *value = combine(*value, other));
    }
}

/// The innermost loop: one left panel by one right panel.
///
/// It stands alone and returns its sums, because they stay in registers only where nothing else touches them.
struct Multiply<'a> {
    left: &'a [[f32; HEIGHT]],
    right: &'a [[f32; WIDTH]],
}

impl Loop for Multiply<'_> {
    type Output = [[f32; WIDTH]; HEIGHT];

    #[inline(always)]
    fn run<const FUSED: bool>(self) -> Self::Output {
        let mut sums = [[0.0_f32; WIDTH]; HEIGHT];
        for (left, right) in self.left.iter().zip(self.right) {
            for (sums, &left) in sums.iter_mut().zip(left) {
                for (sum, &right) in sums.iter_mut().zip(right) {
                    *sum = multiply_add::<FUSED>(left, right, *sum);
                }
            }
        }
        sums
    }
}
