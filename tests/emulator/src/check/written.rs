//! Which bytes of an allocation were ever written: a bit for each.
//!
//! Bits are made in pieces as they are needed, so that a large allocation of which little is used costs little. Threads of
//! the host that run blocks set and read them at once.

use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::bits;

/// Bytes that a word has bits for.
const WORD: u64 = 64;
/// Words of a piece: 64 KiB of memory.
const PIECE: usize = 1024;

/// The written bytes of an allocation. Offsets and lengths are in bytes; what is beyond the end counts as written.
#[derive(Debug)]
pub struct Written {
    bytes: u64,
    pieces: Box<[OnceLock<Box<[AtomicU64]>>]>,
}

impl Written {
    /// Nothing is written.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let pieces = bytes.div_ceil(WORD * PIECE as u64);
        Self { bytes, pieces: (0..pieces).map(|_| OnceLock::new()).collect() }
    }

    /// Bytes are written.
    #[inline]
    pub fn set(&self, range: Range<u64>) {
        for (word, mask) in words(range.start..range.end.min(self.bytes)) {
            self.set_word(word, mask);
        }
    }

    /// Whether all bytes were written.
    #[inline]
    #[must_use]
    pub fn all(&self, range: Range<u64>) -> bool {
        words(range.start..range.end.min(self.bytes)).all(|(word, mask)| self.word(word) & mask == mask)
    }

    /// Whether a byte was written.
    #[must_use]
    pub fn is_set(&self, offset: u64) -> bool {
        self.all(offset..offset.saturating_add(1))
    }

    /// A copy within the device: `length` bytes at `to` become what those of `source` at `from` are. `source` may be this
    /// allocation, and the ranges may overlap.
    pub fn copy(&self, to: u64, source: &Self, from: u64, length: u64) {
        let length = length.min(self.bytes.saturating_sub(to)).min(source.bytes.saturating_sub(from));
        let copied: Vec<u64> = (0..length.div_ceil(WORD)).map(|i| source.bits_at(from + i * WORD)).collect();
        for (i, bits) in (0..).zip(copied) {
            let done = i * WORD;
            for (word, mask) in words(to + done..to + length.min(done + WORD)) {
                let bits = if word as u64 * WORD >= to + done {
                    bits >> (word as u64 * WORD - (to + done))
                } else {
                    bits << (to + done - word as u64 * WORD)
                };
                self.change_word(word, mask, bits);
            }
        }
    }

    /// The active lanes of a warp write `size` bytes each, at most 64, at their offsets.
    #[inline(always)]
    pub fn set_lanes(&self, offsets: &[u64; 32], mask: u32, size: u64) {
        if mask == u32::MAX && consecutive(offsets, size) {
            self.set(offsets[0]..offsets[0] + 32 * size);
        } else {
            self.set_each(offsets, mask, size);
        }
    }

    /// The first active lane, if there is one, some of whose `size` bytes, at most 64, were never written.
    #[inline(always)]
    #[must_use]
    pub fn first_unwritten(&self, offsets: &[u64; 32], mask: u32, size: u64) -> Option<usize> {
        if mask == u32::MAX && consecutive(offsets, size) && self.all(offsets[0]..offsets[0] + 32 * size) {
            return None;
        }
        self.first_unwritten_each(offsets, mask, size)
    }

    #[inline(never)]
    fn set_each(&self, offsets: &[u64; 32], mask: u32, size: u64) {
        for lane in bits(mask) {
            self.set(offsets[lane]..offsets[lane] + size);
        }
    }

    #[inline(never)]
    fn first_unwritten_each(&self, offsets: &[u64; 32], mask: u32, size: u64) -> Option<usize> {
        let mut last = None;
        bits(mask).find(|&lane| {
            // Lanes often read one place.
            let again = last.replace(offsets[lane]) == Some(offsets[lane]);
            !again && !self.all(offsets[lane]..offsets[lane] + size)
        })
    }

    /// 64 bits from any offset on.
    fn bits_at(&self, offset: u64) -> u64 {
        let (word, shift) = ((offset / WORD) as usize, offset % WORD);
        let low = self.word(word) >> shift;
        if shift == 0 { low } else { low | self.word(word + 1) << (WORD - shift) }
    }

    #[inline(always)]
    fn word(&self, word: usize) -> u64 {
        let piece = self.pieces.get(word / PIECE).and_then(OnceLock::get);
        piece.and_then(|words| words.get(word % PIECE)).map_or(0, |word| word.load(Relaxed))
    }

    #[inline(always)]
    fn set_word(&self, word: usize, mask: u64) {
        let Some(piece) = self.pieces.get(word / PIECE) else { return };
        if let Some(word) = piece.get_or_init(piece_of_words).get(word % PIECE)
            && word.load(Relaxed) & mask != mask
        {
            word.fetch_or(mask, Relaxed);
        }
    }

    fn change_word(&self, word: usize, mask: u64, bits: u64) {
        self.set_word(word, mask & bits);
        let piece = self.pieces.get(word / PIECE).and_then(OnceLock::get);
        if let Some(word) = piece.and_then(|words| words.get(word % PIECE)) {
            word.fetch_and(!mask | bits, Relaxed);
        }
    }
}

#[cold]
fn piece_of_words() -> Box<[AtomicU64]> {
    (0..PIECE).map(|_| AtomicU64::new(0)).collect()
}

/// The words that a range has bits in, with a mask of those bits.
#[inline(always)]
fn words(range: Range<u64>) -> impl Iterator<Item = (usize, u64)> {
    let Range { start, end } = range;
    let words = if start < end { start / WORD..end.div_ceil(WORD) } else { 0..0 };
    words.map(move |word| {
        let from = start.saturating_sub(word * WORD);
        let beyond = ((word + 1) * WORD).saturating_sub(end);
        (word as usize, (u64::MAX >> beyond) & (u64::MAX << from))
    })
}

/// Whether the accesses of all lanes follow each other.
#[inline(always)]
pub(crate) fn consecutive(offsets: &[u64; 32], size: u64) -> bool {
    let mut different = 0;
    for (lane, &offset) in offsets.iter().enumerate() {
        different |= offset ^ offsets[0].wrapping_add(lane as u64 * size);
    }
    different == 0
}
