//! The files of device code.

use std::collections::BTreeSet;

use crate::plan::cuda::Family;

/// What every file may use.
const PRIMITIVES: &str = include_str!("library/primitives.cuh");

/// The files that these families need, in an order in which they can stand in one text.
pub(super) fn files(families: &BTreeSet<Family>) -> Vec<&'static str> {
    std::iter::once(PRIMITIVES).chain(families.iter().map(|&family| file(family))).collect()
}

const fn file(family: Family) -> &'static str {
    match family {
        Family::ConvF32 => include_str!("library/conv_f32.cuh"),
        Family::Direct => include_str!("library/direct.cuh"),
        Family::Map => include_str!("library/map.cuh"),
        Family::PortIn => include_str!("library/port_in.cuh"),
        Family::PortOut => include_str!("library/port_out.cuh"),
        Family::Flatten => include_str!("library/flatten.cuh"),
        Family::Conv
        | Family::Stem
        | Family::Depthwise
        | Family::Linear
        | Family::Mix
        | Family::MixF32
        | Family::AttentionHidden
        | Family::AttentionMixtures
        | Family::PartialSums
        | Family::Average
        | Family::Pool
        | Family::LayerNorm
        | Family::Concat
        | Family::Upsample
        | Family::GatherRows => "",
    }
}
