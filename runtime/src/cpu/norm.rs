//! Layer norm over channels.

use crate::program::LayerNorm;

use super::activation::activate;
use super::operands::Operands;
use super::statistics::{Norm, factor, mean};
use super::threads::{Threads, grow};
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
        threads.each(tasks, |strip: &mut [f32], scratch| {
            let normed = grow(&mut scratch.right, op.channels);
            for token in strip.chunks_exact_mut(op.channels) {
                let norm = Norm::of(token, op.epsilon);
                for ((normed, &value), (weight, bias)) in normed.iter_mut().zip(&*token).zip(weight.iter().zip(bias)) {
                    *normed = norm.apply(value) * weight + bias;
                }
                activate(op.activation, normed, token);
            }
        });
    } else {
        let samples = output.chunks_exact_mut(op.channels * op.positions);
        let tasks = samples.flat_map(|sample| Tile::new(sample, op.positions).grid(op.channels, STRIP)).collect();
        threads.each(tasks, |(_, _, mut strip): (usize, usize, Tile<'_>), _| {
            let norms = norms(op, &mut strip);
            let mut normed = [0.0; STRIP];
            let normed = &mut normed[..strip.columns()];
            for (channel, (&weight, &bias)) in weight.iter().zip(bias).enumerate() {
                let row = strip.row(channel);
                for ((normed, &value), norm) in normed.iter_mut().zip(&*row).zip(&norms) {
                    *normed = norm.apply(value) * weight + bias;
                }
                activate(op.activation, normed, row);
            }
        });
    }
}

/// The norm of each of a strip's columns, all of them row by row.
fn norms(op: &LayerNorm, strip: &mut Tile<'_>) -> [Norm; STRIP] {
    let (mut means, mut squares) = ([0.0; STRIP], [0.0; STRIP]);
    for channel in 0..strip.rows() {
        means.iter_mut().zip(&*strip.row(channel)).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    means.iter_mut().for_each(|sum| *sum = mean(*sum, op.channels));
    for channel in 0..strip.rows() {
        for ((square, mean), &value) in squares.iter_mut().zip(&means).zip(&*strip.row(channel)) {
            *square += (f64::from(value) - mean).powi(2);
        }
    }
    std::array::from_fn(|column| Norm { mean: means[column], factor: factor(squares[column], op.channels, op.epsilon) })
}
