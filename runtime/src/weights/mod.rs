//! Blocks of `f32` that start at a cache line.

#[cfg(feature = "files")]
mod file;
mod lines;
#[cfg(feature = "files")]
mod map;

use std::fmt;
use std::ops::{Deref, DerefMut};

use crate::Error;
use crate::program::Program;

use lines::Lines;

/// All packed weights of a network: one block of `f32`, aligned to 64 bytes, in memory or mapped from a file.
///
/// It dereferences to `[f32]`; where each weight lies is the Program's business.
pub struct Weights {
    store: Store,
    /// What they were packed for, where that is known.
    origin: Option<Origin>,
}

enum Store {
    Owned(Lines),
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
        let lines = Lines::zeroed(elements).map_err(|_| Error::Memory { what, elements })?;
        Ok(Self { store: Store::Owned(lines), origin: None })
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
            Store::Owned(lines) => lines.elements(),
            #[cfg(feature = "files")]
            Store::Mapped(map) => map.elements(),
        }
    }
}

impl DerefMut for Weights {
    fn deref_mut(&mut self) -> &mut [f32] {
        match &mut self.store {
            Store::Owned(lines) => lines.elements_mut(),
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
