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

#[inline(always)]
fn conflicts(offsets: &[u32; LANES], mask: u32, size: u32) -> (u64, u64) {
    // Lanes ask for aligned units of a word or of their whole access; a unit lies in one bank, or in as many side by side
    // as it has words. A group has as many lanes as there are such places.
    let unit = size.max(4).trailing_zeros();
    let group = (LANES * 4) >> unit;
    let (mut total, mut groups) = (0, 0);
    for first in (0..LANES).step_by(group) {
        let lanes = mask >> first & (u32::MAX >> (LANES - group));
        if lanes == 0 {
            continue;
        }
        groups += 1;
        let units = &offsets[first..first + group];
        total += if is_conflict_free(units, lanes, unit) { 1 } else { most_in_a_bank(units, lanes, unit) };
    }
    (total, total - groups)
}

/// Whether no place has to give two units to the lanes of a group.
#[inline(always)]
fn is_conflict_free(offsets: &[u32], lanes: u32, unit: u32) -> bool {
    // No offset reaches the last unit there could be.
    let mut given = [u32::MAX; BANKS];
    let mut free = true;
    for (lane, offset) in offsets.iter().enumerate() {
        if is_in(lanes, lane) {
            let wanted = offset >> unit;
            let place = &mut given[wanted as usize & (offsets.len() - 1) & (BANKS - 1)];
            free &= *place == u32::MAX || *place == wanted;
            *place = wanted;
        }
    }
    free
}

/// The most units that one place has to give to the lanes of a group.
#[cold]
#[inline(never)]
fn most_in_a_bank(offsets: &[u32], lanes: u32, unit: u32) -> u64 {
    // Lanes that take no part want what the first of the others wants.
    let one = offsets[lanes.trailing_zeros() as usize] >> unit;
    let mut wanted = [one; LANES];
    for (lane, offset) in offsets.iter().enumerate().filter(|(lane, _)| is_in(lanes, *lane)) {
        wanted[lane] = offset >> unit;
    }
    wanted.sort_unstable();
    let mut given = [0; BANKS];
    for (_, unit) in wanted.iter().enumerate().filter(|(place, unit)| *place == 0 || wanted[*place - 1] != **unit) {
        given[*unit as usize & (offsets.len() - 1) & (BANKS - 1)] += 1;
    }
    given.into_iter().max().unwrap_or(0)
}
