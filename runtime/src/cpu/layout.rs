//! Operations that only move values: concatenation, upsampling, rows in another order.

use crate::program::{Concat, GatherRows, Upsample};

use super::operands::Operands;

/// Runs a [`Concat`].
pub(super) fn concat(op: &Concat, operands: &Operands<'_>, output: &mut [f32]) {
    // Each part comes in runs: a position's channels, or a sample's whole map.
    let (runs, length) =
        if op.channels_last { (operands.batch() * op.positions, 1) } else { (operands.batch(), op.positions) };
    let stride = output.len() / runs;
    let mut start = 0;
    for part in op.inputs.iter() {
        let width = part.channels * length;
        let parts = operands.input(part.buffer).chunks_exact(width);
        for (output, part) in output.chunks_exact_mut(stride).zip(parts) {
            output[start..start + width].copy_from_slice(part);
        }
        start += width;
    }
}

/// Runs an [`Upsample`].
pub(super) fn upsample(op: &Upsample, operands: &Operands<'_>, output: &mut [f32]) {
    let [depth, height, width] = op.input_size;
    let [deep, high, wide] = op.factor;
    let input = operands.input(op.input);
    for (row, output) in output.chunks_exact_mut(width * wide).enumerate() {
        // Rows count through channels, depth and height.
        let (y, rest) = (row % (height * high), row / (height * high));
        let (z, plane) = (rest % (depth * deep), rest / (depth * deep));
        let from = ((plane * depth + z / deep) * height + y / high) * width;
        for (run, &value) in output.chunks_exact_mut(wide).zip(&input[from..from + width]) {
            run.fill(value);
        }
    }
}

/// Runs a [`GatherRows`].
pub(super) fn gather_rows(op: &GatherRows, operands: &Operands<'_>, output: &mut [f32]) {
    let input = operands.input(op.input);
    let sample = input.len() / operands.batch();
    for (output, input) in output.chunks_exact_mut(op.rows.len() * op.width).zip(input.chunks_exact(sample)) {
        let rows = op.rows.iter().filter_map(|&row| usize::try_from(row).ok());
        for (output, row) in output.chunks_exact_mut(op.width).zip(rows) {
            output.copy_from_slice(&input[row * op.width..(row + 1) * op.width]);
        }
    }
}
