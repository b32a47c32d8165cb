//! (to be written)

use kwc_program::{Linear, Step};

use super::lower::Lowering;

pub(super) fn lower(_lowering: &mut Lowering<'_>, step: &Step, _op: &Linear) {
    unreachable!("{}", step.layer)
}
