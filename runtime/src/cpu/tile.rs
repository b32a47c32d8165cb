//! Windows of a matrix that different threads may write at the same time.

#![expect(unsafe_code, reason = "columns of one matrix, written by several threads, are no slices")]

use std::marker::PhantomData;

/// A rectangle of a row-major matrix that its owner alone may touch.
///
/// Tiles come from cutting: whoever holds one holds all the elements of its rectangle exclusively, as with
/// `slice::split_at_mut`, but along columns too.
pub(super) struct Tile<'a> {
    /// The first element.
    start: *mut f32,
    rows: usize,
    columns: usize,
    /// Elements from one row to the next.
    stride: usize,
    owned: PhantomData<&'a mut [f32]>,
}

// SAFETY: a tile is an exclusive borrow of the f32 in its rectangle (see `new` and the two cuts), and `&mut [f32]` is Send.
unsafe impl Send for Tile<'_> {}

impl<'a> Tile<'a> {
    /// The whole of a matrix of `columns` columns; `data` is that many to a row.
    pub(super) fn new(data: &'a mut [f32], columns: usize) -> Self {
        let rows = data.len().checked_div(columns).unwrap_or(0);
        Self { start: data.as_mut_ptr(), rows, columns, stride: columns, owned: PhantomData }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// One row of the rectangle.
    pub(super) fn row(&mut self, row: usize) -> &mut [f32] {
        assert!(row < self.rows, "row {row} of a tile of {}", self.rows);
        // SAFETY: the row is inside the rectangle, whose elements all lie in the slice given to `new` and belong to this
        // tile alone; the borrow of `self` keeps a second row from being handed out meanwhile.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(row * self.stride), self.columns) }
    }

    /// Cuts below the first `rows` rows, or below all of them.
    fn cut_rows(self, rows: usize) -> (Self, Self) {
        let rows = rows.min(self.rows);
        let below = if rows == self.rows {
            self.start
        } else {
            // SAFETY: the tile has a row of this number, so this is its first element.
            unsafe { self.start.add(rows * self.stride) }
        };
        // The two rectangles have no row in common, and `self` is gone.
        (Self { rows, ..self }, Self { start: below, rows: self.rows - rows, ..self })
    }

    /// Cuts to the right of the first `columns` columns, or of all of them.
    fn cut_columns(self, columns: usize) -> (Self, Self) {
        let columns = columns.min(self.columns);
        let right = if columns == self.columns || self.rows == 0 {
            self.start
        } else {
            // SAFETY: the tile has a row, and a column of this number, so this is an element of its first row.
            unsafe { self.start.add(columns) }
        };
        // The two rectangles have no column in common, and `self` is gone.
        (Self { columns, ..self }, Self { start: right, columns: self.columns - columns, ..self })
    }

    /// Cuts into pieces of at most `rows` x `columns` (neither 0), each with the position of its first element.
    pub(super) fn grid(self, rows: usize, columns: usize) -> Vec<(usize, usize, Self)> {
        let mut pieces = Vec::with_capacity(self.rows.div_ceil(rows) * self.columns.div_ceil(columns));
        let (mut band, mut row) = (self, 0);
        while band.rows > 0 {
            let (mut rest, below) = band.cut_rows(rows);
            let mut column = 0;
            while rest.columns > 0 {
                let (piece, right) = rest.cut_columns(columns);
                let width = piece.columns;
                pieces.push((row, column, piece));
                (rest, column) = (right, column + width);
            }
            (band, row) = (below, row + rows);
        }
        pieces
    }
}
