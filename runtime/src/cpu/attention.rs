//! The contrasting-driven attention function.

use crate::program::{Attention, AttentionNorm, Basis};

use super::operands::Operands;
use super::simd::dot;
use super::statistics::{Norm, narrow};
use super::threads::Threads;

/// Added to the sum of a mixture's logits before it divides them.
const SUM_EPSILON: f64 = 1e-3;

/// Runs an [`Attention`].
pub(super) fn run(op: &Attention, operands: &Operands<'_>, output: &mut [f32], threads: &Threads) {
    let averages = operands.input(op.average);
    let hidden: Vec<f32> =
        averages.chunks_exact(op.channels).flat_map(|average| hidden(op, operands, average)).collect();
    let mixtures = output.chunks_exact_mut(op.cells).enumerate();
    // Several mixtures to a task, for they are short.
    let length = (4096 / op.cells).max(1);
    let mut tasks = Vec::with_capacity(mixtures.len().div_ceil(length));
    for mixture in mixtures {
        match tasks.last_mut() {
            Some(task) if Vec::len(task) < length => task.push(mixture),
            Some(_) | None => tasks.push(vec![mixture]),
        }
    }
    threads.each(tasks, |task, scratch| {
        for (index, alpha) in task {
            let (sample, mixture) = (index / op.mixtures, index % op.mixtures);
            let hidden = &hidden[sample * op.hidden..(sample + 1) * op.hidden];
            attend(op, operands, hidden, mixture, alpha, &mut scratch.few);
        }
    });
}

/// `relu(norm(fc1 g + bias))` of one sample.
fn hidden(op: &Attention, operands: &Operands<'_>, average: &[f32]) -> Vec<f32> {
    let fc1 = operands.weight(op.fc1);
    let mut units: Vec<f32> = fc1.chunks_exact(op.channels).map(|row| dot(row, average)).collect();
    if let Some(bias) = op.fc1_bias {
        units.iter_mut().zip(operands.weight(bias)).for_each(|(unit, bias)| *unit += bias);
    }
    let (norm, scale, shift) = match op.norm {
        AttentionNorm::Batch { scale, shift } => (None, scale, shift),
        AttentionNorm::Layer { weight, bias, epsilon } => (Some(Norm::of(&units, epsilon)), weight, bias),
    };
    let (scale, shift) = (operands.weight(scale), operands.weight(shift));
    for ((unit, &scale), &shift) in units.iter_mut().zip(scale).zip(shift) {
        let normed = norm.map_or(*unit, |norm| norm.apply(*unit));
        let value = normed * scale + shift;
        // A value that is not a number stays one.
        *unit = if value < 0.0 { 0.0 } else { value };
    }
    units
}

/// The attention of one mixture to the cells of the warehouse.
fn attend(
    op: &Attention,
    operands: &Operands<'_>,
    hidden: &[f32],
    mixture: usize,
    alpha: &mut [f32],
    scratch: &mut Vec<f32>,
) {
    let rows = op.basis.map_or(op.cells, |basis| basis.local + basis.rank) + 1;
    let fc2 = &operands.weight(op.fc2)[mixture * rows * op.hidden..(mixture + 1) * rows * op.hidden];
    let logits = fc2.chunks_exact(op.hidden).map(|row| dot(row, hidden));
    let mut null = 0.0;
    let bias = if let Some(basis) = &op.basis {
        scratch.clear();
        scratch.extend(logits);
        null = scratch.last().copied().unwrap_or_default();
        expand(basis, operands, scratch, alpha);
        Some(basis.bias)
    } else {
        let slots = alpha.iter_mut().chain(std::iter::once(&mut null));
        slots.zip(logits).for_each(|(slot, logit)| *slot = logit);
        op.fc2_bias
    };
    if let Some(bias) = bias {
        let bias = &operands.weight(bias)[mixture * (op.cells + 1)..(mixture + 1) * (op.cells + 1)];
        let slots = alpha.iter_mut().chain(std::iter::once(&mut null));
        slots.zip(bias).for_each(|(slot, bias)| *slot += bias);
    }
    let sum = alpha.iter().chain(std::iter::once(&null)).map(|&logit| f64::from(logit.abs())).sum::<f64>();
    let factor = (sum + SUM_EPSILON).recip();
    match &op.temperature {
        None => alpha.iter_mut().for_each(|logit| *logit = narrow(f64::from(*logit) * factor)),
        Some(temperature) => {
            let t = f64::from(temperature.t);
            let initial = usize::try_from(temperature.beta[mixture]).unwrap_or(usize::MAX);
            for (cell, logit) in alpha.iter_mut().enumerate() {
                let beta = if cell == initial { t } else { 0.0 };
                *logit = narrow((1.0 - t) * f64::from(*logit) * factor + beta);
            }
        }
    }
}

/// Logits of all cells from `[local | rank | null]`.
fn expand(basis: &Basis, operands: &Operands<'_>, parts: &[f32], logits: &mut [f32]) {
    let (local, rest) = parts.split_at(basis.local);
    let others = operands.weight(basis.fc3).chunks_exact(basis.rank).map(|row| dot(row, &rest[..basis.rank]));
    let (before, own) = logits.split_at_mut(basis.start_cell);
    let (own, after) = own.split_at_mut(basis.local);
    own.copy_from_slice(local);
    before.iter_mut().chain(after).zip(others).for_each(|(slot, logit)| *slot = logit);
}
