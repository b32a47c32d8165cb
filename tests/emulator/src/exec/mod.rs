//! Decoding and execution.

pub mod flow;
