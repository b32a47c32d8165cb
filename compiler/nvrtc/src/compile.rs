//! What to compile for, and what comes out.

/// What to compile for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// `compute_80` and the like for PTX, `sm_80` and the like for a cubin.
    pub architecture: String,
    /// Whether the code says which source lines it stems from (`-lineinfo`).
    pub line_info: bool,
    /// Macros and their values.
    pub defines: Vec<(String, String)>,
    /// More options, as NVRTC takes them: `--use_fast_math`, `--maxrregcount=64`.
    pub more: Vec<String>,
}

impl Options {
    /// Only the architecture.
    #[must_use]
    pub fn new(architecture: impl Into<String>) -> Self {
        Self { architecture: architecture.into(), line_info: false, defines: Vec::new(), more: Vec::new() }
    }

    /// The options as NVRTC takes them.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![format!("--gpu-architecture={}", self.architecture)];
        if self.line_info {
            arguments.push("--generate-line-info".to_owned());
        }
        arguments.extend(self.defines.iter().map(|(name, value)| format!("--define-macro={name}={value}")));
        arguments.extend(self.more.iter().cloned());
        arguments
    }

    /// Whether the architecture is a real one, which a cubin is made for.
    #[must_use]
    pub fn makes_cubin(&self) -> bool {
        self.architecture.starts_with("sm_")
    }
}

/// What comes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The code.
    pub code: Code,
    /// For a cubin, the PTX that it was made of: the same as for the virtual architecture of that number. `None` for PTX,
    /// and where this NVRTC doesn't keep it.
    pub intermediate: Option<String>,
    /// Warnings; empty where there are none.
    pub log: String,
}

/// Compiled code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Code {
    /// PTX, without the zero byte at its end.
    Ptx(String),
    /// A cubin: an ELF file.
    Cubin(Vec<u8>),
}
