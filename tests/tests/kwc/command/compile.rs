//! `kwc compile`: the folder that it writes, keeps and compares, and what it prints.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use kwc_compiler::weights::State;
use kwc_runtime::cuda::PackedWeights;
use safetensors::tensor::Dtype;
use serde_json::{Value, json};

use super::device::{on, vgpu};
use super::run::{f32_bytes, write};
use super::{Outcome, TINY, command, folder_with};
use crate::vgpu::nvrtc;

/// Runs the command with the NVRTC of the tests.
fn kwc(folder: &Path, arguments: &str) -> Outcome {
    let command = command(folder).env("KWC_NVRTC", nvrtc().path()).args(arguments.split_whitespace()).output().unwrap();
    outcome(command)
}

/// Runs the command where there is no NVRTC.
fn kwc_without_nvrtc(folder: &Path, arguments: &str) -> Outcome {
    // The loader does not look further once it has met a file of this name that is no library.
    let empty = tempfile::tempdir().unwrap();
    for name in ["libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2"] {
        fs::write(empty.path().join(name), "").unwrap();
    }
    let mut command = command(folder);
    for variable in ["KWC_NVRTC", "CUDA_PATH", "VIRTUAL_ENV"] {
        command.env_remove(variable);
    }
    for variable in ["PATH", "LD_LIBRARY_PATH", "HOME", "XDG_CACHE_HOME"] {
        command.env(variable, empty.path());
    }
    outcome(command.args(arguments.split_whitespace()).output().unwrap())
}

fn outcome(output: std::process::Output) -> Outcome {
    Outcome {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// All files below a folder, by their paths there.
fn files(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(inner) = folders.pop() {
        for entry in fs::read_dir(folder.join(&inner)).unwrap() {
            let entry = entry.unwrap();
            let path = inner.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else {
                found.insert(path.to_str().unwrap().to_owned());
            }
        }
    }
    found
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn modified(path: &Path) -> SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}

const CODE: [&str; 3] = ["kernels.ptx", "kernels.sm_80.cubin", "kernels.sm_90.cubin"];
const OTHERS: [&str; 6] = ["Cargo.toml", "kernels.cu", "manifest.json", "plan.json", "plan.txt", "src/lib.rs"];

#[test]
fn a_folder_has_all_that_a_network_needs() {
    let folder = folder_with("tiny.yaml", TINY);
    let made = kwc(folder.path(), "compile tiny.yaml --arch sm_90,sm_80 --set classes=3 --max-batch 4");
    assert!(made.assert_ok().stdout.starts_with("compiled/tiny\n"), "{}", made.text());
    let tiny = folder.path().join("compiled/tiny");
    assert_eq!(files(&tiny), CODE.iter().chain(&OTHERS).map(ToString::to_string).collect());
    assert_eq!(files(&folder.path().join("compiled")).len(), CODE.len() + OTHERS.len(), "nothing else is left");

    let manifest = read_json(&tiny.join("manifest.json"));
    let options = json!({ "arch": "sm_80,sm_90", "gpu": "a100", "max-batch": "4", "mixing": "auto", "precision": "f16", "set classes": "3" });
    assert_eq!(manifest["options"], options);
    let (major, minor) = nvrtc().version();
    assert_eq!(manifest["nvrtc"]["version"], format!("{major}.{minor}"));
    for (name, hash) in manifest["files"].as_object().unwrap() {
        assert_eq!(*hash, kwc_compiler::hash::of(&fs::read(tiny.join(name)).unwrap()), "{name}");
    }
    assert_eq!(manifest["files"].as_object().unwrap().len(), CODE.len() + OTHERS.len() - 1);

    // Every kernel is in the PTX, which the first driver for these GPUs takes, and the cubins are code for GPUs.
    let plan = read_json(&tiny.join("plan.json"));
    assert_eq!(plan["outputs"][0]["shape"], json!([3]));
    assert_eq!(plan["cuda"]["max_batch"], 4);
    let ptx = fs::read_to_string(tiny.join("kernels.ptx")).unwrap();
    assert!(ptx.contains("\n.version 7.0\n.target sm_80\n"), "{}", &ptx[..400]);
    for kernel in plan["cuda"]["kernels"].as_array().unwrap() {
        assert!(ptx.contains(&format!(".entry {}(", kernel["symbol"].as_str().unwrap())), "{kernel}");
    }
    for name in &CODE[1..] {
        let cubin = fs::read(tiny.join(name)).unwrap();
        // An ELF file for the machine 190, CUDA.
        assert_eq!((&cubin[..4], &cubin[18..20]), (b"\x7fELF".as_slice(), [190, 0].as_slice()), "{name}");
    }
    let text = fs::read_to_string(tiny.join("plan.txt")).unwrap();
    assert!(text.contains("Batches 1 to 2: ") && !text.contains('\u{1b}'), "{text}");
}

#[test]
fn compiling_again_touches_only_what_changes() {
    let folder = folder_with("tiny.yaml", TINY);
    let compile = "compile tiny.yaml -o net --precision f32 --arch sm_80";
    let made = kwc(folder.path(), compile);
    made.assert_ok();
    let net = folder.path().join("net");
    fs::write(net.join("notes.txt"), "mine").unwrap();
    fs::write(net.join("kernels.sm_99.cubin"), "mine too").unwrap();
    let before: Vec<(String, SystemTime)> =
        files(&net).into_iter().map(|name| (name.clone(), modified(&net.join(&name)))).collect();
    kwc(folder.path(), &format!("{compile} --check")).assert_ok();
    let again = kwc(folder.path(), compile);
    assert!(!again.assert_ok().stdout.contains("written"), "{}", again.text());
    for (name, time) in before {
        assert_eq!(modified(&net.join(&name)), time, "{name}");
    }

    // Damage is named, and made good.
    fs::write(net.join("src/lib.rs"), "// edited").unwrap();
    fs::remove_file(net.join("plan.txt")).unwrap();
    let checked = kwc(folder.path(), &format!("{compile} --check"));
    checked.assert_wrong_input();
    assert_eq!(checked.stdout, "net/plan.txt: missing\nnet/src/lib.rs: different\n");
    assert!(checked.stderr.contains("2 files differ"), "{}", checked.text());
    assert!(!net.join("plan.txt").exists(), "--check writes nothing");
    let made_good = kwc(folder.path(), compile);
    assert_eq!(made_good.assert_ok().stdout.matches("written").count(), 2, "{}", made_good.text());

    // Of other options: the code of this one goes, and what somebody else put there stays.
    let other = kwc(folder.path(), "compile tiny.yaml -o net --precision f32 --arch sm_90");
    assert!(other.assert_ok().stdout.contains("kernels.sm_80.cubin  removed"), "{}", other.text());
    assert!(other.stdout.contains("kernels.ptx          unchanged"), "{}", other.text());
    let expected = ["kernels.ptx", "kernels.sm_90.cubin", "kernels.sm_99.cubin", "notes.txt"];
    assert_eq!(files(&net), expected.iter().chain(&OTHERS).map(ToString::to_string).collect());
    let checked = kwc(folder.path(), "compile tiny.yaml -o net --target cpu --check");
    checked.assert_wrong_input();
    assert!(checked.stdout.contains("net/kernels.cu: of an earlier compile"), "{}", checked.text());
}

#[test]
fn all_but_machine_code_is_the_same_wherever_it_is_made() {
    let folder = folder_with("tiny.yaml", TINY);
    for to in ["a", "deep/b"] {
        kwc(folder.path(), &format!("compile tiny.yaml -o {to} --precision f32 --arch sm_80")).assert_ok();
    }
    for name in OTHERS.iter().filter(|name| **name != "manifest.json") {
        let read = |to: &str| fs::read(folder.path().join(to).join(name)).unwrap();
        assert_eq!(read("a"), read("deep/b"), "{name}");
    }
}

#[test]
fn without_nvrtc_everything_else_is_written() {
    let folder = folder_with("tiny.yaml", TINY);
    let made = kwc_without_nvrtc(folder.path(), "compile tiny.yaml -o net --arch sm_80");
    assert_eq!(made.code, Some(0), "{}", made.text());
    assert!(
        made.stderr.contains("NVRTC was not found") && made.stderr.contains("kwc toolchain --fetch"),
        "{}",
        made.text()
    );
    let net = folder.path().join("net");
    assert_eq!(files(&net), OTHERS.iter().map(ToString::to_string).collect());
    assert!(!fs::read_to_string(net.join("src/lib.rs")).unwrap().contains("kernels.ptx"));
    // Once compiled, code stays while its source does.
    kwc(folder.path(), "compile tiny.yaml -o net --arch sm_80").assert_ok();
    kwc_without_nvrtc(folder.path(), "compile tiny.yaml -o net --arch sm_80 --check").assert_ok();
    let made = kwc_without_nvrtc(folder.path(), "compile tiny.yaml -o net --arch sm_80 --set classes=3");
    assert_eq!(made.code, Some(0), "{}", made.text());
    assert_eq!(files(&net), OTHERS.iter().map(ToString::to_string).collect());
    // What is named must be there.
    let made =
        outcome(command(folder.path()).env("KWC_NVRTC", "/nowhere").args(["compile", "tiny.yaml"]).output().unwrap());
    assert!(made.assert_wrong_input().stderr.contains("KWC_NVRTC=/nowhere"), "{}", made.text());
    assert!(!folder.path().join("compiled").exists(), "nothing is left of what failed");
}

#[test]
fn packed_weights_are_those_of_the_program() {
    let folder = folder_with("tiny.yaml", TINY);
    kwc(folder.path(), "init tiny.yaml -o w.safetensors --seed 1");
    kwc_without_nvrtc(folder.path(), "compile tiny.yaml -o net --weights w.safetensors");
    let weights = PackedWeights::read(&folder.path().join("net/weights.safetensors")).unwrap();
    assert_eq!(weights.network(), "tiny");
    let code = fs::read_to_string(folder.path().join("net/src/lib.rs")).unwrap();
    assert!(code.contains(weights.weights_id()));
    let wrong = kwc(folder.path(), "compile tiny.yaml --weights w.safetensors --set classes=3");
    assert!(wrong.assert_wrong_input().stderr.contains("fc.weight"), "{}", wrong.text());
}

#[test]
fn what_compile_makes_is_no_spec_and_no_checkpoint() {
    let folder = folder_with("tiny.yaml", TINY);
    kwc(folder.path(), "init tiny.yaml -o w.safetensors --seed 1");
    kwc_without_nvrtc(folder.path(), "compile tiny.yaml -o net --weights w.safetensors");
    write(&folder.path().join("x.safetensors"), "input", Dtype::F32, &[1, 8, 6, 6], &f32_bytes(&[1.0; 8 * 36]));
    for (verb, more, packed) in [
        ("run", "--input x.safetensors", "packed for the target `cuda`, and the program `tiny` is for `cpu`"),
        ("run", "--input x.safetensors --device cuda", "these are weights of `tiny`, packed by `kwc compile`"),
        ("verify", "", "these are weights of `tiny`, packed by `kwc compile`"),
        ("bench", "", "packed for the target `cuda`, and the program `tiny` is for `cpu`"),
        ("compile", "", "these are weights of `tiny`, packed by `kwc compile`"),
    ] {
        for (given, what) in [
            ("net --weights w.safetensors", "error: net: this is a network that `kwc compile` made, not a spec"),
            ("tiny.yaml --weights net", "error: net: this is a network that `kwc compile` made, not a checkpoint"),
            ("tiny.yaml --weights net/weights.safetensors", packed),
        ] {
            let outcome = kwc_without_nvrtc(folder.path(), &format!("{verb} {given} {more}"));
            assert!(outcome.assert_wrong_input().stderr.contains(what), "{verb} {given}: {}", outcome.text());
            assert!(outcome.stderr.contains("help: give the "), "{}", outcome.text());
        }
    }
    for (arguments, what) in [
        ("check net", "error: net: this is a network that `kwc compile` made, not a spec"),
        ("plan net/manifest.json", "this is the manifest of a network that `kwc compile` made, not a spec"),
        ("compile w.safetensors", "error: w.safetensors: this is a file of weights, not a spec"),
    ] {
        let outcome = kwc_without_nvrtc(folder.path(), arguments);
        assert!(outcome.assert_wrong_input().stderr.contains(what), "{arguments}: {}", outcome.text());
        assert!(outcome.stderr.contains("help: give the "), "{}", outcome.text());
    }
    let json = kwc_without_nvrtc(folder.path(), "check net tiny.yaml --format json").assert_wrong_input().json();
    assert_eq!((&json[0]["ok"], &json[1]["ok"]), (&json!(false), &json!(true)), "{json}");
    assert!(json[0]["errors"][0]["message"].as_str().unwrap().contains("`kwc compile` made"), "{json}");

    // Of two tensors, one name is the end of one of the network's: that says nothing of the rest.
    let mut state = State::default();
    state.insert("weight", vec![3], vec![0.0; 3]).unwrap();
    state.insert("scale", vec![3], vec![0.0; 3]).unwrap();
    state.write_safetensors(&mut fs::File::create(folder.path().join("other.safetensors")).unwrap()).unwrap();
    let outcome = kwc_without_nvrtc(folder.path(), "run tiny.yaml --weights other.safetensors --input x.safetensors");
    assert!(outcome.assert_wrong_input().stderr.contains("is it another network's"), "{}", outcome.text());
    assert!(!outcome.stderr.contains("leave that name out"), "{}", outcome.text());
}

#[test]
fn packed_weights_stay_where_they_fit_and_are_not_lost_where_they_do_not() {
    let folder = folder_with("tiny.yaml", TINY);
    kwc(folder.path(), "init tiny.yaml -o w.safetensors --seed 1");
    let compile = "compile tiny.yaml -o net --arch sm_80";
    kwc_without_nvrtc(folder.path(), &format!("{compile} --weights w.safetensors"));
    let net = folder.path().join("net");
    let packed = fs::read(net.join("weights.safetensors")).unwrap();
    let written = modified(&net.join("weights.safetensors"));

    // Other architectures and a spec with a comment more make the same weights.
    fs::write(folder.path().join("tiny.yaml"), format!("{TINY}# a comment\n")).unwrap();
    let again = kwc_without_nvrtc(folder.path(), &format!("{compile},sm_90"));
    assert_eq!(again.code, Some(0), "{}", again.text());
    assert!(again.stdout.contains("weights.safetensors  unchanged, packed by an earlier compile"), "{}", again.text());
    assert_eq!(modified(&net.join("weights.safetensors")), written);
    let manifest = read_json(&net.join("manifest.json"));
    assert_eq!(manifest["files"]["weights.safetensors"], kwc_compiler::hash::of(&packed));
    let checked = kwc_without_nvrtc(folder.path(), "compile tiny.yaml -o net --check");
    assert_eq!(checked.stdout, "net: up to date\n", "{}", checked.text());

    // Another precision, other layers, another target: they would be lost, so nothing changes.
    let before: Vec<_> = files(&net).into_iter().map(|name| fs::read(net.join(name)).unwrap()).collect();
    for options in ["--precision f32", "--set classes=3", "--target cpu"] {
        let refused = kwc_without_nvrtc(folder.path(), &format!("compile tiny.yaml -o net {options}"));
        let error = &refused.assert_wrong_input().stderr;
        assert!(error.contains("net/weights.safetensors: these packed weights would be lost"), "{}", refused.text());
        assert!(error.contains("`--weights FILE`") && error.contains("`--drop-weights`"), "{}", refused.text());
        let after: Vec<_> = files(&net).into_iter().map(|name| fs::read(net.join(name)).unwrap()).collect();
        assert!(before == after, "{options}");
    }
    for options in ["--target cpu --check", "--set classes=3 --check"] {
        let checked = kwc_without_nvrtc(folder.path(), &format!("compile tiny.yaml -o net {options}"));
        checked.assert_wrong_input();
        assert!(checked.stdout.contains("net/weights.safetensors: "), "{}", checked.text());
    }
    let damaged = [&packed[..packed.len() - 1], &[packed[packed.len() - 1] ^ 1]].concat();
    fs::write(net.join("weights.safetensors"), damaged).unwrap();
    let refused = kwc_without_nvrtc(folder.path(), compile);
    assert!(refused.assert_wrong_input().stderr.contains("damaged"), "{}", refused.text());

    let dropped = kwc_without_nvrtc(folder.path(), "compile tiny.yaml -o net --set classes=3 --drop-weights");
    assert!(dropped.stdout.contains("weights.safetensors  removed"), "{}", dropped.text());
    assert!(!net.join("weights.safetensors").exists());
    // What is gone already is named, and has to be replaced or dropped.
    let compile = format!("{compile} --set classes=10");
    kwc_without_nvrtc(folder.path(), &format!("{compile} --weights w.safetensors"));
    fs::remove_file(net.join("weights.safetensors")).unwrap();
    let refused = kwc_without_nvrtc(folder.path(), &compile);
    assert!(
        refused.assert_wrong_input().stderr.contains("missing, and manifest.json lists them"),
        "{}",
        refused.text()
    );
    let checked = kwc_without_nvrtc(folder.path(), &format!("{compile} --check"));
    assert!(checked.stdout.contains("net/weights.safetensors: missing"), "{}", checked.text());
    assert_eq!(kwc_without_nvrtc(folder.path(), &format!("{compile} --drop-weights")).code, Some(0));

    // Weights that the manifest doesn't know are taken if they fit, and are in the way if they don't.
    fs::write(net.join("weights.safetensors"), &packed).unwrap();
    let taken = kwc_without_nvrtc(folder.path(), &compile);
    assert!(taken.stdout.contains("weights.safetensors  unchanged, packed by an earlier compile"), "{}", taken.text());
    assert!(read_json(&net.join("manifest.json"))["files"]["weights.safetensors"].is_string());
    fs::create_dir(folder.path().join("new")).unwrap();
    fs::write(folder.path().join("new/weights.safetensors"), "mine").unwrap();
    for options in ["", "--drop-weights", "--weights w.safetensors"] {
        let refused = kwc_without_nvrtc(folder.path(), &format!("compile tiny.yaml -o new {options}"));
        assert!(refused.assert_wrong_input().stderr.contains("no earlier compile wrote this"), "{}", refused.text());
    }
    assert_eq!(fs::read(folder.path().join("new/weights.safetensors")).unwrap(), b"mine");
    assert_eq!(files(&folder.path().join("new")), BTreeSet::from(["weights.safetensors".to_owned()]));
    assert_eq!(kwc(folder.path(), "compile tiny.yaml --weights w.safetensors --drop-weights").code, Some(2));
}

#[test]
fn a_check_takes_what_is_not_given_from_the_folder() {
    let folder = folder_with("tiny.yaml", TINY);
    let runtime = folder.path().join("runtime");
    fs::create_dir(&runtime).unwrap();
    fs::write(runtime.join("Cargo.toml"), "").unwrap();
    kwc(folder.path(), "init tiny.yaml -o w.safetensors --set classes=3");
    let made = kwc(
        folder.path(),
        "compile tiny.yaml --set classes=3 --precision f32 --max-batch 4 --gpu l4 --arch sm_89 --runtime runtime \
         --weights w.safetensors",
    );
    made.assert_ok();
    assert_eq!(kwc(folder.path(), "compile tiny.yaml --check").assert_ok().stdout, "compiled/tiny: up to date\n");
    kwc(folder.path(), "compile tiny.yaml -o compiled/tiny --check --max-batch 4 --set classes=3").assert_ok();

    for (options, lines) in [
        (
            "--max-batch 8",
            ["compiled/tiny: compiled with --max-batch 4, not 8", "compiled/tiny/manifest.json: different"],
        ),
        (
            "--arch sm_80",
            ["compiled/tiny: compiled with --arch sm_89, not sm_80", "compiled/tiny/kernels.sm_80.cubin: missing"],
        ),
    ] {
        let checked = kwc(folder.path(), &format!("compile tiny.yaml --check {options}"));
        checked.assert_wrong_input();
        let found: Vec<&str> = checked.stdout.lines().collect();
        assert!(lines.iter().all(|line| found.contains(line)), "{}", checked.text());
        assert!(checked.stderr.contains("from what this would write"), "{}", checked.text());
    }
    // With weights that then don't fit, and with another target.
    let checked = kwc(folder.path(), "compile tiny.yaml --check --set classes=10");
    checked.assert_wrong_input();
    for line in [
        "compiled/tiny: compiled with --set classes=3, not 10",
        "compiled/tiny/kernels.cu: different",
        "compiled/tiny/weights.safetensors: packed for another spec or other options",
    ] {
        assert!(checked.stdout.lines().any(|found| found == line), "{}", checked.text());
    }
    let checked = kwc(folder.path(), "compile tiny.yaml --check --target cpu --drop-weights");
    checked.assert_wrong_input();
    assert!(checked.stdout.starts_with("compiled/tiny: compiled for the target cuda, not cpu\n"), "{}", checked.text());

    let manifest = folder.path().join("compiled/tiny/manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("\"l4\"", "\"voodoo\"")).unwrap();
    let checked = kwc(folder.path(), "compile tiny.yaml --check");
    assert!(checked.assert_wrong_input().stderr.contains("its option `gpu` is `voodoo`"), "{}", checked.text());
    fs::write(&manifest, text).unwrap();
    kwc(folder.path(), "compile tiny.yaml -o cpu --target cpu").assert_ok();
    kwc(folder.path(), "compile tiny.yaml -o cpu --check").assert_ok();
    assert_eq!(kwc(folder.path(), "compile tiny.yaml -o cpu --check --precision f16").code, Some(2));
}

#[test]
fn options_that_are_not_given_are_those_of_the_folder() {
    let folder = folder_with("tiny.yaml", TINY);
    let made = kwc_without_nvrtc(folder.path(), "compile tiny.yaml -o net --max-batch 4 --gpu h100 --set classes=3");
    assert_eq!(made.code, Some(0), "{}", made.text());
    assert!(!made.stderr.contains("compiled before"), "{}", made.text());
    let manifest = read_json(&folder.path().join("net/manifest.json"));
    let again = kwc_without_nvrtc(folder.path(), "compile tiny.yaml -o net");
    let said = "as the folder was compiled before: --gpu h100 --max-batch 4 --set classes=3";
    assert!(again.stderr.contains(said), "{}", again.text());
    assert_eq!(read_json(&folder.path().join("net/manifest.json")), manifest);
    let changed = kwc_without_nvrtc(folder.path(), "compile tiny.yaml -o net --max-batch 8");
    assert!(changed.stderr.contains("compiled before: --gpu h100 --set classes=3"), "{}", changed.text());
    assert_eq!(read_json(&folder.path().join("net/manifest.json"))["options"]["max-batch"], "8");
    // Another network takes nothing over.
    fs::write(folder.path().join("other.yaml"), TINY.replace("name: tiny", "name: other")).unwrap();
    let other = kwc_without_nvrtc(folder.path(), "compile other.yaml -o net");
    assert!(!other.stderr.contains("compiled before"), "{}", other.text());
    assert_eq!(read_json(&folder.path().join("net/manifest.json"))["options"]["gpu"], "a100");
}

#[test]
fn files_that_no_compile_wrote_are_not_overwritten() {
    let folder = folder_with("tiny.yaml", TINY);
    let mine = folder.path().join("mine");
    fs::create_dir_all(mine.join("src")).unwrap();
    fs::write(mine.join("src/lib.rs"), "fn precious() {}\n").unwrap();
    fs::write(mine.join("Cargo.toml"), "[package]\n").unwrap();
    let refused = kwc_without_nvrtc(folder.path(), "compile tiny.yaml -o mine");
    let error = &refused.assert_wrong_input().stderr;
    assert!(error.contains("no earlier compile wrote Cargo.toml, src/lib.rs"), "{}", refused.text());
    assert_eq!(files(&mine), ["Cargo.toml", "src/lib.rs"].map(str::to_owned).into());
    assert_eq!(fs::read_to_string(mine.join("src/lib.rs")).unwrap(), "fn precious() {}\n");
}

#[test]
fn stages_are_printed() {
    let folder = folder_with("tiny.yaml", TINY);
    let emit = |arguments: &str| kwc(folder.path(), &format!("compile tiny.yaml --emit {arguments}"));
    insta::assert_snapshot!("emit_ir", emit("ir").assert_ok().stdout);
    let source = emit("kernels.cu --precision f32").assert_ok().stdout.clone();
    assert!(source.contains("extern \"C\" __global__"), "{source}");
    assert!(emit("kernels.ptx --precision f32").assert_ok().stdout.contains("\n.version 7.0\n"));
    assert!(emit("lib.rs --precision f32").assert_ok().stdout.contains("extern \\\"C\\\" __global__"));
    assert!(emit("lib.rs --target cpu").assert_ok().stdout.contains("cpu::Model"));
    assert_eq!(emit("plan.json").assert_ok().json()["cuda"]["precision"], "f16");
    assert!(emit("plan.txt --target cpu").assert_ok().stdout.starts_with("tiny  input [8, 6, 6]"));
    assert!(emit("kernels.cu --target cpu").assert_wrong_input().stderr.contains("has no kernels"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is written");
}

#[test]
fn what_is_in_the_way_is_named_and_stays() {
    let folder = folder_with("tiny.yaml", TINY);
    fs::write(folder.path().join("file"), "mine").unwrap();
    fs::create_dir_all(folder.path().join("net/kernels.cu")).unwrap();
    fs::create_dir(folder.path().join("other")).unwrap();
    fs::write(folder.path().join("other/manifest.json"), "{}").unwrap();
    fs::create_dir(folder.path().join("evil")).unwrap();
    let manifest = json!({
        "format": 1, "kwc": "0", "program": 1, "network": "x", "target": "cuda", "options": {}, "nvrtc": null,
        "files": { "../file": "0" },
    });
    fs::write(folder.path().join("evil/manifest.json"), manifest.to_string()).unwrap();
    let before = files(folder.path());
    for (to, what) in [
        ("file", "this is not a folder"),
        ("net", "this is a folder, and a file of this name"),
        ("other", "not a manifest of `kwc compile`"),
        ("evil", "it names `../file`"),
    ] {
        let outcome = kwc(folder.path(), &format!("compile tiny.yaml --target cpu -o {to}"));
        assert!(
            kwc_without_nvrtc(folder.path(), &format!("compile tiny.yaml --target cuda -o {to}")).code == Some(1),
            "{to}"
        );
        if to != "net" {
            assert!(outcome.assert_wrong_input().stderr.contains(what), "{}", outcome.text());
        }
    }
    fs::remove_dir_all(folder.path().join("net/src")).ok();
    let left = files(folder.path());
    assert!(before.iter().all(|name| left.contains(name)));
    let hidden = fs::read_dir(folder.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().starts_with('.'));
    assert_eq!(hidden.count(), 0, "no unfinished folder is left");
    for arguments in ["--arch sm_75", "--arch 80", "--target cpu --precision f16", "--gpu voodoo", "--check --emit ir"]
    {
        let outcome = kwc(folder.path(), &format!("compile tiny.yaml {arguments}"));
        assert_eq!(outcome.code, Some(2), "{arguments}: {}", outcome.text());
    }
}

#[cfg(unix)]
#[test]
fn an_interrupted_compile_leaves_nothing() {
    // Large enough to take a while.
    let folder = tempfile::tempdir().unwrap();
    let spec = crate::golden::package().join("../specs/resnet50.yaml");
    let mut child = command(folder.path())
        .env("KWC_NVRTC", nvrtc().path())
        .args(["compile".as_ref(), spec.as_os_str()])
        .args(["-o", "deep/net"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deep = folder.path().join("deep");
    let start = Instant::now();
    while !deep.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        assert!(start.elapsed() < Duration::from_secs(60) && child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(5));
    }
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let status = child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(2), "{status}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn the_toolchain_is_described() {
    let folder = tempfile::tempdir().unwrap();
    let found = kwc(folder.path(), "toolchain --format json").assert_ok().json();
    let (major, minor) = nvrtc().version();
    assert_eq!(found["nvrtc"]["version"], format!("{major}.{minor}"));
    assert_eq!(found["nvrtc"]["path"], nvrtc().path().to_str().unwrap());
    let architectures = found["nvrtc"]["architectures"].as_array().unwrap();
    assert!(["sm_80", "sm_90"].iter().all(|name| architectures.contains(&json!(name))), "{found}");
    // What CUDA 13 added and took away.
    if major == 13 {
        assert!(
            ["sm_75", "sm_88", "sm_110", "sm_121"].iter().all(|name| architectures.contains(&json!(name))),
            "{found}"
        );
        assert!(!architectures.contains(&json!("sm_70")), "{found}");
    }
    for name in architectures {
        let options = kwc_nvrtc::Options::new(name.as_str().unwrap());
        assert!(nvrtc().compile("__global__ void nothing() {}", "nothing.cu", &options).is_ok(), "{name}");
    }
    let none = kwc_without_nvrtc(folder.path(), "toolchain");
    assert!(none.assert_wrong_input().stderr.contains("kwc toolchain --fetch"), "{}", none.text());
    assert!(none.stdout.contains("none"), "{}", none.text());
    let wrong = vgpu(folder.path()).variable("KWC_NVRTC", folder.path().join("absent"));
    let wrong = on(wrong, folder.path(), "toolchain");
    assert_eq!(wrong.code, Some(1), "{}", wrong.stderr);
    assert!(wrong.stderr.contains("absent") && wrong.stdout.contains("A100"), "{}{}", wrong.stdout, wrong.stderr);
}
