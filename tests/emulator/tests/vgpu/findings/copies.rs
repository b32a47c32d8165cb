//! Data of copies by `cp.async` that are on their way.

use kwc_emulator::findings::Kind;

use super::{assert_thread, run_with_input};
use crate::harness::{assert_finding, nothing_found, only_finding, under_vgpu};

const FILE: &str = "faults_async.cu";

#[test]
fn a_copy_is_read_before_it_has_arrived() {
    under_vgpu(
        &[],
        || run_with_input(FILE, "read_early"),
        |report| {
            let finding = only_finding(report, Kind::AsyncCopy, "read_early", FILE, "// read_early");
            assert_thread(finding, |x| x < 64);
            // The second half of the array, the second number of a thread's four.
            assert_eq!(finding.address, Some(1024 + u64::from(finding.thread[0]) * 16 + 4));
        },
    );
}

#[test]
fn a_copy_is_read_after_it_has_arrived() {
    under_vgpu(&[], || run_with_input(FILE, "read_in_time"), nothing_found);
}

#[test]
fn a_wait_for_all_but_the_last_copies_lets_the_first_be_read() {
    under_vgpu(&[], || run_with_input(FILE, "read_first"), nothing_found);
}

#[test]
fn a_copy_is_overwritten_before_it_has_arrived() {
    under_vgpu(
        &[],
        || run_with_input(FILE, "overwrite_early"),
        |report| {
            let finding = only_finding(report, Kind::AsyncCopy, "overwrite_early", FILE, "// overwrite_early");
            assert_thread(finding, |x| x < 64);
            assert!(finding.instruction.starts_with("st.shared"), "{finding:#?}");
        },
    );
}

#[test]
fn a_copy_is_overwritten_after_it_has_arrived() {
    under_vgpu(&[], || run_with_input(FILE, "overwrite_in_time"), nothing_found);
}

#[test]
fn another_threads_copy_is_read_without_a_barrier_after_the_wait() {
    under_vgpu(
        &[],
        || run_with_input(FILE, "read_anothers"),
        |report| {
            assert!(!report.findings.is_empty());
            for finding in &report.findings {
                // The other warp has waited already, or it hasn't.
                assert!(matches!(finding.kind, Kind::AsyncCopy | Kind::SharedRace), "{finding:#?}");
                assert_finding(finding, finding.kind, "read_anothers", FILE, &["// read_anothers"]);
            }
        },
    );
}

#[test]
fn another_threads_copy_is_read_after_a_barrier() {
    under_vgpu(&[], || run_with_input(FILE, "read_anothers_in_time"), nothing_found);
}
