//! Convolutions of every shape, depthwise ones among them, with static kernels.

use kwc_runtime::program::{Conv, Kernel, Op, PANEL, Source};

use super::panels::Panels;
use super::{Assembly, Expected, Finish, Random, largest, place, positions, real, volume};

/// A convolution in PyTorch's terms.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) batch: usize,
    pub(super) in_channels: usize,
    pub(super) out_channels: usize,
    pub(super) groups: usize,
    pub(super) input: [usize; 3],
    pub(super) kernel: [usize; 3],
    pub(super) stride: [usize; 3],
    pub(super) padding: [usize; 3],
    pub(super) dilation: [usize; 3],
}

/// A kernel, as the Program has it and as it is.
pub(super) struct Packed {
    pub(super) source: Source,
    pub(super) panels: Panels,
    /// For each sample, `[C_out, kernel positions, C_in / groups]`.
    pub(super) kernels: Vec<Vec<f64>>,
    /// The input of the Program that it is mixed by, if it is.
    pub(super) attention: Option<Vec<f32>>,
}

impl Case {
    /// A pointwise convolution of a map of one row.
    pub(super) fn pointwise(batch: usize, (ins, outs): (usize, usize), positions: usize) -> Self {
        Self {
            batch,
            in_channels: ins,
            out_channels: outs,
            groups: 1,
            input: [1, 1, positions],
            kernel: [1; 3],
            stride: [1; 3],
            padding: [0; 3],
            dilation: [1; 3],
        }
    }

    /// Small and odd, in one to three dimensions.
    pub(super) fn random(random: &mut Random) -> Self {
        let dimensions = random.between(1, 3);
        let mut case = Self::pointwise(random.between(1, 3), (1, 1), 1);
        case.groups = random.pick(&[1, 1, 2, 3]);
        case.in_channels = case.groups * random.between(1, 6);
        case.out_channels = case.groups * random.between(1, 12);
        if case.groups == 1 && random.yes() {
            case.in_channels = random.between(1, 40);
            case.out_channels = random.between(1, 100);
        }
        for dimension in 3 - dimensions..3 {
            case.kernel[dimension] = random.between(1, 4);
            case.stride[dimension] = random.between(1, 3);
            case.padding[dimension] = random.between(0, 4);
            case.dilation[dimension] = random.between(1, 3);
            let reach = (case.kernel[dimension] - 1) * case.dilation[dimension] + 1;
            let least = reach.saturating_sub(2 * case.padding[dimension]).max(1);
            case.input[dimension] = least + random.between(0, if dimensions == 3 { 4 } else { 9 });
        }
        case
    }

    fn output(&self) -> [usize; 3] {
        std::array::from_fn(|d| {
            (self.input[d] + 2 * self.padding[d] - self.dilation[d] * (self.kernel[d] - 1) - 1) / self.stride[d] + 1
        })
    }

    pub(super) fn group_in(&self) -> usize {
        self.in_channels / self.groups
    }

    pub(super) fn depth(&self) -> usize {
        self.group_in() * volume(self.kernel)
    }

    pub(super) fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.groups == self.in_channels && self.groups == self.out_channels
    }

    /// Panels that a kernel may have whose cells, if any, have `cell_out` output channels.
    pub(super) fn panels(&self, random: &mut Random, cell_out: usize) -> Panels {
        let whole = if self.is_depthwise() { self.out_channels } else { self.out_channels / self.groups };
        let blocks: Vec<_> =
            (1..=whole).filter(|&block| whole.is_multiple_of(block) && cell_out.is_multiple_of(block)).collect();
        // The largest is what a compiler would take.
        let block = if random.yes() { blocks[blocks.len() - 1] } else { random.pick(&blocks) };
        Panels { block, width: random.pick(&[PANEL, PANEL / 2]) }
    }

    /// The values of a window, `[kernel positions, C_in / groups]`; 0 in the padding.
    fn window(&self, map: &[f32], at: [usize; 3], group: usize) -> Vec<f64> {
        let mut window = Vec::with_capacity(self.depth());
        for tap in positions(self.kernel) {
            let seen = std::array::from_fn(|d| {
                (at[d] * self.stride[d] + tap[d] * self.dilation[d]).checked_sub(self.padding[d])
            });
            let channels = group * self.group_in()..(group + 1) * self.group_in();
            match place(seen, self.input) {
                Some(position) => window.extend(channels.map(|c| f64::from(map[position * self.in_channels + c]))),
                None => window.extend(channels.map(|_| 0.0)),
            }
        }
        window
    }

    /// The definition, channels last.
    fn reference(&self, input: &[f32], kernels: &[Vec<f64>]) -> Vec<f64> {
        let (group_out, depth) = (self.out_channels / self.groups, self.depth());
        let mut output = Vec::new();
        for (map, kernel) in input.chunks_exact(self.in_channels * volume(self.input)).zip(kernels) {
            for at in positions(self.output()) {
                for (group, kernel) in kernel.chunks_exact(group_out * depth).enumerate() {
                    let window = self.window(map, at, group);
                    let products = |row: &[f64]| row.iter().zip(&window).map(|(a, b)| a * b).sum::<f64>();
                    output.extend(kernel.chunks_exact(depth).map(products));
                }
            }
        }
        output
    }

    /// Runs it with a random epilogue, with and without the average, and compares.
    pub(super) fn check_with(
        &self,
        random: &mut Random,
        pack: impl FnOnce(&mut Random, &mut Assembly) -> Packed,
        about: &dyn std::fmt::Debug,
    ) {
        let mut assembly = Assembly::default();
        let input = assembly.input(self.in_channels * volume(self.input));
        let packed = pack(random, &mut assembly);
        let positions = volume(self.output());
        let length = self.out_channels * positions;
        let (finish, output) = Finish::random(random, &mut assembly, (self.out_channels, length, self.batch));
        let average = random.yes().then(|| assembly.buffer(self.out_channels));
        let Panels { block, width } = packed.panels;
        assembly.step(Op::Conv(Conv {
            input,
            output,
            kernel: Kernel { source: packed.source, block, width },
            in_channels: self.in_channels,
            out_channels: self.out_channels,
            groups: self.groups,
            input_size: self.input,
            output_size: self.output(),
            kernel_size: self.kernel,
            stride: self.stride,
            padding: self.padding,
            dilation: self.dilation,
            epilogue: finish.epilogue,
            average,
        }));
        let image = random.values(self.batch * self.in_channels * volume(self.input));
        let mut inputs = finish.inputs(&image);
        if let Some(attention) = &packed.attention {
            inputs.insert(1, attention);
        }

        let sums = self.reference(&image, &packed.kernels);
        let finished = |(index, &sum)| finish.reference(sum, index % self.out_channels, index);
        let values: Vec<_> = sums.iter().enumerate().map(finished).collect();
        let mut averages = vec![0.0; self.batch * self.out_channels];
        for (index, value) in values.iter().enumerate() {
            averages[index / length * self.out_channels + index % self.out_channels] += value / real(positions);
        }
        // Activations may cut large sums, and terms of an average may cancel: what counts is how large the sums are.
        let error = 2e-6 * largest(&sums).max(largest(&values));
        let mut expected = vec![Expected { buffer: output, values, error }];
        expected.extend(average.map(|buffer| Expected { buffer, values: averages, error }));
        assembly.check(self.batch, &inputs, &expected, &(self, packed.panels, about, &finish.epilogue));
    }

    /// With one random kernel for all samples.
    pub(super) fn check(&self, random: &mut Random) {
        let panels = self.panels(random, self.out_channels);
        let depth = self.depth();
        let pack = |random: &mut Random, assembly: &mut Assembly| {
            let kernel = random.values(self.out_channels * depth);
            let packed = panels.pack((depth, self.out_channels), |row, column| kernel[column * depth + row]);
            Packed {
                source: Source::Weight(assembly.weight(&packed)),
                panels,
                kernels: vec![super::wide(&kernel); self.batch],
                attention: None,
            }
        };
        self.check_with(random, pack, &"static");
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
        case.groups = random.pick(&[2, 3, 5, 7, 16, 31, 40, 72]);
        case.in_channels = case.groups;
        case.out_channels = case.groups;
        if round == 0 {
            // More windows than are kept at a time.
            (case.input, case.kernel, case.padding, case.dilation) = ([1, 2, 300], [1, 1, 5], [0, 0, 3], [1, 1, 2]);
            case.stride = [1; 3];
        }
        case.check(&mut random);
    }
}

#[test]
fn several_filters_for_each_channel_follow_the_definition() {
    let mut random = Random(0xf17);
    for _ in 0..40 {
        let mut case = Case::random(&mut random);
        case.groups = random.between(2, 7);
        case.in_channels = case.groups;
        case.out_channels = case.groups * random.between(2, 3);
        case.check(&mut random);
    }
}

#[test]
fn every_number_of_output_channels_follows_the_definition() {
    let mut random = Random(0xc0);
    for out_channels in 1..=100 {
        let (in_channels, positions) = (random.between(1, 20), random.between(1, 30));
        Case::pointwise(random.between(1, 2), (in_channels, out_channels), positions).check(&mut random);
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
        input: [1, 90, 85],
        kernel: [1, 3, 2],
        stride: [1; 3],
        padding: [0, 1, 1],
        dilation: [1, 2, 1],
    };
    base.check(&mut random);
    Case { stride: [1, 2, 3], ..base.clone() }.check(&mut random);
    let channels = 70;
    Case { in_channels: channels, out_channels: channels, groups: channels, input: [1, 30, 31], ..base.clone() }
        .check(&mut random);
    // Rows so long that a few of them are too much, and windows far apart.
    Case { input: [1, 5, 3000], ..base.clone() }.check(&mut random);
    Case { input: [1, 9, 9], stride: [1, 4, 70_000], padding: [0, 3, 70_001], ..base }.check(&mut random);
}

#[test]
fn convolutions_larger_than_every_piece_follow_the_definition() {
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
    for _ in 0..3 {
        // Deep, high, wide: 630 rows of the kernel's depth, 230 channels, 1160 positions.
        base.check(&mut random);
        Case { out_channels: 230, in_channels: 4, groups: 2, ..base.clone() }.check(&mut random);
        Case { input: [1, 29, 40], in_channels: 3, ..base.clone() }.check(&mut random);
        Case { kernel: [1; 3], padding: [0; 3], in_channels: 300, batch: 2, ..base.clone() }.check(&mut random);
        // More taps than any table of them.
        Case { in_channels: 2, kernel: [3, 7, 7], input: [3, 9, 11], padding: [0; 3], ..base.clone() }
            .check(&mut random);
    }
    // Enough for several tasks, whatever their size.
    Case { in_channels: 96, out_channels: 80, input: [1, 40, 40], kernel: [1; 3], padding: [0; 3], ..base.clone() }
        .check(&mut random);
    Case { in_channels: 40, out_channels: 48, input: [1, 40, 40], ..base.clone() }.check(&mut random);
    Case { in_channels: 40, out_channels: 48, input: [1, 41, 39], batch: 3, stride: [1, 2, 2], ..base }
        .check(&mut random);
}
