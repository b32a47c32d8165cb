//! Reports from traces written by hand.

use std::fs;

use kwc_emulator::counters::{Class, Instruction, Issued, Launch, Site, Traffic};
use kwc_emulator::findings::{Finding, Kind};
use kwc_emulator::report::Record;
use kwc_emulator::report::summary::{Exit, Report};
use kwc_emulator::report::trace::{self, Trace};

fn finding(kind: Kind, launch: u64, line: u32, count: u64) -> Finding {
    Finding {
        kind,
        kernel: "k".to_owned(),
        launch,
        block: [1, 2, 3],
        thread: [4, 5, 6],
        instruction: "ld.global.f32 %f1, [%rd1];".to_owned(),
        line,
        source: None,
        address: None,
        message: "A sentence.".to_owned(),
        count,
    }
}

/// A launch in which every figure is `n` times a number of its own.
fn counters(n: u64, launch: u64, grid: u32) -> Launch {
    let small = u32::try_from(n).expect("a small number");
    let issued = |factor: u64| Issued { warps: factor * n, threads: factor * n * 32 };
    let traffic = |factor: u64| Traffic { requests: factor * n, sectors: factor * n * 4, bytes: factor * n * 128 };
    Launch {
        kernel: "k".to_owned(),
        launch,
        grid: [grid, 1, 1],
        block: [64, 2, 1],
        registers: 10 * small,
        static_shared: 11 * small,
        dynamic_shared: 0,
        local: 12 * small,
        resident_blocks: 16 / small,
        classes: vec![(Class::Integer, issued(1)), (Class::Memory, issued(2))],
        in_loops: vec![(Class::Integer, issued(3))],
        tensor_multiply_adds: 13 * n,
        global_loads: traffic(5),
        global_stores: traffic(7),
        local_traffic: traffic(9),
        distinct_sectors: 14 * n,
        distinct_sectors_read: 15 * n,
        distinct_sectors_written: 16 * n,
        shared_requests: 17 * n,
        shared_wavefronts: 18 * n,
        bank_conflicts: 19 * n,
        atomics: [20 * n, 21 * n],
        barriers: 22 * n,
        divergent_branches: 23 * n,
        async_bytes: 24 * n,
        async_in_flight: 25 * n,
        instructions: vec![Instruction {
            line: 30,
            source: None,
            opcode: "add.s32".to_owned(),
            site: Site { warps: n, threads: 32 * n, ..Site::default() },
        }],
    }
}

fn launch(counters: Option<Launch>, launch: u64, findings: Vec<Finding>) -> Record {
    Record::Launch { counters: counters.map(Box::new), kernel: "k".to_owned(), launch, findings }
}

fn report(records: Vec<Record>) -> Report {
    let trace = Trace { process: 7, architecture: "sm_80".to_owned(), ended: true, records, unreadable: Vec::new() };
    Report::new(vec!["program".to_owned()], Exit { code: Some(0), signal: None }, vec![trace])
}

#[test]
fn launches_of_a_kernel_add_up() {
    let report = report(vec![
        launch(Some(counters(1, 1, 8)), 1, Vec::new()),
        launch(Some(counters(2, 2, 8)), 2, Vec::new()),
        launch(Some(counters(4, 3, 9)), 3, Vec::new()),
    ]);
    let kernel = report.kernel("k").expect("the kernel");
    assert_eq!(kernel.launches, 3);
    let shapes: Vec<_> = kernel.shapes.iter().map(|shape| (shape.grid, shape.launches)).collect();
    assert_eq!(shapes, [([8, 1, 1], 2), ([9, 1, 1], 1)]);
    let totals = kernel.totals.as_deref().expect("counters");
    // What is a count is that of a launch with 1 + 2 + 4; the rest is the most or the fewest.
    let expected = Launch {
        registers: 40,
        static_shared: 44,
        local: 48,
        resident_blocks: 4,
        async_in_flight: 100,
        ..counters(7, 1, 8)
    };
    assert_eq!(*totals, expected);
}

#[test]
fn instructions_that_only_one_launch_issued_are_kept_in_order() {
    let mut other = counters(2, 2, 8);
    other.instructions[0].line = 20;
    other.classes = vec![(Class::F32, Issued { warps: 5, threads: 6 })];
    let report = report(vec![launch(Some(counters(1, 1, 8)), 1, vec![]), launch(Some(other), 2, vec![])]);
    let totals = report.kernels[0].totals.as_deref().expect("counters");
    let lines: Vec<_> = totals.instructions.iter().map(|one| (one.line, one.site.warps)).collect();
    assert_eq!(lines, [(20, 2), (30, 1)]);
    let classes: Vec<_> = totals.classes.iter().map(|(class, issued)| (*class, issued.warps)).collect();
    assert_eq!(classes, [(Class::Integer, 1), (Class::F32, 5), (Class::Memory, 2)]);
}

#[test]
fn a_finding_counts_what_its_launches_say() {
    let race = |launch, count| finding(Kind::SharedRace, launch, 9, count);
    let report = report(vec![
        Record::Finding(race(1, 1)),
        launch(None, 1, vec![race(1, 64)]),
        Record::Finding(race(2, 1)),
        Record::Finding(finding(Kind::SharedRace, 2, 10, 1)),
        launch(None, 2, vec![race(2, 6), finding(Kind::SharedRace, 2, 10, 3)]),
    ]);
    let found: Vec<_> = report.findings.iter().map(|f| (f.line, f.launch, f.count)).collect();
    assert_eq!(found, [(9, 1, 70), (10, 2, 3)]);
    assert_eq!(report.launches.len(), 2);
}

#[test]
fn a_finding_stands_even_if_its_launch_never_ends() {
    let report = report(vec![
        launch(None, 1, vec![finding(Kind::Trap, 1, 9, 2)]),
        Record::Finding(finding(Kind::Trap, 2, 9, 1)),
        Record::Finding(finding(Kind::Deadlock, 2, 12, 1)),
    ]);
    let found: Vec<_> = report.findings.iter().map(|f| (f.kind, f.count)).collect();
    assert_eq!(found, [(Kind::Trap, 3), (Kind::Deadlock, 1)]);
}

#[test]
fn records_survive_a_trace() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let records = vec![
        Record::Finding(finding(Kind::UseAfterFree, 1, 9, 1)),
        launch(Some(counters(3, 1, 8)), 1, vec![finding(Kind::UseAfterFree, 1, 9, 5)]),
        Record::Call {
            function: "cuInit".to_owned(),
            error: "CUDA_ERROR_INVALID_VALUE".to_owned(),
            message: "Line\nbreaks.".to_owned(),
        },
    ];
    let start = Record::Start { format: 1, architecture: "sm_90".to_owned(), process: 12 };
    let all = std::iter::once(&start).chain(&records).chain([&Record::End]);
    let lines: Vec<String> = all.map(|record| serde_json::to_string(record).expect("JSON")).collect();
    fs::write(directory.path().join("12.jsonl"), lines.join("\n") + "\n").expect("it can be written");
    fs::write(directory.path().join("notes.txt"), "no trace").expect("it can be written");
    let traces = trace::read_directory(directory.path()).expect("it can be read");
    let expected =
        Trace { process: 12, architecture: "sm_90".to_owned(), ended: true, records, unreadable: Vec::new() };
    assert_eq!(traces, [expected]);
}

#[test]
fn what_cannot_be_read_is_said_and_the_rest_kept() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let start = r#"{"record":"start","format":1,"architecture":"sm_80","process":3}"#;
    let newer = r#"{"record":"start","format":2,"architecture":"sm_80","process":4}"#;
    let end = r#"{"record":"end"}"#;
    fs::write(directory.path().join("3.jsonl"), format!("{start}\nnonsense\n{end}\n{newer}\n{{\"rec")).expect("a file");
    let traces = trace::read_directory(directory.path()).expect("it can be read");
    let seen: Vec<_> = traces.iter().map(|t| (t.process, t.ended, t.unreadable.len())).collect();
    assert_eq!(seen, [(3, true, 1), (4, false, 2)], "{traces:?}");
    assert!(traces[0].unreadable[0].contains("line 2"));
    assert!(traces[1].unreadable[0].contains("format 2"));
    assert!(traces[1].unreadable[1].contains("line 5 breaks off"));
}

#[test]
fn kernels_and_processes_stay_apart() {
    let other = Record::Launch { counters: None, kernel: "other".to_owned(), launch: 2, findings: Vec::new() };
    let report = report(vec![launch(Some(counters(1, 1, 8)), 1, Vec::new()), other]);
    assert_eq!(report.kernels.iter().map(|k| k.name.as_str()).collect::<Vec<_>>(), ["k", "other"]);
    assert!(report.kernel("other").expect("the kernel").totals.is_none());
    assert_eq!(report.launches.iter().map(|l| (l.process, l.launch)).collect::<Vec<_>>(), [(7, 1), (7, 2)]);
}
