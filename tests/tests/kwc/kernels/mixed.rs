//! Convolutions with kernels that are mixed for each sample, as the method defines it.

use kwc_runtime::program::{Mixing, Source};

use super::convolution::{Case, Packed};
use super::{Assembly, Random, volume};

/// A dynamic layer: cells of a warehouse mixed into a kernel.
#[derive(Debug)]
struct Dynamic {
    case: Case,
    cell_out: usize,
    cell_in: usize,
    /// Whether cells have one spatial position rather than the whole kernel's.
    spatial: bool,
    cells: usize,
    /// Whether each mixture has a constant part.
    constants: bool,
}

/// The method's own order of a warehouse: `[cells, cell_out, cell_in, cell_spatial]`.
struct Cells {
    values: Vec<f32>,
    shape: [usize; 3],
}

impl Cells {
    fn random(random: &mut Random, count: usize, shape: [usize; 3]) -> Self {
        Self { values: random.values(count * volume(shape)), shape }
    }

    /// The value of a cell at an output channel, an input channel and a position.
    fn at(&self, cell: usize, out: usize, channel: usize, position: usize) -> f32 {
        let [outs, channels, positions] = self.shape;
        self.values[((cell * outs + out) * channels + channel) * positions + position]
    }
}

impl Dynamic {
    fn check(&self, random: &mut Random) {
        self.case.check_with(random, |random, assembly| self.pack(random, assembly), &self);
    }

    fn pack(&self, random: &mut Random, assembly: &mut Assembly) -> Packed {
        let Self { case, cell_out, cell_in, cells, .. } = self;
        let (cell_out, cell_in, cells) = (*cell_out, *cell_in, *cells);
        let taps = volume(case.kernel);
        let (spatial_cells, cell_taps) = if self.spatial { (taps, 1) } else { (1, taps) };
        let (out_cells, in_cells) = (case.out_channels / cell_out, case.group_in() / cell_in);
        let mixtures = spatial_cells * out_cells * in_cells;
        let pitch = cells + usize::from(self.constants);
        let shape = [cell_out, cell_in, cell_taps];
        let warehouse = Cells::random(random, cells, shape);
        let constants = Cells::random(random, mixtures, shape);
        // Mixtures in the method's order, [S, O, I].
        let alpha = random.values(case.batch * mixtures * pitch);
        let alpha_of = |sample: usize, mixture: usize| &alpha[(sample * mixtures + mixture) * pitch..][..pitch];

        // The definition: mixture (s * O + o) * I + i is the cell at output group o, input group i, spatial group s.
        let kernel = |sample: usize| {
            let mut kernel = vec![f64::NAN; case.out_channels * case.depth()];
            for mixture in 0..mixtures {
                let (s, o, i) = (mixture / in_cells / out_cells, mixture / in_cells % out_cells, mixture % in_cells);
                let alpha = alpha_of(sample, mixture);
                for element in 0..volume(shape) {
                    let (co, ci, t) =
                        (element / cell_taps / cell_in, element / cell_taps % cell_in, element % cell_taps);
                    let term = |(j, &a): (usize, &f32)| f64::from(a) * f64::from(warehouse.at(j, co, ci, t));
                    let mut mixed: f64 = alpha[..cells].iter().enumerate().map(term).sum();
                    if self.constants {
                        mixed += f64::from(alpha[cells]) * f64::from(constants.at(mixture, co, ci, t));
                    }
                    let (tap, channel) = (if self.spatial { s } else { t }, i * cell_in + ci);
                    kernel[((o * cell_out + co) * taps + tap) * case.group_in() + channel] = mixed;
                }
            }
            kernel
        };

        // The packed order of the mixtures, [O, S, I]: for each, which it is in the method's.
        let mut order = Vec::with_capacity(mixtures);
        for o in 0..out_cells {
            for s in 0..spatial_cells {
                order.extend((0..in_cells).map(|i| (s * out_cells + o) * in_cells + i));
            }
        }
        let panels = case.panels(random, cell_out);
        let rows = cell_taps * cell_in;
        let pack = |count: usize, cells: &Cells, which: &dyn Fn(usize) -> usize| {
            panels.pack_cells((count, rows, cell_out), |cell, row, column| {
                cells.at(which(cell), column, row % cell_in, row / cell_in)
            })
        };
        let warehouse_id = assembly.weight(&pack(cells, &warehouse, &|cell| cell));
        let constants_id =
            self.constants.then(|| assembly.weight(&pack(mixtures, &constants, &|mixture| order[mixture])));
        let samples = 0..case.batch;
        let packed_alpha = samples.clone().flat_map(|sample| order.iter().flat_map(move |&m| alpha_of(sample, m)));
        Packed {
            source: Source::Mixed(Mixing {
                attention: assembly.input(mixtures * pitch),
                warehouse: warehouse_id,
                constants: constants_id,
                cells,
                cell_out,
                cell_in,
                cell_spatial: cell_taps,
                grid: [out_cells, spatial_cells, in_cells],
                backwards: random.yes(),
            }),
            panels,
            kernels: samples.map(kernel).collect(),
            attention: Some(packed_alpha.copied().collect()),
        }
    }
}

#[test]
fn mixed_kernels_follow_the_method() {
    let mut random = Random(0xa11);
    for _ in 0..200 {
        let mut case = Case::random(&mut random);
        let (cell_out, cell_in) = (random.pick(&[1, 2, 3, 5, 16, 20]), random.between(1, 4));
        case.in_channels = case.groups * cell_in * random.between(1, 3);
        case.out_channels = case.groups * cell_out * random.between(1, 3);
        let (spatial, cells, constants) = (random.yes(), random.between(1, 9), random.yes());
        Dynamic { case, cell_out, cell_in, spatial, cells, constants }.check(&mut random);
    }
}

#[test]
fn mixed_depthwise_kernels_follow_the_method() {
    let mut random = Random(0xd3e);
    for _ in 0..100 {
        let mut case = Case::random(&mut random);
        let cell_out = random.pick(&[1, 2, 3, 8, 20, 33]);
        case.out_channels = cell_out * random.between(if cell_out == 1 { 2 } else { 1 }, 4);
        case.in_channels = case.out_channels;
        case.groups = case.out_channels;
        let (spatial, cells, constants) = (random.yes(), random.between(1, 9), random.yes());
        Dynamic { case, cell_out, cell_in: 1, spatial, cells, constants }.check(&mut random);
    }
}

#[test]
fn cells_may_straddle_groups() {
    let mut random = Random(0x57ad);
    for (groups, out_channels, cell_out) in [(3, 12, 6), (2, 18, 6), (4, 24, 8), (6, 6, 3), (3, 48, 24)] {
        for constants in [false, true] {
            let case = Case {
                batch: 2,
                in_channels: groups * 2,
                out_channels,
                groups,
                input: [1, 5, 6],
                kernel: [1, 3, 2],
                stride: [1, 1, 2],
                padding: [0, 1, 1],
                dilation: [1; 3],
            };
            Dynamic { case: case.clone(), cell_out, cell_in: 2, spatial: true, cells: 5, constants }.check(&mut random);
            Dynamic { case, cell_out, cell_in: 1, spatial: false, cells: 5, constants }.check(&mut random);
        }
    }
}

#[test]
fn mixed_linear_layers_follow_the_method() {
    let mut random = Random(0x713);
    for _ in 0..40 {
        let (cell_out, cell_in) = (random.between(1, 40), random.between(1, 20));
        let channels = (cell_in * random.between(1, 3), cell_out * random.between(1, 3));
        let case = Case::pointwise(random.between(1, 3), channels, random.pick(&[1, 1, 7, 40]));
        let (cells, constants) = (random.between(1, 30), random.yes());
        Dynamic { case, cell_out, cell_in, spatial: true, cells, constants }.check(&mut random);
    }
}

#[test]
fn large_mixed_kernels_follow_the_method() {
    let mut random = Random(0x1a6e);
    // Batches, channels, cells and positions that take several pieces of everything.
    for (batch, (ins, outs), (cell_out, cell_in), cells, positions) in [
        (9, (40, 48), (48, 40), 30, 50),
        (9, (24, 36), (12, 8), 7, 20),
        (2, (96, 80), (80, 96), 12, 1600),
        (1, (128, 256), (128, 64), 50, 9),
        (3, (64, 300), (100, 64), 150, 5),
    ] {
        for spatial in [false, true] {
            let constants = random.yes();
            let case = Case::pointwise(batch, (ins, outs), positions);
            Dynamic { case, cell_out, cell_in, spatial, cells, constants }.check(&mut random);
        }
    }
    let windows = Case { kernel: [1, 3, 3], padding: [0, 1, 1], ..Case::pointwise(9, (16, 40), 1) };
    for spatial in [false, true] {
        for input in [[1, 7, 7], [1, 20, 20]] {
            let case = Case { input, ..windows.clone() };
            Dynamic { case, cell_out: 20, cell_in: 16, spatial, cells: 40, constants: spatial }.check(&mut random);
        }
    }
}
