//! The options that name weights and a device, and making a model that runs.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use kwc_compiler::check::Checked;
use kwc_compiler::plan::{self, Planned};
use kwc_compiler::state;
use kwc_compiler::weights::{Checkpoint, matching, pack};
use kwc_runtime::Weights;
use kwc_runtime::cpu::{self, Model};

use crate::failure::Failure;
use crate::progress;

/// Options of every verb that runs a network.
#[derive(Debug, Args)]
pub(crate) struct ModelArguments {
    /// The trained weights: a PyTorch checkpoint (.pth, .pt) or a .safetensors file
    #[arg(long, short, value_name = "FILE")]
    pub(crate) weights: PathBuf,

    /// The state dict to take from a PyTorch checkpoint that holds several, such as `model_ema`
    #[arg(long, value_name = "NAME")]
    state: Option<String>,

    /// What to run on
    #[arg(long, value_enum, default_value_t = Device::Cpu)]
    device: Device,

    /// Threads to run on [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

/// What a network can run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Device {
    /// The processor
    Cpu,
}

/// A network whose weights fit it, not yet packed.
pub(crate) struct Opened {
    planned: Planned,
    checkpoint: Checkpoint,
    device: Device,
    threads: Option<u16>,
}

impl ModelArguments {
    /// Opens the weights, compares them with the network and plans it: everything that can be wrong without reading
    /// the weights themselves.
    ///
    /// # Errors
    /// If the weights can't be read or aren't the network's, or a dump names nothing.
    pub(crate) fn open(&self, checked: &Checked, dumps: &[String]) -> Result<Opened, Failure> {
        let options = plan::Options { dumps: dumps.to_vec(), ..plan::Options::default() };
        let planned = plan::plan(checked, &options).map_err(|e| Failure::input(e.to_string()))?;
        let checkpoint = Checkpoint::open(&self.weights, self.state.as_deref())?;
        matching::compare(&state::tensors(checked), &checkpoint)?;
        Ok(Opened { planned, checkpoint, device: self.device, threads: self.threads })
    }
}

impl Opened {
    /// Packs the weights and makes the model. The checkpoint is closed then.
    ///
    /// # Errors
    /// If the weights can't be read, or there isn't enough memory.
    pub(crate) fn load(self) -> Result<Model, Failure> {
        let Self { planned, mut checkpoint, device, threads } = self;
        let mut weights = Weights::zeroed(planned.program.weight_elements)?;
        let bar = progress::bar("Packing weights", planned.program.weight_elements);
        pack::pack(&planned, &mut checkpoint, &mut weights, &mut |done, _| bar.set(done))?;
        drop(bar);
        if let Some(threads) = threads {
            // Images are decoded on the global pool, which then has this size. It is started once in a process.
            let _ = rayon::ThreadPoolBuilder::new().num_threads(usize::from(threads)).build_global();
        }
        match device {
            Device::Cpu => {
                let options = cpu::Options { threads: threads.map(usize::from) };
                Ok(Model::new(planned.program, weights, &options)?)
            }
        }
    }
}
