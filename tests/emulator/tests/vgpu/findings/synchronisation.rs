//! Threads that are missing where others count on them.

use kwc_emulator::findings::Kind;

use super::assert_thread;
use crate::gpu::{Gpu, launch, shape};
use crate::harness::{nothing_found, only_finding, under_vgpu};

const FILE: &str = "faults_synchronisation.cu";

#[test]
fn a_barrier_that_part_of_a_block_reaches() {
    under_vgpu(&[], run!(FILE, "barrier_in_branch", 1), |report| {
        let code = "// barrier_in_branch";
        let finding = only_finding(report, Kind::DivergentBarrier, "barrier_in_branch", FILE, code);
        assert_thread(finding, |x| x < 64);
    });
}

#[test]
fn a_barrier_that_all_of_a_block_reach() {
    under_vgpu(&[], run!(FILE, "barrier_after_branch", 1), nothing_found);
}

#[test]
fn warps_that_wait_at_different_barriers() {
    under_vgpu(&[], run!(FILE, "named_barriers", 1, &1), |report| {
        let code = "// named_barriers";
        let finding = only_finding(report, Kind::Deadlock, "named_barriers", FILE, code);
        assert_thread(finding, |x| x < 64);
    });
}

#[test]
fn warps_that_wait_at_one_barrier() {
    under_vgpu(&[], run!(FILE, "named_barriers", 1, &0), nothing_found);
}

#[test]
fn a_shuffle_from_a_lane_that_is_not_there() {
    under_vgpu(&[], run!(FILE, "shuffle_in_branch", 1, &20), |report| {
        let code = "// shuffle_in_branch";
        let finding = only_finding(report, Kind::InactiveLane, "shuffle_in_branch", FILE, code);
        assert_thread(finding, |x| x < 16);
        assert!(finding.instruction.starts_with("shfl.sync.idx"), "{finding:#?}");
    });
}

#[test]
fn a_shuffle_from_a_lane_that_is_there() {
    under_vgpu(&[], run!(FILE, "shuffle_in_branch", 1, &4), nothing_found);
}

#[test]
fn a_vote_of_lanes_that_are_not_there() {
    under_vgpu(&[], run!(FILE, "vote_in_branch", 1, &u32::MAX), |report| {
        let code = "// vote_in_branch";
        let finding = only_finding(report, Kind::InactiveLane, "vote_in_branch", FILE, code);
        assert_thread(finding, |x| x < 16);
    });
}

#[test]
fn a_vote_of_lanes_that_are_there() {
    under_vgpu(&[], run!(FILE, "vote_in_branch", 1, &0xffffu32), nothing_found);
}

#[test]
fn the_check_of_missing_threads_can_be_off() {
    let run = run!(FILE, "vote_in_branch", 1, &u32::MAX);
    under_vgpu(&["--check", "initialised,races"], run, nothing_found);
}

/// Runs a kernel `(out, unsigned lanes)` with one warp.
fn run_lanes(kernel: &str, lanes: u32) {
    let gpu = Gpu::with(FILE);
    let mut out = gpu.stream.alloc_zeros::<u32>(32).expect("memory");
    let _ = outcome!(gpu, kernel, shape(1, 32), &mut out, &lanes);
}

#[test]
fn ldmatrix_by_part_of_a_warp() {
    under_vgpu(
        &[],
        || run_lanes("load_matrix", 16),
        |report| {
            let code = "// load_matrix";
            let finding = only_finding(report, Kind::PartialWarp, "load_matrix", FILE, code);
            assert_thread(finding, |x| x < 32);
            assert!(finding.instruction.starts_with("ldmatrix"), "{finding:#?}");
        },
    );
}

#[test]
fn ldmatrix_by_a_whole_warp() {
    under_vgpu(&[], || run_lanes("load_matrix", 32), nothing_found);
}

#[test]
fn mma_by_part_of_a_warp() {
    under_vgpu(
        &[],
        || run_lanes("multiply_matrices", 31),
        |report| {
            let code = "// multiply_matrices";
            let finding = only_finding(report, Kind::PartialWarp, "multiply_matrices", FILE, code);
            assert_thread(finding, |x| x < 32);
            assert!(finding.instruction.starts_with("mma.sync"), "{finding:#?}");
        },
    );
}

#[test]
fn mma_by_a_whole_warp() {
    under_vgpu(&[], || run_lanes("multiply_matrices", 32), nothing_found);
}
