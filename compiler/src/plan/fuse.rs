//! Fusion: which layers become one step.
//!
//! A step's epilogue is `activation(scale * x + shift + add)`. So a group is a chain of layers, each the only reader of
//! the one before: an anchor; per-channel maps (batch norm, scale); at most one addition; at most one activation. A group
//! runs where its last layer stands, when the other operand of its addition is there too.

use kwc_program::Activation;

use super::recipe::Affine;
use crate::ir::{Layer, LayerId, Network, Op, ValueId};
use crate::state::module_path;

/// Layers that become one step (or, for a dynamic layer, its attention, mixing and convolution).
#[derive(Debug, Clone)]
pub(super) struct Group {
    /// The layer whose operation the step has.
    pub anchor: LayerId,
    /// The layer whose place and output the step has.
    pub last: LayerId,
    /// Per-channel maps, in order.
    pub affine: Vec<Affine>,
    /// The value that is added.
    pub add: Option<ValueId>,
    /// Applied last.
    pub activation: Activation,
}

/// Groups all layers. Groups are in the order in which they run. Values in `pinned` are not fused away.
pub(super) fn groups(network: &Network, uses: &[usize], pinned: &[bool], fuse: bool) -> Vec<Group> {
    let mut readers: Vec<Option<LayerId>> = vec![None; network.values.len()];
    for (id, layer) in network.layers() {
        for input in &layer.inputs {
            readers[input.index()] = Some(id);
        }
    }
    let mut absorbed = vec![false; network.layers.len()];
    let mut groups = Vec::new();
    for (id, layer) in network.layers() {
        if absorbed[id.index()] {
            continue;
        }
        let mut group = start(id, layer);
        if fuse {
            let mut value = layer.output;
            while uses[value.index()] == 1 && !pinned[value.index()] {
                let Some(next) = readers[value.index()].filter(|r| !absorbed[r.index()]) else { break };
                if !extend(&mut group, network, layer, next, value) {
                    break;
                }
                absorbed[next.index()] = true;
                group.last = next;
                value = network.layer(next).output;
            }
        }
        groups.push(group);
    }
    groups.sort_by_key(|g| g.last);
    groups
}

fn start(id: LayerId, layer: &Layer) -> Group {
    let mut group = Group { anchor: id, last: id, affine: Vec::new(), add: None, activation: Activation::Identity };
    match &layer.op {
        Op::Conv(c) if c.bias => group.affine.push(bias(layer)),
        Op::Linear(l) if l.bias => group.affine.push(bias(layer)),
        Op::BatchNorm { .. } | Op::Scale { .. } => group.affine.extend(affine(layer)),
        Op::Add => group.add = layer.inputs.get(1).copied(),
        Op::Activation(a) => group.activation = *a,
        Op::Conv(_)
        | Op::Linear(_)
        | Op::LayerNorm { .. }
        | Op::Pool(_)
        | Op::GlobalAverage
        | Op::Concat
        | Op::Upsample { .. }
        | Op::Flatten => {}
    }
    group
}

fn bias(layer: &Layer) -> Affine {
    Affine::Bias(format!("{}.bias", module_path(layer)))
}

fn affine(layer: &Layer) -> Option<Affine> {
    match &layer.op {
        Op::BatchNorm { epsilon } => Some(Affine::BatchNorm { path: layer.path.clone(), epsilon: *epsilon }),
        Op::Scale { parameter, .. } => Some(Affine::Scale(parameter.clone())),
        Op::Conv(_)
        | Op::Linear(_)
        | Op::LayerNorm { .. }
        | Op::Activation(_)
        | Op::Pool(_)
        | Op::GlobalAverage
        | Op::Add
        | Op::Concat
        | Op::Upsample { .. }
        | Op::Flatten => None,
    }
}

/// Takes `next`, which reads `value`, into the group if its place in the epilogue is still free.
fn extend(group: &mut Group, network: &Network, anchor: &Layer, next: LayerId, value: ValueId) -> bool {
    let (maps, adds, activates) = match &anchor.op {
        Op::Conv(_) | Op::Linear(_) | Op::BatchNorm { .. } | Op::Scale { .. } => (true, true, true),
        Op::Add => (false, false, anchor.inputs.len() == 2),
        Op::LayerNorm { .. } => (false, false, true),
        Op::Activation(_) | Op::Pool(_) | Op::GlobalAverage | Op::Concat | Op::Upsample { .. } | Op::Flatten => {
            (false, false, false)
        }
    };
    let untouched = group.add.is_none() && group.activation == Activation::Identity;
    let layer = network.layer(next);
    match &layer.op {
        Op::BatchNorm { .. } | Op::Scale { .. } if maps && untouched => {
            group.affine.extend(affine(layer));
            true
        }
        Op::Add if adds && untouched && layer.inputs.len() == 2 => {
            group.add = layer.inputs.iter().copied().find(|&v| v != value);
            true
        }
        Op::Activation(a) if activates && group.activation == Activation::Identity => {
            group.activation = *a;
            true
        }
        Op::Conv(_)
        | Op::Linear(_)
        | Op::BatchNorm { .. }
        | Op::LayerNorm { .. }
        | Op::Scale { .. }
        | Op::Activation(_)
        | Op::Pool(_)
        | Op::GlobalAverage
        | Op::Add
        | Op::Concat
        | Op::Upsample { .. }
        | Op::Flatten => false,
    }
}
