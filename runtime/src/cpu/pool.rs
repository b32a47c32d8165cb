//! Pooling: over windows, and over everything.

use std::iter::StepBy;
use std::ops::Range;
use std::slice::Iter;

use crate::program::{GlobalAverage, Pool, PoolKind};

use super::operands::Operands;
use super::statistics::{mean, narrow, sum};
use super::threads::Threads;
use super::windows::inside;

/// Output positions of a row that are pooled together.
const STRIP: usize = 64;

/// Runs a [`Pool`].
pub(super) fn run(op: &Pool, operands: &Operands<'_>, output: &mut [f32], threads: &Threads) {
    let input = operands.input(op.input);
    let plane = op.input_size.iter().product::<usize>();
    let planes = output.chunks_exact_mut(op.output_size.iter().product()).zip(input.chunks_exact(plane)).collect();
    threads.each(planes, |(output, input), _| {
        let [_, height, width] = op.output_size;
        for (row, output) in output.chunks_exact_mut(width).enumerate() {
            let rows = Rows { op, input, z: window(op, 0, row / height), y: window(op, 1, row % height) };
            for (index, output) in output.chunks_mut(STRIP).enumerate() {
                let first = index * STRIP;
                match op.kind {
                    PoolKind::Max => rows.largest(first, output),
                    PoolKind::Average => rows.mean(first, output, |_| op.kernel_size.iter().product()),
                    PoolKind::AverageInside => {
                        rows.mean(first, output, |at| rows.z.len() * rows.y.len() * window(op, 2, at).len());
                    }
                }
            }
        }
    });
}

/// The part of a window that is inside the input, in one dimension.
fn window(op: &Pool, dimension: usize, at: usize) -> Range<usize> {
    let start = at * op.stride[dimension];
    let (padding, end) = (op.padding[dimension], start + op.kernel_size[dimension]);
    start.saturating_sub(padding)..end.saturating_sub(padding).min(op.input_size[dimension])
}

/// The rows of a plane that the windows of one output row meet.
struct Rows<'a> {
    op: &'a Pool,
    input: &'a [f32],
    z: Range<usize>,
    y: Range<usize>,
}

impl Rows<'_> {
    /// Calls `each` for every tap of the windows of outputs `first .. first + count` of the row: with the outputs (counted
    /// from `first`) for which the tap is inside the input, and the values from the first of them, `stride` apart.
    fn taps(&self, first: usize, count: usize, mut each: impl FnMut(Range<usize>, StepBy<Iter<'_, f32>>)) {
        let [_, height, width] = self.op.input_size;
        let (stride, padding) = (self.op.stride[2], self.op.padding[2]);
        // The part of the windows that anything is in: windows may be far larger than the input.
        let start = padding.saturating_sub((first + count - 1) * stride);
        let end = (width + padding).saturating_sub(first * stride).min(self.op.kernel_size[2]);
        for z in self.z.clone() {
            for y in self.y.clone() {
                let row = &self.input[(z * height + y) * width..][..width];
                for x in start..end {
                    let shift = first * stride + x;
                    let inside = inside(width, padding, shift, stride, count);
                    if inside.is_empty() {
                        continue;
                    }
                    let values = row[inside.start * stride + shift - padding..].iter().step_by(stride);
                    each(inside, values);
                }
            }
        }
    }

    fn largest(&self, first: usize, output: &mut [f32]) {
        output.fill(f32::NEG_INFINITY);
        self.taps(first, output.len(), |inside, values| {
            for (most, &value) in output[inside].iter_mut().zip(values) {
                // A value that is not a number wins, as in PyTorch.
                *most = if value > *most || value.is_nan() { value } else { *most };
            }
        });
    }

    /// Means of windows; `count` says how many values the one of an output has.
    fn mean(&self, first: usize, output: &mut [f32], count: impl Fn(usize) -> usize) {
        let mut sums = [0.0; STRIP];
        self.taps(first, output.len(), |inside, values| {
            sums[inside].iter_mut().zip(values).for_each(|(sum, &value)| *sum += f64::from(value));
        });
        for ((index, output), sum) in (first..).zip(output).zip(sums) {
            *output = narrow(mean(sum, count(index)));
        }
    }
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
            output.iter_mut().zip(sums).for_each(|(output, sum)| *output = narrow(mean(sum, op.positions)));
        });
    } else {
        let tasks = output.chunks_mut(CHANNELS).zip(input.chunks(CHANNELS * op.positions)).collect();
        threads.each(tasks, |(output, input), _| {
            for (output, values) in output.iter_mut().zip(input.chunks_exact(op.positions)) {
                *output = narrow(mean(sum(values), op.positions));
            }
        });
    }
}
