//! The Program: what the compiler hands to the runtime.
//!
//! A [`Program`] is a flat description of one network on one target: buffers with offsets in one arena, weights with
//! offsets in one packed block, and an ordered list of steps. It holds no tensors, and no logic
//! but counting what it asks for ([`Work`]). Every type here can be
//! built in a `const` (text and lists are [`Cow`]s), so generated Rust can hold a Program as tables, and the same types
//! carry a Program that was planned a moment ago in the same process.
//!
//! # Conventions
//!
//! - Sizes and offsets count elements, not bytes. On the CPU every element is an `f32`.
//! - Everything is *per sample*. With a batch of `B`, buffer `b` occupies
//!   `arena[b.offset * B .. (b.offset + b.length) * B]`, sample after sample; buffers that are live at the same time never
//!   overlap, whatever `B` is.
//! - Spatial sizes always have three entries; missing leading dimensions are 1 (a 2-d map is `[1, H, W]`, a 1-d one
//!   `[1, 1, L]`, a vector `[1, 1, 1]`).
//! - Maps and tokens are stored channels last, `[positions, C]`. Only inputs, outputs and dumps have PyTorch's order
//!   (`[C, spatial...]` for maps): [`Op::Import`] and [`Op::Export`] reorder them.

pub mod cuda;
mod op;
mod work;

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

pub use op::{
    Activation, Attention, AttentionNorm, Basis, Concat, ConcatPart, Conv, Epilogue, Export, GatherRows, GlobalAverage,
    Import, Kernel, LayerNorm, Map, Mixing, Op, PANEL, Pool, PoolKind, Source, Temperature, Upsample,
};
pub use work::Work;

/// A list that may be a constant table.
pub type List<T> = Cow<'static, [T]>;
/// A text that may be a constant.
pub type Text = Cow<'static, str>;

/// Version of this format. The runtime refuses a Program of any other.
pub const FORMAT_VERSION: u32 = 2;

/// Buffers and weights start at multiples of this many elements (64 bytes of `f32`).
pub const ALIGNMENT: usize = 16;

/// One network, planned for one target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Program {
    /// [`FORMAT_VERSION`] of the compiler that made it.
    pub format: u32,
    /// The network's name, from the spec.
    pub name: Text,
    /// What the caller supplies, in the order of the spec.
    pub inputs: List<Port>,
    /// What the caller gets, in the order of the spec.
    pub outputs: List<Port>,
    /// Activations that the caller asked to inspect, by the path of their module.
    pub dumps: List<Port>,
    /// All buffers; [`BufferId`] indexes this list.
    pub buffers: List<Buffer>,
    /// Elements of the arena per sample.
    pub arena: usize,
    /// Names the table of weights and how they are made, 64 hexadecimal digits: files of packed weights carry it, and one
    /// with another is refused.
    pub weights_id: Text,
    /// All packed weights; [`WeightId`] indexes this list.
    pub weights: List<Weight>,
    /// Elements of the packed block that holds all weights.
    pub weight_elements: usize,
    /// What to do, in order.
    pub steps: List<Step>,
}

/// Index into [`Program::buffers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct BufferId(pub u32);

/// Index into [`Program::weights`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct WeightId(pub u32);

impl fmt::Display for BufferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "buffer{}", self.0)
    }
}

impl fmt::Display for WeightId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "weight{}", self.0)
    }
}

/// A named tensor at the edge of the Program.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Port {
    /// The name in the spec; for a dump, the module's path.
    pub name: Text,
    /// Where it is stored.
    pub buffer: BufferId,
    /// Shape of one sample, without the batch.
    pub shape: List<usize>,
}

/// A place in the arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Buffer {
    /// First element, per sample; a multiple of [`ALIGNMENT`].
    pub offset: usize,
    /// Elements per sample.
    pub length: usize,
}

/// A packed constant.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Weight {
    /// Derived from the checkpoint's name, for dumps and errors.
    pub name: Text,
    /// First element in the packed block; a multiple of [`ALIGNMENT`].
    pub offset: usize,
    /// Shape as packed, outermost first.
    pub shape: List<usize>,
    /// What the dimensions mean.
    pub layout: Layout,
}

impl Weight {
    /// Elements of this weight.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// How a weight's elements are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Layout {
    /// One value per channel.
    Vector,
    /// A packed kernel ([`Kernel`]): `[panels, K, width]`.
    Panels,
    /// A packed warehouse ([`Mixing`]): `[panels of a cell, cell_spatial * cell_in, cells, width]`.
    Cells,
    /// One value per row of the attention's last layer, `[mixtures * rows]`, the mixtures in packed order ([`Mixing`]).
    Mixtures,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// Path of the layer that it stems from, for profiles and errors.
    pub layer: Text,
    /// The operation.
    pub op: Op,
}
