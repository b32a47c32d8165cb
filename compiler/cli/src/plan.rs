//! `kwc plan`: what a spec means and what it costs.

pub(crate) mod text;

use clap::Args;
use kwc_compiler::report::Report;

use crate::failure::Failure;
use crate::spec::SpecArguments;
use crate::terminal::{self, Format};

/// Show what a partition means: cells, warehouses, who shares what, parameters, cost
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kwc plan specs/resnet18.yaml
  kwc plan specs/resnet18.yaml --set classes=10
  kwc plan specs/resnet50_kw4x.yaml --format json | jq .totals

A layer's mixtures are its kernel's cell groups: spatial x output x input. Its own cells are those of the warehouse that \
its attention starts from in training; it mixes all the others too. Costs are multiply-adds of one sample.")]
pub(crate) struct Arguments {
    #[command(flatten)]
    spec: SpecArguments,

    /// How to print the plan
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Prints the plan of a spec.
///
/// # Errors
/// What is wrong with the spec.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let report = Report::new(&arguments.spec.load()?);
    match arguments.format {
        Format::Text => terminal::print(&text::draw(&report)),
        Format::Json => terminal::print_json(&report),
    }
}
