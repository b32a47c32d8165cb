//! Memory: allocation, copies, filling, pointers.

use std::ptr::{null, null_mut};

use kwc_emulator::driver::errors::Code;

use super::calls::{Context, Handle, allocate, call, garbage, read, stream, write};

#[test]
fn memory_is_written_and_read() {
    let _context = Context::new();
    let address = allocate(64);
    assert_eq!(address % 256, 0);
    write(address, &[1, 2, 3, 4]);
    assert_eq!(read(address, 4), [1, 2, 3, 4]);
    let other = allocate(64);
    call!(cuMemcpyDtoD_v2(other, address + 4, 8)).unwrap();
    assert_eq!(read(other, 2), [2, 3]);
    // One address space: each address says whose it is.
    let mut words = [7_u32, 8];
    let host = (&raw mut words).addr() as u64;
    call!(cuMemcpy(other, host, 8)).unwrap();
    call!(cuMemcpy(address + 8, other, 8)).unwrap();
    assert_eq!(read(address, 4), [1, 2, 7, 8]);
    call!(cuMemcpyAsync(host, address, 8, stream())).unwrap();
    assert_eq!(words, [1, 2]);
}

#[test]
fn memory_is_filled() {
    let _context = Context::new();
    let address = allocate(64);
    call!(cuMemsetD32_v2(address, 0xdead_beef, 4)).unwrap();
    call!(cuMemsetD16_v2(address + 4, 0x1234, 2)).unwrap();
    call!(cuMemsetD8_v2(address + 9, 0xab, 2)).unwrap();
    assert_eq!(read(address, 4), [0xdead_beef, 0x1234_1234, 0xdeab_abef, 0xdead_beef]);
    assert_eq!(call!(cuMemsetD32_v2(address + 2, 0, 1)), Err(Code::InvalidValue), "misaligned");
    assert_eq!(call!(cuMemsetD16_v2(address + 1, 0, 1)), Err(Code::InvalidValue), "misaligned");
    assert_eq!(call!(cuMemsetD8_v2(address, 0, 65)), Err(Code::InvalidValue), "too long");
    assert_eq!(call!(cuMemsetD32_v2(address, 0, usize::MAX)), Err(Code::InvalidValue), "too long");
    call!(cuMemsetD8_v2(address, 0, 0)).unwrap();
}

#[test]
fn copies_that_can_not_be() {
    let _context = Context::new();
    let address = allocate(64);
    let mut words = [0_u32; 32];
    let host: Handle = (&raw mut words).cast();
    for (place, size) in [(address, 65), (address + 60, 8), (address + 64, 1), (0, 4), (4096, 4), (u64::MAX, 4)] {
        assert_eq!(call!(cuMemcpyHtoD_v2(place, host, size)), Err(Code::InvalidValue), "{place:#x} {size}");
        assert_eq!(call!(cuMemcpyDtoH_v2(host, place, size)), Err(Code::InvalidValue), "{place:#x} {size}");
        assert_eq!(call!(cuMemcpyDtoD_v2(address, place, size)), Err(Code::InvalidValue), "{place:#x} {size}");
    }
    assert_eq!(call!(cuMemcpyHtoD_v2(address, null(), 4)), Err(Code::InvalidValue));
    assert_eq!(call!(cuMemcpyDtoH_v2(null_mut(), address, 4)), Err(Code::InvalidValue));
    assert_eq!(call!(cuMemcpyHtoD_v2(address, host, usize::MAX)), Err(Code::InvalidValue));
    // The device's memory where the host's is wanted.
    assert_eq!(call!(cuMemcpyDtoH_v2(garbage(address as usize), address, 4)), Err(Code::InvalidValue));
    call!(cuMemcpyHtoD_v2(address, null(), 0)).unwrap();
    call!(cuMemFree_v2(address)).unwrap();
    assert_eq!(call!(cuMemcpyHtoD_v2(address, host, 4)), Err(Code::InvalidValue), "freed");
    assert_eq!(call!(cuMemcpy(address, host.addr() as u64, 4)), Err(Code::InvalidValue), "freed");
    assert_eq!(
        call!(cuMemcpy(host.addr() as u64, u64::MAX, 4)),
        Err(Code::InvalidValue),
        "the device's, never allocated"
    );
    assert_eq!(call!(cuMemcpyDtoH_v2(host, address, 4)), Err(Code::InvalidValue), "freed");
}

#[test]
fn allocations_that_can_not_be() {
    let _context = Context::new();
    let mut address = 0;
    assert_eq!(call!(cuMemAlloc_v2(&mut address, 0)), Err(Code::InvalidValue));
    assert_eq!(call!(cuMemAlloc_v2(null_mut(), 16)), Err(Code::InvalidValue));
    assert_eq!(call!(cuMemAlloc_v2(&mut address, 1 << 40)), Err(Code::OutOfMemory));
    assert_eq!(call!(cuMemAlloc_v2(&mut address, usize::MAX)), Err(Code::OutOfMemory));
    assert_eq!(call!(cuMemAllocAsync(&mut address, 0, null_mut())), Err(Code::InvalidValue));
    assert_eq!(address, 0);
}

#[test]
fn memory_is_freed_once() {
    let _context = Context::new();
    let (mut before, mut after, mut total) = (0, 0, 0);
    call!(cuMemGetInfo_v2(&mut before, &mut total)).unwrap();
    assert_eq!(total, 85_198_045_184);
    let address = allocate(1 << 20);
    call!(cuMemGetInfo_v2(&mut after, &mut total)).unwrap();
    assert!(before - after >= 1 << 20);
    assert_eq!(call!(cuMemFree_v2(address + 256)), Err(Code::InvalidValue), "not its beginning");
    call!(cuMemFree_v2(address)).unwrap();
    assert_eq!(call!(cuMemFree_v2(address)), Err(Code::InvalidValue), "twice");
    assert_eq!(call!(cuMemFreeAsync(address, null_mut())), Err(Code::InvalidValue), "twice");
    assert_eq!(call!(cuMemFree_v2(12_345)), Err(Code::InvalidValue), "unknown");
    call!(cuMemGetInfo_v2(&mut after, &mut total)).unwrap();
    assert_eq!(before, after);
    assert_ne!(allocate(1 << 20), address, "an address isn't used twice");
}

#[test]
fn pools_count() {
    let _context = Context::new();
    let (mut pool, mut current) = (null_mut(), null_mut());
    call!(cuDeviceGetDefaultMemPool(&mut pool, 0)).unwrap();
    call!(cuDeviceGetMemPool(&mut current, 0)).unwrap();
    assert_eq!(pool, current);
    let used = |pool| {
        let mut used = 0_u64;
        call!(cuMemPoolGetAttribute(pool, 7, (&raw mut used).cast())).unwrap();
        used
    };
    let before = used(pool);
    let mut address = 0;
    call!(cuMemAllocAsync(&mut address, 1000, stream())).unwrap();
    assert_eq!(used(pool) - before, 1000);
    call!(cuMemFreeAsync(address, null_mut())).unwrap();
    assert_eq!(used(pool), before);
    let mut threshold = u64::MAX;
    call!(cuMemPoolSetAttribute(pool, 4, (&raw mut threshold).cast())).unwrap();
    threshold = 0;
    call!(cuMemPoolGetAttribute(pool, 4, (&raw mut threshold).cast())).unwrap();
    assert_eq!(threshold, u64::MAX);
    assert_eq!(call!(cuMemPoolGetAttribute(pool, 99, (&raw mut threshold).cast())), Err(Code::InvalidValue));
    assert_eq!(call!(cuMemPoolGetAttribute(garbage(48), 7, (&raw mut threshold).cast())), Err(Code::InvalidValue));
    assert_eq!(call!(cuMemPoolDestroy(pool)), Err(Code::InvalidValue), "the device's own");
    call!(cuMemPoolTrimTo(pool, 0)).unwrap();
}

#[test]
fn page_locked_memory() {
    let _context = Context::new();
    let mut pointer = null_mut();
    call!(cuMemHostAlloc(&mut pointer, 100, 4)).unwrap();
    assert!(!pointer.is_null() && pointer.addr() % 4096 == 0);
    let mut flags = 0;
    call!(cuMemHostGetFlags(&mut flags, pointer)).unwrap();
    assert_eq!(flags, 4);
    let address = allocate(8);
    write(address, &[9, 10]);
    call!(cuMemcpyDtoHAsync_v2(pointer, address, 8, null_mut())).unwrap();
    let other = allocate(8);
    call!(cuMemcpyHtoDAsync_v2(other, pointer, 8, null_mut())).unwrap();
    assert_eq!(read(other, 2), [9, 10]);
    let mut seen = 0;
    assert_eq!(call!(cuMemHostGetDevicePointer_v2(&mut seen, pointer, 0)), Err(Code::NotSupported));
    call!(cuMemFreeHost(pointer)).unwrap();
    assert_eq!(call!(cuMemFreeHost(pointer)), Err(Code::InvalidValue), "twice");
    assert_eq!(call!(cuMemFreeHost(null_mut())), Err(Code::InvalidValue));
    assert_eq!(call!(cuMemHostAlloc(&mut pointer, 100, 8)), Err(Code::InvalidValue), "unknown flag");
    assert_eq!(call!(cuMemHostAlloc(&mut pointer, 0, 0)), Err(Code::InvalidValue));
    assert_eq!(call!(cuMemHostAlloc(&mut pointer, usize::MAX, 0)), Err(Code::OutOfMemory));
}

#[test]
fn what_is_known_of_a_pointer() {
    let context = Context::new();
    let address = allocate(100);
    let (mut start, mut size) = (0, 0);
    call!(cuMemGetAddressRange_v2(&mut start, &mut size, address + 99)).unwrap();
    assert_eq!((start, size), (address, 100));
    call!(cuMemGetAddressRange_v2(null_mut(), &mut size, address)).unwrap();
    assert_eq!(call!(cuMemGetAddressRange_v2(&mut start, &mut size, 4096)), Err(Code::NotFound));
    let (mut kind, mut owner, mut ordinal) = (9_u32, null_mut::<std::ffi::c_void>(), 9_i32);
    call!(cuPointerGetAttribute((&raw mut kind).cast(), 2, address + 4)).unwrap();
    call!(cuPointerGetAttribute((&raw mut owner).cast(), 1, address + 4)).unwrap();
    call!(cuPointerGetAttribute((&raw mut ordinal).cast(), 9, address + 4)).unwrap();
    call!(cuPointerGetAttribute((&raw mut start).cast(), 11, address + 4)).unwrap();
    assert_eq!((kind, owner, ordinal, start), (2, context.handle, 0, address));
    let mut pointer = null_mut();
    call!(cuMemHostAlloc(&mut pointer, 100, 0)).unwrap();
    call!(cuPointerGetAttribute((&raw mut kind).cast(), 2, pointer.addr() as u64 + 99)).unwrap();
    assert_eq!(kind, 1, "the host's");
    call!(cuMemFreeHost(pointer)).unwrap();
    assert_eq!(call!(cuPointerGetAttribute((&raw mut kind).cast(), 2, 4096)), Err(Code::InvalidValue));
    assert_eq!(call!(cuPointerGetAttribute((&raw mut kind).cast(), 99, address)), Err(Code::InvalidValue));
    assert_eq!(call!(cuPointerGetAttribute(null_mut(), 2, address)), Err(Code::InvalidValue));
    // For a pointer that isn't known, all are zero.
    let attributes = [2, 11];
    let mut values: [Handle; 2] = [(&raw mut kind).cast(), (&raw mut start).cast()];
    call!(cuPointerGetAttributes(2, attributes.as_ptr(), values.as_mut_ptr(), 4096)).unwrap();
    assert_eq!((kind, start), (0, 0));
}
