//! The arguments of C functions as safe types: pointers that are checked for null and written or read once.
//!
//! All reading and writing of the program's memory is in this file and in [`host`](super::host). What it rests on is
//! what the interface demands of a program: a pointer is null, or it points to as much memory of the named type as the
//! function reads or writes. A driver cannot check more.
#![expect(unsafe_code, reason = "a C function is given pointers")]

use std::ffi::{CStr, c_char, c_void};

use super::errors::{Answer, Code};
use super::handles::Handle;

/// A type that an argument of a C function is turned into.
pub trait Argument {
    /// The type in the C function.
    type Raw;

    /// Takes an argument.
    ///
    /// # Safety
    ///
    /// A pointer is null or points to what the C function is documented to take there, until the function returns (or,
    /// for memory of the host in work that is captured, until the work is done).
    unsafe fn from_raw(raw: Self::Raw) -> Self;
}

macro_rules! plain {
    ($($type:ty)*) => {
        $(impl Argument for $type {
            type Raw = Self;

            unsafe fn from_raw(raw: Self) -> Self {
                raw
            }
        })*
    };
}

plain!(i32 u8 u16 u32 u64 usize);

impl<K: Handle> Argument for K {
    type Raw = *mut c_void;

    unsafe fn from_raw(raw: *mut c_void) -> Self {
        K::from_number(raw.addr())
    }
}

/// Where a result is written.
#[derive(Debug, Clone, Copy)]
pub struct Out<T>(*mut T);

impl<T> Argument for Out<T> {
    type Raw = *mut T;

    unsafe fn from_raw(raw: *mut T) -> Self {
        Self(raw)
    }
}

impl<T> Out<T> {
    /// A result that nobody wants.
    #[must_use]
    pub fn none() -> Self {
        Self(std::ptr::null_mut())
    }

    /// Whether the program doesn't want the result.
    #[must_use]
    pub fn is_null(self) -> bool {
        self.0.is_null()
    }

    /// Writes a result that the program must want.
    ///
    /// # Errors
    ///
    /// The pointer is null.
    pub fn set(self, value: T) -> Answer {
        if self.0.is_null() {
            return Err(Code::InvalidValue.because("the pointer to the result is null"));
        }
        self.set_if_wanted(value);
        Ok(())
    }

    /// Writes a result that the program may want.
    pub fn set_if_wanted(self, value: T) {
        self.set_at(0, value);
    }

    /// Writes an element of an array that the program may want and that has more than `index` elements.
    pub fn set_at(self, index: usize, value: T) {
        if !self.0.is_null() {
            // SAFETY: `from_raw` was given a pointer to as many values as the function writes.
            unsafe { self.0.add(index).write(value) }
        }
    }
}

/// Where a handle is written.
#[derive(Debug, Clone, Copy)]
pub struct OutHandle<K> {
    pointer: Out<*mut c_void>,
    kind: std::marker::PhantomData<K>,
}

impl<K> Argument for OutHandle<K> {
    type Raw = *mut *mut c_void;

    unsafe fn from_raw(raw: *mut *mut c_void) -> Self {
        Self { pointer: Out(raw), kind: std::marker::PhantomData }
    }
}

impl<K: Handle> OutHandle<K> {
    /// Fails where [`set`](Self::set) would: before an object is made that nobody could destroy.
    ///
    /// # Errors
    ///
    /// The pointer is null.
    pub fn check(self) -> Answer {
        if self.is_null() {
            return Err(Code::InvalidValue.because(format!("the pointer to the {} is null", K::KIND)));
        }
        Ok(())
    }

    /// Whether the program doesn't want the handle.
    #[must_use]
    pub fn is_null(self) -> bool {
        self.pointer.is_null()
    }

    /// Writes a handle that the program must want; `None` is null.
    ///
    /// # Errors
    ///
    /// The pointer is null.
    pub fn set(self, handle: Option<K>) -> Answer {
        self.pointer.set(handle.map_or(std::ptr::null_mut(), K::pointer))
    }

    /// Writes an element of an array of handles; `None` is null.
    pub fn set_at(self, index: usize, handle: Option<K>) {
        self.pointer.set_at(index, handle.map_or(std::ptr::null_mut(), K::pointer));
    }
}

/// A structure, or an array, that the function reads.
#[derive(Debug, Clone, Copy)]
pub struct In<T>(*const T);

impl<T> Argument for In<T> {
    type Raw = *const T;

    unsafe fn from_raw(raw: *const T) -> Self {
        Self(raw)
    }
}

impl<T: Copy> In<T> {
    /// Reads an element of the array.
    ///
    /// # Errors
    ///
    /// The pointer is null.
    pub fn at(self, index: usize) -> Answer<T> {
        if self.0.is_null() {
            return Err(Code::InvalidValue.because("a pointer to what the function reads is null"));
        }
        // SAFETY: `from_raw` was given a pointer to as many values as the function reads.
        Ok(unsafe { self.0.add(index).read() })
    }

    /// Whether nothing is there.
    #[must_use]
    pub fn is_null(self) -> bool {
        self.0.is_null()
    }
}

/// A value that the function reads and replaces.
#[derive(Debug, Clone, Copy)]
pub struct InOut<T>(*mut T);

impl<T> Argument for InOut<T> {
    type Raw = *mut T;

    unsafe fn from_raw(raw: *mut T) -> Self {
        Self(raw)
    }
}

impl<T: Copy> InOut<T> {
    /// Reads the value.
    ///
    /// # Errors
    ///
    /// The pointer is null.
    pub fn read(self) -> Answer<T> {
        In(self.0.cast_const()).at(0)
    }

    /// Replaces the value that was read.
    pub fn write(self, value: T) {
        Out(self.0).set_if_wanted(value);
    }
}

/// A string that ends with a NUL.
#[derive(Debug, Clone, Copy)]
pub struct Text(*const c_char);

impl Argument for Text {
    type Raw = *const c_char;

    unsafe fn from_raw(raw: *const c_char) -> Self {
        Self(raw)
    }
}

impl Text {
    /// The string.
    ///
    /// # Errors
    ///
    /// The pointer is null, or the string is no UTF-8, which no name has to be.
    pub fn read(&self) -> Answer<&str> {
        if self.0.is_null() {
            return Err(Code::InvalidValue.because("the pointer to a name is null"));
        }
        // SAFETY: `from_raw` was given a pointer to a string with a NUL at its end, which lives until the call returns.
        let text = unsafe { CStr::from_ptr(self.0) };
        text.to_str().map_err(|_| Code::InvalidValue.because("a name is no UTF-8"))
    }
}

/// A buffer of characters, which a string is written into.
#[derive(Debug, Clone, Copy)]
pub struct Buffer(*mut c_char);

impl Argument for Buffer {
    type Raw = *mut c_char;

    unsafe fn from_raw(raw: *mut c_char) -> Self {
        Self(raw)
    }
}

impl Buffer {
    /// The buffer that begins at an address which the program gave as a number.
    #[must_use]
    pub fn at(address: usize) -> Self {
        Self(std::ptr::with_exposed_provenance_mut(address))
    }

    /// Writes as much of a string as fits, and a NUL, and gives the bytes used with it. The buffer has `size` bytes.
    pub fn write(self, text: &str, size: usize) -> usize {
        let Some(room) = size.checked_sub(1) else { return 0 };
        if self.0.is_null() {
            return 0;
        }
        let end = cut(text, room);
        let bytes = text.as_bytes().iter().take(end).copied().chain([0]);
        for (index, byte) in bytes.enumerate() {
            // SAFETY: `from_raw` was given a pointer to `size` bytes, and `index` is at most `size - 1`.
            unsafe { self.0.cast::<u8>().add(index).write(byte) }
        }
        end + 1
    }
}

/// The length of the longest beginning of a string that has at most `limit` bytes and ends between two characters.
fn cut(text: &str, limit: usize) -> usize {
    (0..=limit.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0)
}

/// Data of a module: PTX that ends with a NUL, or a binary.
#[derive(Debug, Clone, Copy)]
pub struct Image(*const c_void);

impl Argument for Image {
    type Raw = *const c_void;

    unsafe fn from_raw(raw: *const c_void) -> Self {
        Self(raw)
    }
}

impl Image {
    /// The first bytes of binaries: an ELF file, a fat binary, and the structure that points to one.
    const BINARIES: [[u8; 4]; 3] = [*b"\x7fELF", [0x50, 0xed, 0x55, 0xba], [0xb1, 0x43, 0x62, 0x46]];

    /// The text in the bytes of a file, or nothing if they are a binary.
    #[must_use]
    pub fn text_of(bytes: &[u8]) -> Option<&[u8]> {
        if Self::BINARIES.iter().any(|start| bytes.starts_with(start)) {
            return None;
        }
        bytes.split(|byte| *byte == 0).next()
    }

    /// The text, or nothing if the data is a binary.
    ///
    /// # Errors
    ///
    /// The pointer is null.
    pub fn text(&self) -> Answer<Option<&[u8]>> {
        if self.0.is_null() {
            return Err(Code::InvalidValue.because("the pointer to the module's data is null"));
        }
        let bytes = self.0.cast::<u8>();
        // A text may be shorter than four bytes: reading stops where the bytes differ from those of every binary.
        let mut candidates = Self::BINARIES.to_vec();
        for index in 0..4 {
            // SAFETY: `from_raw` was given a pointer to a binary of more than four bytes or to a text. All bytes before
            // this one are those of a binary's beginning, so they aren't the NUL that ends a text.
            let byte = unsafe { bytes.add(index).read() };
            candidates.retain(|candidate| candidate.get(index) == Some(&byte));
            if candidates.is_empty() {
                // SAFETY: it is no binary, so it is a text with a NUL at its end, which lives until the call returns.
                let text = unsafe { CStr::from_ptr(bytes.cast()) };
                return Ok(Some(text.to_bytes()));
            }
        }
        Ok(None)
    }
}

/// An array of pointers to the values of parameters, or of option values.
#[derive(Debug, Clone, Copy)]
pub struct Pointers(*mut *mut c_void);

impl Argument for Pointers {
    type Raw = *mut *mut c_void;

    unsafe fn from_raw(raw: *mut *mut c_void) -> Self {
        Self(raw)
    }
}

impl Pointers {
    /// No array.
    #[must_use]
    pub fn none() -> Self {
        Self(std::ptr::null_mut())
    }

    /// Whether there is no array.
    #[must_use]
    pub fn is_null(self) -> bool {
        self.0.is_null()
    }

    /// An element of the array; the array isn't null and has more than `index` elements.
    ///
    /// # Errors
    ///
    /// The array is null.
    pub fn at(self, index: usize) -> Answer<usize> {
        if self.0.is_null() {
            return Err(Code::InvalidValue.because("an array of pointers is null"));
        }
        // SAFETY: `from_raw` was given a pointer to as many pointers as the function reads.
        Ok(unsafe { self.0.add(index).read() }.expose_provenance())
    }

    /// Replaces an element of an array that isn't null.
    pub fn set_number(self, index: usize, value: usize) {
        if !self.0.is_null() {
            // SAFETY: `from_raw` was given a pointer to as many pointers as the function writes.
            unsafe { self.0.add(index).write(std::ptr::without_provenance_mut(value)) }
        }
    }
}

/// A pointer whose target's type another argument names.
#[derive(Debug, Clone, Copy)]
pub struct Untyped(*mut c_void);

impl Argument for Untyped {
    type Raw = *mut c_void;

    unsafe fn from_raw(raw: *mut c_void) -> Self {
        Self(raw)
    }
}

impl Untyped {
    /// A pointer that the program gave as a number.
    #[must_use]
    pub fn at(address: usize) -> Self {
        Self(std::ptr::with_exposed_provenance_mut(address))
    }

    /// Where a value of a type goes.
    #[must_use]
    pub fn out<T>(self) -> Out<T> {
        Out(self.0.cast())
    }

    /// Where a value of a type is read.
    #[must_use]
    pub fn value<T>(self) -> In<T> {
        In(self.0.cast_const().cast())
    }
}
