//! `kwc plan`: what a spec means and what it costs.

pub(crate) mod bounds;
pub(crate) mod launches;
pub(crate) mod text;

use clap::Args;
use kwc_compiler::check::Checked;
use kwc_compiler::plan::cuda::{self, Bounds, Planned};
use kwc_compiler::report::Report;

use crate::failure::Failure;
use crate::spec::SpecArguments;
use crate::target::{self, CudaArguments, TargetName};
use crate::terminal::{self, Format};

/// Show what a partition means: cells, warehouses, who shares what, parameters, cost
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kwc plan specs/resnet18.yaml
  kwc plan specs/resnet18.yaml --set classes=10
  kwc plan specs/resnet50_kw4x.yaml --format json | jq .totals
  kwc plan specs/resnet18.yaml --target cuda              what is launched on a GPU
  kwc plan specs/resnet18.yaml --target cuda --gpu h100 --bounds --batch 1

A layer's mixtures are its kernel's cell groups: spatial x output x input. Its own cells are those of the warehouse that \
its attention starts from in training; it mixes all the others too. Costs are multiply-adds of one sample.

Bounds are not predicted times. A launch takes at least the longest of: its multiply-adds, with padding to whole tiles, at \
the GPU's peak on tensor cores or outside them; its operands and results moved once at the bandwidth of global memory (what \
the L2 cache still holds of the launch before can beat that); the bytes that its blocks ask for at the bandwidth of the L2 \
cache; and the start of a kernel in a graph. `kwc bench` measures.")]
pub(crate) struct Arguments {
    #[command(flatten)]
    spec: SpecArguments,

    /// Show what is launched on a target, too
    #[arg(long, value_enum)]
    target: Option<TargetName>,

    #[command(flatten)]
    cuda: CudaArguments,

    /// Show how long each launch takes at least, and why
    #[arg(long)]
    bounds: bool,

    /// Samples that bounds are for [default: the most that are planned for]
    #[arg(long, value_name = "N", requires = "bounds", value_parser = clap::value_parser!(u16).range(1..=4096))]
    batch: Option<u16>,

    /// How to print the plan
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Prints the plan of a spec.
///
/// # Errors
/// What is wrong with the spec; bounds of a batch that isn't planned for.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    match arguments.target {
        Some(TargetName::Cuda) => run_cuda(arguments),
        Some(TargetName::Cpu) | None => {
            let options = arguments.cuda.given().into_iter().chain([("--bounds", arguments.bounds)]);
            target::refuse(options, "this needs `--target cuda`");
            let report = Report::new(&arguments.spec.load()?);
            match arguments.format {
                Format::Text => terminal::print(&text::draw(&report)),
                Format::Json => terminal::print_json(&report),
            }
        }
    }
}

fn run_cuda(arguments: &Arguments) -> Result<(), Failure> {
    let checked = arguments.spec.load()?;
    let options = arguments.cuda.options();
    let planned = cuda::plan(&checked, &options).map_err(|e| Failure::input(e.to_string()))?;
    target::note_mixing(&options, &planned);
    let bounds = if arguments.bounds { Some(bounds_of(arguments, &options, &planned)?) } else { None };
    match arguments.format {
        Format::Text => terminal::print(&draw(&checked, &planned, bounds.as_ref())),
        Format::Json => terminal::print(&launches::json_with_bounds(&checked, &planned, bounds.as_ref())?),
    }
}

fn bounds_of(arguments: &Arguments, options: &cuda::Options, planned: &Planned) -> Result<Bounds, Failure> {
    let batch = arguments.batch.map_or(options.max_batch, usize::from);
    planned.bounds(options.gpu, batch).ok_or_else(|| {
        Failure::input(format!("a batch of {batch} is larger than the plan's largest, {}", options.max_batch))
            .hint(format!("add `--max-batch {batch}`"))
    })
}

fn draw(checked: &Checked, planned: &Planned, bounds: Option<&Bounds>) -> String {
    let mut out = format!("{}\n{}", text::draw(&Report::new(checked)), launches::draw(planned));
    if let Some(bounds) = bounds {
        out.push('\n');
        out.push_str(&bounds::draw(planned, bounds));
    }
    out
}
