//! Output files: written beside their place, then moved there, so that a file is whole or isn't there.

use std::fmt::Display;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

use crate::failure::Failure;

/// A place for an output file, known to be writable.
pub(crate) struct Output {
    path: PathBuf,
    folder: PathBuf,
}

impl Output {
    /// Looks whether a file can be written there; to be called before any long work.
    ///
    /// # Errors
    /// If its folder doesn't exist or can't be written to, if it is one of the `inputs`, or if it is there and is a spec or
    /// no ordinary file.
    pub(crate) fn at(path: &Path, inputs: &[&Path]) -> Result<Self, Failure> {
        // Behind a symbolic link it is the file that is replaced, not the link.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let folder = match path.parent() {
            Some(folder) if folder.as_os_str().is_empty() => PathBuf::from("."),
            Some(folder) => folder.to_owned(),
            None => return Err(Failure::file(&path, "this is a folder").hint("name a file in it")),
        };
        if path.is_dir() {
            return Err(Failure::file(&path, "this is a folder").hint("name a file in it"));
        }
        if path.exists() && !path.is_file() {
            return Err(Failure::file(&path, "this is not an ordinary file, so it can't be replaced"));
        }
        if !folder.is_dir() {
            return Err(Failure::file(&path, format!("there is no folder `{}`", folder.display()))
                .hint("make it first, or write somewhere else"));
        }
        if inputs.iter().any(|input| input.canonicalize().is_ok_and(|i| i == path)) {
            return Err(Failure::file(&path, "this is both an input and the output").hint("write somewhere else"));
        }
        if path.is_file() && path.extension().is_some_and(|e| e == "yaml" || e == "yml") {
            return Err(Failure::file(&path, "this is a spec, so it isn't replaced").hint("write somewhere else"));
        }
        let output = Self { path, folder };
        output.temporary().map_err(|e| output.failed(e))?;
        Ok(output)
    }

    /// Makes the file with what `write` writes.
    ///
    /// # Errors
    /// If it can't be written; there is no file then, or the one that was there.
    pub(crate) fn write<E: Display>(&self, write: impl FnOnce(&mut dyn Write) -> Result<(), E>) -> Result<(), Failure> {
        let mut file = BufWriter::new(self.temporary().map_err(|e| self.failed(e))?);
        write(&mut file).map_err(|e| self.failed(e))?;
        let file = file.into_inner().map_err(|e| self.failed(e))?;
        file.persist(&self.path).map_err(|e| self.failed(e.error))?;
        Ok(())
    }

    /// An empty file in the same folder, with the permissions that a new file gets.
    fn temporary(&self) -> io::Result<NamedTempFile> {
        let mut builder = Builder::new();
        builder.prefix(".kwc-");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        builder.tempfile_in(&self.folder)
    }

    fn failed(&self, error: impl Display) -> Failure {
        Failure::file(&self.path, format!("can't be written: {error}"))
    }
}
