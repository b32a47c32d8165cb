//! Any convolution, plainly: one thread for each output element. For what no other family covers: three dimensions, groups.

use kwc_program::cuda::{Argument, Extent};

use crate::plan::cuda::elementwise::{blocks, used};
use crate::plan::cuda::kernel::{Family, Kernel, ParameterKind};
use crate::plan::cuda::lower::Lowering;
use crate::plan::cuda::product::Product;
use crate::plan::cuda::work::{Amount, Work};
use crate::plan::steps::{Conv, Step};

/// Threads of a block.
const THREADS: u32 = 256;

/// One convolution.
pub(super) fn lower(lowering: &mut Lowering<'_>, step: &Step, op: &Conv) {
    let positions: usize = op.input_size.iter().product();
    let out_positions: usize = op.output_size.iter().product();
    let window: usize = op.kernel_size.iter().product();
    let in_group = op.in_channels / op.groups;
    let input = lowering.read(&step.layer, op.input, op.in_channels, positions);
    let kernel = lowering.kernel_operand(op.kernel, op.out_channels, in_group, window, op.channel_block);
    let (epilogue, vectors) = lowering.epilogue(&step.layer, &op.epilogue, op.out_channels, out_positions);
    let output = lowering.fresh(op.output, op.out_channels, out_positions, input.channels_last);
    let [in_d, in_h, in_w] = op.input_size;
    let [out_d, out_h, out_w] = op.output_size;
    let [kernel_d, kernel_h, kernel_w] = op.kernel_size;
    let [stride_d, stride_h, stride_w] = op.stride;
    let [padding_d, padding_h, padding_w] = op.padding;
    let [dilation_d, dilation_h, dilation_w] = op.dilation;
    let mut constants = vec![("Element", input.element.into())];
    constants.extend(
        [
            ("IN_CHANNELS", op.in_channels),
            ("IN_PITCH", input.pitch),
            ("IN_D", in_d),
            ("IN_H", in_h),
            ("IN_W", in_w),
            ("OUT_CHANNELS", op.out_channels),
            ("OUT_PITCH", output.pitch),
            ("OUT_D", out_d),
            ("OUT_H", out_h),
            ("OUT_W", out_w),
            ("GROUPS", op.groups),
            ("KERNEL_D", kernel_d),
            ("KERNEL_H", kernel_h),
            ("KERNEL_W", kernel_w),
            ("STRIDE_D", stride_d),
            ("STRIDE_H", stride_h),
            ("STRIDE_W", stride_w),
            ("PADDING_D", padding_d),
            ("PADDING_H", padding_h),
            ("PADDING_W", padding_w),
            ("DILATION_D", dilation_d),
            ("DILATION_H", dilation_h),
            ("DILATION_W", dilation_w),
            ("BLOCK", kernel.block),
            ("BLOCK_PITCH", kernel.pitch),
            ("CHANNEL_BLOCK", kernel.channel_block),
            ("KERNEL_STRIDE", kernel.sample_stride),
        ]
        .map(|(name, value)| (name, value.into())),
    );
    let product = Product {
        input: (Argument::Buffer(input.buffer), input.element),
        kernel: (kernel.argument, input.element),
        epilogue: vectors,
        output: (Argument::Buffer(output.buffer), output.element),
    };
    let mut parameters = product.parameters();
    parameters.push(used("batch", ParameterKind::Batch));
    let mut arguments = product.arguments();
    arguments.push(Some(Argument::Batch));
    let useful = Amount::per_sample(out_positions * op.out_channels * in_group * window);
    let kernel_bytes = op.out_channels * in_group * window * input.element.bytes();
    let kernel_bytes =
        if kernel.sample_stride == 0 { Amount::fixed(kernel_bytes) } else { Amount::per_sample(kernel_bytes) };
    let added = if epilogue.add { output.bytes() } else { 0 };
    let bytes = kernel_bytes + Amount::per_sample(input.bytes() + output.bytes() + added);
    let work = Work { useful, padded: useful, tensor: false, compulsory: bytes, moved: bytes };
    let direct = Kernel {
        family: Family::Direct,
        constants,
        epilogue: Some(epilogue),
        parameters,
        threads: THREADS,
        resident: 1,
        shared_bytes: 0,
    };
    let grid = [blocks(output.elements()), Extent::ONE, Extent::ONE];
    lowering.launch(&step.layer, direct, grid, &arguments, work);
}
