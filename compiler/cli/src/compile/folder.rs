//! The folder of a compiled network: made beside its place, then moved there, so that it is whole or as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufWriter, Read as _, Write as _};
use std::path::{Component, Path, PathBuf};

use super::content::Content;
use super::interrupt::Watch;
use super::manifest;
use crate::failure::Failure;
use crate::plan::text::bytes;

/// Files by their names in the folder, with `/` between.
pub(super) type Files = BTreeMap<String, Content>;

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It is as it was.
    Unchanged,
    /// It was written; so many bytes.
    Written(u64),
    /// It was of an earlier compile and is gone.
    Removed,
}

impl Change {
    /// One or two words.
    pub(super) fn describe(self) -> String {
        match self {
            Self::Unchanged => "unchanged".to_owned(),
            Self::Written(length) => format!("written, {}", bytes(length)),
            Self::Removed => "removed".to_owned(),
        }
    }
}

/// How a file on disk differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Difference {
    /// It isn't there.
    Missing,
    /// It holds something else.
    Other,
    /// It is of an earlier compile, and would go.
    Stale,
    /// It is packed weights that can't stay, and nothing replaces them: why.
    Lost(String),
}

impl Difference {
    /// A few words.
    pub(super) fn describe(&self) -> &str {
        match self {
            Self::Missing => "missing",
            Self::Other => "different",
            Self::Stale => "of an earlier compile, no longer made",
            Self::Lost(why) => why,
        }
    }
}

/// How files on disk differ from what they should be. Reads only.
///
/// # Errors
/// The place is no folder.
pub(super) fn differences(
    folder: &Path,
    files: &Files,
    stale: &[String],
) -> Result<Vec<(String, Difference)>, Failure> {
    is_folder(folder)?;
    let changed = files.iter().filter_map(|(name, content)| {
        let path = folder.join(name);
        let difference = if content.is_in(&path) {
            return None;
        } else if path.exists() {
            Difference::Other
        } else {
            Difference::Missing
        };
        Some((name.clone(), difference))
    });
    let stale = stale.iter().map(|name| (name.clone(), Difference::Stale));
    Ok(changed.chain(stale).collect())
}

fn is_folder(path: &Path) -> Result<(), Failure> {
    if path.exists() && !path.is_dir() {
        return Err(Failure::file(path, "this is not a folder").hint("write somewhere else"));
    }
    Ok(())
}

/// A folder in the making, beside its place. Dropped, it is gone.
pub(super) struct Staging {
    folder: PathBuf,
    staged: PathBuf,
    watch: Watch,
}

impl Staging {
    /// Makes an empty folder in the place of the result, or beside it if it isn't there, and the folders around it.
    ///
    /// # Errors
    /// The place is no folder, or can't be written to.
    pub(super) fn new(folder: &Path) -> Result<Self, Failure> {
        is_folder(folder)?;
        let given = folder;
        let failed = |e: io::Error| Failure::file(given, format!("can't be written: {e}"));
        // A symbolic link to a folder stays: what is behind it is written.
        let folder = std::path::absolute(folder).map_err(failed)?;
        let folder = folder.canonicalize().unwrap_or(folder);
        let Some(parent) = folder.parent() else {
            return Err(Failure::file(&folder, "this is the root of the file system").hint("write to a folder in it"));
        };
        let watch = Watch::new();
        let staged = {
            let mut unfinished = watch.lock();
            unfinished.around = parent.ancestors().take_while(|above| !above.exists()).map(Path::to_owned).collect();
            // In a folder that is there: it can be a mounted one, and what is around it not be writable.
            let around = if folder.is_dir() { folder.as_path() } else { parent };
            let staged = fs::create_dir_all(around).and_then(|()| temporary(around)).map_err(failed)?;
            unfinished.staged = Some(staged.clone());
            staged
        };
        Ok(Self { folder, staged, watch })
    }

    /// Writes the files, then moves those that differ from what is there to their places, and removes the stale ones.
    /// The manifest comes last. `known` are the files that an earlier compile wrote.
    ///
    /// # Errors
    /// A file can't be written; a folder, or a file that isn't kwc's, stands in its place.
    pub(super) fn publish(
        self,
        files: &Files,
        stale: &[String],
        known: &BTreeSet<&str>,
    ) -> Result<Vec<(String, Change)>, Failure> {
        let foreign: Vec<&str> = files
            .iter()
            .filter(|(name, content)| {
                let place = self.folder.join(name);
                let is_ours = *name == manifest::FILE || known.contains(name.as_str()) || is_generated(&place);
                !is_ours && place.is_file() && !content.is_in(&place)
            })
            .map(|(name, _)| name.as_str())
            .collect();
        if !foreign.is_empty() {
            let what = format!("no earlier compile wrote {}, which this would overwrite", foreign.join(", "));
            return Err(Failure::file(&self.folder, what).hint("write to another folder, or move them away"));
        }
        let Self { folder, staged, watch } = self;
        let failed = |name: &str, e: io::Error| Failure::file(&folder.join(name), format!("can't be written: {e}"));
        let mut changes = Vec::new();
        for (name, content) in files {
            let place = folder.join(name);
            if place.is_dir() {
                return Err(Failure::file(&place, "this is a folder, and a file of this name is to be written")
                    .hint("remove it, or write somewhere else"));
            }
            let change = if content.is_in(&place) {
                Change::Unchanged
            } else {
                Change::Written(stage(&staged.join(name), content).map_err(|e| failed(name, e))?)
            };
            changes.push((name.clone(), change));
        }
        // From here on a signal waits.
        let mut unfinished = watch.lock();
        if folder.exists() {
            let mut written: Vec<&String> =
                changes.iter().filter(|(_, change)| *change != Change::Unchanged).map(|(name, _)| name).collect();
            written.sort_by_key(|name| *name == manifest::FILE);
            for name in written {
                let place = folder.join(name);
                let publish = || {
                    place.parent().map_or(Ok(()), fs::create_dir_all)?;
                    fs::rename(staged.join(name), &place)
                };
                publish().map_err(|e| failed(name, e))?;
            }
            for name in stale {
                match fs::remove_file(folder.join(name)) {
                    Ok(()) => changes.push((name.clone(), Change::Removed)),
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    Err(e) => return Err(Failure::file(&folder.join(name), format!("can't be removed: {e}"))),
                }
            }
        } else {
            fs::rename(&staged, &folder).map_err(|e| failed("", e))?;
            unfinished.staged = None;
        }
        // They hold the result now.
        unfinished.around.clear();
        changes.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(changes)
    }
}

/// Whether a file says of itself that kwc wrote it.
fn is_generated(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(1 << 9).read_to_end(&mut start));
    let mark = b"@generated by kwc";
    read.is_ok() && start.windows(mark.len()).any(|bytes| bytes == mark)
}

/// Writes a staged file; says its length.
fn stage(path: &Path, content: &Content) -> io::Result<u64> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    let mut file = BufWriter::new(File::create(path)?);
    content.write(&mut file)?;
    file.flush()?;
    file.get_ref().metadata().map(|metadata| metadata.len())
}

/// An empty folder with the permissions that a new folder gets.
fn temporary(parent: &Path) -> io::Result<PathBuf> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".kwc-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(fs::Permissions::from_mode(0o777));
    }
    Ok(builder.tempdir_in(parent)?.keep())
}

/// The path of a folder as seen from another: relative, unless it was given absolute.
///
/// # Errors
/// It holds no crate, or the current folder is unknown.
pub(super) fn seen_from(folder: &Path, path: &Path) -> Result<String, Failure> {
    if !path.join("Cargo.toml").is_file() {
        return Err(Failure::file(path, "there is no Cargo.toml").hint("name the folder `runtime` of kwc's sources"));
    }
    let text = |path: &Path| path.to_string_lossy().into_owned();
    if path.is_absolute() {
        return Ok(text(path));
    }
    let absolute = |path: &Path| {
        let plain = std::path::absolute(path).map_err(|e| Failure::file(path, e))?;
        Ok::<_, Failure>(real(&plain))
    };
    let (from, to) = (absolute(folder)?, absolute(path)?);
    let common = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let mut relative = PathBuf::new();
    relative.extend(from.components().skip(common).map(|_| Component::ParentDir));
    relative.extend(to.components().skip(common));
    Ok(text(&relative))
}

/// Without links, as far as it exists.
fn real(path: &Path) -> PathBuf {
    match (path.canonicalize(), path.parent(), path.file_name()) {
        (Ok(path), _, _) => path,
        (Err(_), Some(parent), Some(name)) => real(parent).join(name),
        (Err(_), _, _) => path.to_owned(),
    }
}
