//! Pooling: over windows, and over everything.

use std::ops::Range;

use crate::program::{GlobalAverage, Pool, PoolKind};

use super::operands::Operands;
use super::threads::Threads;

/// Runs a [`Pool`].
pub(super) fn run(op: &Pool, operands: &Operands<'_>, output: &mut [f32], threads: &Threads) {
    let input = operands.input(op.input);
    let plane = op.input_size.iter().product::<usize>();
    let planes = output.chunks_exact_mut(op.output_size.iter().product()).zip(input.chunks_exact(plane)).collect();
    threads.each(planes, |(output, input), _| {
        let [_, height, width] = op.output_size;
        for (index, output) in output.iter_mut().enumerate() {
            let at = [index / width / height, index / width % height, index % width];
            let [z, y, x] = std::array::from_fn(|dimension| window(op, dimension, at[dimension]));
            *output = pool(op, input, z, y, x);
        }
    });
}

/// The part of a window that is inside the input, in one dimension.
fn window(op: &Pool, dimension: usize, at: usize) -> Range<usize> {
    let start = at * op.stride[dimension];
    let (padding, end) = (op.padding[dimension], start + op.kernel_size[dimension]);
    start.saturating_sub(padding)..end.saturating_sub(padding).min(op.input_size[dimension])
}

fn pool(op: &Pool, input: &[f32], z: Range<usize>, y: Range<usize>, x: Range<usize>) -> f32 {
    let [_, height, width] = op.input_size;
    let inside = z.len() * y.len() * x.len();
    let rows = z.flat_map(|z| y.clone().map(move |y| z * height + y));
    let values = rows.flat_map(|row| &input[row * width + x.start..row * width + x.end]);
    let count = match op.kind {
        // A value that is not a number wins, as in PyTorch.
        PoolKind::Max => {
            return values
                .fold(f32::NEG_INFINITY, |most, &value| if value > most || value.is_nan() { value } else { most });
        }
        PoolKind::Average => op.kernel_size.iter().product(),
        PoolKind::AverageInside => inside,
    };
    mean(values.map(|&value| f64::from(value)).sum(), count)
}

/// Channels that one thread averages at a time where they stand together.
const CHANNELS: usize = 64;

/// Runs a [`GlobalAverage`].
pub(super) fn global_average(op: &GlobalAverage, operands: &Operands<'_>, output: &mut [f32], threads: &Threads) {
    let input = operands.input(op.input);
    if op.channels_last {
        let bands = op.channels.div_ceil(CHANNELS);
        let samples = output.chunks_exact_mut(op.channels);
        let tasks = samples.flat_map(|sample| sample.chunks_mut(CHANNELS)).enumerate().collect();
        threads.each(tasks, |(index, output), _| {
            let (sample, first) = (index / bands, index % bands * CHANNELS);
            let tokens = &input[sample * op.channels * op.positions..(sample + 1) * op.channels * op.positions];
            let mut sums = [0.0; CHANNELS];
            for token in tokens.chunks_exact(op.channels) {
                let values = &token[first..first + output.len()];
                sums.iter_mut().zip(values).for_each(|(sum, &value)| *sum += f64::from(value));
            }
            output.iter_mut().zip(sums).for_each(|(output, sum)| *output = mean(sum, op.positions));
        });
    } else {
        let tasks = output.chunks_mut(CHANNELS).zip(input.chunks(CHANNELS * op.positions)).collect();
        threads.each(tasks, |(output, input), _| {
            for (output, values) in output.iter_mut().zip(input.chunks_exact(op.positions)) {
                *output = mean(sum(values), op.positions);
            }
        });
    }
}

/// Sum of many values, in several lanes.
fn sum(values: &[f32]) -> f64 {
    let (chunks, rest) = values.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for chunk in chunks {
        sums.iter_mut().zip(chunk).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    sums.iter().sum::<f64>() + rest.iter().map(|&value| f64::from(value)).sum::<f64>()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "rounds once; counts are below 2^53")]
fn mean(sum: f64, count: usize) -> f32 {
    (sum / count as f64) as f32
}
