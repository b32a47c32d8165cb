//! Counters: what a launch did, exactly.

use serde::{Deserialize, Serialize};

/// The classes that instructions are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Integer and logic.
    Integer,
    /// f32 add, multiply, fused multiply-add, minimum, comparison.
    F32,
    /// f16 and bf16.
    Half,
    /// f64.
    F64,
    /// Approximate functions: rcp, sqrt, rsqrt, ex2, lg2, sin, cos, tanh.
    Special,
    /// cvt.
    Convert,
    /// mov, selp, cvta, prmt, shfl, vote, special registers.
    Move,
    /// mma, wgmma.
    Tensor,
    /// ld, st, cp.async, ldmatrix on global, local, constant, parameter memory.
    Memory,
    /// ld, st, ldmatrix on shared memory.
    Shared,
    /// atom, red.
    Atomic,
    /// bra, call, ret, exit.
    Control,
    /// bar, membar, fence, waits.
    Barrier,
}

impl Class {
    /// All classes, in the order in which reports show them.
    pub const ALL: [Self; 13] = [
        Self::Integer,
        Self::F32,
        Self::Half,
        Self::F64,
        Self::Special,
        Self::Convert,
        Self::Move,
        Self::Tensor,
        Self::Memory,
        Self::Shared,
        Self::Atomic,
        Self::Control,
        Self::Barrier,
    ];
}

/// What one instruction did over a launch, added up as it executes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// Times that a warp issued it.
    pub warps: u64,
    /// Lanes that executed it.
    pub threads: u64,
    /// Requests: times that a warp accessed global (or local) memory.
    pub requests: u64,
    /// 32-byte sectors that those requests touched.
    pub sectors: u64,
    /// Bytes that the lanes asked for.
    pub bytes: u64,
    /// Wavefronts of shared memory.
    pub wavefronts: u64,
    /// The wavefronts that were over what the access would take without bank conflicts.
    pub conflicts: u64,
    /// For a branch: times that lanes went both ways.
    pub divergent: u64,
}

/// What a launch did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// The kernel's name.
    pub kernel: String,
    /// Which launch of the process, from 1.
    pub launch: u64,
    /// Blocks, x y z.
    pub grid: [u32; 3],
    /// Threads of a block, x y z.
    pub block: [u32; 3],
    /// Registers of a thread: an upper estimate from the lifetimes in the PTX, not what ptxas would say.
    pub registers: u32,
    /// Static shared memory of a block, bytes.
    pub static_shared: u32,
    /// Dynamic shared memory of a block, bytes.
    pub dynamic_shared: u32,
    /// Local memory of a thread, bytes.
    pub local: u32,
    /// Blocks that fit on one multiprocessor at a time.
    pub resident_blocks: u32,
    /// Instructions by class; classes that didn't occur are left out.
    pub classes: Vec<(Class, Issued)>,
    /// Of all of them, those inside loops.
    pub in_loops: Vec<(Class, Issued)>,
    /// Multiply-adds of the tensor cores.
    pub tensor_multiply_adds: u64,
    /// Global memory read by the kernel.
    pub global_loads: Traffic,
    /// Global memory written by the kernel.
    pub global_stores: Traffic,
    /// Local memory, both ways.
    pub local_traffic: Traffic,
    /// Distinct 32-byte sectors that were read or written: the traffic that no cache can avoid.
    pub distinct_sectors: u64,
    /// Of those, read; a sector that is read and written counts in both.
    pub distinct_sectors_read: u64,
    /// Of those, written.
    pub distinct_sectors_written: u64,
    /// Accesses of shared memory by warps.
    pub shared_requests: u64,
    /// Wavefronts that they took.
    pub shared_wavefronts: u64,
    /// Of those, what bank conflicts added.
    pub bank_conflicts: u64,
    /// Atomic operations of lanes: global, then shared.
    pub atomics: [u64; 2],
    /// Barriers that warps waited at.
    pub barriers: u64,
    /// Branches at which the lanes of a warp parted.
    pub divergent_branches: u64,
    /// Bytes copied by `cp.async`.
    pub async_bytes: u64,
    /// The most bytes on their way by `cp.async` in one block: those of its warps, each one's most, whether they have them
    /// at the same time or not.
    pub async_in_flight: u64,
    /// Every instruction that was issued, in the order of the text.
    pub instructions: Vec<Instruction>,
}

/// How often instructions were issued.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// By warps: issue slots.
    pub warps: u64,
    /// By lanes.
    pub threads: u64,
}

/// Traffic of a memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Accesses by warps.
    pub requests: u64,
    /// 32-byte sectors, summed over the requests.
    pub sectors: u64,
    /// Bytes that the lanes asked for.
    pub bytes: u64,
}

/// What one instruction did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instruction {
    /// Line in the PTX text, from 1.
    pub line: u32,
    /// File and line in the CUDA source, where the module has line information.
    pub source: Option<(String, u32)>,
    /// The opcode.
    pub opcode: String,
    /// Its figures.
    pub site: Site,
}

impl std::ops::AddAssign for Issued {
    fn add_assign(&mut self, other: Self) {
        self.warps += other.warps;
        self.threads += other.threads;
    }
}

impl std::ops::AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.sectors += other.sectors;
        self.bytes += other.bytes;
    }
}

impl std::ops::AddAssign<Traffic> for Site {
    fn add_assign(&mut self, other: Traffic) {
        self.requests += other.requests;
        self.sectors += other.sectors;
        self.bytes += other.bytes;
    }
}

impl std::ops::AddAssign for Site {
    fn add_assign(&mut self, other: Self) {
        let Self { warps, threads, requests, sectors, bytes, wavefronts, conflicts, divergent } = other;
        self.warps += warps;
        self.threads += threads;
        self.requests += requests;
        self.sectors += sectors;
        self.bytes += bytes;
        self.wavefronts += wavefronts;
        self.conflicts += conflicts;
        self.divergent += divergent;
    }
}
