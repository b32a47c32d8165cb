//! `extends`: a spec as the difference to another one.

use std::collections::{BTreeMap, BTreeSet};

use super::node::{self, Kind, Map, Node};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::source::{FileId, Files, Sources, Spanned};

/// Longest chain of files.
const MAX_FILES: usize = 16;

/// Reads a file and everything that it extends, merged. Errors go to `diagnostics`; the result is there if there was none.
pub(super) fn read_merged(
    path: &str,
    files: &dyn Files,
    sources: &mut Sources,
    diagnostics: &mut Diagnostics,
) -> Option<Node> {
    let text = match files.read(path) {
        Ok(text) => text,
        Err(reason) => {
            diagnostics.push(
                Diagnostic::global(Code::File, format!("can't read `{path}`: {reason}"))
                    .hint("give the path of a spec"),
            );
            return None;
        }
    };
    let mut chain = Vec::new();
    let mut visited = vec![path.to_owned()];
    let mut node = read_one(path, text, sources, diagnostics)?;
    // From the file itself down to the one that extends nothing.
    while let Some(Spanned { value: written, span }) = base_of(&node, diagnostics)? {
        let (from, first) = (visited.last().map_or(path, String::as_str), visited.len() == 1);
        let base = files.resolve(from, &written);
        let error = |code, message: String| Diagnostic::new(code, span, message);
        if visited.contains(&base) {
            let message = if first { "a spec can't extend itself" } else { "`extends` goes round in a circle" };
            diagnostics.push(error(Code::Cycle, message.to_owned()).hint(format!("`{base}` was read before")));
            return None;
        }
        if visited.len() >= MAX_FILES {
            diagnostics.push(
                error(Code::Cycle, "`extends` goes too deep".to_owned())
                    .hint(format!("a chain may have up to {MAX_FILES} files")),
            );
            return None;
        }
        let text = match files.read(&base) {
            Ok(text) => text,
            Err(reason) => {
                diagnostics.push(
                    error(Code::File, format!("can't read `{base}`: {reason}"))
                        .hint("the path after `extends` is relative to the file that it stands in"),
                );
                return None;
            }
        };
        chain.push(node);
        node = read_one(&base, text, sources, diagnostics)?;
        visited.push(base);
    }
    while let Some(variant) = chain.pop() {
        merge(&mut node, variant);
    }
    Some(node)
}

fn read_one(path: &str, text: String, sources: &mut Sources, diagnostics: &mut Diagnostics) -> Option<Node> {
    let id: FileId = sources.add(path, text);
    let text = sources.file(id).map_or("", |f| f.text.as_str());
    let node = node::parse(text, id, diagnostics)?;
    if !matches!(node.kind, Kind::Map(_)) {
        diagnostics.push(
            Diagnostic::new(
                Code::WrongType,
                node.span,
                format!("a spec is a mapping, but this is {}", node.kind.describe()),
            )
            .hint("begin with `kwc: 1`"),
        );
        return None;
    }
    Some(node)
}

/// What a file extends, if it extends something. `None` if it says so in a wrong way, which is reported.
fn base_of(node: &Node, diagnostics: &mut Diagnostics) -> Option<Option<Spanned<String>>> {
    let Kind::Map(map) = &node.kind else { return Some(None) };
    let Some(entry) = map.get("extends") else { return Some(None) };
    match &entry.value.kind {
        Kind::Null => Some(None),
        Kind::Text(text) => Some(Some(Spanned::new(text.value.clone(), entry.value.span))),
        Kind::Bool(_) | Kind::Number(_) | Kind::List(_) | Kind::Map(_) => {
            let message = format!("`extends` takes the path of a spec, but this is {}", entry.value.kind.describe());
            diagnostics.push(
                Diagnostic::new(Code::WrongType, entry.value.span, message)
                    .hint("for example `extends: resnet18.yaml`"),
            );
            None
        }
    }
}

/// Puts `variant` over `base`: mappings key by key, `~` removes a key, anything else replaces.
fn merge(base: &mut Node, variant: Node) {
    match (&mut base.kind, variant) {
        (Kind::Map(map), Node { kind: Kind::Map(changes), span }) => {
            base.span = span;
            merge_maps(map, changes);
        }
        (_, variant) => *base = variant,
    }
}

fn merge_maps(base: &mut Map, changes: Map) {
    let index: BTreeMap<String, usize> =
        base.entries.iter().enumerate().map(|(i, e)| (e.key.value.clone(), i)).collect();
    let mut removed = BTreeSet::new();
    for entry in changes.entries {
        match (index.get(&entry.key.value), &entry.value.kind) {
            (Some(i), Kind::Null) => {
                removed.insert(*i);
            }
            (None, Kind::Null) => {}
            (Some(i), _) => {
                if let Some(old) = base.entries.get_mut(*i) {
                    old.key.span = entry.key.span;
                    merge(&mut old.value, entry.value);
                }
            }
            (None, _) => base.entries.push(entry),
        }
    }
    let mut place = 0;
    base.entries.retain(|_| {
        place += 1;
        !removed.contains(&(place - 1))
    });
}
