//! Launches and copies on a model's stream, one by one or captured into a graph.
#![expect(unsafe_code, reason = "kernels are launched and memory is copied through the C interface")]

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

use cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};
use cudarc::driver::{CudaGraph, CudaStream, result};

use super::module::Module;
use super::{Error, driver};
use crate::error::named;
use crate::program::BufferId;
use crate::program::cuda::{Argument, Kernel, Launch, Program, Variant};

/// Addresses on the device.
#[derive(Debug, Clone, Copy)]
pub(super) struct Addresses {
    pub(super) arena: u64,
    pub(super) weights: u64,
    pub(super) counters: u64,
}

/// A forward pass of one batch, captured.
pub(super) struct Graph(CudaGraph);

// SAFETY: a graph may be used by one thread at a time, and launching it takes the model exclusively.
unsafe impl Send for Graph {}

/// What launches of a Program need.
pub(super) struct Executor<'m> {
    pub(super) program: &'m Program,
    pub(super) module: &'m Module,
    pub(super) stream: &'m Arc<CudaStream>,
    pub(super) addresses: Addresses,
}

/// The address of a buffer's first byte with a batch. `None` if the variant has no such buffer.
pub(super) fn buffer(addresses: Addresses, variant: &Variant, id: BufferId, batch: usize) -> Option<u64> {
    let buffer = usize::try_from(id.0).ok().and_then(|index| variant.buffers.get(index))?;
    Some(addresses.arena + u64::try_from(buffer.offset.checked_mul(batch)?).ok()?)
}

impl Executor<'_> {
    /// Enqueues one launch.
    pub(super) fn launch(&self, variant: &Variant, launch: &Launch, batch: usize) -> Result<(), Error> {
        let Launch { layer, kernel: id, grid, arguments } = launch;
        let unsound =
            || Error::Call { what: named(layer), reason: "the launch names what its tables do not have".to_owned() };
        let kernel =
            usize::try_from(id.0).ok().and_then(|index| self.program.kernels.get(index)).ok_or_else(unsound)?;
        let Kernel { symbol, threads, shared_bytes } = kernel;
        let function = self.module.function(*id).ok_or_else(unsound)?;
        let samples = i32::try_from(batch).map_err(|_| unsound())?;
        let addresses: Option<Vec<u64>> = arguments
            .iter()
            .map(|argument| match *argument {
                Argument::Buffer(id) => buffer(self.addresses, variant, id, batch),
                Argument::Weight(id) => {
                    let weight = usize::try_from(id.0).ok().and_then(|index| self.program.weights.get(index))?;
                    Some(self.addresses.weights + u64::try_from(weight.offset).ok()?)
                }
                Argument::Counter(index) => Some(self.addresses.counters + 4 * u64::from(index)),
                // Their parameters lie elsewhere; these places stay empty.
                Argument::Batch | Argument::Int(_) => Some(0),
            })
            .collect();
        let addresses = addresses.ok_or_else(unsound)?;
        let mut parameters: Vec<*mut c_void> = arguments
            .iter()
            .zip(&addresses)
            .map(|(argument, address)| match argument {
                Argument::Batch => ptr::from_ref(&samples).cast_mut().cast(),
                Argument::Int(number) => ptr::from_ref(number).cast_mut().cast(),
                Argument::Buffer(_) | Argument::Weight(_) | Argument::Counter(_) => {
                    ptr::from_ref(address).cast_mut().cast()
                }
            })
            .collect();
        let [x, y, z] = grid.map(|extent| u32::try_from(extent.blocks(batch)).unwrap_or(u32::MAX));
        // SAFETY: the parameters are as many and of such types as the Program says, whose source this module was made of;
        // the driver copies them. The addresses are the model's own, and stay while its stream has work.
        unsafe {
            let stream = self.stream.cu_stream();
            result::launch_kernel(function, (x, y, z), (*threads, 1, 1), *shared_bytes, stream, &mut parameters)
        }
        .map_err(driver::failed(format!("kernel {symbol} of {} cannot be launched", named(layer))))
    }

    /// Captures all launches of a batch into a graph.
    pub(super) fn capture(&self, variant: &Variant, batch: usize) -> Result<Graph, Error> {
        let failed = || driver::failed(format!("the launches of batch {batch} cannot be captured"));
        self.stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).map_err(failed())?;
        let launched = variant.launches.iter().try_for_each(|launch| self.launch(variant, launch, batch));
        // Whatever happened, the stream must leave the capture.
        let graph = self.stream.end_capture(CUgraphInstantiate_flags(0));
        launched?;
        let graph = graph.map_err(failed())?;
        graph.map(Graph).ok_or_else(|| Error::Call {
            what: format!("the launches of batch {batch} cannot be captured"),
            reason: "the driver gave no graph".to_owned(),
        })
    }
}

impl Graph {
    /// Enqueues the forward pass on the stream that it was captured on.
    pub(super) fn launch(&self) -> Result<(), Error> {
        self.0.launch().map_err(driver::failed("the network's graph cannot be launched"))
    }
}

/// Enqueues a copy to the device. The values must stay until the stream has been waited for.
pub(super) fn upload<T>(stream: &CudaStream, to: u64, from: &[T]) -> Result<(), Error> {
    // SAFETY: the callers give addresses of their own memory with room for the values, and wait before they let go.
    unsafe { result::memcpy_htod_async(to, from, stream.cu_stream()) }.map_err(driver::failed("no copy to the device"))
}

/// Enqueues a copy from the device. The values are there, and may be let go, once the stream has been waited for.
pub(super) fn download<T>(stream: &CudaStream, to: &mut [T], from: u64) -> Result<(), Error> {
    // SAFETY: as above.
    unsafe { result::memcpy_dtoh_async(to, from, stream.cu_stream()) }
        .map_err(driver::failed("no copy from the device"))
}

/// Enqueues a copy on the device.
pub(super) fn copy(stream: &CudaStream, to: u64, from: u64, bytes: usize) -> Result<(), Error> {
    // SAFETY: the callers give addresses of allocations that hold so many bytes and outlive the stream's work.
    unsafe { result::memcpy_dtod_async(to, from, bytes, stream.cu_stream()) }
        .map_err(driver::failed("no copy on the device"))
}

/// Enqueues zeros on the device.
pub(super) fn clear(stream: &CudaStream, at: u64, bytes: usize) -> Result<(), Error> {
    // SAFETY: as above.
    unsafe { result::memset_d8_async(at, 0, bytes, stream.cu_stream()) }
        .map_err(driver::failed("no zeros on the device"))
}
