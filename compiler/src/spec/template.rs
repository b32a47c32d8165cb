//! Templates: names with parameters in them, such as `layer${stage + 1}.$i`.

use super::expr::{Expr, ExprKind, identifier_length};
use super::parse::{self, ExprParser, Written};
use crate::diagnostic::{Code, Diagnostic};
use crate::source::Span;

/// A text with holes.
#[derive(Debug, Clone)]
pub struct Template {
    /// Where it is written.
    pub span: Span,
    /// What it is put together from.
    pub parts: Vec<Part>,
}

/// A piece of a template.
#[derive(Debug, Clone)]
pub enum Part {
    /// Stands as it is.
    Literal(String),
    /// The value's text comes here.
    Value(Expr),
}

impl Template {
    /// A template without holes.
    #[must_use]
    pub fn literal(text: impl Into<String>, span: Span) -> Self {
        Self { span, parts: vec![Part::Literal(text.into())] }
    }

    /// Stands for something that could not be read, and was reported.
    #[must_use]
    pub(super) fn broken(span: Span) -> Self {
        Self { span, parts: vec![Part::Value(Expr { span, kind: ExprKind::Broken })] }
    }

    /// The expression, if the template is one and nothing else.
    #[must_use]
    pub fn as_expression(&self) -> Option<&Expr> {
        match self.parts.as_slice() {
            [Part::Value(expr)] => Some(expr),
            _ => None,
        }
    }
}

/// Parses a text in which `$name`, `$name[index]` and `${expression}` stand for values.
pub(super) fn parse(written: Written<'_>) -> Result<Template, Diagnostic> {
    parse::check_length(written)?;
    let mut parts = Vec::new();
    let mut position = 0;
    while let Some(rest) = written.text.get(position..).filter(|r| !r.is_empty()) {
        let literal = rest.find('$').unwrap_or(rest.len());
        if literal > 0 {
            parts.push(Part::Literal(rest.get(..literal).unwrap_or("").to_owned()));
            position += literal;
            continue;
        }
        let after = rest.get(1..).unwrap_or("");
        let mut parser;
        let value = if after.starts_with('{') {
            parser = ExprParser::new(written, position + 2);
            let value = parser.expression(0)?;
            parser.expect_sign('}')?;
            value
        } else if identifier_length(after) > 0 {
            parser = ExprParser::new(written, position + 1);
            parser.reference()?
        } else {
            let span = written.place(position, position + 1);
            return Err(Diagnostic::new(Code::Expression, span, "`$` must be followed by the name of a parameter")
                .hint("for example `$stage` or `${stage + 1}`"));
        };
        parts.push(Part::Value(value));
        position = parser.position();
    }
    Ok(Template { span: written.span, parts })
}
