//! The findings of a launch.

use kwc_emulator::check::sink::Findings;
use kwc_emulator::findings::{Finding, Kind};

fn finding(kind: Kind, line: u32, message: &str) -> Finding {
    Finding {
        kind,
        kernel: "k".to_owned(),
        launch: 1,
        block: [0; 3],
        thread: [0; 3],
        instruction: "ld.shared.u32".to_owned(),
        line,
        source: None,
        address: None,
        message: message.to_owned(),
        count: 77,
    }
}

#[test]
fn equal_findings_are_kept_once_and_counted() {
    let findings = Findings::new();
    assert!(findings.is_empty());
    let first = findings.report(Kind::SharedRace, 9, || finding(Kind::SharedRace, 30, "first"));
    assert_eq!(first.map(|finding| (finding.message, finding.count)), Some(("first".to_owned(), 1)));
    for _ in 0..4 {
        assert_eq!(findings.report(Kind::SharedRace, 9, || unreachable!("it is known")), None);
    }
    assert!(findings.report(Kind::Misaligned, 9, || finding(Kind::Misaligned, 30, "other kind")).is_some());
    assert!(findings.report(Kind::SharedRace, 2, || finding(Kind::SharedRace, 12, "other instruction")).is_some());
    let taken: Vec<_> = findings.take().into_iter().map(|finding| (finding.message, finding.count)).collect();
    let expected = [("other instruction", 1), ("other kind", 1), ("first", 5)];
    assert_eq!(taken, expected.map(|(message, count)| (message.to_owned(), count)));
    assert!(findings.is_empty() && findings.take().is_empty());
}

#[test]
fn findings_of_several_threads_are_counted() {
    let findings = Findings::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for i in 0..1000 {
                    findings.report(Kind::GlobalRace, i % 3, || finding(Kind::GlobalRace, i % 3, ""));
                }
            });
        }
    });
    let counts: Vec<_> = findings.take().into_iter().map(|finding| (finding.line, finding.count)).collect();
    assert_eq!(counts, [(0, 4 * 334), (1, 4 * 333), (2, 4 * 333)]);
}
