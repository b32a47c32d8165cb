//! The `kwc` command, run as a process: exit codes, messages, output files. Costs of plans.

mod bounds;
mod compile;
mod costs;
mod device;
mod eval;
#[cfg(target_os = "linux")]
mod memory;
mod packed;
mod run;
mod warnings;

use std::path::Path;
use std::process::{Command, Stdio};

use insta::assert_snapshot;
use serde_json::Value;

/// What a run of the command left behind.
struct Outcome {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Outcome {
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}\n{}", self.stdout, self.stderr))
    }

    /// Code, output and errors as one text for snapshots.
    fn text(&self) -> String {
        format!("exit code {:?}\n--- stdout\n{}--- stderr\n{}", self.code, self.stdout, self.stderr)
    }

    fn assert_ok(&self) -> &Self {
        assert_eq!(self.code, Some(0), "{}", self.text());
        assert_eq!(self.stderr, "");
        self
    }

    fn assert_wrong_input(&self) -> &Self {
        assert_eq!(self.code, Some(1), "{}", self.text());
        assert!(!self.stderr.contains("bug in kwc"), "{}", self.text());
        self
    }
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kwc-under-test"));
    command.current_dir(folder).stdin(Stdio::null());
    for variable in ["COLUMNS", "CLICOLOR_FORCE", "NO_COLOR", "RUST_BACKTRACE"] {
        command.env_remove(variable);
    }
    command
}

/// Runs the command in a folder, with arguments that are separated by spaces.
fn kwc(folder: &Path, arguments: &str) -> Outcome {
    let output = command(folder).args(arguments.split_whitespace()).output().unwrap();
    Outcome {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A folder with one file.
fn folder_with(name: &str, text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(name), text).unwrap();
    folder
}

/// Two dynamic layers that share a warehouse, and a static one.
const TINY: &str = "\
kwc: 1
name: tiny
params: { classes: 10 }
input: { channels: 8, height: 6, width: 6 }
warehouses: { budget: 1/2, cell_in_ratio: 1/2 }
layers:
  - conv: { name: a, out: 8, kernel: 3, padding: 1, warehouse: w }
  - relu
  - conv: { name: b, out: 16, kernel: 3, stride: 2, padding: 1, warehouse: w }
  - global_avg_pool
  - linear: { name: fc, out: $classes }
";

#[test]
fn help_says_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    assert_snapshot!("help", kwc(folder.path(), "--help").assert_ok().stdout);
    for verb in ["check", "plan", "compile", "run", "eval", "verify", "bench", "toolchain"] {
        let outcome = kwc(folder.path(), &format!("{verb} --help"));
        assert_snapshot!(format!("help_{verb}"), outcome.assert_ok().stdout);
    }
}

#[test]
fn usage_errors_exit_with_2() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        "",
        "chekc a.yaml",
        "check",
        "plan a.yaml --format xml",
        "plan a.yaml --set classes",
        "plan a.yaml --set =3",
        "run a.yaml --input x.safetensors",
        "run a.yaml --weights w --input x --threads 0",
        "run a.yaml --weights w --input x --device gpu",
    ] {
        let outcome = kwc(folder.path(), arguments);
        assert_eq!(outcome.code, Some(2), "`kwc {arguments}`: {}", outcome.text());
        assert!(outcome.stdout.is_empty() && !outcome.stderr.is_empty(), "`kwc {arguments}`: {}", outcome.text());
    }
}

#[test]
fn check_accepts_a_right_spec() {
    let folder = folder_with("tiny.yaml", TINY);
    let outcome = kwc(folder.path(), "check tiny.yaml");
    // 27 cells of 8x4, two attentions (8728 and 17296, see `costs`), a linear layer from 16 to 10.
    let parameters = 864 + 8728 + 17296 + 170;
    assert_eq!(
        outcome.assert_ok().stdout,
        format!("tiny.yaml: ok (5 layers, 2 of them dynamic, {parameters} parameters)\n")
    );
    let json = kwc(folder.path(), "check tiny.yaml --format json --set classes=3").assert_ok().json();
    assert_eq!(json[0]["ok"], true);
    assert_eq!(json[0]["parameters"], parameters - 7 * 17);
}

#[test]
fn check_reports_every_wrong_spec() {
    let folder = folder_with("tiny.yaml", TINY);
    std::fs::write(folder.path().join("typo.yaml"), TINY.replace("stride: 2", "strid: 2")).unwrap();
    let outcome = kwc(folder.path(), "check typo.yaml tiny.yaml absent.yaml .");
    outcome.assert_wrong_input();
    assert_snapshot!("check_errors", outcome.text());

    let json = kwc(folder.path(), "check typo.yaml tiny.yaml --format json").assert_wrong_input().json();
    assert_eq!(json[0]["ok"], false);
    assert_eq!(json[0]["errors"][0]["file"], "typo.yaml");
    assert_eq!(json[0]["errors"][0]["line"], 9);
    assert_eq!(json[1]["ok"], true);
}

#[test]
fn specs_that_are_no_text_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bytes.yaml"), b"kwc: 1\nname: \xff\xfe\n").unwrap();
    std::fs::File::create(folder.path().join("huge.yaml")).unwrap().set_len(1 << 32).unwrap();
    let outcome = kwc(folder.path(), "check bytes.yaml huge.yaml");
    outcome.assert_wrong_input();
    assert!(outcome.stderr.contains("not UTF-8 text (at byte 13)"), "{}", outcome.text());
    assert!(outcome.stderr.contains("larger than 16 MiB"), "{}", outcome.text());
}

#[test]
fn extended_files_are_found_from_the_file_that_names_them() {
    let folder = folder_with("tiny.yaml", TINY);
    let sub = folder.path().join("sub");
    std::fs::create_dir(&sub).unwrap();
    std::fs::write(
        sub.join("wide.yaml"),
        "kwc: 1\nname: wide\nextends: ./../sub/../tiny.yaml\nparams: { classes: 20 }\n",
    )
    .unwrap();
    let json = kwc(folder.path(), "plan sub/wide.yaml --format json").assert_ok().json();
    assert_eq!(json["outputs"][0]["shape"], serde_json::json!([20]));
    // An error in it names it as one would from here.
    std::fs::write(folder.path().join("tiny.yaml"), TINY.replace("kernel: 3", "kernel: x")).unwrap();
    let outcome = kwc(folder.path(), "plan sub/wide.yaml");
    assert!(outcome.assert_wrong_input().stderr.contains("--> tiny.yaml:"), "{}", outcome.text());
}

#[cfg(unix)]
#[test]
fn a_parent_after_a_link_is_the_parent_of_its_target() {
    let folder = folder_with("tiny.yaml", "this is the wrong file");
    let elsewhere = folder.path().join("elsewhere");
    std::fs::create_dir_all(elsewhere.join("deep")).unwrap();
    std::fs::write(elsewhere.join("tiny.yaml"), TINY).unwrap();
    std::fs::write(elsewhere.join("deep/wide.yaml"), "kwc: 1\nname: wide\nextends: ../tiny.yaml\n").unwrap();
    std::os::unix::fs::symlink("elsewhere/deep", folder.path().join("link")).unwrap();
    kwc(folder.path(), "check link/wide.yaml").assert_ok();
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let folder = folder_with("tiny.yaml", TINY);
    for arguments in ["plan tiny.yaml", "plan tiny.yaml --format json", "check tiny.yaml", "--help"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command(folder.path())
            .args(arguments.split_whitespace())
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .and_then(std::process::Child::wait_with_output)
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "kwc {arguments}");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "kwc {arguments}");
    }
}
