//! Why a verb stopped.

use kwc_compiler::pipeline;

/// Why a verb stopped.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A spec is wrong.
    Spec(Box<pipeline::Failure>),
    /// Any other input is wrong.
    Input {
        /// One sentence, lower case, no full stop; names the place.
        message: String,
        /// A way out.
        hint: Option<String>,
    },
    /// Something is wrong, and standard output has said what.
    Reported,
    /// Whoever read standard output has gone (`kwc plan ... | head`): nobody is left to tell.
    ReaderGone,
}

impl Failure {
    /// An error that says what is wrong.
    pub(crate) fn input(message: impl Into<String>) -> Self {
        Self::Input { message: message.into(), hint: None }
    }
}
