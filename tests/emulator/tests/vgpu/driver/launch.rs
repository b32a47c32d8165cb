//! Launches: limits, parameters in both forms, attributes, occupancy of functions.

use std::ptr::null_mut;

use kwc_emulator::driver::errors::Code;

use super::calls::{Context, Handle, PTX, allocate, call, function, garbage, launch, load, read, store, stream, write};

#[test]
fn shapes_within_the_limits() {
    let _context = Context::new();
    let module = load(PTX).unwrap();
    let (bounded, shared) = (function(module, "bounded").unwrap(), function(module, "shared").unwrap());
    let invalid = Err(Code::InvalidValue);
    let shape = |grid, block| launch(bounded, grid, block, 0, null_mut(), &[]);
    assert_eq!(shape([1, 1, 1], [64, 1, 1]), Ok(()));
    assert_eq!(shape([0, 1, 1], [1, 1, 1]), invalid);
    assert_eq!(shape([1, 1, 1], [1, 0, 1]), invalid);
    assert_eq!(shape([1, 65_536, 1], [1, 1, 1]), invalid);
    assert_eq!(shape([1, 1, 65_536], [1, 1, 1]), invalid);
    assert_eq!(shape([0x8000_0000, 1, 1], [1, 1, 1]), invalid);
    assert_eq!(shape([1, 1, 1], [1025, 1, 1]), invalid);
    assert_eq!(shape([1, 1, 1], [1, 1, 65]), invalid);
    assert_eq!(shape([1, 1, 1], [65_536, 65_536, 1]), invalid);
    assert_eq!(shape([1, 1, 1], [33, 2, 1]), invalid, "the kernel was compiled for 64 threads");
    let block = |block| launch(shared, [1; 3], block, 0, null_mut(), &[]);
    assert_eq!(block([32, 32, 1]), Ok(()));
    assert_eq!(block([32, 33, 1]), invalid);
    let required = function(module, "required").unwrap();
    let block = |block| launch(required, [1; 3], block, 0, null_mut(), &[]);
    assert_eq!(block([64, 1, 1]), Ok(()));
    assert_eq!(block([32, 1, 1]), invalid);
    assert_eq!(block([32, 2, 1]), invalid);
    call!(cuCtxSynchronize()).unwrap();
}

#[test]
fn dynamic_shared_memory_within_the_limits() {
    let _context = Context::new();
    let shared = function(load(PTX).unwrap(), "shared").unwrap();
    let dynamic = |bytes| launch(shared, [1; 3], [32, 1, 1], bytes, null_mut(), &[]);
    // 1 KiB of the 48 is static.
    assert_eq!(dynamic(48_128), Ok(()));
    assert_eq!(dynamic(48_129), Err(Code::InvalidValue));
    call!(cuFuncSetAttribute(shared, 8, 100_000)).unwrap();
    assert_eq!(dynamic(100_000), Ok(()));
    assert_eq!(dynamic(100_001), Err(Code::InvalidValue));
    assert_eq!(dynamic(u32::MAX), Err(Code::InvalidValue));
}

#[test]
fn parameters_by_pointers() {
    let _context = Context::new();
    let module = load(PTX).unwrap();
    let (store_function, copy) = (function(module, "store").unwrap(), function(module, "copy").unwrap());
    let address = allocate(64);
    write(address, &[0, 0]);
    store(store_function, null_mut(), address, 77).unwrap();
    launch(copy, [1; 3], [1; 3], 0, null_mut(), &[address + 4, address]).unwrap();
    assert_eq!(read(address, 2), [77, 77]);
    assert_eq!(launch(copy, [1; 3], [1; 3], 0, null_mut(), &[]), Err(Code::InvalidValue), "none given");
    let mut value = address;
    let mut each: [Handle; 2] = [(&raw mut value).cast(), null_mut()];
    let answer = call!(cuLaunchKernel(copy, 1, 1, 1, 1, 1, 1, 0, null_mut(), each.as_mut_ptr(), null_mut()));
    assert_eq!(answer, Err(Code::InvalidValue), "a null pointer to a parameter");
    assert_eq!(launch(garbage(16), [1; 3], [1; 3], 0, null_mut(), &[]), Err(Code::InvalidHandle));
    assert_eq!(launch(null_mut(), [1; 3], [1; 3], 0, null_mut(), &[]), Err(Code::InvalidHandle));
    assert_eq!(launch(module, [1; 3], [1; 3], 0, null_mut(), &[]), Err(Code::InvalidHandle), "no function");
    assert_eq!(store(store_function, garbage(16), address, 1), Err(Code::InvalidHandle), "no stream");
}

/// Launches with a buffer of parameters.
fn with_buffer(function: Handle, buffer: &mut [u32], mut size: usize, each: *mut Handle) -> Result<(), Code> {
    let size: Handle = (&raw mut size).cast();
    let mut extra = [garbage(1), buffer.as_mut_ptr().cast(), garbage(2), size, garbage(0)];
    call!(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, null_mut(), each, extra.as_mut_ptr()))
}

#[test]
fn parameters_in_a_buffer() {
    let _context = Context::new();
    let store_function = function(load(PTX).unwrap(), "store").unwrap();
    let address = allocate(64);
    let mut buffer = [address as u32, (address >> 32) as u32, 99, 0, 0];
    // 12 bytes, or 16 as a C structure of a pointer and an int has.
    for (size, value) in [(12, 99), (16, 100)] {
        buffer[2] = value;
        with_buffer(store_function, &mut buffer, size, null_mut()).unwrap();
        assert_eq!(read(address, 1), [value]);
    }
    for size in [0, 8, 11, 13, 20] {
        let answer = with_buffer(store_function, &mut buffer, size, null_mut());
        assert_eq!(answer, Err(Code::InvalidValue), "{size} bytes");
    }
    let mut each: [Handle; 1] = [buffer.as_mut_ptr().cast()];
    let answer = with_buffer(store_function, &mut buffer, 12, each.as_mut_ptr());
    assert_eq!(answer, Err(Code::InvalidValue), "both forms");
    for mut extra in [[garbage(0); 5], [garbage(7); 5], [garbage(1), null_mut(), garbage(0), null_mut(), null_mut()]] {
        let answer =
            call!(cuLaunchKernel(store_function, 1, 1, 1, 1, 1, 1, 0, null_mut(), null_mut(), extra.as_mut_ptr()));
        assert_eq!(answer, Err(Code::InvalidValue));
    }
}

/// A `CUlaunchConfig` and a `CUlaunchAttribute`, laid out as `cuda.h` does.
#[repr(C)]
struct Configuration {
    grid: [u32; 3],
    block: [u32; 3],
    shared: u32,
    stream: Handle,
    attributes: *const Attribute,
    count: u32,
}

#[repr(C, align(8))]
struct Attribute {
    id: u32,
    padding: u32,
    value: [u32; 16],
}

#[test]
fn launches_with_attributes() {
    let _context = Context::new();
    let store_function = function(load(PTX).unwrap(), "store").unwrap();
    let mut address = allocate(64);
    let mut with = |id: u32, value: [u32; 3], number: u32| {
        let mut all = [0; 16];
        all[..3].copy_from_slice(&value);
        // Programmatic serialisation first, which is always fine.
        let first = Attribute { id: 6, padding: 0, value: [1; 16] };
        let attributes = [first, Attribute { id, padding: 0, value: all }];
        let configuration = Configuration {
            grid: [1; 3],
            block: [1; 3],
            shared: 0,
            stream: stream(),
            attributes: attributes.as_ptr(),
            count: 2,
        };
        let mut number = number;
        let mut each: [Handle; 2] = [(&raw mut address).cast(), (&raw mut number).cast()];
        call!(cuLaunchKernelEx((&raw const configuration).cast(), store_function, each.as_mut_ptr(), null_mut()))
    };
    assert_eq!(with(0, [0; 3], 5), Ok(()));
    assert_eq!(with(8, [1, 0, 0], 6), Ok(()), "a priority");
    assert_eq!(with(4, [1, 1, 1], 7), Ok(()), "a cluster of one block");
    assert_eq!(with(4, [2, 1, 1], 8), Err(Code::InvalidClusterSize), "no clusters before 9.0");
    assert_eq!(with(4, [0, 1, 1], 8), Err(Code::InvalidValue));
    assert_eq!(with(2, [1, 0, 0], 9), Ok(()), "cooperative");
    assert_eq!(with(7, [0, 0, 0], 8), Err(Code::NotSupported), "an event");
    assert_eq!(with(99, [0, 0, 0], 8), Err(Code::InvalidValue));
    assert_eq!(read(address, 1), [9], "what failed wasn't launched");
    assert_eq!(
        call!(cuLaunchKernelEx(std::ptr::null(), store_function, null_mut(), null_mut())),
        Err(Code::InvalidValue)
    );
}

#[test]
fn occupancy_of_functions() {
    let _context = Context::new();
    let module = load(PTX).unwrap();
    let (bounded, shared) = (function(module, "bounded").unwrap(), function(module, "shared").unwrap());
    let resident = |function, threads, dynamic| {
        let mut blocks = -9;
        call!(cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(&mut blocks, function, threads, dynamic, 0))
            .map(|()| blocks)
    };
    // Few registers: 2048 threads, 32 blocks; then 164 KiB over 1 KiB static, 1 KiB reserved and the dynamic.
    assert_eq!(resident(bounded, 64, 0), Ok(32));
    assert_eq!(resident(bounded, 65, 0), Ok(0), "more than it was compiled for");
    assert_eq!(resident(shared, 256, 0), Ok(8));
    assert_eq!(resident(shared, 256, 39 << 10), Ok(4));
    assert_eq!(resident(shared, 256, (39 << 10) + 1), Ok(3));
    assert_eq!(resident(shared, 0, 0), Err(Code::InvalidValue));
    assert_eq!(resident(shared, -1, 0), Err(Code::InvalidValue));
    assert_eq!(resident(shared, 1025, 0), Err(Code::InvalidValue));
    assert_eq!(resident(garbage(64), 32, 0), Err(Code::InvalidHandle));
    let mut size = 0;
    call!(cuOccupancyAvailableDynamicSMemPerBlock(&mut size, shared, 4, 256)).unwrap();
    assert_eq!(size, 39 << 10);
    let (mut grid, mut block) = (0, 0);
    call!(cuOccupancyMaxPotentialBlockSize(&mut grid, &mut block, bounded, None, 0, 0)).unwrap();
    assert_eq!((grid, block), (32 * 108, 64));
    call!(cuOccupancyMaxPotentialBlockSize(&mut grid, &mut block, shared, None, 0, 100)).unwrap();
    // 21 blocks of 96 threads, 32 of 64: 2016, 2048.
    assert_eq!((grid, block), (32 * 108, 64));
    call!(cuOccupancyMaxPotentialBlockSize(&mut grid, &mut block, shared, None, 0, 0)).unwrap();
    assert_eq!((grid, block), (2 * 108, 1024));
}

#[test]
fn cooperative_launches_are_resident_at_a_time() {
    let _context = Context::new();
    let shared = function(load(PTX).unwrap(), "shared").unwrap();
    let cooperative = |blocks, threads| {
        call!(cuLaunchCooperativeKernel(shared, blocks, 1, 1, threads, 1, 1, 0, null_mut(), null_mut()))
    };
    // 2 blocks of 1024 threads on each of 108 multiprocessors.
    assert_eq!(cooperative(216, 1024), Ok(()));
    assert_eq!(cooperative(217, 1024), Err(Code::CooperativeLaunchTooLarge));
    assert_eq!(cooperative(217, 512), Ok(()));
    assert_eq!(cooperative(1, 1025), Err(Code::InvalidValue));
}
