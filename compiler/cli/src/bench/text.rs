//! What was measured, as tables.

use std::fmt::Write as _;

use comfy_table::Table;

use super::{DeviceTimes, Measured};
use crate::plan::bounds::micro;
use crate::plan::text;
use crate::terminal::EMPHASIS;

/// Draws one table of all batches, and on a GPU one of the launches of each.
pub(super) fn draw(measured: &Measured) -> String {
    let Measured { network, device, precision, bounds_of, iterations, warm_up, seed, batches, warnings: _ } = measured;
    let runs = if *iterations == 1 { "run" } else { "runs" };
    let mut out = format!("{EMPHASIS}{network}{EMPHASIS:#} on {device}, {precision}: ");
    let _ = writeln!(out, "{iterations} {runs} after {warm_up}, random inputs of seed {seed}\n");
    let mut titles = vec!["batch", "least ms", "p50 ms", "p90 ms", "p99 ms", "samples/s"];
    if bounds_of.is_some() {
        titles.extend(["graph µs", "bounds µs"]);
    }
    let mut table = text::new_table(&titles, 0);
    for batch in batches {
        let latency = batch.latency;
        let mut row = vec![batch.batch.to_string()];
        row.extend([latency.least, latency.p50, latency.p90, latency.p99].map(|time| format!("{:.3}", time / 1000.0)));
        row.push(format!("{:.1}", batch.throughput));
        if let Some(DeviceTimes { graph, bound, .. }) = &batch.device {
            row.extend([micro(f64::from(graph.median)), micro(*bound)]);
        }
        table.add_row(row);
    }
    push(&mut table, 0, &mut out);
    for batch in batches {
        if let Some(device) = &batch.device {
            let of = bounds_of.unwrap_or_default();
            let _ = writeln!(out, "\n{EMPHASIS}Batch {}{EMPHASIS:#}: medians by events, bounds of {of}", batch.batch);
            launches(device, &mut out);
        }
    }
    out
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
