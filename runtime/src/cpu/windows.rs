//! A convolution's input as a matrix: a column for each output position, a row for each column of the kernel.
//!
//! The matrix is never stored; its panels are read from the map when a product asks for them. Pools and depthwise
//! convolutions share the arithmetic of what is inside a padded row.

use crate::program::Conv;

use super::gemm::WIDTH;

/// The windows of one group of one sample's map, `[K, positions]`.
#[derive(Clone, Copy)]
pub(super) struct Windows<'a> {
    /// The group's channels, `[C_in / groups, input...]`.
    pub(super) map: &'a [f32],
    /// The convolution that looks through them.
    pub(super) conv: &'a Conv,
}

/// Where the values of one panel stand in a channel's plane, for one position of the kernel.
#[derive(Clone, Copy)]
struct Places {
    /// Position of the kernel that this is about.
    position: usize,
    /// Offset of each column's value in the plane; outside of it for padding.
    offsets: [usize; WIDTH],
    /// The offset of the first, where the values of a whole panel stand side by side.
    run: Option<usize>,
}

/// Padding, and columns beyond the last: no plane is that long.
const NOWHERE: usize = usize::MAX;
/// Positions of the kernel whose places are kept while a panel is packed.
const KEPT: usize = 64;

impl Windows<'_> {
    /// Writes columns `first .. first + count`, rows `start .. start + depth`, as panels; missing columns are zeros.
    pub(super) fn pack(
        &self,
        (first, count): (usize, usize),
        (start, depth): (usize, usize),
        panels: &mut [[f32; WIDTH]],
    ) {
        let conv = self.conv;
        let plane = conv.input_size.iter().product::<usize>();
        let positions = conv.kernel_size.iter().product::<usize>();
        let block = conv.channel_block;
        let mut kept = [Places { position: usize::MAX, offsets: [NOWHERE; WIDTH], run: None }; KEPT];
        for (index, panel) in panels.chunks_exact_mut(depth).enumerate() {
            let column = first + index * WIDTH;
            let columns = Columns::new(conv, column, WIDTH.min(first + count - column));
            for places in &mut kept {
                places.position = usize::MAX;
            }
            // Counted rather than divided out anew for every row.
            let (mut channel, mut position) = (start / (block * positions) * block, start / block % positions);
            let mut inner = start % block;
            for group in panel {
                let places = &mut kept[position % KEPT];
                if places.position != position {
                    *places = columns.places(conv, position);
                }
                let values = &self.map[(channel + inner) * plane..][..plane];
                match places.run.and_then(|run| values.get(run..run + WIDTH)) {
                    Some(values) => group.copy_from_slice(values),
                    None => {
                        for (value, &offset) in group.iter_mut().zip(&places.offsets) {
                            *value = values.get(offset).copied().unwrap_or(0.0);
                        }
                    }
                }
                inner += 1;
                if inner == block {
                    (inner, position) = (0, position + 1);
                }
                if position == positions {
                    (position, channel) = (0, channel + block);
                }
            }
        }
    }
}

/// Origin of each column's window in the padded input; `None` beyond the last column.
struct Columns([Option<[usize; 3]>; WIDTH]);

impl Columns {
    fn new(conv: &Conv, first: usize, count: usize) -> Self {
        let [_, height, width] = conv.output_size;
        let [depth_step, row_step, column_step] = conv.stride;
        let mut origins = [None; WIDTH];
        for (origin, position) in origins.iter_mut().zip(first..first + count) {
            *origin = Some([
                position / width / height * depth_step,
                position / width % height * row_step,
                position % width * column_step,
            ]);
        }
        Self(origins)
    }

    fn places(&self, conv: &Conv, position: usize) -> Places {
        let [_, kernel_height, kernel_width] = conv.kernel_size;
        let tap = [
            position / kernel_width / kernel_height * conv.dilation[0],
            position / kernel_width % kernel_height * conv.dilation[1],
            position % kernel_width * conv.dilation[2],
        ];
        let mut offsets = [NOWHERE; WIDTH];
        for (offset, origin) in offsets.iter_mut().zip(self.0) {
            if let Some(origin) = origin {
                *offset = place(conv, origin, tap).unwrap_or(NOWHERE);
            }
        }
        let first = offsets[0];
        let together = first != NOWHERE && offsets.iter().zip(first..).all(|(&offset, next)| offset == next);
        Places { position, offsets, run: together.then_some(first) }
    }
}

/// Offset in a plane of what a tap of the window at `origin` sees; `None` in the padding.
fn place(conv: &Conv, origin: [usize; 3], tap: [usize; 3]) -> Option<usize> {
    let mut offset = 0;
    for dimension in 0..3 {
        let size = conv.input_size[dimension];
        let at = (origin[dimension] + tap[dimension]).checked_sub(conv.padding[dimension]).filter(|&at| at < size)?;
        offset = offset * size + at;
    }
    Some(offset)
}

/// The `i` below `count` for which `i * stride + shift` is inside a row of `width` values after `padding` zeros.
pub(super) fn inside(
    width: usize,
    padding: usize,
    shift: usize,
    stride: usize,
    count: usize,
) -> std::ops::Range<usize> {
    let start = padding.saturating_sub(shift).div_ceil(stride);
    let end = (width + padding).saturating_sub(shift).div_ceil(stride);
    start..end.min(count)
}
