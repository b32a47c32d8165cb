//! What a process on the virtual GPU writes, and `vgpu` reads: findings and launches, one JSON value a line, as they
//! occur, so that nothing is lost if the process dies.

pub mod summary;
pub mod trace;

use serde::{Deserialize, Serialize};

use crate::counters::Launch;
use crate::findings::Finding;

/// Version of the format of traces, which [`Record::Start`] names.
pub const FORMAT: u32 = 1;

/// A line of a trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
pub enum Record {
    /// The first line.
    Start {
        /// Version of this format.
        format: u32,
        /// For example `sm_80`.
        architecture: String,
        /// The process.
        process: u32,
    },
    /// A finding, at its first occurrence.
    Finding(Finding),
    /// A launch came to its end; its findings' final counts come with it.
    Launch {
        /// What it did; empty where counters are off.
        counters: Option<Box<Launch>>,
        /// The kernel.
        kernel: String,
        /// Which launch of the process, from 1.
        launch: u64,
        /// The findings with their counts.
        findings: Vec<Finding>,
    },
    /// A function that the stand-in doesn't offer was called, or one failed; with what it answered.
    Call {
        /// The function.
        function: String,
        /// The name of the error code.
        error: String,
        /// What was wrong.
        message: String,
    },
    /// The process ended in an orderly way.
    End,
}
