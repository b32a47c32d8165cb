//! Addresses and contents of memory, and traps.

use cudarc::driver::DevicePtr as _;
use cudarc::driver::sys::CUresult;
use kwc_emulator::findings::Kind;

use super::assert_thread;
use crate::gpu::{Gpu, launch, shape};
use crate::harness::{nothing_found, only_finding, under_vgpu};

const FILE: &str = "faults_memory.cu";

#[test]
fn an_access_outside_any_allocation() {
    under_vgpu(
        &[],
        || {
            let gpu = Gpu::with(FILE);
            let mut x = gpu.stream.alloc_zeros::<f32>(100).expect("memory");
            let result = outcome!(gpu, "outside", shape(1, 128), &mut x, &100);
            assert_eq!(result, Err(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS));
            let after = gpu.stream.synchronize().map_err(|error| error.0);
            assert_eq!(after, Err(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS), "the context is lost");
        },
        |report| {
            let finding = only_finding(report, Kind::OutOfBounds, "outside", FILE, "// outside:");
            assert_thread(finding, |x| x == 100);
            // 400 bytes after a multiple of 256.
            assert_eq!(finding.address.map(|address| address % 256), Some(400 % 256));
            assert!(finding.instruction.starts_with("st.global"), "{finding:#?}");
        },
    );
}

#[test]
fn an_access_to_the_last_element_is_right() {
    under_vgpu(
        &[],
        || {
            let gpu = Gpu::with(FILE);
            let mut x = gpu.stream.alloc_zeros::<f32>(100).expect("memory");
            outcome!(gpu, "inside", shape(1, 128), &mut x, &100).expect("nothing is wrong");
            assert_eq!(gpu.stream.clone_dtoh(&x).expect("a copy"), [1.0; 100]);
        },
        nothing_found,
    );
}

#[test]
fn an_access_outside_is_found_with_all_checks_off() {
    under_vgpu(
        &["--check", "none"],
        || {
            let gpu = Gpu::with(FILE);
            let mut x = gpu.stream.alloc_zeros::<f32>(100).expect("memory");
            let result = outcome!(gpu, "outside", shape(1, 128), &mut x, &100);
            assert_eq!(result, Err(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS));
        },
        |report| {
            only_finding(report, Kind::OutOfBounds, "outside", FILE, "// outside:");
        },
    );
}

#[test]
fn an_access_behind_a_blocks_shared_memory() {
    under_vgpu(&[], run!(FILE, "outside_shared", 1, &64), |report| {
        let finding = only_finding(report, Kind::OutOfBounds, "outside_shared", FILE, "// outside_shared:");
        assert_thread(finding, |x| x < 64);
        assert!(finding.address.is_some_and(|address| (256..512).contains(&address)), "{finding:#?}");
    });
}

#[test]
fn an_access_within_a_blocks_shared_memory_is_right() {
    under_vgpu(&[], run!(FILE, "outside_shared", 1, &0), nothing_found);
}

fn misaligned(shift: i32) -> Result<(), CUresult> {
    let gpu = Gpu::with(FILE);
    let bytes = gpu.stream.alloc_zeros::<u8>(264).expect("memory");
    let mut out = gpu.stream.alloc_zeros::<f32>(64).expect("memory");
    outcome!(gpu, "misaligned", shape(1, 32), &bytes, &mut out, &shift)
}

#[test]
fn a_misaligned_access() {
    under_vgpu(
        &[],
        || assert_eq!(misaligned(4), Err(CUresult::CUDA_ERROR_MISALIGNED_ADDRESS)),
        |report| {
            let finding = only_finding(report, Kind::Misaligned, "misaligned", FILE, "// misaligned:");
            assert_thread(finding, |x| x < 32);
            assert_eq!(finding.address.map(|address| address % 8), Some(4));
        },
    );
}

#[test]
fn an_aligned_access_is_right() {
    under_vgpu(&[], || assert_eq!(misaligned(8), Ok(())), nothing_found);
}

#[test]
fn an_access_to_freed_memory() {
    under_vgpu(
        &[],
        || {
            let gpu = Gpu::with(FILE);
            let x = gpu.stream.alloc_zeros::<i32>(64).expect("memory");
            let address = x.device_ptr(&gpu.stream).0;
            drop(x);
            let _other = gpu.stream.alloc_zeros::<i32>(64).expect("memory");
            let result = outcome!(gpu, "increment", shape(1, 64), &address);
            assert_eq!(result, Err(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS));
        },
        |report| {
            let finding = only_finding(report, Kind::UseAfterFree, "increment", FILE, "// increment");
            assert_thread(finding, |x| x < 64);
        },
    );
}

#[test]
fn an_access_before_memory_is_freed_is_right() {
    under_vgpu(
        &[],
        || {
            let gpu = Gpu::with(FILE);
            let x = gpu.stream.alloc_zeros::<i32>(64).expect("memory");
            let address = x.device_ptr(&gpu.stream).0;
            outcome!(gpu, "increment", shape(1, 64), &address).expect("nothing is wrong");
            assert_eq!(gpu.stream.clone_dtoh(&x).expect("a copy"), [1; 64]);
        },
        nothing_found,
    );
}

/// Copies 64 elements of which the first `written` were.
fn copy(written: usize) {
    let gpu = Gpu::with(FILE);
    #[expect(unsafe_code, reason = "cudarc calls it so")]
    // SAFETY: what isn't written may be read on the virtual GPU.
    let mut from = unsafe { gpu.stream.alloc::<i32>(64) }.expect("memory");
    gpu.stream.memcpy_htod(&vec![1; written], &mut from.slice_mut(..written)).expect("a copy");
    let mut to = gpu.stream.alloc_zeros::<i32>(64).expect("memory");
    outcome!(gpu, "copy", shape(1, 64), &from, &mut to).expect("the kernel goes on");
}

#[test]
fn a_read_of_global_memory_that_was_never_written() {
    under_vgpu(
        &[],
        || copy(60),
        |report| {
            let finding = only_finding(report, Kind::Uninitialised, "copy", FILE, "// copy");
            assert_thread(finding, |x| x >= 60);
            assert!(finding.instruction.starts_with("ld.global"), "{finding:#?}");
            assert_eq!(finding.address.map(|address| address % 256), Some(u64::from(finding.thread[0]) * 4));
        },
    );
}

#[test]
fn a_read_of_global_memory_that_was_written_is_right() {
    under_vgpu(&[], || copy(64), nothing_found);
}

#[test]
fn the_check_of_what_was_written_can_be_off() {
    under_vgpu(&["--check", "races,synchronisation"], || copy(60), nothing_found);
}

#[test]
fn a_read_of_shared_memory_that_was_never_written() {
    under_vgpu(&[], run!(FILE, "read_shared", 1, &1), |report| {
        let finding = only_finding(report, Kind::Uninitialised, "read_shared", FILE, "// read_shared");
        // Thread 0 reads the last element, which thread 63 hasn't written.
        assert_thread(finding, |x| x == 0);
        assert_eq!((finding.address, finding.count), (Some(252), 1));
    });
}

#[test]
fn a_read_of_shared_memory_that_was_written_is_right() {
    under_vgpu(&[], run!(FILE, "read_shared", 1, &0), nothing_found);
}

#[test]
fn a_trap() {
    under_vgpu(
        &[],
        || {
            let gpu = Gpu::with(FILE);
            let x: Vec<i32> = (0..64).map(|i| i32::from(i == 37)).collect();
            let x = gpu.stream.clone_htod(&x).expect("a copy");
            outcome!(gpu, "stop", shape(1, 64), &x).expect_err("a trap");
        },
        |report| {
            let finding = only_finding(report, Kind::Trap, "stop", FILE, "// stop");
            assert_thread(finding, |x| x == 37);
        },
    );
}

#[test]
fn a_trap_that_no_thread_reaches_is_right() {
    under_vgpu(
        &[],
        || {
            let gpu = Gpu::with(FILE);
            let x = gpu.stream.alloc_zeros::<i32>(64).expect("memory");
            outcome!(gpu, "stop", shape(1, 64), &x).expect("nothing is wrong");
        },
        nothing_found,
    );
}
