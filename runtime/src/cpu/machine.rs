//! What the operations of a model run on: threads, micro-kernels, and a few things that they share.

use std::sync::{Mutex, PoisonError};

use crate::program::{Op, Program};
use crate::{Error, Weights};

use super::Options;
use super::attention::{self, Space};
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
    /// Multiply-adds of a sample, and what its activations take as much time as; none where the number of threads is fixed.
    work: Option<u64>,
    /// What the attentions of one sample take at most.
    attentions: attention::Sizes,
}

/// Work of a pass that is worth waking threads for: some tens of microseconds.
const PASS: u64 = 1 << 22;
/// Multiply-adds in the time that an element of an activation takes to write and to read.
const ELEMENT: u64 = 8;

impl Machine {
    pub(super) fn new(program: &Program, options: &Options) -> Result<Self, Error> {
        let set = options.instructions.unwrap_or_else(Instructions::best);
        let micro = Micro::new(set).ok_or(Error::Instructions { name: set.name() })?;
        let threads = Threads::new(options.threads)?;
        let padding = program
            .steps
            .iter()
            .filter_map(|step| if let Op::Conv(op) = &step.op { Some(zeros_for(op)) } else { None });
        let zeros = Weights::zeroed_for("a line of zeros", padding.max().unwrap_or(0))?;
        let multiply_adds = program.steps.iter().map(|step| step.op.work().total());
        let elements = program.buffers.iter().map(|buffer| (buffer.length as u64).saturating_mul(ELEMENT));
        let work = options.threads.is_none().then(|| multiply_adds.chain(elements).fold(0, u64::saturating_add));
        let attentions = attention::Sizes::most(program);
        let (kernels, attention) = (Mutex::default(), Mutex::default());
        Ok(Self { threads, micro, kernels, attention, mixing: Clock::default(), zeros, work, attentions })
    }

    /// Whether a pass over so many samples is too little to wake threads for.
    pub(super) fn is_little(&self, batch: usize) -> bool {
        self.work.is_some_and(|work| work.saturating_mul(batch as u64) < PASS)
    }

    /// Makes ready for a pass over so many samples.
    ///
    /// # Errors
    ///
    /// [`Error::Memory`] if what attentions work in doesn't fit into memory.
    pub(super) fn begin(&mut self, batch: usize) -> Result<(), Error> {
        self.threads.leave_alone(self.is_little(batch));
        self.attention.get_mut().unwrap_or_else(PoisonError::into_inner).reserve(self.attentions, batch)
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
