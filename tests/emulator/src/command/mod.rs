//! The `vgpu` command: runs a program on a virtual GPU and says what it did there.

mod library;
mod program;
mod tables;
mod terminal;
mod text;

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::driver::environment::Settings;
use crate::report::summary::{Exit, Report};
use crate::report::trace;
use clap::{Parser, ValueEnum};

use program::Failure;

const AFTER_HELP: &str = "\
Examples:
  vgpu -- ./program --its --arguments           what is wrong, and a table of what each kernel did
  vgpu --arch sm_90 --report r.json -- ./program
  vgpu --check none --top 20 -- ./program       a profile, as fast as it goes
  vgpu --seed 7 --threads 1 -- ./program        an order of warps and blocks, exactly as before

The program must load the CUDA driver as libcuda.so.1 or libcuda.so, as cudarc does and every program that is linked \
against the CUDA driver. It gets PTX only: a cubin is refused as if it were of another architecture.

Exit codes:
  86       there were findings, however the program ended
  0..255   otherwise what the program ended with; 128 + N if signal N killed it
  2        the command line is wrong
  125      vgpu itself failed
  126,127  the program can't be run, there is no such program

All that vgpu says goes to standard error. Colours appear on terminals only; NO_COLOR=1 turns them off.";

/// The exit code that says that there were findings.
const FINDINGS: u8 = 86;

/// Runs a program on a virtual GPU, finds what its kernels do wrong, and counts what they do.
#[derive(Debug, Parser)]
#[command(name = "vgpu", version, after_help = AFTER_HELP, max_term_width = 100)]
struct Arguments {
    /// Writes everything to a JSON file: findings, per-kernel sums, launches with their instructions
    #[arg(long, value_name = "FILE.json")]
    report: Option<PathBuf>,
    /// The GPU: `sm_80` is an A100, `sm_86` an A10, `sm_89` an L4, `sm_90` an H100
    #[arg(long, env = "VGPU_ARCH", default_value = "sm_80", value_parser = ["sm_80", "sm_86", "sm_89", "sm_90"])]
    arch: String,
    /// What is checked beyond addresses: all, none, or a list of initialised, races, synchronisation
    #[arg(long, env = "VGPU_CHECK", default_value = "all", value_parser = checks)]
    check: String,
    /// Seed of the order in which warps and blocks run; 0 without it
    #[arg(long, env = "VGPU_SEED", value_name = "N")]
    seed: Option<u64>,
    /// Threads of this machine that run blocks; one per core without it
    #[arg(long, env = "VGPU_THREADS", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: Option<u32>,
    /// Whether to count what kernels do
    #[arg(long, env = "VGPU_COUNTERS", value_enum, default_value_t)]
    counters: Switch,
    /// How many of each kernel's most issued instructions to show
    #[arg(long, value_name = "N", default_value_t = 0)]
    top: usize,
    /// The program and its arguments
    #[arg(required = true, last = true, value_name = "PROGRAM")]
    program: Vec<OsString>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Switch {
    #[default]
    On,
    Off,
}

/// Checks a list of checks; what each means is the driver's business.
fn checks(text: &str) -> Result<String, String> {
    let known = |word| matches!(word, "initialised" | "races" | "synchronisation");
    if matches!(text, "all" | "none") || text.split(',').all(known) {
        Ok(text.to_owned())
    } else {
        Err("expected all, none, or a list such as initialised,races,synchronisation".to_owned())
    }
}

/// Runs the command with the process's arguments; what it gives is the process's exit code.
#[must_use]
pub fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            terminal::error(&failure.to_string());
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let library = library::find()?;
    let directory = tempfile::Builder::new()
        .prefix("vgpu-")
        .tempdir()
        .map_err(|error| Failure::own(format!("can't make a temporary directory: {error}")))?;
    let traces = directory.path().join("traces");
    let libraries = library::lay_out(&library, directory.path())?;
    std::fs::create_dir(&traces)
        .map_err(|error| Failure::own(format!("can't write to {}: {error}", traces.display())))?;

    let environment = environment(arguments, &libraries, &traces);
    check_settings(&environment)?;
    if let Some(path) = &arguments.report {
        check_place(path)?;
    }

    let exit = program::run(&arguments.program, &environment)?;

    let command = arguments.program.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let traces = trace::read_directory(&traces)
        .map_err(|error| Failure::own(format!("can't read what the program did from {}: {error}", traces.display())))?;
    let report = Report::new(command, exit, traces);
    terminal::print(&text::draw(&report, arguments.top));
    if let Some(path) = &arguments.report {
        write_report(&report, path)?;
    }
    Ok(if report.findings.is_empty() { own_code(exit) } else { FINDINGS })
}

/// What the program gets to see of this command.
fn environment(arguments: &Arguments, libraries: &Path, traces: &Path) -> Vec<(&'static str, OsString)> {
    let mut search = libraries.as_os_str().to_owned();
    if let Some(before) = std::env::var_os("LD_LIBRARY_PATH").filter(|before| !before.is_empty()) {
        search.push(":");
        search.push(before);
    }
    let counters = match arguments.counters {
        Switch::On => "on",
        Switch::Off => "off",
    };
    let mut variables = vec![
        ("LD_LIBRARY_PATH", search),
        ("VGPU_ARCH", arguments.arch.clone().into()),
        ("VGPU_CHECK", arguments.check.clone().into()),
        ("VGPU_COUNTERS", counters.into()),
        ("VGPU_TRACE", traces.into()),
    ];
    variables.extend(arguments.seed.map(|seed| ("VGPU_SEED", seed.to_string().into())));
    variables.extend(arguments.threads.map(|threads| ("VGPU_THREADS", threads.to_string().into())));
    variables
}

/// Checks what the library will read from the environment, so that a wrong value is said before the program runs.
fn check_settings(environment: &[(&'static str, OsString)]) -> Result<(), Failure> {
    let set = |name: &str| environment.iter().find(|(variable, _)| *variable == name).map(|(_, value)| value.clone());
    let lookup = |name: &str| set(name).or_else(|| std::env::var_os(name)).map(|value| value.to_string_lossy().into());
    Settings::from_lookup(lookup).map(|_| ()).map_err(|error| Failure::Setting(error.to_string()))
}

/// Checks that a report can be written to a path, before the run that it is about.
fn check_place(path: &Path) -> Result<(), Failure> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if directory.is_dir() && !path.is_dir() {
        return Ok(());
    }
    let why = if path.is_dir() { "it is a directory" } else { "its directory doesn't exist" };
    Err(Failure::own(format!("can't write the report to {}: {why}", path.display())))
}

/// Writes the report so that a reader of a file finds the old one or the new one, never a part. What is there and no
/// file, a device or a pipe, is written to.
fn write_report(report: &Report, path: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::own(format!("can't write the report to {}: {error}", path.display()));
    let mut bytes = serde_json::to_vec_pretty(report).map_err(|error| failed(error.into()))?;
    bytes.push(b'\n');
    // The file itself, not a link to it.
    let resolved = std::fs::canonicalize(path);
    let path = resolved.as_deref().unwrap_or(path);
    let before = std::fs::metadata(path).ok();
    if before.as_ref().is_some_and(|before| !before.is_file()) {
        return std::fs::OpenOptions::new()
            .write(true)
            .open(path)
            .and_then(|mut there| there.write_all(&bytes))
            .map_err(failed);
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".vgpu-").tempfile_in(directory).map_err(failed)?;
    file.write_all(&bytes).map_err(failed)?;
    // As another program would have made it, or as it was.
    let permissions = before.map_or_else(|| std::fs::Permissions::from_mode(0o644), |before| before.permissions());
    file.as_file().set_permissions(permissions).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// What a shell would give for how the program ended.
fn own_code(exit: Exit) -> u8 {
    match exit {
        Exit { signal: Some(signal), .. } => {
            u8::try_from(signal).map_or(u8::MAX, |signal| 128_u8.saturating_add(signal))
        }
        Exit { code: Some(code), signal: None } => u8::try_from(code).unwrap_or(u8::MAX),
        Exit { code: None, signal: None } => 0,
    }
}
