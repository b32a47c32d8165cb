//! The stages, as one list.

use std::ops::Range;

use crate::check::{self, Checked};
use crate::diagnostic::Diagnostics;
use crate::plan::cuda;
use crate::source::{Files, Sources};
use crate::spec;
use crate::{emit, hash, lower, plan};

/// A parameter of the network set from outside the spec (`--set name=value`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Name of the parameter.
    pub name: String,
    /// Its value, written as in a spec.
    pub value: String,
}

/// A compilation that went wrong: all errors, and the sources that they point into.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What was read.
    pub sources: Sources,
    /// What is wrong with it.
    pub diagnostics: Diagnostics,
}

/// From a spec to a checked network.
///
/// # Errors
/// Everything that is wrong with the spec.
pub fn front(path: &str, files: &dyn Files, settings: &[Setting]) -> Result<Checked, Failure> {
    let mut sources = Sources::default();
    let mut diagnostics = Diagnostics::default();
    let checked = spec::read(path, files, settings, &mut sources, &mut diagnostics)
        .and_then(|spec| lower::lower(&spec, &mut diagnostics))
        .and_then(|network| check::check(network, &mut diagnostics));
    match checked {
        Some(mut checked) if diagnostics.is_empty() => {
            checked.locate(&sources);
            Ok(checked)
        }
        Some(_) | None => {
            diagnostics.sort();
            Err(Failure { sources, diagnostics })
        }
    }
}

/// How the kernels' source is compiled, besides the architecture.
pub const NVRTC_OPTIONS: [&str; 1] = ["--std=c++17"];

/// A network compiled for CUDA, as far as that goes without a compiler for CUDA.
#[derive(Debug, Clone, PartialEq)]
pub struct CudaNetwork {
    /// The Program, its kernels, and how to make its weights.
    pub planned: cuda::Planned,
    /// The kernels' source, `kernels.cu`: self-contained.
    pub source: String,
    /// The lines of each kernel there, counted from 1.
    pub lines: Vec<Range<usize>>,
}

/// From a checked network to kernels and what launches them.
///
/// # Errors
/// A dump of something that doesn't exist; a layer that is too large for the kernels.
pub fn cuda(checked: &Checked, options: &cuda::Options) -> Result<CudaNetwork, plan::Error> {
    let mut planned = cuda::plan(checked, options)?;
    let emit::cuda::Source { text, lines } = emit::cuda::source(&planned);
    planned.program.source_id = hash::of(text.as_bytes()).into();
    Ok(CudaNetwork { planned, source: text, lines })
}
