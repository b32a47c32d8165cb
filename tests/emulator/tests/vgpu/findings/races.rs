//! Accesses of shared and global memory that nothing orders.

use kwc_emulator::findings::Kind;

use super::{assert_thread, run_with_input};
use crate::gpu::{Gpu, launch, shape};
use crate::harness::{assert_finding, nothing_found, only_finding, under_vgpu};

const FILE: &str = "faults_races.cu";

#[test]
fn two_warps_write_one_place_of_shared_memory() {
    under_vgpu(&[], run!(FILE, "two_writers", 1), |report| {
        let finding = only_finding(report, Kind::SharedRace, "two_writers", FILE, "// two_writers");
        assert_thread(finding, |x| x == 0 || x == 32);
        assert_eq!(finding.address, Some(0));
    });
}

#[test]
fn one_warp_writes_one_place_of_shared_memory() {
    under_vgpu(&[], run!(FILE, "one_writer", 1), nothing_found);
}

#[test]
fn the_check_of_races_can_be_off() {
    under_vgpu(&["--check", "initialised,synchronisation"], run!(FILE, "two_writers", 1), nothing_found);
}

#[test]
fn shared_memory_is_read_without_a_barrier() {
    under_vgpu(
        &[],
        || run_with_input(FILE, "reverse_unordered"),
        |report| {
            assert!(!report.findings.is_empty());
            // Which of the two comes second depends on the order of the warps.
            let lines = ["// reverse_unordered: write", "// reverse_unordered: read"];
            for finding in &report.findings {
                assert_finding(finding, Kind::SharedRace, "reverse_unordered", FILE, &lines);
                assert_thread(finding, |x| x < 64);
            }
        },
    );
}

#[test]
fn shared_memory_is_read_after_a_barrier() {
    under_vgpu(&[], || run_with_input(FILE, "reverse_ordered"), nothing_found);
}

#[test]
fn shared_memory_is_written_in_the_next_round_without_a_barrier() {
    under_vgpu(&[], run!(FILE, "rounds_unordered", 1), |report| {
        assert!(!report.findings.is_empty());
        let lines = ["// rounds_unordered: write", "// rounds_unordered: read"];
        for finding in &report.findings {
            assert_finding(finding, Kind::SharedRace, "rounds_unordered", FILE, &lines);
        }
    });
}

#[test]
fn shared_memory_is_written_in_the_next_round_after_a_barrier() {
    under_vgpu(&[], run!(FILE, "rounds_ordered", 1), nothing_found);
}

#[test]
fn blocks_write_one_place_of_global_memory() {
    under_vgpu(&[], run!(FILE, "blocks_collide", 8), |report| {
        let finding = only_finding(report, Kind::GlobalRace, "blocks_collide", FILE, "// blocks_collide");
        assert!(finding.block[0] < 8 && finding.thread == [0; 3], "{finding:#?}");
        assert_eq!(finding.address.map(|address| address % 256), Some(0));
    });
}

#[test]
fn blocks_write_places_of_their_own() {
    under_vgpu(&[], run!(FILE, "blocks_apart", 8), nothing_found);
}

#[test]
fn blocks_write_one_place_by_atomics() {
    under_vgpu(&[], run!(FILE, "blocks_atomic", 8), nothing_found);
}

#[test]
fn launches_write_one_place_one_after_the_other() {
    under_vgpu(
        &[],
        || {
            let gpu = Gpu::with(FILE);
            let mut out = gpu.stream.alloc_zeros::<i32>(64).expect("memory");
            for _ in 0..2 {
                outcome!(gpu, "blocks_apart", shape(8, 64), &mut out).expect("nothing is wrong");
            }
        },
        nothing_found,
    );
}

fn ticket(kernel: &str) -> i32 {
    let gpu = Gpu::with(FILE);
    let mut partial = gpu.stream.alloc_zeros::<i32>(16).expect("memory");
    let mut ticket = gpu.stream.alloc_zeros::<u32>(1).expect("memory");
    let mut total = gpu.stream.alloc_zeros::<i32>(1).expect("memory");
    outcome!(gpu, kernel, shape(16, 32), &mut partial, &mut ticket, &mut total).expect("the kernel goes on");
    gpu.stream.clone_dtoh(&total).expect("a copy")[0]
}

#[test]
fn a_ticket_without_a_fence_is_a_race() {
    under_vgpu(
        &[],
        || {
            ticket("ticket_without_fence");
        },
        |report| {
            let code = "// ticket_without_fence";
            let finding = only_finding(report, Kind::GlobalRace, "ticket_without_fence", FILE, code);
            assert!(finding.instruction.starts_with("ld.global") && finding.thread == [0; 3], "{finding:#?}");
        },
    );
}

#[test]
fn a_ticket_after_a_fence_is_no_race() {
    under_vgpu(&[], || assert_eq!(ticket("ticket_with_fence"), 136), nothing_found);
}
