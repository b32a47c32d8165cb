//! Convolutions of every shape, with static kernels, mixed kernels and depthwise ones.

use kwc_runtime::program::{Conv, Epilogue, Kernel, KernelLayout, Mix, Op, Operand};

use super::{Assembly, Finish, Random, assert_close};

/// A convolution in PyTorch's terms.
#[derive(Debug, Clone)]
struct Case {
    batch: usize,
    in_channels: usize,
    out_channels: usize,
    groups: usize,
    input: [usize; 3],
    kernel: [usize; 3],
    stride: [usize; 3],
    padding: [usize; 3],
    dilation: [usize; 3],
}

fn volume(size: [usize; 3]) -> usize {
    size.iter().product()
}

/// All positions of a box, the last dimension running fastest.
fn positions(size: [usize; 3]) -> impl Iterator<Item = [usize; 3]> {
    let [depth, height, width] = size;
    (0..depth).flat_map(move |z| (0..height).flat_map(move |y| (0..width).map(move |x| [z, y, x])))
}

impl Case {
    /// Small and odd, in one to three dimensions.
    fn random(random: &mut Random) -> Self {
        let dimensions = random.between(1, 3);
        let mut case = Self {
            batch: random.between(1, 3),
            in_channels: 0,
            out_channels: 0,
            groups: random.pick(&[1, 1, 2, 3]),
            input: [1; 3],
            kernel: [1; 3],
            stride: [1; 3],
            padding: [0; 3],
            dilation: [1; 3],
        };
        case.in_channels = case.groups * random.between(1, 6);
        case.out_channels = case.groups * random.between(1, 12);
        for dimension in 3 - dimensions..3 {
            case.kernel[dimension] = random.between(1, 4);
            case.stride[dimension] = random.between(1, 3);
            case.padding[dimension] = random.between(0, 4);
            case.dilation[dimension] = random.between(1, 3);
            let reach = (case.kernel[dimension] - 1) * case.dilation[dimension] + 1;
            let least = reach.saturating_sub(2 * case.padding[dimension]).max(1);
            case.input[dimension] = least + random.between(0, 9);
        }
        case
    }

    fn output(&self) -> [usize; 3] {
        std::array::from_fn(|d| {
            (self.input[d] + 2 * self.padding[d] - self.dilation[d] * (self.kernel[d] - 1) - 1) / self.stride[d] + 1
        })
    }

    fn group_in(&self) -> usize {
        self.in_channels / self.groups
    }

    fn depth(&self) -> usize {
        self.group_in() * volume(self.kernel)
    }

    /// The definition; `kernel` gives each sample's `[C_out, C_in / groups, kernel...]`.
    fn reference(&self, input: &[f32], kernel: impl Fn(usize) -> Vec<f64>) -> Vec<f64> {
        let (plane, taps) = (volume(self.input), volume(self.kernel));
        let mut output = Vec::new();
        for sample in 0..self.batch {
            let kernel = kernel(sample);
            for out in 0..self.out_channels {
                let group = out / (self.out_channels / self.groups);
                for at in positions(self.output()) {
                    let mut sum = 0.0;
                    for channel in 0..self.group_in() {
                        let from = (sample * self.in_channels + group * self.group_in() + channel) * plane;
                        for (tap, position) in positions(self.kernel).enumerate() {
                            let weight = kernel[(out * self.group_in() + channel) * taps + tap];
                            sum += weight * self.look(&input[from..from + plane], at, position);
                        }
                    }
                    output.push(sum);
                }
            }
        }
        output
    }

    /// The value that a tap sees, 0 in the padding.
    fn look(&self, plane: &[f32], at: [usize; 3], tap: [usize; 3]) -> f64 {
        let mut offset = 0;
        for d in 0..3 {
            match (at[d] * self.stride[d] + tap[d] * self.dilation[d]).checked_sub(self.padding[d]) {
                Some(at) if at < self.input[d] => offset = offset * self.input[d] + at,
                _ => return 0.0,
            }
        }
        f64::from(plane[offset])
    }

    /// `[C_out, C_in / groups, kernel...]` in the order that a Program asks for.
    fn pack(&self, kernel: &[f32], channel_block: usize, layout: KernelLayout) -> Vec<f32> {
        let (taps, depth) = (volume(self.kernel), self.depth());
        let mut packed = vec![f32::NAN; kernel.len()];
        for out in 0..self.out_channels {
            for channel in 0..self.group_in() {
                for tap in 0..taps {
                    let column = (channel / channel_block * taps + tap) * channel_block + channel % channel_block;
                    let place = match layout {
                        KernelLayout::Rows => out * depth + column,
                        KernelLayout::Blocks { rows } => out / rows * depth * rows + column * rows + out % rows,
                    };
                    packed[place] = kernel[(out * self.group_in() + channel) * taps + tap];
                }
            }
        }
        packed
    }

    /// Runs it with a random kernel, layout and epilogue, and compares.
    fn check(&self, random: &mut Random) {
        let divisors = |number: usize| (1..=number).filter(|d| number.is_multiple_of(*d)).collect::<Vec<_>>();
        let channel_block = random.pick(&divisors(self.group_in()));
        let layout = if random.yes() {
            KernelLayout::Rows
        } else {
            KernelLayout::Blocks { rows: random.pick(&divisors(self.out_channels)) }
        };
        let mut assembly = Assembly::default();
        let input = assembly.input(self.in_channels * volume(self.input));
        let length = self.out_channels * volume(self.output());
        // A kernel for all samples, or one for each.
        let count = self.out_channels * self.depth();
        let kernels: Vec<_> = (0..self.batch).map(|_| random.values(count)).collect();
        let packed: Vec<_> = kernels.iter().map(|kernel| self.pack(kernel, channel_block, layout)).collect();
        let shared = random.yes();
        let data = if shared {
            Operand::Weight(assembly.weight(&packed[0]))
        } else {
            Operand::Buffer(assembly.input(packed[0].len()))
        };
        let (finish, output) = Finish::random(random, &mut assembly, (self.out_channels, length, self.batch));
        assembly.step(Op::Conv(Conv {
            input,
            output,
            kernel: Kernel { data, layout },
            in_channels: self.in_channels,
            out_channels: self.out_channels,
            groups: self.groups,
            channel_block,
            input_size: self.input,
            output_size: self.output(),
            kernel_size: self.kernel,
            stride: self.stride,
            padding: self.padding,
            dilation: self.dilation,
            epilogue: finish.epilogue,
        }));
        let image = random.values(self.batch * self.in_channels * volume(self.input));
        let all = packed.concat();
        let mut inputs = finish.inputs(&image);
        if !shared {
            inputs.insert(1, &all);
        }
        let actual = assembly.run(output, self.batch, &inputs);
        let kernel = |sample: usize| kernels[if shared { 0 } else { sample }].iter().map(|&w| f64::from(w)).collect();
        let sums = self.reference(&image, kernel).into_iter().enumerate();
        let channel = |index: usize| index / volume(self.output()) % self.out_channels;
        let expected: Vec<_> = sums.map(|(index, sum)| finish.reference(sum, channel(index), index)).collect();
        assert_close(&actual, &expected, 2e-6, &(self, layout, channel_block, &finish.epilogue));
    }
}

#[test]
fn convolutions_of_odd_shapes_follow_the_definition() {
    let mut random = Random(0x5eed);
    for _ in 0..300 {
        Case::random(&mut random).check(&mut random);
    }
}

#[test]
fn depthwise_convolutions_follow_the_definition() {
    let mut random = Random(0xdeb7);
    for round in 0..150 {
        let mut case = Case::random(&mut random);
        case.groups = random.between(2, 7);
        case.in_channels = case.groups;
        case.out_channels = case.groups * random.between(1, 3);
        if round == 0 {
            // Longer than a strip.
            (case.input, case.kernel, case.padding, case.dilation) = ([1, 2, 200], [1, 1, 5], [0, 0, 3], [1, 1, 2]);
            case.stride = [1; 3];
        }
        case.check(&mut random);
    }
}

#[test]
fn depthwise_convolutions_of_large_planes_follow_the_definition() {
    let mut random = Random(0xba4d);
    let base = Case {
        batch: 1,
        in_channels: 2,
        out_channels: 2,
        groups: 2,
        input: [1, 270, 250],
        kernel: [1, 3, 2],
        stride: [1; 3],
        padding: [0, 1, 1],
        dilation: [1, 2, 1],
    };
    base.check(&mut random);
    Case { stride: [1, 2, 3], ..base.clone() }.check(&mut random);
    // Rows so long that a few of them are too much, and windows far apart.
    Case { input: [1, 5, 20_000], ..base.clone() }.check(&mut random);
    Case { input: [1, 9, 9], stride: [1, 4, 70_000], padding: [0, 3, 70_001], ..base }.check(&mut random);
}

#[test]
fn convolutions_larger_than_every_block_follow_the_definition() {
    let mut random = Random(0xb10c);
    let base = Case {
        batch: 1,
        in_channels: 70,
        out_channels: 9,
        groups: 1,
        input: [1, 7, 9],
        kernel: [1, 3, 3],
        stride: [1; 3],
        padding: [0, 1, 1],
        dilation: [1; 3],
    };
    for _ in 0..6 {
        // Deep, high, wide: 630 rows of the kernel's depth, 230 channels, 1160 positions.
        base.check(&mut random);
        Case { out_channels: 230, in_channels: 4, groups: 2, ..base.clone() }.check(&mut random);
        Case { input: [1, 29, 40], in_channels: 3, ..base.clone() }.check(&mut random);
        Case { kernel: [1; 3], padding: [0; 3], in_channels: 300, batch: 2, ..base.clone() }.check(&mut random);
        // More taps than any table of them.
        Case { in_channels: 2, kernel: [3, 7, 7], input: [3, 9, 11], padding: [0; 3], ..base.clone() }
            .check(&mut random);
    }
}

/// A dynamic layer as the method defines it: cells of a warehouse mixed into a kernel, `[S, O, I]` mixtures.
struct Dynamic {
    case: Case,
    cell_out: usize,
    cell_in: usize,
    /// Whether cells have one spatial position rather than the whole kernel's.
    spatial: bool,
    cells: usize,
}

impl Dynamic {
    fn check(&self, random: &mut Random) {
        let Self { case, cell_out, cell_in, .. } = self;
        let taps = volume(case.kernel);
        let (spatial_cells, cell_taps) = if self.spatial { (taps, 1) } else { (1, taps) };
        let (out_cells, in_cells) = (case.out_channels / cell_out, case.group_in() / cell_in);
        let mixtures = spatial_cells * out_cells * in_cells;
        let cell = cell_out * cell_in * cell_taps;
        let warehouse = random.values(self.cells * cell);
        let alpha = random.values(case.batch * mixtures * self.cells);
        let image = random.values(case.batch * case.in_channels * volume(case.input));

        // The definition: mixture (s * O + o) * I + i is the cell at output group o, input group i, spatial group s.
        let kernel = |sample: usize| {
            let mut kernel = vec![f64::NAN; case.out_channels * case.depth()];
            for mixture in 0..mixtures {
                let (s, o, i) = (mixture / in_cells / out_cells, mixture / in_cells % out_cells, mixture % in_cells);
                for element in 0..cell {
                    let alpha = &alpha[(sample * mixtures + mixture) * self.cells..][..self.cells];
                    let terms = alpha.iter().enumerate();
                    let mixed = terms.map(|(j, &a)| f64::from(a) * f64::from(warehouse[j * cell + element])).sum();
                    let (co, ci) = (element / cell_taps / cell_in, element / cell_taps % cell_in);
                    let tap = if self.spatial { s } else { element % cell_taps };
                    let channel = i * cell_in + ci;
                    kernel[((o * cell_out + co) * case.group_in() + channel) * taps + tap] = mixed;
                }
            }
            kernel
        };
        let expected = case.reference(&image, kernel);

        // The packed orders: mixtures [O, S, I], cells [spatial, in, out].
        let mut packed_alpha = Vec::new();
        for sample in 0..case.batch {
            for o in 0..out_cells {
                for s in 0..spatial_cells {
                    for i in 0..in_cells {
                        let mixture = sample * mixtures + (s * out_cells + o) * in_cells + i;
                        packed_alpha.extend_from_slice(&alpha[mixture * self.cells..(mixture + 1) * self.cells]);
                    }
                }
            }
        }
        let mut packed_cells = Vec::new();
        for cells in warehouse.chunks_exact(cell) {
            for tap in 0..cell_taps {
                for ci in 0..*cell_in {
                    packed_cells.extend((0..*cell_out).map(|co| cells[(co * cell_in + ci) * cell_taps + tap]));
                }
            }
        }

        let mut assembly = Assembly::default();
        let input = assembly.input(case.in_channels * volume(case.input));
        let attention = assembly.input(mixtures * self.cells);
        let warehouse = assembly.weight(&packed_cells);
        let mixed = assembly.buffer(mixtures * cell);
        let output = assembly.buffer(case.out_channels * volume(case.output()));
        assembly.step(Op::Mix(Mix { attention, warehouse, output: mixed, mixtures, cells: self.cells, cell }));
        assembly.step(Op::Conv(Conv {
            input,
            output,
            kernel: Kernel { data: Operand::Buffer(mixed), layout: KernelLayout::Blocks { rows: *cell_out } },
            in_channels: case.in_channels,
            out_channels: case.out_channels,
            groups: case.groups,
            channel_block: if self.spatial { case.group_in() } else { *cell_in },
            input_size: case.input,
            output_size: case.output(),
            kernel_size: case.kernel,
            stride: case.stride,
            padding: case.padding,
            dilation: case.dilation,
            epilogue: Epilogue::NONE,
        }));
        let actual = assembly.run(output, case.batch, &[&image, &packed_alpha]);
        assert_close(&actual, &expected, 2e-6, &(case, cell_out, cell_in, self.spatial));
    }
}

#[test]
fn mixed_kernels_follow_the_method() {
    let mut random = Random(0xa11);
    for _ in 0..150 {
        let mut case = Case::random(&mut random);
        let (cell_out, cell_in) = (random.between(1, 5), random.between(1, 4));
        case.in_channels = case.groups * cell_in * random.between(1, 3);
        // Cells may straddle groups: only the product of all is a whole number of them.
        case.out_channels = case.groups * cell_out * random.between(1, 3);
        let (spatial, cells) = (random.yes(), random.between(1, 9));
        Dynamic { case, cell_out, cell_in, spatial, cells }.check(&mut random);
    }
}

#[test]
fn cells_may_straddle_groups() {
    let mut random = Random(0x57ad);
    for (groups, out_channels, cell_out) in [(3, 12, 6), (2, 18, 6), (4, 24, 8), (6, 6, 3), (3, 48, 24)] {
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
        Dynamic { case: case.clone(), cell_out, cell_in: 2, spatial: true, cells: 5 }.check(&mut random);
        Dynamic { case, cell_out, cell_in: 1, spatial: false, cells: 5 }.check(&mut random);
    }
}
