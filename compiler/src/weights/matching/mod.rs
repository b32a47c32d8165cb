//! Comparing a checkpoint with the state dict of a network: every difference at once.

mod hints;

use std::collections::BTreeMap;
use std::fmt;

use super::error::printable;
use super::{Checkpoint, Dtype, Error, TensorInfo};
use crate::state::{Kind, Tensor};

/// Differences of one kind that are printed; of the rest, their number.
const MAX_LISTED: usize = 20;

/// Bytes of the names among which the nearest is looked for, and how many: a network's own are shorter and fewer.
const MAX_NAME: usize = 200;
const MAX_CANDIDATES: usize = 5000;

/// Everything in which a checkpoint differs from what a network needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The checkpoint.
    pub file: String,
    /// Tensors that the network needs and the checkpoint lacks.
    pub missing: Vec<Difference>,
    /// Tensors of the checkpoint that the network doesn't know.
    pub unexpected: Vec<Difference>,
    /// Tensors that have another shape in the checkpoint than in the network.
    pub misshapen: Vec<Misshapen>,
    /// Tensors that the network computes with and that hold integers in the checkpoint.
    pub not_float: Vec<(String, Dtype)>,
    /// What the differences have in common, as far as it is recognised; at least a way out.
    pub hints: Vec<String>,
}

/// A tensor that only one side has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// The name most like it that only the other side has.
    pub nearest: Option<String>,
}

/// A tensor that both sides have, with different shapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misshapen {
    /// Its name.
    pub name: String,
    /// Its shape in the network.
    pub expected: Vec<usize>,
    /// Its shape in the checkpoint.
    pub found: Vec<usize>,
}

/// Checks that a checkpoint has the tensors of a network, no others, in the right shapes, as floating-point numbers.
///
/// Counters ([`Kind::Counter`]) may be missing, left over, or of any shape.
///
/// # Errors
/// [`Error::Mismatch`], with all differences.
pub fn compare(expected: &[Tensor], checkpoint: &Checkpoint) -> Result<(), Error> {
    let known: BTreeMap<&str, &Tensor> = expected.iter().map(|t| (t.name.as_str(), t)).collect();
    let mut missing = Vec::new();
    let mut misshapen = Vec::new();
    let mut not_float = Vec::new();
    for tensor in expected.iter().filter(|t| t.kind != Kind::Counter) {
        match checkpoint.info(&tensor.name) {
            None => missing.push((tensor.name.as_str(), tensor.shape.as_slice())),
            Some(TensorInfo { shape, .. }) if *shape != tensor.shape => misshapen.push(Misshapen {
                name: tensor.name.clone(),
                expected: tensor.shape.clone(),
                found: shape.clone(),
            }),
            Some(TensorInfo { dtype, .. }) if !dtype.is_float() => not_float.push((tensor.name.clone(), *dtype)),
            Some(_) => {}
        }
    }
    let unexpected: Vec<(&str, &[usize])> = checkpoint
        .tensors()
        .filter(|(name, _)| !known.contains_key(name) && !name.ends_with(".num_batches_tracked"))
        .map(|(name, info)| (name, info.shape.as_slice()))
        .collect();
    if missing.is_empty() && unexpected.is_empty() && misshapen.is_empty() && not_float.is_empty() {
        return Ok(());
    }
    let mut mismatch = Mismatch {
        file: checkpoint.file().to_owned(),
        missing: differences(&missing, &unexpected),
        unexpected: differences(&unexpected, &missing),
        misshapen,
        not_float,
        hints: Vec::new(),
    };
    mismatch.hints = hints::hints(&mismatch, expected, checkpoint);
    Err(Box::new(mismatch).into())
}

/// Pairs the names of one side with the nearest ones of the other.
fn differences(own: &[(&str, &[usize])], other: &[(&str, &[usize])]) -> Vec<Difference> {
    let candidates: Vec<_> =
        other.iter().filter(|(name, _)| name.len() <= MAX_NAME).take(MAX_CANDIDATES).copied().collect();
    own.iter()
        .enumerate()
        .map(|(i, &(name, shape))| {
            let look = i < MAX_LISTED && name.len() <= MAX_NAME;
            let nearest = if look { nearest(name, shape, &candidates) } else { None };
            Difference { name: name.to_owned(), shape: shape.to_vec(), nearest: nearest.map(str::to_owned) }
        })
        .collect()
}

/// The candidate that may be meant by a name: one that has more, or less, before it; else the one with the fewest
/// other letters. An equal shape speaks for it.
fn nearest<'a>(name: &str, shape: &[usize], candidates: &[(&'a str, &[usize])]) -> Option<&'a str> {
    let within = |long: &str, short: &str| long.strip_suffix(short).is_some_and(|rest| rest.ends_with('.'));
    candidates
        .iter()
        .filter_map(|&(candidate, its_shape)| {
            let other_shape = its_shape != shape;
            let limit = if other_shape { 2 } else { (name.len() / 3).min(8) };
            if within(candidate, name) || within(name, candidate) {
                return Some((other_shape, 0, candidate));
            }
            let distance = strsim::damerau_levenshtein(name, candidate);
            (distance <= limit).then_some((other_shape, distance, candidate))
        })
        .min()
        .map(|(_, _, candidate)| candidate)
}

impl std::error::Error for Mismatch {}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` doesn't fit the network", self.file)?;
        let missing = self.missing.iter().map(|d| only(d, "the checkpoint has"));
        section(f, "missing", missing)?;
        let unexpected = self.unexpected.iter().map(|d| only(d, "the network has"));
        section(f, "unexpected", unexpected)?;
        let misshapen = self.misshapen.iter().map(|m| {
            format!("{} is {:?} in the network, {:?} in the checkpoint", printable(&m.name), m.expected, m.found)
        });
        section(f, "of another shape", misshapen)?;
        let not_float = self.not_float.iter().map(|(name, dtype)| format!("{} holds {dtype}", printable(name)));
        section(f, "not of floating-point numbers", not_float)?;
        for hint in &self.hints {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

fn only(difference: &Difference, side: &str) -> String {
    let Difference { name, shape, nearest } = difference;
    let nearest = nearest.as_ref().map_or_else(String::new, |n| format!("; {side} {}", printable(n)));
    format!("{} {shape:?}{nearest}", printable(name))
}

fn section(
    f: &mut fmt::Formatter<'_>,
    what: &str,
    lines: impl ExactSizeIterator<Item = String>,
) -> Result<(), fmt::Error> {
    let count = lines.len();
    if count == 0 {
        return Ok(());
    }
    write!(f, "\n  {what}: {count}")?;
    for line in lines.take(MAX_LISTED) {
        write!(f, "\n    {line}")?;
    }
    if count > MAX_LISTED {
        write!(f, "\n    and {} more", count - MAX_LISTED)?;
    }
    Ok(())
}
