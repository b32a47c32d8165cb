//! Convolution as products of matrices: one for each sample and group.

use crate::program::Conv;

use super::depthwise;
use super::gemm::{self, Channels, Product, Right};
use super::operands::Operands;
use super::pack::Matrix;
use super::threads::Threads;
use super::tile::Tile;
use super::windows::Windows;

/// Runs a [`Conv`]; the epilogue's addend may be the output's own buffer.
pub(super) fn run(op: &Conv, operands: &Operands<'_>, output: &mut [f32], threads: &Threads) {
    if op.groups > 1 && op.groups == op.in_channels {
        return depthwise::run(op, operands, output, threads);
    }
    let input = operands.input(op.input);
    let finish = operands.finish(&op.epilogue);
    let plane = op.input_size.iter().product::<usize>();
    let positions = op.output_size.iter().product::<usize>();
    let (group_in, group_out) = (op.in_channels / op.groups, op.out_channels / op.groups);
    let depth = group_in * op.kernel_size.iter().product::<usize>();
    let mut products = Vec::with_capacity(operands.batch() * op.groups);
    for (index, output) in output.chunks_exact_mut(group_out * positions).enumerate() {
        let (sample, group) = (index / op.groups, index % op.groups);
        let map = &input[index * group_in * plane..(index + 1) * group_in * plane];
        let right = if is_pointwise(op) {
            Right::Plain { data: map, stride: plane }
        } else {
            Right::Windows(Windows { map, conv: op })
        };
        let left = Matrix {
            data: operands.kernel(&op.kernel, sample),
            layout: op.kernel.layout,
            depth,
            first_row: group * group_out,
        };
        let start = index * group_out * positions;
        let finish = finish.part(start, output.len(), group * group_out, group_out);
        let product = Product { left, right, finish, channels: Channels::Rows, columns: positions };
        products.push((product, Tile::new(output, positions)));
    }
    gemm::run(products, threads);
}

/// Whether every window is one value and the windows are the map itself.
fn is_pointwise(op: &Conv) -> bool {
    op.kernel_size == [1; 3] && op.stride == [1; 3] && op.padding == [0; 3]
}
