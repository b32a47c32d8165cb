//! Programs that contradict themselves are refused, and what is accepted runs.

use kwc_runtime::program::{
    Attention, AttentionNorm, Basis, BufferId, Concat, ConcatPart, Conv, Epilogue, Export, GatherRows, GlobalAverage,
    Import, Kernel, LayerNorm, Map, Mixing, Op, PANEL, Pool, PoolKind, Program, Source, Temperature, Upsample,
    WeightId,
};

use super::{Activation, Assembly, Random, load};

/// Places of the steps of [`everything`] in its Program.
pub(super) mod step {
    pub(in super::super) const IMPORT: usize = 0;
    pub(in super::super) const ATTENTION: usize = 2;
    /// Mixed.
    pub(in super::super) const CONV: usize = 3;
    pub(in super::super) const FOLDED: usize = 4;
    /// Mixed, with constants.
    pub(in super::super) const DEPTHWISE: usize = 5;
    /// Static, in two groups.
    pub(in super::super) const GROUPED: usize = 6;
    pub(in super::super) const POOL: usize = 9;
    pub(in super::super) const GATHER: usize = 12;
}

/// An attention whose weights are all `values` long enough.
fn attention(a: &mut Assembly, (channels, mixtures, cells): (usize, usize, usize), local: usize) -> Attention {
    let mut values = |length: usize| a.weight(&Random(9).values(length));
    let (hidden, rank) = (4, 1);
    let w4 = values(hidden);
    let panels = (mixtures * (local + rank + 1)).div_ceil(PANEL);
    Attention {
        average: BufferId(0),
        output: BufferId(0),
        channels,
        hidden,
        mixtures,
        cells,
        fc1: values(PANEL * channels),
        fc1_bias: Some(w4),
        norm: AttentionNorm::Batch { scale: w4, shift: w4 },
        fc2: values(panels * PANEL * hidden),
        fc2_bias: None,
        basis: Some(Basis {
            local,
            start_cell: 1,
            rank,
            fc3: values(PANEL * rank),
            bias: values(mixtures * (cells + 1)),
            is_folded: false,
        }),
        temperature: None,
    }
}

/// A convolution of six positions by a kernel of three, all of them inside.
fn conv(input: BufferId, output: BufferId, source: Source, epilogue: Epilogue) -> Conv {
    Conv {
        input,
        output,
        kernel: Kernel { source, block: 3, width: PANEL / 2 },
        in_channels: 6,
        out_channels: 6,
        groups: 1,
        input_size: [1, 1, 6],
        output_size: [1, 1, 6],
        kernel_size: [1, 1, 3],
        stride: [1; 3],
        padding: [0, 0, 1],
        dilation: [1; 3],
        epilogue,
        average: None,
    }
}

/// A Program with one of every operation, and the values of its weights.
pub(super) fn everything() -> (Program, Vec<f32>) {
    let mut a = Assembly::default();
    let image = a.input(4 * 6);
    let (padded, average, alpha, convolved) = (a.buffer(8 * 4), a.buffer(4), a.buffer(2 * 3), a.buffer(6 * 6));
    let (averaged, folded, deep, tokens) = (a.buffer(6), a.buffer(6 * 4), a.buffer(6 * 6), a.buffer(6 * 6));
    let (pooled, joined, large) = (a.buffer(3 * 6), a.buffer(3 * 12), a.buffer(6 * 12));
    let (gathered, exported) = (a.buffer(6 * 12), a.buffer(12 * 6));
    let mut values = |length: usize| a.weight(&Random(9).values(length));
    let w6 = values(6);
    let (warehouse, lanes) = (values(12 * 3 * 16), values(3 * 16));
    let (constants, kernel) = (values(6 * 16), values(2 * 3 * 32));
    let epilogue = Epilogue { scale: Some(w6), shift: Some(w6), add: None, activation: Activation::Relu };

    a.step(Op::Import(Import { input: image, output: padded, channels: 4, input_size: [1, 1, 6], padding: [0, 0, 1] }));
    a.step(Op::GlobalAverage(GlobalAverage { input: padded, output: average, channels: 4, positions: 8 }));
    let temperature = Some(Temperature { t: 0.5, beta: vec![0, 3].into() });
    let op = attention(&mut a, (4, 2, 3), 2);
    a.step(Op::Attention(Attention { average, output: alpha, temperature, ..op }));
    let mixing = Mixing {
        attention: alpha,
        warehouse,
        constants: None,
        cells: 3,
        cell_out: 3,
        cell_in: 4,
        cell_spatial: 3,
        grid: [2, 1, 1],
        backwards: false,
    };
    a.step(Op::Conv(Conv {
        in_channels: 4,
        input_size: [1, 1, 8],
        padding: [0; 3],
        average: Some(averaged),
        ..conv(padded, convolved, Source::Mixed(mixing), epilogue)
    }));
    let op = attention(&mut a, (6, 6, 5), 2);
    let basis = op.basis.map(|basis| Basis { is_folded: true, ..basis });
    a.step(Op::Attention(Attention { average: averaged, output: folded, basis, ..op }));
    let mixing = Mixing {
        attention: folded,
        warehouse: lanes,
        constants: Some(constants),
        cell_in: 1,
        cell_spatial: 1,
        grid: [2, 3, 1],
        backwards: false,
        ..mixing
    };
    a.step(Op::Conv(Conv { groups: 6, ..conv(convolved, deep, Source::Mixed(mixing), epilogue) }));
    let epilogue = Epilogue { add: Some(convolved), ..epilogue };
    let op = conv(deep, tokens, Source::Weight(kernel), epilogue);
    let kernel = Kernel { width: PANEL, ..op.kernel };
    a.step(Op::Conv(Conv { groups: 2, kernel, kernel_size: [1; 3], padding: [0; 3], ..op }));
    a.step(Op::LayerNorm(LayerNorm {
        input: tokens,
        output: tokens,
        channels: 6,
        positions: 6,
        weight: w6,
        bias: w6,
        epsilon: 1e-5,
        activation: Activation::Gelu,
    }));
    a.step(Op::Map(Map { input: tokens, output: tokens, channels: 6, positions: 6, epilogue }));
    a.step(Op::Pool(Pool {
        kind: PoolKind::AverageInside,
        input: tokens,
        output: pooled,
        channels: 6,
        input_size: [1, 1, 6],
        output_size: [1, 1, 3],
        kernel_size: [1, 1, 3],
        stride: [1, 1, 2],
        padding: [0, 0, 1],
    }));
    let parts = vec![ConcatPart { buffer: pooled, channels: 6 }; 2].into();
    a.step(Op::Concat(Concat { inputs: parts, output: joined, positions: 3 }));
    a.step(Op::Upsample(Upsample {
        input: joined,
        output: large,
        channels: 12,
        input_size: [1, 1, 3],
        factor: [1, 1, 2],
    }));
    let rows = vec![5, 4, 3, 2, 1, 0].into();
    a.step(Op::GatherRows(GatherRows { input: large, output: gathered, rows, width: 12 }));
    a.step(Op::Export(Export { input: gathered, output: exported, channels: 12, positions: 6 }));
    (a.program(exported), a.values.clone())
}

#[test]
fn a_program_of_everything_runs() {
    let (program, values) = everything();
    let mut model = load(program, &values, 2).unwrap();
    model.run(3, &[&Random(5).values(72)]).unwrap();
    assert!(model.output(0).iter().all(|value| value.is_finite()));
}

/// Every size of an operation.
fn numbers(op: &mut Op) -> Vec<&mut usize> {
    fn all<'a>(arrays: impl IntoIterator<Item = &'a mut [usize; 3]>, rest: Vec<&'a mut usize>) -> Vec<&'a mut usize> {
        rest.into_iter().chain(arrays.into_iter().flatten()).collect()
    }
    match op {
        Op::Import(op) => all([&mut op.input_size, &mut op.padding], vec![&mut op.channels]),
        Op::Export(op) => vec![&mut op.channels, &mut op.positions],
        Op::Conv(op) => {
            let mut rest = vec![&mut op.in_channels, &mut op.out_channels, &mut op.groups];
            rest.extend([&mut op.kernel.block, &mut op.kernel.width]);
            if let Source::Mixed(mixing) = &mut op.kernel.source {
                rest.extend([&mut mixing.cells, &mut mixing.cell_out, &mut mixing.cell_in, &mut mixing.cell_spatial]);
                rest.extend(&mut mixing.grid);
            }
            let sizes = [&mut op.input_size, &mut op.output_size, &mut op.kernel_size];
            all(sizes.into_iter().chain([&mut op.stride, &mut op.padding, &mut op.dilation]), rest)
        }
        Op::GlobalAverage(op) => vec![&mut op.channels, &mut op.positions],
        Op::Attention(op) => {
            let mut numbers = vec![&mut op.channels, &mut op.hidden, &mut op.mixtures, &mut op.cells];
            if let Some(basis) = &mut op.basis {
                numbers.extend([&mut basis.local, &mut basis.start_cell, &mut basis.rank]);
            }
            numbers
        }
        Op::Pool(op) => all(
            [&mut op.input_size, &mut op.output_size, &mut op.kernel_size, &mut op.stride, &mut op.padding],
            vec![&mut op.channels],
        ),
        Op::LayerNorm(op) => vec![&mut op.channels, &mut op.positions],
        Op::Map(op) => vec![&mut op.channels, &mut op.positions],
        Op::Concat(op) => {
            let parts = op.inputs.to_mut().iter_mut().map(|part| &mut part.channels);
            parts.chain([&mut op.positions]).collect()
        }
        Op::Upsample(op) => all([&mut op.input_size, &mut op.factor], vec![&mut op.channels]),
        Op::GatherRows(op) => vec![&mut op.width],
    }
}

/// Every buffer of an operation.
fn buffers(op: &mut Op) -> Vec<&mut BufferId> {
    match op {
        Op::Import(op) => vec![&mut op.input, &mut op.output],
        Op::Export(op) => vec![&mut op.input, &mut op.output],
        Op::Conv(op) => {
            let mut buffers = vec![&mut op.input, &mut op.output];
            if let Source::Mixed(mixing) = &mut op.kernel.source {
                buffers.push(&mut mixing.attention);
            }
            buffers.into_iter().chain(&mut op.average).chain(&mut op.epilogue.add).collect()
        }
        Op::GlobalAverage(op) => vec![&mut op.input, &mut op.output],
        Op::Attention(op) => vec![&mut op.average, &mut op.output],
        Op::Pool(op) => vec![&mut op.input, &mut op.output],
        Op::LayerNorm(op) => vec![&mut op.input, &mut op.output],
        Op::Map(op) => [&mut op.input, &mut op.output].into_iter().chain(&mut op.epilogue.add).collect(),
        Op::Concat(op) => op.inputs.to_mut().iter_mut().map(|part| &mut part.buffer).chain([&mut op.output]).collect(),
        Op::Upsample(op) => vec![&mut op.input, &mut op.output],
        Op::GatherRows(op) => vec![&mut op.input, &mut op.output],
    }
}

/// Every weight of an operation.
fn weights(op: &mut Op) -> Vec<&mut WeightId> {
    match op {
        Op::Conv(op) => {
            let weights = match &mut op.kernel.source {
                Source::Weight(id) => vec![id],
                Source::Mixed(mixing) => [&mut mixing.warehouse].into_iter().chain(&mut mixing.constants).collect(),
            };
            weights.into_iter().chain(&mut op.epilogue.scale).chain(&mut op.epilogue.shift).collect()
        }
        Op::Attention(op) => {
            let mut weights = vec![&mut op.fc1, &mut op.fc2];
            match &mut op.norm {
                AttentionNorm::Batch { scale, shift } => weights.extend([scale, shift]),
                AttentionNorm::Layer { weight, bias, epsilon: _ } => weights.extend([weight, bias]),
            }
            if let Some(basis) = &mut op.basis {
                weights.extend([&mut basis.fc3, &mut basis.bias]);
            }
            weights.into_iter().chain(&mut op.fc1_bias).chain(&mut op.fc2_bias).collect()
        }
        Op::LayerNorm(op) => vec![&mut op.weight, &mut op.bias],
        Op::Map(op) => op.epilogue.scale.iter_mut().chain(&mut op.epilogue.shift).collect(),
        Op::Import(_)
        | Op::Export(_)
        | Op::GlobalAverage(_)
        | Op::Pool(_)
        | Op::Concat(_)
        | Op::Upsample(_)
        | Op::GatherRows(_) => vec![],
    }
}

/// A changed Program is refused, or runs; a refusal names the layer.
fn survives(program: Program, values: &[f32]) -> bool {
    match load(program, values, 1) {
        Ok(mut model) => model.run(2, &[&Random(5).values(48)]).is_ok(),
        Err(error) => {
            assert!(error.to_string().contains("malformed program"), "{error}");
            true
        }
    }
}

#[test]
fn any_number_of_a_program_may_be_wrong() {
    let (program, values) = everything();
    let mut refused = 0;
    for step in 0..program.steps.len() {
        for number in 0..numbers(&mut program.steps.to_vec()[step].op).len() {
            for wrong in [0, 1, 2, 3, 6, 7, 16, 32, usize::MAX, usize::MAX / 2, 1 << 32, 1 << 62] {
                let mut changed = program.clone();
                *numbers(&mut changed.steps.to_mut()[step].op)[number] = wrong;
                refused += usize::from(load(changed.clone(), &values, 1).is_err());
                assert!(survives(changed, &values), "step {step}, number {number} = {wrong}");
            }
        }
    }
    assert!(refused > 1000, "only {refused} of the changed programs were refused");
}

#[test]
fn any_buffer_or_weight_of_a_program_may_be_wrong() {
    let (program, values) = everything();
    for step in 0..program.steps.len() {
        for operand in 0..buffers(&mut program.steps.to_vec()[step].op).len() {
            for wrong in (0..program.buffers.len() + 2).chain([1 << 31]) {
                let mut changed = program.clone();
                *buffers(&mut changed.steps.to_mut()[step].op)[operand] = BufferId(u32::try_from(wrong).unwrap());
                assert!(survives(changed, &values), "step {step}, operand {operand} = buffer{wrong}");
            }
        }
        for operand in 0..weights(&mut program.steps.to_vec()[step].op).len() {
            for wrong in (0..program.weights.len() + 2).chain([1 << 31]) {
                let mut changed = program.clone();
                *weights(&mut changed.steps.to_mut()[step].op)[operand] = WeightId(u32::try_from(wrong).unwrap());
                assert!(survives(changed, &values), "step {step}, operand {operand} = weight{wrong}");
            }
        }
    }
    // Buffers that overlap, run into each other's places, or leave the arena.
    for buffer in 0..program.buffers.len() {
        for offset in [0, 16, 32, 64, 8, 1 << 20, usize::MAX, usize::MAX - 15] {
            let mut changed = program.clone();
            changed.buffers.to_mut()[buffer].offset = offset;
            assert!(survives(changed, &values), "buffer{buffer} at {offset}");
        }
    }
}

/// Windows so far apart that their places can't be counted.
#[test]
fn places_of_windows_can_be_counted() {
    let mut assembly = Assembly::default();
    let (input, output) = (assembly.input(16 * 4), assembly.buffer(16 * 3));
    let kernel = Kernel { source: Source::Weight(assembly.weight(&[0.0; 2 * 16 * 16])), block: 16, width: PANEL / 2 };
    let far = 1 << 60;
    assembly.step(Op::Conv(Conv {
        input,
        output,
        kernel,
        in_channels: 16,
        out_channels: 16,
        groups: 1,
        input_size: [1, 1, 4],
        output_size: [1, 1, 3],
        kernel_size: [1, 1, 2],
        stride: [1, 1, far / 2],
        padding: [0, 0, far],
        dilation: [1, 1, far],
        epilogue: Epilogue::NONE,
        average: None,
    }));
    let error = assembly.model(output, 1).unwrap_err().to_string();
    assert!(error.contains("padded input is too large"), "{error}");
}
