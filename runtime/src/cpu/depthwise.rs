//! Convolution in which every channel is a group: lanes are channels, and each tap is one multiplication.

#![expect(unsafe_code, reason = "pieces of a map are rectangles, which several threads write")]

use std::sync::PoisonError;

use crate::program::{Conv, Source};

use super::conv::mix_by_all;
use super::machine::{Machine, Shared};
use super::micro::{Depthwise, Finish, ROWS};
use super::mix::Mixer;
use super::operands::Operands;
use super::threads::grow;
use super::windows::Windows;

/// Multiply-adds of a task, at least.
const TASK: usize = 1 << 19;
/// Tiles of positions whose windows are kept at a time, at most.
const TILES: usize = 16;

/// Runs a depthwise [`Conv`]; the epilogue's addend may be the output's own buffer.
pub(super) fn run(op: &Conv, operands: &Operands<'_>, output: &mut [f32], machine: &Machine) {
    match &op.kernel.source {
        Source::Weight(id) => convolve(op, operands, (operands.weight(*id), 0), output, machine),
        Source::Mixed(mixing) => {
            let mixer = Mixer::new(op, mixing, operands, machine.micro);
            let elements = op.kernel.panels(op.out_channels) * mixer.panel_elements();
            let batch = operands.batch();
            let mut kernels = machine.kernels.lock().unwrap_or_else(PoisonError::into_inner);
            let space = grow(&mut kernels, batch * elements);
            mix_by_all(&mixer, 0..batch, machine, space);
            convolve(op, operands, (space, elements), output, machine);
        }
    }
}

/// Convolves with packed kernels, so many elements apart from sample to sample.
fn convolve(op: &Conv, operands: &Operands<'_>, kernels: (&[f32], usize), output: &mut [f32], machine: &Machine) {
    let (kernels, apart) = kernels;
    let windows = Windows::new(op, operands.input(op.input), machine.zeros());
    let operators = operands.finish(&op.epilogue);
    let channels = op.out_channels;
    let (taps, width, block) = (op.depth(), op.kernel.width, op.kernel.block);
    let positions: usize = op.output_size.iter().product();
    let tiles = positions.div_ceil(ROWS);
    let size = positions.div_ceil(tiles.max(1));
    // A task takes whole lines, as near as tiles allow, whose inputs overlap.
    let tile_work = size * taps * channels;
    let task = (TASK / tile_work.max(1)).clamp(1, TILES);
    let mut tasks = Vec::with_capacity(operands.batch() * tiles.div_ceil(task));
    for sample in 0..operands.batch() {
        tasks.extend((0..tiles).step_by(task).map(|first| (sample, first..tiles.min(first + task))));
    }
    let output = Shared::new(output);
    let offsets: [usize; ROWS] = std::array::from_fn(|row| row * channels);
    machine.threads.each(tasks, |(sample, tiles), scratch| {
        let kernel = &kernels[sample * apart..];
        let places = scratch.windows.grow(tiles.len() * taps);
        let count = |tile: usize| size.min(positions - tile * size);
        for (tile, places) in tiles.clone().zip(places.chunks_exact_mut(taps)) {
            windows.point(sample * positions + tile * size, count(tile), 0, places);
        }
        for panel in 0..op.kernel.panels(channels) {
            let in_block = block.div_ceil(width);
            let (of_block, of_panel) = (panel / in_block, panel % in_block);
            let channel = of_block * block + of_panel * width;
            let lanes = width.min(block - of_panel * width);
            let finish = operators.pointers(channel, output);
            for (tile, places) in tiles.clone().zip(places.chunks_exact(taps)) {
                let at = (sample * positions + tile * size) * channels;
                let add = if finish.add.is_null() { finish.add } else { finish.add.wrapping_add(at) };
                let call = Depthwise {
                    rows: places,
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
                // no other task has; `finish` has these channels, and the addend is as large as the output.
                unsafe { machine.micro.depthwise(&call) };
            }
        }
    });
}
