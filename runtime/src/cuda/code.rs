//! The kernels' code in all its forms, and which of them a model uses.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use crate::program::{List, Text};

/// The kernels of a network. It can be built in a `const`, so generated Rust can hold it in a `static`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// CUDA C++ that needs no other file. Its SHA-256 is the Program's `source_id`.
    pub source: Text,
    /// Options that the source is compiled with, besides the architecture: `--std=c++17`.
    pub options: List<Text>,
    /// The source compiled to PTX.
    pub ptx: Option<Text>,
    /// The source compiled to machine code.
    pub cubins: List<Cubin>,
}

/// Machine code of one architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cubin {
    /// What it was compiled for: `sm_80`.
    pub architecture: Text,
    /// An ELF file.
    pub bytes: Cow<'static, [u8]>,
}

impl Cubin {
    /// Machine code in a `static`.
    #[must_use]
    pub const fn new(architecture: &'static str, bytes: &'static [u8]) -> Self {
        Self { architecture: Cow::Borrowed(architecture), bytes: Cow::Borrowed(bytes) }
    }

    /// Whether it runs on a device of an architecture (80 and the like): machine code runs on later devices of the same
    /// major number. `sm_90a` is for one architecture only.
    pub(super) fn runs_on(&self, device: u32) -> bool {
        match self.parsed() {
            Some((number, true)) => number == device,
            Some((number, false)) => number / 10 == device / 10 && number <= device,
            None => false,
        }
    }

    /// The number in its architecture, and whether a letter follows.
    pub(super) fn parsed(&self) -> Option<(u32, bool)> {
        let digits = self.architecture.strip_prefix("sm_")?;
        let number = digits.trim_end_matches(|last: char| last.is_ascii_lowercase());
        Some((number.parse().ok()?, number != digits))
    }
}

/// The form of the code that a model runs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CodeUsed {
    /// A cubin that came with the code.
    Cubin {
        /// What it was compiled for.
        architecture: String,
    },
    /// The PTX that came with the code, compiled by the driver.
    Ptx {
        /// The PTX version that it was given, where the driver does not take its own.
        lowered: Option<String>,
    },
    /// What an earlier load compiled and kept.
    Cached {
        /// The file.
        path: PathBuf,
    },
    /// Compiled from source just now.
    Compiled {
        /// What it was compiled for: `sm_80` for machine code, `compute_80` for PTX.
        architecture: String,
        /// The version of NVRTC: major, minor.
        nvrtc: (i32, i32),
        /// Where it was kept for the next load, or why it was not.
        kept: Result<PathBuf, String>,
    },
}

impl fmt::Display for CodeUsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cubin { architecture } => write!(f, "the cubin for {architecture}"),
            Self::Ptx { lowered: None } => f.write_str("PTX"),
            Self::Ptx { lowered: Some(version) } => write!(f, "PTX, as version {version}"),
            Self::Cached { path } => write!(f, "compiled before, {}", path.display()),
            Self::Compiled { architecture, nvrtc: (major, minor), kept } => {
                write!(f, "compiled now for {architecture} by NVRTC {major}.{minor}")?;
                match kept {
                    Ok(path) => write!(f, ", kept as {}", path.display()),
                    Err(reason) => write!(f, ", not kept: {reason}"),
                }
            }
        }
    }
}
