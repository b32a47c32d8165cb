//! What to compile for.

use clap::error::ErrorKind;
use clap::{Args, ValueEnum};
use kwc_compiler::plan::cuda::{self, GPUS, Gpu};

use crate::model::Precision;

/// Options that name a target.
#[derive(Debug, Args)]
pub(super) struct TargetArguments {
    /// What to compile for
    #[arg(long, value_enum, default_value_t = TargetName::Cuda)]
    target: TargetName,

    /// Type of activations, kernels and warehouses on CUDA devices [default: f16]
    #[arg(long, value_enum)]
    precision: Option<Precision>,

    /// Most samples that can be run at a time on CUDA devices [default: 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    max_batch: Option<u16>,

    /// The GPU whose figures decide between strategies; the kernels run on others too [default: a100]
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(GPUS.iter().map(|gpu| gpu.name)))]
    gpu: Option<String>,

    #[arg(
        long,
        value_delimiter = ',',
        value_name = "ARCH,...",
        value_parser = architecture,
        help = "Architectures to make machine code for [default: sm_80,sm_86,sm_89,sm_90]"
    )]
    arch: Option<Vec<String>>,
}

/// Targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TargetName {
    /// NVIDIA GPUs, from the A100 on
    Cuda,
    /// The processor
    Cpu,
}

/// A target with its options.
#[derive(Debug, Clone)]
pub(super) enum Target {
    /// The processor.
    Cpu,
    /// CUDA devices.
    Cuda {
        /// What the plan should be like.
        plan: cuda::Options,
        /// Architectures to make cubins for, in ascending order.
        architectures: Vec<String>,
    },
}

impl TargetArguments {
    /// The target. Options of another one end the process as other wrong command lines do.
    pub(super) fn options(&self) -> Target {
        match self.target {
            TargetName::Cpu => {
                let given = [
                    ("--precision", self.precision.is_some()),
                    ("--max-batch", self.max_batch.is_some()),
                    ("--gpu", self.gpu.is_some()),
                    ("--arch", self.arch.is_some()),
                ];
                if let Some((name, _)) = given.into_iter().find(|&(_, is_given)| is_given) {
                    let message = format!("{name} is of the target `cuda`, and the target is `cpu`\n");
                    clap::Error::raw(ErrorKind::ArgumentConflict, message).exit();
                }
                Target::Cpu
            }
            TargetName::Cuda => {
                let defaults = cuda::Options::default();
                let plan = cuda::Options {
                    precision: self.precision.map_or(defaults.precision, Into::into),
                    max_batch: self.max_batch.map_or(defaults.max_batch, usize::from),
                    gpu: self.gpu.as_deref().and_then(Gpu::named).unwrap_or(defaults.gpu),
                    ..defaults
                };
                let mut architectures =
                    self.arch.clone().unwrap_or_else(|| ["sm_80", "sm_86", "sm_89", "sm_90"].map(str::to_owned).into());
                architectures.sort_by_key(|name| (name.len(), name.clone()));
                architectures.dedup();
                Target::Cuda { plan, architectures }
            }
        }
    }
}

/// `sm_80` or later.
fn architecture(text: &str) -> Result<String, String> {
    let number = text.strip_prefix("sm_").ok_or("write sm_80, sm_90 and the like")?;
    let digits = number.strip_suffix('a').unwrap_or(number);
    match digits.parse::<u32>() {
        Ok(number) if number >= 80 && !digits.starts_with('+') => Ok(text.to_owned()),
        Ok(_) => Err("the kernels need sm_80 or later".to_owned()),
        Err(_) => Err("write sm_80, sm_90 and the like".to_owned()),
    }
}
