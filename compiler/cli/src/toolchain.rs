//! `kwc toolchain`: which NVRTC there is, and fetching one.

use clap::Args;
use kwc_nvrtc::{Code, Nvrtc, Options};
use kwc_runtime::cuda::Device;
use serde::Serialize;

use crate::failure::Failure;
use crate::terminal::{self, EMPHASIS, Format};

/// How to get NVRTC.
pub(crate) const HINT: &str = "`kwc toolchain --fetch` gets it; or install it (`pip install nvidia-cuda-nvrtc`), or set KWC_NVRTC to the library or its folder";

/// A kernel, for asking.
const KERNEL: &str = "extern \"C\" __global__ void nothing() {}";

/// Show which NVRTC compiles CUDA kernels here, and which driver runs them
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kwc toolchain             what there is
  kwc toolchain --fetch     get NVRTC with pip (60 MB), if there is none: it goes to the user's cache folder

NVRTC is looked for in this order: KWC_NVRTC (the library or its folder; nothing else is looked at then), CUDA_PATH, the \
dynamic loader, Python's packages (nvidia-cuda-nvrtc), what --fetch got. Compiling needs no GPU and no driver.")]
pub(crate) struct Arguments {
    /// Get NVRTC, if there is none
    #[arg(long)]
    fetch: bool,

    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What there is.
#[derive(Serialize)]
struct Toolchain {
    nvrtc: Option<Compiler>,
    driver: Driver,
}

#[derive(Serialize)]
struct Compiler {
    path: String,
    version: String,
    /// The version of PTX that it writes; kernels ask for less.
    ptx: Option<String>,
    /// All architectures that it makes machine code for; null where it doesn't say.
    architectures: Option<Vec<String>>,
}

/// The first device, or why there is none.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Driver {
    Device { name: String, architecture: String },
    None(String),
}

/// Says what there is.
///
/// # Errors
/// There is no NVRTC, it can't be fetched, or what `KWC_NVRTC` names is none.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let found = match (Nvrtc::find(), arguments.fetch) {
        (Err(kwc_nvrtc::Error::NotFound(_)), true) => fetch().map(Some)?,
        (Ok(nvrtc), _) => Some(nvrtc),
        // Whatever is wrong with it, the device can be shown.
        (Err(error), _) => {
            terminal::error(&failure(&error));
            None
        }
    };
    let toolchain = Toolchain { nvrtc: found.as_ref().map(ask).transpose()?, driver: driver() };
    match arguments.format {
        Format::Json => terminal::print_json(&toolchain)?,
        Format::Text => terminal::print(&text(&toolchain))?,
    }
    if found.is_some() { Ok(()) } else { Err(Failure::Reported) }
}

/// Gets NVRTC into the user's cache folder.
fn fetch() -> Result<Nvrtc, Failure> {
    let folder = kwc_nvrtc::user_directory().ok_or_else(|| {
        Failure::input("there is no folder to fetch NVRTC to: neither XDG_CACHE_HOME nor HOME is an absolute path")
            .hint("set XDG_CACHE_HOME")
    })?;
    terminal::eprint(&format!("Fetching NVRTC {} to {} ...\n", kwc_nvrtc::VERSION, folder.display()));
    let path = kwc_nvrtc::fetch(&folder).map_err(|error| failure(&error))?;
    Nvrtc::open(&path).map_err(|error| failure(&error))
}

/// An error of NVRTC's, with a way out.
pub(crate) fn failure(error: &kwc_nvrtc::Error) -> Failure {
    if let kwc_nvrtc::Error::NotFound(places) = error {
        let places = places.to_string();
        return Failure::input(format!("NVRTC was not found; it was looked for at\n{}", places.trim_end())).hint(HINT);
    }
    // The others name their way out.
    Failure::input(error.to_string())
}

/// Has an NVRTC say what it can do.
///
/// # Errors
/// It fails to.
fn ask(nvrtc: &Nvrtc) -> Result<Compiler, Failure> {
    let (major, minor) = nvrtc.version();
    let ptx = match nvrtc.compile(KERNEL, "nothing.cu", &Options::new("compute_80")) {
        Ok(output) => match output.code {
            Code::Ptx(text) => text.lines().find_map(|line| Some(line.strip_prefix(".version ")?.trim().to_owned())),
            Code::Cubin(_) => None,
        },
        Err(_) => None,
    };
    let architectures = nvrtc.architectures().map_err(|error| failure(&error))?;
    let names = |numbers: Vec<u32>| numbers.into_iter().map(|number| format!("sm_{number}")).collect();
    Ok(Compiler {
        path: nvrtc.path().display().to_string(),
        version: format!("{major}.{minor}"),
        ptx,
        architectures: architectures.map(names),
    })
}

/// The driver's first device.
fn driver() -> Driver {
    match Device::new(0) {
        Ok(device) => {
            let (major, minor) = device.compute_capability();
            Driver::Device { name: device.name().to_owned(), architecture: format!("sm_{major}{minor}") }
        }
        Err(error) => Driver::None(error.to_string()),
    }
}

fn text(toolchain: &Toolchain) -> String {
    let compiler = match &toolchain.nvrtc {
        None => format!("{EMPHASIS}NVRTC{EMPHASIS:#}   none\n"),
        Some(Compiler { path, version, ptx, architectures }) => format!(
            "{EMPHASIS}NVRTC{EMPHASIS:#}   {version}, {path}\n        writes PTX {}; machine code for {}\n",
            ptx.as_deref().unwrap_or("of no version"),
            architectures
                .as_ref()
                .map_or_else(|| "architectures that it does not tell".to_owned(), |names| names.join(", "))
        ),
    };
    let driver = match &toolchain.driver {
        Driver::Device { name, architecture } => format!("{name} ({architecture})"),
        Driver::None(reason) => format!("none: {reason}"),
    };
    format!("{compiler}{EMPHASIS}device{EMPHASIS:#}  {driver}\n")
}
