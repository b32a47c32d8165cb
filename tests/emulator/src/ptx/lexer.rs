//! Text to tokens.

use super::ReadError;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    /// A name: `ld`, `%r12`, `$L__BB0_1`, `_`.
    Word(&'a str),
    /// A name after a dot, without the dot: `entry`, `global`, `1d`, `L2::128B`.
    Suffix(&'a str),
    /// What begins with a digit: `12`, `0x1FU`, `0f3F800000`, `9.5`, `1e-3`.
    Number(&'a str),
    /// A string, without its quotes.
    Text(&'a str),
    /// Any other character.
    Mark(char),
    /// The end of the text.
    End,
}

/// A token and where it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind<'a>,
    /// Line, from 1.
    pub(super) line: u32,
}

/// Splits a text; the last token is [`Kind::End`].
///
/// # Errors
///
/// A comment or a string without an end, a character that PTX has no use for.
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, ReadError> {
    let mut lexer = Lexer { text, at: 0, line: 1 };
    let mut tokens = Vec::with_capacity(text.len() / 4);
    loop {
        lexer.skip_blanks()?;
        let line = lexer.line;
        let kind = lexer.token()?;
        tokens.push(Token { kind, line });
        if kind == Kind::End {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    /// Bytes already split.
    at: usize,
    line: u32,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn byte(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    /// Takes as many bytes as satisfy `accepts`, which accepts ASCII alone.
    fn take_while(&mut self, accepts: impl Fn(u8) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.bytes().position(|byte| !accepts(byte)).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    fn skip_blanks(&mut self) -> Result<(), ReadError> {
        loop {
            match (self.byte(0), self.byte(1)) {
                (Some(b'\n'), _) => {
                    self.line = self.line.saturating_add(1);
                    self.at += 1;
                }
                (Some(b' ' | b'\t' | b'\r' | b'\x0b' | b'\x0c'), _) => self.at += 1,
                (Some(b'/'), Some(b'/')) => {
                    let rest = self.rest();
                    self.at += rest.find('\n').unwrap_or(rest.len());
                }
                (Some(b'/'), Some(b'*')) => {
                    let rest = self.rest();
                    let Some(length) = rest.get(2..).and_then(|inside| inside.find("*/")) else {
                        return Err(ReadError::new(self.line, "the comment has no end"));
                    };
                    self.count_lines(rest.get(..length + 2).unwrap_or_default());
                    self.at += length + 4;
                }
                _ => return Ok(()),
            }
        }
    }

    fn count_lines(&mut self, text: &str) {
        let lines = text.bytes().filter(|&byte| byte == b'\n').count();
        self.line = self.line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
    }

    fn token(&mut self) -> Result<Kind<'a>, ReadError> {
        let Some(first) = self.rest().chars().next() else { return Ok(Kind::End) };
        Ok(match first {
            'a'..='z' | 'A'..='Z' | '_' | '$' => Kind::Word(self.take_while(is_name)),
            '%' if self.byte(1).is_some_and(is_name) => {
                let rest = self.rest();
                self.at += 1;
                let length = self.take_while(is_name).len() + 1;
                Kind::Word(rest.get(..length).unwrap_or_default())
            }
            '0'..='9' => Kind::Number(self.number()),
            '.' if self.byte(1).is_some_and(is_name) => {
                self.at += 1;
                Kind::Suffix(self.suffix())
            }
            '"' => Kind::Text(self.string()?),
            '!'..='~' => {
                self.at += 1;
                Kind::Mark(first)
            }
            _ => return Err(ReadError::new(self.line, format!("the character {first:?} isn't part of PTX"))),
        })
    }

    /// The name after a dot, with the parts that `::` joins.
    fn suffix(&mut self) -> &'a str {
        let rest = self.rest();
        let mut length = self.take_while(is_name).len();
        while self.rest().starts_with("::") && self.byte(2).is_some_and(is_name) {
            self.at += 2;
            length += 2 + self.take_while(is_name).len();
        }
        rest.get(..length).unwrap_or_default()
    }

    /// A literal as it stands, wrong ones included: what it means is decided where it is used.
    fn number(&mut self) -> &'a str {
        let rest = self.rest();
        let mut length = self.take_while(is_name).len();
        let decimal = rest.get(..length).is_some_and(|start| start.bytes().all(|byte| byte.is_ascii_digit()));
        if decimal && self.byte(0) == Some(b'.') {
            self.at += 1;
            length += 1 + self.take_while(is_name).len();
        }
        // The sign of an exponent, where the letter isn't a hexadecimal digit.
        let start = rest.get(..length).unwrap_or_default();
        let exponent = start.ends_with(['e', 'E'])
            && start.bytes().rev().skip(1).all(|byte| byte.is_ascii_digit() || byte == b'.');
        if exponent && matches!(self.byte(0), Some(b'+' | b'-')) {
            self.at += 1;
            length += 1 + self.take_while(is_name).len();
        }
        rest.get(..length).unwrap_or_default()
    }

    fn string(&mut self) -> Result<&'a str, ReadError> {
        let inside = self.rest().get(1..).unwrap_or_default();
        let mut escaped = false;
        for (length, byte) in inside.bytes().enumerate() {
            match byte {
                b'\n' => break,
                b'"' if !escaped => {
                    self.at += length + 2;
                    return Ok(inside.get(..length).unwrap_or_default());
                }
                _ => escaped = byte == b'\\' && !escaped,
            }
        }
        Err(ReadError::new(self.line, "the string has no end on its line"))
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$')
}
