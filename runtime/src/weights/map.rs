//! A part of a file as floating-point numbers in memory, without reading it.
#![expect(unsafe_code, reason = "maps of files, and numbers as the bytes that they are")]

use std::fs::File;

#[cfg(unix)]
use memmap2::Advice;
use memmap2::{MmapMut, MmapOptions};

/// Numbers in a file, mapped. What is changed of them is the process's own: the file stays as it is.
pub(super) struct Map {
    map: MmapMut,
    /// Byte of the map where they begin; its address is a multiple of an `f32`'s alignment.
    start: usize,
    elements: usize,
}

impl Map {
    /// Maps `elements` little-endian numbers from the byte `start` of a file. `None` where that cannot be done: they are not
    /// aligned to `alignment` bytes there, this processor is big-endian, or the system does not map this file.
    pub(super) fn new(file: &File, start: usize, elements: usize, alignment: usize) -> Option<Self> {
        let end = elements.checked_mul(size_of::<f32>())?.checked_add(start)?;
        if cfg!(target_endian = "big") || elements == 0 || !start.is_multiple_of(alignment) {
            return None;
        }
        // SAFETY: the map is private, so nobody sees what this process writes. What another process writes to the file may
        // show, and a file that is cut short raises SIGBUS where the lost part is read: `Weights::open` asks its callers to
        // do neither, and everything here that replaces such a file renames a new one into its place.
        let map = unsafe { MmapOptions::new().len(end).map_copy(file) }.ok()?;
        if !(map.as_ptr().addr() + start).is_multiple_of(alignment) {
            return None;
        }
        // It is read soon, from the front. What does not know this advice reads it when it is touched.
        #[cfg(unix)]
        let _ = map.advise(Advice::WillNeed);
        Some(Self { map, start, elements })
    }

    pub(super) fn elements(&self) -> &[f32] {
        // SAFETY: `new` mapped at least `start + 4 * elements` bytes, which live as long as `self.map`, and the first of them
        // is aligned. Any bits are an `f32`. Who writes has `self` exclusively.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(self.start).cast(), self.elements) }
    }

    pub(super) fn elements_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `elements`; the map is writable, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.map.as_mut_ptr().add(self.start).cast(), self.elements) }
    }
}

/// Numbers as their bytes in memory.
#[cfg(target_endian = "little")]
pub(super) fn bytes(elements: &[f32]) -> &[u8] {
    // SAFETY: the bytes of a slice of `f32`, which has no padding; a byte needs no alignment, and the borrow is the same.
    unsafe { std::slice::from_raw_parts(elements.as_ptr().cast(), size_of_val(elements)) }
}
