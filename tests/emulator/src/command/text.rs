//! The report as text: findings, tables, and what else there is to say.

use std::fmt::Write as _;

use crate::findings::{Finding, Kind};
use crate::report::summary::{Exit, Report};

use super::tables;
use super::terminal::{DIM, EMPHASIS, ERROR, WARNING};

/// Draws a report. `top` is how many instructions of each kernel to show.
pub(crate) fn draw(report: &Report, top: usize) -> String {
    let mut out = String::new();
    for finding in &report.findings {
        draw_finding(finding, &mut out);
    }
    tables::draw(report, top, &mut out);
    for call in &report.calls {
        let times = times(call.count);
        let _ = writeln!(
            out,
            "{WARNING}{}{WARNING:#} answered {}{times}{}",
            call.function,
            call.error,
            after_colon(&call.message)
        );
    }
    for line in &report.unreadable {
        warn(line, &mut out);
    }
    if report.processes.is_empty() {
        warn("the program never loaded the CUDA driver: nothing was checked or counted", &mut out);
    }
    for process in report.processes.iter().filter(|process| !process.ended) {
        let number = process.process;
        warn(&format!("process {number} didn't end in an orderly way: its last launch may be missing"), &mut out);
    }
    last_line(report, &mut out);
    out
}

fn draw_finding(finding: &Finding, out: &mut String) {
    let Finding { kind, kernel, launch, block, thread, instruction, line, source, address, message, count } = finding;
    let _ = writeln!(out, "{ERROR}{}{ERROR:#}{EMPHASIS} in {kernel}{EMPHASIS:#}{}", title(*kind), times(*count));
    if !message.is_empty() {
        let _ = writeln!(out, "  {message}");
    }
    if let Some((file, line)) = source {
        let _ = writeln!(out, "  {DIM}source{DIM:#}  {file}:{line}");
    }
    let _ = writeln!(out, "  {DIM}PTX{DIM:#}     line {line}: {instruction}");
    let address = address.map_or_else(String::new, |address| format!(", address {address:#x}"));
    let _ = writeln!(
        out,
        "  {DIM}first{DIM:#}   block {}, thread {}, launch {launch}{address}\n",
        triple(*block),
        triple(*thread)
    );
}

fn title(kind: Kind) -> &'static str {
    match kind {
        Kind::OutOfBounds => "access outside any allocation",
        Kind::Misaligned => "misaligned access",
        Kind::UseAfterFree => "access to freed memory",
        Kind::Uninitialised => "read of memory that was never written",
        Kind::SharedRace => "race on shared memory",
        Kind::GlobalRace => "race on global memory",
        Kind::AsyncCopy => "access to data of an unfinished cp.async",
        Kind::DivergentBarrier => "barrier reached by part of a block",
        Kind::Deadlock => "deadlock",
        Kind::InactiveLane => "inactive lane",
        Kind::PartialWarp => "tensor instruction in a partial warp",
        Kind::Trap => "trap",
    }
}

fn last_line(report: &Report, out: &mut String) {
    let count = |n: usize, one: &str| if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") };
    let end = match report.exit {
        Exit { signal: Some(signal), .. } => format!("signal {signal} killed the program"),
        Exit { code: Some(code), signal: None } => format!("the program ended with {code}"),
        Exit { code: None, signal: None } => "the program ended".to_owned(),
    };
    let style = if report.findings.is_empty() { EMPHASIS } else { ERROR };
    let _ = writeln!(
        out,
        "{style}{}{style:#} in {}{}; {end}",
        count(report.findings.len(), "finding"),
        count(report.launches.len(), "launch").replace("launchs", "launches"),
        report.architecture.as_ref().map_or_else(String::new, |architecture| format!(" on {architecture}"))
    );
}

fn warn(message: &str, out: &mut String) {
    let _ = writeln!(out, "{WARNING}warning{WARNING:#}: {message}");
}

fn times(count: u64) -> String {
    if count == 1 { String::new() } else { format!(", {count} times") }
}

fn after_colon(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

fn triple([x, y, z]: [u32; 3]) -> String {
    format!("({x}, {y}, {z})")
}
