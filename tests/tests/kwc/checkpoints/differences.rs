//! Checkpoints that don't fit a network.

use std::fmt::Write as _;

use kwc_compiler::state::{Kind, Tensor};
use kwc_compiler::weights::{Checkpoint, Error, State, matching};

use super::archive::{Archive, Pickle, View};
use super::open;

/// A list of tensors, one a line: name, sizes. A counter's name ends in `num_batches_tracked`.
type Shapes = Vec<(String, Vec<usize>)>;

fn shapes(text: &str) -> Shapes {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| {
            let mut words = line.split(' ');
            let name = words.next().unwrap().to_owned();
            (name, words.map(|w| w.parse().unwrap()).collect())
        })
        .collect()
}

fn network(list: &[(String, Vec<usize>)]) -> Vec<Tensor> {
    list.iter()
        .map(|(name, shape)| {
            let kind = if name.ends_with("num_batches_tracked") { Kind::Counter } else { Kind::Parameter };
            Tensor { name: name.clone(), shape: shape.clone(), kind, layer: None }
        })
        .collect()
}

fn checkpoint(list: &[(String, Vec<usize>)]) -> Checkpoint {
    let mut state = State::default();
    for (name, shape) in list {
        state.insert(name.clone(), shape.clone(), vec![0.0; shape.iter().product()]).unwrap();
    }
    let mut bytes = Vec::new();
    state.write_safetensors(&mut bytes).unwrap();
    open(bytes).unwrap()
}

fn compare(needed: &str, held: &str) -> Result<(), Error> {
    matching::compare(&network(&shapes(needed)), &checkpoint(&shapes(held)))
}

const STATIC: &str = "
    conv1.weight 8 3 7 7
    bn1.weight 8
    bn1.running_mean 8
    bn1.num_batches_tracked
    layer1.0.conv1.weight 8 8 3 3
    layer1.0.conv2.weight 8 8 3 3
    fc.weight 10 8
    fc.bias 10";

const DYNAMIC: &str = "
    warehouse_manager.weights.0 18 4 4 1 1
    warehouse_manager.weights.1 12 4 8 1 1
    conv1.weight 8 3 7 7
    layer1.0.conv1.attention.fc1.weight 16 8
    layer1.0.conv1.attention.norm1.weight 16
    layer1.0.conv1.attention.norm1.running_mean 16
    layer1.0.conv1.attention.norm1.num_batches_tracked
    layer1.0.conv1.attention.fc2.weight 684 16
    layer1.0.conv1.attention.fc2.bias 684
    fc.weight 10 8
    fc.bias 10";

#[test]
fn equal_states_fit_and_counters_dont_matter() {
    compare(STATIC, STATIC).unwrap();
    compare(DYNAMIC, DYNAMIC).unwrap();
    compare(STATIC, &STATIC.replace("bn1.num_batches_tracked\n", "")).unwrap();
    compare(STATIC, &STATIC.replace("bn1.num_batches_tracked\n", "bn1.num_batches_tracked 1\n")).unwrap();
}

#[test]
fn all_differences_are_in_one_error() {
    let without =
        |text: &str, part: &str| text.lines().filter(|line| !line.contains(part)).collect::<Vec<_>>().join("\n");
    let nested = |text: &str| text.replace("    ", "    backbone.");
    let cases = [
        ("typos, lacks and extras", STATIC.to_owned(), {
            let held = STATIC
                .replace("layer1.0.conv1.weight", "layer1.0.conv1.wieght")
                .replace("bn1.weight 8", "bn1.weight 9");
            format!("{}\nextra.weight 3\nextra2.weight 4", without(&held, "fc.bias"))
        }),
        ("dynamic checkpoint, static network", STATIC.to_owned(), DYNAMIC.to_owned()),
        ("static checkpoint, dynamic network", DYNAMIC.to_owned(), STATIC.to_owned()),
        ("nested checkpoint", STATIC.to_owned(), nested(STATIC)),
        ("nested network", nested(STATIC), STATIC.to_owned()),
        ("another network", STATIC.to_owned(), "features.0.weight 8 3 3 3\nhead.weight 10 8".to_owned()),
        ("budget", DYNAMIC.to_owned(), {
            DYNAMIC.replace(" 18 4 4", " 72 4 4").replace(" 12 4 8", " 48 4 8").replace("684", "2628")
        }),
        ("budgets", DYNAMIC.to_owned(), DYNAMIC.replace(" 18 4 4", " 72 4 4").replace(" 12 4 8", " 13 4 8")),
        ("half the budget", DYNAMIC.to_owned(), DYNAMIC.replace(" 18 4 4", " 9 4 4")),
        ("cells", DYNAMIC.to_owned(), DYNAMIC.replace(" 18 4 4", " 18 2 4")),
        ("order of warehouses", DYNAMIC.to_owned(), {
            DYNAMIC.replace(".0 18 4 4", ".0 12 4 8").replace(".1 12 4 8", ".1 18 4 4")
        }),
        ("norm", DYNAMIC.to_owned(), { DYNAMIC.replace("norm1.running_mean 16", "fc1.bias 16") }),
        ("basis", DYNAMIC.to_owned(), DYNAMIC.replace("fc2.bias 684", "fc3.weight 16 4")),
        ("reduction", DYNAMIC.to_owned(), DYNAMIC.replace("fc1.weight 16 8", "fc1.weight 32 8")),
        (
            "classes",
            STATIC.to_owned(),
            STATIC.replace("fc.weight 10", "fc.weight 1000").replace("fc.bias 10", "fc.bias 1000"),
        ),
    ];
    let mut texts = String::new();
    for (what, needed, held) in cases {
        let error = compare(&needed, &held).unwrap_err();
        let _ = writeln!(texts, "# {what}\n{error}\n");
    }
    insta::assert_snapshot!("differences", texts.trim_end());
}

#[test]
fn long_lists_are_cut_and_counted() {
    let many: String = (0..50).fold(String::new(), |text, i| format!("{text}layers.{i}.weight 2\n"));
    let error = compare(&many, "x 1").unwrap_err();
    let Error::Mismatch(mismatch) = &error else { panic!("{error}") };
    assert_eq!((mismatch.missing.len(), mismatch.unexpected.len()), (50, 1));
    let text = error.to_string();
    assert_eq!(text.matches("layers.").count(), 20);
    assert!(text.contains("missing: 50\n") && text.contains("and 30 more\n"), "{text}");
}

#[test]
fn integers_are_no_weights() {
    let view = View { storage: "CharStorage", key: "0", elements: 8, offset: 0, shape: &[8], strides: &[1] };
    let pickle = Pickle::new().state(&[("fc.weight", view)]).end();
    let checkpoint = open(Archive::torch(&pickle, &[("0", vec![0; 8])]).bytes()).unwrap();
    let error = matching::compare(&network(&shapes("fc.weight 8")), &checkpoint).unwrap_err();
    insta::assert_snapshot!(error, @r"
    `net.pth` doesn't fit the network
      not of floating-point numbers: 1
        fc.weight holds i8
    hint: save the network in floating point: `model.float()`; a quantized one can't be compiled
    ");
}
