//! Which 32-byte sectors of an allocation a launch touched.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of a sector: what the memory system moves at least.
pub const SECTOR: u64 = 32;

/// A bit for each sector. Blocks on several threads of the host set bits at once.
#[derive(Debug)]
pub struct Sectors {
    words: Box<[AtomicU64]>,
}

impl Sectors {
    /// The sectors of `size` bytes, none touched.
    #[must_use]
    pub fn new(size: u64) -> Self {
        let words = size.div_ceil(SECTOR * 64) as usize;
        Self { words: bytemuck::allocation::zeroed_slice_box(words) }
    }

    /// Touches sectors `first` to `last`. The numbers of words of which a bit was set for the first time are given to
    /// `fresh`.
    #[inline(always)]
    pub fn touch(&self, first: u64, last: u64, mut fresh: impl FnMut(u32)) {
        let mut word = first / 64;
        while word <= last / 64 {
            let low = if word == first / 64 { first % 64 } else { 0 };
            let high = if word == last / 64 { last % 64 } else { 63 };
            let bits = (u64::MAX >> (63 - high)) & (u64::MAX << low);
            let cell = &self.words[word as usize];
            if cell.load(Ordering::Relaxed) & bits != bits && cell.fetch_or(bits, Ordering::Relaxed) == 0 {
                fresh(word as u32);
            }
            word += 1;
        }
    }

    /// The sectors of a word that were touched, a bit each; forgets them.
    #[must_use]
    pub fn take(&self, word: u32) -> u64 {
        self.words[word as usize].swap(0, Ordering::Relaxed)
    }

    /// The sectors of a word that were touched, a bit each.
    #[must_use]
    pub fn peek(&self, word: u32) -> u64 {
        self.words[word as usize].load(Ordering::Relaxed)
    }
}
