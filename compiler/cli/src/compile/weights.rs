//! Packed weights of a folder: which stay, which are made, and what must not be lost.

use std::path::{Path, PathBuf};

use kwc_compiler::check::Checked;
use kwc_compiler::state;
use kwc_compiler::weights::{Checkpoint, matching};
use kwc_runtime::packed::{PackedWeights, Target};
use kwc_runtime::program;

use super::build::Request;
use crate::failure::Failure;
use crate::model::open_checkpoint;

/// Name of the file of packed weights.
pub(super) const FILE: &str = "weights.safetensors";

/// What is known of packed weights before anything is made.
pub(super) struct Found<'a> {
    /// Those of the folder that stay, and what was warned of them.
    pub(super) kept: Option<(PackedWeights, Vec<String>)>,
    /// The checkpoint to pack, by its path.
    pub(super) given: Option<(&'a Path, Checkpoint)>,
    /// With [`Request::is_check`], why packed weights of the folder can't stay.
    pub(super) lost: Option<String>,
}

/// Which packed weights a Program takes.
pub(super) struct Fitting<'a> {
    target: Target,
    network: &'a str,
    weights_id: &'a str,
    bytes: usize,
}

impl<'a> Fitting<'a> {
    pub(super) fn cpu(program: &'a program::Program) -> Self {
        let bytes = program.weight_elements * size_of::<f32>();
        Self { target: Target::Cpu, network: &program.name, weights_id: &program.weights_id, bytes }
    }

    pub(super) fn cuda(program: &'a program::cuda::Program) -> Self {
        let bytes = program.weight_bytes;
        Self { target: Target::Cuda, network: &program.name, weights_id: &program.weights_id, bytes }
    }
}

/// Opens the checkpoint, and looks at what is in the folder.
///
/// # Errors
/// The checkpoint can't be read or isn't the network's; packed weights in the folder would be lost, or what is in their place
/// is none.
pub(super) fn find<'a>(checked: &Checked, request: &Request<'a>, fitting: &Fitting<'_>) -> Result<Found<'a>, Failure> {
    let given =
        request.weights.map(|path| Ok::<_, Failure>((path, open(checked, path, request.state)?))).transpose()?;
    refuse_foreign(request)?;
    let (kept, lost) = match kept(fitting, request) {
        Ok(kept) => (kept, None),
        Err(why) => (None, Some(why)),
    };
    match lost {
        Some(why) if !request.is_check => Err(Failure::file(
            &request.folder.join(FILE),
            format!("these packed weights would be lost: {why}"),
        )
        .hint(
            "pack them again with `--weights FILE`, remove them with `--drop-weights`, or compile to another folder",
        )),
        lost => Ok(Found { kept, given, lost }),
    }
}

/// Whether `--drop-weights` takes away the file in the place of packed weights.
pub(super) fn is_dropped(request: &Request<'_>) -> bool {
    request.drop_weights && PackedWeights::read(&request.folder.join(FILE)).is_ok()
}

/// Opens weights and compares them with the network.
fn open(checked: &Checked, path: &Path, state: Option<&str>) -> Result<Checkpoint, Failure> {
    let checkpoint = open_checkpoint(path, state)?;
    matching::compare(&state::tensors(checked), &checkpoint)?;
    Ok(checkpoint)
}

/// The packed weights in the folder, or those that its manifest lists, if this compile neither replaces nor removes them.
fn packed_before(request: &Request<'_>) -> Option<PathBuf> {
    let path = request.folder.join(FILE);
    (request.weights.is_none() && !request.drop_weights && (is_listed(request) || path.exists())).then_some(path)
}

/// Whether the folder's manifest lists packed weights.
fn is_listed(request: &Request<'_>) -> bool {
    request.earlier.as_ref().is_some_and(|earlier| earlier.files.contains_key(FILE))
}

/// The packed weights of the folder that stay, and what was warned of them.
///
/// # Errors
/// Why they can't stay: they are not those of this network and these options, or can't be read.
fn kept(fitting: &Fitting<'_>, request: &Request<'_>) -> Result<Option<(PackedWeights, Vec<String>)>, String> {
    let Some(path) = packed_before(request) else { return Ok(None) };
    if !path.exists() {
        return Err("missing, and manifest.json lists them".to_owned());
    }
    let weights = PackedWeights::read(&path).map_err(|e| {
        // The error of which this is a part names the file.
        let said = e.to_string();
        said.strip_prefix(&format!("packed weights {}: ", path.display())).unwrap_or(&said).to_owned()
    })?;
    if let Some(other) =
        request.earlier.as_ref().map(|earlier| &earlier.network).filter(|name| *name != fitting.network)
    {
        return Err(format!("the folder holds the network `{other}`, not `{}`", fitting.network));
    }
    if weights.target() != fitting.target {
        return Err(format!("they are for the target `{}`", weights.target()));
    }
    if weights.weights_id() != fitting.weights_id || weights.bytes().len() != fitting.bytes {
        return Err("packed for another spec or other options".to_owned());
    }
    let warnings = request.earlier.as_ref().map(|earlier| earlier.warnings.clone()).unwrap_or_default();
    Ok(Some((weights, warnings)))
}

/// Refuses a file in the place of packed weights that no compile wrote: a program would load it.
fn refuse_foreign(request: &Request<'_>) -> Result<(), Failure> {
    let path = request.folder.join(FILE);
    if is_listed(request) || !path.is_file() || PackedWeights::read(&path).is_ok() {
        return Ok(());
    }
    Err(Failure::file(&path, "no earlier compile wrote this file, and it holds no packed weights")
        .hint("move it away, or compile to another folder; `--weights FILE` packs a checkpoint"))
}
