//! `extends` and settings from outside.

use super::*;

fn files() -> Memory {
    let base = format!(
        "{HEAD}params: {{ width: 8, depth: 2, names: [x, y] }}
warehouses: {{ budget: 2, reduction: 1/8, each: {{ w: {{ budget: 4 }} }} }}
layers:
  - repeat:
      count: $depth
      index: i
      layers: [{{ conv: {{ name: \"$names[$i]\", out: $width, kernel: 1, warehouse: w }} }}]
"
    );
    Memory::default()
            .with("specs/base.yaml", base)
            .with("specs/sub/wide.yaml", "kwc: 1\nname: wide\nextends: ../base.yaml\nparams: { width: 16 }\n")
            .with(
                "specs/sub/deep.yaml",
                "kwc: 1\nname: deep\nextends: ./wide.yaml\nparams: { depth: 3, names: [p, q, r] }\nwarehouses: { each: ~ }\n",
            )
            .with("specs/other.yaml", "kwc: 1\nname: other\nextends: sub/wide.yaml\ninput: ~\ninputs: { a: { channels: 3, length: 5 } }\nwarehouses: ~\n")
}

#[test]
fn change_what_they_say_and_keep_the_rest() {
    let base = read(&files(), "specs/base.yaml", &[]);
    assert_eq!((output(&base).as_str(), paths(&base)), ("[8, 12, 10]", vec!["x", "y"]));
    assert!((base.network().warehouses[0].settings.budget - 4.0).abs() < f64::EPSILON);
    let wide = read(&files(), "specs/sub/wide.yaml", &[]);
    assert_eq!((wide.network().name.as_str(), output(&wide).as_str()), ("wide", "[16, 12, 10]"));
    let deep = read(&files(), "specs/sub/deep.yaml", &[]);
    assert_eq!((output(&deep).as_str(), paths(&deep)), ("[16, 12, 10]", vec!["p", "q", "r"]));
    let settings = deep.network().warehouses[0].settings;
    assert_eq!((settings.budget, settings.reduction), (2.0, 0.125));
}

#[test]
fn take_things_away() {
    let other = read(&files(), "specs/other.yaml", &[]);
    assert_eq!((output(&other).as_str(), other.network().inputs[0].name.as_str()), ("[16, 5]", "a"));
    assert_eq!(other.network().warehouses[0].settings.budget, 1.0);
}

#[test]
fn settings_from_outside_come_last() {
    let checked = read(&files(), "specs/sub/deep.yaml", &[("depth", "1"), ("names", "[only]")]);
    assert_eq!((output(&checked).as_str(), paths(&checked)), ("[16, 12, 10]", vec!["only"]));
    let checked = read(&files(), "specs/base.yaml", &[("width", "3 * 4"), ("width", "2 * 4 + 2")]);
    assert_eq!(output(&checked), "[10, 12, 10]");
}

#[test]
fn a_required_parameter_can_be_set() {
    let text =
        format!("{HEAD}params: {{ width: required }}\nlayers: [{{ conv: {{ name: c, out: $width, kernel: 1 }} }}]\n");
    let files = Memory::default().with("a.yaml", text);
    assert!(pipeline::front("a.yaml", &files, &[]).is_err());
    assert_eq!(output(&read(&files, "a.yaml", &[("width", "5")])), "[5, 12, 10]");
}
