//! Pooling over windows.

use kwc_program::PoolKind;
use kwc_program::cuda::{Argument, CHANNELS, Extent};

use super::elementwise::{blocks, copied, kernel, used};
use super::kernel::{Family, ParameterKind};
use super::lower::Lowering;
use crate::plan::steps::{Pool, Step};

/// Adds the launch of a pooling.
pub(super) fn lower(lowering: &mut Lowering<'_>, step: &Step, op: &Pool) {
    let positions: usize = op.input_size.iter().product();
    let out_positions: usize = op.output_size.iter().product();
    let input = lowering.read(&step.layer, op.input, op.channels, positions);
    let output = lowering.fresh(op.output, op.channels, out_positions, input.channels_last);
    let (is_max, inside) = match op.kind {
        PoolKind::Max => (true, false),
        PoolKind::Average => (false, false),
        PoolKind::AverageInside => (false, true),
    };
    let [in_d, in_h, in_w] = op.input_size;
    let [out_d, out_h, out_w] = op.output_size;
    let [window_d, window_h, window_w] = op.kernel_size;
    let [stride_d, stride_h, stride_w] = op.stride;
    let [padding_d, padding_h, padding_w] = op.padding;
    let mut constants = vec![("Element", input.element.into()), ("MAX", is_max.into()), ("INSIDE", inside.into())];
    constants.extend(
        [
            ("PITCH", input.pitch),
            ("IN_D", in_d),
            ("IN_H", in_h),
            ("IN_W", in_w),
            ("OUT_D", out_d),
            ("OUT_H", out_h),
            ("OUT_W", out_w),
            ("WINDOW_D", window_d),
            ("WINDOW_H", window_h),
            ("WINDOW_W", window_w),
            ("STRIDE_D", stride_d),
            ("STRIDE_H", stride_h),
            ("STRIDE_W", stride_w),
            ("PADDING_D", padding_d),
            ("PADDING_H", padding_h),
            ("PADDING_W", padding_w),
        ]
        .map(|(name, value)| (name, value.into())),
    );
    let parameters = vec![
        used("input", ParameterKind::Input(input.element)),
        used("output", ParameterKind::Output(input.element)),
        used("batch", ParameterKind::Batch),
    ];
    let arguments =
        [Some(Argument::Buffer(input.buffer)), Some(Argument::Buffer(output.buffer)), Some(Argument::Batch)];
    let grid = [blocks(output.elements() / CHANNELS), Extent::ONE, Extent::ONE];
    let work = copied(input.bytes(), output.bytes());
    lowering.launch(&step.layer, kernel(Family::Pool, constants, parameters), grid, &arguments, work);
}
