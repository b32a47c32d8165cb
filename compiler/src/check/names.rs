//! Names in the state dict: every tensor has its own.

use std::collections::BTreeMap;

use super::Checked;
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::ir::LayerId;
use crate::state;

/// Reports tensors that share a name, once for every two layers.
pub(super) fn check_names(checked: &Checked, diagnostics: &mut Diagnostics) {
    let tensors = state::tensors(checked);
    let mut owners: BTreeMap<&str, Option<LayerId>> = BTreeMap::new();
    let mut reported: Vec<(Option<LayerId>, Option<LayerId>)> = Vec::new();
    for tensor in &tensors {
        let Some(first) = owners.get(tensor.name.as_str()).copied() else {
            owners.insert(&tensor.name, tensor.layer);
            continue;
        };
        let pair = (first, tensor.layer);
        if reported.last() == Some(&pair) {
            continue;
        }
        reported.push(pair);
        let message = format!("two layers have the parameter `{}`", tensor.name);
        let hint = "give them different names; the name of a `repeat` needs its index, as in `name: \"$i\"`";
        let span = |layer: Option<LayerId>| layer.map(|id| checked.network().layer(id).span);
        let error = match (span(tensor.layer), span(first)) {
            (Some(second), Some(first)) if first != second => {
                Diagnostic::new(Code::Duplicate, second, message).related(first, "the first of them")
            }
            (Some(span), Some(_)) => Diagnostic::new(Code::Duplicate, span, message).label("expanded more than once"),
            (Some(span), None) => {
                Diagnostic::new(Code::Duplicate, span, format!("`{}` is a warehouse's parameter", tensor.name))
            }
            (None, Some(_) | None) => Diagnostic::global(Code::Duplicate, message),
        };
        diagnostics.push(error.hint(hint));
    }
}
