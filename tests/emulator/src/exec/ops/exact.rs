//! Floating-point arithmetic without error, and its rounding to a format in any direction: for the roundings that
//! hosts have no instructions for. All inputs are `f64`, which holds the narrower formats exactly.

/// How a value between two numbers of a format is rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rounding {
    /// `.rn`: to the nearest, ties to the even one.
    Nearest,
    /// `.rna`: to the nearest, ties away from zero.
    Away,
    /// `.rz`: towards zero.
    Zero,
    /// `.rm`: towards minus infinity.
    Down,
    /// `.rp`: towards plus infinity.
    Up,
}

impl Rounding {
    /// The rounding that a modifier of floating-point results means.
    #[must_use]
    pub fn from_modifier(modifier: &str) -> Option<Self> {
        Some(match modifier {
            "rn" => Self::Nearest,
            "rna" => Self::Away,
            "rz" => Self::Zero,
            "rm" => Self::Down,
            "rp" => Self::Up,
            _ => return None,
        })
    }

    /// Its number, to be kept in an instruction.
    #[must_use]
    pub fn number(self) -> i64 {
        match self {
            Self::Nearest => 0,
            Self::Away => 1,
            Self::Zero => 2,
            Self::Down => 3,
            Self::Up => 4,
        }
    }

    /// The rounding with a number.
    #[must_use]
    pub fn from_number(number: i64) -> Self {
        match number {
            1 => Self::Away,
            2 => Self::Zero,
            3 => Self::Down,
            4 => Self::Up,
            _ => Self::Nearest,
        }
    }
}

/// A binary floating-point format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// Bits of the significand, with the leading one that isn't stored.
    pub digits: u32,
    /// The exponent of the smallest normal number.
    pub min_exponent: i32,
    /// The bits of the largest finite number.
    pub largest: u64,
    /// The bit of the sign.
    pub sign: u64,
}

impl Format {
    /// IEEE binary64.
    pub const F64: Self = Self { digits: 53, min_exponent: -1022, largest: 0x7fef_ffff_ffff_ffff, sign: 1 << 63 };
    /// IEEE binary32.
    pub const F32: Self = Self { digits: 24, min_exponent: -126, largest: 0x7f7f_ffff, sign: 1 << 31 };
    /// IEEE binary16.
    pub const F16: Self = Self { digits: 11, min_exponent: -14, largest: 0x7bff, sign: 1 << 15 };
    /// The upper half of a binary32.
    pub const BF16: Self = Self { digits: 8, min_exponent: -126, largest: 0x7f7f, sign: 1 << 15 };
    /// 4 bits of exponent, 3 of fraction, no infinity; 0x7f is NaN.
    pub const E4M3: Self = Self { digits: 4, min_exponent: -6, largest: 0x7e, sign: 1 << 7 };
    /// 5 bits of exponent, 2 of fraction.
    pub const E5M2: Self = Self { digits: 3, min_exponent: -14, largest: 0x7b, sign: 1 << 7 };
}

/// A finite value, `mantissa * 2^exponent`. The mantissa is below 2^126; where it has more than 64 bits, its lowest bit
/// may stand for anything that isn't zero and smaller than the next bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exact {
    /// The sign; zeros have one, too.
    pub negative: bool,
    /// The significant bits.
    pub mantissa: u128,
    /// The exponent of the lowest of them.
    pub exponent: i32,
}

/// A result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Real {
    /// Not a number.
    Nan,
    /// An infinity, and whether it is negative.
    Infinite(bool),
    /// A number.
    Finite(Exact),
}

const FRACTION: u32 = 52;

/// Where the leading bit of a mantissa is put that others are added to.
const LEADING: u32 = 124;

impl Real {
    /// The value of an `f64`.
    #[must_use]
    pub fn of(value: f64) -> Self {
        let bits = value.to_bits();
        let (negative, magnitude) = (value.is_sign_negative(), bits & !Format::F64.sign);
        let (field, fraction) = ((magnitude >> FRACTION) as i32, magnitude & ((1 << FRACTION) - 1));
        if value.is_nan() {
            Self::Nan
        } else if value.is_infinite() {
            Self::Infinite(negative)
        } else {
            let mantissa = if field == 0 { fraction } else { fraction | 1 << FRACTION };
            Self::Finite(Exact { negative, mantissa: mantissa.into(), exponent: field.max(1) - 1075 })
        }
    }

    /// The bits of the nearest number of a format in the direction of `rounding`; its largest finite one instead of
    /// infinity where `saturate`. `nan` is the format's NaN.
    #[must_use]
    pub fn round(self, format: Format, rounding: Rounding, saturate: bool, nan: u64) -> u64 {
        let sign = |negative: bool| if negative { format.sign } else { 0 };
        match self {
            Self::Nan => nan,
            Self::Infinite(negative) => sign(negative) | (format.largest + u64::from(!saturate)),
            Self::Finite(exact) => sign(exact.negative) | exact.round(format, rounding, saturate),
        }
    }
}

impl Exact {
    /// A non-negative integer.
    #[must_use]
    pub fn integer(negative: bool, magnitude: u64) -> Self {
        Self { negative, mantissa: magnitude.into(), exponent: 0 }
    }

    fn round(self, format: Format, rounding: Rounding, saturate: bool) -> u64 {
        if self.mantissa == 0 {
            return 0;
        }
        let top = self.mantissa.ilog2() as i32 + self.exponent;
        let exponent = top.max(format.min_exponent);
        let excess = exponent - (format.digits as i32 - 1) - self.exponent;
        let (kept, rest, half) = if excess <= 0 {
            (self.mantissa << excess.unsigned_abs(), 0, 1)
        } else if excess >= 128 {
            (0, 1, 2)
        } else {
            let unit = 1_u128 << excess;
            (self.mantissa >> excess, self.mantissa & (unit - 1), unit >> 1)
        };
        let up = match rounding {
            Rounding::Nearest => rest > half || rest == half && kept & 1 != 0,
            Rounding::Away => rest >= half,
            Rounding::Zero => false,
            Rounding::Down => rest != 0 && self.negative,
            Rounding::Up => rest != 0 && !self.negative,
        };
        // The leading one of a normal number adds one to the exponent, as does a carry.
        let kept = kept as u64 + u64::from(up);
        let bits = (((exponent - format.min_exponent) as u64) << (format.digits - 1)) + kept;
        if bits <= format.largest {
            return bits;
        }
        let to_infinity = match rounding {
            Rounding::Nearest | Rounding::Away => true,
            Rounding::Zero => false,
            Rounding::Down => self.negative,
            Rounding::Up => !self.negative,
        };
        format.largest + u64::from(to_infinity && !saturate)
    }

    /// The same value with the leading bit of the mantissa at a place at or above where it is. Not for zero.
    fn lead(self, place: u32) -> Self {
        let shift = place - self.mantissa.ilog2();
        Self { mantissa: self.mantissa << shift, exponent: self.exponent - shift as i32, ..self }
    }

    /// Shifts the mantissa right; the lowest bit stands for what is lost.
    fn lower(self, shift: u32) -> Self {
        let (kept, lost) = if shift >= 128 {
            (0, self.mantissa)
        } else {
            (self.mantissa >> shift, self.mantissa & ((1 << shift) - 1))
        };
        Self { mantissa: kept | u128::from(lost != 0), exponent: self.exponent + shift as i32, ..self }
    }

    /// The sum. A zero that isn't that of two zeros of one sign is negative if rounded down, else positive.
    fn plus(self, other: Self, rounding: Rounding) -> Self {
        if self.mantissa == 0 && other.mantissa == 0 {
            let negative = if self.negative == other.negative { self.negative } else { rounding == Rounding::Down };
            return Self { negative, ..self };
        }
        if self.mantissa == 0 {
            return other;
        }
        if other.mantissa == 0 {
            return self;
        }
        let (one, two) = (self.lead(LEADING), other.lead(LEADING));
        let (large, small) = if one.exponent >= two.exponent { (one, two) } else { (two, one) };
        let small = small.lower(large.exponent.abs_diff(small.exponent));
        if large.negative == small.negative {
            return Self { mantissa: large.mantissa + small.mantissa, ..large };
        }
        let mantissa = large.mantissa.abs_diff(small.mantissa);
        let negative = if mantissa == 0 {
            rounding == Rounding::Down
        } else {
            large.negative == (large.mantissa > small.mantissa)
        };
        Self { negative, mantissa, exponent: large.exponent }
    }
}

/// `a * b`.
#[must_use]
pub fn product(a: f64, b: f64) -> Real {
    let negative = a.is_sign_negative() != b.is_sign_negative();
    match (Real::of(a), Real::of(b)) {
        (Real::Finite(a), Real::Finite(b)) => {
            Real::Finite(Exact { negative, mantissa: a.mantissa * b.mantissa, exponent: a.exponent + b.exponent })
        }
        (Real::Nan, _) | (_, Real::Nan) => Real::Nan,
        (Real::Infinite(_), _) | (_, Real::Infinite(_)) => {
            if a == 0.0 || b == 0.0 {
                Real::Nan
            } else {
                Real::Infinite(negative)
            }
        }
    }
}

/// `a * b + c`. The rounding is that for which the result is meant: it decides the sign of a zero.
#[must_use]
pub fn product_sum(a: f64, b: f64, c: f64, rounding: Rounding) -> Real {
    match (product(a, b), Real::of(c)) {
        (Real::Finite(product), Real::Finite(c)) => Real::Finite(product.plus(c, rounding)),
        (Real::Nan, _) | (_, Real::Nan) => Real::Nan,
        (Real::Infinite(one), Real::Infinite(other)) if one != other => Real::Nan,
        (Real::Infinite(negative), _) | (_, Real::Infinite(negative)) => Real::Infinite(negative),
    }
}

/// `a + b`.
#[must_use]
pub fn sum(a: f64, b: f64, rounding: Rounding) -> Real {
    product_sum(a, 1.0, b, rounding)
}

/// `a / b`.
#[must_use]
pub fn quotient(a: f64, b: f64) -> Real {
    let negative = a.is_sign_negative() != b.is_sign_negative();
    match (Real::of(a), Real::of(b)) {
        (Real::Nan, _) | (_, Real::Nan) | (Real::Infinite(_), Real::Infinite(_)) => Real::Nan,
        (Real::Infinite(_), Real::Finite(_)) => Real::Infinite(negative),
        (Real::Finite(_), Real::Infinite(_)) => Real::Finite(Exact::integer(negative, 0)),
        (Real::Finite(a), Real::Finite(b)) => match (a.mantissa, b.mantissa) {
            (0, 0) => Real::Nan,
            (_, 0) => Real::Infinite(negative),
            (0, _) => Real::Finite(Exact::integer(negative, 0)),
            _ => {
                // The quotient has 70 bits or more.
                let (a, b) = (a.lead(LEADING), b.lead(FRACTION + 1));
                let (mantissa, rest) = (a.mantissa / b.mantissa, a.mantissa % b.mantissa);
                Real::Finite(Exact {
                    negative,
                    mantissa: mantissa | u128::from(rest != 0),
                    exponent: a.exponent - b.exponent,
                })
            }
        },
    }
}

/// The square root; of -0 it is -0.
#[must_use]
pub fn root(a: f64) -> Real {
    match Real::of(a) {
        Real::Nan => Real::Nan,
        Real::Infinite(negative) => {
            if negative {
                Real::Nan
            } else {
                Real::Infinite(false)
            }
        }
        Real::Finite(a) => {
            if a.mantissa == 0 {
                return Real::Finite(a);
            }
            if a.negative {
                return Real::Nan;
            }
            // An even exponent; the root has 62 bits or more, and two more for what is lost.
            let a = a.lead(LEADING);
            let a = if a.exponent % 2 == 0 { a } else { a.lead(LEADING + 1) };
            let root = a.mantissa.isqrt();
            let inexact = root * root != a.mantissa;
            Real::Finite(Exact {
                negative: false,
                mantissa: root << 3 | u128::from(inexact),
                exponent: a.exponent / 2 - 3,
            })
        }
    }
}
