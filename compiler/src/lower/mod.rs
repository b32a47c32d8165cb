//! Lowering: from the spec's tree to the network.
//!
//! Blocks, repetition, branches, conditions and parameters are expanded, and what is left are layers with shapes. An item
//! that is wrong is reported, and its result is *unknown*: a value without a shape, which later items take without a word,
//! so that one mistake is one error.

mod eval;
mod expand;
mod layers;
mod ports;
mod value;
mod warehouses;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use self::eval::origin;
use self::eval::{Evaluator, Fault};
use self::expand::{Names, Place};
use self::value::{Scope, Value};
use self::warehouses::Registry;
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::ir::{self, Layer, LayerId, Network, Port, Shape, ValueId};
use crate::source::Span;
use crate::spec::{Param, Spec};

/// Expands blocks, repetition and parameters, and computes all shapes. Errors go to `diagnostics`; the result is there if
/// there was none.
pub fn lower(spec: &Spec, diagnostics: &mut Diagnostics) -> Option<Network> {
    let mut lowering = Lowering {
        spec,
        diagnostics,
        evaluator: Evaluator::default(),
        globals: Rc::default(),
        values: Vec::new(),
        layers: Vec::new(),
        registers: Vec::new(),
        registry: Registry::default(),
        paths: BTreeMap::new(),
        uses: Vec::new(),
        items: 0,
        depth: 0,
        stopped: false,
    };
    let network = lowering.network();
    network.filter(|_| diagnostics.is_empty())
}

/// A value whose shape may be unknown.
#[derive(Debug)]
struct Draft {
    shape: Option<Shape>,
    producer: Option<LayerId>,
}

/// The network as far as it has been made.
struct Lowering<'s, 'd> {
    spec: &'s Spec,
    diagnostics: &'d mut Diagnostics,
    evaluator: Evaluator,
    /// The network's parameters.
    globals: Rc<Scope>,
    values: Vec<Draft>,
    layers: Vec<Layer>,
    /// `register` of each layer.
    registers: Vec<i64>,
    registry: Registry,
    paths: BTreeMap<String, ValueId>,
    /// Where the blocks are used that the current item is in, outermost first.
    uses: Vec<Span>,
    /// Items expanded so far.
    items: usize,
    /// Lists around the current item.
    depth: usize,
    /// A limit was passed: nothing is expanded any more.
    stopped: bool,
}

impl Lowering<'_, '_> {
    fn network(&mut self) -> Option<Network> {
        let spec = self.spec;
        self.globals = Rc::new(self.parameters(&spec.params));
        let scope = Rc::clone(&self.globals);
        let inputs = self.inputs();
        let mut names = Names::of_inputs(spec, &inputs);
        let single = match inputs.as_slice() {
            [port] => Some(port.value),
            _ => None,
        };
        let result = self.list(&spec.layers, single, &Place { scope: &scope, path: "", register: 0 }, &mut names);
        if self.layers.is_empty() && self.diagnostics.is_empty() {
            let hint = "a network has at least one layer";
            let span = Span { end: spec.span.start, ..spec.span };
            self.report(Diagnostic::new(Code::MissingField, span, "`layers` comes out empty").hint(hint));
        }
        let outputs = self.outputs(result, &names);
        self.check_inputs_used(&inputs, &outputs);
        let image = spec.image.as_ref().and_then(|image| self.image(image, &inputs));
        if let Some(image) = &spec.image {
            self.check_labels(image, &outputs);
        }

        let mut registration: Vec<LayerId> = (0..self.layers.len()).map(LayerId::from_index).collect();
        registration.sort_by_key(|id| self.registers.get(id.index()).copied());
        let warehouses = self.warehouses(&registration);
        if !self.diagnostics.is_empty() {
            return None;
        }
        let values: Option<Vec<ir::Value>> = std::mem::take(&mut self.values)
            .into_iter()
            .map(|draft| Some(ir::Value { shape: draft.shape?, producer: draft.producer }))
            .collect();
        Some(Network {
            name: spec.name.clone(),
            inputs,
            outputs,
            values: values?,
            layers: std::mem::take(&mut self.layers),
            warehouses,
            registration,
            paths: std::mem::take(&mut self.paths),
            image,
        })
    }

    /// The network's parameters. One may use those before it.
    fn parameters(&mut self, params: &[Param]) -> Scope {
        let mut scope = Scope::default();
        for param in params {
            let (value, origin) = match &param.default {
                Some(argument) => {
                    let value = self.evaluator.argument(argument, &scope);
                    (self.take(value).unwrap_or(Value::Unknown), origin(argument, &scope))
                }
                None => {
                    let name = &param.name.value;
                    let message = format!("parameter `{name}` must be set");
                    let hint = format!("pass `--set {name}=...`, or set it in a spec that extends this one");
                    self.report(Diagnostic::new(Code::MissingField, param.name.span, message).hint(hint));
                    (Value::Unknown, None)
                }
            };
            scope.insert(&param.name.value, value, origin);
        }
        scope
    }

    /// Adds a value.
    fn add_value(&mut self, shape: Option<Shape>, producer: Option<LayerId>) -> ValueId {
        let id = ValueId::from_index(self.values.len());
        self.values.push(Draft { shape, producer });
        id
    }

    /// A value that stands for something wrong.
    fn unknown(&mut self) -> ValueId {
        self.add_value(None, None)
    }

    /// The shape of a value, if it is known.
    fn shape(&self, id: ValueId) -> Option<&Shape> {
        self.values.get(id.index()).and_then(|draft| draft.shape.as_ref())
    }

    /// Reports an error. Inside a block it says where the block is used, and the same place is reported once, however
    /// often the block is used.
    fn report(&mut self, mut diagnostic: Diagnostic) {
        if let Some(&used) = self.uses.last() {
            let known = |d: &Diagnostic| d.code == diagnostic.code && d.span == diagnostic.span;
            if self.diagnostics.iter().any(known) {
                return;
            }
            diagnostic = diagnostic.related(used, "in the block that is used here");
        }
        self.diagnostics.push(diagnostic);
    }

    /// A result, its fault reported.
    fn take<T>(&mut self, result: Result<T, Fault>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(Fault::Reported) => None,
            Err(Fault::Error(diagnostic)) => {
                self.report(*diagnostic);
                self.stopped |= self.evaluator.is_exhausted();
                None
            }
        }
    }

    /// Reports inputs that no layer reads and no output hands out, unless a layer may just not have been understood.
    fn check_inputs_used(&mut self, inputs: &[Port], outputs: &[Port]) {
        if !self.diagnostics.is_empty() {
            return;
        }
        let read = self.layers.iter().flat_map(|layer| layer.inputs.iter().copied());
        let used: BTreeSet<ValueId> = read.chain(outputs.iter().map(|port| port.value)).collect();
        for (port, declared) in inputs.iter().zip(&self.spec.inputs) {
            if !used.contains(&port.value) {
                self.diagnostics.push(
                    Diagnostic::new(
                        Code::Unused,
                        declared.name.span,
                        format!("no layer takes the input `{}`", declared.name.value),
                    )
                    .hint("remove it, or take it with `from`"),
                );
            }
        }
    }
}
