//! Operations that only move values, and what a model keeps between runs.

use kwc_runtime::Error;
use kwc_runtime::program::{BufferId, Concat, ConcatPart, GatherRows, Op, Upsample, WeightId};

use super::{Assembly, Random};

#[test]
fn concatenation_joins_channels_in_order() {
    let mut random = Random(0xca7);
    for _ in 0..40 {
        let (batch, positions, channels_last) = (random.between(1, 3), random.between(1, 9), random.yes());
        let parts: Vec<usize> = (0..random.between(1, 4)).map(|_| random.between(1, 5)).collect();
        let mut assembly = Assembly::default();
        let part = |&channels| ConcatPart { buffer: assembly.input(channels * positions), channels };
        let inputs: Vec<_> = parts.iter().map(part).collect();
        let channels = parts.iter().sum::<usize>();
        let output = assembly.buffer(channels * positions);
        assembly.step(Op::Concat(Concat { inputs: inputs.into(), output, positions, channels_last }));
        let values: Vec<_> = parts.iter().map(|channels| random.values(batch * channels * positions)).collect();
        let slices: Vec<_> = values.iter().map(Vec::as_slice).collect();
        let actual = assembly.run(output, batch, &slices);
        for sample in 0..batch {
            let mut channel = 0;
            for (values, &count) in values.iter().zip(&parts) {
                for inner in 0..count {
                    for position in 0..positions {
                        let place = |channels: usize, channel: usize| {
                            sample * channels * positions
                                + if channels_last {
                                    position * channels + channel
                                } else {
                                    channel * positions + position
                                }
                        };
                        assert_eq!(actual[place(channels, channel + inner)], values[place(count, inner)]);
                    }
                }
                channel += count;
            }
        }
    }
}

#[test]
fn upsampling_repeats_the_nearest() {
    let mut random = Random(0x0b);
    for _ in 0..40 {
        let (batch, channels) = (random.between(1, 2), random.between(1, 3));
        let size: [usize; 3] = std::array::from_fn(|_| random.between(1, 4));
        let factor: [usize; 3] = std::array::from_fn(|_| random.between(1, 3));
        let out: [usize; 3] = std::array::from_fn(|d| size[d] * factor[d]);
        let plane = size.iter().product::<usize>();
        let mut assembly = Assembly::default();
        let (input, output) =
            (assembly.input(channels * plane), assembly.buffer(channels * out.iter().product::<usize>()));
        assembly.step(Op::Upsample(Upsample { input, output, channels, input_size: size, factor }));
        let values = random.values(batch * channels * plane);
        let mut expected = Vec::new();
        for plane in values.chunks_exact(plane) {
            for z in 0..out[0] {
                for y in 0..out[1] {
                    let row = (z / factor[0] * size[1] + y / factor[1]) * size[2];
                    expected.extend((0..out[2]).map(|x| plane[row + x / factor[2]]));
                }
            }
        }
        assert_eq!(assembly.run(output, batch, &[&values]), expected, "{size:?} {factor:?}");
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
    let inputs = vec![ConcatPart { buffer: input, channels: 1 }; 2].into();
    assembly.step(Op::Concat(Concat { inputs, output, positions: 3, channels_last: false }));
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
