//! Packed weights for the CPU: `kwc compile` writes, keeps and refuses them, and `run`, `eval` and `bench` take them.

use std::fs;
use std::path::Path;

use kwc_runtime::packed::PackedWeights;
use safetensors::tensor::Dtype;

use super::run::{f32_bytes, read, write};
use super::{TINY, folder_with, kwc};

/// A folder with the spec, a checkpoint, its packed form and an input.
fn compiled() -> tempfile::TempDir {
    let folder = folder_with("tiny.yaml", TINY);
    kwc(folder.path(), "init tiny.yaml -o w.safetensors --seed 1");
    let made = kwc(folder.path(), "compile tiny.yaml -o net --target cpu --weights w.safetensors");
    assert!(made.assert_ok().stdout.contains("  weights.safetensors  "), "{}", made.text());
    let input: Vec<f32> = (0..3 * 8 * 36_u16).map(|i| f32::from(i % 31) / 31.0 - 0.4).collect();
    write(&folder.path().join("x.safetensors"), "input", Dtype::F32, &[3, 8, 6, 6], &f32_bytes(&input));
    folder
}

const PACKED: &str = "net/weights.safetensors";

/// The error of a run with other packed weights.
#[track_caller]
fn refused(folder: &Path, options: &str) -> String {
    let outcome = kwc(folder, &format!("run tiny.yaml --input x.safetensors {options}"));
    outcome.assert_wrong_input().stderr.clone()
}

#[test]
fn packed_weights_give_what_their_checkpoint_gives() {
    let folder = compiled();
    let output = |weights: &str, to: &str| {
        let run = format!("run tiny.yaml --weights {weights} --input x.safetensors --output {to}");
        kwc(folder.path(), &run).assert_ok();
        read(&folder.path().join(to))
    };
    let (packed, checkpoint) = (output(PACKED, "a.safetensors"), output("w.safetensors", "b.safetensors"));
    assert_eq!(packed, checkpoint);
    assert!(packed["output"].1.iter().any(|x| *x != 0.0));
    let bench = format!("bench tiny.yaml --weights {PACKED} --batch 1 --iterations 2 --warm-up 0");
    kwc(folder.path(), &bench).assert_ok();
    // A file is taken for what it holds, not for its name.
    fs::copy(folder.path().join(PACKED), folder.path().join("odd.pth")).unwrap();
    assert_eq!(output("odd.pth", "c.safetensors"), packed);
}

#[test]
fn wrong_packed_weights_are_named() {
    let folder = compiled();
    let path = folder.path();
    let bytes = fs::read(path.join(PACKED)).unwrap();
    fs::write(path.join("cut"), &bytes[..bytes.len() - 7]).unwrap();
    let error = refused(path, "--weights cut");
    assert!(error.contains("packed weights cut: ") && error.contains("cut off"), "{error}");
    let text = String::from_utf8_lossy(&bytes[..500]).into_owned();
    let mut old = bytes.clone();
    old[text.find("\"format\":\"2\"").unwrap() + "\"format\":\"".len()] = b'1';
    fs::write(path.join("old"), old).unwrap();
    let error = refused(path, "--weights old");
    assert!(error.contains("packed weights old: it has format 1"), "{error}");
    let error = refused(path, &format!("--weights {PACKED} --set classes=3"));
    assert!(error.contains("packed for `tiny` with the table ") && error.contains("help: give the "), "{error}");
    let error = refused(path, &format!("--weights {PACKED} --state model"));
    assert!(error.contains("leave `--state` out"), "{error}");
    let error = refused(path, &format!("--weights {PACKED} --device cuda"));
    assert!(error.contains("these are weights of `tiny`, packed by `kwc compile`"), "{error}");
    for verb in ["compile tiny.yaml -o other --target cpu", "compile tiny.yaml -o other", "verify tiny.yaml"] {
        let outcome = kwc(path, &format!("{verb} --weights {PACKED}"));
        assert!(outcome.assert_wrong_input().stderr.contains("give the checkpoint"), "{}", outcome.text());
    }
}

#[test]
fn a_dump_that_is_packed_otherwise_asks_for_the_checkpoint() {
    let spec = TINY.replace("  - relu\n", "  - batch_norm: { name: n }\n  - relu\n");
    let folder = folder_with("tiny.yaml", &spec);
    kwc(folder.path(), "init tiny.yaml -o w.safetensors --seed 1");
    kwc(folder.path(), "compile tiny.yaml -o net --target cpu --weights w.safetensors").assert_ok();
    write(&folder.path().join("x.safetensors"), "input", Dtype::F32, &[1, 8, 6, 6], &f32_bytes(&[0.5; 8 * 36]));
    let run = format!("run tiny.yaml --weights {PACKED} --input x.safetensors");
    kwc(folder.path(), &run).assert_ok();
    // An attention is there anyway.
    kwc(folder.path(), &format!("{run} --output y.safetensors --dump a.attention")).assert_ok();
    let outcome = kwc(folder.path(), &format!("{run} --output y.safetensors --dump a"));
    let error = &outcome.assert_wrong_input().stderr;
    assert!(error.contains("what is dumped may be packed otherwise"), "{}", outcome.text());
}

#[test]
fn packed_weights_for_the_cpu_are_kept_refused_and_dropped() {
    let folder = compiled();
    let path = folder.path();
    let packed = fs::read(path.join(PACKED)).unwrap();
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(path.join("net/manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["target"], "cpu");
    assert_eq!(manifest["files"]["weights.safetensors"], kwc_compiler::hash::of(&packed));
    let code = fs::read_to_string(path.join("net/src/lib.rs")).unwrap();
    assert!(code.contains(PackedWeights::read(&path.join(PACKED)).unwrap().weights_id()));
    assert!(code.contains("pub fn load("), "{code}");

    let again = kwc(path, "compile tiny.yaml -o net --target cpu");
    assert!(
        again.assert_ok().stdout.contains("weights.safetensors  unchanged, packed by an earlier"),
        "{}",
        again.text()
    );
    assert_eq!(kwc(path, "compile tiny.yaml -o net --check").assert_ok().stdout, "net: up to date\n");
    for options in ["--set classes=3", "--target cuda"] {
        let outcome = kwc(path, &format!("compile tiny.yaml -o net {options}"));
        let error = &outcome.assert_wrong_input().stderr;
        assert!(error.contains("net/weights.safetensors: these packed weights would be lost"), "{}", outcome.text());
        let checked = kwc(path, &format!("compile tiny.yaml -o net --check {options}"));
        checked.assert_wrong_input();
        assert!(checked.stdout.contains("net/weights.safetensors: "), "{}", checked.text());
    }
    assert_eq!(fs::read(path.join(PACKED)).unwrap(), packed);

    // Damage that only the hash shows.
    let mut damaged = packed.clone();
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(path.join(PACKED), damaged).unwrap();
    let checked = kwc(path, "compile tiny.yaml -o net --check");
    checked.assert_wrong_input();
    assert!(checked.stdout.contains("it is damaged, copy it again"), "{}", checked.text());
    let outcome = kwc(path, "compile tiny.yaml -o net");
    assert!(outcome.assert_wrong_input().stderr.contains("damaged"), "{}", outcome.text());
    kwc(path, "compile tiny.yaml -o net --weights w.safetensors");
    assert_eq!(fs::read(path.join(PACKED)).unwrap(), packed);

    let dropped = kwc(path, "compile tiny.yaml -o net --set classes=3 --drop-weights");
    assert!(dropped.stdout.contains("weights.safetensors  removed"), "{}", dropped.text());
    assert!(!path.join(PACKED).exists());
    fs::create_dir(path.join("new")).unwrap();
    fs::write(path.join("new/weights.safetensors"), "mine").unwrap();
    let outcome = kwc(path, "compile tiny.yaml -o new --target cpu");
    assert!(outcome.assert_wrong_input().stderr.contains("no earlier compile wrote this"), "{}", outcome.text());
    assert_eq!(fs::read(path.join("new/weights.safetensors")).unwrap(), b"mine");
}

#[test]
fn weights_that_are_not_finite_are_warned_of_when_they_are_packed() {
    let folder = compiled();
    let bytes = fs::read(folder.path().join("w.safetensors")).unwrap();
    let last = [&bytes[..bytes.len() - 4], &f32::INFINITY.to_le_bytes()].concat();
    fs::write(folder.path().join("infinite.safetensors"), last).unwrap();
    let made = kwc(folder.path(), "compile tiny.yaml -o bad --target cpu --weights infinite.safetensors");
    assert_eq!(made.code, Some(0), "{}", made.text());
    assert!(made.stderr.contains("infinite or not a number"), "{}", made.text());
    let manifest = fs::read_to_string(folder.path().join("bad/manifest.json")).unwrap();
    assert!(manifest.contains("infinite or not a number"), "{manifest}");
}
