//! Convolution in which every group has one input channel: too thin for a product, so done directly.

use crate::program::{Conv, KernelLayout};

use super::epilogue::store;
use super::operands::Operands;
use super::simd::{self, Loop, multiply_add};
use super::threads::Threads;

/// Output positions of a row whose sums are held at a time.
const STRIP: usize = 64;

/// Runs a [`Conv`] with as many groups as input channels; the epilogue's addend may be the output's own buffer.
pub(super) fn run(op: &Conv, operands: &Operands<'_>, output: &mut [f32], threads: &Threads) {
    let input = operands.input(op.input);
    let finish = operands.finish(&op.epilogue);
    let plane = op.input_size.iter().product::<usize>();
    let positions = op.output_size.iter().product::<usize>();
    let taps = op.kernel_size.iter().product::<usize>();
    let multiplier = op.out_channels / op.in_channels;
    let planes = output.chunks_exact_mut(positions).enumerate().collect();
    threads.each(planes, |(index, output), scratch| {
        let (sample, channel) = (index / op.out_channels, index % op.out_channels);
        let from = (sample * op.in_channels + channel / multiplier) * plane;
        let (kernel, weights) = (operands.kernel(&op.kernel, sample), &mut scratch.right);
        weights.clear();
        match op.kernel.layout {
            KernelLayout::Rows => weights.extend_from_slice(&kernel[channel * taps..(channel + 1) * taps]),
            KernelLayout::Blocks { rows } => {
                let block = &kernel[channel / rows * rows * taps..][..rows * taps];
                weights.extend(block.chunks_exact(rows).map(|values| values[channel % rows]));
            }
        }
        let width = op.output_size[2];
        for (row, output) in output.chunks_exact_mut(width).enumerate() {
            let add = finish.add.part(index * positions + row * width, width);
            for (strip, output) in output.chunks_mut(STRIP).enumerate() {
                let first = strip * STRIP;
                let mut sums = [0.0; STRIP];
                let sums = &mut sums[..output.len()];
                simd::run(Strip { op, plane: &input[from..from + plane], weights, row, first, sums });
                store(output, sums, finish.channel(channel), add.part(first, output.len()), finish.activation);
            }
        }
    });
}

/// Sums of a strip of one output row.
struct Strip<'a> {
    op: &'a Conv,
    /// The input channel.
    plane: &'a [f32],
    /// The kernel, a value for each tap.
    weights: &'a [f32],
    /// Row of the output, over both outer dimensions.
    row: usize,
    /// First position of the row.
    first: usize,
    sums: &'a mut [f32],
}

impl Loop for Strip<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Self { op, plane, weights, row, first, sums } = self;
        let [depth, height, width] = op.input_size;
        let [_, kernel_height, kernel_width] = op.kernel_size;
        let origin = [row / op.output_size[1] * op.stride[0], row % op.output_size[1] * op.stride[1]];
        let stride = op.stride[2];
        for (line, weights) in weights.chunks_exact(kernel_width).enumerate() {
            let (z, y) = (line / kernel_height * op.dilation[0], line % kernel_height * op.dilation[1]);
            let z = (origin[0] + z).checked_sub(op.padding[0]).filter(|&z| z < depth);
            let y = (origin[1] + y).checked_sub(op.padding[1]).filter(|&y| y < height);
            let (Some(z), Some(y)) = (z, y) else { continue };
            let values = &plane[(z * height + y) * width..][..width];
            for (tap, &weight) in weights.iter().enumerate() {
                // Position i of the strip sees the input at (first + i) * stride + shift - padding.
                let shift = first * stride + tap * op.dilation[2];
                let from = op.padding[2].saturating_sub(shift).div_ceil(stride);
                let to = (width + op.padding[2]).saturating_sub(shift).div_ceil(stride).min(sums.len());
                if from >= to {
                    continue;
                }
                let values = &values[from * stride + shift - op.padding[2]..];
                let sums = &mut sums[from..to];
                if stride == 1 {
                    for (sum, &value) in sums.iter_mut().zip(values) {
                        *sum = multiply_add::<FUSED>(weight, value, *sum);
                    }
                } else {
                    for (sum, &value) in sums.iter_mut().zip(values.iter().step_by(stride)) {
                        *sum = multiply_add::<FUSED>(weight, value, *sum);
                    }
                }
            }
        }
    }
}
