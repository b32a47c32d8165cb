//! Operations that only move values, and what a model keeps between runs.

use kwc_runtime::Error;
use kwc_runtime::program::{BufferId, Concat, ConcatPart, Export, GatherRows, Import, Op, Upsample, WeightId};

use super::{Assembly, Random, place, positions, volume};

/// Runs an import and compares.
fn check_import(random: &mut Random, (batch, channels): (usize, usize), input_size: [usize; 3], padding: [usize; 3]) {
    let padded: [usize; 3] = std::array::from_fn(|d| input_size[d] + 2 * padding[d]);
    let plane = volume(input_size);
    let mut assembly = Assembly::default();
    // The output is an input, too, so that it holds something before.
    let (input, output) = (assembly.input(channels * plane), assembly.input(channels * volume(padded)));
    assembly.step(Op::Import(Import { input, output, channels, input_size, padding }));
    let values = random.values(batch * channels * plane);
    let mut expected = Vec::new();
    for map in values.chunks_exact(channels * plane) {
        for at in positions(padded) {
            let from = place(std::array::from_fn(|d| at[d].checked_sub(padding[d])), input_size);
            expected.extend((0..channels).map(|c| from.map_or(0.0, |position| map[c * plane + position])));
        }
    }
    let before = vec![f32::NAN; expected.len()];
    let actual = assembly.run(output, batch, &[&values, &before]);
    assert!(actual == expected, "{:?}", (batch, channels, input_size, padding));
}

#[test]
fn imports_put_channels_last_and_zeros_around() {
    let mut random = Random(0x19);
    for round in 0..150 {
        let sizes = (random.between(1, 3), random.pick(&[1, 2, 3, 4, 5, 8, 13, 16, 40]));
        let size = std::array::from_fn(|_| random.between(1, 20));
        let padding = std::array::from_fn(|_| if round % 3 == 0 { 0 } else { random.between(0, 3) });
        check_import(&mut random, sizes, size, padding);
    }
    for padding in [[0; 3], [0, 3, 3], [0, 0, 2], [0, 2, 0]] {
        check_import(&mut random, (2, 3), [1, 90, 110], padding);
        check_import(&mut random, (1, 70), [1, 31, 33], padding);
    }
}

#[test]
fn exports_put_channels_first() {
    let mut random = Random(0xe4);
    for round in 0..150 {
        let (batch, channels) = (random.between(1, 3), random.between(1, 70));
        let positions = if round % 30 == 0 { 3000 } else { random.pick(&[1, 2, 3, 4, 7, 8, 49, 100]) };
        let mut assembly = Assembly::default();
        let (input, output) = (assembly.input(channels * positions), assembly.buffer(channels * positions));
        assembly.step(Op::Export(Export { input, output, channels, positions }));
        let values = random.values(batch * channels * positions);
        let mut expected = Vec::new();
        for map in values.chunks_exact(channels * positions) {
            for channel in 0..channels {
                expected.extend((0..positions).map(|position| map[position * channels + channel]));
            }
        }
        assert!(assembly.run(output, batch, &[&values]) == expected, "{:?}", (batch, channels, positions));
    }
}

#[test]
fn concatenation_joins_channels_in_order() {
    let mut random = Random(0xca7);
    for round in 0..40 {
        let (batch, positions) = (random.between(1, 3), if round % 10 == 0 { 4000 } else { random.between(1, 9) });
        let parts: Vec<usize> = (0..random.between(1, 4)).map(|_| random.between(1, 5)).collect();
        let mut assembly = Assembly::default();
        let part = |&channels| ConcatPart { buffer: assembly.input(channels * positions), channels };
        let inputs: Vec<_> = parts.iter().map(part).collect();
        let output = assembly.buffer(parts.iter().sum::<usize>() * positions);
        assembly.step(Op::Concat(Concat { inputs: inputs.into(), output, positions }));
        let values: Vec<_> = parts.iter().map(|channels| random.values(batch * channels * positions)).collect();
        let slices: Vec<_> = values.iter().map(Vec::as_slice).collect();
        let mut expected = Vec::new();
        for position in 0..batch * positions {
            for (values, channels) in values.iter().zip(&parts) {
                expected.extend_from_slice(&values[position * channels..(position + 1) * channels]);
            }
        }
        assert!(assembly.run(output, batch, &slices) == expected, "{batch} {positions} {parts:?}");
    }
}

#[test]
fn upsampling_repeats_the_nearest() {
    let mut random = Random(0x0b);
    for round in 0..40 {
        let (batch, channels) = (random.between(1, 2), random.between(1, 3));
        let most = if round % 10 == 0 { 20 } else { 4 };
        let input_size: [usize; 3] = std::array::from_fn(|_| random.between(1, most));
        let factor: [usize; 3] = std::array::from_fn(|_| random.between(1, 3));
        let out: [usize; 3] = std::array::from_fn(|d| input_size[d] * factor[d]);
        let mut assembly = Assembly::default();
        let (input, output) = (assembly.input(channels * volume(input_size)), assembly.buffer(channels * volume(out)));
        assembly.step(Op::Upsample(Upsample { input, output, channels, input_size, factor }));
        let values = random.values(batch * channels * volume(input_size));
        let mut expected = Vec::new();
        for map in values.chunks_exact(channels * volume(input_size)) {
            for at in positions(out) {
                let from = place(std::array::from_fn(|d| Some(at[d] / factor[d])), input_size).unwrap();
                expected.extend_from_slice(&map[from * channels..(from + 1) * channels]);
            }
        }
        assert!(assembly.run(output, batch, &[&values]) == expected, "{batch} {channels} {input_size:?} {factor:?}");
    }
}

#[test]
fn rows_are_gathered_in_the_order_asked_for() {
    let mut assembly = Assembly::default();
    let (input, output) = (assembly.input(6), assembly.buffer(8));
    assembly.step(Op::GatherRows(GatherRows { input, output, rows: vec![2, 0, 1, 2].into(), width: 2 }));
    let values = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0];
    let expected = [4.0, 5.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 14.0, 15.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0];
    assert_eq!(assembly.run(output, 2, &[&values]), expected);
}

/// `output = [input, input]`, with a dump of the input's buffer.
fn doubling() -> (Assembly, BufferId) {
    let mut assembly = Assembly::default();
    let (input, output) = (assembly.input(3), assembly.buffer(6));
    assembly.weight(&[7.0, 8.0]);
    // One position of three channels, so that both halves are the input.
    let inputs = vec![ConcatPart { buffer: input, channels: 3 }; 2].into();
    assembly.step(Op::Concat(Concat { inputs, output, positions: 1 }));
    (assembly, output)
}

#[test]
fn a_model_serves_batches_of_any_size_one_after_the_other() {
    let (assembly, output) = doubling();
    let mut model = assembly.model(output, 2).unwrap();
    assert_eq!((model.output(0).len(), model.batch()), (0, 0));
    for batch in [2, 5, 1, 3] {
        let values: Vec<f32> = (0..3 * batch).map(|value| f32::from(u8::try_from(value).unwrap())).collect();
        model.run(batch, &[&values]).unwrap();
        let expected: Vec<f32> = values.chunks_exact(3).flat_map(|sample| [sample, sample].concat()).collect();
        assert_eq!(model.output(0), expected);
        assert_eq!(model.buffer(BufferId(0)), values);
        assert_eq!(model.batch(), batch);
    }
    assert_eq!((model.output(1).len(), model.dump(0).len(), model.buffer(BufferId(9)).len()), (0, 0, 0));
}

#[test]
fn weights_can_be_read_and_changed() {
    let (assembly, output) = doubling();
    let mut model = assembly.model(output, 1).unwrap();
    assert_eq!(model.weight(WeightId(0)), [7.0, 8.0]);
    model.weight_mut(WeightId(0))[1] = 9.0;
    assert_eq!(model.weight(WeightId(0)), [7.0, 9.0]);
    assert_eq!((model.weight(WeightId(1)).len(), model.weight_mut(WeightId(1)).len()), (0, 0));
}

#[test]
fn wrong_inputs_are_refused_and_the_model_goes_on() {
    let (assembly, output) = doubling();
    let mut model = assembly.model(output, 1).unwrap();
    assert!(matches!(model.step(0), Err(Error::Order { .. })));
    assert_eq!(model.run(0, &[&[]]), Err(Error::EmptyBatch));
    assert_eq!(model.run(1, &[]), Err(Error::InputCount { expected: 1, found: 0 }));
    let message = model.run(2, &[&[1.0, 2.0, 3.0, 4.0]]).unwrap_err().to_string();
    assert_eq!(message, "input `input0` needs 6 values (2 samples of shape [3]), but 4 were given");
    model.run(1, &[&[1.0, 2.0, 3.0]]).unwrap();
    assert_eq!(model.output(0), [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]);
    assert!(matches!(model.step(1), Err(Error::Order { index: 1, .. })));
}

#[test]
fn weights_start_at_a_cache_line() {
    for elements in [0, 1, 5, 1000, 100_000] {
        let weights = kwc_runtime::Weights::zeroed(elements).unwrap();
        assert_eq!(weights.as_ptr().align_offset(64), 0);
        assert!(weights.len() == elements && weights.iter().all(|&value| value == 0.0));
    }
}
