//! `--device cuda`: `kwc run`, `kwc eval` and `kwc verify` on the virtual GPU.

use std::path::Path;

use kwc_compiler::weights::State;
use serde_json::Value;

use super::eval::{EVAL, colours};
use super::run::{f32_bytes, read, write};
use super::{TINY, folder_with, kwc};
use crate::cuda::{Numbers, relative_l2};
use crate::vgpu::{Run, Vgpu, nvrtc};
use safetensors::tensor::Dtype;

/// A virtual GPU and an NVRTC; what one command compiles, the next one of the same folder finds.
pub(super) fn vgpu(folder: &Path) -> Vgpu {
    Vgpu::new().variable("KWC_NVRTC", nvrtc().path()).variable("XDG_CACHE_HOME", folder.join("cache"))
}

/// Runs the command on a GPU. Files of the folder are written `@name`.
pub(super) fn on(gpu: Vgpu, folder: &Path, arguments: &str) -> Run {
    let place = |word: &str| match word.strip_prefix('@') {
        Some(name) => folder.join(name).display().to_string(),
        None => word.to_owned(),
    };
    let arguments: Vec<String> = arguments.split_whitespace().map(place).collect();
    gpu.command(Path::new(env!("CARGO_BIN_EXE_kwc-under-test")), &arguments)
}

#[track_caller]
pub(super) fn json(run: &Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|e| panic!("{e}: {}\n{}", run.stdout, run.stderr))
}

/// A folder with the tiny network, random weights, and an input of so many samples.
fn tiny(samples: usize) -> tempfile::TempDir {
    let folder = folder_with("tiny.yaml", TINY);
    kwc(folder.path(), "init tiny.yaml -o w.safetensors --seed 3").assert_ok();
    let values = Numbers::new(5).take(samples * 8 * 36);
    write(&folder.path().join("x.safetensors"), "input", Dtype::F32, &[samples, 8, 6, 6], &f32_bytes(&values));
    folder
}

#[test]
fn cuda_runs_give_what_the_processor_gives_in_batches_of_any_size() {
    let folder = tiny(5);
    let arguments = "run @tiny.yaml --weights @w.safetensors --input @x.safetensors --dump a,b.attention,b";
    let plain = arguments.replace('@', "");
    kwc(folder.path(), &format!("{plain} --output cpu.safetensors")).assert_ok();
    let cpu = read(&folder.path().join("cpu.safetensors"));
    assert_eq!(cpu.keys().collect::<Vec<_>>(), ["act/a", "act/b", "act/b.attention", "output"]);
    for (options, tolerance) in [("--batch 2", 1e-2), ("--precision f32 --batch 2", 1e-5), ("--precision f32", 1e-5)] {
        let run = on(
            vgpu(folder.path()),
            folder.path(),
            &format!("{arguments} {options} --device cuda:0 --output @gpu.safetensors"),
        );
        assert_eq!((run.code, run.stdout.as_str()), (Some(0), ""), "{}", run.stderr);
        run.assert_clean();
        let gpu = read(&folder.path().join("gpu.safetensors"));
        assert_eq!(gpu.keys().collect::<Vec<_>>(), cpu.keys().collect::<Vec<_>>());
        for (name, (shape, values)) in &cpu {
            let (gpu_shape, gpu_values) = &gpu[name];
            assert_eq!(gpu_shape, shape, "{name}");
            let distance = relative_l2(gpu_values, values);
            assert!(distance <= tolerance, "{name}, {options}: {distance:.2e}");
        }
    }
}

#[test]
fn cuda_evaluations_count_right_answers() {
    let folder = colours();
    let arguments =
        EVAL.replace("colours.yaml", "@colours.yaml").replace("w.saf", "@w.saf").replace("a data", "a @data");
    for options in ["--batch 2", "--precision f32"] {
        let run = on(vgpu(folder.path()), folder.path(), &format!("{arguments} --device cuda --format json {options}"));
        run.assert_clean();
        // One image of the five is not in the folder of its colour.
        assert_eq!(json(&run)["top1"], serde_json::json!({ "right": 4, "fraction": 0.8 }), "{}", run.stderr);
    }
}

#[test]
fn cuda_devices_that_are_not_there_are_named() {
    let folder = tiny(1);
    let run = "run @tiny.yaml --weights @w.safetensors --input @x.safetensors --device cuda";
    let verify = "verify @tiny.yaml --weights @w.safetensors";
    for arguments in [run, verify] {
        let outcome = on(Vgpu::without_driver(), folder.path(), arguments);
        assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("error: no CUDA driver"), "{}", outcome.stderr);
        assert!(!outcome.stderr.contains("bug in kwc"), "{}", outcome.stderr);
    }
    let outcome = on(vgpu(folder.path()), folder.path(), &run.replace("cuda", "cuda:7"));
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("there is no CUDA device 7: the driver shows 1"), "{}", outcome.stderr);
    let absent = Vgpu::new().variable("KWC_NVRTC", folder.path().join("absent"));
    let outcome = on(absent, folder.path(), run);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("compiling the source now"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("absent"), "{}", outcome.stderr);
}

#[test]
fn what_is_wrong_with_a_choice_of_device_needs_none() {
    let folder = tiny(1);
    let run = "run tiny.yaml --weights w.safetensors --input x.safetensors";
    let f16 = kwc(folder.path(), &format!("{run} --precision f16"));
    assert!(f16.assert_wrong_input().stderr.contains("on the processor, networks run in f32"), "{}", f16.text());
    let verify = kwc(folder.path(), "verify tiny.yaml --weights w.safetensors --device cpu");
    assert!(verify.assert_wrong_input().stderr.contains("is what the device is compared with"), "{}", verify.text());
    let verify = "verify tiny.yaml --weights w.safetensors";
    for option in ["--tolerance nan", "--tolerance inf", "--tolerance=-1", "--input x.safetensors --samples 2"] {
        assert_eq!(kwc(folder.path(), &format!("{verify} {option}")).code, Some(2), "{option}");
    }
    for device in ["cuda:", "cuda:x", "gpu", "cuda:-1"] {
        assert_eq!(kwc(folder.path(), &format!("{run} --device {device}")).code, Some(2), "{device}");
    }
}

/// What is compared in a report, in order.
fn names(comparisons: &Value) -> Vec<&str> {
    comparisons.as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect()
}

#[test]
fn cuda_verify_compares_outputs_and_all_modules() {
    let folder = tiny(3);
    let arguments = "verify @tiny.yaml --weights @w.safetensors --report @report.json --seed 7";
    for (options, tolerance) in [("--precision f32", 1e-4), ("--input @x.safetensors", 5e-2)] {
        let run = on(vgpu(folder.path()), folder.path(), &format!("{arguments} {options}"));
        assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
        run.assert_clean();
        assert!(run.stdout.contains("right: outputs may differ by"), "{}", run.stdout);
        let report: Value = serde_json::from_slice(&std::fs::read(folder.path().join("report.json")).unwrap()).unwrap();
        assert_eq!((&report["samples"], &report["tolerance"]), (&3.into(), &tolerance.into()));
        assert_eq!(report["right"], true);
        // The virtual GPU is an A100 unless asked otherwise, with a driver for CUDA 12.8 or what `vgpu` says it is.
        assert_eq!(report["gpu"]["compute_capability"], "8.0");
        let (name, driver) = (report["gpu"]["name"].as_str().unwrap(), report["gpu"]["driver"].as_str().unwrap());
        let hash = kwc_compiler::hash::of(&std::fs::read(folder.path().join("w.safetensors")).unwrap());
        assert_eq!(report["weights"], hash.as_str());
        assert!(run.stdout.contains(&format!("SHA-256 {hash}")), "{}", run.stdout);
        let gpu = format!("{name}, compute capability 8.0, driver for CUDA {driver}");
        assert!(name.contains("A100") && run.stdout.contains(&gpu), "{}", run.stdout);
        // A seed is of random inputs.
        let seed = if options.contains("--input") { Value::Null } else { 7.into() };
        assert_eq!(report["seed"], seed);
        assert_eq!(run.stdout.contains("seed 7"), !seed.is_null(), "{}", run.stdout);
        // Of the values of layers: 8 and 16 channels of 6x6 and 3x3, 3 samples. The attentions have 9 and 18 mixtures of
        // 27 cells (`costs` has them).
        assert_eq!(names(&report["layers"]), ["a.attention", "a", "b.attention", "b", "fc"]);
        let values: Vec<u64> =
            report["layers"].as_array().unwrap().iter().map(|l| l["values"].as_u64().unwrap()).collect();
        assert_eq!(values, [3 * 18 * 27, 3 * 8 * 36, 3 * 36 * 27, 3 * 16 * 9, 3 * 10]);
        for comparison in [&report["outputs"], &report["layers"]].iter().flat_map(|c| c.as_array().unwrap()) {
            let error = comparison["relative_error"].as_f64().unwrap();
            assert!(error <= tolerance, "{comparison}");
            assert_eq!(comparison["overflow"], 0, "{comparison}");
        }
        let outputs = report["outputs"].as_array().unwrap();
        let batches: Vec<u64> = outputs.iter().map(|output| output["batch"].as_u64().unwrap()).collect();
        assert_eq!((batches.first(), batches.last()), (Some(&1), Some(&3)), "{outputs:?}");
        assert!(batches.is_sorted() && outputs.iter().all(|output| output["values"] == 30), "{outputs:?}");
    }
}

#[test]
fn cuda_verify_fails_where_outputs_differ_by_more_than_the_tolerance() {
    let folder = tiny(1);
    let arguments = "verify @tiny.yaml --weights @w.safetensors --input @x.safetensors --tolerance 0 --top 1";
    let run = on(vgpu(folder.path()), folder.path(), arguments);
    assert_eq!(run.code, Some(1), "{}", run.stdout);
    assert!(run.stdout.contains("WRONG: outputs may differ by 0e0"), "{}", run.stdout);
    assert!(run.stdout.contains("1 of 5 layers shown"), "{}", run.stdout);
    assert!(run.stderr.contains("more than 0.00e0"), "{}", run.stderr);
}

/// Channels that are multiplied, then divided.
const RANGE: &str = "\
kwc: 1
name: range
input: { channels: 4, height: 1, width: 2 }
layers:
  - conv: { name: times, out: 4, kernel: 1 }
  - conv: { name: divided, out: 4, kernel: 1 }
";

#[test]
fn cuda_verify_counts_values_that_f16_cannot_hold() {
    let folder = folder_with("range.yaml", RANGE);
    // On the diagonals: factors that lead above the largest value of f16, 65504, and below the smallest normal one.
    let diagonal = |values: [f32; 4]| (0..16).map(|i| if i % 5 == 0 { values[i / 5] } else { 0.0 }).collect();
    let mut state = State::default();
    state.insert("times.weight", vec![4, 4, 1, 1], diagonal([60000.0, 1.0, 2e-4, 1.0])).unwrap();
    state.insert("divided.weight", vec![4, 4, 1, 1], diagonal([0.5, 1.0, 1.0, 1.0])).unwrap();
    let mut file = std::fs::File::create(folder.path().join("w.safetensors")).unwrap();
    state.write_safetensors(&mut file).unwrap();
    let x = f32_bytes(&[2.0, 1.0, 0.25, -1.0, 0.25, 0.0, 1.0, 1.0]);
    write(&folder.path().join("x.safetensors"), "input", Dtype::F32, &[1, 4, 1, 2], &x);
    let arguments = "verify @range.yaml --weights @w.safetensors --input @x.safetensors --format json";

    let run = on(vgpu(folder.path()), folder.path(), arguments);
    assert_eq!(run.code, Some(1), "{}{}", run.stdout, run.stderr);
    let report = json(&run);
    assert_eq!(report["right"], false);
    assert_eq!(report["outputs"][0]["relative_error"], Value::Null);
    let times = &report["layers"][0];
    assert_eq!(times["name"], "times");
    // 2 * 60000 is infinite in f16, and 0.25 * 2e-4 is 5e-5; 0 is 0 on the processor too.
    assert_eq!((&times["overflow"], &times["underflow"]), (&1.into(), &1.into()), "{times}");

    let run = on(vgpu(folder.path()), folder.path(), &format!("{arguments} --precision f32"));
    assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
    let report = json(&run);
    for layer in report["layers"].as_array().unwrap() {
        assert_eq!((&layer["overflow"], &layer["underflow"]), (&0.into(), &0.into()), "{layer}");
        assert_eq!(layer["relative_error"], 0.0, "{layer}");
    }
}

/// The version that the driver says it is goes into the report.
#[test]
fn cuda_verify_tells_the_driver() {
    let folder = tiny(1);
    let arguments = "verify @tiny.yaml --weights @w.safetensors --format json --precision f32";
    let run = on(vgpu(folder.path()).arch("sm_90").driver("12.4"), folder.path(), arguments);
    assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
    let gpu = &json(&run)["gpu"];
    assert_eq!((&gpu["compute_capability"], &gpu["driver"]), (&"9.0".into(), &"12.4".into()), "{gpu}");
}

/// A dynamic layer that the kernel which mixes itself covers: cells of 16 channels, 16 output positions.
const INSIDE: &str = "\
kwc: 1
name: inside
input: { channels: 16, height: 4, width: 4 }
warehouses: { budget: 1, cell_in_ratio: 1 }
layers:
  - conv: { name: a, out: 16, kernel: 3, padding: 1, warehouse: w }
  - conv: { name: b, out: 16, kernel: 3, padding: 1, warehouse: w }
";

#[test]
fn what_is_verified_is_planned_as_what_is_compiled() {
    let folder = folder_with("inside.yaml", INSIDE);
    kwc(folder.path(), "init inside.yaml -o w.safetensors --seed 3").assert_ok();
    let (major, minor) = nvrtc().version();
    let verify = "verify @inside.yaml --weights @w.safetensors --report @report.json --gpu h100 --max-batch 4";
    let mut launches = Vec::new();
    for mixing in ["inside", "apart"] {
        // The second run of either finds the kernels of the first.
        for _ in 0..2 {
            let run = on(vgpu(folder.path()), folder.path(), &format!("{verify} --mixing {mixing}"));
            assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
            run.assert_clean();
            let report = std::fs::read(folder.path().join("report.json")).unwrap();
            let report: Value = serde_json::from_slice(&report).unwrap();
            let plan = serde_json::json!({ "max_batch": 4, "gpu": "h100", "mixing": mixing });
            assert_eq!((&report["plan"], report["gpu"]["nvrtc"].as_str()), (&plan, Some(&*format!("{major}.{minor}"))));
            let line = format!("max-batch 4, gpu h100, mixing {mixing}; kernels compiled by NVRTC {major}.{minor}");
            assert!(run.stdout.contains(&line), "{}", run.stdout);
        }
        let x = f32_bytes(&Numbers::new(5).take(256));
        write(&folder.path().join("x.safetensors"), "input", Dtype::F32, &[1, 16, 4, 4], &x);
        let run = "run @inside.yaml --weights @w.safetensors --input @x.safetensors --device cuda --mixing";
        let run = on(vgpu(folder.path()), folder.path(), &format!("{run} {mixing}"));
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        run.assert_clean();
        let found = run.stderr.lines().find(|line| line.contains(" launches on ")).map(str::to_owned);
        launches.push(found.unwrap_or_else(|| panic!("{}", run.stderr)));
    }
    assert_ne!(launches[0], launches[1]);
}

#[test]
fn options_of_plans_are_for_gpus() {
    let folder = tiny(1);
    let run = "run tiny.yaml --weights w.safetensors --input x.safetensors";
    let bench = "bench tiny.yaml --weights w.safetensors --batch 1,2";
    for (verb, option, value) in [(run, "--mixing", "apart"), (run, "--max-batch", "4"), (bench, "--gpu", "a100")] {
        let outcome = kwc(folder.path(), &format!("{verb} {option} {value}"));
        let message = format!("`{option}` is for runs on a GPU");
        assert!(outcome.assert_wrong_input().stderr.contains(&message), "{}", outcome.text());
    }
    let outcome = kwc(folder.path(), &format!("{bench} --device cuda --max-batch 1"));
    let message = "a batch of 2 is larger than the plan's largest";
    assert!(outcome.assert_wrong_input().stderr.contains(message), "{}", outcome.text());
}
