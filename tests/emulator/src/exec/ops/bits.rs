//! Bits: shifts, fields, permutations, counts.

use std::marker::PhantomData;

use super::Answer;
use super::operations::operations;
use crate::counters::Class;
use crate::exec::context::Context;
use crate::exec::decode::Decoder;
use crate::exec::instruction::{Decoded, Inst, Op, Step};
use crate::exec::lanes::{Element, each, map1, map2, map3, row, write};
use crate::gpu::LoadError;
use crate::ptx::syntax::Type;

/// A word of bits.
trait Bits: Element {
    /// How many there are.
    const COUNT: u32;
    /// To the left; 0 from `COUNT` bits on.
    fn shl(self, count: u32) -> Self;
    /// To the right, with the sign coming in for signed words; by at least `COUNT` bits, all of it sign or 0.
    fn shr(self, count: u32) -> Self;
    fn low(self) -> u64;
    fn from_low(bits: u64) -> Self;
}

macro_rules! words {
    ($($ty:ty;)*) => {$(
        impl Bits for $ty {
            const COUNT: u32 = <$ty>::BITS;
            #[inline(always)]
            fn shl(self, count: u32) -> Self {
                let shifted = self << (count % Self::BITS);
                if count < Self::BITS { shifted } else { 0 }
            }
            #[inline(always)]
            fn shr(self, count: u32) -> Self {
                let all = self >> (Self::BITS - 1) >> (Self::MIN == 0) as u32;
                if count < Self::BITS { self >> (count % Self::BITS) } else { all }
            }
            #[inline(always)]
            fn low(self) -> u64 {
                self as u64
            }
            #[inline(always)]
            fn from_low(bits: u64) -> Self {
                bits as Self
            }
        }
    )*};
}

words! {
    u16;
    i16;
    u32;
    i32;
    u64;
    i64;
}

operations! {
    Bits:
    Shl, map2, T::shl;
    Shr, map2, T::shr;
    Popc, map1, |a: T| count_mask(a).count_ones();
    Clz, map1, |a: T| count_mask(a).leading_zeros() - (64 - T::COUNT);
    Brev, map1, |a: T| T::from_low(count_mask(a).reverse_bits() >> (64 - T::COUNT));
    Bfind, map1, |a: T| highest(a, false);
    BfindShift, map1, |a: T| highest(a, true);
    Bfe, map3, extract::<T>;
}

/// The bits of an unsigned or signed word, without its sign beyond them.
#[inline(always)]
fn count_mask<T: Bits>(a: T) -> u64 {
    a.low() & (u64::MAX >> (64 - T::COUNT))
}

/// Whether words of this type carry a sign.
#[inline(always)]
fn is_signed<T: Bits>() -> bool {
    T::from_low(u64::MAX).shr(T::COUNT).low() != 0
}

/// The place of the highest bit that is set, for negative numbers that isn't; all ones where there is none. `shift`
/// asks how far to the left it would have to be shifted to be the highest.
#[inline(always)]
fn highest<T: Bits>(a: T, shift: bool) -> u32 {
    let bits = count_mask(a);
    let negative = is_signed::<T>() && bits >> (T::COUNT - 1) != 0;
    let bits = if negative { !bits & (u64::MAX >> (64 - T::COUNT)) } else { bits };
    let place = 63 - (bits | 1).leading_zeros();
    if bits == 0 {
        u32::MAX
    } else if shift {
        T::COUNT - 1 - place
    } else {
        place
    }
}

/// `bfe`: the field of `a` at bit `start` of `length` bits, both from the low 8 bits of their operands. A signed one is
/// extended by its highest bit, or by that of `a` where the field reaches beyond it.
#[inline(always)]
fn extract<T: Bits>(a: T, start: u32, length: u32) -> T {
    let (start, length) = (start & 0xff, length & 0xff);
    let last = (start + length).saturating_sub(1).min(T::COUNT - 1);
    let sign = is_signed::<T>() && length > 0 && count_mask(a) >> last & 1 != 0;
    let bits = shift_right(count_mask(a), start);
    let kept = length.min(T::COUNT.saturating_sub(start));
    let mask = mask64(kept);
    T::from_low(if sign { bits & mask | !mask } else { bits & mask })
}

#[inline(always)]
fn shift_right(bits: u64, count: u32) -> u64 {
    if count < 64 { bits >> (count % 64) } else { 0 }
}

/// The lowest `count` bits.
#[inline(always)]
fn mask64(count: u32) -> u64 {
    if count >= 64 { u64::MAX } else { (1 << (count % 64)) - 1 }
}

/// `bfi d, a, b, start, length`: `b` with the low bits of `a` in the field. The fourth operand is in `imm`.
struct Bfi<T>(PhantomData<T>);

impl<T: Bits> Op for Bfi<T> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let registers = &cx.warp.registers;
        let (a, b) = (row::<T::Bits>(registers, inst.a), row::<T::Bits>(registers, inst.b));
        let (starts, lengths) = (registers.b32.row(inst.c), registers.b32.row(inst.imm as u32));
        let values = each(|lane| {
            let (start, length) = (starts[lane] & 0xff, lengths[lane] & 0xff);
            let field = mask64(length.min(T::COUNT.saturating_sub(start)));
            let field = if start < T::COUNT { field << (start % 64) } else { 0 };
            let shifted = if start < T::COUNT { T::from_bits(a[lane]).low() << (start % 64) } else { 0 };
            T::from_low(T::from_bits(b[lane]).low() & !field | shifted & field).into_bits()
        });
        write::<T::Bits>(&mut cx.warp.registers, inst.d, cx.exec, &values);
        Step::Next
    }
}

/// `shf`: the 64 bits of `b` and `a` (low) shifted; `imm` says which way, and whether the count wraps.
struct Shf<const LEFT: bool, const WRAP: bool>;

impl<const LEFT: bool, const WRAP: bool> Op for Shf<LEFT, WRAP> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        map3(cx, inst, |a: u32, b: u32, c: u32| {
            let count = if WRAP { c & 31 } else { c.min(32) };
            let both = u64::from(b) << 32 | u64::from(a);
            if LEFT { (both << count >> 32) as u32 } else { (both >> count) as u32 }
        })
    }
}

/// `prmt` without a mode: four bytes of `b` and `a` (low), picked by the nibbles of `c`; their highest bit asks for the
/// byte's sign in its place.
struct Prmt;

impl Op for Prmt {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        map3(cx, inst, |a: u32, b: u32, c: u32| {
            let both = u64::from(b) << 32 | u64::from(a);
            (0..4).fold(0, |value, place| {
                let select = c >> (place * 4);
                let byte = (both >> ((select & 7) * 8)) as u32 & 0xff;
                let sign = if byte & 0x80 != 0 { 0xff } else { 0 };
                value | (if select & 8 != 0 { sign } else { byte }) << (place * 8)
            })
        })
    }
}

/// `prmt` with a mode: the low two bits of `c` pick one of four selections, which are the bytes of `list[0..4]`.
struct PrmtMode;

impl Op for PrmtMode {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let selections: [u32; 4] = each(|mode| inst.list[mode]);
        map3(cx, inst, |a: u32, b: u32, c: u32| {
            let both = u64::from(b) << 32 | u64::from(a);
            let selection = selections[(c & 3) as usize];
            (0..4).fold(0, |value, place| {
                let byte = (both >> ((selection >> (place * 4) & 7) * 8)) as u32 & 0xff;
                value | byte << (place * 8)
            })
        })
    }
}

/// The selections of a mode of `prmt`, one for each value of the low two bits; nibbles, the lowest for the lowest byte.
fn selections(mode: &str) -> Option<[u32; 4]> {
    Some(match mode {
        "f4e" => [0x3210, 0x4321, 0x5432, 0x6543],
        "b4e" => [0x5670, 0x6701, 0x7012, 0x0123],
        "rc8" => [0x0000, 0x1111, 0x2222, 0x3333],
        "ecl" => [0x3210, 0x3211, 0x3222, 0x3333],
        "ecr" => [0x0000, 0x1110, 0x2210, 0x3210],
        "rc16" => [0x1010, 0x3232, 0x1010, 0x3232],
        _ => return None,
    })
}

/// `fns d, mask, base, offset`: the `offset`-th bit of the mask from the base on, up or down; all ones if there is none.
struct Fns;

impl Op for Fns {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        map3(cx, inst, |mask: u32, base: u32, offset: i32| {
            if base > 31 {
                return u32::MAX;
            }
            let found = match offset {
                0 => (mask >> base & 1 != 0).then_some(base),
                1.. => (base..32).filter(|bit| mask >> bit & 1 != 0).nth(offset as usize - 1),
                _ => (0..=base).rev().filter(|bit| mask >> bit & 1 != 0).nth(offset.unsigned_abs() as usize - 1),
            };
            found.unwrap_or(u32::MAX)
        })
    }
}

/// `bmsk`: `length` bits from `start` on; with `CLAMP`, both at most 32, else modulo 32.
struct Bmsk<const CLAMP: bool>;

impl<const CLAMP: bool> Op for Bmsk<CLAMP> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        map2(cx, inst, |start: u32, length: u32| {
            let (start, length) = if CLAMP { (start.min(32), length.min(32)) } else { (start & 31, length & 31) };
            (mask64(length) as u32).shl(start)
        })
    }
}

/// `szext`: the low `b` bits of `a`, extended by their sign (for signed types) or zeros; with `CLAMP`, all of `a` from
/// 32 on, else `b` modulo 32.
struct Szext<const SIGNED: bool, const CLAMP: bool>;

impl<const SIGNED: bool, const CLAMP: bool> Op for Szext<SIGNED, CLAMP> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        map2(cx, inst, |a: u32, count: u32| {
            let count = if CLAMP { count.min(32) } else { count & 31 };
            let mask = mask64(count) as u32;
            let negative = SIGNED && count > 0 && a >> (count.max(1) - 1) & 1 != 0;
            if negative { a | !mask } else { a & mask }
        })
    }
}

/// Calls an operation's constructor with the word that a type of bits means.
macro_rules! words_of {
    ($decoder:expr, $ty:expr, $operation:ident, $make:ident($($argument:expr),*)) => {
        match $ty {
            Type::B16 => $decoder.$make::<$operation<u16>>($($argument),*),
            Type::B32 => $decoder.$make::<$operation<u32>>($($argument),*),
            Type::B64 => $decoder.$make::<$operation<u64>>($($argument),*),
            _ => Err($decoder.unknown()),
        }
    };
}

/// As `words_of`, for 32 and 64 bits.
macro_rules! wide_of {
    ($decoder:expr, $ty:expr, $operation:ident, $make:ident($($argument:expr),*)) => {
        match $ty {
            Type::B32 => $decoder.$make::<$operation<u32>>($($argument),*),
            Type::B64 => $decoder.$make::<$operation<u64>>($($argument),*),
            _ => Err($decoder.unknown()),
        }
    };
}

/// As `wide_of`, for integers.
macro_rules! integers_of {
    ($decoder:expr, $ty:expr, $operation:ident, $make:ident($($argument:expr),*)) => {
        match $ty {
            Type::U32 => $decoder.$make::<$operation<u32>>($($argument),*),
            Type::S32 => $decoder.$make::<$operation<i32>>($($argument),*),
            Type::U64 => $decoder.$make::<$operation<u64>>($($argument),*),
            Type::S64 => $decoder.$make::<$operation<i64>>($($argument),*),
            _ => Err($decoder.unknown()),
        }
    };
}

/// Decodes operations on bits.
///
/// # Errors
///
/// Forms that aren't known.
#[expect(clippy::wildcard_enum_match_arm, reason = "of all types, those of bits and integers")]
pub fn decode(decoder: &mut Decoder<'_>) -> Answer {
    const CLASS: Class = Class::Integer;
    let opcode = decoder.opcode();
    if opcode.first() == Some(&"prmt") {
        return permute(decoder).map(Some);
    }
    let Some(ty) = opcode.last().and_then(|suffix| Type::from_suffix(suffix)) else { return Ok(None) };
    let (one, u32s) = ([ty; 2], Type::U32);
    Ok(Some(match &opcode[..opcode.len() - 1] {
        ["shl"] => words_of!(decoder, ty, Shl, binary(CLASS, ty, [ty, u32s]))?,
        ["shr"] => match ty {
            Type::U16 => decoder.binary::<Shr<u16>>(CLASS, ty, [ty, u32s])?,
            Type::S16 => decoder.binary::<Shr<i16>>(CLASS, ty, [ty, u32s])?,
            Type::U32 | Type::S32 | Type::U64 | Type::S64 => {
                integers_of!(decoder, ty, Shr, binary(CLASS, ty, [ty, u32s]))?
            }
            _ => words_of!(decoder, ty, Shr, binary(CLASS, ty, [ty, u32s]))?,
        },
        ["popc"] => wide_of!(decoder, ty, Popc, unary(CLASS, u32s, ty))?,
        ["clz"] => wide_of!(decoder, ty, Clz, unary(CLASS, u32s, ty))?,
        ["brev"] => wide_of!(decoder, ty, Brev, unary(CLASS, ty, ty))?,
        ["bfind"] => integers_of!(decoder, ty, Bfind, unary(CLASS, u32s, ty))?,
        ["bfind", "shiftamt"] => integers_of!(decoder, ty, BfindShift, unary(CLASS, u32s, ty))?,
        ["bfe"] => integers_of!(decoder, ty, Bfe, ternary(CLASS, ty, [ty, u32s, u32s]))?,
        ["bfi"] if ty == Type::B32 => insert::<u32>(decoder, ty)?,
        ["bfi"] if ty == Type::B64 => insert::<u64>(decoder, ty)?,
        ["shf", "l", "wrap"] if ty == Type::B32 => decoder.ternary::<Shf<true, true>>(CLASS, ty, [ty, ty, u32s])?,
        ["shf", "l", "clamp"] if ty == Type::B32 => decoder.ternary::<Shf<true, false>>(CLASS, ty, [ty, ty, u32s])?,
        ["shf", "r", "wrap"] if ty == Type::B32 => decoder.ternary::<Shf<false, true>>(CLASS, ty, [ty, ty, u32s])?,
        ["shf", "r", "clamp"] if ty == Type::B32 => decoder.ternary::<Shf<false, false>>(CLASS, ty, [ty, ty, u32s])?,
        ["fns"] if ty == Type::B32 => decoder.ternary::<Fns>(CLASS, ty, [ty, ty, Type::S32])?,
        ["bmsk", "clamp"] if ty == Type::B32 => decoder.binary::<Bmsk<true>>(CLASS, ty, one)?,
        ["bmsk", "wrap"] if ty == Type::B32 => decoder.binary::<Bmsk<false>>(CLASS, ty, one)?,
        ["szext", "clamp"] if ty == Type::S32 => decoder.binary::<Szext<true, true>>(CLASS, ty, one)?,
        ["szext", "wrap"] if ty == Type::S32 => decoder.binary::<Szext<true, false>>(CLASS, ty, one)?,
        ["szext", "clamp"] if ty == Type::U32 => decoder.binary::<Szext<false, true>>(CLASS, ty, one)?,
        ["szext", "wrap"] if ty == Type::U32 => decoder.binary::<Szext<false, false>>(CLASS, ty, one)?,
        _ => return Ok(None),
    }))
}

fn insert<T: Bits>(decoder: &mut Decoder<'_>, ty: Type) -> Result<Decoded, LoadError> {
    decoder.expect_operands(5)?;
    let (d, a, b) = (decoder.destination(0, ty)?, decoder.source(1, ty)?, decoder.source(2, ty)?);
    let (start, length) = (decoder.source(3, Type::U32)?, decoder.source(4, Type::U32)?);
    Ok(decoder.make::<Bfi<T>>(Class::Integer, |inst| {
        (inst.d, inst.a, inst.b, inst.c, inst.imm) = (d, a, b, start, length.into());
    }))
}

fn permute(decoder: &mut Decoder<'_>) -> Result<Decoded, LoadError> {
    let ty = Type::B32;
    let opcode = decoder.opcode();
    let mode = match opcode.as_slice() {
        ["prmt", "b32"] => return decoder.ternary::<Prmt>(Class::Move, ty, [ty; 3]),
        ["prmt", "b32", mode] => selections(mode),
        _ => None,
    };
    let Some(mode) = mode else { return Err(decoder.unknown()) };
    let mut decoded = decoder.ternary::<PrmtMode>(Class::Move, ty, [ty; 3])?;
    decoded.inst.list = Box::new(mode);
    Ok(decoded)
}
