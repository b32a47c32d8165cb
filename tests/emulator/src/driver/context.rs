//! Contexts: the primary one and others, and which is current in a thread.

use std::cell::RefCell;

use super::arguments::{In, Out, OutHandle};
use super::capture;
use super::errors::{Answer, Code, Failure};
use super::handles::{self, ContextHandle, Handle};
use super::state::{Device, State};
use super::stream::StreamKey;
use crate::gpu::Fault;

thread_local! {
    /// The contexts that were made current in this thread; the last one is.
    static STACK: RefCell<Vec<ContextHandle>> = const { RefCell::new(Vec::new()) };
}

/// A context.
#[derive(Debug, Default)]
pub struct Context {
    /// What it was made with.
    flags: u32,
    /// A number that no context had before.
    id: u64,
    /// What a kernel did that can't be recovered from; each call is answered with it.
    fault: Option<Fault>,
    /// Limits that were set, by their number.
    limits: std::collections::BTreeMap<u32, usize>,
}

/// The primary context of the device.
#[derive(Debug)]
pub struct Primary {
    handle: ContextHandle,
    retained: u32,
    flags: u32,
}

impl Default for Primary {
    fn default() -> Self {
        Self { handle: handles::new(), retained: 0, flags: 0 }
    }
}

/// The flags that a context can have: how a thread waits, host mapping, local memory, core dumps, synchronous copies.
const FLAGS: u32 = 0xff;
/// The scheduling flags, of which one can be set.
const SCHEDULING: u32 = 7;
/// The limits of new contexts: stack of a thread, buffer of `printf`, heap, nesting, pending launches, granularity of
/// L2.
const LIMITS: [(u32, usize); 6] = [(0, 1024), (1, 1 << 20), (2, 8 << 20), (3, 2), (4, 2048), (5, 64)];
/// The version of the interface that contexts are made with.
const API_VERSION: u32 = 3020;

/// What calls on a context are answered with after a fault.
#[must_use]
pub fn code(fault: Fault) -> Code {
    match fault {
        Fault::IllegalAddress => Code::IllegalAddress,
        Fault::Misaligned => Code::MisalignedAddress,
        Fault::Trap => Code::IllegalInstruction,
        Fault::Deadlock => Code::LaunchTimeout,
    }
}

impl State {
    /// The context that is current in this thread, if it can be used.
    ///
    /// # Errors
    ///
    /// None is, it was destroyed, or a kernel faulted in it.
    pub fn current(&self) -> Answer<ContextHandle> {
        let context = current().ok_or_else(|| Code::InvalidContext.because("no context is current in this thread"))?;
        self.usable(context)?;
        Ok(context)
    }

    /// Checks that a context exists and no kernel faulted in it.
    ///
    /// # Errors
    ///
    /// It was destroyed, or a kernel faulted in it.
    pub fn usable(&self, context: ContextHandle) -> Answer {
        let Ok(object) = self.contexts.get(context) else {
            return Err(
                Code::ContextIsDestroyed.because("the context was destroyed, or is a primary one not yet in use")
            );
        };
        object.fault.map_or(Ok(()), |fault| {
            Err(code(fault).because(format!("{fault}, in an earlier launch: the context can't be used any more")))
        })
    }

    /// Marks a context as beyond use.
    pub fn fault(&mut self, context: ContextHandle, fault: Fault) {
        if let Ok(object) = self.contexts.get_mut(context) {
            object.fault.get_or_insert(fault);
        }
    }

    fn add_context(&mut self, handle: ContextHandle, flags: u32) {
        let id = handle.number() as u64;
        self.contexts.insert(handle, Context { flags, id, ..Context::default() });
    }

    /// Takes a context out, with all that belongs to it.
    fn destroy_context(&mut self, device: &Device, context: ContextHandle) -> Answer {
        self.contexts.remove(context)?;
        self.captures.drop_context(context);
        self.streams.drop_context(context);
        self.events.take_unless(|_, event| event.context != context);
        self.functions.take_unless(|_, function| function.context != context);
        self.modules.take_unless(|_, module| module.context != context);
        let addresses: Vec<u64> = self
            .allocations
            .iter()
            .filter(|(_, memory)| memory.context == context)
            .map(|(address, _)| *address)
            .collect();
        for address in addresses {
            self.allocations.remove(&address);
            // It was allocated and not freed since, so it can be freed.
            let _ = device.gpu.memory().free(address);
        }
        Ok(())
    }
}

fn current() -> Option<ContextHandle> {
    // A thread that is ending has no stack any more.
    STACK.try_with(|stack| stack.borrow().last().copied()).ok().flatten()
}

fn push(context: ContextHandle) {
    let _ = STACK.try_with(|stack| stack.borrow_mut().push(context));
}

fn pop() -> Option<ContextHandle> {
    STACK.try_with(|stack| stack.borrow_mut().pop()).ok().flatten()
}

/// The handle as an argument that may be null, for the current context.
fn or_current(context: ContextHandle) -> Answer<ContextHandle> {
    if context.number() != 0 {
        return Ok(context);
    }
    current().ok_or_else(|| Code::InvalidContext.because("no context is current in this thread"))
}

fn check_flags(flags: u32) -> Answer {
    if flags & !FLAGS != 0 || !matches!(flags & SCHEDULING, 0 | 1 | 2 | 4) {
        return Err(Code::InvalidValue.because(format!("flags {flags:#x} of a context")));
    }
    Ok(())
}

/// `cuDevicePrimaryCtxRetain`
pub fn retain_primary(device: &Device, context: OutHandle<ContextHandle>, ordinal: i32) -> Answer {
    Device::check_ordinal(ordinal)?;
    context.check()?;
    let mut state = device.state();
    let (handle, flags) = (state.primary.handle, state.primary.flags);
    if state.contexts.get(handle).is_err() {
        state.add_context(handle, flags);
    }
    state.primary.retained = state.primary.retained.saturating_add(1);
    context.set(Some(handle))
}

/// `cuDevicePrimaryCtxRelease_v2`
pub fn release_primary(device: &Device, ordinal: i32) -> Answer {
    Device::check_ordinal(ordinal)?;
    let mut state = device.state();
    let handle = state.primary.handle;
    match state.primary.retained {
        0 => Err(Code::InvalidContext.because("the primary context was released more often than retained")),
        1 => {
            state.primary.retained = 0;
            state.destroy_context(device, handle)
        }
        retained => {
            state.primary.retained = retained - 1;
            Ok(())
        }
    }
}

/// `cuDevicePrimaryCtxReset_v2`: destroys all that belongs to it; it is made anew at once if it is retained.
pub fn reset_primary(device: &Device, ordinal: i32) -> Answer {
    Device::check_ordinal(ordinal)?;
    let mut state = device.state();
    let (handle, flags) = (state.primary.handle, state.primary.flags);
    if state.contexts.get(handle).is_ok() {
        state.destroy_context(device, handle)?;
        state.add_context(handle, flags);
    }
    Ok(())
}

/// `cuDevicePrimaryCtxSetFlags_v2`
pub fn set_primary_flags(device: &Device, ordinal: i32, flags: u32) -> Answer {
    Device::check_ordinal(ordinal)?;
    check_flags(flags)?;
    device.state().primary.flags = flags;
    Ok(())
}

/// `cuDevicePrimaryCtxGetState`
pub fn primary_state(device: &Device, ordinal: i32, flags: Out<u32>, active: Out<i32>) -> Answer {
    Device::check_ordinal(ordinal)?;
    let state = device.state();
    flags.set(state.primary.flags)?;
    active.set(i32::from(state.contexts.get(state.primary.handle).is_ok()))
}

/// `cuCtxCreate_v2`: makes a context, current in this thread.
pub fn create(device: &Device, context: OutHandle<ContextHandle>, flags: u32, ordinal: i32) -> Answer {
    Device::check_ordinal(ordinal)?;
    check_flags(flags)?;
    context.check()?;
    let handle = handles::new();
    device.state().add_context(handle, flags);
    push(handle);
    context.set(Some(handle))
}

/// `cuCtxCreate_v3`: with affinities to multiprocessors, which the stand-in doesn't know.
pub fn create_with_affinity(
    device: &Device,
    context: OutHandle<ContextHandle>,
    affinities: In<u8>,
    count: i32,
    flags: u32,
    ordinal: i32,
) -> Answer {
    if count != 0 || !affinities.is_null() {
        return Err(Code::UnsupportedExecAffinity.because("affinities to multiprocessors are not supported"));
    }
    create(device, context, flags, ordinal)
}

/// `cuCtxCreate_v4`: with parameters, of which the stand-in knows none.
pub fn create_with_parameters(
    device: &Device,
    context: OutHandle<ContextHandle>,
    parameters: In<CreateParameters>,
    flags: u32,
    ordinal: i32,
) -> Answer {
    if !parameters.is_null() {
        let parameters = parameters.at(0)?;
        if parameters.affinities != 0 || !parameters.graphics.is_null() {
            return Err(Code::UnsupportedExecAffinity.because("parameters of contexts are not supported"));
        }
    }
    create(device, context, flags, ordinal)
}

/// A `CUctxCreateParams`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct CreateParameters {
    affinity: *const u8,
    affinities: i32,
    graphics: *const u8,
}

/// `cuCtxDestroy_v2`
pub fn destroy(device: &Device, context: ContextHandle) -> Answer {
    let mut state = device.state();
    if context == state.primary.handle {
        return Err(Code::InvalidContext.because("the primary context is released, not destroyed"));
    }
    state.destroy_context(device, context)?;
    drop(state);
    if current() == Some(context) {
        pop();
    }
    Ok(())
}

/// `cuCtxPushCurrent_v2`
pub fn push_current(device: &Device, context: ContextHandle) -> Answer {
    device.state().contexts.get(context)?;
    push(context);
    Ok(())
}

/// `cuCtxPopCurrent_v2`
pub fn pop_current(_: &Device, context: OutHandle<ContextHandle>) -> Answer {
    let popped = pop().ok_or_else(|| Code::InvalidContext.because("no context is current in this thread"))?;
    if !context.is_null() {
        context.set(Some(popped))?;
    }
    Ok(())
}

/// `cuCtxSetCurrent`: replaces the current context; null leaves the one below it, if there is one.
pub fn set_current(device: &Device, context: ContextHandle) -> Answer {
    if context.number() != 0 {
        let state = device.state();
        if context != state.primary.handle {
            state.contexts.get(context)?;
        }
    }
    pop();
    if context.number() != 0 {
        push(context);
    }
    Ok(())
}

/// `cuCtxGetCurrent`
pub fn get_current(_: &Device, context: OutHandle<ContextHandle>) -> Answer {
    context.set(current())
}

/// `cuCtxGetDevice`
pub fn get_device(_: &Device, ordinal: Out<i32>) -> Answer {
    current().ok_or_else(|| Code::InvalidContext.because("no context is current in this thread"))?;
    ordinal.set(0)
}

/// `cuCtxGetDevice_v2`
pub fn get_device_of(device: &Device, ordinal: Out<i32>, context: ContextHandle) -> Answer {
    device.state().contexts.get(or_current(context)?)?;
    ordinal.set(0)
}

/// `cuCtxGetFlags`
pub fn get_flags(device: &Device, flags: Out<u32>) -> Answer {
    let state = device.state();
    flags.set(state.contexts.get(state.current()?)?.flags)
}

/// `cuCtxSetFlags`
pub fn set_flags(device: &Device, flags: u32) -> Answer {
    check_flags(flags)?;
    let mut state = device.state();
    let context = state.current()?;
    state.contexts.get_mut(context)?.flags = flags;
    Ok(())
}

/// `cuCtxGetId`
pub fn get_id(device: &Device, context: ContextHandle, id: Out<u64>) -> Answer {
    id.set(device.state().contexts.get(or_current(context)?)?.id)
}

/// `cuCtxGetApiVersion`
pub fn get_api_version(device: &Device, context: ContextHandle, version: Out<u32>) -> Answer {
    device.state().contexts.get(or_current(context)?)?;
    version.set(API_VERSION)
}

/// `cuCtxGetLimit`
pub fn get_limit(device: &Device, value: Out<usize>, limit: u32) -> Answer {
    let state = device.state();
    let context = state.contexts.get(state.current()?)?;
    value.set(context.limits.get(&limit).copied().map_or_else(|| initial_limit(limit), Ok)?)
}

/// `cuCtxSetLimit`: remembered, and without effect. The interpreter takes what memory it needs.
pub fn set_limit(device: &Device, limit: u32, value: usize) -> Answer {
    initial_limit(limit)?;
    let mut state = device.state();
    let context = state.current()?;
    state.contexts.get_mut(context)?.limits.insert(limit, value);
    Ok(())
}

fn initial_limit(limit: u32) -> Answer<usize> {
    LIMITS
        .iter()
        .find(|(number, _)| *number == limit)
        .map(|(_, value)| *value)
        .ok_or_else(|| Code::UnsupportedLimit.because(format!("limit {limit} is unknown or not supported")))
}

/// `cuCtxGetCacheConfig`, `cuCtxGetSharedMemConfig`: no preference.
pub fn get_preference(device: &Device, preference: Out<u32>) -> Answer {
    device.state().current()?;
    preference.set(0)
}

/// `cuCtxSetCacheConfig`, `cuCtxSetSharedMemConfig`: hints, which the stand-in takes and doesn't need.
pub fn set_preference(device: &Device, preference: u32) -> Answer {
    device.state().current()?;
    if preference > 3 {
        return Err(Code::InvalidValue.because(format!("there is no preference {preference}")));
    }
    Ok(())
}

/// `cuCtxGetStreamPriorityRange`: from least to greatest, where a lower number is a higher priority.
pub fn priority_range(device: &Device, least: Out<i32>, greatest: Out<i32>) -> Answer {
    device.state().current()?;
    least.set_if_wanted(super::stream::PRIORITIES.1);
    greatest.set_if_wanted(super::stream::PRIORITIES.0);
    Ok(())
}

/// `cuCtxSynchronize`. All work is done when it is enqueued, so there is nothing to wait for.
pub fn synchronize(device: &Device) -> Answer {
    let mut state = device.state();
    let context = state.current()?;
    capture::refuse_synchronisation(&mut state, context, "a context with a capturing stream is synchronised")
}

/// `cuCtxSynchronize_v2`
pub fn synchronize_of(device: &Device, context: ContextHandle) -> Answer {
    let mut state = device.state();
    let context = or_current(context)?;
    state.contexts.get(context)?;
    state.usable(context)?;
    capture::refuse_synchronisation(&mut state, context, "a context with a capturing stream is synchronised")
}

/// What a failed look-up of a stream's context means.
pub(super) fn of_stream(state: &State, key: StreamKey) -> Result<ContextHandle, Failure> {
    let context = state.streams.get(key)?.context;
    state.usable(context)?;
    Ok(context)
}
