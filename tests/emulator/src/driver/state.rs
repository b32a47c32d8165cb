//! The process's side of the interface: whether it was initialised, and all objects that the program made.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::capture::Captures;
use super::context::{Context, Primary};
use super::environment::Settings;
use super::errors::{Answer, Code, Failure};
use super::event::Event;
use super::graph::{Executable, Graph};
use super::handles::{
    ContextHandle, EventHandle, ExecutableHandle, FunctionHandle, GraphHandle, ModuleHandle, NodeHandle, PoolHandle,
    Table,
};
use super::host::HostAllocation;
use super::log::Log;
use super::memory::Allocation;
use super::module::{Function, Module};
use super::pool::{Pool, Pools};
use super::stream::Streams;
use crate::gpu::Gpu;
use crate::report::{FORMAT, Record};

/// The one device of the process, from `cuInit` on.
static DEVICE: OnceLock<Result<Device, String>> = OnceLock::new();

/// A device with its objects.
#[derive(Debug)]
pub struct Device {
    /// What the environment says.
    pub settings: Settings,
    /// The GPU.
    pub gpu: Gpu,
    /// Where records go.
    pub log: Log,
    state: Mutex<State>,
}

/// All objects. No lock is held while a kernel runs or a function of the program is called.
#[derive(Debug)]
pub struct State {
    /// Contexts that exist.
    pub contexts: Table<ContextHandle, Context>,
    /// The primary context.
    pub primary: Primary,
    /// Modules.
    pub modules: Table<ModuleHandle, Module>,
    /// Functions that the program asked for.
    pub functions: Table<FunctionHandle, Function>,
    /// Streams, the default ones of each context included.
    pub streams: Streams,
    /// Events.
    pub events: Table<EventHandle, Event>,
    /// Captures under way.
    pub captures: Captures,
    /// Graphs.
    pub graphs: Table<GraphHandle, Graph>,
    /// The nodes of all graphs: the graph and the place in it.
    pub nodes: Table<NodeHandle, (GraphHandle, usize)>,
    /// Executable graphs.
    pub executables: Table<ExecutableHandle, Executable>,
    /// Memory of the device by its address.
    pub allocations: BTreeMap<u64, Allocation>,
    /// Memory of the host by its address. It outlives its context: a pointer that the program still has is never
    /// dangling.
    pub host: BTreeMap<usize, HostAllocation>,
    /// Memory pools.
    pub pools: Table<PoolHandle, Pool>,
    /// Which pools stand for the device.
    pub device_pools: Pools,
}

impl Device {
    /// Sets up the process's device from its environment. Later calls change nothing.
    ///
    /// # Errors
    ///
    /// A variable of the environment is wrong, or the trace can't be written.
    pub fn initialise() -> Answer<&'static Self> {
        let device = DEVICE.get_or_init(|| {
            let settings = Settings::from_environment().map_err(|error| error.to_string())?;
            let log = Log::open(settings.trace.as_deref()).map_err(|error| {
                format!("VGPU_TRACE={:?}: {error}", settings.trace.as_deref().unwrap_or("".as_ref()))
            })?;
            let device = Self::new(settings, log);
            device.log.write(&Record::Start {
                format: FORMAT,
                architecture: device.settings.options.architecture.name().to_owned(),
                process: std::process::id(),
            });
            super::exit::register();
            Ok(device)
        });
        device.as_ref().map_err(|message| Code::InvalidValue.because(message.clone()))
    }

    /// The process's device.
    ///
    /// # Errors
    ///
    /// `cuInit` wasn't called or failed.
    pub fn get() -> Answer<&'static Self> {
        match DEVICE.get() {
            Some(Ok(device)) => Ok(device),
            Some(Err(_)) | None => Err(Code::NotInitialized.because("cuInit was not called, or failed")),
        }
    }

    fn new(settings: Settings, log: Log) -> Self {
        let mut pools = Table::default();
        let device_pools = Pools::new(&mut pools);
        let state = State {
            contexts: Table::default(),
            primary: Primary::default(),
            modules: Table::default(),
            functions: Table::default(),
            streams: Streams::default(),
            events: Table::default(),
            captures: Captures::default(),
            graphs: Table::default(),
            nodes: Table::default(),
            executables: Table::default(),
            allocations: BTreeMap::new(),
            host: BTreeMap::new(),
            pools,
            device_pools,
        };
        Self { gpu: Gpu::new(settings.options), settings, log, state: Mutex::new(state) }
    }

    /// The objects, for as long as what is returned lives.
    ///
    /// Architecture invariant: it isn't held while work runs, so nothing that runs can wait for it.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down that a call failed. That something isn't ready yet is no failure.
    pub fn report(&self, function: &str, failure: &Failure) {
        if failure.code != Code::NotReady {
            self.log.write(&Record::Call {
                function: function.to_owned(),
                error: failure.code.name().to_string_lossy().into_owned(),
                message: failure.message.clone(),
            });
        }
    }

    /// Writes down what happened on the GPU since the last time.
    pub fn drain(&self) {
        for record in self.gpu.take_records() {
            self.log.write(&record);
        }
    }

    /// Checks the number of a device; there is only 0.
    ///
    /// # Errors
    ///
    /// It is another.
    pub fn check_ordinal(ordinal: i32) -> Answer {
        match ordinal {
            0 => Ok(()),
            other => Err(Code::InvalidDevice.because(format!("there is no device {other}: only device 0"))),
        }
    }
}
