//! Errors for people: a code, a place, a message, a way out.
//!
//! Stages don't stop at the first error: they push [`Diagnostic`]s into [`Diagnostics`] and go on as long as it makes
//! sense. The command prints them all.

use std::fmt::Write as _;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde::Serialize;

use crate::source::{SourceFile, Sources, Span};

/// What kind of error, for machines and for searching.
///
/// The numbers are stable: tens are stages, and a code never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Code {
    /// The file is not YAML, or uses parts of YAML that specs don't.
    Syntax,
    /// A file can't be read.
    File,
    /// A key is not known here.
    UnknownField,
    /// A required key is missing.
    MissingField,
    /// A value has the wrong type.
    WrongType,
    /// A key or name occurs twice.
    Duplicate,
    /// An operation, block, value, warehouse or parameter that doesn't exist.
    Undefined,
    /// An expression or template that can't be read or computed.
    Expression,
    /// `extends` or blocks go round in a circle, or too deep.
    Cycle,
    /// A number out of its range.
    OutOfRange,
    /// Shapes don't fit an operation or each other.
    Shape,
    /// A network, tensor or list too large to be meant.
    TooLarge,
    /// The layers of a warehouse can't share its cells.
    Sharing,
    /// A kernel can't be divided into cells.
    Partition,
    /// The budget leaves cells that no mixture starts at.
    Budget,
    /// A stated order is incomplete or names something unknown.
    Order,
    /// Something is declared and never used.
    Unused,
    /// An invariant that no spec should be able to break.
    Bug,
}

impl Code {
    /// The code as printed, such as `K0003`.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::Syntax => "K0001",
            Self::File => "K0002",
            Self::UnknownField => "K0010",
            Self::MissingField => "K0011",
            Self::WrongType => "K0012",
            Self::Duplicate => "K0013",
            Self::Undefined => "K0020",
            Self::Expression => "K0021",
            Self::Cycle => "K0022",
            Self::OutOfRange => "K0023",
            Self::Shape => "K0030",
            Self::TooLarge => "K0031",
            Self::Sharing => "K0040",
            Self::Partition => "K0041",
            Self::Budget => "K0042",
            Self::Order => "K0043",
            Self::Unused => "K0044",
            Self::Bug => "K0099",
        }
    }
}

/// One error.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    /// What kind of error.
    pub code: Code,
    /// One sentence, lower case, no full stop.
    pub message: String,
    /// Where, if it has a place.
    pub span: Option<Span>,
    /// What to write under the underlined text; may be empty.
    pub label: String,
    /// Other places that have to do with it, each with a label.
    pub related: Vec<(Span, String)>,
    /// A way out.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// An error at a place.
    pub fn new(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), span: Some(span), label: String::new(), related: Vec::new(), hint: None }
    }

    /// An error that has no place in a file.
    pub fn global(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), span: None, label: String::new(), related: Vec::new(), hint: None }
    }

    /// Says something under the underlined text.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Points at another place.
    #[must_use]
    pub fn related(mut self, span: Span, label: impl Into<String>) -> Self {
        self.related.push((span, label.into()));
        self
    }

    /// Names a way out.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// The candidate nearest to `name`, if it is near enough to be a typo. Only the first thousand are looked at.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Most candidates.
    const MOST: usize = 1000;
    /// Longest names, in bytes: the effort grows with the product of the lengths.
    const LONGEST: usize = 128;
    let limit = (name.chars().count() / 3).max(1);
    if name.len() > LONGEST {
        return None;
    }
    candidates
        .into_iter()
        .take(MOST)
        .filter(|c| c.len() <= LONGEST)
        .map(|c| {
            // `ReLU` is `relu`.
            let distance = if c.eq_ignore_ascii_case(name) { 0 } else { strsim::damerau_levenshtein(name, c) };
            (distance, c)
        })
        .filter(|&(distance, _)| distance <= limit)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, c)| c)
}

/// Most errors that one run keeps.
const MAX_KEPT: usize = 100;

/// The errors of one run.
#[derive(Debug, Clone, Default)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
    /// Errors beyond [`MAX_KEPT`], which are only counted.
    left_out: usize,
}

impl Diagnostics {
    /// Adds an error. The same error at the same place is kept once, and only the first hundred are kept.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        if self.is_full() {
            self.left_out += 1;
            return;
        }
        let known = self
            .list
            .iter()
            .any(|d| d.code == diagnostic.code && d.span == diagnostic.span && d.message == diagnostic.message);
        if !known {
            self.list.push(diagnostic);
        }
    }

    /// Adds an error that is long in the making, such as one whose hint is looked for among many names: it is made only
    /// if there is room for it.
    pub(crate) fn push_with(&mut self, make: impl FnOnce() -> Diagnostic) {
        if self.is_full() {
            self.left_out += 1;
        } else {
            self.push(make());
        }
    }

    /// Brings the errors into the order of the places that they are about.
    pub fn sort(&mut self) {
        self.list.sort_by_key(|d| d.span);
    }

    /// Whether no more errors are kept, so that it is not worth while to say more about one.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.list.len() >= MAX_KEPT
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many there are, those included that were not kept. Where many were not, some may have been left out or counted
    /// twice.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len() + self.left_out
    }

    /// Those that were kept, in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.list.iter()
    }

    /// The errors as text for a terminal, with the source lines that they are about.
    #[must_use]
    pub fn render(&self, sources: &Sources, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let mut out = String::new();
        for diagnostic in &self.list {
            out.push_str(&renderer.render(&groups(diagnostic, sources)));
            out.push_str("\n\n");
        }
        let count = self.len();
        let _ = match (count, self.left_out) {
            (1, _) => writeln!(out, "1 error"),
            (_, 0) => writeln!(out, "{count} errors"),
            (_, _) => writeln!(out, "{} errors, and more that are not shown", self.list.len()),
        };
        out
    }

    /// The errors as a JSON list, for editors and scripts.
    #[must_use]
    pub fn to_json(&self, sources: &Sources) -> serde_json::Value {
        #[derive(Serialize)]
        struct Entry<'a> {
            code: &'static str,
            message: &'a str,
            file: Option<&'a str>,
            line: Option<usize>,
            column: Option<usize>,
            text: Option<&'a str>,
            label: &'a str,
            hint: Option<&'a str>,
        }
        let entries = self.list.iter().map(|d| {
            let file = d.span.and_then(|s| sources.file(s.file));
            let position = d.span.map(|s| sources.position(s));
            let text = d.span.zip(file).and_then(|(s, f)| f.text.get(s.start as usize..s.end as usize));
            serde_json::json!(Entry {
                code: d.code.id(),
                message: &d.message,
                file: file.map(|f| f.name.as_str()),
                line: position.map(|p| p.line),
                column: position.map(|p| p.column),
                text,
                label: &d.label,
                hint: d.hint.as_deref(),
            })
        });
        serde_json::Value::Array(entries.collect())
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

fn groups<'a>(diagnostic: &'a Diagnostic, sources: &'a Sources) -> Vec<Group<'a>> {
    let title = Level::ERROR.primary_title(diagnostic.message.as_str()).id(diagnostic.code.id());
    let mut groups = Vec::new();
    // One snippet per file; the primary place first.
    let mut places: Vec<(Span, &str, bool)> = Vec::new();
    places.extend(diagnostic.span.map(|s| (s, diagnostic.label.as_str(), true)));
    places.extend(diagnostic.related.iter().map(|(s, l)| (*s, l.as_str(), false)));
    let mut files: Vec<_> = places.iter().map(|p| p.0.file).collect();
    let mut seen = Vec::new();
    files.retain(|f| {
        !seen.contains(f) && {
            seen.push(*f);
            true
        }
    });
    let mut group = Group::with_title(title);
    for id in files {
        let Some(file) = sources.file(id) else { continue };
        let here: Vec<_> = places.iter().filter(|p| p.0.file == id).copied().collect();
        let Some(first) = here.first() else { continue };
        let Some(snippet) = snippet(file, &here).or_else(|| snippet(file, &[*first])) else {
            // A line too long to show.
            let position = sources.position(first.0);
            let origin = Origin::path(file.name.as_str()).line(position.line).char_column(position.column);
            group = group.element(origin);
            continue;
        };
        group = group.element(snippet);
    }
    if let Some(hint) = &diagnostic.hint {
        group = group.element(Level::HELP.message(hint.as_str()));
    }
    groups.push(group);
    groups
}

/// The lines from the first of some places to the last, with what is said there. `None` if that is too much text.
fn snippet<'a>(file: &'a SourceFile, places: &[(Span, &'a str, bool)]) -> Option<Snippet<'a, Annotation<'a>>> {
    /// Rendering takes its time for every byte.
    const MAX_SHOWN: usize = 1 << 14;
    let text = file.text.as_str();
    let ranges: Vec<_> = places.iter().map(|p| visible(text, p.0)).collect();
    let from = ranges.iter().map(|r| r.start).min()?;
    let to = ranges.iter().map(|r| r.end).max()?;
    let start = text[..from].rfind('\n').map_or(0, |i| i + 1);
    let end = text[to..].find('\n').map_or(text.len(), |i| to + i);
    if end - start > MAX_SHOWN {
        return None;
    }
    let line = text[..start].matches('\n').count() + 1;
    let mut snippet = Snippet::source(&text[start..end]).line_start(line).path(file.name.as_str()).fold(true);
    for (&(_, label, primary), range) in places.iter().zip(ranges) {
        let kind = if primary { AnnotationKind::Primary } else { AnnotationKind::Context };
        let annotation = kind.span(range.start - start..range.end - start);
        snippet = snippet.annotation(if label.is_empty() { annotation } else { annotation.label(label) });
    }
    Some(snippet)
}

/// The part of a span that is worth underlining: its first line, on character boundaries, at least one character.
fn visible(text: &str, span: Span) -> std::ops::Range<usize> {
    let clamp = |mut i: usize| {
        i = i.min(text.len());
        while !text.is_char_boundary(i) {
            i -= 1;
        }
        i
    };
    let start = clamp(span.start as usize);
    let end = clamp(span.end as usize).max(start);
    let line_end = text[start..end].find('\n').map_or(end, |i| start + i);
    let trimmed = start + text[start..line_end].trim_end().len();
    start..trimmed.max(start)
}
