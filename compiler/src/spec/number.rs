//! Exact numbers of the spec language: ratios of two integers.

use std::cmp::Ordering;
use std::fmt;

/// A rational number in lowest terms.
///
/// Both parts fit an `i64`, so every operation is exact in `i128` and fails only where its result doesn't fit again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ratio {
    numerator: i64,
    /// Positive.
    denominator: i64,
}

impl Ratio {
    /// A whole number.
    #[must_use]
    pub const fn whole(value: i64) -> Self {
        Self { numerator: value, denominator: 1 }
    }

    /// `numerator / denominator`; `None` if the denominator is 0 or the lowest terms don't fit.
    #[must_use]
    pub fn new(numerator: i128, denominator: i128) -> Option<Self> {
        let common = i128::try_from(gcd(numerator.unsigned_abs(), denominator.unsigned_abs())).ok()?;
        if denominator == 0 || common == 0 {
            return None;
        }
        let sign = denominator.signum();
        let part = |value: i128| i64::try_from((value / common).checked_mul(sign)?).ok();
        Some(Self { numerator: part(numerator)?, denominator: part(denominator)? })
    }

    /// Reads a decimal number such as `64`, `0.025`, `-3` or `1e-5`, exactly. `None` if it isn't one, or doesn't fit.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (digits, 0),
        };
        let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        if before.is_empty() && after.is_empty() {
            return None;
        }
        let mut value: i128 = 0;
        for c in before.chars().chain(after.chars()) {
            let digit = i128::from(c.to_digit(10)?);
            value = value.checked_mul(10)?.checked_add(digit)?;
        }
        if negative {
            value = -value;
        }
        let exponent = i64::from(exponent) - i64::try_from(after.len()).ok()?;
        if value == 0 {
            return Some(Self::whole(0));
        }
        let power = 10i128.checked_pow(u32::try_from(exponent.unsigned_abs()).ok()?)?;
        if exponent >= 0 { Self::new(value.checked_mul(power)?, 1) } else { Self::new(value, power) }
    }

    /// The number, if it is whole.
    #[must_use]
    pub const fn as_whole(self) -> Option<i64> {
        if self.denominator == 1 { Some(self.numerator) } else { None }
    }

    /// The nearest `f64`.
    ///
    /// This is the correctly rounded quotient, so a decimal number gives the `f64` that parsing it would give.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        let (numerator, denominator) = (u128::from(self.numerator.unsigned_abs()), self.denominator.unsigned_abs());
        if numerator == 0 {
            return 0.0;
        }
        // A quotient of at least 63 bits, whose last bit also stands for everything that division cut off: rounding it
        // to 53 bits rounds the exact quotient.
        let shift = numerator.leading_zeros() - 1;
        let shifted = numerator << shift;
        let denominator = u128::from(denominator);
        let quotient = (shifted / denominator) | u128::from(shifted % denominator != 0);
        // `shift` is below 128, so the power of two is exact, and so is the product.
        let magnitude = quotient as f64 / (1u128 << shift) as f64;
        if self.numerator < 0 { -magnitude } else { magnitude }
    }

    /// Whether the number is above 0.
    #[must_use]
    pub const fn is_positive(self) -> bool {
        self.numerator > 0
    }

    /// `self + other`; `None` if it doesn't fit. The same goes for all of these.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        Self::new(self.scaled(other).checked_add(other.scaled(self))?, self.denominator_product(other))
    }

    /// `self - other`
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        Self::new(self.scaled(other).checked_sub(other.scaled(self))?, self.denominator_product(other))
    }

    /// `self * other`
    #[must_use]
    pub fn checked_mul(self, other: Self) -> Option<Self> {
        Self::new(i128::from(self.numerator) * i128::from(other.numerator), self.denominator_product(other))
    }

    /// `self / other`; `None` also if `other` is 0.
    #[must_use]
    pub fn checked_div(self, other: Self) -> Option<Self> {
        Self::new(self.scaled(other), other.scaled(self))
    }

    /// `self / other`, rounded down; `None` also if `other` is 0.
    #[must_use]
    pub fn checked_div_floor(self, other: Self) -> Option<Self> {
        let (dividend, divisor) = (self.scaled(other), other.scaled(self));
        if divisor == 0 {
            return None;
        }
        let quotient = dividend / divisor;
        let inexact = dividend % divisor != 0 && (dividend < 0) != (divisor < 0);
        Self::new(quotient - i128::from(inexact), 1)
    }

    /// What [`Ratio::checked_div_floor`] leaves: `self - other * (self // other)`, with the sign of `other`.
    #[must_use]
    pub fn checked_rem(self, other: Self) -> Option<Self> {
        self.checked_sub(other.checked_mul(self.checked_div_floor(other)?)?)
    }

    /// `-self`
    #[must_use]
    pub fn checked_neg(self) -> Option<Self> {
        Self::new(-i128::from(self.numerator), i128::from(self.denominator))
    }

    /// The numerator over the product of both denominators.
    fn scaled(self, other: Self) -> i128 {
        i128::from(self.numerator) * i128::from(other.denominator)
    }

    fn denominator_product(self, other: Self) -> i128 {
        i128::from(self.denominator) * i128::from(other.denominator)
    }
}

impl PartialOrd for Ratio {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ratio {
    fn cmp(&self, other: &Self) -> Ordering {
        self.scaled(*other).cmp(&other.scaled(*self))
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.denominator == 1 {
            write!(f, "{}", self.numerator)
        } else {
            write!(f, "{}/{}", self.numerator, self.denominator)
        }
    }
}

fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
