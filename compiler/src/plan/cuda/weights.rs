//! Packed weights of a Program for CUDA: what they are made of, and the order in which the elements then stand.

use kwc_program::cuda::Element;

use crate::plan::Base;

/// How to make one packed weight.
#[derive(Debug, Clone, PartialEq)]
pub struct PackRecipe {
    /// Makes the elements.
    pub base: Base,
    /// How many those are.
    pub elements: usize,
    /// How they are ordered then.
    pub order: Order,
    /// What they are rounded to.
    pub element: Element,
}

/// From the order of what a weight is made of to a kernel's. What is padding is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As it is.
    Same,
    /// A vector with zeros after it.
    Padded {
        /// Elements with padding.
        length: usize,
    },
    /// Rows with zeros after each.
    Rows {
        /// Elements of a row.
        width: usize,
        /// The same with padding.
        pitch: usize,
    },
    /// A static kernel `[rows, in_channels, positions]` to `[positions, in_channels, pitch]`: the output channels last.
    Kernel {
        /// Output channels.
        rows: usize,
        /// Input channels of a group.
        in_channels: usize,
        /// Positions of the kernel.
        positions: usize,
        /// Output channels with padding.
        pitch: usize,
    },
    /// Blocks of rows `[blocks, rows, columns]` to `[blocks, columns, pitch]`: each block's rows last.
    Blocks {
        /// Rows of a block.
        rows: usize,
        /// Columns.
        columns: usize,
        /// Rows of a block with padding.
        pitch: usize,
    },
    /// A matrix `[rows, columns]` to `[columns, pitch]`: the rows last.
    Transposed {
        /// Rows.
        rows: usize,
        /// Rows with padding.
        pitch: usize,
    },
    /// A static stem's kernel `[rows, in_channels * positions]` to `[pitch, columns]`, one output channel after the other.
    Outer {
        /// Output channels.
        rows: usize,
        /// Output channels with padding.
        pitch: usize,
        /// Elements of a row.
        width: usize,
        /// The same with padding.
        columns: usize,
    },
}

impl Order {
    /// Shape as packed.
    #[must_use]
    pub fn shape(self, elements: usize) -> Vec<usize> {
        match self {
            Self::Same => vec![elements],
            Self::Padded { length } => vec![length],
            Self::Rows { width, pitch } => vec![elements / width, pitch],
            Self::Kernel { in_channels, positions, pitch, .. } => vec![positions, in_channels, pitch],
            Self::Blocks { rows, columns, pitch } => vec![elements / (rows * columns), columns, pitch],
            Self::Transposed { rows, pitch } => vec![elements / rows, pitch],
            Self::Outer { pitch, columns, .. } => vec![pitch, columns],
        }
    }

    /// Puts elements in this order. `out` is zero, and as long as [`Self::shape`] says.
    pub(crate) fn apply(self, from: &[f32], out: &mut [f32]) {
        match self {
            Self::Same | Self::Padded { .. } => out[..from.len()].copy_from_slice(from),
            Self::Rows { width, pitch } | Self::Outer { width, columns: pitch, .. } => {
                for (from, out) in from.chunks_exact(width).zip(out.chunks_exact_mut(pitch)) {
                    out[..width].copy_from_slice(from);
                }
            }
            Self::Kernel { in_channels, positions, pitch, .. } => {
                for (row, from) in from.chunks_exact(in_channels * positions).enumerate() {
                    for (channel, from) in from.chunks_exact(positions).enumerate() {
                        for (position, x) in from.iter().enumerate() {
                            out[(position * in_channels + channel) * pitch + row] = *x;
                        }
                    }
                }
            }
            Self::Blocks { rows, columns, pitch } => {
                for (from, out) in from.chunks_exact(rows * columns).zip(out.chunks_exact_mut(columns * pitch)) {
                    transpose(from, out, columns, pitch);
                }
            }
            Self::Transposed { rows, pitch } => transpose(from, out, from.len() / rows, pitch),
        }
    }
}

/// Rows of `columns` elements to columns of `pitch`.
fn transpose(from: &[f32], out: &mut [f32], columns: usize, pitch: usize) {
    for (row, from) in from.chunks_exact(columns).enumerate() {
        for (column, x) in from.iter().enumerate() {
            out[column * pitch + row] = *x;
        }
    }
}
