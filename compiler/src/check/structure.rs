//! The network as a graph: ids, order, registration. No spec can break these; if one does, lowering is wrong.

use std::collections::BTreeSet;

use super::shapes::{elements, kept_average, result_shape};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::ir::{LayerId, Network, Op, Port, Settings, ValueId};

/// A broken invariant, as an error that asks to be reported.
fn bug(message: impl Into<String>) -> Diagnostic {
    Diagnostic::global(Code::Bug, message).hint("this is a mistake in the compiler; please report it with the spec")
}

/// Checks ids, data flow, registration, ports and settings. True if later checks can go on.
pub(super) fn check_structure(network: &Network, diagnostics: &mut Diagnostics) -> bool {
    let before = diagnostics.len();
    let known = |value: ValueId| value.index() < network.values.len();
    for (id, layer) in network.layers() {
        let made_before = |value: &ValueId| {
            let producer = network.values.get(value.index()).map(|v| v.producer);
            producer.is_some_and(|p| p.is_none_or(|p| p < id))
        };
        if layer.inputs.is_empty() || !layer.inputs.iter().all(made_before) {
            diagnostics.push(bug(format!("layer {id} (`{}`) reads what is not there yet", layer.path)));
        }
        if network.values.get(layer.output.index()).is_none_or(|v| v.producer != Some(id)) {
            diagnostics.push(bug(format!("layer {id} (`{}`) doesn't make its own result", layer.path)));
        }
        if layer.op.warehouse().is_some_and(|w| w.index() >= network.warehouses.len()) {
            diagnostics.push(bug(format!("layer {id} (`{}`) has a warehouse that isn't there", layer.path)));
        }
        let has_module = match layer.op {
            Op::Conv(_) | Op::Linear(_) | Op::BatchNorm { .. } | Op::LayerNorm { .. } => true,
            Op::Scale { .. }
            | Op::Activation(_)
            | Op::Pool(_)
            | Op::GlobalAverage
            | Op::Add
            | Op::Concat
            | Op::Upsample { .. }
            | Op::Flatten => false,
        };
        if has_module && layer.path.is_empty() {
            diagnostics.push(bug(format!("layer {id} has parameters and no path")));
        }
    }
    let registered: BTreeSet<LayerId> = network.registration.iter().copied().collect();
    let every = (0..network.layers.len()).map(LayerId::from_index);
    if network.registration.len() != network.layers.len() || !registered.into_iter().eq(every) {
        diagnostics.push(bug("the order of registration doesn't hold every layer once"));
    }
    for (ports, what) in [(&network.inputs, "input"), (&network.outputs, "output")] {
        check_ports(ports, what, &known, diagnostics);
    }
    if network.layers.is_empty() {
        diagnostics.push(bug("the network has no layers"));
    }
    if !network.paths.values().all(|value| known(*value)) {
        diagnostics.push(bug("a module's result is no value of the network"));
    }
    for warehouse in &network.warehouses {
        if !are_sound(&warehouse.settings) {
            diagnostics.push(bug(format!("the settings of warehouse `{}` are out of range", warehouse.name)));
        }
    }
    diagnostics.len() == before
}

fn check_ports(ports: &[Port], what: &str, known: &impl Fn(ValueId) -> bool, diagnostics: &mut Diagnostics) {
    if ports.is_empty() {
        diagnostics.push(bug(format!("the network has no {what}")));
    }
    let mut names = BTreeSet::new();
    for port in ports {
        if !names.insert(port.name.as_str()) {
            diagnostics.push(bug(format!("the {what} `{}` is there twice", port.name)));
        }
        if !known(port.value) {
            diagnostics.push(bug(format!("the {what} `{}` is no value of the network", port.name)));
        }
    }
}

fn are_sound(settings: &Settings) -> bool {
    let Settings { budget, cell_out_ratio, cell_in_ratio, reduction, basis_ratio, partition: _, attention_norm: _ } =
        settings;
    let ratios = [*budget, *cell_out_ratio, *cell_in_ratio, *reduction, basis_ratio.unwrap_or(1.0)];
    ratios.iter().all(|ratio| ratio.is_finite() && *ratio > 0.0)
}

/// Holds the shape of every value against the rule of the operation that makes it.
pub(super) fn check_shapes(network: &Network, diagnostics: &mut Diagnostics) -> bool {
    let before = diagnostics.len();
    for port in &network.inputs {
        let shape = &network.value(port.value).shape;
        if elements(shape.dims()).is_none_or(|elements| elements == 0) {
            diagnostics.push(bug(format!("the input `{}` has the shape {shape}", port.name)));
        }
    }
    for (id, layer) in network.layers() {
        let inputs: Vec<_> = layer.inputs.iter().map(|value| &network.value(*value).shape).collect();
        let output = &network.value(layer.output).shape;
        match result_shape(&layer.op, &inputs) {
            Ok(shape) if shape == *output => {}
            Ok(_) if layer.op == Op::GlobalAverage && inputs.iter().any(|input| kept_average(input) == *output) => {}
            Ok(shape) => {
                diagnostics.push(bug(format!("layer {id} (`{}`) makes {shape}, not {output}", layer.path)));
            }
            Err(misfit) => {
                diagnostics.push(Diagnostic::new(misfit.code, layer.span, misfit.message).hint(misfit.hint));
            }
        }
    }
    diagnostics.len() == before
}
