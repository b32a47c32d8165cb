//! Depthwise convolutions.

use kwc_program::cuda::Precision::{F16, F32};

use super::compare::assert_agrees;

/// One depthwise convolution, and a dynamic layer that averages what comes of it.
fn spec(channels: usize, size: &str, conv: &str, warehouse: &str) -> String {
    format!(
        "
kwc: 1
name: depthwise
input: {{ channels: {channels}, {size} }}
warehouses: {{ budget: 1 }}
layers:
  - conv: {{ name: a, out: {channels}, groups: {channels}, {conv}{warehouse} }}
  - batch_norm: {{ name: n }}
  - relu6
  - conv: {{ name: b, out: 8, kernel: 1, warehouse: w }}
"
    )
}

#[test]
fn cuda_depthwise_convolutions() {
    for (channels, size, conv) in [
        (16, "height: 9, width: 11", "kernel: 3, padding: 1"),
        (13, "height: 7, width: 8", "kernel: 3, padding: 1, stride: 2"),
        (272, "height: 5, width: 3", "kernel: 7, padding: 3"),
        (24, "height: 12, width: 10", "kernel: [3, 2], padding: [2, 1], dilation: [2, 3], stride: [1, 2]"),
        (16, "length: 19", "kernel: 5, padding: 2"),
    ] {
        for warehouse in ["", ", warehouse: d"] {
            for batch in [1, 3] {
                let spec = spec(channels, size, conv, warehouse);
                for precision in [F32, F16] {
                    // Fused, and with the convolution alone.
                    let dumps: &[&str] = if batch == 1 { &[] } else { &["a"] };
                    let ran = assert_agrees(&spec, precision, batch, dumps);
                    let families: Vec<&str> = ran.launches.iter().map(|(kernel, _)| kernel.as_str()).collect();
                    assert!(families.contains(&"depthwise_0"), "{families:?}");
                }
            }
        }
    }
}
