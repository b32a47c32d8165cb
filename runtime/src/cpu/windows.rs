//! Where the windows of a convolution stand in its input.

use crate::program::Conv;

use super::micro::{ROWS, Rows};
use super::simd::{self, Loop};

/// The windows of a convolution over a map `[samples, input..., C_in]`.
///
/// A window is a row of the matrix that the kernel is multiplied by; it is never stored, but pointed to: at every tap, `length`
/// values stand together. Where nothing is padded along the last dimension, all taps of a line do.
#[derive(Clone, Copy)]
pub(super) struct Windows<'a> {
    conv: &'a Conv,
    /// All samples.
    input: &'a [f32],
    /// What a tap in the padding sees: at least a line of the kernel.
    zeros: &'a [f32],
    is_merged: bool,
}

/// Values that windows in the padding of a convolution see.
pub(super) const fn zeros_for(conv: &Conv) -> usize {
    conv.kernel_size[2].saturating_mul(conv.in_channels)
}

impl<'a> Windows<'a> {
    pub(super) fn new(conv: &'a Conv, input: &'a [f32], zeros: &'a [f32]) -> Self {
        let is_merged = conv.padding[2] == 0 && conv.dilation[2] == 1 && conv.groups == 1;
        Self { conv, input, zeros, is_merged }
    }

    /// Places of a window whose values are pointed to.
    pub(super) const fn taps(&self) -> usize {
        let [depth, height, width] = self.conv.kernel_size;
        if self.is_merged { depth * height } else { depth * height * width }
    }

    /// Values of a window at each tap.
    pub(super) const fn length(&self) -> usize {
        let channels = self.conv.in_channels / self.conv.groups;
        if self.is_merged { self.conv.kernel_size[2] * channels } else { channels }
    }

    /// Points to `count` windows from `first` on, counted through positions and samples, in the channels from `channel` on.
    /// There is an element of `rows` for each tap.
    pub(super) fn point(&self, first: usize, count: usize, channel: usize, rows: &mut [Rows]) {
        let conv = self.conv;
        let channels = conv.in_channels;
        let start = self.input.as_ptr().wrapping_add(channel);
        let is_pointwise = conv.kernel_size == [1; 3] && conv.stride == [1; 3] && conv.padding == [0; 3];
        if is_pointwise {
            for (index, row) in rows[0][..count].iter_mut().enumerate() {
                *row = start.wrapping_add((first + index) * channels);
            }
            return;
        }
        simd::run(Point { windows: self, start, first, count, rows });
    }
}

impl Windows<'_> {
    /// Elements from the first tap of a window to each of its taps, where all are in the input.
    pub(super) fn steps(&self) -> Vec<usize> {
        let conv = self.conv;
        let [kernel_depth, kernel_height, kernel_width] = conv.kernel_size;
        let [_, in_height, in_width] = conv.input_size;
        let taps = |count: usize, dilation: usize| (0..count).map(move |tap| tap * dilation);
        let mut steps = Vec::with_capacity(self.taps());
        for z in taps(kernel_depth, conv.dilation[0]) {
            for y in taps(kernel_height, conv.dilation[1]) {
                let line = (z * in_height + y) * in_width;
                steps.extend(taps(kernel_width, conv.dilation[2]).map(|x| (line + x) * conv.in_channels));
            }
        }
        steps
    }

    /// Points to the first taps of `count` windows from `first` on, if all taps of all of them are in the input.
    pub(super) fn point_inside(&self, first: usize, count: usize, rows: &mut Rows) -> bool {
        let conv = self.conv;
        let reach: [usize; 3] = std::array::from_fn(|d| (conv.kernel_size[d] - 1) * conv.dilation[d]);
        for ([sample, place @ ..], row) in origins(conv, first, count).into_iter().take(count).zip(rows) {
            let mut at = sample;
            for d in 0..3 {
                let start = inside(place[d] * conv.stride[d], conv.padding[d], conv.input_size[d]);
                let Some(start) = start.filter(|start| start + reach[d] < conv.input_size[d]) else { return false };
                at = at * conv.input_size[d] + start;
            }
            *row = self.input.as_ptr().wrapping_add(at * conv.in_channels);
        }
        true
    }
}

/// Points to windows that are more than one position.
struct Point<'a, 'w> {
    windows: &'a Windows<'w>,
    /// The first element of the channels.
    start: *const f32,
    /// The first window.
    first: usize,
    count: usize,
    rows: &'a mut [Rows],
}

impl Loop for Point<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Self { windows, start, first, count, rows } = self;
        let (conv, zeros) = (windows.conv, windows.zeros.as_ptr());
        let channels = conv.in_channels;
        let [in_depth, in_height, in_width] = conv.input_size;
        let [_, kernel_height, kernel_width] = conv.kernel_size;
        let origins = origins(conv, first, count);
        let taps = if windows.is_merged { 1 } else { kernel_width };
        for (line, rows) in rows.chunks_exact_mut(taps).enumerate() {
            let (tap_z, tap_y) = (line / kernel_height * conv.dilation[0], line % kernel_height * conv.dilation[1]);
            // The place of each row's first tap in its line, and in the input; and where the line ends. Places before its start
            // wrap around, to beyond its end.
            let (mut places, mut offsets, mut ends) = ([0_usize; ROWS], [0_usize; ROWS], [0_usize; ROWS]);
            for (row, [sample, z, y, x]) in origins.into_iter().enumerate().take(count) {
                let z = inside(z * conv.stride[0] + tap_z, conv.padding[0], in_depth);
                let y = inside(y * conv.stride[1] + tap_y, conv.padding[1], in_height);
                if let (Some(z), Some(y)) = (z, y) {
                    places[row] = (x * conv.stride[2]).wrapping_sub(conv.padding[2]);
                    let line = ((sample * in_depth + z) * in_height + y) * in_width;
                    offsets[row] = line.wrapping_add(places[row]).wrapping_mul(channels);
                    ends[row] = in_width;
                }
            }
            for (tap, rows) in rows.iter_mut().enumerate() {
                let step = tap * conv.dilation[2];
                let skipped = step * channels;
                for row in 0..ROWS {
                    let value = start.wrapping_add(offsets[row].wrapping_add(skipped));
                    rows[row] = if places[row].wrapping_add(step) < ends[row] { value } else { zeros };
                }
            }
        }
    }
}

/// Sample and output position of windows, one after the other.
#[inline(always)]
fn origins(conv: &Conv, first: usize, count: usize) -> [[usize; 4]; ROWS] {
    let [depth, height, width] = conv.output_size;
    let (line, plane) = (first / width, first / width / height);
    let mut next = [plane / depth, plane % depth, line % height, first % width];
    let mut origins = [[0; 4]; ROWS];
    for origin in &mut origins[..count] {
        *origin = next;
        let [sample, z, y, x] = &mut next;
        *x += 1;
        if *x == width {
            (*x, *y) = (0, *y + 1);
        }
        if *y == height {
            (*y, *z) = (0, *z + 1);
        }
        if *z == depth {
            (*z, *sample) = (0, *sample + 1);
        }
    }
    origins
}

/// Where a place of the padded input is in the input.
#[inline(always)]
fn inside(at: usize, padding: usize, size: usize) -> Option<usize> {
    at.checked_sub(padding).filter(|&at| at < size)
}
