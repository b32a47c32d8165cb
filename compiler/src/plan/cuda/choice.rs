//! Choices that a cost model ranks, and that decide which kernel a launch has.
//!
//! Ranges of batch sizes are planned one after the other, each with the tiles that are best for it. A kernel less is less to
//! compile, to load, and to keep in instruction caches; so where a kernel of an earlier launch costs little more, it serves
//! again.

use super::kernel::Kernel;
use super::lower::Lowering;

/// What a kernel less is worth: so many times the least cost. The models are not exact to that.
const WORTH: f64 = 1.05;

/// Choices by their cost, each with its seconds.
#[derive(Debug, Clone)]
pub(super) struct Choices<T>(Vec<(f64, T)>);

impl<T: Copy> Choices<T> {
    /// Those of all that cost at most [`WORTH`] times the least; of equal ones, the earlier first.
    pub(super) fn best(all: impl IntoIterator<Item = T>, cost: impl Fn(&T) -> f64) -> Self {
        let mut all: Vec<(f64, T)> = all.into_iter().map(|choice| (cost(&choice), choice)).collect();
        let least = all.iter().map(|&(cost, _)| cost).fold(f64::INFINITY, f64::min);
        all.retain(|&(cost, _)| cost <= least * WORTH);
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        Self(all)
    }

    /// The cheapest whose kernel an earlier launch has, or else the cheapest, with its kernel. None of none.
    pub(super) fn take(&self, lowering: &Lowering<'_>, kernel: impl Fn(&T) -> Kernel) -> Option<(T, Kernel)> {
        let mut kernels = self.0.iter().map(|&(_, choice)| (choice, kernel(&choice)));
        let first = kernels.next()?;
        if lowering.has(&first.1) {
            return Some(first);
        }
        Some(kernels.find(|(_, kernel)| lowering.has(kernel)).unwrap_or(first))
    }
}
