//! What can go wrong, and what to do about it.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why NVRTC can't be found, fetched or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is nowhere.
    #[error(
        "NVRTC was not found. Looked at:\n{0}\
         Install it (`pip install nvidia-cuda-nvrtc`), have it fetched (`kwc toolchain --fetch`), or set KWC_NVRTC to the \
         library or its directory"
    )]
    NotFound(Places),
    /// The environment variable says where it is, and it isn't there.
    #[error("{variable}={value} names no usable NVRTC: {reason}. Correct it, or unset it to have NVRTC looked for")]
    Wrong {
        /// The environment variable.
        variable: &'static str,
        /// Its value.
        value: String,
        /// What is wrong.
        reason: String,
    },
    /// The library can't be loaded, or is no NVRTC.
    #[error("can't load {path}: {reason}")]
    Load {
        /// The library.
        path: PathBuf,
        /// What the loader says.
        reason: String,
    },
    /// It couldn't be downloaded.
    #[error(
        "can't fetch NVRTC with pip:\n{attempts}\
         Where there is no network, install the wheel nvidia-cuda-nvrtc by other means and set KWC_NVRTC to its \
         nvidia/cu13/lib"
    )]
    Fetch {
        /// What was tried.
        attempts: Places,
    },
    /// The directory for a download can't be used.
    #[error("can't write NVRTC to {path}: {source}")]
    Directory {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// The source doesn't compile.
    #[error("{name} does not compile for {architecture}:\n{log}")]
    Source {
        /// The name that the source was given.
        name: String,
        /// What it was compiled for.
        architecture: String,
        /// The compiler's messages.
        log: String,
    },
    /// NVRTC refuses an option: one that it doesn't know, or an architecture of another version.
    #[error("NVRTC refuses the options {options:?}: {log}")]
    Options {
        /// The options.
        options: Vec<String>,
        /// The compiler's messages, or the name of its error.
        log: String,
    },
    /// A source, name or option that can't be a C string.
    #[error("{0} contains a zero byte")]
    ZeroByte(&'static str),
    /// NVRTC failed in another way.
    #[error("{function}: {name}")]
    Call {
        /// The function that failed.
        function: &'static str,
        /// The name of the error.
        name: String,
    },
}

/// A place that was looked at, or a way that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The place.
    pub place: String,
    /// Why it was no good.
    pub outcome: String,
}

/// Places that were looked at, in order. Displayed one a line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places(pub Vec<Attempt>);

impl Places {
    pub(crate) fn add(&mut self, place: impl Into<String>, outcome: impl Into<String>) {
        self.0.push(Attempt { place: place.into(), outcome: outcome.into() });
    }
}

impl fmt::Display for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|Attempt { place, outcome }| writeln!(f, "  {place}: {outcome}"))
    }
}
