//! Generic addresses: the windows in which shared, local and parameter memory appear.
//!
//! A generic address in a window is the window's base plus the offset in its space. Addresses of global and constant
//! memory are generic as they are, and lie above all windows.

/// Where shared memory appears.
pub const SHARED_WINDOW: u64 = 1 << 40;
/// Where local memory appears, each lane's own.
pub const LOCAL_WINDOW: u64 = 1 << 41;
/// Where the kernel's parameters appear.
pub const PARAM_WINDOW: u64 = 1 << 42;
/// Where functions lie. Nothing can be read or written here.
const CODE: u64 = 1 << 43;
/// Bytes from one function to the next.
const FUNCTION: u64 = 16;
/// Bytes of a window.
pub const WINDOW_BYTES: u64 = 1 << 32;

/// What a generic address is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// Global or constant memory, or nothing.
    Global,
    /// Shared memory.
    Shared,
    /// Local memory.
    Local,
    /// Parameters.
    Param,
}

/// The window of an address, and the window's base.
#[inline(always)]
#[must_use]
pub fn window(address: u64) -> (Window, u64) {
    match address & !(WINDOW_BYTES - 1) {
        SHARED_WINDOW => (Window::Shared, SHARED_WINDOW),
        LOCAL_WINDOW => (Window::Local, LOCAL_WINDOW),
        PARAM_WINDOW => (Window::Param, PARAM_WINDOW),
        _ => (Window::Global, 0),
    }
}

/// The address of a function of a module, which is never null.
#[must_use]
pub fn address_of(function: u32) -> u64 {
    CODE + FUNCTION * u64::from(function)
}

/// The function at an address, by its number, if it is one that a module of `functions` has.
#[must_use]
pub fn function_at(address: u64, functions: usize) -> Option<u32> {
    let offset = address.checked_sub(CODE)?;
    let number = u32::try_from(offset / FUNCTION).ok()?;
    (offset.is_multiple_of(FUNCTION) && (number as usize) < functions).then_some(number)
}
