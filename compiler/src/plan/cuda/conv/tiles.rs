//! Tile sizes of a tensor-core convolution: all that fit, by what they would cost.
//!
//! The cost is a small model, not a prediction: for each choice the time of the busiest multiprocessor, from what its
//! blocks issue, multiply, and move, or from latencies where too few blocks share it; and for the whole the bandwidth of
//! the L2 cache. It knows what decides between tiles: padding, waves, reuse, and too few blocks.

use crate::plan::cuda::choice::cheapest;
use crate::plan::cuda::gpu::{BlockCycles, COPY_LATENCY, GATHER_LATENCY, Gpu, L2_PORT, MAX_SHARED, STEP_LATENCY};

/// The problem: a product of matrices for each sample.
#[derive(Debug, Clone, Copy)]
pub(super) struct Problem {
    /// Output channels, with the padding of the kernel's rows.
    pub columns: usize,
    /// Output positions of a sample.
    pub positions: usize,
    /// Chunks of eight terms of each sum.
    pub chunks: usize,
    /// Samples.
    pub batch: usize,
}

/// How a block divides the problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tiles {
    /// Output channels of a block: 16, 32, 64 or 128.
    pub c_tile: usize,
    /// Output positions of a block, a multiple of 8.
    pub p_tile: usize,
    /// Terms of a step: 32 or 64.
    pub k_tile: usize,
    /// Warps side by side over the channels.
    pub warps_c: usize,
    /// Warps side by side over the positions.
    pub warps_p: usize,
    /// Steps that shared memory holds.
    pub stages: usize,
    /// Blocks that share a tile's sum.
    pub parts: usize,
}

/// Warps over channels and positions.
const WARPS: [(usize, usize); 6] = [(1, 4), (2, 2), (4, 1), (4, 2), (2, 4), (8, 1)];
/// Terms of a step, and steps in shared memory: about as many bytes on their way in each.
const STEPS: [(usize, usize); 2] = [(32, 4), (64, 3)];
/// Sums of a thread: more would leave too few registers at 128 each.
const MAX_SUMS: usize = 72;
const MAX_POSITIONS: usize = 128;
/// Registers of a thread beside sums and weights: addresses, pixels, what a copy needs.
const OTHER_REGISTERS: usize = 56;
/// Blocks of a sum.
const PARTS: [usize; 10] = [1, 2, 3, 4, 6, 8, 9, 12, 16, 18];

/// Cycles that a block takes from its start to its end beside the steps: first copies, last stores.
const BLOCK_LATENCY: f64 = 1500.0;
/// What moving bytes costs where it isn't the bound: of two choices that are as fast, the one that moves less.
const IMPATIENCE: f64 = 0.2;

impl Tiles {
    pub(super) const fn threads(&self) -> usize {
        32 * self.warps_c * self.warps_p
    }

    /// Dynamic shared memory, bytes: the stages, and later the finished sums in their place.
    pub(super) fn shared_bytes(&self) -> usize {
        let stages = self.stages * (self.c_tile + self.p_tile) * self.k_tile * 2;
        stages.max(self.c_tile * self.p_tile * 4)
    }

    /// Blocks that a multiprocessor can hold.
    pub(super) fn resident(&self, gpu: &Gpu) -> usize {
        let registers = self.sums() + 8 * self.rows() + OTHER_REGISTERS;
        gpu.resident_blocks(self.shared_bytes(), registers, self.threads()).clamp(1, 8)
    }

    pub(super) fn p_tiles(&self, problem: &Problem) -> usize {
        problem.positions.div_ceil(self.p_tile)
    }

    pub(super) fn c_tiles(&self, problem: &Problem) -> usize {
        problem.columns.div_ceil(self.c_tile)
    }

    /// Steps of a whole sum.
    pub(super) fn steps(&self, problem: &Problem) -> usize {
        (problem.chunks * 8).div_ceil(self.k_tile)
    }

    /// Tiles of 16 channels of a warp.
    const fn rows(&self) -> usize {
        self.c_tile / self.warps_c / 16
    }

    /// Tiles of 8 positions of a warp.
    const fn cols(&self) -> usize {
        self.p_tile / self.warps_p / 8
    }

    /// Sums of a thread.
    const fn sums(&self) -> usize {
        self.rows() * self.cols() * 4
    }

    /// Seconds that the model gives, and of these those that moving bytes takes.
    fn seconds(&self, problem: &Problem, gpu: &Gpu) -> (f64, f64) {
        let clock = gpu.issue / 4.0;
        let multiprocessors = f64::from(gpu.multiprocessors);
        let [c, p, k] = [self.c_tile, self.p_tile, self.k_tile].map(|n| n as f64);
        let warps = (self.warps_c * self.warps_p) as f64;
        let [rows, cols] = [self.rows(), self.cols()].map(|n| n as f64);
        // One step of one block, in cycles of its multiprocessor.
        let tensor = c * p * k / (gpu.tensor / multiprocessors / clock);
        let copied = (c + p) * k * 2.0;
        let shared = warps * (rows * 4.0 * k / 16.0 + cols * 4.0 * k / 32.0) + copied / 128.0;
        let copies = copied / 16.0 / 32.0;
        let issue = (warps * (rows * cols * k / 16.0 + rows * k / 16.0 + cols * k / 32.0 + 25.0) + copies * 8.0) / 4.0;
        let step = tensor.max(shared).max(issue).max(copied / L2_PORT);
        let alone = step.max(tensor + STEP_LATENCY).max(COPY_LATENCY / (self.stages - 1) as f64);
        // A block, and all blocks of the busiest multiprocessor.
        let steps = self.steps(problem).div_ceil(self.parts) as f64;
        let gathered = if self.parts > 1 { c * p * 4.0 * (2 * self.parts) as f64 } else { 0.0 };
        let gather_latency = if self.parts > 1 { GATHER_LATENCY + gathered / L2_PORT } else { 0.0 };
        let busy = step * steps + c * p * 4.0 / L2_PORT + 300.0;
        let alone = alone * steps + BLOCK_LATENCY + gather_latency;
        let tiles = self.p_tiles(problem) * self.c_tiles(problem) * problem.batch;
        let blocks = tiles * self.parts;
        let cycles = gpu.busiest_cycles(blocks, self.resident(gpu), BlockCycles { busy, alone });
        let moved = blocks as f64 * copied * steps + tiles as f64 * (c * p * 2.0 + gathered);
        let transfer = moved / gpu.l2;
        ((cycles / clock).max(transfer), transfer)
    }

    /// What decides between tiles.
    fn cost(&self, problem: &Problem, gpu: &Gpu) -> f64 {
        let (seconds, transfer) = self.seconds(problem, gpu);
        seconds + IMPATIENCE * transfer
    }
}

/// All tiles that fit, with what decides between them.
pub(super) fn costs(problem: &Problem, gpu: &Gpu) -> Vec<(f64, Tiles)> {
    candidates(problem, gpu).into_iter().map(|tiles| (tiles.cost(problem, gpu), tiles)).collect()
}

/// Seconds that the model gives the tiles that it likes best.
pub(super) fn seconds(problem: &Problem, gpu: &Gpu) -> Option<f64> {
    cheapest(costs(problem, gpu)).map(|tiles| tiles.seconds(problem, gpu).0)
}

fn candidates(problem: &Problem, gpu: &Gpu) -> Vec<Tiles> {
    let mut all = Vec::new();
    for (warps_c, warps_p) in WARPS {
        for rows in [1, 2, 4] {
            for cols in 1..=MAX_POSITIONS / 8 {
                for (k_tile, stages) in STEPS {
                    let (c_tile, p_tile) = (16 * rows * warps_c, 8 * cols * warps_p);
                    let tiles = Tiles { c_tile, p_tile, k_tile, warps_c, warps_p, stages, parts: 1 };
                    let fits = c_tile <= 128 && p_tile <= MAX_POSITIONS && tiles.sums() <= MAX_SUMS;
                    if fits && tiles.shared_bytes() <= MAX_SHARED {
                        all.extend(split(tiles, problem, gpu));
                    }
                }
            }
        }
    }
    all
}

/// The same tiles with sums in several parts, where there are few blocks.
fn split(tiles: Tiles, problem: &Problem, gpu: &Gpu) -> Vec<Tiles> {
    let blocks = tiles.p_tiles(problem) * tiles.c_tiles(problem) * problem.batch;
    let steps = tiles.steps(problem);
    let mut all: Vec<Tiles> = Vec::new();
    for parts in PARTS {
        // No part is empty, and none is mostly latency.
        let parts = steps.div_ceil(steps.div_ceil(parts));
        let few = blocks * parts <= 4 * gpu.multiprocessors as usize && steps >= 4 * parts;
        if parts == 1 || few {
            all.push(Tiles { parts, ..tiles });
        }
    }
    all.dedup();
    all
}
