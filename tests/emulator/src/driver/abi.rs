//! The functions of the CUDA driver API that are offered: their names, arguments, and what does the work.
#![expect(unsafe_code, reason = "C functions are exported under their own names")]

use std::ffi::c_void;

/// Functions that can be called before `cuInit`.
mod process {
    use std::ffi::{c_char, c_void};

    use crate::driver::arguments::{Out, Text};
    use crate::driver::{procedures, query};

    crate::driver::entry::functions! { process:
        /// Initialises the driver and reads its environment.
        cuInit(flags: u32) = query::initialise;
        /// The CUDA version of the driver.
        cuDriverGetVersion(version: Out<i32>) = query::driver_version;
        /// The name of an error code.
        cuGetErrorName(code: i32, name: Out<*const c_char>) = query::error_name;
        /// A sentence for an error code.
        cuGetErrorString(code: i32, text: Out<*const c_char>) = query::error_text;
        /// A function by its name, and whether there is one.
        cuGetProcAddress_v2(
            name: Text, address: Out<*mut c_void>, version: i32, flags: u64, status: Out<u32>
        ) = procedures::address;
        /// A function by its name.
        cuGetProcAddress(name: Text, address: Out<*mut c_void>, version: i32, flags: u64) = procedures::address_v1;
    }
}

/// Functions that need `cuInit`.
mod on_device {
    use std::ffi::{c_char, c_void};

    use crate::driver::arguments::{Buffer, Image, In, InOut, Out, OutHandle, Pointers, Text, Untyped};
    use crate::driver::context::CreateParameters;
    use crate::driver::graph::InstantiateParameters;
    use crate::driver::handles::{
        ContextHandle, EventHandle, ExecutableHandle, FunctionHandle, GraphHandle, ModuleHandle, NodeHandle,
        PoolHandle, StreamHandle,
    };
    use crate::driver::host::{HostFunction, SharedOfBlock, Source, Target};
    use crate::driver::launch::Configuration;
    use crate::driver::pool::Properties;
    use crate::driver::stream::HostData;
    use crate::driver::{capture, context, event, graph, launch, memory, module, pool, query, stream};

    crate::driver::entry::functions! { device:
        // Devices.

        /// The number of devices: 1.
        cuDeviceGetCount(count: Out<i32>) = query::count;
        /// A device by its number.
        cuDeviceGet(device: Out<i32>, ordinal: i32) = query::get;
        /// The name of a device.
        cuDeviceGetName(name: Buffer, size: i32, ordinal: i32) = query::name;
        /// An attribute of a device.
        cuDeviceGetAttribute(value: Out<i32>, attribute: i32, ordinal: i32) = query::attribute;
        /// Compute capability.
        cuDeviceComputeCapability(major: Out<i32>, minor: Out<i32>, ordinal: i32) = query::capability;
        /// The memory of a device, bytes.
        cuDeviceTotalMem_v2(size: Out<usize>, ordinal: i32) = query::total_memory;
        /// The UUID of a device.
        cuDeviceGetUuid(uuid: Out<[u8; 16]>, ordinal: i32) = query::uuid;
        /// The UUID of a device.
        cuDeviceGetUuid_v2(uuid: Out<[u8; 16]>, ordinal: i32) = query::uuid;
        /// The address of a device on the PCI bus.
        cuDeviceGetPCIBusId(buffer: Buffer, size: i32, ordinal: i32) = query::bus_id;
        /// Some attributes at once.
        cuDeviceGetProperties(properties: Out<[i32; 14]>, ordinal: i32) = query::properties;
        /// Whether a device can access another's memory.
        cuDeviceCanAccessPeer(can: Out<i32>, ordinal: i32, peer: i32) = query::can_access_peer;
        /// Begins profiling.
        cuProfilerStart() = query::profile;
        /// Ends profiling.
        cuProfilerStop() = query::profile;

        // Contexts.

        /// Retains the primary context.
        cuDevicePrimaryCtxRetain(context: OutHandle<ContextHandle>, ordinal: i32) = context::retain_primary;
        /// Releases the primary context.
        cuDevicePrimaryCtxRelease_v2(ordinal: i32) = context::release_primary;
        /// Destroys all that is in the primary context.
        cuDevicePrimaryCtxReset_v2(ordinal: i32) = context::reset_primary;
        /// Sets the flags of the primary context.
        cuDevicePrimaryCtxSetFlags_v2(ordinal: i32, flags: u32) = context::set_primary_flags;
        /// The flags of the primary context, and whether it is in use.
        cuDevicePrimaryCtxGetState(ordinal: i32, flags: Out<u32>, active: Out<i32>) = context::primary_state;
        /// Makes a context.
        cuCtxCreate_v2(context: OutHandle<ContextHandle>, flags: u32, ordinal: i32) = context::create;
        /// Makes a context with affinities.
        cuCtxCreate_v3(
            context: OutHandle<ContextHandle>, affinities: In<u8>, count: i32, flags: u32, ordinal: i32
        ) = context::create_with_affinity;
        /// Makes a context with parameters.
        cuCtxCreate_v4(
            context: OutHandle<ContextHandle>, parameters: In<CreateParameters>, flags: u32, ordinal: i32
        ) = context::create_with_parameters;
        /// Destroys a context.
        cuCtxDestroy_v2(context: ContextHandle) = context::destroy;
        /// Makes a context current, above the one that is.
        cuCtxPushCurrent_v2(context: ContextHandle) = context::push_current;
        /// Takes the current context away.
        cuCtxPopCurrent_v2(context: OutHandle<ContextHandle>) = context::pop_current;
        /// Makes a context current, in place of the one that is.
        cuCtxSetCurrent(context: ContextHandle) = context::set_current;
        /// The current context.
        cuCtxGetCurrent(context: OutHandle<ContextHandle>) = context::get_current;
        /// The device of the current context.
        cuCtxGetDevice(device: Out<i32>) = context::get_device;
        /// The device of a context.
        cuCtxGetDevice_v2(device: Out<i32>, context: ContextHandle) = context::get_device_of;
        /// The flags of the current context.
        cuCtxGetFlags(flags: Out<u32>) = context::get_flags;
        /// Sets the flags of the current context.
        cuCtxSetFlags(flags: u32) = context::set_flags;
        /// The number of a context.
        cuCtxGetId(context: ContextHandle, id: Out<u64>) = context::get_id;
        /// The version of the interface that a context was made with.
        cuCtxGetApiVersion(context: ContextHandle, version: Out<u32>) = context::get_api_version;
        /// A limit of the current context.
        cuCtxGetLimit(value: Out<usize>, limit: u32) = context::get_limit;
        /// Sets a limit of the current context.
        cuCtxSetLimit(limit: u32, value: usize) = context::set_limit;
        /// The preferred cache.
        cuCtxGetCacheConfig(preference: Out<u32>) = context::get_preference;
        /// Sets the preferred cache.
        cuCtxSetCacheConfig(preference: u32) = context::set_preference;
        /// The preferred banks of shared memory.
        cuCtxGetSharedMemConfig(preference: Out<u32>) = context::get_preference;
        /// Sets the preferred banks of shared memory.
        cuCtxSetSharedMemConfig(preference: u32) = context::set_preference;
        /// The range of priorities of streams.
        cuCtxGetStreamPriorityRange(least: Out<i32>, greatest: Out<i32>) = context::priority_range;
        /// Waits for all work of the current context.
        cuCtxSynchronize() = context::synchronize;
        /// Waits for all work of a context.
        cuCtxSynchronize_v2(context: ContextHandle) = context::synchronize_of;

        // Modules and functions.

        /// Loads a module from PTX.
        cuModuleLoadData(module: OutHandle<ModuleHandle>, image: Image) = module::load_data;
        /// Loads a module from PTX, with options.
        cuModuleLoadDataEx(
            module: OutHandle<ModuleHandle>, image: Image, count: u32, options: In<u32>, values: Pointers
        ) = module::load_data_with_options;
        /// Loads a module from a fat binary, which is refused.
        cuModuleLoadFatBinary(module: OutHandle<ModuleHandle>, image: Image) = module::load_data;
        /// Loads a module from a file with PTX.
        cuModuleLoad(module: OutHandle<ModuleHandle>, path: Text) = module::load_file;
        /// Unloads a module.
        cuModuleUnload(module: ModuleHandle) = module::unload;
        /// A function of a module.
        cuModuleGetFunction(
            function: OutHandle<FunctionHandle>, module: ModuleHandle, name: Text
        ) = module::get_function;
        /// The number of functions of a module.
        cuModuleGetFunctionCount(count: Out<u32>, module: ModuleHandle) = module::function_count;
        /// A variable of a module.
        cuModuleGetGlobal_v2(
            address: Out<u64>, size: Out<usize>, module: ModuleHandle, name: Text
        ) = module::get_global;
        /// Whether modules are loaded lazily.
        cuModuleGetLoadingMode(mode: Out<u32>) = module::loading_mode;
        /// An attribute of a function.
        cuFuncGetAttribute(value: Out<i32>, attribute: u32, function: FunctionHandle) = module::get_attribute;
        /// Sets an attribute of a function.
        cuFuncSetAttribute(function: FunctionHandle, attribute: u32, value: i32) = module::set_attribute;
        /// Sets the cache that a function prefers.
        cuFuncSetCacheConfig(function: FunctionHandle, preference: u32) = module::set_preference;
        /// Sets the banks of shared memory that a function prefers.
        cuFuncSetSharedMemConfig(function: FunctionHandle, preference: u32) = module::set_preference;
        /// The module of a function.
        cuFuncGetModule(module: OutHandle<ModuleHandle>, function: FunctionHandle) = module::get_module;
        /// The name of a function.
        cuFuncGetName(name: Out<*const c_char>, function: FunctionHandle) = module::get_name;
        /// Whether a function is loaded.
        cuFuncIsLoaded(loaded: Out<u32>, function: FunctionHandle) = module::is_loaded;
        /// Loads a function.
        cuFuncLoad(function: FunctionHandle) = module::load_function;
        /// The number of a function's parameters.
        cuFuncGetParamCount(function: FunctionHandle, count: Out<usize>) = module::parameter_count;
        /// Where a parameter of a function is, and its size.
        cuFuncGetParamInfo(
            function: FunctionHandle, index: usize, offset: Out<usize>, size: Out<usize>
        ) = module::parameter_info;

        // Memory.

        /// Allocates memory of the device.
        cuMemAlloc_v2(address: Out<u64>, size: usize) = memory::allocate;
        /// Allocates rows of memory of the device.
        cuMemAllocPitch_v2(
            address: Out<u64>, pitch: Out<usize>, width: usize, height: usize, element: u32
        ) = memory::allocate_pitch;
        /// Frees memory of the device.
        cuMemFree_v2(address: u64) = memory::free;
        /// Bytes free, and all.
        cuMemGetInfo_v2(free: Out<usize>, total: Out<usize>) = memory::info;
        /// The allocation that an address lies in.
        cuMemGetAddressRange_v2(start: Out<u64>, size: Out<usize>, address: u64) = memory::range;
        /// Allocates page-locked memory of the host.
        cuMemHostAlloc(pointer: Out<*mut c_void>, size: usize, flags: u32) = memory::allocate_host;
        /// Allocates page-locked memory of the host.
        cuMemAllocHost_v2(pointer: Out<*mut c_void>, size: usize) = memory::allocate_host_plain;
        /// Frees page-locked memory of the host.
        cuMemFreeHost(pointer: Target) = memory::free_host;
        /// The flags of page-locked memory of the host.
        cuMemHostGetFlags(flags: Out<u32>, pointer: Target) = memory::host_flags;
        /// The address by which the device would access the host's memory; not supported.
        cuMemHostGetDevicePointer_v2(address: Out<u64>, pointer: Target, flags: u32) = memory::device_pointer_of_host;
        /// Copies from the host to the device.
        cuMemcpyHtoD_v2(to: u64, from: Source, size: usize) = memory::to_device;
        /// Copies from the host to the device, in a stream.
        cuMemcpyHtoDAsync_v2(to: u64, from: Source, size: usize, stream: StreamHandle) = memory::to_device_async;
        /// Copies from the device to the host.
        cuMemcpyDtoH_v2(to: Target, from: u64, size: usize) = memory::to_host;
        /// Copies from the device to the host, in a stream.
        cuMemcpyDtoHAsync_v2(to: Target, from: u64, size: usize, stream: StreamHandle) = memory::to_host_async;
        /// Copies within the device.
        cuMemcpyDtoD_v2(to: u64, from: u64, size: usize) = memory::within;
        /// Copies within the device, in a stream.
        cuMemcpyDtoDAsync_v2(to: u64, from: u64, size: usize, stream: StreamHandle) = memory::within_async;
        /// Copies from anywhere to anywhere.
        cuMemcpy(to: u64, from: u64, size: usize) = memory::copy_anywhere;
        /// Copies from anywhere to anywhere, in a stream.
        cuMemcpyAsync(to: u64, from: u64, size: usize, stream: StreamHandle) = memory::copy_async;
        /// Copies between contexts.
        cuMemcpyPeer(
            to: u64, to_context: ContextHandle, from: u64, from_context: ContextHandle, size: usize
        ) = memory::peer;
        /// Copies between contexts, in a stream.
        cuMemcpyPeerAsync(
            to: u64, to_context: ContextHandle, from: u64, from_context: ContextHandle, size: usize, stream:
            StreamHandle
        ) = memory::peer_async;
        /// Fills with a byte.
        cuMemsetD8_v2(address: u64, value: u8, count: usize) = memory::fill8;
        /// Fills with a byte, in a stream.
        cuMemsetD8Async(address: u64, value: u8, count: usize, stream: StreamHandle) = memory::fill8_async;
        /// Fills with 16 bits.
        cuMemsetD16_v2(address: u64, value: u16, count: usize) = memory::fill16;
        /// Fills with 16 bits, in a stream.
        cuMemsetD16Async(address: u64, value: u16, count: usize, stream: StreamHandle) = memory::fill16_async;
        /// Fills with 32 bits.
        cuMemsetD32_v2(address: u64, value: u32, count: usize) = memory::fill32;
        /// Fills with 32 bits, in a stream.
        cuMemsetD32Async(address: u64, value: u32, count: usize, stream: StreamHandle) = memory::fill32_async;
        /// An attribute of a pointer.
        cuPointerGetAttribute(value: Untyped, attribute: u32, address: u64) = memory::pointer_attribute;
        /// Attributes of a pointer.
        cuPointerGetAttributes(
            count: u32, attributes: In<u32>, values: Pointers, address: u64
        ) = memory::pointer_attributes;
        /// Allocates memory of the device, in the order of a stream.
        cuMemAllocAsync(address: Out<u64>, size: usize, stream: StreamHandle) = memory::allocate_async;
        /// Allocates memory of a pool, in the order of a stream.
        cuMemAllocFromPoolAsync(
            address: Out<u64>, size: usize, pool: PoolHandle, stream: StreamHandle
        ) = memory::allocate_from_pool;
        /// Frees memory of the device, in the order of a stream.
        cuMemFreeAsync(address: u64, stream: StreamHandle) = memory::free_async;

        // Memory pools.

        /// The device's own pool.
        cuDeviceGetDefaultMemPool(pool: OutHandle<PoolHandle>, ordinal: i32) = pool::default;
        /// The device's current pool.
        cuDeviceGetMemPool(pool: OutHandle<PoolHandle>, ordinal: i32) = pool::current;
        /// Sets the device's current pool.
        cuDeviceSetMemPool(ordinal: i32, pool: PoolHandle) = pool::set_current;
        /// Makes a pool.
        cuMemPoolCreate(pool: OutHandle<PoolHandle>, properties: In<Properties>) = pool::create;
        /// Destroys a pool.
        cuMemPoolDestroy(pool: PoolHandle) = pool::destroy;
        /// Releases memory that a pool keeps.
        cuMemPoolTrimTo(pool: PoolHandle, size: usize) = pool::trim;
        /// An attribute of a pool.
        cuMemPoolGetAttribute(pool: PoolHandle, attribute: u32, value: Untyped) = pool::get_attribute;
        /// Sets an attribute of a pool.
        cuMemPoolSetAttribute(pool: PoolHandle, attribute: u32, value: Untyped) = pool::set_attribute;
        /// Who can access a pool.
        cuMemPoolGetAccess(flags: Out<u32>, pool: PoolHandle, location: In<[i32; 2]>) = pool::get_access;

        // Streams.

        /// Makes a stream.
        cuStreamCreate(stream: OutHandle<StreamHandle>, flags: u32) = stream::create;
        /// Makes a stream with a priority.
        cuStreamCreateWithPriority(
            stream: OutHandle<StreamHandle>, flags: u32, priority: i32
        ) = stream::create_with_priority;
        /// Destroys a stream.
        cuStreamDestroy_v2(stream: StreamHandle) = stream::destroy;
        /// Waits for a stream.
        cuStreamSynchronize(stream: StreamHandle) = stream::synchronize;
        /// Whether a stream's work is done.
        cuStreamQuery(stream: StreamHandle) = stream::synchronize;
        /// Makes a stream wait for an event.
        cuStreamWaitEvent(stream: StreamHandle, event: EventHandle, flags: u32) = event::wait;
        /// The priority of a stream.
        cuStreamGetPriority(stream: StreamHandle, priority: Out<i32>) = stream::get_priority;
        /// The flags of a stream.
        cuStreamGetFlags(stream: StreamHandle, flags: Out<u32>) = stream::get_flags;
        /// The number of a stream.
        cuStreamGetId(stream: StreamHandle, id: Out<u64>) = stream::get_id;
        /// The context of a stream.
        cuStreamGetCtx(stream: StreamHandle, context: OutHandle<ContextHandle>) = stream::get_context;
        /// The device of a stream.
        cuStreamGetDevice(stream: StreamHandle, device: Out<i32>) = stream::get_device;
        /// Calls a function of the host, in a stream.
        cuLaunchHostFunc(stream: StreamHandle, function: HostFunction, data: HostData) = stream::launch_host_function;

        // Capture.

        /// Begins the capture of a stream.
        cuStreamBeginCapture_v2(stream: StreamHandle, mode: u32) = capture::begin;
        /// Ends the capture of a stream.
        cuStreamEndCapture(stream: StreamHandle, graph: OutHandle<GraphHandle>) = capture::end;
        /// Whether a stream is being captured.
        cuStreamIsCapturing(stream: StreamHandle, capturing: Out<u32>) = capture::is_capturing;
        /// Whether a stream is being captured, and the capture's number.
        cuStreamGetCaptureInfo(stream: StreamHandle, capturing: Out<u32>, id: Out<u64>) = capture::info;
        /// Whether a stream is being captured, and the capture's number.
        cuStreamGetCaptureInfo_v2(
            stream: StreamHandle, capturing: Out<u32>, id: Out<u64>, graph: OutHandle<GraphHandle>, nodes: Out<usize>,
            count: Out<usize>
        ) = capture::info_v2;
        /// Whether a stream is being captured, and the capture's number.
        cuStreamGetCaptureInfo_v3(
            stream: StreamHandle, capturing: Out<u32>, id: Out<u64>, graph: OutHandle<GraphHandle>, nodes: Out<usize>,
            edges: Out<usize>, count: Out<usize>
        ) = capture::info_v3;
        /// What a thread lets captures forbid it.
        cuThreadExchangeStreamCaptureMode(mode: InOut<u32>) = capture::exchange_mode;

        // Events.

        /// Makes an event.
        cuEventCreate(event: OutHandle<EventHandle>, flags: u32) = event::create;
        /// Destroys an event.
        cuEventDestroy_v2(event: EventHandle) = event::destroy;
        /// Records an event in a stream.
        cuEventRecord(event: EventHandle, stream: StreamHandle) = event::record;
        /// Records an event in a stream.
        cuEventRecordWithFlags(event: EventHandle, stream: StreamHandle, flags: u32) = event::record_with_flags;
        /// Waits for an event.
        cuEventSynchronize(event: EventHandle) = event::synchronize;
        /// Whether an event is complete.
        cuEventQuery(event: EventHandle) = event::synchronize;
        /// Milliseconds between two events.
        cuEventElapsedTime(milliseconds: Out<f32>, start: EventHandle, end: EventHandle) = event::elapsed;
        /// Milliseconds between two events.
        cuEventElapsedTime_v2(milliseconds: Out<f32>, start: EventHandle, end: EventHandle) = event::elapsed;

        // Launches and occupancy.

        /// Launches a kernel.
        cuLaunchKernel(
            function: FunctionHandle, grid_x: u32, grid_y: u32, grid_z: u32, block_x: u32, block_y: u32, block_z: u32,
            dynamic_shared: u32, stream: StreamHandle, each: Pointers, extra: Pointers
        ) = launch::launch;
        /// Launches a kernel, with attributes.
        cuLaunchKernelEx(
            configuration: In<Configuration>, function: FunctionHandle, each: Pointers, extra: Pointers
        ) = launch::launch_with_attributes;
        /// Launches a kernel whose blocks wait for each other.
        cuLaunchCooperativeKernel(
            function: FunctionHandle, grid_x: u32, grid_y: u32, grid_z: u32, block_x: u32, block_y: u32, block_z: u32,
            dynamic_shared: u32, stream: StreamHandle, each: Pointers
        ) = launch::launch_cooperative;
        /// Blocks that are resident on a multiprocessor.
        cuOccupancyMaxActiveBlocksPerMultiprocessor(
            blocks: Out<i32>, function: FunctionHandle, threads: i32, dynamic: usize
        ) = launch::resident_blocks;
        /// Blocks that are resident on a multiprocessor.
        cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
            blocks: Out<i32>, function: FunctionHandle, threads: i32, dynamic: usize, flags: u32
        ) = launch::resident_blocks_with_flags;
        /// The most dynamic shared memory with which so many blocks are resident.
        cuOccupancyAvailableDynamicSMemPerBlock(
            size: Out<usize>, function: FunctionHandle, blocks: i32, threads: i32
        ) = launch::available_shared;
        /// The block with the most resident threads.
        cuOccupancyMaxPotentialBlockSize(
            grid: Out<i32>, block: Out<i32>, function: FunctionHandle, shared: SharedOfBlock, dynamic: usize, limit: i32
        ) = launch::best_block;
        /// The block with the most resident threads.
        cuOccupancyMaxPotentialBlockSizeWithFlags(
            grid: Out<i32>, block: Out<i32>, function: FunctionHandle, shared: SharedOfBlock, dynamic: usize, limit:
            i32, flags: u32
        ) = launch::best_block_with_flags;

        // Graphs.

        /// Makes an empty graph.
        cuGraphCreate(graph: OutHandle<GraphHandle>, flags: u32) = graph::create;
        /// Destroys a graph.
        cuGraphDestroy(graph: GraphHandle) = graph::destroy;
        /// Makes a graph executable.
        cuGraphInstantiateWithFlags(
            executable: OutHandle<ExecutableHandle>, graph: GraphHandle, flags: u64
        ) = graph::instantiate;
        /// Makes a graph executable.
        cuGraphInstantiate_v2(
            executable: OutHandle<ExecutableHandle>, graph: GraphHandle, node: OutHandle<NodeHandle>, log: Buffer, size:
            usize
        ) = graph::instantiate_with_log;
        /// Makes a graph executable.
        cuGraphInstantiateWithParams(
            executable: OutHandle<ExecutableHandle>, graph: GraphHandle, parameters: InOut<InstantiateParameters>
        ) = graph::instantiate_with_parameters;
        /// Destroys an executable graph.
        cuGraphExecDestroy(executable: ExecutableHandle) = graph::destroy_executable;
        /// The flags of an executable graph.
        cuGraphExecGetFlags(executable: ExecutableHandle, flags: Out<u64>) = graph::executable_flags;
        /// Readies an executable graph for launches.
        cuGraphUpload(executable: ExecutableHandle, stream: StreamHandle) = graph::upload;
        /// Launches an executable graph.
        cuGraphLaunch(executable: ExecutableHandle, stream: StreamHandle) = graph::launch;
        /// The nodes of a graph.
        cuGraphGetNodes(graph: GraphHandle, nodes: OutHandle<NodeHandle>, count: InOut<usize>) = graph::nodes;
        /// The nodes of a graph that come after none.
        cuGraphGetRootNodes(graph: GraphHandle, nodes: OutHandle<NodeHandle>, count: InOut<usize>) = graph::root_nodes;
        /// The nodes that a node comes after.
        cuGraphNodeGetDependencies(
            node: NodeHandle, nodes: OutHandle<NodeHandle>, count: InOut<usize>
        ) = graph::dependencies;
        /// What a node does.
        cuGraphNodeGetType(node: NodeHandle, number: Out<u32>) = graph::node_type;
    }
}

pub use on_device::*;
pub use process::*;

/// The function with a name.
#[must_use]
pub fn find(name: &str) -> Option<*mut c_void> {
    process::find(name).or_else(|| on_device::find(name))
}

/// The names of all functions that are offered.
pub fn names() -> impl Iterator<Item = &'static str> {
    process::NAMES.iter().chain(on_device::NAMES).copied()
}
