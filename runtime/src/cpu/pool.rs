//! Pooling: over windows, and over everything.

use std::ops::Range;

use crate::program::{GlobalAverage, Pool, PoolKind};

use super::operands::Operands;
use super::pieces;
use super::simd::{self, Loop};
use super::statistics::{mean, narrow};
use super::threads::Threads;

/// Runs a [`Pool`].
pub(super) fn run(op: &Pool, operands: &Operands<'_>, output: &mut [f32], threads: &Threads) {
    let input = operands.input(op.input);
    let row = op.output_size[2] * op.channels;
    // No window meets more than the whole input.
    let reach = |dimension: usize| op.kernel_size[dimension].min(op.input_size[dimension]);
    let taps = (0..3).map(reach).product::<usize>();
    pieces::each(threads, output, (row, row.saturating_mul(taps)), |first, output, _| {
        simd::run(Rows { op, input, first, output });
    });
}

/// Rows of the output, counted through samples, depth and height.
struct Rows<'a> {
    op: &'a Pool,
    /// All samples.
    input: &'a [f32],
    /// Number of the first row.
    first: usize,
    output: &'a mut [f32],
}

impl Loop for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Self { op, input, first, output } = self;
        let [depth, height, width] = op.output_size;
        let plane = op.input_size.iter().product::<usize>() * op.channels;
        for (row, output) in (first..).zip(output.chunks_exact_mut(width * op.channels)) {
            let (z, y) = (inside(op, 0, row / height % depth), inside(op, 1, row % height));
            let sample = row / height / depth;
            let map = &input[sample * plane..(sample + 1) * plane];
            for (x, output) in output.chunks_exact_mut(op.channels).enumerate() {
                let window = Window { op, map, z: z.clone(), y: y.clone(), x: inside(op, 2, x) };
                // As many channels at a time as there are.
                let (chunks, rest) = output.as_chunks_mut::<32>();
                let first = chunks.len() * 32;
                each(chunks, |chunk| window.pool(chunk * 32));
                let (chunks, rest) = rest.as_chunks_mut::<8>();
                each(chunks, |chunk| window.pool(first + chunk * 8));
                let first = first + chunks.len() * 8;
                each(rest.as_chunks_mut::<1>().0, |channel| window.pool(first + channel));
            }
        }
    }
}

/// Stores what `pool` gives for every chunk.
#[inline(always)]
fn each<const N: usize>(chunks: &mut [[f32; N]], pool: impl Fn(usize) -> [f32; N]) {
    chunks.iter_mut().enumerate().for_each(|(index, chunk)| *chunk = pool(index));
}

/// The part of a window that is inside the input, in one dimension.
fn inside(op: &Pool, dimension: usize, at: usize) -> Range<usize> {
    let start = at * op.stride[dimension];
    let (padding, end) = (op.padding[dimension], start + op.kernel_size[dimension]);
    start.saturating_sub(padding)..end.saturating_sub(padding).min(op.input_size[dimension])
}

/// The part of one window that is inside the input.
struct Window<'a> {
    op: &'a Pool,
    /// The sample.
    map: &'a [f32],
    z: Range<usize>,
    y: Range<usize>,
    x: Range<usize>,
}

impl Window<'_> {
    /// What the window yields for `N` channels.
    #[inline(always)]
    fn pool<const N: usize>(&self, channel: usize) -> [f32; N] {
        match self.op.kind {
            PoolKind::Max => {
                let mut most = [f32::NEG_INFINITY; N];
                self.values(channel, |values: &[f32; N]| {
                    for (most, &value) in most.iter_mut().zip(values) {
                        // A value that is not a number wins, as in PyTorch.
                        *most = if value > *most || value.is_nan() { value } else { *most };
                    }
                });
                most
            }
            PoolKind::Average => self.mean(channel, self.op.kernel_size.iter().product()),
            PoolKind::AverageInside => self.mean(channel, self.z.len() * self.y.len() * self.x.len()),
        }
    }

    /// The sum over the window as the mean of `count` values.
    #[inline(always)]
    fn mean<const N: usize>(&self, channel: usize, count: usize) -> [f32; N] {
        let mut sums = [0.0; N];
        self.values(channel, |values: &[f32; N]| {
            sums.iter_mut().zip(values).for_each(|(sum, &value)| *sum += f64::from(value));
        });
        sums.map(|sum| narrow(mean(sum, count)))
    }

    /// Calls `each` with `N` channels of every position.
    #[inline(always)]
    fn values<const N: usize>(&self, channel: usize, mut each: impl FnMut(&[f32; N])) {
        let [_, height, width] = self.op.input_size;
        for z in self.z.clone() {
            for y in self.y.clone() {
                for x in self.x.clone() {
                    let start = ((z * height + y) * width + x) * self.op.channels + channel;
                    if let Some(values) = self.map.get(start..).and_then(|values| values.first_chunk()) {
                        each(values);
                    }
                }
            }
        }
    }
}

/// Channels that are averaged together: a line of the cache, and few enough sums for the registers.
const CHANNELS: usize = 16;

/// Runs a [`GlobalAverage`].
pub(super) fn global_average(op: &GlobalAverage, operands: &Operands<'_>, output: &mut [f32], threads: &Threads) {
    let input = operands.input(op.input);
    let sample = op.channels * op.positions;
    // Bands of channels of one sample: as wide as makes them worth a thread.
    let bands = op.channels.div_ceil(CHANNELS);
    let mut rows = Vec::with_capacity(operands.batch() * bands);
    for (input, output) in input.chunks_exact(sample).zip(output.chunks_exact_mut(op.channels)) {
        rows.extend(output.chunks_mut(CHANNELS).enumerate().map(|(band, output)| (input, band * CHANNELS, output)));
    }
    pieces::each_of(threads, rows, CHANNELS * op.positions, |(input, channel, output)| {
        simd::run(Band { input, channels: op.channels, channel, output });
    });
}

/// Some channels of one sample.
struct Band<'a> {
    /// The sample, `[positions, channels]`.
    input: &'a [f32],
    channels: usize,
    /// First of the channels.
    channel: usize,
    output: &'a mut [f32],
}

impl Loop for Band<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Self { input, channels, channel, output } = self;
        let mut sums = [0.0; CHANNELS];
        if channels <= CHANNELS / 2 {
            few(input, channels, &mut sums);
        } else {
            for position in input.chunks_exact(channels) {
                let position = &position[channel..];
                match position.first_chunk::<CHANNELS>() {
                    Some(values) => sums.iter_mut().zip(values).for_each(|(sum, &value)| *sum += f64::from(value)),
                    None => sums.iter_mut().zip(position).for_each(|(sum, &value)| *sum += f64::from(value)),
                }
            }
        }
        let positions = input.len() / channels;
        output.iter_mut().zip(sums).for_each(|(output, sum)| *output = narrow(mean(sum, positions)));
    }
}

/// Adds up few channels: many positions at a time, each with sums of its own.
#[inline(always)]
fn few(input: &[f32], channels: usize, sums: &mut [f64; CHANNELS]) {
    let mut of_positions = [0.0; CHANNELS * CHANNELS];
    let of_positions = &mut of_positions[..CHANNELS * channels];
    let groups = input.chunks_exact(of_positions.len());
    let rest = groups.remainder();
    for values in groups.chain([rest]) {
        of_positions.iter_mut().zip(values).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    for position in of_positions.chunks_exact(channels) {
        sums.iter_mut().zip(position).for_each(|(sum, value)| *sum += value);
    }
}
