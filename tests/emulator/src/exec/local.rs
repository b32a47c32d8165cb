//! The local memory of a warp: every lane's own, interleaved by words as hardware has it, so that lanes that use one
//! offset use a row.

use super::lanes::{LANES, lanes};
use crate::memory::InWords;

/// Local memory: word `w` of lane `l` is at `rows[w][l]`. There are rows as far as lanes came to.
#[derive(Debug, Default)]
pub struct Local {
    rows: Vec<[u32; LANES]>,
}

impl Local {
    /// Makes sure that there are rows up to `end`, in bytes.
    #[inline(always)]
    pub fn reach(&mut self, end: u64) {
        if end > self.rows.len() as u64 * 4 {
            self.grow(end);
        }
    }

    #[cold]
    fn grow(&mut self, end: u64) {
        self.rows.resize(end.next_multiple_of(8) as usize / 4, [0; LANES]);
    }

    /// Reads a lane's value at an aligned offset in bytes.
    #[inline(always)]
    #[must_use]
    pub fn load<T: InWords>(&self, lane: usize, offset: u64) -> T {
        T::from_words(offset as usize, |place| self.rows[place][lane])
    }

    /// Writes a lane's value at an aligned offset in bytes.
    #[inline(always)]
    pub fn store<T: InWords>(&mut self, lane: usize, offset: u64, value: T) {
        value.into_words(offset as usize, |place, kept, bits| {
            let word = &mut self.rows[place][lane];
            *word = *word & kept | bits;
        });
    }

    /// Copies `bytes` of the lanes of `mask` from one offset to another, both multiples of 4; at the end of a word that
    /// isn't filled, more may be copied.
    pub fn copy(&mut self, from: u32, to: u32, bytes: u32, mask: u32) {
        self.reach(u64::from(from.max(to)) + u64::from(bytes));
        for word in 0..bytes.div_ceil(4) as usize {
            let (from, to) = (from as usize / 4 + word, to as usize / 4 + word);
            for lane in lanes(mask) {
                self.rows[to][lane] = self.rows[from][lane];
            }
        }
    }
}
