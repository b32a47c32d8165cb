//! (to be written)

use kwc_program::{LayerNorm, Step};

use super::lower::Lowering;

pub(super) fn lower(_lowering: &mut Lowering<'_>, step: &Step, _op: &LayerNorm) {
    unreachable!("{}", step.layer)
}
