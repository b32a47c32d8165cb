//! Operations: their fields computed, their shapes, and the layers that they become.

use std::rc::Rc;

use super::Lowering;
use super::eval::Sizes;
use super::expand::Place;
use super::value::{Scope, Value};
use crate::check::shapes::{kept_average, result_shape};
use crate::diagnostic::{Code, Diagnostic};
use crate::ir::{Conv, Layer, LayerId, Linear, Op, Pool, Shape, ValueId};
use crate::source::Span;
use crate::spec::{Argument, ConvFields, Expr, Item, Operation, Ratio, Template};

/// Groups of a convolution.
#[derive(Clone, Copy)]
enum Groups {
    Count(usize),
    Depthwise,
}

impl Lowering<'_, '_> {
    /// Adds a layer; its result is unknown if one of its inputs is. `None` if it can't take them, which is reported.
    pub(super) fn layer(
        &mut self,
        span: Span,
        path: &str,
        op: Op,
        inputs: &[ValueId],
        register: i64,
    ) -> Option<ValueId> {
        let shapes = inputs.iter().map(|id| self.shape(*id)).collect::<Option<Vec<&Shape>>>()?;
        match result_shape(&op, &shapes) {
            Ok(shape) => Some(self.shaped_layer(span, path, op, inputs, shape, register)),
            Err(misfit) => {
                self.report(Diagnostic::new(misfit.code, span, misfit.message).hint(misfit.hint));
                None
            }
        }
    }

    fn shaped_layer(
        &mut self,
        span: Span,
        path: &str,
        op: Op,
        inputs: &[ValueId],
        shape: Shape,
        register: i64,
    ) -> ValueId {
        let id = LayerId::from_index(self.layers.len());
        let output = self.add_value(Some(shape), Some(id));
        self.layers.push(Layer { path: path.to_owned(), op, inputs: inputs.to_vec(), output, span });
        self.registers.push(register);
        output
    }

    /// The layer of an operation. `around` is the path of what is around the item.
    pub(super) fn operation(
        &mut self,
        item: &Item,
        operation: &Operation,
        operands: Option<&[ValueId]>,
        place: &Place<'_>,
        around: &str,
    ) -> Option<ValueId> {
        // The fields are computed even if the input is unknown, so that their errors show.
        let input = operands.and_then(|o| o.first()).and_then(|id| self.shape(*id)).cloned();
        let op = self.op(operation, input.as_ref(), place.scope, around);
        let (op, operands) = (op?, operands?);
        if let (Operation::GlobalAveragePool { keep: Some(keep) }, Some(input)) = (operation, &input) {
            let keep = self.evaluator.condition(keep, place.scope);
            if self.take(keep)? && !input.is_vector() {
                let shape = kept_average(input);
                return Some(self.shaped_layer(item.span, place.path, op, operands, shape, place.register));
            }
        }
        self.layer(item.span, place.path, op, operands, place.register)
    }

    /// What an operation computes. `None` if a field is wrong, which is reported, or if it depends on an unknown input.
    fn op(&mut self, operation: &Operation, input: Option<&Shape>, scope: &Rc<Scope>, around: &str) -> Option<Op> {
        let dimensions = input.map(|shape| shape.spatial.len());
        match operation {
            Operation::Conv(fields) => {
                let ConvFields { out, kernel, stride, padding, dilation, groups, bias, warehouse } = &**fields;
                let out = self.optional(out.as_ref(), |l, e| l.count(e, scope, 1));
                let kernel = self.required(kernel.as_ref(), |l, e| l.sizes(e, scope, 1));
                let stride = self.sizes_or(stride.as_ref(), scope, 1, 1);
                let padding = self.sizes_or(padding.as_ref(), scope, 0, 0);
                let dilation = self.sizes_or(dilation.as_ref(), scope, 1, 1);
                let groups = self.groups(groups.as_ref(), scope);
                let bias = self.condition_or(bias.as_ref(), scope, false);
                let warehouse = self.warehouse(warehouse.as_ref(), scope);
                let (input, dimensions) = (input?, dimensions?);
                Some(Op::Conv(Conv {
                    in_channels: input.channels,
                    out_channels: out?.unwrap_or(input.channels),
                    kernel: kernel?.spread(dimensions),
                    stride: stride?.spread(dimensions),
                    padding: padding?.spread(dimensions),
                    dilation: dilation?.spread(dimensions),
                    groups: match groups? {
                        Groups::Count(count) => count,
                        Groups::Depthwise => input.channels,
                    },
                    bias: bias?,
                    warehouse: warehouse?,
                }))
            }
            Operation::Linear { out, bias, warehouse } => {
                let out = self.required(out.as_ref(), |l, e| l.count(e, scope, 1));
                let bias = self.condition_or(bias.as_ref(), scope, true);
                let warehouse = self.warehouse(warehouse.as_ref(), scope);
                let in_channels = input?.channels;
                Some(Op::Linear(Linear { in_channels, out_channels: out?, bias: bias?, warehouse: warehouse? }))
            }
            Operation::BatchNorm { eps } => Some(Op::BatchNorm { epsilon: self.epsilon(eps.as_ref(), scope, 1e-5)? }),
            Operation::LayerNorm { eps } => Some(Op::LayerNorm { epsilon: self.epsilon(eps.as_ref(), scope, 1e-6)? }),
            Operation::Scale { param, shape } => {
                let parameter = self.parameter(param.as_ref(), scope, around);
                let channels = input?.channels;
                let shape = match shape {
                    None => vec![channels],
                    Some(expr) => self.scale_shape(expr, channels, scope)?,
                };
                Some(Op::Scale { parameter: parameter?, shape })
            }
            Operation::Activation(activation) => Some(Op::Activation(*activation)),
            Operation::MaxPool { kernel, stride, padding } => {
                self.pool(Some(kwc_program::PoolKind::Max), [kernel, stride, padding], dimensions, scope)
            }
            Operation::AveragePool { kernel, stride, padding, count_padding } => {
                let count_padding = self.condition_or(count_padding.as_ref(), scope, true);
                let kind = count_padding
                    .map(|all| if all { kwc_program::PoolKind::Average } else { kwc_program::PoolKind::AverageInside });
                self.pool(kind, [kernel, stride, padding], dimensions, scope)
            }
            Operation::GlobalAveragePool { keep } => {
                self.condition_or(keep.as_ref(), scope, false)?;
                Some(Op::GlobalAverage)
            }
            Operation::Add => Some(Op::Add),
            Operation::Concat => Some(Op::Concat),
            Operation::Upsample { factor } => {
                let factor = self.required(factor.as_ref(), |l, e| l.sizes(e, scope, 1));
                Some(Op::Upsample { factor: factor?.spread(dimensions?) })
            }
            Operation::Flatten => Some(Op::Flatten),
        }
    }

    fn pool(
        &mut self,
        kind: Option<kwc_program::PoolKind>,
        [kernel, stride, padding]: [&Option<Expr>; 3],
        dimensions: Option<usize>,
        scope: &Scope,
    ) -> Option<Op> {
        let kernel = self.required(kernel.as_ref(), |l, e| l.sizes(e, scope, 1));
        let stride = self.optional(stride.as_ref(), |l, e| l.sizes(e, scope, 1));
        let padding = self.sizes_or(padding.as_ref(), scope, 0, 0);
        let (kernel, stride, dimensions) = (kernel?, stride?, dimensions?);
        Some(Op::Pool(Pool {
            kind: kind?,
            stride: stride.unwrap_or_else(|| kernel.clone()).spread(dimensions),
            kernel: kernel.spread(dimensions),
            padding: padding?.spread(dimensions),
        }))
    }

    /// A field that may be absent: `None` if it is wrong, `Some(None)` if it is absent.
    fn optional<T>(
        &mut self,
        expr: Option<&Expr>,
        evaluate: impl FnOnce(&super::Evaluator, &Expr) -> Result<T, super::Fault>,
    ) -> Option<Option<T>> {
        let Some(expr) = expr else { return Some(None) };
        let value = evaluate(&self.evaluator, expr);
        self.take(value).map(Some)
    }

    /// A field whose absence was reported.
    fn required<T>(
        &mut self,
        expr: Option<&Expr>,
        evaluate: impl FnOnce(&super::Evaluator, &Expr) -> Result<T, super::Fault>,
    ) -> Option<T> {
        self.optional(expr, evaluate).flatten()
    }

    fn sizes_or(&mut self, expr: Option<&Expr>, scope: &Scope, min: usize, default: usize) -> Option<Sizes> {
        let sizes = self.optional(expr, |l, e| l.sizes(e, scope, min))?;
        Some(sizes.unwrap_or(Sizes::All(default)))
    }

    fn condition_or(&mut self, expr: Option<&Expr>, scope: &Scope, default: bool) -> Option<bool> {
        Some(self.optional(expr, |l, e| l.condition(e, scope))?.unwrap_or(default))
    }

    /// A norm's epsilon, above 0.
    fn epsilon(&mut self, expr: Option<&Expr>, scope: &Scope, default: f64) -> Option<f64> {
        match expr {
            None => Some(default),
            Some(expr) => self.positive(expr, scope).map(Ratio::to_f64),
        }
    }

    /// A number above 0.
    pub(super) fn positive(&mut self, expr: &Expr, scope: &Scope) -> Option<Ratio> {
        let number = self.evaluator.positive(expr, scope);
        self.take(number)
    }

    fn groups(&mut self, groups: Option<&Argument>, scope: &Scope) -> Option<Groups> {
        let Some(argument) = groups else { return Some(Groups::Count(1)) };
        let value = self.evaluator.argument(argument, scope);
        let value = self.take(value)?;
        if let (Value::Text(text), Value::Text(_)) = (&value, value.meaning()) {
            if &*text.text == "depthwise" {
                return Some(Groups::Depthwise);
            }
            let message = format!("`{}` is no number of groups", crate::spec::shortened(&text.text));
            self.report(Diagnostic::new(Code::Expression, argument.span(), message).hint("a number, or `depthwise`"));
            return None;
        }
        let count = super::eval::as_count(&value, argument.span(), 1);
        self.take(count).map(Groups::Count)
    }

    /// The full name of a scale's parameter.
    fn parameter(&mut self, param: Option<&Template>, scope: &Scope, around: &str) -> Option<String> {
        let name = match param {
            None => "gamma".to_owned(),
            Some(template) => {
                let name = self.evaluator.text(template, scope);
                let name = self.take(name)?;
                if name.split('.').any(|segment| !crate::spec::is_plain_name(segment)) {
                    let message = format!("`{}` can't be the name of a parameter", crate::spec::shortened(&name));
                    let hint = crate::spec::PATH_HINT;
                    self.report(Diagnostic::new(Code::WrongType, template.span, message).hint(hint));
                    return None;
                }
                name
            }
        };
        Some(if around.is_empty() { name } else { format!("{around}.{name}") })
    }

    /// The shape of a scale's parameter, in which `C` is the channel count.
    fn scale_shape(&mut self, expr: &Expr, channels: usize, scope: &Rc<Scope>) -> Option<Vec<usize>> {
        let mut inner = Scope::inside(Rc::clone(scope));
        let count = i64::try_from(channels).map_or(Value::Unknown, |c| Value::Number(Ratio::whole(c)));
        inner.insert("C", count, None);
        let sizes = self.evaluator.sizes(expr, &inner, 1);
        match self.take(sizes)? {
            Sizes::Each(sizes) => Some(sizes),
            Sizes::All(size) => Some(vec![size]),
        }
    }
}

/// Whether an operation has a module with parameters.
pub(super) const fn needs_path(operation: &Operation) -> bool {
    match operation {
        Operation::Conv(_) | Operation::Linear { .. } | Operation::BatchNorm { .. } | Operation::LayerNorm { .. } => {
            true
        }
        Operation::Scale { .. }
        | Operation::Activation(_)
        | Operation::MaxPool { .. }
        | Operation::AveragePool { .. }
        | Operation::GlobalAveragePool { .. }
        | Operation::Add
        | Operation::Concat
        | Operation::Upsample { .. }
        | Operation::Flatten => false,
    }
}
