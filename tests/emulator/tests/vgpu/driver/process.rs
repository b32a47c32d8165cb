//! What concerns the process: initialisation, the environment, the trace, and the library as the loader finds it.
//!
//! What depends on the environment runs in a process of its own: this binary again, with the one test to run.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::process::{Command, Output};
use std::ptr::null_mut;

use kwc_emulator::driver::errors::Code;
use kwc_emulator::driver::{abi, procedures, unsupported};
use kwc_emulator::report::Record;

use crate::harness::{test_of, text_of};

use super::calls::{PTX, call, load, procedure, texts};

/// The functions that a program looks up which loads modules, launches, captures and replays.
const NEEDED: &str = "cuInit cuDriverGetVersion cuDeviceGet cuDeviceGetCount cuDeviceGetName cuDeviceGetAttribute \
    cuDevicePrimaryCtxRetain cuDevicePrimaryCtxRelease_v2 cuCtxGetCurrent cuCtxSetCurrent cuCtxSynchronize \
    cuMemGetInfo_v2 cuModuleLoadData cuModuleUnload cuModuleGetFunction cuModuleGetGlobal_v2 cuFuncGetAttribute \
    cuFuncSetAttribute cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags cuMemAlloc_v2 cuMemFree_v2 \
    cuMemAllocAsync cuMemFreeAsync cuMemHostAlloc cuMemFreeHost cuMemcpyHtoDAsync_v2 cuMemcpyDtoHAsync_v2 \
    cuMemcpyDtoDAsync_v2 cuMemsetD8Async cuMemsetD32Async cuStreamCreate cuStreamDestroy_v2 cuStreamSynchronize \
    cuStreamWaitEvent cuStreamIsCapturing cuEventCreate cuEventDestroy_v2 cuEventRecord cuEventSynchronize \
    cuEventQuery cuEventElapsedTime cuEventElapsedTime_v2 cuLaunchKernel cuLaunchKernelEx cuStreamBeginCapture_v2 \
    cuStreamEndCapture cuGraphInstantiateWithFlags cuGraphUpload cuGraphLaunch cuGraphExecDestroy cuGraphDestroy \
    cuGetErrorName cuGetErrorString";

/// Set in the process that runs the body of a test.
const ALONE: &str = "VGPU_TEST_ALONE";

/// Runs `body` in a process of its own, with some variables set and no others of the virtual GPU; gives what it printed,
/// and `None` in the process in which it ran. `body` must be a closure of the test function itself, whose name says which
/// test to run.
fn alone<F: FnOnce()>(variables: &[(&str, &str)], body: F) -> Option<Output> {
    if std::env::var_os(ALONE).is_some() {
        body();
        return None;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &test_of(&body), "--nocapture"]).env(ALONE, "");
    for name in ["VGPU_ARCH", "VGPU_CHECK", "VGPU_TRACE", "VGPU_DRIVER_VERSION"] {
        command.env_remove(name);
    }
    let output = command.envs(variables.iter().copied()).output().unwrap();
    let text = text_of(&output);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    Some(output)
}

#[test]
fn nothing_works_before_initialisation() {
    alone(&[("VGPU_DRIVER_VERSION", "12.6")], || {
        let (mut count, mut version, mut context) = (0, 0, null_mut());
        assert_eq!(call!(cuDeviceGetCount(&mut count)), Err(Code::NotInitialized));
        assert_eq!(call!(cuDevicePrimaryCtxRetain(&mut context, 0)), Err(Code::NotInitialized));
        assert_eq!(load(PTX), Err(Code::NotInitialized));
        call!(cuDriverGetVersion(&mut version)).unwrap();
        assert_eq!(version, 12_060);
        assert_eq!(call!(cuInit(1)), Err(Code::InvalidValue), "it has no flags");
        call!(cuInit(0)).unwrap();
        call!(cuInit(0)).unwrap();
        call!(cuDeviceGetCount(&mut count)).unwrap();
        assert_eq!(count, 1);
        call!(cuDriverGetVersion(&mut version)).unwrap();
        assert_eq!(version, 12_060);
    });
}

/// What happens where a variable is wrong.
fn cannot_initialise() {
    let mut count = 0;
    assert_eq!(call!(cuInit(0)), Err(Code::InvalidValue));
    assert_eq!(call!(cuInit(0)), Err(Code::InvalidValue), "again");
    assert_eq!(call!(cuDeviceGetCount(&mut count)), Err(Code::NotInitialized));
}

#[test]
fn an_unknown_architecture_is_refused() {
    let Some(output) = alone(&[("VGPU_ARCH", "sm_42")], || {
        cannot_initialise();
    }) else {
        return;
    };
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("vgpu: VGPU_ARCH=sm_42: expected sm_80, sm_86, sm_89 or sm_90"), "{error}");
}

#[test]
fn a_folder_for_traces_that_is_a_file_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let Some(output) = alone(&[("VGPU_TRACE", path)], || {
        cannot_initialise();
    }) else {
        return;
    };
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains(&format!("VGPU_TRACE={path:?}")), "{error}");
}

/// Calls of two functions that fail, one of them several times.
fn failing_calls() {
    call!(cuInit(0)).unwrap();
    let mut name = [0; 64];
    let mut device = 0;
    assert_eq!(call!(cuDeviceGet(&mut device, 4)), Err(Code::InvalidDevice));
    call!(cuDeviceGetName(name.as_mut_ptr(), 64, 0)).unwrap();
    let name: String = name.iter().map_while(|byte| char::from_u32(*byte as u32).filter(|c| *c != '\0')).collect();
    assert_eq!(name, "NVIDIA L4");
    for _ in 0..3 {
        assert_eq!(unsupported::cuTexRefCreate(), 801);
    }
}

#[test]
fn a_trace_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let traces = folder.path().join("in/here");
    let variables = [("VGPU_ARCH", "sm_89"), ("VGPU_TRACE", traces.to_str().unwrap())];
    if alone(&variables, || {
        failing_calls();
    })
    .is_none()
    {
        return;
    }
    let files: Vec<_> = std::fs::read_dir(&traces).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1);
    let process: u32 = files[0].file_name().unwrap().to_str().unwrap().strip_suffix(".jsonl").unwrap().parse().unwrap();
    let text = std::fs::read_to_string(&files[0]).unwrap();
    let records: Vec<Record> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [
        Record::Start { format: 1, architecture, process: written },
        Record::Call { function, error, .. },
        second,
        Record::End,
    ] = records.as_slice()
    else {
        panic!("{records:?}")
    };
    assert_eq!((architecture.as_str(), *written), ("sm_89", process));
    assert_eq!((function.as_str(), error.as_str()), ("cuDeviceGet", "CUDA_ERROR_INVALID_DEVICE"));
    assert!(
        matches!(second, Record::Call { function, error, .. }
            if function == "cuTexRefCreate" && error == "CUDA_ERROR_NOT_SUPPORTED"),
        "once: {second:?}"
    );
}

#[test]
fn failures_go_to_the_standard_error() {
    let Some(output) = alone(&[("VGPU_ARCH", "sm_89")], || {
        failing_calls();
    }) else {
        return;
    };
    let error = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = error.lines().filter(|line| line.starts_with("vgpu: ")).collect();
    assert_eq!(lines.len(), 2, "{error}");
    assert!(lines[0].starts_with("vgpu: cuDeviceGet: CUDA_ERROR_INVALID_DEVICE: "));
    assert!(lines[1].starts_with("vgpu: cuTexRefCreate: CUDA_ERROR_NOT_SUPPORTED: "));
}

#[test]
fn error_codes_have_names() {
    let text = |name: &str, text: &str| Ok((name.to_owned(), text.to_owned()));
    assert_eq!(texts(0), text("CUDA_SUCCESS", "no error"));
    assert_eq!(texts(1), text("CUDA_ERROR_INVALID_VALUE", "invalid argument"));
    assert_eq!(texts(700), text("CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"));
    assert_eq!(texts(801), text("CUDA_ERROR_NOT_SUPPORTED", "operation not supported"));
    assert_eq!(texts(908).unwrap().0, "CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD");
    assert_eq!(texts(12_345), Err(Code::InvalidValue));
    assert_eq!(texts(-1), Err(Code::InvalidValue));
}

#[test]
fn functions_by_name() {
    let address = |name: &str, version| {
        let (address, status) = procedure(name, version);
        assert_eq!(status, 0, "{name}");
        address
    };
    let exactly = |name: &str| procedures::find(name).unwrap();
    assert_eq!(address("cuMemAlloc", 12_000), exactly("cuMemAlloc_v2"));
    assert_eq!(address("cuMemAlloc_v2", 12_000), exactly("cuMemAlloc_v2"));
    assert_eq!(address("cuInit", 12_000), abi::cuInit as *const () as *mut _);
    assert_eq!(address("cuGraphInstantiate", 11_080), exactly("cuGraphInstantiate_v2"));
    assert_eq!(address("cuGraphInstantiate", 12_000), exactly("cuGraphInstantiateWithFlags"));
    assert_eq!(address("cuTexRefCreate", 12_000), exactly("cuTexRefCreate"), "one that isn't offered");
    assert_eq!(procedure("cuCtxCreate", 2000), (null_mut(), 2), "the version is too old");
    assert_eq!(procedure("cuNonsense", 13_000), (null_mut(), 1));
    let name = CString::new("cuNonsense").unwrap();
    let mut found = null_mut();
    assert_eq!(call!(cuGetProcAddress(name.as_ptr(), &mut found, 13_000, 0)), Err(Code::NotFound));
    assert_eq!(call!(cuGetProcAddress(name.as_ptr(), &mut found, 13_000, 2)), Err(Code::NotSupported));
}

#[test]
fn no_name_is_missing_or_twice() {
    let offered: BTreeSet<&str> = abi::names().collect();
    let missing: Vec<&str> = NEEDED.split_whitespace().filter(|name| !offered.contains(name)).collect();
    assert_eq!(missing, Vec::<&str>::new());
    assert_eq!(offered.len(), abi::names().count());
    assert!(unsupported::NAMES.is_sorted());
    assert!(unsupported::NAMES.iter().all(|name| !offered.contains(name)));
}

/// The library that is built beside this test.
#[cfg(target_os = "linux")]
fn library() -> std::path::PathBuf {
    let binary = std::env::current_exe().unwrap();
    let folder = binary.ancestors().find(|folder| folder.join("libkwc_emulator.so").is_file());
    folder.expect("libkwc_emulator.so beside the test").join("libkwc_emulator.so")
}

#[test]
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "a library is loaded")]
fn the_library_exports_all_names() {
    let library = library();
    let bytes = std::fs::read(&library).unwrap();
    assert!(bytes.windows(14).any(|window| window == b"libcuda.so.1\0c" || window == b"\0libcuda.so.1\0"), "its name");
    let path = CString::new(library.to_str().unwrap()).unwrap();
    // SAFETY: the library does nothing when it is loaded, and stays loaded.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    assert!(!handle.is_null());
    for name in abi::names().chain(unsupported::NAMES.iter().copied()) {
        let symbol = CString::new(name).unwrap();
        // SAFETY: the handle is that of a library that is loaded.
        assert!(!unsafe { libc::dlsym(handle, symbol.as_ptr()) }.is_null(), "{name}");
    }
}
