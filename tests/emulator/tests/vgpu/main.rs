//! Tests of the virtual GPU.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says why"
)]

mod acquire;
mod approximate;
mod async_copy;
mod atomic;
mod barrier;
mod bits;
mod calls;
mod carry;
mod check;
mod command;
mod compare;
mod control;
mod control_random;
mod convert;
mod counters;
mod cuda_blocks;
mod cuda_graphs;
mod cuda_products;
mod cuda_threads;
mod driver;
mod findings;
mod float;
mod flow;
mod global;
mod gpu;
mod half;
mod harness;
mod integer;
mod ldmatrix;
mod load;
mod memory;
mod mma;
mod moves;
mod numbers;
mod nvrtc;
mod ptx;
mod reader;
mod report;
mod resources;
mod rounding;
mod shuffle;
mod spaces;
mod vote;
mod waiting;
