//! Making weights of the steps, in their own orders, from the tensors of a checkpoint.

use super::{Error, Tensors};
use crate::plan::{Affine, Recipe, packed_order};

/// Elements of a warehouse that are read at a time (rounded up to whole cells).
const PIECE: usize = 1 << 20;

/// Makes one weight of the steps.
///
/// # Errors
/// A tensor is missing, or its file can't be read.
pub(super) fn make(recipe: &Recipe, tensors: &mut dyn Tensors, out: &mut [f32]) -> Result<(), Error> {
    match recipe {
        Recipe::Copy { tensor } => tensors.read(tensor, 0, out),
        Recipe::Rows { tensor, rows, affine } => {
            tensors.read(tensor, 0, out)?;
            let (scale, _) = affine_of(affine, *rows, tensors)?;
            let columns = out.len() / rows;
            for (row, factor) in out.chunks_exact_mut(columns).zip(&scale) {
                for x in row {
                    *x = (f64::from(*x) * factor) as f32;
                }
            }
            Ok(())
        }
        Recipe::Scale(affine) => {
            let (scale, _) = affine_of(affine, out.len(), tensors)?;
            store(&scale, out);
            Ok(())
        }
        Recipe::Shift(affine) => {
            let (_, shift) = affine_of(affine, out.len(), tensors)?;
            store(&shift, out);
            Ok(())
        }
        Recipe::Cells { tensor, cell_out, cell_in, cell_spatial } => {
            let cell = cell_out * cell_in * cell_spatial;
            let piece = PIECE.div_ceil(cell) * cell;
            let mut buffer = vec![0.0; piece.min(out.len())];
            for (index, out) in out.chunks_mut(piece).enumerate() {
                let buffer = &mut buffer[..out.len()];
                tensors.read(tensor, index * piece, buffer)?;
                for (from, to) in buffer.chunks_exact(cell).zip(out.chunks_exact_mut(cell)) {
                    transpose_cell(from, to, *cell_in * *cell_spatial, *cell_out, *cell_spatial);
                }
            }
            Ok(())
        }
        Recipe::Mixtures { tensor, grid } => {
            let part = out.len() / (grid.spatial * grid.out * grid.input);
            for (mixture, out) in packed_order(*grid).zip(out.chunks_exact_mut(part)) {
                tensors.read(tensor, mixture * part, out)?;
            }
            Ok(())
        }
    }
}

/// `[cell_out, cell_in, cell_spatial]` to `[cell_spatial, cell_in, cell_out]`; `row` is `cell_in * cell_spatial`.
fn transpose_cell(from: &[f32], to: &mut [f32], row: usize, cell_out: usize, cell_spatial: usize) {
    for (co, from) in from.chunks_exact(row).enumerate() {
        for (ci, from) in from.chunks_exact(cell_spatial).enumerate() {
            for (s, x) in from.iter().enumerate() {
                to[(s * (row / cell_spatial) + ci) * cell_out + co] = *x;
            }
        }
    }
}

/// The factor and the term per channel that a chain of maps amounts to.
pub(super) fn affine_of(
    affine: &[Affine],
    channels: usize,
    tensors: &mut dyn Tensors,
) -> Result<(Vec<f64>, Vec<f64>), Error> {
    let mut scale = vec![1.0; channels];
    let mut shift = vec![0.0; channels];
    let mut vector = |name: &str| -> Result<Vec<f32>, Error> {
        let mut values = vec![0.0; channels];
        tensors.read(name, 0, &mut values)?;
        Ok(values)
    };
    for map in affine {
        match map {
            Affine::Bias(tensor) => {
                for (shift, bias) in shift.iter_mut().zip(vector(tensor)?) {
                    *shift += f64::from(bias);
                }
            }
            Affine::Scale(tensor) => {
                for ((scale, shift), factor) in scale.iter_mut().zip(&mut shift).zip(vector(tensor)?) {
                    *scale *= f64::from(factor);
                    *shift *= f64::from(factor);
                }
            }
            Affine::BatchNorm { path, epsilon } => {
                let weight = vector(&format!("{path}.weight"))?;
                let bias = vector(&format!("{path}.bias"))?;
                let mean = vector(&format!("{path}.running_mean"))?;
                let variance = vector(&format!("{path}.running_var"))?;
                for c in 0..channels {
                    let factor = f64::from(weight[c]) / (f64::from(variance[c]) + epsilon).sqrt();
                    scale[c] *= factor;
                    shift[c] = (shift[c] - f64::from(mean[c])) * factor + f64::from(bias[c]);
                }
            }
        }
    }
    Ok((scale, shift))
}

fn store(from: &[f64], to: &mut [f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from as f32;
    }
}
