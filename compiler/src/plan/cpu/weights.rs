//! Packed weights of a Program for the CPU: what they are made of, and the order in which the elements then stand.

use std::borrow::Cow;
use std::collections::BTreeMap;

use kwc_program::{ALIGNMENT, Layout, Weight, WeightId};

use crate::plan::steps::Steps;
use crate::plan::{Base, Fold};

/// How to make one packed weight.
#[derive(Debug, Clone, PartialEq)]
pub struct PackRecipe {
    /// What it is made of.
    pub base: Base,
    /// Elements of that.
    pub elements: usize,
    /// How they are ordered then.
    pub order: Order,
}

/// From the order of what a weight is made of to that of the CPU's kernels. What is padding is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As it is.
    Same,
    /// A matrix `[rows, channels, positions]` to panels ([`kwc_program::Kernel`]): `K = positions * channels`, in that order.
    Panels {
        /// Rows: output channels.
        rows: usize,
        /// Input channels of a group.
        channels: usize,
        /// Positions of the kernel.
        positions: usize,
        /// Rows of a block.
        block: usize,
        /// Rows of a panel.
        width: usize,
    },
    /// Cells `[cell_out, cell_in, cell_spatial]` to a warehouse by panels ([`kwc_program::Mixing`]).
    Cells {
        /// The first cell that is taken.
        first: usize,
        /// How many are taken.
        cells: usize,
        /// Output channels of a cell.
        cell_out: usize,
        /// Input channels of a cell.
        cell_in: usize,
        /// Positions of a cell.
        cell_spatial: usize,
        /// Output channels of a block.
        block: usize,
        /// Output channels of a panel.
        width: usize,
    },
}

impl Order {
    /// Shape as packed.
    #[must_use]
    pub fn shape(self, elements: usize) -> Vec<usize> {
        match self {
            Self::Same => vec![elements],
            Self::Panels { rows, channels, positions, block, width } => {
                vec![panels(rows, block, width), positions * channels, width]
            }
            Self::Cells { cells, cell_out, cell_in, cell_spatial, block, width, .. } => {
                vec![panels(cell_out, block, width), cell_spatial * cell_in, cells, width]
            }
        }
    }
}

/// Panels of so many rows in blocks.
fn panels(rows: usize, block: usize, width: usize) -> usize {
    rows.checked_div(block).unwrap_or(0) * block.div_ceil(width)
}

/// How the cells of a warehouse stand in panels.
#[derive(Debug, Clone, Copy)]
pub(super) struct CellPanels {
    pub cell_out: usize,
    pub cell_in: usize,
    pub cell_spatial: usize,
    pub block: usize,
    pub width: usize,
}

impl CellPanels {
    /// Elements of a cell.
    const fn elements(&self) -> usize {
        self.cell_out * self.cell_in * self.cell_spatial
    }

    const fn order(&self, first: usize, cells: usize) -> Order {
        let Self { cell_out, cell_in, cell_spatial, block, width } = *self;
        Order::Cells { first, cells, cell_out, cell_in, cell_spatial, block, width }
    }
}

/// The packed weights of a Program in the making.
pub(super) struct Weights<'a> {
    steps: &'a Steps,
    /// What a weight of the steps is packed as.
    packed: BTreeMap<WeightId, WeightId>,
    pub weights: Vec<Weight>,
    pub recipes: Vec<PackRecipe>,
    /// Elements of the packed block so far.
    pub elements: usize,
}

impl<'a> Weights<'a> {
    pub(super) fn new(steps: &'a Steps) -> Self {
        Self { steps, packed: BTreeMap::new(), weights: Vec::new(), recipes: Vec::new(), elements: 0 }
    }

    /// A vector with one value per channel.
    pub(super) fn vector(&mut self, weight: WeightId) -> WeightId {
        self.of(weight, Layout::Vector, Order::Same)
    }

    /// One value per logit of every mixture.
    pub(super) fn mixtures(&mut self, weight: WeightId) -> WeightId {
        self.of(weight, Layout::Mixtures, Order::Same)
    }

    /// A matrix or kernel in panels.
    pub(super) fn panels(&mut self, weight: WeightId, order: Order) -> WeightId {
        self.of(weight, Layout::Panels, order)
    }

    /// A warehouse, shared by its layers.
    pub(super) fn warehouse(&mut self, weight: WeightId, cells: usize, panels: CellPanels) -> WeightId {
        self.of(weight, Layout::Cells, panels.order(0, cells))
    }

    /// A warehouse with a basis folded in, and the constant part of each mixture.
    pub(super) fn folded(&mut self, layer: &str, fold: &Fold, panels: CellPanels) -> (WeightId, WeightId) {
        let cells = fold.local + fold.rank;
        let elements = (cells + fold.mixtures) * panels.elements();
        let mut pack = |what: &str, order: Order| {
            let recipe = PackRecipe { base: Base::Folded(fold.clone()), elements, order };
            self.pack(format!("{layer}.attention.{what}"), Layout::Cells, recipe)
        };
        (pack("folded", panels.order(0, cells)), pack("constants", panels.order(cells, fold.mixtures)))
    }

    /// A weight of the steps, packed once.
    fn of(&mut self, weight: WeightId, layout: Layout, order: Order) -> WeightId {
        if let Some(&packed) = self.packed.get(&weight) {
            return packed;
        }
        let source = &self.steps.weights[weight.0 as usize];
        let base = Base::Recipe(self.steps.recipes[weight.0 as usize].clone());
        let packed = self.pack(source.name.clone(), layout, PackRecipe { base, elements: source.elements(), order });
        self.packed.insert(weight, packed);
        packed
    }

    fn pack(&mut self, name: String, layout: Layout, recipe: PackRecipe) -> WeightId {
        let id = WeightId(u32::try_from(self.weights.len()).unwrap_or(u32::MAX));
        let shape = Cow::Owned(recipe.order.shape(recipe.elements));
        let weight = Weight { name: Cow::Owned(name), offset: self.elements, shape, layout };
        self.elements += weight.elements().next_multiple_of(ALIGNMENT);
        self.weights.push(weight);
        self.recipes.push(recipe);
        id
    }
}
