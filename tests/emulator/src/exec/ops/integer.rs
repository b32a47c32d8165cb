//! Integer arithmetic: add, sub, mul, mad, div, rem, abs, neg, min, max, sad, 24-bit products, carry chains.

use std::marker::PhantomData;

use super::Answer;
use super::operations::operations;
use crate::counters::Class;
use crate::exec::context::Context;
use crate::exec::decode::Decoder;
use crate::exec::instruction::{Decoded, Inst, Op, Step};
use crate::exec::lanes::{Element, LANES, map1, map2, map3, row, write};
use crate::gpu::LoadError;
use crate::ptx::syntax::Type;

/// An integer type.
pub trait Integer: Element {
    /// The type of a full product.
    type Wide: Element;
    /// Addition modulo 2^n.
    fn add(self, other: Self) -> Self;
    /// Subtraction modulo 2^n.
    fn sub(self, other: Self) -> Self;
    /// The low half of the product.
    fn mul_lo(self, other: Self) -> Self;
    /// The high half of the product.
    fn mul_hi(self, other: Self) -> Self;
    /// The product. (Of 64-bit operands there is none; its low half.)
    fn mul_wide(self, other: Self) -> Self::Wide;
    /// Addition of full products.
    fn add_wide(one: Self::Wide, other: Self::Wide) -> Self::Wide;
    /// The quotient towards zero; by zero, all ones, as hardware gives it.
    fn div(self, other: Self) -> Self;
    /// The remainder of `div`; by zero, the dividend.
    fn rem(self, other: Self) -> Self;
    /// The lesser.
    fn min(self, other: Self) -> Self;
    /// The greater.
    fn max(self, other: Self) -> Self;
    /// The absolute value, of the least value itself.
    fn abs(self) -> Self;
    /// Zero minus it.
    fn neg(self) -> Self;
    /// The absolute difference, modulo 2^n.
    fn difference(self, other: Self) -> Self;
}

macro_rules! integers {
    ($($ty:ty, $wide:ty, $full:ty, $all_ones:expr, $abs:expr;)*) => {$(
        impl Integer for $ty {
            type Wide = $wide;
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }
            #[inline(always)]
            fn mul_lo(self, other: Self) -> Self {
                self.wrapping_mul(other)
            }
            #[inline(always)]
            fn mul_hi(self, other: Self) -> Self {
                ((self as $full * other as $full) >> Self::BITS) as Self
            }
            #[inline(always)]
            fn mul_wide(self, other: Self) -> $wide {
                (self as $wide).wrapping_mul(other as $wide)
            }
            #[inline(always)]
            fn add_wide(one: $wide, other: $wide) -> $wide {
                one.wrapping_add(other)
            }
            #[inline(always)]
            fn div(self, other: Self) -> Self {
                if other == 0 { $all_ones } else { self.wrapping_div(other) }
            }
            #[inline(always)]
            fn rem(self, other: Self) -> Self {
                if other == 0 { self } else { self.wrapping_rem(other) }
            }
            #[inline(always)]
            fn min(self, other: Self) -> Self {
                Ord::min(self, other)
            }
            #[inline(always)]
            fn max(self, other: Self) -> Self {
                Ord::max(self, other)
            }
            #[inline(always)]
            fn abs(self) -> Self {
                $abs(self)
            }
            #[inline(always)]
            fn neg(self) -> Self {
                self.wrapping_neg()
            }
            #[inline(always)]
            fn difference(self, other: Self) -> Self {
                if self < other { other.wrapping_sub(self) } else { self.wrapping_sub(other) }
            }
        }
    )*};
}

integers! {
    u16, u32, u32, Self::MAX, |value| value;
    i16, i32, i32, -1, Self::wrapping_abs;
    u32, u64, u64, Self::MAX, |value| value;
    i32, i64, i64, -1, Self::wrapping_abs;
    u64, u64, u128, Self::MAX, |value| value;
    i64, i64, i128, -1, Self::wrapping_abs;
}

operations! {
    Integer:
    Add, map2, T::add;
    Sub, map2, T::sub;
    MulLo, map2, T::mul_lo;
    MulHi, map2, T::mul_hi;
    MulWide, map2, T::mul_wide;
    MadLo, map3, |a: T, b: T, c: T| a.mul_lo(b).add(c);
    MadHi, map3, |a: T, b: T, c: T| a.mul_hi(b).add(c);
    MadWide, map3, |a: T, b: T, c: T::Wide| T::add_wide(a.mul_wide(b), c);
    Div, map2, T::div;
    Rem, map2, T::rem;
    Min, map2, T::min;
    Max, map2, T::max;
    Abs, map1, T::abs;
    Neg, map1, T::neg;
    Sad, map3, |a: T, b: T, c: T| a.difference(b).add(c);
}

macro_rules! thirty_two {
    ($($(#[$doc:meta])* $name:ident, $map:ident, $f:expr;)*) => {$(
        $(#[$doc])*
        struct $name;
        impl Op for $name {
            #[inline(always)]
            fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
                $map(cx, inst, $f)
            }
        }
    )*};
}

thirty_two! {
    AddSaturated, map2, i32::saturating_add;
    SubSaturated, map2, i32::saturating_sub;
    MadHiSaturated, map3, |a: i32, b: i32, c: i32| a.mul_hi(b).saturating_add(c);
    MinRelu, map2, |a: i32, b: i32| Ord::max(Ord::min(a, b), 0);
    MaxRelu, map2, |a: i32, b: i32| Ord::max(Ord::max(a, b), 0);
    Mul24LoU, map2, |a: u32, b: u32| product24u(a, b) as u32;
    Mul24HiU, map2, |a: u32, b: u32| (product24u(a, b) >> 16) as u32;
    Mul24LoS, map2, |a: i32, b: i32| product24s(a, b) as i32;
    Mul24HiS, map2, |a: i32, b: i32| (product24s(a, b) >> 16) as i32;
    Mad24LoU, map3, |a: u32, b: u32, c: u32| (product24u(a, b) as u32).wrapping_add(c);
    Mad24HiU, map3, |a: u32, b: u32, c: u32| ((product24u(a, b) >> 16) as u32).wrapping_add(c);
    Mad24LoS, map3, |a: i32, b: i32, c: i32| (product24s(a, b) as i32).wrapping_add(c);
    Mad24HiS, map3, |a: i32, b: i32, c: i32| ((product24s(a, b) >> 16) as i32).wrapping_add(c);
    Mad24HiSaturated, map3, |a: i32, b: i32, c: i32| ((product24s(a, b) >> 16) as i32).saturating_add(c);
}

/// The 48-bit product of the low 24 bits.
#[inline(always)]
fn product24u(a: u32, b: u32) -> u64 {
    u64::from(a & 0xff_ffff) * u64::from(b & 0xff_ffff)
}

/// The 48-bit product of the low 24 bits, as signed numbers.
#[inline(always)]
fn product24s(a: i32, b: i32) -> i64 {
    i64::from(a << 8 >> 8) * i64::from(b << 8 >> 8)
}

/// Calls an operation's constructor with the integer type that a [`Type`] means.
macro_rules! typed {
    ($decoder:expr, $ty:expr, $operation:ident, $make:ident($($argument:expr),*)) => {
        match $ty {
            Type::U16 => $decoder.$make::<$operation<u16>>($($argument),*),
            Type::S16 => $decoder.$make::<$operation<i16>>($($argument),*),
            Type::U32 => $decoder.$make::<$operation<u32>>($($argument),*),
            Type::S32 => $decoder.$make::<$operation<i32>>($($argument),*),
            Type::U64 => $decoder.$make::<$operation<u64>>($($argument),*),
            Type::S64 => $decoder.$make::<$operation<i64>>($($argument),*),
            _ => Err($decoder.unknown()),
        }
    };
}

/// Decodes integer arithmetic.
///
/// # Errors
///
/// Forms that aren't known.
pub fn decode(decoder: &mut Decoder<'_>) -> Answer {
    const CLASS: Class = Class::Integer;
    let opcode = decoder.opcode();
    let Some(ty) = opcode.last().and_then(|suffix| Type::from_suffix(suffix)).filter(|ty| is_integer(*ty)) else {
        return Ok(None);
    };
    let one = [ty; 2];
    let same = [ty; 3];
    Ok(Some(match &opcode[..opcode.len() - 1] {
        ["add"] => typed!(decoder, ty, Add, binary(CLASS, ty, one))?,
        ["sub"] => typed!(decoder, ty, Sub, binary(CLASS, ty, one))?,
        ["add", "sat"] if ty == Type::S32 => decoder.binary::<AddSaturated>(CLASS, ty, one)?,
        ["sub", "sat"] if ty == Type::S32 => decoder.binary::<SubSaturated>(CLASS, ty, one)?,
        ["mul", "lo"] => typed!(decoder, ty, MulLo, binary(CLASS, ty, one))?,
        ["mul", "hi"] => typed!(decoder, ty, MulHi, binary(CLASS, ty, one))?,
        ["mul", "wide"] if ty.size() < 8 => typed!(decoder, ty, MulWide, binary(CLASS, wide(ty), one))?,
        ["mad", "lo"] => typed!(decoder, ty, MadLo, ternary(CLASS, ty, same))?,
        ["mad", "hi"] => typed!(decoder, ty, MadHi, ternary(CLASS, ty, same))?,
        ["mad", "hi", "sat"] if ty == Type::S32 => decoder.ternary::<MadHiSaturated>(CLASS, ty, same)?,
        ["mad", "wide"] if ty.size() < 8 => typed!(decoder, ty, MadWide, ternary(CLASS, wide(ty), [ty, ty, wide(ty)]))?,
        ["div"] => typed!(decoder, ty, Div, binary(CLASS, ty, one))?,
        ["rem"] => typed!(decoder, ty, Rem, binary(CLASS, ty, one))?,
        ["min"] => typed!(decoder, ty, Min, binary(CLASS, ty, one))?,
        ["max"] => typed!(decoder, ty, Max, binary(CLASS, ty, one))?,
        ["min", "relu"] if ty == Type::S32 => decoder.binary::<MinRelu>(CLASS, ty, one)?,
        ["max", "relu"] if ty == Type::S32 => decoder.binary::<MaxRelu>(CLASS, ty, one)?,
        ["abs"] if ty.is_signed() => typed!(decoder, ty, Abs, unary(CLASS, ty, ty))?,
        ["neg"] if ty.is_signed() => typed!(decoder, ty, Neg, unary(CLASS, ty, ty))?,
        ["sad"] => typed!(decoder, ty, Sad, ternary(CLASS, ty, same))?,
        ["mul24", "lo"] if ty == Type::U32 => decoder.binary::<Mul24LoU>(CLASS, ty, one)?,
        ["mul24", "hi"] if ty == Type::U32 => decoder.binary::<Mul24HiU>(CLASS, ty, one)?,
        ["mul24", "lo"] if ty == Type::S32 => decoder.binary::<Mul24LoS>(CLASS, ty, one)?,
        ["mul24", "hi"] if ty == Type::S32 => decoder.binary::<Mul24HiS>(CLASS, ty, one)?,
        ["mad24", "lo"] if ty == Type::U32 => decoder.ternary::<Mad24LoU>(CLASS, ty, same)?,
        ["mad24", "hi"] if ty == Type::U32 => decoder.ternary::<Mad24HiU>(CLASS, ty, same)?,
        ["mad24", "lo"] if ty == Type::S32 => decoder.ternary::<Mad24LoS>(CLASS, ty, same)?,
        ["mad24", "hi"] if ty == Type::S32 => decoder.ternary::<Mad24HiS>(CLASS, ty, same)?,
        ["mad24", "hi", "sat"] if ty == Type::S32 => decoder.ternary::<Mad24HiSaturated>(CLASS, ty, same)?,
        ["add", "cc"] => carry(decoder, ty, ADD, 0)?,
        ["addc"] => carry(decoder, ty, ADD, CARRY_IN | NO_CARRY_OUT)?,
        ["addc", "cc"] => carry(decoder, ty, ADD, CARRY_IN)?,
        ["sub", "cc"] => carry(decoder, ty, SUB, 0)?,
        ["subc"] => carry(decoder, ty, SUB, CARRY_IN | NO_CARRY_OUT)?,
        ["subc", "cc"] => carry(decoder, ty, SUB, CARRY_IN)?,
        ["mad", "lo", "cc"] => carry(decoder, ty, MAD_LO, 0)?,
        ["mad", "hi", "cc"] => carry(decoder, ty, MAD_HI, 0)?,
        ["madc", "lo"] => carry(decoder, ty, MAD_LO, CARRY_IN | NO_CARRY_OUT)?,
        ["madc", "hi"] => carry(decoder, ty, MAD_HI, CARRY_IN | NO_CARRY_OUT)?,
        ["madc", "lo", "cc"] => carry(decoder, ty, MAD_LO, CARRY_IN)?,
        ["madc", "hi", "cc"] => carry(decoder, ty, MAD_HI, CARRY_IN)?,
        _ => return Ok(None),
    }))
}

fn is_integer(ty: Type) -> bool {
    matches!(ty, Type::U16 | Type::S16 | Type::U32 | Type::S32 | Type::U64 | Type::S64)
}

/// The type of twice the width.
fn wide(ty: Type) -> Type {
    match (ty.size(), ty.is_signed()) {
        (2, true) => Type::S32,
        (2, false) => Type::U32,
        (_, true) => Type::S64,
        (_, false) => Type::U64,
    }
}

// What a carry chain computes, in `Inst::imm`.
const ADD: i64 = 0;
const SUB: i64 = 1;
const MAD_LO: i64 = 2;
const MAD_HI: i64 = 3;
const CARRY_IN: i64 = 4;
const NO_CARRY_OUT: i64 = 8;

fn carry(decoder: &mut Decoder<'_>, ty: Type, operation: i64, flags: i64) -> Result<Decoded, LoadError> {
    let product = operation >= MAD_LO;
    decoder.expect_operands(if product { 4 } else { 3 })?;
    let (d, a, b) = (decoder.destination(0, ty)?, decoder.source(1, ty)?, decoder.source(2, ty)?);
    let c = if product { decoder.source(3, ty)? } else { 0 };
    let fill = |inst: &mut Inst| (inst.d, inst.a, inst.b, inst.c, inst.imm) = (d, a, b, c, operation | flags);
    Ok(match ty {
        Type::U32 => decoder.make::<Carry<u32>>(Class::Integer, fill),
        Type::S32 => decoder.make::<Carry<i32>>(Class::Integer, fill),
        Type::U64 => decoder.make::<Carry<u64>>(Class::Integer, fill),
        Type::S64 => decoder.make::<Carry<i64>>(Class::Integer, fill),
        Type::Pred
        | Type::B8
        | Type::B16
        | Type::B32
        | Type::B64
        | Type::B128
        | Type::U8
        | Type::U16
        | Type::S8
        | Type::S16
        | Type::F16
        | Type::F16x2
        | Type::Bf16
        | Type::Bf16x2
        | Type::F32
        | Type::F64 => return Err(decoder.unknown()),
    })
}

/// An integer with a carry out of sums.
trait Carries: Integer {
    /// The sum with a carry in, and whether it carries out.
    fn sum(self, other: Self, carry: bool) -> (Self, bool);
    /// All bits inverted.
    fn not(self) -> Self;
}

macro_rules! carries {
    ($($ty:ty: $unsigned:ty;)*) => {$(
        impl Carries for $ty {
            #[inline(always)]
            fn sum(self, other: Self, carry: bool) -> (Self, bool) {
                let (sum, first) = (self as $unsigned).overflowing_add(other as $unsigned);
                let (sum, second) = sum.overflowing_add(carry as $unsigned);
                (sum as Self, first | second)
            }
            #[inline(always)]
            fn not(self) -> Self {
                !self
            }
        }
    )*};
}

carries! {
    u32: u32;
    i32: u32;
    u64: u64;
    i64: u64;
}

/// Sums that read or write the carry. A difference is the sum with the inverse, and carries where it doesn't borrow;
/// the flag that it leaves is the borrow.
struct Carry<T>(PhantomData<T>);

impl<T: Carries> Op for Carry<T> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let registers = &cx.warp.registers;
        let flags = cx.warp.carry;
        let (a, b) = (*row::<T::Bits>(registers, inst.a), *row::<T::Bits>(registers, inst.b));
        let c = if inst.imm & 3 >= MAD_LO { *row::<T::Bits>(registers, inst.c) } else { b };
        let mut values = [<T::Bits>::default(); LANES];
        let mut out = 0;
        for lane in 0..LANES {
            let (a, b, c) = (T::from_bits(a[lane]), T::from_bits(b[lane]), T::from_bits(c[lane]));
            let flag = inst.imm & CARRY_IN != 0 && flags >> lane & 1 != 0;
            let (value, carries) = match inst.imm & 3 {
                ADD => a.sum(b, flag),
                SUB => {
                    let (value, carries) = a.sum(b.not(), !flag);
                    (value, !carries)
                }
                MAD_LO => a.mul_lo(b).sum(c, flag),
                _ => a.mul_hi(b).sum(c, flag),
            };
            values[lane] = value.into_bits();
            out |= u32::from(carries) << lane;
        }
        let exec = cx.exec;
        write::<T::Bits>(&mut cx.warp.registers, inst.d, exec, &values);
        if inst.imm & NO_CARRY_OUT == 0 {
            cx.warp.carry = cx.warp.carry & !exec | out & exec;
        }
        Step::Next
    }
}
