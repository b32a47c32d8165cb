//! The runtime for CUDA devices, on the virtual GPU: a Program written by hand, run, refused, and loaded in every form.

mod code;
mod devices;
mod malformed;
mod runs;
mod weights;

use std::borrow::Cow;

use kwc_nvrtc::Options;
use kwc_runtime::cuda::{Code, Device, Model, PackedWeights};
use kwc_runtime::program::cuda::{
    Argument, Buffer, Element, Extent, FORMAT_VERSION, Kernel, KernelId, Launch, Port, Precision, Program, Variant,
    Weight,
};
use kwc_runtime::program::{BufferId, WeightId};

use crate::vgpu::nvrtc;

/// The kernels; the file says what the network computes.
const SOURCE: &str = include_str!("cuda_runtime/small.cu");
/// The largest batch.
const MAX_BATCH: usize = 5;
/// The packed weight.
const WEIGHT: [f32; 4] = [1.0, -2.0, 0.5, 3.0];

/// Inputs `a [4]` and `b [2]`, outputs `twice [4]` and `total [1]`, the dump `hidden [4]`. Batches to 2 run with another
/// layout and other grids than those to 5.
fn program() -> Program {
    let port = |name: &'static str, elements| Port { name: name.into(), shape: vec![elements].into() };
    let argument = |buffer| Argument::Buffer(BufferId(buffer));
    let variant = |batch, order: [usize; 6], combine: Extent| {
        // In the order of their numbers: a, b, twice, total, hidden, parts.
        let lengths = [16, 8, 16, 4, 16, 8];
        let buffers: Vec<Buffer> =
            order.iter().zip(lengths).map(|(place, length)| Buffer { offset: 256 * place, length }).collect();
        let launches = vec![
            Launch {
                layer: "first".into(),
                kernel: KernelId(0),
                grid: [combine, Extent::ONE, Extent::ONE],
                arguments: vec![argument(0), argument(1), Argument::Weight(WeightId(0)), argument(4), Argument::Batch]
                    .into(),
            },
            Launch {
                layer: "second".into(),
                kernel: KernelId(1),
                grid: [Extent::fixed(2), Extent::BATCH, Extent::ONE],
                arguments: vec![argument(4), argument(5), Argument::Counter(1), argument(2), argument(3)].into(),
            },
        ];
        Variant { batch, buffers: buffers.into(), arena: 256 * 6, launches: launches.into() }
    };
    Program {
        format: FORMAT_VERSION,
        name: "small".into(),
        precision: Precision::F32,
        gpu: "a100".into(),
        max_batch: MAX_BATCH,
        inputs: vec![port("a", 4), port("b", 2)].into(),
        outputs: vec![port("twice", 4), port("total", 1)].into(),
        dumps: vec![port("hidden", 4)].into(),
        weights: vec![Weight {
            name: "weight".into(),
            offset: 256,
            element: Element::F32,
            shape: vec![4].into(),
            layout: "[4]".into(),
        }]
        .into(),
        weight_bytes: 512,
        weights_id: "0123456789abcdef".repeat(4).into(),
        source_id: kwc_compiler::hash::of(SOURCE.as_bytes()).into(),
        counters: MAX_BATCH + 1,
        kernels: vec![
            Kernel { symbol: "combine".into(), threads: 32, shared_bytes: 0 },
            // More than a block has without asking.
            Kernel { symbol: "finish".into(), threads: 32, shared_bytes: 64 * 1024 },
        ]
        .into(),
        variants: vec![
            variant(2, [0, 1, 2, 3, 4, 5], Extent { fixed: 0, per_sample: 4, divisor: 3 }),
            variant(MAX_BATCH, [5, 3, 1, 4, 2, 0], Extent { fixed: 3, per_sample: 1, divisor: 4 }),
        ]
        .into(),
    }
}

/// The packed weights: zeros, and the weight at its place.
fn weights() -> PackedWeights {
    let mut bytes = vec![0; 512];
    for (place, value) in bytes[256..].chunks_mut(4).zip(WEIGHT) {
        place.copy_from_slice(&value.to_le_bytes());
    }
    PackedWeights::new(&program(), bytes).unwrap()
}

/// The kernels as PTX for an architecture such as `compute_80`.
fn ptx(architecture: &str) -> String {
    match nvrtc().compile(SOURCE, "small.cu", &Options::new(architecture)).unwrap().code {
        kwc_nvrtc::Code::Ptx(ptx) => ptx,
        kwc_nvrtc::Code::Cubin(_) => panic!("{architecture} makes a cubin"),
    }
}

/// The source alone.
fn source_only() -> Code {
    Code {
        source: SOURCE.into(),
        options: Cow::Borrowed(&[Cow::Borrowed("--std=c++17")]),
        ptx: None,
        cubins: Cow::Borrowed(&[]),
    }
}

/// The source and its PTX.
fn code() -> Code {
    Code { ptx: Some(ptx("compute_80").into()), ..source_only() }
}

fn device() -> Device {
    Device::new(0).unwrap()
}

fn model() -> Model {
    Model::load(&device(), &program(), &code(), &weights()).unwrap()
}

/// Inputs of a batch: small whole numbers, so that all sums are exact. Another `seed` gives others.
fn inputs(batch: usize, seed: usize) -> [Vec<f32>; 2] {
    let values =
        |count: usize, factor: usize| (0..count).map(|i| ((i * factor + seed * 5) % 17) as f32 - 8.0).collect();
    [values(batch * 4, 7), values(batch * 2, 3)]
}

/// What the network gives for inputs: `twice`, `total` and `hidden`.
fn expected([a, b]: &[Vec<f32>; 2]) -> [Vec<f32>; 3] {
    let mut hidden = Vec::new();
    for (a, b) in a.chunks(4).zip(b.chunks(2)) {
        hidden.extend((0..4).map(|i| a[i] * WEIGHT[i] + b[i % 2]));
    }
    let twice = hidden.iter().map(|h| h * 2.0).collect();
    let total = hidden.chunks(4).map(|sample| sample.iter().sum()).collect();
    [twice, total, hidden]
}

/// Runs a model on inputs of a batch and compares all that it gives.
#[track_caller]
fn assert_runs(model: &mut Model, batch: usize, seed: usize) {
    let inputs = inputs(batch, seed);
    model.run(batch, &[&inputs[0], &inputs[1]]).unwrap();
    assert_results(model, batch, seed);
}

/// Compares the results of the last run.
#[track_caller]
fn assert_results(model: &Model, batch: usize, seed: usize) {
    let [twice, total, hidden] = expected(&inputs(batch, seed));
    assert_eq!(model.output(0), twice, "batch {batch}");
    assert_eq!(model.output(1), total, "batch {batch}");
    assert_eq!(model.dump(0), hidden, "batch {batch}");
}
