//! `kwc compile`: a network as a folder of files that run without kwc.

mod build;
mod content;
mod fault;
mod folder;
mod interrupt;
mod manifest;
mod options;
mod stage;

use std::path::{Path, PathBuf};

use clap::Args;

use crate::failure::Failure;
use crate::spec::SpecArguments;
use crate::terminal::{self, DIM};
use build::Compilation;
use folder::{Change, Staging};
use manifest::Manifest;
use options::TargetArguments;
use stage::Stage;

/// Compile a network to a folder: kernels, a Rust crate, the plan, and packed weights
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kwc compile specs/resnet18.yaml                       everything but weights, in compiled/resnet18
  kwc compile specs/resnet18.yaml --weights kw.pth -o net --arch sm_80,sm_90
  kwc compile specs/resnet18.yaml --emit kernels.cu     the kernels, on standard output
  kwc compile specs/resnet18.yaml -o net --check        is `net` what this would write?

The folder holds, for CUDA, kernels.cu, kernels.ptx (for any GPU since the A100), kernels.ARCH.cubin, and for both targets \
a Rust crate (Cargo.toml, src/lib.rs), plan.txt, plan.json, manifest.json (versions, options, SHA-256 of every file) and, \
with --weights, weights.safetensors. Files that are as they should be are not touched; files that an earlier compile made \
and this one doesn't are removed; all others are left alone.

PTX and cubins are made by NVRTC, NVIDIA's compiler. Where there is none, everything else is written: see `kwc toolchain`. \
NVRTC does not always give the same bytes, so code of the same kernels, version and options stays as it is in the folder. \
Everything else is the same wherever it is made.")]
pub(crate) struct Arguments {
    #[command(flatten)]
    spec: SpecArguments,

    #[command(flatten)]
    target: TargetArguments,

    /// The folder to write to [default: compiled/NAME]
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,

    /// Trained weights to pack: a PyTorch checkpoint (.pth, .pt) or a .safetensors file
    #[arg(long, short, value_name = "FILE")]
    weights: Option<PathBuf>,

    /// The state dict to take from a PyTorch checkpoint that holds several, such as `model_ema`
    #[arg(long, value_name = "NAME", requires = "weights")]
    state: Option<String>,

    /// The folder of the crate kwc-runtime, for Cargo.toml [default: its version only, as from a registry]
    #[arg(long, value_name = "DIR")]
    runtime: Option<PathBuf>,

    /// Print one stage instead of writing anything
    #[arg(long, value_enum, value_name = "STAGE", conflicts_with_all = ["output", "weights", "check"])]
    emit: Option<Stage>,

    /// Write nothing; say what differs from what this would write, and exit with 1 if anything does
    #[arg(long)]
    check: bool,
}

/// Compiles a network and writes, compares or prints what comes of it.
///
/// # Errors
/// What is wrong with the spec, the weights or the folder; differences, with `--check`.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let options = arguments.target.options();
    let checked = arguments.spec.load()?;
    if let Some(stage) = arguments.emit {
        return terminal::print(&stage::emit(stage, &checked, &options)?);
    }
    let folder = arguments.output.clone().unwrap_or_else(|| Path::new("compiled").join(&checked.network().name));
    let runtime = arguments.runtime.as_deref().map(|runtime| folder::seen_from(&folder, runtime)).transpose()?;
    let request = build::Request {
        options: &options,
        settings: &arguments.spec.settings.set,
        weights: arguments.weights.as_deref(),
        state: arguments.state.as_deref(),
        runtime,
        earlier: Manifest::read(&folder)?,
        folder: &folder,
    };
    if arguments.check {
        let compilation = build::compile(&checked, &request)?;
        return compare(&folder, &compilation);
    }
    // Before the long work: a folder that can't be written is known then.
    let staging = Staging::new(&folder)?;
    let compilation = build::compile(&checked, &request)?;
    let changes = staging.publish(&compilation.files, &compilation.stale)?;
    terminal::print(&report(&folder, &changes))
}

/// One line for each file.
fn report(folder: &Path, changes: &[(String, Change)]) -> String {
    let mut text = format!("{}\n", folder.display());
    let width = changes.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, change) in changes {
        text.push_str(&format!("  {name:<width$}  {DIM}{}{DIM:#}\n", change.describe()));
    }
    text
}

/// Names what differs on disk.
fn compare(folder: &Path, compilation: &Compilation) -> Result<(), Failure> {
    let differences = folder::differences(folder, &compilation.files, &compilation.stale)?;
    if differences.is_empty() {
        return terminal::print(&format!("{}: up to date\n", folder.display()));
    }
    let mut text = String::new();
    for (name, difference) in &differences {
        text.push_str(&format!("{}: {}\n", folder.join(name).display(), difference.describe()));
    }
    terminal::print(&text)?;
    let count = differences.len();
    let files = if count == 1 { "1 file differs" } else { &format!("{count} files differ") };
    Err(Failure::input(format!("{files} from what this would write")).hint("compile without `--check`"))
}
