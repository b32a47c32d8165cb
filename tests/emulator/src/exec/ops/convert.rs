//! `cvt`: between integers and floating-point numbers of all widths. What is frequent is vectorised here; the rest goes
//! value by value through `any`.

mod any;
mod packed;

use std::marker::PhantomData;

use self::any::{Float, Kind, Plan, place};
use super::Answer;
use super::exact::Rounding;
use super::float::{Float as _, Raw};
use super::formats::{from_bf16, from_f16, round_to_bf16, round_to_f16};
use super::modifiers::{Flags, Modifiers};
use crate::counters::Class;
use crate::exec::context::Context;
use crate::exec::decode::{Decoder, Width};
use crate::exec::instruction::{Decoded, Inst, Op, Step};
use crate::exec::lanes::{Element, Word, map1};
use crate::gpu::LoadError;
use crate::ptx::syntax::{Operand, Type};

/// Decodes `cvt`.
///
/// # Errors
///
/// Forms that aren't known.
pub fn decode(decoder: &mut Decoder<'_>) -> Answer {
    let instruction = decoder.instruction;
    let opcode: Vec<&str> = instruction.opcode.iter().map(String::as_str).collect();
    let ["cvt", parts @ .., to, from] = &opcode[..] else { return Ok(None) };
    if let Some(decoded) = packed::decode(decoder, parts, to, from)? {
        return Ok(Some(decoded));
    }
    let types = |suffix: &str| Type::from_suffix(suffix).and_then(|ty| Some((ty, place(ty)?)));
    let (Some((to, to_place)), Some((from, from_place))) = (types(to), types(from)) else {
        return Err(decoder.unknown());
    };
    let Some((rounding, integral, flags)) = modifiers(parts) else { return Err(decoder.unknown()) };
    let plan = Plan { from: from_place, to: to_place, rounding: Rounding::Nearest, integral, flags };
    if !allowed(plan, rounding) {
        return Err(decoder.unknown());
    }
    scalar(decoder, Plan { rounding: rounding.unwrap_or(Rounding::Nearest), ..plan }, to, from).map(Some)
}

/// Rounding, whether it is to an integer, and the other modifiers.
fn modifiers(parts: &[&str]) -> Option<(Option<Rounding>, bool, Flags)> {
    let of_integers = |part: &&str| Some(Rounding::from_modifier(part.strip_suffix('i')?)).flatten();
    let (integral, others): (Vec<&str>, Vec<&str>) = parts.iter().partition(|part| of_integers(part).is_some());
    let Modifiers { rounding, flags } = Modifiers::read(&others)?;
    match integral[..] {
        [] => Some((rounding, false, flags)),
        [part] if rounding.is_none() => Some((of_integers(&part), true, flags)),
        _ => None,
    }
}

/// Whether PTX has the conversion.
fn allowed(plan: Plan, rounding: Option<Rounding>) -> bool {
    let directions = rounding != Some(Rounding::Away);
    let flags = |flags: Flags| flags.has(plan.flags);
    let single = |kind| kind == Kind::Float(Float::F32);
    let ftz = if single(plan.from()) || single(plan.to()) { Flags::FTZ } else { Flags::NONE };
    directions
        && match (plan.from(), plan.to()) {
            (Kind::Integer(..), Kind::Integer(..)) => rounding.is_none() && flags(Flags::SAT),
            (Kind::Integer(..), Kind::Float(_)) => rounding.is_some() && !plan.integral && flags(Flags::SAT.and(ftz)),
            (Kind::Float(_), Kind::Integer(..)) => plan.integral && flags(Flags::SAT.and(ftz)),
            (Kind::Float(from), Kind::Float(to)) if from == to => {
                (rounding.is_none() || plan.integral) && flags(Flags::SAT.and(ftz))
            }
            (Kind::Float(from), Kind::Float(to)) => {
                let (digits, others) = (from.format().digits, to.format().digits);
                let halves = matches!(to, Float::F16 | Float::Bf16) && from == Float::F32;
                let two = matches!(rounding, Some(Rounding::Nearest | Rounding::Zero));
                let limits = if halves && two && !plan.flags.has(Flags::SAT) {
                    Flags::RELU.and(Flags::SATFINITE)
                } else {
                    Flags::SAT
                };
                // A bf16 has the exponents of an f32 and fewer digits than an f16: neither holds the other.
                let exact = digits < others && !(from == Float::Bf16 && to == Float::F16);
                !plan.integral && (exact || rounding.is_some()) && flags(limits.and(ftz))
            }
        }
}

/// The slot and the width of a register that may be wider than an integer that it holds.
fn holder(decoder: &Decoder<'_>, n: usize, ty: Type) -> Result<(Type, Width), LoadError> {
    let needed = Width::of(ty).ok_or_else(|| decoder.unknown())?;
    let Operand::Register(register) = decoder.operand(n)? else { return Ok((ty, needed)) };
    let declared = decoder.type_of(*register)?;
    let integer = matches!(place(ty).map(|place| Plan { from: place, ..ANY }.from()), Some(Kind::Integer(..)));
    match Width::of(declared) {
        Some(width) if width == needed => Ok((ty, width)),
        Some(width) if integer && declared != Type::Pred && width > needed => Ok((declared, width)),
        _ => Err(decoder.error("the register has not the width of the type")),
    }
}

const ANY: Plan = Plan { from: 0, to: 0, rounding: Rounding::Nearest, integral: false, flags: Flags::NONE };

fn scalar(decoder: &mut Decoder<'_>, plan: Plan, to: Type, from: Type) -> Result<Decoded, LoadError> {
    decoder.expect_operands(2)?;
    let (to_holder, to_width) = holder(decoder, 0, to)?;
    let (from_holder, from_width) = holder(decoder, 1, from)?;
    let (d, a) = (decoder.destination(0, to_holder)?, decoder.source(1, from_holder)?);
    let make = Make { decoder, d, a, imm: plan.pack() };
    if let Some(decoded) = frequent(&make, plan, to_width, from_width) {
        return Ok(decoded);
    }
    let resized = matches!((plan.from(), plan.to()), (Kind::Integer(..), Kind::Integer(..)));
    Ok(if resized && !plan.flags.has(Flags::SAT) {
        match (from_width, to_width) {
            (Width::B16, Width::B16) => make.of::<Resize<u16, u16, u16>>(),
            (Width::B16, Width::B32) => make.of::<Resize<u16, u32, u32>>(),
            (Width::B16, Width::B64) => make.of::<Resize<u16, u64, u64>>(),
            (Width::B32, Width::B16) => make.of::<Resize<u32, u16, u32>>(),
            (Width::B32, Width::B32) => make.of::<Resize<u32, u32, u32>>(),
            (Width::B32, Width::B64) => make.of::<Resize<u32, u64, u64>>(),
            (Width::B64, Width::B16) => make.of::<Resize<u64, u16, u64>>(),
            (Width::B64, Width::B32) => make.of::<Resize<u64, u32, u64>>(),
            (Width::B64, Width::B64) => make.of::<Resize<u64, u64, u64>>(),
        }
    } else {
        match (from_width, to_width) {
            (Width::B16, Width::B16) => make.of::<Any<u16, u16>>(),
            (Width::B16, Width::B32) => make.of::<Any<u16, u32>>(),
            (Width::B16, Width::B64) => make.of::<Any<u16, u64>>(),
            (Width::B32, Width::B16) => make.of::<Any<u32, u16>>(),
            (Width::B32, Width::B32) => make.of::<Any<u32, u32>>(),
            (Width::B32, Width::B64) => make.of::<Any<u32, u64>>(),
            (Width::B64, Width::B16) => make.of::<Any<u64, u16>>(),
            (Width::B64, Width::B32) => make.of::<Any<u64, u32>>(),
            (Width::B64, Width::B64) => make.of::<Any<u64, u64>>(),
        }
    })
}

/// The operands of a conversion.
struct Make<'a, 'b> {
    decoder: &'a Decoder<'b>,
    d: u32,
    a: u32,
    imm: i64,
}

impl Make<'_, '_> {
    fn of<O: Op>(&self) -> Decoded {
        self.decoder.make::<O>(Class::Convert, |inst| (inst.d, inst.a, inst.imm) = (self.d, self.a, self.imm))
    }
}

/// A conversion that has an operation of its own.
fn frequent(make: &Make<'_, '_>, plan: Plan, to: Width, from: Width) -> Option<Decoded> {
    let ftz = plan.flags.has(Flags::FTZ);
    if !Flags::FTZ.has(plan.flags) {
        return None;
    }
    let nearest = plan.rounding == Rounding::Nearest;
    macro_rules! integral {
        ($operation:ident, $ty:ty) => {
            match (plan.rounding, ftz) {
                (Rounding::Nearest, false) => make.of::<$operation<$ty, NEAREST, false>>(),
                (Rounding::Nearest, true) => make.of::<$operation<$ty, NEAREST, true>>(),
                (Rounding::Zero, false) => make.of::<$operation<$ty, ZERO, false>>(),
                (Rounding::Zero, true) => make.of::<$operation<$ty, ZERO, true>>(),
                (Rounding::Down, false) => make.of::<$operation<$ty, DOWN, false>>(),
                (Rounding::Down, true) => make.of::<$operation<$ty, DOWN, true>>(),
                (Rounding::Up, false) => make.of::<$operation<$ty, UP, false>>(),
                (Rounding::Up, true) => make.of::<$operation<$ty, UP, true>>(),
                (Rounding::Away, _) => return None,
            }
        };
    }
    Some(match (plan.from(), plan.to()) {
        (Kind::Integer(32, true), Kind::Float(Float::F32)) if nearest && from == Width::B32 => {
            make.of::<Number<i32, f32>>()
        }
        (Kind::Integer(32, false), Kind::Float(Float::F32)) if nearest && from == Width::B32 => {
            make.of::<Number<u32, f32>>()
        }
        (Kind::Integer(32, true), Kind::Float(Float::F64)) if from == Width::B32 => make.of::<Number<i32, f64>>(),
        (Kind::Integer(32, false), Kind::Float(Float::F64)) if from == Width::B32 => make.of::<Number<u32, f64>>(),
        (Kind::Integer(64, true), Kind::Float(Float::F32)) if nearest => make.of::<Number<i64, f32>>(),
        (Kind::Integer(64, false), Kind::Float(Float::F32)) if nearest => make.of::<Number<u64, f32>>(),
        (Kind::Integer(64, true), Kind::Float(Float::F64)) if nearest => make.of::<Number<i64, f64>>(),
        (Kind::Integer(64, false), Kind::Float(Float::F64)) if nearest => make.of::<Number<u64, f64>>(),
        (Kind::Float(Float::F32), Kind::Integer(32, true)) if to == Width::B32 => integral!(Integer, i32),
        (Kind::Float(Float::F32), Kind::Integer(32, false)) if to == Width::B32 => integral!(Integer, u32),
        (Kind::Float(Float::F32), Kind::Float(Float::F32)) if plan.integral => integral!(Integer, f32),
        (Kind::Float(Float::F16), Kind::Float(Float::F32)) => make.of::<Widen<FromF16, false>>(),
        (Kind::Float(Float::Bf16), Kind::Float(Float::F32)) if ftz => make.of::<Widen<FromBf16, true>>(),
        (Kind::Float(Float::Bf16), Kind::Float(Float::F32)) => make.of::<Widen<FromBf16, false>>(),
        (Kind::Float(Float::F32), Kind::Float(Float::F64)) if ftz => make.of::<ToF64<true>>(),
        (Kind::Float(Float::F32), Kind::Float(Float::F64)) => make.of::<ToF64<false>>(),
        (Kind::Float(Float::F64), Kind::Float(Float::F32)) if nearest && ftz => make.of::<FromF64<true>>(),
        (Kind::Float(Float::F64), Kind::Float(Float::F32)) if nearest => make.of::<FromF64<false>>(),
        // A subnormal f32 is as good as zero to an f16.
        (Kind::Float(Float::F32), Kind::Float(Float::F16)) if nearest => make.of::<ToF16>(),
        (Kind::Float(Float::F32), Kind::Float(Float::Bf16)) if nearest && !ftz => make.of::<ToBf16>(),
        _ => return None,
    })
}

/// Registers as 64 bits.
trait Bits: Word + Element<Bits = Self> {
    fn of(bits: u64) -> Self;
    fn bits(self) -> u64;
}

/// Registers extended to a width `W` that computes.
trait Extend<W>: Copy {
    fn extend(self) -> W;
    fn cut(value: W) -> Self;
}

macro_rules! bits {
    ($($ty:ty)*) => {$(
        impl Bits for $ty {
            #[inline(always)]
            fn of(bits: u64) -> Self {
                bits as Self
            }
            #[inline(always)]
            fn bits(self) -> u64 {
                self.into()
            }
        }
    )*};
}

bits!(u16 u32 u64);

macro_rules! extend {
    ($($wide:ty: $($ty:ty)*;)*) => {$($(
        impl Extend<$wide> for $ty {
            #[inline(always)]
            fn extend(self) -> $wide {
                self.into()
            }
            #[inline(always)]
            fn cut(value: $wide) -> Self {
                value as Self
            }
        }
    )*)*};
}

extend! {
    u16: u16;
    u32: u16 u32;
    u64: u16 u32 u64;
}

/// An unsigned integer that computes.
trait Unsigned: Bits + std::ops::BitAnd<Output = Self> + std::ops::BitXor<Output = Self> {
    fn minus(self, other: Self) -> Self;
}

macro_rules! unsigned {
    ($($ty:ty)*) => {$(
        impl Unsigned for $ty {
            #[inline(always)]
            fn minus(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }
        }
    )*};
}

unsigned!(u16 u32 u64);

/// Any conversion.
struct Any<A, D>(PhantomData<(A, D)>);

impl<A: Bits, D: Bits> Op for Any<A, D> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let plan = Plan::unpack(inst.imm);
        map1(cx, inst, |a: A| D::of(plan.convert(a.bits())))
    }
}

/// An integer to one of another width, computed in `W`.
struct Resize<A, D, W>(PhantomData<(A, D, W)>);

/// The bits of an integer type, and its sign if it has one.
fn masks(kind: Kind) -> (u64, u64) {
    match kind {
        Kind::Integer(width, signed) => (u64::MAX >> (64 - width), if signed { 1 << (width - 1) } else { 0 }),
        Kind::Float(_) => (u64::MAX, 0),
    }
}

impl<W: Unsigned, A: Bits + Extend<W>, D: Bits + Extend<W>> Op for Resize<A, D, W> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let plan = Plan::unpack(inst.imm);
        let [(mask, sign), (to_mask, to_sign)] =
            [plan.from(), plan.to()].map(masks).map(|(mask, sign)| (W::of(mask), W::of(sign)));
        map1(cx, inst, |a: A| {
            // Changing the sign's bit and subtracting it extends the sign.
            let value = ((a.extend() & mask) ^ sign).minus(sign);
            D::cut(((value & to_mask) ^ to_sign).minus(to_sign))
        })
    }
}

/// An integer to the nearest floating-point number.
struct Number<A, D>(PhantomData<(A, D)>);

macro_rules! numbers {
    ($($a:ty => $d:ty;)*) => {$(
        impl Op for Number<$a, $d> {
            #[inline(always)]
            fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
                map1(cx, inst, |a: $a| a as $d)
            }
        }
    )*};
}

numbers! {
    i32 => f32;
    u32 => f32;
    i64 => f32;
    u64 => f32;
    i32 => f64;
    u32 => f64;
    i64 => f64;
    u64 => f64;
}

const NEAREST: u8 = 0;
const ZERO: u8 = 1;
const DOWN: u8 = 2;
const UP: u8 = 3;

/// An f32 rounded to an integer, of type `D`; too large ones become the largest, and NaN zero.
struct Integer<D, const ROUNDING: u8, const FTZ: bool>(PhantomData<D>);

trait OfF32: 'static {
    fn of_f32(value: f32) -> Raw<u32>;
}

impl OfF32 for i32 {
    #[inline(always)]
    fn of_f32(value: f32) -> Raw<u32> {
        Raw((value as Self).into_bits())
    }
}

impl OfF32 for u32 {
    #[inline(always)]
    fn of_f32(value: f32) -> Raw<u32> {
        Raw((value as Self).into_bits())
    }
}

impl OfF32 for f32 {
    #[inline(always)]
    fn of_f32(value: f32) -> Raw<u32> {
        value.result()
    }
}

impl<D: OfF32, const ROUNDING: u8, const FTZ: bool> Op for Integer<D, ROUNDING, FTZ> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        map1(cx, inst, |a: f32| {
            let a = if FTZ { a.flushed() } else { a };
            D::of_f32(match ROUNDING {
                NEAREST => a.round_ties_even(),
                ZERO => a.trunc(),
                DOWN => a.floor(),
                _ => a.ceil(),
            })
        })
    }
}

/// A 16-bit floating-point type.
trait Half: 'static {
    fn widen(bits: u32) -> f32;
}

struct FromF16;
struct FromBf16;

impl Half for FromF16 {
    #[inline(always)]
    fn widen(bits: u32) -> f32 {
        from_f16(bits)
    }
}

impl Half for FromBf16 {
    #[inline(always)]
    fn widen(bits: u32) -> f32 {
        from_bf16(bits)
    }
}

/// A 16-bit floating-point number as f32.
struct Widen<H, const FTZ: bool>(PhantomData<H>);

impl<H: Half, const FTZ: bool> Op for Widen<H, FTZ> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        map1(cx, inst, |a: u16| {
            let value = H::widen(a.into());
            (if FTZ { value.flushed() } else { value }).result()
        })
    }
}

struct ToF64<const FTZ: bool>;

impl<const FTZ: bool> Op for ToF64<FTZ> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        map1(cx, inst, |a: f32| f64::from(if FTZ { a.flushed() } else { a }))
    }
}

struct FromF64<const FTZ: bool>;

impl<const FTZ: bool> Op for FromF64<FTZ> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        map1(cx, inst, |a: f64| {
            let value = a as f32;
            (if FTZ { value.flushed() } else { value }).result()
        })
    }
}

struct ToF16;

impl Op for ToF16 {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        map1(cx, inst, |a: f32| round_to_f16(a) as u16)
    }
}

struct ToBf16;

impl Op for ToBf16 {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        map1(cx, inst, |a: f32| round_to_bf16(a) as u16)
    }
}
