//! Random programs of a block against a second method: every access kept, happens-before by a vector clock per thread.

use kwc_emulator::check::Did;
use kwc_emulator::check::shared::Shadow;
use kwc_emulator::findings::Kind;
use kwc_emulator::options::Checks;
use proptest::prelude::*;

const WARPS: usize = 3;
const THREADS: usize = WARPS * 32;
const BYTES: usize = 600;

/// What a program does next. Numbers are taken modulo what there is.
#[derive(Debug, Clone)]
enum Op {
    Access { did: Did, warp: usize, mask: u32, pattern: usize, base: usize, size: usize, even_if_racy: bool },
    Copy { thread: usize, place: usize, size: usize },
    Wait { which: usize },
    Barrier { warps: u32 },
    Arrive { warp: usize, barrier: usize },
    BarrierAfter { barrier: usize, warps: u32 },
    WarpSync { warp: usize, lanes: u32 },
}

fn op() -> impl Strategy<Value = Op> {
    let did = prop_oneof![3 => Just(Did::Read), 3 => Just(Did::Write), 1 => Just(Did::Atomic)];
    let mask = prop_oneof![4 => Just(u32::MAX), 2 => any::<u32>(), 1 => (0..32u32).prop_map(|lane| 1 << lane)];
    let warps = || prop_oneof![Just(7u32), 1..8u32];
    let sync = prop_oneof![Just(u32::MAX), any::<u32>(), Just(0xffff), Just(0x0f0f_0f0f)];
    let access = (did, 0..WARPS, mask, 0..7usize, 0..64usize, 0..4usize, prop::bool::weighted(0.05)).prop_map(
        |(did, warp, mask, pattern, base, size, even_if_racy)| Op::Access {
            did,
            warp,
            mask,
            pattern,
            base,
            size,
            even_if_racy,
        },
    );
    prop_oneof![
        10 => access,
        1 => (0..THREADS, 0..32usize, 1..3usize).prop_map(|(thread, place, size)| Op::Copy { thread, place, size }),
        1 => (0..8usize).prop_map(|which| Op::Wait { which }),
        3 => warps().prop_map(|warps| Op::Barrier { warps }),
        1 => (0..WARPS, 0..2usize).prop_map(|(warp, barrier)| Op::Arrive { warp, barrier }),
        1 => (0..2usize, warps()).prop_map(|(barrier, warps)| Op::BarrierAfter { barrier, warps }),
        3 => (0..WARPS, sync).prop_map(|(warp, lanes)| Op::WarpSync { warp, lanes }),
    ]
}

/// Offsets of an access, by pattern: those that the shadow has fast paths for, and others.
fn offsets(pattern: usize, base: usize, size: usize) -> [u32; 32] {
    let units = BYTES / size - 32;
    std::array::from_fn(|lane| {
        let unit = match pattern {
            0 | 1 => base % units + lane,
            2 => base % units,
            3 => base % units + lane % 16,
            4 => base % units + lane / 16,
            5 => base + (lane * 7 + base) % 11,
            _ => base + 31 - lane,
        };
        (unit % (BYTES / size) * size) as u32
    })
}

#[derive(Clone, Copy)]
struct Access {
    thread: usize,
    epoch: u32,
    did: Did,
}

struct Model {
    clocks: Vec<Vec<u32>>,
    arrived: [Option<Vec<u32>>; 2],
    /// By byte.
    accesses: Vec<Vec<Access>>,
    /// Copies on their way: thread, first byte, bytes.
    copies: Vec<(usize, usize, usize)>,
}

impl Model {
    fn new() -> Self {
        let clock = |thread| (0..THREADS).map(|other| u32::from(other == thread)).collect();
        Self {
            clocks: (0..THREADS).map(clock).collect(),
            arrived: [None, None],
            accesses: vec![Vec::new(); BYTES],
            copies: Vec::new(),
        }
    }

    fn conflicts(&self, thread: usize, byte: usize, did: Did) -> Vec<Access> {
        let orders = |access: &Access| self.clocks[thread][access.thread] >= access.epoch;
        let writes = |did| matches!(did, Did::Write | Did::Copy);
        let clash = |other| match did {
            Did::Read => other != Did::Read,
            Did::Atomic => other != Did::Atomic,
            Did::Write | Did::Copy => true,
        };
        let of_byte = self.accesses[byte].iter().filter(|access| clash(access.did) || writes(access.did));
        of_byte.filter(|access| !orders(access)).copied().collect()
    }

    fn on_its_way(&self, byte: usize) -> bool {
        self.copies.iter().any(|&(_, first, bytes)| (first..first + bytes).contains(&byte))
    }

    fn add(&mut self, thread: usize, bytes: std::ops::Range<usize>, did: Did) {
        let epoch = self.clocks[thread][thread];
        for byte in bytes {
            self.accesses[byte].push(Access { thread, epoch, did });
        }
    }

    fn meet(&mut self, threads: &[usize], known: Option<Vec<u32>>) {
        let mut joined = known.unwrap_or_else(|| vec![0; THREADS]);
        for &thread in threads {
            for (joined, known) in joined.iter_mut().zip(&self.clocks[thread]) {
                *joined = (*joined).max(*known);
            }
        }
        for &thread in threads {
            self.clocks[thread].clone_from(&joined);
            self.clocks[thread][thread] += 1;
        }
    }
}

fn of_warps(warps: u32) -> Vec<usize> {
    (0..THREADS).filter(|thread| warps >> (thread / 32) & 1 != 0).collect()
}

/// Runs a program on both, and compares what they say of each operation until there is something wrong with one.
fn compare(granule: usize, shadow: &mut Shadow, ops: &[Op]) -> Result<bool, TestCaseError> {
    let mut model = Model::new();
    shadow.begin_block(BYTES as u32, granule as u32, WARPS);
    for op in ops {
        match *op {
            Op::Access { did, warp, mask, pattern, base, size, even_if_racy } => {
                let size = (granule << size).min(16);
                let offsets = offsets(pattern, base, size);
                // What is wrong with the first lane that something is wrong with.
                let mut wrong: Option<(usize, bool, Vec<Access>)> = None;
                for lane in (0..32).filter(|lane| mask >> lane & 1 != 0) {
                    let first = offsets[lane] as usize;
                    for byte in (first..first + size).step_by(granule) {
                        let coming = model.on_its_way(byte);
                        let mut racing = model.conflicts(warp * 32 + lane, byte, did);
                        let twice =
                            (0..lane).filter(|&other| mask >> other & 1 != 0 && offsets[other] == offsets[lane]);
                        if did == Did::Write {
                            racing.extend(twice.map(|other| Access { thread: warp * 32 + other, epoch: 0, did }));
                        }
                        // It may be said to race with any that one of its bytes races with.
                        match &mut wrong {
                            Some((first, _, others)) if *first == lane => others.extend(racing),
                            None if coming || !racing.is_empty() => wrong = Some((lane, coming, racing)),
                            Some(_) | None => {}
                        }
                    }
                }
                if wrong.is_some() && !even_if_racy {
                    continue;
                }
                let found = match did {
                    Did::Read => shadow.read(warp, &offsets, mask, size as u32),
                    Did::Atomic => shadow.atomic(warp, &offsets, mask, size as u32),
                    Did::Write | Did::Copy => shadow.write(warp, &offsets, mask, size as u32, |_, _| false),
                };
                match (wrong, found) {
                    (None, found) => prop_assert_eq!(found, Ok(())),
                    (Some((lane, coming, racing)), Err(found)) => {
                        prop_assert_eq!(found.lane, lane);
                        prop_assert_eq!(found.offset, u64::from(offsets[lane]));
                        prop_assert_eq!(found.kind, if coming { Kind::AsyncCopy } else { Kind::SharedRace });
                        let is = |access: &Access| {
                            let (warp, lane) = (access.thread as u32 / 32, access.thread as u32 % 32);
                            found
                                .other
                                .is_some_and(|other| other.warp == warp && other.lane.is_none_or(|other| other == lane))
                        };
                        prop_assert!(coming || racing.iter().any(is), "{:?} raced with nothing", found);
                        return Ok(true);
                    }
                    (Some(_), Ok(())) => prop_assert!(false, "missed: {:?}", op),
                }
                for lane in (0..32).filter(|lane| mask >> lane & 1 != 0) {
                    let first = offsets[lane] as usize;
                    model.add(warp * 32 + lane, first..first + size, did);
                }
            }
            Op::Copy { thread, place, size } => {
                let (first, bytes) = (place * 16, 4 << size);
                let wrong = (first..first + bytes)
                    .any(|byte| model.on_its_way(byte) || !model.conflicts(thread, byte, Did::Write).is_empty());
                if !wrong {
                    prop_assert_eq!(shadow.copy_begin(thread / 32, thread % 32, first as u32, bytes as u32), Ok(()));
                    model.copies.push((thread, first, bytes));
                }
            }
            Op::Wait { which } => {
                if which < model.copies.len() {
                    let (thread, first, bytes) = model.copies.remove(which);
                    shadow.copy_end(thread / 32, thread % 32, first as u32, bytes as u32);
                    model.add(thread, first..first + bytes, Did::Write);
                }
            }
            Op::Barrier { warps } => {
                shadow.barrier(warps);
                model.meet(&of_warps(warps), None);
            }
            Op::Arrive { warp, barrier } => {
                shadow.arrive(warp, barrier);
                let mut known = model.arrived[barrier].take().unwrap_or_else(|| vec![0; THREADS]);
                for thread in of_warps(1 << warp) {
                    for (known, clock) in known.iter_mut().zip(&model.clocks[thread]) {
                        *known = (*known).max(*clock);
                    }
                    model.clocks[thread][thread] += 1;
                }
                model.arrived[barrier] = Some(known);
            }
            Op::BarrierAfter { barrier, warps } => {
                shadow.barrier_after_arrivals(barrier, warps);
                let known = model.arrived[barrier].take();
                model.meet(&of_warps(warps), known);
            }
            Op::WarpSync { warp, lanes } => {
                shadow.warp_sync(warp, lanes);
                let lanes = (0..32).filter(|lane| lanes >> lane & 1 != 0);
                model.meet(&lanes.map(|lane| warp * 32 + lane).collect::<Vec<_>>(), None);
            }
        }
    }
    Ok(false)
}

const RACES: Checks = Checks { initialised: false, races: true, synchronisation: false };

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_first_race_is_found_and_none_that_is_none(
        granule in prop_oneof![Just(1usize), Just(2), Just(4)],
        blocks in prop::collection::vec(prop::collection::vec(op(), 1..80), 1..3),
    ) {
        let mut shadow = Shadow::new(RACES);
        for ops in &blocks {
            compare(granule, &mut shadow, ops)?;
        }
    }
}
