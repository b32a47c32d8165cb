//! What to compile for.

use clap::{Args, ValueEnum as _};
use kwc_compiler::plan::cuda;

use super::manifest::Manifest;
use crate::target::{self, CudaArguments, TargetName};

/// Options that name a target.
#[derive(Debug, Clone, Args)]
pub(super) struct TargetArguments {
    /// What to compile for [default: cuda]
    #[arg(long, value_enum)]
    target: Option<TargetName>,

    #[command(flatten)]
    cuda: CudaArguments,

    #[arg(
        long,
        value_delimiter = ',',
        value_name = "ARCH,...",
        value_parser = architecture,
        help = "Architectures to make machine code for [default: sm_80,sm_86,sm_89,sm_90]"
    )]
    arch: Option<Vec<String>>,
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
    /// The same with what was not given taken from a manifest.
    ///
    /// # Errors
    /// Something in the manifest isn't known.
    pub(super) fn completed(&self, manifest: &Manifest) -> Result<Self, String> {
        let known = TargetName::from_str(&manifest.target, false)
            .map_err(|_| format!("its target is `{}`, which this version does not know", manifest.target))?;
        let target = self.target.unwrap_or(known);
        if target != known || target == TargetName::Cpu {
            return Ok(Self { target: Some(target), ..self.clone() });
        }
        let architectures = || -> Result<_, String> {
            let Some(names) = manifest.options.get("arch") else { return Ok(None) };
            let names = names.split(',').filter(|name| !name.is_empty()).map(architecture);
            names.collect::<Result<_, _>>().map(Some).map_err(|e| format!("its option `arch` is wrong: {e}"))
        };
        Ok(Self {
            target: Some(target),
            cuda: self.cuda.completed(&manifest.options)?,
            arch: self.arch.clone().map_or_else(architectures, |given| Ok(Some(given)))?,
        })
    }

    /// The target. Options of another one end the process as other wrong command lines do.
    pub(super) fn options(&self) -> Target {
        match self.target.unwrap_or(TargetName::Cuda) {
            TargetName::Cpu => {
                let options = self.cuda.given().into_iter().chain([("--arch", self.arch.is_some())]);
                target::refuse(options, "the target is `cpu`");
                Target::Cpu
            }
            TargetName::Cuda => {
                let mut architectures =
                    self.arch.clone().unwrap_or_else(|| ["sm_80", "sm_86", "sm_89", "sm_90"].map(str::to_owned).into());
                architectures.sort_by_key(|name| (name.len(), name.clone()));
                architectures.dedup();
                Target::Cuda { plan: self.cuda.options(), architectures }
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
