//! Reader: items, their fields, and what they are.

use std::collections::BTreeMap;

use super::fields::{COMMON, Field, Form, ITEMS};
use super::node::{Kind, Node};
use super::read_values::{Keys, Reader, shortened};
use super::suggestion;
use super::template::Template;
use super::tree::{ConvFields, Item, ItemKind, Operand, Operation};
use crate::diagnostic::{Code, Diagnostic, nearest};
use crate::ir::Activation;
use crate::source::Span;

impl Reader<'_> {
    /// A list of items.
    pub(super) fn items(&mut self, node: &Node) -> Vec<Item> {
        let nodes = self.list(node, "a list of items belongs here", "put `- ` before each operation");
        nodes.iter().map(|n| self.item(n)).collect()
    }

    fn item(&mut self, node: &Node) -> Item {
        match &node.kind {
            Kind::Text(text) => self.named_item(&text.value, node.span, None),
            Kind::Map(map) => match map.entries.as_slice() {
                [entry] => self.named_item(&entry.key.value, entry.key.span, Some(&entry.value)),
                entries => {
                    let first = entries.first().map(|e| &e.key);
                    let hint = match (first, entries.first().map(|e| &e.value.kind)) {
                        (Some(key), Some(Kind::Null)) => format!("indent the fields of `{0}` below `{0}:`", key.value),
                        (Some(_), Some(_)) => "put `- ` before each operation".to_owned(),
                        (None, _) | (Some(_), None) => "write `- relu` or `- conv: { ... }`".to_owned(),
                    };
                    let message = "an item is one operation with its fields".to_owned();
                    self.error(Code::WrongType, first.map_or(node.span, |k| k.span), message, hint);
                    broken(node.span)
                }
            },
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::List(_) => {
                self.wrong_type(node, "an item is an operation", "write `- relu` or `- conv: { ... }`");
                broken(node.span)
            }
        }
    }

    fn named_item(&mut self, name: &str, span: Span, value: Option<&Node>) -> Item {
        let value = value.filter(|n| !matches!(n.kind, Kind::Null));
        let form = ITEMS.iter().find(|f| f.name == name);
        let params = if form.is_none() { self.blocks.get(name).cloned() } else { None };
        let keys = match (form, &params) {
            (Some(form), _) => self.item_keys(value, span, name, form.fields),
            (None, Some(params)) => self.block_keys(value, span, name, params),
            (None, None) => {
                self.unknown_item(name, span);
                None
            }
        };
        let Some(keys) = keys else {
            // Later items may refer to its result.
            let mut item = broken(span);
            if let Some(Kind::Map(map)) = value.map(|n| &n.kind) {
                let result = map.get("as").map(|e| &e.value).filter(|n| !matches!(n.kind, Kind::Null));
                item.result = result.map(|n| self.template(n));
            }
            return item;
        };
        let joins = matches!(name, "add" | "concat");
        let from = self.operands(keys, span, name, joins);
        let kind = match form {
            Some(_) if joins && from.is_empty() => ItemKind::Broken,
            Some(form) => self.item_kind(form, keys),
            None => self.block_use(name, params.as_deref(), keys),
        };
        Item {
            span,
            name: self.optional_template(keys, "name"),
            from,
            result: self.optional_template(keys, "as"),
            when: self.optional_expr(keys, "when"),
            register: self.optional_expr(keys, "register"),
            kind,
        }
    }

    fn item_keys<'n>(&mut self, value: Option<&'n Node>, span: Span, name: &str, own: &[Field]) -> Option<Keys<'n>> {
        let owner = format!("`{name}`");
        match value {
            Some(node) => self.keys(node, span, &owner, &[own, COMMON]),
            None => {
                self.check_required(Keys::NONE, span, &owner, &[own], &[]);
                Some(Keys::NONE)
            }
        }
    }

    fn block_keys<'n>(
        &mut self,
        value: Option<&'n Node>,
        span: Span,
        name: &str,
        params: &BTreeMap<String, bool>,
    ) -> Option<Keys<'n>> {
        let mut misspelt = Vec::new();
        let keys = match value.map(|n| (n, &n.kind)) {
            None => Keys::NONE,
            Some((node, Kind::Map(map))) => {
                let known = COMMON.iter().map(|f| f.name).chain(params.keys().map(String::as_str));
                for entry in &map.entries {
                    let key = entry.key.value.as_str();
                    if !params.contains_key(key) && !is_common(key) {
                        self.diagnostics.push_with(|| {
                            misspelt.extend(nearest(key, known.clone()));
                            let hint = suggestion(key, known.clone(), "its parameters are");
                            let message = format!("block `{name}` has no parameter `{}`", shortened(key));
                            Diagnostic::new(Code::UnknownField, entry.key.span, message).hint(hint)
                        });
                    }
                }
                Keys::of(node)
            }
            Some((node, _)) => {
                let message = format!("block `{name}` takes its parameters as fields");
                self.wrong_type(node, &message, "write them as `{ parameter: value, ... }`");
                return None;
            }
        };
        for (parameter, is_required) in params {
            if *is_required && keys.get(parameter).is_none() && !misspelt.contains(&parameter.as_str()) {
                self.diagnostics.push_with(|| {
                    let message = format!("block `{name}` needs `{parameter}`");
                    Diagnostic::new(Code::MissingField, span, message).hint(format!("add `{parameter}: ...`"))
                });
            }
        }
        Some(keys)
    }

    fn block_use(&mut self, name: &str, params: Option<&BTreeMap<String, bool>>, keys: Keys<'_>) -> ItemKind {
        let mut arguments = BTreeMap::new();
        for (key, node) in keys.entries() {
            if params.is_some_and(|p| p.contains_key(&key.value)) && !matches!(node.kind, Kind::Null) {
                arguments.insert(key.value.clone(), self.argument(node));
            }
        }
        ItemKind::Block { block: name.to_owned(), arguments }
    }

    fn operands(&mut self, keys: Keys<'_>, span: Span, name: &str, joins: bool) -> Vec<Operand> {
        let Some(node) = keys.get("from") else {
            if joins {
                let hint = "name what it joins: `from: [a, ~]`, where `~` is the result of the item before";
                self.error(Code::MissingField, span, format!("`{name}` needs `from`"), hint);
            }
            return Vec::new();
        };
        match &node.kind {
            Kind::List(items) if joins => {
                if items.len() < 2 {
                    let hint = "name at least two; `~` is the result of the item before";
                    self.error(Code::MissingField, node.span, format!("`{name}` joins two or more values"), hint);
                    return Vec::new();
                }
                let operand = |n: &Node| match n.kind {
                    Kind::Null => Operand::Previous(n.span),
                    Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::List(_) | Kind::Map(_) => {
                        Operand::Named(self.template(n))
                    }
                };
                items.iter().map(operand).collect()
            }
            Kind::Text(_) | Kind::Number(_) if joins => {
                self.wrong_type(node, &format!("`{name}` joins a list of values"), "for example `from: [a, ~]`");
                Vec::new()
            }
            Kind::List(_) => {
                let hint = "only `add` and `concat` take several";
                self.wrong_type(node, &format!("`{name}` takes one value"), hint);
                vec![Operand::Named(Template::broken(node.span))]
            }
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::Map(_) => {
                vec![Operand::Named(self.template(node))]
            }
        }
    }

    fn item_kind(&mut self, form: &Form, keys: Keys<'_>) -> ItemKind {
        let operation = match form.name {
            "sequence" => return ItemKind::Sequence(self.sublist(keys, "layers")),
            "repeat" => {
                let index = keys.get("index").and_then(|n| self.literal(n, "the name of the counting parameter"));
                let index = index.filter(|name| self.parameter_name(name)).map(|name| name.value);
                let count = self.optional_expr(keys, "count");
                return ItemKind::Repeat { count, index, layers: self.sublist(keys, "layers") };
            }
            "residual" => {
                let body = self.sublist(keys, "body");
                return ItemKind::Residual { body, shortcut: self.sublist(keys, "shortcut") };
            }
            "branch" => return self.branch(keys),
            "conv" => Operation::Conv(Box::new(ConvFields {
                out: self.optional_expr(keys, "out"),
                kernel: self.optional_expr(keys, "kernel"),
                stride: self.optional_expr(keys, "stride"),
                padding: self.optional_expr(keys, "padding"),
                dilation: self.optional_expr(keys, "dilation"),
                groups: keys.get("groups").map(|n| self.argument(n)),
                bias: self.optional_expr(keys, "bias"),
                warehouse: self.optional_template(keys, "warehouse"),
            })),
            "linear" => Operation::Linear {
                out: self.optional_expr(keys, "out"),
                bias: self.optional_expr(keys, "bias"),
                warehouse: self.optional_template(keys, "warehouse"),
            },
            "batch_norm" => Operation::BatchNorm { eps: self.optional_expr(keys, "eps") },
            "layer_norm" => Operation::LayerNorm { eps: self.optional_expr(keys, "eps") },
            "scale" => Operation::Scale {
                param: self.optional_template(keys, "param"),
                shape: self.optional_expr(keys, "shape"),
            },
            "relu" => Operation::Activation(Activation::Relu),
            "relu6" => Operation::Activation(Activation::Relu6),
            "gelu" => Operation::Activation(Activation::Gelu),
            "silu" => Operation::Activation(Activation::Silu),
            "hard_swish" => Operation::Activation(Activation::HardSwish),
            "sigmoid" => Operation::Activation(Activation::Sigmoid),
            "max_pool" => Operation::MaxPool {
                kernel: self.optional_expr(keys, "kernel"),
                stride: self.optional_expr(keys, "stride"),
                padding: self.optional_expr(keys, "padding"),
            },
            "avg_pool" => Operation::AveragePool {
                kernel: self.optional_expr(keys, "kernel"),
                stride: self.optional_expr(keys, "stride"),
                padding: self.optional_expr(keys, "padding"),
                count_padding: self.optional_expr(keys, "count_padding"),
            },
            "global_avg_pool" => Operation::GlobalAveragePool { keep: self.optional_expr(keys, "keep") },
            "add" => Operation::Add,
            "concat" => Operation::Concat,
            "upsample" => Operation::Upsample { factor: self.optional_expr(keys, "factor") },
            "flatten" => Operation::Flatten,
            _ => return ItemKind::Broken,
        };
        ItemKind::Operation(operation)
    }

    fn sublist(&mut self, keys: Keys<'_>, name: &str) -> Vec<Item> {
        keys.get(name).map_or_else(Vec::new, |n| self.items(n))
    }

    fn branch(&mut self, keys: Keys<'_>) -> ItemKind {
        let join = self.optional_template(keys, "join");
        let Some(node) = keys.get("paths") else { return ItemKind::Broken };
        let lists = self.list(node, "`paths` is a list of lists of items", "for example `paths: [[...], [...]]`");
        let empty = |n: &Node| matches!(n.kind, Kind::Null);
        let paths: Vec<Vec<Item>> = lists.iter().map(|n| if empty(n) { Vec::new() } else { self.items(n) }).collect();
        if paths.len() < 2 {
            let hint = "an empty path `[]` passes its input on";
            if !lists.is_empty() || matches!(node.kind, Kind::List(_)) {
                self.error(Code::MissingField, node.span, "a branch has at least two paths", hint);
            }
            return ItemKind::Broken;
        }
        ItemKind::Branch { paths, join }
    }
}

fn broken(span: Span) -> Item {
    Item { span, name: None, from: Vec::new(), result: None, when: None, register: None, kind: ItemKind::Broken }
}

fn is_common(field: &str) -> bool {
    COMMON.iter().any(|f| f.name == field)
}
