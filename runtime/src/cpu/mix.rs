//! Mixing of a warehouse's cells into packed kernels.
//!
//! For one panel of a cell and one of its rows, what all mixtures of all samples are mixed of stands together in the warehouse:
//! a matrix `[cells, width]`, which is what a micro-kernel takes for a panel. The rows are the attentions as they lie, and each
//! result is a row of some panel of some sample's kernel.

#![expect(unsafe_code, reason = "results are rows of many panels, and several threads write them")]

use std::ops::Range;

use crate::program::{Conv, Mixing};

use super::machine::Shared;
use super::micro::{Constants, Finish, Micro, Product, ROWS, Rows, prefetch};
use super::operands::Operands;
use super::threads::Scratch;

/// Elements of the warehouse that all mixtures are multiplied by before the next: two thirds of a first-level cache.
const BLOCK: usize = 8192;

/// The mixing of one layer.
#[derive(Clone, Copy)]
pub(super) struct Mixer<'a> {
    mixing: &'a Mixing,
    micro: Micro,
    /// `[samples, mixtures, pitch]`
    attention: &'a [f32],
    warehouse: &'a [f32],
    constants: Option<&'a [f32]>,
    /// Columns of a panel.
    width: usize,
    /// Input channels of a group: rows of the kernel at one position.
    channels: usize,
    /// Panels of a cell.
    panels: usize,
    /// Rows of the kernel.
    depth: usize,
}

impl<'a> Mixer<'a> {
    pub(super) fn new(op: &Conv, mixing: &'a Mixing, operands: &Operands<'a>, micro: Micro) -> Self {
        Self {
            mixing,
            micro,
            attention: operands.input(mixing.attention),
            warehouse: operands.weight(mixing.warehouse),
            constants: mixing.constants.map(|id| operands.weight(id)),
            width: op.kernel.width,
            channels: op.in_channels / op.groups,
            panels: op.kernel.panels(mixing.cell_out),
            depth: op.depth(),
        }
    }

    /// Panels of a cell.
    pub(super) const fn panels(&self) -> usize {
        self.panels
    }

    /// The panels of a cell in the order in which they are to be mixed.
    pub(super) fn order(&self) -> impl Iterator<Item = usize> {
        let (last, backwards) = (self.panels - 1, self.mixing.backwards);
        (0..=last).map(move |panel| if backwards { last - panel } else { panel })
    }

    /// Groups of output channels: panels of a kernel for each of a cell.
    pub(super) const fn out_groups(&self) -> usize {
        self.mixing.grid[0]
    }

    /// Elements of a panel of the kernel.
    pub(super) const fn panel_elements(&self) -> usize {
        self.depth * self.width
    }

    /// Rows of a panel of a cell.
    pub(super) const fn cell_rows(&self) -> usize {
        self.mixing.cell_spatial * self.mixing.cell_in
    }

    /// Multiply-adds of one row of a cell's panel, for one sample.
    pub(super) const fn row_work(&self) -> usize {
        self.mixing.mixtures() * self.mixing.cells * self.width
    }

    /// Mixes rows `rows` of panel `panel` of every cell for some samples. `panel_of` says where a sample (counted from the first)
    /// has the panel of a group of output channels, in elements from `output` on.
    ///
    /// # Safety
    ///
    /// All these panels can be written, and nothing else touches these rows of theirs meanwhile.
    pub(super) unsafe fn mix(
        &self,
        samples: Range<usize>,
        panel: usize,
        rows: Range<usize>,
        output: Shared,
        panel_of: impl Fn(usize, usize) -> usize,
        scratch: &mut Scratch,
    ) {
        let Self { mixing, width, .. } = *self;
        let [out_groups, spatial, input] = mixing.grid;
        let (group, pitch) = (spatial * input, mixing.pitch());
        let mixtures = mixing.mixtures();
        let count = samples.len() * mixtures;
        let tiles = count.div_ceil(ROWS);
        let size = count.div_ceil(tiles.max(1));

        // A tile is a few mixtures, of one sample or of two: where their attentions are, and where their results go.
        let attentions = scratch.attentions.grow(2 * tiles);
        let (attentions, constants) = attentions.split_at_mut(tiles);
        scratch.offsets.clear();
        scratch.offsets.resize(tiles, [0; ROWS]);
        let offsets = &mut scratch.offsets;
        let first_row = (panel * self.cell_rows() + rows.start) * mixtures * width;
        let mut index = 0;
        for (sample, absolute) in samples.enumerate() {
            for out_group in 0..out_groups {
                let start = panel_of(sample, out_group);
                for mixture in 0..group {
                    let (tile, row) = (index / size, index % size);
                    let mixture_of_all = out_group * group + mixture;
                    let attention = &self.attention[(absolute * mixtures + mixture_of_all) * pitch..][..pitch];
                    attentions[tile][row] = attention.as_ptr();
                    if let Some(all) = self.constants {
                        constants[tile][row] = all[first_row + mixture_of_all * width..].as_ptr();
                    }
                    offsets[tile][row] = start + mixture * mixing.cell_in * width;
                    index += 1;
                }
            }
        }

        let cells = mixing.cells * width;
        let longest = (BLOCK / cells.max(1)).max(1);
        let mut row = rows.start;
        while row < rows.end {
            // Rows of one position of the cell stand together in the kernel, too.
            let (position, channel) = (row / mixing.cell_in, row % mixing.cell_in);
            let run = longest.min(mixing.cell_in - channel).min(rows.end - row);
            let from = &self.warehouse[(panel * self.cell_rows() + row) * cells..][..run * cells];
            let skipped = (row - rows.start) * mixtures * width;
            // What comes next is fetched meanwhile, a part with each tile.
            let next = match self.cell_rows() {
                all if row + run == all && mixing.backwards => panel.saturating_sub(1) * all,
                all => panel * all + row + run,
            };
            let next = next * cells;
            let ahead = &self.warehouse[next..self.warehouse.len().min(next + longest * cells)];
            let mut ahead = ahead.chunks(ahead.len().div_ceil(tiles).max(1));
            for (tile, offsets) in offsets.iter().enumerate() {
                prefetch(ahead.next().unwrap_or_default());
                let constants: Rows = constants[tile].map(|start| start.wrapping_add(skipped));
                let call = Product {
                    rows: &attentions[tile..=tile],
                    count: size.min(count - tile * size),
                    length: mixing.cells,
                    panel: from.as_ptr(),
                    width,
                    repeat: run,
                    lanes: width,
                    output: output.at((position * self.channels + channel) * width),
                    offsets,
                    constants: self.constants.map(|_| Constants { rows: &constants, step: mixtures * width }),
                    finish: Finish::NONE,
                };
                // SAFETY: an attention has a value for each cell, and one more with constants; the warehouse has `run` panels
                // of `cells` elements here, and the constants as many of `mixtures * width`; results are the rows that the
                // caller has for this call alone.
                unsafe { self.micro.product(&call) };
            }
            row += run;
        }
    }
}
