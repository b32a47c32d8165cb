//! Packing: from the tensors of a checkpoint to the layouts that a Program names.
//!
//! Tensors are read in pieces, straight to their places where the layout allows it: beside the packed block, packing holds
//! no more than about a million elements and a few vectors of one value per channel, and for CUDA one weight in `f32`.

use kwc_program::cuda::Element;

use super::finite::{Watched, add, count};
use super::fold::fold;
use super::{Error, NotFinite, Tensors};
use crate::plan::cuda::Base;
use crate::plan::{Affine, Planned, Recipe, cuda, packed_order};

/// Elements of a warehouse that are read at a time (rounded up to whole cells).
const PIECE: usize = 1 << 20;

/// Makes all weights of a plan. `out` has the Program's `weight_elements`; `progress` is told the elements done so far and their total.
/// Says which weights are not finite.
///
/// # Errors
/// A tensor is missing, or its file can't be read.
pub fn pack(
    planned: &Planned,
    tensors: &mut dyn Tensors,
    out: &mut [f32],
    progress: &mut dyn FnMut(usize, usize),
) -> Result<NotFinite, Error> {
    let mut tensors = Watched::new(tensors);
    let mut found = NotFinite::default();
    for (weight, recipe) in planned.program.weights.iter().zip(&planned.recipes) {
        let end = weight.offset + weight.elements();
        let out = &mut out[weight.offset..end];
        tensors.has_seen = false;
        make(recipe, &mut tensors, out)?;
        if !tensors.has_seen {
            add(&mut found.folded, &weight.name, Some(recipe), count(out));
        }
        progress(end, planned.program.weight_elements);
    }
    found.given = tensors.given();
    Ok(found)
}

/// Makes all weights of a plan for CUDA. `out` has the Program's `weight_bytes`, all zero; `progress` is told the bytes done
/// so far and their total. Says which weights are not finite.
///
/// # Errors
/// A tensor is missing, or its file can't be read.
pub fn pack_cuda(
    planned: &cuda::Planned,
    tensors: &mut dyn Tensors,
    out: &mut [u8],
    progress: &mut dyn FnMut(usize, usize),
) -> Result<NotFinite, Error> {
    let mut tensors = Watched::new(tensors);
    let mut found = NotFinite::default();
    for (weight, recipe) in planned.program.weights.iter().zip(&planned.recipes) {
        let mut base = vec![0.0; recipe.elements];
        let made_by = match &recipe.base {
            Base::Recipe(recipe) => Some(recipe),
            Base::Values(_) | Base::Folded(_) => None,
        };
        tensors.has_seen = false;
        match &recipe.base {
            Base::Recipe(recipe) => make(recipe, &mut tensors, &mut base)?,
            Base::Values(values) => base.copy_from_slice(values),
            Base::Folded(parts) => fold(parts, &mut tensors, &mut base)?,
        }
        if !tensors.has_seen {
            add(&mut found.folded, &weight.name, made_by, count(&base));
        }
        let mut ordered = vec![0.0; weight.shape.iter().product()];
        recipe.order.apply(&base, &mut ordered);
        let end = weight.offset + weight.bytes();
        let out = &mut out[weight.offset..end];
        match recipe.element {
            Element::F32 => {
                for (out, x) in out.chunks_exact_mut(4).zip(&ordered) {
                    out.copy_from_slice(&x.to_le_bytes());
                }
            }
            Element::F16 => {
                let mut infinite = 0;
                for (out, x) in out.chunks_exact_mut(2).zip(&ordered) {
                    let rounded = half::f16::from_f32(*x);
                    infinite += usize::from(x.is_finite() && rounded.is_infinite());
                    out.copy_from_slice(&rounded.to_le_bytes());
                }
                add(&mut found.rounded, &weight.name, made_by, infinite);
            }
        }
        progress(end, planned.program.weight_bytes);
    }
    found.given = tensors.given();
    Ok(found)
}

/// Makes one weight.
///
/// # Errors
/// A tensor is missing, or its file can't be read.
pub fn make(recipe: &Recipe, tensors: &mut dyn Tensors, out: &mut [f32]) -> Result<(), Error> {
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
fn affine_of(affine: &[Affine], channels: usize, tensors: &mut dyn Tensors) -> Result<(Vec<f64>, Vec<f64>), Error> {
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
