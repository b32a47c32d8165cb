//! Memory: allocation, copies, filling, and what is known of a pointer.

use super::arguments::{In, Out, Pointers, Untyped};
use super::capture;
use super::errors::{Answer, Code};
use super::handles::{ContextHandle, Handle, PoolHandle, StreamHandle};
use super::host::{HostAllocation, HostPointer, Source, Target};
use super::state::{Device, State};
use super::work::{self, Copy, Place, Work, memory_failure};

/// Memory of the device that the program allocated.
#[derive(Debug, Clone, Copy)]
pub struct Allocation {
    /// The context that it goes with.
    pub context: ContextHandle,
    /// Bytes.
    pub size: u64,
    /// The pool that it is from.
    pub pool: Option<PoolHandle>,
    /// A number that no other memory had.
    id: u64,
}

/// The flags of page-locked memory: for all contexts, mapped, write-combined.
const HOST_FLAGS: u32 = 7;
/// The legacy default stream, which the functions without a stream work in.
fn legacy() -> StreamHandle {
    StreamHandle::from_number(0)
}

/// Allocates for a context, from a pool or not.
///
/// # Errors
///
/// 0 bytes, or the memory is used up.
pub fn add(
    device: &Device,
    state: &mut State,
    context: ContextHandle,
    size: u64,
    pool: Option<PoolHandle>,
) -> Answer<u64> {
    if size == 0 {
        return Err(Code::InvalidValue.because("an allocation of 0 bytes"));
    }
    let total = device.settings.options.architecture.part().memory;
    let memory = device.gpu.memory();
    if size > total.saturating_sub(memory.used()) {
        return Err(memory_failure(crate::memory::MemoryError::OutOfMemory, 0, size));
    }
    let address = memory.allocate(size).map_err(|error| memory_failure(error, 0, size))?;
    // Addresses are never used twice, so one makes a number.
    state.allocations.insert(address, Allocation { context, size, pool, id: address });
    Ok(address)
}

/// Frees what [`add`] gave.
///
/// # Errors
///
/// There is no such memory, or no longer.
pub fn remove(device: &Device, state: &mut State, address: u64) -> Answer<Allocation> {
    let Some(allocation) = state.allocations.remove(&address) else {
        let reason = match device.gpu.memory().allocation(address) {
            Some((start, _)) => format!("lies in memory that begins at {start:#x}, or is a module's"),
            None if work::is_on_device(address) => "was freed before, or was never allocated".to_owned(),
            None => "is no address of the device".to_owned(),
        };
        return Err(Code::InvalidValue.because(format!("{address:#x} can't be freed: it {reason}")));
    };
    device.gpu.memory().free(address).map_err(|error| memory_failure(error, address, allocation.size))?;
    Ok(allocation)
}

/// `cuMemAlloc_v2`
pub fn allocate(device: &Device, address: Out<u64>, size: usize) -> Answer {
    let mut state = device.state();
    let context = state.current()?;
    capture::refuse_unsafe(&mut state)?;
    check_wanted(address)?;
    address.set(add(device, &mut state, context, size as u64, None)?)
}

fn check_wanted(address: Out<u64>) -> Answer {
    if address.is_null() {
        return Err(Code::InvalidValue.because("the pointer to the address is null"));
    }
    Ok(())
}

/// `cuMemAllocPitch_v2`: rows at multiples of 512 bytes.
pub fn allocate_pitch(
    device: &Device,
    address: Out<u64>,
    pitch: Out<usize>,
    width: usize,
    height: usize,
    element: u32,
) -> Answer {
    if !matches!(element, 4 | 8 | 16) || pitch.is_null() {
        return Err(Code::InvalidValue.because(format!("elements of {element} bytes, or no pointer to the pitch")));
    }
    let overflow = || Code::InvalidValue.because("rows that are larger than memory");
    let row = width.checked_next_multiple_of(512).ok_or_else(overflow)?;
    let size = row.checked_mul(height).ok_or_else(overflow)?;
    allocate(device, address, size)?;
    pitch.set(row)
}

/// `cuMemFree_v2`
pub fn free(device: &Device, address: u64) -> Answer {
    let mut state = device.state();
    state.current()?;
    capture::refuse_unsafe(&mut state)?;
    remove(device, &mut state, address)?;
    Ok(())
}

/// `cuMemGetInfo_v2`: bytes free, and all bytes.
pub fn info(device: &Device, free: Out<usize>, total: Out<usize>) -> Answer {
    device.state().current()?;
    let size = device.settings.options.architecture.part().memory;
    free.set(size.saturating_sub(device.gpu.memory().used()) as usize)?;
    total.set(size as usize)
}

/// `cuMemGetAddressRange_v2`: the allocation that an address lies in.
pub fn range(device: &Device, start: Out<u64>, size: Out<usize>, address: u64) -> Answer {
    device.state().current()?;
    let Some((first, length)) = device.gpu.memory().allocation(address) else {
        return Err(Code::NotFound.because(format!("{address:#x} is in no allocation of the device")));
    };
    start.set_if_wanted(first);
    size.set_if_wanted(length as usize);
    Ok(())
}

/// `cuMemHostAlloc`
pub fn allocate_host(device: &Device, pointer: Out<*mut std::ffi::c_void>, size: usize, flags: u32) -> Answer {
    if flags & !HOST_FLAGS != 0 {
        return Err(Code::InvalidValue.because(format!("flags {flags:#x} of page-locked memory")));
    }
    let mut state = device.state();
    state.current()?;
    capture::refuse_unsafe(&mut state)?;
    if pointer.is_null() {
        return Err(Code::InvalidValue.because("the pointer to the memory is null"));
    }
    let allocation = HostAllocation::new(size, flags)?;
    pointer.set(allocation.pointer())?;
    state.host.insert(allocation.address(), allocation);
    Ok(())
}

/// `cuMemAllocHost_v2`
pub fn allocate_host_plain(device: &Device, pointer: Out<*mut std::ffi::c_void>, size: usize) -> Answer {
    allocate_host(device, pointer, size, 0)
}

/// `cuMemFreeHost`
pub fn free_host(device: &Device, Target(pointer): Target) -> Answer {
    let mut state = device.state();
    state.current()?;
    capture::refuse_unsafe(&mut state)?;
    match state.host.remove(&pointer.address()) {
        Some(_) => Ok(()),
        None => Err(Code::InvalidValue.because(format!("no page-locked memory begins at {:#x}", pointer.address()))),
    }
}

/// `cuMemHostGetFlags`
pub fn host_flags(device: &Device, flags: Out<u32>, Target(pointer): Target) -> Answer {
    let state = device.state();
    let found = state.host.range(..=pointer.address()).next_back();
    let found = found.filter(|(start, memory)| pointer.address() - **start < memory.size());
    match found {
        Some((_, memory)) => flags.set(memory.flags),
        None => Err(Code::InvalidValue.because(format!("{:#x} is in no page-locked memory", pointer.address()))),
    }
}

fn copy(device: &Device, stream: StreamHandle, to: Place, from: Place, size: usize) -> Answer {
    work::enqueue(device, stream, Work::Copy(Copy { to, from, size: size as u64 }))
}

/// `cuMemcpyHtoDAsync_v2`
pub fn to_device_async(device: &Device, to: u64, Source(from): Source, size: usize, stream: StreamHandle) -> Answer {
    copy(device, stream, Place::Device(to), Place::Host(from), size)
}

/// `cuMemcpyHtoD_v2`
pub fn to_device(device: &Device, to: u64, from: Source, size: usize) -> Answer {
    to_device_async(device, to, from, size, legacy())
}

/// `cuMemcpyDtoHAsync_v2`
pub fn to_host_async(device: &Device, Target(to): Target, from: u64, size: usize, stream: StreamHandle) -> Answer {
    copy(device, stream, Place::Host(to), Place::Device(from), size)
}

/// `cuMemcpyDtoH_v2`
pub fn to_host(device: &Device, to: Target, from: u64, size: usize) -> Answer {
    to_host_async(device, to, from, size, legacy())
}

/// `cuMemcpyDtoDAsync_v2`
pub fn within_async(device: &Device, to: u64, from: u64, size: usize, stream: StreamHandle) -> Answer {
    copy(device, stream, Place::Device(to), Place::Device(from), size)
}

/// `cuMemcpyDtoD_v2`
pub fn within(device: &Device, to: u64, from: u64, size: usize) -> Answer {
    within_async(device, to, from, size, legacy())
}

/// `cuMemcpyPeerAsync`: both contexts are on the one device.
pub fn peer_async(
    device: &Device,
    to: u64,
    to_context: ContextHandle,
    from: u64,
    from_context: ContextHandle,
    size: usize,
    stream: StreamHandle,
) -> Answer {
    let state = device.state();
    state.contexts.get(to_context)?;
    state.contexts.get(from_context)?;
    drop(state);
    within_async(device, to, from, size, stream)
}

/// `cuMemcpyPeer`
pub fn peer(
    device: &Device,
    to: u64,
    to_context: ContextHandle,
    from: u64,
    from_context: ContextHandle,
    size: usize,
) -> Answer {
    peer_async(device, to, to_context, from, from_context, size, legacy())
}

/// `cuMemcpyAsync`: host and device share one address space, so that an address says which it is of.
pub fn copy_async(device: &Device, to: u64, from: u64, size: usize, stream: StreamHandle) -> Answer {
    let place = |address: u64| match usize::try_from(address) {
        Ok(number) if !work::is_on_device(address) => Place::Host(HostPointer::at(number)),
        Ok(_) | Err(_) => Place::Device(address),
    };
    copy(device, stream, place(to), place(from), size)
}

/// `cuMemcpy`
pub fn copy_anywhere(device: &Device, to: u64, from: u64, size: usize) -> Answer {
    copy_async(device, to, from, size, legacy())
}

fn fill(device: &Device, stream: StreamHandle, address: u64, pattern: &[u8], count: usize) -> Answer {
    if !address.is_multiple_of(pattern.len() as u64) {
        let message = format!("{address:#x} is no multiple of the {} bytes that are repeated", pattern.len());
        return Err(Code::InvalidValue.because(message));
    }
    work::enqueue(device, stream, Work::Fill { address, pattern: pattern.to_vec(), count: count as u64 })
}

/// `cuMemsetD8Async`
pub fn fill8_async(device: &Device, address: u64, value: u8, count: usize, stream: StreamHandle) -> Answer {
    fill(device, stream, address, &[value], count)
}

/// `cuMemsetD8_v2`
pub fn fill8(device: &Device, address: u64, value: u8, count: usize) -> Answer {
    fill8_async(device, address, value, count, legacy())
}

/// `cuMemsetD16Async`
pub fn fill16_async(device: &Device, address: u64, value: u16, count: usize, stream: StreamHandle) -> Answer {
    fill(device, stream, address, &value.to_le_bytes(), count)
}

/// `cuMemsetD16_v2`
pub fn fill16(device: &Device, address: u64, value: u16, count: usize) -> Answer {
    fill16_async(device, address, value, count, legacy())
}

/// `cuMemsetD32Async`
pub fn fill32_async(device: &Device, address: u64, value: u32, count: usize, stream: StreamHandle) -> Answer {
    fill(device, stream, address, &value.to_le_bytes(), count)
}

/// `cuMemsetD32_v2`
pub fn fill32(device: &Device, address: u64, value: u32, count: usize) -> Answer {
    fill32_async(device, address, value, count, legacy())
}

/// `cuPointerGetAttribute`
pub fn pointer_attribute(device: &Device, value: Untyped, attribute: u32, address: u64) -> Answer {
    if value.out::<u8>().is_null() {
        return Err(Code::InvalidValue.because("the pointer to the attribute is null"));
    }
    let state = device.state();
    let allocation = device.gpu.memory().allocation(address);
    let found = usize::try_from(address).ok().and_then(|address| state.host.range(..=address).next_back());
    let host = found.filter(|(start, memory)| address - (**start as u64) < memory.size() as u64);
    if allocation.is_none() && host.is_none() {
        return Err(Code::InvalidValue.because(format!("{address:#x} is no memory that the driver knows")));
    }
    let own = allocation.and_then(|(start, _)| state.allocations.get(&start));
    let (start, size) =
        allocation.or(host.map(|(start, memory)| (*start as u64, memory.size() as u64))).unwrap_or_default();
    match attribute {
        // Context.
        1 => {
            let context = own.map(|own| own.context).or_else(|| state.current().ok());
            value.out().set(context.map_or(std::ptr::null_mut(), Handle::pointer))
        }
        // Type of memory: the host's, the device's.
        2 => value.out().set(if allocation.is_some() { 2_u32 } else { 1 }),
        // Address on the device, on the host.
        3 if allocation.is_some() => value.out().set(address),
        4 if host.is_some() => value.out().set(address),
        // Synchronous copies, managed, shareable with other processes.
        6 | 8 | 10 => value.out().set(0_u8),
        7 => value.out().set(own.map_or(start, |own| own.id)),
        // The device's number.
        9 => value.out().set(0_i32),
        11 => value.out().set(start),
        12 => value.out().set(size as usize),
        13 => value.out().set(1_u8),
        17 => {
            let pool = own.and_then(|own| own.pool);
            value.out().set(pool.map_or(std::ptr::null_mut(), Handle::pointer))
        }
        other => Err(Code::InvalidValue.because(format!("attribute {other} of a pointer to this memory"))),
    }
}

/// `cuPointerGetAttributes`: those that a pointer doesn't have are zero.
pub fn pointer_attributes(device: &Device, count: u32, attributes: In<u32>, values: Pointers, address: u64) -> Answer {
    for index in 0..count as usize {
        let attribute = attributes.at(index)?;
        let value = Untyped::at(values.at(index)?);
        if pointer_attribute(device, value, attribute, address).is_err() {
            match attribute {
                1 | 3 | 4 | 7 | 11 | 12 | 17 => value.out().set(0_u64)?,
                2 | 9 => value.out().set(0_u32)?,
                6 | 8 | 10 | 13 => value.out().set(0_u8)?,
                other => return Err(Code::InvalidValue.because(format!("there is no attribute {other} of pointers"))),
            }
        }
    }
    Ok(())
}

/// `cuMemAllocAsync`: from the device's current pool.
pub fn allocate_async(device: &Device, address: Out<u64>, size: usize, stream: StreamHandle) -> Answer {
    let pool = device.state().device_pools.current;
    allocate_from_pool(device, address, size, pool, stream)
}

/// `cuMemAllocFromPoolAsync`. A capture that meets it is invalid: graphs with allocations aren't supported.
pub fn allocate_from_pool(
    device: &Device,
    address: Out<u64>,
    size: usize,
    pool: PoolHandle,
    stream: StreamHandle,
) -> Answer {
    check_wanted(address)?;
    let mut state = device.state();
    let context = outside_capture(&mut state, stream)?;
    state.pools.get(pool)?;
    let allocated = add(device, &mut state, context, size as u64, Some(pool))?;
    state.pools.get_mut(pool)?.took(size as u64);
    address.set(allocated)
}

/// `cuMemFreeAsync`
pub fn free_async(device: &Device, address: u64, stream: StreamHandle) -> Answer {
    let mut state = device.state();
    outside_capture(&mut state, stream)?;
    let allocation = remove(device, &mut state, address)?;
    if let Some(pool) = allocation.pool
        && let Ok(pool) = state.pools.get_mut(pool)
    {
        pool.gave_back(allocation.size);
    }
    Ok(())
}

/// The context of a stream that isn't captured.
fn outside_capture(state: &mut State, stream: StreamHandle) -> Answer<ContextHandle> {
    let key = state.stream(stream)?;
    let context = super::context::of_stream(state, key)?;
    if let Some(member) = capture::member(state, key)? {
        state.captures.invalidate(member.capture);
        return Err(Code::NotSupported.because("allocation and freeing in graphs are not supported"));
    }
    capture::touch_legacy(state, key, context)?;
    Ok(context)
}

/// `cuMemHostGetDevicePointer_v2`: kernels can't access the host's memory.
pub fn device_pointer_of_host(_: &Device, _: Out<u64>, _: Target, _: u32) -> Answer {
    Err(Code::NotSupported.because("the device can't access the host's memory"))
}
