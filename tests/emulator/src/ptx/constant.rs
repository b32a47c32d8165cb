//! Literals and constant expressions.

use super::ReadError;
use super::cursor::{Cursor, shown};
use super::lexer::Kind;

/// The most parentheses and signs inside each other.
const DEPTH: u32 = 64;

/// The value of a constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Constant {
    /// 64 bits, two's complement.
    Integer(u64),
    /// The bits of `0f3F800000`.
    F32(u32),
    /// The bits of `0d3FF0000000000000` or of a decimal fraction.
    F64(u64),
}

/// Whether a constant begins here.
pub(super) fn begins(cursor: &Cursor<'_>) -> bool {
    matches!(cursor.peek(), Kind::Number(_) | Kind::Mark('-' | '~' | '(') | Kind::Word("WARP_SZ"))
}

/// A constant: a literal, or an expression of integers with `+ - * ~` and parentheses, modulo 2^64. A sign may stand
/// before a decimal fraction.
pub(super) fn constant(cursor: &mut Cursor<'_>) -> Result<Constant, ReadError> {
    sum(cursor, DEPTH)
}

/// A constant that is an integer; `what` describes it.
pub(super) fn integer(cursor: &mut Cursor<'_>, what: &str) -> Result<u64, ReadError> {
    if !begins(cursor) {
        return Err(cursor.unexpected(what));
    }
    let line = cursor.line();
    integral(constant(cursor)?, line)
}

/// `+4`, `-4`, `+-4` behind a name, or nothing: what is added to it.
pub(super) fn offset(cursor: &mut Cursor<'_>) -> Result<i64, ReadError> {
    let negated = match cursor.peek_mark() {
        Some('+') => false,
        Some('-') => true,
        _ => return Ok(0),
    };
    cursor.advance();
    let line = cursor.line();
    let value = integral(product(cursor, DEPTH)?, line)?;
    let value = if negated { value.wrapping_neg() } else { value };
    Ok(value.cast_signed())
}

fn integral(constant: Constant, line: u32) -> Result<u64, ReadError> {
    match constant {
        Constant::Integer(value) => Ok(value),
        Constant::F32(_) | Constant::F64(_) => Err(ReadError::new(line, "expected an integer, found a fraction")),
    }
}

fn sum(cursor: &mut Cursor<'_>, depth: u32) -> Result<Constant, ReadError> {
    let mut left = product(cursor, depth)?;
    while let Some(sign @ ('+' | '-')) = cursor.peek_mark() {
        cursor.advance();
        let line = cursor.line();
        let right = integral(product(cursor, depth)?, line)?;
        let left_value = integral(left, line)?;
        left = Constant::Integer(if sign == '+' {
            left_value.wrapping_add(right)
        } else {
            left_value.wrapping_sub(right)
        });
    }
    Ok(left)
}

fn product(cursor: &mut Cursor<'_>, depth: u32) -> Result<Constant, ReadError> {
    let mut left = unary(cursor, depth)?;
    while cursor.take_mark('*') {
        let line = cursor.line();
        let right = integral(unary(cursor, depth)?, line)?;
        left = Constant::Integer(integral(left, line)?.wrapping_mul(right));
    }
    Ok(left)
}

fn unary(cursor: &mut Cursor<'_>, depth: u32) -> Result<Constant, ReadError> {
    let Some(depth) = depth.checked_sub(1) else { return Err(cursor.error("the expression is nested too deeply")) };
    let line = cursor.line();
    if let Kind::Number(digits) = cursor.peek() {
        cursor.advance();
        return literal(digits).ok_or_else(|| ReadError::new(line, format!("`{}` is no number", shown(digits))));
    }
    if cursor.peek() == Kind::Word("WARP_SZ") {
        cursor.advance();
        return Ok(Constant::Integer(32));
    }
    if cursor.take_mark('(') {
        let inside = sum(cursor, depth)?;
        cursor.mark(')')?;
        return Ok(inside);
    }
    if cursor.take_mark('-') {
        return Ok(match unary(cursor, depth)? {
            Constant::Integer(value) => Constant::Integer(value.wrapping_neg()),
            Constant::F32(bits) => Constant::F32(bits ^ (1 << 31)),
            Constant::F64(bits) => Constant::F64(bits ^ (1 << 63)),
        });
    }
    if cursor.take_mark('~') {
        return Ok(Constant::Integer(!integral(unary(cursor, depth)?, line)?));
    }
    Err(cursor.unexpected("a constant"))
}

/// What a literal says: `12`, `017`, `0x1F`, `0b101`, each also with `U`, `0f` and `0d` with their hexadecimal digits,
/// `1.5e-3`.
fn literal(digits: &str) -> Option<Constant> {
    let prefix = digits.get(..2).unwrap_or_default();
    let after = digits.get(2..).unwrap_or_default();
    match prefix {
        "0f" | "0F" => return exact_hexadecimal(after, 8).and_then(|bits| u32::try_from(bits).ok()).map(Constant::F32),
        "0d" | "0D" => return exact_hexadecimal(after, 16).map(Constant::F64),
        "0x" | "0X" => return whole(after, 16),
        "0b" | "0B" => return whole(after, 2),
        _ => {}
    }
    if digits.contains(['.', 'e', 'E']) {
        let plain =
            digits.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
        return if plain { digits.parse().ok().map(|value: f64| Constant::F64(value.to_bits())) } else { None };
    }
    // A leading zero makes it octal; zero itself is octal too.
    whole(digits, if digits.starts_with('0') { 8 } else { 10 })
}

fn whole(digits: &str, radix: u32) -> Option<Constant> {
    let digits = digits.strip_suffix('U').unwrap_or(digits);
    let plain = digits.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if plain { u64::from_str_radix(digits, radix).ok().map(Constant::Integer) } else { None }
}

fn exact_hexadecimal(digits: &str, count: usize) -> Option<u64> {
    let plain = digits.len() == count && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if plain { u64::from_str_radix(digits, 16).ok() } else { None }
}
