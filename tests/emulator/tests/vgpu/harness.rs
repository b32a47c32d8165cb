//! Runs the body of a test in a process of its own, under `vgpu`, and looks at the report.
//!
//! The test binary starts `vgpu`, which starts the same binary again with the one test to run; an environment variable
//! tells the two apart. So the body is an ordinary program that finds the virtual GPU as its driver.

use std::any::type_name_of_val;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use kwc_emulator::findings::{Finding, Kind};
use kwc_emulator::report::summary::Report;
use kwc_nvrtc::{Code, Nvrtc, Options};

/// Set in the process that runs the body, to the file that it writes at its end.
const DONE: &str = "VGPU_TEST_DONE";

/// The `vgpu` that was built with the tests.
pub(crate) const VGPU: &str = env!("CARGO_BIN_EXE_vgpu");

static NVRTC: LazyLock<Nvrtc> = LazyLock::new(|| {
    Nvrtc::find_or_fetch(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("nvrtc"))
        .unwrap_or_else(|error| panic!("{error}"))
});

/// The NVRTC that tests use.
pub(crate) fn nvrtc() -> &'static Nvrtc {
    &NVRTC
}

/// What a body did under `vgpu`.
pub(crate) struct Run {
    /// The report.
    pub(crate) report: Report,
    /// What it printed.
    pub(crate) output: String,
}

/// Runs `body` under `vgpu` with some arguments, then `check` on the report.
#[track_caller]
pub(crate) fn under_vgpu(arguments: &[&str], body: impl FnOnce(), check: impl FnOnce(&Report)) {
    if let Some(run) = run_under_vgpu(arguments, body) {
        check(&run.report);
    }
}

/// Runs `body` under `vgpu` with some arguments; gives `None` in the process in which it runs.
///
/// `body` must be a closure of the test function itself: its name says which test to run. Where a test calls this more
/// than once, the bodies must be the same: the first call runs it.
#[track_caller]
pub(crate) fn run_under_vgpu<F: FnOnce()>(arguments: &[&str], body: F) -> Option<Run> {
    static HAS_RUN: AtomicBool = AtomicBool::new(false);
    if let Some(done) = std::env::var_os(DONE) {
        if !HAS_RUN.swap(true, Ordering::Relaxed) {
            body();
            std::fs::write(done, "").expect("the parent's directory is there");
        }
        return None;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (done, report) = (directory.path().join("done"), directory.path().join("report.json"));
    let output = Command::new(VGPU)
        .arg("--report")
        .arg(&report)
        .args(arguments)
        .arg("--")
        .arg(std::env::current_exe().expect("this binary has a path"))
        .args(["--exact", &test_of(&body), "--nocapture", "--test-threads=1"])
        .env(DONE, &done)
        .env("KWC_NVRTC", NVRTC.path())
        .output()
        .expect("vgpu runs");
    let text = text_of(&output);
    println!("{text}");
    assert!(done.exists(), "the body of {} didn't come to its end", test_of(&body));
    let report: Report =
        serde_json::from_slice(&std::fs::read(report).expect("a report")).expect("a report that can be read");
    let expected = if report.findings.is_empty() { 0 } else { 86 };
    assert_eq!(output.status.code(), Some(expected), "the exit code says whether there were findings");
    assert!(report.processes.iter().any(|process| process.ended), "no process loaded the driver and ended well");
    assert!(report.unreadable.is_empty(), "{:?}", report.unreadable);
    Some(Run { report, output: String::from_utf8_lossy(&output.stdout).into_owned() })
}

/// `module::test` of a closure, whose type is called `vgpu::module::test::{{closure}}`.
pub(crate) fn test_of<F>(body: &F) -> String {
    let name = type_name_of_val(body);
    name.split("::").skip(1).take_while(|part| !part.starts_with('{')).collect::<Vec<_>>().join("::")
}

/// Both streams of a process.
pub(crate) fn text_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Compiles a file of `tests/vgpu/cuda` to PTX with line information.
pub(crate) fn compile(file: &str, architecture: &str, defines: &[(&str, &str)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vgpu/cuda").join(file);
    let source = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut options = Options::new(architecture);
    options.line_info = true;
    options.defines = defines.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    match NVRTC.compile(&source, file, &options) {
        Ok(output) => match output.code {
            Code::Ptx(ptx) => ptx,
            Code::Cubin(_) => panic!("{architecture} makes a cubin"),
        },
        Err(error) => panic!("{error}"),
    }
}

/// The number of the line of a file of `tests/vgpu/cuda` that contains a text. Only one may.
#[track_caller]
pub(crate) fn line_of(file: &str, text: &str) -> u32 {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vgpu/cuda").join(file);
    let source = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines: Vec<u32> = (1..).zip(source.lines()).filter(|(_, line)| line.contains(text)).map(|(n, _)| n).collect();
    let [line] = lines[..] else { panic!("{text:?} is on the lines {lines:?} of {file}, not on one") };
    line
}

/// For a check that nothing is wrong.
#[track_caller]
pub(crate) fn nothing_found(report: &Report) {
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
}

/// The only finding of a report; its kind, kernel and place in a file of `tests/vgpu/cuda` must be these. The place is
/// given by a text that only its line contains.
#[track_caller]
pub(crate) fn only_finding<'r>(report: &'r Report, kind: Kind, kernel: &str, file: &str, code: &str) -> &'r Finding {
    let [finding] = &report.findings[..] else { panic!("not one finding: {:#?}", report.findings) };
    assert_finding(finding, kind, kernel, file, &[code]);
    finding
}

/// Asserts what a finding is, and that it is on one of some lines.
#[track_caller]
pub(crate) fn assert_finding(finding: &Finding, kind: Kind, kernel: &str, file: &str, codes: &[&str]) {
    assert_eq!((finding.kind, finding.kernel.as_str()), (kind, kernel), "{finding:#?}");
    let (source, line) = finding.source.as_ref().unwrap_or_else(|| panic!("no source line: {finding:#?}"));
    let lines: Vec<u32> = codes.iter().map(|code| line_of(file, code)).collect();
    assert!(source.ends_with(file) && lines.contains(line), "not on {lines:?}: {finding:#?}");
    assert!(finding.line > 0 && !finding.instruction.is_empty() && !finding.message.is_empty(), "{finding:#?}");
    assert!(finding.count >= 1, "{finding:#?}");
}
