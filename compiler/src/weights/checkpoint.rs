//! A checkpoint file, open: which tensors it holds, and their elements, piece by piece.
//!
//! The format is told by the content, never by the file's name:
//!
//! - *safetensors*: a length, a JSON header, the tensors' bytes;
//! - *PyTorch archives*, as `torch.save` has written them since version 1.6: a zip archive, entries stored as they are,
//!   with the pickle `<folder>/data.pkl` and one entry `<folder>/data/<key>` per storage.
//!
//! In an archive the state dict is the dict under `model`, else the one under `state_dict`, else the top level itself; or
//! the one that the caller names. Where `module.` (of `DataParallel`) or `_orig_mod.` (of `torch.compile`) stands before
//! all names, it is dropped.
//!
//! The pickle is read as data. It can build dicts, lists, tuples, sets, numbers, texts, an `argparse.Namespace` (whose
//! contents are skipped) and tensors; anything else that it names is refused before anything is made of it.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek};
use std::path::Path;

use half::{bf16, f16};

use super::error::printable;
use super::window::{CAPACITY, Window};
use super::{Dtype, Error, TensorInfo, Tensors, pytorch, safetensors};
use crate::folder;

/// An open checkpoint.
///
/// Only names, shapes and places are in memory, beside a window of 256 KiB on the file.
#[derive(Debug)]
pub struct Checkpoint {
    file: String,
    window: Window,
    tensors: Vec<(String, Tensor)>,
    index: BTreeMap<String, usize>,
}

/// A tensor and where its elements are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tensor {
    /// Type and shape.
    pub(super) info: TensorInfo,
    /// Byte of the file at which the first element stands.
    pub(super) offset: u64,
    /// Distance between neighbours in every dimension, in elements; without it, elements stand in row-major order.
    pub(super) strides: Option<Vec<usize>>,
}

impl Checkpoint {
    /// Opens a file. `state` names the state dict to use among several in a PyTorch archive.
    ///
    /// # Errors
    /// If the file can't be read, is damaged, is of another format, holds what isn't loaded, or has no such state dict.
    pub fn open(path: &Path, state: Option<&str>) -> Result<Self, Error> {
        let file = path.display().to_string();
        let source = folder::open(path).map_err(|source| Error::Read { file: file.clone(), source })?;
        Self::from_source(&file, source, state)
    }

    /// Opens a checkpoint that isn't a file on disk. `name` stands for it in errors.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn from_source(
        name: &str,
        source: impl Read + Seek + Send + 'static,
        state: Option<&str>,
    ) -> Result<Self, Error> {
        let read = |source| Error::Read { file: name.to_owned(), source };
        let mut window = Window::new(Box::new(source)).map_err(read)?;
        let head_length = window.length().min(HEAD as u64) as usize;
        let head = window.bytes(0, head_length).map_err(read)?;
        let mut tensors = match format(head) {
            Ok(Format::Safetensors) => safetensors::tensors(name, &mut window, state)?,
            Ok(Format::Archive) => pytorch::tensors(name, &mut window, state)?,
            Err((problem, hint)) => {
                return Err(Error::Unsupported {
                    file: name.to_owned(),
                    problem: problem.to_owned(),
                    hint: hint.to_owned(),
                });
            }
        };
        drop_wrappers(&mut tensors);
        let index = tensors.iter().enumerate().map(|(i, (name, _))| (name.clone(), i)).collect();
        Ok(Self { file: name.to_owned(), window, tensors, index })
    }

    /// The file's name, as it was given.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Names of all tensors, in the file's order, with type and shape.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &TensorInfo)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), &tensor.info))
    }

    /// Type and shape of a tensor.
    #[must_use]
    pub fn info(&self, name: &str) -> Option<&TensorInfo> {
        let (_, tensor) = self.tensors.get(*self.index.get(name)?)?;
        Some(&tensor.info)
    }
}

impl Tensors for Checkpoint {
    fn read(&mut self, name: &str, start: usize, out: &mut [f32]) -> Result<(), Error> {
        let Some((_, tensor)) = self.index.get(name).and_then(|&i| self.tensors.get(i)) else {
            return Err(Error::NoTensor { file: self.file.clone(), name: printable(name) });
        };
        let (file, elements, dtype) = (|| self.file.clone(), tensor.info.elements(), tensor.info.dtype);
        if start.checked_add(out.len()).is_none_or(|end| end > elements) {
            let end = start.saturating_add(out.len());
            return Err(Error::Range { file: file(), name: printable(name), elements, start, end });
        }
        if !dtype.is_float() {
            return Err(Error::NotFloat { file: file(), name: printable(name), dtype });
        }
        match &tensor.strides {
            None => read_run(&mut self.window, tensor, start, out),
            Some(strides) => gather(&mut self.window, tensor, strides, start, out),
        }
        .map_err(|source| Error::Read { file: file(), source })
    }
}

/// Reads elements that stand one after the other.
fn read_run(window: &mut Window, tensor: &Tensor, start: usize, out: &mut [f32]) -> io::Result<()> {
    let size = tensor.info.dtype.size();
    let mut offset = tensor.offset + (start * size) as u64;
    for piece in out.chunks_mut(CAPACITY / size) {
        let length = piece.len() * size;
        decode(tensor.info.dtype, window.bytes(offset, length)?, piece);
        offset += length as u64;
    }
    Ok(())
}

/// Reads elements that stand anywhere. Many at a time are visited in the order of the file, so that a transposed matrix
/// larger than the window isn't read anew for every element.
fn gather(window: &mut Window, tensor: &Tensor, strides: &[usize], start: usize, out: &mut [f32]) -> io::Result<()> {
    const AT_ONCE: usize = 1 << 18;
    let size = tensor.info.dtype.size();
    let mut first = start;
    let mut places: Vec<(u64, usize)> = Vec::new();
    for piece in out.chunks_mut(AT_ONCE) {
        places.clear();
        places.extend((0..piece.len()).map(|i| {
            let element = element_offset(&tensor.info.shape, strides, first + i);
            (tensor.offset + (element * size) as u64, i)
        }));
        places.sort_unstable();
        for &(offset, i) in &places {
            let bytes = window.bytes(offset, size)?;
            if let Some(value) = piece.get_mut(i..=i) {
                decode(tensor.info.dtype, bytes, value);
            }
        }
        first += piece.len();
    }
    Ok(())
}

/// Where the element with a row-major index stands, in elements from the tensor's first.
fn element_offset(shape: &[usize], strides: &[usize], index: usize) -> usize {
    let (offset, _) = shape.iter().zip(strides).rev().fold((0, index), |(offset, rest), (&size, &stride)| {
        let size = size.max(1);
        (offset + rest % size * stride, rest / size)
    });
    offset
}

/// Converts little-endian elements; `bytes` holds as many as `out`. Integers are no weights and leave `out` as it is.
fn decode(dtype: Dtype, bytes: &[u8], out: &mut [f32]) {
    match dtype {
        Dtype::F64 => {
            for (value, &bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
                #[expect(clippy::cast_possible_truncation, reason = "weights are used in f32")]
                let rounded = f64::from_le_bytes(bytes) as f32;
                *value = rounded;
            }
        }
        Dtype::F32 => {
            for (value, &bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
                *value = f32::from_le_bytes(bytes);
            }
        }
        Dtype::F16 => {
            for (value, &bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
                *value = f16::from_le_bytes(bytes).to_f32();
            }
        }
        Dtype::Bf16 => {
            for (value, &bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
                *value = bf16::from_le_bytes(bytes).to_f32();
            }
        }
        Dtype::I64 | Dtype::I32 | Dtype::I16 | Dtype::I8 | Dtype::U8 | Dtype::Bool => {}
    }
}

/// Drops what wrapped modules put before all names.
fn drop_wrappers(tensors: &mut [(String, Tensor)]) {
    const WRAPPERS: [&str; 2] = ["module.", "_orig_mod."];
    while let Some(prefix) =
        WRAPPERS.into_iter().find(|p| !tensors.is_empty() && tensors.iter().all(|(name, _)| name.starts_with(p)))
    {
        for (name, _) in &mut *tensors {
            name.drain(..prefix.len());
        }
    }
}

/// Bytes at the start of a file that tell its format.
const HEAD: usize = 512;

enum Format {
    Safetensors,
    Archive,
}

/// Tells the format by the first bytes, or what the file is instead and what to do about it.
fn format(head: &[u8]) -> Result<Format, (&'static str, &'static str)> {
    const SAVE_AGAIN: &str = "load it with PyTorch and save it again: `torch.save(torch.load(FILE), NEW_FILE)`";
    const CHECKPOINT: &str = "a checkpoint is a file that `torch.save` or safetensors has written";
    if head.starts_with(b"PK\x03\x04") {
        return Ok(Format::Archive);
    }
    if head.get(8) == Some(&b'{') {
        return Ok(Format::Safetensors);
    }
    Err(if head.is_empty() {
        ("the file is empty", "download or save it again")
    } else if head.get(257..262) == Some(b"ustar") {
        ("it is a tar archive, in which PyTorch kept checkpoints before version 0.1.10", SAVE_AGAIN)
    } else if head.starts_with(b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19") {
        ("it was saved by PyTorch before version 1.6, or with the old serialization", SAVE_AGAIN)
    } else if matches!(head, [0x80, 2..=5, ..]) {
        ("it is a bare pickle, without the archive that `torch.save` puts around it", SAVE_AGAIN)
    } else if head.starts_with(b"\x1f\x8b") {
        ("it is compressed with gzip", "unpack it first: `gunzip FILE`")
    } else if head.starts_with(b"version https://git-lfs") {
        ("it is a pointer that git-lfs left in place of the file", "fetch the file itself: `git lfs pull`")
    } else {
        ("it is neither a PyTorch archive nor safetensors", CHECKPOINT)
    })
}
