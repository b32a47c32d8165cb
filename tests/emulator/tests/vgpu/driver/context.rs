//! Contexts: which is current, what belongs to one, and what is left after a fault.

use std::ptr::null_mut;

use kwc_emulator::driver::errors::Code;

use super::calls::{
    Context, PTX, allocate, call, event, function, garbage, launch, load, read, store, stream, stream_with, write,
};

fn current() -> super::calls::Handle {
    let mut context = garbage(1);
    call!(cuCtxGetCurrent(&mut context)).unwrap();
    context
}

#[test]
fn a_thread_has_a_stack_of_contexts() {
    let first = Context::new();
    assert_eq!(current(), first.handle);
    let mut second = null_mut();
    call!(cuCtxCreate_v2(&mut second, 0, 0)).unwrap();
    assert_eq!(current(), second);
    let mut popped = null_mut();
    call!(cuCtxPopCurrent_v2(&mut popped)).unwrap();
    assert_eq!((popped, current()), (second, first.handle));
    call!(cuCtxPushCurrent_v2(second)).unwrap();
    assert_eq!(current(), second);
    // In place of the one above; null takes it away.
    call!(cuCtxSetCurrent(first.handle)).unwrap();
    assert_eq!(current(), first.handle);
    call!(cuCtxSetCurrent(null_mut())).unwrap();
    assert_eq!(current(), first.handle, "the one below");
    call!(cuCtxSetCurrent(null_mut())).unwrap();
    assert!(current().is_null());
    assert_eq!(call!(cuCtxPopCurrent_v2(&mut popped)), Err(Code::InvalidContext));
    call!(cuCtxDestroy_v2(second)).unwrap();
    assert_eq!(call!(cuCtxDestroy_v2(second)), Err(Code::InvalidContext), "twice");
}

#[test]
fn a_thread_without_a_context() {
    let context = Context::new();
    let stream = stream();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut address = 0;
            let (mut device, mut handle) = (0, null_mut());
            assert_eq!(call!(cuMemAlloc_v2(&mut address, 16)), Err(Code::InvalidContext));
            assert_eq!(call!(cuCtxSynchronize()), Err(Code::InvalidContext));
            assert_eq!(call!(cuCtxGetDevice(&mut device)), Err(Code::InvalidContext));
            assert_eq!(call!(cuStreamCreate(&mut handle, 0)), Err(Code::InvalidContext));
            assert_eq!(call!(cuStreamSynchronize(null_mut())), Err(Code::InvalidContext));
            assert_eq!(load(PTX), Err(Code::InvalidContext));
            assert!(current().is_null());
        });
    });
    call!(cuStreamSynchronize(stream)).unwrap();
    drop(context);
    assert_eq!(call!(cuStreamSynchronize(stream)), Err(Code::InvalidHandle), "streams go with their context");
}

#[test]
fn what_a_context_is_made_with() {
    let context = Context::new();
    let mut handle = null_mut();
    assert_eq!(call!(cuCtxCreate_v2(&mut handle, 3, 0)), Err(Code::InvalidValue), "two ways of waiting");
    assert_eq!(call!(cuCtxCreate_v2(&mut handle, 0x100, 0)), Err(Code::InvalidValue));
    assert_eq!(call!(cuCtxCreate_v2(&mut handle, 0, 1)), Err(Code::InvalidDevice));
    assert_eq!(call!(cuCtxCreate_v2(null_mut(), 0, 0)), Err(Code::InvalidValue));
    assert!(handle.is_null());
    assert_eq!(current(), context.handle);
    let (mut flags, mut version, mut device) = (9, 0, 9);
    call!(cuCtxSetFlags(4)).unwrap();
    call!(cuCtxGetFlags(&mut flags)).unwrap();
    call!(cuCtxGetApiVersion(context.handle, &mut version)).unwrap();
    call!(cuCtxGetDevice(&mut device)).unwrap();
    assert_eq!((flags, version, device), (4, 3020, 0));
    assert_eq!(call!(cuCtxGetApiVersion(garbage(77), &mut version)), Err(Code::InvalidContext));
    let (mut least, mut greatest) = (9, 9);
    call!(cuCtxGetStreamPriorityRange(&mut least, &mut greatest)).unwrap();
    assert_eq!((least, greatest), (0, -5));
}

#[test]
fn limits_are_remembered() {
    let _context = Context::new();
    let mut value = 0;
    call!(cuCtxGetLimit(&mut value, 2)).unwrap();
    assert_eq!(value, 8 << 20, "the heap");
    call!(cuCtxSetLimit(2, 16 << 20)).unwrap();
    call!(cuCtxGetLimit(&mut value, 2)).unwrap();
    assert_eq!(value, 16 << 20);
    assert_eq!(call!(cuCtxGetLimit(&mut value, 99)), Err(Code::UnsupportedLimit));
    assert_eq!(call!(cuCtxSetLimit(99, 1)), Err(Code::UnsupportedLimit));
}

#[test]
fn the_primary_context_is_counted() {
    let _alone = Context::new();
    let (mut first, mut second) = (null_mut(), null_mut());
    call!(cuDevicePrimaryCtxRetain(&mut first, 0)).unwrap();
    call!(cuDevicePrimaryCtxRetain(&mut second, 0)).unwrap();
    assert_eq!(first, second);
    assert_eq!(call!(cuDevicePrimaryCtxRetain(&mut second, 1)), Err(Code::InvalidDevice));
    assert_eq!(call!(cuCtxDestroy_v2(first)), Err(Code::InvalidContext), "it is released, not destroyed");
    call!(cuCtxPushCurrent_v2(first)).unwrap();
    let address = allocate(64);
    write(address, &[5]);
    call!(cuDevicePrimaryCtxRelease_v2(0)).unwrap();
    assert_eq!(read(address, 1), [5], "it is retained once more");
    let (mut flags, mut active) = (9, 9);
    call!(cuDevicePrimaryCtxGetState(0, &mut flags, &mut active)).unwrap();
    assert_eq!((flags, active), (0, 1));
    call!(cuDevicePrimaryCtxRelease_v2(0)).unwrap();
    call!(cuDevicePrimaryCtxGetState(0, &mut flags, &mut active)).unwrap();
    assert_eq!((flags, active), (0, 0));
    assert_eq!(call!(cuDevicePrimaryCtxRelease_v2(0)), Err(Code::InvalidContext));
    assert_eq!(call!(cuCtxSynchronize()), Err(Code::ContextIsDestroyed));
    call!(cuDevicePrimaryCtxRetain(&mut second, 0)).unwrap();
    assert_eq!(first, second, "the same handle again");
    call!(cuCtxSynchronize()).unwrap();
    assert_eq!(call!(cuMemFree_v2(address)), Err(Code::InvalidValue), "its memory went with it");
    call!(cuDevicePrimaryCtxRelease_v2(0)).unwrap();
    call!(cuCtxPopCurrent_v2(null_mut())).unwrap();
}

#[test]
fn a_fault_stays() {
    let context = Context::new();
    let store_function = function(load(PTX).unwrap(), "store").unwrap();
    let (address, stream, event) = (allocate(64), stream(), event());
    store(store_function, stream, address, 3).unwrap();
    call!(cuStreamSynchronize(stream)).unwrap();
    // Far from any allocation. The launch itself is fine, as it is on a device that works on its own.
    store(store_function, stream, 0x10, 3).unwrap();
    let illegal = Err(Code::IllegalAddress);
    assert_eq!(call!(cuStreamSynchronize(stream)), illegal);
    assert_eq!(call!(cuStreamSynchronize(stream)), illegal, "again");
    assert_eq!(call!(cuCtxSynchronize()), illegal);
    assert_eq!(call!(cuStreamQuery(stream)), illegal);
    assert_eq!(call!(cuEventRecord(event, stream)), illegal);
    assert_eq!(call!(cuEventSynchronize(event)), illegal);
    assert_eq!(store(store_function, stream, address, 3), illegal);
    let mut other = 0;
    assert_eq!(call!(cuMemAlloc_v2(&mut other, 16)), illegal);
    assert_eq!(call!(cuMemFree_v2(address)), illegal);
    let mut word = 0_u32;
    assert_eq!(call!(cuMemcpyDtoH_v2((&raw mut word).cast(), address, 4)), illegal);
    assert_eq!(load(PTX), Err(Code::IllegalAddress));
    drop(context);
    // A context of its own isn't touched.
    let _context = Context::new();
    call!(cuCtxSynchronize()).unwrap();
    allocate(16);
}

#[test]
fn a_misaligned_access_is_a_fault_of_its_own() {
    let _context = Context::new();
    let store_function = function(load(PTX).unwrap(), "store").unwrap();
    let address = allocate(64);
    store(store_function, null_mut(), address + 2, 3).unwrap();
    assert_eq!(call!(cuCtxSynchronize()), Err(Code::MisalignedAddress));
}

#[test]
fn handles_of_two_contexts_do_not_mix() {
    let first = Context::new();
    let stream = stream_with(1);
    let event = event();
    let mut second = null_mut();
    call!(cuCtxCreate_v2(&mut second, 0, 0)).unwrap();
    let bounded = function(load(PTX).unwrap(), "bounded").unwrap();
    assert_eq!(launch(bounded, [1; 3], [1; 3], 0, stream, &[]), Err(Code::InvalidHandle));
    assert_eq!(call!(cuEventRecord(event, null_mut())), Err(Code::InvalidHandle));
    call!(cuCtxDestroy_v2(second)).unwrap();
    assert_eq!(current(), first.handle);
    assert_eq!(launch(bounded, [1; 3], [1; 3], 0, stream, &[]), Err(Code::InvalidHandle), "its context is gone");
}
