//! Mixing inside the convolution: results, and what the kernel does, counted.

use kwc_compiler::pipeline;
use kwc_compiler::plan::cuda::{Mixing, Options};

use super::compare::assert_agrees_as;
use super::device::Ran;
use crate::golden::checked_text;

fn inside(max_batch: usize) -> Options {
    Options { mixing: Mixing::Inside, max_batch, ..Options::default() }
}

/// Results must agree whether the range of batches is for one sample or for two. The launches that mix inside, `layers` of
/// them, must do the products of their tiles, without conflicts of banks or local memory, and the traffic that is
/// planned for them.
#[track_caller]
fn assert_inside(spec: &str, layers: usize) {
    for (max_batch, batch) in [(1, 1), (4, 1), (4, 2)] {
        let options = inside(max_batch);
        let ran = assert_agrees_as(spec, &options, batch);
        let planned = pipeline::cuda(&checked_text(spec), &options).unwrap().planned;
        assert_eq!(ran.launches.len(), planned.work[0].len());
        let mut mixed = 0;
        for ((kernel, counters), work) in ran.launches.iter().zip(&planned.work[0]) {
            if !kernel.starts_with("mix_conv_") {
                continue;
            }
            mixed += 1;
            let what = format!("{kernel}, batch {batch} of {max_batch}");
            assert_eq!(counters.bank_conflicts, 0, "{what}");
            assert_eq!(counters.local, 0, "{what}");
            assert_eq!(counters.tensor_multiply_adds, work.padded.of(batch), "{what}");
            let traffic = 32 * (counters.global_loads.sectors + counters.global_stores.sectors);
            let ratio = traffic as f64 / work.moved.of(batch) as f64;
            assert!((0.95..=1.01).contains(&ratio), "{what}: {traffic} bytes, {ratio:.3} of what is planned");
        }
        assert_eq!(mixed, layers, "{:?}", kernels(&ran));
    }
}

fn kernels(ran: &Ran) -> Vec<&str> {
    ran.launches.iter().map(|(kernel, _)| kernel.as_str()).collect()
}

/// A network of one warehouse.
fn network(channels: usize, size: usize, warehouse: &str, layers: &str) -> String {
    format!(
        "
kwc: 1
name: inside
input: {{ channels: {channels}, height: {size}, width: {size} }}
warehouses: {{ {warehouse} }}
layers:
{layers}"
    )
}

/// 3x3 of both strides: nine mixtures of 18 cells, in a bottleneck with all that an epilogue can do, and the averages that
/// the attentions after it read.
#[test]
fn cuda_mixing_inside_3x3_convolutions() {
    let layers = "
  - conv: { name: a, out: 32, kernel: 3, padding: 1, stride: 2, warehouse: w, bias: true }
  - relu
  - residual:
      body:
        - conv: { name: b, out: 32, kernel: 3, padding: 1, warehouse: w }
        - batch_norm: { name: bn }
      shortcut: []
  - silu
  - global_avg_pool
";
    assert_inside(&network(32, 13, "budget: 1", layers), 2);
}

/// 1x1 with groups of output channels, of input channels, and of both: cells of 32x48 channels.
#[test]
fn cuda_mixing_inside_1x1_convolutions() {
    let layers = "
  - conv: { name: a, out: 128, kernel: 1, warehouse: w }
  - batch_norm: { name: bn1 }
  - relu
  - conv: { name: b, out: 32, kernel: 1, warehouse: w }
  - conv: { name: c, out: 64, kernel: 1, stride: 2, warehouse: x, bias: true }
  - conv: { name: d, out: 96, kernel: 1, warehouse: x }
";
    assert_inside(&network(64, 7, "budget: 2", layers), 4);
}

/// Cells that are whole kernels, in two groups of channels each; a kernel that isn't square, dilated; more than a run of cells.
#[test]
fn cuda_mixing_inside_with_cells_of_whole_windows() {
    let layers = "
  - conv: { name: a, out: 64, kernel: [3, 2], padding: [1, 0], dilation: [1, 2], warehouse: w }
  - gelu
  - conv: { name: b, out: 64, kernel: [3, 2], padding: 1, warehouse: w }
";
    let warehouse = "budget: 5, partition: whole, cell_in_ratio: 1/2, cell_out_ratio: 1/2";
    assert_inside(&network(64, 6, warehouse, layers), 2);
}

/// Tokens, and a basis that is folded into the cells or, where the caller asks for attentions, isn't.
#[test]
fn cuda_mixing_inside_with_a_basis() {
    let spec = "
kwc: 1
name: tokens
input: { tokens: 21, channels: 32 }
warehouses: { budget: 8, basis_ratio: 1/16, cell_in_ratio: 1/2, cell_out_ratio: 1/2 }
layers:
  - linear: { name: a, out: 32, warehouse: w }
  - linear: { name: b, out: 32, warehouse: w }
  - silu
  - linear: { name: c, out: 32, warehouse: w }
";
    assert_inside(spec, 3);
    let dumps = vec!["a.conv.attention".to_owned(), "c.conv.attention".to_owned()];
    let ran = assert_agrees_as(spec, &Options { dumps, ..inside(2) }, 2);
    assert_eq!(kernels(&ran).iter().filter(|kernel| kernel.starts_with("mix_conv_")).count(), 3);
}

/// Cells of 512x512 channels, as in the last stage of a `ResNet50`, but fewer: rows in many parts.
#[test]
fn cuda_mixing_inside_with_wide_cells() {
    let layers = "
  - conv: { name: a, out: 512, kernel: 3, padding: 1, stride: 2, warehouse: w }
  - batch_norm: { name: bn }
  - relu
";
    let spec = network(512, 14, "budget: 2", layers);
    assert_inside(&spec, 1);
    // That is what the model chooses too: what reads the warehouse twice can't be faster.
    let ran = assert_agrees_as(&spec, &Options { max_batch: 2, ..Options::default() }, 1);
    assert!(kernels(&ran).iter().any(|kernel| kernel.starts_with("mix_conv_")), "{:?}", kernels(&ran));
}

/// What the kernel doesn't cover is mixed apart, whatever is asked for.
#[test]
fn cuda_mixing_apart() {
    let conv = "  - conv: { name: a, out: 32, kernel: 3, padding: 1, warehouse: w }\n";
    for (spec, batch) in [
        // More than 64 positions; channels that are no multiple of 16; more than two samples.
        (network(32, 9, "budget: 1", conv), 1),
        (network(24, 7, "budget: 1", conv), 1),
        (network(32, 7, "budget: 1", conv), 3),
        (network(32, 7, "budget: 1", &conv.replace("kernel: 3,", "kernel: 3, groups: 2,")), 1),
    ] {
        let ran = assert_agrees_as(&spec, &inside(4), batch);
        assert!(!kernels(&ran).iter().any(|kernel| kernel.starts_with("mix_conv_")), "{:?}", kernels(&ran));
    }
    let apart = Options { mixing: Mixing::Apart, ..inside(4) };
    let ran = assert_agrees_as(&network(32, 7, "budget: 1", conv), &apart, 1);
    assert!(kernels(&ran).contains(&"mix_0"), "{:?}", kernels(&ran));
}
