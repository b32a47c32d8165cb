//! Tile sizes of a tensor-core mixing product: all that fit, by what they would cost.
//!
//! The cost is a small model, not a prediction. It knows what decides between tiles: how often the warehouse and the
//! attentions are read again, padding of columns, too few blocks, waves, and latencies.

use crate::plan::cuda::gpu::{BlockCycles, COPY_LATENCY, Gpu, L2_PORT, MAX_SHARED, STEP_LATENCY};

/// The problem: `[columns, cells] x [cells, cell]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Problem {
    /// Elements of a cell, padding included.
    pub cell: usize,
    /// Cells of the warehouse.
    pub cells: usize,
    /// Mixtures of all samples.
    pub columns: usize,
}

/// How blocks divide the problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tiles {
    /// Pairs of 16 elements that a warp makes of a tile.
    pub pairs: usize,
    /// Groups of 8 columns that a warp makes.
    pub groups: usize,
    /// Warps side by side over a tile's elements.
    pub warps_e: usize,
    /// Warps side by side over the columns.
    pub warps_c: usize,
    /// Cells of a step, a multiple of 16.
    pub k_tile: usize,
    /// Steps that shared memory holds.
    pub stages: usize,
    /// Tiles that a block makes, one after the other.
    pub tiles: usize,
}

/// Warps over elements and columns.
const WARPS: [(usize, usize); 6] = [(1, 4), (2, 2), (4, 1), (1, 8), (2, 4), (4, 2)];
/// Most cells of a step, and steps in shared memory.
const STEPS: [(usize, usize); 3] = [(16, 6), (32, 4), (64, 3)];
/// Groups of columns of a warp.
const MAX_GROUPS: usize = 12;
/// Sums of a thread.
const MAX_SUMS: usize = 96;
/// Registers of a thread beside sums and fragments.
const OTHER_REGISTERS: usize = 48;
/// Blocks of a grid's y.
const MAX_Y: usize = 65535;

/// Cycles that a block takes from its start to its end beside the steps: attentions, first copies, last stores.
const BLOCK_LATENCY: f64 = 1800.0;
/// Cycles that the stores of a tile keep a block on its own from multiplying.
const STORE_LATENCY: f64 = 200.0;
/// Share of every bound in the cost, whichever binds: between choices of equal time, less work is better.
const SHARE: f64 = 0.3;

impl Tiles {
    pub(super) const fn threads(&self) -> usize {
        32 * self.warps_e * self.warps_c
    }

    /// Elements of a tile.
    pub(super) const fn e_tile(&self) -> usize {
        32 * self.pairs * self.warps_e
    }

    /// Columns of a block.
    pub(super) const fn c_tile(&self) -> usize {
        8 * self.groups * self.warps_c
    }

    /// Steps of a sum.
    const fn steps(&self, problem: &Problem) -> usize {
        problem.cells.div_ceil(self.k_tile)
    }

    /// Tiles of a cell.
    pub(super) const fn e_tiles(&self, problem: &Problem) -> usize {
        problem.cell.div_ceil(self.e_tile())
    }

    /// Blocks over the elements.
    pub(super) const fn e_blocks(&self, problem: &Problem) -> usize {
        self.e_tiles(problem).div_ceil(self.tiles)
    }

    /// Blocks over the columns.
    pub(super) const fn c_blocks(&self, problem: &Problem) -> usize {
        problem.columns.div_ceil(self.c_tile())
    }

    /// Multiply-adds of all blocks.
    pub(super) const fn multiply_adds(&self, problem: &Problem) -> usize {
        let elements = self.e_tiles(problem) * self.e_tile();
        let columns = self.c_blocks(problem) * self.c_tile();
        elements * columns * self.steps(problem) * self.k_tile
    }

    /// Bytes of the warehouse that the blocks read.
    pub(super) const fn warehouse_bytes(&self, problem: &Problem) -> usize {
        2 * self.c_blocks(problem) * problem.cell * problem.cells
    }

    /// Bytes of attentions that the blocks read.
    pub(super) const fn attention_bytes(&self, problem: &Problem) -> usize {
        2 * self.e_blocks(problem) * problem.columns * problem.cells.next_multiple_of(8)
    }

    /// Dynamic shared memory, bytes: attentions, stages, and results on their way to memory.
    pub(super) const fn shared_bytes(&self, problem: &Problem) -> usize {
        let chunks = (self.steps(problem) * self.k_tile / 8) | 1;
        let stages = self.stages * self.k_tile * self.e_tile() * 2;
        16 * chunks * self.c_tile() + stages + self.threads() / 32 * 1024
    }

    /// Sums of a thread.
    const fn sums(&self) -> usize {
        8 * self.pairs * self.groups
    }

    /// Blocks that a multiprocessor can hold.
    pub(super) fn resident(&self, problem: &Problem, gpu: &Gpu) -> usize {
        let registers = self.sums() + 8 * self.pairs + OTHER_REGISTERS;
        gpu.resident_blocks(self.shared_bytes(problem), registers, self.threads()).clamp(1, 8)
    }

    /// Seconds by the model: on the multiprocessors, through the L2 cache, from global memory.
    fn bounds(&self, problem: &Problem, gpu: &Gpu) -> [f64; 3] {
        let clock = gpu.issue / 4.0;
        let multiprocessors = f64::from(gpu.multiprocessors);
        let [elements, columns, k] = [self.e_tile(), self.c_tile(), self.k_tile].map(|n| n as f64);
        let warps = (self.warps_e * self.warps_c) as f64;
        let (rows, groups, products) = (2.0 * self.pairs as f64, self.groups as f64, k / 16.0);
        // One step of one block, in cycles of its multiprocessor.
        let tensor = elements * columns * k / (gpu.tensor / multiprocessors / clock);
        let copied = elements * k * 2.0;
        let shared = warps * products * (4.0 * rows + 2.0 * groups) + copied / 128.0;
        let issue = (warps * (products * (rows * groups + rows + groups / 2.0) + 30.0) + copied / 512.0 * 8.0) / 4.0;
        let step = tensor.max(shared).max(issue).max(copied / L2_PORT);
        let alone_step = step.max(tensor + STEP_LATENCY).max(COPY_LATENCY / (self.stages - 1) as f64);
        // The stores of a tile, and the attentions of a block.
        let store = (warps * rows * groups * 6.0).max(columns * elements * 2.0 / L2_PORT);
        let attention = columns * problem.cells as f64 * 2.0 / L2_PORT;
        let (steps, tiles) = (self.steps(problem) as f64, self.tiles as f64);
        let busy = tiles * (steps * step + store) + attention + 300.0;
        let alone = tiles * (steps * alone_step + store + STORE_LATENCY) + attention + BLOCK_LATENCY;
        let blocks = self.e_blocks(problem) * self.c_blocks(problem);
        let cycles = gpu.busiest_cycles(blocks, self.resident(problem, gpu), BlockCycles { busy, alone });
        let result = 2 * problem.columns * problem.cell;
        let moved = self.warehouse_bytes(problem) + self.attention_bytes(problem) + result;
        let once = 2 * problem.cells * problem.cell + result;
        [cycles / clock, moved as f64 / gpu.l2, once as f64 / gpu.memory]
    }

    /// Seconds that the model gives.
    pub(super) fn seconds(&self, problem: &Problem, gpu: &Gpu) -> f64 {
        self.bounds(problem, gpu).into_iter().fold(0.0, f64::max)
    }

    /// What decides between tiles.
    fn cost(&self, problem: &Problem, gpu: &Gpu) -> f64 {
        self.seconds(problem, gpu) + SHARE * self.bounds(problem, gpu).iter().sum::<f64>()
    }
}

/// All tiles that fit, with what decides between them; none if the attentions of eight columns don't fit in shared memory.
pub(super) fn costs(problem: &Problem, gpu: &Gpu) -> Vec<(f64, Tiles)> {
    candidates(problem).into_iter().map(|tiles| (tiles.cost(problem, gpu), tiles)).collect()
}

fn candidates(problem: &Problem) -> Vec<Tiles> {
    let mut all = Vec::new();
    for (warps_e, warps_c) in WARPS {
        for pairs in [1, 2] {
            // No more columns than there are, but for the last group.
            for groups in 1..=MAX_GROUPS.min(problem.columns.div_ceil(8 * warps_c)) {
                for (most, stages) in STEPS {
                    // As many cells in each step as in any other, nearly.
                    let steps = problem.cells.div_ceil(most);
                    let k_tile = problem.cells.div_ceil(steps).next_multiple_of(16);
                    let one = Tiles { pairs, groups, warps_e, warps_c, k_tile, stages, tiles: 1 };
                    if one.sums() <= MAX_SUMS && one.shared_bytes(problem) <= MAX_SHARED {
                        all.extend(in_turn(one, problem));
                    }
                }
            }
        }
    }
    all
}

/// The same with several tiles for each block.
fn in_turn(one: Tiles, problem: &Problem) -> impl Iterator<Item = Tiles> {
    let most = one.e_tiles(problem);
    let counts = (0..).flat_map(|power| [2 << power, 3 << power]).take_while(move |&tiles| tiles <= most.min(64));
    let all = std::iter::once(1).chain(counts).chain([most.div_ceil(MAX_Y)]);
    all.map(move |tiles| Tiles { tiles, ..one }).filter(move |tiles| most.div_ceil(tiles.tiles) <= MAX_Y)
}
