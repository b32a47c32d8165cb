//! Folding: a warehouse with a layer's non-local basis multiplied into it.
//!
//! A whole warehouse stands in memory meanwhile. Sums are in `f64`.

use super::pack::make;
use super::{Error, Tensors};
use crate::plan::cuda::Fold;

/// Elements of a cell whose sums are made at a time.
const PIECE: usize = 1024;

/// Makes the cells `[local + rank + mixtures, cell]` of a fold.
///
/// # Errors
/// A tensor is missing, or its file can't be read.
pub(super) fn fold(fold: &Fold, tensors: &mut dyn Tensors, out: &mut [f32]) -> Result<(), Error> {
    let Fold { warehouse, fc3, bias, cells, cell, local, start_cell, rank, mixtures } = fold;
    let nonlocal = cells - local;
    let mut values = |recipe, count| -> Result<Vec<f32>, Error> {
        let mut values = vec![0.0; count];
        make(recipe, tensors, &mut values)?;
        Ok(values)
    };
    let warehouse = values(warehouse, cells * cell)?;
    let fc3 = values(fc3, nonlocal * rank)?;
    let bias = values(bias, mixtures * (cells + 1))?;

    let (own, sums) = out.split_at_mut(local * cell);
    own.copy_from_slice(&warehouse[start_cell * cell..][..local * cell]);
    let number = |j: usize| if j < *start_cell { j } else { j + local };
    for (row, out) in sums.chunks_exact_mut(*cell).enumerate() {
        let factor = |j: usize| match row.checked_sub(*rank) {
            None => fc3[j * rank + row],
            Some(mixture) => bias[mixture * (cells + 1) + number(j)],
        };
        let factors: Vec<f64> = (0..nonlocal).map(|j| f64::from(factor(j))).collect();
        for (piece, out) in out.chunks_mut(PIECE).enumerate() {
            let mut sums = [0.0; PIECE];
            for (j, factor) in factors.iter().enumerate() {
                let from = &warehouse[number(j) * cell + piece * PIECE..][..out.len()];
                for (sum, x) in sums.iter_mut().zip(from) {
                    *sum += factor * f64::from(*x);
                }
            }
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = sum as f32;
            }
        }
    }
    Ok(())
}
