//! The state dict of a network: names, shapes and order of all its tensors, as PyTorch has them.

use crate::check::Checked;
use crate::ir::{AttentionNorm, Layer, LayerId, Op};

/// A tensor that a checkpoint of the network holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Full name.
    pub name: String,
    /// Shape; a counter has none.
    pub shape: Vec<usize>,
    /// What it is.
    pub kind: Kind,
    /// The layer that it belongs to; a warehouse belongs to none.
    pub layer: Option<LayerId>,
}

/// What a tensor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Learned.
    Parameter,
    /// Running mean or variance of a batch norm.
    Statistic,
    /// `num_batches_tracked` (i64, scalar): known, ignored, and allowed to be missing.
    Counter,
}

/// All tensors of a network: first the warehouses, then the layers in the order of registration.
#[must_use]
pub fn tensors(checked: &Checked) -> Vec<Tensor> {
    let network = checked.network();
    let mut list = Vec::new();
    for (i, cells) in checked.partition().warehouses.iter().enumerate() {
        let shape = std::iter::once(cells.cells).chain(cells.cell_shape()).collect();
        list.push(Tensor { name: format!("warehouse_manager.weights.{i}"), shape, kind: Kind::Parameter, layer: None });
    }
    for &id in &network.registration {
        layer_tensors(checked, id, network.layer(id), &mut list);
    }
    list
}

/// Learned parameters of a network.
#[must_use]
pub fn parameters(checked: &Checked) -> usize {
    count(tensors(checked).iter())
}

/// Learned parameters among some tensors.
pub fn count<'a>(tensors: impl Iterator<Item = &'a Tensor>) -> usize {
    tensors.filter(|t| t.kind == Kind::Parameter).map(|t| t.shape.iter().product::<usize>()).sum()
}

/// Path of a layer's module: a dynamic linear layer's stands one level deeper.
#[must_use]
pub fn module_path(layer: &Layer) -> String {
    match &layer.op {
        Op::Linear(l) if l.warehouse.is_some() => format!("{}.conv", layer.path),
        Op::Linear(_)
        | Op::Conv(_)
        | Op::BatchNorm { .. }
        | Op::LayerNorm { .. }
        | Op::Scale { .. }
        | Op::Activation(_)
        | Op::Pool(_)
        | Op::GlobalAverage
        | Op::Add
        | Op::Concat
        | Op::Upsample { .. }
        | Op::Flatten => layer.path.clone(),
    }
}

fn layer_tensors(checked: &Checked, id: LayerId, layer: &Layer, list: &mut Vec<Tensor>) {
    let path = module_path(layer);
    let mut push = |suffix: &str, shape: Vec<usize>, kind: Kind| {
        list.push(Tensor { name: format!("{path}.{suffix}"), shape, kind, layer: Some(id) });
    };
    let channels = checked.network().value(layer.output).shape.channels;
    match &layer.op {
        Op::Conv(c) => {
            if c.warehouse.is_some() {
                attention_tensors(checked, id, c.in_channels, &mut push);
            } else {
                let shape = [c.out_channels, c.in_channels / c.groups].into_iter().chain(c.kernel.iter().copied());
                push("weight", shape.collect(), Kind::Parameter);
            }
            if c.bias {
                push("bias", vec![c.out_channels], Kind::Parameter);
            }
        }
        Op::Linear(l) => {
            if l.warehouse.is_some() {
                attention_tensors(checked, id, l.in_channels, &mut push);
            } else {
                push("weight", vec![l.out_channels, l.in_channels], Kind::Parameter);
            }
            if l.bias {
                push("bias", vec![l.out_channels], Kind::Parameter);
            }
        }
        Op::BatchNorm { .. } => batch_norm_tensors("", channels, &mut push),
        Op::LayerNorm { .. } => {
            push("weight", vec![channels], Kind::Parameter);
            push("bias", vec![channels], Kind::Parameter);
        }
        Op::Scale { parameter, shape } => {
            list.push(Tensor { name: parameter.clone(), shape: shape.clone(), kind: Kind::Parameter, layer: Some(id) });
        }
        Op::Activation(_)
        | Op::Pool(_)
        | Op::GlobalAverage
        | Op::Add
        | Op::Concat
        | Op::Upsample { .. }
        | Op::Flatten => {}
    }
}

fn batch_norm_tensors(prefix: &str, channels: usize, push: &mut impl FnMut(&str, Vec<usize>, Kind)) {
    for (name, kind) in [
        ("weight", Kind::Parameter),
        ("bias", Kind::Parameter),
        ("running_mean", Kind::Statistic),
        ("running_var", Kind::Statistic),
    ] {
        push(&format!("{prefix}{name}"), vec![channels], kind);
    }
    push(&format!("{prefix}num_batches_tracked"), Vec::new(), Kind::Counter);
}

/// The attention's tensors (KernelWarehouse, section 3.3).
fn attention_tensors(
    checked: &Checked,
    id: LayerId,
    in_channels: usize,
    push: &mut impl FnMut(&str, Vec<usize>, Kind),
) {
    let part = checked.mixtures(id);
    let cells = checked.cells(part.warehouse).cells;
    let settings = &checked.network().warehouse(part.warehouse).settings;
    let rows = part.mixtures * part.rows(cells);
    if part.basis.is_some() {
        push("attention.basis_bias", vec![part.mixtures * (cells + 1)], Kind::Parameter);
    }
    push("attention.fc1.weight", vec![part.hidden, in_channels], Kind::Parameter);
    match settings.attention_norm {
        AttentionNorm::Batch => batch_norm_tensors("attention.norm1.", part.hidden, push),
        AttentionNorm::Layer => {
            push("attention.fc1.bias", vec![part.hidden], Kind::Parameter);
            push("attention.norm1.weight", vec![part.hidden], Kind::Parameter);
            push("attention.norm1.bias", vec![part.hidden], Kind::Parameter);
        }
    }
    push("attention.fc2.weight", vec![rows, part.hidden], Kind::Parameter);
    match part.basis {
        None => push("attention.fc2.bias", vec![rows], Kind::Parameter),
        Some(rank) => push("attention.fc3.weight", vec![cells - part.local_cells, rank], Kind::Parameter),
    }
}
