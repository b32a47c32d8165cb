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

/// Cells of one layer alone: with a basis, all are its own.
#[test]
fn cuda_attentions_to_own_cells() {
    let spec = "
kwc: 1
name: own
input: { channels: 20, height: 4, width: 3 }
warehouses: { budget: 5, basis_ratio: 1/16, cell_out_ratio: 1/4, cell_in_ratio: 1/4 }
layers:
  - conv: { name: a, out: 12, kernel: 1, warehouse: w }
";
    for precision in [F32, F16] {
        assert_agrees(spec, precision, 3, &["a.attention"]);
    }
}

/// A thousand cells, and more hidden units than a block has threads.
#[test]
fn cuda_attentions_of_many_cells() {
    let spec = "
kwc: 1
name: cells
input: { channels: 12, height: 5, width: 5 }
warehouses: { budget: 131, reduction: 45, attention_norm: layer }
layers:
  - conv: { name: a, out: 12, kernel: 3, warehouse: w }
";
    for (precision, batch) in [(F32, 1), (F16, 3)] {
        let ran = assert_agrees(spec, precision, batch, &["a.attention"]);
        assert!(ran.launches.iter().any(|(kernel, _)| kernel == "attention_mixtures_0"), "one launch");
    }
}

/// Each block reads its weights once, in whole sectors, and nothing waits for a bank of shared memory or for a stack.
#[test]
fn cuda_attentions_read_weights_once() {
    let spec = "
kwc: 1
name: traffic
input: { channels: 64, height: 40, width: 40 }
warehouses: { budget: 9 }
layers:
  - conv: { name: a, out: 64, kernel: 3, padding: 1, warehouse: w }
";
    let ran = assert_agrees(spec, F16, 4, &["a.attention"]);
    let Some((_, counters)) = ran.launches.iter().find(|(kernel, _)| kernel.starts_with("attention_mixtures")) else {
        panic!("an attention is launched")
    };
    // Nine blocks for each sample, one of each mixture: fc1, 25 partial sums of 64 positions, the norm, 82 logits and their
    // biases in rows of 88.
    assert_eq!(counters.grid, [9, 4, 1]);
    let block = 16 * 64 + 25 * 64 + 2 * 16 + 16 * 88 + 88;
    assert_eq!(counters.global_loads.sectors, 9 * 4 * block / 8);
    assert_eq!((counters.bank_conflicts, counters.local), (0, 0));
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

/// Channels whose average does not fit static shared memory (12,284 do), of a map and of one position: the hidden units'
/// launch reads it from global memory.
#[test]
fn cuda_attentions_of_more_channels_than_shared_memory_has_room_for() {
    for (channels, height, precision, batch) in
        [(12_280, 3, F32, 1), (12_285, 70, F32, 2), (12_285, 1, F16, 3), (30_001, 3, F16, 1), (30_001, 1, F32, 1)]
    {
        let spec = format!(
            "
kwc: 1
name: channels
input: {{ channels: {channels}, height: {height}, width: 1 }}
warehouses: {{ budget: 1, reduction: 1/1000 }}
layers:
  - conv: {{ name: a, out: 8, kernel: 1, warehouse: w }}
"
        );
        let ran = assert_agrees(&spec, precision, batch, &["a.attention"]);
        assert!(ran.launches.iter().any(|(kernel, _)| kernel == "attention_hidden_0"), "{channels}");
    }
}

/// Logits and hidden units that take more than 48 KB of shared memory: it is dynamic then.
#[test]
fn cuda_attentions_of_more_cells_than_static_shared_memory_has_room_for() {
    for (channels, warehouse, layers, precision, batch) in [
        // 12,280 logits are just too many for static shared memory; 20,001; 12,500 hidden units.
        (8, "budget: 12279", 1, F32, 2),
        (8, "budget: 12279", 1, F16, 1),
        (8, "budget: 20000, attention_norm: layer", 1, F16, 3),
        (2500, "budget: 1, reduction: 5, cell_in_ratio: 1/4", 1, F32, 1),
        // A basis: the logits twice, as they are made and as they are expanded.
        (8, "budget: 5000, basis_ratio: 1/16", 2, F32, 3),
        (8, "budget: 5000, basis_ratio: 1/16", 2, F16, 1),
    ] {
        let mut spec = format!(
            "
kwc: 1
name: cells
input: {{ channels: {channels}, height: 2, width: 1 }}
warehouses: {{ {warehouse} }}
layers:
"
        );
        for layer in 0..layers {
            spec += &format!("  - conv: {{ name: layer{layer}, out: 8, kernel: 1, warehouse: w }}\n");
        }
        let ran = assert_agrees(&spec, precision, batch, &["layer0.attention"]);
        let dynamic = ran.launches.iter().find(|(kernel, _)| kernel == "attention_mixtures_0");
        assert!(dynamic.is_some_and(|(_, counters)| counters.dynamic_shared > 48 << 10), "{channels}, {warehouse}");
    }
}
