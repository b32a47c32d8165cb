//! (to be written)

use kwc_program::{Attention, Step};

use super::lower::Lowering;

pub(super) fn lower(_lowering: &mut Lowering<'_>, step: &Step, _op: &Attention) {
    unreachable!("{}", step.layer)
}
