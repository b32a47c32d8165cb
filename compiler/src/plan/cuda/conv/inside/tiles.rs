//! Tile sizes of a convolution that mixes its kernel: all that fit, by what they would cost.
//!
//! The cost is a small model in the manner of those for mixing and for convolutions, whose sum it competes with: the time of
//! the busiest multiprocessor, from what its blocks issue, multiply and move, or from latencies where it has only one; the
//! bandwidth of the L2 cache; and the warehouse at the bandwidth of global memory, once. All blocks start and end at about
//! the same time, so the two bandwidths come on top of a block's latencies, and where there are too few blocks for all
//! multiprocessors, memory's isn't reached: in both this is stricter than the models that it competes with are.

use crate::partition::Grid;
use crate::plan::cuda::choice::cheapest;
use crate::plan::cuda::gpu::{BlockCycles, COPY_LATENCY, GATHER_LATENCY, Gpu, L2_PORT, MAX_SHARED, STEP_LATENCY};

/// One dimension of a convolution, as pixels lie in shared memory (`Axis` in `mix_conv.cuh`): by their remainder by the
/// stride, in phases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Axis {
    pub kernel: usize,
    pub stride: usize,
    pub dilation: usize,
    pub outputs: usize,
}

impl Axis {
    /// Pixels of a phase.
    fn length(&self, phase: usize) -> usize {
        let met = (0..self.kernel).map(|k| k * self.dilation).filter(|place| place % self.stride == phase);
        met.map(|place| self.outputs + place / self.stride).max().unwrap_or(0)
    }

    /// The first slot of a phase; of phase `stride`, the number of all slots.
    fn start(&self, phase: usize) -> usize {
        (0..phase).map(|before| self.length(before)).sum()
    }

    /// All slots.
    fn slots(&self) -> usize {
        self.start(self.stride)
    }

    fn largest_offset(&self) -> usize {
        let places = (0..self.kernel).map(|k| k * self.dilation);
        places.map(|place| self.start(place % self.stride) + place / self.stride).max().unwrap_or(0)
    }

    /// How many slots have a pixel of an image of this size and padding.
    pub(super) fn pixels(&self, size: usize, padding: usize) -> usize {
        let all =
            (0..self.stride).flat_map(|phase| (0..self.length(phase)).map(move |slot| slot * self.stride + phase));
        all.filter(|place| (padding..padding + size).contains(place)).count()
    }
}

/// The problem.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Problem {
    /// Cells that are mixed.
    pub cells: usize,
    /// Output channels of a cell.
    pub cell_out: usize,
    /// Input channels of a cell.
    pub cell_in: usize,
    /// Positions of a cell.
    pub cell_spatial: usize,
    /// Mixtures.
    pub grid: Grid,
    /// Height and width.
    pub axes: [Axis; 2],
    /// Samples.
    pub samples: usize,
}

impl Problem {
    pub(super) const fn mixtures(&self) -> usize {
        self.grid.spatial * self.grid.out * self.grid.input
    }

    /// Output positions.
    pub(super) const fn positions(&self) -> usize {
        self.axes[0].outputs * self.axes[1].outputs
    }

    /// Rows of a cell.
    const fn rows(&self) -> usize {
        self.cell_spatial * self.cell_in
    }

    /// Elements of a cell.
    pub(super) const fn cell(&self) -> usize {
        self.rows() * self.cell_out
    }
}

/// How blocks divide the problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::plan::cuda) struct Tiles {
    /// Output channels of a cell that a block has: 16, 32, 64 or 128.
    pub c_tile: usize,
    /// Output positions, a multiple of 8.
    pub p_tile: usize,
    /// Rows of a cell in a step: 16 or 32.
    pub k_tile: usize,
    /// Cells of a run, a multiple of 16.
    pub run: usize,
    /// Runs that shared memory holds.
    pub stages: usize,
    /// Blocks that share the rows of a cell.
    pub parts: usize,
    /// Warps side by side over elements, when mixing.
    pub warps_e: usize,
    /// Warps side by side over columns, when mixing.
    pub warps_g: usize,
    /// Warps side by side over a sample's channels, when multiplying.
    pub warps_m: usize,
    /// Warps side by side over its positions, when multiplying.
    pub warps_p: usize,
}

/// Warps of a block.
const WARPS: [usize; 2] = [4, 8];
/// Cells of a run, and runs in shared memory.
const RUNS: [(usize, usize); 5] = [(16, 3), (16, 4), (16, 6), (32, 3), (48, 3)];
/// Sums of a thread.
const MAX_SUMS: usize = 112;
/// Registers of a thread beside sums, fragments, and what its copies need.
const OTHER_REGISTERS: usize = 56;
/// Pixels that a thread may copy in a step.
const MAX_COPIES: usize = 12;
/// Blocks for each multiprocessor, at most, where sums are split.
const MAX_BLOCKS: usize = 4;

/// Cycles that a block takes from its start to its end beside the steps: attentions, first copies, last stores.
const BLOCK_LATENCY: f64 = 1800.0;
/// Cycles from the last run of a step to the first product: rounding, a barrier, the first fragments.
const ROUND_LATENCY: f64 = 250.0;
/// What a multiprocessor can take of the bandwidth of global memory, in equal shares.
const MOST_MEMORY: f64 = 1.5;
/// Share of every bound in what decides between tiles, whichever binds: of equal times, less work is better.
const SHARE: f64 = 0.1;

impl Tiles {
    /// Warps of a block.
    const fn warps(&self) -> usize {
        self.warps_e * self.warps_g
    }

    pub(super) const fn threads(&self) -> usize {
        32 * self.warps()
    }

    /// Elements of a cell in a step.
    const fn elements(&self) -> usize {
        self.k_tile * self.c_tile
    }

    /// Blocks over the output channels of a cell.
    pub(super) const fn c_tiles(&self, problem: &Problem) -> usize {
        problem.cell_out / self.c_tile
    }

    /// Mixtures of all samples, with padding.
    const fn columns(&self, problem: &Problem) -> usize {
        (problem.samples * problem.mixtures()).next_multiple_of(8 * self.warps_g)
    }

    /// Steps of all blocks that share the rows.
    const fn steps(&self, problem: &Problem) -> usize {
        problem.rows() / self.k_tile
    }

    /// Runs of a step.
    const fn runs(&self, problem: &Problem) -> usize {
        problem.cells.div_ceil(self.run)
    }

    /// Pairs of 16 elements that a warp mixes.
    const fn pairs(&self) -> usize {
        self.elements() / self.warps_e / 32
    }

    /// Groups of 8 columns that a warp mixes.
    const fn groups(&self, problem: &Problem) -> usize {
        self.columns(problem) / self.warps_g / 8
    }

    /// Fragments of 16 channels that a warp sums.
    const fn rows(&self, problem: &Problem) -> usize {
        problem.grid.out * self.c_tile / 16 / self.warps_m
    }

    /// Groups of 8 positions that a warp sums.
    const fn cols(&self) -> usize {
        self.p_tile / 8 / self.warps_p
    }

    /// Slots of the pixels of a sample and of a group of input channels: [`Axis`] twice, rows of a pitch that is the width of
    /// the output modulo 8.
    fn slots(&self, problem: &Problem) -> usize {
        let [height, width] = &problem.axes;
        let columns = width.slots();
        let pitch = columns + (8 + width.outputs % 8 - columns % 8) % 8;
        let last = (self.p_tile - 1) / width.outputs + height.largest_offset();
        (height.slots().max(last + 1) * pitch).next_multiple_of(8)
    }

    /// Bytes of a step's pixels.
    fn pixel_bytes(&self, problem: &Problem) -> usize {
        problem.samples * problem.grid.input * self.slots(problem) * self.k_tile * 2
    }

    /// Chunks of pixels that a thread copies in a step.
    fn pixel_copies(&self, problem: &Problem) -> usize {
        (self.pixel_bytes(problem) / 16).div_ceil(self.threads())
    }

    /// Dynamic shared memory, bytes: attentions, stages, pixels and weights, and later the finished sums in their place.
    pub(super) fn shared_bytes(&self, problem: &Problem) -> usize {
        let columns = self.columns(problem);
        let attention = 16 * ((self.runs(problem) * self.run / 8) | 1) * columns;
        let stages = self.stages * self.run * self.elements() * 2;
        let pixel_stages = 1 + (self.stages - 1).div_ceil(self.runs(problem));
        let weights = columns * (self.elements() * 2 + 16);
        let all = attention + stages + pixel_stages * self.pixel_bytes(problem) + weights;
        all.max(problem.samples * self.c_tile * self.p_tile * 4)
    }

    /// Sums of a thread.
    const fn sums(&self, problem: &Problem) -> usize {
        self.mixed(problem) + self.rows(problem) * self.cols() * 4
    }

    /// Of these, those of mixtures.
    const fn mixed(&self, problem: &Problem) -> usize {
        8 * self.pairs() * self.groups(problem)
    }

    /// Blocks that a multiprocessor can hold.
    pub(super) fn resident(&self, problem: &Problem, gpu: &Gpu) -> usize {
        let fragments = (self.mixed(problem) + 8 * self.pairs()).max(2 * self.cols() + 4);
        let sums = self.rows(problem) * self.cols() * 4;
        let registers = sums + fragments + self.pixel_copies(problem) + OTHER_REGISTERS;
        gpu.resident_blocks(self.shared_bytes(problem), registers, self.threads()).clamp(1, 4)
    }

    /// Bytes of the parts of sums, for each sample; none where a block has all of a sum.
    pub(super) const fn parts_bytes(&self, problem: &Problem) -> usize {
        let sums = problem.grid.out * problem.cell_out * self.p_tile;
        if self.parts > 1 { self.parts * sums * 4 } else { 0 }
    }

    /// Bytes that sharing sums moves, for each sample: parts written and read.
    pub(super) const fn gathered_bytes(&self, problem: &Problem) -> usize {
        2 * self.parts_bytes(problem)
    }

    /// Multiply-adds of all blocks' mixing.
    pub(super) const fn mixing(&self, problem: &Problem) -> usize {
        problem.cell() * self.columns(problem) * self.runs(problem) * self.run
    }

    /// Multiply-adds of all blocks' convolution, for each sample.
    pub(super) const fn multiplying(&self, problem: &Problem) -> usize {
        problem.cell() * problem.mixtures() * self.p_tile
    }

    /// Seconds by the model: on the multiprocessors, through the L2 cache, from global memory.
    fn bounds(&self, problem: &Problem, gpu: &Gpu) -> [f64; 3] {
        let clock = gpu.issue / 4.0;
        let multiprocessors = f64::from(gpu.multiprocessors);
        let rate = gpu.tensor / multiprocessors / clock;
        let warps = self.warps() as f64;
        let [pairs, groups, rows, cols] =
            [self.pairs(), self.groups(problem), self.rows(problem), self.cols()].map(|n| n as f64);
        // A run of a block, in cycles of its multiprocessor.
        let products = self.run as f64 / 16.0;
        let tensor = (self.elements() * self.columns(problem) * self.run) as f64 / rate;
        let copied = (self.elements() * self.run * 2) as f64;
        let shared = warps * products * (8.0 * pairs + 2.0 * groups) + copied / 128.0;
        let issue =
            warps * (products * (2.0 * pairs * groups + 2.0 * pairs + groups / 2.0) + 30.0) + copied / 512.0 * 8.0;
        let run = tensor.max(shared).max(issue / 4.0).max(copied / L2_PORT);
        let alone_run = run.max(tensor + STEP_LATENCY).max(COPY_LATENCY / (self.stages - 1) as f64);
        // What a step adds: weights to shared memory, and the products of all mixtures.
        let windows = (problem.grid.spatial * problem.grid.input * self.k_tile / 16) as f64;
        let tensor = (problem.samples * problem.mixtures() * self.elements() * self.p_tile) as f64 / rate;
        let pixels = self.pixel_bytes(problem) as f64;
        let rounded = warps * pairs * groups;
        let shared = rounded * 4.0 + warps * windows * (2.0 * cols + 4.0 * rows) + pixels / 128.0;
        let issue = rounded * 24.0 + warps * windows * (rows * cols + 3.0 * rows + 3.0 * cols) + pixels / 512.0 * 8.0;
        let step = tensor.max(shared).max(issue / 4.0).max(pixels / L2_PORT);
        let alone_step = step.max(tensor + ROUND_LATENCY);
        // A block, and all blocks of the busiest multiprocessor.
        let steps = self.steps(problem).div_ceil(self.parts) as f64;
        let runs = self.runs(problem) as f64;
        let (gathered, tiles) = (self.gathered_bytes(problem) * problem.samples, self.c_tiles(problem));
        let gather = if self.parts > 1 { GATHER_LATENCY + (gathered / tiles) as f64 / L2_PORT } else { 0.0 };
        let result = problem.samples * problem.grid.out * self.c_tile * self.p_tile * 4;
        let busy = steps * (runs * run + step) + result as f64 / L2_PORT + 300.0;
        let alone = steps * (runs * alone_run + alone_step) + BLOCK_LATENCY + gather;
        let blocks = tiles * self.parts;
        let cycles = gpu.busiest_cycles(blocks, self.resident(problem, gpu), BlockCycles { busy, alone });
        let warehouse = 2 * problem.cells * problem.cell();
        let attention = 2 * blocks * problem.samples * problem.mixtures() * problem.cells.next_multiple_of(8);
        let pixels = self.pixel_bytes(problem) * self.steps(problem) * tiles;
        let moved = warehouse + attention + pixels + gathered;
        // All blocks start at once, mostly: what comes before the first copy and after the last isn't hidden behind copies.
        let latency = (BLOCK_LATENCY + gather) / clock;
        let readers = blocks.min(gpu.multiprocessors as usize) as f64 / multiprocessors;
        let memory = gpu.memory * (readers * MOST_MEMORY).min(1.0);
        [cycles / clock, moved as f64 / gpu.l2 + latency, warehouse as f64 / memory + latency]
    }

    /// Seconds that the model gives.
    pub(super) fn seconds(&self, problem: &Problem, gpu: &Gpu) -> f64 {
        self.bounds(problem, gpu).into_iter().fold(0.0, f64::max)
    }
}

/// The tiles that the model likes best, if any fit.
pub(super) fn choose(problem: &Problem, gpu: &Gpu) -> Option<Tiles> {
    let cost = |tiles: &Tiles| {
        let bounds = tiles.bounds(problem, gpu);
        bounds.into_iter().fold(0.0, f64::max) + SHARE * bounds.iter().sum::<f64>()
    };
    cheapest(candidates(problem, gpu).into_iter().map(|tiles| (cost(&tiles), tiles)).collect())
}

fn candidates(problem: &Problem, gpu: &Gpu) -> Vec<Tiles> {
    let mut all = Vec::new();
    for warps in WARPS {
        for c_tile in [16, 32, 64, 128] {
            for k_tile in [16, 32] {
                for (run, stages) in RUNS {
                    for warps_g in [1, 2, 4] {
                        for warps_m in [1, 2, 4, 8] {
                            let warps_p = warps / problem.samples / warps_m;
                            if warps_p == 0 {
                                continue;
                            }
                            let p_tile = problem.positions().next_multiple_of(8 * warps_p).max(16);
                            let warps_e = warps / warps_g;
                            let one = Tiles {
                                c_tile,
                                p_tile,
                                k_tile,
                                run,
                                stages,
                                parts: 1,
                                warps_e,
                                warps_g,
                                warps_m,
                                warps_p,
                            };
                            if one.fits(problem) {
                                all.extend(one.split(problem, gpu));
                            }
                        }
                    }
                }
            }
        }
    }
    all
}

impl Tiles {
    /// Whether the kernel can have these sizes.
    fn fits(&self, problem: &Problem) -> bool {
        let divides = problem.cell_out.is_multiple_of(self.c_tile)
            && problem.cell_in.is_multiple_of(self.k_tile)
            && self.elements().is_multiple_of(32 * self.warps_e)
            && (problem.grid.out * self.c_tile / 16).is_multiple_of(self.warps_m)
            && self.p_tile.is_multiple_of(8 * self.warps_p);
        // A thread copies the same chunk of several cells.
        let cells_at_once = self.threads() * 8 / self.elements();
        divides
            && cells_at_once >= 1
            && self.run.is_multiple_of(cells_at_once)
            && self.sums(problem) <= MAX_SUMS
            && self.pixel_copies(problem) <= MAX_COPIES
            && self.shared_bytes(problem) <= MAX_SHARED
    }

    /// The same tiles, the rows of a cell shared by so many blocks that there is work for all multiprocessors.
    fn split(self, problem: &Problem, gpu: &Gpu) -> impl Iterator<Item = Self> {
        let steps = self.steps(problem);
        let most = (MAX_BLOCKS * gpu.multiprocessors as usize / self.c_tiles(problem)).clamp(1, steps);
        // No part is empty.
        let all = (1..=most).filter(move |&parts| steps.div_ceil(steps.div_ceil(parts)) == parts);
        all.map(move |parts| Self { parts, ..self })
    }
}
