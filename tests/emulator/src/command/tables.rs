//! The tables of a report: what kernels did, and their most issued instructions.

use std::cmp::Reverse;
use std::fmt::Write as _;

use crate::counters::{Instruction, Issued, Launch, Traffic};
use crate::report::summary::{Kernel, Report};
use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, Table};

use super::terminal::{DIM, EMPHASIS};

/// Bytes of a sector.
const SECTOR: u64 = 32;
/// Lanes of a warp.
const LANES: u64 = 32;

pub(crate) fn draw(report: &Report, top: usize, out: &mut String) {
    if report.kernels.is_empty() {
        return;
    }
    execution(&report.kernels, out);
    let counted: Vec<(&str, &Launch)> =
        report.kernels.iter().filter_map(|kernel| Some((kernel.name.as_str(), kernel.totals.as_deref()?))).collect();
    if counted.is_empty() {
        return;
    }
    memory(&counted, out);
    if top > 0 {
        for (name, totals) in counted {
            instructions(name, totals, top, out);
        }
    }
}

/// One line a kernel: how it was launched, and what its warps issued.
fn execution(kernels: &[Kernel], out: &mut String) {
    let mut table = new_table(&[
        "kernel",
        "launches",
        "grid",
        "block",
        "registers",
        "shared",
        "resident",
        "warp instr",
        "lanes",
        "tensor mul-add",
        "barriers",
        "divergent",
    ]);
    for kernel in kernels {
        let mut row = vec![kernel.name.clone(), kernel.launches.to_string()];
        if let Some(totals) = &kernel.totals {
            let more = kernel.shapes.len().saturating_sub(1);
            let more = if more == 0 { String::new() } else { format!(" +{more}") };
            let issued = totals.classes.iter().fold(Issued::default(), |sum, (_, issued)| Issued {
                warps: sum.warps + issued.warps,
                threads: sum.threads + issued.threads,
            });
            row.extend([
                sizes(totals.grid) + &more,
                sizes(totals.block),
                totals.registers.to_string(),
                bytes(u64::from(totals.static_shared) + u64::from(totals.dynamic_shared)),
                totals.resident_blocks.to_string(),
                count(issued.warps),
                percent(issued.threads, issued.warps * LANES),
                count(totals.tensor_multiply_adds),
                count(totals.barriers),
                count(totals.divergent_branches),
            ]);
        }
        table.add_row(row);
    }
    push(table, out);
}

/// One line a kernel: its traffic. Percentages of sectors are the bytes asked for over the bytes moved; `reuse` is
/// sectors moved over distinct ones, which is 1 where every sector is moved once.
fn memory(kernels: &[(&str, &Launch)], out: &mut String) {
    let mut table = new_table(&[
        "kernel",
        "load sectors",
        "used",
        "store sectors",
        "used",
        "distinct",
        "reuse",
        "shared waves",
        "conflicts",
        "atomics",
        "async in flight",
    ]);
    for (name, totals) in kernels {
        let sectors = |traffic: &Traffic| [count(traffic.sectors), percent(traffic.bytes, traffic.sectors * SECTOR)];
        let [loads, loads_used] = sectors(&totals.global_loads);
        let [stores, stores_used] = sectors(&totals.global_stores);
        let moved = totals.global_loads.sectors + totals.global_stores.sectors;
        let distinct = totals.distinct_sectors_read + totals.distinct_sectors_written;
        table.add_row([
            (*name).to_owned(),
            loads,
            loads_used,
            stores,
            stores_used,
            count(totals.distinct_sectors),
            if distinct == 0 { String::new() } else { format!("{:.2} x", moved as f64 / distinct as f64) },
            count(totals.shared_wavefronts),
            percent(totals.bank_conflicts, totals.shared_wavefronts),
            count(totals.atomics.iter().sum()),
            if totals.async_in_flight == 0 { String::new() } else { bytes(totals.async_in_flight) },
        ]);
    }
    push(table, out);
}

/// The most issued instructions of a kernel.
fn instructions(name: &str, totals: &Launch, top: usize, out: &mut String) {
    let mut order: Vec<&Instruction> = totals.instructions.iter().collect();
    order.sort_by_key(|one| (Reverse(one.site.warps), one.line));
    let all: u64 = order.iter().map(|one| one.site.warps).sum();
    let mut table = new_table(&[
        "instruction",
        "PTX line",
        "issued",
        "of all",
        "lanes",
        "sectors",
        "used",
        "waves",
        "conflicts",
        "divergent",
        "source",
    ]);
    for one in order.into_iter().take(top) {
        let site = &one.site;
        table.add_row([
            format!("  {}", one.opcode),
            one.line.to_string(),
            count(site.warps),
            percent(site.warps, all),
            percent(site.threads, site.warps * LANES),
            nonzero(site.sectors),
            percent(site.bytes, site.sectors * SECTOR),
            nonzero(site.wavefronts),
            percent(site.conflicts, site.wavefronts),
            nonzero(site.divergent),
            one.source.as_ref().map_or_else(String::new, |(file, line)| format!("{file}:{line}")),
        ]);
    }
    let _ = writeln!(out, "{EMPHASIS}{name}{EMPHASIS:#}");
    push(table, out);
}

/// Names to the left, numbers to the right.
fn new_table(titles: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(titles.iter().enumerate().map(|(i, title)| {
        Cell::new(title).set_alignment(if i == 0 { CellAlignment::Left } else { CellAlignment::Right })
    }));
    table
}

fn push(mut table: Table, out: &mut String) {
    if let Some(column) = table.column_mut(0) {
        column.set_padding((0, 1));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for (i, line) in table.lines().enumerate() {
        let line = line.trim_end();
        let _ = if i == 0 { writeln!(out, "{DIM}{line}{DIM:#}") } else { writeln!(out, "{line}") };
    }
    out.push('\n');
}

/// `32x8`: without the ones at the end.
fn sizes(sizes: [u32; 3]) -> String {
    match sizes {
        [x, 1, 1] => x.to_string(),
        [x, y, 1] => format!("{x}x{y}"),
        [x, y, z] => format!("{x}x{y}x{z}"),
    }
}

fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { String::new() } else { format!("{:.0}%", part as f64 / whole as f64 * 100.0) }
}

fn nonzero(n: u64) -> String {
    if n == 0 { String::new() } else { count(n) }
}

/// A count: exact below a hundred thousand, else with a decimal prefix.
fn count(n: u64) -> String {
    const PREFIXES: [&str; 4] = ["k", "M", "G", "T"];
    if n < 100_000 {
        return n.to_string();
    }
    let mut value = n as f64 / 1000.0;
    let mut prefix = 0;
    // 999.95 would be rounded to 1000.0.
    while value >= 999.95 && prefix + 1 < PREFIXES.len() {
        value /= 1000.0;
        prefix += 1;
    }
    format!("{value:.1} {}", PREFIXES[prefix])
}

/// A size in bytes, binary as shared memory is.
fn bytes(n: u64) -> String {
    if n < 1024 { format!("{n} B") } else { format!("{:.1} KiB", n as f64 / 1024.0) }
}
