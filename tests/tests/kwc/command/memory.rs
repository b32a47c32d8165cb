//! What `kwc run` takes of memory: the packed weights, the largest mixed kernels, a quarter more than the activations, and
//! 64 MiB for everything else. Nothing large may stand in memory twice.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use kwc_compiler::plan::{Options, plan};
use kwc_compiler::state;
use kwc_compiler::weights::State;
use kwc_program::{Op, Source};
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};

use super::{command, folder_with};
use crate::golden::checked_text;

const MIB: usize = 1 << 20;

/// Runs a spec on `batch` samples of zeros with weights of zeros. Returns the most memory that the process had and the
/// most that it may have, in bytes.
fn peak(spec: &str, batch: usize) -> (usize, usize) {
    let folder = folder_with("spec.yaml", spec);
    let checked = checked_text(spec);
    let program = plan(&checked, &Options::default()).unwrap().program;
    let mixed = program.steps.iter().map(|step| match &step.op {
        Op::Conv(conv) => match conv.kernel.source {
            Source::Mixed(_) => conv.depth() * conv.kernel.panels(conv.out_channels) * conv.kernel.width,
            Source::Weight(_) => 0,
        },
        Op::Import(_)
        | Op::Export(_)
        | Op::GlobalAverage(_)
        | Op::Attention(_)
        | Op::Pool(_)
        | Op::LayerNorm(_)
        | Op::Map(_)
        | Op::Concat(_)
        | Op::Upsample(_)
        | Op::GatherRows(_) => 0,
    });
    let mixed = mixed.max().unwrap_or(0);
    let allowed = 4 * (program.weight_elements + batch * (mixed + program.arena * 5 / 4)) + 64 * MIB;

    let mut state = State::default();
    for tensor in state::tensors(&checked).into_iter().filter(|t| t.kind != state::Kind::Counter) {
        let elements = tensor.shape.iter().product();
        state.insert(tensor.name, tensor.shape, vec![0.0; elements]).unwrap();
    }
    let mut file = std::fs::File::create(folder.path().join("w.safetensors")).unwrap();
    state.write_safetensors(&mut file).unwrap();
    drop(state);
    let input = &program.inputs[0];
    let shape: Vec<usize> = std::iter::once(batch).chain(input.shape.iter().copied()).collect();
    let zeros = vec![0; 4 * shape.iter().product::<usize>()];
    let view = TensorView::new(Dtype::F32, shape, &zeros).unwrap();
    serialize_to_file([("input", view)], None, &folder.path().join("x.safetensors")).unwrap();
    (run(folder.path()), allowed)
}

/// The most memory that the process ever had, as Linux counts it, looked at every millisecond.
fn run(folder: &Path) -> usize {
    let mut child = command(folder)
        .args(
            "run spec.yaml --weights w.safetensors --input x.safetensors --output y.safetensors --threads 2".split(' '),
        )
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        if let Ok(text) = std::fs::read_to_string(&status) {
            let line = text.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or_default();
            let kibibytes = line.trim().trim_end_matches(" kB").parse().unwrap_or(0);
            peak = peak.max(kibibytes * 1024);
        }
        if let Some(code) = child.try_wait().unwrap() {
            assert!(code.success());
            return peak;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[track_caller]
fn assert_within((peak, allowed): (usize, usize), at_least: usize) {
    assert!(peak >= at_least, "{} MiB can't be: the weights or activations alone are larger", peak / MIB);
    assert!(peak <= allowed, "{} MiB, and {} MiB are allowed", peak / MIB, allowed / MIB);
}

#[test]
fn weights_stand_in_memory_once() {
    // Two convolutions over cells of 10.6 M elements, and a linear layer of 12.3 M.
    let spec = "\
kwc: 1
name: heavy
input: { channels: 768, height: 4, width: 4 }
layers:
  - conv: { name: a, out: 768, kernel: 3, padding: 1, warehouse: w }
  - conv: { name: b, out: 768, kernel: 3, padding: 1, warehouse: w }
  - global_avg_pool
  - linear: { name: fc, out: 16000 }
";
    assert_within(peak(spec, 1), 4 * (18 * 768 * 768 + 16_000 * 768));
}

#[test]
fn inputs_and_outputs_stand_in_memory_once() {
    let spec = "\
kwc: 1
name: large
input: { channels: 16, height: 512, width: 512 }
layers:
  - conv: { name: a, out: 16, kernel: 1 }
  - relu
";
    assert_within(peak(spec, 4), 2 * 4 * 4 * 16 * 512 * 512);
}
