//! Memory that one thread of the host works on: the shared memory of a block.

use super::buffer::Cell;

/// Bytes as 32-bit words, little-endian.
#[derive(Debug, Default)]
pub struct Words {
    words: Vec<u32>,
}

impl Words {
    /// Makes it `bytes` long, rounded up to 8. What it holds is unspecified, as in real shared memory.
    pub fn resize(&mut self, bytes: u32) {
        self.words.resize(bytes.next_multiple_of(8) as usize / 4, 0xbaad_f00d);
    }

    /// The words.
    #[inline(always)]
    #[must_use]
    pub fn words(&self) -> &[u32] {
        &self.words
    }

    /// Reads at an aligned offset in bytes.
    #[inline(always)]
    #[must_use]
    pub fn load<T: InWords>(&self, offset: u32) -> T {
        T::from_words(offset as usize, |place| self.words[place])
    }

    /// Writes at an aligned offset in bytes.
    #[inline(always)]
    pub fn store<T: InWords>(&mut self, offset: u32, value: T) {
        value.into_words(offset as usize, |place, kept, bits| self.words[place] = self.words[place] & kept | bits);
    }
}

/// A value that lies in 32-bit words, little-endian.
pub trait InWords: Cell {
    /// Reads it at an aligned offset in bytes; `word` gives the words.
    fn from_words(offset: usize, word: impl Fn(usize) -> u32) -> Self;
    /// Writes it at an aligned offset in bytes: `update` gets a word's place, which of its bits stay, and the bits that
    /// come in.
    fn into_words(self, offset: usize, update: impl FnMut(usize, u32, u32));
}

macro_rules! part_of_word {
    ($ty:ty, $mask:expr) => {
        impl InWords for $ty {
            #[inline(always)]
            fn from_words(offset: usize, word: impl Fn(usize) -> u32) -> Self {
                (word(offset / 4) >> (offset % 4 * 8)) as Self
            }
            #[inline(always)]
            fn into_words(self, offset: usize, mut update: impl FnMut(usize, u32, u32)) {
                let shift = offset % 4 * 8;
                update(offset / 4, !($mask << shift), u32::from(self) << shift);
            }
        }
    };
}

part_of_word!(u8, 0xff);
part_of_word!(u16, 0xffff);

impl InWords for u32 {
    #[inline(always)]
    fn from_words(offset: usize, word: impl Fn(usize) -> u32) -> Self {
        word(offset / 4)
    }
    #[inline(always)]
    fn into_words(self, offset: usize, mut update: impl FnMut(usize, u32, u32)) {
        update(offset / 4, 0, self);
    }
}

impl InWords for u64 {
    #[inline(always)]
    fn from_words(offset: usize, word: impl Fn(usize) -> u32) -> Self {
        Self::from(word(offset / 4)) | Self::from(word(offset / 4 + 1)) << 32
    }
    #[inline(always)]
    fn into_words(self, offset: usize, mut update: impl FnMut(usize, u32, u32)) {
        update(offset / 4, 0, self as u32);
        update(offset / 4 + 1, 0, (self >> 32) as u32);
    }
}
