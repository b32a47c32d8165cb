//! Steps: what a network computes, to which buffers and with which weights, whatever the target.
//!
//! Weights have PyTorch's orders, but for warehouses and what goes with mixtures. Buffers have lengths and no places. Each
//! target lowers the steps to what it runs: [`super::cpu`] to a Program, [`super::cuda`] to launches.

use kwc_program::{Activation, AttentionNorm, BufferId, Epilogue, List, PoolKind, Port, Temperature, WeightId};

use super::recipe::Recipe;
use crate::ir::LayerId;

/// What a network computes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Steps {
    /// The network's name.
    pub name: String,
    /// What the caller supplies.
    pub inputs: Vec<Port>,
    /// What the caller gets.
    pub outputs: Vec<Port>,
    /// What the caller inspects.
    pub dumps: Vec<Port>,
    /// Elements of each buffer, per sample; [`BufferId`] indexes this list.
    pub buffers: Vec<usize>,
    /// All weights; [`WeightId`] indexes this list.
    pub weights: Vec<Weight>,
    /// How each weight is made.
    pub recipes: Vec<Recipe>,
    /// What to do, in order.
    pub steps: Vec<Step>,
    /// The layer that each step is of.
    pub layers: Vec<LayerId>,
}

impl Steps {
    /// Whether the caller wants to see the attention that a buffer holds.
    pub(super) fn is_gathered(&self, attention: BufferId) -> bool {
        self.steps.iter().any(|step| matches!(&step.op, Op::GatherRows(gather) if gather.input == attention))
    }
}

/// A weight as its recipe makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Weight {
    /// Derived from the checkpoint's name.
    pub name: String,
    /// Outermost first.
    pub shape: Vec<usize>,
}

impl Weight {
    /// Elements of it.
    pub(super) fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
    /// Path of the layer that it stems from.
    pub layer: String,
    /// The operation.
    pub op: Op,
}

/// The operations.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Op {
    /// Convolution with a static or a mixed kernel.
    Conv(Conv),
    /// Linear map over channels, at every position.
    Linear(Linear),
    /// Mean over all positions.
    GlobalAverage(GlobalAverage),
    /// The contrasting-driven attention function.
    Attention(Attention),
    /// Mixing of warehouse cells into a kernel.
    Mix(Mix),
    /// Maximum or average over windows.
    Pool(Pool),
    /// Layer norm over channels, at every position.
    LayerNorm(LayerNorm),
    /// A per-element map: scale, shift, addition, activation.
    Map(Map),
    /// Concatenation along channels.
    Concat(Concat),
    /// Nearest-neighbour upsampling.
    Upsample(Upsample),
    /// Copy of whole rows in another order.
    GatherRows(GatherRows),
}

impl Op {
    /// The buffers that it reads.
    pub(super) fn reads(&self) -> Vec<BufferId> {
        let kernel = |kernel: Operand| match kernel {
            Operand::Buffer(buffer) => Some(buffer),
            Operand::Weight(_) => None,
        };
        match self {
            Self::Conv(op) => [Some(op.input), kernel(op.kernel), op.epilogue.add].into_iter().flatten().collect(),
            Self::Linear(op) => [Some(op.input), kernel(op.kernel), op.epilogue.add].into_iter().flatten().collect(),
            Self::GlobalAverage(op) => vec![op.input],
            Self::Attention(op) => vec![op.average],
            Self::Mix(op) => vec![op.attention],
            Self::Pool(op) => vec![op.input],
            Self::LayerNorm(op) => vec![op.input],
            Self::Map(op) => [Some(op.input), op.epilogue.add].into_iter().flatten().collect(),
            Self::Concat(op) => op.inputs.iter().map(|part| part.buffer).collect(),
            Self::Upsample(op) => vec![op.input],
            Self::GatherRows(op) => vec![op.input],
        }
    }
}

/// Where an operand comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operand {
    /// A packed weight, the same for all samples.
    Weight(WeightId),
    /// A buffer: every sample has its own.
    Buffer(BufferId),
}

/// Convolution of a map `[C_in, input...]` to `[C_out, output...]`.
///
/// The kernel is a matrix `[C_out, K]` with `K = C_in / groups * prod(kernel)`. Its columns are ordered
/// `[C_in / groups / channel_block, kernel positions, channel_block]`: with `channel_block = 1` that is PyTorch's own
/// order, with `channel_block = C_in / groups` all channels of one kernel position stand together.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Conv {
    /// `[C_in, input...]`
    pub input: BufferId,
    /// `[C_out, output...]`
    pub output: BufferId,
    /// `[C_out, K]`, row after row; a mixed one as [`Mix`] writes it.
    pub kernel: Operand,
    /// `C_in`
    pub in_channels: usize,
    /// `C_out`
    pub out_channels: usize,
    /// Groups; divides both channel counts. Group `g` maps input channels `g * C_in / groups ..` to output channels
    /// `g * C_out / groups ..`.
    pub groups: usize,
    /// Input channels that stand together in the kernel's columns; divides `C_in / groups`.
    pub channel_block: usize,
    /// Spatial size of the input.
    pub input_size: [usize; 3],
    /// Spatial size of the output.
    pub output_size: [usize; 3],
    /// Spatial size of the kernel.
    pub kernel_size: [usize; 3],
    /// Step between windows.
    pub stride: [usize; 3],
    /// Zeros on both sides.
    pub padding: [usize; 3],
    /// Step between the kernel's positions.
    pub dilation: [usize; 3],
    /// Applied to the result.
    pub epilogue: Epilogue,
}

/// Linear map over channels at every position: `y[o, t] = sum_c kernel[o, c] * x[c, t]`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Linear {
    /// `[C_in, positions]`, or `[positions, C_in]` with `channels_last`.
    pub input: BufferId,
    /// `[C_out, positions]`, or `[positions, C_out]` with `channels_last`.
    pub output: BufferId,
    /// `[C_out, C_in]`, row after row; a mixed one as [`Mix`] writes it.
    pub kernel: Operand,
    /// `C_in`
    pub in_channels: usize,
    /// `C_out`
    pub out_channels: usize,
    /// Positions per sample; 1 for a vector.
    pub positions: usize,
    /// Order of channels and positions in input and output.
    pub channels_last: bool,
    /// Applied to the result.
    pub epilogue: Epilogue,
}

impl Linear {
    /// The 1x1 convolution that it amounts to.
    pub(super) fn as_conv(&self) -> Conv {
        Conv {
            input: self.input,
            output: self.output,
            kernel: self.kernel,
            in_channels: self.in_channels,
            out_channels: self.out_channels,
            groups: 1,
            channel_block: self.in_channels,
            input_size: [1, 1, self.positions],
            output_size: [1, 1, self.positions],
            kernel_size: [1; 3],
            stride: [1; 3],
            padding: [0; 3],
            dilation: [1; 3],
            epilogue: self.epilogue,
        }
    }
}

/// Mean over all positions: `[channels, positions]` (or `[positions, channels]`) to `[channels]`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct GlobalAverage {
    /// `[channels, positions]`, or `[positions, channels]` with `channels_last`.
    pub input: BufferId,
    /// `[channels]`
    pub output: BufferId,
    /// Channels.
    pub channels: usize,
    /// Positions averaged over.
    pub positions: usize,
    /// Order of channels and positions in the input.
    pub channels_last: bool,
}

/// The contrasting-driven attention function of one dynamic layer (KernelWarehouse, section 3.3), from the channel
/// averages of its input to `alpha`, `[mixtures, cells]`.
///
/// `h = relu(norm(fc1 g + fc1_bias))`; `z = fc2 h + fc2_bias`, reshaped to `[mixtures, rows]`; with a [`Basis`] the
/// rows are expanded to `cells + 1`; `alpha = z / (sum_j |z_j| + 1e-3)` over all `cells + 1` logits of a mixture, blended
/// with `beta` where a [`Temperature`] is given; the last column (the null cell) is dropped.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Attention {
    /// Channel averages `[channels]` of the layer's input.
    pub average: BufferId,
    /// `alpha`, `[mixtures, cells]`, mixtures in packed order (see [`Mix`]).
    pub output: BufferId,
    /// The layer's full input channel count.
    pub channels: usize,
    /// Hidden width.
    pub hidden: usize,
    /// Mixtures of the layer, `m`.
    pub mixtures: usize,
    /// Cells of the warehouse, `n`.
    pub cells: usize,
    /// `[hidden, channels]`
    pub fc1: WeightId,
    /// `[hidden]`; present with a layer norm.
    pub fc1_bias: Option<WeightId>,
    /// Between `fc1` and the rectifier.
    pub norm: AttentionNorm,
    /// `[mixtures * rows, hidden]`, where `rows` is `cells + 1`, or `local + rank + 1` with a basis.
    pub fc2: WeightId,
    /// `[mixtures * rows]`; absent with a basis.
    pub fc2_bias: Option<WeightId>,
    /// The non-local basis, if the warehouse has one.
    pub basis: Option<Basis>,
    /// Blending of training time; absent at inference.
    pub temperature: Option<Temperature>,
}

/// Low-rank logits for the cells that are not the layer's own.
///
/// `fc2` gives per mixture `[local | rank | 1]`. The row of logits is
/// `[nonlocal[..start] | local | nonlocal[start..] | null] + bias`, with `nonlocal = fc3 * rank part`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Basis {
    /// The layer's own cells.
    pub local: usize,
    /// The first of them.
    pub start_cell: usize,
    /// Rank of the basis, `q`.
    pub rank: usize,
    /// `[cells - local, rank]`
    pub fc3: WeightId,
    /// `[mixtures * (cells + 1)]`, mixtures in packed order.
    pub bias: WeightId,
}

/// Mixing: `kernel[i, :] = sum_j alpha[i, j] * warehouse[j, :]`.
///
/// The layer's mixtures are in *packed order*, `[O, S, I]` (output, spatial and input cell groups), where the method's own
/// order is `[S, O, I]`; a cell is stored `[cell_spatial..., cell_in, cell_out]`. So the product `[mixtures, cell]`, as
/// written, is a kernel in blocks of `cell_out` output channels, each `[K, cell_out]`. Its `K` columns are ordered
/// `[S, I, cell_spatial, cell_in]`, which is a [`Conv`] with `channel_block = C_in / groups` where `cell_spatial` is 1, and
/// with `channel_block = cell_in` where `S` is 1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mix {
    /// `alpha`, `[mixtures, cells]`.
    pub attention: BufferId,
    /// `[cells, cell_spatial, cell_in, cell_out]`
    pub warehouse: WeightId,
    /// `[mixtures, cell]`
    pub output: BufferId,
    /// `m`
    pub mixtures: usize,
    /// `n`
    pub cells: usize,
    /// Elements of one cell.
    pub cell: usize,
}

/// Pooling of `[channels, input...]` to `[channels, output...]`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pool {
    /// Maximum or average.
    pub kind: PoolKind,
    /// `[channels, input...]`
    pub input: BufferId,
    /// `[channels, output...]`
    pub output: BufferId,
    /// Channels.
    pub channels: usize,
    /// Spatial size of the input.
    pub input_size: [usize; 3],
    /// Spatial size of the output.
    pub output_size: [usize; 3],
    /// Window.
    pub kernel_size: [usize; 3],
    /// Step between windows.
    pub stride: [usize; 3],
    /// Padding on both sides.
    pub padding: [usize; 3],
}

/// Layer norm over channels at every position: `(x - mean) / sqrt(var + epsilon) * weight + bias`, biased variance, then
/// an activation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LayerNorm {
    /// `[channels, positions]`, or `[positions, channels]` with `channels_last`.
    pub input: BufferId,
    /// As the input; it may be the input's own buffer.
    pub output: BufferId,
    /// Channels.
    pub channels: usize,
    /// Positions.
    pub positions: usize,
    /// Order of channels and positions.
    pub channels_last: bool,
    /// `[channels]`
    pub weight: WeightId,
    /// `[channels]`
    pub bias: WeightId,
    /// Added to the variance.
    pub epsilon: f32,
    /// Applied last.
    pub activation: Activation,
}

/// An epilogue on its own: batch norm, per-channel scale, addition or activation that nothing could absorb.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Map {
    /// `[channels, positions]`, or `[positions, channels]` with `channels_last`.
    pub input: BufferId,
    /// As the input; it may be the input's own buffer.
    pub output: BufferId,
    /// Channels.
    pub channels: usize,
    /// Positions.
    pub positions: usize,
    /// Order of channels and positions.
    pub channels_last: bool,
    /// What is done.
    pub epilogue: Epilogue,
}

/// One part of a concatenation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ConcatPart {
    /// `[channels, positions]`, or `[positions, channels]` with `channels_last`.
    pub buffer: BufferId,
    /// Channels.
    pub channels: usize,
}

/// Concatenation along channels.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Concat {
    /// The parts, in order.
    pub inputs: List<ConcatPart>,
    /// `[sum of channels, positions]`, or `[positions, sum of channels]` with `channels_last`.
    pub output: BufferId,
    /// Positions.
    pub positions: usize,
    /// Order of channels and positions.
    pub channels_last: bool,
}

/// Nearest-neighbour upsampling by whole factors: output position `p` takes input position `p / factor`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Upsample {
    /// `[channels, input...]`
    pub input: BufferId,
    /// `[channels, input * factor...]`
    pub output: BufferId,
    /// Channels.
    pub channels: usize,
    /// Spatial size of the input.
    pub input_size: [usize; 3],
    /// Factor per dimension.
    pub factor: [usize; 3],
}

/// Copies rows: `output[r, :] = input[rows[r], :]`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct GatherRows {
    /// `[rows, width]`
    pub input: BufferId,
    /// `[rows, width]`
    pub output: BufferId,
    /// For each row of the output, the row of the input.
    pub rows: List<u32>,
    /// Elements of a row.
    pub width: usize,
}

/// Sizes of one to three dimensions as three, padded in front.
pub(super) fn three(sizes: &[usize], fill: usize) -> [usize; 3] {
    let mut all = [fill; 3];
    for (to, from) in all.iter_mut().rev().zip(sizes.iter().rev()) {
        *to = *from;
    }
    all
}
