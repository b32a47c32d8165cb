//! What the differences between a checkpoint and a network have in common, and what to do about it.

use std::collections::BTreeSet;

use super::super::Checkpoint;
use super::super::error::printable;
use super::{Difference, Mismatch, Misshapen};
use crate::state::{Kind, Tensor};

const WAREHOUSE: &str = "warehouse_manager.weights.";

/// Hints, the most telling first. There is at least one.
pub(super) fn hints(mismatch: &Mismatch, expected: &[Tensor], checkpoint: &Checkpoint) -> Vec<String> {
    let all = [
        prefix(mismatch).or_else(|| nothing_in_common(mismatch, expected)),
        dynamic_or_static(expected, checkpoint),
        warehouses(mismatch, expected, checkpoint),
        attention(mismatch),
        classes(mismatch),
        integers(mismatch),
    ];
    let mut hints: Vec<String> = all.into_iter().flatten().collect();
    if hints.is_empty() {
        hints.push("use the spec of the network that the checkpoint was trained with".to_owned());
    }
    hints
}

/// One side has something before all names: a network saved as a part of a larger one, or a spec nested too deep.
fn prefix(mismatch: &Mismatch) -> Option<String> {
    if let Some((prefix, _)) = common_prefix(&mismatch.unexpected, &mismatch.missing) {
        let prefix = printable(prefix);
        return Some(format!(
            "in the checkpoint the network's names begin with `{prefix}`: save that module alone, or drop `{prefix}` \
             from the names"
        ));
    }
    let (prefix, hits) = common_prefix(&mismatch.missing, &mismatch.unexpected)?;
    // A checkpoint of few tensors may match a few of the network's by chance.
    (hits * 2 >= mismatch.missing.len()).then_some(())?;
    Some(format!("the checkpoint's names lack the spec's `{prefix}`: leave that name out of the spec"))
}

/// What stands before at least half of the short names in long ones, and how many it stands before.
fn common_prefix<'a>(long: &'a [Difference], short: &[Difference]) -> Option<(&'a str, usize)> {
    let names: BTreeSet<&str> = short.iter().map(|d| d.name.as_str()).collect();
    let first = short.first()?;
    let prefixes = long.iter().filter_map(|d| d.name.strip_suffix(first.name.as_str()).filter(|p| p.ends_with('.')));
    let hits = |prefix: &str| {
        long.iter().filter(|d| d.name.strip_prefix(prefix).is_some_and(|rest| names.contains(rest))).count()
    };
    prefixes.take(4).map(|prefix| (prefix, hits(prefix))).find(|&(_, hits)| hits * 2 >= short.len())
}

fn nothing_in_common(mismatch: &Mismatch, expected: &[Tensor]) -> Option<String> {
    let needed = expected.iter().filter(|t| t.kind != Kind::Counter).count();
    let known = needed.saturating_sub(mismatch.missing.len());
    // A few names are those of many networks: `fc.weight`, `conv1.weight`.
    (needed > 0 && known * 10 < needed).then(|| {
        let found = if known == 0 { "nothing".to_owned() } else { format!("only {known} of {needed} tensors") };
        format!(
            "{found} that the network needs is in the checkpoint: is it another network's, or is the state under \
             another name (`--state`)?"
        )
    })
}

fn is_dynamic(name: &str) -> bool {
    name.starts_with(WAREHOUSE) || name.contains(".attention.")
}

fn dynamic_or_static(expected: &[Tensor], checkpoint: &Checkpoint) -> Option<String> {
    let network = expected.iter().any(|t| is_dynamic(&t.name));
    let file = checkpoint.tensors().any(|(name, _)| is_dynamic(name));
    match (network, file) {
        (true, false) => Some(
            "the checkpoint has neither warehouses nor attention: it is a static network's, and the spec is of a \
             dynamic one"
                .to_owned(),
        ),
        (false, true) => Some(
            "the checkpoint has warehouses and attention: it is a dynamic network's, and the spec is of a static one"
                .to_owned(),
        ),
        (true, true) | (false, false) => None,
    }
}

/// Budget, shape of the cells and order of the warehouses.
fn warehouses(mismatch: &Mismatch, expected: &[Tensor], checkpoint: &Checkpoint) -> Option<String> {
    let differing: Vec<&Misshapen> = mismatch.misshapen.iter().filter(|m| m.name.starts_with(WAREHOUSE)).collect();
    if differing.is_empty() {
        return None;
    }
    let mut needed: Vec<&[usize]> =
        expected.iter().filter(|t| t.name.starts_with(WAREHOUSE)).map(|t| t.shape.as_slice()).collect();
    let mut held: Vec<&[usize]> = checkpoint
        .tensors()
        .filter(|(name, _)| name.starts_with(WAREHOUSE))
        .map(|(_, info)| info.shape.as_slice())
        .collect();
    needed.sort_unstable();
    held.sort_unstable();
    if needed == held {
        return Some(
            "the checkpoint has the same warehouses in another order: state it in the spec, under `warehouses: order`"
                .to_owned(),
        );
    }
    let cells = |m: &Misshapen| match (m.expected.split_first(), m.found.split_first()) {
        (Some((&expected, cell)), Some((&found, same))) if cell == same => Some((found, expected)),
        _ => None,
    };
    let Some(ratios) = differing.iter().map(|m| cells(m)).collect::<Option<Vec<_>>>() else {
        return Some(
            "the warehouses' cells have another shape: check `cell_out_ratio`, `cell_in_ratio`, `partition` and which \
             layers share a warehouse"
                .to_owned(),
        );
    };
    let advice = "check `budget`, and which layers share a warehouse";
    Some(match common_ratio(&ratios) {
        Some(ratio) => format!("the checkpoint's warehouses have {ratio} times the spec's cells: {advice}"),
        None => format!("the warehouses have other numbers of cells: {advice}"),
    })
}

/// The ratio that all pairs have, in lowest terms.
fn common_ratio(pairs: &[(usize, usize)]) -> Option<String> {
    let reduced = |&(a, b): &(usize, usize)| {
        let divisor = gcd(a, b);
        Some((a.checked_div(divisor)?, b.checked_div(divisor)?))
    };
    let (above, below) = reduced(pairs.first()?)?;
    let common = pairs.iter().all(|pair| reduced(pair) == Some((above, below)));
    common.then(|| if below == 1 { above.to_string() } else { format!("{above}/{below}") })
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Norm, basis and hidden width of the attention.
fn attention(mismatch: &Mismatch) -> Option<String> {
    let ends = |list: &[Difference], end: &str| list.iter().any(|d| d.name.ends_with(end));
    let (missing, unexpected) = (mismatch.missing.as_slice(), mismatch.unexpected.as_slice());
    let hint = if ends(missing, ".attention.norm1.running_mean") && ends(unexpected, ".attention.fc1.bias") {
        "the checkpoint's attention has a layer norm: set `attention_norm: layer`"
    } else if ends(unexpected, ".attention.norm1.running_mean") && ends(missing, ".attention.fc1.bias") {
        "the checkpoint's attention has a batch norm: set `attention_norm: batch`"
    } else if ends(unexpected, ".attention.fc3.weight") && ends(missing, ".attention.fc2.bias") {
        "the checkpoint's attention has a non-local basis: set `basis_ratio`"
    } else if ends(missing, ".attention.fc3.weight") && ends(unexpected, ".attention.fc2.bias") {
        "the checkpoint's attention has no non-local basis: leave `basis_ratio` out"
    } else if mismatch.misshapen.iter().any(|m| m.name.ends_with(".attention.fc1.weight")) {
        "the attention has another hidden width or input: check `reduction` and the layers' channels"
    } else {
        return None;
    };
    Some(hint.to_owned())
}

/// A last layer with another number of outputs.
fn classes(mismatch: &Mismatch) -> Option<String> {
    let [weight, bias] = mismatch.misshapen.as_slice() else { return None };
    let layer = weight.name.strip_suffix(".weight")?;
    let (&[expected, inputs], &[found, same]) = (weight.expected.as_slice(), weight.found.as_slice()) else {
        return None;
    };
    let one_layer = bias.name.strip_suffix(".bias") == Some(layer) && inputs == same;
    let nothing_else = mismatch.missing.is_empty() && mismatch.unexpected.is_empty();
    (one_layer && nothing_else).then(|| {
        format!("only `{layer}` differs: the checkpoint has {found} classes, the spec {expected}; set that parameter")
    })
}

fn integers(mismatch: &Mismatch) -> Option<String> {
    let quantized = !mismatch.not_float.is_empty();
    quantized
        .then(|| "save the network in floating point: `model.float()`; a quantized one can't be compiled".to_owned())
}
