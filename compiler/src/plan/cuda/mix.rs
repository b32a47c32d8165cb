//! (to be written)

use kwc_program::{Mix, Step};

use super::lower::Lowering;

pub(super) fn lower(_lowering: &mut Lowering<'_>, step: &Step, _op: &Mix) {
    unreachable!("{}", step.layer)
}
