//! A warp: 32 lanes in lockstep.
//!
//! Lanes that part at a branch meet again at its immediate post-dominator. A stack holds the parts that wait: when
//! those that run come to where they are to meet, the topmost waiting part takes its turn; the lowest entry of a branch
//! is all of its lanes, at the meeting point.

use super::barrier::Waiting;
use super::context::Context;
use super::copies::Copies;
use super::instruction::{NEGATED, Step, UNGUARDED};
use super::lanes::ALL;
use super::local::Local;
use super::registers::{Registers, Window};

/// No instruction: where lanes meet that haven't parted.
pub const NOWHERE: u32 = u32::MAX;

/// Lanes that wait for others of their warp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    /// Where they go on.
    pub pc: u32,
    /// Which lanes.
    pub mask: u32,
    /// Where they meet the others.
    pub meet: u32,
}

/// A call that hasn't returned.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Where the caller goes on.
    pub caller: Split,
    /// The caller's registers.
    pub window: Window,
    /// The caller's local frame: from, to.
    pub local: [u32; 2],
    /// How many splits there were at the call.
    pub splits: usize,
    /// Lanes that called.
    pub called: u32,
    /// Lanes that are still in the function.
    pub inside: u32,
    /// What to copy when it returns: from where and to where in local memory, bytes.
    pub results: Vec<(u32, u32, u32)>,
}

/// A warp.
#[derive(Debug, Default)]
pub struct Warp {
    /// Its registers.
    pub registers: Registers,
    /// Its local memory.
    pub local: Local,
    /// Where the running function's frame begins in local memory.
    pub local_base: u32,
    /// Where it ends.
    pub local_top: u32,
    /// Its number in the block.
    pub index: u32,
    /// Lanes that it began with.
    pub lanes: u32,
    /// Lanes that execute, before guards.
    pub active: u32,
    /// Lanes that exist and haven't exited.
    pub alive: u32,
    /// The instruction to execute next.
    pub pc: u32,
    /// Where the active lanes meet the others.
    pub meet: u32,
    /// Parts that wait.
    pub splits: Vec<Split>,
    /// Calls that haven't returned; the kernel itself has none.
    pub frames: Vec<Frame>,
    /// Lanes that wait at a `bar.warp.sync`: its mask, and those of it that have arrived.
    pub gathered: Vec<(u32, u32)>,
    /// Lanes whose `bar.warp.sync` is complete, and that haven't gone on yet.
    pub released: u32,
    /// The carries of `add.cc` and the like, a bit for each lane.
    pub carry: u32,
    /// Copies by `cp.async` that it hasn't waited for.
    pub copies: Copies,
    /// The barrier that it waits at.
    pub waiting: Option<Waiting>,
    /// Whether no lane is left.
    pub done: bool,
}

/// Why a warp stopped running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// It used up its turn.
    Turn,
    /// It waits at a barrier.
    Waits,
    /// It arrived at a barrier that it doesn't wait at.
    Arrived,
    /// It came to its end.
    Done,
    /// The launch can't go on.
    Fault,
}

impl Warp {
    /// Makes it begin a kernel, with `lanes` threads and `local` bytes of local memory each.
    pub fn begin(&mut self, index: u32, lanes: u32, pc: u32, local: u32) {
        let mask = if lanes >= 32 { ALL } else { (1 << lanes) - 1 };
        (self.index, self.lanes, self.active, self.alive) = (index, mask, mask, mask);
        (self.pc, self.meet) = (pc, NOWHERE);
        self.splits.clear();
        self.frames.clear();
        self.copies.clear();
        self.waiting = None;
        self.gathered.clear();
        (self.done, self.carry, self.released) = (false, 0, 0);
        (self.local_base, self.local_top) = (0, local);
    }

    /// Parts the active lanes: those of `jump` go to `target`, the others on to `next`. They meet at `meet`.
    pub fn part(&mut self, jump: u32, target: u32, next: u32, meet: u32) {
        if meet != self.meet {
            self.splits.push(Split { pc: meet, mask: self.active, meet: self.meet });
        }
        if next != meet {
            self.splits.push(Split { pc: next, mask: self.active & !jump, meet });
        }
        (self.active, self.pc, self.meet) = (jump, target, meet);
    }

    /// Lets a part that has some of `wanted` run instead of the active lanes, which come back to the present instruction
    /// when it has come to where they are to meet, or waits for them; false if there is no such part in the running
    /// function that doesn't itself wait for others to come to a meeting point.
    pub fn give_way(&mut self, wanted: u32) -> bool {
        let (floor, inside) = self.frames.last().map_or((0, self.alive), |frame| (frame.splits, frame.inside));
        let mut above = self.active;
        for place in (floor..self.splits.len()).rev() {
            let split = self.splits[place];
            let mask = split.mask & inside & self.alive;
            if mask & wanted != 0 && mask & above == 0 {
                self.splits.remove(place);
                self.splits.push(Split { pc: self.pc, mask: self.active, meet: self.meet });
                (self.pc, self.active, self.meet) = (split.pc, mask, split.meet);
                return true;
            }
            above |= mask;
        }
        false
    }

    /// Lets the next waiting part of the running function run; false if there is none.
    pub fn resume(&mut self) -> bool {
        let (floor, inside) = self.frames.last().map_or((0, self.alive), |frame| (frame.splits, frame.inside));
        while self.splits.len() > floor {
            if let Some(split) = self.splits.pop() {
                let mask = split.mask & inside & self.alive;
                if mask != 0 {
                    (self.pc, self.active, self.meet) = (split.pc, mask, split.meet);
                    return true;
                }
            }
        }
        false
    }

    /// Takes lanes out of the running function: they have come to its end.
    pub fn leave(&mut self, lanes: u32) {
        match self.frames.last_mut() {
            Some(frame) => frame.inside &= !lanes,
            None => self.alive &= !lanes,
        }
        self.active &= !lanes;
    }

    /// Ends lanes for good.
    pub fn exit(&mut self, lanes: u32) {
        self.alive &= !lanes;
        self.active &= !lanes;
        for frame in &mut self.frames {
            frame.inside &= !lanes;
        }
    }

    /// When no lane is active: goes on with a waiting part, or returns from functions that all lanes have left.
    pub fn settle(&mut self) -> Step {
        loop {
            if self.active != 0 || self.resume() {
                return Step::Moved;
            }
            let Some(frame) = self.frames.pop() else {
                self.done = true;
                return Step::Done;
            };
            for (from, to, bytes) in &frame.results {
                self.local.copy(*from, *to, *bytes, frame.called);
            }
            self.registers.pop(frame.window);
            [self.local_base, self.local_top] = frame.local;
            self.active = frame.caller.mask & self.alive;
            (self.pc, self.meet) = (frame.caller.pc, frame.caller.meet);
        }
    }
}

/// Runs the warp of `cx` for up to `turn` instructions.
pub fn run(cx: &mut Context<'_>, turn: u32) -> Pause {
    let code = &*cx.launch.code.insts;
    for _ in 0..turn {
        while cx.warp.pc == cx.warp.meet {
            cx.warp.active = 0;
            if cx.warp.settle() == Step::Done {
                return Pause::Done;
            }
        }
        let pc = cx.warp.pc;
        let inst = &code[pc as usize];
        let mut exec = cx.warp.active;
        if inst.guard != UNGUARDED {
            let predicate = cx.warp.registers.predicate(inst.guard & !NEGATED);
            exec &= if inst.guard & NEGATED == 0 { predicate } else { !predicate };
        }
        let site = cx.worker.site(pc);
        site.warps += 1;
        if exec == 0 {
            cx.warp.pc = pc + 1;
            continue;
        }
        site.threads += if exec == ALL { 32 } else { u64::from(exec.count_ones()) };
        cx.exec = exec;
        match inst.run.call(cx, inst) {
            Step::Next => cx.warp.pc = pc + 1,
            Step::Moved => {}
            Step::Wait => {
                cx.warp.pc = pc + 1;
                return Pause::Waits;
            }
            Step::Arrive => {
                cx.warp.pc = pc + 1;
                return Pause::Arrived;
            }
            Step::Done => return Pause::Done,
            Step::Fault => return Pause::Fault,
        }
    }
    Pause::Turn
}
