//! What the kernels of whole networks take of a multiprocessor: nothing may be spilled, and no thread have a stack.

use std::collections::BTreeMap;

use kwc_compiler::pipeline::{self, CudaNetwork};
use kwc_compiler::plan::cuda::Options;
use kwc_program::cuda::Precision;

use crate::golden::{checked, package};
use crate::vgpu::nvrtc;

/// What the assembler says of one kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Resources {
    stack: u32,
    spill_stores: u32,
    spill_loads: u32,
    registers: u32,
}

/// Reads the assembler's report, by kernel:
///
/// ```text
/// ptxas info    : Compiling entry function 'linear_0' for 'sm_80'
/// ptxas info    : Function properties for linear_0
///     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
/// ptxas info    : Used 40 registers, used 1 barriers, 380 bytes cmem[0]
/// ```
fn resources(report: &str) -> BTreeMap<String, Resources> {
    let mut all: BTreeMap<String, Resources> = BTreeMap::new();
    let mut current = String::new();
    for line in report.lines() {
        if let Some((_, name)) = line.split_once("Function properties for ") {
            current = name.trim().to_owned();
        }
        let number = |what: &str| {
            let (before, _) = line.split_once(what)?;
            before.split_whitespace().next_back()?.parse().ok()
        };
        let known = [" bytes stack frame", " bytes spill stores", " bytes spill loads"].map(number);
        if let [Some(stack), Some(spill_stores), Some(spill_loads)] = known {
            let kernel = all.entry(current.clone()).or_default();
            (kernel.stack, kernel.spill_stores, kernel.spill_loads) = (stack, spill_stores, spill_loads);
        }
        if let Some(registers) = number(" registers") {
            all.entry(current.clone()).or_default().registers = registers;
        }
    }
    all
}

/// Layers that launch a kernel.
fn layers(network: &CudaNetwork, kernel: usize) -> Vec<&str> {
    let launches = network.planned.program.variants.iter().flat_map(|variant| variant.launches.iter());
    let mut layers: Vec<&str> =
        launches.filter(|launch| launch.kernel.0 as usize == kernel).map(|launch| &*launch.layer).collect();
    layers.dedup();
    layers
}

/// Every kernel of a network in `specs/` keeps its variables in registers, and as many blocks of it as asked for fit.
fn assert_registers(name: &str, precision: Precision) {
    let specs = package().join("../specs");
    let checked = checked(&specs.join(format!("{name}.yaml")));
    let network = pipeline::cuda(&checked, &Options { precision, ..Options::default() }).unwrap();
    let mut wrong = Vec::new();
    for architecture in ["sm_80", "sm_90"] {
        let mut options = kwc_nvrtc::Options::new(architecture);
        options.more = vec!["--std=c++17".to_owned(), "--ptxas-options=-v".to_owned()];
        let output = nvrtc().compile(&network.source, "kernels.cu", &options).unwrap_or_else(|error| panic!("{error}"));
        let resources = resources(&output.log);
        for (index, entry) in network.planned.program.kernels.iter().enumerate() {
            let Some(&taken) = resources.get(&*entry.symbol) else {
                panic!("the assembler says nothing of {}:\n{}", entry.symbol, output.log)
            };
            let Resources { stack, spill_stores, spill_loads, registers } = taken;
            assert!(registers > 0, "registers of {}:\n{}", entry.symbol, output.log);
            let resident = network.planned.kernels[index].resident.max(1);
            let fits = registers.next_multiple_of(8) * entry.threads * resident <= 65536;
            if (stack, spill_stores, spill_loads) != (0, 0, 0) || !fits {
                wrong.push(format!(
                    "{architecture}, {} ({}): {taken:?}",
                    entry.symbol,
                    layers(&network, index).join(", ")
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{name}, {precision:?}:\n{}", wrong.join("\n"));
}

#[test]
fn cuda_resources_resnet50() {
    assert_registers("resnet50", Precision::F16);
}

#[test]
fn cuda_resources_resnet50_in_f32() {
    assert_registers("resnet50", Precision::F32);
}

#[test]
fn cuda_resources_mobilenetv2() {
    assert_registers("mobilenetv2_050_kw1d2x", Precision::F16);
}

#[test]
fn cuda_resources_mobilenetv2_in_f32() {
    assert_registers("mobilenetv2_050_kw1d2x", Precision::F32);
}

#[test]
fn cuda_resources_convnext() {
    assert_registers("convnext_tiny", Precision::F16);
}

#[test]
fn cuda_resources_convnext_in_f32() {
    assert_registers("convnext_tiny", Precision::F32);
}

#[test]
fn cuda_resources_resnet18_with_a_small_warehouse() {
    assert_registers("resnet18_kw1d4x", Precision::F16);
}

#[test]
fn cuda_resources_are_read_from_the_report() {
    let report = "ptxas info    : Compiling entry function 'a_0' for 'sm_80'
ptxas info    : Function properties for a_0
    16 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 16 bytes cumulative stack size, 380 bytes cmem[0]
";
    let expected = Resources { stack: 16, spill_stores: 8, spill_loads: 12, registers: 40 };
    assert_eq!(resources(report), BTreeMap::from([("a_0".to_owned(), expected)]));
}
