//! Layer norm over channels.

use crate::program::{Activation, LayerNorm};

use super::activation::activate;
use super::operands::Operands;
use super::pieces;
use super::simd::{self, Loop};
use super::statistics::Norm;
use super::threads::{Threads, grow};

/// Runs a [`LayerNorm`]; the input may be the output's own buffer.
pub(super) fn run(op: &LayerNorm, operands: &Operands<'_>, output: &mut [f32], threads: &Threads) {
    let input = operands.buffer(op.input);
    let (weight, bias) = (operands.weight(op.weight), operands.weight(op.bias));
    // Three passes over every value.
    pieces::each(threads, output, (op.channels, 3 * op.channels), |first, piece, scratch| {
        let start = first * op.channels;
        simd::run(Positions {
            input: input.map(|data| &data[start..start + piece.len()]),
            weight,
            bias,
            epsilon: op.epsilon,
            activation: op.activation,
            normed: grow(&mut scratch.few, op.channels),
            output: piece,
        });
    });
}

/// The positions of one piece.
struct Positions<'a> {
    /// What is normed, unless it is the output itself.
    input: Option<&'a [f32]>,
    weight: &'a [f32],
    bias: &'a [f32],
    epsilon: f32,
    activation: Activation,
    /// Room for the channels of one position.
    normed: &'a mut [f32],
    output: &'a mut [f32],
}

impl Loop for Positions<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Self { input, weight, bias, epsilon, activation, normed, output } = self;
        let channels = normed.len();
        for (index, output) in output.chunks_exact_mut(channels).enumerate() {
            let values = input.map_or(&*output, |data| &data[index * channels..][..channels]);
            let norm = Norm::of(values, epsilon);
            for (((normed, &value), weight), bias) in normed.iter_mut().zip(values).zip(weight).zip(bias) {
                *normed = norm.apply(value) * weight + bias;
            }
            activate(activation, normed, output);
        }
    }
}
