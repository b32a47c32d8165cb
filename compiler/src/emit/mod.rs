//! Emission: a Program as source code. Pure: text in memory, written by whoever asked for it.

pub mod constant;
pub mod cuda;
mod model;
mod names;

pub use model::{model, pretty};
