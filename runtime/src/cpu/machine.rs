//! What the operations of a model run on: threads, micro-kernels, and a few things that they share.

use std::sync::Mutex;

use crate::program::{Op, Program};
use crate::{Error, Weights};

use super::Options;
use super::attention::Space;
use super::clock::Clock;
use super::micro::{Instructions, Micro};
use super::threads::Threads;
use super::windows::zeros_for;

/// The machine of one model.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) threads: Threads,
    pub(super) micro: Micro,
    /// Mixed kernels that all threads make and use together.
    pub(super) kernels: Mutex<Vec<f32>>,
    /// What attentions work in.
    pub(super) attention: Mutex<Space>,
    /// Time spent mixing.
    pub(super) mixing: Clock,
    /// What windows see in the padding.
    zeros: Weights,
}

impl Machine {
    pub(super) fn new(program: &Program, options: &Options) -> Result<Self, Error> {
        let set = options.instructions.unwrap_or_else(Instructions::best);
        let micro = Micro::new(set).ok_or(Error::Instructions { name: set.name() })?;
        let threads = Threads::new(options.threads)?;
        let padding = program.steps.iter().map(|step| match &step.op {
            Op::Conv(op) => zeros_for(op),
            Op::Import(_)
            | Op::Export(_)
            | Op::GlobalAverage(_)
            | Op::Attention(_)
            | Op::Pool(_)
            | Op::LayerNorm(_)
            | Op::Map(_)
            | Op::Concat(_)
            | Op::Upsample(_)
            | Op::GatherRows(_) => 0,
        });
        let zeros = Weights::zeroed_for("a line of zeros", padding.max().unwrap_or(0))?;
        let (kernels, attention) = (Mutex::default(), Mutex::default());
        Ok(Self { threads, micro, kernels, attention, mixing: Clock::default(), zeros })
    }

    pub(super) fn zeros(&self) -> &[f32] {
        &self.zeros
    }
}

/// A place that several threads write to, each its own part of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shared(*mut f32);

#[expect(unsafe_code, reason = "a pointer is not Send by itself")]
// SAFETY: whoever writes through it argues that its parts are apart.
unsafe impl Send for Shared {}
#[expect(unsafe_code, reason = "a pointer is not Sync by itself")]
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    pub(super) fn new(data: &mut [f32]) -> Self {
        Self(data.as_mut_ptr())
    }

    /// The place of an element.
    pub(super) fn at(self, offset: usize) -> *mut f32 {
        self.0.wrapping_add(offset)
    }
}
