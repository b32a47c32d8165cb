//! The operations of the CPU target: what a step does, to which buffers, with which weights.

use serde::Serialize;

use crate::{BufferId, List, WeightId};

/// The operations of the CPU target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum Op {
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

/// Where an operand comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Operand {
    /// A packed weight, the same for all samples.
    Weight(WeightId),
    /// A buffer: every sample has its own.
    Buffer(BufferId),
}

/// A kernel matrix `[C_out, K]` and how its elements are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Kernel {
    /// Where it is stored.
    pub data: Operand,
    /// Its layout.
    pub layout: KernelLayout,
}

/// Layout of a kernel matrix of `C_out` rows and `K` columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum KernelLayout {
    /// Element `(r, k)` is at `r * K + k`.
    Rows,
    /// Blocks of `rows` output channels, each stored as `[K, rows]`: element `(r, k)` is at
    /// `(r / rows) * K * rows + k * rows + r % rows`. This is what [`Mix`] writes.
    Blocks {
        /// Output channels per block (a cell's output channels). Divides `C_out`.
        rows: usize,
    },
}

/// What happens to a result before it is stored: `y = activation(scale[c] * x + shift[c] + add)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Epilogue {
    /// Per-channel factor.
    pub scale: Option<WeightId>,
    /// Per-channel term.
    pub shift: Option<WeightId>,
    /// A buffer of the output's shape (a residual). It may be the output's own buffer.
    pub add: Option<BufferId>,
    /// Applied last.
    pub activation: Activation,
}

impl Epilogue {
    /// Stores the result as it is.
    pub const NONE: Self = Self { scale: None, shift: None, add: None, activation: Activation::Identity };
}

/// Element-wise functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Activation {
    /// `x`
    Identity,
    /// `max(x, 0)`
    Relu,
    /// `min(max(x, 0), 6)`
    Relu6,
    /// `x * (1 + erf(x / sqrt 2)) / 2`, exactly
    Gelu,
    /// `x / (1 + exp(-x))`
    Silu,
    /// `x * relu6(x + 3) / 6`
    HardSwish,
    /// `1 / (1 + exp(-x))`
    Sigmoid,
}

/// Convolution of a map `[C_in, input...]` to `[C_out, output...]`.
///
/// The kernel is a matrix `[C_out, K]` with `K = C_in / groups * prod(kernel)`. Its columns are ordered
/// `[C_in / groups / channel_block, kernel positions, channel_block]`: with `channel_block = 1` that is PyTorch's own
/// order, with `channel_block = C_in / groups` all channels of one kernel position stand together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Conv {
    /// `[C_in, input...]`
    pub input: BufferId,
    /// `[C_out, output...]`
    pub output: BufferId,
    /// `[C_out, K]`
    pub kernel: Kernel,
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
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Linear {
    /// `[C_in, positions]`, or `[positions, C_in]` with `channels_last`.
    pub input: BufferId,
    /// `[C_out, positions]`, or `[positions, C_out]` with `channels_last`.
    pub output: BufferId,
    /// `[C_out, C_in]`
    pub kernel: Kernel,
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

/// Mean over all positions: `[channels, positions]` (or `[positions, channels]`) to `[channels]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GlobalAverage {
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
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Attention {
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

/// The attention's own normalisation over its hidden units.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub enum AttentionNorm {
    /// Batch norm with stored statistics, as `scale * x + shift`.
    Batch {
        /// `[hidden]`
        scale: WeightId,
        /// `[hidden]`
        shift: WeightId,
    },
    /// Layer norm over the hidden units, biased variance.
    Layer {
        /// `[hidden]`
        weight: WeightId,
        /// `[hidden]`
        bias: WeightId,
        /// Added to the variance.
        epsilon: f32,
    },
}

/// Low-rank logits for the cells that are not the layer's own.
///
/// `fc2` gives per mixture `[local | rank | 1]`. The row of logits is
/// `[nonlocal[..start] | local | nonlocal[start..] | null] + bias`, with `nonlocal = fc3 * rank part`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Basis {
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

/// Training-time blending: `alpha = (1 - t) * alpha + t * beta`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Temperature {
    /// `t`, between 0 and 1.
    pub t: f32,
    /// For each mixture, in packed order, the one column of `beta` that is 1 (`cells` is the null cell).
    pub beta: List<u32>,
}

/// Mixing: `kernel[i, :] = sum_j alpha[i, j] * warehouse[j, :]`.
///
/// The layer's mixtures are in *packed order*, `[O, S, I]` (output, spatial and input cell groups), where the method's own
/// order is `[S, O, I]`; a cell is stored `[cell_spatial..., cell_in, cell_out]`. So the product `[mixtures, cell]`, as
/// written, is the convolution's kernel in [`KernelLayout::Blocks`] with `rows = cell_out`: nothing is permuted at run
/// time. Its columns are `[S, I, cell_spatial, cell_in]`, which is a [`Conv`] with `channel_block = C_in / groups` where
/// `cell_spatial` is 1, and with `channel_block = cell_in` where `S` is 1.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mix {
    /// `alpha`, `[mixtures, cells]`.
    pub attention: BufferId,
    /// `[cells, cell]`, layout [`Cells`](crate::Layout::Cells).
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

/// Which value a window yields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum PoolKind {
    /// The largest; padding never wins.
    Max,
    /// The mean over the whole window, padding counted as zeros.
    Average,
    /// The mean over the part of the window inside the input.
    AverageInside,
}

/// Pooling of `[channels, input...]` to `[channels, output...]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pool {
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
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerNorm {
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
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Map {
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ConcatPart {
    /// `[channels, positions]`, or `[positions, channels]` with `channels_last`.
    pub buffer: BufferId,
    /// Channels.
    pub channels: usize,
}

/// Concatenation along channels.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Concat {
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
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Upsample {
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
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GatherRows {
    /// `[rows, width]`
    pub input: BufferId,
    /// `[rows, width]`
    pub output: BufferId,
    /// For each row of the output, the row of the input.
    pub rows: List<u32>,
    /// Elements of a row.
    pub width: usize,
}
