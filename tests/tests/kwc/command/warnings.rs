//! What commands warn of: weights and outputs that are not finite.

use std::path::Path;

use kwc_compiler::weights::State;
use safetensors::tensor::Dtype;
use serde_json::{Value, json};

use super::device::{json, on, vgpu};
use super::eval::{EVAL, colours};
use super::run::{f32_bytes, write};
use super::{folder_with, kwc};

/// Six layers of one weight each.
const CHAIN: &str = "\
kwc: 1
name: chain
input: { tokens: 1, channels: 1 }
layers:
  - linear: { name: a, out: 1, bias: false }
  - linear: { name: b, out: 1, bias: false }
  - linear: { name: c, out: 1, bias: false }
  - linear: { name: d, out: 1, bias: false }
  - linear: { name: e, out: 1, bias: false }
  - linear: { name: f, out: 1, bias: false }
";

fn save(folder: &Path, tensors: &[(&str, &[usize], &[f32])]) {
    let mut state = State::default();
    for (name, shape, values) in tensors {
        state.insert(*name, shape.to_vec(), values.to_vec()).unwrap();
    }
    let mut file = std::fs::File::create(folder.join("w.safetensors")).unwrap();
    state.write_safetensors(&mut file).unwrap();
}

/// A folder with the chain, its weights, and an input of two samples.
fn chain(weights: [f32; 6]) -> tempfile::TempDir {
    let folder = folder_with("chain.yaml", CHAIN);
    let names = ["a.weight", "b.weight", "c.weight", "d.weight", "e.weight", "f.weight"];
    let values = weights.map(|x| [x]);
    let tensors: Vec<_> = names.iter().zip(&values).map(|(&name, x)| (name, &[1, 1][..], &x[..])).collect();
    save(folder.path(), &tensors);
    write(&folder.path().join("x.safetensors"), "input", Dtype::F32, &[2, 1, 1], &f32_bytes(&[1.0, 0.5]));
    folder
}

/// The lines of standard error that begin a warning.
fn warnings(stderr: &str) -> Vec<&str> {
    stderr.lines().filter_map(|line| line.strip_prefix("warning: ")).collect()
}

#[test]
fn weights_that_are_no_numbers_are_named() {
    let folder = chain([f32::NAN, 1.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::NAN]);
    let run = kwc(folder.path(), "run chain.yaml --weights w.safetensors --input x.safetensors --format json");
    assert_eq!(run.code, Some(0), "{}", run.text());
    let expected = [
        "w.safetensors: 5 tensors, values of which are infinite or not a number: `a.weight` (1 value), `c.weight` (1 value), \
         `d.weight` (1 value), `e.weight` (1 value) and 1 more",
        "`output`: 2 of 2 values are infinite or not a number",
    ];
    assert_eq!(warnings(&run.stderr), expected, "{}", run.text());
    assert_eq!(run.json()["warnings"], json!(expected));
    assert!(run.stderr.contains("export the weights again"), "{}", run.text());

    let fine = chain([1.0, 2.0, 3.0, 1e9, 1.0, 1.0]);
    let run = kwc(fine.path(), "run chain.yaml --weights w.safetensors --input x.safetensors --format json");
    assert_eq!(run.assert_ok().json()["warnings"], json!([]));
    let compiled = kwc(folder.path(), "compile chain.yaml --weights w.safetensors --precision f32 --arch sm_80");
    assert_eq!(compiled.code, Some(0), "{}", compiled.text());
    assert_eq!(warnings(&compiled.stderr), expected[..1], "{}", compiled.text());
}

#[test]
fn weights_that_f16_cannot_hold_are_named_where_it_is_used() {
    // 65519 is rounded to 65504, 65520 to infinity.
    let folder = chain([1.0, 65519.0, 1e-5, -65520.0, 1e-5, 1.0]);
    let compile = "compile chain.yaml -o net --weights w.safetensors --arch sm_80";
    let compiled = kwc(folder.path(), compile);
    assert_eq!(compiled.code, Some(0), "{}", compiled.text());
    let expected =
        "w.safetensors: a tensor, values of which are infinite in f16, whose largest is 65504: `d.weight` (1 value)";
    assert_eq!(warnings(&compiled.stderr), [expected], "{}", compiled.text());
    assert!(compiled.stderr.contains("help: use `--precision f32`"), "{}", compiled.text());
    let manifest = std::fs::read(folder.path().join("net/manifest.json")).unwrap();
    // The manifest is the same wherever the checkpoint lies.
    let plain = "a tensor, values of which are infinite in f16, whose largest is 65504: `d.weight` (1 value)";
    assert_eq!(serde_json::from_slice::<Value>(&manifest).unwrap()["warnings"], json!([plain]));
    assert!(kwc(folder.path(), &format!("{compile} --check")).stdout.contains("up to date"));
    let exact = kwc(folder.path(), &format!("{compile} --precision f32"));
    assert_eq!((exact.code, warnings(&exact.stderr)), (Some(0), vec![]), "{}", exact.text());

    let expected = expected.replace("w.saf", &format!("{}/w.saf", folder.path().display()));
    let run = "run @chain.yaml --weights @w.safetensors --input @x.safetensors --device cuda --format json";
    let half = on(vgpu(folder.path()), folder.path(), run);
    assert_eq!(half.code, Some(0), "{}", half.stderr);
    assert_eq!(
        json(&half)["warnings"],
        json!([expected, "`output`: 2 of 2 values are infinite or not a number"]),
        "{}",
        half.stderr
    );
    let single = on(vgpu(folder.path()), folder.path(), &format!("{run} --precision f32"));
    assert_eq!((single.code, json(&single)["warnings"].clone()), (Some(0), json!([])), "{}", single.stderr);
    // The network is compiled twice, fused and unfused; it is said once.
    let verify = on(vgpu(folder.path()), folder.path(), "verify @chain.yaml --weights @w.safetensors --format json");
    assert_eq!((verify.code, json(&verify)["warnings"].clone()), (Some(1), json!([expected])), "{}", verify.stderr);
    assert_eq!(warnings(&verify.stderr).len(), 1, "{}", verify.stderr);
}

#[test]
fn norms_that_make_no_numbers_are_named() {
    let spec = "\
kwc: 1
name: norm
input: { channels: 2, height: 1, width: 1 }
layers:
  - conv: { name: a, out: 2, kernel: 1 }
  - batch_norm: { name: n }
";
    let folder = folder_with("norm.yaml", spec);
    save(
        folder.path(),
        &[
            ("a.weight", &[2, 2, 1, 1], &[1.0; 4]),
            ("n.weight", &[2], &[1.0; 2]),
            ("n.bias", &[2], &[0.0; 2]),
            ("n.running_mean", &[2], &[0.0; 2]),
            ("n.running_var", &[2], &[1.0, -1.0]),
        ],
    );
    write(&folder.path().join("x.safetensors"), "input", Dtype::F32, &[1, 2, 1, 1], &f32_bytes(&[1.0, 1.0]));
    let run = kwc(folder.path(), "run norm.yaml --weights w.safetensors --input x.safetensors");
    assert_eq!(run.code, Some(0), "{}", run.text());
    let [weights, output] = warnings(&run.stderr)[..] else { panic!("{}", run.text()) };
    assert!(weights.contains("once norms are folded: `a.weight` (2 values, with `n` folded in)"), "{}", run.text());
    assert!(run.stderr.contains("`running_var`"), "{}", run.text());
    assert_eq!(output, "`output`: 1 of 2 values are infinite or not a number");

    // A factor of 3e38 is finite, and so is what it makes of the kernel in f32.
    save(
        folder.path(),
        &[
            ("a.weight", &[2, 2, 1, 1], &[1.0; 4]),
            ("n.weight", &[2], &[1.0, 3e38]),
            ("n.bias", &[2], &[0.0; 2]),
            ("n.running_mean", &[2], &[0.0; 2]),
            ("n.running_var", &[2], &[1.0; 2]),
        ],
    );
    let compiled = kwc(folder.path(), "compile norm.yaml --weights w.safetensors --arch sm_80");
    assert_eq!(compiled.code, Some(0), "{}", compiled.text());
    let [weights] = warnings(&compiled.stderr)[..] else { panic!("{}", compiled.text()) };
    assert!(weights.ends_with("largest is 65504: `a.weight` (2 values, with `n` folded in)"), "{weights}");
    assert!(hint(&compiled.stderr, "w.safetensors").contains("norms that are folded in"), "{}", compiled.text());

    // A norm that stands alone is named by its path.
    std::fs::write(folder.path().join("alone.yaml"), spec.replace("  - conv: { name: a, out: 2, kernel: 1 }\n", ""))
        .unwrap();
    save(
        folder.path(),
        &[
            ("n.weight", &[2], &[1.0; 2]),
            ("n.bias", &[2], &[0.0; 2]),
            ("n.running_mean", &[2], &[0.0; 2]),
            ("n.running_var", &[2], &[1.0, -1.0]),
        ],
    );
    let run = kwc(folder.path(), "run alone.yaml --weights w.safetensors --input x.safetensors");
    assert!(warnings(&run.stderr)[0].ends_with("once norms are folded: `n` (1 value)"), "{}", run.text());
}

#[test]
fn evaluations_count_outputs_that_are_not_finite() {
    let folder = colours();
    // Red is infinite where there is any; the two images without have 0 times infinity.
    let infinite = [f32::INFINITY, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
    save(folder.path(), &[("fc.weight", &[3, 3], &infinite)]);
    let outcome = kwc(folder.path(), &format!("{EVAL} --format json"));
    assert_eq!(outcome.code, Some(1), "{}", outcome.text());
    let expected = [
        "w.safetensors: a tensor, values of which are infinite or not a number: `fc.weight` (1 value)",
        "`output`: 5 of 15 values are infinite or not a number",
    ];
    assert_eq!(outcome.json()["warnings"], json!(expected));
    assert_eq!(warnings(&outcome.stderr), expected);
}

/// The line after a warning that begins so: its way out.
fn hint<'e>(stderr: &'e str, warning: &str) -> &'e str {
    let mut lines = stderr.lines().skip_while(|line| !line.starts_with(&format!("warning: {warning}")));
    lines.find(|line| line.trim_start().starts_with("= help: ")).unwrap_or_else(|| panic!("{stderr}"))
}

#[test]
fn verify_does_not_blame_a_gpu_for_weights_and_inputs_that_are_no_numbers() {
    // From `c` on, nothing is a number on either device.
    let folder = chain([1.0, 1.0, f32::NAN, 1.0, 1.0, 1.0]);
    let verify = "verify @chain.yaml --weights @w.safetensors --input @x.safetensors --report @report.json";
    let run = on(vgpu(folder.path()), folder.path(), verify);
    assert_eq!(run.code, Some(1), "{}{}", run.stdout, run.stderr);
    let why = "not a number on the processor too: 2 of 2 values of the outputs, from layer `c` on";
    assert!(run.stdout.contains(&format!("no verdict: {why}")), "{}", run.stdout);
    assert!(run.stderr.contains(&format!("error: no verdict on the GPU: {why}")), "{}", run.stderr);
    assert!(!run.stderr.contains("differ") && !run.stderr.contains("f32"), "{}", run.stderr);
    let report = std::fs::read(folder.path().join("report.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    assert_eq!((&report["right"], &report["outputs"][0]["not_finite"]), (&Value::Null, &2.into()), "{report}");
    let counts: Vec<&Value> = report["layers"].as_array().unwrap().iter().map(|l| &l["not_finite"]).collect();
    assert_eq!(counts, [0, 0, 2, 2, 2, 2]);
    // 1 and 0.5 are the inputs.
    let (b, c) = (&report["layers"][1], &report["layers"][2]);
    assert_eq!((&b["largest"], &b["relative_error"]), (&1.0.into(), &0.0.into()), "{b}");
    assert_eq!((&c["largest"], &c["relative_error"], &c["overflow"]), (&Value::Null, &Value::Null, &0.into()), "{c}");

    let fine = chain([1.0; 6]);
    let x = f32_bytes(&[f32::INFINITY, 0.5]);
    write(&fine.path().join("x.safetensors"), "input", Dtype::F32, &[2, 1, 1], &x);
    let run = on(vgpu(fine.path()), fine.path(), verify);
    assert_eq!(run.code, Some(1), "{}{}", run.stdout, run.stderr);
    assert_eq!(warnings(&run.stderr), ["input `input`: 1 of 2 values are infinite or not a number"], "{}", run.stderr);
    assert!(run.stdout.contains("1 of 2 values of the outputs, from layer `a` on"), "{}", run.stdout);
}

#[test]
fn runs_name_weights_and_inputs_as_what_made_outputs_no_numbers() {
    let folder = chain([1.0, 1.0, f32::NAN, 1.0, 1.0, 1.0]);
    let command = "run @chain.yaml --weights @w.safetensors --input @x.safetensors --device cuda";
    let run = on(vgpu(folder.path()), folder.path(), command);
    assert!(hint(&run.stderr, "`output`").contains("weights or inputs that are warned of"), "{}", run.stderr);
    let plain = kwc(folder.path(), "run chain.yaml --weights w.safetensors --input x.safetensors");
    assert!(hint(&plain.stderr, "`output`").contains("weights or inputs that are warned of"), "{}", plain.stderr);

    let fine = chain([1.0; 6]);
    let x = f32_bytes(&[1.0, f32::NAN]);
    write(&fine.path().join("x.safetensors"), "input", Dtype::F32, &[2, 1, 1], &x);
    let run = kwc(fine.path(), "run chain.yaml --weights w.safetensors --input x.safetensors --batch 1");
    let expected = [
        "input `input`: 1 of 2 values are infinite or not a number",
        "`output`: 1 of 2 values are infinite or not a number",
    ];
    assert_eq!(warnings(&run.stderr), expected, "{}", run.text());
}

#[test]
fn vectors_without_a_number_have_no_largest_value() {
    let spec = "kwc: 1\nname: vector\ninput: { channels: 2 }\nlayers: [linear: { name: a, out: 2, bias: false }]\n";
    let folder = folder_with("vector.yaml", spec);
    save(folder.path(), &[("a.weight", &[2, 2], &[1.0, 0.0, 0.0, 1.0])]);
    let x = f32_bytes(&[f32::NAN, f32::NAN, 1.0, 2.0]);
    write(&folder.path().join("x.safetensors"), "input", Dtype::F32, &[2, 2], &x);
    let arguments = "run vector.yaml --weights w.safetensors --input x.safetensors";
    let run = kwc(folder.path(), arguments);
    let lines: Vec<&str> = run.stdout.lines().filter(|line| line.contains("largest at")).collect();
    assert!(matches!(lines[..], [line] if line.ends_with("largest at 1")), "{}", run.text());
    let json = kwc(folder.path(), &format!("{arguments} --format json")).json();
    assert_eq!(json["outputs"][0]["samples"][0].get("argmax"), None, "{json}");
}
