//! Whether all that runs waits for something that won't come.
//!
//! A block *is still* for a turn in which it changes nothing that others could see: it stores nothing, meets at no
//! barrier, and no warp of it ends. That is no fault by itself: it may compute for long. If it read by a volatile or
//! stronger access or by an atomic operation, it is likely to wait, so such a turn counts for many others. When every
//! block of every thread of the host has been still for long enough since the last change, the launch is stuck.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a still turn counts for in which the block asked for what others change.
const ASKED: u64 = 64;

/// Turns of all blocks together in which they asked in vain, beside two for each block, after which nothing is expected
/// to change any more.
const PATIENCE: u64 = 64;

/// What a thread of the host says that has no blocks left.
const GONE: u64 = u64::MAX;

/// What the threads of the host know of each other.
#[derive(Debug)]
pub struct Watch {
    /// Changes so far, from 1.
    changes: AtomicU64,
    /// By thread: the number of changes since when all of its blocks have been still, 0 if they haven't.
    still: Box<[AtomicU64]>,
}

/// What one thread of the host knows.
#[derive(Debug)]
pub struct Watcher<'a> {
    watch: &'a Watch,
    thread: usize,
    changes: u64,
    patience: u64,
}

impl Watch {
    /// For so many threads of the host.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        Self { changes: AtomicU64::new(1), still: (0..threads).map(|_| AtomicU64::new(0)).collect() }
    }

    /// What thread number `thread` knows.
    #[must_use]
    pub fn watcher(&self, thread: usize) -> Watcher<'_> {
        Watcher { watch: self, thread, changes: 1, patience: 0 }
    }
}

impl Watcher<'_> {
    /// Whether a block here may be waiting for one that hasn't begun.
    #[must_use]
    pub fn may_wait(&self) -> bool {
        self.patience >= ASKED
    }

    /// A block had a turn in which it changed something.
    pub fn changed(&mut self) {
        self.changes = self.watch.changes.fetch_add(1, Ordering::Relaxed) + 1;
        self.patience = 0;
    }

    /// One of `blocks` blocks of this thread had a turn in which it was still; `asked` says whether it asked for what
    /// others change. Whether the launch is stuck.
    #[must_use]
    pub fn was_still(&mut self, asked: bool, blocks: usize) -> bool {
        let changes = self.watch.changes.load(Ordering::Relaxed);
        if changes != self.changes {
            (self.changes, self.patience) = (changes, 0);
        }
        self.patience += if asked { ASKED } else { 1 };
        if self.patience <= ASKED * (PATIENCE + 2 * blocks as u64) {
            return false;
        }
        self.say(changes);
        let stuck = |still: &AtomicU64| [GONE, changes].contains(&still.load(Ordering::Relaxed));
        self.watch.still.iter().all(stuck)
    }

    /// This thread has no blocks left.
    pub fn ends(&self) {
        self.say(GONE);
    }

    fn say(&self, changes: u64) {
        if let Some(still) = self.watch.still.get(self.thread) {
            still.store(changes, Ordering::Relaxed);
        }
    }
}
