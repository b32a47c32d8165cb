//! `kwc bench`, on the processor and on the virtual GPU.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::vgpu::Vgpu;

const TINY: &str = "\
kwc: 1
name: tiny
input: { channels: 8, height: 6, width: 6 }
warehouses: { budget: 1/2, cell_in_ratio: 1/2 }
layers:
  - conv: { name: a, out: 8, kernel: 3, padding: 1, warehouse: w }
  - relu
  - global_avg_pool
  - linear: { name: fc, out: 3 }
";

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_kwc-under-test"))
}

/// A folder with a spec and random weights of it; their paths.
fn network() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let (spec, weights) = (folder.path().join("tiny.yaml"), folder.path().join("w.safetensors"));
    std::fs::write(&spec, TINY).unwrap();
    let mut init = std::process::Command::new(program());
    let status = init.arg("init").arg(&spec).arg("-o").arg(&weights).output().unwrap().status;
    assert!(status.success());
    (folder, spec, weights)
}

fn words(spec: &Path, weights: &Path, more: &str) -> Vec<String> {
    let paths = [spec, weights].map(|path| path.to_str().unwrap().to_owned());
    let [spec, weights] = paths;
    let mut words = vec!["bench".to_owned(), spec, "--weights".to_owned(), weights];
    words.extend(more.split_whitespace().map(str::to_owned));
    words
}

/// Percentiles are in order, and the throughput is between those of the fastest and the slowest runs.
#[track_caller]
fn assert_measured(batch: &Value, samples: f64, iterations: f64) {
    let of = |name: &str| batch["latency"][name].as_f64().unwrap();
    let (least, p50, p90, p99) = (of("least"), of("p50"), of("p90"), of("p99"));
    assert!(0.0 < least && least <= p50 && p50 <= p90 && p90 <= p99, "{batch}");
    let throughput = batch["throughput"].as_f64().unwrap();
    // Half of all runs take at least the median.
    let most = samples * iterations / ((least + p50) / 2.0 * iterations * 0.999 / 1e6);
    assert!(throughput > 0.0 && throughput <= most, "{batch}: at most {most}");
}

#[test]
fn bench_measures_the_processor() {
    let (_folder, spec, weights) = network();
    let run = |more: &str| std::process::Command::new(program()).args(words(&spec, &weights, more)).output().unwrap();
    let output = run("--batch 1,3 --iterations 9 --warm-up 0 --threads 1 --format json");
    let measured: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&measured["device"], &measured["precision"]), (&json!("cpu"), &json!("f32")));
    assert_eq!((&measured["iterations"], &measured["warm_up"]), (&json!(9), &json!(0)));
    assert_eq!(measured["bounds_of"], json!(null));
    let batches = measured["batches"].as_array().unwrap();
    assert_eq!(batches.len(), 2);
    for (batch, samples) in batches.iter().zip([1, 3]) {
        assert_eq!(batch["batch"], samples);
        assert_measured(batch, f64::from(samples), 9.0);
        assert_eq!(batch.get("launches"), None);
    }

    let text = String::from_utf8(run("--batch 2 --iterations 1 --threads 1").stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "tiny on cpu, f32: 1 run after 5, random inputs of seed 0");
    assert_eq!(lines[2].split("  ").filter(|title| !title.is_empty()).count(), 6, "{text}");
    let row: Vec<f64> = lines[3].split_whitespace().map(|cell| cell.parse().unwrap()).collect();
    // Of one run, all percentiles are its time.
    assert!(row[0] == 2.0 && row[1..5].iter().all(|time| *time == row[1]), "{text}");

    let refused = run("--gpu h100");
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("`--gpu` is for runs on a GPU"));
    for usage in ["--batch 0", "--batch 1,x", "--iterations 0", "--gpu a1000"] {
        assert_eq!(run(usage).status.code(), Some(2), "{usage}");
    }
}

#[test]
fn bench_measures_launches_beside_their_bounds() {
    let (_folder, spec, weights) = network();
    let arguments = words(&spec, &weights, "--device cuda --batch 1,3 --iterations 2 --warm-up 1 --format json");
    let run = Vgpu::new().variable("KWC_NVRTC", crate::vgpu::nvrtc().path()).command(program(), &arguments);
    assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
    run.assert_clean();
    let measured: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((&measured["precision"], &measured["bounds_of"]), (&json!("f16"), &json!("a100")));

    let plan = std::process::Command::new(program())
        .arg("plan")
        .arg(&spec)
        .args("--target cuda --max-batch 3 --bounds --batch 1 --format json".split(' '))
        .output()
        .unwrap();
    let plan: Value = serde_json::from_slice(&plan.stdout).unwrap();
    let batches = measured["batches"].as_array().unwrap();
    for (batch, samples) in batches.iter().zip([1, 3]) {
        assert_eq!(batch["batch"], samples);
        assert_measured(batch, f64::from(samples), 2.0);
        let launches = batch["launches"].as_array().unwrap();
        assert!(launches.iter().all(|launch| launch["time"]["least"].as_f64().unwrap() >= 0.0));
    }
    // What the plan says of the same launches.
    let planned = plan["bounds"]["launches"].as_array().unwrap();
    let launches = batches[0]["launches"].as_array().unwrap();
    assert_eq!(launches.len(), planned.len());
    for (launch, planned) in launches.iter().zip(planned) {
        for field in ["layer", "kernel", "grid", "bound", "limit"] {
            assert_eq!(launch[field], planned[field], "{field}");
        }
    }
    assert_eq!(batches[0]["bound"], plan["bounds"]["sums"]["bound"]);
}
