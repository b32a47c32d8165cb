//! Warehouses: which there are, in which order, with which settings.

use std::collections::{BTreeMap, BTreeSet};

use super::Lowering;
use super::value::Scope;
use crate::diagnostic::{Code, Diagnostic, nearest};
use crate::ir::{AttentionNorm, LayerId, Op, Settings, SpatialPartition, Warehouse, WarehouseId};
use crate::source::Span;
use crate::spec::{self, Ratio, Template, suggestion};

/// The warehouses that layers have named. Until all are known, their ids count the names as they come.
#[derive(Debug, Default)]
pub(super) struct Registry {
    ids: BTreeMap<String, WarehouseId>,
    /// Names, and where each is named first.
    named: Vec<(String, Span)>,
}

impl Lowering<'_, '_> {
    /// The warehouse that a layer names; an empty name makes it static. `None` if the name is wrong.
    pub(super) fn warehouse(&mut self, name: Option<&Template>, scope: &Scope) -> Option<Option<WarehouseId>> {
        let Some(template) = name else { return Some(None) };
        let name = self.evaluator.text(template, scope);
        let name = self.take(name)?;
        if name.is_empty() {
            return Some(None);
        }
        if !spec::is_plain_name(&name) {
            let message = format!("`{}` can't be the name of a warehouse", spec::shortened(&name));
            let hint = format!("{}; what is to be computed stands in `${{...}}`", spec::NAME_HINT);
            self.report(Diagnostic::new(Code::WrongType, template.span, message).hint(hint));
            return None;
        }
        if let Some(id) = self.registry.ids.get(&name) {
            return Some(Some(*id));
        }
        let id = WarehouseId::from_index(self.registry.named.len());
        self.registry.ids.insert(name.clone(), id);
        self.registry.named.push((name, template.span));
        Some(Some(id))
    }

    /// All warehouses in checkpoint order; the layers' ids are changed to it. If anything was wrong before, names that no
    /// layer uses are not held against the spec: the layer may just not have been understood.
    pub(super) fn warehouses(&mut self, registration: &[LayerId]) -> Vec<Warehouse> {
        let is_sound = self.diagnostics.is_empty();
        let order = self.order(registration, is_sound);
        let mut places = vec![None; order.len()];
        for (place, id) in order.iter().enumerate() {
            if let Some(slot) = places.get_mut(id.index()) {
                *slot = Some(WarehouseId::from_index(place));
            }
        }
        for layer in &mut self.layers {
            let warehouse = match &mut layer.op {
                Op::Conv(conv) => &mut conv.warehouse,
                Op::Linear(linear) => &mut linear.warehouse,
                Op::BatchNorm { .. }
                | Op::LayerNorm { .. }
                | Op::Scale { .. }
                | Op::Activation(_)
                | Op::Pool(_)
                | Op::GlobalAverage
                | Op::Add
                | Op::Concat
                | Op::Upsample { .. }
                | Op::Flatten => continue,
            };
            *warehouse = warehouse.and_then(|id| places.get(id.index()).copied().flatten());
        }
        self.check_each(is_sound);
        let settings = &self.spec.warehouses;
        let common = self.settings(&settings.settings, Settings::default());
        let own: BTreeMap<&str, (Settings, Span)> = settings
            .each
            .iter()
            .map(|(name, s)| (name.value.as_str(), (self.settings(s, common), name.span)))
            .collect();
        let named = |id: &WarehouseId| {
            let (name, span) = self.registry.named.get(id.index())?;
            let (settings, span) = own.get(name.as_str()).copied().unwrap_or((common, *span));
            Some(Warehouse { name: name.clone(), settings, span })
        };
        order.iter().filter_map(named).collect()
    }

    /// The warehouses as the spec orders them, or in the order of registration.
    fn order(&mut self, registration: &[LayerId], is_sound: bool) -> Vec<WarehouseId> {
        let mut order = Vec::new();
        let Some(stated) = &self.spec.warehouses.order else {
            let mut seen = BTreeSet::new();
            for id in registration {
                let warehouse = self.layers.get(id.index()).and_then(|l| l.op.warehouse());
                order.extend(warehouse.filter(|w| seen.insert(*w)));
            }
            return order;
        };
        let scope = std::rc::Rc::clone(&self.globals);
        let mut stated_names: BTreeMap<String, Span> = BTreeMap::new();
        for template in &stated.value {
            let name = self.evaluator.text(template, &scope);
            let Some(name) = self.take(name) else { continue };
            if let Some(first) = stated_names.get(&name) {
                let message = format!("`{name}` stands in the order twice");
                let error = Diagnostic::new(Code::Duplicate, template.span, message);
                self.diagnostics.push(error.related(*first, "the first one").hint("remove one of them"));
                continue;
            }
            match self.registry.ids.get(&name) {
                Some(id) => order.push(*id),
                None if is_sound => self.unused(&name, template.span),
                None => {}
            }
            stated_names.insert(name, template.span);
        }
        for (name, span) in &self.registry.named {
            if stated_names.contains_key(name) {
                continue;
            }
            self.diagnostics.push_with(|| {
                let hint = match nearest(name, stated_names.keys().map(String::as_str)) {
                    Some(near) => {
                        format!("did you mean `{near}`? If not, add it to `order`, at its place in the checkpoint")
                    }
                    None => "add it to `order`, at its place in the checkpoint".to_owned(),
                };
                let message = format!("warehouse `{name}` is missing in `order`");
                Diagnostic::new(Code::Order, *span, message).related(stated.span, "the order").hint(hint)
            });
        }
        order
    }

    /// Settings of warehouses that don't exist are errors.
    fn check_each(&mut self, is_sound: bool) {
        if !is_sound {
            return;
        }
        for (name, _) in &self.spec.warehouses.each {
            if !self.registry.ids.contains_key(&name.value) {
                self.unused(&name.value, name.span);
            }
        }
    }

    /// Reports a warehouse that no layer names.
    fn unused(&mut self, name: &str, span: Span) {
        self.diagnostics.push_with(|| {
            let names = self.registry.named.iter().map(|(n, _)| n.as_str());
            let hint = suggestion(name, names, "the layers name");
            let message = format!("no layer names warehouse `{}`", spec::shortened(name));
            Diagnostic::new(Code::Unused, span, message).hint(hint)
        });
    }

    /// Settings as written, over others.
    fn settings(&mut self, written: &spec::Settings, base: Settings) -> Settings {
        let scope = std::rc::Rc::clone(&self.globals);
        let mut ratio = |expr: &Option<spec::Expr>, base: f64| match expr {
            None => base,
            Some(expr) => self.positive(expr, &scope).map_or(base, Ratio::to_f64),
        };
        let budget = ratio(&written.budget, base.budget);
        let cell_out_ratio = ratio(&written.cell_out_ratio, base.cell_out_ratio);
        let cell_in_ratio = ratio(&written.cell_in_ratio, base.cell_in_ratio);
        let reduction = ratio(&written.reduction, base.reduction);
        let basis_ratio = match &written.basis_ratio {
            None => base.basis_ratio,
            Some(expr) => self.positive(expr, &scope).map(Ratio::to_f64).filter(|ratio| *ratio < 1.0),
        };
        let partitions = [("spatial", SpatialPartition::Spatial), ("whole", SpatialPartition::Whole)];
        let partition = self.choice(written.partition.as_ref(), &scope, &partitions).unwrap_or(base.partition);
        let norms = [("batch", AttentionNorm::Batch), ("layer", AttentionNorm::Layer)];
        let norm = self.choice(written.attention_norm.as_ref(), &scope, &norms).unwrap_or(base.attention_norm);
        Settings { budget, cell_out_ratio, cell_in_ratio, reduction, basis_ratio, partition, attention_norm: norm }
    }
}
