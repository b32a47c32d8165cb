//! Convolution: rows of windows times the panels of a kernel.
//!
//! The output is cut into pieces, a few rows by a few panels; a piece is multiplied tile by tile, one panel after the other, so
//! that a panel stays in the first levels of the cache while the rows that it is multiplied by come from the second.
//!
//! Where the kernel is mixed, that is done a few panels at a time, right before they are used: by the thread that uses them where
//! there are enough panels for all threads, otherwise by all threads together.

#![expect(unsafe_code, reason = "pieces of a map are rectangles, which several threads write")]

use std::ops::Range;
use std::sync::PoisonError;

use crate::program::{Conv, Source};

use super::depthwise;
use super::epilogue::Finish as Operators;
use super::machine::{Machine, Shared};
use super::micro::{Finish, Product, ROWS};
use super::mix::Mixer;
use super::operands::Operands;
use super::statistics::{mean, narrow};
use super::threads::{Scratch, grow};
use super::windows::Windows;

/// Multiply-adds that are worth a task of their own: several microseconds.
const TASK: usize = 1 << 20;
/// Elements of the input that a piece reads: a quarter of a second-level cache.
const PIECE: usize = 1 << 16;
/// Places of windows that are kept for a piece, for each of its tiles and taps.
const PLACES: usize = 1 << 10;
/// Elements of mixed kernels that a thread makes before it uses them.
const MIXED: usize = 1 << 19;
/// Elements of mixed kernels that all threads together make before they use them.
pub(super) const SHARED: usize = 1 << 22;

/// Runs a [`Conv`]; the epilogue's addend may be the output's own buffer. Leaves the averages over positions in `averages`,
/// `[samples, C_out]`, where the operation has them.
pub(super) fn run(op: &Conv, operands: &Operands<'_>, output: &mut [f32], machine: &Machine, averages: &mut Vec<f32>) {
    let finish = operands.finish(&op.epilogue);
    let batch = operands.batch();
    if op.is_depthwise() {
        return depthwise::run(op, operands, output, machine, averages);
    }
    let input = operands.input(op.input);
    let mut layer = Layer {
        op,
        windows: Windows::new(op, input, machine.zeros()),
        finish,
        output: Shared::new(output),
        machine,
        positions: op.output_size.iter().product(),
        sums: None,
        blocks: 1,
    };
    let by_each = match &op.kernel.source {
        Source::Weight(_) => false,
        // Enough panels of a cell for every thread to have several.
        Source::Mixed(mixing) => op.kernel.panels(mixing.cell_out) >= 3 * machine.threads.count(),
    };
    let cuts = layer.cuts(batch, if by_each { 1 } else { machine.threads.count() });
    let mut sums = Vec::new();
    if op.average.is_some() {
        layer.blocks = cuts.rows.len();
        sums.resize(batch * layer.blocks * op.out_channels, 0.0);
        layer.sums = Some(Shared::new(&mut sums));
    }
    match &op.kernel.source {
        Source::Weight(id) => layer.fixed(operands.weight(*id), &cuts),
        Source::Mixed(mixing) => {
            let mixer = Mixer::new(op, mixing, operands, machine.micro);
            if by_each {
                layer.mixed_by_each(&mixer, batch, &cuts);
            } else {
                layer.mixed_by_all(&mixer, batch, &cuts);
            }
        }
    }
    if op.average.is_some() {
        average(op, &sums, layer.blocks, averages);
    }
}

/// Makes the averages of all samples from sums over their results, `[samples, blocks, C_out]`.
pub(super) fn average(op: &Conv, sums: &[f32], blocks: usize, averages: &mut Vec<f32>) {
    let positions = op.output_size.iter().product();
    averages.clear();
    for sample in sums.chunks_exact(blocks * op.out_channels) {
        average_sample(sample, op.out_channels, positions, averages);
    }
}

/// Adds the means of a sample, whose sums are `[blocks, channels]`.
fn average_sample(sums: &[f32], channels: usize, positions: usize, averages: &mut Vec<f32>) {
    /// Channels whose sums are in registers.
    const TOGETHER: usize = 16;
    for first in (0..channels).step_by(TOGETHER) {
        let count = TOGETHER.min(channels - first);
        let mut totals = [0.0_f64; TOGETHER];
        for block in sums.chunks_exact(channels) {
            totals.iter_mut().zip(&block[first..first + count]).for_each(|(total, &sum)| *total += f64::from(sum));
        }
        averages.extend(totals[..count].iter().map(|&total| narrow(mean(total, positions))));
    }
}

/// One convolution, for all samples.
#[derive(Clone, Copy)]
struct Layer<'a> {
    op: &'a Conv,
    windows: Windows<'a>,
    finish: Operators<'a>,
    output: Shared,
    machine: &'a Machine,
    /// Of the output.
    positions: usize,
    /// `[samples, blocks, C_out]`
    sums: Option<Shared>,
    /// Parts of a sample's rows that have sums of their own.
    blocks: usize,
}

/// How rows and panels are cut into pieces.
struct Cuts {
    /// Samples or, where they are taken together, just one.
    units: usize,
    /// Pieces of a unit's rows.
    rows: Vec<Range<usize>>,
    /// Pieces of a kernel's panels.
    panels: Vec<Range<usize>>,
}

/// `0..count` in even parts, each a multiple of `step` but the last.
pub(super) fn even(count: usize, parts: usize, step: usize) -> Vec<Range<usize>> {
    let size = count.div_ceil(parts.clamp(1, count.max(1))).next_multiple_of(step).max(step);
    (0..count).step_by(size).map(|start| start..count.min(start + size)).collect()
}

impl Layer<'_> {
    /// Cuts the output: into pieces whose input stays in the cache, and enough of them for so many threads.
    fn cuts(&self, batch: usize, threads: usize) -> Cuts {
        let op = self.op;
        // Samples with a kernel of their own are apart, and so are those that are averaged.
        let together = matches!(op.kernel.source, Source::Weight(_)) && op.average.is_none();
        let (units, rows) = if together { (1, batch * self.positions) } else { (batch, self.positions) };
        let panels = op.kernel.panels(op.out_channels);
        let footprint = op.stride.iter().fold(op.in_channels, |all, &step| all.saturating_mul(step));
        let most = (PIECE / footprint.max(1)).min(PLACES / self.windows.taps() * ROWS).max(2 * ROWS);
        let least = rows.div_ceil(most);
        let work = (units * rows).saturating_mul(op.depth() * op.out_channels);
        let wanted = if threads == 1 { 1 } else { (work / TASK).clamp(1, 8 * threads) };
        let tiles = rows.div_ceil(ROWS);
        // Reading a kernel twice costs more than reading a small map twice, and the other way round.
        let kernel_first = op.depth() * op.out_channels > rows.saturating_mul(footprint);
        let (row_parts, panel_parts) = if kernel_first {
            let panel_parts = wanted.div_ceil(units * least).clamp(1, panels);
            (wanted.div_ceil(units * panel_parts).clamp(least, tiles.max(least)), panel_parts)
        } else {
            let row_parts = wanted.div_ceil(units).clamp(least, tiles.max(least));
            (row_parts, wanted.div_ceil(units * row_parts).clamp(1, panels))
        };
        Cuts { units, rows: even(rows, row_parts, ROWS), panels: even(panels, panel_parts, 1) }
    }

    /// With a static kernel.
    fn fixed(&self, kernel: &[f32], cuts: &Cuts) {
        let panel = self.op.depth() * self.op.kernel.width;
        let mut tasks = Vec::with_capacity(cuts.units * cuts.rows.len() * cuts.panels.len());
        for panels in &cuts.panels {
            for unit in 0..cuts.units {
                tasks.extend((0..cuts.rows.len()).map(|block| (unit, block, panels.clone())));
            }
        }
        self.machine.threads.each(tasks, |(unit, block, panels), scratch| {
            let rows = cuts.rows[block].clone();
            let panels = panels.map(|index| (index, &kernel[index * panel..][..panel]));
            self.piece(unit, block, rows, panels, scratch);
        });
    }

    /// Each thread mixes the panels that it then uses.
    fn mixed_by_each(&self, mixer: &Mixer<'_>, batch: usize, cuts: &Cuts) {
        let (panel, out_groups) = (mixer.panel_elements(), mixer.out_groups());
        let most = (MIXED / (out_groups * panel)).max(1);
        let samples = even(batch, batch.div_ceil(most), 1);
        let mut tasks = Vec::with_capacity(samples.len() * mixer.panels());
        for index in mixer.order() {
            tasks.extend(samples.iter().map(|samples| (samples.clone(), index)));
        }
        self.machine.threads.each(tasks, |(samples, index), scratch| {
            let mut kernels = std::mem::take(&mut scratch.kernels);
            let space = grow(&mut kernels, samples.len() * out_groups * panel);
            let panel_of = |sample, out_group| (sample * out_groups + out_group) * panel;
            // SAFETY: the panels are in this thread's own space.
            self.machine.mixing.time(|| unsafe {
                mixer.mix(samples.clone(), index, 0..mixer.cell_rows(), Shared::new(space), panel_of, scratch);
            });
            for (sample, kernels) in samples.zip(space.chunks_exact(out_groups * panel)) {
                for (block, rows) in cuts.rows.iter().enumerate() {
                    let panels = kernels.chunks_exact(panel).enumerate();
                    let panels = panels.map(|(out_group, panel)| (out_group * mixer.panels() + index, panel));
                    self.piece(sample, block, rows.clone(), panels, scratch);
                }
            }
            scratch.kernels = kernels;
        });
    }

    /// All threads mix the kernels of some samples, then use them.
    fn mixed_by_all(&self, mixer: &Mixer<'_>, batch: usize, cuts: &Cuts) {
        let (panel, panels) = (mixer.panel_elements(), self.op.kernel.panels(self.op.out_channels));
        let most = (SHARED / (panels * panel)).max(1);
        let mut kernels = self.machine.kernels.lock().unwrap_or_else(PoisonError::into_inner);
        for samples in even(batch, batch.div_ceil(most), 1) {
            let space = grow(&mut kernels, samples.len() * panels * panel);
            mix_by_all(mixer, samples.clone(), self.machine, space);
            let space = &*space;
            let mut tasks = Vec::with_capacity(samples.len() * cuts.rows.len() * cuts.panels.len());
            for (index, sample) in samples.enumerate() {
                for part in &cuts.panels {
                    tasks.extend((0..cuts.rows.len()).map(|block| (index, sample, block, part.clone())));
                }
            }
            self.machine.threads.each(tasks, |(index, sample, block, part), scratch| {
                let kernel = &space[index * panels * panel..][..panels * panel];
                let part = part.map(|index| (index, &kernel[index * panel..][..panel]));
                self.piece(sample, block, cuts.rows[block].clone(), part, scratch);
            });
        }
    }

    /// Multiplies some rows of a unit by some panels, which come in the order of their channels.
    fn piece<'p>(
        &self,
        unit: usize,
        block: usize,
        rows: Range<usize>,
        panels: impl Iterator<Item = (usize, &'p [f32])>,
        scratch: &mut Scratch,
    ) {
        let op = self.op;
        let (taps, length, width) = (self.windows.taps(), self.windows.length(), op.kernel.width);
        let tiles = rows.len().div_ceil(ROWS);
        let size = rows.len().div_ceil(tiles.max(1));
        let first = unit * self.positions + rows.start;
        let windows = scratch.windows.grow(tiles * taps);
        let offsets: [usize; ROWS] = std::array::from_fn(|row| row * op.out_channels);
        let count = |tile: usize| size.min(rows.len() - tile * size);
        let (group_in, group_out) = (op.in_channels / op.groups, op.out_channels / op.groups);
        let mut pointed = None;
        for (index, panel) in panels {
            let (channel, lanes) = op.kernel.channels(index);
            let group = channel / group_out;
            if pointed != Some(group) {
                for (tile, windows) in windows.chunks_exact_mut(taps).enumerate() {
                    self.windows.point(first + tile * size, count(tile), group * group_in, windows);
                }
                pointed = Some(group);
            }
            let mut finish = self.finish.pointers(channel, self.output);
            if let Some(sums) = self.sums {
                finish.sums = sums.at((unit * self.blocks + block) * op.out_channels + channel);
            }
            for (tile, windows) in windows.chunks_exact(taps).enumerate() {
                let at = (first + tile * size) * op.out_channels;
                let call = Product {
                    rows: windows,
                    count: count(tile),
                    length,
                    panel: panel.as_ptr(),
                    width,
                    repeat: 1,
                    lanes,
                    output: self.output.at(at + channel),
                    offsets: &offsets,
                    constants: None,
                    finish: Finish { add: offset(finish.add, at), ..finish },
                };
                // SAFETY: windows point to `length` values of the input, or to as many zeros; a panel has `taps * length` rows of
                // `width`; the results are a rectangle of the output that no other piece has, `lanes` channels from one that
                // exists; `finish` has these channels, the addend is as large as the output, and the sums of this block and these
                // channels are this piece's alone.
                unsafe { self.machine.micro.product(&call) };
            }
        }
    }
}

/// All threads mix the kernels of some samples into `space`, one whole kernel after the other.
pub(super) fn mix_by_all(mixer: &Mixer<'_>, samples: Range<usize>, machine: &Machine, space: &mut [f32]) {
    let panel = mixer.panel_elements();
    let panels = mixer.panels() * mixer.out_groups();
    let work = samples.len() * mixer.row_work();
    let rows = even(mixer.cell_rows(), mixer.cell_rows() / (TASK / work.max(1)).max(1), 1);
    let mut tasks = Vec::with_capacity(mixer.panels() * rows.len());
    for index in mixer.order() {
        tasks.extend(rows.iter().map(|rows| (index, rows.clone())));
    }
    let space = Shared::new(space);
    machine.threads.each(tasks, |(index, rows), scratch| {
        let panel_of = |sample, out_group| (sample * panels + out_group * mixer.panels() + index) * panel;
        // SAFETY: the space holds the kernels of these samples, and every task has its own rows of their panels.
        machine.mixing.time(|| unsafe { mixer.mix(samples.clone(), index, rows, space, panel_of, scratch) });
    });
}

/// Moves a pointer that may be null.
fn offset(start: *const f32, elements: usize) -> *const f32 {
    if start.is_null() { start } else { start.wrapping_add(elements) }
}
