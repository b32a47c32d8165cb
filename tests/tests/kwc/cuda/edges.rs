//! The edges of a network: inputs, outputs, and copies in another order.

use kwc_compiler::plan::cuda::Options;
use kwc_compiler::weights::State;
use kwc_compiler::{pipeline, plan};
use kwc_program::cuda::Precision::{F16, F32};

use super::compare::assert_agrees;
use super::device;
use crate::golden::{checked_text, model};

const MAPS: &str = "
kwc: 1
name: maps
input: { channels: 5, height: 4, width: 6 }
layers:
  - batch_norm: { name: bn }
  - relu
";

#[test]
fn cuda_maps_of_few_channels() {
    for batch in [1, 3] {
        assert_agrees(MAPS, F32, batch, &[]);
        assert_agrees(MAPS, F16, batch, &[]);
    }
}

const FLATTENED: &str = "
kwc: 1
name: flattened
input: { channels: 5, height: 2, width: 3 }
layers:
  - conv: { name: conv, out: 10, kernel: [1, 3], padding: [0, 1], groups: 5 }
  - gelu
  - flatten
";

#[test]
fn cuda_grouped_convolutions_and_flattened_maps() {
    assert_agrees(FLATTENED, F32, 2, &["conv"]);
    assert_agrees(FLATTENED, F16, 2, &["conv"]);
}

/// Inputs that are no numbers come out as none, as on the CPU: nothing hides them.
#[test]
fn cuda_what_is_no_number_stays_so() {
    for layer in ["relu", "relu6", "silu", "hard_swish", "gelu", "max_pool: { kernel: 3, stride: 1, padding: 1 }"] {
        let spec = format!("kwc: 1\nname: nan\ninput: {{ channels: 3, height: 4, width: 4 }}\nlayers:\n  - {layer}\n");
        let mut input: Vec<f32> = (0_u8..48).map(|x| f32::from(x) - 20.0).collect();
        (input[5], input[40]) = (f32::NAN, f32::INFINITY);
        let checked = checked_text(&spec);
        let mut cpu = model(&checked, &plan::Options::default(), &mut State::default(), 1);
        cpu.run(1, &[&input]).unwrap();
        let network = pipeline::cuda(&checked, &Options { precision: F32, ..Options::default() }).unwrap();
        let ran = device::run(&network, &vec![0; network.planned.program.weight_bytes], 1, &[&input], 1);
        let kind = |x: &f32| (x.is_nan(), x.is_infinite());
        let (gpu, cpu): (Vec<_>, Vec<_>) =
            (ran.outputs[0].iter().map(kind).collect(), cpu.output(0).iter().map(kind).collect());
        assert!(cpu.iter().any(|(nan, _)| *nan), "{layer}");
        assert_eq!(gpu, cpu, "{layer}");
    }
}
