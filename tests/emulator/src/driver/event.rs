//! Events. Work is done when it is enqueued, so an event is complete as soon as it is recorded; in a capture, it stands
//! for the work that was captured before it.

use std::time::Instant;

use super::arguments::{Out, OutHandle};
use super::capture::{self, Member};
use super::context;
use super::errors::{Answer, Code};
use super::handles::{ContextHandle, EventHandle, StreamHandle};
use super::state::Device;

/// `CU_EVENT_DISABLE_TIMING`
const NO_TIMING: u32 = 2;
/// All flags but the one for other processes: blocking waits, no timing.
const FLAGS: u32 = 3;

/// An event.
#[derive(Debug)]
pub struct Event {
    /// The context that it belongs to.
    pub context: ContextHandle,
    /// What it was last recorded in, and when.
    pub recorded: Recorded,
    timing: bool,
}

/// The last record of an event.
#[derive(Debug, Clone)]
pub enum Recorded {
    /// None.
    Never,
    /// In a stream, at a time.
    At(Instant),
    /// In a capture, after some of its nodes.
    Captured(Member),
}

/// `cuEventCreate`
pub fn create(device: &Device, event: OutHandle<EventHandle>, flags: u32) -> Answer {
    if flags & !FLAGS != 0 {
        return Err(
            Code::InvalidValue.because(format!("flags {flags:#x} of an event (other processes can't share it)"))
        );
    }
    event.check()?;
    let mut state = device.state();
    let context = state.current()?;
    let timing = flags & NO_TIMING == 0;
    event.set(Some(state.events.add(Event { context, recorded: Recorded::Never, timing })))
}

/// `cuEventDestroy_v2`
pub fn destroy(device: &Device, event: EventHandle) -> Answer {
    device.state().events.remove(event)?;
    Ok(())
}

/// `cuEventRecord`
pub fn record(device: &Device, event: EventHandle, stream: StreamHandle) -> Answer {
    let mut state = device.state();
    let key = state.stream(stream)?;
    let context = context::of_stream(&state, key)?;
    if state.events.get(event)?.context != context {
        return Err(Code::InvalidHandle.because("the event and the stream belong to two contexts"));
    }
    let recorded = match capture::member(&state, key)? {
        Some(member) => Recorded::Captured(member),
        None => {
            capture::touch_legacy(&mut state, key, context)?;
            Recorded::At(Instant::now())
        }
    };
    state.events.get_mut(event)?.recorded = recorded;
    Ok(())
}

/// `cuEventRecordWithFlags`: with none. An event that a graph records as a node of its own isn't supported.
pub fn record_with_flags(device: &Device, event: EventHandle, stream: StreamHandle, flags: u32) -> Answer {
    check_external(flags)?;
    record(device, event, stream)
}

/// `cuStreamWaitEvent`. In a capture it makes an order between nodes, and takes streams into the capture.
pub fn wait(device: &Device, stream: StreamHandle, event: EventHandle, flags: u32) -> Answer {
    check_external(flags)?;
    let mut state = device.state();
    let key = state.stream(stream)?;
    let context = context::of_stream(&state, key)?;
    match state.events.get(event)?.recorded.clone() {
        Recorded::Captured(after) => capture::join(&mut state, key, context, &after),
        Recorded::Never => capture::touch_legacy(&mut state, key, context),
        Recorded::At(_) => {
            if let Some(member) = capture::member(&state, key)? {
                state.captures.invalidate(member.capture);
                let message = "a capturing stream waits for an event that was recorded outside the capture";
                return Err(Code::StreamCaptureIsolation.because(message));
            }
            capture::touch_legacy(&mut state, key, context)
        }
    }
}

/// Flag 1 asks for a node in the captured graph.
fn check_external(flags: u32) -> Answer {
    match flags {
        0 => Ok(()),
        1 => Err(Code::NotSupported.because("events as nodes of graphs are not supported")),
        other => Err(Code::InvalidValue.because(format!("flags {other:#x}"))),
    }
}

/// `cuEventSynchronize`, `cuEventQuery`: what was recorded is done.
pub fn synchronize(device: &Device, event: EventHandle) -> Answer {
    let mut state = device.state();
    let object = state.events.get(event)?;
    let context = object.context;
    if let Recorded::Captured(member) = &object.recorded {
        let capture = member.capture;
        state.captures.invalidate(capture);
        return Err(Code::CapturedEvent.because("the event was recorded in a capture"));
    }
    state.usable(context)
}

/// `cuEventElapsedTime`: milliseconds on the clock of the host, of an interpreter. They say nothing of a GPU.
pub fn elapsed(device: &Device, milliseconds: Out<f32>, start: EventHandle, end: EventHandle) -> Answer {
    let state = device.state();
    let time = |event: EventHandle| {
        let event = state.events.get(event)?;
        state.usable(event.context)?;
        match event.recorded {
            Recorded::At(time) if event.timing => Ok(time),
            Recorded::At(_) => Err(Code::InvalidHandle.because("the event was made without timing")),
            Recorded::Never => Err(Code::InvalidHandle.because("the event was never recorded")),
            Recorded::Captured(_) => Err(Code::CapturedEvent.because("the event was recorded in a capture")),
        }
    };
    let (start, end) = (time(start)?, time(end)?);
    let forwards = end.saturating_duration_since(start).as_secs_f32();
    let backwards = start.saturating_duration_since(end).as_secs_f32();
    milliseconds.set((forwards - backwards) * 1000.0)
}
