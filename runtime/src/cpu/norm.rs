//! Layer norm over channels, with its statistics in double precision.

use crate::program::LayerNorm;

use super::activation::activate;
use super::operands::Operands;
use super::threads::Threads;
use super::tile::Tile;

/// Positions that are normed together.
const STRIP: usize = 64;

/// Runs a [`LayerNorm`]; the input may be the output's own buffer.
pub(super) fn run(op: &LayerNorm, operands: &Operands<'_>, output: &mut [f32], threads: &Threads) {
    if let Some(input) = operands.buffer(op.input) {
        output.copy_from_slice(input);
    }
    let (weight, bias) = (operands.weight(op.weight), operands.weight(op.bias));
    if op.channels_last {
        let tasks = output.chunks_mut(STRIP * op.channels).collect();
        threads.each(tasks, |strip: &mut [f32], _| {
            for token in strip.chunks_exact_mut(op.channels) {
                let mut moments = Moments::default();
                token.iter().for_each(|&value| moments.sum[0] += f64::from(value));
                moments.sums_to_means(op.channels);
                token.iter().for_each(|&value| moments.square[0] += (f64::from(value) - moments.sum[0]).powi(2));
                moments.squares_to_factors(op.channels, op.epsilon);
                for ((value, &weight), &bias) in token.iter_mut().zip(weight).zip(bias) {
                    *value = normed(*value, moments.sum[0], moments.square[0]) * weight + bias;
                }
                activate(op.activation, token);
            }
        });
    } else {
        let samples = output.chunks_exact_mut(op.channels * op.positions);
        let tasks = samples.flat_map(|sample| Tile::new(sample, op.positions).grid(op.channels, STRIP)).collect();
        threads.each(tasks, |(_, _, mut strip): (usize, usize, Tile<'_>), _| {
            let mut moments = Moments::default();
            for channel in 0..strip.rows() {
                for (sum, &value) in moments.sum.iter_mut().zip(&*strip.row(channel)) {
                    *sum += f64::from(value);
                }
            }
            moments.sums_to_means(op.channels);
            for channel in 0..strip.rows() {
                let means = moments.square.iter_mut().zip(&moments.sum);
                for ((square, mean), &value) in means.zip(&*strip.row(channel)) {
                    *square += (f64::from(value) - mean).powi(2);
                }
            }
            moments.squares_to_factors(op.channels, op.epsilon);
            for (channel, (&weight, &bias)) in weight.iter().zip(bias).enumerate() {
                let row = strip.row(channel);
                for ((value, &mean), &factor) in row.iter_mut().zip(&moments.sum).zip(&moments.square) {
                    *value = normed(*value, mean, factor) * weight + bias;
                }
                activate(op.activation, row);
            }
        });
    }
}

#[expect(clippy::cast_possible_truncation, reason = "rounds to the result's type")]
fn normed(value: f32, mean: f64, factor: f64) -> f32 {
    ((f64::from(value) - mean) * factor) as f32
}

/// Statistics of a strip's positions.
struct Moments {
    /// Sums, then means.
    sum: [f64; STRIP],
    /// Sums of squared distances from the mean, then the factors that bring the deviation to 1.
    square: [f64; STRIP],
}

impl Default for Moments {
    fn default() -> Self {
        Self { sum: [0.0; STRIP], square: [0.0; STRIP] }
    }
}

#[expect(clippy::cast_precision_loss, reason = "channel counts are below 2^53")]
impl Moments {
    fn sums_to_means(&mut self, channels: usize) {
        self.sum.iter_mut().for_each(|sum| *sum /= channels as f64);
    }

    fn squares_to_factors(&mut self, channels: usize, epsilon: f32) {
        for square in &mut self.square {
            *square = (*square / channels as f64 + f64::from(epsilon)).sqrt().recip();
        }
    }
}
