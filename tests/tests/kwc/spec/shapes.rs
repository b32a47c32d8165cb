//! Shapes of results and parameters, of every operation.

use super::*;

/// Shape of the result of one item on an input.
fn shape(input: &str, item: &str) -> String {
    output(&whole(&format!("kwc: 1\nname: test\ninput: {input}\nlayers:\n  - {item}\n")))
}

const MAP: &str = "{ channels: 6, height: 12, width: 10 }";
const LINE: &str = "{ channels: 4, length: 9 }";
const VOLUME: &str = "{ channels: 2, depth: 5, height: 6, width: 7 }";
const TOKENS: &str = "{ tokens: 7, channels: 5 }";
const VECTOR: &str = "{ channels: 5 }";

#[test]
fn follow_from_every_operation() {
    for (input, item, expected) in [
        (MAP, "conv: { name: c, out: 8, kernel: 3 }", "[8, 10, 8]"),
        (MAP, "conv: { name: c, kernel: 3, padding: 1 }", "[6, 12, 10]"),
        (MAP, "conv: { name: c, out: 8, kernel: 3, stride: 2, padding: 1 }", "[8, 6, 5]"),
        (
            MAP,
            "conv: { name: c, out: 8, kernel: [3, 5], stride: [1, 2], padding: [0, 2], dilation: [2, 1] }",
            "[8, 8, 5]",
        ),
        (MAP, "conv: { name: c, kernel: 3, groups: depthwise }", "[6, 10, 8]"),
        (MAP, "conv: { name: c, out: 9, kernel: 1, groups: 3 }", "[9, 12, 10]"),
        (MAP, "conv: { name: c, out: 4, kernel: [12, 10] }", "[4, 1, 1]"),
        (LINE, "conv: { name: c, out: 3, kernel: 4, stride: 3 }", "[3, 2]"),
        (VOLUME, "conv: { name: c, out: 3, kernel: [1, 2, 3] }", "[3, 5, 5, 5]"),
        (VECTOR, "linear: { name: l, out: 3 }", "[3]"),
        (TOKENS, "linear: { name: l, out: 3 }", "[7, 3]"),
        (MAP, "linear: { name: l, out: 3 }", "[3, 12, 10]"),
        (MAP, "batch_norm: { name: b }", "[6, 12, 10]"),
        (VECTOR, "batch_norm: { name: b, eps: 1e-3 }", "[5]"),
        (TOKENS, "layer_norm: { name: l }", "[7, 5]"),
        (MAP, "scale: { shape: [1, C, 1, 1] }", "[6, 12, 10]"),
        (MAP, "relu", "[6, 12, 10]"),
        (TOKENS, "relu6", "[7, 5]"),
        (TOKENS, "gelu", "[7, 5]"),
        (TOKENS, "silu", "[7, 5]"),
        (TOKENS, "hard_swish", "[7, 5]"),
        (VECTOR, "sigmoid", "[5]"),
        (MAP, "max_pool: { kernel: 3 }", "[6, 4, 3]"),
        (MAP, "max_pool: { kernel: 3, stride: 2, padding: 1 }", "[6, 6, 5]"),
        (MAP, "avg_pool: { kernel: [2, 3] }", "[6, 6, 3]"),
        (LINE, "avg_pool: { kernel: 2, stride: 1, count_padding: false, padding: 1 }", "[4, 10]"),
        (VOLUME, "max_pool: { kernel: 2 }", "[2, 2, 3, 3]"),
        (MAP, "global_avg_pool", "[6]"),
        (MAP, "global_avg_pool: { keep: true }", "[6, 1, 1]"),
        (LINE, "global_avg_pool: { keep: false }", "[4]"),
        (TOKENS, "global_avg_pool", "[5]"),
        (TOKENS, "global_avg_pool: { keep: true }", "[1, 5]"),
        (VOLUME, "upsample: { factor: 2 }", "[2, 10, 12, 14]"),
        (MAP, "upsample: { factor: [1, 3] }", "[6, 12, 30]"),
        (MAP, "flatten", "[720]"),
        (TOKENS, "flatten", "[35]"),
        (MAP, "add: { from: [input, ~, input] }", "[6, 12, 10]"),
        (MAP, "concat: { from: [~, input] }", "[12, 12, 10]"),
        (TOKENS, "concat: { from: [input, input] }", "[7, 10]"),
        (VECTOR, "concat: { from: [input, input, input] }", "[15]"),
    ] {
        assert_eq!(shape(input, item), expected, "{item} on {input}");
    }
}

#[test]
fn are_refused_where_an_operation_has_no_meaning() {
    for (input, item) in [
        (VECTOR, "conv: { name: c, out: 3, kernel: 1 }"),
        (TOKENS, "conv: { name: c, out: 3, kernel: 1 }"),
        (VECTOR, "global_avg_pool: { keep: true }"),
        (TOKENS, "max_pool: { kernel: 2 }"),
        (VECTOR, "upsample: { factor: 2 }"),
        (MAP, "conv: { name: c, out: 3, kernel: [13, 1] }"),
        (MAP, "max_pool: { kernel: 3, padding: 2 }"),
        (MAP, "scale: { shape: [C, C] }"),
    ] {
        let text = format!("kwc: 1\nname: test\ninput: {input}\nlayers:\n  - {item}\n");
        assert!(pipeline::front("a", &Memory::default().with("a", text), &[]).is_err(), "{item} on {input}");
    }
}

#[test]
fn of_parameters_are_those_of_the_state_dict() {
    let checked = network(
        "layers:
  - conv: { name: c, out: 8, kernel: [3, 1], groups: 2, bias: true }
  - batch_norm: { name: b }
  - sequence: { name: s, layers: [{ scale: { param: g, shape: [1, C, 1, 1] } }] }
  - global_avg_pool
  - linear: { name: l, out: 5 }
  - linear: { name: m, out: 5, bias: false }
",
    );
    let tensors: Vec<String> =
        state::tensors(&checked).into_iter().map(|t| format!("{} {:?}", t.name, t.shape)).collect();
    let expected = [
        "c.weight [8, 3, 3, 1]",
        "c.bias [8]",
        "b.weight [8]",
        "b.bias [8]",
        "b.running_mean [8]",
        "b.running_var [8]",
        "b.num_batches_tracked []",
        "s.g [1, 8, 1, 1]",
        "l.weight [5, 8]",
        "l.bias [5]",
        "m.weight [5, 5]",
    ];
    assert_eq!(tensors, expected);
}

#[test]
fn defaults_are_those_of_the_reference() {
    let checked = network(
        "layers: [{ batch_norm: { name: b } }, { layer_norm: { name: l } }, { batch_norm: { name: e, eps: 1e-3 } }]\n",
    );
    #[expect(clippy::wildcard_enum_match_arm, reason = "only these have one")]
    let epsilons = checked.network().layers.iter().map(|layer| match layer.op {
        Op::BatchNorm { epsilon } | Op::LayerNorm { epsilon } => Some(epsilon),
        _ => None,
    });
    assert_eq!(epsilons.collect::<Vec<_>>(), [Some(1e-5), Some(1e-6), Some(1e-3)]);
}
