//! Barriers of a block: who has arrived, who waits, and when they go on.

/// Barriers of a block.
pub const BARRIERS: usize = 16;

/// What a warp arrived with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// The barrier's number.
    pub barrier: u32,
    /// Threads that are to meet; all of the block if not given.
    pub threads: Option<u32>,
    /// What is reduced, and where its result goes.
    pub reduction: Option<Reduction>,
}

/// A reduction of predicates over the threads that meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reduction {
    /// What is computed.
    pub operation: Operation,
    /// The slot of the result: a 32-bit register for `Count`, else a predicate.
    pub slot: u32,
    /// The lanes that ask, and get it.
    pub lanes: u32,
    /// Those of them for which the predicate holds.
    pub holds: u32,
}

/// What a barrier can compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// For how many threads the predicate holds.
    Count,
    /// Whether it holds for all.
    All,
    /// Whether it holds for any.
    Any,
}

/// A barrier.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Barrier {
    /// Warps that have arrived.
    pub arrived: u32,
    /// Of those, the ones that wait.
    pub waiting: u32,
    /// Threads that are to meet, as the first to arrive said.
    pub threads: Option<u32>,
    /// Threads for which the predicate of a reduction holds.
    pub holds: u32,
    /// Threads whose predicate was asked for.
    pub asked: u32,
}

impl Barrier {
    /// Notes that a warp arrives.
    pub fn arrive(&mut self, warp: u32, threads: Option<u32>, waits: bool) {
        if self.arrived == 0 {
            self.threads = threads;
        }
        self.arrived |= 1 << warp;
        if waits {
            self.waiting |= 1 << warp;
        }
    }

    /// Whether those that are to meet have arrived; `present` are the warps of the block that haven't ended.
    #[must_use]
    pub fn is_complete(&self, present: u32) -> bool {
        match self.threads {
            Some(threads) => self.arrived.count_ones() * 32 >= threads,
            None => present & !self.arrived == 0,
        }
    }
}
