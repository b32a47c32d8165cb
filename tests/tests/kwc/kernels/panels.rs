//! Packing, from the formulas of `Kernel` and `Mixing`.

use kwc_runtime::program::PANEL;

/// How the columns of a kernel stand in panels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Panels {
    pub(super) block: usize,
    pub(super) width: usize,
}

impl Panels {
    /// The columns of a matrix of the attention: one block, whatever it has.
    pub(super) fn of(columns: usize) -> Self {
        Self { block: columns, width: PANEL }
    }

    /// Panels of `columns` columns.
    fn count(self, columns: usize) -> usize {
        columns / self.block * self.block.div_ceil(self.width)
    }

    /// The panel of a column, and its place in it.
    fn place(self, column: usize) -> (usize, usize) {
        let Self { block, width } = self;
        (column / block * block.div_ceil(width) + column % block / width, column % block % width)
    }

    /// `[panels, rows, width]`, from the value at each row and column.
    pub(super) fn pack(self, (rows, columns): (usize, usize), value: impl Fn(usize, usize) -> f32) -> Vec<f32> {
        let mut packed = vec![0.0; self.count(columns) * rows * self.width];
        for column in 0..columns {
            let (panel, lane) = self.place(column);
            for row in 0..rows {
                packed[(panel * rows + row) * self.width + lane] = value(row, column);
            }
        }
        packed
    }

    /// `[panels, rows, cells, width]`, from the value of each cell at each row and column.
    pub(super) fn pack_cells(
        self,
        (cells, rows, columns): (usize, usize, usize),
        value: impl Fn(usize, usize, usize) -> f32,
    ) -> Vec<f32> {
        let mut packed = vec![0.0; self.count(columns) * rows * cells * self.width];
        for column in 0..columns {
            let (panel, lane) = self.place(column);
            for row in 0..rows {
                for cell in 0..cells {
                    packed[((panel * rows + row) * cells + cell) * self.width + lane] = value(cell, row, column);
                }
            }
        }
        packed
    }
}

/// A matrix `[columns, rows]` of the attention, as PyTorch has it, in panels.
pub(super) fn linear(matrix: &[f32], rows: usize) -> Vec<f32> {
    let columns = matrix.len() / rows;
    if columns == 0 {
        return vec![];
    }
    Panels::of(columns).pack((rows, columns), |row, column| matrix[column * rows + row])
}
