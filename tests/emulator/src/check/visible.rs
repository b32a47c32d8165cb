//! Which accesses of each block are visible: a vector clock over the blocks of a launch.
//!
//! Blocks of one kernel mostly do the same, so neighbours have the same entries: they are kept as runs of blocks. A ticket
//! or a chain of flags through N blocks then takes few runs, where N vectors of N entries would take too much memory.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Bounds on times, exclusive: by block for all of its threads, for one thread, and for more threads where need be.
#[derive(Debug, Default)]
pub(crate) struct Visible {
    /// In order, without overlaps.
    runs: Vec<Run>,
    /// By block, of more threads: thread and bound. Blocks in it are in a run too.
    more: BTreeMap<u32, Arc<[(u32, u32)]>>,
}

/// Blocks with equal entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    start: u32,
    end: u32,
    entry: Entry,
}

/// What is visible of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    /// Accesses of all its threads before this.
    all: u32,
    /// Accesses of one of them: which, and before what.
    one: (u32, u32),
}

impl Visible {
    /// Whether something is visible of a block.
    pub(crate) fn knows(&self, block: u32) -> bool {
        self.entry(block).is_some()
    }

    /// The number of blocks of which something is visible.
    pub(crate) fn blocks(&self) -> u32 {
        self.runs.iter().map(|run| run.end - run.start).sum()
    }

    /// Whether an access at `time` by a thread of the block is visible.
    pub(crate) fn covers(&self, block: u32, time: u32, thread: u32) -> bool {
        let Some(entry) = self.entry(block) else { return false };
        let of_thread = |&(other, bound): &(u32, u32)| bound > time && other == thread;
        entry.all > time
            || of_thread(&entry.one)
            || self.more.get(&block).is_some_and(|threads| threads.iter().any(of_thread))
    }

    /// Adds what is visible of a block: bounds for all its threads, for one, and for more.
    pub(crate) fn add(&mut self, block: u32, all: u32, one: (u32, u32), more: &[(u32, u32)]) {
        self.join_runs(&[Run { start: block, end: block + 1, entry: Entry { all, one } }]);
        if !more.is_empty() {
            self.add_more(block, more);
        }
    }

    /// Adds what is visible to another.
    pub(crate) fn join(&mut self, other: &Self) {
        if self.runs.is_empty() {
            self.runs.clone_from(&other.runs);
        } else if !other.runs.is_empty() {
            self.join_runs(&other.runs);
        }
        for (&block, more) in &other.more {
            match self.more.get(&block) {
                Some(known) if Arc::ptr_eq(known, more) => {}
                Some(_) => self.add_more(block, more),
                None => {
                    self.more.insert(block, Arc::clone(more));
                }
            }
        }
    }

    fn entry(&self, block: u32) -> Option<Entry> {
        let after = self.runs.partition_point(|run| run.end <= block);
        self.runs.get(after).filter(|run| run.start <= block).map(|run| run.entry)
    }

    fn join_runs(&mut self, others: &[Run]) {
        let runs = std::mem::take(&mut self.runs);
        let mut joined: Vec<Run> = Vec::with_capacity(runs.len() + others.len());
        let (mut i, mut j, mut at) = (0, 0, 0);
        loop {
            let next = [runs.get(i), others.get(j)];
            let Some(start) = next.into_iter().flatten().map(|run| run.start.max(at)).min() else { break };
            let ends = next.into_iter().flatten().map(|run| if run.start > start { run.start } else { run.end });
            let end = ends.min().unwrap_or(start);
            let entry = match next.map(|run| run.filter(|run| run.start <= start).map(|run| run.entry)) {
                [Some(entry), Some(other)] => self.both(entry, other, start..end),
                [Some(entry), None] | [None, Some(entry)] => entry,
                [None, None] => break,
            };
            match joined.last_mut() {
                Some(last) if last.end == start && last.entry == entry => last.end = end,
                Some(_) | None => joined.push(Run { start, end, entry }),
            }
            at = end;
            i += usize::from(next[0].is_some_and(|run| run.end <= end));
            j += usize::from(next[1].is_some_and(|run| run.end <= end));
        }
        self.runs = joined;
    }

    /// Two entries for the same blocks as one; a second thread that doesn't fit in is added apart.
    fn both(&mut self, entry: Entry, other: Entry, blocks: std::ops::Range<u32>) -> Entry {
        let all = entry.all.max(other.all);
        let (first, second) = if entry.one.1 >= other.one.1 { (entry.one, other.one) } else { (other.one, entry.one) };
        if first.0 != second.0 && second.1 > all {
            for block in blocks {
                self.add_more(block, &[second]);
            }
        }
        Entry { all, one: first }
    }

    fn add_more(&mut self, block: u32, more: &[(u32, u32)]) {
        let known = self.more.get(&block).map_or(&[][..], |known| known);
        let mut bounds: BTreeMap<u32, u32> = known.iter().copied().collect();
        for &(thread, bound) in more {
            let known = bounds.entry(thread).or_default();
            *known = bound.max(*known);
        }
        self.more.insert(block, bounds.into_iter().collect());
    }
}
