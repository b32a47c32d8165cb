//! What lanes find out together: `vote`, `match`, `redux`, `elect`, `activemask`.

use std::marker::PhantomData;

use super::Answer;
use super::members::{NO_MASK, destination_and_predicate, groups, member_masks};
use crate::counters::Class;
use crate::exec::context::Context;
use crate::exec::decode::Decoder;
use crate::exec::instruction::{Decoded, Inst, NEGATED, Op, Step};
use crate::exec::lanes::{ALL, Element, LANES, Word, each, is_in, lanes, row, write};
use crate::gpu::LoadError;
use crate::ptx::syntax::Type;

/// Decodes what lanes find out together.
///
/// # Errors
///
/// Forms that aren't known.
pub fn decode(decoder: &mut Decoder<'_>) -> Answer {
    let opcode = decoder.opcode();
    Ok(Some(match opcode.as_slice() {
        ["vote", "sync", "ballot", "b32"] => vote::<Ballot>(decoder, Type::B32, true)?,
        ["vote", "ballot", "b32"] => vote::<Ballot>(decoder, Type::B32, false)?,
        ["vote", "sync", "all", "pred"] => vote::<Vote<All>>(decoder, Type::Pred, true)?,
        ["vote", "all", "pred"] => vote::<Vote<All>>(decoder, Type::Pred, false)?,
        ["vote", "sync", "any", "pred"] => vote::<Vote<Any>>(decoder, Type::Pred, true)?,
        ["vote", "any", "pred"] => vote::<Vote<Any>>(decoder, Type::Pred, false)?,
        ["vote", "sync", "uni", "pred"] => vote::<Vote<Uniform>>(decoder, Type::Pred, true)?,
        ["vote", "uni", "pred"] => vote::<Vote<Uniform>>(decoder, Type::Pred, false)?,
        ["match", "any", "sync", "b32"] => decoder.binary::<MatchAny<u32>>(Class::Move, Type::B32, [Type::B32; 2])?,
        ["match", "any", "sync", "b64"] => {
            decoder.binary::<MatchAny<u64>>(Class::Move, Type::B32, [Type::B64, Type::B32])?
        }
        ["match", "all", "sync", "b32"] => match_all::<u32>(decoder, Type::B32)?,
        ["match", "all", "sync", "b64"] => match_all::<u64>(decoder, Type::B64)?,
        ["redux", "sync", "add", "u32" | "s32"] => redux::<Add>(decoder)?,
        ["redux", "sync", "min", "u32"] => redux::<Min<u32>>(decoder)?,
        ["redux", "sync", "min", "s32"] => redux::<Min<i32>>(decoder)?,
        ["redux", "sync", "max", "u32"] => redux::<Max<u32>>(decoder)?,
        ["redux", "sync", "max", "s32"] => redux::<Max<i32>>(decoder)?,
        ["redux", "sync", "and", "b32"] => redux::<And>(decoder)?,
        ["redux", "sync", "or", "b32"] => redux::<Or>(decoder)?,
        ["redux", "sync", "xor", "b32"] => redux::<Xor>(decoder)?,
        ["elect", "sync"] => {
            decoder.expect_operands(2)?;
            let (d, predicate) = destination_and_predicate(decoder, 0, Type::B32)?;
            let mask = decoder.source(1, Type::B32)?;
            decoder.make::<Elect>(Class::Move, |inst| (inst.d, inst.b, inst.c) = (d, mask, predicate))
        }
        ["activemask", "b32"] => {
            decoder.expect_operands(1)?;
            let d = decoder.destination(0, Type::B32)?;
            decoder.make::<ActiveMask>(Class::Move, |inst| inst.d = d)
        }
        _ => return Ok(None),
    }))
}

/// `d, {!}a [, mask]`
fn vote<O: Op>(decoder: &mut Decoder<'_>, d: Type, sync: bool) -> Result<Decoded, LoadError> {
    decoder.expect_operands(if sync { 3 } else { 2 })?;
    let (d, a) = (decoder.destination(0, d)?, decoder.predicate(1)?);
    let mask = if sync { decoder.source(2, Type::B32)? } else { NO_MASK };
    Ok(decoder.make::<O>(Class::Move, |inst| (inst.d, inst.a, inst.b) = (d, a, mask)))
}

/// `d[|p], a, mask`
fn match_all<T: Word + PartialEq>(decoder: &mut Decoder<'_>, a: Type) -> Result<Decoded, LoadError> {
    decoder.expect_operands(3)?;
    let (d, predicate) = destination_and_predicate(decoder, 0, Type::B32)?;
    let (a, mask) = (decoder.source(1, a)?, decoder.source(2, Type::B32)?);
    Ok(decoder.make::<MatchAll<T>>(Class::Move, |inst| (inst.d, inst.a, inst.b, inst.c) = (d, a, mask, predicate)))
}

/// `d, a, mask`
fn redux<R: Reduction>(decoder: &mut Decoder<'_>) -> Result<Decoded, LoadError> {
    decoder.binary::<Redux<R>>(Class::Integer, Type::B32, [Type::B32; 2])
}

/// The source predicate of a vote, in all lanes.
#[inline(always)]
fn votes(cx: &Context<'_>, inst: &Inst) -> u32 {
    let value = cx.warp.registers.predicate(inst.a & !NEGATED);
    if inst.a & NEGATED == 0 { value } else { !value }
}

/// A question to the members of a vote.
trait Question: 'static {
    /// The answer, from the members and those of them that vote for it.
    fn ask(members: u32, votes: u32) -> bool;
}

/// `.all`
struct All;

impl Question for All {
    #[inline(always)]
    fn ask(members: u32, votes: u32) -> bool {
        votes == members
    }
}

/// `.any`
struct Any;

impl Question for Any {
    #[inline(always)]
    fn ask(_members: u32, votes: u32) -> bool {
        votes != 0
    }
}

/// `.uni`
struct Uniform;

impl Question for Uniform {
    #[inline(always)]
    fn ask(members: u32, votes: u32) -> bool {
        votes == members || votes == 0
    }
}

/// `vote` with a predicate as its result.
struct Vote<Q>(PhantomData<Q>);

impl<Q: Question> Op for Vote<Q> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let masks = member_masks(cx, inst.b);
        let votes = votes(cx, inst);
        for group in groups(&masks, cx.exec) {
            let answer = if Q::ask(group.members, votes & group.members) { ALL } else { 0 };
            cx.warp.registers.set_predicate(inst.d, group.receivers, answer);
        }
        Step::Next
    }
}

/// `vote.ballot`: the members that vote for it.
struct Ballot;

impl Op for Ballot {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let masks = member_masks(cx, inst.b);
        let votes = votes(cx, inst) & cx.exec;
        let values = each(|lane| votes & masks[lane]);
        write::<u32>(&mut cx.warp.registers, inst.d, cx.exec, &values);
        Step::Next
    }
}

/// The lanes whose value is `value`.
#[inline(always)]
fn equal_to<T: Word + PartialEq>(values: &[T; LANES], value: T) -> u32 {
    (0..LANES).fold(0, |mask, lane| mask | u32::from(values[lane] == value) << lane)
}

/// `match.any`: the members with the lane's own value.
struct MatchAny<T>(PhantomData<T>);

impl<T: Word + PartialEq> Op for MatchAny<T> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let masks = member_masks(cx, inst.b);
        let a = row::<T>(&cx.warp.registers, inst.a);
        let values = each(|lane| masks[lane] & cx.exec & equal_to(a, a[lane]));
        write::<u32>(&mut cx.warp.registers, inst.d, cx.exec, &values);
        Step::Next
    }
}

/// `match.all`: the members if all have one value, else none; the predicate in `c` says which.
struct MatchAll<T>(PhantomData<T>);

impl<T: Word + PartialEq> Op for MatchAll<T> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let masks = member_masks(cx, inst.b);
        let registers = &mut cx.warp.registers;
        for group in groups(&masks, cx.exec) {
            let a = row::<T>(registers, inst.a);
            let one = a[group.members.trailing_zeros() as usize % LANES];
            let same = group.members & !equal_to(a, one) == 0;
            let (value, holds) = if same { (group.members, ALL) } else { (0, 0) };
            write::<u32>(registers, inst.d, group.receivers, &[value; LANES]);
            registers.set_predicate(inst.c, group.receivers, holds);
        }
        Step::Next
    }
}

/// A reduction of 32-bit values.
trait Reduction: 'static {
    /// The value that changes nothing.
    const NEUTRAL: u32;
    /// Two values as one.
    fn reduce(x: u32, y: u32) -> u32;
}

/// `.add`, modulo 2^32.
struct Add;

impl Reduction for Add {
    const NEUTRAL: u32 = 0;
    #[inline(always)]
    fn reduce(x: u32, y: u32) -> u32 {
        x.wrapping_add(y)
    }
}

/// `.min` of a type.
struct Min<T>(PhantomData<T>);

impl Reduction for Min<u32> {
    const NEUTRAL: u32 = u32::MAX;
    #[inline(always)]
    fn reduce(x: u32, y: u32) -> u32 {
        x.min(y)
    }
}

impl Reduction for Min<i32> {
    const NEUTRAL: u32 = i32::MAX.cast_unsigned();
    #[inline(always)]
    fn reduce(x: u32, y: u32) -> u32 {
        i32::from_bits(x).min(i32::from_bits(y)).into_bits()
    }
}

/// `.max` of a type.
struct Max<T>(PhantomData<T>);

impl Reduction for Max<u32> {
    const NEUTRAL: u32 = 0;
    #[inline(always)]
    fn reduce(x: u32, y: u32) -> u32 {
        x.max(y)
    }
}

impl Reduction for Max<i32> {
    const NEUTRAL: u32 = i32::MIN.cast_unsigned();
    #[inline(always)]
    fn reduce(x: u32, y: u32) -> u32 {
        i32::from_bits(x).max(i32::from_bits(y)).into_bits()
    }
}

/// `.and`
struct And;

impl Reduction for And {
    const NEUTRAL: u32 = u32::MAX;
    #[inline(always)]
    fn reduce(x: u32, y: u32) -> u32 {
        x & y
    }
}

/// `.or`
struct Or;

impl Reduction for Or {
    const NEUTRAL: u32 = 0;
    #[inline(always)]
    fn reduce(x: u32, y: u32) -> u32 {
        x | y
    }
}

/// `.xor`
struct Xor;

impl Reduction for Xor {
    const NEUTRAL: u32 = 0;
    #[inline(always)]
    fn reduce(x: u32, y: u32) -> u32 {
        x ^ y
    }
}

/// `redux.sync`: the members' values as one.
struct Redux<R>(PhantomData<R>);

impl<R: Reduction> Op for Redux<R> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let masks = member_masks(cx, inst.b);
        let registers = &mut cx.warp.registers;
        let a = *row::<u32>(registers, inst.a);
        for group in groups(&masks, cx.exec) {
            let value = (0..LANES).fold(R::NEUTRAL, |value, lane| {
                R::reduce(value, if is_in(group.members, lane) { a[lane] } else { R::NEUTRAL })
            });
            write::<u32>(registers, inst.d, group.receivers, &[value; LANES]);
        }
        Step::Next
    }
}

/// `elect.sync`: one of the members, the same each time; here the lowest. The predicate in `c` says who it is.
struct Elect;

impl Op for Elect {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let masks = member_masks(cx, inst.b);
        for group in groups(&masks, cx.exec) {
            let Some(leader) = lanes(group.members).next() else { continue };
            write::<u32>(&mut cx.warp.registers, inst.d, group.receivers, &[leader as u32; LANES]);
            cx.warp.registers.set_predicate(inst.c, group.receivers, 1 << leader);
        }
        Step::Next
    }
}

/// `activemask`: the lanes that execute it.
struct ActiveMask;

impl Op for ActiveMask {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        write::<u32>(&mut cx.warp.registers, inst.d, cx.exec, &[cx.exec; LANES]);
        Step::Next
    }
}
