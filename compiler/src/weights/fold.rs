//! Folding: a warehouse with a layer's non-local basis multiplied into it. Sums are in `f64`.

use std::ops::Range;

use super::base::make;
use super::panels::{PIECE, Panels};
use super::{Error, Tensors};
use crate::plan::{Fold, Recipe};

/// Elements of a cell whose sums are made at a time.
const SUMS: usize = 1024;

/// What the cells of a fold are summed with.
struct Factors<'f> {
    fold: &'f Fold,
    /// `[nonlocal, rank]`
    fc3: Vec<f32>,
    /// `[mixtures, cells + 1]`
    bias: Vec<f32>,
}

impl<'f> Factors<'f> {
    fn read(fold: &'f Fold, tensors: &mut dyn Tensors) -> Result<Self, Error> {
        let mut values = |recipe: &Recipe, count: usize| -> Result<Vec<f32>, Error> {
            let mut values = vec![0.0; count];
            make(recipe, tensors, &mut values)?;
            Ok(values)
        };
        let fc3 = values(&fold.fc3, (fold.cells - fold.local) * fold.rank)?;
        let bias = values(&fold.bias, fold.mixtures * (fold.cells + 1))?;
        Ok(Self { fold, fc3, bias })
    }

    /// The number of a non-local cell in the warehouse.
    const fn number(&self, nonlocal: usize) -> usize {
        if nonlocal < self.fold.start_cell { nonlocal } else { nonlocal + self.fold.local }
    }

    /// The factors of the non-local cells in a sum: those of the basis, then one for each mixture.
    fn of(&self, sum: usize) -> Vec<f64> {
        let Fold { cells, local, rank, .. } = *self.fold;
        let factor = |j: usize| match sum.checked_sub(rank) {
            None => self.fc3[j * rank + sum],
            Some(mixture) => self.bias[mixture * (cells + 1) + self.number(j)],
        };
        (0..cells - local).map(|j| f64::from(factor(j))).collect()
    }
}

/// Sums parts of cells, each times its factor.
fn sum<'c>(factors: &[f64], cell: impl Fn(usize) -> &'c [f32], out: &mut [f32]) {
    for (piece, out) in out.chunks_mut(SUMS).enumerate() {
        let mut sums = [0.0; SUMS];
        let sums = &mut sums[..out.len()];
        let part = |j: usize| &cell(j)[piece * SUMS..][..out.len()];
        let fours = factors.chunks_exact(4);
        let rest = factors.len() - fours.remainder().len();
        for (index, four) in fours.enumerate() {
            let j = 4 * index;
            let (a, b, c, d) = (part(j), part(j + 1), part(j + 2), part(j + 3));
            for ((((sum, a), b), c), d) in sums.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                *sum = *sum
                    + four[0] * f64::from(*a)
                    + four[1] * f64::from(*b)
                    + four[2] * f64::from(*c)
                    + four[3] * f64::from(*d);
            }
        }
        for (j, factor) in factors.iter().enumerate().skip(rest) {
            for (sum, x) in sums.iter_mut().zip(part(j)) {
                *sum += factor * f64::from(*x);
            }
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = *sum as f32;
        }
    }
}

/// Makes the cells `[local + rank + mixtures, cell]` of a fold. A whole warehouse stands in memory meanwhile.
///
/// # Errors
/// A tensor is missing, or its file can't be read.
pub(super) fn fold(fold: &Fold, tensors: &mut dyn Tensors, out: &mut [f32]) -> Result<(), Error> {
    let Fold { cells, cell, local, start_cell, .. } = *fold;
    let factors = Factors::read(fold, tensors)?;
    let mut warehouse = vec![0.0; cells * cell];
    make(&fold.warehouse, tensors, &mut warehouse)?;
    let (own, sums) = out.split_at_mut(local * cell);
    own.copy_from_slice(&warehouse[start_cell * cell..][..local * cell]);
    for (index, out) in sums.chunks_exact_mut(cell).enumerate() {
        sum(&factors.of(index), |j| &warehouse[factors.number(j) * cell..][..cell], out);
    }
    Ok(())
}

/// Packs some of the cells of a fold. Of the warehouse, no more than some rows of every cell stand in memory.
///
/// # Errors
/// A tensor is missing, or its file can't be read.
pub(super) fn fold_panels(
    fold: &Fold,
    taken: Range<usize>,
    panels: &Panels,
    tensors: &mut dyn Tensors,
    out: &mut [f32],
) -> Result<(), Error> {
    let Fold { cells, cell, local, start_cell, .. } = *fold;
    // Rows of a warehouse stand as in its tensor, not in the order that its recipe gives them.
    let tensor = match &fold.warehouse {
        Recipe::Copy { tensor }
        | Recipe::Cells { tensor, .. }
        | Recipe::Rows { tensor, .. }
        | Recipe::Mixtures { tensor, .. } => tensor,
        Recipe::Scale(_) | Recipe::Shift(_) => unreachable!("a warehouse is a tensor"),
    };
    let (row, rows) = (panels.row(), panels.rows());
    let mut own = vec![0.0; if taken.start < local { cell } else { 0 }];
    for index in taken.start..taken.end.min(local) {
        tensors.read(tensor, (start_cell + index) * cell, &mut own)?;
        panels.scatter(&own, (index - taken.start) * rows, out);
    }
    let sums = taken.start.max(local)..taken.end;
    if sums.is_empty() {
        return Ok(());
    }
    let factors = Factors::read(fold, tensors)?;
    let all: Vec<Vec<f64>> = sums.clone().map(|index| factors.of(index - local)).collect();
    let nonlocal = cells - local;
    let piece = (PIECE / (nonlocal * row).max(1)).clamp(1, rows);
    let mut buffer = vec![0.0; nonlocal * piece * row];
    let mut summed = vec![0.0; piece * row];
    for first in (0..rows).step_by(piece) {
        let length = piece.min(rows - first) * row;
        for (j, part) in buffer.chunks_exact_mut(piece * row).enumerate() {
            tensors.read(tensor, factors.number(j) * cell + first * row, &mut part[..length])?;
        }
        let summed = &mut summed[..length];
        for (index, factors) in sums.clone().zip(&all) {
            sum(factors, |j| &buffer[j * piece * row..][..length], summed);
            panels.scatter(summed, (index - taken.start) * rows + first, out);
        }
    }
    Ok(())
}
