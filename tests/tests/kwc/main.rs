//! All tests, one binary.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod bench;
mod checkpoints;
mod command;
mod cuda;
mod cuda_runtime;
mod digits;
mod emit;
mod errors;
mod golden;
mod guard;
mod include;
mod init;
mod kernels;
mod layers;
mod networks;
mod operations;
mod packed;
mod packing;
mod plans;
mod programs;
mod properties;
mod spec;
mod vgpu;
