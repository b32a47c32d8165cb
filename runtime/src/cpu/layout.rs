//! Operations that move whole positions: concatenation, upsampling, rows in another order.

use crate::program::{Concat, GatherRows, Upsample};

use super::operands::Operands;
use super::pieces;
use super::threads::Threads;

/// Runs a [`Concat`].
pub(super) fn concat(op: &Concat, operands: &Operands<'_>, output: &mut [f32], threads: &Threads) {
    let width = output.len() / (operands.batch() * op.positions);
    pieces::each(threads, output, (width, width), |first, piece, _| {
        let mut start = 0;
        for part in op.inputs.iter() {
            let positions = operands.input(part.buffer)[first * part.channels..].chunks_exact(part.channels);
            for (output, position) in piece.chunks_exact_mut(width).zip(positions) {
                output[start..start + part.channels].copy_from_slice(position);
            }
            start += part.channels;
        }
    });
}

/// Runs an [`Upsample`].
pub(super) fn upsample(op: &Upsample, operands: &Operands<'_>, output: &mut [f32], threads: &Threads) {
    let [depth, height, width] = op.input_size;
    let [deep, high, wide] = op.factor;
    let input = operands.input(op.input);
    let row = width * wide * op.channels;
    pieces::each(threads, output, (row, row), |first, piece, _| {
        for (row, output) in (first..).zip(piece.chunks_exact_mut(row)) {
            // Rows count through samples, depth and height.
            let (y, rest) = (row % (height * high), row / (height * high));
            let (z, sample) = (rest % (depth * deep), rest / (depth * deep));
            let from = ((sample * depth + z / deep) * height + y / high) * width * op.channels;
            let positions = input[from..from + width * op.channels].chunks_exact(op.channels);
            for (run, position) in output.chunks_exact_mut(wide * op.channels).zip(positions) {
                run.chunks_exact_mut(op.channels).for_each(|output| output.copy_from_slice(position));
            }
        }
    });
}

/// Runs a [`GatherRows`].
pub(super) fn gather_rows(op: &GatherRows, operands: &Operands<'_>, output: &mut [f32], threads: &Threads) {
    let input = operands.input(op.input);
    let sample = input.len() / operands.batch();
    pieces::each(threads, output, (op.width, op.width), |first, piece, _| {
        for (index, output) in (first..).zip(piece.chunks_exact_mut(op.width)) {
            let row = usize::try_from(op.rows[index % op.rows.len()]).unwrap_or(usize::MAX);
            let from = index / op.rows.len() * sample + row * op.width;
            output.copy_from_slice(&input[from..from + op.width]);
        }
    });
}
