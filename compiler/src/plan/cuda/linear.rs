//! Linear layers of one position.
//!
//! They are bound by reading their kernel: a static one is read once for up to [`SAMPLES`] samples.

use kwc_program::cuda::{Argument, Element, Extent};
use kwc_program::{Linear, Step};

use super::elementwise::used;
use super::kernel::{Family, Kernel, Parameter, ParameterKind};
use super::lower::Lowering;
use super::storage::padded;
use super::work::{Amount, Work};

/// Threads of a block.
const THREADS: u32 = 256;
/// Output channels of a block.
const COLUMNS: usize = 64;
/// Samples that a block computes at most.
const SAMPLES: usize = 8;

/// Adds the launch of a linear layer.
pub(super) fn lower(lowering: &mut Lowering<'_>, step: &Step, op: &Linear) {
    let input = lowering.read(&step.layer, op.input, op.in_channels, 1);
    let kernel = lowering.kernel_operand(&op.kernel, op.out_channels, op.in_channels, 1, op.in_channels);
    let (epilogue, [scale, shift, add]) = lowering.epilogue(&step.layer, &op.epilogue, op.out_channels, 1);
    let (output, element, pitch) = match lowering.claim_output(op.output) {
        Some(port) => (port, Element::F32, op.out_channels),
        None => {
            let map = lowering.fresh(op.output, op.out_channels, 1, true);
            (map.buffer, map.element, map.pitch)
        }
    };
    let samples = if kernel.sample_stride == 0 { lowering.batch.min(SAMPLES) } else { 1 };
    let columns = op.out_channels / kernel.block * kernel.pitch;
    let constants = vec![
        ("Element", input.element.into()),
        ("Output", element.into()),
        ("IN_CHANNELS", op.in_channels.into()),
        ("IN_PITCH", input.pitch.into()),
        ("OUT_CHANNELS", op.out_channels.into()),
        ("OUT_PITCH", pitch.into()),
        ("ADD_PITCH", padded(op.out_channels).into()),
        ("SAMPLES", samples.into()),
        ("BLOCK", kernel.block.into()),
        ("BLOCK_PITCH", kernel.pitch.into()),
        ("KERNEL_STRIDE", kernel.sample_stride.into()),
    ];
    let vector = |name, argument: Option<Argument>| Parameter {
        name,
        kind: ParameterKind::Input(Element::F32),
        used: argument.is_some(),
    };
    let parameters = vec![
        used("input", ParameterKind::Input(input.element)),
        used("kernel", ParameterKind::Input(input.element)),
        vector("scale", scale),
        vector("shift", shift),
        Parameter { name: "add", kind: ParameterKind::Input(input.element), used: add.is_some() },
        used("output", ParameterKind::Output(element)),
        used("batch", ParameterKind::Batch),
    ];
    let arguments = [
        Some(Argument::Buffer(input.buffer)),
        Some(kernel.argument),
        scale,
        shift,
        add,
        Some(Argument::Buffer(output)),
        Some(Argument::Batch),
    ];
    let blocks = columns.div_ceil(COLUMNS);
    let grid = [
        Extent::fixed(u32::try_from(blocks).unwrap_or(u32::MAX)),
        Extent { fixed: 0, per_sample: 1, divisor: u32::try_from(samples).unwrap_or(u32::MAX) },
        Extent::ONE,
    ];
    let useful = Amount::per_sample(op.in_channels * op.out_channels);
    let kernel_bytes = op.in_channels * columns * input.element.bytes();
    let (once, read) = if kernel.sample_stride == 0 {
        let passes = lowering.batch.div_ceil(samples);
        (Amount::fixed(kernel_bytes), Amount::fixed(kernel_bytes * passes))
    } else {
        (Amount::per_sample(kernel_bytes), Amount::per_sample(kernel_bytes))
    };
    let output_bytes = Amount::per_sample(pitch * element.bytes());
    let work = Work {
        useful,
        padded: useful,
        tensor: false,
        compulsory: once + Amount::per_sample(input.bytes()) + output_bytes,
        moved: read + Amount::per_sample(input.bytes() * blocks) + output_bytes,
    };
    let kernel = Kernel {
        family: Family::Linear,
        constants,
        epilogue: Some(epilogue),
        parameters,
        threads: THREADS,
        resident: 0,
        shared_bytes: 0,
    };
    lowering.launch(&step.layer, kernel, grid, &arguments, work);
}
