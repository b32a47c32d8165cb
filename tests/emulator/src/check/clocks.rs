//! What barriers and warp synchronisations order within a block: vector clocks over its warps and lanes.
//!
//! A block has one time, which each synchronisation advances. An access is stamped with the time of its warp's last
//! synchronisation. For each pair of warps there is a *bound*: accesses of the one that are stamped before it are ordered
//! before whatever the other does now. The bound of a warp with itself holds for all pairs of its lanes; lanes that
//! synchronised without the rest of their warp have bounds of their own above it. A thread is always ordered with itself.

use super::bits;

/// The most warps of a block, and the lanes of a warp.
pub const WARPS: usize = 32;

/// Barriers of a block, by id.
const BARRIERS: usize = 16;

/// The clocks of one block.
#[derive(Debug)]
pub struct Clocks {
    time: u32,
    start: u32,
    /// Accesses stamped before this are ordered for all warps: the last barrier of the whole block. Rows of `seen` and
    /// `lanes` that were written before it, perhaps for an earlier block, hold less.
    full: u32,
    all: u32,
    exited: u32,
    now: [u32; WARPS],
    floor: [u32; WARPS],
    seen: Box<[[u32; WARPS]; WARPS]>,
    /// By warp, then by lane of the later access, then by lane of the earlier one.
    lanes: Vec<Option<Box<[[u32; WARPS]; WARPS]>>>,
    /// The warps whose `lanes` count.
    parted: u32,
    arrived: [Option<Box<[u32; WARPS]>>; BARRIERS],
}

impl Clocks {
    /// The clocks of no block.
    #[must_use]
    pub fn new() -> Self {
        Self {
            time: 0,
            start: 0,
            full: 0,
            all: 0,
            exited: 0,
            now: [0; WARPS],
            floor: [0; WARPS],
            seen: Box::new([[0; WARPS]; WARPS]),
            lanes: vec![None; WARPS],
            parted: 0,
            arrived: [const { None }; BARRIERS],
        }
    }

    /// A block of `warps` warps begins: everything before is ordered before it, and stamped before its
    /// [`start`](Self::start).
    pub fn begin(&mut self, warps: usize) {
        self.start = self.time + 1;
        self.time += 2;
        self.all = if warps >= WARPS { u32::MAX } else { (1 << warps) - 1 };
        self.exited = 0;
        self.arrived = [const { None }; BARRIERS];
        self.join_all();
    }

    /// Starts time anew: stamps taken before mean nothing afterwards. A block that is running goes on as if it had
    /// passed a barrier.
    pub fn restart(&mut self) {
        self.start = 1;
        self.time = 2;
        for row in self.seen.iter_mut() {
            row.fill(0);
        }
        self.lanes.fill(None);
        self.arrived = [const { None }; BARRIERS];
        self.join_all();
    }

    /// The time of the block's last synchronisation.
    #[must_use]
    pub fn time(&self) -> u32 {
        self.time
    }

    /// A time before any access of this block and after any of the block before it, ordered before all.
    #[inline(always)]
    #[must_use]
    pub fn start(&self) -> u32 {
        self.start
    }

    /// The stamp of a warp's accesses.
    #[inline(always)]
    #[must_use]
    pub fn now(&self, warp: usize) -> u32 {
        self.now[warp % WARPS]
    }

    /// Accesses by any thread that are stamped before this are ordered before the warp's.
    #[inline(always)]
    #[must_use]
    pub fn floor(&self, warp: usize) -> u32 {
        self.floor[warp % WARPS]
    }

    /// Accesses by any thread that are stamped before this are ordered before those of all warps that have not exited.
    #[must_use]
    pub fn least_floor(&self) -> u32 {
        bits(self.all & !self.exited).map(|warp| self.floor[warp]).min().unwrap_or(self.time)
    }

    /// Accesses of `earlier` that are stamped before this are ordered before those of `warp`.
    #[inline(always)]
    #[must_use]
    pub fn bound(&self, warp: usize, earlier: usize) -> u32 {
        self.seen[warp % WARPS][earlier % WARPS].max(self.full)
    }

    /// Accesses of a lane that are stamped before this are ordered before those of another lane of its warp.
    #[must_use]
    pub fn lane_bound(&self, warp: usize, lane: usize, earlier: usize) -> u32 {
        if lane == earlier {
            return u32::MAX;
        }
        let together = self.bound(warp, warp);
        let parted = self.parted >> warp & 1 != 0;
        match self.lanes.get(warp).and_then(Option::as_ref) {
            Some(rows) if parted => rows[lane % WARPS][earlier % WARPS].max(together),
            Some(_) | None => together,
        }
    }

    /// The lanes of a warp whose accesses stamped `time` are ordered before what one of `lanes` does now.
    #[must_use]
    pub fn lanes_before(&self, warp: usize, lanes: u32, time: u32) -> u32 {
        if self.parted >> (warp % WARPS) & 1 == 0 {
            return if time < self.bound(warp, warp) { u32::MAX } else { lanes };
        }
        let before = |earlier: &usize| bits(lanes).any(|lane| time < self.lane_bound(warp, lane, *earlier));
        (0..WARPS).filter(before).fold(0, |before, lane| before | 1 << lane)
    }

    /// Whether an access stamped `time` by `earlier` (warp and lane) is ordered before one by `thread` now.
    #[must_use]
    pub fn ordered(&self, thread: (usize, usize), earlier: (usize, usize), time: u32) -> bool {
        if thread.0 == earlier.0 {
            time < self.lane_bound(thread.0, thread.1, earlier.1)
        } else {
            time < self.bound(thread.0, earlier.0)
        }
    }

    /// Warps wait for each other. Whether this was a barrier of the whole block: all warps that have not exited.
    pub fn barrier(&mut self, warps: u32) -> bool {
        self.time += 1;
        if (warps | self.exited) & self.all == self.all {
            self.join_all();
            return true;
        }
        self.join(warps, [0; WARPS]);
        false
    }

    /// A warp arrives at a barrier and goes on.
    pub fn arrive(&mut self, warp: usize, barrier: usize) {
        self.time += 1;
        let bounds: [u32; WARPS] = std::array::from_fn(|earlier| self.bound(warp, earlier));
        let arrived = self.arrived[barrier % BARRIERS].get_or_insert_with(|| Box::new([0; WARPS]));
        for (arrived, bound) in arrived.iter_mut().zip(bounds) {
            *arrived = bound.max(*arrived);
        }
        arrived[warp % WARPS] = self.time;
        self.now[warp % WARPS] = self.time;
    }

    /// Warps wait for each other and for those that arrived at the barrier. Whether this was a barrier of the whole
    /// block, which one with arrivals never counts as.
    pub fn barrier_after_arrivals(&mut self, barrier: usize, warps: u32) -> bool {
        match self.arrived[barrier % BARRIERS].take() {
            None => self.barrier(warps),
            Some(arrived) => {
                self.time += 1;
                self.join(warps, *arrived);
                false
            }
        }
    }

    /// A warp has exited: barriers of the whole block don't wait for it.
    pub fn exit(&mut self, warp: usize) {
        self.exited |= 1 << (warp % WARPS);
    }

    /// Lanes of a warp wait for each other. `lanes` may name lanes that don't exist or have exited.
    pub fn warp_sync(&mut self, warp: usize, lanes: u32) {
        let warp = warp % WARPS;
        self.time += 1;
        self.now[warp] = self.time;
        if lanes == u32::MAX {
            self.seen[warp][warp] = self.time;
            self.parted &= !(1 << warp);
            self.update_floor(warp);
            return;
        }
        self.parted |= 1 << warp;
        if let Some(rows) = self.lanes.get_mut(warp) {
            let rows = rows.get_or_insert_with(|| Box::new([[0; WARPS]; WARPS]));
            let mut joined = [0; WARPS];
            for lane in bits(lanes) {
                for (joined, bound) in joined.iter_mut().zip(rows[lane]) {
                    *joined = bound.max(*joined);
                }
            }
            for lane in bits(lanes) {
                joined[lane] = self.time;
            }
            for lane in bits(lanes) {
                rows[lane] = joined;
            }
        }
    }

    fn join_all(&mut self) {
        self.full = self.time;
        self.now = [self.time; WARPS];
        self.floor = [self.time; WARPS];
        self.parted = 0;
    }

    /// `warps` learn what each of them and `known` know, and of each other everything so far.
    fn join(&mut self, warps: u32, known: [u32; WARPS]) {
        let mut joined = known;
        for warp in bits(warps) {
            for (earlier, joined) in joined.iter_mut().enumerate() {
                *joined = self.bound(warp, earlier).max(*joined);
            }
        }
        for warp in bits(warps) {
            joined[warp] = self.time;
        }
        for warp in bits(warps) {
            self.seen[warp] = joined;
            self.now[warp] = self.time;
            self.update_floor(warp);
        }
        self.parted &= !warps;
    }

    fn update_floor(&mut self, warp: usize) {
        let least = bits(self.all).map(|earlier| self.seen[warp][earlier]).min().unwrap_or(0);
        self.floor[warp] = least.max(self.full);
    }
}

impl Default for Clocks {
    fn default() -> Self {
        Self::new()
    }
}
