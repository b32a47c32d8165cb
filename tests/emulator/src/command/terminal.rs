//! Standard error: errors, reports, colours. Standard output belongs to the program.

use std::io::Write as _;

use clap::builder::styling::{AnsiColor, Style};

/// For what is wrong.
pub(crate) const ERROR: Style = AnsiColor::BrightRed.on_default().bold();
/// For what deserves attention.
pub(crate) const WARNING: Style = AnsiColor::BrightYellow.on_default().bold();
/// For what stands out.
pub(crate) const EMPHASIS: Style = Style::new().bold();
/// For what stands back.
pub(crate) const DIM: Style = Style::new().dimmed();

/// Says why the command stopped.
pub(crate) fn error(message: &str) {
    print(&format!("{ERROR}error{ERROR:#}{EMPHASIS}: {message}{EMPHASIS:#}\n"));
}

/// Writes to standard error, without colours unless it is a terminal. There is nowhere to say that this failed.
pub(crate) fn print(text: &str) {
    let _ = anstream::stderr().lock().write_all(text.as_bytes());
}
