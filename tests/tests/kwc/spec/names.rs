//! Names: templates, paths of modules, and names of results.

use super::*;

#[test]
fn are_templates() {
    let checked = network(
        "params: { stage: 2, list: [a, b], deep: [[c]] }
layers:
  - relu: { name: \"layer$stage\" }
  - relu: { name: \"layer${stage + 1}.$stage.x\" }
  - relu: { name: \"$list[1]-${list[0]}_$deep[0][0]\" }
  - relu: { name: 0 }
  - relu: { name: 1.10 }
",
    );
    assert_eq!(paths(&checked), ["layer2", "layer3.2.x", "b-a_c", "0", "1.10"]);
}

#[test]
fn make_paths_of_what_is_around() {
    let checked = network(
        "blocks:
  pair:
    layers:
      - conv: { name: first, kernel: 1 }
      - sequence: { name: '', layers: [{ conv: { name: second, kernel: 1 } }] }
      - scale
layers:
  - sequence:
      name: outer.inner
      layers:
        - pair: { name: p }
        - repeat: { count: 2, index: i, name: \"r$i\", layers: [{ pair: { name: q } }] }
  - pair
",
    );
    let expected = [
        "outer.inner.p.first",
        "outer.inner.p.second",
        "outer.inner.p",
        "outer.inner.r0.q.first",
        "outer.inner.r0.q.second",
        "outer.inner.r0.q",
        "outer.inner.r1.q.first",
        "outer.inner.r1.q.second",
        "outer.inner.r1.q",
        "first",
        "second",
        "",
    ];
    assert_eq!(paths(&checked), expected);
    let names: Vec<String> = state::tensors(&checked).into_iter().map(|t| t.name).collect();
    assert!(names.contains(&"outer.inner.r1.q.gamma".to_owned()), "{names:?}");
    assert!(names.contains(&"gamma".to_owned()), "{names:?}");
}

#[test]
fn of_modules_stand_for_their_results() {
    let checked = network(
        "layers:
  - sequence: { name: a, layers: [{ conv: { name: x, out: 4, kernel: 1 } }, relu] }
  - residual: { name: b, body: [{ conv: { name: y, kernel: 1 } }] }
  - repeat: { count: 2, index: i, name: \"c.$i\", layers: [{ max_pool: { name: pool, kernel: 2 } }] }
  - sequence: { name: same, layers: [{ relu: { name: '' } }] }
  - sequence: { name: nothing, layers: [] }
",
    );
    let network = checked.network();
    let shape = |path: &str| network.value(network.paths[path]).shape.to_string();
    let keys: Vec<&str> = network.paths.keys().map(String::as_str).collect();
    assert_eq!(keys, ["a", "a.x", "b", "b.y", "c.0", "c.0.pool", "c.1", "c.1.pool", "nothing", "same"]);
    assert_eq!(
        (shape("a"), shape("c.0"), shape("c.1")),
        ("[4, 12, 10]".into(), "[4, 6, 5]".into(), "[4, 3, 2]".into())
    );
    let producer = |path: &str| &network.layer(network.value(network.paths[path]).producer.unwrap()).op;
    assert!(matches!(producer("a"), Op::Activation(_)));
    assert_eq!(producer("b"), &Op::Add);
    assert_eq!(network.paths["nothing"], network.outputs[0].value);
}

#[test]
fn of_results_are_known_in_their_list_and_below() {
    let checked = network(
        "layers:
  - relu: { as: x }
  - sequence:
      layers:
        - conv: { name: c, out: 5, kernel: 1, from: x, as: y }
        - add: { from: [x, ~] , when: false }
  - concat: { from: [y, x, ~, input] }
",
    );
    assert_eq!(output(&checked), "[22, 12, 10]");
}

#[test]
fn of_results_move_along_in_a_repetition() {
    let checked = network(
        "layers:
  - repeat:
      count: 3
      index: i
      layers:
        - relu: { as: x }
        - conv: { name: \"c$i\", out: 2, kernel: 1 }
        - concat: { from: [x, ~] }
",
    );
    assert_eq!(output(&checked), "[12, 12, 10]");
}

#[test]
fn of_results_end_at_a_block() {
    let checked = network(
        "blocks:
  twice: { layers: [{ relu: { as: x } }, { add: { from: [x, ~] } }] }
layers: [{ relu: { as: x } }, twice, { twice: { as: y } }, { add: { from: [x, y] } }]
",
    );
    let network = checked.network();
    let inputs: Vec<Vec<u32>> = network.layers.iter().map(|l| l.inputs.iter().map(|v| v.0).collect()).collect();
    // Values are counted as they come: the input, then one a layer.
    assert_eq!(inputs, [vec![0], vec![1], vec![2, 2], vec![3], vec![4, 4], vec![1, 5]]);
}
