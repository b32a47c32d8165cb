//! How a weight of a Program is made from the tensors of a checkpoint.

use crate::partition::Grid;

/// How to make one weight. Tensors are named as in the state dict.
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
    /// The mixtures' parts of a tensor, from the method's order to packed order ([`kwc_program::Mix`]).
    Mixtures {
        /// A tensor whose first dimension is that of the mixtures, times anything.
        tensor: String,
        /// The mixtures.
        grid: Grid,
    },
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
