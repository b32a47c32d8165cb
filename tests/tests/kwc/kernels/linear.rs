//! Linear maps of vectors, tokens and maps, and the mixing of cells.

use kwc_runtime::program::{Kernel, KernelLayout, Linear, Mix, Op, Operand};

use super::{Assembly, Finish, Random, assert_close};

fn check(random: &mut Random, (batch, ins, outs, positions): (usize, usize, usize, usize)) {
    let channels_last = random.yes();
    let rows: Vec<_> = (1..=outs).filter(|rows| outs.is_multiple_of(*rows)).collect();
    let layout = if random.yes() { KernelLayout::Rows } else { KernelLayout::Blocks { rows: random.pick(&rows) } };
    let shared = random.yes();
    let mut assembly = Assembly::default();
    let input = assembly.input(ins * positions);
    let kernels = random.values(if shared { 1 } else { batch } * outs * ins);
    let data =
        if shared { Operand::Weight(assembly.weight(&kernels)) } else { Operand::Buffer(assembly.input(outs * ins)) };
    let (finish, output) = Finish::random(random, &mut assembly, (outs, outs * positions, batch));
    assembly.step(Op::Linear(Linear {
        input,
        output,
        kernel: Kernel { data, layout },
        in_channels: ins,
        out_channels: outs,
        positions,
        channels_last,
        epilogue: finish.epilogue,
    }));
    let values = random.values(batch * ins * positions);
    let mut inputs = finish.inputs(&values);
    if !shared {
        inputs.insert(1, &kernels);
    }
    let actual = assembly.run(output, batch, &inputs);

    let place = |channels: usize, channel: usize, position: usize| {
        if channels_last { position * channels + channel } else { channel * positions + position }
    };
    let mut expected = vec![f64::NAN; batch * outs * positions];
    for sample in 0..batch {
        let kernel = &kernels[if shared { 0 } else { sample } * outs * ins..];
        for out in 0..outs {
            for position in 0..positions {
                let term = |channel: usize| {
                    let weight = match layout {
                        KernelLayout::Rows => out * ins + channel,
                        KernelLayout::Blocks { rows } => out / rows * ins * rows + channel * rows + out % rows,
                    };
                    let value = values[sample * ins * positions + place(ins, channel, position)];
                    f64::from(kernel[weight]) * f64::from(value)
                };
                let index = sample * outs * positions + place(outs, out, position);
                expected[index] = finish.reference((0..ins).map(term).sum(), out, index);
            }
        }
    }
    let case = (batch, ins, outs, positions, channels_last, layout, shared, &finish.epilogue);
    assert_close(&actual, &expected, 2e-6, &case);
}

#[test]
fn linear_maps_follow_the_definition() {
    let mut random = Random(0x11e);
    for _ in 0..150 {
        let sizes =
            (random.between(1, 6), random.between(1, 40), random.between(1, 40), random.pick(&[1, 1, 2, 3, 17, 50]));
        check(&mut random, sizes);
    }
}

#[test]
fn large_linear_maps_follow_the_definition() {
    let mut random = Random(0x1a59e);
    for sizes in [(1, 700, 150, 1), (5, 530, 130, 1), (2, 300, 130, 30), (1, 40, 600, 120), (1, 260, 10, 1100)] {
        for _ in 0..4 {
            check(&mut random, sizes);
        }
    }
}

#[test]
fn mixing_is_a_product_for_few_mixtures_and_for_many() {
    let mut random = Random(0x313);
    for (batch, mixtures, cells, cell) in
        [(1, 1, 1, 17), (1, 3, 7, 1100), (2, 5, 8, 530), (1, 16, 2, 40), (3, 7, 10, 600), (1, 40, 300, 70)]
    {
        let mut assembly = Assembly::default();
        let (attention, output) = (assembly.input(mixtures * cells), assembly.buffer(mixtures * cell));
        let (alpha, values) = (random.values(batch * mixtures * cells), random.values(cells * cell));
        let warehouse = assembly.weight(&values);
        assembly.step(Op::Mix(Mix { attention, warehouse, output, mixtures, cells, cell }));
        let actual = assembly.run(output, batch, &[&alpha]);
        let mut expected = Vec::new();
        for alpha in alpha.chunks_exact(cells) {
            for element in 0..cell {
                let term = |(j, &a): (usize, &f32)| f64::from(a) * f64::from(values[j * cell + element]);
                expected.push(alpha.iter().enumerate().map(term).sum());
            }
        }
        assert_close(&actual, &expected, 2e-6, &(batch, mixtures, cells, cell));
    }
}
