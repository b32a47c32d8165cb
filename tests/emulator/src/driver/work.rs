//! What streams and graphs do: one piece of work, and how it is done.

use std::sync::Arc;

use super::capture;
use super::context;
use super::errors::{Answer, Code, Failure};
use super::graph::Plan;
use super::handles::{ContextHandle, StreamHandle};
use super::host::{HostFunction, HostPointer};
use super::launch::Launch;
use super::state::Device;
use crate::memory::{FIRST_ADDRESS, MemoryError};

/// A piece of work.
#[derive(Debug)]
pub enum Work {
    /// A launch of a kernel.
    Launch(Launch),
    /// A copy. The host's memory is read and written when the work is done: for a node of a graph, at each launch of
    /// it.
    Copy(Copy),
    /// Memory of the device filled with a pattern of 1, 2 or 4 bytes.
    Fill {
        /// Where it begins.
        address: u64,
        /// The pattern, in memory order.
        pattern: Vec<u8>,
        /// How often it is repeated.
        count: u64,
    },
    /// A function of the program, with its argument.
    Host(HostFunction, usize),
    /// A graph.
    Graph(Arc<Plan>),
}

/// A copy of some bytes.
#[derive(Debug, Clone, Copy)]
pub struct Copy {
    /// Where to.
    pub to: Place,
    /// Where from.
    pub from: Place,
    /// How many.
    pub size: u64,
}

/// Memory of the host or of the device.
#[derive(Debug, Clone, Copy)]
pub enum Place {
    /// The host's.
    Host(HostPointer),
    /// The device's, by its address.
    Device(u64),
}

/// Does work in a stream, or writes it down where the stream is being captured.
///
/// # Errors
///
/// The stream can't take it, or the work can't be done. What a kernel does wrong isn't known yet: it shows in later
/// calls.
pub fn enqueue(device: &Device, stream: StreamHandle, work: Work) -> Answer {
    let mut state = device.state();
    let key = state.stream(stream)?;
    let context = context::of_stream(&state, key)?;
    if let Work::Launch(launch) = &work
        && launch.context != context
    {
        return Err(Code::InvalidHandle.because("the function and the stream belong to two contexts"));
    }
    let Some(work) = capture::add(&mut state, key, work)? else { return Ok(()) };
    capture::touch_legacy(&mut state, key, context)?;
    drop(state);
    run(device, context, &work)
}

/// Does work.
///
/// # Errors
///
/// It can't be done.
pub fn run(device: &Device, context: ContextHandle, work: &Work) -> Answer {
    match work {
        Work::Launch(launch) => {
            if let Err(fault) = device.gpu.launch(&launch.kernel, &launch.shape, &launch.parameters) {
                device.state().fault(context, fault);
            }
            device.drain();
            Ok(())
        }
        Work::Copy(copy) => run_copy(device, copy),
        Work::Fill { address, pattern, count } => {
            if *count == 0 {
                return Ok(());
            }
            let size = count.saturating_mul(pattern.len() as u64);
            check_range(device, *address, size)?;
            device.gpu.memory().fill(*address, pattern, *count).map_err(|error| memory_failure(error, *address, size))
        }
        Work::Host(function, data) => {
            function.call(*data);
            Ok(())
        }
        Work::Graph(plan) => plan.run(device, context),
    }
}

fn run_copy(device: &Device, copy: &Copy) -> Answer {
    let Copy { to, from, size } = *copy;
    if size == 0 {
        return Ok(());
    }
    let memory = device.gpu.memory();
    match (to, from) {
        (Place::Device(to), Place::Host(from)) => {
            check_host(from)?;
            check_range(device, to, size)?;
            from.read(size, |bytes| memory.write(to, bytes))?.map_err(|error| memory_failure(error, to, size))
        }
        (Place::Host(to), Place::Device(from)) => {
            check_host(to)?;
            check_range(device, from, size)?;
            to.write(size, |bytes| memory.read(from, bytes))?.map_err(|error| memory_failure(error, from, size))
        }
        (Place::Device(to), Place::Device(from)) => {
            check_range(device, to, size)?;
            check_range(device, from, size)?;
            memory.copy(to, from, size).map_err(|error| memory_failure(error, to, size))
        }
        (Place::Host(to), Place::Host(from)) => to.copy_from(from, size),
    }
}

/// Checks that a range lies in one allocation, before memory of the host is touched for it.
fn check_range(device: &Device, address: u64, size: u64) -> Answer {
    let memory = device.gpu.memory();
    let inside = memory
        .allocation(address)
        .is_some_and(|(start, length)| address - start <= length && size <= length - (address - start));
    if inside {
        return Ok(());
    }
    Err(memory_failure(memory.read(address, &mut [0]).err().unwrap_or(MemoryError::Unknown), address, size))
}

/// Refuses an address of the device where one of the host is wanted.
fn check_host(pointer: HostPointer) -> Answer {
    if is_on_device(pointer.address() as u64) {
        let message =
            format!("{:#x} is an address of the device, where the host's memory is wanted", pointer.address());
        return Err(Code::InvalidValue.because(message));
    }
    Ok(())
}

/// Whether an address is one of the device, be it freed or in no allocation.
#[must_use]
pub fn is_on_device(address: u64) -> bool {
    address >= FIRST_ADDRESS
}

/// What a call answers where memory can't be had, freed or accessed.
#[must_use]
pub fn memory_failure(error: MemoryError, address: u64, size: u64) -> Failure {
    match error {
        MemoryError::OutOfMemory => Code::OutOfMemory.because(format!("the device doesn't have {size} bytes")),
        MemoryError::Unknown => {
            Code::InvalidValue.because(format!("{size} bytes at {address:#x} are in no allocation of the device"))
        }
        MemoryError::Freed => {
            Code::InvalidValue.because(format!("{size} bytes at {address:#x} were in memory that was freed"))
        }
    }
}
