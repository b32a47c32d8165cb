//! The functions of the interface as the tests call them: results instead of pointers.

use std::ffi::{CString, c_void};
use std::ptr::{null, null_mut};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kwc_emulator::driver::errors::Code;

/// A handle, or a null pointer.
pub(super) type Handle = *mut c_void;

/// Calls a function of the interface.
macro_rules! call {
    ($name:ident($($argument:expr),* $(,)?)) => {{
        #[expect(unsafe_code, reason = "a C function is called")]
        // SAFETY: every pointer that the tests give is null, or to a live value of the type.
        let number = unsafe { kwc_emulator::driver::abi::$name($($argument),*) };
        crate::driver::calls::result(number)
    }};
}
pub(super) use call;

/// Whether a call succeeded.
pub(super) fn result(number: i32) -> Result<(), Code> {
    match Code::from_number(number) {
        Some(Code::Success) => Ok(()),
        Some(code) => Err(code),
        None => panic!("{number} is no CUresult"),
    }
}

/// A handle that no object has.
pub(super) fn garbage(number: usize) -> Handle {
    std::ptr::without_provenance_mut(number)
}

/// Some PTX: `store` writes a value to an address, `copy` one value from an address to another, `bounded` and
/// `required` are compiled for blocks of 64 threads, `shared` has 1 KiB of static shared memory; there is a variable
/// `table`.
pub(super) const PTX: &str = "\
.version 7.0
.target sm_80
.address_size 64

.visible .global .align 4 .b8 table[48];

.visible .entry store(
\t.param .u64 store_param_0,
\t.param .u32 store_param_1
)
{
\t.reg .b32 \t%r<2>;
\t.reg .b64 \t%rd<3>;

\tld.param.u64 \t%rd1, [store_param_0];
\tld.param.u32 \t%r1, [store_param_1];
\tcvta.to.global.u64 \t%rd2, %rd1;
\tst.global.u32 \t[%rd2], %r1;
\tret;
}

.visible .entry copy(
\t.param .u64 copy_param_0,
\t.param .u64 copy_param_1
)
{
\t.reg .b32 \t%r<2>;
\t.reg .b64 \t%rd<5>;

\tld.param.u64 \t%rd1, [copy_param_0];
\tld.param.u64 \t%rd2, [copy_param_1];
\tcvta.to.global.u64 \t%rd3, %rd1;
\tcvta.to.global.u64 \t%rd4, %rd2;
\tld.global.u32 \t%r1, [%rd4];
\tst.global.u32 \t[%rd3], %r1;
\tret;
}

.visible .entry bounded()
.maxntid 64, 1, 1
{
\tret;
}

.visible .entry required()
.reqntid 64, 1, 1
{
\tret;
}

.visible .entry shared()
{
\t.reg .b32 \t%r<2>;
\t.shared .align 4 .b8 shared_tile[1024];

\tmov.u32 \t%r1, shared_tile;
\tst.shared.u32 \t[%r1], 0;
\tret;
}
";

/// A context of a test's own, current in its thread. Tests with one run one after the other, since a capture in one
/// thread forbids calls in all.
pub(super) struct Context {
    pub(super) handle: Handle,
    _alone: MutexGuard<'static, ()>,
}

impl Context {
    pub(super) fn new() -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        call!(cuInit(0)).unwrap();
        let mut handle = null_mut();
        call!(cuCtxCreate_v2(&mut handle, 0, 0)).unwrap();
        Self { handle, _alone: alone }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // A test may have destroyed it.
        let _ = call!(cuCtxDestroy_v2(self.handle));
    }
}

/// Allocates memory of the device.
pub(super) fn allocate(size: usize) -> u64 {
    let mut address = 0;
    call!(cuMemAlloc_v2(&mut address, size)).unwrap();
    address
}

/// Writes 32-bit values to the device.
pub(super) fn write(address: u64, values: &[u32]) {
    call!(cuMemcpyHtoD_v2(address, values.as_ptr().cast(), size_of_val(values))).unwrap();
}

/// Reads 32-bit values of the device.
pub(super) fn read(address: u64, count: usize) -> Vec<u32> {
    let mut values = vec![0_u32; count];
    call!(cuMemcpyDtoH_v2(values.as_mut_ptr().cast(), address, count * 4)).unwrap();
    values
}

/// A stream that doesn't wait for the legacy default one.
pub(super) fn stream() -> Handle {
    stream_with(1)
}

/// A stream with flags.
pub(super) fn stream_with(flags: u32) -> Handle {
    let mut stream = null_mut();
    call!(cuStreamCreate(&mut stream, flags)).unwrap();
    stream
}

/// An event.
pub(super) fn event() -> Handle {
    let mut event = null_mut();
    call!(cuEventCreate(&mut event, 0)).unwrap();
    event
}

/// Loads PTX.
pub(super) fn load(text: &str) -> Result<Handle, Code> {
    let text = CString::new(text).unwrap();
    let mut module = null_mut();
    call!(cuModuleLoadData(&mut module, text.as_ptr().cast()))?;
    Ok(module)
}

/// A function of a module.
pub(super) fn function(module: Handle, name: &str) -> Result<Handle, Code> {
    let name = CString::new(name).unwrap();
    let mut function = null_mut();
    call!(cuModuleGetFunction(&mut function, module, name.as_ptr()))?;
    Ok(function)
}

/// Launches a function with parameters of at most eight bytes each.
pub(super) fn launch(
    function: Handle,
    grid: [u32; 3],
    block: [u32; 3],
    shared: u32,
    stream: Handle,
    parameters: &[u64],
) -> Result<(), Code> {
    let mut parameters = parameters.to_vec();
    let mut each: Vec<Handle> = parameters.iter_mut().map(|value| std::ptr::from_mut(value).cast()).collect();
    let each = if each.is_empty() { null_mut() } else { each.as_mut_ptr() };
    call!(cuLaunchKernel(
        function,
        grid[0],
        grid[1],
        grid[2],
        block[0],
        block[1],
        block[2],
        shared,
        stream,
        each,
        null_mut()
    ))
}

/// Launches `store` in one thread.
pub(super) fn store(function: Handle, stream: Handle, address: u64, value: u32) -> Result<(), Code> {
    launch(function, [1; 3], [1; 3], 0, stream, &[address, u64::from(value)])
}

/// Ends a capture.
pub(super) fn end_capture(stream: Handle) -> Result<Handle, Code> {
    let mut graph = garbage(1);
    let answer = call!(cuStreamEndCapture(stream, &mut graph));
    if answer.is_err() {
        assert!(graph.is_null(), "a capture that failed gives no graph");
    }
    answer.map(|()| graph)
}

/// Makes a graph executable.
pub(super) fn instantiate(graph: Handle) -> Result<Handle, Code> {
    let mut executable = null_mut();
    call!(cuGraphInstantiateWithFlags(&mut executable, graph, 0))?;
    Ok(executable)
}

/// Whether a stream is being captured: 0 no, 1 yes, 2 in a capture that is invalid.
pub(super) fn capturing(stream: Handle) -> u32 {
    let mut capturing = 9;
    call!(cuStreamIsCapturing(stream, &mut capturing)).unwrap();
    capturing
}

/// The nodes of a graph.
pub(super) fn nodes(graph: Handle) -> Vec<Handle> {
    let mut count = 0;
    call!(cuGraphGetNodes(graph, null_mut(), &mut count)).unwrap();
    let mut nodes = vec![null_mut(); count];
    call!(cuGraphGetNodes(graph, nodes.as_mut_ptr(), &mut count)).unwrap();
    assert_eq!(count, nodes.len());
    nodes
}

/// The address of a function of the interface by its name, as `cuGetProcAddress_v2` gives it, and the status.
pub(super) fn procedure(name: &str, version: i32) -> (Handle, u32) {
    let name = CString::new(name).unwrap();
    let (mut address, mut status) = (null_mut(), 9);
    call!(cuGetProcAddress_v2(name.as_ptr(), &mut address, version, 0, &mut status)).unwrap();
    (address, status)
}

/// The text of an error code: name, sentence.
pub(super) fn texts(code: i32) -> Result<(String, String), Code> {
    let (mut name, mut text) = (null(), null());
    call!(cuGetErrorName(code, &mut name))?;
    call!(cuGetErrorString(code, &mut text))?;
    #[expect(unsafe_code, reason = "strings of the interface are read")]
    // SAFETY: the two functions give strings that live as long as the process.
    let read = |text| unsafe { std::ffi::CStr::from_ptr(text) }.to_string_lossy().into_owned();
    Ok((read(name), read(text)))
}
