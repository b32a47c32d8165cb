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
use kwc_compiler::check::Checked;

use crate::failure::Failure;
use crate::spec::{Settings, SpecArguments};
use crate::terminal::{self, DIM};
use build::Compilation;
use folder::{Change, Staging};
use manifest::Manifest;
use options::{Target, TargetArguments};
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
and this one doesn't are removed; all others are left alone. Packed weights stay where they fit the network; where they \
don't, nothing is written unless there are new ones or --drop-weights.

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

    /// Remove packed weights of an earlier compile that don't fit the network any more
    #[arg(long, conflicts_with = "weights")]
    drop_weights: bool,

    /// The folder of the crate kwc-runtime, for Cargo.toml [default: its version only, as from a registry]
    #[arg(long, value_name = "DIR")]
    runtime: Option<PathBuf>,

    /// Print one stage instead of writing anything
    #[arg(long, value_enum, value_name = "STAGE", conflicts_with_all = ["output", "weights", "drop_weights", "check"])]
    emit: Option<Stage>,

    /// Write nothing; say what differs from what this would write, and exit with 1 if anything does. Options that are not
    /// given are those that the folder was compiled with
    #[arg(long)]
    check: bool,
}

/// Compiles a network and writes, compares or prints what comes of it.
///
/// # Errors
/// What is wrong with the spec, the weights or the folder; differences, with `--check`.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    if let Some(stage) = arguments.emit {
        let options = arguments.target.options();
        return terminal::print(&stage::emit(stage, &arguments.spec.load()?, &options)?);
    }
    if arguments.check {
        return check(arguments);
    }
    let options = arguments.target.options();
    let checked = arguments.spec.load()?;
    let folder = arguments.folder(&checked);
    let request = build::Request {
        runtime: arguments.runtime(&folder)?,
        earlier: Manifest::read(&folder)?,
        ..arguments.request(&options, &arguments.spec.settings, &folder)
    };
    // Before the long work: a folder that can't be written is known then.
    let staging = Staging::new(&folder)?;
    let compilation = build::compile(&checked, &request)?;
    let changes = staging.publish(&compilation.files, &compilation.stale)?;
    terminal::print(&report(&folder, &changes, compilation.has_kept_weights))
}

/// Compares a folder with what would be written, with the options that it was compiled with where none are given.
fn check(arguments: &Arguments) -> Result<(), Failure> {
    let folder = match &arguments.output {
        Some(folder) => folder.clone(),
        None => arguments.folder(&arguments.spec.load()?),
    };
    let earlier = Manifest::read(&folder)?;
    let mut target = arguments.target.clone();
    let mut settings = arguments.spec.settings.clone();
    if let Some(earlier) = &earlier {
        target = target.completed(earlier).map_err(|what| Failure::file(&folder.join(manifest::FILE), what))?;
        settings.complete(earlier.settings());
    }
    let options = target.options();
    let checked = arguments.spec.load_with(&settings)?;
    let known = earlier.as_ref().and_then(|earlier| earlier.options.get(manifest::RUNTIME).cloned());
    let request = build::Request {
        runtime: arguments.runtime(&folder)?.or(known),
        earlier: earlier.clone(),
        ..arguments.request(&options, &settings, &folder)
    };
    let different = earlier.map(|earlier| earlier.different_options(&build::described(&checked, &request)));
    let different = different.unwrap_or_default().into_iter();
    terminal::print(&different.map(|what| format!("{}: {what}\n", folder.display())).collect::<String>())?;
    compare(&folder, &build::compile(&checked, &request)?)
}

impl Arguments {
    /// The folder to write to.
    fn folder(&self, checked: &Checked) -> PathBuf {
        self.output.clone().unwrap_or_else(|| Path::new("compiled").join(&checked.network().name))
    }

    /// The folder of the runtime's crate as seen from the result's.
    fn runtime(&self, folder: &Path) -> Result<Option<String>, Failure> {
        self.runtime.as_deref().map(|runtime| folder::seen_from(folder, runtime)).transpose()
    }

    /// A request without what the folder says of itself.
    fn request<'a>(&'a self, options: &'a Target, settings: &'a Settings, folder: &'a Path) -> build::Request<'a> {
        build::Request {
            options,
            settings: &settings.set,
            weights: self.weights.as_deref(),
            state: self.state.as_deref(),
            drop_weights: self.drop_weights,
            runtime: None,
            earlier: None,
            folder,
        }
    }
}

/// One line for each file.
fn report(folder: &Path, changes: &[(String, Change)], has_kept_weights: bool) -> String {
    let mut text = format!("{}\n", folder.display());
    let width = changes.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, change) in changes {
        let kept = if has_kept_weights && name == build::WEIGHTS { ", packed by an earlier compile" } else { "" };
        text.push_str(&format!("  {name:<width$}  {DIM}{}{kept}{DIM:#}\n", change.describe()));
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
