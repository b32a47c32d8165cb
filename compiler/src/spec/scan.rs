//! Event scan: where every node of a YAML text stands, and everything that specs don't use refused.
//!
//! The scan only finds structure and places; what a scalar means is left to `serde_yaml` (see [`super::node`]).

use saphyr_parser::{Event, Parser, ScalarStyle, Span as EventSpan};

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::source::{FileId, Span};

/// Largest text that is read, in bytes.
pub(super) const MAX_BYTES: usize = 1 << 20;

/// Deepest nesting of lists and mappings.
pub(super) const MAX_DEPTH: usize = 64;

/// A node of the text: its place and its structure.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) span: Span,
    pub(super) kind: MarkKind,
}

#[derive(Debug)]
pub(super) enum MarkKind {
    /// A scalar.
    Scalar {
        /// Its text, with quotes and escapes resolved.
        text: String,
        /// Whether it stands without quotes.
        plain: bool,
    },
    List(Vec<Mark>),
    /// Keys and values, as written.
    Map(Vec<(Mark, Mark)>),
}

/// A list or mapping whose end is yet to come.
struct Open {
    start: u32,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<Mark>),
    Map { entries: Vec<(Mark, Mark)>, key: Option<Mark> },
}

/// Scans a text that holds one YAML document. Errors go to `diagnostics`; the result is there if there was none.
pub(super) fn scan(text: &str, file: FileId, diagnostics: &mut Diagnostics) -> Option<Mark> {
    let whole = Span { file, start: 0, end: u32::try_from(text.len()).unwrap_or(u32::MAX) };
    if text.len() > MAX_BYTES {
        let at = Span { end: 0, ..whole };
        let message = format!("the file has {} bytes", text.len());
        diagnostics.push(Diagnostic::new(Code::TooLarge, at, message).hint(format!("at most {MAX_BYTES} are read")));
        return None;
    }
    // The scanner's places count characters.
    let offsets: Vec<u32> =
        text.char_indices().map(|(i, _)| i).chain([text.len()]).filter_map(|i| u32::try_from(i).ok()).collect();
    let offset = |index: usize| offsets.get(index).copied().unwrap_or(whole.end);
    let place = |span: EventSpan| {
        let (start, end) = (offset(span.start.index()), offset(span.end.index()));
        let written = text.get(start as usize..end as usize).unwrap_or("");
        Span { file, start, end: start + u32::try_from(written.trim_end().len()).unwrap_or(0) }
    };

    let before = diagnostics.len();
    let mut builder = Builder { open: Vec::new(), root: None, documents: 0, diagnostics };
    for event in Parser::new_from_str(text) {
        match event {
            Ok((event, span)) => {
                if !builder.event(event, place(span), text) {
                    return None;
                }
            }
            Err(error) => {
                let at = offset(error.marker().index()) as usize;
                builder.diagnostics.push(not_yaml(text, at, file, error.info()));
                return None;
            }
        }
    }
    let root = builder.root;
    if root.is_none() && diagnostics.len() == before {
        diagnostics.push(syntax(Span { end: 0, ..whole }, "the file is empty").hint("a spec begins with `kwc: 1`"));
    }
    root.filter(|_| diagnostics.len() == before)
}

struct Builder<'d> {
    open: Vec<Open>,
    root: Option<Mark>,
    documents: usize,
    diagnostics: &'d mut Diagnostics,
}

impl Builder<'_> {
    /// Takes one event; false means that going on makes no sense.
    fn event(&mut self, event: Event<'_>, span: Span, text: &str) -> bool {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    self.diagnostics
                        .push(syntax(span, "a second document begins here").hint("write one spec per file"));
                    return false;
                }
            }
            Event::Alias(_) => {
                self.unused_part(span, "an alias");
                self.push(Mark { span, kind: MarkKind::Scalar { text: String::new(), plain: true } });
            }
            Event::Scalar(value, style, anchor, tag) => {
                self.decoration(span, anchor, tag.is_some());
                if self.is_key() && value == "<<" && style == ScalarStyle::Plain {
                    self.unused_part(span, "a merge key");
                }
                // A scalar that isn't written at all stands between its neighbours.
                let span = if value.is_empty() && style == ScalarStyle::Plain { empty(span, text) } else { span };
                let plain = style == ScalarStyle::Plain;
                self.push(Mark { span, kind: MarkKind::Scalar { text: value.into_owned(), plain } });
            }
            Event::SequenceStart(anchor, tag) => {
                self.decoration(span, anchor, tag.is_some());
                return self.open(span, OpenKind::List(Vec::new()));
            }
            Event::MappingStart(anchor, tag) => {
                self.decoration(span, anchor, tag.is_some());
                return self.open(span, OpenKind::Map { entries: Vec::new(), key: None });
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
        }
        true
    }

    fn is_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { kind: OpenKind::Map { key: None, .. }, .. }))
    }

    fn decoration(&mut self, span: Span, anchor: usize, tagged: bool) {
        if anchor != 0 {
            self.unused_part(span, "an anchor");
        }
        if tagged {
            self.unused_part(span, "a tag");
        }
    }

    fn unused_part(&mut self, span: Span, what: &str) {
        self.diagnostics.push(
            syntax(span, format!("{what} of YAML is not part of the spec language"))
                .hint("use `params`, `blocks` or `extends` to share things, and quotes for a text that begins with `&`, `*` or `!`"),
        );
    }

    fn open(&mut self, span: Span, kind: OpenKind) -> bool {
        if self.open.len() >= MAX_DEPTH {
            self.diagnostics.push(
                Diagnostic::new(Code::TooLarge, span, "lists and mappings are nested too deep")
                    .hint(format!("at most {MAX_DEPTH} levels are possible; `blocks` can take parts out")),
            );
            return false;
        }
        self.open.push(Open { start: span.start, kind });
        true
    }

    fn close(&mut self, span: Span) {
        let Some(open) = self.open.pop() else { return };
        let (kind, last) = match open.kind {
            OpenKind::List(items) => {
                let last = items.last().map(|m| m.span.end);
                (MarkKind::List(items), last)
            }
            OpenKind::Map { entries, .. } => {
                let last = entries.last().map(|(_, value)| value.span.end);
                (MarkKind::Map(entries), last)
            }
        };
        // In block style the end event stands at whatever comes next; the last child knows better.
        let end = if span.start == span.end { last.unwrap_or(span.end) } else { span.end };
        self.push(Mark { span: Span { file: span.file, start: open.start, end: end.max(open.start) }, kind });
    }

    fn push(&mut self, mark: Mark) {
        match self.open.last_mut() {
            None => self.root = Some(mark),
            Some(Open { kind: OpenKind::List(items), .. }) => items.push(mark),
            Some(Open { kind: OpenKind::Map { entries, key }, .. }) => match key.take() {
                None => *key = Some(mark),
                Some(key) => entries.push((key, mark)),
            },
        }
    }
}

/// The end of what is written before an empty scalar.
fn empty(span: Span, text: &str) -> Span {
    let before = text.get(..span.start as usize).unwrap_or("").trim_end().len();
    let at = u32::try_from(before).unwrap_or(span.start);
    Span { file: span.file, start: at, end: at }
}

/// What a reader of YAML says about a text that isn't, at a byte of it.
pub(super) fn not_yaml(text: &str, at: usize, file: FileId, reason: &str) -> Diagnostic {
    // Behind the last line stands nothing that could be shown.
    let at = at.min(text.trim_end().len());
    let length = text.get(at..).and_then(|t| t.chars().next()).filter(|c| !c.is_whitespace()).map_or(0, char::len_utf8);
    let byte = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    let span = Span { file, start: byte(at), end: byte(at + length) };
    let hint = "check brackets, quotes and indentation (spaces) from here upwards; a text with `[ ] { } , :` in it needs quotes";
    syntax(span, format!("this is not YAML: {reason}")).hint(hint)
}

fn syntax(span: Span, message: impl Into<String>) -> Diagnostic {
    Diagnostic::new(Code::Syntax, span, message)
}
