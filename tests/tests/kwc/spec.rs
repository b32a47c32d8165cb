//! The spec language: what a spec means.

use kwc_compiler::check::Checked;
use kwc_compiler::pipeline::{self, Failure};
use kwc_compiler::source::Memory;

/// The front end on one text.
fn front(text: &str) -> Result<Checked, Failure> {
    pipeline::front("spec.yaml", &Memory::default().with("spec.yaml", text), &[])
}

/// A network, or its errors as a panic.
fn network(text: &str) -> Checked {
    front(text).unwrap_or_else(|f| panic!("{}", f.diagnostics.render(&f.sources, false)))
}

const TINY: &str = "
kwc: 1                                   # version of the language
name: tiny
input: { channels: 3, height: 32, width: 32 }
warehouses: { budget: 1/2, cell_out_ratio: 1/2, cell_in_ratio: 1/2 }
layers:
  - conv: { name: conv1, out: 32, kernel: 3, padding: 1 }          # static
  - batch_norm: { name: bn1 }
  - relu
  - conv: { name: conv2, out: 64, kernel: 3, stride: 2, padding: 1, warehouse: body }   # dynamic
  - batch_norm: { name: bn2 }
  - relu
  - conv: { name: conv3, out: 64, kernel: 3, padding: 1, warehouse: body }              # shares its cells
  - batch_norm: { name: bn3 }
  - relu
  - global_avg_pool
  - linear: { name: fc, out: 10 }
";

#[test]
fn the_reference_s_first_example_is_a_network() {
    let checked = network(TINY);
    let shapes: Vec<String> =
        checked.network().layers.iter().map(|l| checked.network().value(l.output).shape.to_string()).collect();
    assert_eq!(
        shapes,
        ["[32, 32, 32]"; 3].into_iter().chain(["[64, 16, 16]"; 6]).chain(["[64]", "[10]"]).collect::<Vec<_>>()
    );
}
