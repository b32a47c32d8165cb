//! The options that say what to plan for.

use std::collections::BTreeMap;

use clap::error::ErrorKind;
use clap::{Args, ValueEnum};
use kwc_compiler::plan::cuda::{self, GPUS, Gpu, Mixing};

use crate::model::Precision;
use crate::terminal;

/// Targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TargetName {
    /// NVIDIA GPUs, from the A100 on
    Cuda,
    /// The processor
    Cpu,
}

/// What a plan for CUDA should be like.
#[derive(Debug, Clone, Args)]
pub(crate) struct CudaArguments {
    /// Type of activations, kernels and warehouses on CUDA devices [default: f16]
    #[arg(long, value_enum, value_name = "TYPE")]
    precision: Option<Precision>,

    /// Most samples that can be run at a time on CUDA devices [default: 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    max_batch: Option<u16>,

    /// The GPU whose figures decide between strategies; the kernels run on others too [default: a100]
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(GPUS.iter().map(|gpu| gpu.name)))]
    gpu: Option<String>,

    /// Where the kernels of dynamic layers are mixed on CUDA devices [default: auto]
    #[arg(long, value_enum, value_name = "WHERE")]
    mixing: Option<MixingName>,
}

/// Where kernels are mixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MixingName {
    /// Where a model of both ways says that it is faster
    Auto,
    /// In a launch ahead of the convolution
    Apart,
    /// In the convolution wherever that can be: f16, one or two samples, at most 64 output positions
    Inside,
}

impl From<MixingName> for Mixing {
    fn from(name: MixingName) -> Self {
        match name {
            MixingName::Auto => Self::Auto,
            MixingName::Apart => Self::Apart,
            MixingName::Inside => Self::Inside,
        }
    }
}

impl CudaArguments {
    /// The options of a plan.
    pub(crate) fn options(&self) -> cuda::Options {
        let defaults = cuda::Options::default();
        cuda::Options {
            precision: self.precision.map_or(defaults.precision, Into::into),
            max_batch: self.max_batch.map_or(defaults.max_batch, usize::from),
            gpu: self.gpu.as_deref().and_then(Gpu::named).unwrap_or(defaults.gpu),
            mixing: self.mixing.map_or(defaults.mixing, Into::into),
            ..defaults
        }
    }

    /// The most samples at a time, if that was given.
    pub(crate) fn max_batch(&self) -> Option<usize> {
        self.max_batch.map(usize::from)
    }

    /// The type of activations, kernels and warehouses, if that was given.
    pub(crate) fn precision(&self) -> Option<Precision> {
        self.precision
    }

    /// The same with what was not given taken from options by their names.
    ///
    /// # Errors
    /// One of them isn't known.
    pub(crate) fn completed(&self, options: &BTreeMap<String, String>) -> Result<Self, String> {
        let unknown =
            |name: &str, value: &str| format!("its option `{name}` is `{value}`, which this version does not know");
        let option = |name: &'static str| options.get(name).map(|value| (name, value.as_str()));
        let precision =
            || option("precision").map(|(name, v)| Precision::from_str(v, false).map_err(|_| unknown(name, v)));
        let max_batch = || option("max-batch").map(|(name, v)| v.parse().map_err(|_| unknown(name, v)));
        let gpu = || {
            option("gpu").map(|(name, v)| Gpu::named(v).map(|gpu| gpu.name.to_owned()).ok_or_else(|| unknown(name, v)))
        };
        let mixing = || option("mixing").map(|(name, v)| MixingName::from_str(v, false).map_err(|_| unknown(name, v)));
        Ok(Self {
            precision: self.precision.map(Ok).or_else(precision).transpose()?,
            max_batch: self.max_batch.map(Ok).or_else(max_batch).transpose()?,
            gpu: self.gpu.clone().map(Ok).or_else(gpu).transpose()?,
            mixing: self.mixing.map(Ok).or_else(mixing).transpose()?,
        })
    }

    /// The options, and whether each was given.
    pub(crate) fn given(&self) -> [(&'static str, bool); 4] {
        [
            ("--precision", self.precision.is_some()),
            ("--max-batch", self.max_batch.is_some()),
            ("--gpu", self.gpu.is_some()),
            ("--mixing", self.mixing.is_some()),
        ]
    }
}

/// Says that no layer is mixed inside its convolution, if that was asked for.
pub(crate) fn note_mixing(options: &cuda::Options, planned: &cuda::Planned) {
    let mut variants = planned.program.variants.iter();
    let is_inside = variants.any(|variant| planned.strategies(variant).iter().any(cuda::Strategy::is_inside));
    if options.mixing == Mixing::Inside && !is_inside {
        terminal::note(
            "`--mixing inside` changes nothing: no layer of this network can be mixed inside its convolution",
            "that takes f16, at most 64 output positions, one group, and cells whose channels are multiples of 16",
        );
    }
}

/// Ends the process, as other wrong command lines do, if an option of CUDA was given with another target. `target` is what
/// the message says of the target that there is.
pub(crate) fn refuse(options: impl IntoIterator<Item = (&'static str, bool)>, target: &str) {
    if let Some((name, _)) = options.into_iter().find(|&(_, is_given)| is_given) {
        let message = format!("{name} is of the target `cuda`, and {target}\n");
        clap::Error::raw(ErrorKind::ArgumentConflict, message).exit();
    }
}
