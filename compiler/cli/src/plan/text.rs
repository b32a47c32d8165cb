//! A plan as text: a head, a table of warehouses, and the dynamic layers grouped by the warehouse that they share.

use std::fmt::Write as _;

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, Table};
use kwc_compiler::report::{Grid, Layer, Report, Warehouse};

use crate::terminal::{DIM, EMPHASIS};

/// Columns of the bar that shows a layer's own cells.
const BAR: usize = 14;

/// Draws a plan. Its width depends on the longest names only, not on the terminal.
pub(crate) fn draw(report: &Report) -> String {
    let mut out = String::new();
    head(report, &mut out);
    if !report.is_static() {
        out.push('\n');
        warehouses(report, &mut out);
        out.push('\n');
        layers(report, &mut out);
    }
    out
}

fn head(report: &Report, out: &mut String) {
    let ports = |ports: &[kwc_compiler::report::Port]| {
        ports.iter().map(|p| format!("{} {:?}", p.name, p.shape)).collect::<Vec<_>>().join(", ")
    };
    let _ = writeln!(
        out,
        "{EMPHASIS}{}{EMPHASIS:#}  {} → {}\n",
        report.name,
        ports(&report.inputs),
        ports(&report.outputs)
    );
    let totals = &report.totals;
    let mut line = |title: &str, value: String, rest: String| {
        let _ = writeln!(out, "  {title:<15}{value:>10}   {DIM}{rest}{DIM:#}");
    };
    let count = |n: usize| quantity(n as u64);
    let dynamic = &totals.dynamic;
    if report.is_static() {
        line("parameters", count(report.parameters), format!("in {} layers, all static", totals.layers));
        line("multiply-adds", quantity(totals.multiply_adds), "in convolutions and linear layers".to_owned());
        return;
    }
    line(
        "parameters",
        count(report.parameters),
        format!(
            "{:.2} x the {} of the same network with static layers only",
            report.parameters as f64 / report.static_parameters as f64,
            count(report.static_parameters)
        ),
    );
    line(
        "multiply-adds",
        quantity(totals.multiply_adds),
        format!(
            "{} convolution, {} mixing, {} attention, {} in static layers",
            quantity(dynamic.convolution),
            quantity(dynamic.mixing),
            quantity(dynamic.attention),
            quantity(totals.static_layers)
        ),
    );
    line(
        "warehouses",
        bytes(totals.warehouse_bytes),
        format!(
            "in f32; a pass reads {} of cells and mixes {} of kernels per sample",
            bytes(totals.warehouse_reads),
            bytes(totals.kernel_bytes)
        ),
    );
}

fn warehouses(report: &Report, out: &mut String) {
    let mut table = new_table(&["warehouse", "cells", "cell", "mixtures", "budget", "layers", "parameters"], 1);
    for warehouse in &report.warehouses {
        table.add_row([
            warehouse.name.clone(),
            warehouse.cells.to_string(),
            sizes(&warehouse.cell_shape),
            warehouse.mixtures.to_string(),
            budget(warehouse),
            warehouse.members.len().to_string(),
            quantity(warehouse.parameters as u64),
        ]);
    }
    align(&mut table, 1);
    let mut lines = table.lines();
    push_title(lines.next(), out);
    lines.for_each(|line| push_line(&line, out));
}

fn layers(report: &Report, out: &mut String) {
    const TITLES: [&str; 9] =
        ["layer", "kernel", "mixtures", "own cells", "", "hidden", "convolution", "mixing", "attention"];
    const LEFT: usize = 5;
    let with_basis = report.layers.iter().any(|l| l.basis.is_some());
    let mut titles = TITLES.to_vec();
    if with_basis {
        titles.push("basis");
    }
    let mut table = new_table(&titles, LEFT);
    let mut groups = Vec::new();
    for (index, warehouse) in report.warehouses.iter().enumerate() {
        let members: Vec<&Layer> = report.layers.iter().filter(|l| l.warehouse == index).collect();
        for layer in &members {
            let mut row = vec![
                format!("  {}", layer.name),
                kernel(layer),
                mixtures(layer.mixtures, layer.mixture_grid),
                bar(layer.start_cell, layer.local_cells, warehouse.cells),
                format!("{}..{}", layer.start_cell, layer.start_cell + layer.local_cells),
                layer.hidden.to_string(),
                quantity(layer.multiply_adds.convolution),
                quantity(layer.multiply_adds.mixing),
                quantity(layer.multiply_adds.attention),
            ];
            if with_basis {
                row.push(layer.basis.map_or_else(String::new, |rank| rank.to_string()));
            }
            table.add_row(row);
        }
        groups.push((warehouse, members.len()));
    }
    align(&mut table, LEFT);
    let mut lines = table.lines();
    push_title(lines.next(), out);
    for (warehouse, members) in groups {
        let _ = writeln!(out, "{EMPHASIS}{}{EMPHASIS:#} {DIM}{} cells{DIM:#}", warehouse.name, warehouse.cells);
        lines.by_ref().take(members).for_each(|line| push_line(&line, out));
    }
}

pub(crate) fn new_table(titles: &[&str], left: usize) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(titles.iter().enumerate().map(|(i, title)| {
        let alignment = if i < left { CellAlignment::Left } else { CellAlignment::Right };
        Cell::new(title).set_alignment(alignment)
    }));
    table
}

/// Numbers to the right: all columns but the first `left`. The first starts at the left margin.
pub(crate) fn align(table: &mut Table, left: usize) {
    if let Some(column) = table.column_mut(0) {
        column.set_padding((0, 1));
    }
    for column in table.column_iter_mut().skip(left) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

pub(crate) fn push_title(line: Option<String>, out: &mut String) {
    let _ = writeln!(out, "{DIM}{}{DIM:#}", line.unwrap_or_default().trim_end());
}

pub(crate) fn push_line(line: &str, out: &mut String) {
    out.push_str(line.trim_end());
    out.push('\n');
}

/// `64 → 128, 3x3 /2`: channels, kernel, and what is not as usual: stride, dilation, groups.
fn kernel(layer: &Layer) -> String {
    let depthwise = layer.groups > 1 && layer.groups == layer.in_channels && layer.groups == layer.out_channels;
    let mut text = if depthwise {
        format!("{} depthwise, {}", layer.groups, sizes(&layer.kernel))
    } else {
        format!("{} → {}, {}", layer.in_channels, layer.out_channels, sizes(&layer.kernel))
    };
    if layer.stride.iter().any(|&s| s != 1) {
        let _ = write!(text, " /{}", uniform(&layer.stride));
    }
    if layer.dilation.iter().any(|&d| d != 1) {
        let _ = write!(text, " dilation {}", uniform(&layer.dilation));
    }
    if layer.groups != 1 && !depthwise {
        let _ = write!(text, " groups {}", layer.groups);
    }
    text
}

fn mixtures(mixtures: usize, grid: Grid) -> String {
    let factors = [grid.spatial, grid.out, grid.input];
    if factors.iter().filter(|&&f| f != 1).count() <= 1 && factors[1] == 1 && factors[2] == 1 {
        mixtures.to_string()
    } else {
        format!("{mixtures} = {}", sizes(&factors))
    }
}

/// Where the layer's own cells stand in its warehouse.
fn bar(start: usize, count: usize, cells: usize) -> String {
    let scale = |cell: usize| (cell as f64 / cells.max(1) as f64 * BAR as f64).round() as usize;
    let from = scale(start).min(BAR - 1);
    let to = scale(start + count).clamp(from + 1, BAR);
    let own = if count == 0 { 0 } else { to - from };
    format!("{}{}{}", "·".repeat(from), "█".repeat(own), "·".repeat(BAR - from - own))
}

fn budget(warehouse: &Warehouse) -> String {
    let got = number(warehouse.budget_got);
    let asked = number(warehouse.budget);
    if asked == got { asked } else { format!("{asked} (got {got})") }
}

/// At most four decimals, and no zeros at the end.
fn number(x: f64) -> String {
    let text = format!("{x:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn sizes(sizes: &[usize]) -> String {
    sizes.iter().map(ToString::to_string).collect::<Vec<_>>().join("x")
}

/// One number where all are equal.
fn uniform(list: &[usize]) -> String {
    match list {
        [first, rest @ ..] if rest.iter().all(|x| x == first) => first.to_string(),
        _ => sizes(list),
    }
}

/// A count with a decimal prefix: `11.93 M`. Below a thousand it is exact.
pub(crate) fn quantity(count: u64) -> String {
    const PREFIXES: [&str; 4] = ["k", "M", "G", "T"];
    if count < 1000 {
        return count.to_string();
    }
    let mut value = count as f64 / 1000.0;
    let mut prefix = 0;
    // 999.995 would be rounded to 1000.00.
    while value >= 999.995 && prefix + 1 < PREFIXES.len() {
        value /= 1000.0;
        prefix += 1;
    }
    format!("{value:.2} {}", PREFIXES[prefix])
}

pub(crate) fn bytes(count: u64) -> String {
    if count < 1000 { format!("{count} B") } else { format!("{}B", quantity(count)) }
}
