//! Which weights are not finite: in a checkpoint, or once they are packed.

use std::collections::BTreeMap;

use super::{Error, Tensors};
use crate::plan::{Affine, Recipe};

/// Weights with values that are infinite or no number. A network that has them runs, but hardly as it was meant to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NotFinite {
    /// Tensors of the checkpoint that have such values.
    pub given: Vec<Count>,
    /// Packed weights that have such values though no tensor that they are made of has: folding made them.
    pub folded: Vec<Count>,
    /// Packed weights with values that are finite in `f32` and infinite in `f16`.
    pub rounded: Vec<Count>,
}

/// How many values of a tensor are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// The tensor; of packed weights that are made of a norm alone, the norm's path.
    pub name: String,
    /// Values, at least 1.
    pub values: usize,
    /// Paths of the norms that are folded into the tensor: the cause may be there.
    pub norms: Vec<String>,
}

/// Adds a packed weight and the norms that its recipe, if it has one, folds in; unless nothing of it is meant or it is
/// there already.
pub(super) fn add(counts: &mut Vec<Count>, name: &str, recipe: Option<&Recipe>, values: usize) {
    if values == 0 {
        return;
    }
    let (name, norms) = match recipe {
        Some(Recipe::Rows { affine, .. }) => (name, norms(affine)),
        Some(Recipe::Scale(affine) | Recipe::Shift(affine)) => {
            let mut norms = norms(affine);
            if norms.is_empty() { (name, norms) } else { (norms.remove(0), norms) }
        }
        Some(Recipe::Copy { .. } | Recipe::Cells { .. } | Recipe::Mixtures { .. }) | None => (name, Vec::new()),
    };
    if counts.iter().all(|count| count.name != name) {
        let norms = norms.into_iter().map(str::to_owned).collect();
        counts.push(Count { name: name.to_owned(), values, norms });
    }
}

/// Paths of the norms of a chain of maps.
fn norms(affine: &[Affine]) -> Vec<&str> {
    let mut paths = Vec::new();
    for map in affine {
        match map {
            Affine::BatchNorm { path, .. } => paths.push(path.as_str()),
            Affine::Bias(_) | Affine::Scale(_) => {}
        }
    }
    paths
}

/// How many values are not finite.
pub(super) fn count(values: &[f32]) -> usize {
    values.iter().filter(|x| !x.is_finite()).count()
}

/// What was seen in a tensor.
#[derive(Default)]
struct Seen {
    /// Elements that were read: the starts of ranges that don't touch, and their ends.
    read: BTreeMap<usize, usize>,
    /// Values that aren't finite.
    values: usize,
}

impl Seen {
    /// Notes what was read from `start` on; values that were read before aren't counted again.
    fn note(&mut self, start: usize, values: &[f32]) {
        let (mut start, mut end) = (start, start + values.len());
        let first = start;
        let mut at = start;
        let touched = self.read.range(..=end).rev().take_while(|(_, known)| **known >= start);
        let mut touched: Vec<(usize, usize)> = touched.map(|(start, end)| (*start, *end)).collect();
        touched.reverse();
        for (known_start, known_end) in touched {
            self.values += count(&values[at - first..known_start.max(at) - first]);
            at = known_end.clamp(at, end);
            self.read.remove(&known_start);
            start = start.min(known_start);
            end = end.max(known_end);
        }
        self.values += count(&values[at - first..]);
        self.read.insert(start, end);
    }
}

/// Tensors, and what was seen in them that isn't finite.
pub(super) struct Watched<'t> {
    tensors: &'t mut dyn Tensors,
    /// By tensor, what was read of it and how many values were seen there.
    seen: BTreeMap<String, Seen>,
    /// Whether anything was seen since this was last set to `false`.
    pub(super) has_seen: bool,
}

impl<'t> Watched<'t> {
    pub(super) fn new(tensors: &'t mut dyn Tensors) -> Self {
        Self { tensors, seen: BTreeMap::new(), has_seen: false }
    }

    /// All tensors in which something was seen.
    pub(super) fn given(self) -> Vec<Count> {
        let seen = self.seen.into_iter().filter(|(_, seen)| seen.values > 0);
        seen.map(|(name, seen)| Count { name, values: seen.values, norms: Vec::new() }).collect()
    }
}

impl Tensors for Watched<'_> {
    fn read(&mut self, name: &str, start: usize, out: &mut [f32]) -> Result<(), Error> {
        self.tensors.read(name, start, out)?;
        self.has_seen |= count(out) > 0;
        if !self.seen.contains_key(name) {
            self.seen.insert(name.to_owned(), Seen::default());
        }
        if let Some(seen) = self.seen.get_mut(name) {
            seen.note(start, out);
        }
        Ok(())
    }
}
