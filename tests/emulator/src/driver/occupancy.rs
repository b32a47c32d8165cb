//! How many blocks of a kernel are resident on a multiprocessor at a time.
//!
//! The rules are those of CUDA's occupancy calculator for compute capability 8.0 to 9.0:
//!
//! - Registers are given to warps, in units of 256. The register file has four parts of equal size, and a warp lives in
//!   one of them.
//! - A block may not take more registers than there are; for that check its warps are rounded up to whole fours.
//! - Shared memory is given to blocks in units of 128 bytes, and the system takes 1 KiB more for each.

use super::device::{self, Architecture};

/// What a block takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// Threads.
    pub threads: u32,
    /// Registers of a thread.
    pub registers: u32,
    /// Shared memory, static and dynamic, bytes.
    pub shared: u32,
}

/// Registers are given to a warp in units of so many.
const REGISTER_UNIT: u32 = 256;
/// Parts of a register file, one to a scheduler.
const REGISTER_PARTS: u32 = 4;
/// Shared memory is given in units of so many bytes.
const SHARED_UNIT: u32 = 128;

/// Whether the registers of one block exist at all.
#[must_use]
pub fn registers_fit(demand: &Demand) -> bool {
    let warps = demand.threads.div_ceil(device::WARP).next_multiple_of(REGISTER_PARTS);
    demand.registers <= device::REGISTERS_PER_THREAD
        && warps.saturating_mul(registers_of_warp(demand.registers)) <= device::REGISTERS
}

/// The most registers that each thread of a block can have: 255, or what keeps the block launchable.
#[must_use]
pub fn most_registers(threads: u32) -> u32 {
    let warps = threads.div_ceil(device::WARP).next_multiple_of(REGISTER_PARTS).max(REGISTER_PARTS);
    let of_warp = device::REGISTERS / warps / REGISTER_UNIT * REGISTER_UNIT;
    (of_warp / device::WARP).min(device::REGISTERS_PER_THREAD)
}

/// How many blocks are resident on a multiprocessor; 0 where not even one fits.
#[must_use]
pub fn resident_blocks(architecture: Architecture, demand: &Demand) -> u32 {
    if demand.threads == 0 || demand.threads > device::THREADS_PER_BLOCK || !registers_fit(demand) {
        return 0;
    }
    let part = architecture.part();
    if demand.shared > part.shared_per_block_optin {
        return 0;
    }
    let warps = demand.threads.div_ceil(device::WARP);
    let by_warps = part.threads_per_multiprocessor / device::WARP / warps;
    let by_registers = match registers_of_warp(demand.registers) {
        0 => u32::MAX,
        of_warp => device::REGISTERS / REGISTER_PARTS / of_warp * REGISTER_PARTS / warps,
    };
    let by_shared = part.shared_per_multiprocessor / shared_of_block(demand.shared);
    by_warps.min(by_registers).min(by_shared).min(part.blocks_per_multiprocessor)
}

/// The most dynamic shared memory with which `blocks` blocks are resident on a multiprocessor, bytes.
#[must_use]
pub fn available_shared(architecture: Architecture, blocks: u32, fixed: u32) -> u32 {
    let part = architecture.part();
    let each = part.shared_per_multiprocessor / blocks.max(1) / SHARED_UNIT * SHARED_UNIT;
    each.saturating_sub(device::SHARED_RESERVED).min(part.shared_per_block_optin).saturating_sub(fixed)
}

fn registers_of_warp(registers: u32) -> u32 {
    registers.saturating_mul(device::WARP).div_ceil(REGISTER_UNIT).saturating_mul(REGISTER_UNIT)
}

fn shared_of_block(shared: u32) -> u32 {
    (shared + device::SHARED_RESERVED).next_multiple_of(SHARED_UNIT)
}
