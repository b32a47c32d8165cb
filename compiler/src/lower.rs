//! Lowering: from the spec's tree to the network.

use crate::diagnostic::Diagnostics;
use crate::ir::Network;
use crate::spec::Spec;

/// Expands blocks, repetition and parameters, and computes all shapes. Errors go to `diagnostics`; the result is there if
/// there was none.
pub fn lower(_spec: &Spec, _diagnostics: &mut Diagnostics) -> Option<Network> {
    None
}
