//! A decoded instruction, and how its operation is called.

use super::context::Context;
use crate::counters::Class;

/// What a warp does after an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Goes on to the next instruction.
    Next,
    /// The operation set where the warp goes on.
    Moved,
    /// The warp waits at a barrier; the operation noted which. It goes on after this instruction when released.
    Wait,
    /// Arrives at a barrier without waiting, and goes on.
    Arrive,
    /// Nothing in this warp is left to run.
    Done,
    /// The launch ends with the fault that the operation noted.
    Fault,
}

/// An operation: what an instruction does. One type for each; it has no value, only `run`.
///
/// `run` must be `#[inline(always)]`, as all that it calls for each lane, so that it is compiled for the vector
/// instructions of the machine.
pub trait Op: 'static {
    /// Executes `inst` for the lanes of `cx.exec`, which aren't none.
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step;
}

/// An operation as compiled for this machine.
#[derive(Debug, Clone, Copy)]
pub struct Handler(unsafe fn(&mut Context<'_>, &Inst) -> Step);

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt")]
fn wide<O: Op>(cx: &mut Context<'_>, inst: &Inst) -> Step {
    O::run(cx, inst)
}

fn portable<O: Op>(cx: &mut Context<'_>, inst: &Inst) -> Step {
    O::run(cx, inst)
}

/// Whether this machine has what `wide` is compiled for.
#[cfg(target_arch = "x86_64")]
fn is_wide() -> bool {
    use std::arch::is_x86_feature_detected as has;
    has!("avx2") && has!("fma") && has!("f16c") && has!("bmi1") && has!("bmi2") && has!("lzcnt") && has!("popcnt")
}

impl Handler {
    /// The operation `O`, compiled for the machine that this runs on.
    #[must_use]
    pub fn of<O: Op>() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_wide() {
            return Self(wide::<O>);
        }
        Self(portable::<O>)
    }

    /// Calls the operation.
    #[inline(always)]
    pub fn call(self, cx: &mut Context<'_>, inst: &Inst) -> Step {
        #[expect(unsafe_code, reason = "an operation compiled for certain vector instructions")]
        // SAFETY: the function is safe but for the vector instructions that it needs, and `of` alone makes a handler,
        // with a function whose instructions the machine has.
        unsafe {
            (self.0)(cx, inst)
        }
    }
}

/// No guard.
pub const UNGUARDED: u32 = u32::MAX;

/// The bit of [`Inst::guard`] that negates.
pub const NEGATED: u32 = 1 << 31;

/// A decoded instruction: an operation and the slots of its operands. What the fields mean is up to the operation; by
/// convention `d = op(a, b, c)`.
#[derive(Debug, Clone)]
pub struct Inst {
    /// The operation.
    pub run: Handler,
    /// Slot of the guarding predicate, with [`NEGATED`], or [`UNGUARDED`].
    pub guard: u32,
    /// Destination.
    pub d: u32,
    /// First source.
    pub a: u32,
    /// Second source.
    pub b: u32,
    /// Third source.
    pub c: u32,
    /// A constant: an offset, a mode, a target.
    pub imm: i64,
    /// More slots or constants, where an instruction has many.
    pub list: Box<[u32]>,
}

impl Inst {
    /// An instruction whose operands are all 0.
    #[must_use]
    pub fn new<O: Op>() -> Self {
        Self { run: Handler::of::<O>(), guard: UNGUARDED, d: 0, a: 0, b: 0, c: 0, imm: 0, list: Box::default() }
    }
}

/// What is known of an instruction when it is decoded, beside what it does.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// What it is counted as.
    pub class: Class,
    /// Multiply-adds of the tensor cores, each time that a warp issues it.
    pub tensor_multiply_adds: u32,
}

/// A decoded instruction with what is known of it.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// The instruction.
    pub inst: Inst,
    /// What is known of it.
    pub facts: Facts,
}
