//! Golden operations through the CUDA plan in single precision, each as a network of one layer.

use kwc_compiler::pipeline;
use kwc_compiler::plan::cuda::Options;
use kwc_compiler::weights::pack::pack_cuda;
use kwc_program::cuda::Precision;

use super::device;
use crate::golden::{assert_near, max_difference, tensors};
use crate::operations::{OPERATIONS, operation};

#[test]
fn cuda_operations() {
    let tensors = tensors("operations/operations.safetensors");
    for (name, item) in OPERATIONS {
        let mut operation = operation(&tensors, name, item);
        let reference = &tensors[&format!("{name}/output")].data;
        let largest = reference.iter().fold(0.0f64, |max, r| max.max(r.abs()));
        for fuse in [true, false] {
            let batch = operation.batch;
            let options = Options { precision: Precision::F32, max_batch: batch, fuse, ..Options::default() };
            let network = pipeline::cuda(&operation.checked, &options).unwrap();
            let mut weights = vec![0; network.planned.program.weight_bytes];
            pack_cuda(&network.planned, &mut operation.state, &mut weights, &mut |_, _| {}).unwrap();
            let ran = device::run(&network, &weights, batch, &[&operation.input], 5);
            assert!(ran.findings.is_empty(), "{name}: {:#?}", ran.findings);
            let distance = max_difference(&ran.outputs[0], reference) / largest;
            assert_near(&format!("{name}, fuse {fuse}"), distance, 1e-6);
        }
    }
}
