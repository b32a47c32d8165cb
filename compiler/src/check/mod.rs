//! Invariants of a network. Only [`check`] makes a [`Checked`] network, and later stages take nothing else.
//!
//! What holds afterwards:
//!
//! - every id in the network is in range, and every layer reads only inputs and results of earlier layers;
//! - the shape of every value follows from its producer's operation and inputs ([`Op`]'s own rules), and no tensor has
//!   more than [`partition::MAX_ELEMENTS`] elements;
//! - every tensor of the state dict has a name of its own;
//! - every warehouse has members of one kernel rank, whose kernels its cells divide, and its budget starts every cell
//!   exactly once ([`mod@crate::partition`]);
//! - `registration` holds every layer exactly once;
//! - settings of warehouses are finite and above 0;
//! - there is at least one input, one output and one layer, and outputs have names of their own.
//!
//! [`Op`]: crate::ir::Op

mod names;
pub mod shapes;
mod structure;

use crate::diagnostic::Diagnostics;
use crate::ir::{Layer, LayerId, Network, WarehouseId};
use crate::partition::{self, Cells, Mixtures, Partition};
use crate::source::Sources;

/// A network that keeps all invariants, with its partition.
#[derive(Debug, Clone)]
pub struct Checked {
    network: Network,
    partition: Partition,
    /// Of each layer: `FILE:LINE:COLUMN`.
    places: Vec<String>,
}

impl Checked {
    /// The network.
    #[must_use]
    pub const fn network(&self) -> &Network {
        &self.network
    }

    /// Where the spec says so: `FILE:LINE:COLUMN`, for errors.
    #[must_use]
    pub fn place(&self, id: LayerId) -> Option<&str> {
        self.places.get(id.index()).map(String::as_str)
    }

    /// Notes where layers stand in the sources.
    pub(crate) fn locate(&mut self, sources: &Sources) {
        let place = |layer: &Layer| {
            let name = sources.file(layer.span.file).map_or("", |file| file.name.as_str());
            format!("{name}:{}", sources.position(layer.span))
        };
        self.places = self.network.layers.iter().map(place).collect();
    }

    /// Its partition.
    #[must_use]
    pub const fn partition(&self) -> &Partition {
        &self.partition
    }

    /// The cells of a warehouse.
    #[must_use]
    pub fn cells(&self, id: WarehouseId) -> &Cells {
        &self.partition.warehouses[id.index()]
    }

    /// The mixtures of a dynamic layer.
    ///
    /// # Panics
    /// If the layer isn't dynamic.
    #[must_use]
    pub fn mixtures(&self, id: LayerId) -> &Mixtures {
        &self.partition.layers[&id]
    }
}

/// Partitions and checks a network. Errors go to `diagnostics`; the result is there if there was none.
pub fn check(network: Network, diagnostics: &mut Diagnostics) -> Option<Checked> {
    let sound = structure::check_structure(&network, diagnostics) && structure::check_shapes(&network, diagnostics);
    if !sound {
        return None;
    }
    let partition = partition::partition(&network, diagnostics)?;
    let checked = Checked { network, partition, places: Vec::new() };
    let before = diagnostics.len();
    names::check_names(&checked, diagnostics);
    (diagnostics.len() == before).then_some(checked)
}
