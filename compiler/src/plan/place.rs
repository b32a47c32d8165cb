//! Placement: buffers into one arena, by lifetime.

use kwc_program::{ALIGNMENT, Buffer};

/// A buffer before it has a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lifetime {
    /// Elements per sample.
    pub length: usize,
    /// First step that touches it.
    pub first: usize,
    /// Last step that touches it.
    pub last: usize,
}

/// Places buffers so that those with overlapping lifetimes don't overlap: largest first, each at the lowest offset that
/// is free. Returns the buffers in the given order, and the size of the arena.
pub(super) fn place(lifetimes: &[Lifetime]) -> (Vec<Buffer>, usize) {
    place_aligned(lifetimes, ALIGNMENT)
}

/// The same with every offset a multiple of `alignment`.
pub(super) fn place_aligned(lifetimes: &[Lifetime], alignment: usize) -> (Vec<Buffer>, usize) {
    let mut order: Vec<usize> = (0..lifetimes.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(lifetimes[i].length), i));
    let mut buffers = vec![Buffer { offset: 0, length: 0 }; lifetimes.len()];
    // Placed so far, by offset.
    let mut placed: Vec<(usize, usize, Lifetime)> = Vec::new();
    let mut arena = 0;
    for index in order {
        let wanted = lifetimes[index];
        let size = wanted.length.next_multiple_of(alignment);
        let mut offset = 0;
        for &(start, end, other) in &placed {
            let together = other.first <= wanted.last && wanted.first <= other.last;
            if !together {
                continue;
            }
            if offset + size <= start {
                break;
            }
            offset = offset.max(end);
        }
        buffers[index] = Buffer { offset, length: wanted.length };
        arena = arena.max(offset + size);
        let at = placed.partition_point(|p| p.0 <= offset);
        placed.insert(at, (offset, offset + size, wanted));
    }
    (buffers, arena)
}
