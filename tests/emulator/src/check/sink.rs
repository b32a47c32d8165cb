//! The findings of one launch, each kept once with how often it occurred.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::findings::{Finding, Kind};

/// The findings of one launch. Threads of the host that run blocks share one.
///
/// Two findings are the same if they have one kind and one instruction; the first is kept, the others are counted.
#[derive(Debug, Default)]
pub struct Findings {
    by_instruction: Mutex<BTreeMap<(u32, Kind), Finding>>,
}

impl Findings {
    /// No findings.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a finding of instruction number `pc`. At its first occurrence `make` is called, and what it gives is kept
    /// and returned, with a count of 1.
    pub fn report(&self, kind: Kind, pc: u32, make: impl FnOnce() -> Finding) -> Option<Finding> {
        let mut findings = self.lock();
        if let Some(known) = findings.get_mut(&(pc, kind)) {
            known.count = known.count.saturating_add(1);
            return None;
        }
        let new = Finding { count: 1, ..make() };
        findings.insert((pc, kind), new.clone());
        Some(new)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Takes all findings, by instruction and then by kind.
    #[must_use]
    pub fn take(&self) -> Vec<Finding> {
        std::mem::take(&mut *self.lock()).into_values().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(u32, Kind), Finding>> {
        // A `make` that panicked has inserted nothing.
        self.by_instruction.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
