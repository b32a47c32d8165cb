//! Memory of the host: what the driver allocates, and what copies read and write.
#![expect(unsafe_code, reason = "the host's memory is the program's")]

use std::alloc::Layout;
use std::ffi::c_void;

use super::arguments::Argument;
use super::errors::{Answer, Code};

/// Memory of the host that a copy reads or writes. That it is there when the copy is done is the program's promise: for
/// a copy in a graph, whenever the graph is launched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostPointer(usize);

macro_rules! host_pointers {
    ($($(#[$doc:meta])* $name:ident, $raw:ty;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy)]
            pub struct $name(pub HostPointer);

            impl Argument for $name {
                type Raw = $raw;

                unsafe fn from_raw(raw: $raw) -> Self {
                    Self(HostPointer(raw.expose_provenance()))
                }
            }
        )*
    };
}

host_pointers! {
    /// Memory of the host that a function only reads.
    Source, *const c_void;
    /// Memory of the host that a function writes.
    Target, *mut c_void;
}

impl HostPointer {
    /// The address that the program gave as a number, in the address space that host and device share.
    #[must_use]
    pub fn at(address: usize) -> Self {
        Self(address)
    }

    /// Its address.
    #[must_use]
    pub fn address(self) -> usize {
        self.0
    }

    /// The bytes there.
    ///
    /// # Errors
    ///
    /// The pointer is null, or the size is none that memory can have.
    pub fn read<T>(self, size: u64, with: impl FnOnce(&[u8]) -> T) -> Answer<T> {
        let size = self.check(size)?;
        // SAFETY: the interface demands of the program that `size` bytes can be read there and that no one writes them
        // until the copy is done.
        Ok(with(unsafe { std::slice::from_raw_parts(std::ptr::with_exposed_provenance(self.0), size) }))
    }

    /// The bytes there, to be written.
    ///
    /// # Errors
    ///
    /// The pointer is null, or the size is none that memory can have.
    pub fn write<T>(self, size: u64, with: impl FnOnce(&mut [u8]) -> T) -> Answer<T> {
        let size = self.check(size)?;
        // SAFETY: the interface demands of the program that `size` bytes can be written there and that no one else uses
        // them until the copy is done. Bytes that were never written can be overwritten, and aren't read.
        Ok(with(unsafe { std::slice::from_raw_parts_mut(std::ptr::with_exposed_provenance_mut(self.0), size) }))
    }

    /// Copies within the host's memory.
    ///
    /// # Errors
    ///
    /// A pointer is null, or the size is none that memory can have.
    pub fn copy_from(self, from: Self, size: u64) -> Answer {
        let size = self.check(size)?;
        from.check(size as u64)?;
        let from = std::ptr::with_exposed_provenance::<u8>(from.0);
        // SAFETY: as for `read` and `write`; the two may overlap.
        unsafe { from.copy_to(std::ptr::with_exposed_provenance_mut(self.0), size) }
        Ok(())
    }

    fn check(self, size: u64) -> Answer<usize> {
        if self.0 == 0 {
            return Err(Code::InvalidValue.because("the pointer to the host's memory is null"));
        }
        usize::try_from(size)
            .ok()
            .filter(|size| *size <= isize::MAX as usize)
            .ok_or_else(|| Code::InvalidValue.because(format!("{size} bytes are more than memory can have")))
    }
}

/// Page-locked memory. (Nothing is locked: no device accesses it.)
#[derive(Debug)]
pub struct HostAllocation {
    address: usize,
    layout: Layout,
    /// The flags that it was made with.
    pub flags: u32,
}

impl HostAllocation {
    /// Memory begins at a page.
    const ALIGN: usize = 4096;

    /// Allocates `size` bytes (not 0) of zeros.
    ///
    /// # Errors
    ///
    /// The host has no such memory.
    pub fn new(size: usize, flags: u32) -> Answer<Self> {
        let failure = || Code::OutOfMemory.because(format!("the host doesn't have {size} bytes"));
        let layout = Layout::from_size_align(size, Self::ALIGN).map_err(|_| failure())?;
        if size == 0 {
            return Err(Code::InvalidValue.because("an allocation of 0 bytes"));
        }
        // SAFETY: the size isn't 0.
        let pointer = unsafe { std::alloc::alloc_zeroed(layout) };
        if pointer.is_null() {
            return Err(failure());
        }
        Ok(Self { address: pointer.expose_provenance(), layout, flags })
    }

    /// Where it begins.
    #[must_use]
    pub fn address(&self) -> usize {
        self.address
    }

    /// As the program sees it.
    #[must_use]
    pub fn pointer(&self) -> *mut c_void {
        std::ptr::with_exposed_provenance_mut(self.address)
    }

    /// Bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.layout.size()
    }
}

impl Drop for HostAllocation {
    fn drop(&mut self) {
        // SAFETY: `new` allocated it with this layout, and it is freed once. That the program doesn't use it any longer
        // is what it promises by freeing it.
        unsafe { std::alloc::dealloc(std::ptr::with_exposed_provenance_mut(self.address), self.layout) }
    }
}

/// A function of the program, which is called with one pointer.
#[derive(Debug, Clone, Copy)]
pub struct HostFunction(Option<unsafe extern "C" fn(*mut c_void)>);

impl Argument for HostFunction {
    type Raw = Option<unsafe extern "C" fn(*mut c_void)>;

    unsafe fn from_raw(raw: Self::Raw) -> Self {
        Self(raw)
    }
}

impl HostFunction {
    /// Fails if there is none.
    ///
    /// # Errors
    ///
    /// The pointer to the function is null.
    pub fn check(self) -> Answer {
        self.0.map(|_| ()).ok_or_else(|| Code::InvalidValue.because("the pointer to the function is null"))
    }

    /// Calls it.
    pub fn call(self, data: usize) {
        if let Some(function) = self.0 {
            // SAFETY: the program gave the function to be called with this pointer.
            unsafe { function(std::ptr::with_exposed_provenance_mut(data)) }
        }
    }
}

/// A function of the program that gives the dynamic shared memory of a block from its threads.
#[derive(Debug, Clone, Copy)]
pub struct SharedOfBlock(Option<unsafe extern "C" fn(i32) -> usize>);

impl Argument for SharedOfBlock {
    type Raw = Option<unsafe extern "C" fn(i32) -> usize>;

    unsafe fn from_raw(raw: Self::Raw) -> Self {
        Self(raw)
    }
}

impl SharedOfBlock {
    /// Calls it; without one, the size is the same for all blocks.
    #[must_use]
    pub fn call(self, threads: i32, otherwise: usize) -> usize {
        match self.0 {
            // SAFETY: the program gave the function to be called with a number of threads.
            Some(function) => unsafe { function(threads) },
            None => otherwise,
        }
    }
}
