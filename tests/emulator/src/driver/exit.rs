//! The end of the process: the trace gets its last line.
#![expect(unsafe_code, reason = "the C library calls a function at the end")]

use std::panic;

use super::state::Device;
use crate::report::Record;

/// Has the C library call [`at_exit`] when the process ends in an orderly way, or the library is unloaded.
pub(super) fn register() {
    // SAFETY: the function lives as long as this library: the C library calls the handlers of a library that is
    // unloaded before it goes. If it can't be registered, the trace ends without its last line.
    let _ = unsafe { libc::atexit(at_exit) };
}

extern "C" fn at_exit() {
    let _ = panic::catch_unwind(|| {
        if let Ok(device) = Device::get() {
            device.drain();
            device.log.write(&Record::End);
        }
    });
}
