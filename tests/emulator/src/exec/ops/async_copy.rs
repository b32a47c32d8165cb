//! `cp.async`: copies from global to shared memory that arrive when a thread waits for them.
//!
//! What a copy reads is counted, and looked at for whether it may be read, when it is started; so are the wavefronts of
//! shared memory that its arrival takes. Bytes of a copy are those that come from global memory: zeros that fill the rest
//! of the destination are on no way.

use super::Answer;
use crate::counters::{Class, Traffic};
use crate::exec::access::{Access, Kind, Offsets, saturated};
use crate::exec::context::Context;
use crate::exec::copies::AsyncCopy;
use crate::exec::decode::Decoder;
use crate::exec::instruction::{Decoded, Inst, NEGATED, Op, Step};
use crate::exec::lanes::{LANES, each, is_in, lanes};
use crate::exec::traffic;
use crate::findings::Kind as Wrong;
use crate::gpu::{Fault, LoadError};
use crate::ptx::syntax::{Operand, Type};

/// Decodes `cp.async`, but for its bulk forms and those that signal an mbarrier.
///
/// # Errors
///
/// Forms that aren't known.
pub fn decode(decoder: &mut Decoder<'_>) -> Answer {
    let opcode = decoder.opcode();
    Ok(Some(match opcode.as_slice() {
        ["cp", "async", operator @ ("ca" | "cg"), "shared" | "shared::cta", "global", hints @ ..] => {
            // How much is fetched into the cache at once.
            if !matches!(hints, [] | ["L2::64B" | "L2::128B" | "L2::256B"]) {
                return Err(decoder.unknown());
            }
            let past_first_cache = *operator == "cg";
            start(decoder, past_first_cache)?
        }
        ["cp", "async", "commit_group"] => {
            decoder.expect_operands(0)?;
            decoder.make::<Commit>(Class::Barrier, |_| {})
        }
        ["cp", "async", "wait_all"] => {
            decoder.expect_operands(0)?;
            decoder.make::<WaitForAll>(Class::Barrier, |_| {})
        }
        ["cp", "async", "wait_group"] => {
            decoder.expect_operands(1)?;
            let rest = decoder
                .integer(0)?
                .and_then(|rest| u32::try_from(rest).ok())
                .ok_or_else(|| decoder.error("a number of groups is needed here"))?;
            decoder.make::<Wait>(Class::Barrier, |inst| inst.c = rest)
        }
        _ => return Ok(None),
    }))
}

/// The whole source is copied.
const WHOLE: u32 = 0;
/// As many bytes as a register says.
const SIZED: u32 = 1;
/// The whole source, or nothing where a predicate holds.
const UNLESS: u32 = 2;

/// `[destination], [source], size [, source size or predicate]`.
fn start(decoder: &mut Decoder<'_>, past_first_cache: bool) -> Result<Decoded, LoadError> {
    let count = decoder.instruction.operands.len();
    if !(3..=4).contains(&count) {
        return Err(decoder.error(format!("expected 3 or 4 operands, found {count}")));
    }
    let (to, from) = (decoder.address(0)?, decoder.address(1)?);
    let size = match decoder.integer(2)? {
        Some(16) => 16,
        Some(size @ (4 | 8)) if !past_first_cache => size as u32,
        Some(_) | None => return Err(decoder.error("the size must be 4, 8 or 16 bytes, for .cg 16")),
    };
    let offset = i32::try_from(to.offset).map_err(|_| decoder.error("the offset is outside shared memory"))?;
    let (mode, slot) = if count == 3 {
        (WHOLE, 0)
    } else if is_predicate(decoder)? {
        (UNLESS, decoder.predicate(3)?)
    } else {
        (SIZED, decoder.source(3, Type::U32)?)
    };
    Ok(decoder.make::<Start>(Class::Memory, |inst| {
        (inst.d, inst.a, inst.b, inst.c) = (to.slot, from.slot, mode, slot);
        inst.imm = from.offset;
        inst.list = Box::new([size, u32::from(to.wide), u32::from(from.wide), offset.cast_unsigned()]);
    }))
}

/// Whether the last operand is a predicate.
fn is_predicate(decoder: &Decoder<'_>) -> Result<bool, LoadError> {
    Ok(match decoder.operand(3)? {
        Operand::Register(register) | Operand::Not(register) => decoder.type_of(*register)? == Type::Pred,
        Operand::Pair(..)
        | Operand::Vector(_)
        | Operand::Integer(_)
        | Operand::F32(_)
        | Operand::F64(_)
        | Operand::Special(_)
        | Operand::Symbol(..)
        | Operand::Label(_)
        | Operand::BranchTable(_)
        | Operand::Address(..)
        | Operand::Sink
        | Operand::List(_) => false,
    })
}

/// `cp.async.ca` and `.cg`: to `d`, from `a` plus `imm`, the mode in `b` with its slot in `c`. `list`: the size in bytes,
/// whether `d` and `a` have 64 bits, what to add to `d`.
struct Start;

impl Op for Start {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let [size, to_wide, from_wide, offset] = inst.list[..] else { return cx.fault(Fault::Trap) };
        let to = cx.addresses(inst.d, to_wide != 0, i64::from(offset.cast_signed()));
        let from = cx.addresses(inst.a, from_wide != 0, inst.imm);
        let registers = &cx.warp.registers;
        let sources = match inst.b {
            WHOLE => [size; LANES],
            SIZED => *registers.b32.row(inst.c),
            _ => {
                let ignored = registers.predicate(inst.c & !NEGATED);
                let ignored = if inst.c & NEGATED == 0 { ignored } else { !ignored };
                each(|lane| if is_in(ignored, lane) { 0 } else { size })
            }
        };
        match copy(cx, &from, &to, size, &sources) {
            Ok(()) => Step::Next,
            Err(step) => step,
        }
    }
}

#[inline(always)]
fn copy(cx: &mut Context<'_>, from: &Offsets, to: &Offsets, size: u32, sources: &[u32; LANES]) -> Result<(), Step> {
    let mask = cx.exec;
    let to = cx.shared_unchecked(Access { kind: Kind::Write, size, strong: false }, &saturated(to), mask)?;
    let whole = sources.iter().enumerate().fold(0, |whole, (lane, bytes)| whole | u32::from(*bytes == size) << lane);
    if mask & !whole != 0 {
        return copy_parts(cx, from, to, size, sources);
    }
    cx.global(Access { kind: Kind::Read, size, strong: false }, from, mask, |cx, _, from, part| {
        let place = cx.worker.recent;
        cx.start_copy(AsyncCopy { sources: [size; LANES], place, from: *from, ..AsyncCopy::new(part, size, to) });
    })
}

/// Copies that fill a part of the destination, or all of it, with zeros.
///
/// Sources are looked at in pieces that are powers of two, the largest first: 12 bytes are 8 and 4. They are aligned as
/// the whole is, so that all of a lane's are in one allocation and one sector.
#[inline(never)]
fn copy_parts(
    cx: &mut Context<'_>,
    from: &Offsets,
    to: [u32; LANES],
    size: u32,
    sources: &[u32; LANES],
) -> Result<(), Step> {
    let mask = cx.exec;
    for lane in lanes(mask) {
        if sources[lane] > size {
            cx.find(Wrong::Trap, lane, Some(from[lane]), || {
                format!("copy of {size} bytes of which {} come from global memory", sources[lane])
            });
            return Err(cx.fault(Fault::Trap));
        }
    }
    let of = |holds: &dyn Fn(u32) -> bool| {
        lanes(mask).filter(|lane| holds(sources[*lane])).fold(0, |part, lane| part | 1 << lane)
    };
    let nothing = of(&|bytes| bytes == 0);
    if nothing != 0 {
        cx.start_copy(AsyncCopy::new(nothing, size, to));
    }
    let misaligned = lanes(mask & !nothing).find(|lane| !from[*lane].is_multiple_of(size.into()));
    if let Some(lane) = misaligned {
        // The access of the whole size says what is wrong.
        return cx.global_part(
            Access { kind: Kind::Read, size, strong: false },
            from,
            1 << lane,
            false,
            |_, _, _, _| {},
        );
    }
    let mut piece = size;
    while piece > 0 {
        let part = of(&|bytes| bytes & piece != 0);
        let at: Offsets = each(|lane| from[lane].wrapping_add(u64::from(sources[lane] & !(2 * piece - 1))));
        let access = Access { kind: Kind::Read, size: piece, strong: false };
        cx.global_part(access, &at, part, false, |cx, allocation, offsets, part| {
            let place = cx.worker.recent;
            if cx.launch.counters {
                let read = &mut cx.worker.read;
                traffic::sectors(offsets, part, piece, |first, last| {
                    allocation.sectors_read.touch(first, last, |word| read.push((place as u32, word)));
                });
            }
            let first = lanes(part).filter(|lane| sources[*lane] < 2 * piece).fold(0, |part, lane| part | 1 << lane);
            if first != 0 {
                cx.start_copy(AsyncCopy {
                    sources: *sources,
                    place,
                    from: *offsets,
                    ..AsyncCopy::new(first, size, to)
                });
            }
        })?;
        piece /= 2;
    }
    let reading = mask & !nothing;
    if cx.launch.counters && reading != 0 {
        let sectors = traffic::sectors(from, reading, size, |_, _| {});
        let bytes = lanes(reading).map(|lane| u64::from(sources[lane])).sum();
        let traffic = Traffic { requests: 1, sectors, bytes };
        cx.worker.traffic.loads += traffic;
        *cx.worker.site(cx.warp.pc) += traffic;
    }
    Ok(())
}

/// `cp.async.commit_group`.
struct Commit;

impl Op for Commit {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, _inst: &Inst) -> Step {
        cx.warp.copies.commit(cx.exec);
        Step::Next
    }
}

/// `cp.async.wait_group`, with how many groups may stay on their way in `c`.
struct Wait;

impl Op for Wait {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        cx.wait_for_copies(inst.c);
        Step::Next
    }
}

/// `cp.async.wait_all`: also for what isn't committed.
struct WaitForAll;

impl Op for WaitForAll {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, _inst: &Inst) -> Step {
        cx.warp.copies.commit(cx.exec);
        cx.wait_for_copies(0);
        Step::Next
    }
}
