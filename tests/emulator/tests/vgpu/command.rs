//! The command `vgpu` with programs that are shell scripts: exit codes, environment, reports, signals.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use kwc_emulator::findings::Kind;
use kwc_emulator::report::summary::Report;

use crate::harness::{VGPU, text_of};

const START: &str = r#"{"record":"start","format":1,"architecture":"sm_80","process":7}"#;
const FINDING: &str = r#"{"kind":"shared-race","kernel":"reverse","launch":1,"block":[1,0,0],"thread":[31,0,0],"instruction":"ld.shared.u32 %r5, [%r3];","line":42,"source":["reverse.cu",12],"address":28,"message":"Nothing orders it after the write of thread (0, 0, 0).","count":64}"#;

/// Runs `vgpu` with a script in place of a program; it finds `$START` and `$FINDING` in its environment.
fn vgpu(arguments: &[&str], script: &str) -> Output {
    command(arguments, script).output().expect("vgpu runs")
}

fn command(arguments: &[&str], script: &str) -> Command {
    let mut command = Command::new(VGPU);
    for variable in ["VGPU_ARCH", "VGPU_CHECK", "VGPU_SEED", "VGPU_THREADS", "VGPU_COUNTERS"] {
        command.env_remove(variable);
    }
    command.args(arguments).args(["--", "sh", "-c", script]).env("START", START).env("FINDING", FINDING);
    command
}

fn report_of(path: &Path) -> Report {
    serde_json::from_slice(&std::fs::read(path).expect("a report")).expect("a report that can be read")
}

#[test]
fn the_programs_own_code_and_streams_come_through() {
    let output = vgpu(&[], "echo out; echo err >&2; exit 3");
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "out\n");
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(err.starts_with("err\n"), "{err}");
    assert!(err.contains("never loaded the CUDA driver"), "{err}");
    assert!(err.contains("the program ended with 3"), "{err}");
}

#[test]
fn findings_give_86_and_are_shown() {
    let output = vgpu(
        &[],
        r#"{ echo "$START"; echo "{\"record\":\"finding\",${FINDING#?}"; echo '{"record":"end"}'; } > $VGPU_TRACE/7.jsonl; exit 3"#,
    );
    assert_eq!(output.status.code(), Some(86));
    let err = String::from_utf8_lossy(&output.stderr);
    for part in [
        "race on shared memory in reverse, 64 times",
        "Nothing orders it after the write of thread (0, 0, 0).",
        "reverse.cu:12",
        "line 42: ld.shared.u32 %r5, [%r3];",
        "block (1, 0, 0), thread (31, 0, 0), launch 1, address 0x1c",
        "1 finding in 0 launches on sm_80",
    ] {
        assert!(err.contains(part), "{part:?} isn't in:\n{err}");
    }
    assert!(!err.contains('\u{1b}'), "no colours where standard error is no terminal");
}

#[test]
fn the_report_holds_findings_and_how_the_program_ended() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("report.json");
    let output = vgpu(
        &["--report", path.to_str().expect("a path in UTF-8")],
        r#"{ echo "$START"; echo "{\"record\":\"finding\",${FINDING#?}"; echo '{"record":"launch","kernel":"reverse","launch":1,"counters":null,"findings":[]}'; printf '{"record":"la'; } > $VGPU_TRACE/7.jsonl; kill -KILL $$"#,
    );
    assert_eq!(output.status.code(), Some(86), "{}", text_of(&output));
    let report = report_of(&path);
    assert_eq!((report.format, report.architecture.as_deref()), (1, Some("sm_80")));
    assert_eq!((report.exit.code, report.exit.signal), (None, Some(9)));
    assert_eq!(report.command[..2], ["sh", "-c"]);
    assert_eq!(report.processes.iter().map(|p| (p.process, p.ended)).collect::<Vec<_>>(), [(7, false)]);
    let [finding] = &report.findings[..] else { panic!("{report:?}") };
    assert_eq!((finding.kind, finding.count, finding.address), (Kind::SharedRace, 64, Some(28)));
    assert_eq!(report.launches.len(), 1);
    assert_eq!(report.unreadable.len(), 1, "the torn last line is said");
    assert!(report.unreadable[0].contains("line 4 breaks off"), "{:?}", report.unreadable);
    assert_eq!(std::fs::read_dir(directory.path()).expect("the directory").count(), 1, "nothing is left beside it");
}

#[test]
fn a_signal_that_kills_the_program_gives_128_and_its_number() {
    assert_eq!(vgpu(&[], "kill -SEGV $$").status.code(), Some(128 + 11));
}

#[test]
fn termination_is_passed_on_and_the_report_still_printed() {
    let mut child = command(&[], "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("vgpu runs");
    let mut ready = [0; 6];
    std::io::Read::read_exact(child.stdout.as_mut().expect("a pipe"), &mut ready).expect("the program starts");
    let kill = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill runs");
    assert!(kill.success());
    let output = child.wait_with_output().expect("vgpu ends");
    assert_eq!(output.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&output.stderr).contains("the program ended with 5"));
}

#[test]
fn an_interrupt_ends_the_program_but_not_the_report() {
    // As a terminal does it: to both. The shell passes it to none of its own children, so it sends it itself.
    let output = vgpu(&[], "kill -INT $PPID; sleep 0.1; kill -INT $$; sleep 5");
    assert_eq!(output.status.code(), Some(128 + 2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("signal 2 killed the program"));
}

#[test]
fn options_reach_the_program_as_variables() {
    let script =
        r#"echo "$VGPU_ARCH $VGPU_CHECK $VGPU_SEED $VGPU_THREADS $VGPU_COUNTERS"; [ -d "$VGPU_TRACE" ] && echo trace"#;
    let options =
        ["--arch", "sm_90", "--check", "races,initialised", "--seed", "7", "--threads", "2", "--counters", "off"];
    assert_eq!(String::from_utf8_lossy(&vgpu(&options, script).stdout), "sm_90 races,initialised 7 2 off\ntrace\n");
    assert_eq!(String::from_utf8_lossy(&vgpu(&[], script).stdout), "sm_80 all   on\ntrace\n");
    let inherited = command(&[], script).env("VGPU_ARCH", "sm_86").env("VGPU_SEED", "3").output().expect("vgpu runs");
    assert_eq!(String::from_utf8_lossy(&inherited.stdout), "sm_86 all 3  on\ntrace\n");
}

#[test]
fn the_driver_is_found_first_under_both_its_names() {
    let script = r#"d=${LD_LIBRARY_PATH%%:*}; echo "${LD_LIBRARY_PATH#*:}"; [ -s "$d/libcuda.so.1" ] && [ -s "$d/libcuda.so" ] && echo both"#;
    let output = command(&[], script).env("LD_LIBRARY_PATH", "/one:/two").output().expect("vgpu runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "/one:/two\nboth\n");
}

#[test]
fn a_wrong_command_line_gives_2() {
    for arguments in [
        &["--arch", "sm_70", "--", "true"][..],
        &["--check", "everything", "--", "true"],
        &["--check", "", "--", "true"],
        &["--threads", "0", "--", "true"],
        &["true"],
        &["--"],
        &[],
    ] {
        let output = Command::new(VGPU).args(arguments).output().expect("vgpu runs");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text_of(&output));
    }
}

#[test]
fn a_program_that_cannot_be_run_gives_126_or_127() {
    let code = |program: &str| Command::new(VGPU).args(["--", program]).output().expect("vgpu runs").status.code();
    assert_eq!(code("/there/is/no/such/program"), Some(127));
    assert_eq!(code("/"), Some(126));
}

#[test]
fn a_report_that_cannot_be_written_gives_125_before_the_program_runs() {
    let output = vgpu(&["--report", "/there/is/no/such/directory/report.json"], "echo it ran");
    assert_eq!(output.status.code(), Some(125));
    assert!(!text_of(&output).contains("it ran"));
    assert!(text_of(&output).contains("/there/is/no/such/directory/report.json"));
}

#[test]
fn failed_calls_are_counted_and_shown() {
    let output = vgpu(
        &[],
        r#"{ echo "$START"; for i in 1 2; do echo '{"record":"call","function":"cuTexRefCreate","error":"CUDA_ERROR_NOT_SUPPORTED","message":"no textures"}'; done; echo '{"record":"end"}'; } > $VGPU_TRACE/7.jsonl"#,
    );
    assert_eq!(output.status.code(), Some(0), "a failed call is no finding");
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(err.contains("cuTexRefCreate answered CUDA_ERROR_NOT_SUPPORTED, 2 times: no textures"), "{err}");
}

#[test]
fn a_report_keeps_what_is_no_file_and_the_mode_of_what_is() {
    use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (file, link) = (directory.path().join("report.json"), directory.path().join("link.json"));
    std::fs::write(&file, "before").expect("a file");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).expect("a mode");
    std::os::unix::fs::symlink(&file, &link).expect("a link");
    let output = vgpu(&["--report", link.to_str().expect("a path in UTF-8")], "exit 0");
    assert_eq!(output.status.code(), Some(0), "{}", text_of(&output));
    assert!(std::fs::symlink_metadata(&link).expect("the link").is_symlink());
    assert_eq!(std::fs::metadata(&file).expect("the file").permissions().mode() & 0o777, 0o640);
    assert_eq!(report_of(&file).exit.code, Some(0));
    assert_eq!(vgpu(&["--report", "/dev/null"], "exit 0").status.code(), Some(0));
    assert!(std::fs::metadata("/dev/null").expect("the device").file_type().is_char_device());
}

#[test]
fn a_wrong_setting_is_said_before_the_program_runs() {
    let output = command(&[], "echo it ran").env("VGPU_DRIVER_VERSION", "99").output().expect("vgpu runs");
    assert_eq!(output.status.code(), Some(2));
    let text = text_of(&output);
    assert!(text.contains("VGPU_DRIVER_VERSION") && !text.contains("it ran"), "{text}");
    assert_eq!(vgpu(&["--threads", "5000"], "exit 0").status.code(), Some(2));
}
