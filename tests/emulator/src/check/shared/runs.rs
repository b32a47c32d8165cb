//! Accesses of shared memory by lanes that follow each other or have one place: without a look at each of them.
//!
//! Each function gives `false` where something might be wrong, and changes nothing then that the closer look would mind.

use crate::check::accessors::Bounds;

use super::{FULL, PENDING, Shadow};

impl Shadow {
    /// Reads a cell by several lanes, if nothing can be wrong with it.
    #[inline(always)]
    pub(super) fn read_common(&mut self, bounds: &Bounds, cell: usize, lanes: u32) -> bool {
        let Some(&write) = self.writes.get(cell) else { return false };
        if !ordered(bounds, write) | (write < self.written_from()) {
            return false;
        }
        if !self.reads.add_common(bounds, cell, lanes) {
            self.reads.add(&self.clocks, cell, bounds.warp as usize, lanes);
        }
        true
    }

    /// Reads consecutive cells by consecutive lanes, if nothing can be wrong with them.
    #[inline(always)]
    pub(super) fn read_run(&mut self, bounds: &Bounds, first: usize, count: usize, lane: u32, per_lane: u32) -> bool {
        let from = self.written_from();
        let Some(writes) = self.writes.get(first..first + count) else { return false };
        let me = bounds.warp << 5 | lane;
        let mut wrong = false;
        for (i, &write) in writes.iter().enumerate() {
            let ordered = ordered(bounds, write) | own(write, me + (i as u32 >> per_lane));
            wrong |= !(ordered & (write >= from));
        }
        !wrong && self.reads.add_run(bounds, first, count, lane, per_lane)
    }

    /// Reads one cell each by `LANES` lanes from `lane`, if they have one cell or follow each other and nothing can be wrong.
    #[inline(always)]
    pub(super) fn read_part<const LANES: usize>(
        &mut self,
        bounds: &Bounds,
        offsets: &[u32; 32],
        lane: usize,
        size: u32,
    ) -> bool {
        let part = &offsets[lane..lane + LANES];
        if common(part) {
            self.read_common(bounds, self.cell(part[0]), (FULL >> (32 - LANES)) << lane)
        } else {
            consecutive(part, size) && self.read_run(bounds, self.cell(part[0]), LANES, lane as u32, 0)
        }
    }

    /// Reads by all lanes where [`read_part`](Self::read_part) is true of either half, as where blocks are 16 wide.
    #[inline(always)]
    pub(super) fn read_halves(&mut self, bounds: &Bounds, offsets: &[u32; 32], size: u32) -> bool {
        self.read_part::<16>(bounds, offsets, 0, size) && self.read_part::<16>(bounds, offsets, 16, size)
    }

    /// Writes by all lanes where either half is consecutive and they don't overlap, if nothing can be wrong with that. What
    /// was written in vain is written again.
    #[inline(always)]
    pub(super) fn write_halves(&mut self, bounds: &Bounds, offsets: &[u32; 32], size: u32) -> bool {
        let (low, high) = offsets.split_at(16);
        low[0].abs_diff(high[0]) >= 16 * size
            && consecutive(low, size)
            && consecutive(high, size)
            && self.write_run(bounds, self.cell(low[0]), 16, 0, 0)
            && self.write_run(bounds, self.cell(high[0]), 16, 16, 0)
    }

    /// Writes consecutive cells by consecutive lanes, if nothing can be wrong with that.
    #[inline(always)]
    pub(super) fn write_run(&mut self, bounds: &Bounds, first: usize, count: usize, lane: u32, per_lane: u32) -> bool {
        if !self.reads.free(bounds, first, count, lane, per_lane) {
            return false;
        }
        let Some(writes) = self.writes.get_mut(first..first + count) else { return false };
        let me = bounds.warp << 5 | lane;
        let mut wrong = false;
        for (i, &write) in writes.iter().enumerate() {
            wrong |= !(ordered(bounds, write) | own(write, me + (i as u32 >> per_lane)));
        }
        if wrong {
            return false;
        }
        for (i, write) in writes.iter_mut().enumerate() {
            *write = bounds.now | (me + (i as u32 >> per_lane));
        }
        true
    }
}

/// Whether a write is ordered before what all lanes of the warp do; `false` where that takes a closer look.
#[inline(always)]
fn ordered(bounds: &Bounds, write: u32) -> bool {
    (write < bounds.floor) | ((write >> 5 & 31 == bounds.warp) & (write < bounds.own))
}

/// Whether a write is by the thread, and not on its way.
#[inline(always)]
fn own(write: u32, thread: u32) -> bool {
    (write & 0x3ff == thread) & (write < PENDING)
}

/// Whether all lanes have one offset.
#[inline(always)]
pub(super) fn common(offsets: &[u32]) -> bool {
    offsets.iter().fold(0, |different, &offset| different | (offset ^ offsets[0])) == 0
}

/// Whether the accesses of all lanes follow each other.
#[inline(always)]
pub(super) fn consecutive(offsets: &[u32], size: u32) -> bool {
    let mut different = 0;
    for (lane, &offset) in offsets.iter().enumerate() {
        different |= offset ^ offsets[0].wrapping_add(lane as u32 * size);
    }
    different == 0
}

/// From `lane` on, the lanes of the mask that follow each other without a gap and have offsets at one distance, 0 or
/// `size`: they, and the distance.
pub(super) fn run(offsets: &[u32; 32], mask: u32, lane: usize, size: u32) -> (u32, u32) {
    let end = lane + (mask >> lane).trailing_ones() as usize;
    let step = match offsets.get(lane + 1) {
        Some(&next) if lane + 1 < end => next.wrapping_sub(offsets[lane]),
        Some(_) | None => 0,
    };
    if step != 0 && step != size {
        return (1 << lane, 0);
    }
    let length = offsets[lane..end].windows(2).take_while(|pair| pair[1].wrapping_sub(pair[0]) == step).count() + 1;
    ((FULL >> (32 - length)) << lane, step)
}
