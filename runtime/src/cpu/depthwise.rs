//! Convolution in which every channel is a group: lanes are channels, and each tap is one multiplication.

#![expect(unsafe_code, reason = "pieces of a map are rectangles, which several threads write")]

use std::sync::PoisonError;

use crate::program::{Conv, Source};

use super::conv::{average, mix_by_all};
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
    match &op.kernel.source {
        Source::Weight(id) => convolve(op, operands, (operands.weight(*id), 0), output, machine, averages),
        Source::Mixed(mixing) => {
            let mixer = Mixer::new(op, mixing, operands, machine.micro);
            let elements = op.kernel.panels(op.out_channels) * mixer.panel_elements();
            let batch = operands.batch();
            let mut kernels = machine.kernels.lock().unwrap_or_else(PoisonError::into_inner);
            let space = grow(&mut kernels, batch * elements);
            mix_by_all(&mixer, 0..batch, machine, space);
            convolve(op, operands, (space, elements), output, machine, averages);
        }
    }
}

/// Convolves with packed kernels, so many elements apart from sample to sample.
fn convolve(
    op: &Conv,
    operands: &Operands<'_>,
    kernels: (&[f32], usize),
    output: &mut [f32],
    machine: &Machine,
    averages: &mut Vec<f32>,
) {
    let (kernels, apart) = kernels;
    let windows = Windows::new(op, operands.input(op.input), machine.zeros());
    let steps = windows.steps();
    let operators = operands.finish(&op.epilogue);
    let channels = op.out_channels;
    let (taps, width, kernel_block) = (op.depth(), op.kernel.width, op.kernel.block);
    let positions: usize = op.output_size.iter().product();
    let tiles = positions.div_ceil(ROWS);
    let size = positions.div_ceil(tiles.max(1));
    // A task takes whole lines, as near as tiles allow, whose inputs overlap.
    let tile_work = size * taps * channels;
    let task = (TASK / tile_work.max(1)).clamp(1, TILES);
    let blocks = tiles.div_ceil(task);
    let mut tasks = Vec::with_capacity(operands.batch() * blocks);
    for sample in 0..operands.batch() {
        let starts = (0..tiles).step_by(task).enumerate();
        tasks.extend(starts.map(|(block, first)| (sample, block, first..tiles.min(first + task))));
    }
    // Every block of a sample has sums of its own, `[samples, blocks, channels]`.
    let mut sums = vec![0.0; if op.average.is_some() { operands.batch() * blocks * channels } else { 0 }];
    let shared_sums = op.average.map(|_| Shared::new(&mut sums));
    let output = Shared::new(output);
    let offsets: [usize; ROWS] = std::array::from_fn(|row| row * channels);
    machine.threads.each(tasks, |(sample, block, tiles), scratch| {
        let kernel = &kernels[sample * apart..];
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
            let in_block = kernel_block.div_ceil(width);
            let (of_block, of_panel) = (panel / in_block, panel % in_block);
            let channel = of_block * kernel_block + of_panel * width;
            let lanes = width.min(kernel_block - of_panel * width);
            let mut finish = operators.pointers(channel, output);
            if let Some(sums) = shared_sums {
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
    if op.average.is_some() {
        average(op, &sums, blocks, averages);
    }
}
