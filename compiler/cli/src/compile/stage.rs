//! `--emit`: one stage on standard output.

use clap::ValueEnum;
use kwc_compiler::check::Checked;
use kwc_compiler::emit::package::Generated;
use kwc_compiler::emit::{self, CodeForm};
use kwc_compiler::ir::Dump;
use kwc_compiler::plan;

use super::build;
use super::options::Target;
use crate::failure::Failure;
use crate::plan::launches;

/// What can be printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Stage {
    /// The network after parameters and blocks are expanded: values, layers, warehouses
    Ir,
    /// The partition and, for CUDA, the launches, as a table
    #[value(name = "plan.txt")]
    PlanText,
    /// The same as JSON
    #[value(name = "plan.json")]
    PlanJson,
    /// The kernels (CUDA)
    #[value(name = "kernels.cu")]
    Source,
    /// The kernels as PTX (CUDA; needs NVRTC)
    #[value(name = "kernels.ptx")]
    Ptx,
    /// The generated Rust, with its source inside: it needs no other file
    #[value(name = "lib.rs")]
    Rust,
}

/// The text of a stage.
///
/// # Errors
/// The target has no such stage, or NVRTC is missing or refuses the kernels.
pub(super) fn emit(stage: Stage, checked: &Checked, target: &Target) -> Result<String, Failure> {
    let cpu = || plan::plan(checked, &plan::Options::default()).map_err(|e| Failure::input(e.to_string()));
    let rust =
        |generated: &Generated<'_>| generated.lib_rs().map_err(|e: emit::package::Error| Failure::input(e.to_string()));
    match (stage, target) {
        (Stage::Ir, Target::Cpu | Target::Cuda { .. }) => Ok(Dump(checked.network()).to_string()),
        (Stage::PlanText, Target::Cpu) => Ok(launches::partition_text(checked)),
        (Stage::PlanJson, Target::Cpu) => launches::partition_json(checked),
        (Stage::Source | Stage::Ptx, Target::Cpu) => {
            Err(Failure::input("the target `cpu` has no kernels").hint("leave `--target cpu` out"))
        }
        (Stage::Rust, Target::Cpu) => rust(&Generated::Cpu(&cpu()?.program)),
        (Stage::PlanText, Target::Cuda { plan, .. }) => {
            Ok(launches::text(checked, &build::network(checked, plan)?.planned))
        }
        (Stage::PlanJson, Target::Cuda { plan, .. }) => {
            launches::json(checked, &build::network(checked, plan)?.planned)
        }
        (Stage::Source, Target::Cuda { plan, .. }) => Ok(build::network(checked, plan)?.source),
        (Stage::Ptx, Target::Cuda { plan, .. }) => build::ptx(&build::network(checked, plan)?),
        (Stage::Rust, Target::Cuda { plan, .. }) => {
            let network = build::network(checked, plan)?;
            let form = CodeForm::Inline { source: &network.source };
            rust(&Generated::Cuda(&network.planned.program, form))
        }
    }
}
