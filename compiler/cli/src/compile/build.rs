//! From a network to the files of its folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use kwc_compiler::check::Checked;
use kwc_compiler::emit::cuda::{PTX_FILE, SOURCE_FILE, cubin_file};
use kwc_compiler::emit::package::Generated;
use kwc_compiler::emit::{CodeForm, ptx};
use kwc_compiler::pipeline::{self, CudaNetwork, NVRTC_OPTIONS, Setting};
use kwc_compiler::plan::cuda::Mixing;
use kwc_compiler::plan::{self, cuda};
use kwc_nvrtc::{Code, Nvrtc, Output};
use kwc_program::cuda::Precision;
use kwc_runtime::packed::PackedWeights;
use rayon::prelude::*;

use super::content::Content;
use super::fault;
use super::folder::Files;
use super::manifest::{self, Compiler, Manifest};
use super::options::Target;
use super::weights::{self, Fitting, Found};
use crate::failure::Failure;
use crate::model::{packed_cpu, packed_cuda};
use crate::plan::launches;
use crate::warnings::{self, Warnings};
use crate::{progress, target, terminal, toolchain};

/// What PTX is made for: the first architecture that the kernels run on.
const PTX_TARGET: &str = "compute_80";

/// The architecture whose cubin is made of that PTX.
const PTX_CUBIN: &str = "sm_80";

/// What is to be compiled, besides the network.
pub(super) struct Request<'a> {
    pub(super) options: &'a Target,
    pub(super) settings: &'a [Setting],
    pub(super) weights: Option<&'a Path>,
    pub(super) state: Option<&'a str>,
    /// Whether packed weights that are in the folder may go.
    pub(super) drop_weights: bool,
    /// Whether nothing is going to be written.
    pub(super) is_check: bool,
    /// The folder of the runtime's sources, as seen from the result's.
    pub(super) runtime: Option<String>,
    /// What the folder says of itself.
    pub(super) earlier: Option<Manifest>,
    pub(super) folder: &'a Path,
}

/// What comes of it.
pub(super) struct Compilation {
    /// All files.
    pub(super) files: Files,
    /// Files of an earlier compile that this one doesn't make.
    pub(super) stale: Vec<String>,
    /// Whether the packed weights are those of an earlier compile.
    pub(super) has_kept_weights: bool,
    /// With [`Request::is_check`], why packed weights of the folder can't stay.
    pub(super) lost: Option<String>,
}

/// A manifest that has the options and no files yet.
pub(super) fn described(checked: &Checked, request: &Request<'_>) -> Manifest {
    let name = &checked.network().name;
    let mut manifest = match request.options {
        Target::Cpu => Manifest::new(name, "cpu", kwc_program::FORMAT_VERSION),
        Target::Cuda { plan, architectures } => {
            let mut manifest = Manifest::new(name, "cuda", kwc_program::cuda::FORMAT_VERSION);
            manifest.options = options(plan, architectures);
            manifest
        }
    };
    for setting in request.settings {
        manifest.set(setting);
    }
    if let Some(runtime) = &request.runtime {
        manifest.options.insert(manifest::RUNTIME.to_owned(), runtime.clone());
    }
    manifest
}

/// Compiles a network.
///
/// # Errors
/// What is wrong with the weights, or with NVRTC where there is one; packed weights in the folder that would go.
pub(super) fn compile(checked: &Checked, request: &Request<'_>) -> Result<Compilation, Failure> {
    let mut files = Files::new();
    let mut manifest = described(checked, request);
    let found = match request.options {
        Target::Cpu => {
            let planned = plan::plan(checked, &plan::Options::default()).map_err(|e| Failure::input(e.to_string()))?;
            let mut found = weights::find(checked, request, &Fitting::cpu(&planned.program))?;
            generate(&Generated::Cpu(&planned.program), request, &mut files)?;
            insert(&mut files, "plan.txt", launches::partition_text(checked));
            insert(&mut files, "plan.json", launches::partition_json(checked)?);
            let made = found.given.as_mut().map(|(_, checkpoint)| {
                let (weights, found) = packed_cpu(&planned, checkpoint)?;
                Ok::<_, Failure>((PackedWeights::of_block(&planned.program, weights)?, found))
            });
            (found, made.transpose()?)
        }
        Target::Cuda { plan, architectures } => {
            let network = network(checked, plan)?;
            target::note_mixing(plan, &network.planned);
            let mut found = weights::find(checked, request, &Fitting::cuda(&network.planned.program))?;
            let code = code(&network, architectures, request)?;
            let cubins: Vec<String> = code.cubins.iter().map(|(architecture, _)| architecture.clone()).collect();
            let form = CodeForm::Files { ptx: code.ptx.is_some(), cubins: &cubins };
            generate(&Generated::Cuda(&network.planned.program, form), request, &mut files)?;
            insert(&mut files, "plan.txt", launches::text(checked, &network.planned));
            insert(&mut files, "plan.json", launches::json(checked, &network.planned)?);
            if let Some(ptx) = code.ptx {
                insert(&mut files, PTX_FILE, ptx);
            }
            for (architecture, cubin) in code.cubins {
                files.insert(cubin_file(&architecture), Content::Bytes(cubin));
            }
            manifest.nvrtc = code.compiler;
            let made = found.given.as_mut().map(|(_, checkpoint)| packed_cuda(&network, checkpoint)).transpose()?;
            insert(&mut files, SOURCE_FILE, network.source);
            (found, made)
        }
    };
    let (Found { kept, given, lost }, made) = found;
    let has_kept_weights = kept.is_some();
    if let Some((weights, warnings)) = kept {
        manifest.warnings = warnings;
        files.insert(weights::FILE.to_owned(), Content::Weights(Box::new(weights)));
    }
    if let (Some((path, _)), Some((weights, found))) = (given, made) {
        Warnings::default().weights(path, &found);
        // Without the checkpoint's path: a manifest is the same wherever that lies.
        manifest.warnings = warnings::of_weights(&found).into_iter().map(|(message, _)| message).collect();
        files.insert(weights::FILE.to_owned(), Content::Weights(Box::new(weights)));
    }
    for (name, content) in &files {
        let hash = content.sha256().map_err(|e| Failure::input(format!("{name} can't be hashed: {e}")))?;
        manifest.files.insert(name.clone(), hash);
    }
    insert(&mut files, manifest::FILE, manifest.text()?);
    let made_before = request.earlier.iter().flat_map(|earlier| earlier.files.keys()).map(String::as_str);
    let dropped = Some(weights::FILE).filter(|_| weights::is_dropped(request));
    let gone: BTreeSet<&str> = made_before.chain(dropped).filter(|name| !files.contains_key(*name)).collect();
    let stale = gone.into_iter().filter(|name| request.folder.join(name).is_file()).map(str::to_owned).collect();
    Ok(Compilation { files, stale, has_kept_weights, lost })
}

/// Plans a network for CUDA and writes its kernels.
///
/// # Errors
/// None that a spec can cause.
pub(super) fn network(checked: &Checked, plan: &cuda::Options) -> Result<CudaNetwork, Failure> {
    pipeline::cuda(checked, plan).map_err(|e| Failure::input(e.to_string()))
}

fn insert(files: &mut Files, name: &str, text: String) {
    files.insert(name.to_owned(), text.into());
}

fn generate(generated: &Generated<'_>, request: &Request<'_>, files: &mut Files) -> Result<(), Failure> {
    insert(files, "src/lib.rs", generated.lib_rs().map_err(|e| Failure::input(e.to_string()))?);
    insert(files, "Cargo.toml", generated.cargo_toml(env!("CARGO_PKG_VERSION"), request.runtime.as_deref()));
    Ok(())
}

/// The options of a plan, by their names on the command line.
fn options(plan: &cuda::Options, architectures: &[String]) -> BTreeMap<String, String> {
    let precision = match plan.precision {
        Precision::F16 => "f16",
        Precision::F32 => "f32",
    };
    let mixing = match plan.mixing {
        Mixing::Auto => "auto",
        Mixing::Apart => "apart",
        Mixing::Inside => "inside",
    };
    let option = |name: &str, value: String| (name.to_owned(), value);
    BTreeMap::from([
        option("precision", precision.to_owned()),
        option("max-batch", plan.max_batch.to_string()),
        option("gpu", plan.gpu.name.to_owned()),
        option("mixing", mixing.to_owned()),
        option("arch", architectures.join(",")),
    ])
}

/// Compiled kernels.
#[derive(Default)]
struct Compiled {
    compiler: Option<Compiler>,
    ptx: Option<String>,
    /// By architecture, in the order in which they were asked for.
    cubins: Vec<(String, Vec<u8>)>,
}

/// The kernels' PTX and cubins. NVRTC does not always give the same bytes for the same source, so code that an earlier
/// compile made of the same source, with the same version and options, is taken as it is; the rest is compiled. Without
/// NVRTC, what was made earlier is all there is.
fn code(network: &CudaNetwork, architectures: &[String], request: &Request<'_>) -> Result<Compiled, Failure> {
    let nvrtc = match Nvrtc::find() {
        Ok(nvrtc) => Some(nvrtc),
        Err(kwc_nvrtc::Error::NotFound(_)) => None,
        Err(error) => return Err(toolchain::failure(&error)),
    };
    let version = nvrtc.as_ref().map(|nvrtc| {
        let (major, minor) = nvrtc.version();
        format!("{major}.{minor}")
    });
    let mut result = kept(network, architectures, request, version.as_deref()).unwrap_or_default();
    let has = |architecture: &str| result.cubins.iter().any(|(made, _)| made == architecture);
    let mut jobs: Vec<&str> = architectures.iter().map(String::as_str).filter(|&name| !has(name)).collect();
    // The PTX comes with the cubin that is made of it.
    if result.ptx.is_none() && !jobs.contains(&PTX_CUBIN) {
        jobs.insert(0, PTX_TARGET);
    }
    let (Some(nvrtc), Some(version)) = (nvrtc, version) else {
        if !jobs.is_empty() {
            let missing = jobs.join(", ");
            let later = if result.ptx.is_some() {
                "the GPU's driver compiles the PTX when a program loads the network"
            } else {
                "a program that loads the network does it then, if it finds NVRTC"
            };
            terminal::note(
                &format!("NVRTC was not found, so the kernels are not compiled for {missing}: {later}"),
                toolchain::HINT,
            );
        }
        return Ok(result);
    };
    let bar = progress::bar("Compiling kernels", jobs.len());
    let wants_ptx = result.ptx.is_none();
    let compiled: Vec<_> = jobs
        .par_iter()
        .map(|&architecture| {
            let output = compile_for(&nvrtc, network, architecture).and_then(|output| {
                let ptx = match (&output.code, output.intermediate) {
                    (Code::Ptx(text), _) => Some(text.clone()),
                    (Code::Cubin(_), Some(text)) => Some(text),
                    (Code::Cubin(_), None) if wants_ptx && architecture == PTX_CUBIN => Some(ptx_of(&nvrtc, network)?),
                    (Code::Cubin(_), None) => None,
                };
                Ok((output.code, ptx))
            });
            bar.advance(1);
            output
        })
        .collect();
    drop(bar);
    for (architecture, output) in jobs.into_iter().zip(compiled) {
        let (code, ptx) = output?;
        if let Some(text) = ptx.filter(|_| wants_ptx && [PTX_TARGET, PTX_CUBIN].contains(&architecture)) {
            let lowered = ptx::lowered(&text).ok_or_else(|| {
                Failure::input(format!("NVRTC {version} writes PTX of no version that kwc knows"))
                    .hint("use another version of NVRTC: see `kwc toolchain`")
            })?;
            let (major, minor) = lowered.version;
            result.compiler = Some(Compiler {
                version: version.clone(),
                options: NVRTC_OPTIONS.map(str::to_owned).into(),
                ptx: format!("{major}.{minor}"),
                newer: lowered.newer.into_iter().collect(),
            });
            result.ptx = Some(lowered.text);
        }
        if let Code::Cubin(bytes) = code {
            result.cubins.push((architecture.to_owned(), bytes));
        }
    }
    // In the order in which they were asked for.
    result.cubins.sort_by_key(|(made, _)| architectures.iter().position(|architecture| architecture == made));
    Ok(result)
}

/// PTX with the version that it needs.
///
/// # Errors
/// There is no NVRTC, or it refuses the kernels.
pub(super) fn ptx(network: &CudaNetwork) -> Result<String, Failure> {
    let nvrtc = Nvrtc::find().map_err(|error| toolchain::failure(&error))?;
    let written = ptx_of(&nvrtc, network)?;
    Ok(ptx::lowered(&written).map_or(written, |lowered| lowered.text))
}

/// PTX as NVRTC writes it.
fn ptx_of(nvrtc: &Nvrtc, network: &CudaNetwork) -> Result<String, Failure> {
    match compile_for(nvrtc, network, PTX_TARGET)?.code {
        Code::Ptx(text) => Ok(text),
        Code::Cubin(_) => Err(Failure::input("NVRTC made machine code where PTX was asked for")),
    }
}

fn compile_for(nvrtc: &Nvrtc, network: &CudaNetwork, architecture: &str) -> Result<Output, Failure> {
    let mut options = kwc_nvrtc::Options::new(architecture);
    options.more = NVRTC_OPTIONS.map(str::to_owned).into();
    match nvrtc.compile(&network.source, SOURCE_FILE, &options) {
        Ok(output) => Ok(output),
        Err(kwc_nvrtc::Error::Source { log, .. }) => Err(fault::failure(network, architecture, &log)),
        Err(kwc_nvrtc::Error::Options { log, .. }) => {
            let (major, minor) = nvrtc.version();
            Err(Failure::input(format!("NVRTC {major}.{minor} can't compile for {architecture}: {log}")).hint(
                "leave the architecture out of `--arch` (the driver compiles the PTX for it), or use a newer NVRTC",
            ))
        }
        Err(error) => Err(toolchain::failure(&error)),
    }
}

/// What an earlier compile of the same kernels left in the folder and is as it was, if the compiler was the same; any will
/// do where there is none now. `None` without its PTX.
fn kept(
    network: &CudaNetwork,
    architectures: &[String],
    request: &Request<'_>,
    version: Option<&str>,
) -> Option<Compiled> {
    let earlier = request.earlier.as_ref()?;
    let compiler = earlier.nvrtc.clone()?;
    let is_same = earlier.files.get(SOURCE_FILE).is_some_and(|hash| *hash == network.planned.program.source_id);
    if !is_same || compiler.options != NVRTC_OPTIONS || version.is_some_and(|version| version != compiler.version) {
        return None;
    }
    let read = |name: &str| {
        let bytes = std::fs::read(request.folder.join(name)).ok()?;
        (kwc_compiler::hash::of(&bytes) == *earlier.files.get(name)?).then_some(bytes)
    };
    let cubin = |architecture: &String| Some((architecture.clone(), read(&cubin_file(architecture))?));
    Some(Compiled {
        compiler: Some(compiler),
        ptx: Some(String::from_utf8(read(PTX_FILE)?).ok()?),
        cubins: architectures.iter().filter_map(cubin).collect(),
    })
}
