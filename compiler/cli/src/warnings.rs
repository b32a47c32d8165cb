//! What a verb warns of: weights, inputs and outputs that are no numbers, or too large for the precision.

use std::path::Path;

use kwc_compiler::weights::{Count, NotFinite};
use serde::Serialize;

use crate::terminal;

/// Tensors that a warning names.
const NAMED: usize = 4;

/// A way out where f16 is too narrow.
const PRECISION: &str = "use `--precision f32`";
/// The same for weights that norms are folded into.
const PRECISION_OF_NORMS: &str =
    "look at `weight` and `running_var` of the norms that are folded in, or use `--precision f32`";

/// What a network that runs in either precision may have gone wrong by; said on standard error when it is found, and kept
/// for results in JSON.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub(crate) struct Warnings {
    messages: Vec<String>,
    /// Whether weights or inputs were not finite whatever the precision: outputs can't be then.
    #[serde(skip)]
    is_cause_known: bool,
}

impl Warnings {
    /// Warns, once.
    pub(crate) fn push(&mut self, message: String, hint: &str) {
        if !self.messages.contains(&message) {
            terminal::warning(&message, hint);
            self.messages.push(message);
        }
    }

    /// Warns of weights that are not finite, in the checkpoint `path` or once packed.
    pub(crate) fn weights(&mut self, path: &Path, found: &NotFinite) {
        self.is_cause_known |= !found.given.is_empty() || !found.folded.is_empty();
        for (message, hint) in of_weights(found) {
            self.push(format!("{}: {message}", path.display()), hint);
        }
    }

    /// Warns of inputs that are not finite: `values` of `all` of the tensor `name`.
    pub(crate) fn input(&mut self, name: &str, values: usize, all: usize) {
        if values > 0 {
            self.is_cause_known = true;
            self.push(
                format!("input `{name}`: {values} of {all} values are infinite or not a number"),
                "what the network computes with them is not a number either: look at what made the input",
            );
        }
    }

    /// Warns of outputs that are not finite: `values` of `all` of the tensor `name`, of a network in `f16` or not.
    pub(crate) fn output(&mut self, name: &str, values: usize, all: usize, is_half: bool) {
        if values > 0 {
            let hint = if self.is_cause_known {
                "it follows from the weights or inputs that are warned of above"
            } else if is_half {
                "f16 holds nothing above 65504: use `--precision f32`; `kwc verify` shows in which layer it begins"
            } else {
                "look for such values in the inputs and the weights"
            };
            self.push(format!("`{name}`: {values} of {all} values are infinite or not a number"), hint);
        }
    }
}

/// What there is to say of weights that are not finite, wherever they lie, each with a way out.
pub(crate) fn of_weights(found: &NotFinite) -> Vec<(String, &'static str)> {
    let NotFinite { given, folded, rounded } = found;
    let message =
        |counts: &[Count], what: &str| format!("{}, values of which are {what}: {}", tensors(counts), names(counts));
    let hint_of_rounded =
        if rounded.iter().any(|count| !count.norms.is_empty()) { PRECISION_OF_NORMS } else { PRECISION };
    [
        (
            given,
            "infinite or not a number",
            "what the network computes with them is not a number either: export the weights again, or train again from \
             before they were lost",
        ),
        (
            folded,
            "infinite or not a number once norms are folded",
            "look at the norms' `running_var`, which must not be negative, and `weight`",
        ),
        (rounded, "infinite in f16, whose largest is 65504", hint_of_rounded),
    ]
    .into_iter()
    .filter(|(counts, _, _)| !counts.is_empty())
    .map(|(counts, what, hint)| (message(counts, what), hint))
    .collect()
}

fn tensors(counts: &[Count]) -> String {
    if counts.len() == 1 { "a tensor".to_owned() } else { format!("{} tensors", counts.len()) }
}

/// The first few by name.
fn names(counts: &[Count]) -> String {
    let named = counts.iter().take(NAMED).map(|Count { name, values, norms }| {
        let values = if *values == 1 { "1 value".to_owned() } else { format!("{values} values") };
        let norms: Vec<String> = norms.iter().map(|norm| format!("`{}`", norm.escape_debug())).collect();
        let folded = if norms.is_empty() { String::new() } else { format!(", with {} folded in", norms.join(" and ")) };
        format!("`{}` ({values}{folded})", name.escape_debug())
    });
    let mut text = named.collect::<Vec<_>>().join(", ");
    if counts.len() > NAMED {
        text.push_str(&format!(" and {} more", counts.len() - NAMED));
    }
    text
}

/// How many of some values are not finite.
pub(crate) fn not_finite(values: &[f32]) -> usize {
    values.iter().filter(|x| !x.is_finite()).count()
}
