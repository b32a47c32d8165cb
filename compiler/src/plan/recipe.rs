//! How weights are made from the tensors of a checkpoint: what all targets start from.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::hash;
use crate::partition::Grid;

/// The name of a target's table of weights: what it says of their places, shapes and layouts, and how they are made, hashed.
pub(super) fn table_id(target: &str, weights: &[impl fmt::Debug], recipes: &[impl fmt::Debug]) -> String {
    let mut hasher = Sha256::new();
    hasher.update(format!("{target}\n"));
    for (weight, recipe) in weights.iter().zip(recipes) {
        hasher.update(format!("{weight:?} {recipe:?}\n"));
    }
    hash::hexadecimal(&hasher.finalize())
}

/// How to make one weight of the steps. Tensors are named as in the state dict.
#[derive(Debug, Clone, PartialEq)]
pub enum Recipe {
    /// The tensor's elements as they are.
    Copy {
        /// The tensor.
        tensor: String,
    },
    /// The rows of a matrix, each times the folded factor of its channel.
    Rows {
        /// A tensor `[rows, columns...]`.
        tensor: String,
        /// Rows: output channels.
        rows: usize,
        /// What is folded in.
        affine: Vec<Affine>,
    },
    /// The factor per channel that a chain of maps amounts to.
    Scale(Vec<Affine>),
    /// The term per channel that a chain of maps amounts to.
    Shift(Vec<Affine>),
    /// Each cell `[cell_out, cell_in, cell_spatial]` as `[cell_spatial, cell_in, cell_out]`.
    Cells {
        /// The warehouse, `[cells, cell_out, cell_in, cell_spatial...]`.
        tensor: String,
        /// Output channels of a cell.
        cell_out: usize,
        /// Input channels of a cell.
        cell_in: usize,
        /// Positions of a cell.
        cell_spatial: usize,
    },
    /// The mixtures' parts of a tensor, from the method's order to packed order ([`kwc_program::Mixing`]).
    Mixtures {
        /// A tensor whose first dimension is that of the mixtures, times anything.
        tensor: String,
        /// The mixtures.
        grid: Grid,
    },
}

/// Where the elements of a packed weight come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Base {
    /// The checkpoint.
    Recipe(Recipe),
    /// These values, whatever the checkpoint.
    Values(Vec<f32>),
    /// A warehouse with a layer's basis folded in.
    Folded(Fold),
}

/// The cells that a layer with a non-local basis mixes if the basis is folded into the warehouse, `[local + rank + mixtures]`
/// of them: the layer's own cells; for each row of the basis, `sum over nonlocal j of fc3[j, q] * e_j`; and for each mixture,
/// in packed order, its constant part, `sum over nonlocal j of bias[i, j] * e_j`.
#[derive(Debug, Clone, PartialEq)]
pub struct Fold {
    /// The warehouse, `[cells, cell]`.
    pub warehouse: Recipe,
    /// `[cells - local, rank]`
    pub fc3: Recipe,
    /// `[mixtures, cells + 1]`
    pub bias: Recipe,
    /// Cells of the warehouse.
    pub cells: usize,
    /// Elements of a cell.
    pub cell: usize,
    /// The layer's own cells.
    pub local: usize,
    /// The first of them.
    pub start_cell: usize,
    /// Rank of the basis.
    pub rank: usize,
    /// Mixtures of the layer.
    pub mixtures: usize,
}

/// A map per channel.
#[derive(Debug, Clone, PartialEq)]
pub enum Affine {
    /// `x + tensor`
    Bias(String),
    /// `(x - running_mean) / sqrt(running_var + epsilon) * weight + bias`
    BatchNorm {
        /// Path of the module.
        path: String,
        /// Added to the variance.
        epsilon: f64,
    },
    /// `x * tensor`
    Scale(String),
}

/// Whether a chain of maps has a factor.
pub(super) fn scales(affine: &[Affine]) -> bool {
    affine.iter().any(|a| matches!(a, Affine::BatchNorm { .. } | Affine::Scale(_)))
}

/// Whether a chain of maps has a term.
pub(super) fn shifts(affine: &[Affine]) -> bool {
    affine.iter().any(|a| matches!(a, Affine::BatchNorm { .. } | Affine::Bias(_)))
}

/// For each mixture in packed order `[O, S, I]`, its number in the method's order `[S, O, I]`.
pub(crate) fn packed_order(grid: Grid) -> impl Iterator<Item = usize> {
    let Grid { spatial, out, input } = grid;
    (0..out).flat_map(move |o| (0..spatial).flat_map(move |s| (0..input).map(move |i| (s * out + o) * input + i)))
}
