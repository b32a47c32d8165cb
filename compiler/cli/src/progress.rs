//! Progress of long work, on standard error, where that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar that counts to `length`. It draws nothing where standard error isn't a terminal, and is gone when dropped.
pub(crate) fn bar(what: &'static str, length: usize) -> Bar {
    let style = ProgressStyle::with_template("{msg} {bar:40} {percent:>3} %  {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(length as u64).with_style(style).with_message(what);
    Bar(bar)
}

/// A sign that something of unknown length goes on. It draws nothing where standard error isn't a terminal, and is gone
/// when dropped.
pub(crate) fn spinner(what: &'static str) -> Bar {
    let bar = ProgressBar::new_spinner().with_message(what);
    bar.enable_steady_tick(Duration::from_millis(100));
    Bar(bar)
}

/// A bar on the screen.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// Says how much is done.
    pub(crate) fn set(&self, done: usize) {
        self.0.set_position(done as u64);
    }

    /// Says how much there is to do.
    pub(crate) fn lengthen(&self, length: usize) {
        self.0.set_length(length as u64);
    }

    /// Says that so much more is done.
    pub(crate) fn advance(&self, more: usize) {
        self.0.inc(more as u64);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
