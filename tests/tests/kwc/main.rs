//! All tests, one binary.

mod checkpoints;
mod command;
mod digits;
mod errors;
mod kernels;
mod layers;
mod networks;
mod operations;
mod plans;
mod properties;
mod spec;
