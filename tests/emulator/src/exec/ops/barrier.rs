//! Barriers and fences: `bar`, `barrier`, `membar`, `fence`.

use super::Answer;
use crate::counters::Class;
use crate::exec::barrier::{BARRIERS, Operation, Reduction, Waiting};
use crate::exec::context::Context;
use crate::exec::decode::Decoder;
use crate::exec::instruction::{Decoded, Inst, Op, Step};
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

/// `bar.warp.sync`: mask in `a`.
struct WarpBarrier;

impl Op for WarpBarrier {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let lane = cx.exec.trailing_zeros() as usize;
        let mask = cx.warp.registers.b32.row(inst.a)[lane];
        if cx.launch.checks.races {
            let lanes = if mask | !cx.exec == u32::MAX { mask } else { mask & cx.exec };
            cx.block.shadow.warp_sync(cx.warp.index as usize, lanes);
        }
        Step::Next
    }
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
