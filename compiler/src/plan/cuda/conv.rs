//! Convolutions: which kernel computes one, with which tiles.

mod depthwise;
mod direct;
mod inside;
mod planar;
mod simt;
mod stem;
mod tensor;
mod tiles;

use super::lower::Lowering;
use crate::plan::steps::{Conv, Linear, Step};

pub use inside::Choice;
pub(super) use inside::{Unmixed, choose as choose_inside};

/// A convolution.
pub(super) fn lower(lowering: &mut Lowering<'_>, step: &Step, op: &Conv) {
    if let Some(unmixed) = lowering.read_unmixed(op.kernel) {
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
    lower(lowering, step, &op.as_conv());
}
