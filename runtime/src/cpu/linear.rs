//! Linear maps over channels.

use crate::program::{KernelLayout, Linear, Operand};

use super::epilogue::store;
use super::gemm::{self, Channels, Product, Right};
use super::operands::Operands;
use super::pack::Matrix;
use super::simd::dot;
use super::threads::Threads;
use super::tile::Tile;

/// Vectors up to which reading the kernel row by row beats packing it.
const FEW: usize = 4;
/// Rows of a kernel that one task multiplies by a vector.
const ROWS: usize = 64;

/// Runs a [`Linear`]; the epilogue's addend may be the output's own buffer.
pub(super) fn run(op: &Linear, operands: &Operands<'_>, output: &mut [f32], threads: &Threads) {
    let (batch, positions) = (operands.batch(), op.positions);
    let shared = matches!(op.kernel.data, Operand::Weight(_));
    if positions == 1 && op.kernel.layout == KernelLayout::Rows && (!shared || batch <= FEW) {
        return vectors(op, operands, output, threads);
    }
    let input = operands.input(op.input);
    let finish = operands.finish(&op.epilogue);
    // With one position both orders are the same.
    let tokens_first = op.channels_last || positions == 1;
    // Tokens of all samples are one matrix if they meet the same kernel.
    let parts = if tokens_first && shared { 1 } else { batch };
    let (read, written) = (input.len() / parts, output.len() / parts);
    let mut products = Vec::with_capacity(parts);
    for (part, output) in output.chunks_exact_mut(written).enumerate() {
        let input = &input[part * read..(part + 1) * read];
        let data = operands.kernel(&op.kernel, part);
        let kernel = Matrix { data, layout: op.kernel.layout, depth: op.in_channels, first_row: 0 };
        let finish = finish.part(part * written, written, 0, op.out_channels);
        let (product, columns) = if tokens_first {
            let left = Matrix { data: input, layout: KernelLayout::Rows, depth: op.in_channels, first_row: 0 };
            let (right, columns) = (Right::Transposed(kernel), op.out_channels);
            (Product { left, right, finish, channels: Channels::Columns, columns }, columns)
        } else {
            let right = Right::Plain { data: input, stride: positions };
            (Product { left: kernel, right, finish, channels: Channels::Rows, columns: positions }, positions)
        };
        products.push((product, Tile::new(output, columns)));
    }
    gemm::run(products, threads);
}

/// One position per sample and a kernel in rows: every result is one scalar product.
fn vectors(op: &Linear, operands: &Operands<'_>, output: &mut [f32], threads: &Threads) {
    let input = operands.input(op.input);
    let finish = operands.finish(&op.epilogue);
    let bands = op.out_channels.div_ceil(ROWS);
    let samples = output.chunks_exact_mut(op.out_channels);
    let tasks = samples.flat_map(|sample| sample.chunks_mut(ROWS)).enumerate().collect();
    threads.each(tasks, |(index, output), _| {
        let (sample, first) = (index / bands, index % bands * ROWS);
        let kernel = operands.kernel(&op.kernel, sample);
        let vector = &input[sample * op.in_channels..(sample + 1) * op.in_channels];
        for (row, output) in (first..).zip(output.chunks_exact_mut(1)) {
            let sum = dot(&kernel[row * op.in_channels..(row + 1) * op.in_channels], vector);
            let add = finish.add.part(sample * op.out_channels + row, 1);
            store(output, Some(&[sum]), finish.one(row), add, finish.activation);
        }
    });
}
