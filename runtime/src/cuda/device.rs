//! A CUDA device.
#![expect(unsafe_code, reason = "cudarc asks for a promise where its tracking of memory is switched off")]

use std::fmt;
use std::sync::Arc;

use cudarc::driver::sys::CUdevice_attribute;
use cudarc::driver::{CudaContext, CudaStream};

use super::{Error, driver};

/// A CUDA device that models can be loaded on. Copies of it are cheap and are the same device.
#[derive(Clone)]
pub struct Device {
    context: Arc<CudaContext>,
    name: Arc<str>,
    capability: (i32, i32),
    driver: (i32, i32),
    shared_limit: usize,
}

impl Device {
    /// The device of a number, counted from 0 as the driver does (`CUDA_VISIBLE_DEVICES` applies).
    ///
    /// # Errors
    ///
    /// [`Error::NoDriver`], [`Error::OldDriver`], [`Error::NoDevice`], [`Error::Capability`] for devices before Ampere,
    /// and [`Error::Call`] where the driver does not start.
    pub fn new(ordinal: usize) -> Result<Self, crate::Error> {
        driver::probe()?;
        let count = CudaContext::device_count().map_err(driver::failed("the CUDA driver does not start"))?;
        let count = usize::try_from(count).unwrap_or(0);
        if ordinal >= count {
            return Err(Error::NoDevice { ordinal, count }.into());
        }
        let failed = || driver::failed(format!("CUDA device {ordinal} cannot be used"));
        let context = CudaContext::new(ordinal).map_err(failed())?;
        let name = context.name().map_err(failed())?;
        let (major, minor) = context.compute_capability().map_err(failed())?;
        if major < 8 {
            return Err(Error::Capability { name, major, minor }.into());
        }
        let limit = CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN;
        let shared_limit = context.attribute(limit).map_err(failed())?;
        // SAFETY: memory that this crate allocates in the context is used on the stream that it was allocated on, or the
        // streams are ordered with events. Others have contexts, and so switches, of their own.
        unsafe { context.disable_event_tracking() };
        let shared_limit = usize::try_from(shared_limit).unwrap_or(0);
        let driver = driver::version()?;
        Ok(Self { context, name: name.into(), capability: (major, minor), driver, shared_limit })
    }

    /// What the device is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Compute capability: `(8, 0)` for an A100.
    #[must_use]
    pub fn compute_capability(&self) -> (i32, i32) {
        self.capability
    }

    /// The CUDA version that the driver is for, major and minor: `(12, 4)`.
    #[must_use]
    pub fn driver_version(&self) -> (i32, i32) {
        self.driver
    }

    /// A stream of its own, to allocate and fill buffers for [`Model::run_device`](super::Model::run_device) on.
    ///
    /// cudarc does not order several streams of this device by itself.
    ///
    /// # Errors
    ///
    /// [`Error::Call`] if the driver gives none.
    pub fn stream(&self) -> Result<Arc<CudaStream>, crate::Error> {
        Ok(self.context.new_stream().map_err(driver::failed("no stream can be made"))?)
    }

    /// The number of its architecture: 80 for compute capability 8.0.
    pub(super) fn architecture(&self) -> u32 {
        let (major, minor) = self.capability;
        u32::try_from(major * 10 + minor).unwrap_or(0)
    }

    /// Most bytes of shared memory that a block can have.
    pub(super) fn shared_limit(&self) -> usize {
        self.shared_limit
    }

    pub(super) fn context(&self) -> &Arc<CudaContext> {
        &self.context
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device").field("name", &self.name).field("capability", &self.capability).finish_non_exhaustive()
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (sm_{})", self.name, self.architecture())
    }
}
