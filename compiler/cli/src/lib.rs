//! The `kwc` command: one file per verb, with its options and its `run()`.

mod bench;
mod check;
mod compile;
mod eval;
mod failure;
mod images;
mod init;
mod inputs;
mod model;
mod output;
mod plan;
mod progress;
mod run;
mod scores;
mod smooth;
mod spec;
mod target;
mod terminal;
mod toolchain;
mod verify;
mod warnings;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Failure;

const AFTER_HELP: &str = "\
Examples:
  kwc check specs/*.yaml                  are these specs right?
  kwc plan specs/resnet18.yaml            cells, warehouses, who shares what, cost
  kwc compile SPEC --weights W            kernels, a Rust crate and packed weights, to run without kwc
  kwc init SPEC -o FILE --seed 1          a random state, for trying a network out
  kwc run SPEC --weights W --input X      a network's output for tensors or images
  kwc eval SPEC --weights W --data DIR    a classifier's accuracy
  kwc verify SPEC --weights W             does a GPU compute what the processor does?
  kwc bench SPEC --per-layer              how long a network takes, by batch and by layer or kernel
  kwc toolchain                           which compiler for CUDA there is, and which GPU

Exit codes:
  0  fine
  1  the input is wrong: a spec, weights, an image, data
  2  the command line is wrong

Results go to standard output, errors and progress to standard error. Colours appear on terminals only; NO_COLOR=1 \
turns them off.";

/// Compiles, inspects and runs networks with KernelWarehouse dynamic convolutions.
#[derive(Debug, Parser)]
#[command(name = "kwc", bin_name = "kwc", version, after_help = AFTER_HELP, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Check(check::Arguments),
    Plan(plan::Arguments),
    Compile(compile::Arguments),
    Init(init::Arguments),
    Run(run::Arguments),
    Eval(eval::Arguments),
    Verify(verify::Arguments),
    Bench(bench::Arguments),
    Toolchain(toolchain::Arguments),
}

/// Runs the command with the process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|panic| terminal::bug(&panic.to_string())));
    let result = match Cli::parse().verb {
        Verb::Check(arguments) => check::run(&arguments),
        Verb::Plan(arguments) => plan::run(&arguments),
        Verb::Compile(arguments) => compile::run(&arguments),
        Verb::Init(arguments) => init::run(&arguments),
        Verb::Run(arguments) => run::run(&arguments),
        Verb::Eval(arguments) => eval::run(&arguments),
        Verb::Verify(arguments) => verify::run(&arguments),
        Verb::Bench(arguments) => bench::run(&arguments),
        Verb::Toolchain(arguments) => toolchain::run(&arguments),
    };
    match result {
        Ok(()) | Err(Failure::ReaderGone) => ExitCode::SUCCESS,
        Err(failure) => {
            terminal::error(&failure);
            ExitCode::from(1)
        }
    }
}
