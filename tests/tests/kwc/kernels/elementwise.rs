//! Maps, norms and averages.

use kwc_runtime::program::{Activation, Epilogue, GlobalAverage, LayerNorm, Map, Op, Pool, PoolKind};

use super::{ACTIVATIONS, Assembly, Expected, Random, activate, place, positions, real, volume};

#[test]
fn maps_follow_the_definition_in_place_and_out_of_place() {
    let mut random = Random(0x3a9);
    for round in 0..120 {
        let (batch, channels) = (random.between(1, 3), random.between(1, 20));
        let positions = if round % 40 == 0 { 20_000 } else { random.between(1, 40) };
        let length = channels * positions;
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
        assembly.step(Op::Map(Map { input, output, channels, positions, epilogue }));
        let reference = |index: usize| {
            let channel = index % channels;
            let scale = if epilogue.scale.is_some() { f64::from(scale[channel]) } else { 1.0 };
            let shift = if epilogue.shift.is_some() { f64::from(shift[channel]) } else { 0.0 };
            let add = match epilogue.add {
                None => 0.0,
                Some(id) if id == input => f64::from(values[index]),
                Some(_) => f64::from(addend[index]),
            };
            activate(epilogue.activation, scale * f64::from(values[index]) + shift + add)
        };
        let expected = Expected::new(output, (0..batch * length).map(reference).collect(), 1e-6);
        assembly.check(batch, inputs, &[expected], &(batch, channels, positions, epilogue, output == input));
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
        assembly.step(Op::Map(Map { input, output, channels, positions, epilogue }));
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
        assembly.step(Op::Map(Map { input, output, channels: 1, positions: 5, epilogue }));
        let mut model = assembly.model(output, 1).unwrap();
        model.run(1, &[&values]).unwrap();
        assert!(model.output(0)[0].is_nan(), "{activation:?}");
        assert_eq!(model.output(0)[1..], expected, "{activation:?}");
    }
}

#[test]
fn layer_norm_follows_the_definition() {
    let mut random = Random(0x106);
    for round in 0..120 {
        let (batch, channels) = (random.between(1, 3), random.between(1, 50));
        let positions = if round % 40 == 0 { 5000 } else { random.between(1, 150) };
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
            weight: weight_id,
            bias: bias_id,
            epsilon,
            activation,
        }));
        let mut expected = Vec::with_capacity(values.len());
        for position in values.chunks_exact(channels) {
            let values = || position.iter().map(|&value| f64::from(value));
            let mean = values().sum::<f64>() / real(channels);
            let variance = values().map(|value| (value - mean).powi(2)).sum::<f64>() / real(channels);
            let factors = weight.iter().zip(&bias);
            expected.extend(values().zip(factors).map(|(value, (&weight, &bias))| {
                let normed = (value - mean) / (variance + f64::from(epsilon)).sqrt();
                activate(activation, normed * f64::from(weight) + f64::from(bias))
            }));
        }
        let case = (batch, channels, positions, activation, output == input);
        assembly.check(batch, &[&values], &[Expected::new(output, expected, 1e-6)], &case);
    }
}

#[test]
fn global_averages_follow_the_definition() {
    let mut random = Random(0x6a);
    for round in 0..80 {
        let (batch, channels) = (random.between(1, 3), random.between(1, 150));
        let positions = if round % 20 == 0 { 3000 } else { random.between(1, 60) };
        let length = channels * positions;
        let values = random.values(batch * length);
        let mut assembly = Assembly::default();
        let (input, output) = (assembly.input(length), assembly.buffer(channels));
        assembly.step(Op::GlobalAverage(GlobalAverage { input, output, channels, positions }));
        let mut expected = vec![0.0; batch * channels];
        for (index, &value) in values.iter().enumerate() {
            expected[index / length * channels + index % channels] += f64::from(value) / real(positions);
        }
        let expected = Expected::new(output, expected, 1e-6);
        assembly.check(batch, &[&values], &[expected], &(batch, channels, positions));
    }
}

/// Pooling in PyTorch's terms.
#[derive(Debug)]
struct Pooling {
    kind: PoolKind,
    batch: usize,
    channels: usize,
    size: [usize; 3],
    kernel: [usize; 3],
    stride: [usize; 3],
    padding: [usize; 3],
}

impl Pooling {
    fn output(&self) -> [usize; 3] {
        std::array::from_fn(|d| (self.size[d] + 2 * self.padding[d] - self.kernel[d]) / self.stride[d] + 1)
    }

    /// The positions of a window that are inside the input.
    fn window(&self, at: [usize; 3]) -> Vec<usize> {
        let seen = |tap: [usize; 3]| {
            place(std::array::from_fn(|d| (at[d] * self.stride[d] + tap[d]).checked_sub(self.padding[d])), self.size)
        };
        positions(self.kernel).filter_map(seen).collect()
    }

    fn check(&self, random: &mut Random) {
        let Self { kind, batch, channels, .. } = *self;
        let length = channels * volume(self.size);
        // All negative, so that padding would win if it could.
        let values: Vec<f32> = random.values(batch * length).iter().map(|value| value - 1.5).collect();
        let mut assembly = Assembly::default();
        let (input, output) = (assembly.input(length), assembly.buffer(channels * volume(self.output())));
        assembly.step(Op::Pool(Pool {
            kind,
            input,
            output,
            channels,
            input_size: self.size,
            output_size: self.output(),
            kernel_size: self.kernel,
            stride: self.stride,
            padding: self.padding,
        }));
        let mut expected = Vec::new();
        for map in values.chunks_exact(length) {
            for at in positions(self.output()) {
                let window = self.window(at);
                for channel in 0..channels {
                    let seen = window.iter().map(|position| f64::from(map[position * channels + channel]));
                    expected.push(match kind {
                        PoolKind::Max => seen.fold(f64::NEG_INFINITY, f64::max),
                        PoolKind::Average => seen.sum::<f64>() / real(volume(self.kernel)),
                        PoolKind::AverageInside => seen.sum::<f64>() / real(window.len()),
                    });
                }
            }
        }
        assembly.check(batch, &[&values], &[Expected::new(output, expected, 1e-6)], self);
    }
}

const POOL_KINDS: [PoolKind; 3] = [PoolKind::Max, PoolKind::Average, PoolKind::AverageInside];

#[test]
fn pools_follow_the_definition() {
    let mut random = Random(0x9001);
    for _ in 0..200 {
        let kernel: [usize; 3] = std::array::from_fn(|_| random.between(1, 4));
        Pooling {
            kind: random.pick(&POOL_KINDS),
            batch: random.between(1, 3),
            channels: random.pick(&[1, 2, 3, 5, 8, 13, 32, 47]),
            size: std::array::from_fn(|d| kernel[d] + random.between(0, 4)),
            kernel,
            stride: std::array::from_fn(|_| random.between(1, 3)),
            padding: std::array::from_fn(|d| random.between(0, kernel[d] / 2)),
        }
        .check(&mut random);
    }
}

#[test]
fn large_pools_follow_the_definition() {
    let mut random = Random(0x1a9);
    for kind in POOL_KINDS {
        let (kernel, stride, padding) = ([1, 3, 3], [1, 2, 2], [0, 1, 1]);
        Pooling { kind, batch: 2, channels: 64, size: [1, 41, 56], kernel, stride, padding }.check(&mut random);
    }
}

#[test]
fn the_largest_of_a_window_keeps_what_is_no_number() {
    for channels in [1, 8, 41] {
        let mut assembly = Assembly::default();
        let (input, output) = (assembly.input(6 * channels), assembly.buffer(3 * channels));
        assembly.step(Op::Pool(Pool {
            kind: PoolKind::Max,
            input,
            output,
            channels,
            input_size: [1, 1, 6],
            output_size: [1, 1, 3],
            kernel_size: [1, 1, 2],
            stride: [1, 1, 2],
            padding: [0; 3],
        }));
        let positions = [f32::NAN, 1.0, 1.0, f32::NAN, 2.0, 1.0];
        let values: Vec<f32> = positions.iter().flat_map(|&value| vec![value; channels]).collect();
        assembly.every_way(output, 1, &[&values], |model, way| {
            let (wrong, right) = model.output(0).split_at(2 * channels);
            assert!(wrong.iter().all(|value| value.is_nan()), "{way}: {wrong:?}");
            assert_eq!(right, vec![2.0; channels], "{way}");
        });
    }
}
