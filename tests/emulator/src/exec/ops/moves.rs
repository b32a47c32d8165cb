//! Moves: `mov` with packing and unpacking, clocks, `cvta`, `isspacep`.

use std::marker::PhantomData;

use super::Answer;
use crate::counters::Class;
use crate::exec::context::Context;
use crate::exec::decode::Decoder;
use crate::exec::instruction::{Decoded, Inst, Op, Step};
use crate::exec::lanes::{LANES, Word, each, map1, row, write};
use crate::exec::windows::{LOCAL_WINDOW, PARAM_WINDOW, SHARED_WINDOW, Window, window};
use crate::gpu::LoadError;
use crate::ptx::syntax::{Operand, Type};

/// Decodes moves.
///
/// # Errors
///
/// Forms that aren't known.
pub fn decode(decoder: &mut Decoder<'_>) -> Answer {
    let opcode = decoder.opcode();
    Ok(Some(match opcode.as_slice() {
        ["mov", suffix] => {
            let ty = Type::from_suffix(suffix).ok_or_else(|| decoder.unknown())?;
            mov(decoder, ty)?
        }
        ["cvta", space, suffix] => cvta(decoder, space, suffix, false)?,
        ["cvta", "to", space, suffix] => cvta(decoder, space, suffix, true)?,
        ["isspacep", space] => isspacep(decoder, space)?,
        _ => return Ok(None),
    }))
}

fn mov(decoder: &mut Decoder<'_>, ty: Type) -> Result<Decoded, LoadError> {
    decoder.expect_operands(2)?;
    let (to, from) = (decoder.operand(0)?.clone(), decoder.operand(1)?.clone());
    if ty == Type::Pred {
        let d = decoder.destination(0, ty)?;
        if let Operand::Integer(value) = from {
            return Ok(decoder.make::<SetPredicate>(Class::Move, |inst| {
                (inst.d, inst.imm) = (d, if value == 0 { 0 } else { i64::from(u32::MAX) });
            }));
        }
        let a = decoder.predicate(1)?;
        return Ok(decoder.make::<MovePredicate>(Class::Move, |inst| (inst.d, inst.a) = (d, a)));
    }
    match (&to, &from) {
        (Operand::Vector(parts), _) => unpack(decoder, parts, ty),
        (_, Operand::Vector(parts)) => pack(decoder, parts, ty),
        (_, Operand::Special(name)) if is_clock(name) => {
            let d = decoder.destination(0, ty)?;
            let shift = if name.ends_with("_hi") { 32 } else { 0 };
            let fill = |inst: &mut Inst| (inst.d, inst.imm) = (d, shift);
            Ok(match ty.size() {
                4 => decoder.make::<Clock<u32>>(Class::Move, fill),
                8 => decoder.make::<Clock<u64>>(Class::Move, fill),
                _ => return Err(decoder.unknown()),
            })
        }
        _ => match ty.size() {
            2 => decoder.unary::<Move<u16>>(Class::Move, ty, ty),
            4 => decoder.unary::<Move<u32>>(Class::Move, ty, ty),
            8 => decoder.unary::<Move<u64>>(Class::Move, ty, ty),
            _ => Err(decoder.unknown()),
        },
    }
}

fn is_clock(name: &str) -> bool {
    matches!(name, "%clock" | "%clock_hi" | "%clock64" | "%globaltimer" | "%globaltimer_lo" | "%globaltimer_hi")
}

/// The type of each part when `ty` is taken apart into `count`.
fn part_type(decoder: &Decoder<'_>, ty: Type, count: usize) -> Result<Type, LoadError> {
    match (ty.size(), count) {
        (2, 2) | (4, 4) => Ok(Type::B8),
        (4, 2) | (8, 4) => Ok(Type::B16),
        (8, 2) => Ok(Type::B32),
        _ => Err(decoder.unknown()),
    }
}

fn pack(decoder: &mut Decoder<'_>, parts: &[Operand], ty: Type) -> Result<Decoded, LoadError> {
    let part = part_type(decoder, ty, parts.len())?;
    let d = decoder.destination(0, ty)?;
    let list: Box<[u32]> = parts.iter().map(|one| decoder.source_of(one, part)).collect::<Result<_, _>>()?;
    let fill = |inst: &mut Inst| (inst.d, inst.list, inst.imm) = (d, list, i64::from(part.size()) * 8);
    Ok(match (part, ty.size()) {
        (Type::B32, _) => decoder.make::<Pack<u32, u64>>(Class::Move, fill),
        (_, 2) => decoder.make::<Pack<u16, u16>>(Class::Move, fill),
        (_, 4) => decoder.make::<Pack<u16, u32>>(Class::Move, fill),
        _ => decoder.make::<Pack<u16, u64>>(Class::Move, fill),
    })
}

fn unpack(decoder: &mut Decoder<'_>, parts: &[Operand], ty: Type) -> Result<Decoded, LoadError> {
    let part = part_type(decoder, ty, parts.len())?;
    let a = decoder.source(1, ty)?;
    let list: Box<[u32]> = parts.iter().map(|one| decoder.destination_of(one, part)).collect::<Result<_, _>>()?;
    let fill = |inst: &mut Inst| (inst.a, inst.list, inst.imm) = (a, list, i64::from(part.size()) * 8);
    Ok(match (part, ty.size()) {
        (Type::B32, _) => decoder.make::<Unpack<u64, u32>>(Class::Move, fill),
        (_, 2) => decoder.make::<Unpack<u16, u16>>(Class::Move, fill),
        (_, 4) => decoder.make::<Unpack<u32, u16>>(Class::Move, fill),
        _ => decoder.make::<Unpack<u64, u16>>(Class::Move, fill),
    })
}

/// `mov`
struct Move<W>(PhantomData<W>);

impl<W: Word> Op for Move<W> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let values = *row::<W>(&cx.warp.registers, inst.a);
        write::<W>(&mut cx.warp.registers, inst.d, cx.exec, &values);
        Step::Next
    }
}

/// `mov.pred`
struct MovePredicate;

impl Op for MovePredicate {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let value = cx.warp.registers.operand(inst.a);
        cx.warp.registers.set_predicate(inst.d, cx.exec, value);
        Step::Next
    }
}

/// `mov.pred` of a constant, in `imm`.
struct SetPredicate;

impl Op for SetPredicate {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        cx.warp.registers.set_predicate(inst.d, cx.exec, inst.imm as u32);
        Step::Next
    }
}

/// A word in 64 bits, and back.
trait Low: Word {
    fn low(self) -> u64;
    fn from_low(bits: u64) -> Self;
}

macro_rules! low {
    ($($ty:ty)*) => {$(
        impl Low for $ty {
            #[inline(always)]
            fn low(self) -> u64 {
                u64::from(self)
            }
            #[inline(always)]
            fn from_low(bits: u64) -> Self {
                bits as Self
            }
        }
    )*};
}

low!(u16 u32 u64);

/// `mov d, {a, b, ...}`: the parts in `list`, of `imm` bits each, the first in the lowest bits.
struct Pack<P, W>(PhantomData<(P, W)>);

impl<P: Low, W: Low> Op for Pack<P, W> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let bits = inst.imm as u32;
        let mut values = [0; LANES];
        for (number, slot) in (0..).zip(&inst.list) {
            let part = row::<P>(&cx.warp.registers, *slot);
            for lane in 0..LANES {
                values[lane] |= (part[lane].low() & low_bits(bits)) << (number * bits);
            }
        }
        write::<W>(&mut cx.warp.registers, inst.d, cx.exec, &each(|lane| W::from_low(values[lane])));
        Step::Next
    }
}

/// `mov {a, b, ...}, d`: the parts in `list`, of `imm` bits each, the first from the lowest bits.
struct Unpack<W, P>(PhantomData<(W, P)>);

impl<W: Low, P: Low> Op for Unpack<W, P> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let bits = inst.imm as u32;
        let whole = *row::<W>(&cx.warp.registers, inst.a);
        for (number, slot) in (0..).zip(&inst.list) {
            let part = each(|lane| P::from_low(whole[lane].low() >> (number * bits) & low_bits(bits)));
            write::<P>(&mut cx.warp.registers, *slot, cx.exec, &part);
        }
        Step::Next
    }
}

/// The lowest 1 to 32 bits.
#[inline(always)]
fn low_bits(count: u32) -> u64 {
    u64::MAX >> (64 - count)
}

/// Clocks, shifted to the right by `imm`: instructions that the host's thread has issued in this launch. They tell an
/// order, not a time.
struct Clock<W>(PhantomData<W>);

impl<W: Low> Op for Clock<W> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let issued: u64 = cx.worker.sites.iter().map(|site| site.warps).sum();
        let values = [W::from_low(issued >> (inst.imm as u32 & 63)); LANES];
        write::<W>(&mut cx.warp.registers, inst.d, cx.exec, &values);
        Step::Next
    }
}

/// `cvta.space d, a` adds the space's window, `cvta.to.space` takes it away.
fn cvta(decoder: &mut Decoder<'_>, space: &str, suffix: &str, to_space: bool) -> Result<Decoded, LoadError> {
    let base = base_of(space).ok_or_else(|| decoder.unknown())?;
    let ty = Type::from_suffix(suffix).filter(|ty| ty.size() == 8).ok_or_else(|| decoder.unknown())?;
    let mut decoded = decoder.unary::<Shift>(Class::Move, ty, ty)?;
    decoded.inst.imm = if to_space { -base.cast_signed() } else { base.cast_signed() };
    Ok(decoded)
}

/// The window of a space; 0 where addresses are generic as they are.
fn base_of(space: &str) -> Option<u64> {
    Some(match space {
        "global" | "const" => 0,
        "shared" | "shared::cta" => SHARED_WINDOW,
        "local" => LOCAL_WINDOW,
        "param" | "param::entry" => PARAM_WINDOW,
        _ => return None,
    })
}

/// `d = a + imm`
struct Shift;

impl Op for Shift {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        map1(cx, inst, |a: u64| a.wrapping_add_signed(inst.imm))
    }
}

fn isspacep(decoder: &mut Decoder<'_>, space: &str) -> Result<Decoded, LoadError> {
    let wanted: &[Window] = match space {
        // A kernel's parameters are in the global window.
        "global" => &[Window::Global, Window::Param],
        "shared" | "shared::cta" => &[Window::Shared],
        "local" => &[Window::Local],
        "param" | "param::entry" => &[Window::Param],
        _ => return Err(decoder.unknown()),
    };
    let wanted = wanted.iter().fold(0, |windows, window| windows | 1 << *window as u32);
    decoder.expect_operands(2)?;
    let (d, a) = (decoder.destination(0, Type::Pred)?, decoder.source(1, Type::U64)?);
    Ok(decoder.make::<IsSpace>(Class::Move, |inst| (inst.d, inst.a, inst.imm) = (d, a, wanted)))
}

/// `isspacep`: whether the address `a` is in one of the windows whose bits `imm` has.
struct IsSpace;

impl Op for IsSpace {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let addresses = cx.warp.registers.b64.row(inst.a);
        let mask = addresses
            .iter()
            .enumerate()
            .fold(0, |mask, (lane, address)| mask | u32::from(inst.imm >> window(*address).0 as u32 & 1 != 0) << lane);
        cx.warp.registers.set_predicate(inst.d, cx.exec, mask);
        Step::Next
    }
}
