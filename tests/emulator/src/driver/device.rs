//! The parts that a virtual GPU can stand for, and their limits.
//!
//! The figures are those that the parts' own drivers report (`deviceQuery`) and that the table of technical
//! specifications by compute capability in the CUDA programming guide gives. Sizes of memory differ by some MiB from
//! driver to driver.

/// A part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Architecture {
    /// Compute capability 8.0: an A100.
    Sm80,
    /// Compute capability 8.6: an A10.
    Sm86,
    /// Compute capability 8.9: an L4.
    Sm89,
    /// Compute capability 9.0: an H100.
    Sm90,
}

/// What a part has and allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The name that `cuDeviceGetName` gives.
    pub name: &'static str,
    /// Compute capability: major, minor.
    pub capability: (u32, u32),
    /// Multiprocessors.
    pub multiprocessors: u32,
    /// Threads that are resident on a multiprocessor at most.
    pub threads_per_multiprocessor: u32,
    /// Blocks that are resident on a multiprocessor at most.
    pub blocks_per_multiprocessor: u32,
    /// Shared memory of a multiprocessor, bytes.
    pub shared_per_multiprocessor: u32,
    /// Shared memory of a block that asked for more than [`SHARED_PER_BLOCK`], bytes.
    pub shared_per_block_optin: u32,
    /// L2 cache, bytes.
    pub l2: u32,
    /// Highest clock of the multiprocessors, kHz.
    pub clock: u32,
    /// Clock of the memory, kHz.
    pub memory_clock: u32,
    /// Width of the memory interface, bits.
    pub memory_bus: u32,
    /// Memory, bytes.
    pub memory: u64,
    /// Copy engines.
    pub copy_engines: u32,
    /// How many times faster f32 is than f64.
    pub single_to_double: u32,
}

/// Lanes of a warp.
pub const WARP: u32 = 32;
/// Threads of a block at most.
pub const THREADS_PER_BLOCK: u32 = 1024;
/// Threads of a block in x, y, z at most.
pub const BLOCK: [u32; 3] = [1024, 1024, 64];
/// Blocks of a grid in x, y, z at most.
pub const GRID: [u32; 3] = [0x7fff_ffff, 65_535, 65_535];
/// Shared memory of a block that asked for no more, bytes.
pub const SHARED_PER_BLOCK: u32 = 48 << 10;
/// Shared memory that the system takes from the multiprocessor for each block, bytes.
pub const SHARED_RESERVED: u32 = 1 << 10;
/// 32-bit registers of a multiprocessor, and of a block at most.
pub const REGISTERS: u32 = 64 << 10;
/// Registers of a thread at most.
pub const REGISTERS_PER_THREAD: u32 = 255;
/// Constant memory of a module, bytes.
pub const CONSTANT: u32 = 64 << 10;

impl Architecture {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Sm80, Self::Sm86, Self::Sm89, Self::Sm90];

    /// The one that a name such as `sm_80` means.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|architecture| architecture.name() == name)
    }

    /// Its name, for example `sm_80`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sm80 => "sm_80",
            Self::Sm86 => "sm_86",
            Self::Sm89 => "sm_89",
            Self::Sm90 => "sm_90",
        }
    }

    /// The number in its name, for example 80.
    #[must_use]
    pub fn number(self) -> u32 {
        let (major, minor) = self.part().capability;
        major * 10 + minor
    }

    /// What it has and allows.
    #[must_use]
    pub fn part(self) -> &'static Part {
        match self {
            Self::Sm80 => &A100,
            Self::Sm86 => &A10,
            Self::Sm89 => &L4,
            Self::Sm90 => &H100,
        }
    }
}

const A100: Part = Part {
    name: "NVIDIA A100-SXM4-80GB",
    capability: (8, 0),
    multiprocessors: 108,
    threads_per_multiprocessor: 2048,
    blocks_per_multiprocessor: 32,
    shared_per_multiprocessor: 164 << 10,
    shared_per_block_optin: 163 << 10,
    l2: 40 << 20,
    clock: 1_410_000,
    memory_clock: 1_593_000,
    memory_bus: 5120,
    memory: 85_198_045_184,
    copy_engines: 3,
    single_to_double: 2,
};

const A10: Part = Part {
    name: "NVIDIA A10",
    capability: (8, 6),
    multiprocessors: 72,
    threads_per_multiprocessor: 1536,
    blocks_per_multiprocessor: 16,
    shared_per_multiprocessor: 100 << 10,
    shared_per_block_optin: 99 << 10,
    l2: 6 << 20,
    clock: 1_695_000,
    memory_clock: 6_251_000,
    memory_bus: 384,
    memory: 22_515 << 20,
    copy_engines: 2,
    single_to_double: 64,
};

const L4: Part = Part {
    name: "NVIDIA L4",
    capability: (8, 9),
    multiprocessors: 58,
    threads_per_multiprocessor: 1536,
    blocks_per_multiprocessor: 24,
    shared_per_multiprocessor: 100 << 10,
    shared_per_block_optin: 99 << 10,
    l2: 48 << 20,
    clock: 2_040_000,
    memory_clock: 6_251_000,
    memory_bus: 192,
    memory: 22_700 << 20,
    copy_engines: 2,
    single_to_double: 64,
};

const H100: Part = Part {
    name: "NVIDIA H100 80GB HBM3",
    capability: (9, 0),
    multiprocessors: 132,
    threads_per_multiprocessor: 2048,
    blocks_per_multiprocessor: 32,
    shared_per_multiprocessor: 228 << 10,
    shared_per_block_optin: 227 << 10,
    l2: 50 << 20,
    clock: 1_980_000,
    memory_clock: 2_619_000,
    memory_bus: 5120,
    memory: 81_008 << 20,
    copy_engines: 3,
    single_to_double: 2,
};
