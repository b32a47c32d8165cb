//! `extends`: a spec as the difference to another one.

use std::collections::{BTreeMap, BTreeSet};

use super::node::{self, Kind, Map, Node};
use super::{shortened, suggestion};
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
    let mut node = read_one(path, &text, sources, diagnostics)?;
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
        node = read_one(&base, &text, sources, diagnostics)?;
        visited.push(base);
    }
    let mut added = Vec::new();
    while let Some(variant) = chain.pop() {
        let known: BTreeSet<String> = parameters(&node).into_iter().map(|p| p.value).collect();
        added.extend(parameters(&variant).into_iter().filter(|p| !known.contains(&p.value)));
        merge(&mut node, variant);
    }
    if !added.is_empty() {
        check_used(&added, &node, diagnostics);
    }
    Some(node)
}

/// Names of the parameters that a file sets.
fn parameters(node: &Node) -> Vec<Spanned<String>> {
    let Kind::Map(map) = &node.kind else { return Vec::new() };
    match map.get("params").map(|entry| &entry.value.kind) {
        Some(Kind::Map(params)) => params.entries.iter().map(|e| e.key.clone()).collect(),
        Some(Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::List(_)) | None => Vec::new(),
    }
}

/// A parameter that a variant adds, and that nothing mentions, is one that was meant to replace another.
fn check_used(added: &[Spanned<String>], root: &Node, diagnostics: &mut Diagnostics) {
    let mut words = BTreeSet::new();
    collect_words(root, &mut words);
    let all = parameters(root);
    for name in added.iter().filter(|name| !words.contains(name.value.as_str())) {
        if diagnostics.is_full() {
            return;
        }
        let others = all.iter().map(|p| p.value.as_str()).filter(|p| *p != name.value);
        let message = format!("parameter `{}` is new here, and nothing uses it", shortened(&name.value));
        let hint = suggestion(&name.value, others, "the parameters are");
        diagnostics.push(Diagnostic::new(Code::Unused, name.span, message).hint(hint));
    }
}

/// All words in the texts of a tree.
fn collect_words<'a>(node: &'a Node, words: &mut BTreeSet<&'a str>) {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    match &node.kind {
        Kind::Null | Kind::Bool(_) | Kind::Number(_) => {}
        Kind::Text(text) => words.extend(text.value.split(|c| !is_part(c))),
        Kind::List(items) => items.iter().for_each(|item| collect_words(item, words)),
        Kind::Map(map) => map.entries.iter().for_each(|entry| collect_words(&entry.value, words)),
    }
}

fn read_one(path: &str, text: &str, sources: &mut Sources, diagnostics: &mut Diagnostics) -> Option<Node> {
    // Some editors begin a file with a byte order mark.
    let id: FileId = sources.add(path, text.strip_prefix('\u{feff}').unwrap_or(text));
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
