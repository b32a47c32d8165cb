//! For every kind of finding a kernel that has exactly that fault, and one just like it that hasn't.

use kwc_emulator::findings::Finding;

use crate::gpu::{Gpu, launch, shape};

/// A launch, and the error that it or waiting for its end gives. On real devices only the latter does.
macro_rules! outcome {
    ($gpu:expr, $($launch:tt)*) => {
        launch!($gpu, $($launch)*).and_then(|_| $gpu.stream.synchronize()).map_err(|error| error.0)
    };
}

/// Runs a kernel `(int* out, ...)` with 64 threads a block, whatever comes of it.
macro_rules! run {
    ($file:expr, $kernel:expr, $grid:expr $(, $argument:expr)*) => {
        || {
            let gpu = Gpu::with($file);
            let mut out = gpu.stream.alloc_zeros::<i32>(256).expect("memory");
            let _ = outcome!(gpu, $kernel, shape($grid, 64), &mut out $(, $argument)*);
        }
    };
}

mod copies;
mod memory;
mod races;
mod synchronisation;

/// Runs a kernel `(const int* x, int* out)` with 64 threads.
fn run_with_input(file: &str, kernel: &str) {
    let gpu = Gpu::with(file);
    let numbers: Vec<i32> = (0..512).collect();
    let x = gpu.stream.clone_htod(&numbers).expect("a copy");
    let mut out = gpu.stream.alloc_zeros::<i32>(64).expect("memory");
    let _ = outcome!(gpu, kernel, shape(1, 64), &x, &mut out);
}

/// The finding is by a thread of the first block that `is` one.
#[track_caller]
fn assert_thread(finding: &Finding, is: impl Fn(u32) -> bool) {
    assert_eq!((finding.block, finding.launch), ([0; 3], 1), "{finding:#?}");
    let [x, y, z] = finding.thread;
    assert!(is(x) && (y, z) == (0, 0), "{finding:#?}");
}
