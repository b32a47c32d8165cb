//! Generated code: snapshots, and the same code compiled by `include_model!`.

use kwc_compiler::plan::cuda::GPUS;
use kwc_compiler::{emit, pipeline, plan};
use kwc_runtime::packed::PackedWeights;
use kwc_runtime::{Weights, cpu};

use crate::golden::{checked, package};

/// Shows a spec and the code that comes of it.
fn snapshot(name: &str) {
    let path = package().join(format!("cases/emit/{name}.yaml"));
    let planned = plan::plan(&checked(&path), &plan::Options::default()).unwrap();
    let code = emit::pretty(emit::model(&planned.program).unwrap()).unwrap();
    let spec = std::fs::read_to_string(&path).unwrap();
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(format!("emit_{name}"), format!("{spec}\n---\n{code}"));
    });
}

#[test]
fn code_of_a_dynamic_network() {
    snapshot("dynamic");
}

#[test]
fn code_of_ports_with_awkward_names() {
    snapshot("ports");
}

mod dynamic {
    #![allow(missing_docs, unreachable_pub, dead_code)]
    kwc_runtime::include_model!("cases/emit/dynamic.yaml");
}

mod ports {
    #![allow(missing_docs, unreachable_pub, dead_code)]
    kwc_runtime::include_model!("cases/emit/ports.yaml");
}

mod dynamic_cuda {
    #![allow(missing_docs, unreachable_pub, dead_code)]
    kwc_runtime::include_model!("cases/emit/dynamic.yaml", target = cuda, max_batch = 3, gpu = "h100");
}

/// The same for CUDA, with its source.
#[test]
fn compiled_program_for_cuda_is_the_planned_one() {
    let path = package().join("cases/emit/dynamic.yaml");
    let options = plan::cuda::Options { max_batch: 3, gpu: &GPUS[4], ..plan::cuda::Options::default() };
    let network = pipeline::cuda(&checked(&path), &options).unwrap();
    assert_eq!(network.planned.program.gpu, "h100");
    assert_eq!(dynamic_cuda::PROGRAM, network.planned.program);
    assert_eq!(dynamic_cuda::CODE.source, network.source);
    assert!(dynamic_cuda::CODE.ptx.is_none() && dynamic_cuda::CODE.cubins.is_empty());
}

/// What the macro compiled is what the compiler plans.
#[test]
fn compiled_program_is_the_planned_one() {
    let path = package().join("cases/emit/dynamic.yaml");
    let planned = plan::plan(&checked(&path), &plan::Options::default()).unwrap();
    assert_eq!(dynamic::PROGRAM, planned.program);
}

#[test]
fn compiled_model_runs() {
    let mut model = ports::Model::new(Weights::zeroed(0).unwrap(), &cpu::Options::default()).unwrap();
    assert_runs(&mut model);
    // The same with a file.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weights.safetensors");
    let packed = PackedWeights::of_block(&ports::PROGRAM, Weights::zeroed(0).unwrap()).unwrap();
    packed.write(&file).unwrap();
    assert_runs(&mut ports::Model::load(&file, &cpu::Options::default()).unwrap());
    let error = dynamic::Model::load(&file, &cpu::Options::default()).unwrap_err();
    assert!(error.to_string().contains("packed for `ports`"), "{error}");
}

#[track_caller]
fn assert_runs(model: &mut ports::Model) {
    let left: Vec<f32> = (0_u8..64).map(f32::from).collect();
    let right = vec![0.5; 64];
    let outputs = model.run(2, &left, &right).unwrap();
    let sum: Vec<f32> = left.iter().map(|x| x + 0.5).collect();
    assert_eq!(outputs.sum, sum);
    // Row 0 of the second sample's first channel, every value twice.
    assert_eq!(outputs.value_2x[128..136], [32.5, 32.5, 33.5, 33.5, 34.5, 34.5, 35.5, 35.5]);
}
