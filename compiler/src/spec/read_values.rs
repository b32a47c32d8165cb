//! Reader: mappings by their tables of keys, and the values that fields take.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::expr::{self, Expr, ExprKind};
use super::fields::Field;
use super::node::{Kind, Map, Node, Text};
use super::parse::{self, Written};
use super::suggestion;
use super::template::{self, Template};
use super::tree::Argument;
use crate::diagnostic::{Code, Diagnostic, Diagnostics, nearest};
use crate::source::{Span, Spanned};

/// Longest name of anything, in bytes.
pub(crate) const MAX_NAME: usize = 256;

/// Reads nodes into the typed tree, and collects what is wrong with them.
pub(super) struct Reader<'d> {
    pub(super) diagnostics: &'d mut Diagnostics,
    /// The blocks, and the parameters of each: its name, and whether it is required.
    pub(super) blocks: BTreeMap<String, Rc<BTreeMap<String, bool>>>,
}

/// The keys of a mapping.
#[derive(Clone, Copy)]
pub(super) struct Keys<'n> {
    map: Option<&'n Map>,
}

impl<'n> Keys<'n> {
    /// A mapping without keys.
    pub(super) const NONE: Self = Self { map: None };

    /// The keys of a node; none, if it is no mapping.
    pub(super) const fn of(node: &'n Node) -> Self {
        match &node.kind {
            Kind::Map(map) => Self { map: Some(map) },
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::List(_) => Self::NONE,
        }
    }

    /// The value of a key; `~` counts as absent.
    pub(super) fn get(self, name: &str) -> Option<&'n Node> {
        self.map.and_then(|m| m.get(name)).map(|e| &e.value).filter(|n| !matches!(n.kind, Kind::Null))
    }

    /// All keys.
    pub(super) fn entries(self) -> impl Iterator<Item = (&'n Spanned<String>, &'n Node)> {
        self.map.into_iter().flat_map(|m| m.entries.iter().map(|e| (&e.key, &e.value)))
    }
}

impl Reader<'_> {
    pub(super) fn error(&mut self, code: Code, span: Span, message: impl Into<String>, hint: impl Into<String>) {
        self.diagnostics.push(Diagnostic::new(code, span, message).hint(hint));
    }

    pub(super) fn wrong_type(&mut self, node: &Node, what: &str, hint: impl Into<String>) {
        let message = format!("{what}, but this is {}", node.kind.describe());
        self.error(Code::WrongType, node.span, message, hint);
    }

    /// The keys of a mapping, all of which must be in the tables. `owner` says whose they are, and `span` where it is.
    pub(super) fn keys<'n>(
        &mut self,
        node: &'n Node,
        span: Span,
        owner: &str,
        tables: &[&[Field]],
    ) -> Option<Keys<'n>> {
        let Kind::Map(map) = &node.kind else {
            self.wrong_type(
                node,
                &format!("{owner} takes fields"),
                "write them as `{ field: value, ... }` or one a line",
            );
            return None;
        };
        let known = tables.iter().flat_map(|t| t.iter().map(|f| f.name));
        let mut misspelt = Vec::new();
        for entry in &map.entries {
            let name = entry.key.value.as_str();
            if !known.clone().any(|k| k == name) {
                self.diagnostics.push_with(|| {
                    misspelt.extend(nearest(name, known.clone()));
                    let hint = suggestion(name, known.clone(), "its fields are");
                    let message = format!("{owner} has no field `{}`", shortened(name));
                    Diagnostic::new(Code::UnknownField, entry.key.span, message).hint(hint)
                });
            }
        }
        let keys = Keys { map: Some(map) };
        self.check_required(keys, span, owner, tables, &misspelt);
        Some(keys)
    }

    /// Reports required keys that are absent, but for those that seem to be misspelt.
    pub(super) fn check_required(
        &mut self,
        keys: Keys<'_>,
        span: Span,
        owner: &str,
        tables: &[&[Field]],
        misspelt: &[&str],
    ) {
        for field in tables.iter().flat_map(|t| t.iter()).filter(|f| f.required) {
            if keys.get(field.name).is_none() && !misspelt.contains(&field.name) {
                let message = format!("{owner} needs `{}`", field.name);
                self.error(Code::MissingField, span, message, format!("add `{}: ...`", field.name));
            }
        }
    }

    /// The elements of a list.
    pub(super) fn list<'n>(&mut self, node: &'n Node, what: &str, hint: &str) -> &'n [Node] {
        match &node.kind {
            Kind::List(items) => items,
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::Map(_) => {
                self.wrong_type(node, what, hint);
                &[]
            }
        }
    }

    /// A number, condition, list of these, or a text that is an expression.
    pub(super) fn expr(&mut self, node: &Node) -> Expr {
        let kind = match &node.kind {
            Kind::Bool(value) => ExprKind::Bool(*value),
            Kind::Number(number) => match number.value {
                Some(value) => ExprKind::Number(value),
                None => {
                    let message = format!("`{}` is not a number that can be computed with", number.written);
                    self.error(
                        Code::OutOfRange,
                        node.span,
                        message,
                        "numbers are finite, and exact ratios of two 64-bit integers",
                    );
                    ExprKind::Broken
                }
            },
            Kind::Text(text) => match parse::parse(written(node, text)) {
                Ok(expr) => return expr,
                Err(error) => {
                    self.diagnostics.push(error);
                    ExprKind::Broken
                }
            },
            Kind::List(items) => ExprKind::List(items.iter().map(|n| self.expr(n)).collect()),
            Kind::Null | Kind::Map(_) => {
                self.wrong_type(
                    node,
                    "a number, condition or expression belongs here",
                    "for example `3` or `$width * 2`",
                );
                ExprKind::Broken
            }
        };
        Expr { span: node.span, kind }
    }

    /// The expression of a key, if it is there.
    pub(super) fn optional_expr(&mut self, keys: Keys<'_>, name: &str) -> Option<Expr> {
        keys.get(name).map(|node| self.expr(node))
    }

    /// A name: a text that is a template.
    pub(super) fn template(&mut self, node: &Node) -> Template {
        match &node.kind {
            Kind::Number(number) => return Template::literal(&number.written, node.span),
            Kind::Text(text) => match template::parse(written(node, text)) {
                Ok(template) => return template,
                Err(error) => self.diagnostics.push(error),
            },
            Kind::Null | Kind::Bool(_) | Kind::List(_) | Kind::Map(_) => {
                self.wrong_type(
                    node,
                    "a name belongs here",
                    "put quotes around a text that YAML takes for something else",
                );
            }
        }
        Template::broken(node.span)
    }

    /// The template of a key, if it is there.
    pub(super) fn optional_template(&mut self, keys: Keys<'_>, name: &str) -> Option<Template> {
        keys.get(name).map(|node| self.template(node))
    }

    /// A value of a parameter.
    pub(super) fn argument(&mut self, node: &Node) -> Argument {
        match &node.kind {
            Kind::Text(text) => {
                let written = written(node, text);
                Argument::Text {
                    span: node.span,
                    expression: parse::parse(written).map_err(Box::new),
                    template: template::parse(written).map_err(Box::new),
                }
            }
            Kind::List(items) => {
                Argument::List { span: node.span, items: items.iter().map(|n| self.argument(n)).collect() }
            }
            Kind::Bool(_) | Kind::Number(_) => Argument::Plain(self.expr(node)),
            Kind::Null | Kind::Map(_) => {
                self.wrong_type(
                    node,
                    "a parameter's value is a number, `true`, `false`, a text, or a list of these",
                    "leave it out to keep the default",
                );
                Argument::Plain(Expr { span: node.span, kind: ExprKind::Broken })
            }
        }
    }

    /// A text that is taken as it is.
    pub(super) fn literal(&mut self, node: &Node, what: &str) -> Option<Spanned<String>> {
        let value = match &node.kind {
            Kind::Text(text) => text.value.clone(),
            Kind::Number(number) => number.written.clone(),
            Kind::Null | Kind::Bool(_) | Kind::List(_) | Kind::Map(_) => {
                self.wrong_type(node, &format!("{what} is a text"), "put quotes around it");
                return None;
            }
        };
        Some(Spanned::new(value, node.span))
    }

    /// Checks the name of a parameter; reports and refuses what can't be one.
    pub(super) fn parameter_name(&mut self, name: &Spanned<String>) -> bool {
        if expr::is_reserved(&name.value) {
            let message = format!("`{}` has a meaning of its own in expressions", name.value);
            self.error(Code::WrongType, name.span, message, "choose another name for the parameter");
            return false;
        }
        if !expr::is_identifier(&name.value) || name.value.len() > MAX_NAME {
            let message = format!("`{}` can't be the name of a parameter", shortened(&name.value));
            self.error(Code::WrongType, name.span, message, "use letters, digits and `_`, and begin with no digit");
            return false;
        }
        true
    }

    /// Checks a name that stands outside of expressions: of the network, an input, an output, a value or a block.
    pub(super) fn plain_name(&mut self, name: &Spanned<String>, what: &str) -> bool {
        if is_plain_name(&name.value) {
            return true;
        }
        let message = format!("`{}` can't be the name of {what}", shortened(&name.value));
        self.error(Code::WrongType, name.span, message, NAME_HINT);
        false
    }
}

/// What [`is_plain_name`] allows, for hints.
pub(crate) const NAME_HINT: &str = "use letters, digits, `_`, `-` and `.`, and begin with a letter, a digit or `_`";

/// What a part of a path is made of, for hints.
pub(crate) const PATH_HINT: &str =
    "use letters, digits, `_` and `-`, with single dots between segments; what is to be computed stands in `${...}`";

/// Whether a text can be the name of a network, an input, an output, a value or a block.
pub(crate) fn is_plain_name(name: &str) -> bool {
    let first = name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    first && name.len() <= MAX_NAME && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
}

/// A name for a message: its beginning, if it is long.
pub(crate) fn shortened(name: &str) -> String {
    const SHOWN: usize = 60;
    if name.chars().count() <= SHOWN {
        return name.to_owned();
    }
    name.chars().take(SHOWN).chain("...".chars()).collect()
}

fn written<'t>(node: &Node, text: &'t Text) -> Written<'t> {
    Written { text: &text.value, span: node.span, origin: text.origin }
}
