//! `cuGetProcAddress`: functions by name and version of the interface.

use std::ffi::c_void;

use super::arguments::{Out, Text};
use super::errors::{Answer, Code};
use super::{abi, unsupported};

/// Names without a version, and what they stand for: the first CUDA version with it (12080 for 12.8), the newest first.
/// Other names stand for themselves, or for themselves with `_v2`.
const VERSIONS: &[(&str, &[(i32, &str)])] = &[
    ("cuCtxCreate", &[(13000, "cuCtxCreate_v4"), (11040, "cuCtxCreate_v3"), (3020, "cuCtxCreate_v2")]),
    ("cuEventElapsedTime", &[(12080, "cuEventElapsedTime_v2"), (2000, "cuEventElapsedTime")]),
    ("cuDeviceGetUuid", &[(11040, "cuDeviceGetUuid_v2"), (9020, "cuDeviceGetUuid")]),
    ("cuGetProcAddress", &[(12000, "cuGetProcAddress_v2"), (11030, "cuGetProcAddress")]),
    ("cuGraphInstantiate", &[(12000, "cuGraphInstantiateWithFlags"), (11000, "cuGraphInstantiate_v2")]),
    (
        "cuStreamGetCaptureInfo",
        &[
            (12030, "cuStreamGetCaptureInfo_v3"),
            (11030, "cuStreamGetCaptureInfo_v2"),
            (10010, "cuStreamGetCaptureInfo"),
        ],
    ),
];

/// The flag for functions whose default stream is the thread's own.
const PER_THREAD: u64 = 2;
/// Flags: the legacy default stream, the thread's own.
const FLAGS: u64 = 3;
/// What `symbolStatus` says: found, no such function, none in this version.
const FOUND: u32 = 0;
const UNKNOWN: u32 = 1;
const TOO_OLD: u32 = 2;

/// The function with exactly this name.
#[must_use]
pub fn find(name: &str) -> Option<*mut c_void> {
    abi::find(name).or_else(|| unsupported::find(name))
}

fn resolve(name: &str, version: i32) -> Result<*mut c_void, u32> {
    if let Some((_, forms)) = VERSIONS.iter().find(|(base, _)| *base == name) {
        let form = forms.iter().find(|(first, _)| version >= *first).ok_or(TOO_OLD)?;
        return find(form.1).ok_or(UNKNOWN);
    }
    find(&format!("{name}_v2")).or_else(|| find(name)).ok_or(UNKNOWN)
}

/// `cuGetProcAddress_v2`
pub fn address(name: Text, address: Out<*mut c_void>, version: i32, flags: u64, status: Out<u32>) -> Answer {
    let name = name.read()?;
    if flags & !FLAGS != 0 {
        return Err(Code::InvalidValue.because(format!("flags {flags:#x}")));
    }
    if flags & PER_THREAD != 0 {
        return Err(Code::NotSupported.because("functions with the thread's own default stream are not offered"));
    }
    match resolve(name, version) {
        Ok(found) => {
            status.set_if_wanted(FOUND);
            address.set(found)
        }
        Err(reason) => {
            status.set_if_wanted(reason);
            address.set(std::ptr::null_mut())?;
            // The second version of the function says it by the status alone, where that is wanted.
            if status.is_null() { Err(Code::NotFound.because(format!("there is no function {name}"))) } else { Ok(()) }
        }
    }
}

/// `cuGetProcAddress`
pub fn address_v1(name: Text, address: Out<*mut c_void>, version: i32, flags: u64) -> Answer {
    self::address(name, address, version, flags, Out::none())
}
