//! Findings: what a kernel did wrong, and where.

use serde::{Deserialize, Serialize};

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An access outside any allocation.
    OutOfBounds,
    /// An address that is no multiple of the access's size.
    Misaligned,
    /// An access to memory that was freed.
    UseAfterFree,
    /// A read of memory that was never written.
    Uninitialised,
    /// Two accesses of shared memory by two threads, one a write, with no barrier between.
    SharedRace,
    /// Two accesses of global memory by two blocks, one a write, not ordered by atomics or fences and atomics.
    GlobalRace,
    /// Data on its way by `cp.async` read or overwritten before the wait.
    AsyncCopy,
    /// A barrier that part of the block reached.
    DivergentBarrier,
    /// Threads that wait for each other and can't go on.
    Deadlock,
    /// `shfl`, `vote` or `match` that names or reads a lane that doesn't take part.
    InactiveLane,
    /// `mma` or `ldmatrix` in a warp some of whose lanes are inactive.
    PartialWarp,
    /// An instruction whose operands have no meaning: `trap`, a write to constant memory, a branch index outside its table.
    Trap,
}

/// A finding. Equal ones (same kind, kernel and instruction) are reported once, with how often they occurred.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What is wrong.
    pub kind: Kind,
    /// The kernel's name.
    pub kernel: String,
    /// Which launch of the process, from 1.
    pub launch: u64,
    /// The block, x y z.
    pub block: [u32; 3],
    /// The thread in its block, x y z.
    pub thread: [u32; 3],
    /// The instruction, as its line of the PTX text says it.
    pub instruction: String,
    /// Line in the PTX text, from 1.
    pub line: u32,
    /// File and line of the CUDA source, where the module has line information.
    pub source: Option<(String, u32)>,
    /// The address, where there is one; in shared memory from the start of the block's.
    pub address: Option<u64>,
    /// A sentence: what happened, who else was involved, what to do.
    pub message: String,
    /// How often it occurred.
    pub count: u64,
}
