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

/// Runs `kwc bench` on a spec without weights.
fn bench(spec: &Path, more: &str) -> std::process::Output {
    std::process::Command::new(program()).arg("bench").arg(spec).args(more.split_whitespace()).output().unwrap()
}

/// What `kwc bench` says in JSON.
#[track_caller]
fn measured(output: &std::process::Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)))
}

#[track_caller]
fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is not a number"))
}

#[track_caller]
fn assert_close(a: f64, b: f64) {
    assert!((a - b).abs() <= 1e-9 * a.abs().max(b.abs()), "{a} and {b}");
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
        assert_eq!((&batch["iterations"], batch.get("launches"), batch.get("layers")), (&json!(9), None, None));
    }
    assert_eq!(measured["random_weights"], false);

    let text = String::from_utf8(run("--batch 2 --iterations 1 --threads 1").stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "tiny on cpu, f32: 1 run after 5, random inputs of seed 0");
    let facts: Vec<&str> = lines[2..6].iter().map(|line| line.trim_start().split("  ").next().unwrap()).collect();
    assert_eq!(facts, ["peak", "reading", "multiply-adds", "weights"], "{text}");
    assert!(lines[2].contains(" GFLOP/s ") && lines[2].contains("1 thread, ") && lines[3].contains(" GB/s "), "{text}");
    let titles: Vec<&str> = lines[7].split("  ").map(str::trim).filter(|title| !title.is_empty()).collect();
    let first = ["batch", "runs", "least ms", "p50 ms", "p90 ms", "p99 ms", "samples/s", "GFLOP/s", "of peak"];
    assert_eq!(titles[..9], first, "{text}");
    assert_eq!(titles[9..], ["arithmetic ms", "reading ms", "floor ms", "p50/floor"], "{text}");
    let row: Vec<f64> =
        lines[8].split_whitespace().filter(|&cell| cell != "%").map(|cell| cell.parse().unwrap()).collect();
    // Of one run, all percentiles are its time.
    assert!(row[..2] == [2.0, 1.0] && row[2..6].iter().all(|time| *time == row[2]), "{text}");
    assert_eq!((row.len(), lines.len()), (13, 9), "{text}");

    let refused = run("--gpu h100");
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("`--gpu` is for runs on a GPU"));
    for usage in ["--batch 0", "--batch 1,x", "--iterations 0", "--gpu a1000"] {
        assert_eq!(run(usage).status.code(), Some(2), "{usage}");
    }
}

/// Two layers that share a warehouse, and a pool that stems from no module.
const SHARED: &str = "\
kwc: 1
name: shared
input: { channels: 8, height: 6, width: 6 }
warehouses: { budget: 1/2, cell_in_ratio: 1/2 }
layers:
  - conv: { name: a, out: 8, kernel: 3, padding: 1, warehouse: w }
  - relu
  - max_pool: { kernel: 2 }
  - conv: { name: b, out: 16, kernel: 3, padding: 1, warehouse: w }
  - global_avg_pool
  - linear: { name: fc, out: 5 }
";

#[test]
fn bench_counts_what_a_plan_counts() {
    let folder = tempfile::tempdir().unwrap();
    let spec = folder.path().join("shared.yaml");
    std::fs::write(&spec, SHARED).unwrap();
    let output =
        bench(&spec, "--batch 1,2 --iterations 3 --threads 1 --instructions portable --per-layer --format json");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let measured = measured(&output);
    assert_eq!((&measured["random_weights"], &measured["iterations"]), (&json!(true), &json!(3)));
    let machine = &measured["machine"];
    assert_eq!((&machine["threads"], &machine["instructions"]), (&json!(1), &json!("portable")));
    assert!(number(&machine["peak"]) > 0.0 && number(&machine["bandwidth"]) > 0.0);

    let plan =
        std::process::Command::new(program()).arg("plan").arg(&spec).args(["--format", "json"]).output().unwrap();
    let plan: Value = serde_json::from_slice(&plan.stdout).unwrap();
    for batch in measured["batches"].as_array().unwrap() {
        let rows = batch["layers"]["rows"].as_array().unwrap();
        let named: Vec<(&str, &str, bool)> = rows
            .iter()
            .map(|row| {
                (row["layer"].as_str().unwrap(), row["kind"].as_str().unwrap(), row["dynamic"].as_bool().unwrap())
            })
            .filter(|(layer, _, _)| !layer.is_empty())
            .collect();
        assert_eq!(named, [("a", "conv 3x3", true), ("b", "conv 3x3", true), ("fc", "conv 1x1", false)]);
        assert!(rows.iter().any(|row| row["layer"] == "" && row["kind"] == "pool"), "{batch}");
        let row = |name: &str| rows.iter().find(|row| row["layer"] == name).unwrap();
        // Mixtures 9*1*2 and 9*2*2, half as many cells as both; 6x6 and 3x3 positions; hidden width 16.
        let a = json!({ "convolution": 36 * 8 * 8 * 9, "mixing": 18 * 27 * 32, "attention": 8 * 16 + 16 * 18 * 28 });
        assert_eq!(row("a")["multiply_adds"], a);
        assert_eq!(row("fc")["multiply_adds"], json!({ "convolution": 16 * 5, "mixing": 0, "attention": 0 }));
        for layer in plan["layers"].as_array().unwrap() {
            assert_eq!(row(layer["name"].as_str().unwrap())["multiply_adds"], layer["multiply_adds"]);
        }
        assert_whole(&measured, batch);
    }
    let total =
        ["convolution", "mixing", "attention"].map(|part| measured["cost"]["multiply_adds"][part].as_u64().unwrap());
    assert_eq!(total.iter().sum::<u64>(), plan["totals"]["multiply_adds"].as_u64().unwrap());
}

#[test]
fn bench_counts_mixing_as_it_is_done_with_a_folded_basis() {
    let folder = tempfile::tempdir().unwrap();
    let spec = folder.path().join("basis.yaml");
    let basis =
        SHARED.replace("cell_in_ratio: 1/2", "cell_in_ratio: 1/2, basis_ratio: 1/2").replace("out: 16", "out: 64");
    std::fs::write(&spec, basis).unwrap();
    let measured = measured(&bench(&spec, "--batch 1 --iterations 1 --per-layer --format json"));
    let rows = measured["batches"][0]["layers"]["rows"].as_array().unwrap();
    let work = |name: &str| &rows.iter().find(|row| row["layer"] == name).unwrap()["multiply_adds"];
    // Half of the 18 + 144 mixtures are 81 cells of 32 elements. Of `a`, 9 are its own, and the rank is half of the other 72: it
    // mixes 9 + 36 cells and a constant part. Of `b`, 72 are its own, and the least rank is 16: the 81 cells are fewer.
    assert_eq!(work("a")["mixing"], 18 * (9 + 36 + 1) * 32);
    assert_eq!(work("b")["mixing"], 144 * 81 * 32);
    assert_eq!(work("a")["attention"], 8 * 16 + 16 * 18 * (9 + 36 + 1) + 18 * 36 * 72);
}

/// Parts add up to rows, rows to the whole, and rates and floors follow from times and the machine's limits.
#[track_caller]
fn assert_whole(measured: &Value, batch: &Value) {
    let (peak, bandwidth) = (number(&measured["machine"]["peak"]), number(&measured["machine"]["bandwidth"]));
    let all = |of: &Value| ["convolution", "mixing", "attention"].iter().map(|&part| number(&of[part])).sum::<f64>();
    let samples = number(&batch["batch"]);
    let layers = &batch["layers"];
    let rows = layers["rows"].as_array().unwrap();
    for part in ["time", "attention", "mixing", "convolution", "rest"] {
        let sum: f64 = rows.iter().map(|row| number(&row[part])).sum();
        assert_close(number(&layers["sum"][part]), sum);
        assert_close(number(&layers["shares"][part]) * number(&layers["sum"]["time"]), sum);
    }
    assert_close(rows.iter().map(|row| number(&row["share"])).sum(), 1.0);
    for row in rows {
        assert_close(number(&row["time"]), all(row) + number(&row["rest"]));
        let work = all(&row["multiply_adds"]);
        assert_close(number(&row["flops"]) * number(&row["time"]), 2e6 * work * samples);
        assert_close(number(&row["floor"]["arithmetic"]), 2e6 * work * samples / peak);
        let of_cells = row["dynamic"].as_bool().unwrap();
        assert_eq!(number(&row["attention"]) > 0.0 && number(&row["mixing"]) > 0.0, of_cells, "{row}");
    }
    let of_rows = |part: &str| rows.iter().map(|row| number(&row["floor"][part])).sum::<f64>();
    for part in ["arithmetic", "reading", "least"] {
        assert_close(number(&batch["floor"][part]), of_rows(part));
    }
    let (arithmetic, reading) = (number(&batch["floor"]["arithmetic"]), number(&batch["floor"]["reading"]));
    assert_close(reading, number(&measured["cost"]["weight_bytes"]) / bandwidth * 1e6);
    let least = number(&batch["floor"]["least"]);
    assert!(least * 1.000_001 >= arithmetic.max(reading) && least <= arithmetic + reading, "{batch}");
    let median = number(&batch["latency"]["p50"]);
    assert_close(number(&batch["ratio"]), median / least);
    assert_close(number(&batch["flops"]) * median, 2e6 * all(&measured["cost"]["multiply_adds"]) * samples);
    assert_close(number(&batch["of_peak"]) * peak, number(&batch["flops"]));
}

#[test]
fn bench_shows_layers_as_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let spec = folder.path().join("shared.yaml");
    std::fs::write(&spec, SHARED).unwrap();
    let text = String::from_utf8(bench(&spec, "--batch 1,2 --iterations 2 --threads 2 --per-layer").stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "shared on cpu, f32: 2 runs after 5, random weights and inputs of seed 0");
    let starts: Vec<usize> = (0..lines.len()).filter(|&line| lines[line].starts_with("Batch ")).collect();
    assert_eq!(starts.len(), 2, "{text}");
    for (start, batch) in starts.into_iter().zip([1, 2]) {
        let head = format!("Batch {batch}: steps one by one, medians of 2; all at once ");
        assert!(lines[start].starts_with(&head), "{text}");
        let titles =
            ["layer", "kind", "ms", "share", "attention ms", "mixing ms", "conv ms", "GFLOP/s", "of peak", "floor ms"];
        let found: Vec<&str> = lines[start + 1].split("  ").map(str::trim).filter(|title| !title.is_empty()).collect();
        assert_eq!(found, titles, "{text}");
        let rows: Vec<&str> =
            lines[start + 2..].iter().copied().take_while(|line| !line.starts_with("shares: ")).collect();
        let first: Vec<&str> = rows.iter().map(|row| row.split_whitespace().next().unwrap()).collect();
        for name in ["a", "pool", "b", "fc", "sum"] {
            assert!(first.contains(&name), "{name}: {text}");
        }
        assert!(rows.iter().any(|row| row.starts_with("a ") && row.contains("  dynamic conv 3x3  ")), "{text}");
        let shares = lines[start + 2 + rows.len()];
        let words: Vec<&str> = shares.split_whitespace().filter(|word| word.parse::<f64>().is_err()).collect();
        assert_eq!(words.join(" "), "shares: attention %, mixing %, convolution %, the rest %");
        let all: f64 = shares.split_whitespace().filter_map(|word| word.parse::<f64>().ok()).sum();
        assert!((all - 100.0).abs() <= 0.21, "{shares}");
    }
}

#[test]
fn bench_refuses_what_it_cannot_do() {
    let folder = tempfile::tempdir().unwrap();
    let spec = folder.path().join("tiny.yaml");
    std::fs::write(&spec, TINY).unwrap();
    for (arguments, message) in [
        ("--state model_ema", "`--state` names a state dict, but there is no file of weights"),
        ("--precision f16", "on the processor, networks run in f32"),
        ("--device cuda --per-layer", "`--per-layer` is for runs on the processor"),
        ("--device cuda --instructions avx2", "`--instructions` is for runs on the processor"),
        ("--weights none.safetensors", "none.safetensors"),
    ] {
        let output = bench(&spec, arguments);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments}: {errors}");
        assert!(errors.contains(message), "{arguments}: {errors}");
    }
    for set in kwc_runtime::cpu::Instructions::ALL {
        let output = bench(&spec, &format!("--batch 1 --iterations 1 --format json --instructions {}", set.name()));
        if set.is_available() {
            assert_eq!(measured(&output)["machine"]["instructions"], set.name());
        } else {
            let errors = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{errors}");
            assert!(errors.contains(&format!("this processor has no {} instructions", set.name())), "{errors}");
            assert!(errors.contains("`portable`"), "{errors}");
        }
    }
    for usage in ["--instructions sse9", "--per-layer=yes", "--iterations x", "--threads 0"] {
        assert_eq!(bench(&spec, usage).status.code(), Some(2), "{usage}");
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
