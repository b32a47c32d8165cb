//! The parser of expressions.
//!
//! From loose to tight: `c ? a : b`, `||`, `&&`, comparisons, `+ -`, `* / // %`, unary `- !`, indexing. A comparison can't
//! be compared again without parentheses.

use super::expr::{COMPARISON, Expr, ExprKind, Function, Operator, UNARY, identifier_length};
use super::number::Ratio;
use crate::diagnostic::{Code, Diagnostic};
use crate::source::Span;

/// Longest text of an expression or template, in bytes.
pub(super) const MAX_TEXT: usize = 1024;
/// Deepest nesting of parentheses, brackets and operators.
const MAX_NESTING: usize = 48;
/// Most operators, names and numbers in one expression.
const MAX_NODES: usize = 256;

/// A text to parse, and where it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written<'t> {
    pub(super) text: &'t str,
    /// The whole scalar.
    pub(super) span: Span,
    /// Byte in the file of the text's first, where the text stands as it is.
    pub(super) origin: Option<u32>,
}

impl Written<'_> {
    /// The place of a part of the text: exactly, where that is known.
    pub(super) fn place(&self, start: usize, end: usize) -> Span {
        let exact = |at: usize| self.origin.zip(u32::try_from(at).ok()).and_then(|(o, at)| o.checked_add(at));
        match (exact(start), exact(end)) {
            (Some(start), Some(end)) => Span { file: self.span.file, start, end },
            (Some(_) | None, Some(_) | None) => self.span,
        }
    }
}

/// Parses a text that is an expression as a whole.
pub(super) fn parse(written: Written<'_>) -> Result<Expr, Diagnostic> {
    check_length(written)?;
    let mut parser = ExprParser::new(written, 0);
    let expr = parser.expression(0)?;
    if parser.peek()?.is_some() {
        return Err(parser.unexpected("an operator"));
    }
    Ok(expr)
}

/// Refuses texts that are too long to be meant.
pub(super) fn check_length(written: Written<'_>) -> Result<(), Diagnostic> {
    if written.text.len() > MAX_TEXT {
        let message = format!("an expression or name of {} bytes", written.text.len());
        return Err(Diagnostic::new(Code::TooLarge, written.span, message)
            .hint(format!("at most {MAX_TEXT} bytes are possible; `params` can hold parts of it")));
    }
    Ok(())
}

/// What an expression is made of.
#[derive(Debug, Clone, PartialEq)]
enum Token<'t> {
    Number(&'t str),
    Name(&'t str),
    /// `$name`
    Dollar(&'t str),
    Text(&'t str),
    Operator(Operator),
    /// Any of `! ? : ( ) [ ] , }`, or `$` for `${`.
    Sign(char),
}

pub(super) struct ExprParser<'t> {
    written: Written<'t>,
    /// Byte after the last token taken.
    position: usize,
    nesting: usize,
    nodes: usize,
}

impl<'t> ExprParser<'t> {
    pub(super) const fn new(written: Written<'t>, position: usize) -> Self {
        Self { written, position, nesting: 0, nodes: 0 }
    }

    /// Where the parser has got to.
    pub(super) const fn position(&self) -> usize {
        self.position
    }

    fn rest(&self) -> &'t str {
        self.written.text.get(self.position..).unwrap_or("")
    }

    fn error(&self, start: usize, end: usize, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Code::Expression, self.written.place(start, end), message)
            .hint("an expression has numbers, `$parameters`, operators, and texts in single quotes")
    }

    /// The next token with its first byte and the byte after it, without taking it.
    fn peek(&self) -> Result<Option<(Token<'t>, usize, usize)>, Diagnostic> {
        let rest = self.rest();
        let trimmed = rest.trim_start();
        let start = self.position + (rest.len() - trimmed.len());
        let Some(first) = trimmed.chars().next() else { return Ok(None) };
        let token = |token, length: usize| Ok(Some((token, start, start + length)));
        let slice = |from: usize, to: usize| trimmed.get(from..to).unwrap_or("");
        if first.is_ascii_digit() || (first == '.' && trimmed[1..].starts_with(|c: char| c.is_ascii_digit())) {
            let length = number_length(trimmed);
            return token(Token::Number(slice(0, length)), length);
        }
        if first.is_ascii_alphabetic() || first == '_' {
            let length = identifier_length(trimmed);
            return token(Token::Name(slice(0, length)), length);
        }
        if let Some(after) = trimmed.strip_prefix('$') {
            let length = identifier_length(after);
            if length > 0 {
                return token(Token::Dollar(slice(1, 1 + length)), 1 + length);
            }
            if after.starts_with('{') {
                return token(Token::Sign('$'), 2);
            }
            return Err(self
                .error(start, start + 1, "`$` must be followed by the name of a parameter")
                .hint("for example `$width` or `${width}`"));
        }
        if let Some(after) = trimmed.strip_prefix('\'') {
            let Some(length) = after.find('\'') else {
                return Err(self.error(start, start + trimmed.len(), "this text has no closing quote"));
            };
            return token(Token::Text(slice(1, 1 + length)), length + 2);
        }
        if let Some((sign, operator)) = Operator::SIGNS.iter().find(|(sign, _)| trimmed.starts_with(sign)) {
            return token(Token::Operator(*operator), sign.len());
        }
        if matches!(first, '!' | '?' | ':' | '(' | ')' | '[' | ']' | ',' | '}') {
            return token(Token::Sign(first), 1);
        }
        let hint = match first {
            '=' => "`==` compares",
            '&' => "`&&` is the logical and",
            '|' => "`||` is the logical or",
            '"' => "texts inside an expression stand in single quotes",
            _ => "an expression has numbers, `$parameters`, operators, and texts in single quotes",
        };
        Err(self.error(start, start + first.len_utf8(), format!("`{first}` means nothing in an expression")).hint(hint))
    }

    fn take(&mut self, end: usize) {
        self.position = end;
    }

    /// Takes a sign, if it comes next.
    fn take_sign(&mut self, sign: char) -> Result<bool, Diagnostic> {
        match self.peek()? {
            Some((Token::Sign(found), _, end)) if found == sign => {
                self.take(end);
                Ok(true)
            }
            Some(_) | None => Ok(false),
        }
    }

    /// Takes a sign that must come next.
    pub(super) fn expect_sign(&mut self, sign: char) -> Result<(), Diagnostic> {
        if self.take_sign(sign)? { Ok(()) } else { Err(self.unexpected(&format!("`{sign}`"))) }
    }

    fn unexpected(&self, wanted: &str) -> Diagnostic {
        match self.peek() {
            Err(error) => error,
            Ok(None) => {
                let end = self.written.text.len();
                self.error(0, end, format!("the expression ends where {wanted} should follow"))
            }
            Ok(Some((_, start, end))) => {
                let found = self.written.text.get(start..end).unwrap_or("");
                self.error(start, end, format!("{wanted} should stand here, not `{found}`"))
            }
        }
    }

    fn node(&mut self, start: usize, kind: ExprKind) -> Result<Expr, Diagnostic> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(self
                .error(0, self.written.text.len(), "this expression is too long")
                .hint("put parts of it into `params`"));
        }
        Ok(Expr { span: self.written.place(start, self.position), kind })
    }

    /// First byte of the next token.
    fn start(&self) -> usize {
        let rest = self.rest();
        self.position + (rest.len() - rest.trim_start().len())
    }

    /// An expression of operators that bind at least as tight as `level`.
    pub(super) fn expression(&mut self, level: u8) -> Result<Expr, Diagnostic> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return Err(self
                .error(0, self.written.text.len(), "this expression is nested too deep")
                .hint("put parts of it into `params`"));
        }
        let start = self.start();
        let mut left = self.unary()?;
        let mut compared = false;
        while let Some((Token::Operator(operator), _, end)) = self.peek()? {
            if operator.level() < level.max(1) {
                break;
            }
            if operator.level() == COMPARISON && compared {
                return Err(self.unexpected("`&&` or `||`").hint("compare two values at a time"));
            }
            self.take(end);
            let right = self.expression(operator.level() + 1)?;
            left = self.node(start, ExprKind::Binary(operator, Box::new(left), Box::new(right)))?;
            compared = operator.level() == COMPARISON;
        }
        if level == 0 && self.take_sign('?')? {
            let yes = self.expression(0)?;
            self.expect_sign(':')?;
            let no = self.expression(0)?;
            left = self.node(start, ExprKind::Choose(Box::new([left, yes, no])))?;
        }
        self.nesting -= 1;
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expr, Diagnostic> {
        let start = self.start();
        match self.peek()? {
            Some((Token::Operator(Operator::Subtract), _, end)) => {
                self.take(end);
                let operand = self.expression(UNARY)?;
                self.node(start, ExprKind::Negate(Box::new(operand)))
            }
            Some((Token::Sign('!'), _, end)) => {
                self.take(end);
                let operand = self.expression(UNARY)?;
                self.node(start, ExprKind::Not(Box::new(operand)))
            }
            Some(_) | None => {
                let value = self.primary()?;
                self.indices(start, value)
            }
        }
    }

    /// Any `[...]` that follow a value.
    fn indices(&mut self, start: usize, mut value: Expr) -> Result<Expr, Diagnostic> {
        while self.take_sign('[')? {
            let index = self.expression(0)?;
            self.expect_sign(']')?;
            value = self.node(start, ExprKind::Index(Box::new(value), Box::new(index)))?;
        }
        Ok(value)
    }

    fn primary(&mut self) -> Result<Expr, Diagnostic> {
        let Some((token, start, end)) = self.peek()? else {
            return Err(self.unexpected("a value"));
        };
        match token {
            Token::Number(digits) => {
                self.take(end);
                let number = Ratio::parse(digits).ok_or_else(|| {
                    self.error(start, end, format!("`{digits}` is not a number that can be computed with"))
                        .hint("write it shorter; numbers are exact ratios of two 64-bit integers")
                })?;
                self.node(start, ExprKind::Number(number))
            }
            Token::Text(text) => {
                self.take(end);
                self.node(start, ExprKind::Text(text.to_owned()))
            }
            Token::Dollar(name) => {
                self.take(end);
                self.node(start, ExprKind::Parameter(name.to_owned()))
            }
            Token::Name(word @ ("true" | "false")) => {
                self.take(end);
                self.node(start, ExprKind::Bool(word == "true"))
            }
            Token::Name(name) => {
                self.take(end);
                if self.take_sign('(')? {
                    self.call(name, start, end)
                } else {
                    self.node(start, ExprKind::Parameter(name.to_owned()))
                }
            }
            Token::Sign(open @ ('(' | '$')) => {
                self.take(end);
                let mut inner = self.expression(0)?;
                self.expect_sign(if open == '(' { ')' } else { '}' })?;
                inner.span = self.written.place(start, self.position);
                Ok(inner)
            }
            Token::Operator(_) | Token::Sign(_) => Err(self.unexpected("a value")),
        }
    }

    fn call(&mut self, name: &str, start: usize, end: usize) -> Result<Expr, Diagnostic> {
        let names = || Function::NAMES.iter().map(|(n, _)| *n);
        let Some((_, function)) = Function::NAMES.iter().find(|(n, _)| *n == name) else {
            let error = self.error(start, end, format!("there is no function `{name}`"));
            return Err(error.hint(super::suggestion(name, names(), "the functions are")));
        };
        let mut arguments = Vec::new();
        loop {
            arguments.push(self.expression(0)?);
            if !self.take_sign(',')? {
                break;
            }
        }
        self.expect_sign(')')?;
        if arguments.len() != function.arguments() {
            let message = format!("`{name}` takes {} arguments, not {}", function.arguments(), arguments.len());
            return Err(self.error(start, self.position, message).hint("`min(a, b)`, `max(a, b)`, `len(list)`"));
        }
        self.node(start, ExprKind::Call(*function, arguments))
    }

    /// A parameter after a `$`, with its indices, for templates: the position is at the name.
    pub(super) fn reference(&mut self) -> Result<Expr, Diagnostic> {
        let start = self.position - 1;
        let length = identifier_length(self.rest());
        let name = self.rest().get(..length).unwrap_or("").to_owned();
        self.take(self.position + length);
        let mut value = self.node(start, ExprKind::Parameter(name))?;
        // Only a bracket right behind the name belongs to it.
        while self.rest().starts_with('[') {
            self.expect_sign('[')?;
            let index = self.expression(0)?;
            self.expect_sign(']')?;
            value = self.node(start, ExprKind::Index(Box::new(value), Box::new(index)))?;
        }
        Ok(value)
    }
}

/// Bytes of the number that a text begins with: digits, a fraction, an exponent.
fn number_length(text: &str) -> usize {
    let digits = |from: usize| {
        let rest = text.get(from..).unwrap_or("");
        rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())
    };
    let mut length = digits(0);
    if text.get(length..).is_some_and(|t| t.starts_with('.')) {
        length += 1 + digits(length + 1);
    }
    if text.get(length..).is_some_and(|t| t.starts_with(['e', 'E'])) {
        let sign = usize::from(text.get(length + 1..).is_some_and(|t| t.starts_with(['+', '-'])));
        let exponent = digits(length + 1 + sign);
        if exponent > 0 {
            length += 1 + sign + exponent;
        }
    }
    length
}
