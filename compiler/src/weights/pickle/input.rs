//! The bytes of a pickle, and what can be wrong with them.

/// An error: where, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Fault {
    /// Byte of the instruction, from 0.
    pub(in super::super) offset: usize,
    /// What is wrong with it.
    pub(in super::super) problem: Problem,
}

/// What can be wrong with a pickle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Problem {
    /// No program of PyTorch would write this.
    Damaged(String),
    /// It is nothing that a state dict needs, or of an unknown protocol.
    Unsupported(String),
    /// It names something that isn't known.
    Refused {
        /// The module in Python.
        module: String,
        /// The name in it.
        name: String,
    },
}

/// The error of a pickle that no program of PyTorch would write.
pub(super) fn damaged<T>(problem: impl Into<String>) -> Result<T, Problem> {
    Err(Problem::Damaged(problem.into()))
}

/// The bytes and how far they have been read.
pub(super) struct Input<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Input<'a> {
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Problem> {
        let end = self.at.saturating_add(length);
        let Some(taken) = self.bytes.get(self.at..end) else {
            return damaged("it ends in the middle of a value");
        };
        self.at = end;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn byte(&mut self) -> Result<usize, Problem> {
        Ok(usize::from(u8::from_le_bytes(self.array()?)))
    }

    /// A count or an index in four bytes.
    pub(super) fn word(&mut self) -> Result<usize, Problem> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    /// A count in eight bytes.
    pub(super) fn long(&mut self) -> Result<usize, Problem> {
        Ok(usize::try_from(u64::from_le_bytes(self.array()?)).unwrap_or(usize::MAX))
    }

    pub(super) fn text(&mut self, length: usize) -> Result<&'a str, Problem> {
        std::str::from_utf8(self.take(length)?).or_else(|_| damaged("a text isn't UTF-8"))
    }

    pub(super) fn line(&mut self) -> Result<&'a str, Problem> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(length) = rest.iter().position(|&b| b == b'\n') else {
            return damaged("it ends in the middle of a name");
        };
        let line = self.text(length)?;
        self.at += 1;
        Ok(line)
    }
}
