//! Orders that a checkpoint depends on, and settings of warehouses.

use super::*;

#[test]
fn registration_is_as_written_unless_register_says_otherwise() {
    let checked = network(
        "blocks: { b: { layers: [{ relu: { name: x } }, { relu: { name: y, register: -2 } }] } }
layers:
  - relu: { name: a }
  - relu: { name: b, register: 1 }
  - sequence: { register: -1, layers: [{ relu: { name: c } }, { relu: { name: d, register: 2 } }] }
  - b: { name: e, register: \"1 + 1\" }
  - relu: { name: f }
",
    );
    assert_eq!(paths(&checked), ["a", "b", "c", "d", "e.x", "e.y", "f"]);
    assert_eq!(registered(&checked), ["e.y", "c", "a", "f", "b", "d", "e.x"]);
}

const LAYERS: &str = "layers:
  - conv: { name: a, kernel: 1, warehouse: first, register: 1 }
  - conv: { name: b, kernel: 1, warehouse: second }
  - conv: { name: c, kernel: 1, warehouse: first }
  - conv: { name: d, kernel: 1, warehouse: third }
";

#[test]
fn warehouses_are_numbered_by_registration() {
    let checked = network(LAYERS);
    assert_eq!(warehouses(&checked), ["second", "first", "third"]);
    let numbers: Vec<u32> = checked.network().dynamic_layers().map(|(_, _, w)| w.0).collect();
    assert_eq!(numbers, [0, 1, 2, 1]);
}

#[test]
fn warehouses_are_numbered_by_order_where_there_is_one() {
    let checked =
        network(&format!("params: {{ n: third }}\nwarehouses: {{ order: [\"$n\", first, second] }}\n{LAYERS}"));
    assert_eq!(warehouses(&checked), ["third", "first", "second"]);
    let numbers: Vec<u32> = checked.network().dynamic_layers().map(|(_, _, w)| w.0).collect();
    assert_eq!(numbers, [2, 1, 0, 1]);
    // Cells are given away in the order of registration: `c` is registered before `a`.
    let start = |path: &str| {
        let (id, ..) = checked.network().dynamic_layers().find(|(_, l, _)| l.path == path).unwrap();
        checked.mixtures(id).start_cell
    };
    assert_eq!((start("c"), start("a")), (0, 1));
}

#[test]
fn settings_of_one_warehouse_stand_before_those_of_all() {
    let checked = network(&format!(
        "warehouses:
  budget: 2
  reduction: 1/8
  basis_ratio: 1/4
  attention_norm: layer
  each:
    first: {{ budget: 1, basis_ratio: 1, partition: whole }}
    third: {{ cell_out_ratio: 1/2, attention_norm: batch }}
{LAYERS}"
    ));
    let settings: Vec<String> = checked.network().warehouses.iter().map(|w| format!("{:?}", w.settings)).collect();
    let expected = [
        "Settings { budget: 2.0, cell_out_ratio: 1.0, cell_in_ratio: 1.0, reduction: 0.125, basis_ratio: Some(0.25), partition: Spatial, attention_norm: Layer }",
        "Settings { budget: 1.0, cell_out_ratio: 1.0, cell_in_ratio: 1.0, reduction: 0.125, basis_ratio: None, partition: Whole, attention_norm: Layer }",
        "Settings { budget: 2.0, cell_out_ratio: 0.5, cell_in_ratio: 1.0, reduction: 0.125, basis_ratio: Some(0.25), partition: Spatial, attention_norm: Batch }",
    ];
    assert_eq!(settings, expected);
}

#[test]
fn a_warehouse_without_a_name_is_none() {
    let checked = network("params: { w: '' }\nlayers: [{ conv: { name: c, kernel: 1, warehouse: $w } }]\n");
    assert!(checked.network().warehouses.is_empty());
    assert_eq!(layer(&checked, "c").op.warehouse(), None);
}

#[test]
fn a_budget_is_taken_if_its_cells_are_started_one_by_one() {
    // One layer with `m` mixtures, and the definition of the starts, mixture by mixture.
    for m in 1..40usize {
        for period in 1..12usize {
            let started = (0..m).filter(|i| i % period == (i / period) % period).count();
            let text = format!(
                "kwc: 1\nname: a\ninput: {{ channels: 2, length: 40 }}\nwarehouses: {{ budget: 1/{period} }}\nlayers:\n  - conv: {{ name: c, kernel: {m}, warehouse: w }}\n"
            );
            // The product in floating point may fall short of a whole number; then there is a cell less.
            let product = (m as f64 * (1.0 / period as f64)) as usize;
            let is_taken = pipeline::front("a", &Memory::default().with("a", text), &[]).is_ok();
            assert_eq!(is_taken, started == product.max(1), "{m} mixtures, budget 1/{period}");
        }
    }
}
