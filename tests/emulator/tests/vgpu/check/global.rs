//! Races between blocks: for each rule an execution that breaks it and one just like it that doesn't.

use kwc_emulator::check::global::GlobalShadow;
use kwc_emulator::check::order::{BlockClock, Order};
use kwc_emulator::check::{Conflict, Did, Lanes, Other};
use kwc_emulator::findings::Kind;

const ALL: u32 = u32::MAX;
const PLAIN: bool = false;
const STRONG: bool = true;

/// A launch whose blocks have 64 threads, and access one allocation.
struct Launch<'a> {
    shadow: &'a GlobalShadow,
    order: Order,
    blocks: Vec<BlockClock>,
}

impl<'a> Launch<'a> {
    fn new(shadow: &'a GlobalShadow, number: u64, blocks: u64) -> Self {
        let order = Order::new(number, 4);
        let blocks = (0..blocks).map(|block| BlockClock::new(&order, block, 64)).collect();
        Self { shadow, order, blocks }
    }

    fn read(&mut self, block: usize, offset: u64, strong: bool) -> Option<Conflict> {
        self.shadow
            .access(&self.order, &mut self.blocks[block], lanes(0, &at(0, offset), 1, 4), Did::Read, strong)
            .err()
    }

    fn write(&mut self, block: usize, offset: u64, strong: bool) -> Option<Conflict> {
        self.shadow
            .access(&self.order, &mut self.blocks[block], lanes(0, &at(0, offset), 1, 4), Did::Write, strong)
            .err()
    }

    fn atomic(&mut self, block: usize, offset: u64) -> Option<Conflict> {
        self.shadow
            .access(&self.order, &mut self.blocks[block], lanes(0, &at(0, offset), 1, 4), Did::Atomic, true)
            .err()
    }

    /// All threads of a block write, 4 bytes each.
    fn write_all(&mut self, block: usize, offset: u64) {
        for warp in 0..2 {
            let offsets = consecutive(offset + 128 * warp as u64);
            let found = self.shadow.access(
                &self.order,
                &mut self.blocks[block],
                lanes(warp, &offsets, ALL, 4),
                Did::Write,
                PLAIN,
            );
            assert_eq!(found, Ok(()));
        }
    }

    /// All threads of a block read what `write_all` wrote.
    fn read_all(&mut self, block: usize, offset: u64) -> Option<Conflict> {
        let mut found = None;
        for warp in 0..2 {
            let offsets = consecutive(offset + 128 * warp as u64);
            let result = self.shadow.access(
                &self.order,
                &mut self.blocks[block],
                lanes(warp, &offsets, ALL, 4),
                Did::Read,
                PLAIN,
            );
            found = found.or(result.err());
        }
        found
    }
}

/// Offsets of which only one lane's means anything.
pub(super) fn lanes(warp: usize, offsets: &[u64; 32], mask: u32, size: u32) -> Lanes<'_> {
    Lanes { warp, offsets, mask, size }
}

fn at(lane: usize, offset: u64) -> [u64; 32] {
    let mut offsets = [u64::MAX; 32];
    offsets[lane] = offset;
    offsets
}

fn consecutive(start: u64) -> [u64; 32] {
    std::array::from_fn(|lane| start + 4 * lane as u64)
}

fn race(offset: u64, block: u32, did: Did) -> Option<Conflict> {
    let other = Other { block: Some(block), warp: 0, lane: Some(0), did };
    Some(Conflict { kind: Kind::GlobalRace, lane: 0, offset, other: Some(other) })
}

#[test]
fn blocks_may_read_what_none_of_them_writes() {
    let shadow = GlobalShadow::new(4096);
    let mut launch = Launch::new(&shadow, 1, 8);
    for block in 0..8 {
        assert_eq!(launch.read_all(block, 0), None);
    }
}

#[test]
fn a_block_and_another_that_reads_or_writes_what_it_wrote() {
    let shadow = GlobalShadow::new(4096);
    let mut launch = Launch::new(&shadow, 1, 2);
    assert_eq!(launch.write(0, 8, PLAIN), None);
    assert_eq!(launch.read(0, 8, PLAIN), None);
    assert_eq!(launch.read(1, 12, PLAIN), None, "the neighbour");
    assert_eq!(launch.read(1, 8, PLAIN), race(8, 0, Did::Write));
    assert_eq!(launch.write(1, 8, PLAIN), race(8, 0, Did::Write));
    assert_eq!(launch.write(1, 16, PLAIN), None);
}

#[test]
fn a_block_that_writes_what_another_read() {
    let shadow = GlobalShadow::new(4096);
    let mut launch = Launch::new(&shadow, 1, 2);
    assert_eq!(launch.read(0, 8, PLAIN), None);
    assert_eq!(launch.write(1, 8, PLAIN), race(8, 0, Did::Read));
}

#[test]
fn whole_warps_that_write_what_another_block_accessed() {
    let shadow = GlobalShadow::new(4096);
    let mut launch = Launch::new(&shadow, 1, 2);
    launch.write_all(0, 0);
    let found = launch.read_all(1, 0).unwrap();
    assert_eq!((found.kind, found.lane, found.offset), (Kind::GlobalRace, 0, 0));
    assert_eq!(launch.read_all(1, 1024), None);
    assert_eq!(
        shadow.access(&launch.order, &mut launch.blocks[0], lanes(0, &[8; 32], ALL, 4), Did::Read, PLAIN),
        Ok(())
    );
    let found = shadow.access(&launch.order, &mut launch.blocks[1], lanes(0, &[8; 32], ALL, 4), Did::Read, PLAIN);
    assert_eq!(found.map_err(|found| (found.kind, found.lane)), Err((Kind::GlobalRace, 0)));
    let overlap = consecutive(1024 + 252);
    let found =
        shadow.access(&launch.order, &mut launch.blocks[0], lanes(0, &overlap, ALL, 4), Did::Write, PLAIN).unwrap_err();
    let other = Other { block: Some(1), warp: 1, lane: Some(31), did: Did::Read };
    assert_eq!((found.lane, found.offset, found.other), (0, 1024 + 252, Some(other)));
}

#[test]
fn a_launch_is_ordered_after_the_one_before() {
    let shadow = GlobalShadow::new(4096);
    let mut first = Launch::new(&shadow, 1, 2);
    first.write_all(0, 0);
    first.read_all(0, 1024);
    let mut second = Launch::new(&shadow, 2, 2);
    assert_eq!(second.read_all(1, 0), None);
    assert_eq!(second.write(1, 1024, PLAIN), None);
}

#[test]
fn numbers_of_launches_come_again_and_are_not_mistaken() {
    let shadow = GlobalShadow::new(4096);
    for number in [5, 5 + 2047, 5 + 2 * 2047] {
        let mut launch = Launch::new(&shadow, number, 2);
        assert_eq!(launch.write(number as usize % 2, 0, PLAIN), None);
    }
}

#[test]
fn strong_accesses_race_with_plain_ones_only() {
    let shadow = GlobalShadow::new(4096);
    let mut launch = Launch::new(&shadow, 1, 4);
    assert_eq!(launch.atomic(0, 0), None);
    assert_eq!(launch.atomic(1, 0), None);
    assert_eq!(launch.read(2, 0, STRONG), None);
    assert_eq!(launch.write(3, 0, STRONG), None);
    assert_eq!(launch.read(2, 0, PLAIN), race(0, 3, Did::Atomic));

    assert_eq!(launch.read(0, 8, STRONG), None);
    assert_eq!(launch.write(1, 8, PLAIN), race(8, 0, Did::Read));
    assert_eq!(launch.read(0, 16, PLAIN), None);
    assert_eq!(launch.atomic(1, 16), race(16, 0, Did::Read));
    assert_eq!(launch.write(0, 24, PLAIN), None);
    assert_eq!(launch.atomic(1, 24), race(24, 0, Did::Write));
    assert_eq!(launch.write(0, 32, PLAIN), None);
    assert_eq!(launch.read(1, 32, STRONG), race(32, 0, Did::Write));
}

#[test]
fn a_block_that_writes_what_several_read() {
    for acquires_from in [&[0][..], &[1], &[0, 1]] {
        let shadow = GlobalShadow::new(4096);
        let mut launch = Launch::new(&shadow, 1, 3);
        for block in 0..2 {
            assert_eq!(launch.read(block, 8, PLAIN), None);
        }
        for &block in acquires_from {
            launch.blocks[block].fence(0, 1);
            launch.blocks[block].release(&launch.order, 0, &at(0, 64), 1, false);
        }
        launch.blocks[2].acquire(&launch.order, &at(0, 64), 1);
        let found = launch.write(2, 8, PLAIN).map(|found| found.kind);
        assert_eq!(found, (acquires_from.len() == 1).then_some(Kind::GlobalRace));
    }
}

#[test]
fn the_last_of_a_block_s_readers_counts() {
    for releases in [0, 1] {
        let shadow = GlobalShadow::new(4096);
        let mut launch = Launch::new(&shadow, 1, 2);
        for lane in 0..2 {
            let found = shadow.access(
                &launch.order,
                &mut launch.blocks[0],
                lanes(0, &at(lane, 8), 1 << lane, 4),
                Did::Read,
                PLAIN,
            );
            assert_eq!(found, Ok(()));
        }
        launch.blocks[0].fence(0, 1 << releases);
        launch.blocks[0].release(&launch.order, 0, &at(releases, 64), 1 << releases, false);
        launch.blocks[1].acquire(&launch.order, &at(0, 64), 1);
        let found = launch.write(1, 8, PLAIN).map(|found| found.other.map(|other| other.lane));
        assert_eq!(found, (releases == 0).then_some(Some(Some(1))));
    }
}

#[test]
fn a_race_is_found_once_for_each_write() {
    let shadow = GlobalShadow::new(4096);
    let mut launch = Launch::new(&shadow, 1, 2);
    assert_eq!(launch.read(0, 8, PLAIN), None);
    assert_eq!(launch.write(1, 8, PLAIN), race(8, 0, Did::Read));
    assert_eq!(launch.write(1, 8, PLAIN), None);
}

#[test]
fn bytes_and_vectors() {
    let shadow = GlobalShadow::new(4099);
    let order = Order::new(1, 1);
    let mut blocks: Vec<_> = (0..2).map(|block| BlockClock::new(&order, block, 32)).collect();
    let bytes = |from: u64| std::array::from_fn(|lane| from + lane as u64);
    shadow.access(&order, &mut blocks[0], lanes(0, &bytes(0), ALL, 1), Did::Write, PLAIN).unwrap();
    assert_eq!(shadow.access(&order, &mut blocks[1], lanes(0, &bytes(32), ALL, 1), Did::Write, PLAIN), Ok(()));
    let found = shadow.access(&order, &mut blocks[1], lanes(0, &at(3, 16), 8, 16), Did::Read, PLAIN).unwrap_err();
    assert_eq!((found.lane, found.offset, found.other.unwrap().lane), (3, 16, Some(16)));
    let vectors = std::array::from_fn(|lane| 64 + 16 * lane as u64);
    assert_eq!(shadow.access(&order, &mut blocks[1], lanes(0, &vectors, ALL, 16), Did::Write, PLAIN), Ok(()));
    let found = shadow.access(&order, &mut blocks[0], lanes(0, &at(0, 64 + 511), 1, 1), Did::Write, PLAIN).unwrap_err();
    assert_eq!(found.other.unwrap().lane, Some(31));
    assert_eq!(shadow.access(&order, &mut blocks[0], lanes(0, &at(0, 4098), 1, 1), Did::Write, PLAIN), Ok(()));
    assert!(shadow.access(&order, &mut blocks[1], lanes(0, &at(0, 4098), 1, 1), Did::Write, PLAIN).is_err());
}

#[test]
fn launches_with_other_granules() {
    let shadow = GlobalShadow::new(4096);
    for (number, granule) in [(1, 4), (2, 2), (3, 16), (4, 4)] {
        let order = Order::new(number, granule);
        let mut blocks: Vec<_> = (0..2).map(|block| BlockClock::new(&order, block, 32)).collect();
        assert_eq!(shadow.access(&order, &mut blocks[0], lanes(0, &at(0, 16), 1, granule), Did::Write, PLAIN), Ok(()));
        let next = 16 + u64::from(granule);
        assert_eq!(
            shadow.access(&order, &mut blocks[1], lanes(0, &at(0, next), 1, granule), Did::Write, PLAIN),
            Ok(())
        );
        assert!(shadow.access(&order, &mut blocks[1], lanes(0, &at(0, 16), 1, granule), Did::Read, PLAIN).is_err());
    }
}
