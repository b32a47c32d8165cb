//! Reading a large file through a small window.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};

/// Bytes that the window holds at most.
pub(super) const CAPACITY: usize = 1 << 18;

/// Bytes that are read at least where the reading jumps: what stands behind them may never be asked for.
const AFTER_JUMP: usize = 1 << 14;

/// What a checkpoint is read from.
pub(super) trait Source: Read + Seek + Send {}

impl<T: Read + Seek + Send> Source for T {}

/// A source and a part of it that is in memory, at most [`CAPACITY`] bytes.
pub(super) struct Window {
    source: Box<dyn Source>,
    length: u64,
    buffer: Vec<u8>,
    start: u64,
}

impl Window {
    /// A window, still empty, on a source.
    pub(super) fn new(mut source: Box<dyn Source>) -> io::Result<Self> {
        let length = source.seek(SeekFrom::End(0))?;
        Ok(Self { source, length, buffer: Vec::new(), start: 0 })
    }

    /// Bytes of the source.
    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// The source itself, at an unspecified position.
    pub(super) fn source(&mut self) -> &mut dyn Source {
        &mut *self.source
    }

    /// The bytes `offset .. offset + len` (at most [`CAPACITY`]), read with what follows them if they aren't in memory.
    pub(super) fn bytes(&mut self, offset: u64, len: usize) -> io::Result<&[u8]> {
        let held = self.start..self.start + self.buffer.len() as u64;
        let end = offset.checked_add(len as u64).filter(|&end| end <= self.length && len <= CAPACITY);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        if !held.contains(&offset) || end > held.end {
            let goes_on = held.contains(&offset) || offset == held.end;
            let wanted = if goes_on { CAPACITY } else { len.max(AFTER_JUMP) };
            let ahead = usize::try_from(self.length - offset).unwrap_or(wanted).min(wanted);
            // The buffer must not pass for valid should reading fail half-way.
            let mut buffer = std::mem::take(&mut self.buffer);
            buffer.resize(ahead, 0);
            self.source.seek(SeekFrom::Start(offset))?;
            self.source.read_exact(&mut buffer)?;
            self.buffer = buffer;
            self.start = offset;
        }
        let from = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        self.buffer.get(from..from.saturating_add(len)).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Window").field("length", &self.length).finish_non_exhaustive()
    }
}
