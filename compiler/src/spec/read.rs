//! Reader: everything of a spec but its items.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::fields;
use super::node::{Kind, Node};
use super::read_values::{Keys, Reader, shortened};
use super::suggestion;
use super::template::Template;
use super::tree::{Block, Image, Input, InputShape, Item, ItemKind, Output, Param, Settings, Spec, Warehouses};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::source::{Span, Spanned};

/// Most parameters of a block.
const MAX_PARAMS: usize = 256;

/// The version of the language that this reader knows.
const VERSION: i64 = 1;

/// Reads the merged tree. The result is there if it is worth lowering.
pub(super) fn read_spec(root: &Node, diagnostics: &mut Diagnostics) -> Option<Spec> {
    let mut reader = Reader { diagnostics, blocks: BTreeMap::new() };
    let head = Span { end: root.span.start, ..root.span };
    let keys = reader.keys(root, head, "a spec", &[fields::FILE])?;
    if let Some(node) = keys.get("kwc") {
        reader.version(node);
    }
    let name = keys.get("name").and_then(|n| reader.literal(n, "the network's name"));
    if let Some(name) = &name {
        reader.plain_name(name, "a network");
    }
    let params = keys.get("params").map_or_else(Vec::new, |n| reader.params(n));
    let inputs = reader.inputs(keys, head);
    let outputs = keys.get("outputs").map(|n| reader.outputs(n));
    let image = reader.image(keys);
    let warehouses = keys.get("warehouses").map_or_else(Warehouses::default, |n| reader.warehouses(n));
    let blocks = keys.get("blocks").map_or_else(BTreeMap::new, |n| reader.blocks(n));
    let layers = keys.get("layers").map_or_else(Vec::new, |n| reader.items(n));
    let sound = check_cycles(&blocks, reader.diagnostics) && keys.get("layers").is_some() && keys.get("kwc").is_some();
    let name = name.map_or_else(String::new, |n| n.value);
    sound.then_some(Spec { name, span: root.span, params, inputs, outputs, image, warehouses, blocks, layers })
}

impl Reader<'_> {
    fn version(&mut self, node: &Node) {
        let version = match &node.kind {
            Kind::Number(number) => number.value.and_then(super::number::Ratio::as_whole),
            Kind::Null | Kind::Bool(_) | Kind::Text(_) | Kind::List(_) | Kind::Map(_) => None,
        };
        if version != Some(VERSION) {
            let message = "this version of the spec language is not known";
            self.error(Code::OutOfRange, node.span, message, format!("write `kwc: {VERSION}`"));
        }
    }

    /// Declarations of parameters.
    fn params(&mut self, node: &Node) -> Vec<Param> {
        let Kind::Map(map) = &node.kind else {
            self.wrong_type(node, "`params` has names with values", "for example `params: { width: 64 }`");
            return Vec::new();
        };
        let mut params = Vec::new();
        for entry in &map.entries {
            if !self.parameter_name(&entry.key) {
                continue;
            }
            let is_required = matches!(&entry.value.kind, Kind::Text(t) if t.value == "required");
            let default = (!is_required).then(|| self.argument(&entry.value));
            params.push(Param { name: entry.key.clone(), default });
        }
        params
    }

    fn inputs(&mut self, keys: Keys<'_>, head: Span) -> Vec<Input> {
        match (keys.get("input"), keys.get("inputs")) {
            (None, None) => {
                let hint = "for example `input: { channels: 3, height: 224, width: 224 }`";
                self.error(Code::MissingField, head, "a spec needs `input` or `inputs`", hint);
                Vec::new()
            }
            (Some(_), Some(both)) => {
                let hint = "keep one of them; `input: ~` takes away what an extended spec has";
                self.error(Code::Duplicate, both.span, "a spec has `input` or `inputs`, not both", hint);
                Vec::new()
            }
            (Some(node), None) => {
                let name = Spanned::new("input".to_owned(), node.span);
                vec![Input { name, shape: self.input_shape(node) }]
            }
            (None, Some(node)) => {
                let Kind::Map(map) = &node.kind else {
                    self.wrong_type(
                        node,
                        "`inputs` has names with shapes",
                        "for example `inputs: { left: { channels: 3 } }`",
                    );
                    return Vec::new();
                };
                if map.entries.is_empty() {
                    self.error(
                        Code::MissingField,
                        node.span,
                        "`inputs` is empty",
                        "a network needs at least one input",
                    );
                }
                let mut inputs = Vec::new();
                for entry in &map.entries {
                    self.plain_name(&entry.key, "an input");
                    inputs.push(Input { name: entry.key.clone(), shape: self.input_shape(&entry.value) });
                }
                inputs
            }
        }
    }

    fn input_shape(&mut self, node: &Node) -> InputShape {
        let Some(keys) = self.keys(node, node.span, "an input", &[fields::INPUT]) else { return InputShape::Broken };
        let mut take = |name: &str| self.optional_expr(keys, name);
        let (depth, height, width) = (take("depth"), take("height"), take("width"));
        let (length, tokens, channels) = (take("length"), take("tokens"), take("channels"));
        let Some(channels) = channels else { return InputShape::Broken };
        let spatial = match (length, depth, height, width, tokens) {
            (None, None, None, None, Some(tokens)) => return InputShape::Tokens { tokens, channels },
            (None, None, None, None, None) => Vec::new(),
            (Some(length), None, None, None, None) => vec![length],
            (None, None, Some(height), Some(width), None) => vec![height, width],
            (None, Some(depth), Some(height), Some(width), None) => vec![depth, height, width],
            _ => {
                self.error(
                    Code::Shape,
                    node.span,
                    "these sizes don't make an input",
                    "beside `channels` there may be `length`, `height` and `width`, all of `depth`, `height` and `width`, or `tokens`",
                );
                return InputShape::Broken;
            }
        };
        InputShape::Map { channels, spatial }
    }

    fn outputs(&mut self, node: &Node) -> Vec<Output> {
        let outputs: Vec<Output> = match &node.kind {
            Kind::List(items) => {
                let names = items.iter().map(|n| self.template(n));
                names.map(|name| Output { name: name.clone(), value: name }).collect()
            }
            Kind::Map(map) => {
                let entries = map.entries.iter();
                entries
                    .map(|e| Output {
                        name: Template::literal(&e.key.value, e.key.span),
                        value: self.template(&e.value),
                    })
                    .collect()
            }
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => {
                self.wrong_type(node, "`outputs` is a list of names", "for example `outputs: [logits]`");
                return Vec::new();
            }
        };
        if outputs.is_empty() {
            let hint = "without `outputs` there is one, the result of the last layer";
            self.error(Code::MissingField, node.span, "`outputs` is empty", hint);
        }
        outputs
    }

    fn image(&mut self, keys: Keys<'_>) -> Option<Image> {
        let node = keys.get("image")?;
        let keys = self.keys(node, node.span, "`image`", &[fields::IMAGE])?;
        let mut labels = Vec::new();
        if let Some(node) = keys.get("labels") {
            for label in self.list(node, "`labels` is a list of names", "one text per class") {
                labels.extend(self.literal(label, "a label").map(|l| l.value));
            }
        }
        Some(Image {
            span: node.span,
            resize: self.optional_expr(keys, "resize"),
            interpolation: self.optional_template(keys, "interpolation"),
            mean: self.optional_expr(keys, "mean"),
            std: self.optional_expr(keys, "std"),
            labels,
        })
    }

    fn warehouses(&mut self, node: &Node) -> Warehouses {
        let tables = [fields::WAREHOUSES, fields::SETTINGS];
        let Some(keys) = self.keys(node, node.span, "`warehouses`", &tables) else { return Warehouses::default() };
        let settings = self.settings(keys);
        let order = keys.get("order").map(|node| {
            let names = self.list(node, "`order` is a list of warehouses", "for example `order: [stem, stage0]`");
            Spanned::new(names.iter().map(|n| self.template(n)).collect(), node.span)
        });
        let mut each = Vec::new();
        if let Some(node) = keys.get("each") {
            let Kind::Map(map) = &node.kind else {
                self.wrong_type(
                    node,
                    "`each` has names of warehouses",
                    "for example `each: { stage1: { budget: 1/2 } }`",
                );
                return Warehouses { settings, order, each };
            };
            for entry in &map.entries {
                let owner = format!("warehouse `{}`", shortened(&entry.key.value));
                if let Some(keys) = self.keys(&entry.value, entry.key.span, &owner, &[fields::SETTINGS]) {
                    each.push((entry.key.clone(), self.settings(keys)));
                }
            }
        }
        Warehouses { settings, order, each }
    }

    fn settings(&mut self, keys: Keys<'_>) -> Settings {
        Settings {
            budget: self.optional_expr(keys, "budget"),
            cell_out_ratio: self.optional_expr(keys, "cell_out_ratio"),
            cell_in_ratio: self.optional_expr(keys, "cell_in_ratio"),
            reduction: self.optional_expr(keys, "reduction"),
            basis_ratio: self.optional_expr(keys, "basis_ratio"),
            partition: self.optional_template(keys, "partition"),
            attention_norm: self.optional_template(keys, "attention_norm"),
        }
    }

    fn blocks(&mut self, node: &Node) -> BTreeMap<String, Block> {
        let Kind::Map(map) = &node.kind else {
            let hint = "for example `blocks: { basic: { params: { width: required }, layers: [...] } }`";
            self.wrong_type(node, "`blocks` has names with `params` and `layers`", hint);
            return BTreeMap::new();
        };
        // All names first: blocks may use blocks that stand further down.
        let mut heads = Vec::new();
        for entry in &map.entries {
            let name = &entry.key;
            if fields::ITEMS.iter().any(|f| f.name == name.value) {
                let message = format!("`{}` is an operation already", name.value);
                self.error(Code::Duplicate, name.span, message, "choose another name for the block");
                continue;
            }
            if !self.plain_name(name, "a block") {
                continue;
            }
            let owner = format!("block `{}`", name.value);
            let keys = self.keys(&entry.value, name.span, &owner, &[fields::BLOCK]).unwrap_or(Keys::NONE);
            let mut params = keys.get("params").map_or_else(Vec::new, |n| self.params(n));
            params.retain(|p| {
                let common = fields::COMMON.iter().any(|f| f.name == p.name.value);
                if common {
                    let message = format!("`{}` is a field of every item", p.name.value);
                    self.error(Code::Duplicate, p.name.span, message, "choose another name for the parameter");
                }
                !common
            });
            if params.len() > MAX_PARAMS {
                let message = format!("block `{}` has {} parameters", name.value, params.len());
                self.error(Code::TooLarge, name.span, message, format!("at most {MAX_PARAMS} are possible"));
                params.clear();
            }
            let declared = params.iter().map(|p| (p.name.value.clone(), p.default.is_none())).collect();
            self.blocks.insert(name.value.clone(), Rc::new(declared));
            heads.push((name, keys, params));
        }
        let mut blocks = BTreeMap::new();
        for (name, keys, params) in heads {
            let layers = keys.get("layers").map_or_else(Vec::new, |n| self.items(n));
            blocks.insert(name.value.clone(), Block { name: name.clone(), params, layers });
        }
        blocks
    }

    /// Reports the name of an operation or block that doesn't exist.
    pub(super) fn unknown_item(&mut self, name: &str, span: Span) {
        let blocks = &self.blocks;
        self.diagnostics.push_with(|| {
            let names = fields::ITEMS.iter().map(|f| f.name).chain(blocks.keys().map(String::as_str));
            let hint = suggestion(name, names, "there are");
            let message = format!("there is no operation or block `{}`", shortened(name));
            Diagnostic::new(Code::Undefined, span, message).hint(hint)
        });
    }
}

/// Reports blocks that use themselves, directly or through others. True if there is none.
fn check_cycles(blocks: &BTreeMap<String, Block>, diagnostics: &mut Diagnostics) -> bool {
    let uses: BTreeMap<&str, Vec<(&str, Span)>> = blocks
        .iter()
        .map(|(name, block)| {
            let mut found = Vec::new();
            collect_uses(&block.layers, &mut found);
            (name.as_str(), found)
        })
        .collect();
    let before = diagnostics.len();
    // A block is done when everything below it is; one that is met again before is part of a circle.
    let mut done: BTreeMap<&str, bool> = BTreeMap::new();
    for &root in uses.keys() {
        let mut stack = vec![(root, 0)];
        while let Some((name, next)) = stack.pop() {
            done.entry(name).or_insert(false);
            let Some((used, span)) = uses.get(name).and_then(|u| u.get(next)) else {
                done.insert(name, true);
                continue;
            };
            stack.push((name, next + 1));
            match done.get(used) {
                Some(true) => {}
                Some(false) => {
                    let message = if *used == name {
                        format!("block `{name}` uses itself")
                    } else {
                        format!("block `{name}` uses `{used}`, which uses `{name}` again")
                    };
                    let mut error =
                        Diagnostic::new(Code::Cycle, *span, message).hint("use `repeat` to do things again");
                    if let Some(block) = blocks.get(*used) {
                        error = error.related(block.name.span, format!("`{used}` begins here"));
                    }
                    diagnostics.push(error);
                }
                None => stack.push((used, 0)),
            }
        }
    }
    diagnostics.len() == before
}

fn collect_uses<'s>(items: &'s [Item], found: &mut Vec<(&'s str, Span)>) {
    for item in items {
        match &item.kind {
            ItemKind::Sequence(layers) | ItemKind::Repeat { layers, .. } => collect_uses(layers, found),
            ItemKind::Residual { body, shortcut } => {
                collect_uses(body, found);
                collect_uses(shortcut, found);
            }
            ItemKind::Branch { paths, .. } => paths.iter().for_each(|p| collect_uses(p, found)),
            ItemKind::Block { block, .. } => found.push((block, item.span)),
            ItemKind::Operation(_) | ItemKind::Broken => {}
        }
    }
}
