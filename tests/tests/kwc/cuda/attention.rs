//! Attentions and mixing, on layers with kernels of every kind.

use kwc_program::cuda::Precision::{F16, F32};

use super::compare::assert_agrees;

/// A network of two dynamic layers that share a warehouse.
fn spec(channels: usize, warehouse: &str, conv: &str) -> String {
    format!(
        "
kwc: 1
name: attention
input: {{ channels: {channels}, height: 6, width: 5 }}
warehouses: {{ {warehouse} }}
layers:
  - conv: {{ name: a, out: {channels}, kernel: 3, padding: 1, warehouse: w }}
  - batch_norm: {{ name: n }}
  - relu
  - conv: {{ name: b, {conv}, warehouse: w }}
"
    )
}

const DUMPS: [&str; 3] = ["a.attention", "b.attention", "a"];

#[test]
fn cuda_attentions_of_shared_warehouses() {
    for (channels, warehouse, conv) in [
        (16, "budget: 1", "out: 24, kernel: 1"),
        (12, "budget: 2, cell_in_ratio: 1/2", "out: 12, kernel: 3, stride: 2"),
        (20, "budget: 1/2, cell_out_ratio: 1/2, cell_in_ratio: 1/2", "out: 20, kernel: [1, 3], padding: [0, 1]"),
        (16, "budget: 4, attention_norm: layer", "out: 16, kernel: 1"),
        (16, "budget: 2, basis_ratio: 1/16, cell_out_ratio: 1/2, cell_in_ratio: 1/2", "out: 16, kernel: 3"),
    ] {
        for batch in [1, 3] {
            assert_agrees(&spec(channels, warehouse, conv), F32, batch, &DUMPS);
            assert_agrees(&spec(channels, warehouse, conv), F16, batch, &DUMPS);
        }
    }
}

/// So many channels that the hidden units have a launch of their own.
#[test]
fn cuda_attentions_of_many_channels() {
    let spec = "
kwc: 1
name: wide
input: { channels: 2048, height: 1, width: 3 }
warehouses: { budget: 1, reduction: 1/8 }
layers:
  - conv: { name: a, out: 8, kernel: 1, warehouse: w }
";
    let ran = assert_agrees(spec, F32, 2, &["a.attention"]);
    assert!(ran.launches.iter().any(|(kernel, _)| kernel == "attention_hidden_0"), "{:?}", ran.launches.len());
}
