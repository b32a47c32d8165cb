//! Convolutions of images.

use kwc_program::cuda::Precision::{F16, F32};

use super::compare::assert_agrees;
use super::device::Ran;

/// A convolution with these fields of an image, and the launches that it takes.
#[track_caller]
fn check(input: &str, layers: &str, batches: &[usize]) -> Vec<Ran> {
    let spec = format!("kwc: 1\nname: network\ninput: {{ {input} }}\nlayers:\n{layers}");
    let mut runs = Vec::new();
    for &batch in batches {
        for precision in [F32, F16] {
            let ran = assert_agrees(&spec, precision, batch, &[]);
            assert!(ran.launches[0].0.starts_with("stem"), "{}", ran.launches[0].0);
            runs.push(ran);
        }
    }
    runs
}

#[test]
fn cuda_stem_7x7_of_resnet() {
    let layers = "
  - conv: { name: conv1, out: 64, kernel: 7, stride: 2, padding: 3 }
  - batch_norm: { name: bn1 }
  - relu
";
    let runs = check("channels: 3, height: 45, width: 63", layers, &[1, 3]);
    let half = &runs[1].launches[0].1;
    // 3 x 2 tiles of 16 x 8 positions, a kernel with eight columns, 168 terms padded to 176.
    assert_eq!(half.tensor_multiply_adds, 6 * 128 * 64 * 176);
    assert_eq!(half.local, 0);
    // Results are written in whole sectors.
    assert_eq!(half.global_stores.bytes, 32 * half.global_stores.sectors);
}

#[test]
fn cuda_stem_3x3_of_any_size() {
    check("channels: 3, height: 13, width: 17", "  - conv: { name: a, out: 20, kernel: 3, padding: 1 }\n", &[1, 3]);
    let layers = "
  - conv: { name: a, out: 32, kernel: 3, padding: 1, stride: 2, bias: true }
  - relu6
";
    check("channels: 3, height: 15, width: 31", layers, &[1, 5]);
}

#[test]
fn cuda_stem_4x4_of_convnext() {
    let layers = "  - conv: { name: a, out: 96, kernel: 4, stride: 4, bias: true }\n";
    check("channels: 3, height: 36, width: 36", layers, &[1, 3]);
}

#[test]
fn cuda_stem_of_odd_channels_strides_and_dilation() {
    let layers = "
  - conv: { name: a, out: 7, kernel: [3, 5], stride: [1, 3], padding: [2, 1], dilation: [2, 1] }
  - gelu
";
    check("channels: 1, height: 12, width: 40", layers, &[2]);
    let layers = "  - conv: { name: a, out: 83, kernel: 5, stride: 2, padding: 2, dilation: 3 }\n  - silu\n";
    check("channels: 4, height: 21, width: 22", layers, &[1]);
    check("channels: 2, length: 301", "  - conv: { name: a, out: 24, kernel: 10, stride: 2 }\n", &[3]);
}

#[test]
fn cuda_stem_with_a_kernel_for_each_sample() {
    // Cells of 24 channels, of 12, which are no whole octets, and of 6, which are no whole quads.
    for (out, ratio) in [(48, "1/2"), (24, "1/2"), (12, "1/2")] {
        for batch in [1, 3] {
            for precision in [F32, F16] {
                let spec = format!(
                    "
kwc: 1
name: network
input: {{ channels: 3, height: 19, width: 22 }}
warehouses: {{ budget: 1, cell_out_ratio: {ratio} }}
layers:
  - conv: {{ name: a, out: {out}, kernel: 3, stride: 2, padding: 1, bias: true, warehouse: w }}
  - relu6
"
                );
                let ran = assert_agrees(&spec, precision, batch, &[]);
                assert!(ran.launches.iter().any(|(kernel, _)| kernel.starts_with("stem")), "{out}");
            }
        }
    }
}

#[test]
fn cuda_stem_leaves_sums_for_averages() {
    let layers = "
  - conv: { name: a, out: 43, kernel: 3, stride: 2, padding: 1 }
  - relu
  - global_avg_pool
";
    for ran in check("channels: 3, height: 41, width: 23", layers, &[1, 3]) {
        assert!(ran.launches.iter().all(|(kernel, _)| !kernel.starts_with("partial_sums")));
    }
}
