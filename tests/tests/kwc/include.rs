//! `include_model!` and generated crates in programs of their own: what compiles, what it does, and where errors point.
//!
//! The programs are built by cargo beside the tests, with what the tests were built with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};

use crate::golden::package;
use crate::vgpu::{Vgpu, nvrtc};

/// The folder of a program, with these files and a dependency on the runtime.
fn program(name: &str, dependencies: &str, files: &[(&str, &str)]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(folder.join("src")).unwrap();
    let root = package().join("..");
    // Crates are built alike, so that most of them need not be built again.
    let workspace = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let profile = &workspace[workspace.find("[profile.dev]").unwrap()..];
    let manifest = format!(
        "[package]\nname = {name:?}\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
         [dependencies]\nkwc-runtime = {{ path = {:?} }}\n{dependencies}\n{profile}",
        root.join("runtime").canonicalize().unwrap()
    );
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    for (file, text) in files {
        fs::write(folder.join(file), text).unwrap();
    }
    folder
}

fn cargo(folder: &Path, arguments: &[&str]) -> Output {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(folder).args(arguments).env("CARGO_NET_OFFLINE", "true").env("CARGO_TERM_COLOR", "never");
    // What the workspace's build left in the environment is about other packages.
    command.env_remove("CARGO_ENCODED_RUSTFLAGS").env("CARGO_TARGET_DIR", target);
    command.output().unwrap()
}

#[track_caller]
fn assert_builds(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn kwc(arguments: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_kwc-under-test"))
        .args(arguments)
        .env("KWC_NVRTC", nvrtc().path())
        .output()
        .unwrap();
    assert_builds(&output);
}

/// Runs a network in all the ways in which it can be part of a program. Each prints what it gives for inputs that add up to
/// small numbers.
const RUNS: &str = r#"
use kwc_runtime::cuda::{Device, PackedWeights};

mod spec {
    kwc_runtime::include_model!("ports.yaml", target = cuda, precision = f32, max_batch = 2);
}

mod folder {
    kwc_runtime::include_model!("net/");
}

macro_rules! run {
    ($network:ident, $device:expr) => {{
        let weights = PackedWeights::new(&$network::PROGRAM, vec![0; $network::PROGRAM.weight_bytes]).unwrap();
        let mut model = $network::Model::load($device, &weights).unwrap();
        let left: Vec<f32> = (0_u8..64).map(f32::from).collect();
        let outputs = model.run(2, &left, &[0.5; 64]).unwrap();
        assert!(outputs.sum.iter().zip(&left).all(|(sum, left)| *sum == left + 0.5), "{:?}", outputs.sum);
        println!("{} {:?}", stringify!($network), &outputs.value_2x[128..136]);
        let stream = $device.stream().unwrap();
        let left = stream.clone_htod(&left).unwrap();
        let right = stream.clone_htod(&[1.5_f32; 64]).unwrap();
        let (mut sum, mut value_2x) = (stream.alloc_zeros(64).unwrap(), stream.alloc_zeros(256).unwrap());
        let outputs = $network::DeviceOutputs { sum: &mut sum, value_2x: &mut value_2x };
        model.run_device(2, &left, &right, outputs).unwrap();
        println!("{:?}, {}", &stream.clone_dtoh(&sum).unwrap()[..4], model.untyped().code_used());
    }};
}

fn main() {
    let device = Device::new(0).unwrap();
    run!(spec, &device);
    run!(folder, &device);
    run!(ports, &device);
}
"#;

#[test]
fn networks_run_as_part_of_programs() {
    let folder = program("kwc-include-runs", "ports = { path = \"net\" }\n", &[("src/main.rs", RUNS)]);
    fs::copy(package().join("cases/emit/ports.yaml"), folder.join("ports.yaml")).unwrap();
    let runtime = package().join("../runtime").canonicalize().unwrap();
    let (spec, net) = (folder.join("ports.yaml"), folder.join("net"));
    let paths = [&spec, &net, &runtime].map(|path| path.to_str().unwrap());
    let options = ["--precision", "f32", "--max-batch", "2", "--arch", "sm_80"];
    kwc(&[["compile", paths[0], "-o", paths[1], "--runtime", paths[2]].as_slice(), &options].concat());
    assert_builds(&cargo(&folder, &["build"]));
    let binary = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("debug/kwc-include-runs");
    let run = Vgpu::new().variable("KWC_NVRTC", nvrtc().path()).command(&binary, &["run"]);
    assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
    run.assert_clean();
    let lines: Vec<&str> = run.stdout.lines().collect();
    // Row 0 of the second sample's first channel, every value twice.
    let twice = "[32.5, 32.5, 33.5, 33.5, 34.5, 34.5, 35.5, 35.5]";
    let [spec, spec_device, folder_, folder_device, library, library_device] = lines[..] else { panic!("{lines:?}") };
    assert_eq!([spec, folder_, library], ["spec", "folder", "ports"].map(|way| format!("{way} {twice}")));
    for (line, code) in [(spec_device, "compiled now"), (folder_device, "PTX"), (library_device, "PTX")] {
        assert!(line.starts_with("[1.5, 2.5, 3.5, 4.5], ") && line.contains(code), "{line}");
    }
    // The generated crate has nothing that clippy would remark on.
    let clippy = cargo(&folder, &["clippy", "-p", "ports", "--", "-D", "warnings", "-D", "missing_docs"]);
    assert_builds(&clippy);
    // A folder that isn't as it was compiled is refused.
    fs::write(net.join("kernels.cu"), "// edited").unwrap();
    let output = cargo(&folder, &["check", "--message-format", "short"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && stderr.contains("net/kernels.cu is not as it was compiled"), "{stderr}");
    fs::remove_dir_all(net).unwrap();
}

/// Loads packed weights for the processor in both ways in which a compiled folder can be part of a program, and prints the
/// bits of what comes out for a constant input.
const LOADS: &str = r#"
use kwc_runtime::cpu::Options;

mod folder {
    kwc_runtime::include_model!("net");
}

macro_rules! run {
    ($network:ident, $file:expr) => {{
        let mut model = $network::Model::load($file, &Options::default()).unwrap();
        let outputs = model.run(1, &[0.25; 8 * 36]).unwrap();
        println!("{:?}", outputs.output.iter().map(|x| x.to_bits()).collect::<Vec<_>>());
    }};
}

fn main() {
    let file = std::env::args().nth(1).unwrap();
    run!(folder, &file);
    run!(dynamic, &file);
}
"#;

#[test]
fn programs_load_packed_weights_for_the_processor() {
    let folder = program("kwc-include-loads", "dynamic = { path = \"net\" }\n", &[("src/main.rs", LOADS)]);
    let runtime = package().join("../runtime").canonicalize().unwrap();
    let files = ["net", "w.safetensors", "x.safetensors", "y.safetensors"].map(|name| folder.join(name));
    let [net, checkpoint, input, output] = files.each_ref().map(|path| path.to_str().unwrap());
    let spec = package().join("cases/emit/dynamic.yaml");
    let spec = spec.to_str().unwrap();
    kwc(&["init", spec, "-o", checkpoint, "--seed", "1"]);
    kwc(&[
        "compile",
        spec,
        "-o",
        net,
        "--target",
        "cpu",
        "--weights",
        checkpoint,
        "--runtime",
        runtime.to_str().unwrap(),
    ]);
    let values = 0.25_f32.to_le_bytes().repeat(8 * 36);
    let view = TensorView::new(Dtype::F32, vec![1, 8, 6, 6], &values).unwrap();
    serialize_to_file([("input", view)], None, Path::new(input)).unwrap();
    kwc(&["run", spec, "--weights", checkpoint, "--input", input, "--output", output]);
    let bytes = fs::read(output).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let expected = tensors.tensor("output").unwrap();
    let expected: Vec<u32> = expected.data().as_chunks().0.iter().map(|x| u32::from_le_bytes(*x)).collect();

    assert_builds(&cargo(&folder, &["build"]));
    let binary = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("debug/kwc-include-loads");
    let run = Command::new(binary).arg(folder.join("net/weights.safetensors")).output().unwrap();
    assert_builds(&run);
    assert_eq!(String::from_utf8(run.stdout).unwrap(), format!("{expected:?}\n{expected:?}\n"));
    let clippy = cargo(&folder, &["clippy", "-p", "dynamic", "--", "-D", "warnings", "-D", "missing_docs"]);
    assert_builds(&clippy);
    // By itself, the crate takes no more of the runtime than it needs.
    assert_builds(&cargo(&files[0], &["check"]));
    fs::remove_dir_all(net).unwrap();
}

/// Wrong uses, one a line, and what is said about each: line and column, and a part of the message.
const WRONG: [(&str, usize, &str); 12] = [
    ("m!(\"absent.yaml\");", 4, "can't read `absent.yaml`: no such file"),
    ("m!(\"typo.yaml\");", 4, "typo.yaml:6:13"),
    ("m!(\"/x.yaml\");", 4, "give the path relative to the crate"),
    ("m!(\"src\");", 4, "src is no folder of `kwc compile`"),
    ("m!(\"src\", target = cuda);", 11, "a compiled folder has its options already"),
    ("m!(\"right.yaml\", target = gpu);", 27, "`target` is one of cpu, cuda, not `gpu`"),
    ("m!(\"right.yaml\", target = cuda, max_batch = 0);", 45, "`max_batch` is a whole number from 1 to 4096"),
    ("m!(\"right.yaml\", precision = f16);", 18, "this is an option of CUDA: give `target = cuda` too"),
    ("m!(\"right.yaml\", batch = 3);", 18, "there is no option `batch`"),
    ("m!(\"right.yaml\", set = \"width\");", 24, "write NAME=VALUE in quotes"),
    ("m!(\"right.yaml\", target = cpu, target = cuda);", 32, "`target` is given twice"),
    ("m!(right);", 4, "expected string literal"),
];

#[test]
fn errors_point_at_what_is_wrong() {
    let right = "kwc: 1\nname: right\ninput: { channels: 4, height: 4, width: 4 }\nlayers:\n  - relu\n";
    let typo = "kwc: 1\nname: typo\ninput: { channels: 4, height: 4, width: 4 }\nlayers:\n  - relu\n  - conv: { kernle: 3, out: 4 }\n";
    let uses: Vec<String> = WRONG.iter().map(|(line, _, _)| format!("{line}\n")).collect();
    let main = format!("use kwc_runtime::include_model as m;\n{}fn main() {{}}\n", uses.concat());
    let files = [("src/main.rs", main.as_str()), ("right.yaml", right), ("typo.yaml", typo)];
    let folder = program("kwc-include-wrong", "", &files);
    let output = cargo(&folder, &["check", "--message-format", "short"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{stderr}");
    // Messages of several lines belong to the line that names their place.
    let messages: Vec<&str> = stderr.split("\nsrc/main.rs:").skip(1).collect();
    for (index, (line, column, message)) in WRONG.into_iter().enumerate() {
        let place = format!("{}:{column}: error", index + 2);
        let found = messages.iter().find(|text| text.starts_with(&place));
        assert!(found.is_some_and(|text| text.contains(message)), "{line} {place}\n{stderr}");
    }
    assert_eq!(messages.len(), WRONG.len(), "{stderr}");
}
