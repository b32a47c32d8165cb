//! Products of matrices, `[rows, depth] x [depth, columns]`, with the epilogue applied while results are hot.
//!
//! The usual blocking: a task owns a tile of the output; it walks the depth in chunks, packs the right side's chunk into
//! panels of [`WIDTH`] columns and blocks of the left side into panels of [`HEIGHT`] rows, and multiplies panel by panel
//! with all `HEIGHT x WIDTH` sums in registers. Packing is where the operands' layouts end: a kernel in blocks, a map seen
//! through a convolution's windows and a plain matrix all become the same panels.

use crate::program::Activation;

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
/// Smaller tiles balance better but pack more: each packs all the rows and all the columns that it needs. The costs are
/// tenths of a cycle for each step in depth, as measured on one machine; only their proportions matter.
fn cut(product: &Product<'_>, rows: usize, columns: usize, products: usize, threads: usize) -> (usize, usize) {
    /// Packing of a value: of the left side, of a plain right side, of a window.
    const LEFT: usize = 10;
    const RIGHT: usize = 5;
    const WINDOW: usize = 12;
    /// Multiplication of two panels.
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
                        let sums = &mut simd::run(Multiply { left, right });
                        let at = (top + down * HEIGHT, across * WIDTH);
                        simd::run(Store { product: self, sums, tile: &mut tile, at, origin: (row, column), stage });
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
}

/// Where a chunk of the depth stands among the others.
#[derive(Clone, Copy)]
struct Stage {
    first: bool,
    last: bool,
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

/// Adds a panel's sums to the output, and finishes them in the last stage.
struct Store<'b, 'p, 't> {
    product: &'b Product<'p>,
    sums: &'b mut [[f32; WIDTH]; HEIGHT],
    tile: &'b mut Tile<'t>,
    /// Row and column of the first sum in the tile.
    at: (usize, usize),
    /// Row and column of the tile in the output.
    origin: (usize, usize),
    stage: Stage,
}

impl Loop for Store<'_, '_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Self { product, sums, tile, at, origin, stage } = self;
        let finish = &product.finish;
        let (row, column) = (origin.0 + at.0, origin.1 + at.1);
        let width = WIDTH.min(tile.columns() - at.1);
        let channels = match product.channels {
            Channels::Rows => row,
            Channels::Columns => column,
        };
        if let Some(scale) = finish.scale {
            by_channel(sums, product.channels, &scale[channels..], |value, scale| value * scale);
        }
        if let (Some(shift), true) = (finish.shift, stage.first) {
            by_channel(sums, product.channels, &shift[channels..], |value, shift| value + shift);
        }
        for (sums, down) in sums.iter_mut().zip(at.0..tile.rows()) {
            let output = &tile.row(down)[at.1..at.1 + width];
            match finish.add {
                Add::Own => add(sums, output),
                Add::Nothing | Add::Other(_) if !stage.first => add(sums, output),
                Add::Other(data) => add(sums, &data[(origin.0 + down) * product.columns + column..][..width]),
                Add::Nothing => {}
            }
        }
        let activation = if stage.last { finish.activation } else { Activation::Identity };
        for (sums, down) in sums.iter().zip(at.0..tile.rows()) {
            let output = &mut tile.row(down)[at.1..at.1 + width];
            match output.first_chunk_mut::<WIDTH>() {
                Some(output) => activate(activation, sums, output),
                None => activate(activation, &sums[..width], output),
            }
        }
    }
}

/// Combines each sum with the value of its channel; `values` starts at the first sum's.
#[inline(always)]
fn by_channel(
    sums: &mut [[f32; WIDTH]; HEIGHT],
    channels: Channels,
    values: &[f32],
    combine: impl Fn(f32, f32) -> f32,
) {
    match channels {
        Channels::Rows => {
            for (sums, &value) in sums.iter_mut().zip(values) {
                sums.iter_mut().for_each(|sum| *sum = combine(*sum, value));
            }
        }
        Channels::Columns => {
            for sums in sums {
                sums.iter_mut().zip(values).for_each(|(sum, &value)| *sum = combine(*sum, value));
            }
        }
    }
}

/// Adds a row of values, of which the last may be missing.
#[inline(always)]
fn add(sums: &mut [f32; WIDTH], values: &[f32]) {
    match values.first_chunk::<WIDTH>() {
        Some(values) => sums.iter_mut().zip(values).for_each(|(sum, &value)| *sum += value),
        None => sums.iter_mut().zip(values).for_each(|(sum, &value)| *sum += value),
    }
}
