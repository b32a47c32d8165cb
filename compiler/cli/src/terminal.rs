//! Standard output and standard error: results, errors, colours.

use std::io::{ErrorKind, Write as _};

use clap::builder::styling::{AnsiColor, Style};

use crate::failure::Failure;

const ERROR: Style = AnsiColor::BrightRed.on_default().bold();
const WARNING: Style = AnsiColor::BrightYellow.on_default().bold();
const HELP: Style = AnsiColor::BrightCyan.on_default().bold();
/// For what stands out in a result.
pub(crate) const EMPHASIS: Style = Style::new().bold();
/// For what stands back in a result.
pub(crate) const DIM: Style = Style::new().dimmed();

/// Writes a result to standard output.
///
/// # Errors
/// [`Failure::ReaderGone`] if the other end of a pipe is closed; otherwise what is wrong with standard output.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|e| {
        if e.kind() == ErrorKind::BrokenPipe {
            Failure::ReaderGone
        } else {
            Failure::input(format!("can't write to standard output: {e}"))
        }
    })
}

/// Writes a result to standard output as JSON.
///
/// # Errors
/// As [`print()`].
pub(crate) fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    print(&json(value)?)
}

/// A result as JSON.
///
/// # Errors
/// If it can't be written so.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<String, Failure> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|e| Failure::input(format!("can't write the result as JSON: {e}")))?;
    text.push('\n');
    Ok(text)
}

/// Says on standard error why a verb stopped.
pub(crate) fn error(failure: &Failure) {
    match failure {
        Failure::Spec(failure) => eprint(&failure.diagnostics.render(&failure.sources, true)),
        Failure::Input { message, hint } => {
            eprint(&format!("{ERROR}error{ERROR:#}{EMPHASIS}: {message}{EMPHASIS:#}\n"));
            if let Some(hint) = hint {
                eprint(&format!("  = {HELP}help{HELP:#}: {hint}\n"));
            }
        }
        Failure::Reported | Failure::ReaderGone => {}
    }
}

/// Says on standard error what is well but not as one may expect, with a way out.
pub(crate) fn note(message: &str, hint: &str) {
    eprint(&format!("{HELP}note{HELP:#}: {message}\n  = {HELP}help{HELP:#}: {hint}\n"));
}

/// Says on standard error what is likely not meant, with a way out.
pub(crate) fn warning(message: &str, hint: &str) {
    eprint(&format!("{WARNING}warning{WARNING:#}{EMPHASIS}: {message}{EMPHASIS:#}\n  = {HELP}help{HELP:#}: {hint}\n"));
}

/// Says on standard error that this is a bug of the command.
pub(crate) fn bug(what: &str) {
    eprint(&format!(
        "{ERROR}bug in kwc{ERROR:#}: {what}\nNo input should do this: please report it, with the command and the spec.\n"
    ));
}

/// Writes to standard error, without colours unless it is a terminal. There is nowhere to say that this failed.
pub(crate) fn eprint(text: &str) {
    let _ = anstream::stderr().lock().write_all(text.as_bytes());
}

/// How a verb prints its result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}
