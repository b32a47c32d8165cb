//! Blocks of `f32` that start at a cache line.

#[cfg(feature = "files")]
mod file;
#[cfg(feature = "files")]
mod map;

use std::fmt;
use std::ops::{Deref, DerefMut};

use crate::Error;
use crate::program::{ALIGNMENT, Program};

/// All packed weights of a network: one block of `f32`, aligned to 64 bytes, in memory or mapped from a file.
///
/// It dereferences to `[f32]`; where each weight lies is the Program's business.
pub struct Weights {
    store: Store,
    /// What they were packed for, where that is known.
    origin: Option<Origin>,
}

enum Store {
    Owned {
        store: Vec<f32>,
        /// First aligned element of `store`.
        start: usize,
        elements: usize,
    },
    #[cfg(feature = "files")]
    Mapped(map::Map),
}

/// What a file says that its weights were packed for.
struct Origin {
    network: String,
    weights_id: String,
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
        Ok(Self { store: Store::Owned { store, start, elements }, origin: None })
    }

    /// Whether they are those of a Program, as far as is known. Weights that a program filled itself are its own business.
    pub(crate) fn check(&self, program: &Program) -> Result<(), Error> {
        if self.len() != program.weight_elements {
            return Err(Error::WeightCount { expected: program.weight_elements, found: self.len() });
        }
        match &self.origin {
            Some(Origin { network, weights_id }) if *weights_id != program.weights_id => Err(Error::WeightsId {
                network: program.name.to_string(),
                expected: program.weights_id.to_string(),
                found_network: network.clone(),
                found: weights_id.clone(),
            }),
            Some(_) | None => Ok(()),
        }
    }
}

impl Deref for Weights {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &self.store {
            Store::Owned { store, start, elements } => &store[*start..*start + *elements],
            #[cfg(feature = "files")]
            Store::Mapped(map) => map.elements(),
        }
    }
}

impl DerefMut for Weights {
    fn deref_mut(&mut self) -> &mut [f32] {
        match &mut self.store {
            Store::Owned { store, start, elements } => &mut store[*start..*start + *elements],
            #[cfg(feature = "files")]
            Store::Mapped(map) => map.elements_mut(),
        }
    }
}

impl fmt::Debug for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Weights").field("elements", &self.len()).finish_non_exhaustive()
    }
}
