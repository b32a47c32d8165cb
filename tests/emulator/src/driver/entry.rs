//! How C functions come to be: a table of names, arguments and the safe functions that do the work.

use std::panic::{self, AssertUnwindSafe};

use super::errors::{Answer, Code, Failure};
use super::state::Device;

/// What the C functions return: a `CUresult`.
pub type Result = i32;

/// Turns a table of functions into `extern "C"` functions, `find`, which looks one of them up by name, and `NAMES`.
///
/// A line `cuName(argument: Type, ...) = path;` makes a function that checks nothing itself: it turns its arguments
/// into the named types, and calls `path` with them. With `device` at the head of the table, `path` is given the device
/// first, and the function fails before `cuInit`; with `process`, it can be called before.
macro_rules! functions {
    ($scope:ident: $($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty),*) = $path:path;)*) => {
        $(
            $(#[$doc])*
            ///
            /// # Safety
            ///
            /// Pointers are null or point to what the CUDA driver API demands there.
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $name(
                $($argument: <$type as crate::driver::arguments::Argument>::Raw),*
            ) -> crate::driver::entry::Result {
                $(
                    // SAFETY: the caller promises what the interface demands of it.
                    let $argument = unsafe { <$type as crate::driver::arguments::Argument>::from_raw($argument) };
                )*
                crate::driver::entry::functions!(@call $scope, $name, $path, $($argument),*)
            }
        )*

        /// The names of the functions.
        pub(super) const NAMES: &[&str] = &[$(stringify!($name)),*];

        /// The address of the function with a name.
        pub(super) fn find(name: &str) -> Option<*mut std::ffi::c_void> {
            match name {
                $(stringify!($name) => Some($name as *const () as *mut std::ffi::c_void),)*
                _ => None,
            }
        }
    };
    (@call device, $name:ident, $path:path, $($argument:ident),*) => {
        crate::driver::entry::on_device(stringify!($name), move |device| $path(device, $($argument),*))
    };
    (@call process, $name:ident, $path:path, $($argument:ident),*) => {
        crate::driver::entry::guarded(stringify!($name), move || $path($($argument),*))
    };
}

pub(super) use functions;

/// Runs the body of a function that needs the device.
pub(super) fn on_device(name: &str, body: impl FnOnce(&'static Device) -> Answer) -> Result {
    guarded(name, || body(Device::get()?))
}

/// Runs the body of a function: nothing unwinds into the program, and failures are written down.
pub(super) fn guarded(name: &str, body: impl FnOnce() -> Answer) -> Result {
    // What a panic leaves behind is consistent enough: each call checks what it finds, and the program is told.
    let answer = panic::catch_unwind(AssertUnwindSafe(body))
        .unwrap_or_else(|_| Err(Code::Unknown.because("the virtual GPU failed; this is a bug in it")));
    match answer {
        Ok(()) => Code::Success.number(),
        Err(failure) => {
            let _ = panic::catch_unwind(AssertUnwindSafe(|| report(name, &failure)));
            failure.code.number()
        }
    }
}

/// Answers a call of a function that isn't offered.
pub(super) fn unsupported(name: &str) -> Result {
    let failure = Code::NotSupported.because("the virtual GPU doesn't offer this function");
    let _ = panic::catch_unwind(AssertUnwindSafe(|| {
        if let Ok(device) = Device::get()
            && device.log.first_call(name)
        {
            device.report(name, &failure);
        }
    }));
    failure.code.number()
}

fn report(name: &str, failure: &Failure) {
    if let Ok(device) = Device::get() {
        device.report(name, failure);
    }
}
