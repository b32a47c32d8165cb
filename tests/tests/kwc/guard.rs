//! Memory with guard pages: a read or write beyond an allocation's end, or before its start, ends the process.
//!
//! The allocator of this test binary does it for every larger allocation where the environment asks for it, and a test runs the
//! tests of the CPU's operations so: their sizes are odd, and what micro-kernels read goes up to the last element. A buffer
//! starts at a line of the cache, and all buffers of a model are one allocation: what lies in the rest of a buffer's last line,
//! or in the next buffer, is not guarded.

#![expect(unsafe_code, reason = "an allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::process::Command;

/// Names the side on which guard pages are: `after` or `before`.
const VARIABLE: &std::ffi::CStr = c"KWC_TEST_GUARD";
/// Smallest allocation that is guarded.
const LEAST: usize = 512;
const PAGE: usize = 4096;

struct Guarded;

#[global_allocator]
static ALLOCATOR: Guarded = Guarded;

/// The side on which guard pages are, if there are any.
fn side() -> Option<u8> {
    // SAFETY: a constant text; nothing here changes the environment.
    let value = unsafe { libc::getenv(VARIABLE.as_ptr()) };
    // SAFETY: a text of the environment has at least its final zero.
    (!value.is_null()).then(|| unsafe { *value.cast::<u8>() })
}

/// Bytes of the pages that hold an allocation, and where it starts in them.
fn place(layout: Layout, side: u8) -> (usize, usize) {
    let pages = layout.size().next_multiple_of(PAGE);
    let start = if side == b'a' { (pages - layout.size()) / layout.align() * layout.align() } else { 0 };
    (pages, start)
}

// SAFETY: guarded allocations are mappings of their own, as large and aligned as asked for; all others are the system's.
unsafe impl GlobalAlloc for Guarded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let side = side().filter(|_| layout.size() >= LEAST && layout.align() <= PAGE);
        let Some(side) = side else {
            // SAFETY: the caller's promise.
            return unsafe { System.alloc(layout) };
        };
        let (pages, start) = place(layout, side);
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping, with a page on either side that nobody may touch.
        unsafe {
            let all = libc::mmap(std::ptr::null_mut(), pages + 2 * PAGE, protection, flags, -1, 0);
            if all == libc::MAP_FAILED {
                return std::ptr::null_mut();
            }
            let all = all.cast::<u8>();
            let before = libc::mprotect(all.cast(), PAGE, libc::PROT_NONE);
            let after = libc::mprotect(all.add(PAGE + pages).cast(), PAGE, libc::PROT_NONE);
            if before != 0 || after != 0 {
                return std::ptr::null_mut();
            }
            all.add(PAGE + start)
        }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        let side = side().filter(|_| layout.size() >= LEAST && layout.align() <= PAGE);
        let Some(side) = side else {
            // SAFETY: the caller's promise, and the environment is the same as when it was allocated.
            return unsafe { System.dealloc(at, layout) };
        };
        let (pages, start) = place(layout, side);
        // SAFETY: the mapping that `alloc` made for this layout.
        unsafe { libc::munmap(at.sub(PAGE + start).cast(), pages + 2 * PAGE) };
    }
}

#[test]
fn operations_stay_in_their_memory() {
    let variable = VARIABLE.to_str().unwrap();
    if std::env::var_os(variable).is_some() {
        return;
    }
    for side in ["after", "before"] {
        let tests = Command::new(std::env::current_exe().unwrap())
            .args(["kernels::", "--test-threads", "2"])
            .env(variable, side)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&tests.stdout);
        assert!(tests.status.success(), "with guard pages {side} allocations: {}\n{said}", tests.status);
        assert!(!said.contains("running 0 tests"), "{said}");
    }
}
