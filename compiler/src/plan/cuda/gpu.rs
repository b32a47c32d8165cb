//! Published figures of GPUs that plans are made for.

/// A GPU, as its data sheet describes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gpu {
    /// Name on the command line.
    pub name: &'static str,
    /// Compute capability.
    pub capability: (u32, u32),
    /// Multiprocessors.
    pub multiprocessors: u32,
    /// Dense tensor-core throughput, f16 with f32 sums: multiply-adds a second.
    pub tensor: f64,
    /// Throughput of f32 outside tensor cores: multiply-adds a second.
    pub f32: f64,
    /// Bandwidth of global memory: bytes a second.
    pub memory: f64,
    /// Bandwidth of the L2 cache: bytes a second (measured by third parties; data sheets are silent).
    pub l2: f64,
    /// Size of the L2 cache, bytes.
    pub l2_bytes: f64,
    /// Instructions a second that one multiprocessor issues: its clock times its four schedulers.
    pub issue: f64,
    /// Seconds from the end of one kernel of a graph to the start of the next that depends on it.
    pub launch: f64,
}

/// The GPUs that are known.
pub const GPUS: [Gpu; 5] = [
    Gpu {
        name: "a100",
        capability: (8, 0),
        multiprocessors: 108,
        tensor: 156e12,
        f32: 9.75e12,
        memory: 1555e9,
        l2: 4e12,
        l2_bytes: 40e6,
        issue: 4.0 * 1.41e9,
        launch: 1.5e-6,
    },
    Gpu {
        name: "a10",
        capability: (8, 6),
        multiprocessors: 72,
        tensor: 62.5e12,
        f32: 15.6e12,
        memory: 600e9,
        l2: 2e12,
        l2_bytes: 6e6,
        issue: 4.0 * 1.695e9,
        launch: 1.5e-6,
    },
    Gpu {
        name: "l4",
        capability: (8, 9),
        multiprocessors: 58,
        tensor: 60.5e12,
        f32: 15.1e12,
        memory: 300e9,
        l2: 2e12,
        l2_bytes: 48e6,
        issue: 4.0 * 2.04e9,
        launch: 1.5e-6,
    },
    Gpu {
        name: "rtx4090",
        capability: (8, 9),
        multiprocessors: 128,
        tensor: 82.6e12,
        f32: 41.3e12,
        memory: 1008e9,
        l2: 4e12,
        l2_bytes: 72e6,
        issue: 4.0 * 2.52e9,
        launch: 1.5e-6,
    },
    Gpu {
        name: "h100",
        capability: (9, 0),
        multiprocessors: 132,
        tensor: 494.7e12,
        f32: 33.5e12,
        memory: 3350e9,
        l2: 5.5e12,
        l2_bytes: 50e6,
        issue: 4.0 * 1.83e9,
        launch: 1.2e-6,
    },
];

/// Bytes that a multiprocessor takes from the L2 cache in one cycle, on every GPU from Ampere on.
pub(super) const L2_PORT: f64 = 64.0;
/// Shared memory that a block may have on every GPU of capability 8.0 and above.
pub(super) const MAX_SHARED: usize = 96 << 10;
/// Cycles of a step on tensor cores beside the products, for a block on its own: a barrier, the first fragments, the last
/// products.
pub(super) const STEP_LATENCY: f64 = 120.0;
/// Cycles until a copy from global memory arrives.
pub(super) const COPY_LATENCY: f64 = 700.0;
/// Cycles that sharing a sum among blocks adds: parts to memory, a counter, and all parts back.
pub(super) const GATHER_LATENCY: f64 = 2500.0;
/// Registers of a multiprocessor, on every GPU of capability 8.0 and above.
const REGISTERS: usize = 65536;
/// Shared memory that the driver keeps of each block, bytes.
const RESERVED_SHARED: usize = 1024;

/// How long a block takes, in cycles of its multiprocessor.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockCycles {
    /// What it adds where others share the multiprocessor.
    pub busy: f64,
    /// How long it takes on its own, latencies included.
    pub alone: f64,
}

impl Gpu {
    /// Cycles of the multiprocessor that has most of so many equal blocks, of which it holds `resident` at once.
    pub(super) fn busiest_cycles(&self, blocks: usize, resident: usize, block: BlockCycles) -> f64 {
        let wave = |blocks: usize| if blocks == 0 { 0.0 } else { block.alone.max(block.busy * blocks as f64) };
        let most = blocks.div_ceil(self.multiprocessors as usize);
        (most / resident) as f64 * wave(resident) + wave(most % resident)
    }

    /// Blocks that a multiprocessor has shared memory (bytes of a block) and registers (of a thread) for; 0 if not one.
    pub(super) fn resident_blocks(&self, shared_bytes: usize, registers: usize, threads: usize) -> usize {
        let by_shared = self.shared_memory() / (shared_bytes + RESERVED_SHARED);
        by_shared.min(REGISTERS / (registers.next_multiple_of(8) * threads))
    }

    /// Shared memory of a multiprocessor, bytes.
    pub(super) const fn shared_memory(&self) -> usize {
        match self.capability {
            (8, 0) => 164 << 10,
            (9, 0) => 228 << 10,
            _ => 100 << 10,
        }
    }

    /// A GPU by its name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        GPUS.iter().find(|gpu| gpu.name == name)
    }
}
