//! Convolutions: which kernel computes one, with which tiles.

mod depthwise;
mod direct;
mod inside;
mod planar;
mod simt;
mod stem;
mod tensor;
mod tiles;

use kwc_program::{Conv, Linear, Step};

use super::lower::Lowering;

pub use inside::Choice;
pub(super) use inside::{Unmixed, choose as choose_inside};

/// A convolution.
pub(super) fn lower(lowering: &mut Lowering<'_>, step: &Step, op: &Conv) {
    if let Some(unmixed) = lowering.read_unmixed(&op.kernel) {
        inside::lower(lowering, step, op, &unmixed);
    } else if stem::covers(lowering, op) {
        stem::lower(lowering, step, op);
    } else if depthwise::covers(lowering, op) {
        depthwise::lower(lowering, step, op);
    } else if simt::covers(lowering, op) {
        simt::lower(lowering, step, op);
    } else if tensor::covers(lowering, op) {
        tensor::lower(lowering, step, op);
    } else {
        direct::lower(lowering, step, op);
    }
}

/// A linear layer over several positions: the 1x1 convolution that it amounts to.
pub(super) fn lower_linear(lowering: &mut Lowering<'_>, step: &Step, op: &Linear) {
    lower(lowering, step, &as_conv(op));
}

fn as_conv(op: &Linear) -> Conv {
    Conv {
        input: op.input,
        output: op.output,
        kernel: op.kernel,
        in_channels: op.in_channels,
        out_channels: op.out_channels,
        groups: 1,
        channel_block: op.in_channels,
        input_size: [1, 1, op.positions],
        output_size: [1, 1, op.positions],
        kernel_size: [1; 3],
        stride: [1; 3],
        padding: [0; 3],
        dilation: [1; 3],
        epilogue: op.epilogue,
    }
}
