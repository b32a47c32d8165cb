//! Counters of kernels whose figures can be worked out by hand.

use kwc_emulator::counters::{Class, Issued, Launch, Traffic};
use kwc_emulator::report::summary::Report;

use crate::gpu::{Gpu, launch, shape};
use crate::harness::{nothing_found, under_vgpu};

/// The counters of the only launch.
#[track_caller]
fn only(report: &Report) -> &Launch {
    nothing_found(report);
    let [launch] = &report.launches[..] else { panic!("{} launches", report.launches.len()) };
    launch.counters.as_deref().expect("counters")
}

fn issued(list: &[(Class, Issued)], class: Class) -> Issued {
    list.iter().find(|(of, _)| *of == class).map_or(Issued::default(), |(_, issued)| *issued)
}

/// Runs a kernel `(const float*, float*, ...)` of four-byte elements.
fn run(kernel: &str, grid: u32, block: u32, elements: usize, stride: Option<u32>) {
    let gpu = Gpu::with("counters.cu");
    let x = gpu.stream.alloc_zeros::<f32>(elements).expect("memory");
    let mut y = gpu.stream.alloc_zeros::<f32>(elements).expect("memory");
    match stride {
        Some(stride) => launch!(gpu, kernel, shape(grid, block), &x, &mut y, &stride).expect("a launch"),
        None => launch!(gpu, kernel, shape(grid, block), &x, &mut y).expect("a launch"),
    };
    gpu.stream.synchronize().expect("an end");
}

#[test]
fn coalesced() {
    under_vgpu(
        &[],
        || run("coalesced", 4, 64, 256, None),
        |report| {
            let counters = only(report);
            // Eight warps, 128 bytes each: four sectors, all of which are used.
            let traffic = Traffic { requests: 8, sectors: 32, bytes: 1024 };
            assert_eq!((counters.global_loads, counters.global_stores), (traffic, traffic));
            assert_eq!(counters.distinct_sectors_read, 32);
            assert_eq!(counters.distinct_sectors_written, 32);
            assert_eq!(counters.distinct_sectors, 64);
            assert_eq!(counters.local_traffic, Traffic::default());
            assert_eq!((counters.grid, counters.block), ([4, 1, 1], [64, 1, 1]));
        },
    );
}

#[test]
fn strided_by_2() {
    under_vgpu(
        &[],
        || run("strided", 4, 64, 512, Some(2)),
        |report| {
            let counters = only(report);
            // A warp's lanes lie over 256 bytes: eight sectors, half of which is used.
            assert_eq!(counters.global_loads, Traffic { requests: 8, sectors: 64, bytes: 1024 });
            assert_eq!(counters.global_stores, Traffic { requests: 8, sectors: 32, bytes: 1024 });
            assert_eq!((counters.distinct_sectors_read, counters.distinct_sectors_written), (64, 32));
        },
    );
}

#[test]
fn strided_by_32() {
    under_vgpu(
        &[],
        || run("strided", 4, 64, 256 * 32, Some(32)),
        |report| {
            let counters = only(report);
            // A sector a lane.
            assert_eq!(counters.global_loads, Traffic { requests: 8, sectors: 256, bytes: 1024 });
            assert_eq!(counters.distinct_sectors_read, 256);
        },
    );
}

#[test]
fn broadcast() {
    under_vgpu(
        &[],
        || run("broadcast", 4, 64, 256, None),
        |report| {
            let counters = only(report);
            // All lanes of all warps ask for one word: a sector a request, and one sector in all.
            assert_eq!(counters.global_loads, Traffic { requests: 8, sectors: 8, bytes: 1024 });
            assert_eq!((counters.distinct_sectors_read, counters.distinct_sectors_written), (1, 32));
            assert_eq!(counters.distinct_sectors, 33);
        },
    );
}

#[test]
fn a_block_that_does_not_fill_its_warps() {
    under_vgpu(
        &[],
        || run("coalesced", 1, 40, 40, None),
        |report| {
            let counters = only(report);
            // 32 lanes with four sectors, then 8 with one.
            assert_eq!(counters.global_loads, Traffic { requests: 2, sectors: 5, bytes: 160 });
            let store = counters.instructions.iter().find(|one| one.opcode.starts_with("st.global")).expect("a store");
            assert_eq!((store.site.warps, store.site.threads), (2, 40));
        },
    );
}

#[test]
fn sixteen_bytes_a_lane() {
    under_vgpu(
        &[],
        || run("wide", 1, 64, 256, None),
        |report| {
            let counters = only(report);
            // One request for the 512 bytes of a warp.
            assert_eq!(counters.global_loads, Traffic { requests: 2, sectors: 32, bytes: 1024 });
            assert_eq!(counters.global_stores, Traffic { requests: 2, sectors: 32, bytes: 1024 });
        },
    );
}

/// Requests, wavefronts and conflicts of a warp that writes and reads shared memory once each.
#[track_caller]
fn assert_shared(report: &Report, wavefronts: u64, conflicts: u64) {
    let counters = only(report);
    let got = (counters.shared_requests, counters.shared_wavefronts, counters.bank_conflicts);
    assert_eq!(got, (2, 2 * wavefronts, 2 * conflicts));
    let sites: Vec<_> = counters.instructions.iter().filter(|one| one.site.wavefronts > 0).collect();
    assert_eq!(sites.len(), 2, "{sites:?}");
    for site in sites {
        assert_eq!((site.site.wavefronts, site.site.conflicts), (wavefronts, conflicts), "{site:?}");
    }
}

#[test]
fn words_side_by_side_take_one_wavefront() {
    under_vgpu(&[], || run("banks", 1, 32, 32, Some(1)), |report| assert_shared(report, 1, 0));
}

#[test]
fn every_second_word_makes_conflicts_of_two() {
    // Lanes 0 and 16 are in one bank, and so on.
    under_vgpu(&[], || run("banks", 1, 32, 32, Some(2)), |report| assert_shared(report, 2, 1));
}

#[test]
fn every_32nd_word_makes_a_conflict_of_32() {
    under_vgpu(&[], || run("banks", 1, 32, 32, Some(32)), |report| assert_shared(report, 32, 31));
}

#[test]
fn an_odd_stride_makes_no_conflict() {
    under_vgpu(&[], || run("banks", 1, 32, 32, Some(31)), |report| assert_shared(report, 1, 0));
}

#[test]
fn sixteen_bytes_a_lane_make_no_conflict() {
    // Four quarters of a warp, each with all 32 banks.
    under_vgpu(&[], || run("wide_banks", 1, 32, 128, Some(1)), |report| assert_shared(report, 4, 0));
}

#[test]
fn every_second_16_bytes_make_conflicts_of_two() {
    // A quarter's lanes 0 and 4 are in the same four banks, and so on.
    under_vgpu(&[], || run("wide_banks", 1, 32, 128, Some(2)), |report| assert_shared(report, 8, 4));
}

#[test]
fn eight_bytes_a_lane_make_no_conflict() {
    // Two halves of a warp, each with all 32 banks.
    under_vgpu(&[], || run("middle_banks", 1, 32, 64, Some(1)), |report| assert_shared(report, 2, 0));
}

#[test]
fn one_word_for_all_lanes_takes_one_wavefront() {
    under_vgpu(
        &[],
        || run("one_word", 1, 32, 32, None),
        |report| {
            let counters = only(report);
            // Lane 0 writes, all read.
            assert_eq!((counters.shared_requests, counters.shared_wavefronts), (2, 2));
            assert_eq!(counters.bank_conflicts, 0);
            assert_eq!(counters.divergent_branches, 1);
        },
    );
}

#[test]
fn atomics_and_barriers() {
    under_vgpu(
        &[],
        || {
            let gpu = Gpu::with("counters.cu");
            let mut x = gpu.stream.clone_htod(&[1, 2, 3]).expect("a copy");
            launch!(gpu, "atomics", shape(2, 64), &mut x).expect("a launch");
            // Twice the sum of 0 to 39.
            assert_eq!(gpu.stream.clone_dtoh(&x).expect("a copy"), [1561, 1562, 1563]);
        },
        |report| {
            let counters = only(report);
            // Lanes of two blocks: 3 on global memory, 40 on shared. Two barriers for each of two warps.
            assert_eq!(counters.atomics, [6, 80]);
            assert_eq!(counters.barriers, 8);
            assert_eq!(issued(&counters.classes, Class::Barrier), Issued { warps: 8, threads: 256 });
            // Warps: of the first 40 threads two, of the first 3 one.
            assert_eq!(issued(&counters.classes, Class::Atomic), Issued { warps: 2 * 3, threads: 86 });
        },
    );
}

#[test]
fn instructions_in_loops() {
    under_vgpu(
        &[],
        || {
            let gpu = Gpu::with("counters.cu");
            let mut y = gpu.stream.alloc_zeros::<f32>(96).expect("memory");
            launch!(gpu, "loop", shape(1, 96), &mut y, &0.5f32, &10).expect("a launch");
        },
        |report| {
            let counters = only(report);
            // One multiply-add a round for each of three warps.
            let adds = Issued { warps: 30, threads: 960 };
            assert_eq!(issued(&counters.classes, Class::F32), adds);
            assert_eq!(issued(&counters.in_loops, Class::F32), adds);
            // The store is after the loop.
            assert_eq!(issued(&counters.in_loops, Class::Memory), Issued::default());
            assert_eq!(counters.global_stores.requests, 3);
            let all: u64 = counters.classes.iter().map(|(_, issued)| issued.warps).sum();
            assert_eq!(all, counters.instructions.iter().map(|one| one.site.warps).sum::<u64>());
            assert_eq!(counters.divergent_branches, 0);
        },
    );
}

#[test]
fn branches_at_which_lanes_part() {
    under_vgpu(
        &[],
        || {
            let gpu = Gpu::with("counters.cu");
            let mut y = gpu.stream.alloc_zeros::<f32>(128).expect("memory");
            launch!(gpu, "branches", shape(1, 128), &mut y, &1).expect("a launch");
            assert_eq!(gpu.stream.clone_dtoh(&y).expect("a copy"), [2.0; 128]);
        },
        |report| {
            let counters = only(report);
            // Once for each of four warps.
            assert_eq!(counters.divergent_branches, 4);
            // Each warp calls twice: with 16 lanes, then with all.
            let store = counters.instructions.iter().find(|one| one.opcode.starts_with("st.global")).expect("a store");
            assert_eq!((store.site.warps, store.site.threads), (8, 192));
        },
    );
}

#[test]
fn copies_on_their_way() {
    under_vgpu(
        &[],
        || {
            let gpu = Gpu::with("counters.cu");
            let numbers: Vec<i32> = (0..3 * 512).collect();
            let x = gpu.stream.clone_htod(&numbers).expect("a copy");
            let mut y = gpu.stream.alloc_zeros::<i32>(512).expect("memory");
            launch!(gpu, "copies", shape(1, 128), &x, &mut y).expect("a launch");
            let expected: Vec<i32> = numbers[1024..].chunks(4).rev().flatten().copied().collect();
            assert_eq!(gpu.stream.clone_dtoh(&y).expect("a copy"), expected);
        },
        |report| {
            let counters = only(report);
            // Three groups of 16 bytes for each of 128 threads, of which two are on their way at a time.
            assert_eq!((counters.async_bytes, counters.async_in_flight), (3 * 2048, 2 * 2048));
            assert_eq!(counters.distinct_sectors_read, 3 * 64);
            assert_eq!(counters.bank_conflicts, 0);
        },
    );
}

fn run_large() {
    let gpu = Gpu::with("counters.cu");
    let mut y = gpu.stream.alloc_zeros::<f32>(32).expect("memory");
    launch!(gpu, "large", shape(1, 32), &mut y).expect("a launch");
    assert_eq!(gpu.stream.clone_dtoh(&y).expect("a copy"), [1.0; 32]);
}

#[test]
fn blocks_that_fit_on_an_a100() {
    under_vgpu(
        &[],
        || {
            run_large();
        },
        |report| {
            let counters = only(report);
            assert_eq!((counters.static_shared, counters.dynamic_shared), (49_152, 0));
            // 164 KiB by the block's 48 and the 1 that the system keeps.
            assert_eq!(counters.resident_blocks, 3);
        },
    );
}

#[test]
fn counters_can_be_off() {
    under_vgpu(
        &["--counters", "off"],
        || {
            run_large();
        },
        |report| {
            nothing_found(report);
            assert!(report.launches[0].counters.is_none());
            assert_eq!((report.launches[0].kernel.as_str(), report.launches[0].launch), ("large", 1));
        },
    );
}
