//! Comparisons and choices: `setp`, `set`, `selp`, `slct`.

use std::cmp::Ordering;
use std::marker::PhantomData;

use half::{bf16, f16};

use super::Answer;
use crate::counters::Class;
use crate::exec::context::Context;
use crate::exec::decode::Decoder;
use crate::exec::instruction::{Decoded, Inst, Op, Step};
use crate::exec::lanes::{Element, LANES, Word, compare, each, is_in, row, write};
use crate::gpu::LoadError;
use crate::ptx::syntax::{Operand, Type};

/// A type whose values can be compared.
pub trait Comparable: Element {
    /// Less, equal, greater, or none of them.
    fn against(self, other: Self) -> Option<Ordering>;
    /// The value with subnormals taken as zeros of their sign.
    fn flushed(self) -> Self;
}

macro_rules! comparable {
    ($($ty:ty: $flush:expr;)*) => {$(
        impl Comparable for $ty {
            #[inline(always)]
            fn against(self, other: Self) -> Option<Ordering> {
                self.partial_cmp(&other)
            }
            #[inline(always)]
            fn flushed(self) -> Self {
                $flush(self)
            }
        }
    )*};
}

comparable! {
    u16: |value| value;
    i16: |value| value;
    u32: |value| value;
    i32: |value| value;
    u64: |value| value;
    i64: |value| value;
    f64: |value| value;
    f32: |value: Self| if value.is_subnormal() { 0f32.copysign(value) } else { value };
    f16: |value: Self| if value.to_bits() & 0x7c00 == 0 { Self::from_bits(value.to_bits() & 0x8000) } else { value };
    bf16: |value: Self| if value.to_bits() & 0x7f80 == 0 { Self::from_bits(value.to_bits() & 0x8000) } else { value };
}

/// What is asked of two values. The codes are also bits of [`holds`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Relation {
    less: bool,
    equal: bool,
    greater: bool,
    /// Whether it holds of values that have no order.
    unordered: bool,
}

impl Relation {
    /// The relation that a suffix names. Types without a sign or order have but two.
    fn from_suffix(suffix: &str, ty: Type) -> Option<Self> {
        let float = is_float(ty);
        let unsigned = matches!(ty, Type::U16 | Type::U32 | Type::U64);
        let ordered = float || unsigned || ty.is_signed();
        let relation = |less, equal, greater, unordered| Some(Self { less, equal, greater, unordered });
        match suffix {
            "eq" => relation(false, true, false, false),
            "ne" => relation(true, false, true, false),
            "lt" if ordered => relation(true, false, false, false),
            "le" if ordered => relation(true, true, false, false),
            "gt" if ordered => relation(false, false, true, false),
            "ge" if ordered => relation(false, true, true, false),
            "lo" if unsigned => relation(true, false, false, false),
            "ls" if unsigned => relation(true, true, false, false),
            "hi" if unsigned => relation(false, false, true, false),
            "hs" if unsigned => relation(false, true, true, false),
            "equ" if float => relation(false, true, false, true),
            "neu" if float => relation(true, false, true, true),
            "ltu" if float => relation(true, false, false, true),
            "leu" if float => relation(true, true, false, true),
            "gtu" if float => relation(false, false, true, true),
            "geu" if float => relation(false, true, true, true),
            "num" if float => relation(true, true, true, false),
            "nan" if float => relation(false, false, false, true),
            _ => None,
        }
    }

    fn code(self) -> i64 {
        i64::from(self.less)
            | i64::from(self.equal) << 1
            | i64::from(self.greater) << 2
            | i64::from(self.unordered) << 3
    }
}

// How a comparison is combined with a predicate, from bit 4 of `Inst::imm` on.
const PLAIN: i64 = 0;
const AND: i64 = 1 << 4;
const OR: i64 = 2 << 4;
const XOR: i64 = 3 << 4;
const COMBINATION: i64 = 3 << 4;
/// Subnormal operands are taken as zeros.
const FLUSH: i64 = 1 << 6;
/// The result of `set` goes to a 16-bit register.
const NARROW: i64 = 1 << 7;

/// Whether the relation that the low four bits of `code` stand for holds, in every lane.
#[inline(always)]
fn holds<T: Comparable>(cx: &Context<'_>, inst: &Inst) -> u32 {
    let flush = inst.imm & FLUSH != 0;
    let seen = |value: T| if flush { value.flushed() } else { value };
    // One loop for each of the common relations; they have no branches in them.
    match inst.imm & 15 {
        1 => compare(cx, inst, |a: T, b: T| seen(a).against(seen(b)) == Some(Ordering::Less)),
        2 => compare(cx, inst, |a: T, b: T| seen(a).against(seen(b)) == Some(Ordering::Equal)),
        3 => compare(cx, inst, |a: T, b: T| seen(a).against(seen(b)).is_some_and(Ordering::is_le)),
        4 => compare(cx, inst, |a: T, b: T| seen(a).against(seen(b)) == Some(Ordering::Greater)),
        5 => compare(cx, inst, |a: T, b: T| seen(a).against(seen(b)).is_some_and(Ordering::is_ne)),
        6 => compare(cx, inst, |a: T, b: T| seen(a).against(seen(b)).is_some_and(Ordering::is_ge)),
        code => compare(cx, inst, |a: T, b: T| {
            let bit = match seen(a).against(seen(b)) {
                Some(Ordering::Less) => 1,
                Some(Ordering::Equal) => 2,
                Some(Ordering::Greater) => 4,
                None => 8,
            };
            code & bit != 0
        }),
    }
}

/// A comparison combined with the predicate `c`.
#[inline(always)]
fn combined(cx: &Context<'_>, inst: &Inst, mask: u32) -> u32 {
    if inst.imm & COMBINATION == PLAIN {
        return mask;
    }
    let other = cx.warp.registers.operand(inst.c);
    match inst.imm & COMBINATION {
        AND => mask & other,
        OR => mask | other,
        _ => mask ^ other,
    }
}

/// `setp`: to the predicate `d`, and the opposite, combined in the same way, to the second one in `list`.
struct Setp<T>(PhantomData<T>);

impl<T: Comparable> Op for Setp<T> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let mask = holds::<T>(cx, inst);
        set_predicates(cx, inst, mask);
        Step::Next
    }
}

#[inline(always)]
fn set_predicates(cx: &mut Context<'_>, inst: &Inst, mask: u32) {
    let (first, second) = (combined(cx, inst, mask), combined(cx, inst, !mask));
    cx.warp.registers.set_predicate(inst.d, cx.exec, first);
    if let [slot] = inst.list[..] {
        cx.warp.registers.set_predicate(slot, cx.exec, second);
    }
}

/// `setp` of packed halves: the low halves to the predicate `d`, the high ones to that in `list`.
struct SetpPacked<T>(PhantomData<T>);

impl<T: Comparable<Bits = u16>> Op for SetpPacked<T> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        // Both before either is written: `c` may be one of them.
        let [low, high] = [0, 1].map(|half| combined(cx, inst, holds_packed::<T>(cx, inst, half)));
        cx.warp.registers.set_predicate(inst.d, cx.exec, low);
        cx.warp.registers.set_predicate(inst.list[0], cx.exec, high);
        Step::Next
    }
}

/// As [`holds`], for the low (0) or high (1) halves.
#[inline(always)]
fn holds_packed<T: Comparable<Bits = u16>>(cx: &Context<'_>, inst: &Inst, half: u32) -> u32 {
    let (flush, code) = (inst.imm & FLUSH != 0, inst.imm & 15);
    compare(cx, inst, |a: u32, b: u32| {
        let (a, b) = (T::from_bits((a >> (16 * half)) as u16), T::from_bits((b >> (16 * half)) as u16));
        let (a, b) = if flush { (a.flushed(), b.flushed()) } else { (a, b) };
        let bit = match a.against(b) {
            Some(Ordering::Less) => 1,
            Some(Ordering::Equal) => 2,
            Some(Ordering::Greater) => 4,
            None => 8,
        };
        code & bit != 0
    })
}

/// `set`: the value in `list` where the comparison holds, else 0.
struct Set<T>(PhantomData<T>);

impl<T: Comparable> Op for Set<T> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let mask = holds::<T>(cx, inst);
        let mask = combined(cx, inst, mask);
        let truth = inst.list[0];
        let values: [u32; LANES] = each(|lane| if is_in(mask, lane) { truth } else { 0 });
        if inst.imm & NARROW != 0 {
            write::<u16>(&mut cx.warp.registers, inst.d, cx.exec, &values.map(|value| value as u16));
        } else {
            write::<u32>(&mut cx.warp.registers, inst.d, cx.exec, &values);
        }
        Step::Next
    }
}

/// `set` of packed halves: the value in `list` in each half whose comparison holds.
struct SetPacked<T>(PhantomData<T>);

impl<T: Comparable<Bits = u16>> Op for SetPacked<T> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let masks = [0, 1].map(|half| holds_packed::<T>(cx, inst, half)).map(|mask| combined(cx, inst, mask));
        let truth = inst.list[0];
        let values = each(|lane| {
            let half = |half: usize| if is_in(masks[half], lane) { truth } else { 0 };
            half(0) | half(1) << 16
        });
        write::<u32>(&mut cx.warp.registers, inst.d, cx.exec, &values);
        Step::Next
    }
}

/// `selp`: `a` where the predicate `c` holds, else `b`.
struct Selp<W>(PhantomData<W>);

impl<W: Word> Op for Selp<W> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let mask = cx.warp.registers.operand(inst.c);
        let registers = &cx.warp.registers;
        let (a, b) = (row::<W>(registers, inst.a), row::<W>(registers, inst.b));
        let values: [W; LANES] = each(|lane| if is_in(mask, lane) { a[lane] } else { b[lane] });
        write::<W>(&mut cx.warp.registers, inst.d, cx.exec, &values);
        Step::Next
    }
}

/// `slct`: `a` where `c` is at least 0, else `b`; `-0.0` is, NaN isn't.
struct Slct<W, C>(PhantomData<(W, C)>);

impl<W: Word, C: Comparable + Default> Op for Slct<W, C> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let registers = &cx.warp.registers;
        let (a, b) = (row::<W>(registers, inst.a), row::<W>(registers, inst.b));
        let c = row::<C::Bits>(registers, inst.c);
        let flush = inst.imm & FLUSH != 0;
        let values: [W; LANES] = each(|lane| {
            let value = C::from_bits(c[lane]);
            let value = if flush { value.flushed() } else { value };
            if value.against(C::default()).is_some_and(Ordering::is_ge) { a[lane] } else { b[lane] }
        });
        write::<W>(&mut cx.warp.registers, inst.d, cx.exec, &values);
        Step::Next
    }
}

fn is_float(ty: Type) -> bool {
    matches!(ty, Type::F16 | Type::F16x2 | Type::Bf16 | Type::Bf16x2 | Type::F32 | Type::F64)
}

fn class(ty: Type) -> Class {
    match ty {
        Type::F16 | Type::F16x2 | Type::Bf16 | Type::Bf16x2 => Class::Half,
        Type::F32 => Class::F32,
        Type::F64 => Class::F64,
        Type::Pred
        | Type::B8
        | Type::B16
        | Type::B32
        | Type::B64
        | Type::B128
        | Type::U8
        | Type::U16
        | Type::U32
        | Type::U64
        | Type::S8
        | Type::S16
        | Type::S32
        | Type::S64 => Class::Integer,
    }
}

/// Calls `make` for an operation on the type that a [`Type`] means, packed halves aside.
macro_rules! typed {
    ($decoder:expr, $ty:expr, $fill:expr, $operation:ident) => {
        match $ty {
            Type::B16 | Type::U16 => $decoder.make::<$operation<u16>>(class($ty), $fill),
            Type::S16 => $decoder.make::<$operation<i16>>(class($ty), $fill),
            Type::B32 | Type::U32 => $decoder.make::<$operation<u32>>(class($ty), $fill),
            Type::S32 => $decoder.make::<$operation<i32>>(class($ty), $fill),
            Type::B64 | Type::U64 => $decoder.make::<$operation<u64>>(class($ty), $fill),
            Type::S64 => $decoder.make::<$operation<i64>>(class($ty), $fill),
            Type::F16 => $decoder.make::<$operation<f16>>(class($ty), $fill),
            Type::Bf16 => $decoder.make::<$operation<bf16>>(class($ty), $fill),
            Type::F32 => $decoder.make::<$operation<f32>>(class($ty), $fill),
            Type::F64 => $decoder.make::<$operation<f64>>(class($ty), $fill),
            Type::Pred | Type::B8 | Type::B128 | Type::U8 | Type::S8 | Type::F16x2 | Type::Bf16x2 => {
                return Err($decoder.unknown())
            }
        }
    };
}

/// Decodes comparisons and choices.
///
/// # Errors
///
/// Forms that aren't known.
pub fn decode(decoder: &mut Decoder<'_>) -> Answer {
    let opcode = decoder.opcode();
    Ok(Some(match opcode.first() {
        Some(&"setp") => setp(decoder)?,
        Some(&"set") => set(decoder)?,
        Some(&"selp") => selp(decoder)?,
        Some(&"slct") => slct(decoder)?,
        _ => return Ok(None),
    }))
}

/// What `setp` and `set` have in common: the relation, how it is combined, flushing.
fn relation(decoder: &Decoder<'_>, parts: &[&str], ty: Type) -> Result<i64, LoadError> {
    let (first, rest) = parts.split_first().ok_or_else(|| decoder.unknown())?;
    let mut code = Relation::from_suffix(first, ty).ok_or_else(|| decoder.unknown())?.code();
    for part in rest {
        code |= match *part {
            "and" if code & COMBINATION == PLAIN => AND,
            "or" if code & COMBINATION == PLAIN => OR,
            "xor" if code & COMBINATION == PLAIN => XOR,
            "ftz" if matches!(ty, Type::F16 | Type::F16x2 | Type::F32) => FLUSH,
            _ => return Err(decoder.unknown()),
        };
    }
    Ok(code)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "of all types, those of packed halves aside")]
fn setp(decoder: &mut Decoder<'_>) -> Result<Decoded, LoadError> {
    let opcode = decoder.opcode();
    let ty = opcode.last().and_then(|suffix| Type::from_suffix(suffix)).ok_or_else(|| decoder.unknown())?;
    let code = relation(decoder, &opcode[1..opcode.len() - 1], ty)?;
    let combines = code & COMBINATION != PLAIN;
    decoder.expect_operands(if combines { 4 } else { 3 })?;
    let (first, second) = if let Operand::Pair(first, second) = decoder.operand(0)?.clone() {
        (*first, Some(*second))
    } else {
        (decoder.operand(0)?.clone(), None)
    };
    let d = decoder.destination_of(&first, Type::Pred)?;
    let second = second.map(|second| decoder.destination_of(&second, Type::Pred)).transpose()?;
    let (a, b) = (decoder.source(1, ty)?, decoder.source(2, ty)?);
    let c = if combines { decoder.predicate(3)? } else { 0 };
    let list: Box<[u32]> = second.into_iter().collect();
    let packed = matches!(ty, Type::F16x2 | Type::Bf16x2);
    if packed && list.is_empty() {
        return Err(decoder.error("two predicates are needed here, one for each half"));
    }
    let fill = |inst: &mut Inst| {
        (inst.d, inst.a, inst.b, inst.c, inst.imm, inst.list) = (d, a, b, c, code, list);
    };
    Ok(match ty {
        Type::F16x2 => decoder.make::<SetpPacked<f16>>(Class::Half, fill),
        Type::Bf16x2 => decoder.make::<SetpPacked<bf16>>(Class::Half, fill),
        _ => typed!(decoder, ty, fill, Setp),
    })
}

/// `set.relation[.combination][.ftz].dtype.stype d, a, b[, c]`
#[expect(clippy::wildcard_enum_match_arm, reason = "of all types, those that can be compared")]
fn set(decoder: &mut Decoder<'_>) -> Result<Decoded, LoadError> {
    let opcode = decoder.opcode();
    let [_, parts @ .., to, from] = opcode.as_slice() else { return Err(decoder.unknown()) };
    let (Some(to), Some(ty)) = (Type::from_suffix(to), Type::from_suffix(from)) else { return Err(decoder.unknown()) };
    let mut code = relation(decoder, parts, ty)?;
    let combines = code & COMBINATION != PLAIN;
    decoder.expect_operands(if combines { 4 } else { 3 })?;
    let truth = match (to, ty) {
        (Type::F16x2, Type::F16x2) => ONE_F16,
        (Type::Bf16x2, Type::Bf16x2) => ONE_BF16,
        (Type::U32 | Type::S32, Type::F16x2 | Type::Bf16x2) | (Type::U16 | Type::S16, Type::F16 | Type::Bf16) => 0xffff,
        (_, Type::F16x2 | Type::Bf16x2) | (Type::F32, Type::F16 | Type::Bf16) => return Err(decoder.unknown()),
        (Type::U32 | Type::S32, _) => u32::MAX,
        (Type::F32, _) => 1f32.to_bits(),
        (Type::F16, _) => ONE_F16,
        (Type::Bf16, _) => ONE_BF16,
        _ => return Err(decoder.unknown()),
    };
    if to.size() == 2 {
        code |= NARROW;
    }
    let (d, a, b) = (decoder.destination(0, to)?, decoder.source(1, ty)?, decoder.source(2, ty)?);
    let c = if combines { decoder.predicate(3)? } else { 0 };
    let fill = |inst: &mut Inst| {
        (inst.d, inst.a, inst.b, inst.c, inst.imm) = (d, a, b, c, code);
        inst.list = Box::new([truth]);
    };
    Ok(match ty {
        Type::F16x2 => decoder.make::<SetPacked<f16>>(Class::Half, fill),
        Type::Bf16x2 => decoder.make::<SetPacked<bf16>>(Class::Half, fill),
        _ => typed!(decoder, ty, fill, Set),
    })
}

/// 1.0 as an f16.
const ONE_F16: u32 = 0x3c00;
/// 1.0 as a bf16.
const ONE_BF16: u32 = 0x3f80;

fn selp(decoder: &mut Decoder<'_>) -> Result<Decoded, LoadError> {
    let opcode = decoder.opcode();
    let ["selp", suffix] = opcode.as_slice() else { return Err(decoder.unknown()) };
    let ty = Type::from_suffix(suffix).ok_or_else(|| decoder.unknown())?;
    decoder.expect_operands(4)?;
    let (d, a, b) = (decoder.destination(0, ty)?, decoder.source(1, ty)?, decoder.source(2, ty)?);
    let c = decoder.predicate(3)?;
    let fill = |inst: &mut Inst| (inst.d, inst.a, inst.b, inst.c) = (d, a, b, c);
    Ok(match ty.size() {
        2 => decoder.make::<Selp<u16>>(Class::Move, fill),
        4 => decoder.make::<Selp<u32>>(Class::Move, fill),
        8 => decoder.make::<Selp<u64>>(Class::Move, fill),
        _ => return Err(decoder.unknown()),
    })
}

fn slct(decoder: &mut Decoder<'_>) -> Result<Decoded, LoadError> {
    let opcode = decoder.opcode();
    let (flush, ty, by) = match opcode.as_slice() {
        ["slct", ty, "s32"] => (0, ty, Type::S32),
        ["slct", ty, "f32"] => (0, ty, Type::F32),
        ["slct", "ftz", ty, "f32"] => (FLUSH, ty, Type::F32),
        _ => return Err(decoder.unknown()),
    };
    let ty = Type::from_suffix(ty).ok_or_else(|| decoder.unknown())?;
    decoder.expect_operands(4)?;
    let (d, a, b) = (decoder.destination(0, ty)?, decoder.source(1, ty)?, decoder.source(2, ty)?);
    let c = decoder.source(3, by)?;
    let fill = |inst: &mut Inst| (inst.d, inst.a, inst.b, inst.c, inst.imm) = (d, a, b, c, flush);
    Ok(match (ty.size(), by) {
        (2, Type::S32) => decoder.make::<Slct<u16, i32>>(Class::Move, fill),
        (4, Type::S32) => decoder.make::<Slct<u32, i32>>(Class::Move, fill),
        (8, Type::S32) => decoder.make::<Slct<u64, i32>>(Class::Move, fill),
        (2, _) => decoder.make::<Slct<u16, f32>>(Class::Move, fill),
        (4, _) => decoder.make::<Slct<u32, f32>>(Class::Move, fill),
        (8, _) => decoder.make::<Slct<u64, f32>>(Class::Move, fill),
        _ => return Err(decoder.unknown()),
    })
}
