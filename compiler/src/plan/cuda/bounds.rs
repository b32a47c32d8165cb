//! Lower bounds of what launches take on a GPU. They are not predictions: mostly a launch takes longer.
//!
//! For a launch with [`Work`] and a batch, in seconds, with the [`Gpu`]'s figures:
//!
//! - tensor: `padded / tensor`, for products on tensor cores;
//! - fma: `padded / f32`, for all others;
//! - memory: `compulsory / memory`, every operand and result moved once between global memory and the chip;
//! - L2: `moved / l2`, what the blocks ask for;
//! - launch: what it takes until the next kernel of a graph can start.
//!
//! The largest is the launch's bound, and binds. Launches that depend on one another run one after the other, so the sum
//! of their bounds bounds the network.
//!
//! Each launch is taken on its own, with cold caches: what the launches before have left in the L2 cache need not come from
//! global memory, and where operands fit there the bound by memory can be beaten.

use serde::Serialize;

use super::gpu::Gpu;
use super::work::Work;
use super::{Planned, Variant};

/// Microseconds in a second.
pub(super) const MICRO: f64 = 1e6;

/// What can bind a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Limit {
    /// Multiply-adds on tensor cores.
    Tensor,
    /// Multiply-adds outside them.
    Fma,
    /// Bandwidth of global memory.
    Memory,
    /// Bandwidth of the L2 cache.
    L2,
    /// The start of a kernel.
    Launch,
}

impl Limit {
    /// What tables call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tensor => "tensor",
            Self::Fma => "fma",
            Self::Memory => "memory",
            Self::L2 => "L2",
            Self::Launch => "launch",
        }
    }
}

/// The bounds of a launch, microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Times {
    /// By [`Limit::Tensor`]; 0 for a kernel that doesn't use tensor cores.
    pub tensor: f64,
    /// By [`Limit::Fma`]; 0 for a kernel that uses tensor cores.
    pub fma: f64,
    /// By [`Limit::Memory`].
    pub memory: f64,
    /// By [`Limit::L2`].
    pub l2: f64,
    /// By [`Limit::Launch`].
    pub launch: f64,
}

impl Times {
    /// The largest, and whose it is; of equal ones the first.
    #[must_use]
    pub fn binding(&self) -> (Limit, f64) {
        let others =
            [(Limit::Fma, self.fma), (Limit::Memory, self.memory), (Limit::L2, self.l2), (Limit::Launch, self.launch)];
        let first = (Limit::Tensor, self.tensor);
        others.into_iter().fold(first, |most, next| if next.1 > most.1 { next } else { most })
    }
}

/// What a launch has to do for a batch, and how long that takes at least.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LaunchBound {
    /// Multiply-adds that the operation needs.
    pub useful: u64,
    /// The same with padding to whole tiles.
    pub padded: u64,
    /// Bytes of global memory if every operand and result is moved once.
    pub compulsory: u64,
    /// Bytes of global memory that the blocks ask for.
    pub moved: u64,
    /// All bounds.
    pub times: Times,
    /// The largest bound, microseconds.
    pub bound: f64,
    /// What binds.
    pub limit: Limit,
}

impl LaunchBound {
    /// The bounds of some work.
    #[must_use]
    pub fn new(work: &Work, gpu: &Gpu, batch: usize) -> Self {
        let [useful, padded, compulsory, moved] =
            [work.useful, work.padded, work.compulsory, work.moved].map(|amount| amount.of(batch));
        let micro = |amount: u64, rate: f64| amount as f64 / rate * MICRO;
        let (tensor, fma) = if work.tensor { (micro(padded, gpu.tensor), 0.0) } else { (0.0, micro(padded, gpu.f32)) };
        let (memory, l2) = (micro(compulsory, gpu.memory), micro(moved, gpu.l2));
        let times = Times { tensor, fma, memory, l2, launch: gpu.launch * MICRO };
        let (limit, bound) = times.binding();
        Self { useful, padded, compulsory, moved, times, bound, limit }
    }
}

/// Sums over a network's launches.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Sums {
    /// Multiply-adds that the operations need.
    pub useful: u64,
    /// The same with padding to whole tiles.
    pub padded: u64,
    /// Bytes of global memory if each launch's operands and results are moved once.
    pub compulsory: u64,
    /// Bytes of global memory that the blocks ask for.
    pub moved: u64,
    /// Sum of the launches' bounds, microseconds.
    pub bound: f64,
    /// Microseconds if nothing but the compulsory bytes took time.
    pub memory_floor: f64,
}

/// Bounds of a network for one batch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bounds {
    /// Name of the GPU.
    pub gpu: &'static str,
    /// Samples.
    pub batch: usize,
    /// One for each launch of the batch's variant, in order.
    pub launches: Vec<LaunchBound>,
    /// Sums over them.
    pub sums: Sums,
}

impl Planned {
    /// The bounds for a batch on a GPU; none if the plan is for smaller batches only, or the batch is 0.
    #[must_use]
    pub fn bounds(&self, gpu: &'static Gpu, batch: usize) -> Option<Bounds> {
        let fits = |variant: &Variant| (1..=variant.batch).contains(&batch);
        let variant = self.program.variants.iter().position(fits)?;
        let work = self.work.get(variant)?;
        let launches: Vec<LaunchBound> = work.iter().map(|work| LaunchBound::new(work, gpu, batch)).collect();
        let sum = |of: fn(&LaunchBound) -> u64| launches.iter().map(of).sum::<u64>();
        let compulsory = sum(|launch| launch.compulsory);
        let sums = Sums {
            useful: sum(|launch| launch.useful),
            padded: sum(|launch| launch.padded),
            compulsory,
            moved: sum(|launch| launch.moved),
            bound: launches.iter().map(|launch| launch.bound).sum(),
            memory_floor: compulsory as f64 / gpu.memory * MICRO,
        };
        Some(Bounds { gpu: gpu.name, batch, launches, sums })
    }
}
