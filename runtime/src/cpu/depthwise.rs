//! Convolution in which every channel is a group: lanes are channels, and each tap is one multiplication.

#![expect(unsafe_code, reason = "pieces of a map are rectangles, which several threads write")]

use std::ops::Range;
use std::sync::PoisonError;

use crate::program::{Conv, Source};

use super::conv::{SHARED, average, even, mix_by_all};
use super::machine::{Machine, Shared};
use super::micro::{Depthwise, Finish, ROWS, Taps};
use super::mix::Mixer;
use super::operands::Operands;
use super::threads::grow;
use super::windows::Windows;

/// Multiply-adds of a task, at least.
const TASK: usize = 1 << 19;
/// Tiles of positions whose windows are kept at a time, at most.
const TILES: usize = 16;

/// Runs a depthwise [`Conv`]; the epilogue's addend may be the output's own buffer. Leaves averages as
/// [`super::conv::run`] does.
pub(super) fn run(op: &Conv, operands: &Operands<'_>, output: &mut [f32], machine: &Machine, averages: &mut Vec<f32>) {
    let batch = operands.batch();
    let cuts = Cuts::new(op);
    // Every block of a sample has sums of its own, `[samples, blocks, channels]`.
    let elements = if op.average.is_some() { batch * cuts.blocks() * op.out_channels } else { 0 };
    let mut sums = vec![0.0; elements];
    let results = Results { output: Shared::new(output), sums: op.average.map(|_| Shared::new(&mut sums)) };
    match &op.kernel.source {
        Source::Weight(id) => {
            let kernels = Kernels { data: operands.weight(*id), apart: 0, first: 0 };
            convolve(op, operands, &cuts, kernels, 0..batch, &results, machine);
        }
        Source::Mixed(mixing) => {
            let mixer = Mixer::new(op, mixing, operands, machine.micro);
            let elements = op.kernel.panels(op.out_channels) * mixer.panel_elements();
            let mut space = machine.kernels.lock().unwrap_or_else(PoisonError::into_inner);
            for samples in even(batch, batch.div_ceil((SHARED / elements).max(1)), 1) {
                let space = grow(&mut space, samples.len() * elements);
                mix_by_all(&mixer, samples.clone(), machine, space);
                let kernels = Kernels { data: space, apart: elements, first: samples.start };
                convolve(op, operands, &cuts, kernels, samples, &results, machine);
            }
        }
    }
    if op.average.is_some() {
        average(op, &sums, cuts.blocks(), averages);
    }
}

/// Packed kernels of samples.
#[derive(Clone, Copy)]
struct Kernels<'a> {
    data: &'a [f32],
    /// Elements from one sample's to the next; 0 where all have the same.
    apart: usize,
    /// The sample that the first is of.
    first: usize,
}

/// Where results go.
struct Results {
    output: Shared,
    /// `[samples, blocks, channels]`
    sums: Option<Shared>,
}

/// How positions are cut into tiles, and tiles into blocks.
struct Cuts {
    positions: usize,
    tiles: usize,
    /// Positions of a tile, of the last perhaps fewer.
    size: usize,
    /// Tiles of a block: whole lines, as near as tiles allow, whose inputs overlap.
    block: usize,
}

impl Cuts {
    fn new(op: &Conv) -> Self {
        let positions: usize = op.output_size.iter().product();
        let tiles = positions.div_ceil(ROWS);
        let size = positions.div_ceil(tiles.max(1));
        let work = size * op.depth() * op.out_channels;
        Self { positions, tiles, size, block: (TASK / work.max(1)).clamp(1, TILES) }
    }

    fn blocks(&self) -> usize {
        self.tiles.div_ceil(self.block)
    }
}

/// Convolves some samples.
fn convolve(
    op: &Conv,
    operands: &Operands<'_>,
    cuts: &Cuts,
    kernels: Kernels<'_>,
    samples: Range<usize>,
    results: &Results,
    machine: &Machine,
) {
    let windows = Windows::new(op, operands.input(op.input), machine.zeros());
    let steps = windows.steps();
    let operators = operands.finish(&op.epilogue);
    let channels = op.out_channels;
    let (taps, width) = (op.depth(), op.kernel.width);
    let Cuts { positions, tiles, size, block } = *cuts;
    let blocks = cuts.blocks();
    let mut tasks = Vec::with_capacity(samples.len() * blocks);
    for sample in samples {
        let starts = (0..tiles).step_by(block).enumerate();
        tasks.extend(starts.map(|(index, first)| (sample, index, first..tiles.min(first + block))));
    }
    let output = results.output;
    let offsets: [usize; ROWS] = std::array::from_fn(|row| row * channels);
    machine.threads.each(tasks, |(sample, block, tiles), scratch| {
        let kernel = &kernels.data[(sample - kernels.first) * kernels.apart..];
        let places = scratch.windows.grow(tiles.len() * taps);
        let count = |tile: usize| size.min(positions - tile * size);
        let mut are_inside = [false; TILES];
        for ((tile, places), is_inside) in tiles.clone().zip(places.chunks_exact_mut(taps)).zip(&mut are_inside) {
            let first = sample * positions + tile * size;
            *is_inside = windows.point_inside(first, count(tile), &mut places[0]);
            if !*is_inside {
                windows.point(first, count(tile), 0, places);
            }
        }
        for panel in 0..op.kernel.panels(channels) {
            let (channel, lanes) = op.kernel.channels(panel);
            let mut finish = operators.pointers(channel, output);
            if let Some(sums) = results.sums {
                finish.sums = sums.at((sample * blocks + block) * channels + channel);
            }
            for ((tile, places), is_inside) in tiles.clone().zip(places.chunks_exact(taps)).zip(are_inside) {
                let at = (sample * positions + tile * size) * channels;
                let add = if finish.add.is_null() { finish.add } else { finish.add.wrapping_add(at) };
                let call = Depthwise {
                    taps: if is_inside { Taps::Steps(&places[0], &steps) } else { Taps::Apart(places) },
                    shift: channel,
                    count: count(tile),
                    kernel: kernel[panel * taps * width..][..taps * width].as_ptr(),
                    width,
                    lanes,
                    output: output.at(at + channel),
                    offsets: &offsets,
                    finish: Finish { add, ..finish },
                };
                // SAFETY: windows point to all channels of a position of the input, or to as many zeros; the panel has `width`
                // lanes for each tap, of which `lanes` from `channel` on exist; the results are a rectangle of the output that
                // no other task has; `finish` has these channels, and the addend is as large as the output; the sums of
                // this block are this task's alone.
                unsafe { machine.micro.depthwise(&call) };
            }
        }
    });
}
