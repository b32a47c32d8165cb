//! The options that name weights and a device, and making a model that runs.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use kwc_compiler::check::Checked;
use kwc_compiler::pipeline::{self, CudaNetwork};
use kwc_compiler::plan::{self, Planned};
use kwc_compiler::state;
use kwc_compiler::weights::{Checkpoint, NotFinite, State, Tensors, matching, pack};
use kwc_runtime::packed::{self, PackedWeights};
use kwc_runtime::{Weights, cpu, cuda, program};

use crate::failure::Failure;
use crate::target::CudaArguments;
use crate::warnings::Warnings;
use crate::{init, progress, spec};

/// Options of every verb that runs a network.
#[derive(Debug, Args)]
#[command(mut_arg("max_batch", |batch| {
    batch.help("Most samples that the plan for CUDA devices is for [default: those that are run at a time]")
}))]
pub(crate) struct ModelArguments {
    /// The trained weights: a PyTorch checkpoint (.pth, .pt) or a .safetensors file; on the processor also the
    /// weights.safetensors of `kwc compile --target cpu`, which is mapped and not packed again
    #[arg(long, short, value_name = "FILE", required = true)]
    pub(crate) weights: Option<PathBuf>,

    /// The state dict to take from a PyTorch checkpoint that holds several, such as `model_ema`
    #[arg(long, value_name = "NAME")]
    state: Option<String>,

    /// What to run on: `cpu`, or `cuda` for a GPU, `cuda:1` for the second one
    #[arg(long, default_value_t = Device::Cpu, value_name = "DEVICE", value_parser = device)]
    pub(crate) device: Device,

    #[command(flatten)]
    pub(crate) cuda: CudaArguments,

    /// Threads to run on [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

/// What a network can run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Device {
    /// The processor.
    Cpu,
    /// A CUDA device, by its number.
    Cuda(usize),
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(0) => f.write_str("cuda"),
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}

fn device(text: &str) -> Result<Device, String> {
    match text.split_once(':') {
        None if text == "cpu" => Ok(Device::Cpu),
        None if text == "cuda" => Ok(Device::Cuda(0)),
        Some(("cuda", ordinal)) => {
            ordinal.parse().map(Device::Cuda).map_err(|_| "a CUDA device has a number, as in cuda:1".to_owned())
        }
        None | Some(_) => Err("it is `cpu`, `cuda`, or `cuda:N`".to_owned()),
    }
}

/// What a GPU stores activations and kernels in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Precision {
    /// Half precision, products on tensor cores
    F16,
    /// Single precision
    F32,
}

impl From<Precision> for program::cuda::Precision {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F16 => Self::F16,
            Precision::F32 => Self::F32,
        }
    }
}

/// A network whose weights fit it, not yet packed.
pub(crate) struct Opened {
    target: Target,
    /// What to call the weights.
    weights: PathBuf,
    threads: Option<u16>,
    instructions: Option<cpu::Instructions>,
}

/// A network, planned for a device, with its weights.
enum Target {
    Cpu { planned: Box<Planned>, given: Given },
    Cuda { network: Box<CudaNetwork>, ordinal: usize, weights: Unpacked },
}

/// Weights for the processor.
enum Given {
    Unpacked(Unpacked),
    Packed(Weights),
}

/// Tensors to pack.
enum Unpacked {
    Checkpoint(Box<Checkpoint>),
    Drawn(State),
}

impl Unpacked {
    fn tensors(&mut self) -> &mut dyn Tensors {
        match self {
            Self::Checkpoint(checkpoint) => &mut **checkpoint,
            Self::Drawn(state) => state,
        }
    }
}

impl ModelArguments {
    /// Opens the weights, compares them with the network and plans it for batches of up to `batch` samples: everything
    /// that can be wrong without reading the weights themselves.
    ///
    /// # Errors
    /// If the weights can't be read or aren't the network's, or a dump names nothing.
    pub(crate) fn open(&self, checked: &Checked, dumps: &[String], batch: usize) -> Result<Opened, Failure> {
        match self.device {
            Device::Cpu => self.refuse_options_of_cuda()?,
            Device::Cuda(_) => {}
        }
        self.open_on(self.device, checked, dumps, batch)
    }

    /// Refuses what is not for the processor. `--precision f32` is what it does anyway.
    fn refuse_options_of_cuda(&self) -> Result<(), Failure> {
        if self.cuda.precision() == Some(Precision::F16) {
            return Err(Failure::input("on the processor, networks run in f32")
                .hint("leave `--precision` out, or add `--device cuda`"));
        }
        match self.cuda.given().into_iter().find(|&(name, is_given)| is_given && name != "--precision") {
            Some((name, _)) => {
                Err(Failure::input(format!("`{name}` is for runs on a GPU"))
                    .hint("leave it out, or add `--device cuda`"))
            }
            None => Ok(()),
        }
    }

    /// What a GPU stores activations and kernels in.
    pub(crate) fn precision(&self) -> Precision {
        self.cuda.precision().unwrap_or(Precision::F16)
    }

    /// So many samples, or as many as the plan is to be for, if that is said and fewer.
    pub(crate) fn at_most(&self, samples: usize) -> usize {
        self.cuda.max_batch().map_or(samples, |most| samples.min(most))
    }

    /// The plan for a GPU that runs up to `batch` samples at a time, unless the options name another number.
    pub(crate) fn plan(&self, dumps: &[String], batch: usize) -> plan::cuda::Options {
        plan::cuda::Options {
            max_batch: self.cuda.max_batch().unwrap_or(batch),
            dumps: dumps.to_vec(),
            ..self.cuda.options()
        }
    }

    /// As [`Self::open`] for a device of the caller's choice.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(crate) fn open_on(
        &self,
        device: Device,
        checked: &Checked,
        dumps: &[String],
        batch: usize,
    ) -> Result<Opened, Failure> {
        let Some(path) = self.weights.as_deref() else {
            return Err(Failure::input("there are no weights to run the network with")
                .hint("name a file of them: `--weights FILE`"));
        };
        let checkpoint = || {
            let checkpoint = open_checkpoint(path, self.state.as_deref())?;
            matching::compare(&state::tensors(checked), &checkpoint)?;
            Ok(Unpacked::Checkpoint(Box::new(checkpoint)))
        };
        let target = self.target(device, checked, dumps, batch, &checkpoint)?;
        Ok(self.opened(target, path))
    }

    /// As [`Self::open`], but with random weights where no file is named: for times, which don't depend on them.
    ///
    /// # Errors
    /// As [`Self::open`]; or there isn't enough memory for the weights.
    pub(crate) fn open_or_draw(&self, checked: &Checked, batch: usize, seed: u64) -> Result<Opened, Failure> {
        if self.weights.is_some() {
            return self.open(checked, &[], batch);
        }
        if self.state.is_some() {
            return Err(Failure::input("`--state` names a state dict, but there is no file of weights")
                .hint("leave it out, or add `--weights FILE`"));
        }
        match self.device {
            Device::Cpu => self.refuse_options_of_cuda()?,
            Device::Cuda(_) => {}
        }
        let drawn = || Ok(Unpacked::Drawn(init::draw(checked, seed)?));
        let target = self.target(self.device, checked, &[], batch, &drawn)?;
        Ok(self.opened(target, Path::new("random weights")))
    }

    fn opened(&self, target: Target, weights: &Path) -> Opened {
        Opened { target, weights: weights.to_owned(), threads: self.threads, instructions: None }
    }

    /// Plans for a device, then takes packed weights or the others.
    fn target(
        &self,
        device: Device,
        checked: &Checked,
        dumps: &[String],
        batch: usize,
        unpacked: &dyn Fn() -> Result<Unpacked, Failure>,
    ) -> Result<Target, Failure> {
        let failed = |error: plan::Error| Failure::input(error.to_string());
        Ok(match device {
            Device::Cpu => {
                let options = plan::Options { dumps: dumps.to_vec(), ..plan::Options::default() };
                let planned = Box::new(plan::plan(checked, &options).map_err(failed)?);
                let given = match self.weights.as_deref() {
                    Some(path) if packed::is_packed(path) => {
                        Given::Packed(self.open_packed(path, &planned.program, dumps)?)
                    }
                    Some(_) | None => Given::Unpacked(unpacked()?),
                };
                Target::Cpu { planned, given }
            }
            Device::Cuda(ordinal) => {
                let network = Box::new(pipeline::cuda(checked, &self.plan(dumps, batch)).map_err(failed)?);
                Target::Cuda { network, ordinal, weights: unpacked()? }
            }
        })
    }

    /// Maps packed weights.
    fn open_packed(&self, path: &Path, program: &program::Program, dumps: &[String]) -> Result<Weights, Failure> {
        if self.state.is_some() {
            return Err(Failure::file(path, "packed weights are of one state dict")
                .hint("leave `--state` out; it chooses when a checkpoint is packed"));
        }
        Weights::open(path, program).map_err(|error| {
            let is_of_file = matches!(error, kwc_runtime::Error::WeightsFile { .. });
            let failure = Failure::from(error);
            match (is_of_file, dumps) {
                (false, _) => failure,
                (true, []) => failure.hint("give the checkpoint itself, or what was packed for this network"),
                // Norms that a dump shows are not folded away, and then other weights are packed.
                (true, [_, ..]) => failure.hint("give the checkpoint itself: what is dumped may be packed otherwise"),
            }
        })
    }
}

impl Opened {
    /// The same, to run with these instructions if it is on the processor.
    pub(crate) fn with_instructions(self, instructions: Option<cpu::Instructions>) -> Self {
        Self { instructions, ..self }
    }

    /// The plan, if it is one for CUDA.
    pub(crate) fn cuda(&self) -> Option<&plan::cuda::Planned> {
        match &self.target {
            Target::Cpu { .. } => None,
            Target::Cuda { network, .. } => Some(&network.planned),
        }
    }

    /// Packs the weights, unless they are, and makes the model. The checkpoint is closed then. Warns of weights that are
    /// not finite, of packed ones not: that was said when they were packed.
    ///
    /// # Errors
    /// If the weights can't be read, there isn't enough memory, or there is no such device.
    pub(crate) fn load(self, warnings: &mut Warnings) -> Result<Model, Failure> {
        let Self { target, weights: path, threads, instructions } = self;
        if let Some(threads) = threads {
            // Images are decoded on the global pool, which then has this size. It is started once in a process.
            let _ = rayon::ThreadPoolBuilder::new().num_threads(usize::from(threads)).build_global();
        }
        match target {
            Target::Cpu { planned, given } => {
                let weights = match given {
                    Given::Packed(weights) => weights,
                    Given::Unpacked(mut unpacked) => {
                        let (weights, found) = packed_cpu(&planned, unpacked.tensors())?;
                        warnings.weights(&path, &found);
                        weights
                    }
                };
                let options = cpu::Options { threads: threads.map(usize::from), instructions };
                Ok(Model::Cpu(Box::new(cpu::Model::new(planned.program, weights, &options)?)))
            }
            Target::Cuda { network, ordinal, weights: mut unpacked } => {
                // A machine without a GPU says so before the weights are read.
                let device = cuda::Device::new(ordinal)?;
                let (weights, found) = packed_cuda(&network, unpacked.tensors())?;
                drop(unpacked);
                warnings.weights(&path, &found);
                let code = cuda::Code {
                    source: network.source.into(),
                    options: pipeline::NVRTC_OPTIONS.map(Into::into).to_vec().into(),
                    ptx: None,
                    cubins: Vec::new().into(),
                };
                let spinner = progress::spinner("Compiling kernels");
                let model = cuda::Model::load(&device, &network.planned.program, &code, &weights)?;
                drop(spinner);
                Ok(Model::Cuda(Box::new(model)))
            }
        }
    }
}

/// Opens a checkpoint.
///
/// # Errors
/// It can't be read, or is what `kwc compile` made of one.
pub(crate) fn open_checkpoint(path: &Path, state: Option<&str>) -> Result<Checkpoint, Failure> {
    if spec::is_compiled(path) {
        return Err(Failure::file(path, "this is a network that `kwc compile` made, not a checkpoint")
            .hint(
                "give the checkpoint that its weights were packed from; runs on the processor also take its weights.safetensors, \
                 if it was compiled with `--target cpu`",
            ));
    }
    Ok(Checkpoint::open(path, state)?)
}

/// Packs the weights of a network for the processor. Says which of them are not finite.
///
/// # Errors
/// If they can't be read, or there isn't enough memory.
pub(crate) fn packed_cpu(planned: &Planned, tensors: &mut dyn Tensors) -> Result<(Weights, NotFinite), Failure> {
    let elements = planned.program.weight_elements;
    let mut weights = Weights::zeroed(elements)?;
    let bar = progress::bar("Packing weights", elements);
    let found = pack::pack(planned, tensors, &mut weights, &mut |done, _| bar.set(done))?;
    drop(bar);
    Ok((weights, found))
}

/// Packs the weights of a network for CUDA. Says which of them are not finite.
///
/// # Errors
/// If they can't be read, or there isn't enough memory.
pub(crate) fn packed_cuda(
    network: &CudaNetwork,
    tensors: &mut dyn Tensors,
) -> Result<(PackedWeights, NotFinite), Failure> {
    let program = &network.planned.program;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(program.weight_bytes).map_err(|_| {
        Failure::input(format!("out of memory: the packed weights take {} bytes", program.weight_bytes))
    })?;
    bytes.resize(program.weight_bytes, 0);
    let bar = progress::bar("Packing weights", program.weight_bytes);
    let found = pack::pack_cuda(&network.planned, tensors, &mut bytes, &mut |done, _| bar.set(done))?;
    drop(bar);
    Ok((PackedWeights::new(program, bytes)?, found))
}

/// A network on a device.
pub(crate) enum Model {
    Cpu(Box<cpu::Model>),
    Cuda(Box<cuda::Model>),
}

impl Model {
    /// Runs the network on `batch` samples: `inputs` has one vector per input, `[batch, shape...]`. They are gone once the
    /// model has them: they can be as large as all else.
    ///
    /// # Errors
    /// If the inputs don't fit, memory is short, or the device fails.
    pub(crate) fn run(&mut self, batch: usize, inputs: Vec<Vec<f32>>) -> Result<(), Failure> {
        let slices: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
        match self {
            Self::Cpu(model) => {
                model.begin(batch, &slices)?;
                drop(inputs);
                for step in 0..model.program().steps.len() {
                    model.step(step)?;
                }
            }
            Self::Cuda(model) => model.run(batch, &slices)?,
        }
        Ok(())
    }

    /// The same with inputs that the caller keeps.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(crate) fn run_on(&mut self, batch: usize, inputs: &[&[f32]]) -> Result<(), Failure> {
        match self {
            Self::Cpu(model) => model.run(batch, inputs)?,
            Self::Cuda(model) => model.run(batch, inputs)?,
        }
        Ok(())
    }

    /// The largest batch of each range of sizes that one plan of launches serves, ascending, up to `samples`: more than
    /// that is not of interest. The processor has one plan for all.
    pub(crate) fn ranges(&self, samples: usize) -> Vec<usize> {
        match self {
            Self::Cpu(_) => vec![samples],
            Self::Cuda(model) => {
                let mut batches: Vec<usize> = Vec::new();
                for variant in model.program().variants.iter() {
                    if batches.last().is_none_or(|&last| last < samples) {
                        batches.push(variant.batch.min(samples));
                    }
                }
                batches
            }
        }
    }

    /// Output `index` of the last run, `[batch, shape...]`.
    pub(crate) fn output(&self, index: usize) -> &[f32] {
        match self {
            Self::Cpu(model) => model.output(index),
            Self::Cuda(model) => model.output(index),
        }
    }

    /// Dump `index` of the last run, `[batch, shape...]`.
    pub(crate) fn dump(&self, index: usize) -> &[f32] {
        match self {
            Self::Cpu(model) => model.dump(index),
            Self::Cuda(model) => model.dump(index),
        }
    }

    /// Whether activations and kernels are in f16.
    pub(crate) fn is_half(&self) -> bool {
        match self {
            Self::Cpu(_) => false,
            Self::Cuda(model) => match model.program().precision {
                program::cuda::Precision::F16 => true,
                program::cuda::Precision::F32 => false,
            },
        }
    }

    /// Names and shapes of the outputs, and of the dumps.
    pub(crate) fn ports(&self) -> (Vec<Port<'_>>, Vec<Port<'_>>) {
        match self {
            Self::Cpu(model) => {
                let port = |port| {
                    let program::Port { name, shape, .. }: &program::Port = port;
                    Port { name, shape }
                };
                let program = model.program();
                (program.outputs.iter().map(port).collect(), program.dumps.iter().map(port).collect())
            }
            Self::Cuda(model) => {
                let port = |port| {
                    let program::cuda::Port { name, shape }: &program::cuda::Port = port;
                    Port { name, shape }
                };
                let program = model.program();
                (program.outputs.iter().map(port).collect(), program.dumps.iter().map(port).collect())
            }
        }
    }
}

/// A tensor that a model makes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Port<'m> {
    /// The name in the spec; for a dump, the module's path.
    pub(crate) name: &'m str,
    /// Shape of one sample.
    pub(crate) shape: &'m [usize],
}
