//! Planning: fold, fuse, order, place: from a checked network to a Program for a target.
//!
//! - `fuse` groups layers: a convolution, linear layer or element-wise operation takes the batch norms, scales, addition
//!   and activation that follow it into its epilogue;
//! - `build` writes the groups as steps over buffers and weights, in data-flow order;
//! - `steps` says what those are: operations that every target has;
//! - `place` gives buffers their places in one arena, by lifetime;
//! - `recipe` says how each weight is made from the tensors of a checkpoint;
//! - [`cpu`] makes operations on packed kernels of the steps;
//! - [`cuda`] makes launches of specialised kernels of the steps.

mod build;
pub mod cpu;
pub mod cuda;
mod fuse;
mod layers;
mod place;
mod recipe;
mod steps;

use thiserror::Error;

pub(crate) use recipe::packed_order;
pub use recipe::{Affine, Base, Fold, Recipe};

use crate::check::Checked;
use crate::diagnostic::nearest;
use crate::ir::LayerId;
use crate::state::module_path;

/// What a plan should be like.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Paths of modules whose results the caller wants to see, or `<path>.attention` for the attention of a dynamic layer
    /// (`[mixtures, cells]`, mixtures in the method's own order). They are computed as the spec says, not fused away.
    pub dumps: Vec<String>,
    /// Whether to fuse epilogues. Without it every layer is a step of its own.
    pub fuse: bool,
    /// Training-time blending of every attention: `alpha = (1 - t) * alpha + t * beta`.
    pub temperature: Option<f32>,
    /// Whether a step may write over an operand that nothing reads any more.
    pub in_place: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { dumps: Vec::new(), fuse: true, temperature: None, in_place: true }
    }
}

/// A Program, and how to make its weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// The Program.
    pub program: kwc_program::Program,
    /// One per weight of the Program.
    pub recipes: Vec<cpu::PackRecipe>,
    /// One per step of the Program: the layer that it is of.
    pub layers: Vec<LayerId>,
}

/// A request that a network can't fulfil.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// No module has this path.
    #[error("there is no module `{name}` to dump{}", hint(.nearest.as_deref()))]
    UnknownDump {
        /// What was asked for.
        name: String,
        /// The most similar path.
        nearest: Option<String>,
    },
    /// A layer is too large for the target's kernels.
    #[error("{layer} is too large for a CUDA device: {what}")]
    TooLarge {
        /// The layer by its path, if it has one, and its place in the spec.
        layer: String,
        /// What is too large, and what the limit is.
        what: String,
    },
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |n| format!("; did you mean `{n}`?"))
}

/// Plans a network for the CPU.
///
/// # Errors
/// A dump of something that doesn't exist.
pub fn plan(checked: &Checked, options: &Options) -> Result<Planned, Error> {
    Ok(cpu::lower(checked, &steps(checked, options)?))
}

/// What a network computes, whatever the target.
fn steps(checked: &Checked, options: &Options) -> Result<steps::Steps, Error> {
    let dumps = options.dumps.iter().map(|name| dump(checked, name)).collect::<Result<Vec<_>, _>>()?;
    Ok(build::build(checked, options, &dumps))
}

/// Something to dump.
#[derive(Debug, Clone)]
enum Dump {
    /// A module's result.
    Value(String, crate::ir::ValueId),
    /// A dynamic layer's attention.
    Attention(String, crate::ir::LayerId),
}

fn dump(checked: &Checked, name: &str) -> Result<Dump, Error> {
    let network = checked.network();
    if let Some(&value) = network.paths.get(name) {
        return Ok(Dump::Value(name.to_owned(), value));
    }
    let attentions: Vec<(String, _)> =
        network.dynamic_layers().map(|(id, layer, _)| (format!("{}.attention", module_path(layer)), id)).collect();
    // A dynamic linear layer's module is a part of the one that its path names; both names will do.
    let layer = name.strip_suffix(".attention");
    let by_layer = network.dynamic_layers().find(|(_, dynamic, _)| layer == Some(&dynamic.path)).map(|(id, ..)| id);
    let by_module = attentions.iter().find(|(path, _)| path == name).map(|(_, id)| *id);
    if let Some(id) = by_module.or(by_layer) {
        return Ok(Dump::Attention(name.to_owned(), id));
    }
    let candidates = network.paths.keys().map(String::as_str).chain(attentions.iter().map(|(p, _)| p.as_str()));
    Err(Error::UnknownDump { name: name.to_owned(), nearest: nearest(name, candidates).map(str::to_owned) })
}
