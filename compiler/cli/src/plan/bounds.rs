//! The lower bounds of launches, as a table and as JSON.

use std::fmt::Write as _;

use kwc_compiler::plan::cuda::{Bounds, LaunchBound, Planned, Sums};
use serde::Serialize;

use super::text;
use crate::terminal::{DIM, EMPHASIS};

/// Draws the bounds of a plan's launches.
pub(super) fn draw(planned: &Planned, bounds: &Bounds) -> String {
    let mut out = format!(
        "{EMPHASIS}Bounds{EMPHASIS:#} of batch {} on {}: what each launch takes at least, all operands read from memory\n",
        bounds.batch, bounds.gpu
    );
    let titles = ["layer", "kernel", "useful", "padded", "once", "moved", "math µs", "memory µs", "L2 µs", "bound µs"];
    let mut table = text::new_table(&[titles.as_slice(), &["by"]].concat(), 2);
    for entry in entries(planned, bounds) {
        let LaunchBound { useful, padded, compulsory, moved, times, bound, limit } = *entry.bound;
        table.add_row([
            entry.layer.to_owned(),
            entry.kernel.to_owned(),
            text::quantity(useful),
            text::quantity(padded),
            text::bytes(compulsory),
            text::bytes(moved),
            micro(times.tensor.max(times.fma)),
            micro(times.memory),
            micro(times.l2),
            micro(bound),
            limit.name().to_owned(),
        ]);
    }
    text::align(&mut table, 2);
    let mut lines = table.lines();
    text::push_title(lines.next(), &mut out);
    lines.for_each(|line| text::push_line(&line, &mut out));
    sums(&bounds.sums, &mut out);
    out
}

fn sums(sums: &Sums, out: &mut String) {
    let Sums { useful, padded, compulsory, moved, bound, memory_floor } = *sums;
    let share = if padded == 0 { 100.0 } else { useful as f64 / padded as f64 * 100.0 };
    let mut line = |title: &str, value: String, rest: String| {
        let _ = writeln!(out, "  {title:<15}{value:>12}   {DIM}{rest}{DIM:#}");
    };
    let one_by_one = "the launches one after the other, each at its bound".to_owned();
    line("sum of bounds", format!("{} µs", micro(bound)), one_by_one);
    line(
        "memory alone",
        format!("{} µs", micro(memory_floor)),
        format!("for {} moved once; the blocks ask for {}", text::bytes(compulsory), text::bytes(moved)),
    );
    line(
        "multiply-adds",
        text::quantity(useful),
        format!("{share:.1} % of the {} that padding to whole tiles makes of them", text::quantity(padded)),
    );
}

/// Microseconds, to a nanosecond below ten.
pub(crate) fn micro(microseconds: f64) -> String {
    if microseconds < 10.0 { format!("{microseconds:.3}") } else { format!("{microseconds:.1}") }
}

/// Bounds as JSON.
#[derive(Serialize)]
pub(super) struct Entry<'a> {
    gpu: &'a str,
    batch: usize,
    /// One for each launch of the batch's variant; times are microseconds.
    launches: Vec<LaunchEntry<'a>>,
    sums: &'a Sums,
}

#[derive(Serialize)]
struct LaunchEntry<'a> {
    layer: &'a str,
    kernel: &'a str,
    /// Blocks: x, y, z.
    grid: [u64; 3],
    #[serde(flatten)]
    bound: &'a LaunchBound,
}

/// The bounds with what they are of.
pub(super) fn entry<'a>(planned: &'a Planned, bounds: &'a Bounds) -> Entry<'a> {
    Entry { gpu: bounds.gpu, batch: bounds.batch, launches: entries(planned, bounds), sums: &bounds.sums }
}

fn entries<'a>(planned: &'a Planned, bounds: &'a Bounds) -> Vec<LaunchEntry<'a>> {
    let program = &planned.program;
    let launches = program.variant(bounds.batch).into_iter().flat_map(|variant| variant.launches.iter());
    let entry = |(launch, bound)| {
        let launch: &'a kwc_program::cuda::Launch = launch;
        let kernel = program.kernels.get(launch.kernel.0 as usize).map_or("", |kernel| &*kernel.symbol);
        let grid = launch.grid.map(|extent| extent.blocks(bounds.batch));
        LaunchEntry { layer: &launch.layer, kernel, grid, bound }
    };
    launches.zip(&bounds.launches).map(entry).collect()
}
