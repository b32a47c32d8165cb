//! Runtime of compiled KernelWarehouse networks.
//!
//! A [`program::Program`] says what to do, [`Weights`] hold what was learned, and [`cpu::Model`] does it:
//!
//! ```ignore
//! let weights = Weights::open("weights.safetensors".as_ref(), &program)?;
//! let mut model = cpu::Model::new(program, weights, &cpu::Options::default())?;
//! model.run(1, &[&image])?;
//! let logits = model.output(0);
//! ```
//!
//! `Weights::open` (feature `files`) maps a file that `kwc compile --weights` packed; without one, a program fills
//! [`Weights::zeroed`] in the packed order that the Program's table of weights names.
//!
//! On CUDA devices a [`program::cuda::Program`] is done by `cuda::Model` (feature `cuda`).

pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
mod error;
#[cfg(feature = "files")]
mod hash;
#[cfg(feature = "files")]
pub mod packed;
mod weights;

pub use error::Error;
#[cfg(feature = "macros")]
pub use kwc_macros::include_model;
pub use kwc_program as program;
pub use weights::Weights;
