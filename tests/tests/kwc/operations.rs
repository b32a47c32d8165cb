//! Golden operations, each as a network of one layer.

use std::collections::{BTreeMap, BTreeSet};

use kwc_compiler::check::Checked;
use kwc_compiler::plan::Options;
use kwc_compiler::weights::State;

use crate::golden::{Tensor, assert_near, checked_text, json, max_difference, model, tensors};

/// Every golden operation, as an item of a spec.
pub(crate) const OPERATIONS: [(&str, &str); 12] = [
    ("gelu", "gelu"),
    ("silu", "silu"),
    ("hard_swish", "hard_swish"),
    ("relu6", "relu6"),
    ("sigmoid", "sigmoid"),
    ("layer_norm_1e-6", "layer_norm: { name: op }"),
    ("batch_norm_1e-5", "batch_norm: { name: op }"),
    ("max_pool_3_2_1", "max_pool: { kernel: 3, stride: 2, padding: 1 }"),
    ("avg_pool_3_2_1", "avg_pool: { kernel: 3, stride: 2, padding: 1 }"),
    ("avg_pool_2_2", "avg_pool: { kernel: 2 }"),
    ("upsample_nearest_2", "upsample: { factor: 2 }"),
    (
        "conv2d_general",
        "conv: { name: op, out: 8, kernel: [3, 5], stride: [2, 1], padding: [0, 2], dilation: [1, 2], groups: 2, bias: true }",
    ),
];

/// A golden operation as a network of one layer.
pub(crate) struct Operation {
    /// The network.
    pub(crate) checked: Checked,
    /// Its weights.
    pub(crate) state: State,
    /// Samples of the input.
    pub(crate) batch: usize,
    /// What it is given.
    pub(crate) input: Vec<f32>,
}

/// The golden operation of a name, from the golden tensors.
pub(crate) fn operation(tensors: &BTreeMap<String, Tensor>, name: &str, item: &str) -> Operation {
    let input = &tensors[&format!("{name}/input")];
    let (batch, sizes) = match input.shape[..] {
        [channels] => (1, format!("channels: {channels}")),
        [batch, channels, height, width] => (batch, format!("channels: {channels}, height: {height}, width: {width}")),
        _ => panic!("input of {name} has shape {:?}", input.shape),
    };
    let checked = checked_text(&format!("kwc: 1\nname: golden\ninput: {{ {sizes} }}\nlayers:\n  - {item}\n"));

    let mut state = State::default();
    for (key, tensor) in tensors {
        if let Some((case, parameter)) = key.split_once('/')
            && case == name
        {
            state.insert(format!("op.{parameter}"), tensor.shape.clone(), tensor.f32()).unwrap();
        }
    }
    Operation { checked, state, batch, input: input.f32() }
}

#[test]
fn operations() {
    let golden = json("operations/operations.json");
    let known: BTreeSet<&str> = OPERATIONS.iter().map(|(name, _)| *name).collect();
    assert_eq!(known, golden.as_object().unwrap().keys().map(String::as_str).collect());

    let tensors = tensors("operations/operations.safetensors");
    for (name, item) in OPERATIONS {
        let Operation { checked, mut state, batch, input } = operation(&tensors, name, item);
        let reference = &tensors[&format!("{name}/output")].data;
        let largest = reference.iter().fold(0.0f64, |max, r| max.max(r.abs()));
        for fuse in [true, false] {
            let mut model = model(&checked, &Options { fuse, ..Options::default() }, &mut state, 1);
            model.run(batch, &[&input]).unwrap();
            let distance = max_difference(model.output(0), reference) / largest;
            assert_near(&format!("{name}, fuse {fuse}"), distance, 1e-6);
        }
    }
}
