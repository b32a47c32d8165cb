//! Who accessed each cell of shared memory since its last write, where one write must be ordered after all of them.
//!
//! Used for the readers of cells, and for those that accessed them atomically: either kind doesn't conflict with itself.
//! An access that is ordered before a later one of the same kind is dropped, since what is ordered after the later one is
//! ordered after it too; what stays is unordered among itself.
//!
//! A cell is a stamp and a mask:
//!
//! | bits of the stamp | |
//! | --- | --- |
//! | 10 to 31 | the time of the latest access; 0 for none |
//! | 8 and 9 | the form |
//! | 0 to 4 | a warp |
//!
//! | form | who | mask |
//! | --- | --- | --- |
//! | one warp | lanes of the warp, all at that time | the lanes |
//! | warps | two or more, all at that time | the warps |
//! | list | several times | the number of a list |
//!
//! The form `warps` forgets lanes. Nothing is lost: as long as an access of another warp is not ordered, that one
//! conflicts; and a warp orders another one's accesses only by a barrier, which orders those of its own lanes as well.

use super::clocks::Clocks;
use super::{Did, Other, bits};

/// Where the time of a stamp begins.
pub(crate) const TIME: u32 = 10;

const FORM: u32 = 3 << 8;
const ONE_WARP: u32 = 0;
const SEVERAL_WARPS: u32 = 1 << 8;
const LIST: u32 = 2 << 8;

/// How many lists there may be before those of no use are looked for.
const LISTS: usize = 1024;

/// The accessors of all cells.
#[derive(Debug)]
pub(crate) struct Accessors {
    did: Did,
    stamps: Vec<u32>,
    masks: Vec<u32>,
    lists: Vec<Vec<Access>>,
    /// Number of lists from which on those of no use are looked for.
    collect_at: usize,
}

/// An access by lanes of one warp at one time; all lanes where they were forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Access {
    time: u32,
    warp: usize,
    lanes: u32,
}

/// What a warp compares stamps with: the bounds of its clocks, shifted to where stamps have their time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Stamps below this are ordered before all lanes of the warp.
    pub(crate) floor: u32,
    /// So are its own below this.
    pub(crate) own: u32,
    /// The warp's time now.
    pub(crate) now: u32,
    /// The warp.
    pub(crate) warp: u32,
}

impl Bounds {
    /// Those of a warp now.
    #[inline(always)]
    pub(crate) fn new(clocks: &Clocks, warp: usize) -> Self {
        Self {
            floor: clocks.floor(warp) << TIME,
            own: clocks.bound(warp, warp) << TIME,
            now: clocks.now(warp) << TIME,
            warp: warp as u32 & 31,
        }
    }

    /// Whether the accesses of a cell are all ordered before all lanes of the warp; `false` where that takes a closer look.
    #[inline(always)]
    fn ordered(&self, stamp: u32) -> bool {
        (stamp < self.floor) | ((stamp & 0x3ff == self.warp) & (stamp < self.own))
    }
}

impl Accessors {
    /// Of no cells; what they do is `did`.
    pub(crate) fn new(did: Did) -> Self {
        Self { did, stamps: Vec::new(), masks: Vec::new(), lists: Vec::new(), collect_at: LISTS }
    }

    /// Makes room for at least that many cells.
    pub(crate) fn grow(&mut self, cells: usize) {
        if self.stamps.len() < cells {
            self.stamps.resize(cells, 0);
            self.masks.resize(cells, 0);
        }
    }

    /// Forgets all accesses.
    pub(crate) fn clear(&mut self) {
        self.stamps.fill(0);
        self.lists.clear();
    }

    /// Forgets lists: all accesses so far are ordered before all that come.
    pub(crate) fn all_ordered(&mut self) {
        self.lists.clear();
        self.collect_at = LISTS;
    }

    /// Forgets the accesses of a cell.
    pub(crate) fn forget(&mut self, cell: usize) {
        if let Some(stamp) = self.stamps.get_mut(cell) {
            *stamp = 0;
        }
    }

    /// Whether nobody accessed `count` cells from `first` since their last write but who is ordered before the warp, or is
    /// the thread itself: the cells are those of lanes from `lane`, `1 << per_lane` each. `false` where that takes a
    /// closer look.
    #[inline(always)]
    pub(crate) fn free(&self, bounds: &Bounds, first: usize, count: usize, lane: u32, per_lane: u32) -> bool {
        let (Some(stamps), Some(masks)) = (self.stamps.get(first..first + count), self.masks.get(first..first + count))
        else {
            return false;
        };
        let mut busy = false;
        for (i, (&stamp, &mask)) in stamps.iter().zip(masks).enumerate() {
            let me = 1u32 << ((lane + (i as u32 >> per_lane)) & 31);
            busy |= !(bounds.ordered(stamp) | ((stamp & 0x3ff == bounds.warp) & (mask == me)));
        }
        !busy
    }

    /// Adds an access of `count` cells from `first` by lanes from `lane`, `1 << per_lane` cells each. `false` if it must
    /// be added cell by cell; nothing is added then.
    #[inline(always)]
    pub(crate) fn add_run(&mut self, bounds: &Bounds, first: usize, count: usize, lane: u32, per_lane: u32) -> bool {
        let (Some(stamps), Some(masks)) =
            (self.stamps.get_mut(first..first + count), self.masks.get_mut(first..first + count))
        else {
            return false;
        };
        let one = bounds.now | bounds.warp;
        let mut simple = true;
        for &stamp in stamps.iter() {
            simple &= bounds.ordered(stamp) | ((stamp ^ one) < LIST);
        }
        if !simple {
            return false;
        }
        for (i, (stamp, mask)) in stamps.iter_mut().zip(masks).enumerate() {
            let me = 1u32 << ((lane + (i as u32 >> per_lane)) & 31);
            (*stamp, *mask) = added(bounds, *stamp, *mask, me);
        }
        true
    }

    /// As [`add_run`](Self::add_run), of one cell by several lanes.
    #[inline(always)]
    pub(crate) fn add_common(&mut self, bounds: &Bounds, cell: usize, lanes: u32) -> bool {
        let (Some(stamp), Some(mask)) = (self.stamps.get_mut(cell), self.masks.get_mut(cell)) else {
            return false;
        };
        if !(bounds.ordered(*stamp) | ((*stamp ^ (bounds.now | bounds.warp)) < LIST)) {
            return false;
        }
        (*stamp, *mask) = added(bounds, *stamp, *mask, lanes);
        true
    }

    /// Adds an access of a cell by lanes of a warp.
    #[inline(never)]
    pub(crate) fn add(&mut self, clocks: &Clocks, cell: usize, warp: usize, lanes: u32) {
        if self.add_common(&Bounds::new(clocks, warp), cell, lanes) {
            return;
        }
        let now = clocks.now(warp);
        let mut accesses = match (self.stamps.get(cell), self.masks.get(cell)) {
            (Some(&stamp), Some(&mask)) if stamp & FORM == LIST => {
                self.lists.get_mut(mask as usize).map(std::mem::take).unwrap_or_default()
            }
            (Some(_) | None, Some(_) | None) => self.accesses(cell),
        };
        // Ordered before one of the lanes that access now is enough: a write must be ordered after all of these.
        for access in &mut accesses {
            if access.time < clocks.bound(warp, access.warp) {
                access.lanes = 0;
            } else if access.warp == warp && access.lanes != u32::MAX {
                access.lanes &= !clocks.lanes_before(warp, lanes, access.time);
            }
        }
        accesses.retain(|access| access.lanes != 0);
        match accesses.iter_mut().find(|access| access.warp == warp && access.time == now) {
            Some(access) => access.lanes |= lanes,
            None => accesses.push(Access { time: now, warp, lanes }),
        }
        if self.lists.len() >= self.collect_at {
            self.collect(clocks);
        }
        let (Some(stamp), Some(mask)) = (self.stamps.get_mut(cell), self.masks.get_mut(cell)) else {
            return;
        };
        let time = accesses.iter().fold(now, |latest, access| access.time.max(latest));
        if let &[Access { time, warp, lanes }] = accesses.as_slice() {
            (*stamp, *mask) = (time << TIME | ONE_WARP | warp as u32, lanes);
        } else if *stamp & FORM == LIST
            && let Some(list) = self.lists.get_mut(*mask as usize)
        {
            *list = accesses;
            *stamp = time << TIME | LIST;
        } else {
            (*stamp, *mask) = (time << TIME | LIST, self.lists.len() as u32);
            self.lists.push(accesses);
        }
    }

    /// An access of the cell that is not ordered before one of the thread now.
    pub(crate) fn unordered(&self, clocks: &Clocks, cell: usize, thread: (usize, usize)) -> Option<Other> {
        let (&stamp, &mask) = (self.stamps.get(cell)?, self.masks.get(cell)?);
        if stamp >> TIME < clocks.floor(thread.0) {
            return None;
        }
        let other =
            |warp: usize, lane: Option<u32>| Some(Other { block: None, warp: warp as u32, lane, did: self.did });
        if stamp & FORM == SEVERAL_WARPS {
            let time = stamp >> TIME;
            let warp = bits(mask).find(|&warp| warp != thread.0 && time >= clocks.bound(thread.0, warp))?;
            return other(warp, None);
        }
        // Other warps first: where lanes of this one were forgotten, one of those conflicts.
        let mut accesses = self.accesses(cell);
        accesses.sort_by_key(|access| access.warp == thread.0);
        accesses.into_iter().find_map(|access| {
            let lane = bits(access.lanes).find(|&lane| !clocks.ordered(thread, (access.warp, lane), access.time))?;
            other(access.warp, (access.lanes != u32::MAX).then_some(lane as u32))
        })
    }

    /// The accesses of a cell one by one; of forgotten lanes, all.
    fn accesses(&self, cell: usize) -> Vec<Access> {
        let (Some(&stamp), Some(&mask)) = (self.stamps.get(cell), self.masks.get(cell)) else {
            return Vec::new();
        };
        let time = stamp >> TIME;
        if time == 0 {
            return Vec::new();
        }
        let form = stamp & FORM;
        if form == ONE_WARP {
            vec![Access { time, warp: stamp as usize & 31, lanes: mask }]
        } else if form == SEVERAL_WARPS {
            bits(mask).map(|warp| Access { time, warp, lanes: u32::MAX }).collect()
        } else {
            self.lists.get(mask as usize).cloned().unwrap_or_default()
        }
    }

    /// Drops the lists of cells that have been written since, or whose accesses are all ordered before what comes.
    fn collect(&mut self, clocks: &Clocks) {
        let floor = clocks.least_floor();
        let mut kept = Vec::new();
        for (stamp, mask) in self.stamps.iter_mut().zip(&mut self.masks) {
            if *stamp & FORM != LIST {
                continue;
            }
            if *stamp >> TIME < floor {
                *stamp = 0;
            } else if let Some(list) = self.lists.get_mut(*mask as usize) {
                *mask = kept.len() as u32;
                kept.push(std::mem::take(list));
            }
        }
        self.lists = kept;
        self.collect_at = LISTS.max(2 * self.lists.len());
    }
}

/// A cell with an access by lanes of the warp added, where its accesses are ordered before the warp or as old as its time.
#[inline(always)]
fn added(bounds: &Bounds, stamp: u32, mask: u32, lanes: u32) -> (u32, u32) {
    let one = bounds.now | bounds.warp;
    let me = 1u32 << bounds.warp;
    let several = stamp & FORM == SEVERAL_WARPS;
    let others = if several { mask } else { 1u32 << (stamp & 31) };
    if bounds.ordered(stamp) {
        (one, lanes)
    } else if stamp == one {
        (one, mask | lanes)
    } else {
        (bounds.now | SEVERAL_WARPS, others | me)
    }
}
