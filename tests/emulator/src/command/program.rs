//! Running the program: its environment, signals, and how it ended.

use std::ffi::OsString;
use std::fmt;
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus};

use crate::report::summary::Exit;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

/// Why the command stopped without a report.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A setting has a value that it can't have.
    Setting(String),
    /// The command itself failed.
    Own(String),
    /// The program can't be run.
    Program {
        /// The program.
        program: String,
        /// What is wrong.
        error: std::io::Error,
    },
}

impl Failure {
    pub(crate) fn own(message: impl Into<String>) -> Self {
        Self::Own(message.into())
    }

    /// As `env` and `timeout` have it.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Setting(_) => 2,
            Self::Own(_) => 125,
            Self::Program { error, .. } if error.kind() == ErrorKind::NotFound => 127,
            Self::Program { .. } => 126,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting(message) | Self::Own(message) => f.write_str(message),
            Self::Program { program, error } => write!(f, "can't run {program}: {error}"),
        }
    }
}

/// Runs a program to its end, with this process's standard streams and some variables of its environment changed.
///
/// Ctrl-C and Ctrl-\ reach the program by themselves, as it is in the terminal's foreground; this process outlives
/// them. What asks this process alone to end is passed on.
pub(crate) fn run(words: &[OsString], variables: &[(&'static str, OsString)]) -> Result<Exit, Failure> {
    let Some((program, arguments)) = words.split_first() else {
        return Err(Failure::own("no program is named"));
    };
    // Before the program starts, so that its end can't be missed.
    let mut signals = Signals::new([SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM])
        .map_err(|error| Failure::own(format!("can't listen to signals: {error}")))?;
    let mut child = Command::new(program)
        .args(arguments)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .spawn()
        .map_err(|error| Failure::Program { program: program.to_string_lossy().into_owned(), error })?;
    let waiting = |error| Failure::own(format!("can't wait for the program: {error}"));
    for signal in &mut signals {
        match signal {
            SIGCHLD => {
                if let Some(status) = child.try_wait().map_err(waiting)? {
                    return Ok(exit_of(status));
                }
            }
            SIGHUP | SIGTERM => pass_on(&child, signal),
            _ => {}
        }
    }
    // The signals above never come to an end; if they did, waiting is all that is left.
    child.wait().map(exit_of).map_err(waiting)
}

/// Sends a signal to the program. It hasn't been waited for, so its number is its own; if it is dead already, the
/// signal comes to nothing.
#[expect(unsafe_code, reason = "the standard library can't send signals")]
fn pass_on(child: &Child, signal: i32) {
    if let Ok(process) = i32::try_from(child.id()) {
        // SAFETY: the function takes any numbers.
        let _ = unsafe { libc::kill(process, signal) };
    }
}

fn exit_of(status: ExitStatus) -> Exit {
    Exit { code: status.code(), signal: status.signal() }
}
