//! Modules: what is refused, where the messages go, functions and variables.

use std::ffi::{CStr, CString};
use std::ptr::{null, null_mut};

use kwc_emulator::driver::errors::Code;

use super::calls::{Context, Handle, PTX, call, function, garbage, launch, load, read, write};

#[test]
fn binaries_are_refused() {
    let _context = Context::new();
    let mut module = null_mut();
    for start in [*b"\x7fELF", [0x50, 0xed, 0x55, 0xba], [0xb1, 0x43, 0x62, 0x46]] {
        let image: Vec<u8> = start.into_iter().chain([0; 60]).collect();
        assert_eq!(call!(cuModuleLoadData(&mut module, image.as_ptr().cast())), Err(Code::NoBinaryForGpu));
        assert_eq!(call!(cuModuleLoadFatBinary(&mut module, image.as_ptr().cast())), Err(Code::NoBinaryForGpu));
    }
    assert!(module.is_null());
}

#[test]
fn texts_that_are_no_modules() {
    let _context = Context::new();
    assert_eq!(load(""), Err(Code::InvalidImage));
    assert_eq!(load("\n"), Err(Code::InvalidImage));
    assert_eq!(load("\x7fE"), Err(Code::InvalidPtx), "the beginning of a binary's beginning");
    assert_eq!(load(&PTX.replace("\tret;", "\tnonsense.u32 \t%r1;")), Err(Code::InvalidPtx));
    assert_eq!(load(&PTX.replace("sm_80", "sm_90")), Err(Code::InvalidPtx), "for a newer part");
    assert_eq!(load(&PTX.replace(".version 7.0", ".version 9.6")), Err(Code::UnsupportedPtxVersion));
    load(&PTX.replace(".version 7.0", ".version 9.5")).unwrap();
    let mut module = null_mut();
    assert_eq!(call!(cuModuleLoadData(&mut module, null())), Err(Code::InvalidValue));
    let text = CString::new(PTX).unwrap();
    assert_eq!(call!(cuModuleLoadData(null_mut(), text.as_ptr().cast())), Err(Code::InvalidValue));
    let image = *b"\xff\xfe\0";
    assert_eq!(call!(cuModuleLoadData(&mut module, image.as_ptr().cast())), Err(Code::InvalidImage), "no UTF-8");
}

/// Loads with a buffer of some size for errors; gives the message and the size that is said to be used.
fn error_log(text: &str, size: usize) -> (Result<(), Code>, String, usize) {
    let text = CString::new(text).unwrap();
    let mut buffer = vec![b'x'; size.max(1)];
    // A target, the buffer for errors, its size.
    let mut options = [9_u32, 5, 6];
    let mut values: [Handle; 3] = [garbage(80), buffer.as_mut_ptr().cast(), garbage(size)];
    let mut module = null_mut();
    let answer =
        call!(cuModuleLoadDataEx(&mut module, text.as_ptr().cast(), 3, options.as_mut_ptr(), values.as_mut_ptr()));
    let message = CStr::from_bytes_until_nul(&buffer).map(|text| text.to_string_lossy().into_owned());
    (answer, message.unwrap_or_default(), values[2].addr())
}

#[test]
fn the_error_log_names_the_line() {
    let _context = Context::new();
    let broken = PTX.replacen("\tret;", "\tnonsense.u32 \t%r1;", 1);
    let line = broken.lines().position(|line| line.contains("nonsense")).unwrap() + 1;
    let (answer, message, used) = error_log(&broken, 500);
    assert_eq!(answer, Err(Code::InvalidPtx));
    assert!(message.contains(&format!("line {line}:")) && message.contains("nonsense"), "{message}");
    assert_eq!(used, message.len() + 1);
    let (answer, start, used) = error_log(&broken, 8);
    assert_eq!((answer, used), (Err(Code::InvalidPtx), 8));
    assert_eq!(start, message[..7]);
    assert_eq!(error_log(&broken, 0).0, Err(Code::InvalidPtx));
    assert_eq!(error_log(PTX, 500), (Ok(()), String::new(), 1));
    let mut module = null_mut();
    let mut option = 99;
    let mut value = null_mut();
    let text = CString::new(PTX).unwrap();
    let answer = call!(cuModuleLoadDataEx(&mut module, text.as_ptr().cast(), 1, &mut option, &mut value));
    assert_eq!(answer, Err(Code::InvalidValue), "an unknown option");
}

#[test]
fn a_module_from_a_file() {
    let _context = Context::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kernels.ptx");
    std::fs::write(&path, PTX).unwrap();
    let mut module = null_mut();
    let name = CString::new(path.to_str().unwrap()).unwrap();
    call!(cuModuleLoad(&mut module, name.as_ptr())).unwrap();
    function(module, "store").unwrap();
    std::fs::write(&path, b"\x7fELF").unwrap();
    assert_eq!(call!(cuModuleLoad(&mut module, name.as_ptr())), Err(Code::NoBinaryForGpu));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(call!(cuModuleLoad(&mut module, name.as_ptr())), Err(Code::FileNotFound));
}

#[test]
fn functions_of_a_module() {
    let _context = Context::new();
    let module = load(PTX).unwrap();
    let store = function(module, "store").unwrap();
    assert_eq!(function(module, "store").unwrap(), store, "the same handle each time");
    assert_eq!(function(module, "stored"), Err(Code::NotFound));
    assert_eq!(function(module, "table"), Err(Code::NotFound), "a variable");
    assert_eq!(function(garbage(160), "store"), Err(Code::InvalidHandle));
    assert_eq!(function(store, "store"), Err(Code::InvalidHandle), "no module, though a handle");
    let (mut count, mut name, mut owner) = (0, null(), null_mut());
    call!(cuModuleGetFunctionCount(&mut count, module)).unwrap();
    call!(cuFuncGetName(&mut name, store)).unwrap();
    call!(cuFuncGetModule(&mut owner, store)).unwrap();
    assert_eq!((count, owner), (5, module));
    #[expect(unsafe_code, reason = "a string of the interface is read")]
    // SAFETY: the name lives as long as the module.
    let name = unsafe { CStr::from_ptr(name) };
    assert_eq!(name, c"store");
    let (mut parameters, mut offset, mut size) = (0, 9, 9);
    call!(cuFuncGetParamCount(store, &mut parameters)).unwrap();
    call!(cuFuncGetParamInfo(store, 1, &mut offset, &mut size)).unwrap();
    assert_eq!((parameters, offset, size), (2, 8, 4));
    assert_eq!(call!(cuFuncGetParamInfo(store, 2, &mut offset, &mut size)), Err(Code::InvalidValue));
    call!(cuModuleUnload(module)).unwrap();
    assert_eq!(call!(cuModuleUnload(module)), Err(Code::InvalidHandle), "twice");
    assert_eq!(launch(store, [1; 3], [1; 3], 0, null_mut(), &[0, 0]), Err(Code::InvalidHandle), "its module is gone");
}

#[test]
fn variables_of_a_module() {
    let _context = Context::new();
    let module = load(PTX).unwrap();
    let variable = |name: &CStr| {
        let (mut address, mut size) = (0, 0);
        call!(cuModuleGetGlobal_v2(&mut address, &mut size, module, name.as_ptr())).map(|()| (address, size))
    };
    let (address, size) = variable(c"table").unwrap();
    assert_eq!(size, 48);
    assert_eq!(read(address, 12), [0; 12]);
    write(address + 4, &[7]);
    assert_eq!(read(address, 2), [0, 7]);
    assert_eq!(variable(c"chair"), Err(Code::NotFound));
    assert_eq!(variable(c"store"), Err(Code::NotFound), "a kernel");
    call!(cuModuleGetGlobal_v2(null_mut(), null_mut(), module, c"table".as_ptr())).unwrap();
    assert_eq!(call!(cuMemFree_v2(address)), Err(Code::InvalidValue), "it is the module's");
}

#[test]
fn attributes_of_a_function() {
    let _context = Context::new();
    let module = load(PTX).unwrap();
    let get = |name: &str, attribute| {
        let mut value = -9;
        call!(cuFuncGetAttribute(&mut value, attribute, function(module, name).unwrap())).map(|()| value)
    };
    // Threads of a block, static shared memory, local memory, target, binary, dynamic shared memory.
    assert_eq!([get("store", 0), get("bounded", 0), get("required", 0)], [Ok(1024), Ok(64), Ok(64)]);
    assert_eq!([get("store", 1), get("shared", 1)], [Ok(0), Ok(1024)]);
    assert_eq!([get("store", 3), get("store", 5), get("store", 6)], [Ok(0), Ok(80), Ok(80)]);
    assert_eq!([get("store", 8), get("shared", 8)], [Ok(49_152), Ok(48_128)]);
    assert_eq!(get("store", 9), Ok(-1), "no preferred carveout");
    assert_eq!(get("store", 99), Err(Code::InvalidValue));
    let set =
        |name: &str, attribute, value| call!(cuFuncSetAttribute(function(module, name).unwrap(), attribute, value));
    // 163 KiB in all.
    set("shared", 8, 165_888).unwrap();
    assert_eq!(get("shared", 8), Ok(165_888));
    assert_eq!(set("shared", 8, 165_889), Err(Code::InvalidValue));
    assert_eq!(set("shared", 8, -1), Err(Code::InvalidValue));
    set("store", 9, 100).unwrap();
    assert_eq!(set("store", 9, 101), Err(Code::InvalidValue));
    assert_eq!(set("store", 0, 64), Err(Code::InvalidValue), "it can't be set");
    let mut value = 0;
    assert_eq!(call!(cuFuncGetAttribute(&mut value, 0, garbage(32))), Err(Code::InvalidHandle));
}
