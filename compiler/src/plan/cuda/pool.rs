//! (to be written)

use kwc_program::{Pool, Step};

use super::lower::Lowering;

pub(super) fn lower(_lowering: &mut Lowering<'_>, step: &Step, _op: &Pool) {
    unreachable!("{}", step.layer)
}
