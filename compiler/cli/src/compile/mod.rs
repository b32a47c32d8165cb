//! `kwc compile`: a network as a folder of files that run without kwc.

mod build;
mod content;
mod fault;
mod folder;
mod interrupt;
mod manifest;
mod options;
mod stage;
mod weights;

use std::path::{Path, PathBuf};

use clap::Args;
use kwc_compiler::check::Checked;

use crate::failure::Failure;
use crate::spec::{Settings, SpecArguments};
use crate::terminal::{self, DIM};
use build::Compilation;
use folder::{Change, Difference, Staging};
use manifest::Manifest;
use options::{Target, TargetArguments};
use stage::Stage;

/// Compile a network to a folder: kernels, a Rust crate, the plan, and packed weights
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kwc compile specs/resnet18.yaml                       everything but weights, in compiled/resnet18
  kwc compile specs/resnet18.yaml --weights kw.pth -o net --arch sm_80,sm_90
  kwc compile specs/resnet18.yaml --weights kw.pth -o net --target cpu
  kwc compile specs/resnet18.yaml --emit kernels.cu     the kernels, on standard output
  kwc compile specs/resnet18.yaml -o net --check        is `net` what this would write?

The folder holds, for CUDA, kernels.cu, kernels.ptx (for any GPU since the A100), kernels.ARCH.cubin, and for both targets \
a Rust crate (Cargo.toml, src/lib.rs), plan.txt, plan.json, manifest.json (versions, options, SHA-256 of every file) and, \
with --weights, weights.safetensors. `kwc run`, `eval` and `bench` take that of the CPU in place of the checkpoint: it is mapped, not \
read. Files that are as they should be are not touched; files that an earlier compile made \
and this one doesn't are removed; all others are left alone, and nothing is written where one of them is in the way. \
Options that are not given are those that the folder was compiled with. Packed weights stay where they fit the network; where they \
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

    /// Remove packed weights of an earlier compile
    #[arg(long, conflicts_with = "weights")]
    drop_weights: bool,

    /// The folder of the crate kwc-runtime, for Cargo.toml [default: its version only, as from a registry]
    #[arg(long, value_name = "DIR")]
    runtime: Option<PathBuf>,

    /// Print one stage instead of writing anything
    #[arg(long, value_enum, value_name = "STAGE", conflicts_with_all = ["output", "weights", "drop_weights", "check"])]
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
    if let Some(stage) = arguments.emit {
        let options = arguments.target.options();
        return terminal::print(&stage::emit(stage, &arguments.spec.load()?, &options)?);
    }
    let prepared = Prepared::new(arguments)?;
    let request = prepared.request(arguments);
    if arguments.check {
        let different = prepared.earlier.as_ref();
        let different =
            different.map(|earlier| earlier.different_options(&build::described(&prepared.checked, &request)));
        let different = different.unwrap_or_default().into_iter();
        let folder = prepared.folder.display();
        terminal::print(&different.map(|what| format!("{folder}: {what}\n")).collect::<String>())?;
        return compare(&prepared.folder, &build::compile(&prepared.checked, &request)?);
    }
    if !prepared.taken.is_empty() {
        let taken = prepared.taken.join(" ");
        terminal::note(&format!("as the folder was compiled before: {taken}"), "give these options to change them");
    }
    // Before the long work: a folder that can't be written is known then.
    let staging = Staging::new(&prepared.folder)?;
    let compilation = build::compile(&prepared.checked, &request)?;
    // What is in the place of packed weights has been looked at.
    let known = prepared.earlier.iter().flat_map(|earlier| earlier.files.keys().map(String::as_str));
    let known = known.chain([weights::FILE]).collect();
    let changes = staging.publish(&compilation.files, &compilation.stale, &known)?;
    terminal::print(&report(&prepared.folder, &changes, compilation.has_kept_weights))
}

/// A command line, completed by what the folder was compiled with before.
struct Prepared {
    folder: PathBuf,
    earlier: Option<Manifest>,
    options: Target,
    settings: Settings,
    runtime: Option<String>,
    checked: Checked,
    /// Options that were taken from the folder and aren't the defaults, as they are written.
    taken: Vec<String>,
}

impl Prepared {
    /// Options that are not given are those of the folder's manifest, if that is of the same network.
    fn new(arguments: &Arguments) -> Result<Self, Failure> {
        let folder = match &arguments.output {
            Some(folder) => folder.clone(),
            None => arguments.folder(&arguments.spec.load()?),
        };
        let earlier = Manifest::read(&folder)?;
        let mut target = arguments.target.clone();
        let mut settings = arguments.spec.settings.clone();
        let mut runtime = arguments.runtime(&folder)?;
        let given = (target.options(), settings.clone(), runtime.clone());
        // With the folder's settings a spec may be right that isn't without them.
        let is_same = |earlier: &&Manifest| {
            arguments.spec.load().map_or(true, |checked| checked.network().name == earlier.network)
        };
        if let Some(earlier) = earlier.as_ref().filter(is_same) {
            target = target.completed(earlier).map_err(|what| Failure::file(&folder.join(manifest::FILE), what))?;
            settings.complete(earlier.settings());
            runtime = runtime.or_else(|| earlier.options.get(manifest::RUNTIME).cloned());
        }
        let options = target.options();
        let checked = arguments.spec.load_with(&settings)?;
        let described = |options: &Target, settings: &Settings, runtime: Option<String>| {
            let request = arguments.request(options, settings, &folder);
            build::described(&checked, &build::Request { runtime, ..request })
        };
        let plain = described(&given.0, &given.1, given.2);
        let taken = described(&options, &settings, runtime.clone()).beyond(&plain);
        Ok(Self { folder, earlier, options, settings, runtime, checked, taken })
    }

    fn request<'a>(&'a self, arguments: &'a Arguments) -> build::Request<'a> {
        build::Request {
            runtime: self.runtime.clone(),
            earlier: self.earlier.clone(),
            ..arguments.request(&self.options, &self.settings, &self.folder)
        }
    }
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
            is_check: self.check,
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
        let kept = if has_kept_weights && name == weights::FILE { ", packed by an earlier compile" } else { "" };
        text.push_str(&format!("  {name:<width$}  {DIM}{}{kept}{DIM:#}\n", change.describe()));
    }
    text
}

/// Names what differs on disk.
fn compare(folder: &Path, compilation: &Compilation) -> Result<(), Failure> {
    let mut differences = folder::differences(folder, &compilation.files, &compilation.stale)?;
    if let Some(why) = &compilation.lost {
        differences.retain(|(name, _)| name != weights::FILE);
        differences.push((weights::FILE.to_owned(), Difference::Lost(why.clone())));
    }
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
    Err(Failure::input(format!("{files} from what this would write"))
        .hint("compile without `--check`; it says so where it would lose something"))
}
