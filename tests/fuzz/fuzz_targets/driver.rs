//! Fuzzes the driver's C functions: whatever is called in whatever order, with handles that were destroyed or never
//! were, each call ends with an error code that the interface knows, and never in the virtual GPU's own failure.
//!
//! Pointers are null or to memory of the size that the function demands: anything else is undefined for a real driver
//! too. Run it as the target `spec`, with `-close_fd_mask=2`: each failed call is a line on the standard error.

#![no_main]

use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::Mutex;

use kwc_emulator::driver::abi;
use kwc_emulator::driver::errors::Code;
use libfuzzer_sys::fuzz_target;

/// Kernels that write to an address, spin in no loop, and have bounds.
const PTX: &[u8] = b".version 7.0\n.target sm_80\n.address_size 64\n\
.visible .global .align 4 .b8 table[48];\n\
.visible .entry store(\n.param .u64 store_param_0,\n.param .u32 store_param_1\n)\n{\n\
.reg .b32 %r<2>;\n.reg .b64 %rd<2>;\n\
ld.param.u64 %rd1, [store_param_0];\nld.param.u32 %r1, [store_param_1];\nst.global.u32 [%rd1], %r1;\nret;\n}\n\
.visible .entry bounded()\n.maxntid 64, 1, 1\n{\nret;\n}\n\0";
const NAMES: [&[u8]; 4] = [b"store\0", b"bounded\0", b"table\0", b"\xff\0"];
/// Memory of the host that every pointer to data points into; graphs may use it after the run that made them.
static SCRATCH: Mutex<[u64; 1024]> = Mutex::new([0; 1024]);
const SCRATCH_BYTES: usize = 8192;
/// Below this, an address is the host's.
const FIRST_ADDRESS: u64 = 1 << 48;

extern "C" fn nothing(_: *mut c_void) {}

extern "C" fn shared_of_block(threads: i32) -> usize {
    usize::try_from(threads).unwrap_or(0) * 16
}

/// A `CUlaunchAttribute` and a `CUlaunchConfig`.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Attribute {
    id: u32,
    padding: u32,
    value: [u32; 16],
}

#[repr(C)]
struct Configuration {
    shape: [u32; 7],
    stream: *mut c_void,
    attributes: *const Attribute,
    count: u32,
}

/// The input as a source of arguments, and what the calls gave.
struct Calls<'a> {
    input: &'a [u8],
    scratch: *mut u64,
    handles: Vec<*mut c_void>,
    addresses: Vec<u64>,
    pinned: Vec<*mut c_void>,
}

impl Calls<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.input.split_first().unwrap_or((&0, &[]));
        self.input = rest;
        *first
    }

    /// Small numbers, limits of the interface, and everything.
    fn number(&mut self) -> u32 {
        match self.byte() {
            small @ 0..128 => u32::from(small) % 17,
            limit @ 128..192 => 1_u32.checked_shl(u32::from(limit) % 33).unwrap_or(u32::MAX),
            _ => u32::from_le_bytes([self.byte(), self.byte(), self.byte(), self.byte()]),
        }
    }

    /// Blocks or threads: few enough to run, or none.
    fn extent(&mut self) -> u32 {
        [1, 1, 1, 1, 2, 3, 0, 70_000][usize::from(self.byte()) % 8]
    }

    fn handle(&mut self) -> *mut c_void {
        let place = usize::from(self.byte());
        match place {
            0..8 => std::ptr::without_provenance_mut(place % 4),
            8..12 => std::ptr::without_provenance_mut(usize::MAX - place),
            _ => self.handles.get(self.handles.len().wrapping_sub(place - 11)).copied().unwrap_or(null_mut()),
        }
    }

    /// An address of the device, or nearly.
    fn address(&mut self) -> u64 {
        let place = usize::from(self.byte());
        let base = self.addresses.get(place % 16).copied().unwrap_or(FIRST_ADDRESS);
        match place {
            0..192 => base,
            192..240 => base + u64::from(self.byte()),
            240..248 => u64::MAX - place as u64,
            _ => FIRST_ADDRESS + u64::from(self.number()),
        }
    }

    /// Bytes that the scratch memory has from any place that `data` gives.
    fn size(&mut self) -> usize {
        usize::from(self.byte()) * 16
    }

    /// Memory of at least 4096 bytes, or null.
    fn data<T>(&mut self) -> *mut T {
        match self.byte() {
            0..8 => null_mut(),
            place => self.scratch.wrapping_add(usize::from(place)).cast(),
        }
    }

    /// An address of either side, in the one address space.
    fn anywhere(&mut self) -> u64 {
        if self.byte().is_multiple_of(2) { self.address() } else { self.data::<u64>().expose_provenance() as u64 }
    }

    fn size_to_allocate(&mut self) -> usize {
        match self.byte() {
            0 => 1 << 45,
            1 => usize::MAX,
            size => usize::from(size) * 7 - 14,
        }
    }

    fn text(&mut self) -> *const std::ffi::c_char {
        NAMES[usize::from(self.byte()) % 4].as_ptr().cast()
    }
}

fn check(code: i32) {
    let code = Code::from_number(code).expect("a code of the interface");
    assert_ne!(code, Code::Unknown);
}

/// Makes one call that the input chooses.
#[expect(clippy::too_many_lines, reason = "one line for each function")]
fn step(calls: &mut Calls<'_>) {
    let c = calls;
    let (mut handle, mut address, mut number): (*mut c_void, u64, u64) = (null_mut(), 0, 0);
    let wanted = c.byte() != 0;
    let h: *mut *mut c_void = if wanted { &raw mut handle } else { null_mut() };
    let a: *mut u64 = if wanted { &raw mut address } else { null_mut() };
    let n: *mut u64 = if wanted { &raw mut number } else { null_mut() };
    // SAFETY: all pointers are null, or to live memory of the size that the function demands.
    let code = unsafe {
        match c.byte() {
            0 => abi::cuCtxCreate_v2(h, c.number() % 5, 0),
            1 => abi::cuCtxDestroy_v2(c.handle()),
            2 => abi::cuCtxSetCurrent(c.handle()),
            3 => abi::cuCtxPushCurrent_v2(c.handle()),
            4 => abi::cuCtxPopCurrent_v2(h),
            5 => abi::cuDevicePrimaryCtxRetain(h, 0),
            6 => abi::cuDevicePrimaryCtxRelease_v2(0),
            7 => abi::cuDevicePrimaryCtxReset_v2(0),
            8 => abi::cuCtxSynchronize(),
            9 => abi::cuCtxGetLimit(n.cast(), c.number()),
            10 => abi::cuCtxSetLimit(c.number(), c.size()),
            11 => abi::cuDeviceGetAttribute(n.cast(), c.number().cast_signed(), 0),
            12 => abi::cuGetErrorName(c.number().cast_signed(), n.cast()),
            13 => abi::cuGetProcAddress_v2(c.text(), h, c.number().cast_signed(), u64::from(c.number()), null_mut()),
            14..20 => abi::cuStreamCreateWithPriority(h, c.number() % 3, c.number().cast_signed()),
            20 => abi::cuStreamDestroy_v2(c.handle()),
            21 => abi::cuStreamSynchronize(c.handle()),
            22 => abi::cuStreamGetFlags(c.handle(), n.cast()),
            23..27 => abi::cuEventCreate(h, c.number() % 4),
            27 => abi::cuEventDestroy_v2(c.handle()),
            28..34 => abi::cuEventRecord(c.handle(), c.handle()),
            34 => abi::cuEventQuery(c.handle()),
            35 => abi::cuEventElapsedTime(n.cast(), c.handle(), c.handle()),
            36..42 => abi::cuStreamWaitEvent(c.handle(), c.handle(), c.number() % 3),
            42..54 => abi::cuStreamBeginCapture_v2(c.handle(), c.number() % 4),
            54..64 => abi::cuStreamEndCapture(c.handle(), h),
            64 => abi::cuStreamIsCapturing(c.handle(), n.cast()),
            65 => abi::cuThreadExchangeStreamCaptureMode(n.cast()),
            66..74 => abi::cuGraphInstantiateWithFlags(h, c.handle(), u64::from(c.number() % 3)),
            74 => abi::cuGraphCreate(h, 0),
            75 => abi::cuGraphDestroy(c.handle()),
            76 => abi::cuGraphExecDestroy(c.handle()),
            77..85 => abi::cuGraphLaunch(c.handle(), c.handle()),
            85 => {
                let mut count = usize::from(c.byte()) % 32;
                abi::cuGraphGetNodes(c.handle(), c.data(), &raw mut count)
            }
            86 => abi::cuGraphNodeGetType(c.handle(), n.cast()),
            87..97 => abi::cuMemAlloc_v2(a, c.size_to_allocate()),
            97 => abi::cuMemAllocAsync(a, c.size_to_allocate(), c.handle()),
            98 => abi::cuMemAllocFromPoolAsync(a, c.size_to_allocate(), c.handle(), c.handle()),
            99..102 => abi::cuMemFree_v2(c.address()),
            102 => abi::cuMemFreeAsync(c.address(), c.handle()),
            103..108 => abi::cuMemcpyHtoDAsync_v2(c.address(), c.data(), c.size(), c.handle()),
            108..113 => abi::cuMemcpyDtoHAsync_v2(c.data(), c.address(), c.size(), c.handle()),
            113..118 => abi::cuMemcpyDtoDAsync_v2(c.address(), c.address(), c.size(), c.handle()),
            118 => abi::cuMemcpyAsync(c.anywhere(), c.anywhere(), c.size(), c.handle()),
            119 => abi::cuMemsetD8Async(c.address(), c.byte(), c.number() as usize, c.handle()),
            120 => abi::cuMemsetD16Async(c.address(), 1, c.number() as usize, c.handle()),
            121..125 => abi::cuMemsetD32Async(c.address(), 1, c.number() as usize, c.handle()),
            125 => abi::cuMemGetAddressRange_v2(a, n.cast(), c.address()),
            126 => abi::cuPointerGetAttribute(n.cast(), c.number(), c.anywhere()),
            127 => {
                let place = usize::from(c.byte()) % 8;
                let pinned = c.pinned.get(place).copied().unwrap_or(null_mut());
                abi::cuMemFreeHost(pinned)
            }
            128 => {
                let code = abi::cuMemHostAlloc(h, c.size(), c.number() % 9);
                if !handle.is_null() {
                    c.pinned.push(handle);
                    handle = null_mut();
                }
                code
            }
            129 => abi::cuMemPoolGetAttribute(c.handle(), c.number(), n.cast()),
            130 => abi::cuMemPoolSetAttribute(c.handle(), c.number(), n.cast()),
            131 => abi::cuMemPoolDestroy(c.handle()),
            132 => abi::cuDeviceGetDefaultMemPool(h, 0),
            133 => abi::cuDeviceSetMemPool(0, c.handle()),
            134..140 => abi::cuModuleLoadData(h, PTX.as_ptr().cast()),
            140 => {
                let text: Vec<u8> = c.input.iter().take(64).copied().chain([0; 8]).collect();
                let mut options = [c.number() % 40, 5, 6];
                let mut values = [null_mut(), c.data(), std::ptr::without_provenance_mut(c.size())];
                abi::cuModuleLoadDataEx(h, text.as_ptr().cast(), 3, options.as_mut_ptr(), values.as_mut_ptr())
            }
            141 => abi::cuModuleUnload(c.handle()),
            142..154 => abi::cuModuleGetFunction(h, c.handle(), c.text()),
            154 => abi::cuModuleGetGlobal_v2(a, n.cast(), c.handle(), c.text()),
            155 => abi::cuFuncGetAttribute(n.cast(), c.number(), c.handle()),
            156 => abi::cuFuncSetAttribute(c.handle(), c.number(), c.number().cast_signed()),
            157 => abi::cuFuncGetParamInfo(c.handle(), c.number() as usize, n.cast(), a.cast()),
            158 => abi::cuOccupancyMaxActiveBlocksPerMultiprocessor(
                n.cast(),
                c.handle(),
                c.number().cast_signed(),
                c.number() as usize,
            ),
            159 => abi::cuOccupancyAvailableDynamicSMemPerBlock(
                n.cast(),
                c.handle(),
                c.number().cast_signed(),
                c.number().cast_signed(),
            ),
            160 => {
                let shared: Option<unsafe extern "C" fn(i32) -> usize> = wanted.then_some(shared_of_block as _);
                let limit = c.number().cast_signed();
                abi::cuOccupancyMaxPotentialBlockSize(n.cast(), a.cast(), c.handle(), shared, c.size(), limit)
            }
            161 => abi::cuLaunchHostFunc(c.handle(), wanted.then_some(nothing as _), null_mut()),
            162..200 => {
                let (mut pointer, mut value) = (c.address(), c.number());
                let mut each: [*mut c_void; 2] = [(&raw mut pointer).cast(), (&raw mut value).cast()];
                let each = if wanted { each.as_mut_ptr() } else { null_mut() };
                let (gx, gy, gz) = (c.extent(), c.extent(), c.extent());
                let (bx, by, bz) = (c.extent(), c.extent(), c.extent());
                let (function, stream, shared) = (c.handle(), c.handle(), c.number());
                abi::cuLaunchKernel(function, gx, gy, gz, bx, by, bz, shared, stream, each, null_mut())
            }
            200..206 => {
                let mut size = usize::from(c.byte()) % 24;
                let (buffer, wrong) = (c.data::<u8>().expose_provenance(), usize::from(c.byte()) / 200);
                let mut extra = [1 + wrong, buffer, 2, (&raw mut size).expose_provenance(), wrong];
                let function = c.handle();
                abi::cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, c.handle(), null_mut(), extra.as_mut_ptr().cast())
            }
            206..212 => {
                let (mut pointer, mut value) = (c.address(), c.number());
                let mut each: [*mut c_void; 2] = [(&raw mut pointer).cast(), (&raw mut value).cast()];
                let mut attributes = [Attribute { id: 0, padding: 0, value: [0; 16] }; 3];
                for attribute in &mut attributes {
                    attribute.id = c.number();
                    attribute.value = [c.number(); 16];
                }
                let configuration = Configuration {
                    shape: [c.extent(), c.extent(), c.extent(), c.extent(), c.extent(), c.extent(), c.number()],
                    stream: c.handle(),
                    attributes: attributes.as_ptr(),
                    count: u32::from(c.byte()) % 4,
                };
                let function = c.handle();
                abi::cuLaunchKernelEx((&raw const configuration).cast(), function, each.as_mut_ptr(), null_mut())
            }
            _ => kwc_emulator::driver::unsupported::cuTexRefCreate(),
        }
    };
    check(code);
    if !handle.is_null() {
        c.handles.push(handle);
    }
    if address >= FIRST_ADDRESS {
        c.addresses.push(address);
    }
}

/// Destroys what is left, so that runs don't depend on each other.
fn clean(calls: &Calls<'_>) {
    let mut mode = 0;
    // SAFETY: the functions take any handle, and pointers to live memory.
    unsafe {
        for handle in &calls.handles {
            check(abi::cuGraphExecDestroy(*handle));
            check(abi::cuGraphDestroy(*handle));
            check(abi::cuCtxDestroy_v2(*handle));
        }
        while abi::cuDevicePrimaryCtxRelease_v2(0) == 0 {}
        while abi::cuCtxPopCurrent_v2(null_mut()) == 0 {}
        check(abi::cuThreadExchangeStreamCaptureMode(&raw mut mode));
        let mut context = null_mut();
        check(abi::cuCtxCreate_v2(&raw mut context, 0, 0));
        for pinned in &calls.pinned {
            check(abi::cuMemFreeHost(*pinned));
        }
        check(abi::cuCtxDestroy_v2(context));
    }
}

fuzz_target!(|input: &[u8]| {
    let mut scratch = SCRATCH.lock().unwrap();
    assert_eq!(size_of_val(&*scratch), SCRATCH_BYTES);
    let mut calls =
        Calls { input, scratch: scratch.as_mut_ptr(), handles: Vec::new(), addresses: Vec::new(), pinned: Vec::new() };
    let mut context = null_mut();
    // SAFETY: the pointer is to a live one.
    unsafe {
        check(abi::cuInit(0));
        check(abi::cuCtxCreate_v2(&raw mut context, 0, 0));
    }
    calls.handles.push(context);
    while !calls.input.is_empty() {
        step(&mut calls);
    }
    clean(&calls);
});
