//! The compiler of kwc: from a network in YAML to a Program for a target.
//!
//! The way of the data, one folder or file a stage ([`pipeline`] shows them as one list):
//!
//! ```text
//! YAML text -> spec -> lower -> ir -> partition -> check -> plan -> Program for the CPU
//!                                                            -> plan::cuda -> Program for CUDA -> emit::cuda -> kernels.cu
//! Program -> emit -> a Rust crate
//! checkpoint -> weights -> packed weights
//! ```
//!
//! The library is pure: text and tensors in, text and tensors out. It reads files only through what the caller hands it
//! ([`source::Files`], which [`folder::Folder`] implements, and the path of a checkpoint), and writes none.
//!
//! After [`check`], nothing that a user wrote can fail: later stages are total, but for requests of the caller's (a dump of
//! what doesn't exist) and layers that are too large for a target, which [`plan`] refuses by name.

pub mod check;
pub mod diagnostic;
pub mod emit;
pub mod folder;
pub mod hash;
pub mod ir;
pub mod lower;
pub mod partition;
pub mod pipeline;
pub mod plan;
pub mod report;
pub mod source;
pub mod spec;
pub mod state;
pub mod weights;
