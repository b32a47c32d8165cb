//! Weights: reading checkpoints, comparing them with a network's state dict, packing them for a Program.
//!
//! A [`Checkpoint`] is an open file, safetensors or a PyTorch archive. Opening reads what describes the tensors and
//! nothing else; their elements are read in pieces, where [`pack`] wants them, so that a checkpoint never stands in memory
//! beside its packed form. A [`State`] is a state dict in memory, such as a random one.
//!
//! Nothing in a checkpoint is trusted: sizes are checked before anything is allocated, a pickle is read as data and runs
//! nothing ([`checkpoint`]), and whatever is wrong with a file comes back as an [`Error`] that names the place.

use std::fmt;

mod base;
pub mod checkpoint;
mod error;
mod finite;
mod fold;
pub mod matching;
mod memory;
pub mod pack;
mod panels;
mod pickle;
mod pytorch;
mod safetensors;
mod window;

pub use checkpoint::Checkpoint;
pub use error::{Error, Place};
pub use finite::{Count, NotFinite};
pub use memory::State;

/// Tensors that can be read by name, piece by piece.
pub trait Tensors {
    /// Reads the elements `start .. start + out.len()` of a tensor in row-major order, converted to `f32`.
    ///
    /// # Errors
    /// If there is no such tensor, if it has no such elements, if its elements aren't floating-point numbers, or if they
    /// can't be read.
    fn read(&mut self, name: &str, start: usize, out: &mut [f32]) -> Result<(), Error>;
}

/// Type and shape of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Shape; a scalar has none.
    pub shape: Vec<usize>,
    /// Type of its elements.
    pub dtype: Dtype,
}

impl TensorInfo {
    /// Elements of the tensor.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Types of elements that a checkpoint's tensors may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// IEEE binary64.
    F64,
    /// IEEE binary32.
    F32,
    /// IEEE binary16.
    F16,
    /// The upper half of a binary32.
    Bf16,
    /// Signed, 64 bits.
    I64,
    /// Signed, 32 bits.
    I32,
    /// Signed, 16 bits.
    I16,
    /// Signed, 8 bits.
    I8,
    /// Unsigned, 8 bits.
    U8,
    /// True or false, one byte.
    Bool,
}

impl Dtype {
    /// Bytes of one element.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::Bf16 | Self::I16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// Whether tensors of this type can be weights.
    #[must_use]
    pub const fn is_float(self) -> bool {
        match self {
            Self::F64 | Self::F32 | Self::F16 | Self::Bf16 => true,
            Self::I64 | Self::I32 | Self::I16 | Self::I8 | Self::U8 | Self::Bool => false,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F64 => "f64",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::I64 => "i64",
            Self::I32 => "i32",
            Self::I16 => "i16",
            Self::I8 => "i8",
            Self::U8 => "u8",
            Self::Bool => "bool",
        })
    }
}
