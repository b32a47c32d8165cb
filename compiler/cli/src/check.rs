//! `kwc check`: whether specs are right.

use clap::Args;
use kwc_compiler::check::Checked;
use kwc_compiler::diagnostic::Code;
use kwc_compiler::state;
use serde::Serialize;

use crate::failure::Failure;
use crate::spec::{self, Settings};
use crate::terminal::{self, Format};

/// Say whether specs are right, and show everything that is wrong with them
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kwc check specs/resnet18.yaml
  kwc check specs/*.yaml --format json    errors with file, line and column, for editors and scripts")]
pub(crate) struct Arguments {
    /// The networks, as YAML files
    #[arg(required = true, value_name = "SPEC")]
    specs: Vec<String>,

    #[command(flatten)]
    settings: Settings,

    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What there is to say about a spec that is right.
#[derive(Serialize)]
struct Summary {
    name: String,
    parameters: usize,
    layers: usize,
    dynamic_layers: usize,
    warehouses: usize,
}

#[derive(Serialize)]
struct Entry<'a> {
    spec: &'a str,
    ok: bool,
    #[serde(flatten)]
    summary: Option<Summary>,
    errors: serde_json::Value,
}

/// Checks all specs, and fails if any is wrong.
///
/// # Errors
/// [`Failure::Reported`] if a spec is wrong.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut entries = Vec::new();
    let mut wrong = false;
    for path in &arguments.specs {
        let result = spec::refuse_others(path)
            .and_then(|()| spec::load(path, &arguments.settings).map_err(|failure| Failure::Spec(Box::new(failure))));
        let result = result.map(|checked| summary(&checked));
        wrong |= result.is_err();
        match arguments.format {
            Format::Text => print(path, result)?,
            Format::Json => entries.push(entry(path, result)),
        }
    }
    match arguments.format {
        Format::Text => {}
        Format::Json => terminal::print_json(&entries)?,
    }
    if wrong { Err(Failure::Reported) } else { Ok(()) }
}

fn summary(checked: &Checked) -> Summary {
    let network = checked.network();
    Summary {
        name: network.name.clone(),
        parameters: state::parameters(checked),
        layers: network.layers.len(),
        dynamic_layers: network.dynamic_layers().count(),
        warehouses: network.warehouses.len(),
    }
}

fn print(path: &str, result: Result<Summary, Failure>) -> Result<(), Failure> {
    match result {
        Ok(summary) => terminal::print(&format!(
            "{path}: ok ({} layers, {} of them dynamic, {} parameters)\n",
            summary.layers, summary.dynamic_layers, summary.parameters
        )),
        Err(failure) => {
            terminal::error(&failure);
            Ok(())
        }
    }
}

fn entry(path: &str, result: Result<Summary, Failure>) -> Entry<'_> {
    match result {
        Ok(summary) => {
            Entry { spec: path, ok: true, summary: Some(summary), errors: serde_json::Value::Array(Vec::new()) }
        }
        Err(failure) => {
            let errors = match failure {
                Failure::Spec(failure) => failure.diagnostics.to_json(&failure.sources),
                Failure::Input { message, hint } => serde_json::json!([{
                    "code": Code::File.id(),
                    "message": message,
                    "file": path,
                    "line": null,
                    "column": null,
                    "text": null,
                    "label": "",
                    "hint": hint,
                }]),
                Failure::Reported | Failure::ReaderGone => serde_json::Value::Array(Vec::new()),
            };
            Entry { spec: path, ok: false, summary: None, errors }
        }
    }
}
