//! Accesses of a warp to memory: whether they are in bounds, aligned and in order, and what they cost.
//!
//! An operation asks here first, with the addresses of its lanes, and then reads or writes the cells that it was given.
//! Lanes that are no part of an access get offset 0, so that rows can be worked on whole.

use super::context::Context;
use super::instruction::Step;
use super::lanes::{ALL, LANES, each, is_in, lanes};
use super::traffic;
use super::windows::{WINDOW_BYTES, Window, window};
use crate::counters::Traffic;
use crate::findings::Kind as Wrong;
use crate::gpu::Fault;
use crate::memory::{Allocation, Place};

/// What an access does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It reads.
    Read,
    /// It writes.
    Write,
    /// It does both in one.
    Atomic,
}

/// An access of each lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// What it does.
    pub kind: Kind,
    /// Bytes of a lane: 1, 2, 4, 8 or 16.
    pub size: u32,
    /// Whether it is an atomic, volatile, relaxed or stronger one, which other such accesses don't race with.
    pub strong: bool,
}

/// Offsets of lanes in one piece of memory.
pub type Offsets = [u64; LANES];

/// Offsets in 32 bits; what doesn't fit is the greatest there is.
#[inline(always)]
#[must_use]
pub fn saturated(offsets: &Offsets) -> [u32; LANES] {
    each(|lane| offsets[lane].min(u32::MAX.into()) as u32)
}

impl<'a> Context<'a> {
    /// The addresses of an instruction whose address is `row a + imm`, `b` telling whether the row has 64 bits.
    #[inline(always)]
    #[must_use]
    pub fn addresses(&self, slot: u32, wide: bool, offset: i64) -> Offsets {
        let registers = &self.warp.registers;
        if wide {
            let row = registers.b64.row(slot);
            each(|lane| row[lane].wrapping_add_signed(offset))
        } else {
            let row = registers.b32.row(slot);
            each(|lane| u64::from(row[lane].wrapping_add(offset as u32)))
        }
    }

    /// Accesses global memory: `then` gets each allocation that lanes of `mask` are in, their offsets in it, and which
    /// lanes those are.
    ///
    /// # Errors
    ///
    /// The step that ends the launch, after a finding.
    #[inline(always)]
    pub fn global(
        &mut self,
        access: Access,
        addresses: &Offsets,
        mask: u32,
        then: impl FnMut(&mut Self, &'a Allocation, &Offsets, u32),
    ) -> Result<(), Step> {
        self.global_part(access, addresses, mask, self.launch.counters, then)
    }

    /// As [`global`](Self::global); `counted` says whether the traffic is counted here.
    ///
    /// # Errors
    ///
    /// As for [`global`](Self::global).
    #[inline(always)]
    pub fn global_part(
        &mut self,
        access: Access,
        addresses: &Offsets,
        mask: u32,
        counted: bool,
        mut then: impl FnMut(&mut Self, &'a Allocation, &Offsets, u32),
    ) -> Result<(), Step> {
        let mut left = mask;
        while left != 0 {
            let (allocation, offsets, part) = self.part_of_global(access, addresses, left, counted)?;
            then(self, allocation, &offsets, part);
            left &= !part;
        }
        Ok(())
    }

    /// Accesses global memory by the first lane of `mask` and those that are in the same allocation: the allocation,
    /// their offsets in it, 0 for all others, and which lanes they are. `counted` says whether the traffic is counted here.
    ///
    /// # Errors
    ///
    /// The step that ends the launch, after a finding.
    #[inline(always)]
    pub fn part_of_global(
        &mut self,
        access: Access,
        addresses: &Offsets,
        mask: u32,
        counted: bool,
    ) -> Result<(&'a Allocation, Offsets, u32), Step> {
        let launch = self.launch;
        let known = *self.worker.place(self.warp.pc);
        if let Some(allocation) = launch.allocations.get(known as usize) {
            let (offsets, fits) = within(allocation, addresses, mask, access.size);
            if fits {
                self.worker.recent = known as usize;
                self.examine_global(access, allocation, &offsets, mask, counted);
                return Ok((allocation, offsets, mask));
            }
        }
        let (place, part) = self.locate(access, addresses, mask, mask.trailing_zeros() as usize)?;
        let allocation = &*launch.allocations[place];
        self.worker.recent = place;
        *self.worker.place(self.warp.pc) = place as u32;
        let (offsets, _) = within(allocation, addresses, part, access.size);
        self.examine_global(access, allocation, &offsets, part, counted);
        Ok((allocation, offsets, part))
    }

    /// The allocation that `lane` is in, and all lanes of `mask` that are in it, too.
    #[cold]
    fn locate(&mut self, access: Access, addresses: &Offsets, mask: u32, lane: usize) -> Result<(usize, u32), Step> {
        let launch = self.launch;
        let address = addresses[lane];
        let size = u64::from(access.size);
        let after = launch.allocations.partition_point(|allocation| allocation.address <= address);
        let found = after.checked_sub(1).map(|place| (place, &launch.allocations[place]));
        let Some((place, allocation)) =
            found.filter(|(_, allocation)| address - allocation.address + size <= allocation.size)
        else {
            return Err(self.outside(address, access, lane));
        };
        let mut part = 0;
        for other in lanes(mask) {
            let offset = addresses[other].wrapping_sub(allocation.address);
            if offset < allocation.size && offset + size <= allocation.size {
                if !addresses[other].is_multiple_of(size) {
                    return Err(self.misaligned(addresses[other], access, other));
                }
                part |= 1 << other;
            }
        }
        Ok((place, part))
    }

    #[cold]
    fn outside(&mut self, address: u64, access: Access, lane: usize) -> Step {
        let (kind, what) = match self.launch.memory.place(address) {
            Place::In(allocation) => (
                Wrong::OutOfBounds,
                format!(
                    "{} bytes, the last of them behind the end of the allocation of {} bytes at {:#x}",
                    access.size, allocation.size, allocation.address
                ),
            ),
            Place::Freed(base, size) => {
                (Wrong::UseAfterFree, format!("in the {size} bytes at {base:#x}, which were freed"))
            }
            Place::Nothing { below: Some((base, size)) } => (
                Wrong::OutOfBounds,
                format!(
                    "{} bytes behind the end of the allocation of {size} bytes at {base:#x}",
                    address - base - size
                ),
            ),
            Place::Nothing { below: None } => (Wrong::OutOfBounds, "which is no address of global memory".to_owned()),
        };
        self.find(kind, lane, Some(address), || format!("{} of global memory at {address:#x}, {what}", access.words()));
        self.fault(Fault::IllegalAddress)
    }

    #[cold]
    fn misaligned(&mut self, address: u64, access: Access, lane: usize) -> Step {
        let size = access.size;
        self.find(Wrong::Misaligned, lane, Some(address), || {
            format!("{} of {size} bytes at {address:#x}, which is no multiple of {size}", access.words())
        });
        self.fault(Fault::Misaligned)
    }

    #[inline(never)]
    fn examine_global(
        &mut self,
        access: Access,
        allocation: &'a Allocation,
        offsets: &Offsets,
        mask: u32,
        counted: bool,
    ) {
        if counted {
            let (worker, pc) = (&mut *self.worker, self.warp.pc);
            let place = worker.recent as u32;
            let bytes = u64::from(mask.count_ones() * access.size);
            let mut sectors = 0;
            if access.kind != Kind::Write {
                sectors = traffic::sectors(offsets, mask, access.size, |first, last| {
                    allocation.sectors_read.touch(first, last, |word| worker.read.push((place, word)));
                });
                worker.traffic.loads += Traffic { requests: 1, sectors, bytes };
            }
            if access.kind != Kind::Read {
                sectors = traffic::sectors(offsets, mask, access.size, |first, last| {
                    allocation.sectors_written.touch(first, last, |word| worker.written.push((place, word)));
                });
                worker.traffic.stores += Traffic { requests: 1, sectors, bytes };
            }
            *worker.site(pc) += Traffic { requests: 1, sectors, bytes };
        }
        if self.launch.checks.any() {
            self.check_global(access, allocation, offsets, mask);
        }
    }

    /// As [`addresses`](Self::addresses), in shared memory: what doesn't fit 32 bits is the greatest offset there is.
    #[inline(always)]
    #[must_use]
    pub fn shared_addresses(&self, slot: u32, wide: bool, offset: i64) -> [u32; LANES] {
        if wide {
            let row = self.warp.registers.b64.row(slot);
            each(|lane| row[lane].wrapping_add_signed(offset).min(u32::MAX.into()) as u32)
        } else {
            let row = self.warp.registers.b32.row(slot);
            each(|lane| row[lane].wrapping_add(offset as u32))
        }
    }

    /// Accesses shared memory: the lanes' offsets, 0 for those that aren't in `mask`. `same` says of two lanes whether
    /// they write one value.
    ///
    /// # Errors
    ///
    /// The step that ends the launch, after a finding.
    #[inline(always)]
    pub fn shared(
        &mut self,
        access: Access,
        addresses: &[u32; LANES],
        mask: u32,
        same: impl Fn(usize, usize) -> bool,
    ) -> Result<[u32; LANES], Step> {
        let offsets = self.shared_unchecked(access, addresses, mask)?;
        if self.launch.checks.any() {
            self.check_shared(access, &offsets, mask, &same);
        }
        Ok(offsets)
    }

    /// As [`shared`](Self::shared), without noting whose access it is: for those that lanes make for others, or that
    /// come later.
    ///
    /// # Errors
    ///
    /// The step that ends the launch, after a finding.
    #[inline(always)]
    pub fn shared_unchecked(
        &mut self,
        access: Access,
        addresses: &[u32; LANES],
        mask: u32,
    ) -> Result<[u32; LANES], Step> {
        let Some(limit) = self.launch.shared_bytes.checked_sub(access.size) else {
            return Err(self.wrong_shared(access, addresses, mask));
        };
        let mut offsets = *addresses;
        if mask != ALL {
            offsets = each(|lane| if is_in(mask, lane) { addresses[lane] } else { 0 });
        }
        let (mut outside, mut low) = (0, 0);
        for offset in &offsets {
            outside |= u32::from(*offset > limit);
            low |= *offset;
        }
        if outside != 0 || low & (access.size - 1) != 0 {
            return Err(self.wrong_shared(access, addresses, mask));
        }
        if self.launch.counters {
            let (wavefronts, conflicts) = traffic::wavefronts(&offsets, mask, access.size);
            self.worker.traffic.shared += 1;
            let site = self.worker.site(self.warp.pc);
            site.requests += 1;
            site.wavefronts += wavefronts;
            site.conflicts += conflicts;
            site.bytes += u64::from(mask.count_ones() * access.size);
        }
        Ok(offsets)
    }

    #[cold]
    fn wrong_shared(&mut self, access: Access, addresses: &[u32; LANES], mask: u32) -> Step {
        let (size, bytes) = (u64::from(access.size), u64::from(self.launch.shared_bytes));
        for lane in lanes(mask) {
            let address = u64::from(addresses[lane]);
            if address.saturating_add(size) > bytes {
                self.find(Wrong::OutOfBounds, lane, Some(address), || {
                    format!(
                        "{} of {size} bytes at offset {address:#x} of shared memory, of which the block has {bytes}",
                        access.words()
                    )
                });
                return self.fault(Fault::IllegalAddress);
            }
            if !address.is_multiple_of(size) {
                return self.misaligned(address, access, lane);
            }
        }
        self.fault(Fault::IllegalAddress)
    }

    /// Accesses local memory, at offsets in the lanes' own.
    ///
    /// # Errors
    ///
    /// The step that ends the launch, after a finding.
    #[inline(always)]
    pub fn local(&mut self, access: Access, offsets: &Offsets, mask: u32, counted: bool) -> Result<(), Step> {
        let (size, limit) = (u64::from(access.size), u64::from(self.warp.local_top));
        let mut highest = 0;
        for lane in lanes(mask) {
            let offset = offsets[lane];
            highest = highest.max(offset);
            if offset.saturating_add(size) > limit {
                self.find(Wrong::OutOfBounds, lane, Some(offset), || {
                    format!(
                        "{} of {size} bytes at offset {offset:#x} of local memory, of which {limit} bytes are in use",
                        access.words()
                    )
                });
                return Err(self.fault(Fault::IllegalAddress));
            }
            if !offset.is_multiple_of(size) {
                return Err(self.misaligned(offset, access, lane));
            }
        }
        self.warp.local.reach(highest + size);
        if counted && self.launch.counters {
            // Words of one offset lie side by side for the 32 lanes.
            let words = u64::from(access.size.div_ceil(4));
            let spread = each(|lane| {
                let word = if is_in(mask, lane) { offsets[lane] / 4 } else { 0 };
                (word * LANES as u64 + lane as u64) * 4
            });
            let sectors = traffic::sectors(&spread, mask, 4, |_, _| {}) * words;
            let bytes = u64::from(mask.count_ones() * access.size);
            let traffic = Traffic { requests: 1, sectors, bytes };
            self.worker.traffic.local += traffic;
            *self.worker.site(self.warp.pc) += traffic;
        }
        Ok(())
    }

    /// Splits generic addresses by the window that they are in; `then` gets the window, the addresses in it, and the
    /// lanes.
    ///
    /// # Errors
    ///
    /// What `then` gives.
    #[inline(always)]
    pub fn by_window(
        &mut self,
        addresses: &Offsets,
        mask: u32,
        mut then: impl FnMut(&mut Self, Window, &Offsets, u32) -> Result<(), Step>,
    ) -> Result<(), Step> {
        // Mostly all are near each other, and so in one window.
        let first = addresses[mask.trailing_zeros() as usize % LANES];
        let mut apart = 0;
        for (lane, address) in addresses.iter().enumerate() {
            apart |= if is_in(mask, lane) { address ^ first } else { 0 };
        }
        if apart < WINDOW_BYTES {
            let (here, base) = window(first);
            return then(self, here, &each(|lane| addresses[lane].wrapping_sub(base)), mask);
        }
        let mut left = mask;
        while left != 0 {
            let (here, base) = window(addresses[left.trailing_zeros() as usize]);
            let mut part = 0;
            for (lane, address) in addresses.iter().enumerate() {
                part |= u32::from(window(*address).0 == here) << lane;
            }
            part &= left;
            let inside = each(|lane| addresses[lane].wrapping_sub(base));
            then(self, here, &inside, part)?;
            left &= !part;
        }
        Ok(())
    }
}

impl Access {
    /// The access, to begin a sentence with.
    fn words(self) -> &'static str {
        match self.kind {
            Kind::Read => "read",
            Kind::Write => "write",
            Kind::Atomic => "atomic operation",
        }
    }
}

/// The offsets in an allocation, and whether all lanes of `mask` are inside and aligned.
#[inline(always)]
fn within(allocation: &Allocation, addresses: &Offsets, mask: u32, size: u32) -> (Offsets, bool) {
    let base = allocation.address;
    let offsets: Offsets = if mask == ALL {
        each(|lane| addresses[lane].wrapping_sub(base))
    } else {
        each(|lane| if is_in(mask, lane) { addresses[lane].wrapping_sub(base) } else { 0 })
    };
    let (mut bits, mut highest) = (0, 0);
    for offset in &offsets {
        bits |= *offset;
        highest = highest.max(*offset as u32);
    }
    // Where an offset doesn't fit 32 bits, all of them have to be compared in full.
    let highest = if bits >> 32 == 0 { highest.into() } else { offsets.iter().copied().max().unwrap_or(0) };
    let size = u64::from(size);
    (offsets, highest < allocation.size && highest + size <= allocation.size && bits & (size - 1) == 0)
}
