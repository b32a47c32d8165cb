//! Expressions: their tree.

use super::number::Ratio;
use crate::source::Span;

/// An expression.
#[derive(Debug, Clone)]
pub struct Expr {
    /// Where it is written.
    pub span: Span,
    /// What it is.
    pub kind: ExprKind,
}

/// The kinds of expression.
#[derive(Debug, Clone)]
pub enum ExprKind {
    /// A number.
    Number(Ratio),
    /// `true` or `false`.
    Bool(bool),
    /// A text in quotes.
    Text(String),
    /// A parameter's value.
    Parameter(String),
    /// An element of a list.
    Index(Box<Expr>, Box<Expr>),
    /// A list, as YAML writes it.
    List(Vec<Expr>),
    /// `-a`
    Negate(Box<Expr>),
    /// `!a`
    Not(Box<Expr>),
    /// `a op b`
    Binary(Operator, Box<Expr>, Box<Expr>),
    /// `condition ? a : b`
    Choose(Box<[Expr; 3]>),
    /// A function of its arguments.
    Call(Function, Vec<Expr>),
    /// Something that could not be read, and was reported.
    Broken,
}

/// Operators with two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Operator {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    DivideDown,
    Remainder,
}

impl Operator {
    /// All of them; a longer sign comes before its beginning.
    pub(super) const SIGNS: [(&'static str, Self); 14] = [
        ("||", Self::Or),
        ("&&", Self::And),
        ("==", Self::Equal),
        ("!=", Self::NotEqual),
        ("<=", Self::LessOrEqual),
        ("<", Self::Less),
        (">=", Self::GreaterOrEqual),
        (">", Self::Greater),
        ("+", Self::Add),
        ("-", Self::Subtract),
        ("*", Self::Multiply),
        ("//", Self::DivideDown),
        ("/", Self::Divide),
        ("%", Self::Remainder),
    ];

    /// As it is written.
    #[must_use]
    pub fn sign(self) -> &'static str {
        Self::SIGNS.iter().find(|(_, o)| *o == self).map_or("", |(sign, _)| sign)
    }

    /// How tight it binds.
    pub(super) const fn level(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And => 2,
            Self::Equal | Self::NotEqual | Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual => {
                COMPARISON
            }
            Self::Add | Self::Subtract => 4,
            Self::Multiply | Self::Divide | Self::DivideDown | Self::Remainder => 5,
        }
    }
}

/// The level of comparisons, which don't chain.
pub(super) const COMPARISON: u8 = 3;

/// Binds tighter than every operator with two operands.
pub(super) const UNARY: u8 = 6;

/// The functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// The smaller of two numbers.
    Min,
    /// The larger of two numbers.
    Max,
    /// Elements of a list.
    Len,
}

impl Function {
    pub(super) const NAMES: [(&'static str, Self); 3] = [("min", Self::Min), ("max", Self::Max), ("len", Self::Len)];

    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, f)| *f == self).map_or("", |(name, _)| name)
    }

    /// How many arguments it takes.
    pub(super) const fn arguments(self) -> usize {
        match self {
            Self::Min | Self::Max => 2,
            Self::Len => 1,
        }
    }
}

/// Words that no parameter may have as its name.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    matches!(name, "true" | "false") || Function::NAMES.iter().any(|(n, _)| *n == name)
}

/// Whether a text can be the name of a parameter.
#[must_use]
pub fn is_identifier(name: &str) -> bool {
    identifier_length(name) == name.len() && !name.is_empty()
}

/// Bytes of the identifier that a text begins with.
pub(super) fn identifier_length(text: &str) -> usize {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
}
