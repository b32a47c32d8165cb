//! Copies from global to shared memory that are on their way: what `cp.async` starts and a wait lets arrive.
//!
//! A copy arrives when its thread waits for it, and not before: the source is read then, and the bytes appear in shared
//! memory. Groups are each lane's own, since lanes may commit apart from each other. Those that nobody waits for never
//! arrive.
//!
//! What a block has on its way at a time depends on how its warps take turns, which is not as on hardware. Counted is
//! what doesn't depend on it: the sum over the warps of the most that each had on its way.

use super::context::Context;
use super::lanes::{LANES, is_in, lanes};
use crate::memory::Cell;

/// The copies of a warp, in the order in which they were started.
#[derive(Debug, Default)]
pub struct Copies {
    /// Each with the groups that its lanes had committed before it.
    queue: Vec<(AsyncCopy, [u32; LANES])>,
    /// By lane: groups that it committed.
    groups: [u32; LANES],
    /// Bytes on their way.
    bytes: u64,
    /// The most that there were.
    most: u64,
}

/// A copy by several lanes, from one allocation.
#[derive(Debug)]
pub struct AsyncCopy {
    /// The lanes whose bytes haven't arrived.
    pub lanes: u32,
    /// Bytes of shared memory that each lane writes: 4, 8 or 16.
    pub size: u32,
    /// By lane: bytes that come from global memory; the rest are zeros.
    pub sources: [u32; LANES],
    /// The allocation, by its place in [`Launch::allocations`](super::launch::Launch::allocations).
    pub place: usize,
    /// By lane: where in the allocation.
    pub from: [u64; LANES],
    /// By lane: where in shared memory.
    pub to: [u32; LANES],
}

impl Copies {
    /// Forgets all.
    pub fn clear(&mut self) {
        self.queue.clear();
        self.groups = [0; LANES];
        (self.bytes, self.most) = (0, 0);
    }

    /// Lanes close the groups of what they started since they last did.
    pub fn commit(&mut self, lanes: u32) {
        for (lane, groups) in self.groups.iter_mut().enumerate() {
            *groups = groups.wrapping_add(u32::from(is_in(lanes, lane)));
        }
    }
}

impl AsyncCopy {
    /// A copy by the lanes of `lanes` of `size` bytes each to `to` in shared memory.
    #[must_use]
    pub fn new(lanes: u32, size: u32, to: [u32; LANES]) -> Self {
        Self { lanes, size, to, sources: [0; LANES], place: 0, from: [0; LANES] }
    }

    /// Bytes that lanes get from global memory.
    fn bytes(&self, lanes: u32) -> u64 {
        self.sources.iter().enumerate().map(|(lane, bytes)| u64::from(*bytes) * u64::from(is_in(lanes, lane))).sum()
    }

    fn arrive(&self, cx: &mut Context<'_>, arriving: u32) {
        let cells = cx.launch.allocations.get(self.place).map_or(&[][..], |allocation| allocation.bytes.cells::<u32>());
        for lane in lanes(arriving) {
            let first = (self.from[lane] / 4) as usize;
            for number in 0..self.size / 4 {
                let kept = match self.sources[lane].saturating_sub(4 * number) {
                    0 => 0,
                    bytes @ 1..=3 => (1 << (8 * bytes)) - 1,
                    4.. => u32::MAX,
                };
                let word = if kept == 0 { 0 } else { u32::load(&cells[first + number as usize]) };
                cx.block.shared.store(self.to[lane] + 4 * number, word & kept);
            }
        }
        if cx.launch.checks.any() {
            let warp = cx.warp.index as usize;
            for lane in lanes(arriving) {
                cx.block.shadow.copy_end(warp, lane, self.to[lane], self.size);
            }
        }
        cx.warp.copies.bytes -= self.bytes(arriving);
        cx.worker.progress += 1;
    }
}

impl Context<'_> {
    /// Starts a copy whose source and destination are in bounds. It joins the group that its lanes have open.
    pub fn start_copy(&mut self, copy: AsyncCopy) {
        if self.launch.checks.any() {
            let warp = self.warp.index as usize;
            for lane in lanes(copy.lanes) {
                if let Err(conflict) = self.block.shadow.copy_begin(warp, lane, copy.to[lane], copy.size) {
                    self.conflict(&conflict, 0);
                }
            }
        }
        let bytes = copy.bytes(copy.lanes);
        self.worker.async_bytes += bytes;
        let copies = &mut self.warp.copies;
        copies.queue.push((copy, copies.groups));
        copies.bytes += bytes;
        if copies.bytes > copies.most {
            self.block.in_flight += copies.bytes - copies.most;
            copies.most = copies.bytes;
            self.worker.async_in_flight = self.worker.async_in_flight.max(self.block.in_flight);
        }
    }

    /// The executing lanes wait until no more than `rest` of the groups that they committed are on their way, the latest
    /// ones.
    pub fn wait_for_copies(&mut self, rest: u32) {
        let mut queue = std::mem::take(&mut self.warp.copies.queue);
        let groups = self.warp.copies.groups;
        queue.retain_mut(|(copy, before)| {
            let mut arriving = 0;
            for (lane, (groups, before)) in groups.iter().zip(before).enumerate() {
                arriving |= u32::from(groups.wrapping_sub(*before) > rest) << lane;
            }
            arriving &= copy.lanes & self.exec;
            if arriving != 0 {
                copy.arrive(self, arriving);
                copy.lanes &= !arriving;
            }
            copy.lanes != 0
        });
        self.warp.copies.queue = queue;
    }
}
