//! The `kwc` command.

use std::process::ExitCode;

/// Runs the command with the process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
