//! Runs the body of a test, or a command, in a process of its own under the virtual GPU, and looks at the report.
//!
//! The test binary starts `vgpu`, which starts the same binary again with the one test to run; environment variables
//! tell the two apart. So the body is an ordinary program that finds the virtual GPU as its driver:
//!
//! ```ignore
//! #[test]
//! fn a_device_has_a_name() {
//!     let run = Vgpu::new().arch("sm_90").body(|| assert_eq!(Device::new(0).unwrap().name(), "..."));
//!     if let Some(run) = run {
//!         run.assert_clean();
//!     }
//! }
//! ```

use std::any::type_name_of_val;
use std::ffi::{OsStr, OsString};
use std::panic::Location;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use kwc_emulator::report::summary::Report;
use kwc_nvrtc::Nvrtc;

/// Set in the process that runs a body, to the file that it writes at its end.
const DONE: &str = "KWC_TEST_DONE";
/// Set in the process that runs a body, to the place of the call that is to run it.
const CALL: &str = "KWC_TEST_CALL";

static NVRTC: LazyLock<Nvrtc> = LazyLock::new(|| {
    Nvrtc::find_or_fetch(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("nvrtc"))
        .unwrap_or_else(|error| panic!("{error}"))
});

/// The NVRTC that tests use.
pub(crate) fn nvrtc() -> &'static Nvrtc {
    &NVRTC
}

/// A virtual GPU to run something on.
pub(crate) struct Vgpu {
    /// Words between `vgpu` and `--`; `None` where the process is to run without a driver.
    options: Option<Vec<OsString>>,
    variables: Vec<(OsString, Option<OsString>)>,
}

/// What a process did.
pub(crate) struct Run {
    /// What the virtual GPU found and counted; empty where there was none.
    pub(crate) report: Report,
    /// The exit code of the process.
    pub(crate) code: Option<i32>,
    /// What the process printed.
    pub(crate) stdout: String,
    /// What the process and `vgpu` wrote to standard error.
    pub(crate) stderr: String,
}

impl Run {
    /// Asserts that the process ran kernels, and nothing is wrong with them.
    #[track_caller]
    pub(crate) fn assert_clean(&self) {
        assert!(self.report.findings.is_empty(), "{:#?}", self.report.findings);
        assert!(!self.report.launches.is_empty(), "no kernel ran");
    }

    /// Launches of a kernel.
    pub(crate) fn launches(&self, kernel: &str) -> usize {
        self.report.launches.iter().filter(|launch| launch.kernel == kernel).count()
    }
}

impl Vgpu {
    /// An A100 with all checks and counters.
    pub(crate) fn new() -> Self {
        let variables =
            ["VGPU_ARCH", "VGPU_CHECK", "VGPU_SEED", "VGPU_THREADS", "VGPU_COUNTERS", "VGPU_DRIVER_VERSION"];
        Self { options: Some(Vec::new()), variables: variables.map(|name| (name.into(), None)).into() }
    }

    /// No GPU: on any machine, loading the CUDA driver fails.
    pub(crate) fn without_driver() -> Self {
        Self { options: None, variables: Vec::new() }
    }

    /// The GPU: `sm_80`, `sm_86`, `sm_89` or `sm_90`.
    pub(crate) fn arch(self, arch: &str) -> Self {
        self.option(&["--arch", arch])
    }

    /// The order in which warps and blocks run.
    pub(crate) fn seed(self, seed: u64) -> Self {
        self.option(&["--seed", &seed.to_string()])
    }

    /// The CUDA version that the driver says it is: `12.4`.
    pub(crate) fn driver(self, version: &str) -> Self {
        self.variable("VGPU_DRIVER_VERSION", version)
    }

    /// A variable of the process's environment.
    pub(crate) fn variable(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.variables.push((name.as_ref().to_owned(), Some(value.as_ref().to_owned())));
        self
    }

    /// A variable that the process is not to have.
    pub(crate) fn unset(mut self, name: impl AsRef<OsStr>) -> Self {
        self.variables.push((name.as_ref().to_owned(), None));
        self
    }

    fn option(mut self, words: &[&str]) -> Self {
        if let Some(options) = &mut self.options {
            options.extend(words.iter().map(OsString::from));
        }
        self
    }

    /// Runs a body in a process of its own; gives `None` in that process.
    ///
    /// The body must be a closure of the test function itself: its name says which test to run. A test may call this
    /// several times; calls on one line, as in a loop, must have the same body.
    #[track_caller]
    #[expect(clippy::print_stdout, reason = "a test's output is shown if it fails")]
    pub(crate) fn body<F: FnOnce()>(self, body: F) -> Option<Run> {
        static HAS_RUN: AtomicBool = AtomicBool::new(false);
        let call = Location::caller().to_string();
        if let Some(done) = std::env::var_os(DONE) {
            if std::env::var(CALL).is_ok_and(|asked| asked == call) && !HAS_RUN.swap(true, Ordering::Relaxed) {
                body();
                std::fs::write(done, "").unwrap();
            }
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let done = directory.path().join("done");
        let test = test_of(&body);
        let mut this = self.variable(DONE, &done).variable(CALL, &call);
        // A variable that the test has chosen stays.
        if !this.variables.iter().any(|(name, _)| name == "KWC_NVRTC") {
            this = this.variable("KWC_NVRTC", NVRTC.path());
        }
        let binary = std::env::current_exe().unwrap();
        let run = this.command(&binary, &["--exact", &test, "--nocapture", "--test-threads=1"]);
        println!("{}{}", run.stdout, run.stderr);
        assert!(done.exists(), "the body of {test} did not come to its end");
        assert_eq!(run.code, Some(0));
        Some(run)
    }

    /// Runs a program.
    #[track_caller]
    pub(crate) fn command(self, program: &Path, arguments: &[impl AsRef<OsStr>]) -> Run {
        let directory = tempfile::tempdir().unwrap();
        let report = directory.path().join("report.json");
        let with_vgpu = self.options.is_some();
        let mut command = if let Some(options) = self.options {
            let mut command = Command::new(env!("CARGO_BIN_EXE_vgpu-under-test"));
            command.arg("--report").arg(&report).args(options).arg("--").arg(program);
            command
        } else {
            // The loader does not look further once it has met a file of this name that is no library.
            for name in ["libcuda.so", "libcuda.so.1", "libcuda.so.12", "libcuda.so.13"] {
                std::fs::write(directory.path().join(name), "").unwrap();
            }
            let mut command = Command::new(program);
            command.env("LD_LIBRARY_PATH", directory.path());
            command
        };
        // Nothing of the user's is read or written, unless the test has chosen another place.
        command.args(arguments).env("XDG_CACHE_HOME", directory.path());
        for (name, value) in &self.variables {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let output = command.output().unwrap();
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        if !with_vgpu {
            return Run { report: Report::default(), code: output.status.code(), stdout, stderr };
        }
        let bytes = std::fs::read(&report).unwrap_or_else(|error| panic!("no report: {error}\n{stdout}{stderr}"));
        let report: Report = serde_json::from_slice(&bytes).unwrap();
        assert!(report.unreadable.is_empty(), "{:?}", report.unreadable);
        Run { code: report.exit.code, report, stdout, stderr }
    }
}

/// `module::test` of a closure, whose type is called `kwc::module::test::{{closure}}`.
fn test_of<F>(body: &F) -> String {
    let name = type_name_of_val(body);
    name.split("::").skip(1).take_while(|part| !part.starts_with('{')).collect::<Vec<_>>().join("::")
}
