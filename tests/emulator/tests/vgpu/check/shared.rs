//! The shadow of shared memory: for each rule an execution that breaks it and one just like it that doesn't.

use kwc_emulator::check::shared::Shadow;
use kwc_emulator::check::{Conflict, Did, Other};
use kwc_emulator::findings::Kind;
use kwc_emulator::options::Checks;

const ALL: u32 = u32::MAX;

/// A block of four warps and 4 KiB that is accessed by 4 bytes, all of it written before a barrier.
fn block() -> Shadow {
    let mut shadow = unwritten();
    for start in (0..4096).step_by(128) {
        assert_eq!(shadow.write(0, &consecutive(start), ALL, 4, |_, _| false), Ok(()));
    }
    shadow.barrier(0b1111);
    shadow
}

fn unwritten() -> Shadow {
    let mut shadow = Shadow::new(Checks::ALL);
    shadow.begin_block(4096, 4, 4);
    shadow
}

fn consecutive(start: u32) -> [u32; 32] {
    std::array::from_fn(|lane| start + 4 * lane as u32)
}

fn read(shadow: &mut Shadow, warp: usize, lane: usize, offset: u32) -> Result<(), Conflict> {
    shadow.read(warp, &at(lane, offset), 1 << lane, 4)
}

fn write(shadow: &mut Shadow, warp: usize, lane: usize, offset: u32) -> Result<(), Conflict> {
    shadow.write(warp, &at(lane, offset), 1 << lane, 4, |_, _| false)
}

fn atomic(shadow: &mut Shadow, warp: usize, lane: usize, offset: u32) -> Result<(), Conflict> {
    shadow.atomic(warp, &at(lane, offset), 1 << lane, 4)
}

/// Offsets of which only one lane's means anything.
fn at(lane: usize, offset: u32) -> [u32; 32] {
    let mut offsets = [u32::MAX; 32];
    offsets[lane] = offset;
    offsets
}

fn race(lane: usize, offset: u64, warp: u32, other: u32, did: Did) -> Result<(), Conflict> {
    let other = Other { block: None, warp, lane: Some(other), did };
    Err(Conflict { kind: Kind::SharedRace, lane, offset, other: Some(other) })
}

fn kind(found: Result<(), Conflict>) -> Option<Kind> {
    found.err().map(|found| found.kind)
}

#[test]
fn a_read_of_what_nobody_wrote() {
    let mut shadow = unwritten();
    write(&mut shadow, 0, 0, 0).unwrap();
    shadow.barrier(0b1111);
    assert_eq!(read(&mut shadow, 1, 3, 0), Ok(()));
    let never = Conflict { kind: Kind::Uninitialised, lane: 3, offset: 4, other: None };
    assert_eq!(read(&mut shadow, 1, 3, 4), Err(never));
    assert_eq!(read(&mut shadow, 1, 3, 4), Ok(()), "once is enough");
    let hole = Conflict { kind: Kind::Uninitialised, lane: 2, offset: 8, other: None };
    assert_eq!(shadow.read(1, &consecutive(0), ALL, 4), Err(hole), "the first lane");
    assert_eq!(shadow.read(1, &[256; 32], ALL, 4).unwrap_err().lane, 0);
    assert_eq!(kind(atomic(&mut shadow, 1, 0, 512)), Some(Kind::Uninitialised));
}

#[test]
fn what_an_earlier_block_wrote_is_not_written() {
    let mut shadow = block();
    shadow.begin_block(4096, 4, 4);
    assert_eq!(kind(read(&mut shadow, 0, 0, 0)), Some(Kind::Uninitialised));
    assert_eq!(write(&mut shadow, 1, 0, 4), Ok(()), "nor does it race");
}

#[test]
fn a_read_without_a_barrier_after_the_write() {
    let mut shadow = block();
    write(&mut shadow, 2, 5, 40).unwrap();
    assert_eq!(read(&mut shadow, 1, 3, 40), race(3, 40, 2, 5, Did::Write));
    assert_eq!(read(&mut shadow, 3, 3, 40), Ok(()), "one missing barrier is found once");

    let mut shadow = block();
    write(&mut shadow, 2, 5, 40).unwrap();
    shadow.barrier(0b1111);
    assert_eq!(read(&mut shadow, 1, 3, 40), Ok(()));
}

#[test]
fn a_write_without_a_barrier_after_the_read() {
    let mut shadow = block();
    read(&mut shadow, 1, 3, 40).unwrap();
    assert_eq!(write(&mut shadow, 2, 5, 40), race(5, 40, 1, 3, Did::Read));

    let mut shadow = block();
    read(&mut shadow, 1, 3, 40).unwrap();
    shadow.barrier(0b1111);
    assert_eq!(write(&mut shadow, 2, 5, 40), Ok(()));
}

#[test]
fn a_race_is_found_once_for_each_write() {
    let mut shadow = block();
    read(&mut shadow, 1, 3, 40).unwrap();
    atomic(&mut shadow, 1, 3, 44).unwrap();
    for offset in [40, 44] {
        assert_eq!(kind(write(&mut shadow, 2, 5, offset)), Some(Kind::SharedRace));
        assert_eq!(write(&mut shadow, 2, 5, offset), Ok(()));
    }
}

#[test]
fn two_writes_without_a_barrier() {
    let mut shadow = block();
    write(&mut shadow, 1, 3, 40).unwrap();
    assert_eq!(write(&mut shadow, 2, 5, 40), race(5, 40, 1, 3, Did::Write));
    assert_eq!(write(&mut shadow, 2, 5, 44), Ok(()));
}

#[test]
fn whole_warps_that_share_a_tile() {
    for missing in [false, true] {
        let mut shadow = block();
        for _ in 0..3 {
            for warp in 0..4 {
                let found = shadow.write(warp, &consecutive(warp as u32 * 128), ALL, 4, |_, _| false);
                assert_eq!(found, Ok(()));
            }
            shadow.barrier(0b1111);
            for warp in 0..4 {
                for row in 0..4 {
                    assert_eq!(shadow.read(warp, &consecutive(row * 128), ALL, 4), Ok(()));
                    assert_eq!(shadow.read(warp, &[row * 128 + 8; 32], ALL, 4), Ok(()));
                }
            }
            if missing {
                let found = shadow.write(2, &consecutive(256), ALL, 4, |_, _| false).unwrap_err();
                assert_eq!((found.kind, found.lane, found.offset), (Kind::SharedRace, 0, 256));
                let other = found.other.unwrap();
                assert!(other.warp != 2 && other.did == Did::Read);
                break;
            }
            shadow.barrier(0b1111);
        }
    }
}

#[test]
fn lanes_of_a_warp_are_not_ordered_by_lockstep() {
    let mut shadow = block();
    write(&mut shadow, 0, 0, 0).unwrap();
    assert_eq!(read(&mut shadow, 0, 0, 0), Ok(()), "a thread is ordered with itself");
    assert_eq!(read(&mut shadow, 0, 1, 0), race(1, 0, 0, 0, Did::Write));

    let mut shadow = block();
    shadow.write(0, &consecutive(0), ALL, 4, |_, _| false).unwrap();
    let shifted: [u32; 32] = std::array::from_fn(|lane| (lane as u32 ^ 1) * 4);
    assert_eq!(
        shadow.read(0, &shifted, ALL, 4),
        race(0, 0, 0, 1, Did::Write).map_err(|found| Conflict { offset: 4, ..found })
    );

    let mut shadow = block();
    shadow.write(0, &consecutive(0), ALL, 4, |_, _| false).unwrap();
    shadow.warp_sync(0, ALL);
    assert_eq!(shadow.read(0, &shifted, ALL, 4), Ok(()));
    assert_eq!(kind(read(&mut shadow, 1, 0, 0)), Some(Kind::SharedRace), "another warp has not waited");
}

#[test]
fn a_warp_synchronisation_orders_the_lanes_it_names() {
    let mut shadow = block();
    write(&mut shadow, 0, 0, 0).unwrap();
    write(&mut shadow, 0, 9, 4).unwrap();
    shadow.warp_sync(0, 0b1111);
    assert_eq!(read(&mut shadow, 0, 3, 0), Ok(()));
    assert_eq!(read(&mut shadow, 0, 3, 4), race(3, 4, 0, 9, Did::Write));
    assert_eq!(kind(write(&mut shadow, 0, 9, 0)), Some(Kind::SharedRace));
}

#[test]
fn a_warp_synchronisation_passes_on_what_lanes_know() {
    let mut shadow = block();
    write(&mut shadow, 0, 0, 0).unwrap();
    shadow.warp_sync(0, 0b0011);
    shadow.warp_sync(0, 0b0110);
    assert_eq!(read(&mut shadow, 0, 2, 0), Ok(()));
    assert_eq!(kind(read(&mut shadow, 0, 3, 0)), Some(Kind::SharedRace));
}

#[test]
fn lanes_that_write_one_place_at_once() {
    let mut shadow = block();
    let found = shadow.write(0, &[64; 32], ALL, 4, |_, _| false);
    assert_eq!(found, race(1, 64, 0, 0, Did::Write));

    let mut shadow = block();
    assert_eq!(shadow.write(0, &[64; 32], ALL, 4, |_, _| true), Ok(()));

    let halves = std::array::from_fn(|lane| 4 * (lane as u32 % 16));
    assert_eq!(shadow.write(0, &halves, ALL, 4, |_, _| true), Ok(()));

    let mut shadow = block();
    let values: [u32; 32] = std::array::from_fn(|lane| u32::from(lane == 20));
    let found = shadow.write(0, &[64; 32], ALL, 4, |lane, other| values[lane] == values[other]);
    assert_eq!(found, race(20, 64, 0, 19, Did::Write));
}

#[test]
fn barriers_of_some_warps() {
    let mut shadow = block();
    write(&mut shadow, 0, 0, 0).unwrap();
    shadow.barrier(0b0011);
    assert_eq!(read(&mut shadow, 1, 1, 0), Ok(()));
    assert_eq!(read(&mut shadow, 2, 1, 0), race(1, 0, 0, 0, Did::Write));
}

#[test]
fn barriers_of_some_warps_pass_on_what_warps_know() {
    for second in [0b0110, 0b1100] {
        let mut shadow = block();
        write(&mut shadow, 0, 0, 0).unwrap();
        shadow.barrier(0b0011);
        shadow.barrier(second);
        let passed_on = second == 0b0110;
        assert_eq!(kind(read(&mut shadow, 2, 1, 0)), (!passed_on).then_some(Kind::SharedRace));
    }
}

#[test]
fn a_warp_that_arrives_releases_and_does_not_acquire() {
    let mut shadow = block();
    write(&mut shadow, 0, 0, 0).unwrap();
    write(&mut shadow, 1, 0, 4).unwrap();
    shadow.arrive(0, 1);
    write(&mut shadow, 0, 0, 8).unwrap();
    shadow.barrier_after_arrivals(1, 0b0010);
    assert_eq!(read(&mut shadow, 1, 0, 0), Ok(()));
    assert_eq!(read(&mut shadow, 1, 0, 8), race(0, 8, 0, 0, Did::Write), "it was written after the arrival");
    assert_eq!(read(&mut shadow, 0, 0, 4), race(0, 4, 1, 0, Did::Write), "the arrival did not wait");

    let mut shadow = block();
    write(&mut shadow, 0, 0, 0).unwrap();
    shadow.arrive(0, 2);
    shadow.barrier_after_arrivals(1, 0b0010);
    assert_eq!(kind(read(&mut shadow, 1, 0, 0)), Some(Kind::SharedRace), "it arrived elsewhere");
}

#[test]
fn warps_that_have_exited_count_as_having_met() {
    for exits in [true, false] {
        let mut shadow = block();
        write(&mut shadow, 3, 0, 0).unwrap();
        if exits {
            shadow.exit(3);
        }
        shadow.barrier(0b0111);
        assert_eq!(kind(read(&mut shadow, 0, 0, 0)), (!exits).then_some(Kind::SharedRace));
    }
}

#[test]
fn atomics_race_with_plain_accesses_only() {
    let mut shadow = block();
    atomic(&mut shadow, 0, 0, 0).unwrap();
    assert_eq!(atomic(&mut shadow, 1, 1, 0), Ok(()));
    assert_eq!(shadow.atomic(2, &[0; 32], ALL, 4), Ok(()));
    assert_eq!(kind(read(&mut shadow, 3, 2, 0)), Some(Kind::SharedRace));

    let mut shadow = block();
    atomic(&mut shadow, 0, 7, 0).unwrap();
    assert_eq!(write(&mut shadow, 1, 1, 0), race(1, 0, 0, 7, Did::Atomic));

    let mut shadow = block();
    read(&mut shadow, 0, 7, 0).unwrap();
    assert_eq!(atomic(&mut shadow, 1, 1, 0), race(1, 0, 0, 7, Did::Read));

    let mut shadow = block();
    write(&mut shadow, 0, 7, 0).unwrap();
    assert_eq!(atomic(&mut shadow, 1, 1, 0), race(1, 0, 0, 7, Did::Write));

    let mut shadow = block();
    shadow.atomic(0, &[0; 32], ALL, 4).unwrap();
    atomic(&mut shadow, 1, 1, 0).unwrap();
    shadow.barrier(0b1111);
    assert_eq!(shadow.read(2, &[0; 32], ALL, 4), Ok(()));
}

#[test]
fn an_atomic_is_not_forgotten_for_one_that_counts_as_earlier() {
    let mut shadow = Shadow::new(Checks { initialised: false, ..Checks::ALL });
    shadow.begin_block(4096, 4, 3);
    shadow.barrier(0b101);
    atomic(&mut shadow, 0, 0, 0).unwrap();
    atomic(&mut shadow, 1, 0, 4).unwrap();
    shadow.barrier(0b110);
    assert_eq!(shadow.read(2, &[4; 32], ALL, 4), Ok(()));
    assert_eq!(kind(shadow.read(2, &[0; 32], ALL, 4)), Some(Kind::SharedRace));
}

#[test]
fn data_of_a_copy_arrives_at_the_wait() {
    let mut shadow = block();
    shadow.copy_begin(0, 4, 16, 16).unwrap();
    let other = Some(Other { block: None, warp: 0, lane: Some(4), did: Did::Copy });
    let early = |lane, offset| Err(Conflict { kind: Kind::AsyncCopy, lane, offset, other });
    assert_eq!(read(&mut shadow, 0, 4, 28), early(4, 28), "even by the thread itself");
    assert_eq!(shadow.read(1, &consecutive(0), ALL, 4), early(4, 16));
    assert_eq!(read(&mut shadow, 0, 4, 32), Ok(()));
    shadow.barrier(0b1111);
    assert_eq!(kind(read(&mut shadow, 2, 0, 16)), Some(Kind::AsyncCopy), "a barrier is no wait");
    shadow.copy_end(0, 4, 16, 16);
    assert_eq!(read(&mut shadow, 0, 4, 28), Ok(()));
    assert_eq!(read(&mut shadow, 1, 0, 28), race(0, 28, 0, 4, Did::Write), "a wait is no barrier");
    shadow.barrier(0b1111);
    assert_eq!(shadow.read(1, &consecutive(0), ALL, 4), Ok(()));
}

#[test]
fn a_copy_initialises() {
    let mut shadow = unwritten();
    shadow.copy_begin(0, 0, 0, 8).unwrap();
    shadow.copy_end(0, 0, 0, 8);
    assert_eq!(read(&mut shadow, 0, 0, 4), Ok(()));
    assert_eq!(kind(read(&mut shadow, 0, 0, 8)), Some(Kind::Uninitialised));
}

#[test]
fn data_on_its_way_is_not_overwritten() {
    let mut shadow = block();
    shadow.copy_begin(0, 4, 16, 16).unwrap();
    assert_eq!(kind(shadow.copy_begin(0, 4, 24, 8)), Some(Kind::AsyncCopy));
    assert_eq!(kind(write(&mut shadow, 0, 4, 16)), Some(Kind::AsyncCopy));
    assert_eq!(kind(atomic(&mut shadow, 0, 4, 20)), Some(Kind::AsyncCopy));
    shadow.copy_end(0, 4, 16, 16);
    assert_eq!(write(&mut shadow, 0, 4, 16), Ok(()));
    assert_eq!(shadow.copy_begin(0, 4, 16, 16), Ok(()));
}

#[test]
fn data_on_its_way_is_not_even_its_own_thread_s() {
    for reads in [true, false] {
        let mut shadow = block();
        for lane in 0..32 {
            shadow.copy_begin(0, lane, 4 * lane as u32, 4).unwrap();
        }
        let found = if reads {
            shadow.read(0, &consecutive(0), ALL, 4)
        } else {
            shadow.write(0, &consecutive(0), ALL, 4, |_, _| false)
        };
        assert_eq!(kind(found), Some(Kind::AsyncCopy));
    }
}

#[test]
fn a_copy_over_what_others_read() {
    for barrier in [true, false] {
        let mut shadow = block();
        shadow.read(1, &consecutive(0), ALL, 4).unwrap();
        if barrier {
            shadow.barrier(0b1111);
        }
        let found = shadow.copy_begin(0, 4, 16, 16);
        assert_eq!(found, if barrier { Ok(()) } else { race(4, 16, 1, 4, Did::Read) });
    }
}

#[test]
fn copies_that_a_block_left_unfinished_end_with_it() {
    let mut shadow = block();
    shadow.copy_begin(0, 0, 0, 16).unwrap();
    shadow.begin_block(4096, 4, 4);
    assert_eq!(write(&mut shadow, 1, 1, 0), Ok(()));
    assert_eq!(kind(read(&mut shadow, 1, 1, 4)), Some(Kind::Uninitialised));
}

#[test]
fn many_readers_at_different_times() {
    let mut shadow = Shadow::new(Checks { initialised: false, ..Checks::ALL });
    shadow.begin_block(16384, 4, 4);
    for _ in 0..4 {
        for start in (0..16384).step_by(128) {
            assert_eq!(shadow.read(0, &consecutive(start), ALL, 4), Ok(()));
        }
        shadow.warp_sync(1, ALL);
        shadow.warp_sync(3, ALL);
        for start in (0..16384).step_by(128) {
            assert_eq!(shadow.read(1, &consecutive(start), ALL, 4), Ok(()));
            assert_eq!(shadow.read(3, &consecutive(start), 0x5555_5555, 4), Ok(()));
        }
        shadow.barrier(0b0011);
    }
    shadow.barrier(0b0111);
    for start in (0..16384).step_by(128) {
        let odd = shadow.write(2, &consecutive(start), 0xaaaa_aaaa, 4, |_, _| false);
        assert_eq!(odd, Ok(()), "warps 0 and 1 have met with it");
        let even = shadow.write(2, &consecutive(start), 0x5555_5550, 4, |_, _| false);
        assert_eq!(even, race(4, u64::from(start) + 16, 3, 4, Did::Read), "warp 3 has not");
    }
    shadow.barrier(0b1111);
    assert_eq!(shadow.write(2, &consecutive(0), ALL, 4, |_, _| false), Ok(()));
}

#[test]
fn accesses_of_different_sizes() {
    let mut shadow = Shadow::new(Checks::ALL);
    shadow.begin_block(64, 1, 2);
    let bytes = |from: u32| std::array::from_fn(|lane| from + lane as u32);
    shadow.write(0, &bytes(0), ALL, 1, |_, _| false).unwrap();
    assert_eq!(shadow.write(1, &bytes(32), ALL, 1, |_, _| false), Ok(()));
    let wide = |lane: usize, offset: u32| (at(lane, offset), 1 << lane);
    let (offsets, mask) = wide(0, 16);
    assert_eq!(shadow.read(1, &offsets, mask, 16), race(0, 16, 0, 16, Did::Write));
    let (offsets, mask) = wide(0, 48);
    assert_eq!(shadow.read(0, &offsets, mask, 16), race(0, 48, 1, 16, Did::Write));
    shadow.barrier(0b11);
    let fours = std::array::from_fn(|lane| (lane as u32 % 16) * 4);
    assert_eq!(shadow.read(0, &fours, ALL, 4), Ok(()));
    assert_eq!(shadow.write(1, &at(0, 63), 1, 1, |_, _| false), race(0, 63, 0, 15, Did::Read));
}

#[test]
fn only_what_is_asked_for_is_checked() {
    let mut shadow = Shadow::new(Checks { races: false, ..Checks::ALL });
    shadow.begin_block(256, 4, 2);
    write(&mut shadow, 0, 0, 0).unwrap();
    assert_eq!(read(&mut shadow, 1, 0, 0), Ok(()));
    assert_eq!(kind(shadow.read(1, &consecutive(0), ALL, 4)), Some(Kind::Uninitialised));
    assert_eq!(shadow.copy_begin(0, 0, 200, 16), Ok(()));
    shadow.copy_end(0, 0, 200, 16);
    assert_eq!(read(&mut shadow, 1, 0, 212), Ok(()));

    let mut shadow = Shadow::new(Checks { initialised: false, ..Checks::ALL });
    shadow.begin_block(256, 4, 2);
    assert_eq!(shadow.read(1, &consecutive(0), ALL, 4), Ok(()));
    assert_eq!(kind(write(&mut shadow, 0, 0, 0)), Some(Kind::SharedRace));

    let mut shadow = Shadow::new(Checks::NONE);
    shadow.begin_block(256, 4, 2);
    assert_eq!(shadow.read(1, &consecutive(0), ALL, 4), Ok(()));
    assert_eq!(shadow.write(0, &consecutive(0), ALL, 4, |_, _| false), Ok(()));
}

#[test]
fn more_synchronisations_than_stamps_have_times_for() {
    let mut shadow = unwritten();
    shadow.write(0, &consecutive(0), ALL, 4, |_, _| false).unwrap();
    shadow.copy_begin(3, 0, 2048, 4).unwrap();
    for _ in 0..4_200_000 {
        shadow.barrier(0b1111);
    }
    assert_eq!(shadow.read(1, &consecutive(0), ALL, 4), Ok(()), "what was written stays so");
    assert_eq!(kind(read(&mut shadow, 1, 0, 2048)), Some(Kind::AsyncCopy), "what is on its way stays so");
    assert_eq!(kind(read(&mut shadow, 1, 0, 512)), Some(Kind::Uninitialised), "what was not stays so too");
    write(&mut shadow, 0, 0, 1024).unwrap();
    assert_eq!(kind(read(&mut shadow, 1, 1, 1024)), Some(Kind::SharedRace));
    for _ in 0..2_100_000 {
        shadow.begin_block(4096, 4, 4);
    }
    assert_eq!(
        kind(read(&mut shadow, 1, 0, 0)),
        Some(Kind::Uninitialised),
        "what earlier blocks wrote stays unwritten"
    );
}
