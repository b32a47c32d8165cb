//! `kwc init`: a random state that is worth running.

mod condition;
pub(crate) mod draw;

pub(crate) use draw::normal;

use std::path::{Path, PathBuf};

use clap::Args;
use kwc_compiler::check::Checked;
use kwc_compiler::weights::{self, State};
use kwc_compiler::{plan, state};
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::SeedableRng as _;

use crate::failure::Failure;
use crate::output::Output;
use crate::progress;
use crate::spec::SpecArguments;
use crate::terminal;

/// Write a random state for a network, for trying it out
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kwc init specs/resnet18.yaml -o random.safetensors --seed 1
  kwc run specs/resnet18.yaml --weights random.safetensors --input x.safetensors

Weights are drawn as the method initialises them (Kaiming, fan-out, per range of cells), then conditioned: the network runs
once over smooth random inputs, batch norms get the statistics that they see, and attentions are scaled so that a part of
them depends on the input. The same seed gives the same state.")]
pub(crate) struct Arguments {
    #[command(flatten)]
    spec: SpecArguments,

    /// Where to write the state, as a .safetensors file
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,

    /// Which random state
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,

    /// Threads to run on [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

/// Draws, conditions and writes a state.
///
/// # Errors
/// What is wrong with the spec or the place of the output.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let output = Output::at(&arguments.output, &[Path::new(&arguments.spec.spec)])?;
    let checked = arguments.spec.load()?;
    let bar = progress::bar("Measuring", 1);
    let threads = arguments.threads.map(usize::from);
    let drawn = random_state(&checked, arguments.seed, threads, &mut |done, total| {
        bar.lengthen(total);
        bar.set(done);
    });
    drop(bar);
    let drawn = drawn.map_err(|e| Failure::input(e.to_string()))?;
    output.write(|file| drawn.write_safetensors(file))?;
    let parameters = state::parameters(&checked);
    terminal::print(&format!(
        "{}: {} tensors, {parameters} parameters, seed {}\n",
        arguments.output.display(),
        drawn.tensors().count(),
        arguments.seed
    ))
}

/// A random state as it is drawn, not conditioned: outputs mean nothing, but values keep their size through batch norms and
/// biases, so that a network takes the time that it takes with any weights.
///
/// # Errors
/// There isn't enough memory.
pub(crate) fn draw(checked: &Checked, seed: u64) -> Result<State, Failure> {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    draw::draw(checked, &mut rng).map_err(|e| Failure::input(e.to_string()))
}

/// Why a state could not be made.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Plan(#[from] plan::Error),
    #[error(transparent)]
    Weights(#[from] weights::Error),
    #[error(transparent)]
    Runtime(#[from] kwc_runtime::Error),
}

/// A random state for a network. `progress` is told steps done and their total.
fn random_state(
    checked: &Checked,
    seed: u64,
    threads: Option<usize>,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<State, Error> {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let mut state = draw::draw(checked, &mut rng)?;
    condition::condition(checked, &mut state, threads, &mut rng, progress)?;
    Ok(state)
}
