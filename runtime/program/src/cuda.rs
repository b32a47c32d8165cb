//! The Program for a CUDA device: kernels, where their operands lie, and what to launch in which order.
//!
//! # Conventions
//!
//! - Sizes and offsets count bytes.
//! - A batch of `B` samples runs the [`Variant`] whose range `B` is in. Its buffer `b` occupies
//!   `arena[b.offset * B .. (b.offset + b.length) * B]`, sample after sample; buffers that are live at the same time never
//!   overlap, whatever `B` is.
//! - Buffers `0..inputs` of every variant are the inputs, the next ones the outputs, then the dumps: all of them `f32` in
//!   PyTorch's order, `[batch, shape...]`. No other buffer shares memory with an input before the last launch that reads it,
//!   and none with an output or a dump after the first launch that writes it.
//! - Other activations are channels last, `[positions, pitch]`, where the pitch is the number of channels rounded up to
//!   [`CHANNELS`]; the elements between are zeros.

use serde::Serialize;

use crate::{BufferId, List, Text, WeightId};

/// Version of this format. The runtime refuses a Program of any other.
pub const FORMAT_VERSION: u32 = 2;

/// Buffers and weights start at multiples of this many bytes.
pub const ALIGNMENT: usize = 256;

/// Channels of an activation are padded to a multiple of this: 16 bytes in half precision.
pub const CHANNELS: usize = 8;

/// One network, planned for CUDA devices.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Program {
    /// [`FORMAT_VERSION`] of the compiler that made it.
    pub format: u32,
    /// The network's name, from the spec.
    pub name: Text,
    /// Type of activations, kernels and warehouses.
    pub precision: Precision,
    /// The GPU whose figures the plan was made with; it runs on others too.
    pub gpu: Text,
    /// Largest batch.
    pub max_batch: usize,
    /// What the caller supplies, in the order of the spec.
    pub inputs: List<Port>,
    /// What the caller gets, in the order of the spec.
    pub outputs: List<Port>,
    /// Activations that the caller asked to inspect, by the path of their module.
    pub dumps: List<Port>,
    /// All packed weights; [`WeightId`] indexes this list.
    pub weights: List<Weight>,
    /// Bytes of the packed block that holds all weights.
    pub weight_bytes: usize,
    /// Names the weights' table: packed weights belong to a Program if theirs is the same. 64 hexadecimal digits.
    pub weights_id: Text,
    /// Names the kernels' source: compiled code belongs to a Program if its source's is the same. 64 hexadecimal digits.
    pub source_id: Text,
    /// 32-bit counters that are zero whenever no launch runs. Kernels that count in them leave them at zero.
    pub counters: usize,
    /// All kernels; [`KernelId`] indexes this list.
    pub kernels: List<Kernel>,
    /// By range of batch sizes, ascending; the last one's is `max_batch`.
    pub variants: List<Variant>,
}

impl Program {
    /// The variant for a batch, if there is one that large.
    #[must_use]
    pub fn variant(&self, batch: usize) -> Option<&Variant> {
        self.variants.iter().find(|variant| batch <= variant.batch)
    }
}

/// Index into [`Program::kernels`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct KernelId(pub u32);

/// Precision of what is stored. Sums, the attention and its normaliser are `f32` in either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Precision {
    /// Products on tensor cores.
    F16,
    /// The exact path.
    F32,
}

/// Type of stored elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Element {
    /// IEEE binary16.
    F16,
    /// IEEE binary32.
    F32,
}

impl Element {
    /// Bytes of one element.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
        }
    }
}

impl Precision {
    /// Type of activations, kernels and warehouses.
    #[must_use]
    pub const fn element(self) -> Element {
        match self {
            Self::F16 => Element::F16,
            Self::F32 => Element::F32,
        }
    }
}

/// A named tensor at the edge of the Program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Port {
    /// The name in the spec; for a dump, the module's path.
    pub name: Text,
    /// Shape of one sample, without the batch.
    pub shape: List<usize>,
}

impl Port {
    /// Elements of one sample.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// A packed constant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Weight {
    /// Derived from the checkpoint's name, for dumps and errors.
    pub name: Text,
    /// First byte in the packed block; a multiple of [`ALIGNMENT`].
    pub offset: usize,
    /// Type of its elements.
    pub element: Element,
    /// Shape as packed, outermost first, padding included.
    pub shape: List<usize>,
    /// What the dimensions mean, such as `[positions, in_channels, out_channels]`.
    pub layout: Text,
}

impl Weight {
    /// Bytes of this weight.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.element.bytes()
    }
}

/// A kernel of the compiled module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kernel {
    /// Its entry point.
    pub symbol: Text,
    /// Threads of a block.
    pub threads: u32,
    /// Dynamic shared memory, bytes.
    pub shared_bytes: u32,
}

/// What is launched for a range of batch sizes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Variant {
    /// Largest batch of the range; the smallest is one more than the largest of the variant before.
    pub batch: usize,
    /// All buffers; [`BufferId`] indexes this list.
    pub buffers: List<Buffer>,
    /// Bytes of the arena per sample.
    pub arena: usize,
    /// What to launch, in order.
    pub launches: List<Launch>,
}

/// A place in the arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Buffer {
    /// First byte, per sample; a multiple of [`ALIGNMENT`].
    pub offset: usize,
    /// Bytes per sample.
    pub length: usize,
}

/// One launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Launch {
    /// Path of the layer that it stems from, for profiles and errors.
    pub layer: Text,
    /// What is launched.
    pub kernel: KernelId,
    /// Blocks: x, y, z.
    pub grid: [Extent; 3],
    /// Arguments, in the order of the kernel's parameters.
    pub arguments: List<Argument>,
}

/// Blocks in one dimension of a grid: `ceil((fixed + per_sample * batch) / divisor)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Extent {
    /// Work whatever the batch.
    pub fixed: u32,
    /// Work for each sample.
    pub per_sample: u32,
    /// Work of one block.
    pub divisor: u32,
}

impl Extent {
    /// One block.
    pub const ONE: Self = Self::fixed(1);
    /// One block for each sample.
    pub const BATCH: Self = Self { fixed: 0, per_sample: 1, divisor: 1 };

    /// So many blocks.
    #[must_use]
    pub const fn fixed(blocks: u32) -> Self {
        Self { fixed: blocks, per_sample: 0, divisor: 1 }
    }

    /// Blocks for a batch.
    #[must_use]
    pub const fn blocks(self, batch: usize) -> u64 {
        (self.fixed as u64 + self.per_sample as u64 * batch as u64).div_ceil(self.divisor as u64)
    }
}

/// An argument of a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Argument {
    /// Address of a buffer's first byte.
    Buffer(BufferId),
    /// Address of a weight's first byte.
    Weight(WeightId),
    /// Address of a counter.
    Counter(u32),
    /// The batch, as a 32-bit integer.
    Batch,
    /// A number, as a 32-bit integer: what tells layers of one kernel apart.
    Int(i32),
}

impl Argument {
    /// A number that is known to be small.
    #[must_use]
    pub fn int(number: usize) -> Self {
        Self::Int(i32::try_from(number).unwrap_or(i32::MAX))
    }
}
