//! What is said of Programs, weights, threads and sizes that are refused.

use kwc_runtime::cpu::{Model, Options};
use kwc_runtime::program::{
    Attention, Basis, Buffer, BufferId, Conv, Import, Mixing, Op, Program, Source, Temperature, WeightId,
};
use kwc_runtime::{Error, Weights};

use super::load;
use super::malformed::{everything, step};

/// The message that refuses a Program.
fn refusal(change: impl FnOnce(&mut Program)) -> String {
    let (mut program, values) = everything();
    change(&mut program);
    load(program, &values, 1).unwrap_err().to_string()
}

/// The same, where one step is changed.
fn of_step(index: usize, change: impl FnOnce(&mut Op)) -> String {
    refusal(|program| change(&mut program.steps.to_mut()[index].op))
}

fn of_conv(index: usize, change: impl FnOnce(&mut Conv)) -> String {
    of_step(index, |op| {
        if let Op::Conv(op) = op {
            change(op);
        }
    })
}

fn of_mixing(index: usize, change: impl FnOnce(&mut Mixing)) -> String {
    of_conv(index, |op| {
        if let Source::Mixed(mixing) = &mut op.kernel.source {
            change(mixing);
        }
    })
}

fn of_attention(index: usize, change: impl FnOnce(&mut Attention)) -> String {
    of_step(index, |op| {
        if let Op::Attention(op) = op {
            change(op);
        }
    })
}

fn of_basis(index: usize, change: impl FnOnce(&mut Basis)) -> String {
    of_attention(index, |op| {
        if let Some(basis) = &mut op.basis {
            change(basis);
        }
    })
}

fn all_say(cases: impl IntoIterator<Item = (String, &'static str)>) {
    for (message, expected) in cases {
        assert!(message.contains(expected), "`{message}` does not say `{expected}`");
    }
}

#[test]
fn tables_that_contradict_each_other_are_refused() {
    all_say([
        (refusal(|program| program.format = 7), "the program has format 7, this runtime reads format 2"),
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
            "output `output` has shape [5], but its buffer13 has 72 elements",
        ),
        (refusal(|program| program.inputs.to_mut()[0].buffer = BufferId(77)), "input `input0`: there is no buffer77"),
    ]);
}

#[test]
fn operations_of_wrong_sizes_are_refused() {
    let import = |change: fn(&mut Import)| {
        of_step(step::IMPORT, |op| {
            if let Op::Import(op) = op {
                change(op);
            }
        })
    };
    all_say([
        (
            import(|op| op.padding = [0, 0, 2]),
            "step 0 (layer `layer0`): output has 40 elements, but its buffer1 has 32",
        ),
        (import(|op| op.padding = [0, usize::MAX, 1]), "dimension 1: too much padding"),
        (import(|op| op.output = op.input), "output has 32 elements, but its buffer0 has 24"),
        (
            of_step(step::POOL, |op| {
                if let Op::Pool(op) = op {
                    op.padding = [0, 0, 3];
                }
            }),
            "dimension 2: a window lies outside the input",
        ),
        (
            of_step(step::GATHER, |op| {
                if let Op::GatherRows(op) = op {
                    op.rows.to_mut()[2] = 6;
                }
            }),
            "row 6 of an input of 6 rows",
        ),
        (
            of_step(step::GATHER, |op| {
                if let Op::GatherRows(op) = op {
                    op.output = op.input;
                }
            }),
            "input (buffer11) overlaps the output",
        ),
    ]);
}

#[test]
fn convolutions_that_contradict_themselves_are_refused() {
    let conv = |change: fn(&mut Conv)| of_conv(step::CONV, change);
    let grouped = |change: fn(&mut Conv)| of_conv(step::GROUPED, change);
    all_say([
        (conv(|op| op.groups = 3), "step 3 (layer `layer3`): input channels in groups: 3 does not divide 4"),
        (conv(|op| op.groups = 4), "output channels in groups: 4 does not divide 6"),
        (conv(|op| op.groups = 0), "the group count has a size of 0"),
        (conv(|op| op.kernel.width = 8), "panels of the kernel are 8 wide, not 32 or 16"),
        (conv(|op| op.kernel.block = 0), "a block of the kernel has a size of 0"),
        (conv(|op| op.kernel.block = 4), "output channels in blocks: 4 does not divide 6"),
        (grouped(|op| op.kernel.block = 6), "output channels of a group in blocks: 6 does not divide 3"),
        // A panel for each channel rather than for three.
        (grouped(|op| op.kernel.block = 1), "kernel has 576 elements, but weight `weight4` has 192"),
        (grouped(|op| op.kernel.width = 16), "kernel has 96 elements, but weight `weight4` has 192"),
        (grouped(|op| op.kernel.source = Source::Weight(WeightId(50))), "there is no weight50"),
        (grouped(|op| op.epilogue.scale = Some(WeightId(4))), "scale has 6 elements, but weight `weight4` has 192"),
        (grouped(|op| op.epilogue.add = Some(BufferId(0))), "addend has 36 elements, but its buffer0 has 24"),
        (conv(|op| op.stride = [1, 1, 2]), "dimension 2: the windows give an output of 3, not 6"),
        (conv(|op| op.kernel_size = [1, 1, 0]), "kernel has a size of 0"),
        (conv(|op| op.dilation = [1, 1, 9]), "dimension 2: the windows give no output, not 6"),
        (
            refusal(|program| {
                let input = program.buffers[1];
                program.buffers.to_mut()[4] = Buffer { offset: input.offset + 16, length: 36 };
            }),
            "input (buffer1) overlaps the output",
        ),
        (
            refusal(|program| {
                let output = program.buffers[8];
                program.buffers.to_mut()[4] = Buffer { offset: output.offset + 16, length: 36 };
            }),
            "addend (buffer4) overlaps the output, but is not in its place",
        ),
    ]);
}

#[test]
fn averages_have_a_place_of_their_own() {
    // The first convolution's, in the place of another operand.
    let average_at =
        |other: usize| refusal(|program| program.buffers.to_mut()[5].offset = program.buffers[other].offset);
    all_say([
        (of_conv(step::CONV, |op| op.average = Some(BufferId(2))), "average has 6 elements, but its buffer2 has 4"),
        (average_at(1), "average (buffer5) overlaps the input"),
        (average_at(3), "average (buffer5) overlaps the attention"),
        (average_at(4), "average (buffer5) overlaps the output"),
        // Input and addend of the last convolution.
        (of_conv(step::GROUPED, |op| op.average = Some(BufferId(4))), "average has 6 elements, but its buffer4 has 36"),
        (
            refusal(|program| {
                // In the middle of what is added.
                program.buffers.to_mut()[5].offset = program.buffers[4].offset + 16;
                program.steps.to_mut().swap(0, step::GROUPED);
                if let Op::Conv(op) = &mut program.steps.to_mut()[0].op {
                    op.average = Some(BufferId(5));
                }
            }),
            "step 0 (layer `layer6`): average (buffer5) overlaps the addend",
        ),
    ]);
}

#[test]
fn cells_that_do_not_make_up_the_kernel_are_refused() {
    let mixing = |change: fn(&mut Mixing)| of_mixing(step::CONV, change);
    let depthwise = |change: fn(&mut Mixing)| of_mixing(step::DEPTHWISE, change);
    all_say([
        (mixing(|mixing| mixing.grid = [2, 1, 0]), "the grid of mixtures has a size of 0"),
        (mixing(|mixing| mixing.grid = [3, 1, 1]), "3 cells of 3 output channels do not make up the kernel's 6"),
        (mixing(|mixing| mixing.cell_in = 2), "1 cells of 2 input channels of a group do not make up the kernel's 4"),
        (mixing(|mixing| mixing.cell_spatial = 2), "1 cells of 2 positions do not make up the kernel's 3"),
        (mixing(|mixing| mixing.cell_spatial = 0), "a cell has a size of 0"),
        (mixing(|mixing| mixing.cell_out = 4), "output channels of a cell in blocks: 3 does not divide 4"),
        (mixing(|mixing| mixing.cells = 0), "the cells of the warehouse has a size of 0"),
        (mixing(|mixing| mixing.cells = 4), "attention has 8 elements, but its buffer3 has 6"),
        (mixing(|mixing| mixing.attention = BufferId(4)), "attention has 6 elements, but its buffer4 has 36"),
        (mixing(|mixing| mixing.warehouse = WeightId(2)), "warehouse has 576 elements, but weight `weight2` has 48"),
        // One more column of the attention.
        (mixing(|mixing| mixing.constants = Some(WeightId(3))), "attention has 8 elements, but its buffer3 has 6"),
        (
            depthwise(|mixing| mixing.constants = Some(WeightId(2))),
            "constants has 96 elements, but weight `weight2` has 48",
        ),
        (
            refusal(|program| {
                let output = program.buffers[4];
                program.buffers.to_mut()[3].offset = output.offset;
            }),
            "attention (buffer3) overlaps the output",
        ),
        // Four positions in two cells of two.
        (
            of_conv(step::CONV, |op| {
                op.kernel_size = [1, 1, 4];
                if let Source::Mixed(mixing) = &mut op.kernel.source {
                    (mixing.grid, mixing.cell_spatial) = ([2, 2, 1], 2);
                }
            }),
            "2 cells in space have 2 positions each, not one",
        ),
    ]);
}

#[test]
fn attentions_that_contradict_themselves_are_refused() {
    let attention = |change: fn(&mut Attention)| of_attention(step::ATTENTION, change);
    let folded = |change: fn(&mut Basis)| of_basis(step::FOLDED, change);
    let temperature = |t: f32, beta: &'static [u32]| {
        of_attention(step::ATTENTION, |op| op.temperature = Some(Temperature { t, beta: beta.into() }))
    };
    all_say([
        (temperature(0.5, &[0, 4]), "beta names cell 4 of 3 and the null cell"),
        (temperature(0.5, &[0]), "beta has 1 entries for 2 mixtures"),
        (temperature(f32::NAN, &[0, 0]), "temperature NaN is not between 0 and 1"),
        (attention(|op| op.fc2_bias = op.fc1_bias), "fc2 has a bias beside a basis"),
        // 33 hidden units are two panels of four rows each.
        (attention(|op| op.hidden = 33), "fc1 has 256 elements, but weight `weight6` has 128"),
        (attention(|op| op.mixtures = 0), "the mixtures has a size of 0"),
        (attention(|op| op.average = BufferId(4)), "average has 4 elements, but its buffer4 has 36"),
        (attention(|op| op.output = BufferId(2)), "output has 6 elements, but its buffer2 has 4"),
        (of_basis(step::ATTENTION, |basis| basis.start_cell = 2), "2 local cells from 2 exceed the 3 cells"),
        (of_basis(step::ATTENTION, |basis| basis.is_folded = true), "output has 8 elements, but its buffer3 has 6"),
        (folded(|basis| basis.is_folded = false), "output has 30 elements, but its buffer6 has 24"),
        (folded(|basis| basis.fc3 = WeightId(0)), "fc3 has 32 elements, but weight `weight0` has 6"),
        (folded(|basis| basis.bias = WeightId(0)), "bias of the basis has 36 elements, but weight `weight0` has 6"),
        (
            of_attention(step::FOLDED, |op| op.temperature = Some(Temperature { t: 0.5, beta: vec![0; 6].into() })),
            "a temperature beside a folded basis",
        ),
    ]);
}

#[test]
fn wrong_weights_threads_and_sizes_are_refused() {
    let (program, values) = everything();
    let model = |weights: usize, threads: usize| {
        let options = Options { threads: Some(threads), ..Options::default() };
        Model::new(program.clone(), Weights::zeroed(weights).unwrap(), &options)
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
