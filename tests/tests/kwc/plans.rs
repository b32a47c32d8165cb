//! Golden plans, state dicts, and the paper's parameter counts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kwc_compiler::report::Report;
use kwc_compiler::state;
use serde_json::{Value, json};

use crate::golden::{cases, checked, json, package};

/// Parameters in the paper's table, in millions; for `resnet18_kw1d4x` what the released configuration has when built, where
/// the table says 4.08.
const PAPER: [(&str, f64); 20] = [
    ("resnet18_static", 11.69),
    ("resnet18_kw1d4x", 4.03),
    ("resnet18_kw1d2x", 7.43),
    ("resnet18", 11.93),
    ("resnet18_kw2x", 23.24),
    ("resnet18_kw4x", 45.86),
    ("resnet50_static", 25.56),
    ("resnet50_kw1d2x", 17.64),
    ("resnet50", 28.05),
    ("resnet50_kw4x", 102.02),
    ("mobilenetv2_100_static", 3.50),
    ("mobilenetv2_100_kw1d2x", 2.65),
    ("mobilenetv2_100", 5.17),
    ("mobilenetv2_100_kw4x", 11.38),
    ("mobilenetv2_050_static", 1.97),
    ("mobilenetv2_050_kw1d2x", 1.47),
    ("mobilenetv2_050", 2.85),
    ("mobilenetv2_050_kw4x", 4.65),
    ("convnext_tiny_static", 28.59),
    ("convnext_tiny", 39.37),
];

fn specs() -> PathBuf {
    package().join("../specs")
}

/// File name of the spec for a configuration of `plans.json`: `kw1x_NET` is `NET`, `kw4x_NET` is `NET_kw4x`, and `NET`
/// is `NET_static`.
fn spec_of(configuration: &str) -> String {
    match configuration.strip_prefix("kw").and_then(|rest| rest.split_once('_')) {
        Some(("1x", network)) => network.to_owned(),
        Some((budget, network)) => format!("{network}_kw{budget}"),
        None => format!("{configuration}_static"),
    }
}

/// What of `report` the golden plan has too. Lists must be equally long; other fields may be more.
fn common(report: &Value, plan: &Value) -> Value {
    match (report, plan) {
        (Value::Object(report), Value::Object(plan)) => {
            plan.iter().map(|(key, value)| (key.clone(), common(&report[key], value))).collect()
        }
        (Value::Array(report), Value::Array(plan)) if report.len() == plan.len() => {
            report.iter().zip(plan).map(|(r, p)| common(r, p)).collect()
        }
        (other, _) => other.clone(),
    }
}

/// Compares the report of a spec with a golden plan, which for a static network has nothing but `parameters`.
fn compare(spec: &Path, plan: &Value) {
    let report = serde_json::to_value(Report::new(&checked(spec))).unwrap();
    let mut plan = plan.clone();
    // In MobileNetV2 1/2x the authors' code abbreviates `layer` to one letter; the specs have one name for both.
    for warehouse in plan.get_mut("warehouses").and_then(Value::as_array_mut).into_iter().flatten() {
        let name = warehouse["name"].as_str().unwrap().replace("_l_", "_layer_");
        warehouse["name"] = json!(name);
    }
    let got = common(&report, &plan);
    let spec = spec.display();
    // Layer by layer first: one difference is easier to read than two lists.
    if let (Some(got), Some(plan)) = (got["layers"].as_array(), plan["layers"].as_array()) {
        for (got, plan) in got.iter().zip(plan) {
            assert_eq!(got, plan, "{spec}");
        }
    }
    assert_eq!(got, plan, "{spec}");
}

#[test]
fn plans_of_the_papers_networks() {
    let plans = json("plans.json");
    let plans = plans.as_object().unwrap();
    assert_eq!(plans.len(), 12);
    for (configuration, plan) in plans {
        let mut plan = plan.clone();
        plan.as_object_mut().unwrap().remove("config");
        compare(&specs().join(spec_of(configuration)).with_extension("yaml"), &plan);
    }
}

/// The golden networks of a folder with their specs.
fn networks() -> Vec<(String, PathBuf, Value)> {
    let narrow = cases("networks", ".json").into_iter().map(|name| ("networks", "", name));
    let full = cases("full", ".json").into_iter().map(|name| ("full", "full/", name));
    let digits = cases("digits", ".json").into_iter().map(|name| ("digits", "", name));
    let all = narrow.chain(full).chain(digits);
    all.map(|(folder, specs, name)| {
        let spec = package().join(format!("cases/{specs}{name}.yaml"));
        let golden = json(&format!("{folder}/{name}.json"));
        (name, spec, golden)
    })
    .collect()
}

#[test]
fn plans_of_the_golden_networks() {
    let networks = networks();
    assert!(networks.len() >= 16);
    let mut plans = 0;
    for (_, spec, golden) in &networks {
        if golden["plan"].is_object() {
            plans += 1;
            compare(spec, &golden["plan"]);
        }
    }
    assert!(plans >= 12);
}

#[test]
fn states_of_the_golden_networks() {
    for (name, spec, golden) in networks() {
        let golden = golden["state"].as_object().unwrap();
        let golden: BTreeMap<&str, Vec<usize>> =
            golden.iter().map(|(n, shape)| (n.as_str(), serde_json::from_value(shape.clone()).unwrap())).collect();
        let tensors = state::tensors(&checked(&spec));
        let ours: BTreeMap<&str, Vec<usize>> = tensors.iter().map(|t| (t.name.as_str(), t.shape.clone())).collect();
        assert_eq!(tensors.len(), ours.len(), "a name occurs twice in {name}");
        assert_eq!(ours, golden, "{name}");
    }
}

#[test]
fn parameters_are_the_papers() {
    for (name, millions) in PAPER {
        let parameters = state::parameters(&checked(&specs().join(name).with_extension("yaml")));
        assert_eq!((parameters as f64 / 1e4).round() / 100.0, millions, "{name} has {parameters} parameters");
    }
}

#[test]
fn every_spec_is_a_network_of_the_paper() {
    let mut files: Vec<String> = std::fs::read_dir(specs())
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().unwrap().strip_suffix(".yaml").map(str::to_owned))
        .collect();
    files.sort();
    let mut names: Vec<&str> = PAPER.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    assert_eq!(files, names);
    for name in names {
        assert_eq!(checked(&specs().join(name).with_extension("yaml")).network().name, name);
    }
}
