//! A comparison as text.

use std::fmt::Write as _;

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, Table};

use super::Report;
use super::compare::Comparison;
use crate::terminal::{DIM, EMPHASIS};

/// Draws a report; of the layers, the `top` with the largest errors, or all of them for 0.
pub(super) fn draw(report: &Report, top: usize) -> String {
    let mut out = String::new();
    let Report { network, device, precision, samples, tolerance, .. } = report;
    let _ = writeln!(out, "{EMPHASIS}{network}{EMPHASIS:#}  {device}, {precision}, samples: {samples}\n");
    let outputs: Vec<&Comparison> = report.outputs.iter().collect();
    let _ = writeln!(out, "{}\n", table("output", &outputs));
    let mut layers: Vec<&Comparison> = report.layers.iter().collect();
    if top > 0 {
        layers.sort_by(|a, b| b.relative_error.total_cmp(&a.relative_error));
        layers.truncate(top);
    }
    if !layers.is_empty() {
        let _ = writeln!(out, "{}\n", table("layer", &layers));
    }
    let _ = writeln!(
        out,
        "{DIM}{} of {} layers shown; values that overflow: {}, that f16 has few digits for: {}{DIM:#}",
        layers.len(),
        report.layers.len(),
        report.layers.iter().map(|layer| layer.overflow).sum::<usize>(),
        report.layers.iter().map(|layer| layer.underflow).sum::<usize>(),
    );
    let verdict = if report.right { "right" } else { "WRONG" };
    let _ = writeln!(out, "{EMPHASIS}{verdict}{EMPHASIS:#}: outputs may differ by {tolerance:.0e}");
    out
}

fn table(what: &str, rows: &[&Comparison]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    let heads = ["shape", "relative error", "largest difference", "largest value", "overflow", "underflow"];
    table.set_header([Cell::new(what)].into_iter().chain(heads.map(|head| right(head.to_owned()))));
    for row in rows {
        table.add_row([
            Cell::new(&row.name),
            right(format!("{:?}", row.shape)),
            right(format!("{:.2e}", row.relative_error)),
            right(format!("{:.2e}", row.largest_difference)),
            right(format!("{:.2e}", row.largest)),
            right(row.overflow.to_string()),
            right(row.underflow.to_string()),
        ]);
    }
    table
}
