//! A virtual GPU: a stand-in for the CUDA driver over an interpreter of PTX.
//!
//! Programs that load the driver API (`libcuda.so.1`) and use the functions that it offers run on it with no GPU: the
//! PTX that NVRTC makes is read, decoded, and executed in warps of 32 lanes. What hardware cannot do comes along: it
//! finds accesses that are wrong ([`findings`]) and counts what a kernel does exactly ([`counters`]).
//!
//! | module | what it does |
//! | --- | --- |
//! | [`ptx`] | text to a syntax tree |
//! | [`exec`] | a syntax tree to decoded instructions, and their execution: one file per family of instructions |
//! | [`memory`] | address spaces, allocations, accesses of a warp |
//! | [`check`] | what was written, by whom, and what orders it: the sanitizer's shadow memory |
//! | [`findings`], [`counters`] | what is found and counted |
//! | [`gpu`] | a device: modules, memory, launches; the interface from Rust |
//! | [`driver`] | the C interface, with contexts, streams, events and graphs |
//! | [`report`] | what is written for `vgpu` to show |
//! | [`command`] | `vgpu` itself |

pub mod check;
pub mod command;
pub mod counters;
pub mod driver;
pub mod exec;
pub mod findings;
pub mod gpu;
pub mod memory;
pub mod options;
pub mod ptx;
pub mod report;
