//! Blocks of `f32` that start at a cache line.

use std::fmt;
use std::ops::{Deref, DerefMut};

use crate::Error;
use crate::program::ALIGNMENT;

/// All packed weights of a network: one block of `f32`, aligned to 64 bytes.
///
/// It dereferences to `[f32]`; where each weight lies is the Program's business.
pub struct Weights {
    store: Vec<f32>,
    /// First aligned element of `store`.
    start: usize,
    elements: usize,
}

impl Weights {
    /// A block of zeros.
    ///
    /// # Errors
    ///
    /// [`Error::Memory`] if the system does not give the memory.
    pub fn zeroed(elements: usize) -> Result<Self, Error> {
        Self::zeroed_for("the packed weights", elements)
    }

    /// A block of zeros; `what` names it in the error.
    pub(crate) fn zeroed_for(what: &'static str, elements: usize) -> Result<Self, Error> {
        let mut store = Vec::new();
        let full = elements.checked_add(ALIGNMENT).ok_or(Error::Memory { what, elements })?;
        store.try_reserve_exact(full).map_err(|_| Error::Memory { what, elements })?;
        store.resize(full, 0.0_f32);
        // A vector of f32 is aligned to its element, so the distance to the next boundary is a whole number of elements,
        // fewer than ALIGNMENT. (`align_offset` may decline to answer; then the block is merely not aligned.)
        let start = store.as_ptr().align_offset(ALIGNMENT * size_of::<f32>()).min(ALIGNMENT);
        Ok(Self { store, start, elements })
    }
}

impl Deref for Weights {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.store[self.start..self.start + self.elements]
    }
}

impl DerefMut for Weights {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.store[self.start..self.start + self.elements]
    }
}

impl fmt::Debug for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Weights").field("elements", &self.elements).finish_non_exhaustive()
    }
}
