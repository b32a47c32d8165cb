//! What can be wrong with a checkpoint, for people: the file, the place, a way out.
//!
//! Every error prints as one or more complete lines: the first says what is wrong, a line `hint: ...` what to do.

use std::fmt;
use std::io;

use super::Dtype;
use super::matching::Mismatch;
use crate::folder::reason;

/// An error about weights.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refuses.
    #[error("can't read `{file}`: {}", reason(source))]
    Read {
        /// The file.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// The file is sound as far as one can see, but of a kind, or with contents, that isn't read.
    #[error("can't read `{file}`: {problem}\nhint: {hint}")]
    Unsupported {
        /// The file.
        file: String,
        /// What it is or holds.
        problem: String,
        /// A way out.
        hint: String,
    },
    /// The file contradicts itself or ends too early.
    #[error("`{file}` is damaged: {place}{problem}\nhint: copy or download the file again, or save it again")]
    Damaged {
        /// The file.
        file: String,
        /// Where in it.
        place: Place,
        /// What is wrong there.
        problem: String,
    },
    /// A pickle names something that isn't data of a state dict.
    #[error("can't load `{file}`: {place}it holds `{global}`, which this reader does not load\nhint: {hint}")]
    Refused {
        /// The file.
        file: String,
        /// Where it is named.
        place: Place,
        /// Module and name, as in Python.
        global: String,
        /// A way out.
        hint: String,
    },
    /// There is no state dict where one was looked for.
    #[error("{}", missing_state(file, wanted.as_deref(), available))]
    NoState {
        /// The file.
        file: String,
        /// The state that was asked for; without it, `model`, `state_dict` and the file's top level were tried.
        wanted: Option<String>,
        /// What there is instead, one description per name.
        available: Vec<String>,
    },
    /// The names and shapes in a checkpoint aren't those of the network.
    #[error(transparent)]
    Mismatch(#[from] Box<Mismatch>),
    /// A tensor is asked for that isn't there.
    #[error("`{file}` has no tensor `{name}`")]
    NoTensor {
        /// The file.
        file: String,
        /// The tensor.
        name: String,
    },
    /// Elements are asked for that a tensor doesn't have.
    #[error("tensor `{name}` in `{file}` has {elements} elements; {start} to {end} were asked for")]
    Range {
        /// The file.
        file: String,
        /// The tensor.
        name: String,
        /// Its elements.
        elements: usize,
        /// First element asked for.
        start: usize,
        /// Element after the last.
        end: usize,
    },
    /// A weight isn't made of floating-point numbers.
    #[error(
        "tensor `{name}` in `{file}` holds {dtype}, and a weight must be f16, bf16, f32 or f64\nhint: convert it before saving: `tensor.float()`"
    )]
    NotFloat {
        /// The file.
        file: String,
        /// The tensor.
        name: String,
        /// Its type.
        dtype: Dtype,
    },
    /// Values for a tensor in memory don't fill its shape.
    #[error("tensor `{name}` has shape {shape:?}, which {elements} elements don't fill")]
    Shape {
        /// The tensor.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Elements given.
        elements: usize,
    },
    /// A state can't be written.
    #[error("can't write the tensors: {source}")]
    Write {
        /// Why.
        source: io::Error,
    },
}

/// A place in a checkpoint. It prints with a colon after it, or as nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The file as a whole.
    Whole,
    /// A byte of the file's header, or of an entry of an archive.
    Byte {
        /// What is counted in, such as `data.pkl`.
        part: &'static str,
        /// The byte, from 0.
        offset: usize,
    },
    /// A part of the file, such as an entry of an archive.
    Part(String),
    /// A tensor.
    Tensor(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => Ok(()),
            Self::Byte { part, offset } => write!(f, "{part}, byte {offset}: "),
            Self::Part(part) => write!(f, "{part}: "),
            Self::Tensor(name) => write!(f, "tensor `{name}`: "),
        }
    }
}

fn missing_state(file: &str, wanted: Option<&str>, available: &[String]) -> String {
    let problem = match wanted {
        Some(name) => format!("`{file}` has no state dict `{name}`"),
        None => format!("`{file}` has no state dict under `model` or `state_dict`, and isn't one itself"),
    };
    if available.is_empty() {
        return format!(
            "{problem}: it holds nothing\nhint: save the state dict: `torch.save(model.state_dict(), ...)`"
        );
    }
    format!(
        "{problem}; it holds\n  {}\nhint: name the state dict with `--state NAME`, or save it alone: \
         `torch.save(model.state_dict(), ...)`",
        available.join("\n  ")
    )
}

/// A name from a file as it can be printed: control characters escaped, cut where it is too long to be meant.
pub(super) fn printable(name: &str) -> String {
    const LIMIT: usize = 120;
    let mut text = String::new();
    for (i, c) in name.chars().enumerate() {
        match c {
            _ if i == LIMIT => {
                text.push_str("...");
                break;
            }
            '\'' | '"' => text.push(c),
            _ => text.extend(c.escape_debug()),
        }
    }
    text
}
