//! Launches: what is checked before, and how parameters are taken.

use std::sync::Arc;

use super::arguments::{In, InOut, Out, Pointers};
use super::device::{self, Architecture};
use super::errors::{Answer, Code};
use super::handles::{ContextHandle, FunctionHandle, Handle, StreamHandle};
use super::host::{HostPointer, SharedOfBlock};
use super::module::Function;
use super::occupancy;
use super::state::Device;
use super::work::{self, Work};
use crate::exec::Kernel;
use crate::gpu::{self, Shape};

/// A launch with a copy of its parameters.
#[derive(Debug)]
pub struct Launch {
    /// The context that the function is in.
    pub context: ContextHandle,
    /// The kernel.
    pub kernel: Arc<Kernel>,
    /// Blocks and threads.
    pub shape: Shape,
    /// The block of parameters.
    pub parameters: Vec<u8>,
    /// Keeps the module's variables where they are.
    _loaded: Arc<gpu::Module>,
}

/// The words of the `extra` list: its end, the buffer, the pointer to the buffer's size.
const EXTRA_END: usize = 0;
const EXTRA_BUFFER: usize = 1;
const EXTRA_SIZE: usize = 2;
/// The launch attribute for blocks that wait for each other.
const COOPERATIVE: u32 = 2;

/// Checks a launch against the limits of the part and of the function.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_VALUE` for what can't be launched, `CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES` for a block whose
/// registers don't exist.
pub fn check(function: &Function, shape: &Shape) -> Answer {
    let Shape { grid, block, dynamic_shared } = shape;
    let name = &function.kernel.name;
    let invalid = |message: String| Err(Code::InvalidValue.because(format!("{name}: {message}")));
    let within =
        |sizes: &[u32; 3], limits: [u32; 3]| sizes.iter().zip(limits).all(|(size, limit)| (1..=limit).contains(size));
    if !within(grid, device::GRID) {
        return invalid(format!("a grid of {grid:?} blocks: from 1 to {:?} are allowed", device::GRID));
    }
    let threads = block.iter().map(|size| u64::from(*size)).product::<u64>();
    if !within(block, device::BLOCK) || threads > u64::from(device::THREADS_PER_BLOCK) {
        let (limits, most) = (device::BLOCK, device::THREADS_PER_BLOCK);
        return invalid(format!("a block of {block:?} threads: from 1 to {limits:?}, {most} in all, are allowed"));
    }
    let threads = u32::try_from(threads).unwrap_or(u32::MAX);
    if let Some(required) = function.kernel.required_threads
        && required != *block
    {
        return invalid(format!("a block of {block:?} threads: the kernel was compiled for exactly {required:?}"));
    }
    let bound = function.kernel.max_threads;
    if threads > bound {
        return invalid(format!("a block of {threads} threads: the kernel was compiled for at most {bound}"));
    }
    let most = function.most_dynamic;
    if *dynamic_shared > most {
        return invalid(format!(
            "{dynamic_shared} bytes of dynamic shared memory: {most} are allowed; \
             CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES of the function raises that"
        ));
    }
    let demand = function.demand(threads, *dynamic_shared);
    if !occupancy::registers_fit(&demand) {
        let message = format!("{name}: {threads} threads with {} registers each don't fit", demand.registers);
        return Err(Code::LaunchOutOfResources.because(message));
    }
    Ok(())
}

/// Takes a copy of the parameters: from one pointer for each, or from a buffer of all.
///
/// # Errors
///
/// Both or neither are given, a pointer is null, or the buffer has another size than the parameters.
fn parameters(kernel: &Kernel, each: Pointers, extra: Pointers) -> Answer<Vec<u8>> {
    let invalid = |message: &str| Code::InvalidValue.because(format!("{}: {message}", kernel.name));
    if !each.is_null() && !extra.is_null() {
        return Err(invalid("parameters are given in both forms"));
    }
    let mut block = vec![0; kernel.parameter_bytes as usize];
    if !extra.is_null() {
        let (buffer, size) = extra_buffer(extra).map_err(|message| invalid(&message))?;
        let own = block.len();
        if size != own && !is_padded(kernel, own, size) {
            return Err(invalid(&format!("a buffer of {size} bytes for parameters that take {own}")));
        }
        if own > 0 {
            HostPointer::at(buffer).read(own as u64, |bytes| block.copy_from_slice(bytes))?;
        }
        return Ok(block);
    }
    if kernel.parameters.is_empty() {
        return Ok(block);
    }
    if each.is_null() {
        return Err(invalid("no parameters are given, and the kernel has some"));
    }
    for (index, (offset, size)) in kernel.parameters.iter().enumerate() {
        let place = *offset as usize..(*offset as usize).saturating_add(*size as usize);
        let Some(room) = block.get_mut(place) else { continue };
        let pointer = HostPointer::at(each.at(index)?);
        if pointer.address() == 0 {
            return Err(invalid(&format!("the pointer to parameter {index} is null")));
        }
        pointer.read(u64::from(*size), |bytes| room.copy_from_slice(bytes))?;
    }
    Ok(block)
}

/// Whether a buffer is larger by the padding that a C structure of the parameters has at its end.
fn is_padded(kernel: &Kernel, own: usize, size: usize) -> bool {
    // The alignment of a type divides its size, and is 16 at most.
    let align = |size: &u32| if *size == 0 { 1 } else { 1_usize << size.trailing_zeros().min(4) };
    let align = kernel.parameters.iter().map(|(_, size)| align(size)).max().unwrap_or(1);
    size == own.next_multiple_of(align)
}

/// Buffer and size from an `extra` list.
fn extra_buffer(extra: Pointers) -> Result<(usize, usize), String> {
    let (mut buffer, mut size) = (None, None);
    let at = |index: usize| extra.at(index).map_err(|failure| failure.message);
    // The list has two entries, and so at most five words.
    for index in [0, 2, 4] {
        match at(index)? {
            EXTRA_END => break,
            EXTRA_BUFFER if index < 4 => buffer = Some(at(index + 1)?),
            EXTRA_SIZE if index < 4 => {
                let pointer = at(index + 1)?;
                size = Some(super::arguments::Untyped::at(pointer).value::<usize>().at(0).map_err(|f| f.message)?);
            }
            other => return Err(format!("{other} in the list of extra options")),
        }
    }
    buffer.zip(size).ok_or_else(|| "the list of extra options has no buffer or no size".to_owned())
}

/// Checks that all blocks of a launch are resident at a time, so that they can wait for each other.
fn check_cooperative(architecture: Architecture, function: &Function, shape: &Shape) -> Answer {
    let blocks = shape.grid.iter().map(|size| u64::from(*size)).product::<u64>();
    let demand = function.demand(shape.block.iter().product(), shape.dynamic_shared);
    let resident = occupancy::resident_blocks(architecture, &demand) * architecture.part().multiprocessors;
    if blocks > u64::from(resident) {
        let message = format!("{}: {blocks} blocks, of which {resident} are resident", function.kernel.name);
        return Err(Code::CooperativeLaunchTooLarge.because(message));
    }
    Ok(())
}

fn enqueue(
    device: &Device,
    function: FunctionHandle,
    shape: Shape,
    cooperative: bool,
    stream: StreamHandle,
    [each, extra]: [Pointers; 2],
) -> Answer {
    let state = device.state();
    let object = state.functions.get(function)?;
    state.usable(object.context)?;
    check(object, &shape)?;
    if cooperative {
        check_cooperative(device.settings.options.architecture, object, &shape)?;
    }
    let launch = Launch {
        context: object.context,
        kernel: Arc::clone(&object.kernel),
        shape,
        parameters: parameters(&object.kernel, each, extra)?,
        _loaded: Arc::clone(&object.loaded),
    };
    drop(state);
    work::enqueue(device, stream, Work::Launch(launch))
}

/// `cuLaunchKernel`
#[expect(clippy::too_many_arguments, reason = "the interface has so many")]
pub fn launch(
    device: &Device,
    function: FunctionHandle,
    grid_x: u32,
    grid_y: u32,
    grid_z: u32,
    block_x: u32,
    block_y: u32,
    block_z: u32,
    dynamic_shared: u32,
    stream: StreamHandle,
    each: Pointers,
    extra: Pointers,
) -> Answer {
    let shape = Shape { grid: [grid_x, grid_y, grid_z], block: [block_x, block_y, block_z], dynamic_shared };
    enqueue(device, function, shape, false, stream, [each, extra])
}

/// `cuLaunchCooperativeKernel`: all blocks are resident at a time.
#[expect(clippy::too_many_arguments, reason = "the interface has so many")]
pub fn launch_cooperative(
    device: &Device,
    function: FunctionHandle,
    grid_x: u32,
    grid_y: u32,
    grid_z: u32,
    block_x: u32,
    block_y: u32,
    block_z: u32,
    dynamic_shared: u32,
    stream: StreamHandle,
    each: Pointers,
) -> Answer {
    let shape = Shape { grid: [grid_x, grid_y, grid_z], block: [block_x, block_y, block_z], dynamic_shared };
    enqueue(device, function, shape, true, stream, [each, Pointers::none()])
}

/// A `CUlaunchConfig`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Configuration {
    grid: [u32; 3],
    block: [u32; 3],
    dynamic_shared: u32,
    stream: *mut std::ffi::c_void,
    attributes: *const Attribute,
    attribute_count: u32,
}

/// A `CUlaunchAttribute`: which, and its value.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(8))]
pub struct Attribute {
    id: u32,
    padding: u32,
    value: [u32; 16],
}

/// `cuLaunchKernelEx`
pub fn launch_with_attributes(
    device: &Device,
    configuration: In<Configuration>,
    function: FunctionHandle,
    each: Pointers,
    extra: Pointers,
) -> Answer {
    let configuration = configuration.at(0)?;
    let attributes = super::arguments::Untyped::at(configuration.attributes.expose_provenance()).value::<Attribute>();
    let mut cooperative = false;
    for index in 0..configuration.attribute_count as usize {
        let attribute = attributes.at(index)?;
        check_attribute(device, &attribute)?;
        cooperative |= attribute.id == COOPERATIVE && attribute.value[0] != 0;
    }
    let Configuration { grid, block, dynamic_shared, stream, .. } = configuration;
    let stream = StreamHandle::from_number(stream.addr());
    enqueue(device, function, Shape { grid, block, dynamic_shared }, cooperative, stream, [each, extra])
}

/// Takes the attributes that change nothing here, and refuses the others.
fn check_attribute(device: &Device, attribute: &Attribute) -> Answer {
    let value = attribute.value;
    let unsupported = |what: &str| Err(Code::NotSupported.because(format!("{what} are not supported")));
    match attribute.id {
        // None; access window, cooperative, waiting policy, scheduling of clusters; the programmatic order of launches,
        // which is satisfied when one runs after the other; priority; domains of memory order; carveout.
        0 | 1 | COOPERATIVE | 3 | 5 | 6 | 8 | 9 | 10 | 14 => Ok(()),
        // A cluster, and one that would be better.
        4 | 11 => {
            let clusters = device.settings.options.architecture.part().capability.0 >= 9;
            match value {
                [1, 1, 1, ..] => Ok(()),
                [0, ..] | [_, 0, ..] | [_, _, 0, ..] => Err(Code::InvalidValue.because("a cluster of 0 blocks")),
                _ if !clusters => Err(Code::InvalidClusterSize.because("clusters need compute capability 9.0")),
                _ => unsupported("clusters of more than one block"),
            }
        }
        7 | 12 => unsupported("events of launches"),
        13 => unsupported("nodes that the device changes"),
        other => Err(Code::InvalidValue.because(format!("there is no launch attribute {other}"))),
    }
}

fn block_size(threads: i32) -> Answer<u32> {
    u32::try_from(threads)
        .ok()
        .filter(|threads| (1..=device::THREADS_PER_BLOCK).contains(threads))
        .ok_or_else(|| Code::InvalidValue.because(format!("a block of {threads} threads")))
}

/// Resident blocks of a function; 0 where a block can't be launched.
fn resident(architecture: Architecture, function: &Function, threads: u32, dynamic: usize) -> u32 {
    let Ok(dynamic) = u32::try_from(dynamic) else { return 0 };
    if threads > function.kernel.max_threads {
        return 0;
    }
    occupancy::resident_blocks(architecture, &function.demand(threads, dynamic))
}

/// `cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags`; the flag is for the L1 cache, and without effect.
pub fn resident_blocks_with_flags(
    device: &Device,
    blocks: Out<i32>,
    function: FunctionHandle,
    threads: i32,
    dynamic: usize,
    flags: u32,
) -> Answer {
    if flags > 1 {
        return Err(Code::InvalidValue.because(format!("flags {flags:#x}")));
    }
    let threads = block_size(threads)?;
    let state = device.state();
    let function = state.functions.get(function)?;
    let count = resident(device.settings.options.architecture, function, threads, dynamic);
    blocks.set(i32::try_from(count).unwrap_or(i32::MAX))
}

/// `cuOccupancyMaxActiveBlocksPerMultiprocessor`
pub fn resident_blocks(
    device: &Device,
    blocks: Out<i32>,
    function: FunctionHandle,
    threads: i32,
    dynamic: usize,
) -> Answer {
    resident_blocks_with_flags(device, blocks, function, threads, dynamic, 0)
}

/// `cuOccupancyAvailableDynamicSMemPerBlock`
pub fn available_shared(
    device: &Device,
    size: Out<usize>,
    function: FunctionHandle,
    blocks: i32,
    threads: i32,
) -> Answer {
    let threads = block_size(threads)?;
    let blocks = u32::try_from(blocks).ok().filter(|blocks| *blocks > 0);
    let blocks = blocks.ok_or_else(|| Code::InvalidValue.because("0 or fewer blocks"))?;
    let state = device.state();
    let function = state.functions.get(function)?;
    let architecture = device.settings.options.architecture;
    let without = resident(architecture, function, threads, 0);
    if blocks > without {
        return Err(Code::InvalidValue.because(format!("{blocks} blocks: no more than {without} are ever resident")));
    }
    size.set(occupancy::available_shared(architecture, blocks, function.kernel.static_shared) as usize)
}

/// `cuOccupancyMaxPotentialBlockSizeWithFlags`: the largest block, in whole warps, that gives the most resident
/// threads.
#[expect(clippy::too_many_arguments, reason = "the interface has so many")]
pub fn best_block_with_flags(
    device: &Device,
    grid: Out<i32>,
    block: Out<i32>,
    function: FunctionHandle,
    shared: SharedOfBlock,
    dynamic: usize,
    limit: i32,
    flags: u32,
) -> Answer {
    if flags > 1 {
        return Err(Code::InvalidValue.because(format!("flags {flags:#x}")));
    }
    let limit = match u32::try_from(limit) {
        Ok(0) => device::THREADS_PER_BLOCK,
        Ok(limit) => limit.min(device::THREADS_PER_BLOCK),
        Err(_) => return Err(Code::InvalidValue.because("a limit below 0")),
    };
    let architecture = device.settings.options.architecture;
    // The program's function isn't called while the objects are locked.
    let most = device.state().functions.get(function)?.most_threads().min(limit);
    let sizes: Vec<u32> =
        (1..=most).filter(|threads| threads.is_multiple_of(device::WARP) || *threads == most).collect();
    let shared: Vec<usize> =
        sizes.iter().map(|threads| shared.call(i32::try_from(*threads).unwrap_or(i32::MAX), dynamic)).collect();
    let state = device.state();
    let function = state.functions.get(function)?;
    let candidates = sizes.iter().zip(&shared).map(|(threads, shared)| {
        let blocks = resident(architecture, function, *threads, *shared);
        (blocks * threads, *threads, blocks)
    });
    let (_, threads, blocks) = candidates.max().unwrap_or_default();
    grid.set(i32::try_from(blocks * architecture.part().multiprocessors).unwrap_or(i32::MAX))?;
    block.set(i32::try_from(threads).unwrap_or(i32::MAX))
}

/// `cuOccupancyMaxPotentialBlockSize`
pub fn best_block(
    device: &Device,
    grid: Out<i32>,
    block: Out<i32>,
    function: FunctionHandle,
    shared: SharedOfBlock,
    dynamic: usize,
    limit: i32,
) -> Answer {
    best_block_with_flags(device, grid, block, function, shared, dynamic, limit, 0)
}

/// `cuOccupancyMaxActiveClusters`: clusters of more than one block aren't supported.
pub fn resident_clusters(device: &Device, _: Out<i32>, function: FunctionHandle, _: InOut<Configuration>) -> Answer {
    device.state().functions.get(function)?;
    Err(Code::NotSupported.because("clusters of more than one block are not supported"))
}
