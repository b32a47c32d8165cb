//! Memory for `f32`, in whole lines of the cache.
#![expect(unsafe_code, reason = "lines as the numbers that they are")]

use std::collections::TryReserveError;

use crate::program::ALIGNMENT;

/// A line of the cache.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; ALIGNMENT]);

const _: () = assert!(align_of::<Line>() == ALIGNMENT * size_of::<f32>() && size_of::<Line>() == align_of::<Line>());

/// A block of `f32` that starts at a line of the cache, and takes no more memory than the lines that it is in.
pub(super) struct Lines {
    lines: Vec<Line>,
    elements: usize,
}

impl Lines {
    /// Zeros.
    pub(super) fn zeroed(elements: usize) -> Result<Self, TryReserveError> {
        let count = elements.div_ceil(ALIGNMENT);
        let mut lines = Vec::new();
        lines.try_reserve_exact(count)?;
        lines.resize(count, Line([0.0; ALIGNMENT]));
        Ok(Self { lines, elements })
    }

    pub(super) fn elements(&self) -> &[f32] {
        // SAFETY: a line is `ALIGNMENT` numbers and nothing else, and there are lines for all elements.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.elements) }
    }

    pub(super) fn elements_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `elements`; `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.elements) }
    }
}
