//! Convolutions in single precision.

use std::collections::BTreeSet;

use kwc_program::cuda::Precision::F32;

use super::compare::assert_agrees;

/// A network of one input and these layers.
fn network(input: &str, layers: &str) -> String {
    format!("kwc: 1\nname: network\ninput: {{ {input} }}\nlayers:\n{layers}")
}

#[test]
fn cuda_conv_f32_strides_padding_and_dilation() {
    let layers = "
  - conv: { name: a, out: 12, kernel: 3, padding: 1, bias: true }
  - conv: { name: b, out: 37, kernel: [3, 2], stride: [2, 1], padding: [1, 0], dilation: [1, 2] }
  - conv: { name: c, out: 9, kernel: 5, stride: 3, padding: 4 }
";
    for batch in [1, 3] {
        assert_agrees(&network("channels: 10, height: 9, width: 11", layers), F32, batch, &["a", "b"]);
    }
}

#[test]
fn cuda_conv_f32_every_part_of_an_epilogue() {
    let layers = "
  - conv: { name: a, out: 20, kernel: 1 }
  - residual:
      body:
        - conv: { name: b, out: 20, kernel: 3, padding: 1, bias: true }
        - batch_norm: { name: bn }
        - gelu
  - relu6
  - residual:
      body:
        - conv: { name: c, out: 20, kernel: 1 }
        - batch_norm: { name: bn2 }
  - relu
";
    for batch in [1, 3] {
        assert_agrees(&network("channels: 6, height: 7, width: 5", layers), F32, batch, &["a"]);
    }
}

#[test]
fn cuda_conv_f32_one_dimension() {
    let layers = "
  - conv: { name: a, out: 12, kernel: 5, padding: 2, stride: 2 }
  - silu
  - conv: { name: b, out: 4, kernel: 1 }
";
    assert_agrees(&network("channels: 3, length: 75", layers), F32, 3, &["a"]);
}

#[test]
fn cuda_conv_f32_linear_layers_over_positions() {
    let layers = "  - linear: { name: a, out: 70, bias: true }\n  - gelu\n  - linear: { name: b, out: 33 }\n";
    assert_agrees(&network("tokens: 29, channels: 19", layers), F32, 3, &["a"]);
}

#[test]
fn cuda_conv_f32_every_size_of_tile() {
    // Each size is the best of the four for one of these, in the range of batches up to 2 and on 108 multiprocessors.
    let mut tiles = BTreeSet::new();
    for (side, out) in [(80, 60), (57, 60), (57, 30), (12, 30)] {
        let input = format!("channels: 9, height: {side}, width: {side}");
        let layers = format!("  - relu\n  - conv: {{ name: a, out: {out}, kernel: 1 }}\n");
        let ran = assert_agrees(&network(&input, &layers), F32, 1, &[]);
        let convolutions = ran.launches.iter().filter(|(kernel, _)| kernel.starts_with("conv_f32"));
        tiles.extend(convolutions.map(|(_, counters)| counters.static_shared));
    }
    assert_eq!(tiles.len(), 4, "{tiles:?}");
}

#[test]
fn cuda_conv_f32_moves_little() {
    let layers = "  - relu\n  - conv: { name: a, out: 64, kernel: 3, padding: 1 }\n";
    let ran = assert_agrees(&network("channels: 32, height: 16, width: 16", layers), F32, 1, &[]);
    let (_, counters) = ran.launches.iter().find(|(kernel, _)| kernel.starts_with("conv_f32")).unwrap();
    assert_eq!(counters.bank_conflicts, 0);
    assert_eq!(counters.local, 0);
    // Every access is of whole sectors.
    assert_eq!(counters.global_stores.bytes, 32 * counters.global_stores.sectors);
}

#[test]
fn cuda_conv_f32_with_a_kernel_for_each_sample() {
    // Cells of 24 output channels and of 6, which are no whole quads; and of half of the input channels.
    for (out, ratios) in [
        (48, "cell_out_ratio: 1/2"),
        (12, "cell_out_ratio: 1/2"),
        (20, "cell_in_ratio: 1/2"),
        (36, "cell_out_ratio: 1/2, cell_in_ratio: 1/2"),
    ] {
        let layers = format!(
            "  - relu\n  - conv: {{ name: a, out: {out}, kernel: 3, stride: 2, padding: 1, bias: true, warehouse: w }}\n"
        );
        let spec = format!(
            "kwc: 1\nname: network\ninput: {{ channels: 10, height: 13, width: 9 }}\nwarehouses: {{ budget: 1, {ratios} }}\n\
             layers:\n{layers}"
        );
        for batch in [1, 3] {
            let ran = assert_agrees(&spec, F32, batch, &[]);
            assert!(ran.launches.iter().any(|(kernel, _)| kernel.starts_with("conv_f32")), "{out}");
        }
    }
}

#[test]
fn cuda_conv_f32_leaves_sums_for_averages() {
    let layers = "  - relu\n  - conv: { name: a, out: 43, kernel: 3 }\n  - gelu\n  - global_avg_pool\n";
    for batch in [1, 3] {
        let ran = assert_agrees(&network("channels: 10, height: 13, width: 19", layers), F32, batch, &[]);
        assert!(ran.launches.iter().all(|(kernel, _)| !kernel.starts_with("partial_sums")));
    }
}
