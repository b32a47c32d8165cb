//! Values of parameters and expressions, and the scopes that they are found in.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::source::Span;
use crate::spec::Ratio;

/// What an expression or a parameter comes to.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Number(Ratio),
    Bool(bool),
    Text(Text),
    List(List),
    /// Something that could not be computed, and was reported.
    Unknown,
}

/// A text, and what it comes to where a number or a condition is needed.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub(super) text: Rc<str>,
    /// Never a text with a meaning of its own.
    pub(super) meaning: Option<Rc<Value>>,
}

/// A list.
#[derive(Debug, Clone)]
pub(super) struct List {
    pub(super) items: Rc<[Value]>,
    /// Levels of lists, this one included: 1 for a list of numbers. Bounded, for a list is dropped level by level.
    depth: usize,
}

impl List {
    /// Deepest nesting of lists.
    pub(super) const MAX_DEPTH: usize = 64;

    /// A list of values; `None` if lists are nested too deep in it.
    pub(super) fn new(items: Vec<Value>) -> Option<Self> {
        let inner = items.iter().map(|item| if let Value::List(list) = item.meaning() { list.depth } else { 0 });
        let depth = inner.max().unwrap_or(0) + 1;
        (depth <= Self::MAX_DEPTH).then(|| Self { items: items.into(), depth })
    }
}

impl Value {
    /// The value as it is used in computations: a text that means something else stands for that.
    pub(super) fn meaning(&self) -> &Self {
        match self {
            Self::Text(Text { meaning: Some(meaning), .. }) => meaning,
            Self::Number(_) | Self::Bool(_) | Self::Text(_) | Self::List(_) | Self::Unknown => self,
        }
    }

    /// The value's type, and the value where it is short, for messages.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Number(number) => format!("{number}"),
            Self::Bool(value) => format!("{value}"),
            Self::Text(text) => format!("the text `{}`", crate::spec::shortened(&text.text)),
            Self::List(_) => "a list".to_owned(),
            Self::Unknown => "unknown".to_owned(),
        }
    }
}

/// What a name stands for.
#[derive(Debug)]
struct Binding {
    value: Value,
    /// Where the value was written: in a declaration, in the use of a block, or in a setting.
    origin: Option<Span>,
}

/// Names and their values.
#[derive(Debug, Default)]
pub(super) struct Scope {
    names: BTreeMap<String, Binding>,
    /// Where to look for what is not here.
    outer: Option<Rc<Scope>>,
}

impl Scope {
    /// An empty scope inside another.
    pub(super) const fn inside(outer: Rc<Self>) -> Self {
        Self { names: BTreeMap::new(), outer: Some(outer) }
    }

    /// Gives a name a value.
    pub(super) fn insert(&mut self, name: &str, value: Value, origin: Option<Span>) {
        self.names.insert(name.to_owned(), Binding { value, origin });
    }

    /// The value of a name.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.binding(name).map(|b| &b.value)
    }

    /// Where the value of a name was written.
    pub(super) fn origin(&self, name: &str) -> Option<Span> {
        self.binding(name).and_then(|b| b.origin)
    }

    fn binding(&self, name: &str) -> Option<&Binding> {
        let mut scope = Some(self);
        while let Some(current) = scope {
            if let Some(binding) = current.names.get(name) {
                return Some(binding);
            }
            scope = current.outer.as_deref();
        }
        None
    }

    /// All names that can be used here.
    pub(super) fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        let mut scope = Some(self);
        while let Some(current) = scope {
            names.extend(current.names.keys().map(String::as_str));
            scope = current.outer.as_deref();
        }
        names
    }
}
