//! Choices that a cost model ranks, and that decide which kernel a launch has.
//!
//! What is best for one range of batch sizes differs from what is best for the next, often by less than a model can tell. A
//! kernel less is less to compile, to load, and to keep in instruction caches; so one that costs little more in either range
//! serves both.

use super::kernel::Kernel;
use super::lower::Lowering;

/// What a kernel less is worth: so many times the least cost. The models are not exact to that.
const WORTH: f64 = 1.03;

/// Choices of a launch that cost at most [`WORTH`] times the least, those to be preferred first.
#[derive(Debug, Clone)]
pub(super) struct Choices<T>(Vec<T>);

impl<T: Copy + PartialEq> Choices<T> {
    /// The choices for a launch. `of` gives, for the largest batch of a range, all that there are with what each
    /// costs. Those that do for other ranges too come first; among them, the one that costs least more than the best where
    /// it costs most more.
    pub(super) fn new(lowering: &Lowering<'_>, of: impl Fn(usize) -> Vec<(f64, T)>) -> Self {
        let others = lowering.options.ranges().filter(|&batch| batch != lowering.batch);
        let others: Vec<Vec<(f64, T)>> = others.map(|batch| cheap(of(batch))).collect();
        let rank = |(ratio, choice): (f64, T)| {
            let elsewhere = others.iter().map(|other| other.iter().find(|(_, same)| *same == choice));
            let ratios: Vec<f64> = elsewhere.flatten().map(|&(ratio, _)| ratio).collect();
            (others.len() - ratios.len(), ratios.into_iter().fold(ratio, f64::max), choice)
        };
        let mut choices: Vec<_> = cheap(of(lowering.batch)).into_iter().map(rank).collect();
        choices.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        Self(choices.into_iter().map(|(_, _, choice)| choice).collect())
    }

    /// The first whose kernel an earlier launch has, or else the first of all, with its kernel. None of none.
    pub(super) fn take(&self, lowering: &Lowering<'_>, kernel: impl Fn(&T) -> Kernel) -> Option<(T, Kernel)> {
        let mut kernels = self.0.iter().map(|&choice| (choice, kernel(&choice)));
        let first = kernels.next()?;
        if lowering.has(&first.1) {
            return Some(first);
        }
        Some(kernels.find(|(_, kernel)| lowering.has(kernel)).unwrap_or(first))
    }
}

/// The cheapest of all choices, each with its cost; the first of equal ones.
pub(super) fn cheapest<T>(all: Vec<(f64, T)>) -> Option<T> {
    all.into_iter().min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, choice)| choice)
}

/// Those that cost little more than the cheapest, with what they cost of it, by that.
fn cheap<T>(mut all: Vec<(f64, T)>) -> Vec<(f64, T)> {
    let least = all.iter().map(|&(cost, _)| cost).fold(f64::INFINITY, f64::min);
    all.retain(|&(cost, _)| cost <= least * WORTH);
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    all.into_iter().map(|(cost, choice)| (cost / least, choice)).collect()
}
