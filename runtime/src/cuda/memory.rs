//! Memory of a model: on the device, and pinned on the host.
#![expect(unsafe_code, reason = "memory is allocated through the C interface")]

use std::ops::{Deref, DerefMut};
use std::slice;
use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaSlice, CudaStream, DriverError, result};

use super::{Error, driver};

/// Bytes on the device, of no defined content. They are freed in the stream's order.
pub(super) fn allocate(stream: &Arc<CudaStream>, what: &'static str, bytes: usize) -> Result<CudaSlice<u8>, Error> {
    // SAFETY: any bytes are u8, and the host doesn't read them.
    let memory = unsafe { stream.alloc::<u8>(bytes.max(1)) };
    memory.map_err(|error| {
        let mut reason = driver::reason(error);
        if let Ok((free, total)) = stream.context().mem_get_info() {
            reason = format!("{reason}, {free} of {total} bytes are free");
        }
        Error::Memory { what, bytes, reason }
    })
}

/// Values on the host in memory that the device copies from and to by itself.
pub(super) struct Pinned {
    values: *mut f32,
    length: usize,
    context: Arc<CudaContext>,
}

// SAFETY: the memory is the value's own, and any thread may use and free it.
unsafe impl Send for Pinned {}
// SAFETY: a shared reference gives shared slices only.
unsafe impl Sync for Pinned {}

impl Pinned {
    /// So many zeros.
    pub(super) fn zeroed(context: &Arc<CudaContext>, length: usize) -> Result<Self, Error> {
        let bytes = length.checked_mul(size_of::<f32>()).filter(|&bytes| isize::try_from(bytes).is_ok());
        let bytes = bytes.unwrap_or(usize::MAX);
        let failed = |error: DriverError| Error::Memory {
            what: "pinned inputs and outputs",
            bytes,
            reason: driver::reason(error),
        };
        context.bind_to_thread().map_err(failed)?;
        // SAFETY: any size may be asked for; what comes back holds that many bytes.
        let values = unsafe { result::malloc_host(bytes.max(size_of::<f32>()), 0) }.map_err(failed)?.cast::<f32>();
        // SAFETY: the driver gave as many bytes (too many would have been refused), aligned to a page.
        unsafe { values.write_bytes(0, length) };
        Ok(Self { values, length, context: context.clone() })
    }
}

impl Deref for Pinned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: the memory holds `length` values, set since its allocation; the device writes them only in a call that
        // has the value exclusively and waits for the device before it returns.
        unsafe { slice::from_raw_parts(self.values, self.length) }
    }
}

impl DerefMut for Pinned {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above.
        unsafe { slice::from_raw_parts_mut(self.values, self.length) }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.context.record_err(self.context.bind_to_thread());
        // SAFETY: the memory was allocated so, and nothing uses it from here on.
        self.context.record_err(unsafe { result::free_host(self.values.cast()) });
    }
}
