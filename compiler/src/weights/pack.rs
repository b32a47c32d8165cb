//! Packing: from the tensors of a checkpoint to the layouts that a Program names.
//!
//! Tensors are read in pieces, straight to their places where the layout allows it: beside the packed block, packing holds
//! no more than about a million elements, a few vectors of one value per channel and what a basis is folded with, and for
//! CUDA one weight in `f32`.

use kwc_program::cuda::Element;

use super::finite::{Watched, add, count};
use super::fold::{fold, fold_panels};
use super::panels::{self, Panels};
use super::{Error, NotFinite, Tensors, base};
use crate::plan::{Base, Planned, Recipe, cpu, cuda};

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
            add(&mut found.folded, &weight.name, made_by(&recipe.base), count(out));
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
        let made_by = made_by(&recipe.base);
        tensors.has_seen = false;
        make_base(&recipe.base, &mut tensors, &mut base)?;
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

/// Makes one weight of a plan for the CPU. `out` has its elements, and zeros where it has padding.
///
/// # Errors
/// A tensor is missing, or its file can't be read.
pub fn make(recipe: &cpu::PackRecipe, tensors: &mut dyn Tensors, out: &mut [f32]) -> Result<(), Error> {
    match (&recipe.base, recipe.order) {
        (base, cpu::Order::Same) => make_base(base, tensors, out),
        (Base::Folded(fold), cpu::Order::Cells { first, cells, .. }) => {
            fold_panels(fold, first..first + cells, &Panels::new(recipe.order), tensors, out)
        }
        (Base::Recipe(made), order) => panels::pack(made, &Panels::new(order), tensors, out),
        (Base::Values(_) | Base::Folded(_), order) => {
            let mut elements = vec![0.0; recipe.elements];
            make_base(&recipe.base, tensors, &mut elements)?;
            Panels::new(order).scatter(&elements, 0, out);
            Ok(())
        }
    }
}

/// Makes what a weight is made of.
fn make_base(base: &Base, tensors: &mut dyn Tensors, out: &mut [f32]) -> Result<(), Error> {
    match base {
        Base::Recipe(recipe) => base::make(recipe, tensors, out),
        Base::Values(values) => {
            out.copy_from_slice(values);
            Ok(())
        }
        Base::Folded(parts) => fold(parts, tensors, out),
    }
}

/// The recipe of a weight that is made by one.
const fn made_by(base: &Base) -> Option<&Recipe> {
    match base {
        Base::Recipe(recipe) => Some(recipe),
        Base::Values(_) | Base::Folded(_) => None,
    }
}
