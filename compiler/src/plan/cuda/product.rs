//! What kernels of convolutions and linear layers take: input, kernel, epilogue, output.

use kwc_program::cuda::{Argument, Element};

use super::elementwise::used;
use super::kernel::{Parameter, ParameterKind};

/// The operands of a product, in the order in which its family takes them: input, kernel, scale, shift, addend, output.
pub(super) struct Product {
    pub input: (Argument, Element),
    pub kernel: (Argument, Element),
    /// Scale, shift, addend; the addend is of the kernel's type.
    pub epilogue: [Option<Argument>; 3],
    pub output: (Argument, Element),
}

impl Product {
    /// Parameters of the family up to the output.
    pub(super) fn parameters(&self) -> Vec<Parameter> {
        let [scale, shift, add] = self.epilogue.map(|argument| argument.is_some());
        let maybe = |name, element, used| Parameter { name, kind: ParameterKind::Input(element), used };
        vec![
            used("input", ParameterKind::Input(self.input.1)),
            used("kernel", ParameterKind::Input(self.kernel.1)),
            maybe("scale", Element::F32, scale),
            maybe("shift", Element::F32, shift),
            maybe("add", self.kernel.1, add),
            used("output", ParameterKind::Output(self.output.1)),
        ]
    }

    /// Arguments for them.
    pub(super) fn arguments(&self) -> Vec<Option<Argument>> {
        let [scale, shift, add] = self.epilogue;
        vec![Some(self.input.0), Some(self.kernel.0), scale, shift, add, Some(self.output.0)]
    }
}
