//! The library's functions, and the only unsafe code: calls of C functions by their documented signatures.
//!
//! Signatures are those of `nvrtc.h`, unchanged from CUDA 11.1 (which brought cubins) to 13.
#![expect(unsafe_code, reason = "NVRTC is a C library")]

use std::error::Error as _;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fmt;
use std::path::{Path, PathBuf};
use std::ptr;

use libloading::{Library, Symbol};

use crate::compile::{Code, Options, Output};
use crate::error::Error;

type Program = *mut c_void;
type Status = c_int;

/// `NVRTC_ERROR_INVALID_OPTION`
const INVALID_OPTION: Status = 5;
/// `NVRTC_ERROR_COMPILATION`
const COMPILATION: Status = 6;

/// The functions of a loaded NVRTC.
///
/// May be used from several threads at once: NVRTC compiles different programs in parallel, and a program never leaves
/// the call of [`compile`](Self::compile) that makes it. (The type is `Send` and `Sync` without further ado: it holds
/// addresses of functions and nothing else.)
pub struct Nvrtc {
    path: PathBuf,
    version: (i32, i32),
    error_name: unsafe extern "C" fn(Status) -> *const c_char,
    create: unsafe extern "C" fn(
        *mut Program,
        *const c_char,
        *const c_char,
        c_int,
        *const *const c_char,
        *const *const c_char,
    ) -> Status,
    destroy: unsafe extern "C" fn(*mut Program) -> Status,
    compile: unsafe extern "C" fn(Program, c_int, *const *const c_char) -> Status,
    log: Bytes,
    ptx: Bytes,
    cubin: Bytes,
    architectures: Option<Architectures>,
}

/// Two functions that give how many architectures there are, and their numbers. NVRTC has them since CUDA 11.2.
#[derive(Clone, Copy)]
struct Architectures {
    count: unsafe extern "C" fn(*mut c_int) -> Status,
    get: unsafe extern "C" fn(*mut c_int) -> Status,
}

/// Two functions that give a size and then that many bytes.
#[derive(Clone, Copy)]
struct Bytes {
    function: &'static str,
    size: unsafe extern "C" fn(Program, *mut usize) -> Status,
    get: unsafe extern "C" fn(Program, *mut c_char) -> Status,
}

impl fmt::Debug for Nvrtc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nvrtc").field("path", &self.path).field("version", &self.version).finish_non_exhaustive()
    }
}

impl Nvrtc {
    /// Loads the library at a path, or one that the dynamic loader finds by its bare name. It stays loaded until the
    /// process ends.
    ///
    /// # Errors
    ///
    /// It can't be loaded, or lacks NVRTC's functions.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let failed = |reason: String| Error::Load { path: path.to_owned(), reason };
        // SAFETY: loading runs the library's initialisers; NVRTC's have no preconditions. That the file is NVRTC is
        // what the caller says by naming it.
        let library = unsafe { Library::new(path) }.map_err(|error| failed(said(&error)))?;
        let symbols = Symbols { library: &library };
        let load = || -> Result<Self, libloading::Error> {
            // SAFETY: each type is the one that `nvrtc.h` declares for the name. The addresses stay valid, because
            // the library is never unloaded (see `forget` below).
            unsafe {
                let version: unsafe extern "C" fn(*mut c_int, *mut c_int) -> Status = symbols.get(c"nvrtcVersion")?;
                let (mut major, mut minor) = (0, 0);
                version(&raw mut major, &raw mut minor);
                Ok(Self {
                    path: path.to_owned(),
                    version: (major, minor),
                    error_name: symbols.get(c"nvrtcGetErrorString")?,
                    create: symbols.get(c"nvrtcCreateProgram")?,
                    destroy: symbols.get(c"nvrtcDestroyProgram")?,
                    compile: symbols.get(c"nvrtcCompileProgram")?,
                    log: Bytes {
                        function: "nvrtcGetProgramLog",
                        size: symbols.get(c"nvrtcGetProgramLogSize")?,
                        get: symbols.get(c"nvrtcGetProgramLog")?,
                    },
                    ptx: Bytes {
                        function: "nvrtcGetPTX",
                        size: symbols.get(c"nvrtcGetPTXSize")?,
                        get: symbols.get(c"nvrtcGetPTX")?,
                    },
                    cubin: Bytes {
                        function: "nvrtcGetCUBIN",
                        size: symbols.get(c"nvrtcGetCUBINSize")?,
                        get: symbols.get(c"nvrtcGetCUBIN")?,
                    },
                    architectures: symbols
                        .get(c"nvrtcGetNumSupportedArchs")
                        .ok()
                        .zip(symbols.get(c"nvrtcGetSupportedArchs").ok())
                        .map(|(count, get)| Architectures { count, get }),
                })
            }
        };
        let nvrtc = load().map_err(|error| failed(said(&error)))?;
        std::mem::forget(library);
        Ok(nvrtc)
    }

    /// Where it was loaded from: a file, or a bare name that the dynamic loader found.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its version: major, minor.
    #[must_use]
    pub fn version(&self) -> (i32, i32) {
        self.version
    }

    /// The architectures that it makes machine code for, by their numbers (80 for `sm_80`), ascending. An NVRTC before CUDA
    /// 11.2 doesn't say.
    ///
    /// # Errors
    ///
    /// NVRTC fails.
    pub fn architectures(&self) -> Result<Option<Vec<u32>>, Error> {
        let Some(Architectures { count, get }) = self.architectures else { return Ok(None) };
        let mut length = 0;
        // SAFETY: the number may be written.
        self.check("nvrtcGetNumSupportedArchs", unsafe { count(&raw mut length) })?;
        let mut numbers = vec![0; usize::try_from(length).unwrap_or(0)];
        if !numbers.is_empty() {
            // SAFETY: as many numbers may be written as the other function says there are.
            self.check("nvrtcGetSupportedArchs", unsafe { get(numbers.as_mut_ptr()) })?;
        }
        let mut numbers: Vec<u32> = numbers.into_iter().filter_map(|number| u32::try_from(number).ok()).collect();
        numbers.sort_unstable();
        Ok(Some(numbers))
    }

    /// Compiles CUDA C++. `name` is the file name in messages and line information.
    ///
    /// # Errors
    ///
    /// The source doesn't compile, or NVRTC refuses an option.
    pub fn compile(&self, source: &str, name: &str, options: &Options) -> Result<Output, Error> {
        let source = CString::new(source).map_err(|_| Error::ZeroByte("the source"))?;
        let file = CString::new(name).map_err(|_| Error::ZeroByte("the name"))?;
        let arguments = options.arguments();
        let arguments_c = arguments
            .iter()
            .map(|argument| CString::new(argument.as_str()).map_err(|_| Error::ZeroByte("an option")))
            .collect::<Result<Vec<_>, _>>()?;
        let pointers: Vec<*const c_char> = arguments_c.iter().map(|argument| argument.as_ptr()).collect();
        let count = c_int::try_from(pointers.len()).unwrap_or(c_int::MAX);

        let mut program = Open { nvrtc: self, program: ptr::null_mut() };
        // SAFETY: both strings end in zero and outlive the call, which copies them; there are no headers.
        let status = unsafe {
            (self.create)(&raw mut program.program, source.as_ptr(), file.as_ptr(), 0, ptr::null(), ptr::null())
        };
        self.check("nvrtcCreateProgram", status)?;
        // SAFETY: the program is live, and `pointers` holds `count` strings that end in zero and outlive the call.
        let status = unsafe { (self.compile)(program.program, count, pointers.as_ptr()) };
        let log = String::from_utf8_lossy(&program.bytes(self.log)?).trim_end_matches('\0').trim_end().to_owned();
        match status {
            COMPILATION => {
                Err(Error::Source { name: name.to_owned(), architecture: options.architecture.clone(), log })
            }
            INVALID_OPTION => {
                let log = if log.is_empty() { self.name_of(status) } else { log };
                Err(Error::Options { options: arguments, log })
            }
            status => {
                self.check("nvrtcCompileProgram", status)?;
                let ptx = program.bytes(self.ptx).map(|ptx| {
                    let text = String::from_utf8_lossy(&ptx);
                    text.trim_end_matches('\0').to_owned()
                });
                if options.makes_cubin() {
                    let intermediate = ptx.ok().filter(|text| !text.is_empty());
                    Ok(Output { code: Code::Cubin(program.bytes(self.cubin)?), intermediate, log })
                } else {
                    Ok(Output { code: Code::Ptx(ptx?), intermediate: None, log })
                }
            }
        }
    }

    fn check(&self, function: &'static str, status: Status) -> Result<(), Error> {
        if status == 0 { Ok(()) } else { Err(Error::Call { function, name: self.name_of(status) }) }
    }

    fn name_of(&self, status: Status) -> String {
        // SAFETY: any number may be asked for; the answer is a static string that ends in zero.
        let name = unsafe { (self.error_name)(status) };
        if name.is_null() {
            return format!("error {status}");
        }
        // SAFETY: as above, and it isn't null.
        unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned()
    }
}

/// What the loader says about an error: that is in its source, where there is one.
fn said(error: &libloading::Error) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

struct Symbols<'l> {
    library: &'l Library,
}

impl Symbols<'_> {
    /// # Safety
    ///
    /// `T` is the type of the function of this name, and isn't called after the library is unloaded.
    unsafe fn get<T: Copy>(&self, name: &CStr) -> Result<T, libloading::Error> {
        // SAFETY: the caller's promise.
        let symbol: Symbol<'_, T> = unsafe { self.library.get(name.to_bytes_with_nul()) }?;
        Ok(*symbol)
    }
}

/// A program, destroyed at the end of its scope.
struct Open<'n> {
    nvrtc: &'n Nvrtc,
    program: Program,
}

impl Open<'_> {
    fn bytes(&self, of: Bytes) -> Result<Vec<u8>, Error> {
        let mut size = 0;
        // SAFETY: the program is live, and `size` may be written.
        self.nvrtc.check(of.function, unsafe { (of.size)(self.program, &raw mut size) })?;
        let mut bytes = vec![0_u8; size];
        if size > 0 {
            // SAFETY: the program is live, and the function writes as many bytes as its size function said.
            self.nvrtc.check(of.function, unsafe { (of.get)(self.program, bytes.as_mut_ptr().cast()) })?;
        }
        Ok(bytes)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if !self.program.is_null() {
            // SAFETY: the program is live, and nothing uses it afterwards. A failure leaves nothing to be done.
            unsafe { (self.nvrtc.destroy)(&raw mut self.program) };
        }
    }
}
