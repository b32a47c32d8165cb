//! The CPU's operations against plain loops in double precision.
//!
//! Every test builds a Program of a step or two by hand, runs it with all instructions that the processor has, on one and on two
//! threads, and compares with loops that follow the definitions word by word.

mod attention;
mod convolution;
mod elementwise;
mod linear;
mod malformed;
mod mixed;
mod movement;
mod panels;
mod refusals;

use kwc_runtime::cpu::{Instructions, Model, Options};
use kwc_runtime::program::{
    ALIGNMENT, Activation, Buffer, BufferId, Epilogue, FORMAT_VERSION, Layout, Op, Port, Program, Step, Weight,
    WeightId,
};
use kwc_runtime::{Error, Weights};

/// A Program in the making, with the values of its weights.
#[derive(Default)]
struct Assembly {
    buffers: Vec<Buffer>,
    arena: usize,
    weights: Vec<Weight>,
    values: Vec<f32>,
    inputs: Vec<Port>,
    steps: Vec<Step>,
}

impl Assembly {
    fn buffer(&mut self, length: usize) -> BufferId {
        self.buffers.push(Buffer { offset: self.arena, length });
        self.arena += length.next_multiple_of(ALIGNMENT);
        BufferId(u32::try_from(self.buffers.len() - 1).unwrap())
    }

    /// A buffer that the caller fills.
    fn input(&mut self, length: usize) -> BufferId {
        let buffer = self.buffer(length);
        let name = format!("input{}", self.inputs.len()).into();
        self.inputs.push(Port { name, buffer, shape: vec![length].into() });
        buffer
    }

    fn weight(&mut self, values: &[f32]) -> WeightId {
        let (name, shape) = (format!("weight{}", self.weights.len()).into(), vec![values.len()].into());
        self.weights.push(Weight { name, offset: self.values.len(), shape, layout: Layout::Vector });
        self.values.extend_from_slice(values);
        self.values.resize(self.values.len().next_multiple_of(ALIGNMENT), 0.0);
        WeightId(u32::try_from(self.weights.len() - 1).unwrap())
    }

    fn step(&mut self, op: Op) {
        self.steps.push(Step { layer: format!("layer{}", self.steps.len()).into(), op });
    }

    fn program(&self, output: BufferId) -> Program {
        let length = self.buffers[usize::try_from(output.0).unwrap()].length;
        Program {
            format: FORMAT_VERSION,
            name: "assembled".into(),
            inputs: self.inputs.clone().into(),
            outputs: vec![Port { name: "output".into(), buffer: output, shape: vec![length].into() }].into(),
            dumps: vec![].into(),
            buffers: self.buffers.clone().into(),
            arena: self.arena,
            weights_id: "0".repeat(64).into(),
            weights: self.weights.clone().into(),
            weight_elements: self.values.len(),
            steps: self.steps.clone().into(),
        }
    }

    fn model(&self, output: BufferId, threads: usize) -> Result<Model, Error> {
        load(self.program(output), &self.values, threads)
    }

    /// Runs in every way, twice each, and hands over the model after each run.
    fn every_way(&self, output: BufferId, batch: usize, inputs: &[&[f32]], mut each: impl FnMut(&Model, &str)) {
        for instructions in Instructions::ALL.into_iter().filter(|set| set.is_available()) {
            for threads in [1, 2] {
                let options = Options { threads: Some(threads), instructions: Some(instructions) };
                let mut model = load_with(self.program(output), &self.values, &options).unwrap();
                for run in 1..=2 {
                    model.run(batch, inputs).unwrap();
                    each(&model, &format!("run {run} with {options:?}"));
                }
            }
        }
    }

    /// Runs and returns the output, which must be the same in every way.
    fn run(&self, output: BufferId, batch: usize, inputs: &[&[f32]]) -> Vec<f32> {
        let mut result: Option<Vec<f32>> = None;
        self.every_way(output, batch, inputs, |model, way| {
            let first = result.get_or_insert_with(|| model.output(0).to_vec());
            assert_eq!(model.output(0), first, "{way}");
        });
        result.unwrap()
    }

    /// Runs in every way and compares buffers with what they should hold; the first is the output.
    fn check(&self, batch: usize, inputs: &[&[f32]], expected: &[Expected], case: &dyn std::fmt::Debug) {
        self.every_way(expected[0].buffer, batch, inputs, |model, way| {
            for Expected { buffer, values, error } in expected {
                assert_within(model.buffer(*buffer), values, *error, &(buffer, way, case));
            }
        });
    }
}

/// What a buffer should hold after a run.
struct Expected {
    buffer: BufferId,
    values: Vec<f64>,
    /// Distance from these values that is allowed.
    error: f64,
}

impl Expected {
    /// Values that may be off by a part of the largest.
    fn new(buffer: BufferId, values: Vec<f64>, tolerance: f64) -> Self {
        let error = tolerance * largest(&values);
        Self { buffer, values, error }
    }
}

/// A model of a Program with these weights.
fn load(program: Program, values: &[f32], threads: usize) -> Result<Model, Error> {
    load_with(program, values, &Options { threads: Some(threads), instructions: None })
}

fn load_with(program: Program, values: &[f32], options: &Options) -> Result<Model, Error> {
    let mut weights = Weights::zeroed(values.len())?;
    weights.copy_from_slice(values);
    Model::new(program, weights, options)
}

/// A small generator of reproducible numbers.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number from `low` to `high`, both included.
    fn between(&mut self, low: usize, high: usize) -> usize {
        low + usize::try_from(self.next() % u64::try_from(high - low + 1).unwrap()).unwrap()
    }

    fn yes(&mut self) -> bool {
        self.between(0, 1) == 1
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.between(0, from.len() - 1)]
    }

    /// Values between -1 and 1.
    fn values(&mut self, count: usize) -> Vec<f32> {
        let mut value = || f32::from(u16::try_from(self.next() >> 48).unwrap()) / 32768.0 - 1.0;
        (0..count).map(|_| value()).collect()
    }
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |most, value| value.abs().max(most))
}

/// Fails where a value is further from the reference than `error`.
fn assert_within(actual: &[f32], expected: &[f64], error: f64, case: &dyn std::fmt::Debug) {
    assert_eq!(actual.len(), expected.len(), "{case:?}");
    for (index, (&actual, &expected)) in actual.iter().zip(expected).enumerate() {
        let off = (f64::from(actual) - expected).abs();
        assert!(off <= error, "{case:?}: value {index} is {actual}, not {expected}: off by {off:e}, not {error:e}");
    }
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

/// A count as a number to divide by.
fn real(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}

fn volume(size: [usize; 3]) -> usize {
    size.iter().product()
}

/// All positions of a box, the last dimension running fastest.
fn positions(size: [usize; 3]) -> impl Iterator<Item = [usize; 3]> {
    let [depth, height, width] = size;
    (0..depth).flat_map(move |z| (0..height).flat_map(move |y| (0..width).map(move |x| [z, y, x])))
}

/// The number of a position of a box, if it is inside.
fn place(at: [Option<usize>; 3], size: [usize; 3]) -> Option<usize> {
    let mut index = 0;
    for (at, size) in at.into_iter().zip(size) {
        index = index * size + at.filter(|&at| at < size)?;
    }
    Some(index)
}

const ACTIVATIONS: [Activation; 7] = [
    Activation::Identity,
    Activation::Relu,
    Activation::Relu6,
    Activation::Gelu,
    Activation::Silu,
    Activation::HardSwish,
    Activation::Sigmoid,
];

/// The error function by its Taylor series; 60 terms are exact to double precision for the arguments used here.
fn erf(x: f64) -> f64 {
    if x.abs() > 4.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..120_u32 {
        let n = f64::from(n);
        term *= -x * x / n;
        sum += term / (2.0 * n + 1.0);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Identity => x,
        Activation::Relu => x.max(0.0),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::Gelu => x * (1.0 + erf(x / 2.0_f64.sqrt())) / 2.0,
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
    }
}

/// A random epilogue for an output of `length` values a sample, with what its reference needs.
#[derive(Debug)]
struct Finish {
    epilogue: Epilogue,
    scale: Option<Vec<f32>>,
    shift: Option<Vec<f32>>,
    /// What is added, all samples.
    add: Option<Vec<f32>>,
}

impl Finish {
    /// `output` becomes an input of the Program where it is its own addend.
    fn random(
        random: &mut Random,
        assembly: &mut Assembly,
        (channels, length, batch): (usize, usize, usize),
    ) -> (Self, BufferId) {
        let scale = random.yes().then(|| random.values(channels));
        let shift = random.yes().then(|| random.values(channels));
        let (add, output) = match random.between(0, 2) {
            0 => (None, assembly.buffer(length)),
            1 => (Some(assembly.input(length)), assembly.buffer(length)),
            _ => {
                let output = assembly.input(length);
                (Some(output), output)
            }
        };
        let epilogue = Epilogue {
            scale: scale.as_deref().map(|values| assembly.weight(values)),
            shift: shift.as_deref().map(|values| assembly.weight(values)),
            add,
            activation: random.pick(&ACTIVATIONS),
        };
        let add = add.map(|_| random.values(length * batch));
        (Self { epilogue, scale, shift, add }, output)
    }

    /// Applies it to one value: of this channel, at this index among all samples.
    fn reference(&self, x: f64, channel: usize, index: usize) -> f64 {
        let scale = self.scale.as_ref().map_or(1.0, |scale| f64::from(scale[channel]));
        let shift = self.shift.as_ref().map_or(0.0, |shift| f64::from(shift[channel]));
        let add = self.add.as_ref().map_or(0.0, |add| f64::from(add[index]));
        activate(self.epilogue.activation, scale * x + shift + add)
    }

    /// The Program's inputs: the operation's own, then the addend.
    fn inputs<'a>(&'a self, input: &'a [f32]) -> Vec<&'a [f32]> {
        [Some(input), self.add.as_deref()].into_iter().flatten().collect()
    }
}
