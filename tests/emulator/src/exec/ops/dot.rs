//! Dot products of packed integers: `dp4a` and `dp2a`.

use super::Answer;
use crate::counters::Class;
use crate::exec::context::Context;
use crate::exec::decode::Decoder;
use crate::exec::instruction::{Inst, Op, Step};
use crate::exec::lanes::map3;
use crate::ptx::syntax::Type;

/// Decodes dot products.
///
/// # Errors
///
/// Forms that aren't known.
pub fn decode(decoder: &mut Decoder<'_>) -> Answer {
    const CLASS: Class = Class::Integer;
    let opcode = decoder.opcode();
    let (Some(&"dp4a" | &"dp2a"), [.., first, second]) = (opcode.first(), opcode.as_slice()) else { return Ok(None) };
    let signed = match (*first, *second) {
        ("u32", "u32") => [false, false],
        ("u32", "s32") => [false, true],
        ("s32", "u32") => [true, false],
        ("s32", "s32") => [true, true],
        _ => return Err(decoder.unknown()),
    };
    let types = [Type::B32; 3];
    Ok(Some(match (&opcode[..opcode.len() - 2], signed) {
        (["dp4a"], [false, false]) => decoder.ternary::<Dp4a<false, false>>(CLASS, Type::B32, types)?,
        (["dp4a"], [false, true]) => decoder.ternary::<Dp4a<false, true>>(CLASS, Type::B32, types)?,
        (["dp4a"], [true, false]) => decoder.ternary::<Dp4a<true, false>>(CLASS, Type::B32, types)?,
        (["dp4a"], [true, true]) => decoder.ternary::<Dp4a<true, true>>(CLASS, Type::B32, types)?,
        (["dp2a", half @ ("lo" | "hi")], signed) => {
            let mut decoded = match signed {
                [false, false] => decoder.ternary::<Dp2a<false, false>>(CLASS, Type::B32, types)?,
                [false, true] => decoder.ternary::<Dp2a<false, true>>(CLASS, Type::B32, types)?,
                [true, false] => decoder.ternary::<Dp2a<true, false>>(CLASS, Type::B32, types)?,
                [true, true] => decoder.ternary::<Dp2a<true, true>>(CLASS, Type::B32, types)?,
            };
            decoded.inst.imm = if *half == "hi" { 16 } else { 0 };
            decoded
        }
        _ => return Err(decoder.unknown()),
    }))
}

/// `dp4a`: `c` and the products of the four bytes of `a` and `b`, added modulo 2^32. The flags say whether the bytes of
/// `a` and of `b` are signed.
struct Dp4a<const A: bool, const B: bool>;

impl<const A: bool, const B: bool> Op for Dp4a<A, B> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        map3(cx, inst, |a: u32, b: u32, c: u32| {
            (0..4).fold(c, |sum, place| sum.wrapping_add(byte::<A>(a, place).wrapping_mul(byte::<B>(b, place))))
        })
    }
}

/// `dp2a`: as `dp4a`, of the two halves of `a` and two bytes of `b`, the lowest at bit `imm`.
struct Dp2a<const A: bool, const B: bool>;

impl<const A: bool, const B: bool> Op for Dp2a<A, B> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let shift = inst.imm as u32 & 31;
        map3(cx, inst, |a: u32, b: u32, c: u32| {
            let b = b >> shift;
            (0..2).fold(c, |sum, place| sum.wrapping_add(half::<A>(a, place).wrapping_mul(byte::<B>(b, place))))
        })
    }
}

/// A byte, extended to 32 bits.
#[inline(always)]
fn byte<const SIGNED: bool>(word: u32, place: u32) -> u32 {
    let top = word << (24 - place * 8);
    if SIGNED { (top.cast_signed() >> 24).cast_unsigned() } else { top >> 24 }
}

/// A 16-bit half, extended to 32 bits.
#[inline(always)]
fn half<const SIGNED: bool>(word: u32, place: u32) -> u32 {
    let top = word << (16 - place * 16);
    if SIGNED { (top.cast_signed() >> 16).cast_unsigned() } else { top >> 16 }
}
