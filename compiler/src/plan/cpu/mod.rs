//! Planning for the CPU: steps as the operations of [`kwc_program::Op`].
//!
//! - `lower` walks the steps, and knows how every activation is stored;
//! - `convolution` lowers what has a kernel, and decides which panels a kernel has;
//! - `edges` reorders what the caller gives and gets, and what is flattened;
//! - `weights` says how packed weights are ordered.

mod convolution;
mod edges;
mod lower;
mod weights;

pub(super) use lower::lower;
pub use weights::{Order, PackRecipe};
