//! A block: its warps, its shared memory, its barriers.

use super::barrier::{BARRIERS, Barrier, Operation, Reduction, Waiting};
use super::context::Context;
use super::lanes::lanes;
use super::launch::{Launch, Worker};
use super::warp::{self, Pause, Warp};
use super::window::fill;
use crate::check::{BlockClock, Shadow};
use crate::findings::Kind;
use crate::gpu::Fault;
use crate::memory::Words;

/// What the warps of a block share.
#[derive(Debug)]
pub struct Block {
    /// Its place in the grid, x y z.
    pub id: [u32; 3],
    /// Its number in the grid, x fastest.
    pub number: u64,
    /// Its shared memory.
    pub shared: Words,
    /// What is known of its shared memory.
    pub shadow: Shadow,
    /// What it knows of other blocks.
    pub clock: BlockClock,
    /// Its barriers.
    pub barriers: [Barrier; BARRIERS],
    /// The most bytes that each warp had on its way by `cp.async`, summed.
    pub in_flight: u64,
}

/// A block that is being run.
#[derive(Debug)]
pub struct Resident {
    block: Block,
    warps: Vec<Warp>,
    /// Warps that can run.
    ready: u32,
    /// Warps that haven't ended.
    present: u32,
}

/// How a block stands after a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It has more to do.
    Paused,
    /// It has ended.
    Ended,
    /// The launch can't go on.
    Fault,
}

/// The most instructions that a warp runs before another has its turn.
const TURN: u32 = 1 << 11;

impl Resident {
    /// Begins block `number` of a launch, in the room of one that has ended if there is one.
    #[must_use]
    pub fn begin(spare: Option<Self>, launch: &Launch<'_>, number: u64) -> Self {
        let [width, height, _] = launch.shape.grid.map(u64::from);
        let id = [number % width, number / width % height, number / width / height].map(|place| place as u32);
        let threads: u32 = launch.shape.block.iter().product();
        let warps = threads.div_ceil(32);
        let clock = BlockClock::new(&launch.order, number, threads);
        let (shared, shadow, old) = match spare {
            Some(spare) => (spare.block.shared, spare.block.shadow, spare.warps),
            None => (Words::default(), Shadow::new(launch.checks), Vec::new()),
        };
        let barriers = [Barrier::default(); BARRIERS];
        let mut block = Block { id, number, shared, shadow, clock, barriers, in_flight: 0 };
        block.shared.resize(launch.shared_bytes);
        block.shadow.begin_block(launch.shared_bytes, launch.kernel.granules.shared, warps as usize);
        let present = u32::MAX >> (32 - warps.clamp(1, 32));
        let mut resident = Self { block, warps: old, ready: present, present };
        resident.warps.resize_with(warps as usize, Warp::default);
        let entry = &launch.code.functions[launch.kernel.function as usize];
        for (index, warp) in (0..).zip(&mut resident.warps) {
            warp.begin(index, threads - index * 32, entry.start, entry.frame);
            warp.registers.start(entry.sizes);
            fill(warp, &resident.block, launch, &entry.fills);
        }
        resident
    }

    /// Runs it for about `turn` instructions.
    pub fn run(&mut self, launch: &Launch<'_>, worker: &mut Worker, turn: u32) -> Standing {
        let mut left = turn;
        while left > 0 {
            if self.present == 0 {
                worker.progress += 1;
                return Standing::Ended;
            }
            if self.ready == 0 {
                return self.deadlock(launch, worker);
            }
            let index = nth(self.ready, worker.random.u32(..self.ready.count_ones()));
            let now = TURN.min(left);
            left -= now;
            let warp = &mut self.warps[index as usize];
            let mut cx = Context { exec: 0, warp, block: &mut self.block, worker, launch };
            match warp::run(&mut cx, now) {
                Pause::Turn => {}
                Pause::Waits => self.arrive(launch, worker, index, true),
                Pause::Arrived => self.arrive(launch, worker, index, false),
                Pause::Done => {
                    worker.progress += 1;
                    self.present &= !(1 << index);
                    self.ready &= !(1 << index);
                    self.block.shadow.exit(index as usize);
                    self.release_all(launch, worker);
                }
                Pause::Fault => return Standing::Fault,
            }
        }
        Standing::Paused
    }

    fn arrive(&mut self, launch: &Launch<'_>, worker: &mut Worker, index: u32, waits: bool) {
        worker.progress += 1;
        let warp = &mut self.warps[index as usize];
        let Some(Waiting { barrier: number, threads, reduction }) = warp.waiting else { return };
        if waits {
            worker.barriers += 1;
            self.ready &= !(1 << index);
        } else {
            warp.waiting = None;
            self.block.shadow.arrive(index as usize, number as usize);
        }
        let barrier = &mut self.block.barriers[number as usize];
        barrier.arrive(index, threads, waits);
        if let Some(Reduction { lanes, holds, .. }) = reduction {
            barrier.asked += lanes.count_ones();
            barrier.holds += holds.count_ones();
        }
        self.release(launch, worker, number as usize);
    }

    /// Releases every barrier that has become complete because a warp ended.
    fn release_all(&mut self, launch: &Launch<'_>, worker: &mut Worker) {
        for number in 0..BARRIERS {
            if self.block.barriers[number].arrived != 0 {
                self.release(launch, worker, number);
            }
        }
    }

    /// Releases the warps that wait at a barrier, if all that are to meet have arrived.
    fn release(&mut self, launch: &Launch<'_>, worker: &mut Worker, number: usize) {
        let barrier = self.block.barriers[number];
        if !barrier.is_complete(self.present) {
            return;
        }
        self.block.barriers[number] = Barrier::default();
        let everyone = self.everyone();
        let full = barrier.arrived == everyone;
        if barrier.threads.is_none() && !full {
            self.partial(launch, worker, number, barrier);
        }
        if barrier.arrived == barrier.waiting {
            self.block.shadow.barrier(barrier.arrived);
        } else {
            self.block.shadow.barrier_after_arrivals(number, barrier.waiting);
        }
        if barrier.arrived & self.present == self.present {
            self.block.clock.barrier();
        }
        for index in lanes(barrier.waiting) {
            let warp = &mut self.warps[index];
            if let Some(Waiting { reduction: Some(Reduction { operation, slot, lanes, .. }), .. }) = warp.waiting.take()
            {
                match operation {
                    Operation::Count => {
                        super::lanes::write::<u32>(&mut warp.registers, slot, lanes, &[barrier.holds; 32]);
                    }
                    Operation::All => {
                        let value = if barrier.holds == barrier.asked { u32::MAX } else { 0 };
                        warp.registers.set_predicate(slot, lanes, value);
                    }
                    Operation::Any => {
                        let value = if barrier.holds > 0 { u32::MAX } else { 0 };
                        warp.registers.set_predicate(slot, lanes, value);
                    }
                }
            }
        }
        self.ready |= barrier.waiting & self.present;
    }

    fn everyone(&self) -> u32 {
        u32::MAX >> (32 - self.warps.len() as u32)
    }

    /// A barrier that is for the whole block, at which a part of it has met; the rest has ended.
    #[cold]
    fn partial(&mut self, launch: &Launch<'_>, worker: &mut Worker, number: usize, barrier: Barrier) {
        let missing = self.everyone() & !barrier.arrived;
        // One that waits stands just behind its barrier; others have gone on.
        let index = if barrier.waiting == 0 { barrier.arrived } else { barrier.waiting }.trailing_zeros();
        if let Some(warp) = self.warps.get_mut(index as usize) {
            let cx = Context { exec: warp.active, warp, block: &mut self.block, worker, launch };
            if launch.checks.synchronisation {
                cx.find_at(cx.warp.pc.saturating_sub(1), Kind::DivergentBarrier, 0, None, || {
                    format!(
                        "barrier {number} is for all threads of the block, but {} of {} warps ended without reaching \
                         it, warp {} among them",
                        missing.count_ones(),
                        (missing | barrier.arrived).count_ones(),
                        missing.trailing_zeros()
                    )
                });
            }
        }
    }

    /// All warps that are left wait at barriers that can't be completed.
    #[cold]
    fn deadlock(&mut self, launch: &Launch<'_>, worker: &mut Worker) -> Standing {
        let waits: Vec<String> = (0..BARRIERS)
            .filter(|number| self.block.barriers[*number].arrived != 0)
            .map(|number| {
                let barrier = self.block.barriers[number];
                let expected = barrier.threads.map_or_else(|| "all".to_owned(), |threads| threads.to_string());
                format!("{} threads at barrier {number}, which is for {expected}", barrier.arrived.count_ones() * 32)
            })
            .collect();
        let index = self.present.trailing_zeros();
        if let Some(warp) = self.warps.get_mut(index as usize) {
            let cx = Context { exec: warp.active, warp, block: &mut self.block, worker, launch };
            let pc = cx.warp.pc.saturating_sub(1);
            cx.find_at(pc, Kind::Deadlock, 0, None, || format!("the block can't go on: {}", waits.join("; ")));
            cx.fault(Fault::Deadlock);
        }
        Standing::Fault
    }

    /// Says that the block spins without end.
    #[cold]
    pub fn spins(&mut self, launch: &Launch<'_>, worker: &mut Worker) {
        let index = if self.ready == 0 { self.present } else { self.ready }.trailing_zeros();
        if let Some(warp) = self.warps.get_mut(index as usize) {
            let lane = warp.active.trailing_zeros() as usize % 32;
            let cx = Context { exec: warp.active, warp, block: &mut self.block, worker, launch };
            let pc = cx.warp.pc;
            cx.find_at(pc, Kind::Deadlock, lane, None, || {
                "no block stores, meets at a barrier or ends any more: they all wait in loops".to_owned()
            });
            cx.fault(Fault::Deadlock);
        }
    }
}

/// The place of the `n`-th bit that is set.
fn nth(mask: u32, n: u32) -> u32 {
    let mut left = mask;
    for _ in 0..n {
        left &= left - 1;
    }
    left.trailing_zeros()
}
