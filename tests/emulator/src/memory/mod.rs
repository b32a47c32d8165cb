//! Global memory: allocations, their bytes, what was freed.

mod buffer;
mod sectors;
mod words;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use buffer::{Buffer, Cell};
pub use sectors::{SECTOR, Sectors};
pub use words::{InWords, Words};

use crate::check::{GlobalShadow, Written};

/// Where the first allocation lies. Everything below is no global address. No program of the host has memory up here (it
/// ends at 2^47 on x86-64, at 2^48 on `AArch64`), so an address says whether it is the host's or the device's.
pub const FIRST_ADDRESS: u64 = 1 << 48;

/// Allocations begin at multiples of this.
const ALIGNMENT: u64 = 256;

/// Bytes that are left free behind an allocation, so that running over its end finds nothing.
const GAP: u64 = 4096;

/// An allocation of global memory.
#[derive(Debug)]
pub struct Allocation {
    /// Its device address.
    pub address: u64,
    /// Its size in bytes.
    pub size: u64,
    /// Its bytes.
    pub bytes: Buffer,
    /// Which of its bytes were written.
    pub written: Written,
    /// Which of its 32-byte sectors the present launch read.
    pub sectors_read: Sectors,
    /// Which of its 32-byte sectors the present launch wrote.
    pub sectors_written: Sectors,
    /// Who accessed it in the present launch.
    pub shadow: GlobalShadow,
}

/// The global memory of a device. Addresses are never used twice, so that a freed one is known as such.
#[derive(Debug)]
pub struct Global {
    capacity: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    allocations: BTreeMap<u64, Arc<Allocation>>,
    freed: BTreeMap<u64, u64>,
    next: u64,
    used: u64,
}

/// Why memory can't be had, freed or accessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// The device's memory is used up.
    #[error("out of memory")]
    OutOfMemory,
    /// No allocation begins at the address, or the range is in none.
    #[error("no allocation is at this address")]
    Unknown,
    /// It was freed before.
    #[error("the memory was freed before")]
    Freed,
}

/// What lies at an address.
#[derive(Debug, Clone)]
pub enum Place {
    /// An allocation.
    In(Arc<Allocation>),
    /// One that was freed: its address and size.
    Freed(u64, u64),
    /// Nothing; the allocation below it, and how many bytes behind its end it is.
    Nothing {
        /// Address and size of the nearest allocation below.
        below: Option<(u64, u64)>,
    },
}

impl Global {
    /// Memory of `capacity` bytes, of which nothing is allocated.
    #[must_use]
    pub fn new(capacity: u64) -> Self {
        Self { capacity, state: Mutex::new(State { next: FIRST_ADDRESS, ..State::default() }) }
    }

    /// Allocates `size` bytes (at least one is taken) and gives their address, a multiple of 256.
    ///
    /// # Errors
    ///
    /// [`MemoryError::OutOfMemory`], of the device or of the host.
    pub fn allocate(&self, size: u64) -> Result<u64, MemoryError> {
        let mut state = self.lock();
        let taken = size.max(1).checked_next_multiple_of(ALIGNMENT).ok_or(MemoryError::OutOfMemory)?;
        if taken > self.capacity - state.used {
            return Err(MemoryError::OutOfMemory);
        }
        let address = state.next;
        let allocation = Allocation {
            address,
            size,
            bytes: Buffer::zeroed(taken).ok_or(MemoryError::OutOfMemory)?,
            written: Written::new(taken),
            sectors_read: Sectors::new(taken),
            sectors_written: Sectors::new(taken),
            shadow: GlobalShadow::new(taken),
        };
        state.next = (address + taken + GAP).next_multiple_of(ALIGNMENT);
        state.used += taken;
        state.allocations.insert(address, Arc::new(allocation));
        Ok(address)
    }

    /// Frees what [`allocate`](Self::allocate) gave.
    ///
    /// # Errors
    ///
    /// [`MemoryError::Freed`] for a second time, [`MemoryError::Unknown`] for what was never allocated.
    pub fn free(&self, address: u64) -> Result<(), MemoryError> {
        let mut state = self.lock();
        let Some(allocation) = state.allocations.remove(&address) else {
            return Err(if state.freed.contains_key(&address) { MemoryError::Freed } else { MemoryError::Unknown });
        };
        state.freed.insert(address, allocation.size);
        state.used -= allocation.bytes.len();
        Ok(())
    }

    /// What lies at an address.
    #[must_use]
    pub fn place(&self, address: u64) -> Place {
        let state = self.lock();
        let below = state.allocations.range(..=address).next_back().map(|(_, allocation)| allocation);
        if let Some(allocation) = below
            && address - allocation.address < allocation.size
        {
            return Place::In(Arc::clone(allocation));
        }
        if let Some((base, size)) = state.freed.range(..=address).next_back()
            && address - base < *size
        {
            return Place::Freed(*base, *size);
        }
        Place::Nothing { below: below.map(|allocation| (allocation.address, allocation.size)) }
    }

    /// The allocation that an address lies in: address and size.
    #[must_use]
    pub fn allocation(&self, address: u64) -> Option<(u64, u64)> {
        match self.place(address) {
            Place::In(allocation) => Some((allocation.address, allocation.size)),
            Place::Freed(..) | Place::Nothing { .. } => None,
        }
    }

    /// Writes bytes from the host, which makes them initialised.
    ///
    /// # Errors
    ///
    /// The range isn't inside one allocation.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        let (allocation, offset) = self.range(address, bytes.len() as u64)?;
        allocation.bytes.write(offset, bytes);
        allocation.written.set(offset..offset + bytes.len() as u64);
        Ok(())
    }

    /// Takes bytes that were never written, and so are zero, for initialised.
    ///
    /// # Errors
    ///
    /// The range isn't inside one allocation.
    pub fn initialise(&self, address: u64, size: u64) -> Result<(), MemoryError> {
        let (allocation, offset) = self.range(address, size)?;
        allocation.written.set(offset..offset + size);
        Ok(())
    }

    /// Reads bytes to the host.
    ///
    /// # Errors
    ///
    /// The range isn't inside one allocation.
    pub fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), MemoryError> {
        let (allocation, offset) = self.range(address, bytes.len() as u64)?;
        allocation.bytes.read(offset, bytes);
        Ok(())
    }

    /// Copies bytes within the device; what was never written stays so. Ranges that overlap are copied as if by way of
    /// a third place.
    ///
    /// # Errors
    ///
    /// A range isn't inside one allocation.
    pub fn copy(&self, to: u64, from: u64, size: u64) -> Result<(), MemoryError> {
        let (source, from) = self.range(from, size)?;
        let (target, to) = self.range(to, size)?;
        const CHUNK: u64 = 1 << 20;
        let mut bytes = vec![0; size.min(CHUNK) as usize];
        // From the end, where the start would be overwritten before it is copied.
        let backward = Arc::ptr_eq(&source, &target) && to > from;
        let chunks = size.div_ceil(CHUNK);
        for number in 0..chunks {
            let start = CHUNK * if backward { chunks - 1 - number } else { number };
            let bytes = &mut bytes[..(size - start).min(CHUNK) as usize];
            source.bytes.read(from + start, bytes);
            target.bytes.write(to + start, bytes);
        }
        target.written.copy(to, &source.written, from, size);
        Ok(())
    }

    /// Repeats `pattern` (1, 2 or 4 bytes) `count` times.
    ///
    /// # Errors
    ///
    /// The range isn't inside one allocation.
    pub fn fill(&self, address: u64, pattern: &[u8], count: u64) -> Result<(), MemoryError> {
        let size = count.checked_mul(pattern.len() as u64).ok_or(MemoryError::Unknown)?;
        let (allocation, offset) = self.range(address, size)?;
        allocation.bytes.fill(offset, pattern, count);
        allocation.written.set(offset..offset + size);
        Ok(())
    }

    /// Bytes allocated.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.lock().used
    }

    /// Bytes that there are in all.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// All allocations, by address.
    #[must_use]
    pub fn allocations(&self) -> Vec<Arc<Allocation>> {
        self.lock().allocations.values().map(Arc::clone).collect()
    }

    fn range(&self, address: u64, size: u64) -> Result<(Arc<Allocation>, u64), MemoryError> {
        match self.place(address) {
            Place::In(allocation) => {
                let offset = address - allocation.address;
                if size > allocation.size - offset {
                    return Err(MemoryError::Unknown);
                }
                Ok((allocation, offset))
            }
            Place::Freed(..) => Err(MemoryError::Freed),
            Place::Nothing { .. } => Err(MemoryError::Unknown),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
