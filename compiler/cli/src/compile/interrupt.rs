//! Ctrl-C while files are being made: what is unfinished is removed, and what is being published is finished first.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is to be removed if it isn't published.
#[derive(Debug, Default)]
pub(super) struct Unfinished {
    /// A folder with all that is in it.
    pub(super) staged: Option<PathBuf>,
    /// Folders around it that were made for it, the innermost first.
    pub(super) around: Vec<PathBuf>,
}

impl Unfinished {
    /// Removes it. Nobody can be told if that fails.
    pub(super) fn remove(&mut self) {
        if let Some(staged) = self.staged.take() {
            let _ = std::fs::remove_dir_all(staged);
        }
        for folder in self.around.drain(..) {
            // One that isn't empty has got something of somebody else's, and stays.
            let _ = std::fs::remove_dir(folder);
        }
    }
}

/// Watches for signals that end the process, until it is dropped.
pub(super) struct Watch {
    unfinished: Arc<Mutex<Unfinished>>,
    #[cfg(unix)]
    signals: Option<signals::Thread>,
}

impl Watch {
    /// Starts to watch. Should that fail, a signal ends the process and leaves what is unfinished.
    pub(super) fn new() -> Self {
        let unfinished = Arc::new(Mutex::new(Unfinished::default()));
        Self {
            #[cfg(unix)]
            signals: signals::watch(unfinished.clone()).ok(),
            unfinished,
        }
    }

    /// What is to be removed. While it is locked, no signal ends the process.
    pub(super) fn lock(&self) -> MutexGuard<'_, Unfinished> {
        self.unfinished.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.lock().remove();
        #[cfg(unix)]
        if let Some(signals) = self.signals.take() {
            signals.end();
        }
    }
}

#[cfg(unix)]
mod signals {
    use std::io;
    use std::sync::{Arc, Mutex, PoisonError};
    use std::thread::{self, JoinHandle};

    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::{Handle, Signals};
    use signal_hook::low_level::emulate_default_handler;

    use super::Unfinished;

    /// The thread that waits for signals.
    pub(super) struct Thread {
        handle: Handle,
        thread: JoinHandle<()>,
    }

    pub(super) fn watch(unfinished: Arc<Mutex<Unfinished>>) -> io::Result<Thread> {
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        let handle = signals.handle();
        let wait = move || {
            for signal in signals.forever() {
                let mut unfinished = unfinished.lock().unwrap_or_else(PoisonError::into_inner);
                unfinished.remove();
                // Ends the process as if nobody had watched.
                let _ = emulate_default_handler(signal);
            }
        };
        let thread = thread::Builder::new().name("signals".to_owned()).spawn(wait)?;
        Ok(Thread { handle, thread })
    }

    impl Thread {
        pub(super) fn end(self) {
            self.handle.close();
            let _ = self.thread.join();
        }
    }
}
