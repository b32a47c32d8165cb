//! Which lanes take part in an instruction that lanes execute together, and what is reported if some aren't there.

use crate::exec::context::Context;
use crate::exec::decode::Decoder;
use crate::exec::lanes::{ALL, LANES, is_in, lanes, row};
use crate::findings::Kind;
use crate::gpu::LoadError;
use crate::ptx::syntax::{Operand, Type};

/// The slot of the member masks of an instruction that has none: all lanes that execute it take part.
pub(super) const NO_MASK: u32 = u32::MAX;

/// The member mask of each lane, from a slot or [`NO_MASK`]. Those of lanes that don't execute mean nothing.
///
/// Reports a lane that isn't in its own mask, one that is named but executes something else, and one that named others
/// than a lane that it named did. A lane that has exited, or never was, may be named: hardware doesn't wait for it.
#[inline(always)]
pub(super) fn member_masks(cx: &Context<'_>, slot: u32) -> [u32; LANES] {
    if slot == NO_MASK {
        return [cx.exec; LANES];
    }
    let masks = *row::<u32>(&cx.warp.registers, slot);
    if cx.launch.checks.synchronisation {
        let (exec, elsewhere) = (cx.exec, cx.warp.alive & !cx.exec);
        let first = masks[exec.trailing_zeros() as usize % LANES];
        let mut suspect = 0;
        for (lane, mask) in masks.iter().copied().enumerate() {
            let here = mask & elsewhere | !mask >> lane & 1 | mask ^ first;
            suspect |= if is_in(exec, lane) { here } else { 0 };
        }
        if suspect != 0 {
            report(cx, &masks);
        }
    }
    masks
}

/// Reports the first lane whose member mask is wrong, if there is one.
#[cold]
#[inline(never)]
fn report(cx: &Context<'_>, masks: &[u32; LANES]) {
    let elsewhere = cx.warp.alive & !cx.exec;
    for lane in lanes(cx.exec) {
        let mask = masks[lane];
        let message = if !is_in(mask, lane) {
            format!("lane {lane} executes this, but isn't in its own member mask {mask:#010x}")
        } else if mask & elsewhere != 0 {
            let missing = mask & elsewhere;
            format!("the member mask {mask:#010x} names lanes that don't execute this: {missing:#010x} are elsewhere")
        } else if let Some(other) = lanes(mask & cx.exec).find(|other| masks[*other] != mask) {
            format!(
                "lane {lane} has the member mask {mask:#010x}, but lane {other}, which it names, has {:#010x}",
                masks[other]
            )
        } else {
            continue;
        };
        cx.find(Kind::InactiveLane, lane, None, || message);
        return;
    }
}

/// Lanes that named the same members.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    /// The members that execute the instruction.
    pub(super) members: u32,
    /// The lanes that named them, which get the result.
    pub(super) receivers: u32,
}

/// The lanes of `exec`, by their member masks. In a right program each group's members are its receivers.
#[inline(always)]
pub(super) fn groups(masks: &[u32; LANES], exec: u32) -> impl Iterator<Item = Group> {
    let mut left = exec;
    std::iter::from_fn(move || {
        if left == 0 {
            return None;
        }
        let mask = masks[left.trailing_zeros() as usize % LANES];
        let same = (0..LANES).fold(0, |same, lane| same | u32::from(masks[lane] == mask) << lane);
        let group = Group { members: mask & exec, receivers: same & left };
        left &= !same;
        Some(group)
    })
}

/// Reports an instruction of the whole warp that only a part of it executes.
#[inline(always)]
pub(super) fn expect_whole_warp(cx: &Context<'_>) {
    if cx.exec != ALL && cx.launch.checks.synchronisation {
        let missing = !cx.exec;
        cx.find(Kind::PartialWarp, cx.exec.trailing_zeros() as usize, None, || {
            format!("all 32 lanes must execute this together, each holds a part: lanes {missing:#010x} don't")
        });
    }
}

/// The slots of operand `n` as `d|p` or `d`: a register of the width of `ty`, and a predicate.
pub(super) fn destination_and_predicate(
    decoder: &mut Decoder<'_>,
    n: usize,
    ty: Type,
) -> Result<(u32, u32), LoadError> {
    let operand = decoder.operand(n)?.clone();
    if let Operand::Pair(value, predicate) = operand {
        Ok((decoder.destination_of(&value, ty)?, decoder.destination_of(&predicate, Type::Pred)?))
    } else {
        Ok((decoder.destination_of(&operand, ty)?, decoder.scratch(Type::Pred)))
    }
}
