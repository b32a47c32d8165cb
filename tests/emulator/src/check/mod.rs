//! What was written, by whom, and what orders it: the shadow memory of the sanitizer.
//!
//! An access conflicts with an earlier one of the same bytes if one of the two writes, not both are atomic, and nothing
//! orders the earlier one before it. What orders accesses differs between memories, and so does what is kept:
//!
//! | module | what it keeps |
//! | --- | --- |
//! | [`shared`] | of the shared memory of one block: last writes, reads since, copies on their way |
//! | [`clocks`] | what barriers and warp synchronisations order within a block |
//! | [`accessors`] | who read (or atomically accessed) each cell of shared memory |
//! | [`global`] | of one allocation: the last write and the readers, within one launch |
//! | [`order`] | what fences and atomics order across the blocks of a launch |
//! | [`visible`] | the accesses of other blocks that a block may see |
//! | [`written`] | which bytes of an allocation were ever written |
//! | [`sink`] | the findings of a launch |
//!
//! Shadow memory has a cell for each *granule*, the narrowest access that the code makes, so that two accesses never
//! share a cell without sharing a byte.

pub mod accessors;
pub mod clocks;
pub mod global;
pub mod order;
pub mod shared;
pub mod sink;
pub mod visible;
pub mod written;

pub use global::{GlobalShadow, Lanes};
pub use order::{BlockClock, Order};
pub use shared::Shadow;
pub use sink::Findings;
pub use written::Written;

use crate::findings::Kind;

/// An access that something is wrong with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conflict {
    /// What is wrong.
    pub kind: Kind,
    /// The lane whose access it is: the first one that has something wrong.
    pub lane: usize,
    /// The lane's offset in the block's shared memory or in the allocation, bytes.
    pub offset: u64,
    /// The access that it conflicts with, if it is one.
    pub other: Option<Other>,
}

/// The earlier of two conflicting accesses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Other {
    /// The block, for global memory.
    pub block: Option<u32>,
    /// The warp in its block.
    pub warp: u32,
    /// The lane in its warp, or `None` where only the warp is known: many threads accessed it.
    pub lane: Option<u32>,
    /// What it did.
    pub did: Did,
}

/// What an access does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Did {
    /// A plain read.
    Read,
    /// A plain write.
    Write,
    /// An atomic operation; of global memory, any strong access.
    Atomic,
    /// The write of a copy that has not been waited for.
    Copy,
}

/// The numbers of the bits that are set, from the lowest.
#[inline(always)]
pub(crate) fn bits(mut mask: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        if mask == 0 {
            return None;
        }
        let bit = mask.trailing_zeros() as usize;
        mask &= mask - 1;
        Some(bit)
    })
}
