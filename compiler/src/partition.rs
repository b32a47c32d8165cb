//! Partition: every dynamic layer's kernel into mixtures, every warehouse into cells.
//!
//! Source: KernelWarehouse (ICML 2024), sections 3.1 and 3.2. For the layers that share a warehouse, with kernels
//! `[o_l, i_l, k_l...]` where `i_l` is already divided by the groups:
//!
//! - a cell is `[cell_out, cell_in, cell_spatial...]` with `cell_out = max(int(gcd(o_l) * cell_out_ratio), 1)`, `cell_in`
//!   likewise, and `cell_spatial = 1`, or the whole kernel with [`SpatialPartition::Whole`];
//! - layer `l` has `m_l = S * O * I` mixtures, a grid of spatial, output and input cell groups; mixture
//!   `(s * O + o) * I + i` is the cell at output channels `o * cell_out ..`, input channels `i * cell_in ..`, kernel
//!   position `s` (row-major);
//! - the warehouse has `n = max(int(sum m_l * budget), 1)` cells.
//!
//! `int` truncates the `f64` product.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::ir::{Conv, LayerId, Network, Settings, SpatialPartition, Warehouse, WarehouseId};

/// The attention's smallest hidden width, and the basis's smallest rank.
const MIN_HIDDEN: usize = 16;

/// Most elements that one tensor may have; beyond it a spec is taken for a mistake.
pub const MAX_ELEMENTS: usize = 1 << 33;

/// The partition of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct Partition {
    /// One per warehouse, in the network's order.
    pub warehouses: Vec<Cells>,
    /// One per dynamic layer.
    pub layers: BTreeMap<LayerId, Mixtures>,
}

/// The cells of a warehouse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cells {
    /// `n`
    pub cells: usize,
    /// Output channels of a cell.
    pub cell_out: usize,
    /// Input channels of a cell.
    pub cell_in: usize,
    /// Spatial extent of a cell.
    pub cell_spatial: Vec<usize>,
    /// `m_t`: mixtures of all its layers.
    pub mixtures: usize,
    /// Its layers, in the order of registration.
    pub members: Vec<LayerId>,
}

impl Cells {
    /// `[cell_out, cell_in, cell_spatial...]`
    #[must_use]
    pub fn cell_shape(&self) -> Vec<usize> {
        [self.cell_out, self.cell_in].into_iter().chain(self.cell_spatial.iter().copied()).collect()
    }

    /// Elements of one cell.
    #[must_use]
    pub fn cell_elements(&self) -> usize {
        self.cell_shape().iter().product()
    }

    /// Budget that the warehouse got, after truncation.
    #[must_use]
    pub fn budget(&self) -> f64 {
        self.cells as f64 / self.mixtures as f64
    }
}

/// The mixtures of a dynamic layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mixtures {
    /// Its warehouse.
    pub warehouse: WarehouseId,
    /// `m`
    pub mixtures: usize,
    /// How they cover the kernel.
    pub grid: Grid,
    /// The first of the layer's own cells.
    pub start_cell: usize,
    /// How many cells are its own: `int(budget * m)`.
    pub local_cells: usize,
    /// Hidden width of its attention.
    pub hidden: usize,
    /// Rank of the non-local basis.
    pub basis: Option<usize>,
}

/// Cell groups of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// `S`: kernel positions, or 1.
    pub spatial: usize,
    /// `O`: output channels over `cell_out`.
    pub out: usize,
    /// `I`: input channels over `cell_in`.
    pub input: usize,
}

impl Mixtures {
    /// Logits per mixture that the attention's last layer makes: `n + 1`, or `local + q + 1` with a basis.
    #[must_use]
    pub fn rows(&self, cells: usize) -> usize {
        self.basis.map_or(cells, |rank| self.local_cells + rank) + 1
    }

    /// For each mixture, in the method's order, the column of `beta` that is 1; `cells` stands for the null cell.
    #[must_use]
    pub fn beta(&self, budget: f64, cells: usize) -> Vec<usize> {
        let mut next = self.start_cell;
        (0..self.mixtures)
            .map(|i| {
                if starts_cell(i, budget) {
                    let cell = next;
                    next += step(budget);
                    cell
                } else {
                    cells
                }
            })
            .collect()
    }
}

/// `int(x)` of the method, for products that are neither negative nor huge.
fn int(x: f64) -> usize {
    // Float-to-int casts truncate and saturate.
    x as usize
}

fn step(budget: f64) -> usize {
    if budget >= 1.0 { int(budget) } else { 1 }
}

/// Whether mixture `i` of a layer gets a cell in `beta` (section 3.3: one cell for each mixture where the budget is at
/// least 1, else one for every `int(1 / b)`-th, on a diagonal).
fn starts_cell(i: usize, budget: f64) -> bool {
    if budget >= 1.0 {
        return true;
    }
    let period = int(1.0 / budget).max(1);
    i % period == (i / period) % period
}

/// How many of a layer's mixtures get a cell in `beta`: one in every full period, and one in the rest if it reaches the
/// diagonal.
fn starts(mixtures: usize, budget: f64) -> usize {
    if budget >= 1.0 {
        return mixtures;
    }
    let period = int(1.0 / budget).max(1);
    let (full, rest) = (mixtures / period, mixtures % period);
    full + usize::from(full % period < rest)
}

pub(crate) fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Partitions every warehouse of a network. Errors go to `diagnostics`; the result is there if there was none.
pub fn partition(network: &Network, diagnostics: &mut Diagnostics) -> Option<Partition> {
    let before = diagnostics.len();
    let mut members: Vec<Vec<LayerId>> = vec![Vec::new(); network.warehouses.len()];
    for (id, _, warehouse) in network.dynamic_layers() {
        members[warehouse.index()].push(id);
    }
    let mut partition = Partition { warehouses: Vec::new(), layers: BTreeMap::new() };
    for (index, (warehouse, members)) in network.warehouses.iter().zip(members).enumerate() {
        let id = WarehouseId::from_index(index);
        if let Some(cells) = partition_warehouse(network, id, warehouse, members, &mut partition.layers, diagnostics) {
            partition.warehouses.push(cells);
        }
    }
    (diagnostics.len() == before).then_some(partition)
}

fn partition_warehouse(
    network: &Network,
    id: WarehouseId,
    warehouse: &Warehouse,
    members: Vec<LayerId>,
    layers: &mut BTreeMap<LayerId, Mixtures>,
    diagnostics: &mut Diagnostics,
) -> Option<Cells> {
    let settings = &warehouse.settings;
    let kernels: Vec<(LayerId, Cow<'_, Conv>)> =
        members.iter().filter_map(|&l| network.layer(l).op.convolution().map(|k| (l, k))).collect();
    let Some((first_id, first)) = kernels.first() else {
        diagnostics.push(
            Diagnostic::new(Code::Unused, warehouse.span, format!("no layer uses warehouse `{}`", warehouse.name))
                .hint("remove it, or name it in a layer with `warehouse:`"),
        );
        return None;
    };
    let first_span = network.layer(*first_id).span;
    let mut can_share = true;
    for (layer, kernel) in &kernels[1..] {
        let conflict = if kernel.kernel.len() != first.kernel.len() {
            Some((
                format!(
                    "layers of warehouse `{}` have kernels of {} and {} dimensions",
                    warehouse.name,
                    first.kernel.len(),
                    kernel.kernel.len()
                ),
                "give this layer a warehouse of its own",
            ))
        } else if settings.partition == SpatialPartition::Whole && kernel.kernel != first.kernel {
            Some((
                format!(
                    "layers of warehouse `{}` have kernels {:?} and {:?}, and its cells cover whole kernels",
                    warehouse.name, first.kernel, kernel.kernel
                ),
                "use `partition: spatial`, or give layers with other kernels another warehouse",
            ))
        } else {
            None
        };
        if let Some((message, hint)) = conflict {
            can_share = false;
            diagnostics.push(
                Diagnostic::new(Code::Sharing, network.layer(*layer).span, message)
                    .related(first_span, "the first layer of this warehouse")
                    .hint(hint),
            );
        }
    }
    if !can_share {
        return None;
    }

    let common_out = kernels.iter().fold(0, |g, (_, k)| gcd(g, k.out_channels));
    let common_in = kernels.iter().fold(0, |g, (_, k)| gcd(g, k.in_channels / k.groups));
    let cell_out = int(common_out as f64 * settings.cell_out_ratio).max(1);
    let cell_in = int(common_in as f64 * settings.cell_in_ratio).max(1);
    let cell_spatial = match settings.partition {
        SpatialPartition::Spatial => vec![1; first.kernel.len()],
        SpatialPartition::Whole => first.kernel.clone(),
    };

    let mut total: usize = 0;
    let mut grids = Vec::new();
    let mut divisible = true;
    for (layer, kernel) in &kernels {
        for (what, field, channels, cell, common) in [
            ("output", "cell_out_ratio", kernel.out_channels, cell_out, common_out),
            ("input", "cell_in_ratio", kernel.in_channels / kernel.groups, cell_in, common_in),
        ] {
            if channels % cell != 0 {
                divisible = false;
                diagnostics.push(
                    Diagnostic::new(
                        Code::Partition,
                        network.layer(*layer).span,
                        format!("{channels} {what} channels can't be divided into cells of {cell}"),
                    )
                    .related(
                        warehouse.span,
                        format!("cells of `{}` have int({common} * {field}) = {cell} {what} channels", warehouse.name),
                    )
                    .hint(format!("choose `{field}` so that {common} times it divides {channels}")),
                );
            }
        }
        let grid = Grid {
            spatial: kernel.kernel.iter().zip(&cell_spatial).map(|(k, c)| k / c).product(),
            out: kernel.out_channels / cell_out,
            input: kernel.in_channels / kernel.groups / cell_in,
        };
        let mixtures = grid.spatial.saturating_mul(grid.out).saturating_mul(grid.input);
        total = total.saturating_add(mixtures);
        grids.push((*layer, grid, mixtures));
    }
    if !divisible {
        return None;
    }

    let cells = int(total as f64 * settings.budget).max(1);
    let result = Cells { cells, cell_out, cell_in, cell_spatial, mixtures: total, members };
    let too_large = |what: &str, elements: usize| {
        Diagnostic::new(
            Code::TooLarge,
            warehouse.span,
            format!("{what} of warehouse `{}` has {elements} elements", warehouse.name),
        )
        .hint(format!("at most {MAX_ELEMENTS} are possible; check `budget`, `reduction` and the channel counts"))
    };
    let elements = cells.saturating_mul(result.cell_elements());
    if elements > MAX_ELEMENTS {
        diagnostics.push(too_large("the tensor", elements));
        return None;
    }

    let mut start_cell = 0;
    for ((layer, grid, mixtures), (_, kernel)) in grids.into_iter().zip(&kernels) {
        let local_cells = int(settings.budget * mixtures as f64);
        let hidden = int(kernel.in_channels as f64 * settings.reduction).max(MIN_HIDDEN);
        let basis = basis_rank(settings, cells, local_cells);
        let part = Mixtures { warehouse: id, mixtures, grid, start_cell, local_cells, hidden, basis };
        let largest = attention_elements(&part, cells, kernel.in_channels).into_iter().max().unwrap_or(0);
        if largest > MAX_ELEMENTS {
            diagnostics.push(too_large("a tensor of the attention of a layer", largest));
            return None;
        }
        layers.insert(layer, part);
        let own = starts(mixtures, settings.budget).saturating_mul(step(settings.budget));
        start_cell = start_cell.saturating_add(own);
    }
    if start_cell != cells {
        diagnostics.push(
            Diagnostic::new(
                Code::Budget,
                warehouse.span,
                format!(
                    "budget {} gives warehouse `{}` {cells} cells for {total} mixtures, but its layers start at {start_cell}",
                    settings.budget, warehouse.name
                ),
            )
            .label("every cell must belong to exactly one mixture's start")
            .hint("use a whole number, or 1 divided by a whole number that divides the mixtures of every layer"),
        );
        return None;
    }
    Some(result)
}

/// Elements of the tensors of a layer's attention that can be large: `fc1`, `fc2`, the attention with its null cells, `fc3`.
fn attention_elements(part: &Mixtures, cells: usize, channels: usize) -> [usize; 4] {
    let fc3 = part.basis.map_or(0, |rank| cells.saturating_sub(part.local_cells).saturating_mul(rank));
    [
        part.hidden.saturating_mul(channels),
        part.mixtures.saturating_mul(part.rows(cells)).saturating_mul(part.hidden),
        part.mixtures.saturating_mul(cells.saturating_add(1)),
        fc3,
    ]
}

fn basis_rank(settings: &Settings, cells: usize, local: usize) -> Option<usize> {
    let ratio = settings.basis_ratio.filter(|&r| r < 1.0)?;
    Some(int(cells.saturating_sub(local) as f64 * ratio).max(MIN_HIDDEN))
}
