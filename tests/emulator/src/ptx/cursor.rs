//! A place among the tokens, and what is expected there.

use super::ReadError;
use super::constant;
use super::lexer::{Kind, Token};

/// The most characters of a name that a message repeats.
const SHOWN: usize = 60;

/// Reads tokens from front to back.
pub(super) struct Cursor<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// At the first of tokens whose last is [`Kind::End`].
    pub(super) fn new(tokens: Vec<Token<'a>>) -> Self {
        Self { tokens, at: 0 }
    }

    fn ahead(&self, count: usize) -> Token<'a> {
        let end = Token { kind: Kind::End, line: 1 };
        self.tokens.get(self.at + count).or(self.tokens.last()).copied().unwrap_or(end)
    }

    /// The next token.
    pub(super) fn peek(&self) -> Kind<'a> {
        self.ahead(0).kind
    }

    /// The next token, if it is a mark.
    pub(super) fn peek_mark(&self) -> Option<char> {
        if let Kind::Mark(mark) = self.peek() { Some(mark) } else { None }
    }

    /// The next token, if it is a name.
    pub(super) fn peek_word(&self) -> Option<&'a str> {
        if let Kind::Word(word) = self.peek() { Some(word) } else { None }
    }

    /// The next token, if it is a name after a dot.
    pub(super) fn peek_suffix(&self) -> Option<&'a str> {
        if let Kind::Suffix(word) = self.peek() { Some(word) } else { None }
    }

    /// Whether the token after the next is this mark.
    pub(super) fn second_is(&self, mark: char) -> bool {
        self.ahead(1).kind == Kind::Mark(mark)
    }

    /// Line of the next token.
    pub(super) fn line(&self) -> u32 {
        self.ahead(0).line
    }

    /// Goes past the next token.
    pub(super) fn advance(&mut self) {
        self.at += 1;
    }

    /// That `what` was expected where something else is.
    pub(super) fn unexpected(&self, what: &str) -> ReadError {
        let found = match self.peek() {
            Kind::Word(word) | Kind::Number(word) => format!("`{}`", shown(word)),
            Kind::Suffix(word) => format!("`.{}`", shown(word)),
            Kind::Text(_) => "a string".to_owned(),
            Kind::Mark(mark) => format!("`{mark}`"),
            Kind::End => "the end of the text".to_owned(),
        };
        self.error(format!("expected {what}, found {found}"))
    }

    /// An error at the next token.
    pub(super) fn error(&self, message: impl Into<String>) -> ReadError {
        ReadError::new(self.line(), message)
    }

    /// Goes past a mark, if it is next.
    pub(super) fn take_mark(&mut self, mark: char) -> bool {
        let found = self.peek() == Kind::Mark(mark);
        self.at += usize::from(found);
        found
    }

    /// Goes past `.name`, if it is next.
    pub(super) fn take_suffix(&mut self, name: &str) -> bool {
        let found = self.peek() == Kind::Suffix(name);
        self.at += usize::from(found);
        found
    }

    /// Goes past a mark that must be next.
    pub(super) fn mark(&mut self, mark: char) -> Result<(), ReadError> {
        if self.take_mark(mark) { Ok(()) } else { Err(self.unexpected(&format!("`{mark}`"))) }
    }

    /// A name, which `what` describes.
    pub(super) fn word(&mut self, what: &str) -> Result<&'a str, ReadError> {
        let Kind::Word(word) = self.peek() else { return Err(self.unexpected(what)) };
        self.advance();
        Ok(word)
    }

    /// A name after a dot, which `what` describes.
    pub(super) fn suffix(&mut self, what: &str) -> Result<&'a str, ReadError> {
        let Kind::Suffix(word) = self.peek() else { return Err(self.unexpected(what)) };
        self.advance();
        Ok(word)
    }

    /// A string, which `what` describes.
    pub(super) fn text(&mut self, what: &str) -> Result<&'a str, ReadError> {
        let Kind::Text(text) = self.peek() else { return Err(self.unexpected(what)) };
        self.advance();
        Ok(text)
    }

    /// A non-negative integer below 2^32, which `what` describes.
    pub(super) fn number(&mut self, what: &str) -> Result<u32, ReadError> {
        let line = self.line();
        let value = constant::integer(self, what)?;
        u32::try_from(value).map_err(|_| ReadError::new(line, format!("{what} must be below 2^32")))
    }

    /// Up to three integers with commas between; the missing ones are 1.
    pub(super) fn dimensions(&mut self, what: &str) -> Result<[u32; 3], ReadError> {
        let mut dimensions = [1; 3];
        for (axis, dimension) in dimensions.iter_mut().enumerate() {
            if axis == 0 || self.take_mark(',') {
                *dimension = self.number(what)?;
            } else {
                break;
            }
        }
        Ok(dimensions)
    }

    /// Goes past everything between braces, both included.
    pub(super) fn skip_braces(&mut self) -> Result<(), ReadError> {
        let line = self.line();
        self.mark('{')?;
        let mut depth = 1_usize;
        while depth > 0 {
            match self.peek() {
                Kind::Mark('{') => depth += 1,
                Kind::Mark('}') => depth -= 1,
                Kind::End => return Err(ReadError::new(line, "the brace isn't closed")),
                Kind::Word(_) | Kind::Suffix(_) | Kind::Number(_) | Kind::Text(_) | Kind::Mark(_) => {}
            }
            self.advance();
        }
        Ok(())
    }
}

/// A name as a message shows it: cut if it is very long.
pub(super) fn shown(word: &str) -> String {
    match word.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", word.get(..end).unwrap_or_default()),
        None => word.to_owned(),
    }
}
