//! Capture and graphs: what becomes a node, what makes a capture invalid, what a launch of a graph does.

use std::ptr::null_mut;

use kwc_emulator::driver::errors::Code;

use super::calls::{
    Context, Handle, PTX, allocate, call, capturing, end_capture, event, function, garbage, instantiate, launch, load,
    nodes, read, store, stream, stream_with, write,
};

const GLOBAL: u32 = 0;
const THREAD_LOCAL: u32 = 1;
const RELAXED: u32 = 2;

fn begin(stream: Handle, mode: u32) {
    call!(cuStreamBeginCapture_v2(stream, mode)).unwrap();
}

#[test]
fn launches_are_written_down_with_their_parameters() {
    let _context = Context::new();
    let module = load(PTX).unwrap();
    let (store_function, copy) = (function(module, "store").unwrap(), function(module, "copy").unwrap());
    let (stream, address) = (stream(), allocate(16));
    write(address, &[0; 4]);
    begin(stream, GLOBAL);
    assert_eq!(capturing(stream), 1);
    store(store_function, stream, address, 11).unwrap();
    launch(copy, [1; 3], [1; 3], 0, stream, &[address + 4, address]).unwrap();
    call!(cuMemsetD32Async(address + 8, 5, 1, stream)).unwrap();
    let graph = end_capture(stream).unwrap();
    assert_eq!(capturing(stream), 0);
    assert_eq!(read(address, 4), [0; 4], "nothing was done");
    let executable = instantiate(graph).unwrap();
    call!(cuGraphDestroy(graph)).unwrap();
    call!(cuGraphUpload(executable, stream)).unwrap();
    for _ in 0..2 {
        call!(cuGraphLaunch(executable, stream)).unwrap();
        call!(cuStreamSynchronize(stream)).unwrap();
        assert_eq!(read(address, 4), [11, 11, 5, 0]);
        write(address, &[0; 4]);
    }
    call!(cuGraphExecDestroy(executable)).unwrap();
    assert_eq!(call!(cuGraphExecDestroy(executable)), Err(Code::InvalidValue), "twice");
    assert_eq!(call!(cuGraphLaunch(executable, stream)), Err(Code::InvalidValue));
}

#[test]
fn copies_read_the_host_at_each_launch() {
    let _context = Context::new();
    let (stream, address) = (stream(), allocate(16));
    let (mut from, mut to) = ([1_u32, 2], [0_u32; 2]);
    let (source, target): (Handle, Handle) = ((&raw mut from).cast(), (&raw mut to).cast());
    begin(stream, GLOBAL);
    call!(cuMemcpyHtoDAsync_v2(address, source, 8, stream)).unwrap();
    call!(cuMemcpyDtoDAsync_v2(address + 8, address, 8, stream)).unwrap();
    call!(cuMemcpyDtoHAsync_v2(target, address + 8, 8, stream)).unwrap();
    let executable = instantiate(end_capture(stream).unwrap()).unwrap();
    call!(cuGraphLaunch(executable, stream)).unwrap();
    assert_eq!(to, [1, 2]);
    from = [3, 4];
    assert_eq!(from, [3, 4]);
    call!(cuGraphLaunch(executable, stream)).unwrap();
    assert_eq!(to, [3, 4]);
}

#[test]
fn a_second_stream_joins_by_events() {
    let _context = Context::new();
    let store_function = function(load(PTX).unwrap(), "store").unwrap();
    let (first, second, forked, joined) = (stream(), stream(), event(), event());
    let address = allocate(16);
    begin(first, GLOBAL);
    store(store_function, first, address, 1).unwrap();
    call!(cuEventRecord(forked, first)).unwrap();
    assert_eq!(capturing(second), 0);
    call!(cuStreamWaitEvent(second, forked, 0)).unwrap();
    assert_eq!(capturing(second), 1);
    store(store_function, second, address + 4, 2).unwrap();
    store(store_function, first, address + 8, 3).unwrap();
    call!(cuEventRecord(joined, second)).unwrap();
    call!(cuStreamWaitEvent(first, joined, 0)).unwrap();
    store(store_function, first, address + 12, 4).unwrap();
    let graph = end_capture(first).unwrap();
    assert_eq!((capturing(first), capturing(second)), (0, 0));
    // One root; two nodes after it; one after both.
    let nodes = nodes(graph);
    let before: Vec<Vec<Handle>> = nodes
        .iter()
        .map(|node| {
            let (mut before, mut count) = ([null_mut(); 4], 4);
            call!(cuGraphNodeGetDependencies(*node, before.as_mut_ptr(), &mut count)).unwrap();
            let mut before = before[..count].to_vec();
            before.sort();
            before
        })
        .collect();
    let mut both = vec![nodes[1], nodes[2]];
    both.sort();
    assert_eq!(before, [vec![], vec![nodes[0]], vec![nodes[0]], both]);
    call!(cuGraphLaunch(instantiate(graph).unwrap(), first)).unwrap();
    assert_eq!(read(address, 4), [1, 2, 3, 4]);
}

#[test]
fn work_that_is_not_joined() {
    let _context = Context::new();
    let (first, second, forked, address) = (stream(), stream(), event(), allocate(16));
    begin(first, GLOBAL);
    call!(cuEventRecord(forked, first)).unwrap();
    call!(cuStreamWaitEvent(second, forked, 0)).unwrap();
    call!(cuMemsetD8Async(address, 0, 1, second)).unwrap();
    let mut graph = null_mut();
    assert_eq!(call!(cuStreamEndCapture(second, &mut graph)), Err(Code::StreamCaptureUnmatched));
    assert_eq!(end_capture(first), Err(Code::StreamCaptureInvalidated));
    begin(first, GLOBAL);
    call!(cuEventRecord(forked, first)).unwrap();
    call!(cuStreamWaitEvent(second, forked, 0)).unwrap();
    call!(cuMemsetD8Async(address, 0, 1, second)).unwrap();
    assert_eq!(end_capture(first), Err(Code::StreamCaptureUnjoined));
    assert_eq!((capturing(first), capturing(second)), (0, 0));
}

#[test]
fn streams_that_can_not_be_captured() {
    let _context = Context::new();
    let stream = stream();
    assert_eq!(call!(cuStreamBeginCapture_v2(null_mut(), RELAXED)), Err(Code::StreamCaptureUnsupported));
    assert_eq!(call!(cuStreamBeginCapture_v2(garbage(1), RELAXED)), Err(Code::StreamCaptureUnsupported));
    assert_eq!(call!(cuStreamBeginCapture_v2(stream, 3)), Err(Code::InvalidValue));
    assert_eq!(end_capture(stream), Err(Code::IllegalState), "it isn't captured");
    begin(stream, RELAXED);
    assert_eq!(call!(cuStreamBeginCapture_v2(stream, RELAXED)), Err(Code::IllegalState), "it is");
    end_capture(stream).unwrap();
    // The thread's own default stream can be.
    begin(garbage(2), RELAXED);
    end_capture(garbage(2)).unwrap();
}

/// Begins a capture in a stream, makes it invalid by a call, and checks that its work and its end fail.
fn spoiled_by(stream: Handle, mode: u32, expected: Code, call: impl FnOnce() -> Result<(), Code>) {
    begin(stream, mode);
    assert_eq!(call(), Err(expected));
    assert_eq!(capturing(stream), 2, "invalid after {expected:?}");
    let answer = call!(cuMemsetD8Async(0, 0, 1, stream));
    assert_eq!(answer, Err(Code::StreamCaptureInvalidated));
    assert_eq!(end_capture(stream), Err(Code::StreamCaptureInvalidated));
    assert_eq!(capturing(stream), 0);
}

#[test]
fn what_makes_a_capture_invalid() {
    let _context = Context::new();
    let (stream, recorded) = (stream(), event());
    let address = allocate(16);
    call!(cuEventRecord(recorded, null_mut())).unwrap();
    let unsupported = Code::StreamCaptureUnsupported;
    spoiled_by(stream, RELAXED, unsupported, || call!(cuStreamSynchronize(stream)));
    spoiled_by(stream, RELAXED, unsupported, || call!(cuStreamQuery(stream)));
    spoiled_by(stream, RELAXED, unsupported, || call!(cuCtxSynchronize()));
    spoiled_by(stream, RELAXED, Code::StreamCaptureIsolation, || call!(cuStreamWaitEvent(stream, recorded, 0)));
    let mut other = 0;
    spoiled_by(stream, GLOBAL, unsupported, || call!(cuMemAlloc_v2(&mut other, 16)));
    spoiled_by(stream, THREAD_LOCAL, unsupported, || call!(cuMemFree_v2(address)));
    spoiled_by(stream, RELAXED, Code::NotSupported, || call!(cuMemAllocAsync(&mut other, 16, stream)));
    spoiled_by(stream, RELAXED, Code::NotSupported, || call!(cuMemFreeAsync(address, stream)));
    let captured = event();
    spoiled_by(stream, RELAXED, Code::CapturedEvent, || {
        call!(cuEventRecord(captured, stream))?;
        call!(cuEventSynchronize(captured))
    });
    // Relaxed captures let memory be had.
    begin(stream, RELAXED);
    call!(cuMemAlloc_v2(&mut other, 16)).unwrap();
    call!(cuMemFree_v2(other)).unwrap();
    end_capture(stream).unwrap();
    call!(cuMemFree_v2(address)).unwrap();
}

#[test]
fn the_legacy_default_stream_during_a_capture() {
    let _context = Context::new();
    let (blocking, other) = (stream_with(0), stream());
    let address = allocate(16);
    for call in [
        || call!(cuMemsetD8_v2(0, 0, 1)),
        || call!(cuStreamSynchronize(null_mut())),
        || call!(cuEventRecord(event(), garbage(1))),
    ] {
        spoiled_by(blocking, RELAXED, Code::StreamCaptureImplicit, call);
    }
    begin(blocking, RELAXED);
    let mut status = 0;
    assert_eq!(call!(cuStreamIsCapturing(null_mut(), &mut status)), Err(Code::StreamCaptureImplicit));
    assert_eq!(capturing(blocking), 1, "asking spoils nothing");
    end_capture(blocking).unwrap();
    // One that doesn't wait for the default stream leaves it alone.
    begin(other, RELAXED);
    write(address, &[3]);
    end_capture(other).unwrap();
    assert_eq!(read(address, 1), [3]);
}

#[test]
fn two_captures_do_not_merge() {
    let _context = Context::new();
    let (first, second, event) = (stream(), stream(), event());
    begin(first, RELAXED);
    begin(second, RELAXED);
    call!(cuEventRecord(event, first)).unwrap();
    assert_eq!(call!(cuStreamWaitEvent(second, event, 0)), Err(Code::StreamCaptureMerge));
    assert_eq!(end_capture(first), Err(Code::StreamCaptureInvalidated));
    assert_eq!(end_capture(second), Err(Code::StreamCaptureInvalidated));
}

#[test]
fn captures_and_threads() {
    let context = Context::new();
    let stream = stream();
    let owner = context.handle.addr();
    let in_thread = |stream: Handle, mode: u32| {
        let stream = stream.addr();
        std::thread::spawn(move || {
            call!(cuCtxSetCurrent(garbage(owner))).unwrap();
            let mut new = mode;
            call!(cuThreadExchangeStreamCaptureMode(&mut new)).unwrap();
            assert_eq!(new, GLOBAL, "what threads begin with");
            let mut address = 0;
            let allocated = call!(cuMemAlloc_v2(&mut address, 16));
            (allocated, end_capture(garbage(stream)).map(|_| ()))
        })
        .join()
        .unwrap()
    };
    let wrong = Err(Code::StreamCaptureWrongThread);
    begin(stream, THREAD_LOCAL);
    assert_eq!(in_thread(stream, GLOBAL), (Ok(()), wrong), "forbids its own thread only");
    end_capture(stream).unwrap();
    begin(stream, GLOBAL);
    assert_eq!(in_thread(stream, GLOBAL), (Err(Code::StreamCaptureUnsupported), wrong));
    assert_eq!(end_capture(stream), Err(Code::StreamCaptureInvalidated));
    begin(stream, GLOBAL);
    assert_eq!(in_thread(stream, THREAD_LOCAL), (Ok(()), wrong), "the thread lets others forbid it nothing");
    end_capture(stream).unwrap();
    begin(stream, RELAXED);
    assert_eq!(in_thread(stream, GLOBAL), (Ok(()), Ok(())), "any thread may end it");
    let mut mode = 7;
    assert_eq!(call!(cuThreadExchangeStreamCaptureMode(&mut mode)), Err(Code::InvalidValue));
}

#[test]
fn a_stream_that_goes_takes_its_capture_along() {
    let _context = Context::new();
    let (first, second, forked) = (stream(), stream(), event());
    begin(first, GLOBAL);
    call!(cuEventRecord(forked, first)).unwrap();
    call!(cuStreamWaitEvent(second, forked, 0)).unwrap();
    call!(cuStreamDestroy_v2(second)).unwrap();
    assert_eq!(end_capture(first), Err(Code::StreamCaptureInvalidated));
    begin(first, GLOBAL);
    call!(cuStreamDestroy_v2(first)).unwrap();
    // Nothing forbids this any more.
    allocate(16);
}

#[test]
fn graphs_and_their_nodes() {
    let _context = Context::new();
    let bounded = function(load(PTX).unwrap(), "bounded").unwrap();
    let (stream, address) = (stream(), allocate(16));
    let mut empty = null_mut();
    call!(cuGraphCreate(&mut empty, 0)).unwrap();
    assert_eq!(nodes(empty), Vec::<Handle>::new());
    let inner = instantiate(empty).unwrap();
    begin(stream, GLOBAL);
    launch(bounded, [1; 3], [1; 3], 0, stream, &[]).unwrap();
    call!(cuMemcpyDtoDAsync_v2(address, address + 8, 4, stream)).unwrap();
    call!(cuMemsetD16Async(address, 1, 2, stream)).unwrap();
    call!(cuGraphLaunch(inner, stream)).unwrap();
    let graph = end_capture(stream).unwrap();
    let all = nodes(graph);
    let types: Vec<u32> = all
        .iter()
        .map(|node| {
            let mut number = 99;
            call!(cuGraphNodeGetType(*node, &mut number)).unwrap();
            number
        })
        .collect();
    assert_eq!(types, [0, 1, 2, 4], "kernel, copy, fill, graph");
    let (mut some, mut count) = ([garbage(1); 6], 6);
    call!(cuGraphGetNodes(graph, some.as_mut_ptr(), &mut count)).unwrap();
    assert_eq!((count, &some[..4], some[4]), (4, all.as_slice(), null_mut()), "null after the last");
    (some, count) = ([garbage(1); 6], 2);
    call!(cuGraphGetRootNodes(graph, some.as_mut_ptr(), &mut count)).unwrap();
    assert_eq!((count, some[0], some[1]), (1, all[0], null_mut()));
    call!(cuGraphDestroy(graph)).unwrap();
    let mut number = 0;
    assert_eq!(call!(cuGraphNodeGetType(all[0], &mut number)), Err(Code::InvalidValue), "its graph is gone");
    assert_eq!(call!(cuGraphDestroy(graph)), Err(Code::InvalidValue), "twice");
    assert_eq!(instantiate(graph), Err(Code::InvalidValue));
    assert_eq!(call!(cuGraphInstantiateWithFlags(&mut some[0], empty, 64)), Err(Code::InvalidValue), "an unknown flag");
    assert_eq!(call!(cuGraphInstantiateWithFlags(&mut some[0], empty, 4)), Err(Code::NotSupported));
}

#[test]
fn graphs_in_graphs_do_not_grow_without_bound() {
    let _context = Context::new();
    let stream = stream();
    let mut executable = null_mut();
    // Each has the one before twice: after 21 of them there would be 2^21 nodes, and 21 levels.
    let answer = (0..21).try_for_each(|level| {
        begin(stream, RELAXED);
        for _ in 0..2 {
            if level == 0 {
                call!(cuMemsetD8Async(0, 0, 0, stream))?;
            } else {
                call!(cuGraphLaunch(executable, stream))?;
            }
        }
        executable = instantiate(end_capture(stream)?)?;
        Ok(())
    });
    assert_eq!(answer, Err(Code::OutOfMemory));
    call!(cuGraphLaunch(executable, stream)).unwrap();
}

#[test]
fn a_fault_in_a_graph_ends_it() {
    let _context = Context::new();
    let store_function = function(load(PTX).unwrap(), "store").unwrap();
    let (stream, address) = (stream(), allocate(16));
    begin(stream, RELAXED);
    store(store_function, stream, 0x10, 1).unwrap();
    store(store_function, stream, address, 1).unwrap();
    let executable = instantiate(end_capture(stream).unwrap()).unwrap();
    assert_eq!(call!(cuGraphLaunch(executable, stream)), Err(Code::IllegalAddress));
    assert_eq!(call!(cuStreamSynchronize(stream)), Err(Code::IllegalAddress));
}

#[test]
fn a_kernel_outlives_its_module_in_a_graph() {
    let _context = Context::new();
    let module = load(PTX).unwrap();
    let store_function = function(module, "store").unwrap();
    let (stream, address) = (stream(), allocate(16));
    begin(stream, RELAXED);
    store(store_function, stream, address, 21).unwrap();
    let executable = instantiate(end_capture(stream).unwrap()).unwrap();
    call!(cuModuleUnload(module)).unwrap();
    call!(cuGraphLaunch(executable, stream)).unwrap();
    assert_eq!(read(address, 1), [21]);
}
