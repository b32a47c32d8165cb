//! The network: values, layers and warehouses, with all shapes known.
//!
//! A [`Network`] is a straight list of layers in data-flow order: every layer reads values that the network's inputs or
//! earlier layers made, and makes one value. Blocks, repetition, branches and parameters of the spec are gone; what is left
//! of them are the *paths* of layers and of the modules around them.
//!
//! What each operation computes is documented at [`Op`]; the method's own words are in [`crate::partition`].

mod dump;
mod shape;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

pub use dump::Dump;
pub use kwc_program::Activation;
pub use shape::{ChannelOrder, Shape};

use crate::source::Span;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u32);

        impl $name {
            /// The id of the element at `index`.
            #[must_use]
            pub fn from_index(index: usize) -> Self {
                Self(u32::try_from(index).unwrap_or(u32::MAX))
            }

            /// Position in the network's list.
            #[must_use]
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

id!(
    /// A value: one activation tensor.
    ValueId, "v"
);
id!(
    /// A layer, by its place in the data flow.
    LayerId, "l"
);
id!(
    /// A warehouse, by its number in the checkpoint.
    WarehouseId, "w"
);

/// A network.
#[derive(Debug, Clone)]
pub struct Network {
    /// The spec's name for it.
    pub name: String,
    /// What the caller supplies.
    pub inputs: Vec<Port>,
    /// What the caller gets.
    pub outputs: Vec<Port>,
    /// All values; [`ValueId`] indexes this list.
    pub values: Vec<Value>,
    /// All layers in data-flow order; [`LayerId`] indexes this list.
    pub layers: Vec<Layer>,
    /// All warehouses in checkpoint order; [`WarehouseId`] indexes this list.
    pub warehouses: Vec<Warehouse>,
    /// All layers in the order in which their modules are registered.
    pub registration: Vec<LayerId>,
    /// The result of every module that has a path: layers, and named sequences, blocks and repetitions around them.
    pub paths: BTreeMap<String, ValueId>,
    /// How an image becomes the input, if the spec says so.
    pub image: Option<Image>,
}

impl Network {
    /// The value of an id.
    #[must_use]
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.index()]
    }

    /// The layer of an id.
    #[must_use]
    pub fn layer(&self, id: LayerId) -> &Layer {
        &self.layers[id.index()]
    }

    /// The warehouse of an id.
    #[must_use]
    pub fn warehouse(&self, id: WarehouseId) -> &Warehouse {
        &self.warehouses[id.index()]
    }

    /// All layers in data-flow order, with their ids.
    pub fn layers(&self) -> impl Iterator<Item = (LayerId, &Layer)> {
        self.layers.iter().enumerate().map(|(i, l)| (LayerId::from_index(i), l))
    }

    /// All dynamic layers in the order of registration, with the warehouse of each.
    pub fn dynamic_layers(&self) -> impl Iterator<Item = (LayerId, &Layer, WarehouseId)> {
        self.registration.iter().filter_map(|&id| {
            let layer = self.layer(id);
            layer.op.warehouse().map(|w| (id, layer, w))
        })
    }
}

/// A named value at the edge of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// The value.
    pub value: ValueId,
}

/// One activation tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// Shape of one sample.
    pub shape: Shape,
    /// The layer that makes it; an input has none.
    pub producer: Option<LayerId>,
}

/// A layer.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Path of its module in the state dict. Layers without a name of their own have the path of what is around them, so
    /// that only layers with parameters are sure to have a path of their own. Never empty for those.
    pub path: String,
    /// What it computes.
    pub op: Op,
    /// What it reads.
    pub inputs: Vec<ValueId>,
    /// What it makes.
    pub output: ValueId,
    /// Where the spec says so.
    pub span: Span,
}

/// What a layer computes.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// Convolution of a map, static or dynamic.
    Conv(Conv),
    /// Linear map over channels at every position, static or dynamic.
    Linear(Linear),
    /// Batch norm with stored statistics: `(x - mean) / sqrt(var + epsilon) * weight + bias` per channel.
    BatchNorm {
        /// Added to the variance.
        epsilon: f64,
    },
    /// Layer norm over channels at every position, with the biased variance.
    LayerNorm {
        /// Added to the variance.
        epsilon: f64,
    },
    /// Times a learned factor per channel.
    Scale {
        /// Full name of the parameter in the state dict.
        parameter: String,
        /// Its shape in the state dict; its product is the channel count.
        shape: Vec<usize>,
    },
    /// An element-wise function.
    Activation(Activation),
    /// Maximum or average over windows.
    Pool(Pool),
    /// Mean over all positions.
    GlobalAverage,
    /// Sum of two or more values of equal shape.
    Add,
    /// Concatenation along channels.
    Concat,
    /// Nearest-neighbour upsampling by a whole factor per spatial dimension.
    Upsample {
        /// One per spatial dimension.
        factor: Vec<usize>,
    },
    /// The same elements as a vector.
    Flatten,
}

impl Op {
    /// The convolution that a layer with a kernel is: itself, or for a linear layer the 1-d one with kernel 1 that it
    /// amounts to.
    #[must_use]
    pub fn convolution(&self) -> Option<Cow<'_, Conv>> {
        match self {
            Self::Conv(conv) => Some(Cow::Borrowed(conv)),
            Self::Linear(linear) => Some(Cow::Owned(Conv {
                in_channels: linear.in_channels,
                out_channels: linear.out_channels,
                kernel: vec![1],
                stride: vec![1],
                padding: vec![0],
                dilation: vec![1],
                groups: 1,
                bias: linear.bias,
                warehouse: linear.warehouse,
            })),
            Self::BatchNorm { .. }
            | Self::LayerNorm { .. }
            | Self::Scale { .. }
            | Self::Activation(_)
            | Self::Pool(_)
            | Self::GlobalAverage
            | Self::Add
            | Self::Concat
            | Self::Upsample { .. }
            | Self::Flatten => None,
        }
    }

    /// The warehouse of a dynamic layer.
    #[must_use]
    pub const fn warehouse(&self) -> Option<WarehouseId> {
        match self {
            Self::Conv(c) => c.warehouse,
            Self::Linear(l) => l.warehouse,
            Self::BatchNorm { .. }
            | Self::LayerNorm { .. }
            | Self::Scale { .. }
            | Self::Activation(_)
            | Self::Pool(_)
            | Self::GlobalAverage
            | Self::Add
            | Self::Concat
            | Self::Upsample { .. }
            | Self::Flatten => None,
        }
    }
}

/// A convolution. The lists have one entry per spatial dimension of its input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conv {
    /// `C_in`, all groups together.
    pub in_channels: usize,
    /// `C_out`
    pub out_channels: usize,
    /// Kernel size.
    pub kernel: Vec<usize>,
    /// Step between windows.
    pub stride: Vec<usize>,
    /// Zeros on both sides.
    pub padding: Vec<usize>,
    /// Step between the kernel's positions.
    pub dilation: Vec<usize>,
    /// Divides both channel counts.
    pub groups: usize,
    /// Whether it has a bias.
    pub bias: bool,
    /// The warehouse that its kernel is mixed from; a static layer has none.
    pub warehouse: Option<WarehouseId>,
}

impl Conv {
    /// Elements of its kernel, `[C_out, C_in / groups, kernel...]`.
    #[must_use]
    pub fn kernel_elements(&self) -> usize {
        self.out_channels * (self.in_channels / self.groups) * self.kernel.iter().product::<usize>()
    }
}

/// A linear layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linear {
    /// `C_in`
    pub in_channels: usize,
    /// `C_out`
    pub out_channels: usize,
    /// Whether it has a bias.
    pub bias: bool,
    /// The warehouse that its kernel is mixed from; a static layer has none.
    pub warehouse: Option<WarehouseId>,
}

/// Pooling. The lists have one entry per spatial dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Which value a window yields.
    pub kind: kwc_program::PoolKind,
    /// Window.
    pub kernel: Vec<usize>,
    /// Step between windows.
    pub stride: Vec<usize>,
    /// Padding on both sides.
    pub padding: Vec<usize>,
}

/// A warehouse as the spec declares it.
#[derive(Debug, Clone, PartialEq)]
pub struct Warehouse {
    /// Its name.
    pub name: String,
    /// How it is partitioned.
    pub settings: Settings,
    /// Where it is declared, or first named.
    pub span: Span,
}

/// The settings of a warehouse.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// `b`: cells per mixture.
    pub budget: f64,
    /// Fraction of the common output channels that a cell has.
    pub cell_out_ratio: f64,
    /// Fraction of the common input channels that a cell has.
    pub cell_in_ratio: f64,
    /// Hidden width of the attention, as a fraction of the input channels.
    pub reduction: f64,
    /// Rank of the non-local basis, as a fraction of the non-local cells; `None` without a basis.
    pub basis_ratio: Option<f64>,
    /// What part of the kernel's spatial extent a cell covers.
    pub partition: SpatialPartition,
    /// The norm in the attention.
    pub attention_norm: AttentionNorm,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            budget: 1.0,
            cell_out_ratio: 1.0,
            cell_in_ratio: 1.0,
            reduction: 1.0 / 16.0,
            basis_ratio: None,
            partition: SpatialPartition::Spatial,
            attention_norm: AttentionNorm::Batch,
        }
    }
}

/// What part of the kernel's spatial extent a cell covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpatialPartition {
    /// One position.
    Spatial,
    /// All of it.
    Whole,
}

/// The norm between the attention's first layer and its rectifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttentionNorm {
    /// Batch norm; the first layer has no bias.
    Batch,
    /// Layer norm; the first layer has a bias.
    Layer,
}

/// How an image becomes the network's input.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// Size before cropping; `None` leaves the image as it is.
    pub resize: Option<Resize>,
    /// How to resize.
    pub interpolation: Interpolation,
    /// Mean per channel, of values between 0 and 1.
    pub mean: Vec<f32>,
    /// Standard deviation per channel.
    pub std: Vec<f32>,
    /// Names of the classes; may be empty.
    pub labels: Vec<String>,
}

/// Target of resizing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resize {
    /// The shorter side gets this length; the other keeps the ratio.
    Shorter(usize),
    /// Exactly this size.
    Exact {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
}

/// Filter for resizing; both widen when shrinking (antialiasing).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interpolation {
    /// Triangle filter.
    Bilinear,
    /// Cubic filter, `a = -0.5`.
    Bicubic,
}
