//! What a launch has to do: the figures behind bounds and strategies.

use std::ops::Add;

/// Work of a launch. Figures are for one sample and for the launch as a whole; a batch of `B` has `fixed + B * per_sample`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Work {
    /// Multiply-adds that the operation needs.
    pub useful: Amount,
    /// The same with padding to whole tiles.
    pub padded: Amount,
    /// Whether they run on tensor cores.
    pub tensor: bool,
    /// Bytes of global memory if every operand and result is moved once.
    pub compulsory: Amount,
    /// Bytes of global memory that the blocks ask for, each counting what it reads and writes: what the tiles cost.
    pub moved: Amount,
}

/// An amount for a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// Whatever the batch.
    pub fixed: u64,
    /// For each sample.
    pub per_sample: u64,
}

impl Amount {
    /// So much for each sample.
    #[must_use]
    pub const fn per_sample(amount: usize) -> Self {
        Self { fixed: 0, per_sample: amount as u64 }
    }

    /// So much whatever the batch.
    #[must_use]
    pub const fn fixed(amount: usize) -> Self {
        Self { fixed: amount as u64, per_sample: 0 }
    }

    /// The amount for a batch.
    #[must_use]
    pub const fn of(self, batch: usize) -> u64 {
        self.fixed + self.per_sample * batch as u64
    }
}

impl Add for Amount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { fixed: self.fixed + other.fixed, per_sample: self.per_sample + other.per_sample }
    }
}
