//! The files of device code.

use std::collections::BTreeSet;

use crate::plan::cuda::Family;

/// What every file may use.
const PRIMITIVES: &str = include_str!("library/primitives.cuh");

/// What those on tensor cores use.
const TENSOR: &str = include_str!("library/tensor.cuh");

/// What mixing on tensor cores shares.
const MIXING: &str = include_str!("library/mixing.cuh");

/// What convolutions on tensor cores do with their sums.
const FINISHED: &str = include_str!("library/finished.cuh");

/// What the families of the attention share.
const ATTENTION: &str = include_str!("library/attention.cuh");

/// The files that these families need, in an order in which they can stand in one text.
pub(super) fn files(families: &BTreeSet<Family>) -> Vec<&'static str> {
    let any = |of: &[Family]| of.iter().any(|family| families.contains(family));
    let tensor = any(&[Family::Conv, Family::Mix, Family::MixConv]).then_some(TENSOR);
    let mixing = any(&[Family::Mix, Family::MixConv]).then_some(MIXING);
    let finished = any(&[Family::Conv, Family::MixConv]).then_some(FINISHED);
    let attention = any(&[Family::AttentionHidden, Family::AttentionMixtures]).then_some(ATTENTION);
    let own = families.iter().map(|&family| file(family));
    let shared = [tensor, mixing, finished, attention].into_iter().flatten();
    std::iter::once(PRIMITIVES).chain(shared).chain(own).collect()
}

const fn file(family: Family) -> &'static str {
    match family {
        Family::Conv => include_str!("library/conv.cuh"),
        Family::ConvF32 => include_str!("library/conv_f32.cuh"),
        Family::Stem => include_str!("library/stem.cuh"),
        Family::Depthwise => include_str!("library/depthwise.cuh"),
        Family::Direct => include_str!("library/direct.cuh"),
        Family::Linear => include_str!("library/linear.cuh"),
        Family::Mix => include_str!("library/mix.cuh"),
        Family::MixF32 => include_str!("library/mix_f32.cuh"),
        Family::MixConv => include_str!("library/mix_conv.cuh"),
        Family::AttentionHidden => include_str!("library/attention_hidden.cuh"),
        Family::AttentionMixtures => include_str!("library/attention_mixtures.cuh"),
        Family::PartialSums => include_str!("library/partial_sums.cuh"),
        Family::Average => include_str!("library/average.cuh"),
        Family::Pool => include_str!("library/pool.cuh"),
        Family::LayerNorm => include_str!("library/layer_norm.cuh"),
        Family::Map => include_str!("library/map.cuh"),
        Family::Concat => include_str!("library/concat.cuh"),
        Family::Upsample => include_str!("library/upsample.cuh"),
        Family::PortIn => include_str!("library/port_in.cuh"),
        Family::PortOut => include_str!("library/port_out.cuh"),
        Family::Flatten => include_str!("library/flatten.cuh"),
        Family::GatherRows => include_str!("library/gather_rows.cuh"),
    }
}
