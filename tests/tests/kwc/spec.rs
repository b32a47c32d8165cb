//! The spec language: what a spec means.

mod documents;
mod edges;
mod expressions;
mod names;
mod orders;
mod shapes;
mod structure;
mod variants;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use kwc_compiler::check::Checked;
use kwc_compiler::ir::{Conv, Interpolation, Layer, Op, Resize};
use kwc_compiler::pipeline::{self, Setting};
use kwc_compiler::source::{Memory, Sources};
use kwc_compiler::spec::fields::{self, Field};
use kwc_compiler::state;

/// What every short spec begins with; `layers` and the rest follow.
const HEAD: &str = "kwc: 1\nname: test\ninput: { channels: 6, height: 12, width: 10 }\n";

fn read(files: &Memory, path: &str, settings: &[(&str, &str)]) -> Checked {
    let settings: Vec<Setting> =
        settings.iter().map(|(name, value)| Setting { name: (*name).to_owned(), value: (*value).to_owned() }).collect();
    pipeline::front(path, files, &settings).unwrap_or_else(|f| panic!("{}", f.diagnostics.render(&f.sources, false)))
}

/// A network from a whole spec.
fn whole(text: &str) -> Checked {
    read(&Memory::default().with("spec.yaml", text), "spec.yaml", &[])
}

/// A network with the usual head.
fn network(rest: &str) -> Checked {
    whole(&format!("{HEAD}{rest}"))
}

/// The errors of a spec with the usual head, rendered.
fn errors(rest: &str) -> String {
    let files = Memory::default().with("spec.yaml", format!("{HEAD}{rest}"));
    let failure = pipeline::front("spec.yaml", &files, &[]).expect_err("this should be wrong");
    failure.diagnostics.render(&failure.sources, false)
}

/// Shape of the only output.
fn output(checked: &Checked) -> String {
    checked.network().value(checked.network().outputs[0].value).shape.to_string()
}

fn paths(checked: &Checked) -> Vec<&str> {
    checked.network().layers.iter().map(|l| l.path.as_str()).collect()
}

/// Paths in the order of registration.
fn registered(checked: &Checked) -> Vec<&str> {
    let network = checked.network();
    network.registration.iter().map(|id| network.layer(*id).path.as_str()).collect()
}

fn layer<'c>(checked: &'c Checked, path: &str) -> &'c Layer {
    checked.network().layers.iter().find(|l| l.path == path).unwrap_or_else(|| panic!("no layer {path}"))
}

fn convolution(checked: &Checked, path: &str) -> Conv {
    let Op::Conv(conv) = &layer(checked, path).op else { panic!("`{path}` is no convolution") };
    conv.clone()
}

fn warehouses(checked: &Checked) -> Vec<&str> {
    checked.network().warehouses.iter().map(|w| w.name.as_str()).collect()
}

fn repository(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap()
}
