//! A conversion between any two scalar types, one value at a time: for all that has no faster way.

use crate::exec::ops::exact::{Exact, Format, Real, Rounding};
use crate::exec::ops::formats::{from_bf16, from_f16};
use crate::exec::ops::modifiers::Flags;
use crate::ptx::syntax::Type;

/// A scalar type as conversions see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An integer: bits, and whether it is signed.
    Integer(u32, bool),
    /// A floating-point number.
    Float(Float),
}

/// A floating-point type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Float {
    F16,
    Bf16,
    F32,
    F64,
}

impl Float {
    pub(super) fn format(self) -> Format {
        match self {
            Self::F16 => Format::F16,
            Self::Bf16 => Format::BF16,
            Self::F32 => Format::F32,
            Self::F64 => Format::F64,
        }
    }

    /// The NaN of results: all bits but the sign.
    pub(super) fn nan(self) -> u64 {
        self.format().sign - 1
    }

    pub(super) fn value(self, bits: u64) -> f64 {
        match self {
            Self::F16 => from_f16(bits as u32 & 0xffff).into(),
            Self::Bf16 => from_bf16(bits as u32 & 0xffff).into(),
            Self::F32 => f32::from_bits(bits as u32).into(),
            Self::F64 => f64::from_bits(bits),
        }
    }
}

/// The types that a `cvt` of scalars is between.
const KINDS: [(Type, Kind); 12] = [
    (Type::U8, Kind::Integer(8, false)),
    (Type::U16, Kind::Integer(16, false)),
    (Type::U32, Kind::Integer(32, false)),
    (Type::U64, Kind::Integer(64, false)),
    (Type::S8, Kind::Integer(8, true)),
    (Type::S16, Kind::Integer(16, true)),
    (Type::S32, Kind::Integer(32, true)),
    (Type::S64, Kind::Integer(64, true)),
    (Type::F16, Kind::Float(Float::F16)),
    (Type::Bf16, Kind::Float(Float::Bf16)),
    (Type::F32, Kind::Float(Float::F32)),
    (Type::F64, Kind::Float(Float::F64)),
];

/// The place of a type among those that scalars are converted between.
pub(super) fn place(ty: Type) -> Option<usize> {
    KINDS.iter().position(|(known, _)| *known == ty)
}

/// A conversion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    /// The places of the types.
    pub(super) from: usize,
    pub(super) to: usize,
    /// How results are rounded, to an integer where `integral`, else to the format.
    pub(super) rounding: Rounding,
    pub(super) integral: bool,
    pub(super) flags: Flags,
}

impl Plan {
    /// To be kept in an instruction.
    pub(super) fn pack(self) -> i64 {
        self.from as i64
            | (self.to as i64) << 8
            | self.rounding.number() << 16
            | i64::from(self.integral) << 24
            | i64::from(self.flags.bits()) << 32
    }

    /// What [`pack`](Self::pack) packed.
    pub(super) fn unpack(bits: i64) -> Self {
        Self {
            from: (bits & 0xff) as usize,
            to: (bits >> 8 & 0xff) as usize,
            rounding: Rounding::from_number(bits >> 16 & 0xff),
            integral: bits >> 24 & 1 != 0,
            flags: Flags::from_bits((bits >> 32) as u16),
        }
    }

    pub(super) fn from(self) -> Kind {
        KINDS[self.from].1
    }

    pub(super) fn to(self) -> Kind {
        KINDS[self.to].1
    }

    /// Converts the value in the low bits of a register; the result is extended to 64 bits as its type says.
    #[inline(never)]
    pub(super) fn convert(self, bits: u64) -> u64 {
        match (self.from(), self.to()) {
            (Kind::Integer(width, signed), to) => self.of_integer(extended(bits, width, signed), to),
            (Kind::Float(from), Kind::Integer(width, signed)) => {
                let from_double = from == Float::F64;
                extended(self.integer(self.flushed(from, bits), width, signed, from_double), width, signed) as u64
            }
            (Kind::Float(from), Kind::Float(to)) => {
                let value = self.flushed(from, bits);
                let value = if self.integral { integral(value, self.rounding) } else { value };
                let result = narrow(value, to.format(), to.nan(), self.rounding, self.flags);
                let subnormal = result & !to.format().sign < 1 << (to.format().digits - 1);
                if to == Float::F32 && self.flags.has(Flags::FTZ) && subnormal {
                    result & to.format().sign
                } else {
                    result
                }
            }
        }
    }

    fn flushed(self, from: Float, bits: u64) -> f64 {
        let value = from.value(bits);
        let subnormal = value.abs() < f64::from(f32::MIN_POSITIVE);
        if from == Float::F32 && self.flags.has(Flags::FTZ) && subnormal { 0f64.copysign(value) } else { value }
    }

    fn of_integer(self, value: i128, to: Kind) -> u64 {
        let saturate = self.flags.has(Flags::SAT);
        match to {
            Kind::Integer(width, signed) => {
                let (least, most) = limits(width, signed);
                let value = if saturate { value.clamp(least, most) } else { value };
                extended(value as u64, width, signed) as u64
            }
            Kind::Float(to) => {
                let value = if saturate { value.clamp(0, 1) } else { value };
                let exact = Exact::integer(value < 0, value.unsigned_abs() as u64);
                Real::Finite(exact).round(to.format(), self.rounding, false, to.nan())
            }
        }
    }

    /// The nearest integer in the range of a type. NaN is 0 between types of 32 bits and less, else the highest bit
    /// (PTX ISA, `cvt`).
    fn integer(self, value: f64, width: u32, signed: bool, from_double: bool) -> u64 {
        if value.is_nan() {
            return if from_double || width == 64 { 1 << (width - 1) } else { 0 };
        }
        let (least, most) = limits(width, signed);
        (integral(value, self.rounding) as i128).clamp(least, most) as u64
    }
}

/// The least and the greatest integer.
fn limits(width: u32, signed: bool) -> (i128, i128) {
    if signed { (-(1 << (width - 1)), (1 << (width - 1)) - 1) } else { (0, (1 << width) - 1) }
}

/// An integer of so many bits.
fn extended(bits: u64, width: u32, signed: bool) -> i128 {
    let unused = 64 - width;
    if signed { i128::from((bits << unused).cast_signed() >> unused) } else { i128::from(bits << unused >> unused) }
}

/// A value as an integer.
fn integral(value: f64, rounding: Rounding) -> f64 {
    match rounding {
        Rounding::Nearest => value.round_ties_even(),
        Rounding::Away => value.round(),
        Rounding::Zero => value.trunc(),
        Rounding::Down => value.floor(),
        Rounding::Up => value.ceil(),
    }
}

/// A value rounded to a format, with `.sat`, `.relu` and `.satfinite`.
pub(super) fn narrow(value: f64, format: Format, nan: u64, rounding: Rounding, flags: Flags) -> u64 {
    let value = if flags.has(Flags::SAT) {
        if value > 0.0 { value.min(1.0) } else { 0.0 }
    } else if flags.has(Flags::RELU) && value.is_sign_negative() && !value.is_nan() {
        0.0
    } else {
        value
    };
    Real::of(value).round(format, rounding, flags.has(Flags::SATFINITE), nan)
}
