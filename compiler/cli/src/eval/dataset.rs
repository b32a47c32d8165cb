//! A folder of images in ImageNet's layout: one folder for each class.

use std::fs;
use std::path::{Path, PathBuf};

use kwc_compiler::folder::reason;

use crate::failure::Failure;
use crate::inputs::is_image;

/// Images and their classes.
pub(super) struct Dataset {
    /// Number of classes.
    pub(super) classes: usize,
    /// All images, class by class, sorted by name.
    pub(super) samples: Vec<Sample>,
}

/// An image whose class is known.
pub(super) struct Sample {
    /// The file.
    pub(super) path: PathBuf,
    /// Index of its class.
    pub(super) class: usize,
}

impl Dataset {
    /// Lists the images of a folder. Hidden files, and files that aren't named like images, are ignored.
    ///
    /// # Errors
    /// If a folder can't be read, has no folders for classes, or a class has no images.
    pub(super) fn read(folder: &Path) -> Result<Self, Failure> {
        if folder.is_file() {
            return Err(Failure::file(folder, "this is a file, not a folder of images"));
        }
        let mut classes = list(folder)?;
        classes.retain(|path| path.is_dir());
        if classes.is_empty() {
            return Err(Failure::file(folder, "there is no folder in it")
                .hint("the images of each class must be in a folder of their own, as in `val/n01440764/a.JPEG`"));
        }
        let mut samples = Vec::new();
        for (class, path) in classes.iter().enumerate() {
            let before = samples.len();
            samples.extend(list(path)?.into_iter().filter(|p| is_image(p)).map(|path| Sample { path, class }));
            if samples.len() == before {
                return Err(
                    Failure::file(path, "there are no images in it").hint("images are .png, .jpg and .jpeg files")
                );
            }
        }
        Ok(Self { classes: classes.len(), samples })
    }
}

/// What is in a folder, sorted by name, without hidden files.
fn list(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |e: std::io::Error| Failure::file(folder, reason(&e));
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}
