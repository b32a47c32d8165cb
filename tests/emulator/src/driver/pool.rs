//! Memory pools. Memory that is freed is gone at once, so a pool is a count of what was taken from it.

use super::arguments::{In, Out, OutHandle, Untyped};
use super::errors::{Answer, Code};
use super::handles::{PoolHandle, Table};
use super::state::Device;

/// A pool.
#[derive(Debug, Default)]
pub struct Pool {
    used: u64,
    most: u64,
    threshold: u64,
    /// Whether freed memory may be used again after events, by chance, and with orders made for it.
    reuse: [i32; 3],
}

/// The pools that stand for the device.
#[derive(Debug)]
pub struct Pools {
    /// The one that there always is.
    pub default: PoolHandle,
    /// The one that `cuMemAllocAsync` takes from.
    pub current: PoolHandle,
}

impl Pools {
    /// The device's own pool.
    pub fn new(pools: &mut Table<PoolHandle, Pool>) -> Self {
        let default = pools.add(Pool { reuse: [1; 3], ..Pool::default() });
        Self { default, current: default }
    }
}

impl Pool {
    /// Counts memory that was taken.
    pub fn took(&mut self, size: u64) {
        self.used += size;
        self.most = self.most.max(self.used);
    }

    /// Counts memory that was given back.
    pub fn gave_back(&mut self, size: u64) {
        self.used = self.used.saturating_sub(size);
    }
}

/// The beginning of a `CUmemPoolProps`: the kind of allocation (1: pinned), kinds of handles for other processes, and
/// the location (1: a device, and its number).
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Properties {
    kind: u32,
    handles: u32,
    location: u32,
    ordinal: i32,
}

/// `cuDeviceGetDefaultMemPool`
pub fn default(device: &Device, pool: OutHandle<PoolHandle>, ordinal: i32) -> Answer {
    Device::check_ordinal(ordinal)?;
    pool.set(Some(device.state().device_pools.default))
}

/// `cuDeviceGetMemPool`
pub fn current(device: &Device, pool: OutHandle<PoolHandle>, ordinal: i32) -> Answer {
    Device::check_ordinal(ordinal)?;
    pool.set(Some(device.state().device_pools.current))
}

/// `cuDeviceSetMemPool`
pub fn set_current(device: &Device, ordinal: i32, pool: PoolHandle) -> Answer {
    Device::check_ordinal(ordinal)?;
    let mut state = device.state();
    state.pools.get(pool)?;
    state.device_pools.current = pool;
    Ok(())
}

/// `cuMemPoolCreate`
pub fn create(device: &Device, pool: OutHandle<PoolHandle>, properties: In<Properties>) -> Answer {
    pool.check()?;
    let Properties { kind, handles, location, ordinal } = properties.at(0)?;
    if (kind, handles, location, ordinal) != (1, 0, 1, 0) {
        return Err(Code::InvalidValue.because("a pool other than of device 0, for this process"));
    }
    pool.set(Some(device.state().pools.add(Pool { reuse: [1; 3], ..Pool::default() })))
}

/// `cuMemPoolDestroy`. What was allocated from it stays until it is freed.
pub fn destroy(device: &Device, pool: PoolHandle) -> Answer {
    let mut state = device.state();
    if pool == state.device_pools.default {
        return Err(Code::InvalidValue.because("the device's own pool can't be destroyed"));
    }
    state.pools.remove(pool)?;
    if state.device_pools.current == pool {
        state.device_pools.current = state.device_pools.default;
    }
    Ok(())
}

/// `cuMemPoolTrimTo`: nothing is kept that could be trimmed.
pub fn trim(device: &Device, pool: PoolHandle, _: usize) -> Answer {
    device.state().pools.get(pool).map(|_| ())
}

/// `cuMemPoolGetAttribute`
pub fn get_attribute(device: &Device, pool: PoolHandle, attribute: u32, value: Untyped) -> Answer {
    let state = device.state();
    let pool = state.pools.get(pool)?;
    match attribute {
        1 => value.out().set(pool.reuse[0]),
        2 => value.out().set(pool.reuse[1]),
        3 => value.out().set(pool.reuse[2]),
        4 => value.out().set(pool.threshold),
        // Reserved and used are the same here: now, and at most.
        5 | 7 => value.out().set(pool.used),
        6 | 8 => value.out().set(pool.most),
        other => Err(Code::InvalidValue.because(format!("there is no attribute {other} of pools"))),
    }
}

/// `cuMemPoolSetAttribute`: what is reused and when memory is released is remembered, and without effect.
pub fn set_attribute(device: &Device, pool: PoolHandle, attribute: u32, value: Untyped) -> Answer {
    let mut state = device.state();
    let pool = state.pools.get_mut(pool)?;
    match attribute {
        1 => pool.reuse[0] = value.value().at(0)?,
        2 => pool.reuse[1] = value.value().at(0)?,
        3 => pool.reuse[2] = value.value().at(0)?,
        4 => pool.threshold = value.value().at(0)?,
        // The highest marks can be set back.
        6 | 8 if value.value::<u64>().at(0)? == 0 => pool.most = pool.used,
        other => return Err(Code::InvalidValue.because(format!("attribute {other} of a pool can't be set to this"))),
    }
    Ok(())
}

/// `cuMemPoolGetAccess`: the device reads and writes its memory.
pub fn get_access(device: &Device, flags: Out<u32>, pool: PoolHandle, location: In<[i32; 2]>) -> Answer {
    device.state().pools.get(pool)?;
    match location.at(0)? {
        [1, 0] => flags.set(3),
        _ => Err(Code::InvalidValue.because("a location other than device 0")),
    }
}
