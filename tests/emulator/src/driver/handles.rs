//! Handles: numbers in tables, which look like pointers to the program and are never followed.
//!
//! A number is given once, over all kinds of objects. So a handle that was destroyed, that belongs to another kind, or
//! that never was one is found in no table.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};

use super::errors::{Code, Failure};

/// A kind of handle.
pub trait Handle: Copy + Ord {
    /// What the objects are called in messages.
    const KIND: &'static str;
    /// The code for a handle that no object has.
    const INVALID: Code;

    /// The handle with a number.
    fn from_number(number: usize) -> Self;

    /// Its number.
    fn number(self) -> usize;

    /// As the program sees it.
    fn pointer(self) -> *mut c_void {
        std::ptr::without_provenance_mut(self.number())
    }

    /// The failure of a call with this handle where no object has it.
    fn invalid(self) -> Failure {
        Self::INVALID.because(format!("{:#x} is no {}, or one that was destroyed", self.number(), Self::KIND))
    }
}

macro_rules! handles {
    ($($(#[$doc:meta])* $name:ident, $kind:literal, $invalid:ident;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
            pub struct $name(usize);

            impl Handle for $name {
                const KIND: &'static str = $kind;
                const INVALID: Code = Code::$invalid;

                fn from_number(number: usize) -> Self {
                    Self(number)
                }

                fn number(self) -> usize {
                    self.0
                }
            }
        )*
    };
}

handles! {
    /// A `CUcontext`.
    ContextHandle, "context", InvalidContext;
    /// A `CUmodule`.
    ModuleHandle, "module", InvalidHandle;
    /// A `CUfunction`.
    FunctionHandle, "function", InvalidHandle;
    /// A `CUstream`: of a stream that was created, or 0, 1, 2 for the default ones.
    StreamHandle, "stream", InvalidHandle;
    /// A `CUevent`.
    EventHandle, "event", InvalidHandle;
    /// A `CUmemoryPool`.
    PoolHandle, "memory pool", InvalidValue;
    /// A `CUgraph`. The graph functions know no other code for a bad handle than the one for a bad value.
    GraphHandle, "graph", InvalidValue;
    /// A `CUgraphNode`.
    NodeHandle, "node of a graph", InvalidValue;
    /// A `CUgraphExec`.
    ExecutableHandle, "executable graph", InvalidValue;
}

/// The first number; the handles 0, 1 and 2 have meanings of their own.
const FIRST: u64 = 0x1000;
/// Numbers are so far apart, as addresses of objects would be.
const STEP: u64 = 16;

/// A handle that no object had before.
pub fn new<K: Handle>() -> K {
    static NEXT: AtomicU64 = AtomicU64::new(FIRST);
    // On a 32-bit host numbers would come round after 2^28 objects.
    K::from_number(NEXT.fetch_add(STEP, Ordering::Relaxed) as usize)
}

/// Objects by handle.
#[derive(Debug)]
pub struct Table<K, T> {
    objects: BTreeMap<K, T>,
}

impl<K, T> Default for Table<K, T> {
    fn default() -> Self {
        Self { objects: BTreeMap::new() }
    }
}

impl<K: Handle, T> Table<K, T> {
    /// Adds an object under a new handle.
    pub fn add(&mut self, object: T) -> K {
        let handle = new();
        self.objects.insert(handle, object);
        handle
    }

    /// Adds an object under a handle that [`new`] gave.
    pub fn insert(&mut self, handle: K, object: T) {
        self.objects.insert(handle, object);
    }

    /// The object with a handle.
    ///
    /// # Errors
    ///
    /// There is none: the kind's own code.
    pub fn get(&self, handle: K) -> Result<&T, Failure> {
        self.objects.get(&handle).ok_or_else(|| handle.invalid())
    }

    /// The object with a handle, to be changed.
    ///
    /// # Errors
    ///
    /// There is none: the kind's own code.
    pub fn get_mut(&mut self, handle: K) -> Result<&mut T, Failure> {
        self.objects.get_mut(&handle).ok_or_else(|| handle.invalid())
    }

    /// Takes the object with a handle out.
    ///
    /// # Errors
    ///
    /// There is none: the kind's own code.
    pub fn remove(&mut self, handle: K) -> Result<T, Failure> {
        self.objects.remove(&handle).ok_or_else(|| handle.invalid())
    }

    /// Keeps the objects that a function wants kept, and gives the others.
    pub fn take_unless(&mut self, keep: impl Fn(K, &T) -> bool) -> Vec<T> {
        let all = std::mem::take(&mut self.objects);
        let (kept, others) = all.into_iter().partition(|(handle, object)| keep(*handle, object));
        self.objects = kept;
        let others: BTreeMap<K, T> = others;
        others.into_values().collect()
    }

    /// All objects.
    pub fn iter(&self) -> impl Iterator<Item = (K, &T)> {
        self.objects.iter().map(|(handle, object)| (*handle, object))
    }

    /// All objects, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (K, &mut T)> {
        self.objects.iter_mut().map(|(handle, object)| (*handle, object))
    }
}
