//! Kernels before they are text: a family of device code, the constants that specialise it, and its parameters.

use kwc_program::Activation;
use kwc_program::cuda::Element;

/// A kernel: what its entry point specialises, and what it takes.
///
/// Device code of a family is `template <class K> __device__ void run(...)` in `namespace kwc::<family>`. The emitted
/// kernel is a `struct K` with these constants and an entry point with the parameters that are used, which calls
/// `run<K>` with one argument for each of `parameters`, `nullptr` or 0 for an unused one.
#[derive(Debug, Clone, PartialEq)]
pub struct Kernel {
    /// Whose device code it is.
    pub family: Family,
    /// Members of the struct, by their names there (`IN_CHANNELS`).
    pub constants: Vec<(&'static str, Constant)>,
    /// What happens to a result before it is stored, if the family has an epilogue.
    pub epilogue: Option<Epilogue>,
    /// All parameters of `run`, in order.
    pub parameters: Vec<Parameter>,
    /// Threads of a block.
    pub threads: u32,
    /// Blocks that a multiprocessor shall hold at once (`__launch_bounds__`), at least 1: the registers are shared out so.
    pub resident: u32,
    /// Dynamic shared memory, bytes.
    pub shared_bytes: u32,
}

/// A specialising constant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Constant {
    /// `enum : int`
    Int(i64),
    /// `static constexpr float`
    Float(f32),
    /// `enum : bool`
    Bool(bool),
    /// `using NAME = half` or `float`
    Type(Element),
}

impl From<usize> for Constant {
    fn from(value: usize) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<bool> for Constant {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<Element> for Constant {
    fn from(value: Element) -> Self {
        Self::Type(value)
    }
}

/// `y = activation(x * scale + shift + add)`: becomes the constants `SCALE`, `SHIFT` and `ADD` (whether each is there) and
/// a function `static float finish(float x, float scale, float shift, float add)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epilogue {
    /// Whether there is a factor per channel.
    pub scale: bool,
    /// Whether there is a term per channel.
    pub shift: bool,
    /// Whether something is added.
    pub add: bool,
    /// Applied last.
    pub activation: Activation,
}

/// A parameter of a family's `run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: ParameterKind,
    /// Whether this kernel takes it.
    pub used: bool,
}

/// Types of parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterKind {
    /// `const T*`, read only: `__restrict__`.
    Input(Element),
    /// `T*`, written: `__restrict__`.
    Output(Element),
    /// `unsigned*`, counters that are zero before and after.
    Counters,
    /// `int`, the batch.
    Batch,
    /// `int`, a number of the layer.
    Int,
}

/// A figure of a launch. One that doesn't fit is the largest there is, which no launch may have.
pub(super) fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// A family of kernels: one file of device code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Implicit-GEMM convolution on tensor cores.
    Conv,
    /// The same in `f32`.
    ConvF32,
    /// Convolution of an image in PyTorch's order to channels last.
    Stem,
    /// Depthwise convolution.
    Depthwise,
    /// Any convolution, plainly: 3-d, grouped.
    Direct,
    /// Linear layer of one position.
    Linear,
    /// Mixing of warehouse cells on tensor cores.
    Mix,
    /// The same in `f32`.
    MixF32,
    /// Convolution that mixes its kernel on the way.
    MixConv,
    /// The hidden units of attentions.
    AttentionHidden,
    /// Attentions from their hidden units.
    AttentionMixtures,
    /// Partial sums over positions.
    PartialSums,
    /// Averages from partial sums.
    Average,
    /// Maximum or average over windows.
    Pool,
    /// Layer norm over channels.
    LayerNorm,
    /// A map per element.
    Map,
    /// One part of a concatenation.
    Concat,
    /// Nearest-neighbour upsampling.
    Upsample,
    /// Tensors in PyTorch's order to channels last.
    PortIn,
    /// Channels last to tensors in PyTorch's order.
    PortOut,
    /// A map as the vector that flattening it in PyTorch's order makes.
    Flatten,
    /// Rows of an attention in another order.
    GatherRows,
}

impl Family {
    /// Its namespace, and the name of its file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Conv => "conv",
            Self::ConvF32 => "conv_f32",
            Self::Stem => "stem",
            Self::Depthwise => "depthwise",
            Self::Direct => "direct",
            Self::Linear => "linear",
            Self::Mix => "mix",
            Self::MixF32 => "mix_f32",
            Self::MixConv => "mix_conv",
            Self::AttentionHidden => "attention_hidden",
            Self::AttentionMixtures => "attention_mixtures",
            Self::PartialSums => "partial_sums",
            Self::Average => "average",
            Self::Pool => "pool",
            Self::LayerNorm => "layer_norm",
            Self::Map => "map",
            Self::Concat => "concat",
            Self::Upsample => "upsample",
            Self::PortIn => "port_in",
            Self::PortOut => "port_out",
            Self::Flatten => "flatten",
            Self::GatherRows => "gather_rows",
        }
    }
}
