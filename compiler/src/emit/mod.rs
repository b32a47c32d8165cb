//! Emission: a Program as source code. Pure: text in memory, written by whoever asked for it.

pub mod constant;
pub mod cuda;
mod cuda_model;
mod model;
mod names;
pub mod package;
mod ports;
mod pretty;
pub mod ptx;

pub use constant::Unsupported;
pub use cuda_model::{CodeForm, cuda_model};
pub use model::model;
pub use pretty::pretty;
