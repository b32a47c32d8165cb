//! Streams. Work is done when it is enqueued, in the order of the calls, which satisfies every order that streams and
//! events can ask for; what is left of a stream is its flags, and whether it is being captured.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use super::arguments::{Out, OutHandle};
use super::capture::{self, Member};
use super::context;
use super::errors::{Answer, Code};
use super::handles::{self, ContextHandle, Handle, StreamHandle};
use super::host::HostFunction;
use super::state::{Device, State};
use super::work::{self, Work};

/// Priorities, greatest and least.
pub const PRIORITIES: (i32, i32) = (-5, 0);
/// `CU_STREAM_NON_BLOCKING`: no implicit order with the legacy default stream.
const NON_BLOCKING: u32 = 1;
/// The handles of the legacy default stream and of the thread's own one; 0 is the legacy one too.
const LEGACY: usize = 1;
const PER_THREAD: usize = 2;

/// Which stream a handle means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StreamKey {
    /// The legacy default stream of a context.
    Legacy(ContextHandle),
    /// The default stream that a thread has in a context.
    PerThread(ContextHandle, u64),
    /// One that the program made.
    Created(StreamHandle),
}

/// A stream.
#[derive(Debug)]
pub struct Stream {
    /// The context that it belongs to.
    pub context: ContextHandle,
    /// Whether it and the legacy default stream wait for each other.
    pub blocking: bool,
    /// Its part in a capture.
    pub member: Option<Member>,
    priority: i32,
    id: u64,
}

/// All streams.
#[derive(Debug, Default)]
pub struct Streams {
    streams: BTreeMap<StreamKey, Stream>,
}

impl Streams {
    /// A stream.
    ///
    /// # Errors
    ///
    /// It doesn't exist.
    pub fn get(&self, key: StreamKey) -> Answer<&Stream> {
        self.streams.get(&key).ok_or_else(|| Code::InvalidHandle.because("the stream was destroyed"))
    }

    /// A stream, to be changed.
    ///
    /// # Errors
    ///
    /// It doesn't exist.
    pub fn get_mut(&mut self, key: StreamKey) -> Answer<&mut Stream> {
        self.streams.get_mut(&key).ok_or_else(|| Code::InvalidHandle.because("the stream was destroyed"))
    }

    /// All streams, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.streams.values_mut()
    }

    /// Whether streams of a context are captured that the legacy default stream would wait for.
    pub fn capture_of_blocking(&self, context: ContextHandle) -> Option<u64> {
        let mut streams = self.streams.values().filter(|stream| stream.context == context && stream.blocking);
        streams.find_map(|stream| stream.member.as_ref().map(|member| member.capture))
    }

    /// Removes the streams of a context.
    pub fn drop_context(&mut self, context: ContextHandle) {
        self.streams.retain(|_, stream| stream.context != context);
    }

    fn ensure(&mut self, key: StreamKey, context: ContextHandle) {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        self.streams.entry(key).or_insert_with(|| Stream {
            context,
            blocking: true,
            member: None,
            priority: 0,
            id: NEXT.fetch_add(1, Ordering::Relaxed),
        });
    }
}

impl State {
    /// The stream that a handle means in this thread.
    ///
    /// # Errors
    ///
    /// There is none, or for a default one, no context is current.
    pub fn stream(&mut self, handle: StreamHandle) -> Answer<StreamKey> {
        let key = match handle.number() {
            0 | LEGACY => StreamKey::Legacy(self.current()?),
            PER_THREAD => StreamKey::PerThread(self.current()?, thread_number()),
            _ => StreamKey::Created(handle),
        };
        match key {
            StreamKey::Legacy(context) | StreamKey::PerThread(context, _) => self.streams.ensure(key, context),
            StreamKey::Created(_) => {
                self.streams.get(key).map_err(|_| handle.invalid())?;
            }
        }
        Ok(key)
    }
}

/// The number of this thread, which no other had.
#[must_use]
pub fn thread_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local! {
        static NUMBER: Cell<u64> = const { Cell::new(0) };
    }
    NUMBER
        .try_with(|number| {
            if number.get() == 0 {
                number.set(NEXT.fetch_add(1, Ordering::Relaxed));
            }
            number.get()
        })
        // A thread that is ending.
        .unwrap_or(0)
}

/// `cuStreamCreate`
pub fn create(device: &Device, stream: OutHandle<StreamHandle>, flags: u32) -> Answer {
    create_with_priority(device, stream, flags, 0)
}

/// `cuStreamCreateWithPriority`: a priority out of range is the nearest in it.
pub fn create_with_priority(device: &Device, stream: OutHandle<StreamHandle>, flags: u32, priority: i32) -> Answer {
    if flags & !NON_BLOCKING != 0 {
        return Err(Code::InvalidValue.because(format!("flags {flags:#x} of a stream")));
    }
    stream.check()?;
    let mut state = device.state();
    let context = state.current()?;
    let handle = handles::new();
    let key = StreamKey::Created(handle);
    state.streams.ensure(key, context);
    let object = state.streams.get_mut(key)?;
    object.blocking = flags & NON_BLOCKING == 0;
    object.priority = priority.clamp(PRIORITIES.0, PRIORITIES.1);
    stream.set(Some(handle))
}

/// `cuStreamDestroy_v2`. A capture that began in it is given up; one that it joined is invalid.
pub fn destroy(device: &Device, stream: StreamHandle) -> Answer {
    let mut state = device.state();
    let key = state.stream(stream)?;
    match key {
        StreamKey::Legacy(_) | StreamKey::PerThread(..) => {
            return Err(Code::InvalidHandle.because("a default stream can't be destroyed"));
        }
        StreamKey::Created(_) => {}
    }
    capture::leave(&mut state, key);
    state.streams.streams.remove(&key);
    Ok(())
}

/// `cuStreamSynchronize`. There is nothing to wait for, except where a capture forbids waiting.
pub fn synchronize(device: &Device, stream: StreamHandle) -> Answer {
    let mut state = device.state();
    let key = state.stream(stream)?;
    let context = context::of_stream(&state, key)?;
    capture::refuse_waiting(&mut state, key, context)
}

/// `cuStreamAddCallback`, `cuLaunchHostFunc` and their like: the function is called at once, in this thread.
pub fn launch_host_function(device: &Device, stream: StreamHandle, function: HostFunction, data: HostData) -> Answer {
    function.check()?;
    work::enqueue(device, stream, Work::Host(function, data.0))
}

/// What a function of the host is called with.
#[derive(Debug, Clone, Copy)]
pub struct HostData(usize);

#[expect(unsafe_code, reason = "the trait has a contract about pointers; this one isn't followed")]
impl super::arguments::Argument for HostData {
    type Raw = *mut std::ffi::c_void;

    unsafe fn from_raw(raw: Self::Raw) -> Self {
        Self(raw.expose_provenance())
    }
}

/// `cuStreamGetPriority`
pub fn get_priority(device: &Device, stream: StreamHandle, priority: Out<i32>) -> Answer {
    let mut state = device.state();
    let key = state.stream(stream)?;
    priority.set(state.streams.get(key)?.priority)
}

/// `cuStreamGetFlags`
pub fn get_flags(device: &Device, stream: StreamHandle, flags: Out<u32>) -> Answer {
    let mut state = device.state();
    let key = state.stream(stream)?;
    flags.set(if state.streams.get(key)?.blocking { 0 } else { NON_BLOCKING })
}

/// `cuStreamGetId`
pub fn get_id(device: &Device, stream: StreamHandle, id: Out<u64>) -> Answer {
    let mut state = device.state();
    let key = state.stream(stream)?;
    id.set(state.streams.get(key)?.id)
}

/// `cuStreamGetCtx`
pub fn get_context(device: &Device, stream: StreamHandle, context: OutHandle<ContextHandle>) -> Answer {
    let mut state = device.state();
    let key = state.stream(stream)?;
    context.set(Some(state.streams.get(key)?.context))
}

/// `cuStreamGetDevice`
pub fn get_device(device: &Device, stream: StreamHandle, ordinal: Out<i32>) -> Answer {
    device.state().stream(stream)?;
    ordinal.set(0)
}
