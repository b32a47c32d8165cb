//! Convolution in which every group has one input channel: too thin for a product, so done directly.
//!
//! A plane's rows are first copied with their padding, a band at a time, so that the inner loop has no borders to mind:
//! for a few rows and a vector of columns it adds up all taps in registers. With a stride, each copied row is sorted into
//! its phases, so that neighbouring outputs always read neighbouring values.

use crate::program::{Conv, KernelLayout};

use super::epilogue::{Finish, store};
use super::operands::Operands;
use super::simd::{self, Loop, multiply_add};
use super::threads::{Threads, grow};
use super::windows::inside;

/// Elements of a band; it should stay in the second-level cache.
const BAND: usize = 1 << 16;
/// Output rows whose sums are in registers at a time.
const ROWS: usize = 4;
/// Most output columns whose sums are in registers at a time.
const LANES: usize = 16;

/// Runs a [`Conv`] with as many groups as input channels; the epilogue's addend may be the output's own buffer.
pub(super) fn run(op: &Conv, operands: &Operands<'_>, output: &mut [f32], threads: &Threads) {
    let input = operands.input(op.input);
    let finish = operands.finish(&op.epilogue);
    let plane = op.input_size.iter().product::<usize>();
    let positions = op.output_size.iter().product::<usize>();
    let taps = op.kernel_size.iter().product::<usize>();
    let multiplier = op.out_channels / op.in_channels;
    let bands = Bands::new(op);
    let planes = output.chunks_exact_mut(positions).enumerate().collect();
    threads.each(planes, |(index, output), scratch| {
        let (sample, channel) = (index / op.out_channels, index % op.out_channels);
        let from = (sample * op.in_channels + channel / multiplier) * plane;
        let input = &input[from..from + plane];
        let kernel = operands.kernel(&op.kernel, sample);
        let weights = &mut scratch.few;
        weights.clear();
        match op.kernel.layout {
            KernelLayout::Rows => weights.extend_from_slice(&kernel[channel * taps..(channel + 1) * taps]),
            KernelLayout::Blocks { rows } => {
                let block = &kernel[channel / rows * rows * taps..][..rows * taps];
                weights.extend(block.chunks_exact(rows).map(|values| values[channel % rows]));
            }
        }
        let plane = Plane { op, input, weights, finish, channel, start: index * positions };
        match &bands {
            Some(bands) => plane.in_bands(bands, output, grow(&mut scratch.right, BAND)),
            None => plane.by_rows(output),
        }
    });
}

/// One channel of one sample.
struct Plane<'a> {
    op: &'a Conv,
    input: &'a [f32],
    /// A value for each tap.
    weights: &'a [f32],
    finish: Finish<'a>,
    /// The output channel.
    channel: usize,
    /// First element of the channel in the output.
    start: usize,
}

impl Plane<'_> {
    /// For planes without depth.
    fn in_bands(&self, bands: &Bands, output: &mut [f32], band: &mut [f32]) {
        let [_, height, width] = self.op.output_size;
        for first in (0..height).step_by(bands.rows) {
            let rows = bands.rows.min(height - first);
            bands.fill(self.op, self.input, first, band);
            for row in (0..rows).step_by(ROWS) {
                let mut column = 0;
                while column < width {
                    let from = &band[row * bands.step + column..];
                    let (offsets, weights, step) = (&bands.offsets, self.weights, bands.step);
                    let mut sums = [[0.0; LANES]; ROWS];
                    let lanes = if width - column > LANES / 2 {
                        sums = simd::run(Taps::<LANES> { from, offsets, weights, step });
                        LANES
                    } else {
                        let half = simd::run(Taps::<{ LANES / 2 }> { from, offsets, weights, step });
                        sums.iter_mut().zip(half).for_each(|(sums, half)| sums[..LANES / 2].copy_from_slice(&half));
                        LANES / 2
                    };
                    let lanes = lanes.min(width - column);
                    for (sums, row) in sums.iter().zip(first + row..first + rows) {
                        self.store(row * width + column, &sums[..lanes], output);
                    }
                    column += lanes;
                }
            }
        }
    }

    /// For planes with depth, and rows too long for a band.
    fn by_rows(&self, output: &mut [f32]) {
        let width = self.op.output_size[2];
        for row in 0..output.len() / width {
            for first in (0..width).step_by(LANES) {
                let mut sums = [0.0; LANES];
                let sums = &mut sums[..LANES.min(width - first)];
                self.add_row(row, first, sums);
                self.store(row * width + first, sums, output);
            }
        }
    }

    fn store(&self, at: usize, sums: &[f32], output: &mut [f32]) {
        let output = &mut output[at..at + sums.len()];
        let add = self.finish.add.part(self.start + at, sums.len());
        store(output, Some(sums), self.finish.one(self.channel), add, self.finish.activation);
    }

    /// Adds all taps to the sums of positions `first ..` of an output row (counted through depth and height).
    fn add_row(&self, row: usize, first: usize, sums: &mut [f32]) {
        let op = self.op;
        let [depth, height, width] = op.input_size;
        let [_, kernel_height, kernel_width] = op.kernel_size;
        let origin = [row / op.output_size[1] * op.stride[0], row % op.output_size[1] * op.stride[1]];
        let (stride, padding) = (op.stride[2], op.padding[2]);
        for (line, weights) in self.weights.chunks_exact(kernel_width).enumerate() {
            let (z, y) = (line / kernel_height * op.dilation[0], line % kernel_height * op.dilation[1]);
            let z = (origin[0] + z).checked_sub(op.padding[0]).filter(|&z| z < depth);
            let y = (origin[1] + y).checked_sub(op.padding[1]).filter(|&y| y < height);
            let (Some(z), Some(y)) = (z, y) else { continue };
            let values = &self.input[(z * height + y) * width..][..width];
            for (tap, &weight) in weights.iter().enumerate() {
                // Position i of the sums sees the input at i * stride + shift - padding.
                let shift = first * stride + tap * op.dilation[2];
                let inside = inside(width, padding, shift, stride, sums.len());
                if inside.is_empty() {
                    continue;
                }
                let values = values[inside.start * stride + shift - padding..].iter().step_by(stride);
                sums[inside].iter_mut().zip(values).for_each(|(sum, &value)| *sum += weight * value);
            }
        }
    }
}

/// How planes are cut into bands of rows.
struct Bands {
    /// Output rows of a band.
    rows: usize,
    /// Values of one phase of an input row.
    phase: usize,
    /// Values of an input row, all its phases.
    row: usize,
    /// Values from what an output row sees to what the next one sees.
    step: usize,
    /// Input rows of a band.
    input_rows: usize,
    /// Where each tap's value is, seen from the first tap of an output in the first column.
    offsets: Vec<usize>,
}

impl Bands {
    /// `None` for planes that bands do not suit.
    fn new(op: &Conv) -> Option<Self> {
        let [depth, height, width] = op.output_size;
        let [_, kernel_height, kernel_width] = op.kernel_size;
        let [_, row_dilation, dilation] = op.dilation;
        let [_, row_stride, stride] = op.stride;
        if depth * op.input_size[0] != 1 || op.kernel_size[0] != 1 || op.padding[0] != 0 {
            return None;
        }
        let phase = width.next_multiple_of(LANES / 2).checked_add((kernel_width - 1) * dilation / stride)?;
        let row = phase.checked_mul(stride).filter(|&row| row <= BAND)?;
        let step = row.checked_mul(row_stride)?;
        // Of `rows` output rows, the last sees the input from `(rows - 1) * row_stride` for the kernel's whole reach.
        let others = (BAND / row).checked_sub((kernel_height - 1) * row_dilation + 1)? / row_stride;
        let rows = ((others + 1) / ROWS * ROWS).min(height.next_multiple_of(ROWS));
        let input_rows = rows.checked_sub(1)? * row_stride + (kernel_height - 1) * row_dilation + 1;
        let place = |tap: usize| {
            let shift = tap % kernel_width * dilation;
            tap / kernel_width * row_dilation * row + shift % stride * phase + shift / stride
        };
        let offsets = (0..kernel_height * kernel_width).map(place).collect();
        Some(Self { rows, phase, row, step, input_rows, offsets })
    }

    /// Copies what output rows `first ..` see.
    fn fill(&self, op: &Conv, input: &[f32], first: usize, band: &mut [f32]) {
        let [_, height, width] = op.input_size;
        let (stride, padding) = (op.stride[2], op.padding[2]);
        for (index, row) in band.chunks_exact_mut(self.row).take(self.input_rows).enumerate() {
            let y = (first * op.stride[1] + index).checked_sub(op.padding[1]).filter(|&y| y < height);
            let Some(y) = y else {
                row.fill(0.0);
                continue;
            };
            let values = &input[y * width..(y + 1) * width];
            for (shift, phase) in row.chunks_exact_mut(self.phase).enumerate() {
                let inside = inside(width, padding, shift, stride, phase.len());
                if inside.is_empty() {
                    phase.fill(0.0);
                    continue;
                }
                phase[..inside.start].fill(0.0);
                phase[inside.end..].fill(0.0);
                let values = &values[inside.start * stride + shift - padding..];
                let phase = &mut phase[inside];
                if stride == 1 {
                    phase.copy_from_slice(&values[..phase.len()]);
                } else {
                    phase.iter_mut().zip(values.iter().step_by(stride)).for_each(|(slot, &value)| *slot = value);
                }
            }
        }
    }
}

/// The innermost loop: the sums of a few output rows at `N` columns.
struct Taps<'a, const N: usize> {
    /// The band from the first tap of the first sum.
    from: &'a [f32],
    offsets: &'a [usize],
    weights: &'a [f32],
    /// From one output row to the next.
    step: usize,
}

impl<const N: usize> Loop for Taps<'_, N> {
    type Output = [[f32; N]; ROWS];

    #[inline(always)]
    fn run<const FUSED: bool>(self) -> Self::Output {
        let mut sums = [[0.0_f32; N]; ROWS];
        for (&offset, &weight) in self.offsets.iter().zip(self.weights) {
            for (row, sums) in sums.iter_mut().enumerate() {
                if let Some(values) = self.from[offset + row * self.step..].first_chunk::<N>() {
                    for (sum, &value) in sums.iter_mut().zip(values) {
                        *sum = multiply_add::<FUSED>(weight, value, *sum);
                    }
                }
            }
        }
        sums
    }
}
