//! The operations of the CPU target: what a step does, to which buffers, with which weights.

use serde::Serialize;

use crate::{BufferId, List, WeightId};

/// Output channels that stand together in a packed kernel, whatever the instruction set; narrow kernels have half of it.
pub const PANEL: usize = 32;

/// The operations of the CPU target. Maps are stored `[positions, channels]`: the channels of a position stand together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum Op {
    /// Channels last, from the order of an input.
    Import(Import),
    /// Channels first, for an output.
    Export(Export),
    /// Convolution or linear layer with a static or a mixed kernel.
    Conv(Conv),
    /// Mean over all positions.
    GlobalAverage(GlobalAverage),
    /// The contrasting-driven attention function.
    Attention(Attention),
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

/// Reorders a map `[channels, input...]` to `[padded input..., channels]`, with zeros around it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Import {
    /// `[channels, input...]`
    pub input: BufferId,
    /// `[input + 2 * padding..., channels]`
    pub output: BufferId,
    /// Channels.
    pub channels: usize,
    /// Spatial size of the input.
    pub input_size: [usize; 3],
    /// Zeros on both sides.
    pub padding: [usize; 3],
}

/// Reorders a map `[positions, channels]` to `[channels, positions]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Export {
    /// `[positions, channels]`
    pub input: BufferId,
    /// `[channels, positions]`
    pub output: BufferId,
    /// Channels.
    pub channels: usize,
    /// Positions.
    pub positions: usize,
}

/// A packed kernel of `C_out` output channels, and where it comes from.
///
/// Its matrix has `K = prod(kernel size) * C_in / groups` rows, ordered `[kernel positions, input channels]`, and a column for
/// each output channel. The columns are cut into blocks of `block` channels (a cell's, or a group's) and each block into panels
/// of `width`, the last of a block filled up with zeros. A panel is `[K, width]`: so output channel `c` at row `k` is element
/// `((c / block * panels + c % block / width) * K + k) * width + c % block % width`, with `panels = ceil(block / width)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Kernel {
    /// Where it comes from.
    pub source: Source,
    /// Output channels of a block. Divides `C_out`, and `C_out / groups` unless the convolution is depthwise.
    pub block: usize,
    /// Columns of a panel: [`PANEL`] or half of it.
    pub width: usize,
}

impl Kernel {
    /// Panels of all blocks.
    #[must_use]
    pub const fn panels(&self, out_channels: usize) -> usize {
        out_channels / self.block * self.block.div_ceil(self.width)
    }

    /// The first output channel of a panel, and how many it has: the last of a block may have fewer than `width`.
    #[must_use]
    pub const fn channels(&self, panel: usize) -> (usize, usize) {
        let in_block = self.block.div_ceil(self.width);
        let first = panel % in_block * self.width;
        let left = self.block - first;
        (panel / in_block * self.block + first, if left < self.width { left } else { self.width })
    }
}

/// Where a kernel comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Source {
    /// A packed weight, the same for all samples: `[panels, K, width]`.
    Weight(WeightId),
    /// Mixed anew for every sample.
    Mixed(Mixing),
}

/// Mixing: `kernel[i, :] = sum_j alpha[i, j] * warehouse[j, :]`, for the mixtures `i` of a layer.
///
/// The mixtures are in *packed order*, `[O, S, I]` (output, spatial and input cell groups), where the method's own order is
/// `[S, O, I]`. The warehouse is stored by the kernel's panels: `[panels of a cell, cell_spatial * cell_in, cells, width]`. So
/// what one row of a panel of the kernel is mixed of stands together, and the product writes the packed kernel itself: with
/// mixture `(o, s, i)` and row `(t, c)` of a cell's panel `p`, row `(s + t) * C_in / groups + i * cell_in + c` of panel `p` of
/// block group `o` (only one of `S` and `cell_spatial` is not 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Mixing {
    /// `alpha`, `[mixtures, cells]`; `[mixtures, cells + 1]` with `constants`.
    pub attention: BufferId,
    /// `[panels of a cell, cell_spatial * cell_in, cells, width]`
    pub warehouse: WeightId,
    /// A constant part of each mixture, `[panels of a cell, cell_spatial * cell_in, mixtures, width]`: added times the last column
    /// of `alpha`. From a folded basis.
    pub constants: Option<WeightId>,
    /// `n`: cells of the warehouse, or of what a folded basis makes of it.
    pub cells: usize,
    /// Output channels of a cell; a multiple of the kernel's block.
    pub cell_out: usize,
    /// Input channels of a cell.
    pub cell_in: usize,
    /// Positions of a cell.
    pub cell_spatial: usize,
    /// `[O, S, I]`
    pub grid: [usize; 3],
    /// Whether panels are taken from the last to the first. Layers that share a warehouse alternate: one begins where the one
    /// before it ended, with what is in the cache.
    pub backwards: bool,
}

impl Mixing {
    /// `m`
    #[must_use]
    pub const fn mixtures(&self) -> usize {
        self.grid[0] * self.grid[1] * self.grid[2]
    }

    /// Elements of a mixture's attention.
    #[must_use]
    pub const fn pitch(&self) -> usize {
        if self.constants.is_some() { self.cells + 1 } else { self.cells }
    }
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

/// Convolution of a map `[input..., C_in]` to `[output..., C_out]`. A linear layer is one over `[1, 1, tokens]` with a kernel of
/// one position.
///
/// It is depthwise where `groups`, `C_in` and `C_out` are equal and not 1: then `K` is the kernel's positions, and blocks of the
/// kernel are channels.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Conv {
    /// `[input..., C_in]`
    pub input: BufferId,
    /// `[output..., C_out]`
    pub output: BufferId,
    /// `C_out` columns, `K = prod(kernel_size) * C_in / groups` rows.
    pub kernel: Kernel,
    /// `C_in`
    pub in_channels: usize,
    /// `C_out`
    pub out_channels: usize,
    /// Groups; divides both channel counts. Group `g` maps input channels `g * C_in / groups ..` to output channels
    /// `g * C_out / groups ..`.
    pub groups: usize,
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
    /// `[C_out]`: gets the mean of the result over all positions.
    pub average: Option<BufferId>,
}

impl Conv {
    /// Whether every channel is a group of its own.
    #[must_use]
    pub const fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.groups == self.in_channels && self.groups == self.out_channels
    }

    /// `K`: rows of the kernel.
    #[must_use]
    pub const fn depth(&self) -> usize {
        self.kernel_size[0] * self.kernel_size[1] * self.kernel_size[2] * (self.in_channels / self.groups)
    }
}

/// Mean over all positions: `[positions, channels]` to `[channels]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GlobalAverage {
    /// `[positions, channels]`
    pub input: BufferId,
    /// `[channels]`
    pub output: BufferId,
    /// Channels.
    pub channels: usize,
    /// Positions averaged over.
    pub positions: usize,
}

/// The contrasting-driven attention function of one dynamic layer (KernelWarehouse, section 3.3), from the channel
/// averages of its input to `alpha`, `[mixtures, cells]`.
///
/// `h = relu(norm(fc1 g + fc1_bias))`; `z = fc2 h + fc2_bias`, reshaped to `[mixtures, rows]`; with a [`Basis`] the
/// rows are expanded to `cells + 1`; `alpha = z / (sum_j |z_j| + 1e-3)` over all `cells + 1` logits of a mixture, blended
/// with `beta` where a [`Temperature`] is given; the last column (the null cell) is dropped. Where the basis is folded into the
/// warehouse, `alpha` is over what it is folded to instead: a mixture's local logits, those of the basis, and 1, all over the
/// same sum. The local ones have their bias then, and the constants of the [`Mixing`] hold that of all others; there is no
/// temperature.
///
/// The matrices of `fc1`, `fc2` and `fc3` are packed as a [`Kernel`]'s of one block, in panels of [`PANEL`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Attention {
    /// Channel averages `[channels]` of the layer's input.
    pub average: BufferId,
    /// `alpha`, `[mixtures, cells]`, mixtures in packed order (see [`Mixing`]); `[mixtures, local + rank + 1]` with a folded basis.
    pub output: BufferId,
    /// The layer's full input channel count.
    pub channels: usize,
    /// Hidden width.
    pub hidden: usize,
    /// Mixtures of the layer, `m`.
    pub mixtures: usize,
    /// Cells of the warehouse, `n`.
    pub cells: usize,
    /// `[hidden, channels]` in panels: `K = channels`.
    pub fc1: WeightId,
    /// `[hidden]`; present with a layer norm.
    pub fc1_bias: Option<WeightId>,
    /// Between `fc1` and the rectifier.
    pub norm: AttentionNorm,
    /// `[mixtures * rows, hidden]` in panels, where `rows` is `cells + 1`, or `local + rank + 1` with a basis.
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
    /// `[cells - local, rank]` in panels: `K = rank`.
    pub fc3: WeightId,
    /// `[mixtures * (cells + 1)]`, mixtures in packed order.
    pub bias: WeightId,
    /// Whether it is folded into the warehouse.
    pub is_folded: bool,
}

/// Training-time blending: `alpha = (1 - t) * alpha + t * beta`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Temperature {
    /// `t`, between 0 and 1.
    pub t: f32,
    /// For each mixture, in packed order, the one column of `beta` that is 1 (`cells` is the null cell).
    pub beta: List<u32>,
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

/// Pooling of `[input..., channels]` to `[output..., channels]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pool {
    /// Maximum or average.
    pub kind: PoolKind,
    /// `[input..., channels]`
    pub input: BufferId,
    /// `[output..., channels]`
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
    /// `[positions, channels]`
    pub input: BufferId,
    /// As the input; it may be the input's own buffer.
    pub output: BufferId,
    /// Channels.
    pub channels: usize,
    /// Positions.
    pub positions: usize,
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
    /// `[positions, channels]`
    pub input: BufferId,
    /// As the input; it may be the input's own buffer.
    pub output: BufferId,
    /// Channels.
    pub channels: usize,
    /// Positions.
    pub positions: usize,
    /// What is done.
    pub epilogue: Epilogue,
}

/// One part of a concatenation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ConcatPart {
    /// `[positions, channels]`
    pub buffer: BufferId,
    /// Channels.
    pub channels: usize,
}

/// Concatenation along channels.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Concat {
    /// The parts, in order.
    pub inputs: List<ConcatPart>,
    /// `[positions, sum of channels]`
    pub output: BufferId,
    /// Positions.
    pub positions: usize,
}

/// Nearest-neighbour upsampling by whole factors: output position `p` takes input position `p / factor`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Upsample {
    /// `[input..., channels]`
    pub input: BufferId,
    /// `[input * factor..., channels]`
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
