//! Specs on disk: the one place where the compiler reads the file system, for callers that want it to.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::{Component, Path, PathBuf};

use crate::source::Files;

/// Largest file that is taken for a spec, in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// The file system, seen from the current folder.
#[derive(Debug, Clone, Copy)]
pub struct Folder;

impl Files for Folder {
    fn read(&self, path: &str) -> Result<String, String> {
        let file = open(Path::new(path)).map_err(|e| reason(&e))?;
        // The length may change while the file is read, so the limit is on what is read.
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|e| reason(&e))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(format!("larger than {} MiB, so this can't be a spec", MAX_BYTES >> 20));
        }
        String::from_utf8(bytes).map_err(|e| format!("not UTF-8 text (at byte {})", e.utf8_error().valid_up_to()))
    }

    fn resolve(&self, from: &str, relative: &str) -> String {
        let base = Path::new(from).parent().unwrap_or_else(|| Path::new(""));
        normalise(&base.join(relative)).to_string_lossy().into_owned()
    }
}

/// Opens an ordinary file to read it: opening a pipe would wait for someone to write into it.
///
/// # Errors
/// If it is something else, or can't be opened.
pub fn open(path: &Path) -> io::Result<File> {
    let kind = std::fs::metadata(path)?;
    if kind.is_dir() {
        return Err(io::Error::other("this is a folder"));
    }
    if !kind.is_file() {
        return Err(io::Error::other("this is not an ordinary file"));
    }
    File::open(path)
}

/// What an error of the file system means, for people.
#[must_use]
pub fn reason(error: &io::Error) -> String {
    if error.kind() == ErrorKind::NotFound { "no such file".to_owned() } else { error.to_string() }
}

/// Removes `.` and resolves `..`, so that a file is named alike whichever way it was reached. A symbolic link stays as it
/// is, and so does a `..` after one: it means the link's target's parent.
fn normalise(path: &Path) -> PathBuf {
    let mut result = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => match result.components().next_back() {
                Some(Component::Normal(_)) if !result.is_symlink() => {
                    result.pop();
                }
                Some(Component::RootDir) => {}
                Some(Component::Normal(_) | Component::Prefix(_) | Component::CurDir | Component::ParentDir) | None => {
                    result.push("..");
                }
            },
            Component::Normal(_) | Component::Prefix(_) | Component::RootDir => result.push(component),
        }
    }
    result
}
