//! Whether the CUDA driver can be used at all, and what its errors are called.
#![expect(unsafe_code, reason = "the driver is a C library")]

use std::error::Error as _;
use std::sync::OnceLock;

use cudarc::driver::DriverError;
use cudarc::driver::sys::{self, CUresult};
use libloading::Library;

use super::Error;

/// What this runtime calls, by itself or through cudarc. cudarc panics where a function is missing, so all are looked up
/// ahead.
const SYMBOLS: [&str; 43] = [
    "cuInit",
    "cuDriverGetVersion",
    "cuDeviceGet",
    "cuDeviceGetCount",
    "cuDeviceGetName",
    "cuDeviceGetAttribute",
    "cuDevicePrimaryCtxRetain",
    "cuDevicePrimaryCtxRelease_v2",
    "cuCtxGetCurrent",
    "cuCtxSetCurrent",
    "cuCtxSynchronize",
    "cuGetErrorName",
    "cuGetErrorString",
    "cuMemAlloc_v2",
    "cuMemAllocAsync",
    "cuMemFree_v2",
    "cuMemFreeAsync",
    "cuMemGetInfo_v2",
    "cuMemHostAlloc",
    "cuMemFreeHost",
    "cuMemcpyHtoDAsync_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemcpyDtoDAsync_v2",
    "cuMemsetD8Async",
    "cuModuleLoadDataEx",
    "cuModuleUnload",
    "cuModuleGetFunction",
    "cuFuncGetAttribute",
    "cuFuncSetAttribute",
    "cuStreamCreate",
    "cuStreamDestroy_v2",
    "cuStreamSynchronize",
    "cuStreamWaitEvent",
    "cuStreamBeginCapture_v2",
    "cuStreamEndCapture",
    "cuEventCreate",
    "cuEventDestroy_v2",
    "cuEventRecord",
    "cuEventSynchronize",
    "cuEventElapsedTime",
    "cuLaunchKernel",
    "cuGraphInstantiateWithFlags",
    "cuGraphLaunch",
];

/// Functions that end what others begin: looked up as the others are.
const ENDING: [&str; 2] = ["cuGraphExecDestroy", "cuGraphDestroy"];

/// Makes sure that the driver is there and has every function that is going to be called.
pub(super) fn probe() -> Result<(), Error> {
    static PROBED: OnceLock<Result<(), Error>> = OnceLock::new();
    PROBED.get_or_init(look).clone()
}

/// The CUDA version that the driver is for: major, minor. After [`probe`].
pub(super) fn version() -> Result<(i32, i32), Error> {
    let mut version = 0;
    // SAFETY: the function is there, as `probe` has seen, and `version` may be written.
    unsafe { sys::cuDriverGetVersion(&raw mut version) }
        .result()
        .map_err(failed("the CUDA driver does not say its version"))?;
    // 12040 for 12.4.
    Ok((version / 1000, version % 1000 / 10))
}

fn look() -> Result<(), Error> {
    let library = open()?;
    for symbol in SYMBOLS.into_iter().chain(ENDING) {
        // SAFETY: the address is not called, nor kept.
        if unsafe { library.get::<unsafe extern "C" fn()>(symbol) }.is_err() {
            return Err(Error::OldDriver { symbol });
        }
    }
    // cudarc opens it again; unloading a driver in between is a waste at best.
    std::mem::forget(library);
    Ok(())
}

/// The library that cudarc will use: it takes the first of these names that can be loaded.
fn open() -> Result<Library, Error> {
    let names = ["cuda", "nvcuda"].into_iter().flat_map(cudarc::get_lib_name_candidates);
    let mut reasons = Vec::new();
    for name in names {
        // SAFETY: loading runs the library's initialisers; the driver's have no preconditions.
        match unsafe { Library::new(&name) } {
            Ok(library) => return Ok(library),
            Err(error) => reasons.push((name, said(&error))),
        }
    }
    // The name under which drivers are installed says most.
    let installed = |(name, _): &&(String, String)| name == "libcuda.so.1";
    let reason = reasons.iter().find(installed).or(reasons.first()).map(|(_, reason)| reason.clone());
    Err(Error::NoDriver { reason: reason.unwrap_or_else(|| "no name to look for it is known here".to_owned()) })
}

/// What the loader says about an error: that is in its source, where there is one.
fn said(error: &libloading::Error) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

/// What the driver says about an error.
pub(super) fn reason(error: DriverError) -> String {
    let name = error.error_name().map_or_else(|_| format!("{:?}", error.0), |name| name.to_string_lossy().into_owned());
    let text = error.error_string().map_or_else(|_| String::new(), |text| text.to_string_lossy().into_owned());
    let text = if text.is_empty() { name } else { format!("{name} ({text})") };
    let advice = [
        (CUresult::CUDA_ERROR_ILLEGAL_ADDRESS, BROKEN),
        (CUresult::CUDA_ERROR_MISALIGNED_ADDRESS, BROKEN),
        (CUresult::CUDA_ERROR_ILLEGAL_INSTRUCTION, BROKEN),
        (CUresult::CUDA_ERROR_LAUNCH_FAILED, BROKEN),
        (
            CUresult::CUDA_ERROR_STUB_LIBRARY,
            "the library is the toolkit's stand-in: take its folder out of LD_LIBRARY_PATH",
        ),
    ];
    match advice.iter().find(|(code, _)| *code == error.0) {
        Some((_, advice)) => format!("{text}; {advice}"),
        None => text,
    }
}

/// What to do about a kernel that has gone wrong.
const BROKEN: &str =
    "this process can't use the device any more, so start it again; `compute-sanitizer` shows where it was";

/// Names what failed.
pub(super) fn failed(what: impl Into<String>) -> impl FnOnce(DriverError) -> Error {
    move |error| Error::Call { what: what.into(), reason: reason(error) }
}
