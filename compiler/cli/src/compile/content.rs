//! What a file is to hold.

use std::fs::File;
use std::io::{self, BufReader, Read as _, Write};
use std::path::Path;

use kwc_compiler::hash::Hasher;
use kwc_runtime::packed::PackedWeights;

/// What a file is to hold.
pub(super) enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// Packed weights, in the runtime's format.
    Weights(Box<PackedWeights>),
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self::Bytes(text.into_bytes())
    }
}

impl Content {
    /// Writes all of it.
    ///
    /// # Errors
    /// What `to` says.
    pub(super) fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Bytes(bytes) => to.write_all(bytes),
            Self::Weights(weights) => weights.write_to(to),
        }
    }

    /// SHA-256 in hexadecimal digits.
    ///
    /// # Errors
    /// None that hashing makes; it is the writer's type that has them.
    pub(super) fn sha256(&self) -> io::Result<String> {
        let mut hasher = Hasher::default();
        self.write(&mut hasher)?;
        Ok(hasher.finish())
    }

    /// Whether an ordinary file holds just this.
    pub(super) fn is_in(&self, path: &Path) -> bool {
        let compare = || -> io::Result<bool> {
            if !std::fs::symlink_metadata(path)?.is_file() {
                return Ok(false);
            }
            let mut rest = Comparison { file: BufReader::new(File::open(path)?), is_same: true };
            self.write(&mut rest)?;
            Ok(rest.is_same && rest.file.read(&mut [0])? == 0)
        };
        compare().unwrap_or(false)
    }
}

/// Compares what is written to it with a file.
struct Comparison {
    file: BufReader<File>,
    is_same: bool,
}

impl Write for Comparison {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut buffer = [0; 1 << 13];
        for part in bytes.chunks(buffer.len()) {
            let buffer = &mut buffer[..part.len()];
            self.is_same = self.is_same && self.file.read_exact(buffer).is_ok() && buffer == part;
            if !self.is_same {
                break;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
