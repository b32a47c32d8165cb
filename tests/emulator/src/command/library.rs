//! The stand-in for the driver: where it was built, and the directory in which programs find it under its other names.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::program::Failure;

const FILE: &str = "libkwc_emulator.so";

/// The names by which programs load the CUDA driver.
const NAMES: [&str; 2] = ["libcuda.so.1", "libcuda.so"];

/// The library that was built with this command: beside it, or among the dependencies of the build (where `cargo test`
/// leaves it). Of two the newer one, as cargo refreshes the one beside only if it is asked to build the library.
pub(crate) fn find() -> Result<PathBuf, Failure> {
    let here = std::env::current_exe()
        .map_err(|error| Failure::own(format!("can't find out where this command is: {error}")))?;
    let directory = here.parent().unwrap_or(Path::new("/"));
    let places = [directory.join(FILE), directory.join("deps").join(FILE)];
    let modified = |path: &&PathBuf| path.metadata().and_then(|data| data.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    places.iter().filter(|path| path.is_file()).max_by_key(modified).cloned().ok_or_else(|| {
        Failure::own(format!(
            "there is no {FILE} in {} or its deps; `cargo build -p kwc-emulator` builds it beside this command",
            directory.display()
        ))
    })
}

/// Links the library under the driver's names into a directory of its own, and gives that.
pub(crate) fn lay_out(library: &Path, directory: &Path) -> Result<PathBuf, Failure> {
    let libraries = directory.join("lib");
    std::fs::create_dir(&libraries)
        .and_then(|()| NAMES.iter().try_for_each(|name| symlink(library, libraries.join(name))))
        .map_err(|error| Failure::own(format!("can't write to {}: {error}", libraries.display())))?;
    Ok(libraries)
}
