//! Capturing launches and replaying them.

use cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode, CUstreamCaptureStatus};

use crate::gpu::{Gpu, launch, shape};
use crate::harness::{nothing_found, under_vgpu};

const MODE: CUstreamCaptureMode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;

/// Without cudarc's events between launches: those are of outside a capture.
fn gpu() -> Gpu {
    let gpu = Gpu::with("graph.cu");
    #[expect(unsafe_code, reason = "cudarc calls it so")]
    // SAFETY: all work is on one stream, which orders it.
    unsafe {
        gpu.context.disable_event_tracking();
    }
    gpu
}

#[test]
fn a_captured_stream_is_replayed_with_the_parameters_of_the_capture() {
    under_vgpu(
        &[],
        || {
            let gpu = gpu();
            let mut x = gpu.stream.clone_htod(&[0, 1, 2, 3]).expect("a copy");
            let mut factors = gpu.stream.clone_htod(&[2, 2, 2, 2]).expect("a copy");
            let mut value = 1;

            gpu.stream.begin_capture(MODE).expect("a capture");
            launch!(gpu, "add", shape(1, 4), &mut x, &value).expect("a launch");
            // The graph has 1 already.
            value = 100;
            launch!(gpu, "multiply", shape(1, 4), &mut x, &factors).expect("a launch");
            launch!(gpu, "add", shape(1, 4), &mut x, &value).expect("a launch");
            let status = gpu.stream.capture_status().expect("a status");
            assert_eq!(status, CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_ACTIVE);
            let flags = CUgraphInstantiate_flags::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH;
            let graph = gpu.stream.end_capture(flags).expect("an end").expect("a graph");
            assert_eq!(gpu.stream.clone_dtoh(&x).expect("a copy"), [0, 1, 2, 3], "nothing has run yet");

            graph.upload().expect("an upload");
            graph.launch().expect("a launch");
            // (x + 1) 2 + 100
            assert_eq!(gpu.stream.clone_dtoh(&x).expect("a copy"), [102, 104, 106, 108]);
            // What memory holds is read at the launch.
            gpu.stream.memcpy_htod(&[0, 1, -1, 10], &mut factors).expect("a copy");
            graph.launch().expect("a launch");
            assert_eq!(gpu.stream.clone_dtoh(&x).expect("a copy"), [100, 205, -7, 1190]);
        },
        |report| {
            nothing_found(report);
            let kernels: Vec<_> = report.kernels.iter().map(|k| (k.name.as_str(), k.launches)).collect();
            assert_eq!(kernels, [("add", 4), ("multiply", 2)]);
        },
    );
}

#[test]
fn a_graph_holds_copies_and_fills() {
    under_vgpu(
        &[],
        || {
            let gpu = gpu();
            let mut x = gpu.stream.clone_htod(&[5, 6, 7, 8]).expect("a copy");
            let mut y = gpu.stream.clone_htod(&[9, 9, 9, 9]).expect("a copy");
            gpu.stream.begin_capture(MODE).expect("a capture");
            gpu.stream.memcpy_dtod(&x, &mut y).expect("a copy");
            launch!(gpu, "add", shape(1, 4), &mut y, &1).expect("a launch");
            gpu.stream.memset_zeros(&mut x).expect("a fill");
            let flags = CUgraphInstantiate_flags::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH;
            let graph = gpu.stream.end_capture(flags).expect("an end").expect("a graph");
            graph.launch().expect("a launch");
            assert_eq!(gpu.stream.clone_dtoh(&y).expect("a copy"), [6, 7, 8, 9]);
            assert_eq!(gpu.stream.clone_dtoh(&x).expect("a copy"), [0; 4]);
            graph.launch().expect("a launch");
            assert_eq!(gpu.stream.clone_dtoh(&y).expect("a copy"), [1; 4]);
        },
        nothing_found,
    );
}
