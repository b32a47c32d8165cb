//! Property tests: no input, however broken, makes the front end panic.

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use kwc_compiler::ir::Op;
use kwc_compiler::pipeline::{self, Setting};
use kwc_compiler::source::Memory;
use kwc_compiler::spec::Ratio;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Far more than any text of a few kilobytes needs, even on a busy machine.
const LONGEST: Duration = Duration::from_secs(20);

/// Every valid spec of the repository, as one set of files.
static SPECS: LazyLock<(Memory, Vec<(String, String)>)> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut texts = Vec::new();
    for folder in ["specs", "tests/cases"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "yaml") {
                let name = format!("{folder}/{}", path.file_name().unwrap().to_str().unwrap());
                texts.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    texts.sort();
    let files = texts.iter().fold(Memory::default(), |files, (name, text)| files.with(name.as_str(), text.as_str()));
    (files, texts)
});

/// Runs the front end and everything that shows its errors; fails if that takes too long.
fn survive(files: &Memory, path: &str, settings: &[Setting]) -> bool {
    let start = Instant::now();
    let result = pipeline::front(path, files, settings);
    let is_valid = result.is_ok();
    if let Err(failure) = result {
        assert!(!failure.diagnostics.is_empty(), "a failure without an error");
        let printed = failure.diagnostics.render(&failure.sources, false);
        assert!(printed.contains("error"), "{printed}");
        assert!(failure.diagnostics.to_json(&failure.sources).is_array());
        for diagnostic in failure.diagnostics.iter() {
            assert_ne!(diagnostic.code.id(), "K0099", "{printed}");
        }
    }
    assert!(start.elapsed() < LONGEST, "{:?}", start.elapsed());
    is_valid
}

fn survive_text(text: &str) -> bool {
    survive(&Memory::default().with("a.yaml", text), "a.yaml", &[])
}

/// A change to a text.
#[derive(Debug, Clone)]
enum Mutation {
    DeleteLine(Index),
    DuplicateLine(Index),
    SwapLines(Index, Index),
    Indent(Index),
    DeleteCharacter(Index),
    Insert(Index, String),
    SwapWords(Index, Index),
    ReplaceWord(Index, String),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let place = any::<Index>;
    let piece = || {
        let pieces = [
            "$",
            "{",
            "}",
            "[",
            "]",
            "\"",
            "'",
            ": ",
            "- ",
            "~",
            "0",
            "-1",
            "1/0",
            "99999999999",
            "1e18",
            "true",
            "\n",
            "\t",
            "é",
            "&a",
            "*a",
            "!t",
            "<<",
            "relu",
            "conv",
            "name",
            "when",
            "from",
            "as",
            "repeat",
            "block",
            "required",
            "extends",
            "as: x, ",
            "#",
            ",",
        ];
        select(pieces.map(str::to_owned).to_vec())
    };
    prop_oneof![
        place().prop_map(Mutation::DeleteLine),
        place().prop_map(Mutation::DuplicateLine),
        (place(), place()).prop_map(|(a, b)| Mutation::SwapLines(a, b)),
        place().prop_map(Mutation::Indent),
        place().prop_map(Mutation::DeleteCharacter),
        (place(), piece()).prop_map(|(at, text)| Mutation::Insert(at, text)),
        (place(), place()).prop_map(|(a, b)| Mutation::SwapWords(a, b)),
        (place(), piece()).prop_map(|(at, text)| Mutation::ReplaceWord(at, text)),
    ]
}

/// Places of the words of a text: runs of letters, digits and the like.
fn words(text: &str) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut start = None;
    for (i, c) in text.char_indices().chain([(text.len(), ' ')]) {
        let inside = c.is_alphanumeric() || "_$./".contains(c);
        match (start, inside) {
            (None, true) => start = Some(i),
            (Some(from), false) => {
                words.push(from..i);
                start = None;
            }
            (None, false) | (Some(_), true) => {}
        }
    }
    words
}

fn mutate(text: &str, mutation: &Mutation) -> String {
    if text.is_empty() {
        return String::new();
    }
    let mut lines: Vec<&str> = text.split('\n').collect();
    let mut characters: Vec<char> = text.chars().collect();
    match mutation {
        Mutation::DeleteLine(at) => {
            lines.remove(at.index(lines.len()));
        }
        Mutation::DuplicateLine(at) => {
            let at = at.index(lines.len());
            lines.insert(at, lines[at]);
        }
        Mutation::SwapLines(a, b) => {
            let (a, b) = (a.index(lines.len()), b.index(lines.len()));
            lines.swap(a, b);
        }
        Mutation::Indent(at) => {
            let at = at.index(lines.len());
            let line = format!("  {}", lines[at]);
            lines[at] = &line;
            return lines.join("\n");
        }
        Mutation::DeleteCharacter(at) => {
            characters.remove(at.index(characters.len()));
            return characters.into_iter().collect();
        }
        Mutation::Insert(at, piece) => {
            let at = at.index(characters.len() + 1);
            characters.splice(at..at, piece.chars());
            return characters.into_iter().collect();
        }
        Mutation::SwapWords(a, b) => {
            let words = words(text);
            if words.is_empty() {
                return text.to_owned();
            }
            let (a, b) = (a.index(words.len()), b.index(words.len()));
            let (first, second) = (words[a.min(b)].clone(), words[a.max(b)].clone());
            if first == second {
                return text.to_owned();
            }
            let parts = [
                &text[..first.start],
                &text[second.clone()],
                &text[first.end..second.start],
                &text[first],
                &text[second.end..],
            ];
            return parts.concat();
        }
        Mutation::ReplaceWord(at, piece) => {
            let words = words(text);
            if words.is_empty() {
                return text.to_owned();
            }
            let word = words[at.index(words.len())].clone();
            return [&text[..word.start], piece, &text[word.end..]].concat();
        }
    }
    lines.join("\n")
}

/// Arithmetic, as a tree.
#[derive(Debug, Clone)]
enum Tree {
    Number(i64),
    Negate(Box<Tree>),
    Binary(&'static str, Box<Tree>, Box<Tree>),
    Choose(Box<Tree>, Box<Tree>, Box<Tree>),
}

fn tree() -> impl Strategy<Value = Tree> {
    (0i64..20).prop_map(Tree::Number).prop_recursive(5, 40, 3, |inner| {
        let operator = select(vec!["+", "-", "*", "//", "%", "+", "-", "*"]);
        prop_oneof![
            inner.clone().prop_map(|a| Tree::Negate(Box::new(a))),
            (operator, inner.clone(), inner.clone()).prop_map(|(operator, a, b)| Tree::Binary(
                operator,
                Box::new(a),
                Box::new(b)
            )),
            (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| Tree::Choose(
                Box::new(a),
                Box::new(b),
                Box::new(c)
            )),
        ]
    })
}

impl Tree {
    /// The value, if every step of it exists: floored division, as the reference says.
    fn value(&self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Negate(a) => a.value()?.checked_neg(),
            Self::Binary(operator, a, b) => {
                let (a, b) = (a.value()?, b.value()?);
                let floor = |a: i64, b: i64| if b == 0 { None } else { Some((a as f64 / b as f64).floor() as i64) };
                match *operator {
                    "+" => a.checked_add(b),
                    "-" => a.checked_sub(b),
                    "*" => a.checked_mul(b),
                    "//" => floor(a, b),
                    _ => Some(a - b * floor(a, b)?),
                }
                // Small enough for the quotient in floating point to be exact where it matters.
                .filter(|value| value.abs() < 1 << 24)
            }
            Self::Choose(a, b, c) => {
                if a.value()? > 5 {
                    b.value()
                } else {
                    c.value()
                }
            }
        }
    }

    /// As text, with parentheses only where the reference's order of operators wants them.
    fn print(&self, level: u8) -> String {
        let (own, text) = match self {
            Self::Number(number) => (4, number.to_string()),
            Self::Negate(a) => (3, format!("-{}", a.print(3))),
            Self::Binary(operator, a, b) => {
                let own = if matches!(*operator, "+" | "-") { 1 } else { 2 };
                (own, format!("{} {operator} {}", a.print(own), b.print(own + 1)))
            }
            Self::Choose(a, b, c) => (0, format!("{} > 5 ? {} : {}", a.print(1), b.print(0), c.print(0))),
        };
        if own < level { format!("({text})") } else { text }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_survived(text in any::<String>()) {
        survive_text(&text);
    }

    #[test]
    fn any_yaml_like_text_is_survived(text in "([ \\-\\[\\]{}:,#&*!|>'\"%@`~?\\n\\t$a-c0-3]|kwc: 1\\n|layers:\\n|  - |relu){0,60}") {
        survive_text(&text);
        survive_text(&format!("kwc: 1\nname: a\ninput: {{ channels: 3 }}\nlayers:\n{text}"));
    }

    #[test]
    fn any_change_of_a_spec_is_survived(which in any::<Index>(), mutations in prop::collection::vec(mutation(), 1..6)) {
        let (files, texts) = &*SPECS;
        let (name, text) = &texts[which.index(texts.len())];
        let text = mutations.iter().fold(text.clone(), |text, mutation| mutate(&text, mutation));
        survive(&files.clone().with(name.as_str(), text), name, &[]);
    }

    #[test]
    fn any_setting_is_survived(value in ".{0,40}", name in "classes|width|.{0,5}") {
        let settings = [Setting { name, value }];
        survive(&SPECS.0, "specs/resnet18.yaml", &settings);
    }

    #[test]
    fn any_expression_is_survived(text in "([0-9a-z$(){}\\[\\]+*/%<>=!&|?:,.' -]|len|min|list|wide){0,40}") {
        let quoted = text.replace('\'', "''");
        survive_text(&format!(
            "kwc: 1\nname: a\ninput: {{ channels: 3, height: 8, width: 8 }}\nparams: {{ wide: 4, list: [1, 2], text: '{quoted}' }}\nlayers:\n  - conv: {{ name: '{quoted}', out: '{quoted}', kernel: $text }}\n"
        ));
    }

    #[test]
    fn arithmetic_follows_the_order_of_operators(tree in tree()) {
        let Some(value) = tree.value() else { return Ok(()) };
        let text = format!(
            "kwc: 1\nname: a\ninput: {{ channels: 1 }}\nlayers:\n  - linear: {{ name: l, out: \"({}) % 1000 + 1\" }}\n",
            tree.print(0)
        );
        let checked = pipeline::front("a", &Memory::default().with("a", text), &[])
            .map_err(|f| TestCaseError::fail(f.diagnostics.render(&f.sources, false)))?;
        let Op::Linear(linear) = &checked.network().layers[0].op else { panic!("no linear layer") };
        prop_assert_eq!(linear.out_channels as i64, value.rem_euclid(1000) + 1);
    }

    #[test]
    fn decimals_round_as_the_standard_library_rounds_them(whole in 0u32..100_000, digits in "[0-9]{1,9}", exponent in -6i32..6) {
        let text = format!("{whole}.{digits}e{exponent}");
        let expected: f64 = text.parse().unwrap();
        if let Some(ratio) = Ratio::parse(&text) {
            prop_assert_eq!(ratio.to_f64().to_bits(), expected.to_bits(), "{}", text);
        }
    }

    #[test]
    fn quotients_round_as_division_does(a in -(1i64 << 53)..(1 << 53), b in 1i64..(1 << 53)) {
        // Both are exact as f64, so one division rounds once.
        let expected = a as f64 / b as f64;
        prop_assert_eq!(Ratio::new(a.into(), b.into()).unwrap().to_f64().to_bits(), expected.to_bits());
    }
}

#[test]
fn the_specs_themselves_are_valid() {
    let (files, texts) = &*SPECS;
    assert!(texts.len() > 20);
    for (name, _) in texts {
        assert!(survive(files, name, &[]), "{name}");
    }
}

#[test]
fn large_quotients_keep_their_last_bit() {
    // 2^62 + 1 over 3 lies between two neighbours 128 apart; the exact value is computed with more bits here.
    let (a, b) = ((1i128 << 62) + 1, 3);
    let expected = (a / b) as f64;
    assert_eq!(Ratio::new(a, b).unwrap().to_f64(), expected);
    // Just above the middle between 1 and its neighbour: only the cut-off part of the quotient tells.
    let (a, b) = ((1i128 << 60) + (1 << 7) + 1, 1i128 << 60);
    assert_eq!(Ratio::new(a, b).unwrap().to_f64(), 1.0 + f64::EPSILON);
    let (a, b) = ((1i128 << 60) + (1 << 7), 1i128 << 60);
    assert_eq!(Ratio::new(a, b).unwrap().to_f64(), 1.0);
}

#[test]
fn texts_of_great_depth_or_length_end_quickly() {
    let head = "kwc: 1\nname: a\ninput: { channels: 3 }\nlayers: ";
    for text in [
        "[".repeat(200_000),
        "{a: ".repeat(100_000),
        "- ".repeat(300_000),
        format!("{head}{}", "[".repeat(100_000)),
        format!("{head}[{}]", "relu, ".repeat(60_000)),
        format!("{head}[{}relu]", "relu, ".repeat(19_000)),
        format!("{head}[{{ relu: {{ when: \"{}1\" }} }}]", "1+".repeat(400_000)),
        format!("{head}[{{ relu: {{ name: \"{}\" }} }}]", "$a".repeat(400_000)),
        "a: &a [x]\n".to_owned() + &"b: *a\n".repeat(50_000),
        "x".repeat(3_000_000),
        "\n".repeat(1_000_000),
        "a:\n".repeat(60_000),
        format!("{}1", "? ".repeat(300_000)),
        format!("\"{}\"", "\\u0041".repeat(150_000)),
    ] {
        let start = Instant::now();
        survive_text(&text);
        let beginning: String = text.chars().take(60).collect();
        assert!(start.elapsed() < LONGEST, "{beginning}: {:?}", start.elapsed());
    }
}

/// `count` pieces with a comma between them.
fn list(count: usize, piece: impl Fn(usize) -> String) -> String {
    (0..count).map(piece).collect::<Vec<_>>().join(", ")
}

#[test]
fn many_of_anything_end_quickly() {
    let head = "kwc: 1\nname: a\ninput: { channels: 3 }\n";
    let block = "blocks:\n  b: { params: { x: required }, layers: [] }\nlayers:\n  - repeat: { count: 20000, layers: [{ b: { x: ";
    let numbered = |count, before: &'static str, after: &'static str| list(count, |i| format!("{before}{i}{after}"));
    for rest in [
        format!("layers: [{}]", list(10_000, |_| "relux".to_owned())),
        format!("warehouses: {{ order: [{}] }}\nlayers: [relu]", numbered(10_000, "w", "")),
        format!("warehouses: {{ each: {{ {} }} }}\nlayers: [relu]", numbered(10_000, "w", ": { budget: 1 }")),
        format!("blocks: {{ {} }}\nlayers: [{}]", numbered(8_000, "b", ": { layers: [] }"), list(20_000, |_| "b7999".to_owned())),
        format!("blocks:\n  b: {{ params: {{ {} }}, layers: [] }}\nlayers: [b]", numbered(8_000, "p", ": 1")),
        format!(
            "blocks:\n  b: {{ params: {{ {} }}, layers: [] }}\nlayers: [{}]",
            numbered(250, "p", ": required"),
            list(10_000, |_| "b".to_owned())
        ),
        format!("params: {{ {} }}\n{block}qq - 1 }} }}] }}", numbered(10_000, "p", ": 1")),
        format!("{block}[{}] }} }}] }}", list(10_000, |_| "[]".to_owned())),
        format!("layers: [{{ conv: {{ {} }} }}]", numbered(8_000, "k", ": 1")),
        format!("layers: [{{ conv: {{ {}: 1, {}: 2 }} }}]", "k".repeat(100_000), "o".repeat(100_000)),
        format!("params: {{ a: [{}] }}\nlayers:\n  - repeat: {{ count: 20000, layers: [{{ scale: {{ shape: $a }} }}] }}", list(10_000, |_| "1".to_owned())),
        format!("outputs: [{}]\nlayers: [{{ relu: {{ as: x }} }}]", list(10_000, |_| "x".to_owned())),
        "layers:\n  - repeat: { count: 9000, index: i, layers: [{ relu: { as: \"a$i\" } }, { relu: { from: zzz } }] }".to_owned(),
        "layers:\n  - repeat: { count: 20000, layers: [{ repeat: { count: 20000, layers: [{ relu: { when: 1 > 2 } }] } }] }".to_owned(),
        "layers:\n  - repeat: { count: 1000000000000, layers: [relu] }".to_owned(),
    ] {
        let beginning: String = rest.chars().take(60).collect();
        assert!(!survive_text(&format!("{head}{rest}\n")), "{beginning} is not right");
    }
}

#[test]
fn expansion_that_doubles_ends_quickly() {
    // Each block uses the next twice, and hands a text on twice.
    let mut text = String::from("kwc: 1\nname: a\ninput: { channels: 3 }\nblocks:\n");
    for i in 0..60 {
        let next = i + 1;
        text.push_str(&format!(
            "  b{i}: {{ params: {{ t: required }}, layers: [{{ b{next}: {{ t: \"$t$t\" }} }}, {{ b{next}: {{ t: \"[$t]\" }} }}] }}\n"
        ));
    }
    text.push_str("  b60: { params: { t: required }, layers: [relu] }\nlayers: [{ b0: { t: x } }]\n");
    assert!(!survive_text(&text));
}

/// A list in a list in a list, each parameter one level deeper: the values must not be dropped by deep recursion.
#[test]
fn lists_that_parameters_nest_have_a_limit() {
    let mut text = String::from("kwc: 1\nname: a\ninput: { channels: 3 }\nlayers: [relu]\nparams: {a0: 1");
    for i in 1..60_000 {
        text.push_str(&format!(",a{i:x}: [$a{:x}]", i - 1));
    }
    text.push_str("}\n");
    assert!(text.len() < 1 << 20);
    assert!(!survive_text(&text));
}

/// Many names, and many mistakes or uses that each go through all of them.
#[test]
fn many_names_end_quickly() {
    let each = |count: usize, item: &dyn Fn(usize) -> String| (0..count).map(item).collect::<String>();
    let head = "kwc: 1\nname: a\ninput: { channels: 3 }\n";
    let params = each(6_000, &|i| format!("  abcdefgh{i:05}: 1\n"));
    let repeat = |item: &str| format!("layers:\n  - repeat: {{ count: 9000, layers: [{item}] }}\n");
    let block_params = each(3_000, &|i| format!("      p{i:05}: 1\n"));
    let arguments = each(3_000, &|i| format!("            p{i:05}: 1\n"));
    let block = format!("blocks:\n  b:\n    params:\n{block_params}    layers: [relu]\n");
    for text in [
        format!("{head}params:\n{params}{}", repeat("relu: { when: zzzzzzzzzzzzz }")),
        format!("{head}layers:\n{}", each(6_000, &|i| format!("  - relu: {{ as: abcdefgh{i:05} }}\n")))
            + &repeat("relu: { from: zzzzzzzzzzzzz }")["layers:\n".len()..],
        format!("{head}blocks:\n{}", each(6_000, &|i| format!("  abcdefgh{i:05}: {{ layers: [] }}\n")))
            + &format!("layers:\n{}", each(10_000, &|i| format!("  - zzzzzzzz{i:05}\n"))),
        format!("{head}{block}layers:\n  - repeat:\n      count: 300\n      layers:\n        - b:\n{arguments}"),
    ] {
        assert!(text.len() < 1 << 20);
        survive_text(&text);
    }
    let base = format!("{head}layers: [relu]\nparams:\n{}", each(20_000, &|i| format!("  a{i:05}: 1\n")));
    let variant = format!("kwc: 1\nextends: a.yaml\nparams:\n{}", each(20_000, &|i| format!("  b{i:05}: 1\n")));
    let files = Memory::default().with("a.yaml", base).with("b.yaml", variant);
    // None of the variant's parameters is used, and each is an error.
    assert!(!survive(&files, "b.yaml", &[]));
}
