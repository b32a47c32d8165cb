//! A YAML text as a tree of nodes with places.
//!
//! Two readers see the same text: the scan ([`super::scan`]) knows the places, `serde_yaml` knows what the scalars mean.
//! Their trees are walked side by side.

use serde_yaml::Value;

use super::number::Ratio;
use super::read_values::shortened;
use super::scan::{self, Mark, MarkKind};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::source::{FileId, Span, Spanned};

/// A value of YAML and where it is written.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) kind: Kind,
}

/// What a node is.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Number(Number),
    Text(Text),
    List(Vec<Node>),
    Map(Map),
}

/// A number: as written, and exactly, where that is possible.
#[derive(Debug, Clone)]
pub(super) struct Number {
    pub(super) written: String,
    pub(super) value: Option<Ratio>,
}

/// A text.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub(super) value: String,
    /// Byte in the file at which the text stands exactly as it is; absent where YAML changed it (escapes, folded lines).
    pub(super) origin: Option<u32>,
}

/// A mapping, its keys in the order in which they are written.
#[derive(Debug, Clone, Default)]
pub(super) struct Map {
    pub(super) entries: Vec<Entry>,
}

/// A key and its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: Spanned<String>,
    pub(super) value: Node,
}

impl Map {
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|e| e.key.value == key)
    }
}

impl Kind {
    /// The type's name, for messages.
    pub(super) const fn describe(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a truth value",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

/// Reads a text. Errors go to `diagnostics`; the result is there if there was none.
pub(super) fn parse(text: &str, file: FileId, diagnostics: &mut Diagnostics) -> Option<Node> {
    let mark = scan::scan(text, file, diagnostics)?;
    let before = diagnostics.len();
    check_marks(&mark, diagnostics);
    if diagnostics.len() > before {
        return None;
    }
    let value = match serde_yaml::from_str::<Value>(text) {
        Ok(value) => value,
        Err(error) => {
            let at = error.location().map_or(0, |l| l.index());
            // The place is shown anyway.
            let message = error.to_string();
            let reason = message.rsplit_once(" at line ").map_or(message.as_str(), |(reason, _)| reason);
            diagnostics.push(scan::not_yaml(text, at, file, reason));
            return None;
        }
    };
    let node = join(mark, value, text, diagnostics);
    (diagnostics.len() == before).then_some(node)
}

/// Reports keys that a mapping has twice, keys that are no scalars, and numbers too large for any reader.
fn check_marks(mark: &Mark, diagnostics: &mut Diagnostics) {
    match &mark.kind {
        MarkKind::Scalar { text, plain } => {
            let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
            let is_integer = *plain && !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit());
            if is_integer && text.parse::<i64>().is_err() && text.parse::<u64>().is_err() {
                diagnostics.push(
                    Diagnostic::new(Code::OutOfRange, mark.span, "this number is too large to compute with")
                        .hint("numbers are exact ratios of two 64-bit integers; a text of digits needs quotes"),
                );
            }
        }
        MarkKind::List(items) => {
            for item in items {
                check_marks(item, diagnostics);
            }
        }
        MarkKind::Map(entries) => {
            let mut seen = std::collections::BTreeMap::new();
            for (key, value) in entries {
                match &key.kind {
                    MarkKind::Scalar { text, .. } => {
                        if let Some(first) = seen.insert(text.as_str(), key.span) {
                            diagnostics.push(
                                Diagnostic::new(
                                    Code::Duplicate,
                                    key.span,
                                    format!("the key `{}` occurs twice", shortened(text)),
                                )
                                .related(first, "the first one")
                                .hint("remove one of them"),
                            );
                        }
                    }
                    MarkKind::List(_) | MarkKind::Map(_) => diagnostics.push(
                        Diagnostic::new(Code::Syntax, key.span, "a key must be a single word or text")
                            .hint("a text that contains `{`, `[` or `: ` needs quotes"),
                    ),
                }
                check_marks(value, diagnostics);
            }
        }
    }
}

/// Walks both trees. Where they disagree, the text means different things to different readers of YAML: an error.
fn join(mark: Mark, value: Value, text: &str, diagnostics: &mut Diagnostics) -> Node {
    let span = mark.span;
    let kind = match (mark.kind, value) {
        (MarkKind::Scalar { .. }, Value::Null) => Kind::Null,
        (MarkKind::Scalar { .. }, Value::Bool(value)) => Kind::Bool(value),
        (MarkKind::Scalar { text: written, .. }, Value::Number(number)) => {
            let value = number.as_i64().map(Ratio::whole).or_else(|| Ratio::parse(&written));
            Kind::Number(Number { written, value })
        }
        (MarkKind::Scalar { .. }, Value::String(value)) => {
            let origin = origin(&value, span, text);
            Kind::Text(Text { value, origin })
        }
        (MarkKind::List(marks), Value::Sequence(values)) if marks.len() == values.len() => {
            Kind::List(marks.into_iter().zip(values).map(|(m, v)| join(m, v, text, diagnostics)).collect())
        }
        (MarkKind::Map(marks), Value::Mapping(values)) if marks.len() == values.len() => {
            let mut entries = Vec::with_capacity(marks.len());
            for ((key, value), (_, meaning)) in marks.into_iter().zip(values) {
                let key_span = key.span;
                // Keys are names, whatever YAML takes them for: `1:` is the key `1`.
                let MarkKind::Scalar { text: key, .. } = key.kind else { continue };
                let value = join(value, meaning, text, diagnostics);
                entries.push(Entry { key: Spanned::new(key, key_span), value });
            }
            Kind::Map(Map { entries })
        }
        (
            MarkKind::Scalar { .. } | MarkKind::List(_) | MarkKind::Map(_),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Sequence(_)
            | Value::Mapping(_)
            | Value::Tagged(_),
        ) => {
            diagnostics.push(
                Diagnostic::new(Code::Syntax, span, "readers of YAML disagree on what this is")
                    .hint("write it in a simpler way, with quotes around texts"),
            );
            Kind::Null
        }
    };
    Node { span, kind }
}

/// Where a scalar's value stands literally in the text: right at its start, or behind a quote.
fn origin(value: &str, span: Span, text: &str) -> Option<u32> {
    let written = text.get(span.start as usize..span.end as usize)?;
    if written == value {
        return Some(span.start);
    }
    let inner = written.strip_prefix(['"', '\''])?.strip_suffix(['"', '\''])?;
    (inner == value).then_some(span.start + 1)
}
