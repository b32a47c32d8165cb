//! What fences and atomics order across blocks.

use kwc_emulator::check::Did;
use kwc_emulator::check::global::GlobalShadow;
use kwc_emulator::check::order::{BlockClock, Order};

use super::global::lanes;

const ALL: u32 = u32::MAX;
const TICKET: u64 = 8192;

/// What a block does, thread by thread where it matters.
#[derive(Clone, Copy)]
enum Step {
    /// All threads write 4 bytes each at the block's place.
    Write,
    /// One thread (warp, lane) writes 4 bytes at the block's place.
    WriteOne(usize, usize),
    /// All threads read the block's place.
    Read,
    /// One thread reads something that nobody writes.
    Touch(usize, usize),
    /// All threads execute a fence.
    Fence,
    /// One thread does.
    FenceOne(usize, usize),
    /// The block's barrier.
    Barrier,
    /// One thread adds to the ticket, relaxed.
    Ticket(usize, usize),
    /// One thread adds to the ticket with release and acquire semantics.
    Release(usize, usize),
    /// One thread adds to another counter.
    Elsewhere(usize, usize),
}
use Step::{Barrier, Elsewhere, Fence, FenceOne, Read, Release, Ticket, Touch, Write, WriteOne};

struct Blocks {
    shadow: GlobalShadow,
    order: Order,
}

impl Blocks {
    fn new(launch: u64) -> Self {
        Self { shadow: GlobalShadow::new(1 << 16), order: Order::new(launch, 4) }
    }

    fn block(&self, number: u64) -> BlockClock {
        BlockClock::new(&self.order, number, 64)
    }

    /// Whether no step races.
    fn run(&self, clock: &mut BlockClock, place: u64, steps: &[Step]) -> bool {
        let one = |lane: usize, address: u64| {
            let mut addresses = [u64::MAX; 32];
            addresses[lane] = address;
            (addresses, 1 << lane)
        };
        let mut fine = true;
        for &step in steps {
            match step {
                Write | Read => {
                    for warp in 0..2 {
                        let offsets = std::array::from_fn(|lane| place + 128 * warp as u64 + 4 * lane as u64);
                        let found = if matches!(step, Read) {
                            self.shadow.access(&self.order, clock, lanes(warp, &offsets, ALL, 4), Did::Read, false)
                        } else {
                            self.shadow.access(&self.order, clock, lanes(warp, &offsets, ALL, 4), Did::Write, false)
                        };
                        fine &= found.is_ok();
                    }
                }
                Touch(warp, lane) => {
                    let (offsets, mask) = one(lane, TICKET + 64);
                    fine &= self
                        .shadow
                        .access(&self.order, clock, lanes(warp, &offsets, mask, 4), Did::Read, false)
                        .is_ok();
                }
                WriteOne(warp, lane) => {
                    let (offsets, mask) = one(lane, place + 128 * warp as u64 + 4 * lane as u64);
                    fine &= self
                        .shadow
                        .access(&self.order, clock, lanes(warp, &offsets, mask, 4), Did::Write, false)
                        .is_ok();
                }
                Fence => (0..2).for_each(|warp| clock.fence(warp, ALL)),
                FenceOne(warp, lane) => clock.fence(warp, 1 << lane),
                Barrier => clock.barrier(),
                Ticket(warp, lane) | Release(warp, lane) | Elsewhere(warp, lane) => {
                    let address = if matches!(step, Elsewhere(..)) { TICKET + 4 } else { TICKET };
                    let (addresses, mask) = one(lane, address);
                    let itself = matches!(step, Release(..));
                    clock.release(&self.order, warp, &addresses, mask, itself);
                    fine &= self
                        .shadow
                        .access(&self.order, clock, lanes(warp, &addresses, mask, 4), Did::Atomic, true)
                        .is_ok();
                    clock.acquire(&self.order, &addresses, mask);
                }
            }
        }
        fine
    }
}

/// Whether a second block that takes the ticket may read what the first one did before.
fn ordered(first: &[Step]) -> bool {
    let blocks = Blocks::new(1);
    let (mut a, mut b) = (blocks.block(0), blocks.block(1));
    assert!(blocks.run(&mut a, 0, first), "the first has nobody to race with");
    assert!(blocks.run(&mut b, 4096, &[Write, Fence, Barrier, Ticket(0, 0), Barrier]), "its own place");
    blocks.run(&mut b, 0, &[Read])
}

#[test]
fn a_ticket_after_a_fence_of_all_threads() {
    assert!(ordered(&[Write, Fence, Barrier, Ticket(0, 0)]));
    assert!(!ordered(&[Write, Barrier, Ticket(0, 0)]), "no fence");
    assert!(!ordered(&[Fence, Write, Barrier, Ticket(0, 0)]), "the fence came too early");
    assert!(!ordered(&[Write, Fence, Ticket(0, 0)]), "no barrier");
    assert!(!ordered(&[Write, Fence, Barrier]), "no ticket");
    assert!(!ordered(&[Write, Fence, Barrier, Elsewhere(0, 0)]), "another location");
    assert!(!ordered(&[Ticket(0, 0), Write, Fence, Barrier]), "the ticket came too early");
}

#[test]
fn a_ticket_after_a_barrier_and_a_fence_of_its_thread() {
    assert!(ordered(&[Write, Barrier, FenceOne(0, 0), Ticket(0, 0)]));
    assert!(!ordered(&[Write, Barrier, FenceOne(0, 1), Ticket(0, 0)]), "another thread's fence");
    assert!(!ordered(&[Write, FenceOne(0, 0), Barrier, Ticket(0, 0)]), "the others have no fence");
    assert!(!ordered(&[Write, FenceOne(1, 5), FenceOne(0, 0), Ticket(0, 0)]), "fences, but no barrier");
    assert!(!ordered(&[Write, FenceOne(0, 0), Ticket(0, 0)]), "no barrier");
    assert!(!ordered(&[Barrier, FenceOne(0, 0), Write, Ticket(0, 0)]), "the fence came too early");
}

#[test]
fn a_ticket_after_the_only_writer_s_fence() {
    assert!(ordered(&[WriteOne(0, 3), FenceOne(0, 3), Ticket(0, 3)]));
    assert!(!ordered(&[WriteOne(0, 3), Ticket(0, 3)]), "no fence");
    assert!(!ordered(&[FenceOne(0, 3), WriteOne(0, 3), Ticket(0, 3)]), "the fence came too early");
    assert!(!ordered(&[WriteOne(0, 3), FenceOne(0, 3), Ticket(0, 4)]), "another thread's ticket");
    assert!(ordered(&[WriteOne(1, 3), FenceOne(1, 3), Barrier, Ticket(0, 4)]), "a barrier between");
    assert!(
        !ordered(&[WriteOne(1, 3), FenceOne(1, 3), WriteOne(1, 4), Barrier, Ticket(0, 4)]),
        "a write with no fence"
    );
    assert!(!ordered(&[WriteOne(1, 3), FenceOne(1, 3), WriteOne(1, 3), Barrier, Ticket(0, 4)]), "written once more");
    let touched = [WriteOne(1, 3), FenceOne(1, 3), Touch(1, 3), Barrier, Ticket(0, 4)];
    assert!(ordered(&touched), "another access after the fence");
}

#[test]
fn two_threads_that_take_tickets() {
    let one = [WriteOne(0, 1), FenceOne(0, 1), Ticket(0, 1)];
    let other = [WriteOne(1, 3), FenceOne(1, 3), Ticket(1, 3)];
    assert!(ordered(&[one, other].concat()));
    assert!(ordered(&[other, one].concat()));
    assert!(!ordered(&[one, [WriteOne(1, 3), FenceOne(0, 1), Ticket(1, 3)]].concat()));
}

#[test]
fn a_ticket_that_releases_itself() {
    assert!(ordered(&[Write, Barrier, Release(0, 0)]));
    assert!(ordered(&[WriteOne(1, 7), Release(1, 7)]));
    assert!(!ordered(&[Write, Release(0, 0)]), "no barrier");
    assert!(!ordered(&[Release(1, 7), WriteOne(1, 7), Ticket(1, 7)]), "it came too early");
}

#[test]
fn later_phases_count_as_well() {
    assert!(ordered(&[Write, Barrier, Write, Fence, Barrier, Barrier, Ticket(0, 0)]));
    assert!(!ordered(&[Write, Fence, Barrier, Write, Barrier, Ticket(0, 0)]), "written again after the fence");
    assert!(ordered(&[Write, Fence, Barrier, WriteOne(0, 0), FenceOne(0, 0), Barrier, Ticket(1, 0)]));
}

#[test]
fn the_last_block_reads_the_sums_of_all() {
    for fence in [true, false] {
        let blocks = Blocks::new(1);
        let mut clocks: Vec<_> = (0..16).map(|number| blocks.block(number)).collect();
        for (number, clock) in clocks.iter_mut().enumerate().rev() {
            let steps: &[Step] =
                if fence { &[WriteOne(0, 0), FenceOne(0, 0), Ticket(0, 0)] } else { &[WriteOne(0, 0), Ticket(0, 0)] };
            assert!(blocks.run(clock, 256 * number as u64, steps));
        }
        let last = &mut clocks[0];
        last.barrier();
        for number in 1..16 {
            assert_eq!(blocks.run(last, 256 * number, &[Read]), fence, "block {number}");
        }
    }
}

#[test]
fn a_ticket_that_some_blocks_took() {
    for order in [[0, 1, 3, 4, 6], [6, 0, 4, 1, 3], [3, 4, 6, 1, 0]] {
        let blocks = Blocks::new(1);
        let mut clocks: Vec<_> = (0..8).map(|number| blocks.block(number)).collect();
        for number in order {
            // Two of them write once more after their tickets, at a time that the tickets of others cover.
            let early: &[Step] = &[Write, Fence, Barrier, Ticket(0, 0), Write];
            let late: &[Step] = &[Barrier, Barrier, Write, Fence, Barrier, Ticket(0, 0)];
            let steps = if number == 1 || number == 6 { early } else { late };
            assert!(blocks.run(&mut clocks[number], 256 * number as u64, steps));
        }
        assert!(blocks.run(&mut clocks[5], 256 * 5, &[Write]));
        assert!(blocks.run(&mut clocks[2], 256 * 2, &[Write]));
        assert!(blocks.run(&mut clocks[7], 0x3000, &[Ticket(0, 0)]));
        for number in 0..7 {
            let fine = blocks.run(&mut clocks[7], 256 * number, &[Read]);
            assert_eq!(fine, matches!(number, 0 | 3 | 4), "block {number}");
        }
    }
}

#[test]
fn a_block_that_takes_the_ticket_again() {
    for again in 0..4 {
        let blocks = Blocks::new(1);
        let mut clocks: Vec<_> = (0..5).map(|number| blocks.block(number)).collect();
        for (number, clock) in clocks.iter_mut().enumerate().take(4) {
            assert!(blocks.run(clock, 256 * number as u64, &[Write, Fence, Barrier, Ticket(0, 0)]));
        }
        assert!(blocks.run(&mut clocks[again], 256 * again as u64, &[Write, Fence, Barrier, Ticket(0, 0)]));
        assert!(blocks.run(&mut clocks[4], 0x3000, &[Ticket(0, 0)]));
        assert!((0..4).all(|number| blocks.run(&mut clocks[4], 256 * number, &[Read])), "block {again}");
    }
}

#[test]
fn what_a_block_acquired_it_passes_on() {
    for second in [FenceOne(0, 0), Barrier] {
        let blocks = Blocks::new(1);
        let (mut a, mut b, mut c) = (blocks.block(0), blocks.block(1), blocks.block(2));
        assert!(blocks.run(&mut a, 0, &[Write, Fence, Barrier, Ticket(0, 0)]));
        assert!(blocks.run(&mut b, 256, &[Ticket(0, 0), second, Elsewhere(0, 0)]));
        assert!(blocks.run(&mut c, 512, &[Elsewhere(0, 0)]));
        assert_eq!(blocks.run(&mut c, 0, &[Read]), matches!(second, FenceOne(..)));
    }
}

#[test]
fn a_barrier_of_the_grid() {
    const MEET: [Step; 4] = [Barrier, FenceOne(0, 0), Ticket(0, 0), Barrier];
    for missing in [None, Some(2)] {
        let blocks = Blocks::new(1);
        let mut clocks: Vec<_> = (0..4).map(|number| blocks.block(number)).collect();
        let mut fine = true;
        for round in 0..4 {
            for (number, clock) in clocks.iter_mut().enumerate() {
                fine &= blocks.run(clock, 256 * ((number as u64 + round) % 4), &[Read, Write]);
            }
            if missing == Some(round) {
                continue;
            }
            for clock in &mut clocks {
                fine &= blocks.run(clock, 0, &MEET);
            }
            // Each thread 0 waits until all have come.
            let mut ticket = [u64::MAX; 32];
            ticket[0] = TICKET;
            for clock in &mut clocks {
                clock.acquire(&blocks.order, &ticket, 1);
                clock.barrier();
            }
        }
        assert_eq!(fine, missing.is_none());
    }
}

#[test]
fn more_barriers_than_records_have_times_for() {
    for fence in [true, false] {
        let blocks = Blocks::new(1);
        let (mut a, mut b) = (blocks.block(0), blocks.block(1));
        (0..70_000).for_each(|_| a.barrier());
        let steps: &[Step] =
            if fence { &[Write, Fence, Barrier, Ticket(0, 0)] } else { &[Write, Barrier, Ticket(0, 0)] };
        assert!(blocks.run(&mut a, 0, steps));
        assert!(blocks.run(&mut b, 4096, &[Ticket(0, 0)]));
        assert_eq!(blocks.run(&mut b, 0, &[Read]), fence);
    }
}

#[test]
fn blocks_that_run_at_once() {
    for round in 1..20 {
        let blocks = Blocks::new(round);
        let last = std::sync::Mutex::new(0);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (blocks, last) = (&blocks, &last);
                scope.spawn(move || {
                    for number in (thread..32).step_by(4) {
                        let mut clock = blocks.block(number);
                        assert!(blocks.run(&mut clock, 256 * number, &[Write, Fence, Barrier, Ticket(0, 0)]));
                        let mut taken = last.lock().unwrap();
                        *taken += 1;
                        if *taken == 32 {
                            // Takes the ticket once more: others took theirs between this block's and its count.
                            assert!(blocks.run(&mut clock, 0, &[Ticket(0, 0), Barrier]));
                            for number in 0..32 {
                                assert!(blocks.run(&mut clock, 256 * number, &[Read]));
                            }
                        }
                    }
                });
            }
        });
    }
}
