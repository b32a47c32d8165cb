//! Stream capture: work that is written down as nodes of a graph instead of being done.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::arguments::{Out, OutHandle};
use super::context;
use super::errors::{Answer, Code};
use super::event::Recorded;
use super::graph::{Graph, Node};
use super::handles::{ContextHandle, GraphHandle, StreamHandle};
use super::state::{Device, State};
use super::stream::{StreamKey, thread_number};
use super::work::Work;

/// What a capture forbids besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Calls that may synchronise, in every thread.
    Global,
    /// Calls that may synchronise, in the thread that began it.
    ThreadLocal,
    /// Nothing.
    Relaxed,
}

impl Mode {
    fn from_number(number: u32) -> Answer<Self> {
        match number {
            0 => Ok(Self::Global),
            1 => Ok(Self::ThreadLocal),
            2 => Ok(Self::Relaxed),
            other => Err(Code::InvalidValue.because(format!("there is no capture mode {other}"))),
        }
    }

    fn number(self) -> u32 {
        match self {
            Self::Global => 0,
            Self::ThreadLocal => 1,
            Self::Relaxed => 2,
        }
    }
}

/// A stream's part in a capture, and what an event in it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The capture.
    pub capture: u64,
    /// The nodes that the next one comes after.
    pub after: Vec<usize>,
}

/// A capture.
#[derive(Debug)]
struct Capture {
    context: ContextHandle,
    origin: StreamKey,
    mode: Mode,
    thread: u64,
    nodes: Vec<Node>,
    invalid: bool,
}

/// Captures under way, by a number that none had before.
#[derive(Debug, Default)]
pub struct Captures {
    active: BTreeMap<u64, Capture>,
    begun: u64,
}

impl Captures {
    /// Makes a capture invalid: what follows in its streams fails, as does its end.
    pub fn invalidate(&mut self, capture: u64) {
        if let Some(capture) = self.active.get_mut(&capture) {
            capture.invalid = true;
        }
    }

    /// Gives up the captures of a context.
    pub fn drop_context(&mut self, context: ContextHandle) {
        self.active.retain(|_, capture| capture.context != context);
    }
}

thread_local! {
    /// What a thread lets captures forbid it, as the number of a mode.
    static THREAD_MODE: Cell<Mode> = const { Cell::new(Mode::Global) };
}

fn invalidated() -> super::errors::Failure {
    Code::StreamCaptureInvalidated.because("an earlier call made the capture invalid")
}

/// A stream's part in a capture that is valid, if it is captured.
///
/// # Errors
///
/// The capture is invalid, or the stream doesn't exist.
pub fn member(state: &State, key: StreamKey) -> Answer<Option<Member>> {
    let Some(member) = &state.streams.get(key)?.member else { return Ok(None) };
    match state.captures.active.get(&member.capture) {
        Some(capture) if !capture.invalid => Ok(Some(member.clone())),
        Some(_) => Err(invalidated()),
        None => Ok(None),
    }
}

/// Writes work down in a stream's capture. Gives the work back where there is none.
///
/// # Errors
///
/// The capture is invalid, or the stream doesn't exist.
pub fn add(state: &mut State, key: StreamKey, work: Work) -> Answer<Option<Work>> {
    let Some(member) = member(state, key)? else { return Ok(Some(work)) };
    let Some(capture) = state.captures.active.get_mut(&member.capture) else { return Ok(Some(work)) };
    let place = capture.nodes.len();
    capture.nodes.push(Node { work: Arc::new(work), after: member.after });
    state.streams.get_mut(key)?.member = Some(Member { capture: member.capture, after: vec![place] });
    Ok(None)
}

/// Refuses use of the legacy default stream where it would wait for a stream that is captured.
///
/// # Errors
///
/// It would; the capture is invalid from then on.
pub fn touch_legacy(state: &mut State, key: StreamKey, context: ContextHandle) -> Answer {
    if matches!(key, StreamKey::Legacy(_))
        && let Some(capture) = state.streams.capture_of_blocking(context)
    {
        state.captures.invalidate(capture);
        let message = "the legacy default stream is used while a stream that it waits for is captured";
        return Err(Code::StreamCaptureImplicit.because(message));
    }
    Ok(())
}

/// Makes a stream wait for nodes of a capture, which takes the stream into it.
///
/// # Errors
///
/// The stream can't be captured or is in another capture; all of them are invalid from then on.
pub fn join(state: &mut State, key: StreamKey, context: ContextHandle, after: &Member) -> Answer {
    match state.captures.active.get(&after.capture) {
        None => return touch_legacy(state, key, context),
        Some(capture) if capture.invalid => return Err(invalidated()),
        Some(capture) if capture.context != context => {
            state.captures.invalidate(after.capture);
            return Err(Code::StreamCaptureIsolation.because("a stream of another context waits for captured work"));
        }
        Some(_) => {}
    }
    if matches!(key, StreamKey::Legacy(_)) {
        state.captures.invalidate(after.capture);
        let message = "the legacy default stream waits for captured work, and can't be captured";
        return Err(Code::StreamCaptureImplicit.because(message));
    }
    let member = member(state, key)?;
    if let Some(member) = &member
        && member.capture != after.capture
    {
        state.captures.invalidate(member.capture);
        state.captures.invalidate(after.capture);
        return Err(Code::StreamCaptureMerge.because("a stream in one capture waits for work in another"));
    }
    let mut joined = member.unwrap_or_else(|| Member { capture: after.capture, after: Vec::new() });
    joined.after.extend(after.after.iter().filter(|node| !joined.after.contains(node)).copied().collect::<Vec<_>>());
    state.streams.get_mut(key)?.member = Some(joined);
    Ok(())
}

/// Refuses to wait for a stream that is captured.
///
/// # Errors
///
/// It is, or it waits for one that is; the capture is invalid from then on.
pub fn refuse_waiting(state: &mut State, key: StreamKey, context: ContextHandle) -> Answer {
    if let Some(member) = member(state, key)? {
        state.captures.invalidate(member.capture);
        return Err(Code::StreamCaptureUnsupported.because("a capturing stream is waited for"));
    }
    touch_legacy(state, key, context)
}

/// Refuses to wait for all of a context where one of its streams is captured.
///
/// # Errors
///
/// One is; its capture is invalid from then on.
pub fn refuse_synchronisation(state: &mut State, context: ContextHandle, message: &str) -> Answer {
    let captures = state.captures.active.values_mut().filter(|capture| capture.context == context);
    let mut any = false;
    for capture in captures {
        capture.invalid = true;
        any = true;
    }
    if any { Err(Code::StreamCaptureUnsupported.because(message)) } else { Ok(()) }
}

/// Refuses a call that may synchronise (allocation, freeing) where a capture forbids it.
///
/// # Errors
///
/// One does; it is invalid from then on.
pub fn refuse_unsafe(state: &mut State) -> Answer {
    let thread = thread_number();
    let lets = THREAD_MODE.try_with(Cell::get).unwrap_or(Mode::Global);
    let mut any = false;
    for capture in state.captures.active.values_mut() {
        let own = capture.thread == thread && capture.mode != Mode::Relaxed;
        let forbids = match lets {
            Mode::Global => own || capture.mode == Mode::Global,
            Mode::ThreadLocal => own,
            Mode::Relaxed => false,
        };
        if forbids {
            capture.invalid = true;
            any = true;
        }
    }
    if any {
        let message = "the call may synchronise, which a capture in this mode forbids";
        return Err(Code::StreamCaptureUnsupported.because(message));
    }
    Ok(())
}

/// A stream goes: the capture that began in it is given up, one that it joined becomes invalid.
pub fn leave(state: &mut State, key: StreamKey) {
    let Ok(stream) = state.streams.get_mut(key) else { return };
    let Some(member) = stream.member.take() else { return };
    match state.captures.active.get(&member.capture) {
        Some(capture) if capture.origin == key => {
            finish(state, member.capture);
        }
        Some(_) => state.captures.invalidate(member.capture),
        None => {}
    }
}

/// Takes a capture out, with its streams and events.
fn finish(state: &mut State, number: u64) -> Option<Capture> {
    for stream in state.streams.iter_mut() {
        if stream.member.as_ref().is_some_and(|member| member.capture == number) {
            stream.member = None;
        }
    }
    for (_, event) in state.events.iter_mut() {
        if matches!(&event.recorded, Recorded::Captured(member) if member.capture == number) {
            event.recorded = Recorded::Never;
        }
    }
    state.captures.active.remove(&number)
}

/// `cuStreamBeginCapture_v2`
pub fn begin(device: &Device, stream: StreamHandle, mode: u32) -> Answer {
    let mode = Mode::from_number(mode)?;
    let mut state = device.state();
    let key = state.stream(stream)?;
    let context = context::of_stream(&state, key)?;
    if matches!(key, StreamKey::Legacy(_)) {
        return Err(Code::StreamCaptureUnsupported.because("the legacy default stream can't be captured"));
    }
    if state.streams.get(key)?.member.is_some() {
        return Err(Code::IllegalState.because("the stream is being captured already"));
    }
    let captures = &mut state.captures;
    captures.begun += 1;
    let number = captures.begun;
    let thread = thread_number();
    captures.active.insert(number, Capture { context, origin: key, mode, thread, nodes: Vec::new(), invalid: false });
    state.streams.get_mut(key)?.member = Some(Member { capture: number, after: Vec::new() });
    Ok(())
}

/// `cuStreamEndCapture`: the graph, or null where the capture was invalid.
pub fn end(device: &Device, stream: StreamHandle, graph: OutHandle<GraphHandle>) -> Answer {
    graph.check()?;
    graph.set(None)?;
    let mut state = device.state();
    let key = state.stream(stream)?;
    let Some(Member { capture: number, after }) = state.streams.get(key)?.member.clone() else {
        return Err(Code::IllegalState.because("the stream isn't being captured"));
    };
    if let Some(capture) = state.captures.active.get_mut(&number) {
        if capture.mode != Mode::Relaxed && capture.thread != thread_number() {
            return Err(Code::StreamCaptureWrongThread.because("another thread began the capture"));
        }
        if capture.origin != key {
            capture.invalid = true;
            return Err(Code::StreamCaptureUnmatched.because("the capture began in another stream"));
        }
    }
    let Some(capture) = finish(&mut state, number) else { return Err(invalidated()) };
    if capture.invalid {
        return Err(invalidated());
    }
    // What the origin's last nodes come after, in turn.
    let mut joined = vec![false; capture.nodes.len()];
    let mut open = after;
    while let Some(place) = open.pop() {
        if !std::mem::replace(&mut joined[place], true) {
            open.extend(&capture.nodes[place].after);
        }
    }
    if joined.contains(&false) {
        let message = "work in another stream was captured that the first stream doesn't wait for";
        return Err(Code::StreamCaptureUnjoined.because(message));
    }
    let handle = Graph::add(&mut state, capture.nodes);
    graph.set(Some(handle))
}

/// The numbers of the states that a stream can be in.
fn status(state: &State, key: StreamKey, context: ContextHandle) -> Answer<(u32, u64)> {
    if matches!(key, StreamKey::Legacy(_)) && state.streams.capture_of_blocking(context).is_some() {
        let message = "the legacy default stream is asked about while a stream that it waits for is captured";
        return Err(Code::StreamCaptureImplicit.because(message));
    }
    let Some(member) = &state.streams.get(key)?.member else { return Ok((0, 0)) };
    let invalid = state.captures.active.get(&member.capture).is_none_or(|capture| capture.invalid);
    Ok((if invalid { 2 } else { 1 }, member.capture))
}

/// `cuStreamIsCapturing`
pub fn is_capturing(device: &Device, stream: StreamHandle, capturing: Out<u32>) -> Answer {
    info(device, stream, capturing, Out::none())
}

/// `cuStreamGetCaptureInfo`
pub fn info(device: &Device, stream: StreamHandle, capturing: Out<u32>, id: Out<u64>) -> Answer {
    let mut state = device.state();
    let key = state.stream(stream)?;
    let context = context::of_stream(&state, key)?;
    let (status, number) = status(&state, key, context)?;
    capturing.set(status)?;
    if status == 1 {
        id.set_if_wanted(number);
    }
    Ok(())
}

/// `cuStreamGetCaptureInfo_v2`: a graph isn't to be had before the capture's end.
pub fn info_v2(
    device: &Device,
    stream: StreamHandle,
    capturing: Out<u32>,
    id: Out<u64>,
    graph: OutHandle<GraphHandle>,
    nodes: Out<usize>,
    count: Out<usize>,
) -> Answer {
    if !graph.is_null() || !nodes.is_null() || !count.is_null() {
        return Err(Code::NotSupported.because("the graph of a capture can't be had before its end"));
    }
    info(device, stream, capturing, id)
}

/// `cuStreamGetCaptureInfo_v3`: as the second, with data of edges.
#[expect(clippy::too_many_arguments, reason = "the interface has so many")]
pub fn info_v3(
    device: &Device,
    stream: StreamHandle,
    capturing: Out<u32>,
    id: Out<u64>,
    graph: OutHandle<GraphHandle>,
    nodes: Out<usize>,
    edges: Out<usize>,
    count: Out<usize>,
) -> Answer {
    if !edges.is_null() {
        return Err(Code::NotSupported.because("the graph of a capture can't be had before its end"));
    }
    info_v2(device, stream, capturing, id, graph, nodes, count)
}

/// `cuThreadExchangeStreamCaptureMode`
pub fn exchange_mode(_: &Device, mode: super::arguments::InOut<u32>) -> Answer {
    let new = Mode::from_number(mode.read()?)?;
    let old = THREAD_MODE.try_with(|cell| cell.replace(new)).unwrap_or(Mode::Global);
    mode.write(old.number());
    Ok(())
}
