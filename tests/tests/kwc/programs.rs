//! Programs: what planning promises of buffers, steps and weights.

use kwc_compiler::check::Checked;
use kwc_compiler::plan::{self, Options, Planned};
use kwc_program::{ALIGNMENT, BufferId, Op, Program, Source};
use kwc_runtime::Weights;
use kwc_runtime::cpu::{self, Model};

use crate::golden::{checked, checked_text, package};

fn specs() -> Vec<(String, Checked)> {
    let folder = package().join("../specs");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|p| p.extension().is_some_and(|e| e == "yaml"));
    files.sort();
    assert!(files.len() >= 20);
    files.iter().map(|p| (p.file_stem().unwrap().to_string_lossy().into_owned(), checked(p))).collect()
}

fn planned(checked: &Checked, fuse: bool) -> Planned {
    plan::plan(checked, &Options { fuse, ..Options::default() }).unwrap()
}

/// Buffers that a step reads or writes.
fn buffers(op: &Op) -> Vec<BufferId> {
    let mixed = |source: Source| match source {
        Source::Mixed(mixing) => Some(mixing.attention),
        Source::Weight(_) => None,
    };
    match op {
        Op::Import(o) => vec![o.input, o.output],
        Op::Export(o) => vec![o.input, o.output],
        Op::Conv(o) => {
            let edges = [o.input, o.output].into_iter().chain(mixed(o.kernel.source));
            edges.chain(o.epilogue.add).chain(o.average).collect()
        }
        Op::GlobalAverage(o) => vec![o.input, o.output],
        Op::Attention(o) => vec![o.average, o.output],
        Op::Pool(o) => vec![o.input, o.output],
        Op::LayerNorm(o) => vec![o.input, o.output],
        Op::Map(o) => [o.input, o.output].into_iter().chain(o.epilogue.add).collect(),
        Op::Concat(o) => o.inputs.iter().map(|p| p.buffer).chain([o.output]).collect(),
        Op::Upsample(o) => vec![o.input, o.output],
        Op::GatherRows(o) => vec![o.input, o.output],
    }
}

/// First and last step that touches each buffer; inputs are there before, outputs read after.
fn lifetimes(program: &Program) -> Vec<(usize, usize)> {
    let mut lifetimes = vec![(usize::MAX, 0); program.buffers.len()];
    let mut touch = |id: BufferId, step: usize| {
        let (first, last) = &mut lifetimes[id.0 as usize];
        *first = (*first).min(step);
        *last = (*last).max(step);
    };
    for (index, step) in program.steps.iter().enumerate() {
        for id in buffers(&step.op) {
            touch(id, index);
        }
    }
    for port in program.inputs.iter() {
        touch(port.buffer, 0);
    }
    for port in program.outputs.iter().chain(program.dumps.iter()) {
        touch(port.buffer, program.steps.len());
    }
    lifetimes
}

/// Buffers that live at the same time never overlap; the arena is hardly larger than what lives at once.
#[test]
fn buffers_keep_apart_in_a_tight_arena() {
    for (name, checked) in specs() {
        for fuse in [true, false] {
            let program = planned(&checked, fuse).program;
            let lifetimes = lifetimes(&program);
            for (i, a) in program.buffers.iter().enumerate() {
                assert_eq!(a.offset % ALIGNMENT, 0);
                assert!(a.offset + a.length <= program.arena);
                for (j, b) in program.buffers.iter().enumerate().skip(i + 1) {
                    let together = lifetimes[i].0 <= lifetimes[j].1 && lifetimes[j].0 <= lifetimes[i].1;
                    let apart = a.offset + a.length <= b.offset || b.offset + b.length <= a.offset;
                    assert!(!together || apart, "{name}: buffers {i} and {j} overlap");
                }
            }
            let live = |step: usize| -> usize {
                let alive = lifetimes.iter().zip(program.buffers.iter()).filter(|(l, _)| l.0 <= step && step <= l.1);
                alive.map(|(_, b)| b.length.next_multiple_of(ALIGNMENT)).sum()
            };
            let most = (0..=program.steps.len()).map(live).max().unwrap();
            assert!(program.arena as f64 <= 1.25 * most as f64, "{name}: an arena of {} for {most}", program.arena);
        }
    }
}

/// The runtime takes every Program of the paper's networks.
#[test]
fn runtime_accepts_all_programs() {
    for (name, checked) in specs() {
        let program = planned(&checked, true).program;
        let weights = Weights::zeroed(program.weight_elements).unwrap();
        let model = Model::new(program, weights, &cpu::Options { threads: Some(1), instructions: None });
        assert!(model.is_ok(), "{name}: {}", model.unwrap_err());
    }
}

/// In the paper's networks, fusion leaves no step that only maps: everything element-wise is some kernel's epilogue.
#[test]
fn epilogues_absorb_everything_element_wise() {
    for (name, checked) in specs() {
        let program = planned(&checked, true).program;
        let maps: Vec<_> = program.steps.iter().filter(|s| matches!(s.op, Op::Map(_))).map(|s| &s.layer).collect();
        assert!(maps.is_empty(), "{name}: {maps:?}");
    }
}

/// Averages that several attentions need are computed once: `conv1` and `downsample.0` of a ResNet read the same value.
#[test]
fn averages_are_shared() {
    let checked = checked(&package().join("../specs/resnet18.yaml"));
    let program = planned(&checked, true).program;
    let count = |matches: fn(&Op) -> bool| program.steps.iter().filter(|s| matches(&s.op)).count();
    assert_eq!(count(|op| matches!(op, Op::Attention(_))), 19);
    // 19 dynamic layers, of which three shortcuts share an average, and the classifier's. Convolutions make all but that of
    // the stem's pool.
    assert_eq!(count(|op| matches!(op, Op::Conv(conv) if conv.average.is_some())), 19 - 3 + 1 - 1);
    assert_eq!(count(|op| matches!(op, Op::GlobalAverage(_))), 1);
}

#[test]
fn unknown_dumps_name_the_nearest() {
    let checked = checked(&package().join("../specs/resnet18.yaml"));
    let options = Options { dumps: vec!["layer1.0.conv3".to_owned()], ..Options::default() };
    let error = plan::plan(&checked, &options).unwrap_err().to_string();
    assert_eq!(error, "there is no module `layer1.0.conv3` to dump; did you mean `layer1.0.conv1`?");
}

/// The operations of a network of one input, by name.
fn names(input: &str, layers: &str) -> Vec<&'static str> {
    let spec = format!("kwc: 1\nname: edges\ninput: {input}\nlayers:\n{layers}");
    let program = planned(&checked_text(&spec), true).program;
    program.steps.iter().map(|step| name(&step.op)).collect()
}

fn name(op: &Op) -> &'static str {
    match op {
        Op::Import(import) if import.padding == [0; 3] => "import",
        Op::Import(_) => "pad",
        Op::Export(_) => "export",
        Op::Conv(conv) if conv.padding == [0; 3] => "conv",
        Op::Conv(_) => "padded conv",
        Op::GlobalAverage(_) => "average",
        Op::Attention(_) => "attention",
        Op::Pool(_) => "pool",
        Op::LayerNorm(_) => "layer norm",
        Op::Map(_) => "map",
        Op::Concat(_) => "concat",
        Op::Upsample(_) => "upsample",
        Op::GatherRows(_) => "gather",
    }
}

/// Inputs and outputs are reordered where their order differs from the Program's, and nowhere else.
#[test]
fn maps_are_reordered_at_the_edges_alone() {
    let image = "{ channels: 4, height: 6, width: 6 }";
    assert_eq!(names(image, "  - relu"), ["import", "map", "export"]);
    assert_eq!(names("{ channels: 1, height: 6, width: 6 }", "  - relu"), ["map"]);
    assert_eq!(names("{ channels: 4, height: 1, width: 1 }", "  - relu"), ["map"]);
    assert_eq!(names("{ tokens: 9, channels: 4 }", "  - linear: { name: a, out: 3 }"), ["conv"]);
    assert_eq!(names("{ tokens: 9, channels: 4 }", "  - flatten\n  - linear: { name: a, out: 3 }"), ["conv"]);
    // An image is flattened in the caller's own order.
    assert_eq!(names(image, "  - flatten\n  - linear: { name: a, out: 3 }"), ["conv"]);
    let flattened = "  - avg_pool: { kernel: 2 }\n  - flatten\n  - linear: { name: a, out: 3 }";
    assert_eq!(names(image, flattened), ["import", "pool", "export", "conv"]);
    let averaged = "  - conv: { name: a, out: 8, kernel: 3 }\n  - global_avg_pool\n  - linear: { name: b, out: 3 }";
    assert_eq!(names(image, averaged), ["import", "conv", "conv"]);
}

/// An input of few channels that convolutions with one padding read is padded as it is imported.
#[test]
fn the_input_of_a_stem_is_padded() {
    let stem = "  - conv: { name: a, out: 8, kernel: 3, padding: 1 }";
    assert_eq!(names("{ channels: 3, height: 6, width: 5 }", stem), ["pad", "conv", "export"]);
    assert_eq!(names("{ channels: 1, height: 6, width: 5 }", stem), ["pad", "conv", "export"]);
    assert_eq!(names("{ channels: 16, height: 6, width: 5 }", stem), ["import", "padded conv", "export"]);
    let groups = "  - conv: { name: a, out: 8, kernel: 3, padding: 1, groups: 4 }";
    assert_eq!(names("{ channels: 4, height: 6, width: 5 }", groups), ["import", "padded conv", "export"]);
    let branch = |second: &str| {
        let first = "conv: { name: a, out: 8, kernel: 3, padding: 1 }";
        format!("  - branch: {{ join: concat, paths: [[{first}], [{second}]] }}")
    };
    let image = "{ channels: 3, height: 6, width: 5 }";
    let same = branch("conv: { name: b, out: 8, kernel: 3, padding: 1 }");
    assert_eq!(names(image, &same), ["pad", "conv", "conv", "concat", "export"]);
    let another = branch("conv: { name: b, out: 8, kernel: 5, padding: 2 }");
    assert_eq!(names(image, &another), ["import", "padded conv", "padded conv", "concat", "export"]);
    let pool = branch("max_pool: { kernel: 3, stride: 1, padding: 1 }");
    assert_eq!(names(image, &pool), ["import", "padded conv", "pool", "concat", "export"]);
}
