//! Convolutions on tensor cores.

use kwc_compiler::pipeline;
use kwc_compiler::plan::cuda::Options;
use kwc_program::cuda::Precision::F16;

use super::compare::assert_agrees;
use crate::golden::checked_text;

/// Results must agree, and the launches of convolutions must do what the plan says they do: the products of its tiles, with
/// no conflicts of banks, no local memory, and at most `slack` times the traffic that its tiles have. It may be less: lanes
/// of a warp that read the same pixel ask for it once.
#[track_caller]
fn assert_conv(spec: &str, batches: &[usize], slack: f64) {
    for &batch in batches {
        let ran = assert_agrees(spec, F16, batch, &[]);
        let options = Options { precision: F16, max_batch: batch.max(4), ..Options::default() };
        let planned = pipeline::cuda(&checked_text(spec), &options).unwrap().planned;
        let variant = planned.program.variants.iter().position(|variant| batch <= variant.batch).unwrap();
        assert_eq!(ran.launches.len(), planned.work[variant].len());
        let mut convolutions = 0;
        for ((kernel, counters), work) in ran.launches.iter().zip(&planned.work[variant]) {
            if !kernel.starts_with("conv_") {
                continue;
            }
            convolutions += 1;
            let what = format!("{kernel}, batch {batch}");
            assert_eq!(counters.bank_conflicts, 0, "{what}");
            assert_eq!(counters.local, 0, "{what}");
            assert_eq!(counters.tensor_multiply_adds, work.padded.of(batch), "{what}");
            let traffic = 32 * (counters.global_loads.sectors + counters.global_stores.sectors);
            let ratio = traffic as f64 / work.moved.of(batch) as f64;
            assert!((0.7..=slack).contains(&ratio), "{what}: {traffic} bytes, {ratio:.3} of what is planned");
        }
        assert!(convolutions > 0);
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
    assert_conv(ODD, &[1, 3, 5], 2.0);
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
    assert_conv(RESIDUAL, &[1, 3], 1.1);
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
    assert_conv(TOKENS, &[1, 3, 9], 1.2);
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
    assert_conv(ONE_DIMENSION, &[1, 3], 1.2);
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
    assert_conv(DEEP, &[1, 2, 3], 1.1);
}

const DYNAMIC: &str = "
kwc: 1
name: dynamic
input: { channels: 48, height: 12, width: 12 }
warehouses: { budget: 1 }
layers:
  - conv: { name: a, out: 64, kernel: 3, padding: 1, warehouse: w }
  - batch_norm: { name: bn1 }
  - relu
  - conv: { name: b, out: 64, kernel: 3, stride: 2, padding: 1, warehouse: w }
  - batch_norm: { name: bn2 }
  - relu
  - conv: { name: c, out: 96, kernel: 1, warehouse: x }
";

/// Each sample has a kernel of its own, and attentions read the sums that convolutions leave.
#[test]
fn cuda_convolutions_with_mixed_kernels() {
    assert_conv(DYNAMIC, &[1, 3], 1.1);
}

/// Cells whose output channels are no multiple of eight, and input channels in several blocks.
#[test]
fn cuda_convolutions_with_padded_cells() {
    for (out, settings) in [
        (20, "budget: 2, cell_out_ratio: 1/2"),
        (36, "budget: 1, cell_out_ratio: 1/3, cell_in_ratio: 1/2"),
        (90, "budget: 1, cell_out_ratio: 1/6, partition: whole, cell_in_ratio: 1/2"),
    ] {
        let spec = format!(
            "
kwc: 1
name: cells
input: {{ channels: 18, height: 5, width: 6 }}
warehouses: {{ {settings} }}
layers:
  - conv: {{ name: a, out: {out}, kernel: 3, padding: 1, warehouse: w }}
  - relu
  - conv: {{ name: b, out: {out}, kernel: 1, warehouse: x }}
  - silu
"
        );
        assert_conv(&spec, &[1, 3], 3.0);
    }
}
