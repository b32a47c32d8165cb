//! Inputs, outputs and images.

use super::*;

#[test]
fn inputs_and_outputs_have_names() {
    let checked = whole(
        "kwc: 1
name: two
inputs: { left: { channels: 3, length: 5 }, right: { channels: 2, length: 5 } }
outputs: { joined: j, left: left }
layers:
  - concat: { from: [left, right], as: j }
  - relu: { from: right }
",
    );
    let names = |ports: &[kwc_compiler::ir::Port]| ports.iter().map(|p| p.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&checked.network().inputs), ["left", "right"]);
    assert_eq!(names(&checked.network().outputs), ["joined", "left"]);
    assert_eq!(output(&checked), "[5, 5]");
    let single = network("layers: [relu]\n");
    assert_eq!(names(&single.network().inputs), ["input"]);
    assert_eq!(names(&single.network().outputs), ["output"]);
    let listed = network("params: { n: 1 }\noutputs: [\"v$n\", input]\nlayers: [{ relu: { as: v1 } }]\n");
    assert_eq!(names(&listed.network().outputs), ["v1", "input"]);
}

#[test]
fn an_image_is_described() {
    let checked = whole(
            "kwc: 1
name: seen
params: { size: 224 }
input: { channels: 3, height: $size, width: $size }
image: { resize: $size * 8 // 7, interpolation: bicubic, mean: [0.5, 1/4, 0], std: [0.1, 0.2, 1], labels: [cat, 'a dog', 3] }
layers: [relu]
",
        );
    let image = checked.network().image.clone().unwrap();
    assert_eq!((image.resize, image.interpolation), (Some(Resize::Shorter(256)), Interpolation::Bicubic));
    assert_eq!((image.mean, image.std), (vec![0.5, 0.25, 0.0], vec![0.1, 0.2, 1.0]));
    assert_eq!(image.labels, ["cat", "a dog", "3"]);
    let grey = whole(
        "kwc: 1\nname: grey\ninput: { channels: 1, height: 4, width: 6 }\nimage: { resize: [4, 8], mean: [0], std: [1] }\nlayers: [relu]\n",
    );
    let image = grey.network().image.clone().unwrap();
    assert_eq!(image.resize, Some(Resize::Exact { height: 4, width: 8 }));
    assert_eq!(image.interpolation, Interpolation::Bilinear);
    assert_eq!(network("layers: [relu]\n").network().image, None);
}

#[test]
fn lists_may_leave_it_to_their_first_layer_which_input_is_taken() {
    let checked = whole(
        "kwc: 1
name: two
inputs: { left: { channels: 3 }, right: { channels: 2 } }
layers:
  - sequence: { name: empty, layers: [] }
  - repeat: { count: 1, layers: [{ sequence: { name: a, layers: [{ relu: { from: left } }] } }] }
  - concat: { from: [~, right] }
",
    );
    assert_eq!(output(&checked), "[5]");
    assert_eq!(checked.network().paths.keys().collect::<Vec<_>>(), ["a"]);
    let text = "kwc: 1
name: two
inputs: { left: { channels: 3 }, right: { channels: 2 } }
layers:
  - sequence: { as: x, layers: [{ repeat: { count: 0, layers: [] } }] }
  - relu: { from: x }
  - add: { from: [left, right] }
";
    let failure = pipeline::front("a", &Memory::default().with("a", text), &[]).unwrap_err();
    let messages: Vec<&str> = failure.diagnostics.iter().map(|d| d.message.as_str()).collect();
    assert_eq!(messages, ["there is no value `x` here", "[3] and [2] can't be added"]);
}
