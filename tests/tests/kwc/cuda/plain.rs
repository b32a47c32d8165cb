//! Families that are neither convolution nor attention: linear layers, pooling, norms, joins.

use kwc_program::cuda::Precision::{F16, F32};

use super::compare::assert_agrees;

fn assert_layers(input: &str, layers: &str, dumps: &[&str]) {
    let spec = format!("kwc: 1\nname: plain\ninput: {{ {input} }}\nlayers:\n{layers}");
    for batch in [1, 3, 9] {
        assert_agrees(&spec, F32, batch, dumps);
        assert_agrees(&spec, F16, batch, dumps);
    }
}

#[test]
fn cuda_linear_layers() {
    assert_layers(
        "channels: 12, height: 3, width: 3",
        "  - global_avg_pool
  - linear: { name: a, out: 70 }
  - relu
  - linear: { name: b, out: 13, bias: false }
",
        &["a"],
    );
}

#[test]
fn cuda_pooling() {
    for pool in [
        "max_pool: { kernel: 3, stride: 2, padding: 1 }",
        "avg_pool: { kernel: [2, 3], stride: 1, padding: [0, 1] }",
        "avg_pool: { kernel: 3, stride: 2, padding: 1, count_padding: false }",
    ] {
        assert_layers("channels: 11, height: 7, width: 6", &format!("  - {pool}\n"), &[]);
    }
}

#[test]
fn cuda_pooling_of_one_and_three_dimensions() {
    for pool in ["max_pool: { kernel: 3, stride: 2, padding: 1 }", "avg_pool: { kernel: 2, count_padding: false }"] {
        assert_layers("channels: 3, length: 9", &format!("  - {pool}\n"), &[]);
        assert_layers("channels: 9, depth: 4, height: 5, width: 3", &format!("  - {pool}\n"), &[]);
    }
}

#[test]
fn cuda_layer_norms() {
    for channels in [5, 48, 300, 2500] {
        assert_layers(
            &format!("channels: {channels}, height: 3, width: 3"),
            "  - layer_norm: { name: norm, eps: 1e-6 }\n  - gelu\n",
            &[],
        );
    }
}

#[test]
fn cuda_joins_and_upsampling() {
    assert_layers(
        "channels: 5, height: 4, width: 3",
        "  - branch:
      join: concat
      paths:
        - - conv: { name: a, out: 3, kernel: 1 }
        - - conv: { name: b, out: 9, kernel: 3, padding: 1 }
          - sigmoid
        - []
  - upsample: { factor: [2, 3] }
",
        &["b"],
    );
}

#[test]
fn cuda_joins_of_many_parts() {
    let mut layers = String::from("  - relu: { as: all }\n");
    let widths = [3, 8, 1, 16, 5, 9, 2, 7, 4, 8, 6];
    for (index, width) in widths.iter().enumerate() {
        layers += &format!("  - conv: {{ name: c{index}, out: {width}, kernel: 1, from: all, as: p{index} }}\n");
    }
    let parts: Vec<String> = (0..widths.len()).map(|index| format!("p{index}")).collect();
    layers += &format!("  - concat: {{ from: [{}, all] }}\n  - batch_norm: {{ name: bn }}\n", parts.join(", "));
    assert_layers("channels: 6, height: 3, width: 5", &layers, &[]);
}

#[test]
fn cuda_joins_are_one_launch() {
    let layers = "
  - branch:
      join: concat
      paths:
        - - relu
        - - sigmoid
        - []
";
    let spec = format!("kwc: 1\nname: plain\ninput: {{ channels: 16, height: 4, width: 4 }}\nlayers:\n{layers}");
    let ran = assert_agrees(&spec, F16, 2, &[]);
    assert_eq!(ran.launches.iter().filter(|(kernel, _)| kernel.starts_with("concat")).count(), 1);
}
