//! Repetition, conditions, residuals, branches and blocks.

use super::*;

#[test]
fn repeats_count_from_0_and_nest() {
    let checked = network(
        "params: { depths: [2, 0, 1] }
layers:
  - repeat:
      count: len($depths)
      index: s
      name: \"stage$s\"
      layers:
        - repeat: { count: \"$depths[$s]\", index: i, name: \"$i\", layers: [{ relu: { name: \"r${10 * s + i}\" } }] }
",
    );
    assert_eq!(paths(&checked), ["stage0.0.r0", "stage0.1.r1", "stage2.0.r20"]);
}

#[test]
fn conditions_leave_items_out() {
    let checked = network(
        "params: { stride: 2 }
layers:
  - relu: { name: a, when: \"$stride != 1\" }
  - relu: { name: b, when: \"$stride == 1\" }
  - sequence: { name: c, when: false, layers: [{ relu: { name: d } }] }
  - relu: { name: e, when: true }
",
    );
    assert_eq!(paths(&checked), ["a", "e"]);
}

#[test]
fn a_residual_is_body_plus_shortcut() {
    let checked = network(
        "layers:
  - residual:
      shortcut: [{ conv: { name: s, out: 4, kernel: 1 } }]
      body: [{ conv: { name: b, out: 4, kernel: 1 } }, relu]
      name: r
",
    );
    let network = checked.network();
    assert_eq!(paths(&checked), ["r.b", "r", "r.s", "r"]);
    assert_eq!(registered(&checked), ["r.b", "r", "r.s", "r"]);
    let add = network.layers.last().unwrap();
    assert_eq!(add.inputs, [network.layers[1].output, network.layers[2].output]);
    assert_eq!(network.layers[2].inputs, [network.inputs[0].value]);
}

#[test]
fn a_branch_joins_paths_with_one_input() {
    let rest = "paths: [[], [{ conv: { name: c, out: 6, kernel: 1 } }], [{ conv: { name: d, out: 6, kernel: 1 } }]]";
    let concat = network(&format!("layers: [{{ branch: {{ join: concat, {rest} }} }}]\n"));
    assert_eq!(output(&concat), "[18, 12, 10]");
    let add = network(&format!("params: {{ join: add }}\nlayers: [{{ branch: {{ join: $join, {rest} }} }}]\n"));
    assert_eq!(output(&add), "[6, 12, 10]");
    let network = add.network();
    let inputs = &network.layers.last().unwrap().inputs;
    assert_eq!(inputs[0], network.inputs[0].value);
    assert_eq!(inputs.len(), 3);
}

#[test]
fn blocks_take_arguments_of_every_kind() {
    let checked = network(
        "params: { base: 4 }
blocks:
  inner:
    params: { out: required, warehouse: '', use_bias: false, kernel: [1, 3], double: $out * 2, groups: 1 }
    layers:
      - conv: { name: a, out: $out, kernel: $kernel, bias: $use_bias, warehouse: $warehouse, groups: $groups }
      - conv: { name: b, out: $double, kernel: 1 }
  outer:
    params: { width: required, stage: 3, kind: plain }
    layers:
      - inner: { name: x, out: $width + 1, warehouse: \"stage$stage\" }
      - inner: { name: y, out: $width, kernel: $base - 1, use_bias: \"$kind == 'wide'\", warehouse: \"\" }
      - inner: { name: z, out: $width, kernel: 1, groups: 2, use_bias: \"$kind == 'plain'\", warehouse: $kind }
layers:
  - outer: { name: o, width: $base * 2 }
",
    );
    let conv = |path: &str| convolution(&checked, path);
    let x = conv("o.x.a");
    assert_eq!((x.out_channels, x.kernel, x.bias, x.warehouse.is_some()), (9, vec![1, 3], false, true));
    assert_eq!(conv("o.x.b").out_channels, 18);
    let y = conv("o.y.a");
    assert_eq!((y.out_channels, y.kernel, y.bias, y.warehouse), (8, vec![3, 3], false, None));
    let z = conv("o.z.a");
    assert_eq!((z.out_channels, z.groups, z.bias), (8, 2, true));
    assert_eq!(warehouses(&checked), ["stage3", "plain"]);
}

#[test]
fn blocks_see_their_own_parameters_before_the_network_s() {
    let checked = network(
        "params: { width: 3, other: 2 }
blocks:
  b: { params: { width: 5 }, layers: [{ conv: { name: c, out: $width * $other, kernel: 1 } }] }
layers: [b]
",
    );
    assert_eq!(output(&checked), "[10, 12, 10]");
    let text = errors(
        "blocks:
  b: { layers: [{ conv: { name: c, out: $i, kernel: 1 } }] }
layers: [{ repeat: { count: 1, index: i, layers: [b] } }]
",
    );
    assert!(text.contains("there is no parameter `i`"), "{text}");
}

#[test]
fn an_empty_list_passes_its_input_on() {
    let checked = network("layers: [{ sequence: { layers: [] } }, { residual: { body: [] } }, relu]\n");
    let network = checked.network();
    assert_eq!(network.layers.len(), 2);
    assert_eq!(network.layers[0].inputs, [network.inputs[0].value; 2]);
}

#[test]
fn a_dynamic_layer_points_at_its_item() {
    let text = format!(
        "{HEAD}blocks:\n  b: {{ layers: [{{ conv: {{ name: c, kernel: 1, warehouse: w }} }}] }}\nlayers:\n  - relu\n  - b\n"
    );
    let checked = whole(&text);
    let mut sources = Sources::default();
    sources.add("spec.yaml", text.as_str());
    let span = layer(&checked, "c").span;
    assert_eq!(sources.position(span).to_string(), "5:19");
    assert_eq!(&text[span.start as usize..span.end as usize], "conv");
}
