//! Lanes that read a register of another lane: `shfl`.

use std::marker::PhantomData;

use super::Answer;
use super::members::{NO_MASK, destination_and_predicate, member_masks};
use crate::counters::Class;
use crate::exec::context::Context;
use crate::exec::decode::Decoder;
use crate::exec::instruction::{Decoded, Inst, Op, Step};
use crate::exec::lanes::{LANES, each, is_in, lanes, row, write};
use crate::findings::Kind;
use crate::gpu::LoadError;
use crate::ptx::syntax::Type;

/// Decodes `shfl.sync` and `shfl`.
///
/// # Errors
///
/// Forms that aren't known.
pub fn decode(decoder: &mut Decoder<'_>) -> Answer {
    let opcode = decoder.opcode();
    let (sync, mode) = match opcode.as_slice() {
        ["shfl", "sync", mode, "b32"] => (true, *mode),
        ["shfl", mode, "b32"] => (false, *mode),
        _ => return Ok(None),
    };
    let make = match mode {
        "up" => shuffle::<Up>,
        "down" => shuffle::<Down>,
        "bfly" => shuffle::<Butterfly>,
        "idx" => shuffle::<Index>,
        _ => return Ok(None),
    };
    make(decoder, sync).map(Some)
}

/// `d[|p], a, b, c [, mask]`: the predicate and the mask are in `list`.
fn shuffle<M: Mode>(decoder: &mut Decoder<'_>, sync: bool) -> Result<Decoded, LoadError> {
    decoder.expect_operands(if sync { 5 } else { 4 })?;
    let (d, predicate) = destination_and_predicate(decoder, 0, Type::B32)?;
    let (a, b, c) = (decoder.source(1, Type::B32)?, decoder.source(2, Type::B32)?, decoder.source(3, Type::B32)?);
    let mask = if sync { decoder.source(4, Type::B32)? } else { NO_MASK };
    Ok(decoder.make::<Shuffle<M>>(Class::Move, |inst| {
        (inst.d, inst.a, inst.b, inst.c) = (d, a, b, c);
        inst.list = Box::new([predicate, mask]);
    }))
}

/// How the lane to read is found. All numbers are of lanes, 0 to 31.
trait Mode: 'static {
    /// The lane that `lane` is to read, and whether that is in bounds: `low` is the first lane of its segment, `bound`
    /// the last one (the first one, for `.up`), `inside` the bits of a lane's number that vary within a segment.
    fn target(lane: i32, b: i32, low: i32, bound: i32, inside: i32) -> (i32, bool);
}

/// `.up`
struct Up;

impl Mode for Up {
    #[inline(always)]
    fn target(lane: i32, b: i32, _low: i32, bound: i32, _inside: i32) -> (i32, bool) {
        (lane - b, lane - b >= bound)
    }
}

/// `.down`
struct Down;

impl Mode for Down {
    #[inline(always)]
    fn target(lane: i32, b: i32, _low: i32, bound: i32, _inside: i32) -> (i32, bool) {
        (lane + b, lane + b <= bound)
    }
}

/// `.bfly`
struct Butterfly;

impl Mode for Butterfly {
    #[inline(always)]
    fn target(lane: i32, b: i32, _low: i32, bound: i32, _inside: i32) -> (i32, bool) {
        (lane ^ b, (lane ^ b) <= bound)
    }
}

/// `.idx`
struct Index;

impl Mode for Index {
    #[inline(always)]
    fn target(_lane: i32, b: i32, low: i32, bound: i32, inside: i32) -> (i32, bool) {
        let target = low | b & inside;
        (target, target <= bound)
    }
}

/// `shfl`: a lane whose target is out of bounds reads its own register. The bounds are from bits 0 to 4 of `c`, and
/// from bits 8 to 12, which say which bits of a lane's number name its segment (PTX ISA, `shfl.sync`).
struct Shuffle<M>(PhantomData<M>);

impl<M: Mode> Op for Shuffle<M> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let [predicate, mask] = inst.list[..] else { return Step::Next };
        let masks = member_masks(cx, mask);
        let exec = cx.exec;
        let registers = &mut cx.warp.registers;
        let (a, b, c) = (row::<u32>(registers, inst.a), row::<u32>(registers, inst.b), row::<u32>(registers, inst.c));
        let mut sources = [0; LANES];
        let mut in_bounds = [0; LANES];
        for lane in 0..LANES {
            let own = lane as i32;
            let c = c[lane].cast_signed();
            let (segment, clamp) = (c >> 8 & 31, c & 31);
            let low = own & segment;
            let (target, inside) =
                M::target(own, b[lane].cast_signed() & 31, low, low | clamp & !segment, !segment & 31);
            sources[lane] = (if inside { target } else { own }).cast_unsigned() % LANES as u32;
            in_bounds[lane] = u32::from(inside) << lane;
        }
        let values = each(|lane| a[sources[lane] as usize % LANES]);
        let in_bounds = in_bounds.iter().fold(0, |mask, bit| mask | bit);
        write::<u32>(registers, inst.d, exec, &values);
        registers.set_predicate(predicate, exec, in_bounds);
        if cx.launch.checks.synchronisation {
            let absent =
                (0..LANES).fold(0, |absent, lane| absent | (!(masks[lane] & exec) >> sources[lane] & 1) << lane);
            let absent = absent & exec;
            if absent != 0 {
                report(cx, absent, &sources, &masks);
            }
        }
        Step::Next
    }
}

/// Reports the first lane of `absent`, the lanes whose source doesn't take part.
#[cold]
#[inline(never)]
fn report(cx: &Context<'_>, absent: u32, sources: &[u32; LANES], masks: &[u32; LANES]) {
    let Some(lane) = lanes(absent).next() else { return };
    let source = sources[lane];
    cx.find(Kind::InactiveLane, lane, None, || {
        if is_in(cx.exec, source as usize) {
            format!("lane {lane} reads from lane {source}, which isn't in its member mask {:#010x}", masks[lane])
        } else {
            format!("lane {lane} reads from lane {source}, which doesn't execute this: the value is undefined")
        }
    });
}
