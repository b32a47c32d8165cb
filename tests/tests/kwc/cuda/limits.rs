//! What is too large for a kernel, and what a plan's ids and figures must tell apart.

use kwc_compiler::pipeline;
use kwc_compiler::plan::cuda::{Options, Planned};

use super::compare::assert_agrees;
use crate::golden::checked_text;
use crate::vgpu::nvrtc;

fn plan(spec: &str, max_batch: usize) -> Result<Planned, String> {
    let options = Options { max_batch, ..Options::default() };
    pipeline::cuda(&checked_text(spec), &options).map(|network| network.planned).map_err(|error| error.to_string())
}

#[test]
fn cuda_layers_that_are_too_large_are_refused_by_name() {
    let many = "
kwc: 1
name: many
input: { tokens: 1, channels: 8 }
warehouses: { budget: 26000 }
layers:
  - linear: { name: fc, out: 8, warehouse: w }
";
    let error = plan(many, 8).unwrap_err();
    // 26,001 logits in a row of 26,008, 16 hidden units, and a float and four that a block always has.
    let bytes = (26_008 + 16 + 1 + 4) * 4;
    assert!(error.contains("`fc`") && error.contains("26001 logits") && error.contains("98304"), "{error}");
    assert!(error.contains(&format!("take {bytes} bytes of shared memory")), "{error}");
    let high = "
kwc: 1
name: high
input: { channels: 64, height: 8192, width: 8192 }
layers:
  - conv: { name: a, out: 8, kernel: 1 }
";
    let error = plan(high, 8).unwrap_err();
    assert!(error.contains("`a`") && error.contains("bytes"), "{error}");
}

/// One mixture's logits, through a basis, that fill static shared memory to the last bytes but for the padding between its
/// arrays. Such a kernel takes dynamic shared memory, and NVRTC compiles it.
#[test]
fn cuda_attentions_that_fill_shared_memory_are_compiled() {
    let layer = |index: usize| format!("  - conv: {{ name: c{index}, kernel: 1, out: 17, warehouse: w }}\n");
    let spec = format!(
        "
kwc: 1
name: full
input: {{ channels: 17, height: 2, width: 2 }}
warehouses: {{ budget: 1, cell_out_ratio: 1, cell_in_ratio: 1/17, reduction: 1, basis_ratio: 1/700 }}
layers:
{}  - conv: {{ name: last, kernel: 1, out: 15, warehouse: w }}
",
        (0..38).map(layer).collect::<String>()
    );
    let network = pipeline::cuda(&checked_text(&spec), &Options { max_batch: 1, ..Options::default() }).unwrap();
    // 11,237 cells and one, 17 hidden units, and what else a block has: 49,148 bytes of 49,152.
    assert!(network.planned.kernels.iter().any(|kernel| kernel.shared_bytes == 49_148));
    let mut options = kwc_nvrtc::Options::new("sm_80");
    options.more = pipeline::NVRTC_OPTIONS.map(str::to_owned).into();
    if let Err(error) = nvrtc().compile(&network.source, "kernels.cu", &options) {
        panic!("{error}");
    }
}

/// Layers need no names: then the spec's line says which one is meant.
#[test]
fn cuda_layers_without_a_name_are_refused_by_their_place() {
    let high = "kwc: 1
name: high
input: { channels: 64, height: 8192, width: 8192 }
layers:
  - relu
";
    let error = plan(high, 8).unwrap_err();
    // The fifth line, from its fifth character on.
    assert!(error.starts_with("the layer at ") && error.contains(":5:5 is too large"), "{error}");
    let named = high.replace("- relu", "- batch_norm: { name: norm }");
    let error = plan(&named, 8).unwrap_err();
    assert!(error.starts_with("layer `norm` at ") && error.contains(":5:5 is too large"), "{error}");
}

/// So many positions that their partial sums don't each fit a row of blocks.
#[test]
fn cuda_averages_over_many_positions_are_planned() {
    let long = "
kwc: 1
name: long
input: { channels: 8, length: 4300000 }
layers:
  - global_avg_pool
";
    let planned = plan(long, 1).unwrap();
    let grids = planned.program.variants.iter().flat_map(|variant| variant.launches.iter().map(|launch| launch.grid));
    assert!(grids.flat_map(|[_, y, z]| [y, z]).all(|extent| extent.blocks(1) <= 65535));
}

/// Weights packed for one network aren't another's, even where they lie alike: here an epsilon is folded in.
#[test]
fn cuda_weights_ids_tell_how_weights_are_made() {
    let spec = |eps: &str| {
        format!(
            "
kwc: 1
name: norm
input: {{ channels: 8, height: 4, width: 4 }}
layers:
  - conv: {{ name: a, out: 8, kernel: 1 }}
  - batch_norm: {{ name: n, eps: {eps} }}
"
        )
    };
    let id = |eps: &str| plan(&spec(eps), 1).unwrap().program.weights_id;
    assert_eq!(id("1e-5"), id("1e-5"));
    assert_ne!(id("1e-5"), id("1e-1"));
}

#[test]
fn cuda_figures_of_merged_ranges_are_those_of_the_largest_batch() {
    let spec = "
kwc: 1
name: merged
input: { channels: 32, height: 8, width: 8 }
warehouses: { budget: 1, cell_in_ratio: 1/2, cell_out_ratio: 1/2 }
layers:
  - conv: { name: a, out: 32, kernel: 1, warehouse: w }
";
    for max_batch in [1, 2, 12] {
        let planned = plan(spec, max_batch).unwrap();
        for (variant, works) in planned.program.variants.iter().zip(&planned.work) {
            for work in works {
                assert!(
                    work.padded.of(variant.batch) >= work.useful.of(variant.batch),
                    "{work:?} of {}",
                    variant.batch
                );
            }
        }
    }
}

/// A window too wide to be unrolled.
#[test]
fn cuda_wide_depthwise_windows_agree() {
    let spec = "
kwc: 1
name: wide
input: { channels: 8, length: 60 }
layers:
  - conv: { name: a, out: 8, kernel: 33, padding: 16, groups: 8 }
";
    let ran = assert_agrees(spec, kwc_program::cuda::Precision::F16, 2, &[]);
    assert!(ran.launches.iter().all(|(kernel, _)| !kernel.starts_with("depthwise")));
}
