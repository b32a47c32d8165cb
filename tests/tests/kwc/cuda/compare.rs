//! Compares the CUDA target with the CPU's on small networks with random weights.

use kwc_compiler::check::Checked;
use kwc_compiler::pipeline;
use kwc_compiler::plan;
use kwc_compiler::plan::cuda::Options;
use kwc_compiler::state;
use kwc_compiler::weights::State;
use kwc_compiler::weights::pack::pack_cuda;
use kwc_program::cuda::Precision;

use super::device::{self, Ran};
use crate::golden::{checked_text, model};

/// A sequence of numbers between -1 and 1 that looks random.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let mixed = (self.0 ^ (self.0 >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((mixed >> 40) as f32 / (1u64 << 23) as f32) - 1.0
    }

    pub(crate) fn take(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.next()).collect()
    }
}

/// Relative L2 distance.
pub(crate) fn relative_l2(y: &[f32], reference: &[f32]) -> f64 {
    assert_eq!(y.len(), reference.len());
    let square = |x: f64| x * x;
    let distance: f64 = y.iter().zip(reference).map(|(a, b)| square(f64::from(*a) - f64::from(*b))).sum();
    let norm: f64 = reference.iter().map(|b| square(f64::from(*b))).sum();
    (distance / norm.max(f64::MIN_POSITIVE)).sqrt()
}

/// A state with random weights of a size that keeps activations near one.
pub(crate) fn random_state(checked: &Checked, numbers: &mut Numbers) -> State {
    let mut random = State::default();
    for tensor in state::tensors(checked) {
        let elements = tensor.shape.iter().product::<usize>();
        let fan_in = (elements / tensor.shape.first().copied().unwrap_or(1).max(1)).max(1);
        let values = numbers.take(elements).into_iter();
        let values: Vec<f32> = if tensor.name.ends_with("running_var") {
            values.map(|x| x * 0.4 + 1.0).collect()
        } else if tensor.shape.len() > 1 {
            values.map(|x| x * (3.0 / fan_in as f32).sqrt()).collect()
        } else {
            values.collect()
        };
        random.insert(tensor.name.clone(), tensor.shape.clone(), values).unwrap();
    }
    random
}

/// A network from the text of its spec, run on `batch` random samples with random weights, must give on the virtual GPU
/// what it gives on the CPU, and the virtual GPU must find nothing wrong. Dumps are compared too.
#[track_caller]
pub(crate) fn assert_agrees(spec: &str, precision: Precision, batch: usize, dumps: &[&str]) -> Ran {
    let dumps = dumps.iter().map(|&d| d.to_owned()).collect();
    assert_agrees_as(spec, &Options { precision, dumps, max_batch: batch.max(4), ..Options::default() }, batch)
}

/// The same, planned with these options.
#[track_caller]
pub(crate) fn assert_agrees_as(spec: &str, options: &Options, batch: usize) -> Ran {
    let checked = checked_text(spec);
    let mut numbers = Numbers::new(7);
    let mut random = random_state(&checked, &mut numbers);
    let steps = plan::Options { dumps: options.dumps.clone(), ..plan::Options::default() };
    let mut cpu = model(&checked, &steps, &mut random, 1);
    let inputs: Vec<Vec<f32>> =
        cpu.program().inputs.iter().map(|p| numbers.take(p.shape.iter().product::<usize>() * batch)).collect();
    let slices: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    cpu.run(batch, &slices).unwrap();

    let network = pipeline::cuda(&checked, options).unwrap();
    let mut weights = vec![0; network.planned.program.weight_bytes];
    pack_cuda(&network.planned, &mut random, &mut weights, &mut |_, _| {}).unwrap();
    let ran = device::run(&network, &weights, batch, &slices, 1);
    assert!(ran.findings.is_empty(), "{:#?}\n{}", ran.findings, network.source);
    let tolerance = match options.precision {
        Precision::F32 => 3e-6,
        Precision::F16 => 4e-3,
    };
    for (index, output) in ran.outputs.iter().enumerate() {
        let distance = relative_l2(output, cpu.output(index));
        assert!(
            distance <= tolerance,
            "output {index}: relative L2 {distance:.2e}\n{output:?}\n{:?}",
            cpu.output(index)
        );
    }
    for (index, dump) in ran.dumps.iter().enumerate() {
        let distance = relative_l2(dump, cpu.dump(index));
        assert!(distance <= tolerance, "dump {index}: relative L2 {distance:.2e}\n{dump:?}\n{:?}", cpu.dump(index));
    }
    ran
}
