//! Layer norm over channels.

use kwc_program::cuda::{Argument, CHANNELS, Element, Extent};

use super::elementwise::{copied, kernel, used};
use super::kernel::{Constant, Epilogue, Family, ParameterKind, count};
use super::lower::Lowering;
use crate::plan::steps::{LayerNorm, Step};

/// Most threads that make a position: a warp.
const MOST_LANES: usize = 32;

/// Adds the launch of a layer norm.
pub(super) fn lower(lowering: &mut Lowering<'_>, step: &Step, op: &LayerNorm) {
    let input = lowering.read(&step.layer, op.input, op.channels, op.positions);
    let [weight, bias] = [op.weight, op.bias].map(|weight| lowering.vector(weight));
    let output = lowering.fresh(op.output, op.channels, op.positions, input.channels_last);
    let lanes = (input.pitch / CHANNELS).next_power_of_two().min(MOST_LANES);
    let constants = vec![
        ("Element", input.element.into()),
        ("CHANNELS", input.channels.into()),
        ("PITCH", input.pitch.into()),
        ("POSITIONS", input.positions.into()),
        ("LANES", lanes.into()),
        ("EPSILON", Constant::Float(op.epsilon)),
    ];
    let parameters = vec![
        used("input", ParameterKind::Input(input.element)),
        used("weight", ParameterKind::Input(Element::F32)),
        used("bias", ParameterKind::Input(Element::F32)),
        used("output", ParameterKind::Output(input.element)),
        used("batch", ParameterKind::Batch),
    ];
    let arguments = [
        Some(Argument::Buffer(input.buffer)),
        Some(weight),
        Some(bias),
        Some(Argument::Buffer(output.buffer)),
        Some(Argument::Batch),
    ];
    let mut kernel = kernel(Family::LayerNorm, constants, parameters);
    kernel.epilogue = Some(Epilogue { scale: true, shift: true, add: false, activation: op.activation });
    let per_sample = count(op.positions);
    let divisor = kernel.threads / u32::try_from(lanes).unwrap_or(1);
    let grid = [Extent { fixed: 0, per_sample, divisor }, Extent::ONE, Extent::ONE];
    lowering.launch(&step.layer, kernel, grid, &arguments, copied(input.bytes(), output.bytes()));
}
