//! Barriers and fences: `bar`, `barrier`, `membar`, `fence`.

use super::Answer;
use crate::counters::Class;
use crate::exec::barrier::{BARRIERS, Operation, Reduction, Waiting};
use crate::exec::context::Context;
use crate::exec::decode::Decoder;
use crate::exec::instruction::{Decoded, Inst, Op, Step};
use crate::exec::lanes::lanes;
use crate::findings::Kind;
use crate::gpu::{Fault, LoadError};
use crate::ptx::syntax::{Operand, Type};

/// No operand.
const NONE: u32 = u32::MAX;

/// Decodes barriers and fences.
///
/// # Errors
///
/// Forms that aren't known.
pub fn decode(decoder: &mut Decoder<'_>) -> Answer {
    let opcode = decoder.opcode();
    let parts: Vec<&str> = opcode.iter().copied().filter(|part| !matches!(*part, "cta" | "aligned")).collect();
    Ok(Some(match parts.as_slice() {
        ["bar", "warp", "sync"] => {
            decoder.expect_operands(1)?;
            let mask = decoder.source(0, Type::B32)?;
            decoder.make::<WarpBarrier>(Class::Barrier, |inst| inst.a = mask)
        }
        ["bar" | "barrier", "sync"] => wait(decoder, 0, None)?,
        ["bar" | "barrier", "arrive"] => {
            decoder.expect_operands(2)?;
            let (number, threads) = (decoder.source(0, Type::U32)?, decoder.source(1, Type::U32)?);
            decoder.make::<Arrive>(Class::Barrier, |inst| (inst.a, inst.b) = (number, threads))
        }
        ["bar" | "barrier", "red", "popc", "u32"] => wait(decoder, 1, Some((Operation::Count, Type::U32)))?,
        ["bar" | "barrier", "red", "and", "pred"] => wait(decoder, 1, Some((Operation::All, Type::Pred)))?,
        ["bar" | "barrier", "red", "or", "pred"] => wait(decoder, 1, Some((Operation::Any, Type::Pred)))?,
        ["membar", "gl" | "sys"]
        | ["fence", "gpu" | "sys" | "cluster"]
        | ["fence", "sc" | "acq_rel" | "acquire" | "release", "gpu" | "sys" | "cluster"] => {
            decoder.make::<Fence>(Class::Barrier, |_| {})
        }
        // Within a block, barriers order.
        ["membar"] | ["fence"] | ["fence", "sc" | "acq_rel" | "acquire" | "release"] => {
            decoder.make::<BlockFence>(Class::Barrier, |_| {})
        }
        _ => return Ok(None),
    }))
}

/// `[result,] barrier [, threads] [, predicate]`, from operand `first` on.
fn wait(decoder: &mut Decoder<'_>, first: usize, reduction: Option<(Operation, Type)>) -> Result<Decoded, LoadError> {
    let count = decoder.instruction.operands.len();
    let last = count.saturating_sub(usize::from(reduction.is_some()));
    if last < first + 1 || last > first + 2 {
        return Err(decoder.error("a barrier and at most a number of threads are needed here"));
    }
    let number = decoder.source(first, Type::U32)?;
    let threads = if last == first + 2 { decoder.source(first + 1, Type::U32)? } else { NONE };
    Ok(match reduction {
        None => decoder.make::<Wait>(Class::Barrier, |inst| (inst.a, inst.b) = (number, threads)),
        Some((operation, ty)) => {
            let result = match (decoder.operand(0)?, ty) {
                (Operand::Register(register), Type::Pred) => decoder.register(*register, Type::Pred)?,
                _ => decoder.destination(0, ty)?,
            };
            let predicate = decoder.predicate(count - 1)?;
            let list = Box::new([operation as u32, predicate]);
            decoder.make::<Wait>(Class::Barrier, |inst| {
                (inst.d, inst.a, inst.b, inst.list) = (result, number, threads, list);
            })
        }
    })
}

/// `bar.sync` and `bar.red`: barrier in `a`, threads in `b`, and for `red` the operation and predicate in `list`.
struct Wait;

impl Op for Wait {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let Some((barrier, threads)) = operands(cx, inst) else { return cx.fault(Fault::Trap) };
        let reduction = match inst.list[..] {
            [operation, predicate] => {
                let value = cx.warp.registers.operand(predicate);
                let operation = match operation {
                    0 => Operation::Count,
                    1 => Operation::All,
                    _ => Operation::Any,
                };
                Some(Reduction { operation, slot: inst.d, lanes: cx.exec, holds: value & cx.exec })
            }
            _ => None,
        };
        cx.warp.waiting = Some(Waiting { barrier, threads, reduction });
        Step::Wait
    }
}

/// `bar.arrive`: barrier in `a`, threads in `b`.
struct Arrive;

impl Op for Arrive {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let Some((barrier, threads)) = operands(cx, inst) else { return cx.fault(Fault::Trap) };
        cx.warp.waiting = Some(Waiting { barrier, threads, reduction: None });
        Step::Arrive
    }
}

/// The barrier and the number of threads, after the checks that both need.
fn operands(cx: &mut Context<'_>, inst: &Inst) -> Option<(u32, Option<u32>)> {
    let lane = cx.exec.trailing_zeros() as usize;
    let number = cx.warp.registers.b32.row(inst.a)[lane];
    let threads = (inst.b != NONE).then(|| cx.warp.registers.b32.row(inst.b)[lane]);
    if number as usize >= BARRIERS {
        cx.find(Kind::Trap, lane, None, || format!("barrier {number}, where {BARRIERS} is how many there are"));
        return None;
    }
    if let Some(threads) = threads
        && (threads == 0 || threads % 32 != 0)
    {
        cx.find(Kind::Trap, lane, None, || format!("a barrier for {threads} threads, which is no multiple of 32"));
        return None;
    }
    if cx.launch.checks.synchronisation && cx.exec != cx.warp.lanes {
        let missing = cx.warp.lanes & !cx.exec;
        cx.find(Kind::DivergentBarrier, lane, None, || {
            format!("barrier {number} was reached by a part of the warp: lanes {missing:#010x} are elsewhere")
        });
    }
    Some((number, threads))
}

/// `bar.warp.sync`: mask in `a`. Lanes that have parted may meet at different ones with the same mask: those that come
/// first give way to the others.
struct WarpBarrier;

impl Op for WarpBarrier {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let masks = cx.warp.registers.b32.row(inst.a);
        let mask = masks[cx.exec.trailing_zeros() as usize];
        let alike = lanes(cx.exec).all(|lane| masks[lane] == mask);
        if alike && mask & cx.warp.alive == cx.exec && cx.warp.gathered.is_empty() && cx.warp.released == 0 {
            synchronise(cx, mask);
            return Step::Next;
        }
        gather(cx, inst)
    }
}

/// Orders what lanes of a warp did before what they do from now on.
fn synchronise(cx: &mut Context<'_>, mask: u32) {
    if cx.launch.checks.races {
        let all = mask & cx.warp.alive == cx.warp.alive;
        cx.block.shadow.warp_sync(cx.warp.index as usize, if all { u32::MAX } else { mask });
    }
}

/// A barrier at which not all lanes of its mask arrive together, or with several masks.
#[inline(never)]
fn gather(cx: &mut Context<'_>, inst: &Inst) -> Step {
    let masks = *cx.warp.registers.b32.row(inst.a);
    let mut left = cx.exec & !cx.warp.released;
    cx.warp.released &= !cx.exec;
    let mut missing = 0;
    while left != 0 {
        let lane = left.trailing_zeros() as usize;
        let mask = masks[lane];
        let here = lanes(left).filter(|lane| masks[*lane] == mask).fold(0, |here, lane| here | 1 << lane);
        left &= !here;
        if here & !mask != 0 && cx.launch.checks.synchronisation {
            let lane = (here & !mask).trailing_zeros() as usize;
            cx.find(Kind::InactiveLane, lane, None, || format!("lane {lane} isn't in its own mask {mask:#010x}"));
        }
        let known = cx.warp.gathered.iter().position(|(gathered, _)| *gathered == mask);
        let earlier = known.map_or(0, |place| cx.warp.gathered.swap_remove(place).1);
        let arrived = here | earlier;
        let absent = mask & cx.warp.alive & !arrived;
        if absent == 0 {
            synchronise(cx, mask);
            cx.warp.released |= earlier & !here;
        } else {
            cx.warp.gathered.push((mask, arrived));
            missing |= absent;
        }
    }
    if missing == 0 {
        return Step::Next;
    }
    if cx.exec == cx.warp.active {
        let pc = cx.warp.pc as usize;
        if cx.warp.give_way(missing) {
            // The instruction is issued again when these lanes come back to it.
            let site = &mut cx.worker.sites[pc];
            site.warps -= 1;
            site.threads -= u64::from(cx.exec.count_ones());
            return Step::Moved;
        }
    }
    if cx.launch.checks.synchronisation {
        let lane = cx.exec.trailing_zeros() as usize;
        cx.find(Kind::InactiveLane, lane, None, || {
            format!("a barrier of the warp names lanes {missing:#010x}, which are elsewhere and don't come to it")
        });
    }
    for (mask, _) in std::mem::take(&mut cx.warp.gathered) {
        synchronise(cx, mask & cx.exec);
    }
    Step::Next
}

/// A fence for the device or wider.
struct Fence;

impl Op for Fence {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, _inst: &Inst) -> Step {
        if cx.launch.checks.races {
            cx.block.clock.fence(cx.warp.index as usize, cx.exec);
        }
        Step::Next
    }
}

/// A fence for the block.
struct BlockFence;

impl Op for BlockFence {
    #[inline(always)]
    fn run(_cx: &mut Context<'_>, _inst: &Inst) -> Step {
        Step::Next
    }
}
