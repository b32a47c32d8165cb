//! Convolutions on tensor cores.

use kwc_program::cuda::Precision::F16;

use super::compare::assert_agrees;

/// The launches of convolutions must be what the plan says they are.
#[track_caller]
fn assert_conv(spec: &str, batches: &[usize]) {
    for &batch in batches {
        let ran = assert_agrees(spec, F16, batch, &[]);
        let convs = ran.launches.iter().filter(|(name, _)| name.starts_with("conv_"));
        for (name, counters) in convs {
            assert_eq!(counters.bank_conflicts, 0, "{name}");
            assert!(counters.tensor_multiply_adds > 0, "{name}");
            assert_eq!(counters.local, 0, "{name}");
        }
    }
}

const ODD: &str = "
kwc: 1
name: odd
input: { channels: 5, height: 9, width: 11 }
layers:
  - conv: { name: a, out: 19, kernel: [3, 5], stride: [2, 1], padding: [0, 2], dilation: [1, 2], bias: true }
  - gelu
  - conv: { name: b, out: 37, kernel: 1 }
  - batch_norm: { name: bn }
  - relu
  - conv: { name: c, out: 3, kernel: 7, padding: 3 }
";

#[test]
fn cuda_convolutions_of_odd_sizes() {
    assert_conv(ODD, &[1, 3, 5]);
}

const RESIDUAL: &str = "
kwc: 1
name: block
input: { channels: 64, height: 14, width: 14 }
layers:
  - residual:
      body:
        - conv: { name: conv1, out: 32, kernel: 1 }
        - batch_norm: { name: bn1 }
        - relu
        - conv: { name: conv2, out: 32, kernel: 3, padding: 1 }
        - batch_norm: { name: bn2 }
        - relu
        - conv: { name: conv3, out: 64, kernel: 1 }
        - batch_norm: { name: bn3 }
      shortcut: []
  - relu
";

#[test]
fn cuda_bottlenecks() {
    assert_conv(RESIDUAL, &[1, 3]);
}

const TOKENS: &str = "
kwc: 1
name: tokens
input: { tokens: 21, channels: 40 }
layers:
  - linear: { name: a, out: 52 }
  - silu
  - linear: { name: b, out: 24 }
";

#[test]
fn cuda_linear_layers_of_tokens() {
    assert_conv(TOKENS, &[1, 3, 9]);
}

const ONE_DIMENSION: &str = "
kwc: 1
name: sequence
input: { channels: 16, length: 50 }
layers:
  - conv: { name: a, out: 24, kernel: 5, stride: 2, padding: 1, bias: true }
  - hard_swish
  - conv: { name: b, out: 16, kernel: 3, dilation: 3 }
";

#[test]
fn cuda_convolutions_in_one_dimension() {
    assert_conv(ONE_DIMENSION, &[1, 3]);
}

const DEEP: &str = "
kwc: 1
name: deep
input: { channels: 256, height: 7, width: 7 }
layers:
  - conv: { name: conv, out: 64, kernel: 3, padding: 1 }
  - batch_norm: { name: bn }
  - relu
";

#[test]
fn cuda_sums_in_parts() {
    assert_conv(DEEP, &[1, 2, 3]);
}
