//! Compiled kernels kept from one load to the next.
//!
//! They lie in `kwc` in the user's cache folder: `XDG_CACHE_HOME`, or `.cache` in the home folder. A file's name says
//! what it is: a hash of the source's id and the options, the device's architecture, the version of NVRTC, and the form.
//! It begins with the SHA-256 of the rest, so that a damaged file is noticed. Removing any of them is safe.

use std::env;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::{Code, Device};
use crate::hash;
use crate::program::cuda::Program;

/// Bytes before the code: 64 digits and a line break.
const HEADER: usize = 65;

/// The form of kept code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    Ptx,
    Cubin,
}

impl Form {
    fn extension(self) -> &'static str {
        match self {
            Self::Ptx => "ptx",
            Self::Cubin => "cubin",
        }
    }
}

/// Where code of one source for one architecture is kept.
pub(super) struct Cache {
    directory: PathBuf,
    /// The files' names up to the version of NVRTC.
    prefix: String,
}

impl Cache {
    /// `None` where the user has no cache folder.
    pub(super) fn find(program: &Program, code: &Code, device: &Device) -> Option<Self> {
        let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let root = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
        let options = code.options.iter().flat_map(|option| [b"\0".as_slice(), option.as_bytes()]);
        let key = hash::of(std::iter::once(program.source_id.as_bytes()).chain(options));
        let prefix = format!("{key}-sm_{}-nvrtc-", device.architecture());
        Some(Self { directory: root.join("kwc"), prefix })
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// What is kept, the newest NVRTC's first, of one version the cubin first.
    pub(super) fn entries(&self) -> Vec<(PathBuf, Form)> {
        let Ok(files) = fs::read_dir(&self.directory) else { return Vec::new() };
        let mut found: Vec<((i32, i32), Form, PathBuf)> = files
            .filter_map(|file| {
                let path = file.ok()?.path();
                let (version, form) = self.parsed(path.file_name()?.to_str()?)?;
                Some((version, form, path))
            })
            .collect();
        found.sort_by(|a, b| b.cmp(a));
        found.into_iter().map(|(_, form, path)| (path, form)).collect()
    }

    fn parsed(&self, name: &str) -> Option<((i32, i32), Form)> {
        let (version, extension) = name.strip_prefix(&self.prefix)?.rsplit_once('.')?;
        let (major, minor) = version.split_once('.')?;
        let form = [Form::Ptx, Form::Cubin].into_iter().find(|form| form.extension() == extension)?;
        Some(((major.parse().ok()?, minor.parse().ok()?), form))
    }

    /// The code in a file.
    pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
        let mut bytes = fs::read(path).map_err(|error| error.to_string())?;
        let intact = bytes.get(..HEADER).is_some_and(|header| {
            let digits = hash::of([&bytes[HEADER..]]);
            header == format!("{digits}\n").as_bytes()
        });
        if !intact {
            return Err("the file is damaged".to_owned());
        }
        bytes.drain(..HEADER);
        Ok(bytes)
    }

    /// Keeps code. Others see the old file or the new one, never a part.
    pub(super) fn keep(&self, (major, minor): (i32, i32), form: Form, code: &[u8]) -> Result<PathBuf, String> {
        let path = self.directory.join(format!("{}{major}.{minor}.{}", self.prefix, form.extension()));
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(&self.directory)?;
            let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
            file.write_all(hash::of([code]).as_bytes())?;
            file.write_all(b"\n")?;
            file.write_all(code)?;
            file.persist(&path)?;
            Ok(())
        };
        write().map_err(|error| format!("can't write to {}: {error}", self.directory.display()))?;
        Ok(path)
    }
}
