//! (to be written)

use kwc_program::{GlobalAverage, Step};

use super::lower::Lowering;
use super::storage::{Map, Sums};

pub(super) fn lower(_lowering: &mut Lowering<'_>, step: &Step, _op: &GlobalAverage) {
    unreachable!("{}", step.layer)
}

/// The average that partial sums amount to, as an activation of one position.
pub(super) fn finish(_lowering: &mut Lowering<'_>, layer: &str, _sums: Sums) -> Map {
    unreachable!("{layer}")
}
