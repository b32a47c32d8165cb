//! Conversions to and from pairs of narrow values, `cvt.pack`, and tf32.

use std::marker::PhantomData;

use super::any::{Float, narrow};
use crate::counters::Class;
use crate::exec::context::Context;
use crate::exec::decode::Decoder;
use crate::exec::instruction::{Decoded, Inst, Op, Step};
use crate::exec::lanes::{map1, map2, map3};
use crate::exec::ops::Answer;
use crate::exec::ops::exact::{Format, Rounding};
use crate::exec::ops::formats::{from_f16, round_to_bf16, round_to_f16};
use crate::exec::ops::modifiers::{Flags, Modifiers};
use crate::gpu::LoadError;
use crate::ptx::syntax::Type;

/// Decodes a `cvt` with these modifiers and types, if it is one of them.
pub(super) fn decode(decoder: &mut Decoder<'_>, parts: &[&str], to: &str, from: &str) -> Answer {
    match (to, from) {
        ("f16x2", "f32") => pair::<InF16>(decoder, parts),
        ("bf16x2", "f32") => pair::<InBf16>(decoder, parts),
        ("tf32", "f32") => tf32(decoder, parts),
        ("e4m3x2", "f32") => bytes_of_f32::<InE4m3>(decoder, parts),
        ("e5m2x2", "f32") => bytes_of_f32::<InE5m2>(decoder, parts),
        ("e4m3x2", "f16x2") => bytes_of_f16::<InE4m3>(decoder, parts),
        ("e5m2x2", "f16x2") => bytes_of_f16::<InE5m2>(decoder, parts),
        ("f16x2", "e4m3x2") => f16_of_bytes::<InE4m3>(decoder, parts),
        ("f16x2", "e5m2x2") => f16_of_bytes::<InE5m2>(decoder, parts),
        _ if parts.first() == Some(&"pack") => pack(decoder, &parts[1..], to, from),
        _ => return Ok(None),
    }
    .map(Some)
}

/// A format that pairs are of.
trait Narrow: 'static {
    const FORMAT: Format;
    const NAN: u64;
}

struct InF16;
struct InBf16;
struct InE4m3;
struct InE5m2;

impl Narrow for InF16 {
    const FORMAT: Format = Format::F16;
    const NAN: u64 = 0x7fff;
}

impl Narrow for InBf16 {
    const FORMAT: Format = Format::BF16;
    const NAN: u64 = 0x7fff;
}

impl Narrow for InE4m3 {
    const FORMAT: Format = Format::E4M3;
    const NAN: u64 = 0x7f;
}

impl Narrow for InE5m2 {
    const FORMAT: Format = Format::E5M2;
    const NAN: u64 = 0x7f;
}

/// The number of a rounding below, flags above.
fn packed(rounding: Rounding, flags: Flags) -> i64 {
    rounding.number() | i64::from(flags.bits()) << 8
}

fn unpacked(imm: i64) -> (Rounding, Flags) {
    (Rounding::from_number(imm & 0xff), Flags::from_bits((imm >> 8) as u16))
}

#[inline(never)]
fn narrowed<N: Narrow>(value: f64, rounding: Rounding, flags: Flags) -> u32 {
    narrow(value, N::FORMAT, N::NAN, rounding, flags) as u32
}

/// Two f32 to a pair of 16-bit numbers, the first one in the high half.
struct Pair<N>(PhantomData<N>);

impl<N: Narrow> Op for Pair<N> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let (rounding, flags) = unpacked(inst.imm);
        map2(cx, inst, |high: f32, low: f32| {
            let [high, low] = [high, low].map(|value| narrowed::<N>(value.into(), rounding, flags));
            high << 16 | low
        })
    }
}

/// [`Pair`], rounded to the nearest.
struct NearestPair<N>(PhantomData<N>);

impl Op for NearestPair<InF16> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        map2(cx, inst, |high: f32, low: f32| round_to_f16(high) << 16 | round_to_f16(low))
    }
}

impl Op for NearestPair<InBf16> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        map2(cx, inst, |high: f32, low: f32| round_to_bf16(high) << 16 | round_to_bf16(low))
    }
}

fn pair<N: Narrow>(decoder: &mut Decoder<'_>, parts: &[&str]) -> Result<Decoded, LoadError>
where
    NearestPair<N>: Op,
{
    match Modifiers::read(parts) {
        Some(Modifiers { rounding: Some(Rounding::Nearest), flags: Flags::NONE }) => {
            decoder.binary::<NearestPair<N>>(Class::Convert, Type::B32, [Type::F32; 2])
        }
        Some(modifiers @ Modifiers { rounding: Some(rounding @ (Rounding::Nearest | Rounding::Zero)), flags })
            if modifiers.only(Flags::RELU.and(Flags::SATFINITE)) =>
        {
            let mut decoded = decoder.binary::<Pair<N>>(Class::Convert, Type::B32, [Type::F32; 2])?;
            decoded.inst.imm = packed(rounding, flags);
            Ok(decoded)
        }
        _ => Err(decoder.unknown()),
    }
}

/// An f32 to the nearest with 11 digits.
struct Tf32;

/// Bits of an f32 that a tf32 hasn't.
const BELOW_TF32: u32 = (1 << 13) - 1;

impl Op for Tf32 {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let (rounding, flags) = unpacked(inst.imm);
        // What is added before bits are cut off, and whether it is more by one where the last bit that stays is odd.
        let (add, odd) = match rounding {
            Rounding::Nearest => (BELOW_TF32 >> 1, 1),
            Rounding::Away => ((BELOW_TF32 >> 1) + 1, 0),
            Rounding::Zero | Rounding::Down | Rounding::Up => (0, 0),
        };
        let (relu, finite) = (flags.has(Flags::RELU), flags.has(Flags::SATFINITE));
        map1(cx, inst, |a: f32| {
            let bits = a.to_bits();
            let rounded = bits.wrapping_add(add + (bits >> 13 & odd)) & !BELOW_TF32;
            let infinite = rounded & 0x7fff_ffff == 0x7f80_0000;
            let rounded = if finite && infinite { rounded - (1 << 13) } else { rounded };
            let rounded = if relu && rounded >> 31 != 0 { 0 } else { rounded };
            if a.is_nan() { 0x7fff_ffff } else { rounded }
        })
    }
}

fn tf32(decoder: &mut Decoder<'_>, parts: &[&str]) -> Result<Decoded, LoadError> {
    match Modifiers::read(parts) {
        Some(
            modifiers @ Modifiers {
                rounding: Some(rounding @ (Rounding::Nearest | Rounding::Zero | Rounding::Away)),
                flags,
            },
        ) if modifiers.only(Flags::RELU.and(Flags::SATFINITE))
            && !(rounding == Rounding::Away && flags.has(Flags::RELU)) =>
        {
            let mut decoded = decoder.unary::<Tf32>(Class::Convert, Type::B32, Type::F32)?;
            decoded.inst.imm = packed(rounding, flags);
            Ok(decoded)
        }
        _ => Err(decoder.unknown()),
    }
}

/// Two f32 to a pair of 8-bit numbers, the first one in the high byte.
struct BytesOfF32<N>(PhantomData<N>);

impl<N: Narrow> Op for BytesOfF32<N> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let (rounding, flags) = unpacked(inst.imm);
        map2(cx, inst, |high: f32, low: f32| {
            let [high, low] = [high, low].map(|value| narrowed::<N>(value.into(), rounding, flags));
            (high << 8 | low) as u16
        })
    }
}

/// A pair of f16 to a pair of 8-bit numbers.
struct BytesOfF16<N>(PhantomData<N>);

impl<N: Narrow> Op for BytesOfF16<N> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let (rounding, flags) = unpacked(inst.imm);
        map1(cx, inst, |pair: u32| {
            let [high, low] =
                [pair >> 16, pair & 0xffff].map(|bits| narrowed::<N>(from_f16(bits).into(), rounding, flags));
            (high << 8 | low) as u16
        })
    }
}

/// A pair of 8-bit numbers to a pair of f16. Exact.
struct F16OfBytes<N>(PhantomData<N>);

impl<N: Narrow> Op for F16OfBytes<N> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let (_, flags) = unpacked(inst.imm);
        map1(cx, inst, |pair: u16| {
            let [high, low] = [u32::from(pair) >> 8, u32::from(pair) & 0xff].map(|bits| f16_of_byte::<N>(bits, flags));
            high << 16 | low
        })
    }
}

fn f16_of_byte<N: Narrow>(bits: u32, flags: Flags) -> u32 {
    let magnitude = u64::from(bits) & !N::FORMAT.sign;
    if magnitude > N::FORMAT.largest && (N::FORMAT == Format::E4M3 || magnitude > N::FORMAT.largest + 1) {
        return Float::F16.nan() as u32;
    }
    let fraction = N::FORMAT.digits - 1;
    // Both formats have the exponents of an f16 or fewer: the magnitude's bits, moved to where an f16 has them, are it
    // but for the bias.
    let shifted = from_f16((magnitude << (10 - fraction)) as u32);
    let value = f64::from(shifted) * f64::from(N::FORMAT.min_exponent - Format::F16.min_exponent).exp2();
    let negative = u64::from(bits) & N::FORMAT.sign != 0;
    narrow(if negative { -value } else { value }, Format::F16, 0x7fff, Rounding::Nearest, flags) as u32
}

fn only_nearest(parts: &[&str], flags: Flags) -> Option<Flags> {
    match Modifiers::read(parts) {
        Some(modifiers @ Modifiers { rounding: Some(Rounding::Nearest), .. }) if modifiers.only(flags) => {
            Some(modifiers.flags)
        }
        _ => None,
    }
}

fn to_bytes(parts: &[&str]) -> Option<i64> {
    let flags = only_nearest(parts, Flags::SATFINITE.and(Flags::RELU))?;
    flags.has(Flags::SATFINITE).then(|| packed(Rounding::Nearest, flags))
}

fn bytes_of_f32<N: Narrow>(decoder: &mut Decoder<'_>, parts: &[&str]) -> Result<Decoded, LoadError> {
    let Some(imm) = to_bytes(parts) else { return Err(decoder.unknown()) };
    let mut decoded = decoder.binary::<BytesOfF32<N>>(Class::Convert, Type::B16, [Type::F32; 2])?;
    decoded.inst.imm = imm;
    Ok(decoded)
}

fn bytes_of_f16<N: Narrow>(decoder: &mut Decoder<'_>, parts: &[&str]) -> Result<Decoded, LoadError> {
    let Some(imm) = to_bytes(parts) else { return Err(decoder.unknown()) };
    let mut decoded = decoder.unary::<BytesOfF16<N>>(Class::Convert, Type::B16, Type::B32)?;
    decoded.inst.imm = imm;
    Ok(decoded)
}

fn f16_of_bytes<N: Narrow>(decoder: &mut Decoder<'_>, parts: &[&str]) -> Result<Decoded, LoadError> {
    let Some(flags) = only_nearest(parts, Flags::RELU) else { return Err(decoder.unknown()) };
    let mut decoded = decoder.unary::<F16OfBytes<N>>(Class::Convert, Type::B32, Type::B16)?;
    decoded.inst.imm = packed(Rounding::Nearest, flags);
    Ok(decoded)
}

/// `cvt.pack.sat`: two s32, clamped to narrower integers, in the low bits, the first one above the second; above them
/// the low bits of a third operand, if there is one.
struct Pack;

impl Pack {
    /// The types that it packs: name, bits, least, greatest.
    const TYPES: [(&str, i64, i64, i64); 8] = [
        ("u16", 16, 0, 0xffff),
        ("s16", 16, -0x8000, 0x7fff),
        ("u8", 8, 0, 0xff),
        ("s8", 8, -0x80, 0x7f),
        ("u4", 4, 0, 15),
        ("s4", 4, -8, 7),
        ("u2", 2, 0, 3),
        ("s2", 2, -2, 1),
    ];
}

impl Op for Pack {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let (_, bits, least, greatest) = Self::TYPES[inst.imm as usize];
        let (least, greatest) = (least as i32, greatest as i32);
        let mask = (1_u32 << bits) - 1;
        map3(cx, inst, |a: i32, b: i32, c: u32| {
            let [a, b] = [a, b].map(|value| value.clamp(least, greatest).cast_unsigned() & mask);
            c.checked_shl(2 * bits as u32).unwrap_or(0) | a << bits | b
        })
    }
}

fn pack(decoder: &mut Decoder<'_>, parts: &[&str], to: &str, from: &str) -> Result<Decoded, LoadError> {
    // With a third operand its type comes last.
    let (ty, third) = match (parts, to, from) {
        (["sat"], ty @ ("u16" | "s16"), "s32") => (ty, false),
        (["sat", ty @ ("u8" | "s8" | "u4" | "s4" | "u2" | "s2")], "s32", "b32") => (*ty, true),
        _ => return Err(decoder.unknown()),
    };
    let place = Pack::TYPES.iter().position(|(name, ..)| *name == ty).ok_or_else(|| decoder.unknown())?;
    let mut decoded = if third {
        decoder.ternary::<Pack>(Class::Convert, Type::B32, [Type::S32, Type::S32, Type::B32])?
    } else {
        let mut decoded = decoder.binary::<Pack>(Class::Convert, Type::B32, [Type::S32; 2])?;
        decoded.inst.c = decoded.inst.a;
        decoded
    };
    decoded.inst.imm = place as i64;
    Ok(decoded)
}
