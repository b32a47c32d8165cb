//! Linear layers of one position.

use kwc_program::cuda::Precision::{F16, F32};

use super::compare::assert_agrees;

/// A network of linear layers over one vector.
fn spec(channels: usize, layers: &str) -> String {
    format!("kwc: 1\nname: linears\ninput: {{ channels: {channels} }}\nlayers:\n{layers}")
}

#[track_caller]
fn assert_agree(spec: &str, batches: &[usize], dumps: &[&str]) {
    for &batch in batches {
        assert_agrees(spec, F32, batch, dumps);
        assert_agrees(spec, F16, batch, dumps);
    }
}

#[test]
fn cuda_linears_of_odd_channels_write_the_output_themselves() {
    let spec = spec(13, "  - linear: { name: fc, out: 21, bias: true }\n");
    for batch in [1, 2, 3, 11] {
        for precision in [F32, F16] {
            let ran = assert_agrees(&spec, precision, batch, &[]);
            let kernels: Vec<&str> =
                ran.launches.iter().map(|(kernel, _)| kernel.trim_end_matches(['0', '1', '_'])).collect();
            assert_eq!(kernels, ["port_in", "linear"]);
        }
    }
}

#[test]
fn cuda_linears_whose_result_is_read_on() {
    let layers = "
  - linear: { name: one, out: 27, bias: false }
  - gelu
  - linear: { name: two, out: 300, bias: true }
  - batch_norm: { name: bn }
  - relu
  - linear: { name: three, out: 5 }
";
    assert_agree(&spec(70, layers), &[1, 3, 9], &["one", "two"]);
}

#[test]
fn cuda_linears_with_a_residual() {
    let layers = "
  - linear: { name: one, out: 19, as: a }
  - linear: { name: two, out: 19, bias: false }
  - add: { from: [~, a] }
  - silu
  - linear: { name: three, out: 3 }
";
    assert_agree(&spec(9, layers), &[1, 3], &[]);
}

#[test]
fn cuda_linears_of_flattened_maps() {
    let spec = "
kwc: 1
name: flattened
input: { channels: 5, height: 3, width: 3 }
layers:
  - relu
  - flatten
  - linear: { name: fc, out: 10 }
";
    assert_agree(spec, &[1, 4], &[]);
}

#[test]
fn cuda_linears_add_up_averages_themselves() {
    let spec = "
kwc: 1
name: averaged
input: { channels: 13, height: 5, width: 7 }
layers:
  - relu
  - global_avg_pool
  - linear: { name: fc, out: 10 }
";
    for batch in [1, 3, 9] {
        for precision in [F32, F16] {
            let ran = assert_agrees(spec, precision, batch, &[]);
            assert!(ran.launches.iter().all(|(kernel, _)| !kernel.starts_with("average")));
        }
    }
}

#[test]
fn cuda_linears_with_a_kernel_for_each_sample() {
    let spec = "
kwc: 1
name: dynamic
input: { channels: 24 }
warehouses:
  budget: 1
  partition: whole
layers:
  - linear: { name: one, out: 36, warehouse: w }
  - relu
  - linear: { name: two, out: 12, warehouse: w, bias: false }
";
    assert_agree(spec, &[1, 3], &["one"]);
}
