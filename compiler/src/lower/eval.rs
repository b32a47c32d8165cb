//! Evaluation of expressions, templates and arguments.

use std::cell::Cell;
use std::rc::Rc;

use super::value::{List, Scope, Text, Value};
use crate::diagnostic::{Code, Diagnostic};
use crate::source::Span;
use crate::spec::{Argument, Expr, ExprKind, Function, Operator, Part, Ratio, Template, shortened, suggestion};

/// Most nodes of expressions that are evaluated for one network.
const MAX_STEPS: usize = 2_000_000;
/// Longest text that a template may come to, in bytes.
const MAX_TEXT: usize = 1024;
/// Largest size or count that a spec may state.
pub(super) const MAX_COUNT: usize = 1 << 31;

/// Why there is no value.
#[derive(Debug)]
pub(super) enum Fault {
    /// It stems from something that was reported before.
    Reported,
    /// An error that the caller may report.
    Error(Box<Diagnostic>),
}

impl From<Diagnostic> for Fault {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::Error(Box::new(diagnostic))
    }
}

fn fault(code: Code, span: Span, message: impl Into<String>, hint: impl Into<String>) -> Fault {
    Diagnostic::new(code, span, message).hint(hint).into()
}

/// A number, or one per dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sizes {
    All(usize),
    Each(Vec<usize>),
}

impl Sizes {
    /// One size per dimension; a list is taken as it is.
    pub(super) fn spread(self, dimensions: usize) -> Vec<usize> {
        match self {
            Self::All(size) => vec![size; dimensions],
            Self::Each(sizes) => sizes,
        }
    }
}

/// Evaluates, and counts what it does.
#[derive(Debug, Default)]
pub(super) struct Evaluator {
    steps: Cell<usize>,
}

impl Evaluator {
    /// Whether a network has used up what may be evaluated.
    pub(super) fn is_exhausted(&self) -> bool {
        self.steps.get() > MAX_STEPS
    }

    /// An error, once a network has used up what may be evaluated.
    pub(super) fn check_effort(&self, span: Span) -> Result<(), Fault> {
        if self.is_exhausted() {
            let message = "the expressions of this spec take too long to compute";
            return Err(fault(Code::TooLarge, span, message, "check the `count` of every `repeat`"));
        }
        Ok(())
    }

    /// Counts the effort of comparing a name with others.
    pub(super) fn spend_on_comparing(&self, names: usize) {
        /// One comparison takes as long as some ten evaluations.
        const STEPS: usize = 10;
        self.spend(names.saturating_mul(STEPS));
    }

    /// Counts the effort of giving parameters their values.
    pub(super) fn spend(&self, steps: usize) {
        self.steps.set(self.steps.get().saturating_add(steps));
    }

    fn step(&self, span: Span) -> Result<(), Fault> {
        self.spend(1);
        self.check_effort(span)
    }

    /// The value of an expression.
    pub(super) fn value(&self, expr: &Expr, scope: &Scope) -> Result<Value, Fault> {
        self.step(expr.span)?;
        Ok(match &expr.kind {
            ExprKind::Number(number) => Value::Number(*number),
            ExprKind::Bool(value) => Value::Bool(*value),
            ExprKind::Text(text) => Value::Text(Text { text: text.as_str().into(), meaning: None }),
            ExprKind::Parameter(name) => match scope.get(name) {
                Some(Value::Unknown) => return Err(Fault::Reported),
                Some(value) => value.clone(),
                None => {
                    let names = scope.names();
                    self.spend_on_comparing(names.len());
                    let hint = match name.to_lowercase().as_str() {
                        "yes" | "on" => "write `true`".to_owned(),
                        "no" | "off" => "write `false`".to_owned(),
                        _ => suggestion(name, names.iter().copied(), "the parameters here are"),
                    };
                    return Err(fault(
                        Code::Undefined,
                        expr.span,
                        format!("there is no parameter `{}`", shortened(name)),
                        hint,
                    ));
                }
            },
            ExprKind::Index(list, index) => self.element(list, index, scope)?,
            ExprKind::List(items) => {
                let items = items.iter().map(|e| self.value(e, scope)).collect::<Result<Vec<_>, _>>()?;
                list_of(items, expr.span)?
            }
            ExprKind::Negate(operand) => {
                let number = self.number(operand, scope)?;
                Value::Number(number.checked_neg().ok_or_else(|| too_large(expr.span))?)
            }
            ExprKind::Not(operand) => Value::Bool(!self.condition(operand, scope)?),
            ExprKind::Binary(operator, left, right) => self.binary(expr.span, *operator, left, right, scope)?,
            ExprKind::Choose(parts) => {
                let [condition, yes, no] = parts.as_ref();
                self.value(if self.condition(condition, scope)? { yes } else { no }, scope)?
            }
            ExprKind::Call(function, arguments) => self.call(expr.span, *function, arguments, scope)?,
            ExprKind::Broken => return Err(Fault::Reported),
        })
    }

    fn element(&self, list: &Expr, index: &Expr, scope: &Scope) -> Result<Value, Fault> {
        let items = self.list(list, scope)?;
        let number = self.number(index, scope)?;
        let found = number.as_whole().and_then(|i| usize::try_from(i).ok()).and_then(|i| items.get(i));
        match found {
            Some(Value::Unknown) => Err(Fault::Reported),
            Some(value) => Ok(value.clone()),
            None => Err(fault(
                Code::Expression,
                index.span,
                format!("there is no element {number} in a list of {}", items.len()),
                "elements count from 0",
            )),
        }
    }

    fn list(&self, expr: &Expr, scope: &Scope) -> Result<Rc<[Value]>, Fault> {
        let value = self.value(expr, scope)?;
        match value {
            Value::List(list) => Ok(list.items),
            Value::Number(_) | Value::Bool(_) | Value::Text(_) | Value::Unknown => {
                let message = format!("this should be a list, but it is {}", value.describe());
                Err(fault(Code::Expression, expr.span, message, "lists are declared in `params`"))
            }
        }
    }

    fn binary(&self, span: Span, operator: Operator, left: &Expr, right: &Expr, scope: &Scope) -> Result<Value, Fault> {
        let compute = |operation: fn(Ratio, Ratio) -> Option<Ratio>| {
            let (a, b) = (self.number(left, scope)?, self.number(right, scope)?);
            operation(a, b).map(Value::Number).ok_or_else(|| too_large(span))
        };
        let divide = |operation: fn(Ratio, Ratio) -> Option<Ratio>| {
            if self.number(right, scope)? == Ratio::whole(0) {
                return Err(fault(Code::Expression, right.span, "division by 0", "check the divisor"));
            }
            compute(operation)
        };
        let compare = |holds: fn(&Ratio, &Ratio) -> bool| {
            Ok(Value::Bool(holds(&self.number(left, scope)?, &self.number(right, scope)?)))
        };
        match operator {
            Operator::Or => Ok(Value::Bool(self.condition(left, scope)? || self.condition(right, scope)?)),
            Operator::And => Ok(Value::Bool(self.condition(left, scope)? && self.condition(right, scope)?)),
            Operator::Equal => Ok(Value::Bool(self.equal(span, left, right, scope)?)),
            Operator::NotEqual => Ok(Value::Bool(!self.equal(span, left, right, scope)?)),
            Operator::Less => compare(Ratio::lt),
            Operator::LessOrEqual => compare(Ratio::le),
            Operator::Greater => compare(Ratio::gt),
            Operator::GreaterOrEqual => compare(Ratio::ge),
            Operator::Add => compute(Ratio::checked_add),
            Operator::Subtract => compute(Ratio::checked_sub),
            Operator::Multiply => compute(Ratio::checked_mul),
            Operator::Divide => divide(Ratio::checked_div),
            Operator::DivideDown => divide(Ratio::checked_div_floor),
            Operator::Remainder => divide(Ratio::checked_rem),
        }
    }

    /// Numbers, conditions and texts are compared with their like.
    fn equal(&self, span: Span, left: &Expr, right: &Expr, scope: &Scope) -> Result<bool, Fault> {
        let (a, b) = (self.value(left, scope)?, self.value(right, scope)?);
        match (a.meaning(), b.meaning()) {
            (Value::Number(a), Value::Number(b)) => return Ok(a == b),
            (Value::Bool(a), Value::Bool(b)) => return Ok(a == b),
            _ => {}
        }
        match (&a, &b) {
            (Value::Text(a), Value::Text(b)) => Ok(a.text == b.text),
            (
                Value::Number(_) | Value::Bool(_) | Value::Text(_) | Value::List(_) | Value::Unknown,
                Value::Number(_) | Value::Bool(_) | Value::Text(_) | Value::List(_) | Value::Unknown,
            ) => {
                let message = format!("{} and {} can't be compared", a.describe(), b.describe());
                Err(fault(Code::Expression, span, message, "compare numbers with numbers, and texts with texts"))
            }
        }
    }

    fn call(&self, span: Span, function: Function, arguments: &[Expr], scope: &Scope) -> Result<Value, Fault> {
        match (function, arguments) {
            (Function::Min, [a, b]) => Ok(Value::Number(self.number(a, scope)?.min(self.number(b, scope)?))),
            (Function::Max, [a, b]) => Ok(Value::Number(self.number(a, scope)?.max(self.number(b, scope)?))),
            (Function::Len, [list]) => {
                let length = i64::try_from(self.list(list, scope)?.len()).map_err(|_| too_large(span))?;
                Ok(Value::Number(Ratio::whole(length)))
            }
            (Function::Min | Function::Max | Function::Len, _) => {
                Err(fault(Code::Expression, span, "a function with the wrong number of arguments", "see the reference"))
            }
        }
    }

    /// A number.
    pub(super) fn number(&self, expr: &Expr, scope: &Scope) -> Result<Ratio, Fault> {
        let value = self.value(expr, scope)?;
        as_number(&value, expr.span).map_err(|fault| explained(fault, expr, scope))
    }

    /// A number above 0.
    pub(super) fn positive(&self, expr: &Expr, scope: &Scope) -> Result<Ratio, Fault> {
        let number = self.number(expr, scope)?;
        if number.is_positive() {
            return Ok(number);
        }
        let message = format!("this should be above 0, but it is {number}");
        let fault = fault(Code::OutOfRange, expr.span, message, "write a number such as 1 or 1/16");
        Err(explained(fault, expr, scope))
    }

    /// A truth value.
    pub(super) fn condition(&self, expr: &Expr, scope: &Scope) -> Result<bool, Fault> {
        let value = self.value(expr, scope)?;
        match value.meaning() {
            Value::Bool(value) => Ok(*value),
            Value::Unknown => Err(Fault::Reported),
            Value::Number(_) | Value::Text(_) | Value::List(_) => {
                let message = format!("this should be true or false, but it is {}", value.describe());
                let fault = fault(Code::Expression, expr.span, message, "compare, as in `$stride != 1`");
                Err(explained(fault, expr, scope))
            }
        }
    }

    /// A whole number from `min`.
    pub(super) fn count(&self, expr: &Expr, scope: &Scope, min: usize) -> Result<usize, Fault> {
        let value = self.value(expr, scope)?;
        as_count(&value, expr.span, min).map_err(|fault| explained(fault, expr, scope))
    }

    /// A whole number of any sign.
    pub(super) fn integer(&self, expr: &Expr, scope: &Scope) -> Result<i64, Fault> {
        let number = self.number(expr, scope)?;
        number.as_whole().ok_or_else(|| explained(not_whole(number, expr.span), expr, scope))
    }

    /// Whole numbers from `min`: one for all dimensions, or a list.
    pub(super) fn sizes(&self, expr: &Expr, scope: &Scope, min: usize) -> Result<Sizes, Fault> {
        let value = self.value(expr, scope)?;
        let sizes = match &value {
            Value::List(list) => {
                // The places of a list's elements are known only where it is written out.
                let written: &[Expr] = if let ExprKind::List(written) = &expr.kind { written } else { &[] };
                let span = |i: usize| written.get(i).map_or(expr.span, |e| e.span);
                let sizes = list.items.iter().enumerate().map(|(i, v)| as_count(v, span(i), min));
                sizes.collect::<Result<_, _>>().map(Sizes::Each)
            }
            Value::Number(_) | Value::Bool(_) | Value::Text(_) | Value::Unknown => {
                as_count(&value, expr.span, min).map(Sizes::All)
            }
        };
        sizes.map_err(|fault| explained(fault, expr, scope))
    }

    /// Numbers in a list.
    pub(super) fn numbers(&self, expr: &Expr, scope: &Scope) -> Result<Vec<Ratio>, Fault> {
        let items = self.list(expr, scope)?;
        items.iter().map(|v| as_number(v, expr.span).map_err(|fault| explained(fault, expr, scope))).collect()
    }

    /// The text of a template.
    pub(super) fn text(&self, template: &Template, scope: &Scope) -> Result<String, Fault> {
        let mut text = String::new();
        for part in &template.parts {
            self.step(template.span)?;
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Value(expr) => {
                    let value = self.value(expr, scope)?;
                    match &value {
                        Value::Number(number) => match number.as_whole() {
                            Some(number) => text.push_str(&number.to_string()),
                            None => return Err(not_whole(*number, expr.span)),
                        },
                        Value::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
                        Value::Text(value) => text.push_str(&value.text),
                        Value::Unknown => return Err(Fault::Reported),
                        Value::List(_) => {
                            let message = "a list can't be part of a name";
                            return Err(fault(Code::Expression, expr.span, message, "take an element: `$list[0]`"));
                        }
                    }
                }
            }
            if text.len() > MAX_TEXT {
                let message = format!("this text grows beyond {MAX_TEXT} bytes");
                return Err(fault(Code::TooLarge, template.span, message, "use shorter names"));
            }
        }
        Ok(text)
    }

    /// The value of an argument: its text as a template, with what it means as an expression.
    pub(super) fn argument(&self, argument: &Argument, scope: &Scope) -> Result<Value, Fault> {
        self.step(argument.span())?;
        match argument {
            Argument::Plain(expr) => self.value(expr, scope),
            Argument::List { items, span } => {
                list_of(items.iter().map(|a| self.argument(a, scope)).collect::<Result<Vec<_>, _>>()?, *span)
            }
            Argument::Text { expression, template, .. } => {
                // A word alone is rarely meant as a parameter, and is a text where there is none of this name.
                if let (Ok(Expr { kind: ExprKind::Parameter(word), .. }), Ok(template)) = (expression, template)
                    && template.as_expression().is_none()
                    && scope.get(word).is_none()
                {
                    return Ok(Value::Text(Text { text: self.text(template, scope)?.into(), meaning: None }));
                }
                let meaning = match expression {
                    Ok(expr) => self.value(expr, scope),
                    Err(error) => Err(Fault::Error(error.clone())),
                };
                // Where neither reading is possible, the expression's error says more: it knows more signs.
                let Ok(template) = template else { return meaning };
                if template.as_expression().is_some() {
                    return meaning;
                }
                match (self.text(template, scope), meaning) {
                    (Ok(text), meaning) => {
                        let meaning = meaning.ok().map(|m| Rc::new(m.meaning().clone()));
                        Ok(Value::Text(Text { text: text.into(), meaning }))
                    }
                    (Err(_), Ok(meaning)) => Ok(meaning),
                    (Err(fault), Err(_)) => Err(fault),
                }
            }
        }
    }
}

/// Where an argument's value was written: where it stands, or, if it only names a parameter, where that has its value from.
pub(super) fn origin(argument: &Argument, scope: &Scope) -> Option<Span> {
    if let Argument::Text { template: Ok(template), .. } = argument
        && let Some(Expr { kind: ExprKind::Parameter(name), .. }) = template.as_expression()
    {
        return scope.origin(name);
    }
    Some(argument.span())
}

/// Adds to an error where the parameters of the expression have their values from.
fn explained(fault: Fault, expr: &Expr, scope: &Scope) -> Fault {
    /// More places than this say nothing.
    const SHOWN: usize = 3;
    let Fault::Error(mut diagnostic) = fault else { return fault };
    let mut names = Vec::new();
    parameters(expr, &mut names);
    for name in names.into_iter().take(SHOWN) {
        if let Some(origin) = scope.origin(name) {
            diagnostic.related.push((origin, format!("`{name}` comes from here")));
        }
    }
    Fault::Error(diagnostic)
}

/// The parameters that an expression names, each once.
fn parameters<'e>(expr: &'e Expr, names: &mut Vec<&'e str>) {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::Bool(_) | ExprKind::Text(_) | ExprKind::Broken => {}
        ExprKind::Parameter(name) => {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        ExprKind::Negate(operand) | ExprKind::Not(operand) => parameters(operand, names),
        ExprKind::Index(left, right) | ExprKind::Binary(_, left, right) => {
            parameters(left, names);
            parameters(right, names);
        }
        ExprKind::Choose(parts) => parts.iter().for_each(|part| parameters(part, names)),
        ExprKind::List(parts) | ExprKind::Call(_, parts) => parts.iter().for_each(|part| parameters(part, names)),
    }
}

fn list_of(items: Vec<Value>, span: Span) -> Result<Value, Fault> {
    List::new(items).map(Value::List).ok_or_else(|| {
        let hint = format!("at most {} levels are possible", List::MAX_DEPTH);
        fault(Code::TooLarge, span, "lists are nested too deep", hint)
    })
}

fn as_number(value: &Value, span: Span) -> Result<Ratio, Fault> {
    match value.meaning() {
        Value::Number(number) => Ok(*number),
        Value::Unknown => Err(Fault::Reported),
        Value::Bool(_) | Value::Text(_) | Value::List(_) => {
            let message = format!("this should be a number, but it is {}", value.describe());
            Err(fault(Code::Expression, span, message, "texts that hold an expression count as numbers, others don't"))
        }
    }
}

pub(super) fn as_count(value: &Value, span: Span, min: usize) -> Result<usize, Fault> {
    let number = as_number(value, span)?;
    let Some(whole) = number.as_whole() else { return Err(not_whole(number, span)) };
    let count = usize::try_from(whole).ok().filter(|c| *c >= min);
    match count {
        Some(count) if count <= MAX_COUNT => Ok(count),
        Some(_) => {
            let message = format!("{whole} is larger than anything in a network");
            Err(fault(Code::TooLarge, span, message, format!("sizes and counts go up to {MAX_COUNT}")))
        }
        None => {
            let message = format!("this should be at least {min}, but it is {whole}");
            Err(fault(Code::OutOfRange, span, message, "check the number, or the parameters that it comes from"))
        }
    }
}

fn not_whole(number: Ratio, span: Span) -> Fault {
    let message = format!("this should be a whole number, but it is {number}");
    fault(Code::OutOfRange, span, message, "`//` divides and rounds down")
}

fn too_large(span: Span) -> Fault {
    fault(
        Code::Expression,
        span,
        "the result is too large to compute with",
        "numbers are exact ratios of two 64-bit integers",
    )
}
