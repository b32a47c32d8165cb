//! Changes between channels first, as callers have maps, and channels last, as everything else here does.

use std::ops::Range;

use crate::program::{Export, Import};

use super::operands::Operands;
use super::pieces;
use super::simd::{self, Loop};
use super::threads::Threads;

/// Runs an [`Import`].
pub(super) fn import(op: &Import, operands: &Operands<'_>, output: &mut [f32], threads: &Threads) {
    let input = operands.input(op.input);
    let plane = op.input_size.iter().product::<usize>();
    // Without padding, a plane is one long row.
    let (size, padding) = if op.padding == [0; 3] { ([1, 1, plane], [0; 3]) } else { (op.input_size, op.padding) };
    let [depth, height, width]: [usize; 3] = std::array::from_fn(|d| size[d] + 2 * padding[d]);
    let channels = op.channels;
    pieces::each(threads, output, (channels, channels), |first, mut piece, _| {
        let end = first + piece.len() / channels;
        let mut position = first;
        while position < end {
            let (row, x) = (position / width, position % width);
            let run = x..width.min(x + end - position);
            let (output, rest) = piece.split_at_mut(run.len() * channels);
            (piece, position) = (rest, position + run.len());
            let z = (row / height % depth).checked_sub(padding[0]).filter(|&z| z < size[0]);
            let y = (row % height).checked_sub(padding[1]).filter(|&y| y < size[1]);
            let Some((z, y)) = z.zip(y) else {
                output.fill(0.0);
                continue;
            };
            let sample = row / height / depth;
            let data = &input[sample * channels * plane + (z * size[1] + y) * size[2]..];
            let from = Matrix { data, rows: channels, columns: size[2], stride: plane };
            import_row(from, padding[2], run, output);
        }
    });
}

/// The positions `run` of one padded row of the output: `padding` zeros, then the columns of `from`, then zeros.
fn import_row(from: Matrix<'_>, padding: usize, run: Range<usize>, output: &mut [f32]) {
    let inside = run.start.max(padding)..run.end.min(padding + from.columns);
    if inside.is_empty() {
        output.fill(0.0);
        return;
    }
    let (left, rest) = output.split_at_mut((inside.start - run.start) * from.rows);
    let (middle, right) = rest.split_at_mut(inside.len() * from.rows);
    left.fill(0.0);
    right.fill(0.0);
    let from = Matrix { data: &from.data[inside.start - padding..], columns: inside.len(), ..from };
    simd::run(Transpose { from, to: middle, stride: from.rows });
}

/// Channels that are exported together: they share the lines of the cache that they are read from.
const CHANNELS: usize = 16;

/// Runs an [`Export`].
pub(super) fn export(op: &Export, operands: &Operands<'_>, output: &mut [f32], threads: &Threads) {
    let input = operands.input(op.input);
    let sample = op.channels * op.positions;
    let mut bands = Vec::with_capacity(operands.batch() * op.channels.div_ceil(CHANNELS));
    for (input, output) in input.chunks_exact(sample).zip(output.chunks_exact_mut(sample)) {
        let outputs = output.chunks_mut(CHANNELS * op.positions).enumerate();
        bands.extend(outputs.map(|(band, output)| (&input[band * CHANNELS..], output)));
    }
    pieces::each_of(threads, bands, CHANNELS * op.positions, |(data, to)| {
        let from = Matrix { data, rows: op.positions, columns: to.len() / op.positions, stride: op.channels };
        simd::run(Transpose { from, to, stride: op.positions });
    });
}

/// A matrix that lies in rows.
#[derive(Clone, Copy)]
struct Matrix<'a> {
    /// From its first element.
    data: &'a [f32],
    rows: usize,
    columns: usize,
    /// Elements from a row to the next.
    stride: usize,
}

/// Writes the columns of a matrix as rows.
struct Transpose<'a> {
    from: Matrix<'a>,
    to: &'a mut [f32],
    /// Elements from a row of the result to the next.
    stride: usize,
}

/// Rows and columns of a square that is transposed in registers.
const SIDE: usize = 8;

impl Loop for Transpose<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(mut self) {
        match (self.from.rows, self.stride) {
            (1, 1) => self.to.copy_from_slice(&self.from.data[..self.from.columns]),
            (2, 2) => self.interleave::<2>(),
            (3, 3) => self.interleave::<3>(),
            (4, 4) => self.interleave::<4>(),
            _ => self.squares(),
        }
    }
}

impl Transpose<'_> {
    /// All of a few rows whose columns stand side by side in the result.
    #[inline(always)]
    fn interleave<const ROWS: usize>(&mut self) {
        let Matrix { data, columns, stride, .. } = self.from;
        let rows: [&[f32]; ROWS] = std::array::from_fn(|row| &data[row * stride..][..columns]);
        for (column, to) in self.to.as_chunks_mut::<ROWS>().0.iter_mut().enumerate() {
            *to = std::array::from_fn(|row| rows[row][column]);
        }
    }

    /// All of it in squares, and what is left in elements.
    #[inline(always)]
    fn squares(&mut self) {
        let Matrix { rows, columns, .. } = self.from;
        // Two squares of columns at a time: a line of the cache of each row.
        for band in (0..columns).step_by(2 * SIDE).map(|first| first..columns.min(first + 2 * SIDE)) {
            for row in (0..rows).step_by(SIDE) {
                for column in band.clone().step_by(SIDE) {
                    if row + SIDE <= rows && column + SIDE <= columns {
                        self.square(row, column);
                    } else {
                        self.elements(row..rows.min(row + SIDE), column..columns.min(column + SIDE));
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn square(&mut self, row: usize, column: usize) {
        let mut square = [[0.0; SIDE]; SIDE];
        for (index, values) in square.iter_mut().enumerate() {
            values.copy_from_slice(&self.from.data[(row + index) * self.from.stride + column..][..SIDE]);
        }
        let turned: [[f32; SIDE]; SIDE] = std::array::from_fn(|column| std::array::from_fn(|row| square[row][column]));
        for (index, values) in turned.iter().enumerate() {
            self.to[(column + index) * self.stride + row..][..SIDE].copy_from_slice(values);
        }
    }

    #[inline(always)]
    fn elements(&mut self, rows: Range<usize>, columns: Range<usize>) {
        for column in columns {
            for row in rows.clone() {
                self.to[column * self.stride + row] = self.from.data[row * self.from.stride + column];
            }
        }
    }
}
