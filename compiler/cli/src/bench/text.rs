//! What was measured, as tables.

use std::fmt::Write as _;

use comfy_table::Table;

use super::processor::{Cost, Floor, Layer, Layers, Machine, Rate, Times};
use super::{Batch, DeviceTimes, Measured, RUNS, TIME, processor};
use crate::plan::bounds::micro;
use crate::plan::text;
use crate::terminal::{DIM, EMPHASIS};

/// Draws one table of all batches, and for each of them one of the layers or, on a GPU, of the launches.
pub(super) fn draw(measured: &Measured) -> String {
    let mut out = String::new();
    head(measured, &mut out);
    batches(measured, &mut out);
    for batch in &measured.batches {
        if let Some(device) = &batch.device {
            let of = measured.bounds_of.unwrap_or_default();
            let _ = writeln!(out, "\n{EMPHASIS}Batch {}{EMPHASIS:#}: medians by events, bounds of {of}", batch.batch);
            launches(device, &mut out);
        }
        if let Some(found) = batch.processor.as_ref().and_then(|processor| processor.layers.as_ref()) {
            layers(batch, found, &mut out);
        }
    }
    out
}

fn head(measured: &Measured, out: &mut String) {
    let Measured { network, device, precision, iterations, warm_up, seed, random_weights, .. } = measured;
    let _ = write!(out, "{EMPHASIS}{network}{EMPHASIS:#} on {device}, {precision}: ");
    let _ = match iterations {
        Some(iterations) => write!(out, "{}", runs(*iterations)),
        None => write!(out, "{} to {} in about {} s", RUNS.0, runs(RUNS.1), TIME.as_secs()),
    };
    let what = if *random_weights { "random weights and inputs" } else { "random inputs" };
    let _ = writeln!(out, " after {warm_up}, {what} of seed {seed}\n");
    if let (Some(machine), Some(cost)) = (&measured.machine, &measured.cost) {
        processor(machine, cost, out);
        out.push('\n');
    }
}

fn runs(count: u32) -> String {
    if count == 1 { "1 run".to_owned() } else { format!("{count} runs") }
}

fn processor(machine: &Machine, cost: &Cost, out: &mut String) {
    let mut line = |title: &str, value: String, rest: String| {
        let _ = writeln!(out, "  {title:<15}{value:>14}   {DIM}{rest}{DIM:#}");
    };
    let work = cost.multiply_adds;
    line(
        "peak",
        format!("{:.1} GFLOP/s", machine.peak()),
        format!("of the micro-kernel, measured: {}", machine.describe()),
    );
    line(
        "reading",
        format!("{:.1} GB/s", machine.bandwidth()),
        "from memory, measured with as many threads".to_owned(),
    );
    line(
        "multiply-adds",
        text::quantity(work.total()),
        format!(
            "of a sample: {} convolution, {} mixing, {} attention",
            text::quantity(work.convolution),
            text::quantity(work.mixing),
            text::quantity(work.attention)
        ),
    );
    line(
        "weights",
        text::bytes(cost.weight_bytes),
        "read in a pass, packed; each layer reads its whole warehouse".to_owned(),
    );
}

fn batches(measured: &Measured, out: &mut String) {
    let mut titles = vec!["batch", "runs", "least ms", "p50 ms", "p90 ms", "p99 ms", "samples/s"];
    if measured.machine.is_some() {
        titles.extend(["GFLOP/s", "of peak", "arithmetic ms", "reading ms", "floor ms", "p50/floor"]);
    }
    if measured.bounds_of.is_some() {
        titles.retain(|&title| title != "runs");
        titles.extend(["graph µs", "bounds µs"]);
    }
    let mut table = text::new_table(&titles, 0);
    for batch in &measured.batches {
        let latency = batch.latency;
        let mut row = vec![batch.batch.to_string()];
        if measured.bounds_of.is_none() {
            row.push(batch.iterations.to_string());
        }
        row.extend([latency.least, latency.p50, latency.p90, latency.p99].map(milli));
        row.push(format!("{:.1}", batch.throughput));
        if let Some(processor::Measured { rate, floor, ratio, .. }) = &batch.processor {
            row.extend(rates(*rate));
            row.extend([floor.arithmetic, floor.reading, floor.least].map(milli));
            row.push(if ratio.is_finite() { format!("{ratio:.2}") } else { "–".to_owned() });
        }
        if let Some(DeviceTimes { graph, bound, .. }) = &batch.device {
            row.extend([micro(f64::from(graph.median)), micro(*bound)]);
        }
        table.add_row(row);
    }
    push(&mut table, 0, out);
    for batch in &measured.batches {
        let (Some(machine), Some(processor)) = (&measured.machine, &batch.processor) else { continue };
        if processor.threads < machine.threads() {
            let _ = writeln!(out, "{DIM}batch {} ran on one thread: it is over before others wake{DIM:#}", batch.batch);
        }
    }
}

fn layers(batch: &Batch, layers: &Layers, out: &mut String) {
    let Layers { passes, rows, sum, shares } = layers;
    let _ = writeln!(
        out,
        "\n{EMPHASIS}Batch {}{EMPHASIS:#}: steps one by one, medians of {passes}; all at once {} ms",
        batch.batch,
        milli(batch.latency.p50)
    );
    let titles =
        ["layer", "kind", "ms", "share", "attention ms", "mixing ms", "conv ms", "GFLOP/s", "of peak", "floor ms"];
    let mut table = text::new_table(&titles, 2);
    for row in rows {
        table.add_row(layer(row));
    }
    let parts = |Times { attention, mixing, convolution, .. }: &Times| [*attention, *mixing, *convolution];
    let mut last = vec!["sum".to_owned(), String::new(), milli(sum.time), percent(shares.time)];
    last.extend(parts(sum).map(milli));
    if let Some(processor::Measured { floor, .. }) = &batch.processor {
        last.extend([String::new(), String::new(), milli(floor.least)]);
    }
    table.add_row(last);
    push(&mut table, 2, out);
    let [attention, mixing, convolution] = parts(shares).map(percent);
    let rest = percent(shares.rest);
    let _ = writeln!(out, "shares: attention {attention}, mixing {mixing}, convolution {convolution}, the rest {rest}");
}

fn layer(row: &Layer) -> Vec<String> {
    let Layer { layer, kind, dynamic, times, share, multiply_adds, rate, floor } = row;
    let Times { time, attention, mixing, convolution, rest: _ } = *times;
    let kind = if *dynamic { format!("dynamic {kind}") } else { kind.clone() };
    let mut cells = vec![layer.clone(), kind, milli(time), percent(*share)];
    cells.extend([attention, mixing, convolution].map(|part| if part > 0.0 { milli(part) } else { String::new() }));
    if multiply_adds.total() > 0 {
        let Floor { least, .. } = floor;
        cells.extend(rates(*rate));
        cells.push(milli(*least));
    }
    cells
}

/// Milliseconds; small ones with a digit more.
fn milli(microseconds: f64) -> String {
    let digits = if microseconds < 100.0 { 4 } else { 3 };
    format!("{:.digits$}", microseconds / 1000.0)
}

fn percent(fraction: f64) -> String {
    format!("{:.1} %", fraction * 100.0)
}

fn rates(rate: Rate) -> [String; 2] {
    [format!("{:.1}", rate.flops / 1e9), percent(rate.of_peak)]
}

fn launches(device: &DeviceTimes, out: &mut String) {
    let mut table =
        text::new_table(&["layer", "kernel", "grid", "threads", "time µs", "bound µs", "by", "time/bound"], 3);
    for launch in &device.launches {
        let median = f64::from(launch.time.median);
        table.add_row([
            launch.layer.clone(),
            launch.kernel.clone(),
            launch.grid.map(|blocks| blocks.to_string()).join(" x "),
            launch.threads.to_string(),
            micro(median),
            micro(launch.bound),
            launch.limit.name().to_owned(),
            format!("{:.1}", median / launch.bound),
        ]);
    }
    push(&mut table, 3, out);
}

fn push(table: &mut Table, left: usize, out: &mut String) {
    text::align(table, left);
    let mut lines = table.lines();
    text::push_title(lines.next(), out);
    lines.for_each(|line| text::push_line(&line, out));
}
