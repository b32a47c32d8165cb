//! The contrasting-driven attention function.
//!
//! All samples go through each of its matrices together, a few at a time: the matrices are read once, and they are larger than
//! what they are multiplied by.

#![expect(unsafe_code, reason = "rows and panels are read through pointers")]

use std::sync::PoisonError;

use crate::Error;
use crate::program::{Attention, AttentionNorm, Basis, Op, PANEL, Program};

use super::machine::{Machine, Shared};
use super::micro::{Finish, Product, ROWS, Rows};
use super::operands::Operands;
use super::statistics::{Norm, narrow};
use super::threads::grow;

/// Added to the sum of a mixture's logits before it divides them.
const SUM_EPSILON: f64 = 1e-3;
/// Multiply-adds of a task, at least.
const TASK: usize = 1 << 18;
/// Logits that a task normalises, at least.
const LOGITS: usize = 1 << 13;

/// Runs an [`Attention`].
pub(super) fn run(op: &Attention, operands: &Operands<'_>, output: &mut [f32], machine: &Machine) {
    let batch = operands.batch();
    let rows = op.basis.map_or(op.cells, |basis| basis.local + basis.rank) + 1;
    let mut space = machine.attention.lock().unwrap_or_else(PoisonError::into_inner);
    let Space { hidden, logits, others } = &mut *space;

    let hidden = grow(hidden, batch * op.hidden);
    let averages = operands.input(op.average);
    product((averages, op.channels), operands.weight(op.fc1), (hidden, op.hidden), machine);
    hidden.chunks_exact_mut(op.hidden).for_each(|units| norm(op, operands, units));
    let logits = grow(logits, batch * op.mixtures * rows);
    product((hidden, op.hidden), operands.weight(op.fc2), (logits, op.mixtures * rows), machine);
    let others: &[f32] = if let Some(basis) = &op.basis {
        let nonlocal = op.cells - basis.local;
        let others = grow(others, batch * op.mixtures * nonlocal);
        let parts =
            Matrix { data: logits, start: basis.local, pitch: rows, rows: batch * op.mixtures, depth: basis.rank };
        multiply(parts, operands.weight(basis.fc3), (others, nonlocal), machine);
        others
    } else {
        &[]
    };

    let pitch = match &op.basis {
        Some(basis) if basis.is_folded => basis.local + basis.rank + 1,
        Some(_) | None => op.cells,
    };
    let step = (LOGITS / (op.cells + 1)).max(1);
    let tasks = output.chunks_mut(step * pitch).enumerate().collect();
    machine.threads.each(tasks, |(task, alphas): (usize, &mut [f32]), _| {
        for (alpha, index) in alphas.chunks_exact_mut(pitch).zip(task * step..) {
            let logits = &logits[index * rows..][..rows];
            let mixture = index % op.mixtures;
            match &op.basis {
                None => attend(op, operands, logits, mixture, alpha),
                Some(basis) => {
                    let nonlocal = op.cells - basis.local;
                    let others = &others[index * nonlocal..][..nonlocal];
                    attend_with_basis(op, basis, operands, (logits, others), mixture, alpha);
                }
            }
        }
    });
}

/// What the attention of a model works in.
#[derive(Debug, Default)]
pub(super) struct Space {
    hidden: Vec<f32>,
    logits: Vec<f32>,
    others: Vec<f32>,
}

/// Elements of [`Space`], for one sample.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sizes {
    hidden: usize,
    logits: usize,
    others: usize,
}

impl Sizes {
    /// The most that any attention of a Program needs.
    pub(super) fn most(program: &Program) -> Self {
        let mut most = Self::default();
        for step in program.steps.iter() {
            if let Op::Attention(op) = &step.op {
                let rows = op.basis.map_or(op.cells, |basis| basis.local + basis.rank) + 1;
                let nonlocal = op.basis.map_or(0, |basis| op.cells - basis.local);
                most.hidden = most.hidden.max(op.hidden);
                most.logits = most.logits.max(op.mixtures * rows);
                most.others = most.others.max(op.mixtures.saturating_mul(nonlocal));
            }
        }
        most
    }
}

impl Space {
    /// Makes room for so many samples.
    ///
    /// # Errors
    ///
    /// [`Error::Memory`] if there is none.
    pub(super) fn reserve(&mut self, sizes: Sizes, batch: usize) -> Result<(), Error> {
        let Self { hidden, logits, others } = self;
        for (space, size) in [(hidden, sizes.hidden), (logits, sizes.logits), (others, sizes.others)] {
            let memory = |elements| Error::Memory { what: "the attentions", elements };
            let elements = size.checked_mul(batch).ok_or_else(|| memory(usize::MAX))?;
            space.try_reserve_exact(elements.saturating_sub(space.len())).map_err(|_| memory(elements))?;
        }
        Ok(())
    }
}

/// Rows of a matrix that is a part of another one's columns.
#[derive(Clone, Copy)]
struct Matrix<'a> {
    data: &'a [f32],
    /// First element of the first row.
    start: usize,
    /// Elements from one row to the next.
    pitch: usize,
    rows: usize,
    /// Columns.
    depth: usize,
}

/// `[rows, depth]`, its rows side by side, times a packed kernel of `columns` columns.
fn product(left: (&[f32], usize), kernel: &[f32], output: (&mut [f32], usize), machine: &Machine) {
    let (data, depth) = left;
    multiply(Matrix { data, start: 0, pitch: depth, rows: data.len() / depth, depth }, kernel, output, machine);
}

/// Rows times a packed kernel of one block, in panels of [`PANEL`]; the output is `[rows, columns]`.
fn multiply(left: Matrix<'_>, kernel: &[f32], output: (&mut [f32], usize), machine: &Machine) {
    let (output, columns) = output;
    let panels = columns.div_ceil(PANEL);
    let work = left.rows * left.depth * PANEL;
    let step = (TASK / work.max(1)).clamp(1, panels.max(1));
    let tasks = (0..panels).step_by(step).map(|first| first..panels.min(first + step)).collect();
    let output = Shared::new(output);
    machine.threads.each(tasks, |task: std::ops::Range<usize>, _| {
        let offsets: [usize; ROWS] = std::array::from_fn(|row| row * columns);
        for first in (0..left.rows).step_by(ROWS) {
            let count = ROWS.min(left.rows - first);
            let mut rows: [Rows; 1] = [[std::ptr::null(); ROWS]];
            for (row, index) in rows[0][..count].iter_mut().zip(first..) {
                *row = left.data[index * left.pitch + left.start..][..left.depth].as_ptr();
            }
            for panel in task.clone() {
                let call = Product {
                    rows: &rows,
                    count,
                    length: left.depth,
                    panel: kernel[panel * left.depth * PANEL..][..left.depth * PANEL].as_ptr(),
                    width: PANEL,
                    repeat: 1,
                    lanes: PANEL.min(columns - panel * PANEL),
                    output: output.at(first * columns + panel * PANEL),
                    offsets: &offsets,
                    constants: None,
                    finish: Finish::NONE,
                };
                // SAFETY: rows and panel have just been cut to their lengths; the results are columns of the output that no
                // other task has, as many as exist.
                unsafe { machine.micro.product(&call) };
            }
        }
    });
}

/// `relu(norm(units + bias))` of one sample, in place.
fn norm(op: &Attention, operands: &Operands<'_>, units: &mut [f32]) {
    if let Some(bias) = op.fc1_bias {
        units.iter_mut().zip(operands.weight(bias)).for_each(|(unit, bias)| *unit += bias);
    }
    let (norm, scale, shift) = match op.norm {
        AttentionNorm::Batch { scale, shift } => (None, scale, shift),
        AttentionNorm::Layer { weight, bias, epsilon } => (Some(Norm::of(units, epsilon)), weight, bias),
    };
    let (scale, shift) = (operands.weight(scale), operands.weight(shift));
    for ((unit, &scale), &shift) in units.iter_mut().zip(scale).zip(shift) {
        let normed = norm.map_or(*unit, |norm| norm.apply(*unit));
        let value = normed * scale + shift;
        // A value that is not a number stays one.
        *unit = if value < 0.0 { 0.0 } else { value };
    }
}

/// What divides a mixture's logits, inverted.
fn factor(logits: impl Iterator<Item = f32>) -> f64 {
    (logits.map(|logit| f64::from(logit.abs())).sum::<f64>() + SUM_EPSILON).recip()
}

/// The attention of one mixture to the cells of the warehouse.
fn attend(op: &Attention, operands: &Operands<'_>, logits: &[f32], mixture: usize, alpha: &mut [f32]) {
    let mut null = logits[op.cells];
    alpha.copy_from_slice(&logits[..op.cells]);
    if let Some(bias) = op.fc2_bias {
        add_bias(op, operands.weight(bias), mixture, alpha, &mut null);
    }
    divide(op, mixture, alpha, null);
}

/// The same where logits of the cells that are not the layer's own come from a basis.
fn attend_with_basis(
    op: &Attention,
    basis: &Basis,
    operands: &Operands<'_>,
    (logits, others): (&[f32], &[f32]),
    mixture: usize,
    alpha: &mut [f32],
) {
    let (local, rest) = logits.split_at(basis.local);
    let (rank, null) = rest.split_at(basis.rank);
    let mut null = null[0];
    let biases = operands.weight(basis.bias);
    if !basis.is_folded {
        let (before, own) = alpha.split_at_mut(basis.start_cell);
        let (own, after) = own.split_at_mut(basis.local);
        own.copy_from_slice(local);
        before.copy_from_slice(&others[..basis.start_cell]);
        after.copy_from_slice(&others[basis.start_cell..]);
        add_bias(op, biases, mixture, alpha, &mut null);
        return divide(op, mixture, alpha, null);
    }
    // The sum is over the logits of all cells; what is mixed is the parts that they are made of.
    let bias = &biases[mixture * (op.cells + 1)..][..op.cells + 1];
    let (before, own) = bias.split_at(basis.start_cell);
    let (own, after) = own.split_at(basis.local);
    let (after, of_null) = after.split_at(op.cells - basis.local - basis.start_cell);
    let nonlocal = others.iter().zip(before.iter().chain(after));
    let all = local.iter().zip(own).chain(nonlocal).map(|(logit, bias)| logit + bias);
    let factor = factor(all.chain(std::iter::once(null + of_null[0])));
    let (to_local, to_rest) = alpha.split_at_mut(basis.local);
    for ((alpha, logit), bias) in to_local.iter_mut().zip(local).zip(own) {
        *alpha = narrow(f64::from(logit + bias) * factor);
    }
    for (alpha, part) in to_rest.iter_mut().zip(rank.iter().chain(&[1.0])) {
        *alpha = narrow(f64::from(*part) * factor);
    }
}

/// Adds the bias of a mixture's logits; `biases` has `cells + 1` for each.
fn add_bias(op: &Attention, biases: &[f32], mixture: usize, alpha: &mut [f32], null: &mut f32) {
    let bias = &biases[mixture * (op.cells + 1)..][..op.cells + 1];
    alpha.iter_mut().zip(bias).for_each(|(logit, bias)| *logit += bias);
    *null += bias[op.cells];
}

/// Divides a mixture's logits by their sum, and blends them with where they started.
fn divide(op: &Attention, mixture: usize, alpha: &mut [f32], null: f32) {
    let factor = factor(alpha.iter().copied().chain(std::iter::once(null)));
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
