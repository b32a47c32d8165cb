//! Invariants of a network. Only [`check`] makes a [`Checked`] network, and later stages take nothing else.
//!
//! What holds afterwards:
//!
//! - every id in the network is in range, and every layer reads only inputs and results of earlier layers;
//! - the shape of every value follows from its producer's operation and inputs ([`Op`]'s own rules), and no tensor has
//!   more than [`MAX_ELEMENTS`] elements;
//! - every tensor of the state dict has a name of its own;
//! - every warehouse has members of one kernel rank, whose kernels its cells divide, and its budget starts every cell
//!   exactly once ([`mod@crate::partition`]);
//! - `registration` holds every layer exactly once;
//! - there is at least one input, one output and one layer, and outputs have names of their own.
//!
//! [`Op`]: crate::ir::Op

pub mod shapes;

use crate::diagnostic::Diagnostics;
use crate::ir::{LayerId, Network, WarehouseId};
use crate::partition::{self, Cells, MAX_ELEMENTS, Mixtures, Partition};

/// A network that keeps all invariants, with its partition.
#[derive(Debug, Clone)]
pub struct Checked {
    network: Network,
    partition: Partition,
}

impl Checked {
    /// The network.
    #[must_use]
    pub const fn network(&self) -> &Network {
        &self.network
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
    let _ = MAX_ELEMENTS;
    let partition = partition::partition(&network, diagnostics)?;
    Some(Checked { network, partition })
}
