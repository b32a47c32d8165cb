//! Errors for people: every kind, as it is printed.
//!
//! Every file in `cases/errors` is a spec with something wrong. To add a case, drop a file and accept its snapshot, which
//! shows the spec and what is said about it. Lines `# --set name=value` at the top are settings.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use kwc_compiler::check;
use kwc_compiler::diagnostic::{Code, Diagnostic, Diagnostics};
use kwc_compiler::ir::{LayerId, Network, Op, Shape, ValueId};
use kwc_compiler::pipeline::{self, Failure, Setting};
use kwc_compiler::source::{Files, Memory, Sources, Span, relative_to};

/// The folder of the cases; paths are relative to it.
struct Cases(PathBuf);

impl Files for Cases {
    fn read(&self, path: &str) -> Result<String, String> {
        fs::read_to_string(self.0.join(path)).map_err(|_| "no such file".to_owned())
    }

    fn resolve(&self, from: &str, relative: &str) -> String {
        relative_to(from, relative)
    }
}

fn cases() -> (Cases, Vec<String>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/errors");
    let entries = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.filter(|name| name.ends_with(".yaml")).collect();
    names.sort();
    (Cases(folder), names)
}

fn settings(text: &str) -> Vec<Setting> {
    let lines = text.lines().map_while(|line| line.strip_prefix("# --set "));
    let pairs = lines.map(|line| line.split_once('=').unwrap());
    pairs.map(|(name, value)| Setting { name: name.to_owned(), value: value.to_owned() }).collect()
}

fn failure(files: &Cases, name: &str) -> Failure {
    let settings = settings(&files.read(name).unwrap());
    match pipeline::front(name, files, &settings) {
        Ok(_) => panic!("{name} should not be right"),
        Err(failure) => failure,
    }
}

/// The spec as the snapshots show it: its beginning, if it is long.
fn shown(text: &str) -> String {
    let lines = text.lines().map(|line| {
        if line.chars().count() <= 160 {
            line.to_owned()
        } else {
            line.chars().take(160).chain("...".chars()).collect()
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn errors_are_printed_as_the_snapshots_show() {
    let (files, names) = cases();
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("snapshots/errors");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        for name in names {
            let failure = failure(&files, &name);
            let spec = shown(&files.read(&name).unwrap());
            let printed = failure.diagnostics.render(&failure.sources, false);
            insta::assert_snapshot!(
                name.trim_end_matches(".yaml"),
                format!("{spec}\n\n{}\n\n{printed}", "-".repeat(80))
            );
        }
    });
}

#[test]
fn every_code_has_a_case() {
    let (files, names) = cases();
    let found: BTreeSet<&str> =
        names.iter().flat_map(|name| failure(&files, name).diagnostics).map(|d| d.code.id()).collect();
    // All but K0099, which no spec should be able to cause.
    let all = "K0001 K0002 K0010 K0011 K0012 K0013 K0020 K0021 K0022 K0023 K0030 K0031 K0040 K0041 K0042 K0043 K0044";
    assert_eq!(found, all.split(' ').collect());
}

#[test]
fn every_error_has_a_place_and_a_way_out() {
    let (files, names) = cases();
    for name in names {
        let failure = failure(&files, &name);
        for diagnostic in failure.diagnostics.iter() {
            let message = &diagnostic.message;
            assert!(diagnostic.span.is_some() || diagnostic.code == Code::File, "{name}: `{message}` has no place");
            // What the readers of YAML say has no way out but to write YAML.
            assert!(diagnostic.hint.is_some() || diagnostic.code == Code::Syntax, "{name}: `{message}` has no hint");
            let text = diagnostic.span.map(|span| {
                let file = failure.sources.file(span.file).expect("a file");
                file.text.get(span.start as usize..span.end as usize)
            });
            assert!(text.is_none_or(|text| text.is_some()), "{name}: `{message}` points beside its file");
        }
    }
}

#[test]
fn a_mistake_in_one_item_does_not_hide_the_next() {
    let (files, _) = cases();
    let failure = failure(&files, "shape_conv.yaml");
    let lines: Vec<usize> =
        failure.diagnostics.iter().map(|d| failure.sources.position(d.span.unwrap()).line).collect();
    assert_eq!(lines, [5, 6, 7, 8, 9, 10, 13]);
}

#[test]
fn a_missing_spec_is_an_error() {
    let failure = pipeline::front("nowhere.yaml", &Memory::default(), &[]).unwrap_err();
    insta::assert_snapshot!(failure.diagnostics.render(&failure.sources, false), @r"
    error[K0002]: can't read `nowhere.yaml`: no such file
     |
     = help: give the path of a spec

    1 error
    ");
}

#[test]
fn editors_get_places_as_numbers() {
    let text = "kwc: 1\nname: é\nlayers: []\n";
    let mut sources = Sources::default();
    let file = sources.add("a.yaml", text);
    let start = u32::try_from(text.find('é').unwrap()).unwrap();
    let mut diagnostics = Diagnostics::default();
    let span = Span { file, start, end: start + 2 };
    diagnostics.push(Diagnostic::new(Code::WrongType, span, "no name").hint("another"));
    diagnostics.push(Diagnostic::global(Code::File, "gone"));
    let expected = serde_json::json!([
        {
            "code": "K0012", "message": "no name", "file": "a.yaml", "line": 2, "column": 7, "text": "é", "label": "",
            "hint": "another"
        },
        {
            "code": "K0002", "message": "gone", "file": null, "line": null, "column": null, "text": null, "label": "",
            "hint": null
        },
    ]);
    assert_eq!(diagnostics.to_json(&sources), expected);
}

#[test]
fn only_the_first_hundred_errors_are_printed() {
    let mut text = String::from("kwc: 1\nname: many\ninput: { channels: 3 }\nlayers:\n");
    for _ in 0..150 {
        text.push_str("  - bogus\n");
    }
    let failure = pipeline::front("many.yaml", &Memory::default().with("many.yaml", text), &[]).unwrap_err();
    assert_eq!(failure.diagnostics.iter().count(), 100);
    let printed = failure.diagnostics.render(&failure.sources, false);
    assert!(printed.ends_with("100 errors, and more that are not shown\n"), "{printed}");
}

/// A network that is right, to be broken by hand: no spec can break these invariants.
fn sound_network() -> Network {
    let text = "kwc: 1
name: sound
input: { channels: 4, length: 8 }
layers:
  - conv: { name: c, out: 6, kernel: 3, warehouse: w }
  - batch_norm: { name: b }
  - global_avg_pool: { keep: true }
  - linear: { name: l, out: 2, warehouse: v }
";
    let checked = pipeline::front("a", &Memory::default().with("a", text), &[]).unwrap();
    checked.network().clone()
}

/// What is said about a breach, and the breach.
type Breach = (&'static str, fn(&mut Network));

#[test]
fn broken_invariants_are_found() {
    let breaches: [Breach; 15] = [
        ("layer l0 (`c`) reads what is not there yet", |n| n.layers[0].inputs = vec![ValueId(2)]),
        ("layer l1 (`b`) reads what is not there yet", |n| n.layers[1].inputs = vec![ValueId(99)]),
        ("layer l1 (`b`) doesn't make its own result", |n| n.layers[1].output = ValueId(1)),
        ("layer l0 (`c`) has a warehouse that isn't there", |n| n.warehouses.clear()),
        ("layer l1 has parameters and no path", |n| n.layers[1].path.clear()),
        ("the order of registration doesn't hold every layer once", |n| n.registration[0] = LayerId(1)),
        ("the order of registration doesn't hold every layer once", |n| n.registration.push(LayerId(77))),
        ("the network has no output", |n| n.outputs.clear()),
        ("the output `output` is there twice", |n| n.outputs.push(n.outputs[0].clone())),
        ("the input `input` is no value of the network", |n| n.inputs[0].value = ValueId(50)),
        ("a module's result is no value of the network", |n| n.paths.extend([("x".to_owned(), ValueId(50))])),
        ("the settings of warehouse `w` are out of range", |n| n.warehouses[0].settings.budget = f64::NAN),
        ("layer l1 (`b`) makes [6, 6], not [6, 5]", |n| n.values[2].shape = Shape::map(6, vec![5])),
        ("the input `input` has the shape [0, 8]", |n| n.values[0].shape = Shape::map(0, vec![8])),
        ("layer l2 (`c`) makes [6], not [6, 2]", |n| {
            n.layers[2].path = "c".to_owned();
            n.values[3].shape = Shape::map(6, vec![2]);
        }),
    ];
    assert!(check::check(sound_network(), &mut Diagnostics::default()).is_some());
    for (message, break_it) in breaches {
        let mut network = sound_network();
        break_it(&mut network);
        let mut diagnostics = Diagnostics::default();
        assert!(check::check(network, &mut diagnostics).is_none(), "{message}");
        let found: Vec<&str> = diagnostics.iter().filter(|d| d.code == Code::Bug).map(|d| d.message.as_str()).collect();
        assert!(found.contains(&message), "{message}: {found:?}");
    }
}

#[test]
fn a_layer_that_cannot_take_its_input_is_found_again() {
    let mut network = sound_network();
    let Op::Conv(conv) = &mut network.layers[0].op else { panic!("no convolution") };
    conv.groups = 3;
    let mut diagnostics = Diagnostics::default();
    assert!(check::check(network, &mut diagnostics).is_none());
    let found: Vec<(Code, &str)> = diagnostics.iter().map(|d| (d.code, d.message.as_str())).collect();
    assert_eq!(found, [(Code::Shape, "4 input channels can't be divided into 3 groups")]);
}

#[test]
fn a_line_too_long_to_show_is_named() {
    let filler = "relu, ".repeat(5_000);
    let text = format!("kwc: 1\nname: long\ninput: {{ channels: 3 }}\nlayers: [{filler}bogus]\n");
    let failure = pipeline::front("long.yaml", &Memory::default().with("long.yaml", text), &[]).unwrap_err();
    let printed = failure.diagnostics.render(&failure.sources, false);
    let lines: Vec<&str> = printed.lines().take(2).collect();
    assert_eq!(lines, ["error[K0020]: there is no operation or block `bogus`", "--> long.yaml:4:30010"]);
}

#[test]
fn a_related_place_too_far_away_is_left_out() {
    let filler = "  - relu\n".repeat(5_000);
    let text = format!("kwc: 1\nname: long\ninput: {{ channels: 3 }}\nlayers:\n{filler}name: again\n");
    let failure = pipeline::front("long.yaml", &Memory::default().with("long.yaml", text), &[]).unwrap_err();
    insta::assert_snapshot!(failure.diagnostics.render(&failure.sources, false), @r"
    error[K0013]: the key `name` occurs twice
        --> long.yaml:5005:1
         |
    5005 | name: again
         | ^^^^
         |
         = help: remove one of them

    1 error
    ");
}
