//! What a user chooses: architecture, checks, seed, threads.

use crate::driver::device::Architecture;

/// How a virtual GPU behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The part that it stands for.
    pub architecture: Architecture,
    /// What is checked.
    pub checks: Checks,
    /// Whether executions are counted.
    pub counters: bool,
    /// Seed of the order in which warps and blocks run.
    pub seed: u64,
    /// Threads of the host that run blocks. With one, a seed reproduces a run exactly.
    pub threads: usize,
}

/// The checks that cost time; accesses outside any allocation and misaligned ones are always found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checks {
    /// Reads of global or shared memory that was never written.
    pub initialised: bool,
    /// Races on shared memory between barriers and on global memory between blocks, and reads of data on its way by
    /// `cp.async`.
    pub races: bool,
    /// Barriers reached by part of a block, lanes missing in `shfl`, `mma`, `ldmatrix`.
    pub synchronisation: bool,
}

impl Checks {
    /// Every check.
    pub const ALL: Self = Self { initialised: true, races: true, synchronisation: true };
    /// Only what is always found.
    pub const NONE: Self = Self { initialised: false, races: false, synchronisation: false };

    /// Whether accesses have to be checked.
    #[inline(always)]
    #[must_use]
    pub fn any(self) -> bool {
        self.initialised || self.races
    }
}
