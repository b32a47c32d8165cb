//! The plan report: what a partition means and what it costs, for people and for machines.
//!
//! A [`Report`] is plain data. Its fields are the JSON of `kwc plan --format json`; the command draws the same data as
//! tables.
//!
//! # Cost
//!
//! Costs count multiply-adds of one forward pass of one sample. For a dynamic layer with `m` mixtures over `n` cells of
//! `e` elements, from the method's definition (KernelWarehouse, sections 3.1 to 3.3):
//!
//! - convolution: `output positions * C_out * C_in / groups * kernel positions`, as for a static layer;
//! - mixing: `m * n * e`, the product of the attention with the warehouse;
//! - attention: `C_in * hidden + hidden * m * rows`, and `m * q * (n - local)` more with a basis of rank `q`, where `rows`
//!   is the number of logits that the last layer makes for a mixture ([`Mixtures::rows`]).
//!
//! Norms, activations, pooling and additions are not counted. Products saturate at the largest `u64`.
//!
//! [`Mixtures::rows`]: crate::partition::Mixtures::rows

use std::collections::BTreeMap;

use serde::Serialize;

use crate::check::Checked;
use crate::ir::{self, AttentionNorm, Conv, LayerId, Network, SpatialPartition};
use crate::partition::{Cells, Mixtures};
use crate::state::{self, Tensor};

/// Bytes of an element in single precision.
const ELEMENT_BYTES: u64 = 4;

/// A network's partition and its cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The network's name.
    pub name: String,
    /// What the caller supplies, in the spec's order.
    pub inputs: Vec<Port>,
    /// What the caller gets, in the spec's order.
    pub outputs: Vec<Port>,
    /// Learned parameters.
    pub parameters: usize,
    /// Learned parameters of the same network with every dynamic layer made static.
    pub static_parameters: usize,
    /// Cost of the whole network.
    pub totals: Totals,
    /// The warehouses, in the order of the checkpoint.
    pub warehouses: Vec<Warehouse>,
    /// The dynamic layers, in the order of registration.
    pub layers: Vec<Layer>,
}

/// A named tensor at the edge of the network.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Shape of one sample.
    pub shape: Vec<usize>,
}

/// Sums over the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// All layers of the network, the element-wise ones too.
    pub layers: usize,
    /// Cost of the dynamic layers.
    pub dynamic: Cost,
    /// Multiply-adds of static convolutions and linear layers.
    pub static_layers: u64,
    /// All multiply-adds.
    pub multiply_adds: u64,
    /// Bytes of all warehouses in single precision.
    pub warehouse_bytes: u64,
    /// Bytes of warehouse cells that one forward pass reads, in single precision: each layer reads its whole warehouse.
    pub warehouse_reads: u64,
    /// Bytes of all mixed kernels of one sample, in single precision.
    pub kernel_bytes: u64,
}

/// Multiply-adds of dynamic layers, for one sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// The convolution with the mixed kernel.
    pub convolution: u64,
    /// Mixing of the kernel from the warehouse.
    pub mixing: u64,
    /// The attention function.
    pub attention: u64,
}

impl Cost {
    const NOTHING: Self = Self { convolution: 0, mixing: 0, attention: 0 };

    /// All three together.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.convolution.saturating_add(self.mixing).saturating_add(self.attention)
    }

    fn plus(self, other: &Self) -> Self {
        Self {
            convolution: self.convolution.saturating_add(other.convolution),
            mixing: self.mixing.saturating_add(other.mixing),
            attention: self.attention.saturating_add(other.attention),
        }
    }
}

/// A warehouse.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Warehouse {
    /// Its name.
    pub name: String,
    /// `n`
    pub cells: usize,
    /// `[cell_out, cell_in, cell_spatial...]`
    pub cell_shape: Vec<usize>,
    /// `b` as the spec asks for it.
    pub budget: f64,
    /// Cells per mixture that came out, after truncation.
    pub budget_got: f64,
    /// `m_t`: mixtures of all its layers.
    pub mixtures: usize,
    /// Elements of all its cells.
    pub parameters: usize,
    /// The same in bytes, in single precision.
    pub bytes: u64,
    /// Fraction of the common output channels that a cell has.
    pub cell_out_ratio: f64,
    /// Fraction of the common input channels that a cell has.
    pub cell_in_ratio: f64,
    /// Hidden width of the attention as a fraction of the input channels.
    pub reduction: f64,
    /// Rank of the basis as a fraction of the non-local cells; null without a basis.
    pub basis_ratio: Option<f64>,
    /// `spatial` (a cell covers one position of the kernel) or `whole`.
    pub partition: &'static str,
    /// `batch` or `layer`.
    pub attention_norm: &'static str,
    /// Module paths of its layers, in the order of registration.
    pub members: Vec<String>,
}

/// A dynamic layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Layer {
    /// Path of its module in the state dict.
    pub name: String,
    /// Index into [`Report::warehouses`].
    pub warehouse: usize,
    /// `C_in`, all groups together.
    pub in_channels: usize,
    /// `C_out`
    pub out_channels: usize,
    /// Kernel size; `[1]` for a linear layer, as for all lists below.
    pub kernel: Vec<usize>,
    /// Step between windows.
    pub stride: Vec<usize>,
    /// Zeros on both sides.
    pub padding: Vec<usize>,
    /// Step between the kernel's positions.
    pub dilation: Vec<usize>,
    /// Groups.
    pub groups: usize,
    /// Whether it has a bias.
    pub bias: bool,
    /// `m`
    pub mixtures: usize,
    /// How the mixtures cover the kernel.
    pub mixture_grid: Grid,
    /// The first of its own cells.
    pub start_cell: usize,
    /// How many cells are its own.
    pub local_cells: usize,
    /// Hidden width of its attention.
    pub hidden: usize,
    /// Rank of the non-local basis; null without one.
    pub basis: Option<usize>,
    /// Output positions that the kernel is applied at.
    pub positions: usize,
    /// Elements of its kernel, mixed anew for each sample.
    pub kernel_elements: usize,
    /// Learned parameters of its own: its attention and its bias.
    pub parameters: usize,
    /// Its cost.
    pub multiply_adds: Cost,
}

/// Cell groups of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Grid {
    /// Positions, or 1 where a cell covers the whole kernel.
    pub spatial: usize,
    /// Groups of output channels.
    pub out: usize,
    /// Groups of input channels.
    #[serde(rename = "in")]
    pub input: usize,
}

impl Report {
    /// Describes a network.
    #[must_use]
    pub fn new(checked: &Checked) -> Self {
        let network = checked.network();
        let tensors = state::tensors(checked);
        let mut parameters: BTreeMap<LayerId, usize> = BTreeMap::new();
        for tensor in &tensors {
            if let Some(id) = tensor.layer {
                *parameters.entry(id).or_default() += state::count(std::iter::once(tensor));
            }
        }
        let dynamic = network.dynamic_layers();
        let layers: Vec<Layer> = dynamic
            .filter_map(|(id, layer, _)| {
                let conv = layer.op.convolution()?;
                Some(dynamic_layer(checked, id, &conv, parameters.get(&id).copied().unwrap_or(0)))
            })
            .collect();
        Self {
            name: network.name.clone(),
            inputs: ports(network, &network.inputs),
            outputs: ports(network, &network.outputs),
            parameters: state::count(tensors.iter()),
            static_parameters: static_parameters(network, &tensors),
            totals: totals(checked, &layers),
            warehouses: checked
                .partition()
                .warehouses
                .iter()
                .zip(&network.warehouses)
                .map(|(cells, declared)| warehouse(network, declared, cells))
                .collect(),
            layers,
        }
    }

    /// Whether the network has no dynamic layer.
    #[must_use]
    pub const fn is_static(&self) -> bool {
        self.layers.is_empty()
    }
}

/// Multiply-adds of a convolution with so many output positions.
fn multiply_adds(conv: &Conv, positions: usize) -> u64 {
    product(&[positions, conv.kernel_elements()])
}

/// Positions of a layer's output.
fn positions(network: &Network, layer: &ir::Layer) -> usize {
    network.value(layer.output).shape.positions()
}

fn dynamic_layer(checked: &Checked, id: LayerId, conv: &Conv, parameters: usize) -> Layer {
    let positions = positions(checked.network(), checked.network().layer(id));
    let part = checked.mixtures(id);
    let cells = checked.cells(part.warehouse);
    Layer {
        name: state::module_path(checked.network().layer(id)),
        warehouse: part.warehouse.index(),
        in_channels: conv.in_channels,
        out_channels: conv.out_channels,
        kernel: conv.kernel.clone(),
        stride: conv.stride.clone(),
        padding: conv.padding.clone(),
        dilation: conv.dilation.clone(),
        groups: conv.groups,
        bias: conv.bias,
        mixtures: part.mixtures,
        mixture_grid: Grid { spatial: part.grid.spatial, out: part.grid.out, input: part.grid.input },
        start_cell: part.start_cell,
        local_cells: part.local_cells,
        hidden: part.hidden,
        basis: part.basis,
        positions,
        kernel_elements: conv.kernel_elements(),
        parameters,
        multiply_adds: Cost {
            convolution: multiply_adds(conv, positions),
            mixing: product(&[part.mixtures, cells.cells, cells.cell_elements()]),
            attention: attention(part, cells.cells, conv.in_channels),
        },
    }
}

fn attention(part: &Mixtures, cells: usize, in_channels: usize) -> u64 {
    let logits = product(&[part.hidden, part.mixtures, part.rows(cells)]);
    let basis = part.basis.map_or(0, |rank| product(&[part.mixtures, rank, cells.saturating_sub(part.local_cells)]));
    product(&[in_channels, part.hidden]).saturating_add(logits).saturating_add(basis)
}

fn warehouse(network: &Network, declared: &ir::Warehouse, cells: &Cells) -> Warehouse {
    let settings = &declared.settings;
    let parameters = cells.cells * cells.cell_elements();
    Warehouse {
        name: declared.name.clone(),
        cells: cells.cells,
        cell_shape: cells.cell_shape(),
        budget: settings.budget,
        budget_got: cells.budget(),
        mixtures: cells.mixtures,
        parameters,
        bytes: bytes(parameters),
        cell_out_ratio: settings.cell_out_ratio,
        cell_in_ratio: settings.cell_in_ratio,
        reduction: settings.reduction,
        basis_ratio: settings.basis_ratio,
        partition: match settings.partition {
            SpatialPartition::Spatial => "spatial",
            SpatialPartition::Whole => "whole",
        },
        attention_norm: match settings.attention_norm {
            AttentionNorm::Batch => "batch",
            AttentionNorm::Layer => "layer",
        },
        members: cells.members.iter().map(|&id| state::module_path(network.layer(id))).collect(),
    }
}

fn totals(checked: &Checked, layers: &[Layer]) -> Totals {
    let network = checked.network();
    let dynamic = layers.iter().fold(Cost::NOTHING, |sum, l| sum.plus(&l.multiply_adds));
    let static_layers = network
        .layers
        .iter()
        .filter(|l| l.op.warehouse().is_none())
        .filter_map(|l| l.op.convolution().map(|conv| multiply_adds(&conv, positions(network, l))))
        .fold(0_u64, u64::saturating_add);
    let warehouses = &checked.partition().warehouses;
    let warehouse_bytes = |cells: &Cells| bytes(cells.cells * cells.cell_elements());
    let sum = |total: u64, bytes: u64| total.saturating_add(bytes);
    Totals {
        layers: network.layers.len(),
        dynamic,
        static_layers,
        multiply_adds: dynamic.total().saturating_add(static_layers),
        warehouse_bytes: warehouses.iter().map(warehouse_bytes).fold(0, sum),
        warehouse_reads: warehouses
            .iter()
            .map(|c| warehouse_bytes(c).saturating_mul(c.members.len() as u64))
            .fold(0, sum),
        kernel_bytes: layers.iter().map(|l| bytes(l.kernel_elements)).fold(0, sum),
    }
}

/// Parameters with every dynamic layer's attention and warehouse replaced by a weight.
fn static_parameters(network: &Network, tensors: &[Tensor]) -> usize {
    let is_static = |t: &&Tensor| t.layer.is_some_and(|id| network.layer(id).op.warehouse().is_none());
    let kernels = network.dynamic_layers().filter_map(|(_, layer, _)| layer.op.convolution()).map(|conv| {
        let bias = if conv.bias { conv.out_channels } else { 0 };
        conv.kernel_elements() + bias
    });
    state::count(tensors.iter().filter(is_static)) + kernels.sum::<usize>()
}

fn ports(network: &Network, ports: &[ir::Port]) -> Vec<Port> {
    ports.iter().map(|p| Port { name: p.name.clone(), shape: network.value(p.value).shape.dims() }).collect()
}

fn bytes(elements: usize) -> u64 {
    (elements as u64).saturating_mul(ELEMENT_BYTES)
}

fn product(factors: &[usize]) -> u64 {
    factors.iter().fold(1, |p, &f| p.saturating_mul(f as u64))
}
