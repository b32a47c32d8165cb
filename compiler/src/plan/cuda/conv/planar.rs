//! What the families of convolutions over one and two dimensions share: sizes as constants, and operands.

use kwc_program::BufferId;
use kwc_program::cuda::{Argument, Element};

use crate::plan::cuda::elementwise::used;
use crate::plan::cuda::kernel::{Constant, Epilogue, Parameter, ParameterKind};
use crate::plan::cuda::lower::Lowering;
use crate::plan::cuda::product::Product;
use crate::plan::cuda::storage::{KernelOperand, Map, Sums};
use crate::plan::cuda::work::Amount;
use crate::plan::steps::Conv;

/// Constants of a kernel.
pub(super) type Constants = Vec<(&'static str, Constant)>;

/// Whether a convolution has no third dimension.
pub(super) fn is_planar(op: &Conv) -> bool {
    op.input_size[0] == 1 && op.output_size[0] == 1 && op.kernel_size[0] == 1 && op.padding[0] == 0
}

/// Output positions of one sample.
pub(super) fn out_positions(op: &Conv) -> usize {
    op.output_size.iter().product()
}

/// Sizes of a convolution, as constants.
pub(super) fn sizes(op: &Conv, in_pitch: usize, out_pitch: usize) -> Constants {
    let [_, in_h, in_w] = op.input_size;
    let [_, out_h, out_w] = op.output_size;
    let [_, kernel_h, kernel_w] = op.kernel_size;
    let [_, stride_h, stride_w] = op.stride;
    let [_, padding_h, padding_w] = op.padding;
    let [_, dilation_h, dilation_w] = op.dilation;
    let sizes = [
        ("IN_CHANNELS", op.in_channels),
        ("IN_PITCH", in_pitch),
        ("IN_H", in_h),
        ("IN_W", in_w),
        ("OUT_CHANNELS", op.out_channels),
        ("OUT_PITCH", out_pitch),
        ("OUT_H", out_h),
        ("OUT_W", out_w),
        ("KERNEL_H", kernel_h),
        ("KERNEL_W", kernel_w),
        ("STRIDE_H", stride_h),
        ("STRIDE_W", stride_w),
        ("PADDING_H", padding_h),
        ("PADDING_W", padding_w),
        ("DILATION_H", dilation_h),
        ("DILATION_W", dilation_w),
    ];
    sizes.map(|(name, value)| (name, value.into())).to_vec()
}

/// How a kernel is stored, as constants.
pub(super) fn layout(kernel: &KernelOperand) -> Constants {
    let layout = [
        ("BLOCK", kernel.block),
        ("BLOCK_PITCH", kernel.pitch),
        ("CHANNEL_BLOCK", kernel.channel_block),
        ("KERNEL_STRIDE", kernel.sample_stride),
    ];
    layout.map(|(name, value)| (name, value.into())).to_vec()
}

/// What a convolution reads and writes, in the order in which its family takes it.
pub(super) struct Operands {
    pub input: BufferId,
    pub input_element: Element,
    pub kernel: KernelOperand,
    /// Scale, shift, addend.
    pub epilogue: [Option<Argument>; 3],
    pub output: Map,
    pub sums: Option<Sums>,
}

impl Operands {
    fn product(&self) -> Product {
        let element = self.output.element;
        Product {
            input: (Argument::Buffer(self.input), self.input_element),
            kernel: (self.kernel.argument, element),
            epilogue: self.epilogue,
            output: (Argument::Buffer(self.output.buffer), element),
        }
    }

    /// Parameters of the family.
    pub(super) fn parameters(&self) -> Vec<Parameter> {
        let sums = Parameter { name: "sums", kind: ParameterKind::Output(Element::F32), used: self.sums.is_some() };
        let mut parameters = self.product().parameters();
        parameters.extend([sums, used("batch", ParameterKind::Batch)]);
        parameters
    }

    /// Arguments for them.
    pub(super) fn arguments(&self) -> Vec<Option<Argument>> {
        let mut arguments = self.product().arguments();
        arguments.extend([self.sums.map(|sums| Argument::Buffer(sums.buffer)), Some(Argument::Batch)]);
        arguments
    }

    /// Bytes if each operand but the kernel is moved once. `input` is the input's, per sample.
    pub(super) fn activation_bytes(&self, input: usize) -> Amount {
        let [_, _, add] = self.epilogue;
        let added = if add.is_some() { self.output.bytes() } else { 0 };
        let sums = self.sums.map_or(0, |sums| sums.parts * sums.pitch * Element::F32.bytes());
        Amount::per_sample(input + self.output.bytes() + added + sums)
    }
}

/// Operands of a convolution but for its partial sums, and its epilogue. `positions` are the output's.
pub(super) fn epilogue(lowering: &mut Lowering<'_>, layer: &str, op: &Conv) -> (Epilogue, [Option<Argument>; 3]) {
    lowering.epilogue(layer, &op.epilogue, op.out_channels, out_positions(op))
}

/// How a product on tensor cores ends: what `finished.cuh` needs to know of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending {
    pub epilogue: Epilogue,
    /// Whether it leaves sums for an average of its output.
    pub is_averaged: bool,
    /// Whether several blocks share a sum.
    pub is_split: bool,
}

impl Ending {
    /// The parameters for it: scale, shift, addend, output, sums for an average, parts of sums, counters.
    pub(super) fn parameters(&self) -> [Parameter; 7] {
        let Self { epilogue: Epilogue { scale, shift, add, .. }, is_averaged, is_split } = *self;
        let parameter = |name, kind, used| Parameter { name, kind, used };
        let (half, single) = (Element::F16, Element::F32);
        [
            parameter("scale", ParameterKind::Input(single), scale),
            parameter("shift", ParameterKind::Input(single), shift),
            parameter("add", ParameterKind::Input(half), add),
            used("output", ParameterKind::Output(half)),
            parameter("averaged", ParameterKind::Output(single), is_averaged),
            parameter("parts", ParameterKind::Output(single), is_split),
            parameter("counters", ParameterKind::Counters, is_split),
        ]
    }

    /// Bytes per sample of the addend, the output, and the sums of so many tiles of positions.
    pub(super) fn bytes(&self, output: &Map, p_tiles: usize) -> usize {
        let added = if self.epilogue.add { output.bytes() } else { 0 };
        let sums = if self.is_averaged { p_tiles * output.pitch * Element::F32.bytes() } else { 0 };
        output.bytes() + added + sums
    }

    /// Bytes per sample of scales and shifts that so many warps over all output channels read: in two accesses of half a
    /// sector each.
    pub(super) fn vector_bytes(&self, output: &Map, warps: usize) -> usize {
        let vectors = usize::from(self.epilogue.scale) + usize::from(self.epilogue.shift);
        vectors * output.pitch * Element::F32.bytes() * 2 * warps
    }
}

/// Bytes of a kernel that is read once: for all samples, or for each.
pub(super) fn kernel_bytes(op: &Conv, kernel: &KernelOperand, element: Element) -> Amount {
    let window: usize = op.kernel_size.iter().product();
    let bytes = op.out_channels * (op.in_channels / op.groups) * window * element.bytes();
    if kernel.sample_stride == 0 { Amount::fixed(bytes) } else { Amount::per_sample(bytes) }
}

/// Partial sums that the step which makes `output` leaves beside it, `parts` for each sample.
pub(super) fn leave_sums(lowering: &mut Lowering<'_>, of: BufferId, output: Map, parts: usize) -> Sums {
    let Map { channels, positions, pitch, .. } = output;
    let buffer = lowering.allocate(parts * pitch * Element::F32.bytes());
    let sums = Sums { buffer, parts, channels, pitch, positions };
    lowering.sums.insert(of, sums);
    sums
}
