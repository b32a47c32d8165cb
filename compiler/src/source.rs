//! Source files and places in them.

use std::collections::BTreeMap;
use std::fmt;

/// Index of a file in [`Sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u32);

/// A range of bytes in a source file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The file.
    pub file: FileId,
    /// First byte.
    pub start: u32,
    /// Byte after the last.
    pub end: u32,
}

/// A value and the place where it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it was written.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// Pairs a value with its place.
    pub const fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

/// A source file: its name, as the user would write it, and its text.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// Path as given or as found through `extends`.
    pub name: String,
    /// The whole text.
    pub text: String,
}

/// A place for people: line and column, both from 1; the column counts characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// All files that a compilation has read. The first is the spec itself.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    files: Vec<SourceFile>,
}

impl Sources {
    /// Adds a file.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<String>) -> FileId {
        let id = FileId(u32::try_from(self.files.len()).unwrap_or(u32::MAX));
        self.files.push(SourceFile { name: name.into(), text: text.into() });
        id
    }

    /// The file of an id that [`Sources::add`] returned.
    #[must_use]
    pub fn file(&self, id: FileId) -> Option<&SourceFile> {
        self.files.get(id.0 as usize)
    }

    /// Line and column of the start of a span.
    #[must_use]
    pub fn position(&self, span: Span) -> Position {
        let text = self.file(span.file).map_or("", |f| f.text.as_str());
        let mut end = (span.start as usize).min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &text[..end];
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        Position { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }
}

/// Where the text of files comes from: a folder, or a map in a test.
pub trait Files {
    /// The text of `path`, a path as [`Files::resolve`] returns it or as the caller gave it.
    ///
    /// # Errors
    /// What went wrong, for people ("no such file").
    fn read(&self, path: &str) -> Result<String, String>;

    /// The path of `relative` (as written after `extends`) seen from the file `from`, in a form in which the same file
    /// always has the same path as far as possible.
    fn resolve(&self, from: &str, relative: &str) -> String;
}

/// Files in memory, by path.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    files: BTreeMap<String, String>,
}

impl Memory {
    /// Adds a file, or replaces it.
    #[must_use]
    pub fn with(mut self, path: impl Into<String>, text: impl Into<String>) -> Self {
        self.files.insert(path.into(), text.into());
        self
    }
}

impl Files for Memory {
    fn read(&self, path: &str) -> Result<String, String> {
        self.files.get(path).cloned().ok_or_else(|| "no such file".to_owned())
    }

    fn resolve(&self, from: &str, relative: &str) -> String {
        relative_to(from, relative)
    }
}

/// The path `relative` seen from the file `from`, with `.` and `..` resolved by name alone: what [`Files::resolve`] does
/// where nothing better is known. Segments are separated by `/`.
#[must_use]
pub fn relative_to(from: &str, relative: &str) -> String {
    let folder = from.rfind('/').map_or("", |i| &from[..=i]);
    let joined = if relative.starts_with('/') { relative.to_owned() } else { format!("{folder}{relative}") };
    let root = if joined.starts_with('/') { "/" } else { "" };
    let mut segments: Vec<&str> = Vec::new();
    for segment in joined.split('/') {
        match segment {
            "" | "." => {}
            ".." if segments.last().is_some_and(|s| *s != "..") => {
                segments.pop();
            }
            // Nothing is above the root.
            ".." if !root.is_empty() => {}
            segment => segments.push(segment),
        }
    }
    format!("{root}{}", segments.join("/"))
}
