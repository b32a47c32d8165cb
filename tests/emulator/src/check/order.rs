//! What orders accesses of global memory across the blocks of one launch: fences, and atomics or other strong accesses.
//!
//! # The rule
//!
//! A thread *releases* at a location by a strong write or an atomic there, and another *acquires* by a strong read or an
//! atomic of that location. What the releasing thread had made visible is then ordered before what the acquiring block
//! does:
//!
//! - the thread's own accesses before its last fence, or all if the operation itself releases (`.release`, `.acq_rel`);
//! - those of its whole block before the last barrier before that fence;
//! - of each other thread of its block, those before the thread's last fence before the last barrier;
//! - what its block had acquired.
//!
//! Where this errs it finds too little: an acquire orders everything in its block from then on, with no fence or barrier
//! asked for; what was acquired is passed on by any release that passes on something; and a location keeps all that was
//! released there, even if a later write is the one that is read.
//!
//! # Time
//!
//! A block has a time, which barriers of the whole block and fences advance and accesses are stamped with. It stops at
//! 65535; accesses from then on count as ordered with the first barrier that follows.
//!
//! What is visible of each block is kept in runs of blocks of which it is the same ([`visible`](super::visible)).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::bits;
use super::visible::Visible;

/// Bits of a time.
pub(crate) const TIME_BITS: u32 = 16;
/// Bits of a block's number.
pub(crate) const BLOCK_BITS: u32 = 24;
/// Bits of a launch's number; 0 stands for none.
pub(crate) const LAUNCH_BITS: u32 = 11;

const LAST: u32 = (1 << TIME_BITS) - 1;
const SHARDS: usize = 64;

/// What the blocks of one launch have released.
#[derive(Debug)]
pub struct Order {
    pub(crate) launch: u64,
    pub(crate) era: u64,
    pub(crate) granule: u32,
    begun: AtomicU32,
    released: AtomicBool,
    shards: Vec<Mutex<HashMap<u64, Location>>>,
}

#[derive(Debug, Default)]
struct Location {
    version: u64,
    seen: Visible,
}

impl Order {
    /// Launch number `launch`, larger than that of any launch before it. `granule`, a power of two up to 16, divides the
    /// size of every access of global memory that it makes, in bytes.
    #[must_use]
    pub fn new(launch: u64, granule: u32) -> Self {
        let launches = (1 << LAUNCH_BITS) - 1;
        Self {
            launch: launch % launches + 1,
            era: launch / launches + 1,
            granule: granule.clamp(1, 16).trailing_zeros(),
            begun: AtomicU32::new(0),
            released: AtomicBool::new(false),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }

    fn shard(&self, address: u64) -> Option<MutexGuard<'_, HashMap<u64, Location>>> {
        let shard = self.shards.get((address >> 2) as usize % SHARDS)?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a block has done and acquired.
#[derive(Debug)]
pub struct BlockClock {
    pub(crate) block: u32,
    pub(crate) time: u32,
    /// The time after the last barrier.
    barrier: u32,
    /// Threads that accessed nothing since their last fence, or at all; by warp.
    clean: [u32; 32],
    /// The threads there are.
    all: [u32; 32],
    /// Whether there was a fence.
    fenced: bool,
    fences: Vec<Fence>,
    /// The least and the greatest of the fences' `before`.
    before: (u32, u32),
    seen: Visible,
    versions: HashMap<u64, u64>,
}

/// What a thread's fences made visible. Bounds on times, exclusive.
#[derive(Debug, Clone, Copy, Default)]
struct Fence {
    /// Its own accesses, by its last fence.
    own: u32,
    /// The block's, by its last fence.
    block: u32,
    /// Its own, by fences before the last barrier.
    before: u32,
}

impl BlockClock {
    /// A block of `threads` threads begins. Blocks are told apart by the lowest 24 bits of their number in the grid: races
    /// between two that have those in common are not found.
    #[must_use]
    pub fn new(order: &Order, block: u64, threads: u32) -> Self {
        order.begun.fetch_add(1, Ordering::Relaxed);
        let threads = threads.min(1024);
        let all = std::array::from_fn(|warp| match threads.saturating_sub(warp as u32 * 32) {
            0 => 0,
            threads @ 1..=31 => (1 << threads) - 1,
            32.. => u32::MAX,
        });
        Self {
            block: block as u32 & ((1 << BLOCK_BITS) - 1),
            time: 0,
            barrier: 0,
            clean: all,
            all,
            fenced: false,
            fences: vec![Fence::default(); threads as usize],
            before: (0, 0),
            seen: Visible::default(),
            versions: HashMap::new(),
        }
    }

    /// All threads of the block that have not exited have met at a barrier. To call it for barriers of a part of the block
    /// too finds fewer races, and none that isn't there.
    pub fn barrier(&mut self) {
        self.tick();
        self.barrier = if self.time == LAST { LAST + 1 } else { self.time };
        if !self.fenced {
            return;
        }
        if self.clean == self.all {
            self.before = (self.barrier, self.barrier);
            for fence in &mut self.fences {
                fence.before = self.barrier;
            }
            return;
        }
        self.before = (u32::MAX, 0);
        for (thread, fence) in self.fences.iter_mut().enumerate() {
            let clean = self.clean[thread / 32 % 32] >> (thread % 32) & 1 != 0;
            fence.before = if clean { self.barrier } else { fence.own.max(fence.before) };
            self.before = (self.before.0.min(fence.before), self.before.1.max(fence.before));
        }
    }

    /// Lanes of a warp execute a fence that reaches the device.
    pub fn fence(&mut self, warp: usize, lanes: u32) {
        let warp = warp % 32;
        let (time, barrier) = (self.time, self.barrier);
        for lane in bits(lanes & self.all[warp]) {
            if let Some(fence) = self.fences.get_mut(warp * 32 + lane) {
                fence.own = time + 1;
                fence.block = barrier;
            }
        }
        self.clean[warp] |= lanes & self.all[warp];
        self.fenced = true;
        self.tick();
    }

    /// Lanes of a warp release at their addresses: before they execute a strong write or an atomic there. `itself` says
    /// that the operation has release semantics of its own.
    pub fn release(&mut self, order: &Order, warp: usize, addresses: &[u64; 32], lanes: u32, itself: bool) {
        if !self.fenced && !itself {
            return;
        }
        for lane in bits(lanes) {
            let thread = warp % 32 * 32 + lane;
            let made = self.fences.get(thread).copied().unwrap_or_default();
            let clean = self.clean[warp % 32] >> lane & 1 != 0;
            let (own, block) = match made {
                _ if itself => (self.time + 1, self.barrier),
                Fence { own: 0, .. } => (0, 0),
                Fence { own, block, .. } => (if clean { self.time + 1 } else { own }, block),
            };
            let covered = block.max(self.before.0);
            let threads: Vec<(u32, u32)> = if self.before.1 > covered {
                let fences = self.fences.iter().enumerate();
                fences
                    .filter(|(other, fence)| *other != thread && fence.before > covered)
                    .map(|(other, fence)| (other as u32, fence.before))
                    .collect()
            } else {
                Vec::new()
            };
            if own == 0 && covered == 0 && threads.is_empty() {
                continue;
            }
            if let Some(mut shard) = order.shard(addresses[lane]) {
                let location = shard.entry(addresses[lane]).or_default();
                location.seen.join(&self.seen);
                location.seen.add(self.block, covered, (thread as u32, own), &threads);
                location.version += 1;
            }
            order.released.store(true, Ordering::Relaxed);
        }
        if itself {
            self.tick();
        }
        // Who reads what is written next finds what was released.
        fence(Ordering::Release);
    }

    /// Lanes of a warp acquire at their addresses: after they executed a strong read, or an atomic, there.
    pub fn acquire(&mut self, order: &Order, addresses: &[u64; 32], lanes: u32) {
        fence(Ordering::Acquire);
        if !order.released.load(Ordering::Relaxed) {
            return;
        }
        let mut last = None;
        for lane in bits(lanes) {
            let address = addresses[lane];
            if last.replace(address) == Some(address) {
                continue;
            }
            let Some(shard) = order.shard(address) else { continue };
            let Some(location) = shard.get(&address) else { continue };
            let version = self.versions.entry(address).or_default();
            if *version < location.version {
                *version = location.version;
                self.seen.join(&location.seen);
            }
        }
    }

    /// Whether an access by a thread of another block is ordered before what this block does now.
    pub(crate) fn covers(&self, block: u32, time: u32, thread: u32) -> bool {
        self.seen.covers(block, time, thread)
    }

    /// Whether something was acquired from each other block that has begun.
    pub(crate) fn covers_all(&self, order: &Order) -> bool {
        let others = self.seen.blocks() - u32::from(self.seen.knows(self.block));
        others >= order.begun.load(Ordering::Relaxed).saturating_sub(1)
    }

    /// Lanes of a warp access global memory.
    #[inline(always)]
    pub(crate) fn access(&mut self, warp: usize, lanes: u32) {
        self.clean[warp % 32] &= !lanes;
    }

    fn tick(&mut self) {
        self.time = LAST.min(self.time + 1);
    }
}
