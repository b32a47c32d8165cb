//! The shadow of a block's shared memory: reads of what was never written, races between barriers, data of copies that
//! have not arrived.
//!
//! # What is a race
//!
//! Accesses are ordered by barriers, by arrivals at barriers and waits for them, by warp synchronisations, and by program
//! order within a thread ([`clocks`](super::clocks)); not by lockstep, fences or the values of flags. Lanes that write one
//! place in one instruction race only if their values differ; the highest of them then counts as the writer.
//!
//! # Cells
//!
//! A cell keeps its last write, the reads since, and the atomic accesses since. Where nothing is wrong that is exact: the
//! first race of an execution is found, and nothing that is none. A read that is found wrong makes its cell's data ordered
//! and initialised, so that one missing barrier is not found again by every later read.
//!
//! Times are stamped in 22 bits. A block that synchronises more often than that counts as having passed a barrier then.

mod runs;

use crate::findings::Kind;
use crate::options::Checks;

use super::accessors::{Accessors, Bounds, TIME};
use super::clocks::Clocks;
use super::{Conflict, Did, Other, bits};

use runs::{consecutive, run};

/// The time of a write that is on its way: after any other. The highest that a stamp can hold.
const ON_ITS_WAY: u32 = (1 << (32 - TIME)) - 1;
/// Stamps from here on are of writes on their way.
const PENDING: u32 = ON_ITS_WAY << TIME;

const FULL: u32 = u32::MAX;

/// The shadow of the shared memory of one block at a time.
///
/// Offsets are in bytes from the start of the block's shared memory; those of active lanes are multiples of the size, and
/// the bytes within it. Sizes are powers of two from the granule to 16. What inactive lanes have for an offset is not
/// looked at. A warp is named by its number in the block, which is below 32.
#[derive(Debug)]
pub struct Shadow {
    checks: Checks,
    granule: u32,
    clocks: Clocks,
    /// By cell: time (22 bits), warp (5), lane (5) of the last write.
    writes: Vec<u32>,
    reads: Accessors,
    atomics: Accessors,
    /// The time of the latest atomic access.
    atomic: u32,
    /// Cells in use.
    cells: usize,
    /// Cells whose write is on its way.
    pending: usize,
}

impl Shadow {
    /// The shadow of no block.
    #[must_use]
    pub fn new(checks: Checks) -> Self {
        Self {
            checks,
            granule: 0,
            clocks: Clocks::new(),
            writes: Vec::new(),
            reads: Accessors::new(Did::Read),
            atomics: Accessors::new(Did::Atomic),
            atomic: 0,
            cells: 0,
            pending: 0,
        }
    }

    /// A block of `warps` warps with `bytes` of shared memory begins; nothing of it is written. `granule`, a power of two,
    /// divides the size of every access and copy that follows, in bytes.
    pub fn begin_block(&mut self, bytes: u32, granule: u32, warps: usize) {
        self.granule = granule.max(1).trailing_zeros();
        self.cells = (bytes as usize).div_ceil(1 << self.granule);
        if self.writes.len() < self.cells {
            self.writes.resize(self.cells, 0);
            self.reads.grow(self.cells);
        }
        if self.pending > 0 {
            self.pending = 0;
            for write in self.writes.iter_mut().filter(|write| **write >= PENDING) {
                *write = 0;
            }
        }
        if self.clocks.time() + 8 >= ON_ITS_WAY {
            self.writes.fill(0);
            self.reads.clear();
            self.atomics.clear();
            self.clocks.restart();
        }
        self.atomic = 0;
        self.clocks.begin(warps);
        self.reads.all_ordered();
        self.atomics.all_ordered();
    }

    /// Active lanes of a warp read.
    ///
    /// # Errors
    ///
    /// [`Kind::Uninitialised`], [`Kind::SharedRace`], [`Kind::AsyncCopy`], for the first lane that one is true of. The
    /// read counts as done.
    #[inline(always)]
    pub fn read(&mut self, warp: usize, offsets: &[u32; 32], mask: u32, size: u32) -> Result<(), Conflict> {
        if self.checks.races && mask == FULL {
            let bounds = Bounds::new(&self.clocks, warp);
            // With the number of cells a constant, the loops over them become vector instructions.
            let done = match size >> self.granule {
                _ if self.atomic << TIME >= bounds.floor => false,
                1 => self.read_part::<32>(&bounds, offsets, 0, size) || self.read_halves(&bounds, offsets, size),
                2 if consecutive(offsets, size) => self.read_run(&bounds, self.cell(offsets[0]), 64, 0, 1),
                4 if consecutive(offsets, size) => self.read_run(&bounds, self.cell(offsets[0]), 128, 0, 2),
                _ => false,
            };
            if done {
                return Ok(());
            }
        }
        self.read_lanes(warp, offsets, mask, size)
    }

    /// Active lanes of a warp write. `same` says of two lanes that write one place whether they write one value.
    ///
    /// # Errors
    ///
    /// [`Kind::SharedRace`], [`Kind::AsyncCopy`], for the first lane that one is true of. The write counts as done.
    #[inline(always)]
    pub fn write(
        &mut self,
        warp: usize,
        offsets: &[u32; 32],
        mask: u32,
        size: u32,
        same: impl Fn(usize, usize) -> bool,
    ) -> Result<(), Conflict> {
        if self.checks.races && mask == FULL {
            let bounds = Bounds::new(&self.clocks, warp);
            let done = match size >> self.granule {
                _ if self.atomic << TIME >= bounds.floor => false,
                1 if consecutive(offsets, size) => self.write_run(&bounds, self.cell(offsets[0]), 32, 0, 0),
                2 if consecutive(offsets, size) => self.write_run(&bounds, self.cell(offsets[0]), 64, 0, 1),
                4 if consecutive(offsets, size) => self.write_run(&bounds, self.cell(offsets[0]), 128, 0, 2),
                1 => self.write_halves(&bounds, offsets, size),
                _ => false,
            };
            if done {
                return Ok(());
            }
        }
        self.write_lanes(warp, offsets, mask, size, &same)
    }

    /// Active lanes of a warp read and write atomically.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read).
    #[inline(never)]
    pub fn atomic(&mut self, warp: usize, offsets: &[u32; 32], mask: u32, size: u32) -> Result<(), Conflict> {
        if !self.checks.races {
            return self.read_lanes(warp, offsets, mask, size);
        }
        self.atomics.grow(self.writes.len());
        self.atomic = self.clocks.now(warp).max(self.atomic);
        let mut wrong = None;
        for (lane, offset) in active(offsets, mask) {
            for cell in self.cells(offset, size) {
                let found = self.check_written(cell, (warp, lane)).or_else(|| {
                    let reader = self.reads.unordered(&self.clocks, cell, (warp, lane))?;
                    self.reads.forget(cell);
                    Some((Kind::SharedRace, Some(reader)))
                });
                note(&mut wrong, found, lane, offset);
                self.atomics.add(&self.clocks, cell, warp, 1 << lane);
            }
        }
        wrong.map_or(Ok(()), Err)
    }

    /// A thread starts to copy `bytes` to `offset`, both multiples of the granule: its write is on its way until
    /// [`copy_end`](Self::copy_end).
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write).
    pub fn copy_begin(&mut self, warp: usize, lane: usize, offset: u32, bytes: u32) -> Result<(), Conflict> {
        if !self.checks.races {
            return Ok(());
        }
        let mut wrong = None;
        for cell in self.cells(offset, bytes) {
            let found = self.check_write(cell, (warp, lane));
            note(&mut wrong, found, lane, offset);
            self.put(cell, PENDING | thread(warp, lane));
            self.pending += 1;
        }
        wrong.map_or(Ok(()), Err)
    }

    /// The thread's copy has arrived, and the thread has waited for it: it is a write of the thread now. Cells that were
    /// overwritten meanwhile stay as they are.
    pub fn copy_end(&mut self, warp: usize, lane: usize, offset: u32, bytes: u32) {
        let now = self.clocks.now(warp) << TIME | thread(warp, lane);
        for cell in self.cells(offset, bytes) {
            match self.writes.get_mut(cell) {
                Some(write) if !self.checks.races => *write = now,
                Some(write) if *write == PENDING | thread(warp, lane) => {
                    *write = now;
                    self.pending -= 1;
                }
                Some(_) | None => {}
            }
        }
    }

    /// The warps of the mask wait for each other. A barrier is one of the whole block if no other warps are left that have
    /// not exited.
    pub fn barrier(&mut self, warps: u32) {
        self.make_time();
        if self.clocks.barrier(warps) {
            self.whole_block();
        }
    }

    /// A warp arrives at barrier number `barrier` (below 16) without waiting: what it did so far is ordered before what
    /// those do that wait there next.
    pub fn arrive(&mut self, warp: usize, barrier: usize) {
        self.make_time();
        self.clocks.arrive(warp, barrier);
    }

    /// As [`barrier`](Self::barrier), of warps that wait at a barrier at which others may have arrived.
    pub fn barrier_after_arrivals(&mut self, barrier: usize, warps: u32) {
        self.make_time();
        if self.clocks.barrier_after_arrivals(barrier, warps) {
            self.whole_block();
        }
    }

    /// Lanes of a warp wait for each other, as by `bar.warp.sync`. Fastest where `lanes` has all bits set: it may name
    /// lanes that don't exist or have exited.
    pub fn warp_sync(&mut self, warp: usize, lanes: u32) {
        self.make_time();
        self.clocks.warp_sync(warp, lanes);
    }

    /// All threads of a warp have exited: barriers of the whole block no longer wait for it, and order what it did.
    pub fn exit(&mut self, warp: usize) {
        self.clocks.exit(warp);
    }

    fn whole_block(&mut self) {
        self.reads.all_ordered();
        self.atomics.all_ordered();
    }

    /// Makes sure that time can go on.
    fn make_time(&mut self) {
        if self.clocks.time() + 8 < ON_ITS_WAY {
            return;
        }
        let start = self.clocks.start() << TIME;
        self.clocks.restart();
        for write in &mut self.writes {
            *write = match *write {
                PENDING.. => *write,
                written if written >= start => self.clocks.start() << TIME,
                _ => 0,
            };
        }
        self.reads.clear();
        self.atomics.clear();
        self.atomic = 0;
    }

    /// The first cell of an access.
    #[inline(always)]
    fn cell(&self, offset: u32) -> usize {
        (offset >> self.granule) as usize
    }

    /// The cells of an access.
    #[inline(always)]
    fn cells(&self, offset: u32, size: u32) -> std::ops::Range<usize> {
        let first = self.cell(offset);
        first..self.cells.min(first + (size as usize).div_ceil(1 << self.granule))
    }

    /// The stamp from which on writes are this block's, if those before make a read wrong.
    #[inline(always)]
    fn written_from(&self) -> u32 {
        if self.checks.initialised { self.clocks.start() << TIME } else { 0 }
    }

    /// Reads run by run of lanes that are consecutive or have one offset, and lane by lane where that isn't enough.
    #[inline(never)]
    fn read_lanes(&mut self, warp: usize, offsets: &[u32; 32], mask: u32, size: u32) -> Result<(), Conflict> {
        if !self.checks.races {
            return self.read_unordered(offsets, mask, size);
        }
        let bounds = Bounds::new(&self.clocks, warp);
        let plain = self.atomic << TIME < bounds.floor;
        let cells = (size as usize >> self.granule).max(1);
        let per_lane = cells.trailing_zeros();
        let mut wrong = None;
        let mut rest = mask;
        while rest != 0 {
            let lane = rest.trailing_zeros() as usize;
            let (lanes, step) = run(offsets, rest, lane, size);
            rest &= !lanes;
            let first = self.cell(offsets[lane]);
            let done = plain
                && if step == 0 && cells == 1 {
                    self.read_common(&bounds, first, lanes)
                } else if step == 0 && lanes.count_ones() > 1 {
                    (first..first + cells).all(|cell| self.read_common(&bounds, cell, lanes))
                } else {
                    self.read_run(&bounds, first, lanes.count_ones() as usize * cells, lane as u32, per_lane)
                };
            if !done {
                self.read_each(warp, offsets, lanes, size, &mut wrong);
            }
        }
        wrong.map_or(Ok(()), Err)
    }

    #[cold]
    fn read_each(&mut self, warp: usize, offsets: &[u32; 32], lanes: u32, size: u32, wrong: &mut Option<Conflict>) {
        for (lane, offset) in active(offsets, lanes) {
            for cell in self.cells(offset, size) {
                let found = self.check_written(cell, (warp, lane)).or_else(|| {
                    let other = self.unordered_atomic(cell, (warp, lane))?;
                    self.atomics.forget(cell);
                    Some((Kind::SharedRace, Some(other)))
                });
                note(wrong, found, lane, offset);
                self.reads.add(&self.clocks, cell, warp, 1 << lane);
            }
        }
    }

    /// Reads where only what was never written is looked for.
    fn read_unordered(&mut self, offsets: &[u32; 32], mask: u32, size: u32) -> Result<(), Conflict> {
        let mut wrong = None;
        if !self.checks.initialised {
            return Ok(());
        }
        let from = self.written_from();
        for (lane, offset) in active(offsets, mask) {
            for cell in self.cells(offset, size) {
                if let Some(write) = self.writes.get_mut(cell)
                    && *write < from
                {
                    *write = from;
                    note(&mut wrong, Some((Kind::Uninitialised, None)), lane, offset);
                }
            }
        }
        wrong.map_or(Ok(()), Err)
    }

    #[inline(never)]
    fn write_lanes(
        &mut self,
        warp: usize,
        offsets: &[u32; 32],
        mask: u32,
        size: u32,
        same: &dyn Fn(usize, usize) -> bool,
    ) -> Result<(), Conflict> {
        let mut wrong: Option<Conflict> = None;
        if !self.checks.races && !self.checks.initialised {
            return Ok(());
        }
        if self.checks.races {
            for (lane, offset) in active(offsets, mask) {
                for cell in self.cells(offset, size) {
                    let found = self.check_write(cell, (warp, lane));
                    note(&mut wrong, found, lane, offset);
                }
            }
        }
        // Lanes of this instruction write one after the other: where a cell has a stamp of an earlier one of them, it is
        // from here.
        let now = self.clocks.now(warp) << TIME;
        for (lane, offset) in active(offsets, mask) {
            for cell in self.cells(offset, size) {
                let Some(&write) = self.writes.get(cell) else { continue };
                let earlier = write as usize & 31;
                if self.checks.races
                    && write == now | thread(warp, earlier)
                    && earlier < lane
                    && mask >> earlier & 1 != 0
                    && offsets[earlier] == offset
                    && wrong.is_none_or(|wrong| lane < wrong.lane)
                    && !same(earlier, lane)
                {
                    let found = Some((Kind::SharedRace, Some(other(write, Did::Write))));
                    wrong = None;
                    note(&mut wrong, found, lane, offset);
                }
                self.put(cell, now | thread(warp, lane));
            }
        }
        wrong.map_or(Ok(()), Err)
    }

    /// Makes a write a cell's last.
    fn put(&mut self, cell: usize, stamp: u32) {
        if let Some(write) = self.writes.get_mut(cell) {
            if *write >= PENDING {
                self.pending -= 1;
            }
            *write = stamp;
        }
        self.reads.forget(cell);
        self.atomics.forget(cell);
    }

    /// What is wrong with reading a cell's data, which becomes right.
    fn check_written(&mut self, cell: usize, thread: (usize, usize)) -> Option<(Kind, Option<Other>)> {
        let (from, start) = (self.written_from(), self.clocks.start() << TIME);
        let write = self.writes.get_mut(cell)?;
        if *write >= PENDING {
            return Some((Kind::AsyncCopy, Some(other(*write, Did::Copy))));
        }
        if *write < from {
            *write = start;
            return Some((Kind::Uninitialised, None));
        }
        if self.clocks.ordered(thread, author(*write), *write >> TIME) {
            return None;
        }
        let found = other(*write, Did::Write);
        *write = start;
        Some((Kind::SharedRace, Some(found)))
    }

    /// What is wrong with writing a cell.
    fn check_write(&self, cell: usize, thread: (usize, usize)) -> Option<(Kind, Option<Other>)> {
        let &write = self.writes.get(cell)?;
        if write >= PENDING {
            return Some((Kind::AsyncCopy, Some(other(write, Did::Copy))));
        }
        let found = if self.clocks.ordered(thread, author(write), write >> TIME) {
            self.reads.unordered(&self.clocks, cell, thread).or_else(|| self.unordered_atomic(cell, thread))?
        } else {
            other(write, Did::Write)
        };
        Some((Kind::SharedRace, Some(found)))
    }

    fn unordered_atomic(&self, cell: usize, thread: (usize, usize)) -> Option<Other> {
        if self.atomic == 0 {
            return None;
        }
        self.atomics.unordered(&self.clocks, cell, thread)
    }
}

/// The offsets of active lanes.
#[inline(always)]
fn active(offsets: &[u32; 32], mask: u32) -> impl Iterator<Item = (usize, u32)> {
    bits(mask).map(|lane| (lane, offsets[lane]))
}

/// A thread as stamps have it.
#[inline(always)]
fn thread(warp: usize, lane: usize) -> u32 {
    (warp as u32 & 31) << 5 | (lane as u32 & 31)
}

/// Warp and lane of the thread that a stamp has.
fn author(stamp: u32) -> (usize, usize) {
    ((stamp >> 5 & 31) as usize, (stamp & 31) as usize)
}

fn other(stamp: u32, did: Did) -> Other {
    Other { block: None, warp: stamp >> 5 & 31, lane: Some(stamp & 31), did }
}

/// Keeps the first thing that is wrong.
#[inline(always)]
fn note(wrong: &mut Option<Conflict>, found: Option<(Kind, Option<Other>)>, lane: usize, offset: u32) {
    if let (None, Some((kind, other))) = (&wrong, found) {
        *wrong = Some(Conflict { kind, lane, offset: offset.into(), other });
    }
}
