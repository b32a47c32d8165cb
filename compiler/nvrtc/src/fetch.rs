//! Fetching NVRTC: the wheel `nvidia-cuda-nvrtc`, installed by pip into a directory of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fs4::FileExt;

use crate::error::{Error, Places};
use crate::locate::{library_in, package_directories};

/// The version of the wheel that [`fetch`] installs.
pub const VERSION: &str = "13.5.37";

/// The ways to call pip, in the order in which they are tried.
const PIPS: [&[&str]; 3] = [&["python3", "-m", "pip"], &["pip3"], &["pip"]];

/// The folder `kwc` in the user's cache folder: `XDG_CACHE_HOME`, or `.cache` in the home folder. `None` where neither is
/// an absolute path.
#[must_use]
pub fn user_directory() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let root = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(root.join("kwc"))
}

/// What [`fetch`] left in a directory: the path of the library.
#[must_use]
pub fn fetched(directory: &Path) -> Option<PathBuf> {
    package_directories(&target(directory)).iter().find_map(|lib| library_in(lib))
}

/// Downloads NVRTC (about 60 MB, 150 MB unpacked) into a directory, unless it is there, and gives the library's path.
///
/// Other processes may fetch into the same directory at the same time: one downloads, the others wait for it. An
/// interrupted download leaves nothing that would be taken for the library.
///
/// # Errors
///
/// No pip can download it, or the directory can't be written.
pub fn fetch(directory: &Path) -> Result<PathBuf, Error> {
    if let Some(path) = fetched(directory) {
        return Ok(path);
    }
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Directory { path, source }
    };
    fs::create_dir_all(directory).map_err(failed(directory))?;
    let lock_path = directory.join("nvrtc.lock");
    let lock = File::create(&lock_path).map_err(failed(&lock_path))?;
    // Held until `lock` is dropped.
    FileExt::lock(&lock).map_err(failed(&lock_path))?;
    if let Some(path) = fetched(directory) {
        return Ok(path);
    }
    let unfinished = tempfile::Builder::new().prefix("nvrtc-").tempdir_in(directory).map_err(failed(directory))?;
    let installed = unfinished.path().join("wheel");
    install(&installed)?;
    let target = target(directory);
    fs::rename(&installed, &target).map_err(failed(&target))?;
    fetched(directory).ok_or_else(|| {
        let mut attempts = Places::default();
        attempts.add("pip install", "the wheel holds no nvidia/*/lib/libnvrtc.so");
        Error::Fetch { attempts }
    })
}

fn target(directory: &Path) -> PathBuf {
    directory.join(format!("nvrtc-{VERSION}"))
}

fn install(target: &Path) -> Result<(), Error> {
    let mut attempts = Places::default();
    for pip in PIPS {
        let [program, first @ ..] = pip else { continue };
        let outcome = Command::new(program)
            .args(first)
            .args(["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"])
            .arg("--target")
            .arg(target)
            .arg(format!("nvidia-cuda-nvrtc=={VERSION}"))
            .stdin(Stdio::null())
            .output();
        match outcome {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => {
                let text = String::from_utf8_lossy(&output.stderr);
                attempts.add(pip.join(" "), format!("{}\n    {}", output.status, last_lines(&text)));
            }
            Err(error) => attempts.add(pip.join(" "), error.to_string()),
        }
    }
    Err(Error::Fetch { attempts })
}

/// The end of a long message, where the reason stands.
fn last_lines(text: &str) -> String {
    const LINES: usize = 6;
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n    ")
}
