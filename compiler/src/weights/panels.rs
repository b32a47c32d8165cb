//! Packing for the CPU: rows of a matrix or of cells to their places in panels, piece by piece.

use super::base::{self, affine_of};
use super::{Error, Tensors};
use crate::plan::cpu::Order;
use crate::plan::{Recipe, packed_order};

/// Elements that are read at a time (at least a row).
pub(super) const PIECE: usize = 1 << 20;

/// Columns whose places are written together: so many lines of a panel stay in the cache while its rows are gone through.
const COLUMNS: usize = 16;

/// Where the rows of a weight stand.
///
/// A row is an output channel: of a matrix, or of one of several cells. Column `k` of a row `r` is at
/// `place(r) + columns[k]`.
#[derive(Debug)]
pub(super) struct Panels {
    /// Rows of the matrix, or of one cell.
    rows: usize,
    block: usize,
    width: usize,
    /// Elements of a panel.
    panel: usize,
    /// Elements from one cell to the next.
    cell: usize,
    /// The place of each column.
    columns: Vec<usize>,
    /// Rows of all cells.
    count: usize,
}

impl Panels {
    /// The places of an order of panels; in the order as it is, one row is all.
    pub(super) fn new(order: Order) -> Self {
        match order {
            Order::Same => Self { rows: 1, block: 1, width: 1, panel: 1, cell: 1, columns: vec![0], count: 1 },
            Order::Panels { rows, channels, positions, block, width } => {
                let columns = columns(channels, positions, width);
                Self { rows, block, width, panel: columns.len() * width, cell: 0, columns, count: rows }
            }
            Order::Cells { cells, cell_out, cell_in, cell_spatial, block, width, .. } => {
                let columns = columns(cell_in, cell_spatial, cells * width);
                let panel = columns.len() * cells * width;
                Self { rows: cell_out, block, width, panel, cell: width, columns, count: cells * cell_out }
            }
        }
    }

    /// Elements of a row.
    pub(super) const fn row(&self) -> usize {
        self.columns.len()
    }

    /// Rows of a cell.
    pub(super) const fn rows(&self) -> usize {
        self.rows
    }

    /// The place of a row, and how many more of its panel follow it.
    const fn place(&self, row: usize) -> (usize, usize) {
        let (cell, row) = (row / self.rows, row % self.rows);
        let (block, row) = (row / self.block, row % self.block);
        let (panel, lane) = (row / self.width, row % self.width);
        let panels = self.block.div_ceil(self.width);
        let end = (panel + 1) * self.width;
        let end = if end < self.block { end } else { self.block };
        (cell * self.cell + (block * panels + panel) * self.panel + lane, end - row)
    }

    /// Puts the rows from `first` on in their places.
    pub(super) fn scatter(&self, from: &[f32], first: usize, out: &mut [f32]) {
        let row = self.row();
        let count = from.len().checked_div(row).unwrap_or(0);
        let mut done = 0;
        while done < count {
            let (place, follow) = self.place(first + done);
            let lanes = follow.min(count - done);
            let from = &from[done * row..][..lanes * row];
            for (chunk, columns) in self.columns.chunks(COLUMNS).enumerate() {
                for (lane, from) in from.chunks_exact(row).enumerate() {
                    let from = &from[chunk * COLUMNS..][..columns.len()];
                    for (x, column) in from.iter().zip(columns) {
                        out[place + column + lane] = *x;
                    }
                }
            }
            done += lanes;
        }
    }
}

/// The places of columns `[channels, positions]` that stand as lines `[positions, channels]` of so many elements.
fn columns(channels: usize, positions: usize, line: usize) -> Vec<usize> {
    (0..channels).flat_map(|c| (0..positions).map(move |t| (t * channels + c) * line)).collect()
}

/// Packs what a recipe makes. Rows are read in the order of the tensor: the cells of a warehouse as they are there.
///
/// # Errors
/// A tensor is missing, or its file can't be read.
pub(super) fn pack(recipe: &Recipe, panels: &Panels, tensors: &mut dyn Tensors, out: &mut [f32]) -> Result<(), Error> {
    let row = panels.row();
    let (tensor, factors, parts) = match recipe {
        Recipe::Copy { tensor } | Recipe::Cells { tensor, .. } => (tensor, None, None),
        Recipe::Rows { tensor, rows, affine } => (tensor, Some(affine_of(affine, *rows, tensors)?.0), None),
        Recipe::Mixtures { tensor, grid } => (tensor, None, Some(packed_order(*grid).collect::<Vec<_>>())),
        Recipe::Scale(_) | Recipe::Shift(_) => {
            let mut elements = vec![0.0; panels.count * row];
            base::make(recipe, tensors, &mut elements)?;
            panels.scatter(&elements, 0, out);
            return Ok(());
        }
    };
    let piece = (PIECE / row.max(1)).max(1);
    let mut buffer = vec![0.0; piece.min(panels.count) * row];
    let mut first = 0;
    while first < panels.count {
        let rows = piece.min(panels.count - first);
        let buffer = &mut buffer[..rows * row];
        match &parts {
            None => tensors.read(tensor, first * row, buffer)?,
            Some(parts) => read_parts(tensor, parts, panels.count / parts.len(), first, row, tensors, buffer)?,
        }
        if let Some(factors) = &factors {
            for (row, factor) in buffer.chunks_exact_mut(row).zip(&factors[first..]) {
                for x in row {
                    *x = (f64::from(*x) * factor) as f32;
                }
            }
        }
        panels.scatter(buffer, first, out);
        first += rows;
    }
    Ok(())
}

/// Reads the rows from `first` on of a tensor whose parts, of `part` rows each, are wanted in another order.
fn read_parts(
    tensor: &str,
    parts: &[usize],
    part: usize,
    first: usize,
    row: usize,
    tensors: &mut dyn Tensors,
    mut out: &mut [f32],
) -> Result<(), Error> {
    let mut at = first;
    while !out.is_empty() {
        let within = at % part;
        let rows = (part - within).min(out.len() / row);
        let (head, rest) = out.split_at_mut(rows * row);
        tensors.read(tensor, (parts[at / part] * part + within) * row, head)?;
        out = rest;
        at += rows;
    }
    Ok(())
}
