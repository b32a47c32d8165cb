//! A comparison as text.

use std::fmt::Write as _;

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, Table};

use super::compare::Comparison;
use super::{Gpu, Plan, RangedOutput, Report};
use crate::terminal::{DIM, EMPHASIS};

/// Draws a report; of the layers, the `top` with the largest errors, or all of them for 0.
pub(super) fn draw(report: &Report, top: usize) -> String {
    let mut out = String::new();
    let Report { network, device, precision, samples, tolerance, gpu, seed, weights, plan, .. } = report;
    let _ = writeln!(
        out,
        "{EMPHASIS}{network}{EMPHASIS:#}  {device}, {precision}, samples: {samples}{}",
        seed.map_or_else(String::new, |seed| format!(", seed {seed}"))
    );
    let Gpu { name, compute_capability, driver, nvrtc } = gpu;
    let _ = writeln!(
        out,
        "  {DIM}GPU{DIM:#}      {name}, compute capability {compute_capability}, driver for CUDA {driver}"
    );
    let Plan { max_batch, gpu, mixing } = plan;
    let nvrtc = nvrtc.as_deref().unwrap_or("of a version that is not known");
    let _ = writeln!(
        out,
        "  {DIM}plan{DIM:#}     max-batch {max_batch}, gpu {gpu}, mixing {mixing}; kernels compiled by NVRTC {nvrtc}"
    );
    let _ = writeln!(out, "  {DIM}weights{DIM:#}  SHA-256 {weights}\n");
    let name = |output: &RangedOutput| format!("{}, batch {}", output.comparison.name, output.batch);
    let outputs: Vec<_> = report.outputs.iter().map(|output| (name(output), &output.comparison)).collect();
    push("output", &outputs, &mut out);
    let mut layers: Vec<&Comparison> = report.layers.iter().collect();
    if top > 0 {
        let error = |layer: &Comparison| layer.relative_error.unwrap_or(f64::NEG_INFINITY);
        layers.sort_by(|a, b| error(b).total_cmp(&error(a)));
        layers.truncate(top);
    }
    if !layers.is_empty() {
        let layers: Vec<_> = layers.iter().map(|&layer| (layer.name.clone(), layer)).collect();
        push("layer", &layers, &mut out);
    }
    let _ = writeln!(
        out,
        "{DIM}{} of {} layers shown; values that overflow: {}, that underflow: {}{DIM:#}",
        layers.len(),
        report.layers.len(),
        report.layers.iter().map(|layer| layer.overflow).sum::<usize>(),
        report.layers.iter().map(|layer| layer.underflow).sum::<usize>(),
    );
    let (verdict, why) = match report.right {
        Some(true) => ("right", format!("outputs may differ by {tolerance:e}")),
        Some(false) => ("WRONG", format!("outputs may differ by {tolerance:e}")),
        None => ("no verdict", report.not_finite()),
    };
    let _ = writeln!(out, "{EMPHASIS}{verdict}{EMPHASIS:#}: {why}");
    out
}

/// A table of comparisons under the names that they are given, and an empty line.
fn push(what: &str, rows: &[(String, &Comparison)], out: &mut String) {
    let mut table = Table::new();
    table.load_style(NOTHING);
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    let number = |value: Option<f64>| value.map_or_else(|| "none".to_owned(), |value| format!("{value:.2e}"));
    let heads =
        ["shape", "relative error", "largest difference", "largest value", "overflow", "underflow", "not finite"];
    table.set_header([Cell::new(what)].into_iter().chain(heads.map(|head| right(head.to_owned()))));
    for (name, row) in rows {
        table.add_row([
            Cell::new(name),
            right(format!("{:?}", row.shape)),
            right(number(row.relative_error)),
            right(number(row.largest_difference)),
            right(number(row.largest)),
            right(row.overflow.to_string()),
            right(row.underflow.to_string()),
            right(row.not_finite.to_string()),
        ]);
    }
    if let Some(column) = table.column_mut(0) {
        column.set_padding((0, 1));
    }
    for line in table.lines() {
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out.push('\n');
}
