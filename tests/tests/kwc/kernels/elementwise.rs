//! Maps, norms and averages.

use kwc_runtime::program::{Activation, Epilogue, GlobalAverage, LayerNorm, Map, Op, Pool, PoolKind};

use super::{ACTIVATIONS, Assembly, Random, activate, assert_close};

/// Channel of an element of one sample.
fn channel(index: usize, channels: usize, positions: usize, channels_last: bool) -> usize {
    if channels_last { index % channels } else { index / positions }
}

#[test]
fn maps_follow_the_definition_in_place_and_out_of_place() {
    let mut random = Random(0x3a9);
    for round in 0..120 {
        let (batch, channels) = (random.between(1, 3), random.between(1, 20));
        let positions = if round % 40 == 0 { 20_000 } else { random.between(1, 40) };
        let (channels_last, length) = (random.yes(), channels * positions);
        let (scale, shift) = (random.values(channels), random.values(channels));
        let (values, addend) = (random.values(batch * length), random.values(batch * length));
        let mut assembly = Assembly::default();
        let input = assembly.input(length);
        let output = if random.yes() { input } else { assembly.buffer(length) };
        // Nothing, the input (which may be the output's place), another buffer.
        let add = match random.between(0, 2) {
            0 => None,
            1 => Some(input),
            _ => Some(assembly.input(length)),
        };
        let inputs: &[&[f32]] = if assembly.inputs.len() == 2 { &[&values, &addend] } else { &[&values] };
        let epilogue = Epilogue {
            scale: random.yes().then(|| assembly.weight(&scale)),
            shift: random.yes().then(|| assembly.weight(&shift)),
            add,
            activation: random.pick(&ACTIVATIONS),
        };
        assembly.step(Op::Map(Map { input, output, channels, positions, channels_last, epilogue }));
        let actual = assembly.run(output, batch, inputs);
        let reference = |index: usize| {
            let channel = channel(index % length, channels, positions, channels_last);
            let scale = if epilogue.scale.is_some() { f64::from(scale[channel]) } else { 1.0 };
            let shift = if epilogue.shift.is_some() { f64::from(shift[channel]) } else { 0.0 };
            let add = match epilogue.add {
                None => 0.0,
                Some(id) if id == input => f64::from(values[index]),
                Some(_) => f64::from(addend[index]),
            };
            activate(epilogue.activation, scale * f64::from(values[index]) + shift + add)
        };
        let expected: Vec<_> = (0..batch * length).map(reference).collect();
        assert_close(&actual, &expected, 1e-6, &(batch, channels, positions, channels_last, epilogue, output == input));
    }
}

#[test]
fn activations_are_exact_far_from_zero_and_near_it() {
    let mut values: Vec<f32> = (-4000..=4000_i16).map(|step| f32::from(step) / 500.0).collect();
    values.extend([
        0.0, -0.0, 1e-30, -1e-30, 1e-5, -1e-5, 5.99, 6.01, 12.0, -12.0, 40.0, -40.0, 86.9, -86.9, 300.0, -300.0,
    ]);
    for activation in ACTIVATIONS {
        let mut assembly = Assembly::default();
        let (input, output) = (assembly.input(values.len()), assembly.buffer(values.len()));
        let epilogue = Epilogue { activation, ..Epilogue::NONE };
        let (channels, positions) = (1, values.len());
        assembly.step(Op::Map(Map { input, output, channels, positions, channels_last: false, epilogue }));
        let actual = assembly.run(output, 1, &[&values]);
        for (&x, &y) in values.iter().zip(&actual) {
            let expected = activate(activation, f64::from(x));
            // Relative to the argument, so that small results are right too.
            let scale = expected.abs().max(f64::from(x).abs()).max(1e-36);
            assert!((f64::from(y) - expected).abs() <= 4e-7 * scale, "{activation:?}({x}) is {y}, not {expected}");
        }
    }
}

#[test]
fn activations_keep_what_is_no_number_and_survive_the_extremes() {
    let values = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN];
    let expected = [
        (Activation::Identity, [f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN]),
        (Activation::Relu, [f32::INFINITY, 0.0, f32::MAX, 0.0]),
        (Activation::Relu6, [6.0, 0.0, 6.0, 0.0]),
        (Activation::Sigmoid, [1.0, 0.0, 1.0, 0.0]),
        (Activation::Silu, [f32::INFINITY, 0.0, f32::MAX, 0.0]),
    ];
    for (activation, expected) in expected {
        let mut assembly = Assembly::default();
        let (input, output) = (assembly.input(5), assembly.buffer(5));
        let epilogue = Epilogue { activation, ..Epilogue::NONE };
        assembly.step(Op::Map(Map { input, output, channels: 1, positions: 5, channels_last: false, epilogue }));
        let mut model = assembly.model(output, 1).unwrap();
        model.run(1, &[&values]).unwrap();
        assert!(model.output(0)[0].is_nan(), "{activation:?}");
        assert_eq!(model.output(0)[1..], expected, "{activation:?}");
    }
}

#[test]
fn layer_norm_follows_the_definition() {
    let mut random = Random(0x106);
    for _ in 0..120 {
        let (batch, channels) = (random.between(1, 3), random.between(1, 50));
        let (positions, channels_last) = (random.between(1, 150), random.yes());
        let length = channels * positions;
        let (weight, bias) = (random.values(channels), random.values(channels));
        // Values that vary little around a large mean: statistics in single precision would not do.
        let values: Vec<f32> = random.values(batch * length).iter().map(|value| 20.0 + value * 0.05).collect();
        let mut assembly = Assembly::default();
        let input = assembly.input(length);
        let output = if random.yes() { input } else { assembly.buffer(length) };
        let (epsilon, activation) = (1e-6, random.pick(&ACTIVATIONS));
        let (weight_id, bias_id) = (assembly.weight(&weight), assembly.weight(&bias));
        assembly.step(Op::LayerNorm(LayerNorm {
            input,
            output,
            channels,
            positions,
            channels_last,
            weight: weight_id,
            bias: bias_id,
            epsilon,
            activation,
        }));
        let actual = assembly.run(output, batch, &[&values]);
        let place = |sample: usize, channel: usize, position: usize| {
            let inner = if channels_last { position * channels + channel } else { channel * positions + position };
            sample * length + inner
        };
        let mut expected = vec![f64::NAN; batch * length];
        for sample in 0..batch {
            for position in 0..positions {
                let value = |channel: usize| f64::from(values[place(sample, channel, position)]);
                let count = f64::from(u32::try_from(channels).unwrap());
                let mean = (0..channels).map(value).sum::<f64>() / count;
                let variance = (0..channels).map(|channel| (value(channel) - mean).powi(2)).sum::<f64>() / count;
                for channel in 0..channels {
                    let normed = (value(channel) - mean) / (variance + f64::from(epsilon)).sqrt();
                    let y = normed * f64::from(weight[channel]) + f64::from(bias[channel]);
                    expected[place(sample, channel, position)] = activate(activation, y);
                }
            }
        }
        assert_close(
            &actual,
            &expected,
            1e-6,
            &(batch, channels, positions, channels_last, activation, output == input),
        );
    }
}

#[test]
fn global_averages_follow_the_definition() {
    let mut random = Random(0x6a);
    for round in 0..80 {
        let (batch, channels, channels_last) = (random.between(1, 3), random.between(1, 150), random.yes());
        let positions = if round % 20 == 0 { 3000 } else { random.between(1, 60) };
        let length = channels * positions;
        let values = random.values(batch * length);
        let mut assembly = Assembly::default();
        let (input, output) = (assembly.input(length), assembly.buffer(channels));
        assembly.step(Op::GlobalAverage(GlobalAverage { input, output, channels, positions, channels_last }));
        let actual = assembly.run(output, batch, &[&values]);
        let mut expected = vec![0.0; batch * channels];
        for (index, &value) in values.iter().enumerate() {
            let channel = channel(index % length, channels, positions, channels_last);
            let count = f64::from(u32::try_from(positions).unwrap());
            expected[index / length * channels + channel] += f64::from(value) / count;
        }
        assert_close(&actual, &expected, 1e-6, &(batch, channels, positions, channels_last));
    }
}

#[test]
fn pools_follow_the_definition() {
    let mut random = Random(0x9001);
    for _ in 0..200 {
        let (batch, channels) = (random.between(1, 3), random.between(1, 5));
        let kernel: [usize; 3] = std::array::from_fn(|_| random.between(1, 4));
        let padding: [usize; 3] = std::array::from_fn(|d| random.between(0, kernel[d] / 2));
        let stride: [usize; 3] = std::array::from_fn(|_| random.between(1, 3));
        let size: [usize; 3] = std::array::from_fn(|d| kernel[d] + random.between(0, 6));
        let out: [usize; 3] = std::array::from_fn(|d| (size[d] + 2 * padding[d] - kernel[d]) / stride[d] + 1);
        let kind = random.pick(&[PoolKind::Max, PoolKind::Average, PoolKind::AverageInside]);
        let plane = size.iter().product::<usize>();
        // All negative, so that padding would win if it could.
        let values: Vec<f32> = random.values(batch * channels * plane).iter().map(|value| value - 1.5).collect();
        let mut assembly = Assembly::default();
        let (input, output) =
            (assembly.input(channels * plane), assembly.buffer(channels * out.iter().product::<usize>()));
        assembly.step(Op::Pool(Pool {
            kind,
            input,
            output,
            channels,
            input_size: size,
            output_size: out,
            kernel_size: kernel,
            stride,
            padding,
        }));
        let actual = assembly.run(output, batch, &[&values]);
        let mut expected = Vec::new();
        for plane in values.chunks_exact(plane) {
            for z in 0..out[0] {
                for y in 0..out[1] {
                    for x in 0..out[2] {
                        let seen = look(
                            plane,
                            size,
                            kernel,
                            std::array::from_fn(|d| {
                                isize::try_from([z, y, x][d] * stride[d]).unwrap()
                                    - isize::try_from(padding[d]).unwrap()
                            }),
                        );
                        let sum = seen.iter().sum::<f64>();
                        let count = |count: usize| f64::from(u32::try_from(count).unwrap());
                        expected.push(match kind {
                            PoolKind::Max => seen.iter().fold(f64::NEG_INFINITY, |most, &value| most.max(value)),
                            PoolKind::Average => sum / count(kernel.iter().product()),
                            PoolKind::AverageInside => sum / count(seen.len()),
                        });
                    }
                }
            }
        }
        assert_close(&actual, &expected, 1e-6, &(kind, size, kernel, stride, padding));
    }
}

/// The values of a window that are inside the plane.
fn look(plane: &[f32], size: [usize; 3], kernel: [usize; 3], origin: [isize; 3]) -> Vec<f64> {
    let mut seen = Vec::new();
    for z in 0..kernel[0] {
        for y in 0..kernel[1] {
            for x in 0..kernel[2] {
                let at: [usize; 3] = std::array::from_fn(|d| {
                    origin[d].checked_add_unsigned([z, y, x][d]).unwrap().try_into().unwrap_or(usize::MAX)
                });
                if (0..3).all(|d| at[d] < size[d]) {
                    seen.push(f64::from(plane[(at[0] * size[1] + at[1]) * size[2] + at[2]]));
                }
            }
        }
    }
    seen
}

#[test]
fn the_largest_of_a_window_keeps_what_is_no_number() {
    let mut assembly = Assembly::default();
    let (input, output) = (assembly.input(6), assembly.buffer(3));
    let (input_size, output_size, kernel_size) = ([1, 1, 6], [1, 1, 3], [1, 1, 2]);
    let (kind, stride, padding) = (PoolKind::Max, [1, 1, 2], [0; 3]);
    assembly.step(Op::Pool(Pool {
        kind,
        input,
        output,
        channels: 1,
        input_size,
        output_size,
        kernel_size,
        stride,
        padding,
    }));
    let mut model = assembly.model(output, 1).unwrap();
    model.run(1, &[&[f32::NAN, 1.0, 1.0, f32::NAN, 2.0, 1.0]]).unwrap();
    assert!(model.output(0)[..2].iter().all(|value| value.is_nan()));
    assert_eq!(model.output(0)[2], 2.0);
}
