//! Races between the blocks of one launch on the global memory of one allocation.
//!
//! # What is a race
//!
//! Two accesses of a byte by different blocks of one launch, one of them a write, not both strong, of which neither is
//! ordered before the other by what blocks release and acquire ([`order`](super::order)). Strong are atomics and accesses
//! that are `.volatile`, `.relaxed`, `.acquire` or `.release`. Accesses of one block never conflict here.
//!
//! # Cells
//!
//! A cell keeps its last write and its readers since, each as a record of 64 bits, valid for one launch:
//!
//! | bits | |
//! | --- | --- |
//! | 53 to 63 | the launch |
//! | 29 to 52 | the block |
//! | 13 to 28 | the time in the block |
//! | 3 to 12 | the thread in the block |
//! | 1 | strong |
//! | 0 | readers: several blocks, of which this is one |
//!
//! This is less than there is to know, and finds less than there is to find rather than more:
//!
//! - Of several threads of a block that read, only the last is kept.
//! - Of strong readers of data that has plain readers too, nothing is kept.
//! - Of several blocks that read, only one is kept. A write is then no race if the block acquired something from every
//!   other block that has begun, whenever those read, and is one if it didn't.
//! - Threads of the host that run two blocks at once may miss a race of accesses at the same moment.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::findings::Kind;

use super::order::{BLOCK_BITS, BlockClock, LAUNCH_BITS, Order, TIME_BITS};
use super::written::consecutive;
use super::{Conflict, Did, Other, bits};

const LAUNCH: u32 = 64 - LAUNCH_BITS;
const BLOCK: u32 = LAUNCH - BLOCK_BITS;
const TIME: u32 = BLOCK - TIME_BITS;
const THREAD: u32 = 3;
const STRONG: u64 = 1 << 1;
const BLOCKS: u64 = 1;

/// Cells of a piece, which is made when the first of them is accessed.
const PIECE: usize = 2048;

/// The shadow of an allocation.
///
/// Offsets are in bytes from the start of the allocation; those of active lanes are multiples of the size, and the bytes
/// within it. Sizes are powers of two from the granule of the launch's [`Order`] to 16. What inactive lanes have for an
/// offset is not looked at. Threads of the host that run blocks of one launch share it; launches come one after the other.
#[derive(Debug)]
pub struct GlobalShadow {
    bytes: u64,
    /// By the logarithm of the granule.
    cells: [OnceLock<Cells>; 5],
}

#[derive(Debug)]
struct Cells {
    pieces: Box<[OnceLock<Piece>]>,
    /// Launches that are told apart by their numbers in the records.
    era: AtomicU64,
    change: Mutex<()>,
}

#[derive(Debug)]
struct Piece {
    writes: Box<[AtomicU64]>,
    readers: Box<[AtomicU64]>,
}

/// Which lanes access what.
#[derive(Debug, Clone, Copy)]
pub struct Lanes<'a> {
    /// The warp's number in its block.
    pub warp: usize,
    /// By lane: the offset in the allocation, in bytes; arbitrary for lanes that take no part.
    pub offsets: &'a [u64; 32],
    /// The lanes that take part.
    pub mask: u32,
    /// Bytes of each lane, a power of two up to 16.
    pub size: u32,
}

/// An access by a warp.
#[derive(Clone, Copy)]
struct Access {
    /// The record of its first thread.
    record: u64,
    did: Did,
}

impl Access {
    #[inline(always)]
    fn new(order: &Order, clock: &BlockClock, warp: usize, did: Did, strong: bool) -> Self {
        let strong = if strong { STRONG } else { 0 };
        let thread = (warp as u64 % 32 * 32) << THREAD;
        let (block, time) = (u64::from(clock.block), u64::from(clock.time));
        Self { record: order.launch << LAUNCH | block << BLOCK | time << TIME | thread | strong, did }
    }

    #[inline(always)]
    fn of_lane(self, lane: usize) -> u64 {
        self.record | (lane as u64) << THREAD
    }

    /// Whether a record is of an access by another block of this launch.
    #[inline(always)]
    fn foreign(self, record: u64) -> bool {
        record >> LAUNCH == self.record >> LAUNCH && record >> BLOCK != self.record >> BLOCK
    }
}

impl GlobalShadow {
    /// The shadow of an allocation. It takes 16 bytes for each granule, but only where memory is accessed.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        Self { bytes, cells: [const { OnceLock::new() }; 5] }
    }

    /// Lanes of a warp do something. Before a strong write comes its [`release`](BlockClock::release), after a strong read
    /// the [`acquire`](BlockClock::acquire), about an atomic operation, which is strong, both.
    ///
    /// # Errors
    ///
    /// [`Kind::GlobalRace`], for the first lane that it is true of. The access counts as done.
    #[inline(always)]
    pub fn access(
        &self,
        order: &Order,
        clock: &mut BlockClock,
        lanes: Lanes<'_>,
        did: Did,
        strong: bool,
    ) -> Result<(), Conflict> {
        let Lanes { warp, offsets, mask, size } = lanes;
        let strong = strong || did == Did::Atomic;
        clock.access(warp, mask);
        let Some(cells) = self.cells(order) else { return Ok(()) };
        let access = Access::new(order, clock, warp, did, strong);
        if mask == u32::MAX && consecutive(offsets, size.into()) {
            let first = (offsets[0] >> order.granule) as usize;
            // With the number of cells a constant, the loops over them are unrolled.
            let done = match size >> order.granule {
                1 => cells.run(access, first, 32, 0),
                2 => cells.run(access, first, 64, 1),
                4 => cells.run(access, first, 128, 2),
                8 => cells.run(access, first, 256, 3),
                _ => false,
            };
            if done {
                return Ok(());
            }
        } else if did == Did::Read
            && mask == u32::MAX
            && size >> order.granule == 1
            && common(offsets)
            && cells.read_common(access, (offsets[0] >> order.granule) as usize)
        {
            return Ok(());
        }
        cells.each(access, order, clock, offsets, mask, size)
    }

    #[inline(always)]
    fn cells(&self, order: &Order) -> Option<&Cells> {
        let cells = self.cells.get(order.granule as usize)?.get_or_init(|| {
            let pieces = self.bytes.div_ceil((PIECE as u64) << order.granule);
            let pieces = (0..pieces).map(|_| OnceLock::new()).collect();
            Cells { pieces, era: AtomicU64::new(order.era), change: Mutex::new(()) }
        });
        if cells.era.load(std::sync::atomic::Ordering::Acquire) != order.era {
            cells.clear(order.era);
        }
        Some(cells)
    }
}

impl Cells {
    /// An access of consecutive cells by all lanes, `1 << per_lane` each, if nothing can be wrong with it.
    #[inline(always)]
    fn run(&self, access: Access, first: usize, count: usize, per_lane: u32) -> bool {
        let Some(piece) = self.pieces.get(first / PIECE) else { return false };
        let piece = piece.get_or_init(Piece::new);
        let cells = first % PIECE..first % PIECE + count;
        let (Some(writes), Some(readers)) = (piece.writes.get(cells.clone()), piece.readers.get(cells)) else {
            return false;
        };
        if writes.iter().fold(false, |foreign, write| foreign | access.foreign(write.load(Relaxed))) {
            return false;
        }
        match access.did {
            Did::Read => {
                for (i, reader) in readers.iter().enumerate() {
                    let known = reader.load(Relaxed);
                    let new = access.of_lane(i >> per_lane);
                    // That of plain readers in several blocks stays as it is.
                    if known >> LAUNCH != new >> LAUNCH {
                        reader.store(new, Relaxed);
                    } else if known & (BLOCKS | STRONG) != BLOCKS {
                        let new = with_reader(known, new);
                        if new != known {
                            reader.store(new, Relaxed);
                        }
                    }
                }
                true
            }
            Did::Write | Did::Atomic | Did::Copy => {
                let launch = access.record >> LAUNCH;
                if readers.iter().fold(false, |read, reader| read | (reader.load(Relaxed) >> LAUNCH == launch)) {
                    return false;
                }
                for (i, write) in writes.iter().enumerate() {
                    write.store(access.of_lane(i >> per_lane), Relaxed);
                }
                true
            }
        }
    }

    /// A read of one cell by all lanes, if nothing can be wrong with it.
    #[inline(always)]
    fn read_common(&self, access: Access, cell: usize) -> bool {
        let Some((write, reader)) = self.cell(cell) else { return false };
        if access.foreign(write.load(Relaxed)) {
            return false;
        }
        let known = reader.load(Relaxed);
        let new = with_reader(known, access.of_lane(31));
        if new != known {
            reader.store(new, Relaxed);
        }
        true
    }

    /// An access lane by lane and cell by cell.
    #[inline(never)]
    fn each(
        &self,
        access: Access,
        order: &Order,
        clock: &BlockClock,
        offsets: &[u64; 32],
        mask: u32,
        size: u32,
    ) -> Result<(), Conflict> {
        let mut wrong = None;
        for lane in bits(mask) {
            let record = access.of_lane(lane);
            let first = (offsets[lane] >> order.granule) as usize;
            for cell in first..first + (size as usize >> order.granule).max(1) {
                let Some((write, reader)) = self.cell(cell) else { continue };
                let (written, read) = (write.load(Relaxed), reader.load(Relaxed));
                let mut other = None;
                if access.foreign(written) && written & record & STRONG == 0 && !covered(clock, written) {
                    other = Some((written, if written & STRONG == 0 { Did::Write } else { Did::Atomic }));
                }
                if access.did == Did::Read {
                    let new = with_reader(read, record);
                    if new != read {
                        reader.store(new, Relaxed);
                    }
                } else {
                    if read >> LAUNCH == record >> LAUNCH {
                        if other.is_none()
                            && read & record & STRONG == 0
                            && races_with_readers(access, order, clock, read)
                        {
                            other = Some((read, Did::Read));
                        }
                        reader.store(0, Relaxed);
                    }
                    write.store(record, Relaxed);
                }
                if let (None, Some((other, did))) = (&wrong, other) {
                    wrong = Some(conflict(lane, offsets[lane], other, did));
                }
            }
        }
        wrong.map_or(Ok(()), Err)
    }

    #[inline(always)]
    fn cell(&self, cell: usize) -> Option<(&AtomicU64, &AtomicU64)> {
        let piece = self.pieces.get(cell / PIECE)?.get_or_init(Piece::new);
        Some((piece.writes.get(cell % PIECE)?, piece.readers.get(cell % PIECE)?))
    }

    /// Forgets everything: the numbers of launches begin again.
    #[cold]
    fn clear(&self, era: u64) {
        let _change = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        if self.era.load(Relaxed) == era {
            return;
        }
        for piece in self.pieces.iter().filter_map(OnceLock::get) {
            for record in piece.writes.iter().chain(&piece.readers) {
                record.store(0, Relaxed);
            }
        }
        self.era.store(era, std::sync::atomic::Ordering::Release);
    }
}

impl Piece {
    #[cold]
    fn new() -> Self {
        let records = || (0..PIECE).map(|_| AtomicU64::new(0)).collect();
        Self { writes: records(), readers: records() }
    }
}

/// The record of a cell's readers with one added.
#[inline(always)]
fn with_reader(known: u64, new: u64) -> u64 {
    if known >> LAUNCH != new >> LAUNCH || known & STRONG > new & STRONG {
        new
    } else if known & STRONG < new & STRONG {
        known
    } else if known >> BLOCK != new >> BLOCK {
        known | BLOCKS
    } else {
        new | known & BLOCKS
    }
}

/// Whether all lanes have one offset.
#[inline(always)]
fn common(offsets: &[u64; 32]) -> bool {
    offsets.iter().fold(0, |different, &offset| different | (offset ^ offsets[0])) == 0
}

/// Whether a write races with the readers of its launch that a record tells of.
fn races_with_readers(access: Access, order: &Order, clock: &BlockClock, readers: u64) -> bool {
    if readers & BLOCKS != 0 { !clock.covers_all(order) } else { access.foreign(readers) && !covered(clock, readers) }
}

/// Whether the access that a record tells of is ordered before what the block does now.
fn covered(clock: &BlockClock, record: u64) -> bool {
    let (block, time, thread) = parts(record);
    clock.covers(block, time, thread)
}

/// Block, time and thread.
fn parts(record: u64) -> (u32, u32, u32) {
    let part = |start: u32, width: u32| (record >> start) as u32 & ((1 << width) - 1);
    (part(BLOCK, BLOCK_BITS), part(TIME, TIME_BITS), part(THREAD, 10))
}

#[cold]
fn conflict(lane: usize, offset: u64, other: u64, did: Did) -> Conflict {
    let (block, _, thread) = parts(other);
    let other = Other { block: Some(block), warp: thread / 32, lane: Some(thread % 32), did };
    Conflict { kind: Kind::GlobalRace, lane, offset, other: Some(other) }
}
