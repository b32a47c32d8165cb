//! A launch: blocks in a random order on the threads of the host.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::Kernel;
use super::block::{Resident, Standing};
use super::code::Code;
use super::waiting::{Watch, Watcher};
use crate::check::{Findings, Order};
use crate::counters::{Site, Traffic};
use crate::driver::device::Architecture;
use crate::gpu::{Fault, Shape};
use crate::memory::{Allocation, Global};
use crate::options::Checks;

/// What all blocks of a launch share.
pub struct Launch<'a> {
    /// Which launch of the process, from 1.
    pub number: u64,
    /// The code of the module.
    pub code: &'a Code,
    /// The kernel.
    pub kernel: &'a Kernel,
    /// Its shape.
    pub shape: Shape,
    /// Its parameters, a multiple of 8 bytes.
    pub parameters: &'a [u8],
    /// Shared memory of a block, static and dynamic, bytes.
    pub shared_bytes: u32,
    /// Global memory.
    pub memory: &'a Global,
    /// All allocations, by address.
    pub allocations: Vec<Arc<Allocation>>,
    /// The part that it runs on.
    pub architecture: Architecture,
    /// What is checked.
    pub checks: Checks,
    /// Whether memory accesses are counted.
    pub counters: bool,
    /// What was found.
    pub findings: Findings,
    /// What orders blocks.
    pub order: Order,
    /// Why it ends early.
    pub fault: Mutex<Option<Fault>>,
    /// Set with `fault`.
    pub stop: AtomicBool,
}

/// What belongs to a thread of the host.
#[derive(Debug)]
pub struct Worker {
    /// The first instruction that the kernel may reach.
    first: u32,
    /// By instruction from there on: what it did.
    pub sites: Vec<Site>,
    /// By instruction: the allocation that it accessed last, by its place in [`Launch::allocations`].
    places: Vec<u32>,
    /// The allocation accessed last.
    pub recent: usize,
    /// Words of sectors read for the first time: allocation and word.
    pub read: Vec<(u32, u32)>,
    /// Words of sectors written for the first time.
    pub written: Vec<(u32, u32)>,
    /// Accesses of memory.
    pub traffic: Accesses,
    /// The order of warps.
    pub random: fastrand::Rng,
    /// Grows with everything that another thread of the kernel could wait for.
    pub progress: u64,
    /// Grows with everything that asks for what another thread of the kernel may change: volatile and stronger reads,
    /// and atomic operations.
    pub asked: u64,
    /// Atomic operations of lanes: global, shared.
    pub atomics: [u64; 2],
    /// Barriers that warps waited at.
    pub barriers: u64,
    /// Bytes copied by `cp.async`.
    pub async_bytes: u64,
    /// The most bytes on their way by `cp.async` in one block: [`Block::in_flight`](super::block::Block::in_flight).
    pub async_in_flight: u64,
}

/// Accesses of memory by the warps that a thread of the host ran.
#[derive(Debug, Clone, Copy, Default)]
pub struct Accesses {
    /// Reads of global memory; atomic operations are both.
    pub loads: Traffic,
    /// Writes of global memory.
    pub stores: Traffic,
    /// Local memory.
    pub local: Traffic,
    /// Requests to shared memory.
    pub shared: u64,
}

/// Instructions that a block runs before the next one has its turn.
const TURN: u32 = 1 << 20;

impl Launch<'_> {
    /// Runs all blocks; gives what the threads counted.
    pub fn run(&self, threads: usize, resident: u64, seed: u64) -> Vec<Worker> {
        let blocks: u64 = self.shape.grid.iter().map(|count| u64::from(*count)).product();
        let shuffle = Shuffle::new(blocks, seed);
        let next = AtomicU64::new(0);
        let threads = threads.clamp(1, usize::try_from(blocks).unwrap_or(usize::MAX).max(1));
        let watch = Watch::new(threads);
        let share = (resident / threads as u64).max(1);
        let work = |thread: usize| {
            let mut worker = Worker::new(&self.kernel.instructions, seed.wrapping_add(thread as u64));
            self.work(&mut worker, share, watch.watcher(thread), || {
                let place = next.fetch_add(1, Ordering::Relaxed);
                (place < blocks).then(|| shuffle.at(place))
            });
            worker
        };
        if threads == 1 {
            return vec![work(0)];
        }
        std::thread::scope(|scope| {
            let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
            running
                .into_iter()
                .filter_map(|thread| match thread.join() {
                    Ok(worker) => Some(worker),
                    Err(panic) => std::panic::resume_unwind(panic),
                })
                .collect()
        })
    }

    fn work(&self, worker: &mut Worker, share: u64, mut watcher: Watcher<'_>, mut next: impl FnMut() -> Option<u64>) {
        let mut running: VecDeque<Resident> = VecDeque::new();
        let mut spare: Option<Resident> = None;
        let mut more = true;
        while !self.stop.load(Ordering::Relaxed) {
            // Another block begins when none is left here, or when those that run may be waiting for one.
            let waits = watcher.may_wait() && (running.len() as u64) < share;
            if more && (running.is_empty() || waits) {
                match next() {
                    Some(number) => {
                        running.push_front(Resident::begin(spare.take(), self, number));
                    }
                    None => more = false,
                }
            }
            let Some(mut resident) = running.pop_front() else { break };
            let (progress, asked) = (worker.progress, worker.asked);
            match resident.run(self, worker, TURN) {
                Standing::Ended => {
                    watcher.changed();
                    spare = Some(resident);
                }
                Standing::Fault => return,
                Standing::Paused => {
                    if worker.progress != progress {
                        watcher.changed();
                    } else if watcher.was_still(worker.asked != asked, running.len() + 1) {
                        resident.spins(self, worker);
                        return;
                    }
                    running.push_back(resident);
                }
            }
        }
        watcher.ends();
    }

    /// Ends the launch. The first fault counts.
    pub fn end(&self, fault: Fault) {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(fault);
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Worker {
    /// A thread that has counted nothing, for some instructions of a module.
    #[must_use]
    pub fn new(instructions: &Range<u32>, seed: u64) -> Self {
        Self {
            first: instructions.start,
            sites: vec![Site::default(); instructions.len()],
            places: vec![0; instructions.len()],
            recent: 0,
            read: Vec::new(),
            written: Vec::new(),
            traffic: Accesses::default(),
            random: fastrand::Rng::with_seed(seed),
            progress: 0,
            asked: 0,
            atomics: [0; 2],
            barriers: 0,
            async_bytes: 0,
            async_in_flight: 0,
        }
    }

    /// What the instruction at `pc` did.
    #[inline(always)]
    pub fn site(&mut self, pc: u32) -> &mut Site {
        &mut self.sites[(pc - self.first) as usize]
    }

    /// The allocation that the instruction at `pc` accessed last.
    #[inline(always)]
    pub fn place(&mut self, pc: u32) -> &mut u32 {
        &mut self.places[(pc - self.first) as usize]
    }
}

/// A permutation of `0..count`: `place * factor + shift` modulo `count`, the factor having no divisor in common with it.
#[derive(Debug, Clone, Copy)]
struct Shuffle {
    count: u64,
    factor: u64,
    shift: u64,
}

impl Shuffle {
    fn new(count: u64, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let count = count.max(1);
        let mut factor = random.u64(..count).max(1);
        while divisor(factor, count) != 1 {
            factor = factor % count + 1;
        }
        Self { count, factor, shift: random.u64(..count) }
    }

    fn at(self, place: u64) -> u64 {
        ((u128::from(place) * u128::from(self.factor) + u128::from(self.shift)) % u128::from(self.count)) as u64
    }
}

/// The greatest common divisor.
fn divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { divisor(b, a % b) }
}
