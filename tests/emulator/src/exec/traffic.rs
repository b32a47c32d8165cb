//! What an access of a warp costs: sectors of global memory, wavefronts of shared memory.

use super::lanes::{ALL, LANES, is_in, lanes};
use crate::memory::SECTOR;

/// Banks of shared memory, each 4 bytes wide.
const BANKS: usize = 32;

/// What the active lanes' addresses have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// All lanes are active, each one's address just behind that of the lane before.
    Consecutive,
    /// All lanes are active and have one address.
    Same,
    /// Neither.
    Other,
}

/// The pattern of an access of `size` bytes a lane, a power of two.
#[inline(always)]
#[must_use]
pub fn pattern<T: Offset>(offsets: &[T; LANES], mask: u32, size: u32) -> Pattern {
    if mask != ALL {
        return Pattern::Other;
    }
    if offsets[0] == offsets[1] {
        if offsets.iter().fold(true, |same, offset| same & (*offset == offsets[0])) {
            return Pattern::Same;
        }
        return Pattern::Other;
    }
    let shift = size.trailing_zeros();
    let mut consecutive = true;
    for (lane, offset) in (0..).zip(offsets) {
        consecutive &= *offset == offsets[0].plus(lane << shift);
    }
    if consecutive { Pattern::Consecutive } else { Pattern::Other }
}

/// An offset in memory, of 32 or 64 bits.
pub trait Offset: Copy + PartialEq {
    /// The sum, modulo its width.
    fn plus(self, bytes: u32) -> Self;
}

impl Offset for u32 {
    #[inline(always)]
    fn plus(self, bytes: u32) -> Self {
        self.wrapping_add(bytes)
    }
}

impl Offset for u64 {
    #[inline(always)]
    fn plus(self, bytes: u32) -> Self {
        self.wrapping_add(bytes.into())
    }
}

/// Counts the distinct sectors of an access, in each lane `size` bytes (at most 32, aligned), and gives their ranges,
/// first and last, to `touch`.
#[inline(always)]
pub fn sectors(offsets: &[u64; LANES], mask: u32, size: u32, mut touch: impl FnMut(u64, u64)) -> u64 {
    let first = offsets[0] / SECTOR;
    match pattern(offsets, mask, size) {
        Pattern::Consecutive => {
            let last = (offsets[LANES - 1] + u64::from(size) - 1) / SECTOR;
            touch(first, last);
            last - first + 1
        }
        Pattern::Same => {
            touch(first, first);
            1
        }
        Pattern::Other => scattered(offsets, mask, &mut touch),
    }
}

#[inline(never)]
fn scattered(offsets: &[u64; LANES], mask: u32, touch: &mut impl FnMut(u64, u64)) -> u64 {
    let mut numbers = [0; LANES];
    let mut count = 0;
    for lane in lanes(mask) {
        let sector = offsets[lane] / SECTOR;
        // Lanes are mostly in order: the one before is the likeliest to share the sector.
        if count == 0 || numbers[count - 1] != sector {
            numbers[count] = sector;
            count += 1;
        }
    }
    let numbers = &mut numbers[..count];
    if !numbers.is_sorted() {
        numbers.sort_unstable();
    }
    let mut distinct = 0;
    for (place, sector) in numbers.iter().enumerate() {
        if place == 0 || numbers[place - 1] != *sector {
            touch(*sector, *sector);
            distinct += 1;
        }
    }
    distinct
}

/// The wavefronts of an access of shared memory, and how many of them are due to bank conflicts.
///
/// Lanes are served together in groups that ask for 128 bytes: all 32 for up to 4 bytes a lane, 16 for 8 bytes, 8 for
/// 16 bytes. In a group, lanes that want one word share it; a bank gives one word a wavefront.
#[inline(always)]
#[must_use]
pub fn wavefronts(offsets: &[u32; LANES], mask: u32, size: u32) -> (u64, u64) {
    match pattern(offsets, mask, size) {
        Pattern::Consecutive | Pattern::Same => (u64::from(size.div_ceil(4)), 0),
        Pattern::Other => conflicts(offsets, mask, size),
    }
}

#[inline(never)]
fn conflicts(offsets: &[u32; LANES], mask: u32, size: u32) -> (u64, u64) {
    let words = size.div_ceil(4) as usize;
    let group = LANES / words;
    let (mut total, mut groups) = (0, 0);
    for first in (0..LANES).step_by(group) {
        // The words that each bank has to give: `held[bank]` of them, listed in `wanted`.
        let mut wanted = [[0; LANES]; BANKS];
        let mut held = [0; BANKS];
        let mut most = 0;
        for lane in (first..first + group).filter(|lane| is_in(mask, *lane)) {
            for part in 0..words as u32 {
                let word = offsets[lane] / 4 + part;
                let bank = word as usize % BANKS;
                let count = held[bank];
                if !wanted[bank][..count].contains(&word) {
                    wanted[bank][count] = word;
                    held[bank] = count + 1;
                    most = most.max(count + 1);
                }
            }
        }
        total += most as u64;
        groups += u64::from(most > 0);
    }
    (total, total - groups)
}
