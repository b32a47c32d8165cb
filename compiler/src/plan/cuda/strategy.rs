//! How a plan computes its dynamic layers: read from the kernels that it launches.

use kwc_program::cuda::Variant;
use serde::Serialize;

use super::Planned;
use super::bounds::MICRO;
use super::kernel::{Constant, Family, Kernel};

/// How a dynamic layer is computed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Strategy {
    /// Path of the layer, as its launches have it.
    pub layer: String,
    /// What its kernel is mixed of.
    pub cells: CellSource,
    /// How many cells it is mixed of.
    pub cell_count: usize,
    /// Family of the kernel that mixes.
    pub mixing: &'static str,
    /// Family of the kernel that convolves, each sample with its own mixed kernel; null if the layer launches none. The one
    /// that mixes, if that is done inside the convolution.
    pub convolution: Option<&'static str>,
    /// For a layer that could be computed in both ways, what the model says of them; absent for others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modelled: Option<Modelled>,
}

/// Modelled times of a dynamic layer, without its attention, microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Modelled {
    /// Mixing, then convolving.
    pub apart: f64,
    /// Mixing inside the convolution.
    pub inside: f64,
}

impl Strategy {
    /// Whether one kernel mixes and convolves.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        self.convolution == Some(self.mixing)
    }
}

/// What a layer's kernel is mixed of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CellSource {
    /// The cells of its warehouse.
    Warehouse,
    /// Its own cells, and the others as its basis combines them.
    FoldedBasis,
}

impl Planned {
    /// The strategies of a variant's dynamic layers, in the order of their mixing.
    #[must_use]
    pub fn strategies(&self, variant: &Variant) -> Vec<Strategy> {
        let launched: Vec<(&str, &Kernel)> =
            variant.launches.iter().filter_map(|l| Some((&*l.layer, self.kernels.get(l.kernel.0 as usize)?))).collect();
        let of = |layer: &str, role: Role| {
            let mut all =
                launched.iter().filter(move |(name, kernel)| *name == layer && Role::of(kernel.family) == role);
            all.next().map(|(_, kernel)| *kernel)
        };
        let index = self.program.variants.iter().position(|other| other.batch == variant.batch);
        let choices = index.and_then(|index| self.choices.get(index)).map_or(&[][..], Vec::as_slice);
        let mixing = launched.iter().filter(|(_, kernel)| matches!(Role::of(kernel.family), Role::Mixing | Role::Both));
        let strategy = |&(layer, kernel): &(&str, &Kernel)| {
            let is_folded =
                of(layer, Role::Attention).is_some_and(|k| k.constant("FOLDED") == Some(Constant::Bool(true)));
            let cell_count = match kernel.constant("CELLS") {
                Some(Constant::Int(cells)) => usize::try_from(cells).unwrap_or(0),
                Some(Constant::Float(_) | Constant::Bool(_) | Constant::Type(_)) | None => 0,
            };
            Strategy {
                layer: layer.to_owned(),
                cells: if is_folded { CellSource::FoldedBasis } else { CellSource::Warehouse },
                cell_count,
                mixing: kernel.family.name(),
                convolution: match Role::of(kernel.family) {
                    Role::Both => Some(kernel.family.name()),
                    Role::Attention | Role::Mixing | Role::Product | Role::Other => {
                        of(layer, Role::Product).map(|kernel| kernel.family.name())
                    }
                },
                modelled: choices
                    .iter()
                    .find(|choice| choice.layer == layer)
                    .map(|choice| Modelled { apart: choice.apart * MICRO, inside: choice.inside * MICRO }),
            }
        };
        mixing.map(strategy).collect()
    }
}

impl Kernel {
    /// A constant by its name.
    #[must_use]
    pub fn constant(&self, name: &str) -> Option<Constant> {
        self.constants.iter().find(|(constant, _)| *constant == name).map(|&(_, value)| value)
    }
}

/// What a family is for a dynamic layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Attention,
    Mixing,
    Product,
    /// Mixing and the product.
    Both,
    Other,
}

impl Role {
    const fn of(family: Family) -> Self {
        match family {
            Family::AttentionMixtures => Self::Attention,
            Family::Mix | Family::MixF32 => Self::Mixing,
            Family::MixConv => Self::Both,
            Family::Conv | Family::ConvF32 | Family::Stem | Family::Depthwise | Family::Direct | Family::Linear => {
                Self::Product
            }
            Family::AttentionHidden
            | Family::PartialSums
            | Family::Average
            | Family::Pool
            | Family::LayerNorm
            | Family::Map
            | Family::Concat
            | Family::Upsample
            | Family::PortIn
            | Family::PortOut
            | Family::Flatten
            | Family::GatherRows => Self::Other,
        }
    }
}
