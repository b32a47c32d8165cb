//! Streams and events.

use std::ffi::c_void;
use std::ptr::null_mut;
use std::time::{Duration, Instant};

use kwc_emulator::driver::errors::Code;

use super::calls::{Context, call, event, garbage, result, stream, stream_with};

#[test]
fn what_a_stream_is_made_with() {
    let context = Context::new();
    let mut stream = null_mut();
    assert_eq!(call!(cuStreamCreate(&mut stream, 2)), Err(Code::InvalidValue));
    assert_eq!(call!(cuStreamCreate(null_mut(), 0)), Err(Code::InvalidValue));
    call!(cuStreamCreateWithPriority(&mut stream, 1, -99)).unwrap();
    let (mut priority, mut flags, mut owner) = (9, 9, null_mut());
    call!(cuStreamGetPriority(stream, &mut priority)).unwrap();
    call!(cuStreamGetFlags(stream, &mut flags)).unwrap();
    call!(cuStreamGetCtx(stream, &mut owner)).unwrap();
    assert_eq!((priority, flags, owner), (-5, 1, context.handle));
    let (mut first, mut second) = (0, 0);
    call!(cuStreamGetId(stream, &mut first)).unwrap();
    call!(cuStreamGetId(stream_with(0), &mut second)).unwrap();
    assert_ne!(first, second);
}

#[test]
fn streams_that_are_none() {
    let _context = Context::new();
    let (stream, event) = (stream(), event());
    call!(cuStreamDestroy_v2(stream)).unwrap();
    assert_eq!(call!(cuStreamDestroy_v2(stream)), Err(Code::InvalidHandle), "twice");
    for bad in [stream, garbage(3), garbage(usize::MAX), event] {
        assert_eq!(call!(cuStreamSynchronize(bad)), Err(Code::InvalidHandle));
        assert_eq!(call!(cuStreamQuery(bad)), Err(Code::InvalidHandle));
        assert_eq!(call!(cuStreamWaitEvent(bad, event, 0)), Err(Code::InvalidHandle));
        assert_eq!(call!(cuEventRecord(event, bad)), Err(Code::InvalidHandle));
        assert_eq!(call!(cuStreamBeginCapture_v2(bad, 0)), Err(Code::InvalidHandle));
    }
    // The default streams: of the context, of the context by its other name, of the thread.
    for default in [null_mut(), garbage(1), garbage(2)] {
        call!(cuStreamSynchronize(default)).unwrap();
        call!(cuEventRecord(event, default)).unwrap();
        assert_eq!(call!(cuStreamDestroy_v2(default)), Err(Code::InvalidHandle));
    }
}

#[test]
fn events_that_are_none() {
    let _context = Context::new();
    let (event, stream) = (event(), stream());
    call!(cuEventDestroy_v2(event)).unwrap();
    assert_eq!(call!(cuEventDestroy_v2(event)), Err(Code::InvalidHandle), "twice");
    for bad in [event, null_mut(), garbage(1), stream] {
        assert_eq!(call!(cuEventRecord(bad, stream)), Err(Code::InvalidHandle));
        assert_eq!(call!(cuEventQuery(bad)), Err(Code::InvalidHandle));
        assert_eq!(call!(cuEventSynchronize(bad)), Err(Code::InvalidHandle));
        assert_eq!(call!(cuStreamWaitEvent(stream, bad, 0)), Err(Code::InvalidHandle));
    }
    let mut made = null_mut();
    assert_eq!(call!(cuEventCreate(&mut made, 8)), Err(Code::InvalidValue));
    assert_eq!(call!(cuEventCreate(null_mut(), 0)), Err(Code::InvalidValue));
}

#[test]
fn events_take_time() {
    let _context = Context::new();
    let (start, end, stream) = (event(), event(), stream());
    let mut milliseconds = -1.0_f32;
    call!(cuEventQuery(start)).unwrap();
    assert_eq!(call!(cuEventElapsedTime(&mut milliseconds, start, end)), Err(Code::InvalidHandle), "never recorded");
    let before = Instant::now();
    call!(cuEventRecord(start, stream)).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    call!(cuEventRecord(end, stream)).unwrap();
    let outside = before.elapsed().as_secs_f32() * 1000.0;
    call!(cuStreamWaitEvent(stream, end, 0)).unwrap();
    call!(cuEventSynchronize(end)).unwrap();
    call!(cuEventElapsedTime_v2(&mut milliseconds, start, end)).unwrap();
    assert!((20.0..=outside).contains(&milliseconds), "{milliseconds} of {outside}");
    let forwards = milliseconds;
    call!(cuEventElapsedTime(&mut milliseconds, end, start)).unwrap();
    assert_eq!(milliseconds, -forwards);
    let mut untimed = null_mut();
    call!(cuEventCreate(&mut untimed, 2)).unwrap();
    call!(cuEventRecord(untimed, stream)).unwrap();
    assert_eq!(call!(cuEventElapsedTime(&mut milliseconds, start, untimed)), Err(Code::InvalidHandle));
}

extern "C" fn add_one(data: *mut c_void) {
    #[expect(unsafe_code, reason = "a function of the program is given a pointer")]
    // SAFETY: the test gives a pointer to a number that outlives the call.
    unsafe {
        *data.cast::<u32>() += 1;
    }
}

#[test]
fn functions_of_the_host() {
    let _context = Context::new();
    let mut number = 4_u32;
    call!(cuLaunchHostFunc(stream(), Some(add_one), (&raw mut number).cast())).unwrap();
    assert_eq!(number, 5);
    assert_eq!(call!(cuLaunchHostFunc(stream(), None, null_mut())), Err(Code::InvalidValue));
}

#[test]
fn functions_that_are_not_offered() {
    let _context = Context::new();
    assert_eq!(result(kwc_emulator::driver::unsupported::cuTexRefCreate()), Err(Code::NotSupported));
    assert_eq!(result(kwc_emulator::driver::unsupported::cuMemAllocManaged()), Err(Code::NotSupported));
}
