//! Expansion of items: sequences, repetition, residuals, branches and blocks.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::Lowering;
use super::eval::origin;
use super::layers::needs_path;
use super::value::{Scope, Value};
use crate::diagnostic::{Code, Diagnostic};
use crate::ir::{Op, Port, ValueId};
use crate::source::Span;
use crate::spec::{
    Argument, Expr, Item, ItemKind, NAME_HINT, Operand, Ratio, Spec, Template, is_plain_name, shortened, suggestion,
};

/// Most layers of a network.
const MAX_LAYERS: usize = 20_000;
/// Most items that are expanded, those that come out empty included.
const MAX_ITEMS: usize = 200_000;
/// Deepest nesting of lists and blocks, all together.
const MAX_DEPTH: usize = 64;
/// Longest path of a module, in bytes.
const MAX_PATH: usize = 1024;

/// What is around an item.
pub(super) struct Place<'p> {
    /// Parameters.
    pub(super) scope: &'p Rc<Scope>,
    /// Path of the modules.
    pub(super) path: &'p str,
    /// `register` of the nearest item that has one.
    pub(super) register: i64,
}

/// The values that have names, in a network or in one use of a block.
#[derive(Debug, Default)]
pub(super) struct Names {
    values: BTreeMap<String, (ValueId, Span)>,
    /// Names of items that a condition left out.
    skipped: BTreeMap<String, Span>,
}

impl Names {
    pub(super) fn of_inputs(spec: &Spec, inputs: &[Port]) -> Self {
        let named = spec.inputs.iter().zip(inputs);
        let values = named.map(|(input, port)| (port.name.clone(), (port.value, input.name.span)));
        Self { values: values.collect(), skipped: BTreeMap::new() }
    }
}

impl Lowering<'_, '_> {
    /// A list of items, one after the other. Without any, the result is the input.
    pub(super) fn list(
        &mut self,
        items: &[Item],
        input: Option<ValueId>,
        place: &Place<'_>,
        names: &mut Names,
    ) -> Option<ValueId> {
        if let (true, Some(first)) = (self.depth >= MAX_DEPTH, items.first()) {
            let message = "lists and blocks are nested too deep";
            let hint = format!("at most {MAX_DEPTH} levels are possible");
            self.stop(Diagnostic::new(Code::TooLarge, first.span, message).hint(hint));
            return Some(self.unknown());
        }
        self.depth += 1;
        let mut current = input;
        for item in items {
            if self.stopped {
                break;
            }
            current = self.item(item, current, place, names);
        }
        self.depth -= 1;
        current
    }

    /// Reports that a limit was passed, and ends the expansion.
    fn stop(&mut self, diagnostic: Diagnostic) {
        self.report(diagnostic);
        self.stopped = true;
    }

    /// One item; the result is the value that the next one takes.
    fn item(
        &mut self,
        item: &Item,
        previous: Option<ValueId>,
        place: &Place<'_>,
        names: &mut Names,
    ) -> Option<ValueId> {
        self.items += 1;
        if self.items > MAX_ITEMS || self.layers.len() >= MAX_LAYERS {
            let message = "this network has too many layers";
            let hint = format!(
                "at most {MAX_LAYERS} layers and {MAX_ITEMS} items are possible; check the `count` of every `repeat`"
            );
            self.stop(Diagnostic::new(Code::TooLarge, item.span, message).hint(hint));
            return previous;
        }
        let effort = self.evaluator.check_effort(item.span);
        if self.take(effort).is_none() {
            return previous;
        }
        if let Some(when) = &item.when {
            let holds = self.evaluator.condition(when, place.scope);
            match self.take(holds) {
                Some(true) => {}
                Some(false) => {
                    self.skip(item, place, names);
                    return previous;
                }
                None => {
                    let result = self.unknown();
                    self.name_result(item, result, place, names);
                    return Some(result);
                }
            }
        }
        let operands = self.operands(item, previous, place, names);
        let register = item.register.as_ref().map(|expr| self.evaluator.integer(expr, place.scope));
        let register = register.and_then(|r| self.take(r)).unwrap_or(place.register);
        let place = Place { register, ..*place };
        let result = self.expand(item, operands.as_deref(), &place, names);
        if result.is_none() && passes_nothing_on(item, previous) {
            return None;
        }
        let result = result.unwrap_or_else(|| self.unknown());
        self.name_result(item, result, &place, names);
        Some(result)
    }

    /// Remembers the name of an item that isn't there, so that a use of it can be explained.
    fn skip(&self, item: &Item, place: &Place<'_>, names: &mut Names) {
        if let (Some(template), Some(when)) = (&item.result, &item.when)
            && let Ok(name) = self.evaluator.text(template, place.scope)
        {
            names.skipped.insert(name, when.span);
        }
    }

    /// The values that an item takes. `None` if there are none, which was reported.
    fn operands(
        &mut self,
        item: &Item,
        previous: Option<ValueId>,
        place: &Place<'_>,
        names: &Names,
    ) -> Option<Vec<ValueId>> {
        let missing_previous = |lowering: &mut Self, span: Span| {
            if previous.is_none() && !lowering.spec.inputs.is_empty() {
                let names: Vec<String> = lowering.spec.inputs.iter().map(|i| format!("`{}`", i.name.value)).collect();
                let message = "nothing comes before this layer";
                let hint = format!("say which input it takes with `from`: {}", names.join(" or "));
                lowering.report(Diagnostic::new(Code::MissingField, span, message).hint(hint));
            }
            previous
        };
        if item.from.is_empty() {
            if matches!(item.kind, ItemKind::Broken) || passes_nothing_on(item, previous) {
                return None;
            }
            return missing_previous(self, item.span).map(|value| vec![value]);
        }
        let values: Vec<Option<ValueId>> = item
            .from
            .iter()
            .map(|operand| match operand {
                Operand::Previous(span) => missing_previous(self, *span),
                Operand::Named(template) => self.named(template, place.scope, names),
            })
            .collect();
        values.into_iter().collect()
    }

    /// The value of a name; `None` if there is none, which is reported.
    pub(super) fn named(&mut self, template: &Template, scope: &Scope, names: &Names) -> Option<ValueId> {
        let name = self.evaluator.text(template, scope);
        let name = self.take(name)?;
        if let Some((value, _)) = names.values.get(&name) {
            return Some(*value);
        }
        let message = format!("there is no value `{}` here", shortened(&name));
        let mut error = Diagnostic::new(Code::Undefined, template.span, message);
        error = match names.skipped.get(&name) {
            Some(when) => {
                error.related(*when, "it is not there, because this is false").hint("use the same condition here")
            }
            None if names.values.is_empty() => {
                error.hint("name a result with `as: ...` first, further up in this list or block")
            }
            None if self.diagnostics.is_full() => error,
            None => {
                self.evaluator.spend_on_comparing(names.values.len());
                error.hint(suggestion(&name, names.values.keys().map(String::as_str), "values with a name are"))
            }
        };
        self.report(error);
        None
    }

    /// Gives the result of an item its name, if it has one.
    fn name_result(&mut self, item: &Item, value: ValueId, place: &Place<'_>, names: &mut Names) {
        let Some(template) = &item.result else { return };
        let name = self.evaluator.text(template, place.scope);
        let Some(name) = self.take(name) else { return };
        if !is_plain_name(&name) {
            let message = format!("`{}` can't be the name of a value", shortened(&name));
            self.report(Diagnostic::new(Code::WrongType, template.span, message).hint(NAME_HINT));
            return;
        }
        match names.values.get(&name) {
            // A repetition comes by again, and its name then means the newest result.
            Some((_, first)) if *first != template.span => {
                let message = format!("the name `{name}` is taken");
                let error = Diagnostic::new(Code::Duplicate, template.span, message);
                self.report(error.related(*first, "by this").hint("choose another name"));
            }
            Some(_) | None => {
                names.values.insert(name, (value, template.span));
            }
        }
    }

    /// The path of an item: that of what is around it, and its own name.
    fn path(&mut self, item: &Item, scope: &Scope, around: &str) -> Option<String> {
        let Some(template) = &item.name else { return Some(around.to_owned()) };
        let name = self.evaluator.text(template, scope);
        let name = self.take(name)?;
        if name.is_empty() {
            return Some(around.to_owned());
        }
        if name.split('.').any(|segment| !is_plain_name(segment)) {
            let message = format!("`{}` can't be part of a module's path", shortened(&name));
            let hint = crate::spec::PATH_HINT;
            self.report(Diagnostic::new(Code::WrongType, template.span, message).hint(hint));
            return None;
        }
        let path = if around.is_empty() { name } else { format!("{around}.{name}") };
        if path.len() > MAX_PATH {
            let message = format!("a path of {} bytes", path.len());
            let hint = format!("at most {MAX_PATH} are possible; use shorter names");
            self.report(Diagnostic::new(Code::TooLarge, template.span, message).hint(hint));
            return None;
        }
        Some(path)
    }

    /// What an item comes to. `None` if that is unknown. Everything that can be checked is, even if the operands are
    /// unknown.
    fn expand(
        &mut self,
        item: &Item,
        operands: Option<&[ValueId]>,
        place: &Place<'_>,
        names: &mut Names,
    ) -> Option<ValueId> {
        if let ItemKind::Repeat { count, index, layers } = &item.kind {
            return self.repeat(item, count.as_ref(), index.as_deref(), layers, operands, place, names);
        }
        let path = self.path(item, place.scope, place.path);
        let inner = Place { scope: place.scope, path: path.as_deref().unwrap_or(place.path), register: place.register };
        let input = operands.and_then(|o| o.first().copied());
        // Items inside of one that gets nothing don't complain about that.
        let input_or_unknown = |lowering: &mut Self| input.unwrap_or_else(|| lowering.unknown());
        let result = match &item.kind {
            ItemKind::Sequence(layers) => {
                let input = if item.from.is_empty() { input } else { Some(input_or_unknown(self)) };
                self.list(layers, input, &inner, names)
            }
            ItemKind::Residual { body, shortcut } => {
                let input = input_or_unknown(self);
                let body = self.list(body, Some(input), &inner, names)?;
                let shortcut = self.list(shortcut, Some(input), &inner, names)?;
                self.layer(item.span, inner.path, Op::Add, &[body, shortcut], place.register)
            }
            ItemKind::Branch { paths, join } => {
                let input = input_or_unknown(self);
                let lists = paths.iter().map(|layers| self.list(layers, Some(input), &inner, names));
                let results = lists.collect::<Option<Vec<ValueId>>>();
                let join = self.choice(join.as_ref(), place.scope, &[("concat", Op::Concat), ("add", Op::Add)]);
                self.layer(item.span, inner.path, join?, &results?, place.register)
            }
            ItemKind::Block { block, arguments } => {
                let input = input_or_unknown(self);
                self.block(item, block, arguments, input, &inner)
            }
            ItemKind::Operation(operation) => {
                if needs_path(operation) && path.as_deref() == Some("") {
                    let message = "this layer has parameters, so it needs a name";
                    let hint = "add `name: ...`, as its module is called in the checkpoint";
                    self.report(Diagnostic::new(Code::MissingField, item.span, message).hint(hint));
                }
                self.operation(item, operation, operands, &inner, place.path)
            }
            ItemKind::Repeat { .. } | ItemKind::Broken => None,
        };
        if let (Some(path), Some(value)) = (path.filter(|_| item.name.is_some()), result) {
            self.paths.insert(path, value);
        }
        result
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one item")]
    fn repeat(
        &mut self,
        item: &Item,
        count: Option<&Expr>,
        index: Option<&str>,
        layers: &[Item],
        operands: Option<&[ValueId]>,
        place: &Place<'_>,
        names: &mut Names,
    ) -> Option<ValueId> {
        let mut current = operands.and_then(|o| o.first().copied());
        if current.is_none() && !item.from.is_empty() {
            current = Some(self.unknown());
        }
        let Some(count) = self.repetitions(count, place.scope) else { return Some(self.unknown()) };
        for i in 0..count {
            let scope = match (index, i64::try_from(i)) {
                (Some(index), Ok(i)) => {
                    let mut scope = Scope::inside(Rc::clone(place.scope));
                    scope.insert(index, Value::Number(Ratio::whole(i)), None);
                    Rc::new(scope)
                }
                (Some(_) | None, _) => Rc::clone(place.scope),
            };
            let path = self.path(item, &scope, place.path);
            let around = path.as_deref().unwrap_or(place.path);
            let inner = Place { scope: &scope, path: around, register: place.register };
            current = self.list(layers, current, &inner, names);
            if let (Some(path), Some(value)) = (path.filter(|_| item.name.is_some()), current) {
                self.paths.insert(path, value);
            }
            // An empty list costs something too.
            self.items += 1;
            if self.stopped {
                break;
            }
        }
        current
    }

    /// How often a list is repeated.
    fn repetitions(&mut self, count: Option<&Expr>, scope: &Scope) -> Option<usize> {
        let expr = count?;
        let count = self.evaluator.count(expr, scope, 0);
        let count = self.take(count)?;
        if count > MAX_LAYERS {
            let message = format!("a list can't be repeated {count} times");
            let hint = format!("a network has at most {MAX_LAYERS} layers");
            self.report(Diagnostic::new(Code::TooLarge, expr.span, message).hint(hint));
            return None;
        }
        Some(count)
    }

    fn block(
        &mut self,
        item: &Item,
        name: &str,
        arguments: &BTreeMap<String, Argument>,
        input: ValueId,
        place: &Place<'_>,
    ) -> Option<ValueId> {
        let spec = self.spec;
        let block = spec.blocks.get(name)?;
        self.evaluator.spend(block.params.len());
        let mut scope = Scope::inside(Rc::clone(&self.globals));
        for param in &block.params {
            let argument = arguments.get(&param.name.value);
            let (value, origin) = match (argument, &param.default) {
                (Some(argument), _) => (self.evaluator.argument(argument, place.scope), origin(argument, place.scope)),
                (None, Some(default)) => (self.evaluator.argument(default, &scope), origin(default, &scope)),
                // Reported by the reader.
                (None, None) => (Ok(Value::Unknown), None),
            };
            let value = self.take(value).unwrap_or(Value::Unknown);
            scope.insert(&param.name.value, value, origin);
        }
        let scope = Rc::new(scope);
        let inner = Place { scope: &scope, path: place.path, register: place.register };
        self.uses.push(item.span);
        let result = self.list(&block.layers, Some(input), &inner, &mut Names::default());
        self.uses.pop();
        result
    }

    /// One of a few words.
    pub(super) fn choice<T: Clone>(
        &mut self,
        template: Option<&Template>,
        scope: &Scope,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let template = template?;
        let word = self.evaluator.text(template, scope);
        let word = self.take(word)?;
        if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == word) {
            return Some(choice.clone());
        }
        let message = format!("`{}` is not possible here", shortened(&word));
        let hint = suggestion(&word, choices.iter().map(|(name, _)| *name), "the choices are");
        self.report(Diagnostic::new(Code::Undefined, template.span, message).hint(hint));
        None
    }
}

/// Whether an item leaves it to the items inside to say what they take: where nothing comes before it, because the network
/// has several inputs.
fn passes_nothing_on(item: &Item, previous: Option<ValueId>) -> bool {
    let is_list = match &item.kind {
        ItemKind::Sequence(_) | ItemKind::Repeat { .. } => true,
        ItemKind::Residual { .. }
        | ItemKind::Branch { .. }
        | ItemKind::Block { .. }
        | ItemKind::Operation(_)
        | ItemKind::Broken => false,
    };
    is_list && previous.is_none() && item.from.is_empty()
}
