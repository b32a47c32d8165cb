//! Checks of the attention function.

use super::{Check, Result, panels, volume};
use crate::program::{Attention, AttentionNorm, Basis, Temperature};

impl Check<'_> {
    pub(super) fn attention(self, op: &Attention) -> Result<()> {
        volume("the mixtures", &[op.mixtures, op.cells])?;
        // Logits of a mixture as `fc2` gives them.
        let rows = op.basis.map_or(Some(op.cells), |basis| basis.local.checked_add(basis.rank));
        let rows = rows.and_then(|rows| rows.checked_add(1)).ok_or("too many rows of fc2")?;
        let width = if op.basis.is_some_and(|basis| basis.is_folded) { rows } else { op.cells };
        let output = self.buffer_of("output", op.output, volume("output", &[op.mixtures, width])?)?;
        self.apart("average", op.average, volume("average", &[op.channels])?, output)?;
        volume("fc1", &[op.hidden, op.channels])?;
        self.weight_of("fc1", op.fc1, panels("fc1", op.hidden, op.channels)?)?;
        if let Some(bias) = op.fc1_bias {
            self.weight_of("bias of fc1", bias, op.hidden)?;
        }
        let (scale, shift) = match op.norm {
            AttentionNorm::Batch { scale, shift } => (scale, shift),
            AttentionNorm::Layer { weight, bias, epsilon: _ } => (weight, bias),
        };
        self.weight_of("scale of the norm", scale, op.hidden)?;
        self.weight_of("shift of the norm", shift, op.hidden)?;
        let logits = op.cells.checked_add(1).ok_or("too many cells")?;
        let logits = volume("logits", &[op.mixtures, logits])?;
        let outputs = volume("rows of fc2", &[op.mixtures, rows])?;
        self.weight_of("fc2", op.fc2, panels("fc2", outputs, op.hidden)?)?;
        if let Some(basis) = &op.basis {
            self.basis(op, basis, logits)?;
        } else if let Some(bias) = op.fc2_bias {
            self.weight_of("bias of fc2", bias, logits)?;
        }
        op.temperature.as_ref().map_or(Ok(()), |temperature| check_temperature(op, temperature))
    }

    fn basis(self, op: &Attention, basis: &Basis, logits: usize) -> Result<()> {
        if op.fc2_bias.is_some() {
            return Err("fc2 has a bias beside a basis".to_owned());
        }
        if basis.local.checked_add(basis.start_cell).is_none_or(|end| end > op.cells) {
            let Basis { local, start_cell, .. } = basis;
            return Err(format!("{local} local cells from {start_cell} exceed the {} cells", op.cells));
        }
        volume("the rank of the basis", &[basis.rank])?;
        self.weight_of("fc3", basis.fc3, panels("fc3", op.cells - basis.local, basis.rank)?)?;
        self.weight_of("bias of the basis", basis.bias, logits)
    }
}

fn check_temperature(op: &Attention, temperature: &Temperature) -> Result<()> {
    if !(0.0..=1.0).contains(&temperature.t) {
        return Err(format!("temperature {} is not between 0 and 1", temperature.t));
    }
    // Blending names cells that a folded basis has no logits of.
    if op.basis.is_some_and(|basis| basis.is_folded) {
        return Err("a temperature beside a folded basis".to_owned());
    }
    if temperature.beta.len() != op.mixtures {
        return Err(format!("beta has {} entries for {} mixtures", temperature.beta.len(), op.mixtures));
    }
    match temperature.beta.iter().find(|&&cell| usize::try_from(cell).is_ok_and(|cell| cell > op.cells)) {
        Some(cell) => Err(format!("beta names cell {cell} of {} and the null cell", op.cells)),
        None => Ok(()),
    }
}
