//! The spec as it is written: YAML text to a typed tree with the place of everything.
//!
//! ```text
//! text --scan, serde_yaml--> nodes --merge (extends), settings--> nodes --read--> Spec
//! ```
//!
//! The language is described in `specs/README.md`. Nothing is computed here: expressions and templates are parsed, and
//! lowering ([`crate::lower`]) evaluates them where they are used.

mod expr;
pub mod fields;
mod merge;
mod node;
mod number;
mod parse;
mod read;
mod read_items;
mod read_values;
mod scan;
mod template;
mod tree;

pub use expr::{Expr, ExprKind, Function, Operator, is_identifier, is_reserved};
pub use number::Ratio;
pub(crate) use read_values::{NAME_HINT, PATH_HINT, is_plain_name, shortened};
pub use template::{Part, Template};
pub use tree::{
    Argument, Block, ConvFields, Image, Input, InputShape, Item, ItemKind, Operand, Operation, Output, Param, Settings,
    Spec, Warehouses,
};

use self::node::{Kind, Node};
use crate::diagnostic::{Code, Diagnostic, Diagnostics, nearest};
use crate::pipeline::Setting;
use crate::source::{Files, Sources, Span};

/// Reads a spec and everything that it extends. Errors go to `diagnostics`; the result is there if the tree is worth
/// lowering: parts that are wrong are left out of it or marked as broken.
pub fn read(
    path: &str,
    files: &dyn Files,
    settings: &[Setting],
    sources: &mut Sources,
    diagnostics: &mut Diagnostics,
) -> Option<Spec> {
    let mut root = merge::read_merged(path, files, sources, diagnostics)?;
    for setting in settings {
        apply(setting, &mut root, sources, diagnostics);
    }
    read::read_spec(&root, diagnostics)
}

/// Puts a setting from outside in the place of a parameter's value.
fn apply(setting: &Setting, root: &mut Node, sources: &mut Sources, diagnostics: &mut Diagnostics) {
    let file = sources.add(format!("--set {}", setting.name), setting.value.as_str());
    let whole = Span { file, start: 0, end: u32::try_from(setting.value.len()).unwrap_or(u32::MAX) };
    let mut known = Vec::new();
    if let Kind::Map(map) = &mut root.kind
        && let Some(params) = map.entries.iter_mut().find(|e| e.key.value == "params")
        && let Kind::Map(params) = &mut params.value.kind
    {
        if let Some(entry) = params.entries.iter_mut().find(|e| e.key.value == setting.name) {
            if let Some(value) = node::parse(&setting.value, file, diagnostics) {
                entry.value = value;
            }
            return;
        }
        known = params.entries.iter().map(|e| e.key.value.as_str()).collect();
    }
    let hint = if known.is_empty() {
        "it has no `params`, so nothing can be set".to_owned()
    } else {
        suggestion(&setting.name, known.iter().copied(), "its parameters are")
    };
    let message = format!("the network has no parameter `{}`", setting.name);
    diagnostics.push(Diagnostic::new(Code::Undefined, whole, message).hint(hint));
}

/// A hint for a name that doesn't exist: the nearest one that does, or all of them.
pub(crate) fn suggestion<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone, all: &str) -> String {
    /// Lists longer than this are cut.
    const SHOWN: usize = 40;
    if let Some(near) = nearest(name, known.clone()) {
        return format!("did you mean `{near}`?");
    }
    let mut names: Vec<String> = known.clone().take(SHOWN).map(|n| format!("`{}`", shortened(n))).collect();
    if names.is_empty() {
        return "none is declared".to_owned();
    }
    if known.count() > SHOWN {
        names.push("...".to_owned());
    }
    format!("{all} {}", names.join(", "))
}
