//! What is launched on CUDA devices, as text and as JSON, after the partition; also `plan.txt` and `plan.json`.

use std::fmt::Write as _;

use anstream::adapter::strip_str;
use kwc_compiler::check::Checked;
use kwc_compiler::plan::cuda::{Bounds, CellSource, Planned, Strategy};
use kwc_compiler::report::Report;
use kwc_program::cuda::{Extent, Program, Variant};
use serde::Serialize;

use super::{bounds, text};
use crate::failure::Failure;
use crate::terminal::{self, DIM, EMPHASIS};

/// Layers to name for a way to compute them.
const SHOWN: usize = 4;

/// A partition as text without colours.
pub(crate) fn partition_text(checked: &Checked) -> String {
    strip_str(&text::draw(&Report::new(checked))).to_string()
}

/// A partition as JSON.
///
/// # Errors
/// As [`terminal::json`].
pub(crate) fn partition_json(checked: &Checked) -> Result<String, Failure> {
    terminal::json(&Report::new(checked))
}

/// A partition and the launches as text without colours.
pub(crate) fn text(checked: &Checked, planned: &Planned) -> String {
    strip_str(&format!("{}\n{}", text::draw(&Report::new(checked)), draw(planned))).to_string()
}

/// Draws what is launched, for each range of batch sizes.
pub(super) fn draw(planned: &Planned) -> String {
    let program = &planned.program;
    let mut out = format!(
        "{EMPHASIS}CUDA{EMPHASIS:#}, {:?}, planned for {}, batches to {}: {} kernels, {} of packed weights\n",
        program.precision,
        program.gpu,
        program.max_batch,
        program.kernels.len(),
        text::bytes(program.weight_bytes as u64)
    );
    let mut smallest = 1;
    for variant in program.variants.iter() {
        let _ = write!(
            out,
            "\n{EMPHASIS}{}{EMPHASIS:#}: {} launches in a graph, {} of activations per sample\n",
            batches(smallest, variant.batch),
            variant.launches.len(),
            text::bytes(variant.arena as u64)
        );
        strategies(&planned.strategies(variant), &mut out);
        out.push_str(&table(planned, variant));
        smallest = variant.batch + 1;
    }
    out
}

/// A line for each way in which dynamic layers are computed, and who they are.
fn strategies(all: &[Strategy], out: &mut String) {
    let mut ways: Vec<(String, Vec<&str>)> = Vec::new();
    for strategy in all {
        let cells = match strategy.cells {
            CellSource::Warehouse => "cells of the warehouse",
            CellSource::FoldedBasis => "own cells and the folded basis",
        };
        let mixing = strategy.mixing;
        let way = match strategy.convolution {
            Some(_) if strategy.is_inside() => format!("mix {cells} inside the convolution ({mixing})"),
            Some(family) => format!("mix {cells} ({mixing}), then convolve ({family})"),
            None => format!("mix {cells} ({mixing})"),
        };
        match ways.iter_mut().find(|(name, _)| *name == way) {
            Some((_, layers)) => layers.push(&strategy.layer),
            None => ways.push((way, vec![&strategy.layer])),
        }
    }
    for (way, layers) in ways {
        let more = if layers.len() > SHOWN { format!(" and {} more", layers.len() - SHOWN) } else { String::new() };
        let shown: Vec<&str> = layers.iter().take(SHOWN).copied().collect();
        let _ = writeln!(out, "  {way}: {DIM}{}{more}{DIM:#}", shown.join(", "));
    }
}

fn batches(smallest: usize, largest: usize) -> String {
    if smallest == largest { format!("Batch {largest}") } else { format!("Batches {smallest} to {largest}") }
}

fn table(planned: &Planned, variant: &Variant) -> String {
    let mut table = text::new_table(&["layer", "kernel", "family", "grid", "threads", "shared"], 4);
    for launch in variant.launches.iter() {
        let index = launch.kernel.0 as usize;
        let (Some(entry), Some(kernel)) = (planned.program.kernels.get(index), planned.kernels.get(index)) else {
            continue;
        };
        table.add_row([
            launch.layer.to_string(),
            entry.symbol.to_string(),
            kernel.family.name().to_owned(),
            grid(&launch.grid),
            entry.threads.to_string(),
            text::bytes(u64::from(entry.shared_bytes)),
        ]);
    }
    text::align(&mut table, 4);
    let mut out = String::new();
    let mut lines = table.lines();
    text::push_title(lines.next(), &mut out);
    lines.for_each(|line| text::push_line(&line, &mut out));
    out
}

/// `49 x 4 x B`: blocks for a batch of `B`.
fn grid(extents: &[Extent; 3]) -> String {
    let [x, y, z] = extents.map(blocks);
    match (y.as_str(), z.as_str()) {
        ("1", "1") => x,
        (_, "1") => format!("{x} x {y}"),
        (_, _) => format!("{x} x {y} x {z}"),
    }
}

fn blocks(extent: Extent) -> String {
    let Extent { fixed, per_sample, divisor } = extent;
    if per_sample == 0 {
        return fixed.div_ceil(divisor).to_string();
    }
    let samples = if per_sample == 1 { "B".to_owned() } else { format!("{per_sample} B") };
    let work = if fixed == 0 { samples } else { format!("({fixed} + {samples})") };
    if divisor == 1 { work } else { format!("⌈{work} / {divisor}⌉") }
}

#[derive(Serialize)]
struct WithLaunches<'a> {
    #[serde(flatten)]
    partition: Report,
    cuda: Launches<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bounds: Option<bounds::Entry<'a>>,
}

/// The launches of a network.
#[derive(Serialize)]
struct Launches<'a> {
    precision: String,
    gpu: &'a str,
    max_batch: usize,
    weight_bytes: usize,
    kernels: Vec<KernelEntry<'a>>,
    variants: Vec<VariantEntry<'a>>,
}

#[derive(Serialize)]
struct KernelEntry<'a> {
    symbol: &'a str,
    family: &'static str,
    threads: u32,
    shared_bytes: u32,
}

#[derive(Serialize)]
struct VariantEntry<'a> {
    /// Smallest and largest batch.
    batches: [usize; 2],
    /// Bytes of activations per sample.
    arena: usize,
    /// How the dynamic layers are computed.
    strategies: Vec<Strategy>,
    launches: Vec<LaunchEntry<'a>>,
}

#[derive(Serialize)]
struct LaunchEntry<'a> {
    layer: &'a str,
    /// Index into `kernels`.
    kernel: u32,
    /// Blocks in x, y and z: `ceil((fixed + per_sample * batch) / divisor)`.
    grid: [Extent; 3],
}

/// A partition and the launches as JSON: the partition's report with a field `cuda`.
///
/// # Errors
/// As [`terminal::json`].
pub(crate) fn json(checked: &Checked, planned: &Planned) -> Result<String, Failure> {
    json_with_bounds(checked, planned, None)
}

/// The same, with the launches' bounds in a field `bounds`.
///
/// # Errors
/// As [`terminal::json`].
pub(super) fn json_with_bounds(
    checked: &Checked,
    planned: &Planned,
    bounds: Option<&Bounds>,
) -> Result<String, Failure> {
    let bounds = bounds.map(|bounds| bounds::entry(planned, bounds));
    terminal::json(&WithLaunches { partition: Report::new(checked), cuda: launches(planned), bounds })
}

fn launches(planned: &Planned) -> Launches<'_> {
    let program: &Program = &planned.program;
    let kernels = program.kernels.iter().zip(&planned.kernels).map(|(entry, kernel)| KernelEntry {
        symbol: &entry.symbol,
        family: kernel.family.name(),
        threads: entry.threads,
        shared_bytes: entry.shared_bytes,
    });
    let mut smallest = 1;
    let variants = program.variants.iter().map(|variant| {
        let batches = [smallest, variant.batch];
        smallest = variant.batch + 1;
        let strategies = planned.strategies(variant);
        let launches = variant.launches.iter();
        let launches = launches.map(|l| LaunchEntry { layer: &l.layer, kernel: l.kernel.0, grid: l.grid });
        VariantEntry { batches, arena: variant.arena, strategies, launches: launches.collect() }
    });
    Launches {
        precision: format!("{:?}", program.precision).to_lowercase(),
        gpu: &program.gpu,
        max_batch: program.max_batch,
        weight_bytes: program.weight_bytes,
        variants: variants.collect(),
        kernels: kernels.collect(),
    }
}
