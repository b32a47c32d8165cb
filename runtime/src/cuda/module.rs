//! Code on a device: loaded, with a handle for each kernel.
#![expect(unsafe_code, reason = "modules are loaded and asked through the C interface")]

use std::ffi::{CString, c_void};
use std::ptr;
use std::sync::Arc;

use cudarc::driver::result::module;
use cudarc::driver::sys::{self, CUfunction_attribute, CUjit_option, CUresult};
use cudarc::driver::{CudaContext, DriverError, result};

use super::{Device, Error, driver};
use crate::program::cuda::{Kernel, KernelId, Program};

/// Bytes for what the driver's compiler has to say.
const LOG: usize = 8192;

/// Dynamic shared memory that a block has without asking.
const UNASKED: u32 = 48 * 1024;

/// A loaded module. Unloaded when it is dropped; its kernels must have ended by then.
pub(super) struct Module {
    raw: sys::CUmodule,
    context: Arc<CudaContext>,
    functions: Vec<sys::CUfunction>,
}

// SAFETY: the driver's handles may be used by any thread with the context, which every use binds.
unsafe impl Send for Module {}

/// Code for the driver.
#[derive(Clone, Copy)]
pub(super) enum Image<'c> {
    Cubin(&'c [u8]),
    Ptx(&'c str),
}

/// Why the driver does not take a module.
pub(super) struct Refusal {
    /// Whether it is for the version of PTX.
    pub(super) version: bool,
    pub(super) reason: String,
}

impl Module {
    /// Loads code that has all of a Program's kernels.
    pub(super) fn load(device: &Device, image: Image<'_>, kernels: &[Kernel]) -> Result<Self, Refusal> {
        let other = |reason: String| Refusal { version: false, reason };
        // The driver finds the end of PTX by a zero byte, and that of a cubin by its headers.
        let bytes = match image {
            Image::Cubin(bytes) if bytes.len() < 64 || !bytes.starts_with(b"\x7fELF") => {
                return Err(other("it is no cubin: an ELF file is expected".to_owned()));
            }
            Image::Cubin(bytes) => bytes.to_vec(),
            Image::Ptx(text) => {
                CString::new(text).map_err(|_| other("it contains a zero byte".to_owned()))?.into_bytes_with_nul()
            }
        };
        device.context().bind_to_thread().map_err(|error| other(driver::reason(error)))?;
        let mut log = vec![0_u8; LOG];
        let mut options = [CUjit_option::CU_JIT_ERROR_LOG_BUFFER, CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES];
        let mut values = [log.as_mut_ptr().cast::<c_void>(), ptr::without_provenance_mut(LOG)];
        let mut raw = ptr::null_mut();
        // SAFETY: the image is whole and ends as the driver expects, the log has as many bytes as its size says, and both
        // outlive the call.
        let status = unsafe {
            sys::cuModuleLoadDataEx(&raw mut raw, bytes.as_ptr().cast(), 2, options.as_mut_ptr(), values.as_mut_ptr())
        };
        if let Err(error) = status.result() {
            let length = log.iter().position(|&byte| byte == 0).unwrap_or(LOG);
            let log = String::from_utf8_lossy(&log[..length]).trim().to_owned();
            let reason = driver::reason(error);
            return Err(Refusal {
                version: error.0 == CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION,
                reason: if log.is_empty() { reason } else { format!("{reason}\n{log}") },
            });
        }
        let mut this = Self { raw, context: device.context().clone(), functions: Vec::new() };
        for Kernel { symbol, .. } in kernels {
            let name =
                CString::new(symbol.as_bytes()).map_err(|_| other("a kernel's name has a zero byte".to_owned()))?;
            // SAFETY: the module is loaded.
            let function = unsafe { module::get_function(this.raw, name) };
            let function = function.map_err(|error| other(format!("no kernel {symbol}: {}", driver::reason(error))))?;
            this.functions.push(function);
        }
        Ok(this)
    }

    /// Checks that every kernel fits the device, and gives those their shared memory that need more than blocks have
    /// unasked.
    pub(super) fn prepare(&self, device: &Device, program: &Program) -> Result<(), Error> {
        for (index, (kernel, &function)) in program.kernels.iter().zip(&self.functions).enumerate() {
            let error = |what: String| Error::Kernel {
                kernel: kernel.symbol.to_string(),
                layer: layer_of(program, index).to_owned(),
                device: device.name().to_owned(),
                what,
            };
            let failed = |cause: DriverError| error(driver::reason(cause));
            let attribute = |which| {
                // SAFETY: the function is one of the loaded module.
                let value = unsafe { result::function::get_function_attribute(function, which) };
                value.map(|value| usize::try_from(value).unwrap_or(0)).map_err(failed)
            };
            let threads = attribute(CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK)?;
            if kernel.threads as usize > threads {
                let needed = kernel.threads;
                return Err(error(format!(
                    "its blocks have {needed} threads, and its registers leave room for {threads}"
                )));
            }
            let fixed = attribute(CUfunction_attribute::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES)?;
            let (bytes, limit) = (kernel.shared_bytes as usize + fixed, device.shared_limit());
            if bytes > limit {
                return Err(error(format!("a block takes {bytes} bytes of shared memory, and there are {limit}")));
            }
            if bytes > UNASKED as usize {
                let which = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
                let value = i32::try_from(kernel.shared_bytes).unwrap_or(i32::MAX);
                // SAFETY: the function is one of the loaded module.
                unsafe { result::function::set_function_attribute(function, which, value) }.map_err(failed)?;
            }
        }
        Ok(())
    }

    /// The handle of a kernel; `None` if the Program has no such kernel.
    pub(super) fn function(&self, id: KernelId) -> Option<sys::CUfunction> {
        usize::try_from(id.0).ok().and_then(|index| self.functions.get(index)).copied()
    }
}

/// The first layer that a kernel is launched for.
fn layer_of(program: &Program, kernel: usize) -> &str {
    let mut launches = program.variants.iter().flat_map(|variant| variant.launches.iter());
    let found = launches.find(|launch| usize::try_from(launch.kernel.0) == Ok(kernel));
    found.map_or("", |launch| launch.layer.as_ref())
}

impl Drop for Module {
    fn drop(&mut self) {
        self.context.record_err(self.context.bind_to_thread());
        // SAFETY: the module is loaded, and nothing uses it from here on.
        self.context.record_err(unsafe { module::unload(self.raw) });
    }
}
