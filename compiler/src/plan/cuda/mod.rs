//! Planning for CUDA: steps as launches of specialised kernels.
//!
//! The steps of a network (batch norms folded, epilogues fused, no step in place) are lowered one by one, for
//! each range of batch sizes on its own:
//!
//! - `lower` walks the steps, and knows how every activation is stored;
//! - one file for each kind of step chooses a kernel, its constants and its grid;
//! - `kernel` says what a kernel is before it is text; equal ones are one;
//! - `weights` says how weights are packed;
//! - `gpu` has the figures of the GPUs that plans are made for;
//! - `bounds` says how long launches take at least, and `strategy` how dynamic layers are computed.

mod attention;
mod average;
mod bounds;
mod choice;
mod conv;
mod elementwise;
mod gpu;
mod kernel;
mod linear;
mod lower;
mod mix;
mod norm;
mod pool;
mod product;
mod storage;
mod strategy;
mod weights;
mod work;

use std::borrow::Cow;

use kwc_program::cuda::{FORMAT_VERSION, Precision, Program, Variant};

pub use bounds::{Bounds, LaunchBound, Limit, Sums, Times};
pub use conv::Choice;
pub use gpu::{GPUS, Gpu};
pub use kernel::{Constant, Epilogue, Family, Kernel, Parameter, ParameterKind};
pub use strategy::{CellSource, Modelled, Strategy};
pub use weights::{Order, PackRecipe};
pub use work::{Amount, Work};

use super::{Error, recipe};
use crate::check::Checked;

/// What a plan should be like.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Type of activations, kernels and warehouses.
    pub precision: Precision,
    /// Largest batch, at least 1.
    pub max_batch: usize,
    /// The GPU whose figures decide between strategies.
    pub gpu: &'static Gpu,
    /// Where dynamic layers are mixed.
    pub mixing: Mixing,
    /// As [`super::Options::dumps`].
    pub dumps: Vec<String>,
    /// As [`super::Options::fuse`].
    pub fuse: bool,
    /// As [`super::Options::temperature`].
    pub temperature: Option<f32>,
}

/// Where dynamic layers are mixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mixing {
    /// Where a model of both ways says that it is faster.
    #[default]
    Auto,
    /// In a launch of its own.
    Apart,
    /// In the convolution, for every layer that the kernel for it covers: half precision, batches to 2, at most 64 output
    /// positions, one group, cells whose channels are multiples of 16, and not so many mixtures that their sums don't fit
    /// in a thread's registers.
    Inside,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            precision: Precision::F16,
            max_batch: 8,
            gpu: &GPUS[0],
            mixing: Mixing::Auto,
            dumps: Vec::new(),
            fuse: true,
            temperature: None,
        }
    }
}

impl Options {
    /// The ranges of batch sizes that are planned for on their own, by their largest, ascending.
    fn ranges(&self) -> impl Iterator<Item = usize> {
        let max_batch = self.max_batch.max(1);
        RANGES.into_iter().filter(move |&largest| largest < max_batch).chain([max_batch])
    }
}

/// A Program, the kernels that it launches, and how to make its weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// The Program. It names no source yet: emission makes that.
    pub program: Program,
    /// One for each kernel of the Program.
    pub kernels: Vec<Kernel>,
    /// One for each weight of the Program.
    pub recipes: Vec<PackRecipe>,
    /// What the launches have to do, by variant.
    pub work: Vec<Vec<Work>>,
    /// The dynamic layers that could be computed in two ways, by variant.
    pub choices: Vec<Vec<Choice>>,
}

/// Batches that start a range of their own: what is best for one or two samples isn't for more.
const RANGES: [usize; 1] = [2];

/// Plans a network for CUDA devices.
///
/// # Errors
/// A dump of something that doesn't exist; a layer that is too large for the kernels.
pub fn plan(checked: &Checked, options: &Options) -> Result<Planned, Error> {
    let steps = super::Options {
        dumps: options.dumps.clone(),
        fuse: options.fuse,
        temperature: options.temperature,
        in_place: false,
    };
    let steps = super::steps(checked, &steps)?;
    let mut shared = lower::Shared::default();
    let mut variants: Vec<Variant> = Vec::new();
    let mut work = Vec::new();
    let mut choices = Vec::new();
    for batch in options.ranges() {
        let lowered = lower::lower(checked, options, &steps, batch, &mut shared);
        if let Some(error) = lowered.refusal {
            return Err(error);
        }
        match variants.last_mut() {
            Some(last) if last.launches == lowered.variant.launches && last.buffers == lowered.variant.buffers => {
                last.batch = batch;
                work.pop();
                work.push(lowered.work);
                choices.pop();
                choices.push(lowered.choices);
            }
            Some(_) | None => {
                variants.push(lowered.variant);
                work.push(lowered.work);
                choices.push(lowered.choices);
            }
        }
    }
    let ports = |ports: &[kwc_program::Port]| {
        let port = |p: &kwc_program::Port| kwc_program::cuda::Port { name: p.name.clone(), shape: p.shape.clone() };
        ports.iter().map(port).collect()
    };
    let program = Program {
        format: FORMAT_VERSION,
        name: Cow::Owned(steps.name.clone()),
        precision: options.precision,
        gpu: Cow::Borrowed(options.gpu.name),
        max_batch: options.max_batch.max(1),
        inputs: ports(&steps.inputs),
        outputs: ports(&steps.outputs),
        dumps: ports(&steps.dumps),
        weights_id: Cow::Owned(recipe::table_id("cuda", &shared.weights, &shared.recipes)),
        weights: Cow::Owned(shared.weights),
        weight_bytes: shared.weight_bytes,
        source_id: Cow::Borrowed(""),
        counters: shared.counters,
        kernels: Cow::Owned(shared.entries),
        variants: Cow::Owned(variants),
    };
    Ok(Planned { program, kernels: shared.kernels, recipes: shared.recipes, work, choices })
}
