//! Programs that contradict themselves are refused, and what is accepted runs.

use kwc_runtime::cpu::{Model, Options};
use kwc_runtime::program::{
    Attention, AttentionNorm, Basis, Buffer, BufferId, Concat, ConcatPart, Conv, Epilogue, GatherRows, GlobalAverage,
    Kernel, KernelLayout, LayerNorm, Linear, Map, Mix, Op, Operand, Pool, PoolKind, Program, Temperature, Upsample,
    WeightId,
};
use kwc_runtime::{Error, Weights};

use super::{Activation, Assembly, Random, load};

/// A Program with one of every operation, and the values of its weights.
fn everything() -> (Program, Vec<f32>) {
    let mut a = Assembly::default();
    let mut values = |length: usize| a.weight(&Random(9).values(length));
    let (w4, w6, fc2, fc3, bias) = (values(4), values(6), values(2 * 4 * 4), values(1), values(2 * 4));
    let (fc1, warehouse, kernel) = (values(16), values(3 * 12), values(6 * 4));
    let image = a.input(4 * 6);
    let (average, alpha, mixed) = (a.buffer(4), a.buffer(2 * 3), a.buffer(2 * 12));
    let (convolved, token_map, pooled) = (a.buffer(6 * 6), a.buffer(6 * 6), a.buffer(6 * 3));
    let (joined, large, gathered) = (a.buffer(12 * 3), a.buffer(12 * 6), a.buffer(12 * 6));
    let epilogue = Epilogue { scale: Some(w6), shift: Some(w6), add: None, activation: Activation::Relu };
    a.step(Op::GlobalAverage(GlobalAverage {
        input: image,
        output: average,
        channels: 4,
        positions: 6,
        channels_last: false,
    }));
    a.step(Op::Attention(Attention {
        average,
        output: alpha,
        channels: 4,
        hidden: 4,
        mixtures: 2,
        cells: 3,
        fc1,
        fc1_bias: Some(w4),
        norm: AttentionNorm::Batch { scale: w4, shift: w4 },
        fc2,
        fc2_bias: None,
        basis: Some(Basis { local: 2, start_cell: 1, rank: 1, fc3, bias }),
        temperature: Some(Temperature { t: 0.5, beta: vec![0, 3].into() }),
    }));
    a.step(Op::Mix(Mix { attention: alpha, warehouse, output: mixed, mixtures: 2, cells: 3, cell: 12 }));
    a.step(Op::Conv(Conv {
        input: image,
        output: convolved,
        kernel: Kernel { data: Operand::Buffer(mixed), layout: KernelLayout::Blocks { rows: 3 } },
        in_channels: 4,
        out_channels: 6,
        groups: 1,
        channel_block: 4,
        input_size: [1, 1, 6],
        output_size: [1, 1, 6],
        kernel_size: [1, 1, 1],
        stride: [1; 3],
        padding: [0; 3],
        dilation: [1; 3],
        epilogue,
    }));
    a.step(Op::Linear(Linear {
        input: image,
        output: token_map,
        kernel: Kernel { data: Operand::Weight(kernel), layout: KernelLayout::Rows },
        in_channels: 4,
        out_channels: 6,
        positions: 6,
        channels_last: true,
        epilogue: Epilogue { add: Some(convolved), ..epilogue },
    }));
    a.step(Op::LayerNorm(LayerNorm {
        input: token_map,
        output: token_map,
        channels: 6,
        positions: 6,
        channels_last: false,
        weight: w6,
        bias: w6,
        epsilon: 1e-5,
        activation: Activation::Gelu,
    }));
    a.step(Op::Map(Map {
        input: token_map,
        output: token_map,
        channels: 6,
        positions: 6,
        channels_last: true,
        epilogue,
    }));
    a.step(Op::Pool(Pool {
        kind: PoolKind::AverageInside,
        input: token_map,
        output: pooled,
        channels: 6,
        input_size: [1, 1, 6],
        output_size: [1, 1, 3],
        kernel_size: [1, 1, 3],
        stride: [1, 1, 2],
        padding: [0, 0, 1],
    }));
    let parts = vec![ConcatPart { buffer: pooled, channels: 6 }; 2].into();
    a.step(Op::Concat(Concat { inputs: parts, output: joined, positions: 3, channels_last: false }));
    a.step(Op::Upsample(Upsample {
        input: joined,
        output: large,
        channels: 12,
        input_size: [1, 1, 3],
        factor: [1, 1, 2],
    }));
    let rows = vec![5, 4, 3, 2, 1, 0].into();
    a.step(Op::GatherRows(GatherRows { input: large, output: gathered, rows, width: 12 }));
    (a.program(gathered), a.values.clone())
}

#[test]
fn a_program_of_everything_runs() {
    let (program, values) = everything();
    let mut model = load(program, &values, 2).unwrap();
    model.run(3, &[&Random(5).values(72)]).unwrap();
    assert!(model.output(0).iter().all(|value| value.is_finite()));
}

/// Every size and id of an operation.
fn numbers(op: &mut Op) -> Vec<&mut usize> {
    fn all<'a>(arrays: impl IntoIterator<Item = &'a mut [usize; 3]>, rest: Vec<&'a mut usize>) -> Vec<&'a mut usize> {
        rest.into_iter().chain(arrays.into_iter().flatten()).collect()
    }
    match op {
        Op::Conv(op) => all(
            [
                &mut op.input_size,
                &mut op.output_size,
                &mut op.kernel_size,
                &mut op.stride,
                &mut op.padding,
                &mut op.dilation,
            ],
            vec![&mut op.in_channels, &mut op.out_channels, &mut op.groups, &mut op.channel_block],
        ),
        Op::Linear(op) => vec![&mut op.in_channels, &mut op.out_channels, &mut op.positions],
        Op::GlobalAverage(op) => vec![&mut op.channels, &mut op.positions],
        Op::Attention(op) => {
            let mut numbers = vec![&mut op.channels, &mut op.hidden, &mut op.mixtures, &mut op.cells];
            if let Some(basis) = &mut op.basis {
                numbers.extend([&mut basis.local, &mut basis.start_cell, &mut basis.rank]);
            }
            numbers
        }
        Op::Mix(op) => vec![&mut op.mixtures, &mut op.cells, &mut op.cell],
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

fn buffers(op: &mut Op) -> Vec<&mut BufferId> {
    match op {
        Op::Conv(op) => vec![&mut op.input, &mut op.output],
        Op::Linear(op) => vec![&mut op.input, &mut op.output],
        Op::GlobalAverage(op) => vec![&mut op.input, &mut op.output],
        Op::Attention(op) => vec![&mut op.average, &mut op.output],
        Op::Mix(op) => vec![&mut op.attention, &mut op.output],
        Op::Pool(op) => vec![&mut op.input, &mut op.output],
        Op::LayerNorm(op) => vec![&mut op.input, &mut op.output],
        Op::Map(op) => vec![&mut op.input, &mut op.output],
        Op::Concat(op) => op.inputs.to_mut().iter_mut().map(|part| &mut part.buffer).chain([&mut op.output]).collect(),
        Op::Upsample(op) => vec![&mut op.input, &mut op.output],
        Op::GatherRows(op) => vec![&mut op.input, &mut op.output],
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
            for wrong in [0, 1, 2, 3, 7, usize::MAX, usize::MAX / 2, 1 << 32, 1 << 62] {
                let mut changed = program.clone();
                *numbers(&mut changed.steps.to_mut()[step].op)[number] = wrong;
                refused += usize::from(load(changed.clone(), &values, 1).is_err());
                assert!(survives(changed, &values), "step {step}, number {number} = {wrong}");
            }
        }
    }
    assert!(refused > 350, "only {refused} of the changed programs were refused");
}

#[test]
fn any_buffer_of_a_program_may_be_wrong() {
    let (program, values) = everything();
    for step in 0..program.steps.len() {
        for operand in 0..buffers(&mut program.steps.to_vec()[step].op).len() {
            for wrong in 0..14 {
                let mut changed = program.clone();
                *buffers(&mut changed.steps.to_mut()[step].op)[operand] = BufferId(wrong);
                assert!(survives(changed, &values), "step {step}, operand {operand} = buffer{wrong}");
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

/// The message that refuses a Program.
fn refusal(change: impl FnOnce(&mut Program)) -> String {
    let (mut program, values) = everything();
    change(&mut program);
    load(program, &values, 1).unwrap_err().to_string()
}

#[test]
fn refusals_say_where_and_why() {
    let step = |index: usize, change: fn(&mut Op)| refusal(|program| change(&mut program.steps.to_mut()[index].op));
    let conv = |change: fn(&mut Conv)| {
        refusal(|program| {
            if let Op::Conv(conv) = &mut program.steps.to_mut()[3].op {
                change(conv);
            }
        })
    };
    let cases = [
        (refusal(|program| program.format = 7), "the program has format 7, this runtime reads format 1"),
        (refusal(|program| program.arena = 100), "ends beyond the arena of 100 elements"),
        (refusal(|program| program.buffers.to_mut()[1].offset += 1), "no multiple of 16"),
        (
            refusal(|program| program.weights.to_mut()[0].offset = 1 << 40),
            "weight `weight0` ends beyond the packed block",
        ),
        (
            refusal(|program| program.weights.to_mut()[0].shape = vec![usize::MAX, 2].into()),
            "weight `weight0` is too large",
        ),
        (
            refusal(|program| program.outputs.to_mut()[0].shape = vec![5].into()),
            "output `output` has shape [5], but its buffer9 has 72 elements",
        ),
        (refusal(|program| program.inputs.to_mut()[0].buffer = BufferId(77)), "input `input0`: there is no buffer77"),
        (conv(|conv| conv.groups = 3), "step 3 (layer `layer3`): input channels in groups: 3 does not divide 4"),
        (conv(|conv| conv.channel_block = 3), "3 does not divide 4"),
        (conv(|conv| conv.kernel.layout = KernelLayout::Blocks { rows: 4 }), "4 does not divide 6"),
        (conv(|conv| conv.kernel.layout = KernelLayout::Blocks { rows: 0 }), "a size of 0"),
        (conv(|conv| conv.kernel.data = Operand::Weight(WeightId(50))), "there is no weight50"),
        (conv(|conv| conv.epilogue.scale = Some(WeightId(0))), "scale has 6 elements, but weight `weight0` has 4"),
        (conv(|conv| conv.stride = [1, 1, 2]), "dimension 2: the windows give an output of 3, not 6"),
        (conv(|conv| conv.epilogue.add = Some(BufferId(0))), "addend has 36 elements, but its buffer0 has 24"),
        (
            refusal(|program| {
                let input = program.buffers[0];
                program.buffers.to_mut()[4] = Buffer { offset: input.offset + 16, length: 36 };
            }),
            "input (buffer0) overlaps the output",
        ),
        (
            step(10, |op| {
                if let Op::GatherRows(op) = op {
                    op.rows.to_mut()[2] = 6;
                }
            }),
            "row 6 of an input of 6 rows",
        ),
        (
            step(1, |op| {
                if let Op::Attention(op) = op {
                    op.temperature = Some(Temperature { t: 0.5, beta: vec![0, 4].into() });
                }
            }),
            "beta names cell 4",
        ),
        (
            step(1, |op| {
                if let Op::Attention(op) = op {
                    op.temperature = Some(Temperature { t: f32::NAN, beta: vec![0, 0].into() });
                }
            }),
            "temperature NaN is not between 0 and 1",
        ),
        (
            step(1, |op| {
                if let Op::Attention(op) = op {
                    op.fc2_bias = op.fc1_bias;
                }
            }),
            "fc2 has a bias beside a basis",
        ),
    ];
    for (message, expected) in cases {
        assert!(message.contains(expected), "`{message}` does not say `{expected}`");
    }
}

#[test]
fn wrong_weights_threads_and_sizes_are_refused() {
    let (program, values) = everything();
    let model = |weights: usize, threads: usize| {
        Model::new(program.clone(), Weights::zeroed(weights).unwrap(), &Options { threads: Some(threads) })
    };
    let (expected, found) = (values.len(), values.len() - 1);
    assert_eq!(model(found, 1).unwrap_err(), Error::WeightCount { expected, found });
    for threads in [0, 100_000] {
        assert!(matches!(model(expected, threads), Err(Error::Threads { .. })));
    }
    assert!(matches!(Weights::zeroed(usize::MAX), Err(Error::Memory { .. })));
    assert!(matches!(Weights::zeroed(usize::MAX / 8), Err(Error::Memory { .. })));
    // An arena that fits for no batch, and one that fits until its batch makes it overflow.
    for (arena, batch) in [(usize::MAX / 8, 1), (1 << 20, usize::MAX >> 10)] {
        let mut large = program.clone();
        large.arena = arena;
        let mut model = load(large, &values, 1).unwrap();
        let refused = model.run(batch, &[&[0.0; 24]]).unwrap_err();
        assert!(matches!(refused, Error::Memory { .. }), "{refused}");
        assert_eq!(model.output(0).len(), 0);
    }
}
