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
mod compare;
mod control;
mod control_random;
mod convert;
mod driver;
mod float;
mod flow;
mod global;
mod half;
mod integer;
mod ldmatrix;
mod load;
mod memory;
mod mma;
mod moves;
mod numbers;
mod ptx;
mod reader;
mod resources;
mod rounding;
mod shuffle;
mod spaces;
mod vote;
mod waiting;
