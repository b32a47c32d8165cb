//! The edges of a network: inputs, outputs, and copies in another order.

use kwc_program::cuda::Precision::{F16, F32};

use super::compare::assert_agrees;

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
