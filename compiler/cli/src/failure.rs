//! Why a verb stopped.

use std::fmt::Display;
use std::path::Path;

use kwc_compiler::{pipeline, weights};

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

    /// An error about a file: `FILE: what`.
    pub(crate) fn file(path: &Path, what: impl Display) -> Self {
        Self::input(format!("{}: {what}", path.display()))
    }

    /// Names a way out.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        match self {
            Self::Input { message, .. } => Self::Input { message, hint: Some(hint.into()) },
            Self::Spec(_) | Self::Reported | Self::ReaderGone => self,
        }
    }
}

impl From<weights::Error> for Failure {
    fn from(error: weights::Error) -> Self {
        let text = error.to_string();
        match text.split_once("\nhint: ") {
            Some((message, hint)) => Self::input(message).hint(hint),
            None => Self::input(text),
        }
    }
}

impl From<kwc_runtime::Error> for Failure {
    fn from(error: kwc_runtime::Error) -> Self {
        Self::input(error.to_string())
    }
}
