//! The bytes of an allocation, which several threads of the host read and write at once.
//!
//! A kernel may have races; the emulator must not. So every access is a relaxed atomic one, of the width that the
//! kernel uses, and costs no more than a plain one on the machines that this runs on.

use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

/// Bytes, all zero at first, 8-byte aligned.
#[derive(Debug)]
pub struct Buffer {
    words: Box<[AtomicU64]>,
}

/// A value in memory, of a width that a lane reads or writes at once.
pub trait Cell: Copy + Default + Eq + Send + Sync + 'static {
    /// The atomic of its width.
    type Atomic: 'static;
    /// Its size in bytes.
    const SIZE: u64;
    /// Reads it.
    fn load(atomic: &Self::Atomic) -> Self;
    /// Writes it.
    fn store(atomic: &Self::Atomic, value: Self);
    /// Replaces `old` by `new`; gives what was there if it wasn't `old`.
    ///
    /// # Errors
    ///
    /// The value that was there.
    fn replace(atomic: &Self::Atomic, old: Self, new: Self) -> Result<(), Self>;
}

macro_rules! cells {
    ($($ty:ty: $atomic:ty;)*) => {$(
        impl Cell for $ty {
            type Atomic = $atomic;
            const SIZE: u64 = size_of::<$ty>() as u64;
            #[inline(always)]
            fn load(atomic: &$atomic) -> Self {
                atomic.load(Ordering::Relaxed)
            }
            #[inline(always)]
            fn store(atomic: &$atomic, value: Self) {
                atomic.store(value, Ordering::Relaxed);
            }
            #[inline(always)]
            fn replace(atomic: &$atomic, old: Self, new: Self) -> Result<(), Self> {
                atomic.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire).map(|_| ())
            }
        }
    )*};
}

cells! {
    u8: AtomicU8;
    u16: AtomicU16;
    u32: AtomicU32;
    u64: AtomicU64;
}

impl Buffer {
    /// `size` zero bytes, a multiple of 8; `None` if the host hasn't the memory.
    #[must_use]
    pub fn zeroed(size: u64) -> Option<Self> {
        let words = usize::try_from(size / 8).ok()?;
        Some(Self { words: bytemuck::allocation::try_zeroed_slice_box(words).ok()? })
    }

    /// Size in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.words.len() as u64 * 8
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The bytes as cells of one width.
    #[inline(always)]
    #[must_use]
    pub fn cells<T: Cell>(&self) -> &[T::Atomic] {
        let len = self.words.len() * (8 / T::SIZE as usize);
        #[expect(unsafe_code, reason = "one memory seen as atomics of several widths")]
        // SAFETY: the atomics have the size and alignment of integers of their width, every bit pattern is a value of
        // theirs, and `len` of them cover just the words, which live as long as the result. All accesses are atomic;
        // of different widths at the same time they are plain moves on every machine that this is built for.
        unsafe {
            std::slice::from_raw_parts(self.words.as_ptr().cast::<T::Atomic>(), len)
        }
    }

    /// Reads bytes.
    pub fn read(&self, offset: u64, bytes: &mut [u8]) {
        let cells = self.cells::<u8>();
        let (start, len) = (offset as usize, bytes.len());
        // Whole words in the middle, single bytes at the ends.
        let head = (start.next_multiple_of(8) - start).min(len);
        for (byte, cell) in bytes[..head].iter_mut().zip(&cells[start..]) {
            *byte = u8::load(cell);
        }
        let (words, tail) = bytes[head..].as_chunks_mut::<8>();
        let from = (start + head) / 8;
        for (chunk, word) in words.iter_mut().zip(&self.words[from..]) {
            *chunk = u64::load(word).to_le_bytes();
        }
        let from = start + len - tail.len();
        for (byte, cell) in tail.iter_mut().zip(&cells[from..]) {
            *byte = u8::load(cell);
        }
    }

    /// Writes bytes.
    pub fn write(&self, offset: u64, bytes: &[u8]) {
        let cells = self.cells::<u8>();
        let (start, len) = (offset as usize, bytes.len());
        let head = (start.next_multiple_of(8) - start).min(len);
        for (byte, cell) in bytes[..head].iter().zip(&cells[start..]) {
            u8::store(cell, *byte);
        }
        let (words, tail) = bytes[head..].as_chunks::<8>();
        let from = (start + head) / 8;
        for (chunk, word) in words.iter().zip(&self.words[from..]) {
            u64::store(word, u64::from_le_bytes(*chunk));
        }
        let from = start + len - tail.len();
        for (byte, cell) in tail.iter().zip(&cells[from..]) {
            u8::store(cell, *byte);
        }
    }

    /// Repeats a pattern of 1, 2 or 4 bytes.
    pub fn fill(&self, offset: u64, pattern: &[u8], count: u64) {
        const CHUNK: u64 = 4096;
        let chunk = pattern.repeat(count.min(CHUNK) as usize);
        let mut done = 0;
        while done < count {
            let now = (count - done).min(CHUNK);
            let len = now as usize * pattern.len();
            self.write(offset + done * pattern.len() as u64, &chunk[..len]);
            done += now;
        }
    }
}
