//! Packing: the operands of a product, cut into panels that the innermost loop reads in order.
//!
//! A panel holds `W` rows (or columns) of a matrix side by side, one group of `W` values for each step in depth.

use crate::program::KernelLayout;

/// A matrix `[rows, depth]` in one of the layouts of a kernel.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    /// Its elements.
    pub(super) data: &'a [f32],
    /// Where each is.
    pub(super) layout: KernelLayout,
    /// Columns.
    pub(super) depth: usize,
    /// Row of the stored matrix that counts as the first here.
    pub(super) first_row: usize,
}

impl Matrix<'_> {
    /// Writes rows `rows` at depths `start .. start + depth` as panels of `W`, panel after panel. Rows that are missing
    /// from the last panel are zeros.
    pub(super) fn pack<const W: usize>(
        &self,
        rows: std::ops::Range<usize>,
        start: usize,
        depth: usize,
        panels: &mut [[f32; W]],
    ) {
        for (row, panel) in rows.clone().step_by(W).zip(panels.chunks_exact_mut(depth)) {
            let width = W.min(rows.end - row);
            self.pack_panel(self.first_row + row, width, start, panel);
        }
    }

    fn pack_panel<const W: usize>(&self, row: usize, width: usize, start: usize, panel: &mut [[f32; W]]) {
        let depth = panel.len();
        if width < W {
            panel.fill([0.0; W]);
        }
        match self.layout {
            KernelLayout::Rows => {
                for lane in 0..width {
                    let from = (row + lane) * self.depth + start;
                    for (group, &value) in panel.iter_mut().zip(&self.data[from..from + depth]) {
                        group[lane] = value;
                    }
                }
            }
            KernelLayout::Blocks { rows } => {
                // Runs of rows within one block are contiguous at every depth.
                let mut lane = 0;
                while lane < width {
                    let (block, inner) = ((row + lane) / rows, (row + lane) % rows);
                    let run = (rows - inner).min(width - lane);
                    let from = (block * self.depth + start) * rows;
                    let block = &self.data[from..from + depth * rows];
                    for (group, values) in panel.iter_mut().zip(block.chunks_exact(rows)) {
                        if run == W {
                            group.copy_from_slice(&values[inner..inner + W]);
                        } else {
                            group[lane..lane + run].copy_from_slice(&values[inner..inner + run]);
                        }
                    }
                    lane += run;
                }
            }
        }
    }
}

/// Writes columns `first .. first + count` of a row-major matrix of `stride` columns, rows `start .. start + depth`, as
/// panels of `W`. Columns that are missing from the last panel are zeros.
pub(super) fn pack_columns<const W: usize>(
    data: &[f32],
    stride: usize,
    (first, count): (usize, usize),
    (start, depth): (usize, usize),
    panels: &mut [[f32; W]],
) {
    for step in 0..depth {
        let from = (start + step) * stride + first;
        let (whole, rest) = data[from..from + count].as_chunks::<W>();
        for (panel, values) in whole.iter().enumerate() {
            panels[panel * depth + step] = *values;
        }
        if !rest.is_empty() {
            let group = &mut panels[whole.len() * depth + step];
            *group = [0.0; W];
            group[..rest.len()].copy_from_slice(rest);
        }
    }
}
