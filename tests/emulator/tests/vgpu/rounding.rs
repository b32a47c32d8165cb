//! What a rounded result must be, found by searching the numbers of a format for those next to the exact value. The
//! exact value is known by how it compares with others, which for the operations here `f64` can tell without error.

use std::cmp::Ordering;

/// How results are rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// To the nearest, ties to even.
    Nearest,
    /// To the nearest, ties away from zero.
    Away,
    Zero,
    Down,
    Up,
}

/// PTX's modifiers of results.
pub(crate) const MODES: [(&str, Mode); 4] =
    [("rn", Mode::Nearest), ("rz", Mode::Zero), ("rm", Mode::Down), ("rp", Mode::Up)];

/// A format of at most 24 digits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Format {
    /// Bits of the stored fraction.
    pub(crate) fraction: u32,
    /// Subtracted from the exponent.
    pub(crate) bias: i32,
    /// The largest finite magnitude.
    pub(crate) largest: u64,
    /// The bit of the sign.
    pub(crate) sign: u64,
}

pub(crate) const F32: Format = Format { fraction: 23, bias: 127, largest: 0x7f7f_ffff, sign: 1 << 31 };
pub(crate) const F16: Format = Format { fraction: 10, bias: 15, largest: 0x7bff, sign: 1 << 15 };
pub(crate) const BF16: Format = Format { fraction: 7, bias: 127, largest: 0x7f7f, sign: 1 << 15 };
pub(crate) const TF32: Format = Format { fraction: 10, bias: 127, largest: 0x3_fbff, sign: 1 << 18 };
pub(crate) const E4M3: Format = Format { fraction: 3, bias: 7, largest: 0x7e, sign: 1 << 7 };
pub(crate) const E5M2: Format = Format { fraction: 2, bias: 15, largest: 0x7b, sign: 1 << 7 };

impl Format {
    /// The number with these bits, by definition.
    pub(crate) fn value(self, bits: u64) -> f64 {
        let magnitude = bits & !self.sign;
        let (field, fraction) = ((magnitude >> self.fraction) as i32, magnitude & ((1 << self.fraction) - 1));
        let unit = f64::from(field.max(1) - self.bias - self.fraction as i32).exp2();
        let digits = if field == 0 { fraction } else { fraction | 1 << self.fraction };
        let value = digits as f64 * unit;
        if magnitude > self.largest + 1 || magnitude > self.largest && self.fraction == 3 {
            f64::NAN
        } else if bits & self.sign != 0 {
            -value
        } else {
            value
        }
    }

    /// As [`value`](Self::value), infinite beyond the largest.
    pub(crate) fn number(self, bits: u64) -> f64 {
        let value = self.value(bits);
        if bits & !self.sign == self.largest + 1 && !value.is_nan() { f64::INFINITY.copysign(value) } else { value }
    }

    /// The bits of what a value rounds to that isn't zero: `compare(x)` says how it compares with `x`.
    pub(crate) fn rounded(self, mode: Mode, compare: impl Fn(f64) -> Ordering) -> u64 {
        let negative = match compare(0.0) {
            Ordering::Less => true,
            Ordering::Greater => false,
            Ordering::Equal => panic!("zeros have no one sign"),
        };
        // Of magnitudes.
        let compare = |x: f64| if negative { compare(-x).reverse() } else { compare(x) };
        let (mut below, mut above) = (0, self.largest + 1);
        while above - below > 1 {
            let middle = below + (above - below) / 2;
            if compare(self.value(middle)) == Ordering::Less { above = middle } else { below = middle }
        }
        let sign = if negative { self.sign } else { 0 };
        if compare(self.value(below)) == Ordering::Equal {
            return sign | below;
        }
        let half = f64::midpoint(self.value(below), self.end(above));
        sign | match (mode, compare(half)) {
            (Mode::Zero, _) | (Mode::Nearest | Mode::Away, Ordering::Less) => below,
            (Mode::Nearest, Ordering::Equal) => below + below % 2,
            (Mode::Nearest | Mode::Away, _) => above,
            (Mode::Down, _) => {
                if negative {
                    above
                } else {
                    below
                }
            }
            (Mode::Up, _) => {
                if negative {
                    below
                } else {
                    above
                }
            }
        }
    }

    /// The value that the format would have at `bits` if its exponents went on.
    fn end(self, bits: u64) -> f64 {
        let field = (bits >> self.fraction) as i32;
        let digits = (bits & ((1 << self.fraction) - 1)) | u64::from(field > 0) << self.fraction;
        digits as f64 * f64::from(field.max(1) - self.bias - self.fraction as i32).exp2()
    }
}

/// `a * b + c` of values of at most 24 digits.
pub(crate) fn product_sum(a: f64, b: f64, c: f64) -> impl Fn(f64) -> Ordering {
    let product = a * b;
    let sum = product + c;
    let of_c = sum - product;
    let error = (product - (sum - of_c)) + (c - of_c);
    // Near the sum the difference is exact, and elsewhere larger than the error.
    move |x| sign_of(if sum == x { error } else { sum - x + error })
}

/// `a / b` of values of at most 24 digits, compared with ones of 25.
pub(crate) fn quotient(a: f64, b: f64) -> impl Fn(f64) -> Ordering {
    move |x| sign_of((a - x * b) * b.signum())
}

/// The square root of a positive value, compared with ones of 25 digits.
pub(crate) fn root(a: f64) -> impl Fn(f64) -> Ordering {
    move |x| if x < 0.0 { Ordering::Greater } else { sign_of(a - x * x) }
}

/// A value itself.
pub(crate) fn value(a: f64) -> impl Fn(f64) -> Ordering {
    move |x| a.partial_cmp(&x).unwrap()
}

fn sign_of(difference: f64) -> Ordering {
    difference.partial_cmp(&0.0).unwrap()
}

/// Zero of the same sign, if an f32 is subnormal.
pub(crate) fn flush(bits: u64) -> u64 {
    if bits & 0x7f80_0000 == 0 { bits & 0x8000_0000 } else { bits }
}
