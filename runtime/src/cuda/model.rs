//! A Program with its kernels, weights and memory on a device.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use cudarc::driver::{CudaSlice, CudaStream, DevicePtr as _, DevicePtrMut as _};

use super::execute::{self, Addresses, Executor, Graph};
use super::memory::{self, Pinned};
use super::module::Module;
use super::{Code, CodeUsed, Device, Error, PackedWeights, check, driver, load};
use crate::program::BufferId;
use crate::program::cuda::{Port, Program, Variant};

/// A network on a CUDA device.
///
/// The first run of a batch size captures its launches into a graph, which later runs replay: they allocate nothing and
/// wait once, for the outputs. The results of a run stay readable until the next one. Models are independent of each
/// other: each has a stream, an arena and a copy of the weights.
pub struct Model {
    // Dropped in this order: what the device runs before what it runs with.
    graphs: BTreeMap<usize, Graph>,
    module: Module,
    arena: CudaSlice<u8>,
    weights: CudaSlice<u8>,
    counters: CudaSlice<u8>,
    /// Inputs, outputs and dumps, in the order of their buffers.
    ports: Vec<Pinned>,
    stream: Arc<CudaStream>,
    device: Device,
    addresses: Addresses,
    program: Program,
    code_used: CodeUsed,
    /// Samples of the last run from the host; 0 before it.
    batch: usize,
    /// Samples of which the arena holds buffers; 0 before the first run.
    held: usize,
}

impl Model {
    /// Checks the Program, loads its kernels (the [module](super) says in which form), uploads the weights, and allocates
    /// everything for the largest batch.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Format`], [`crate::Error::Program`] or [`crate::Error::Launch`] for a Program that this runtime
    /// cannot execute; [`Error::SourceId`], [`crate::Error::WeightsId`] or [`crate::Error::WeightsTarget`] for parts of different compilations; [`Error::Code`] if
    /// there are no kernels for the device, [`Error::Kernel`] if one does not fit it, [`Error::Memory`] if the memory does
    /// not suffice.
    pub fn load(
        device: &Device,
        program: &Program,
        code: &Code,
        weights: &PackedWeights,
    ) -> Result<Self, crate::Error> {
        check::program(program)?;
        weights.check(program)?;
        let (module, code_used) = load::load(device, program, code)?;
        module.prepare(device, program)?;
        let stream = device.stream()?;
        let arena = program.variants.iter().map(|variant| variant.arena * variant.batch).max().unwrap_or(0);
        let arena = memory::allocate(&stream, "the activations", arena)?;
        let packed = memory::allocate(&stream, "the packed weights", program.weight_bytes)?;
        let counters = memory::allocate(&stream, "the counters", program.counters * 4)?;
        let address = |memory: &CudaSlice<u8>| memory.device_ptr(&stream).0;
        let addresses = Addresses { arena: address(&arena), weights: address(&packed), counters: address(&counters) };
        execute::clear(&stream, addresses.counters, counters.num_bytes())?;
        execute::upload(&stream, addresses.weights, weights.bytes())?;
        let uploaded = stream.synchronize().map_err(driver::failed("the weights cannot be uploaded"));
        let all = program.inputs.iter().chain(program.outputs.iter()).chain(program.dumps.iter());
        let ports = all.map(|port| Pinned::zeroed(device.context(), port.elements() * program.max_batch));
        let ports = ports.collect::<Result<_, _>>()?;
        uploaded?;
        Ok(Self {
            graphs: BTreeMap::new(),
            module,
            arena,
            weights: packed,
            counters,
            ports,
            stream,
            device: device.clone(),
            addresses,
            program: program.clone(),
            code_used,
            batch: 0,
            held: 0,
        })
    }

    /// Runs the network on `batch` samples: `inputs` has one slice per input of the Program, `[batch, shape...]`. When it
    /// returns, outputs and dumps are on the host.
    ///
    /// # Errors
    ///
    /// [`crate::Error::EmptyBatch`], [`crate::Error::BatchTooLarge`], [`crate::Error::InputCount`] or
    /// [`crate::Error::InputLength`] if the inputs do not fit, after which the last results are still there;
    /// [`Error::Call`] if the driver or a kernel fails.
    pub fn run(&mut self, batch: usize, inputs: &[&[f32]]) -> Result<(), crate::Error> {
        let lengths = inputs.iter().map(|input| input.len());
        self.check_inputs(batch, lengths, |found, expected| found == expected)?;
        self.batch = 0;
        for (pinned, input) in self.ports.iter_mut().zip(inputs) {
            // The lengths are equal to those of the checked inputs, which fit the largest batch.
            pinned[..input.len()].copy_from_slice(input);
        }
        let enqueued = self.enqueue_host(batch);
        // Waited for in any case: the pinned memory must not be in use when this returns.
        let ended = self.stream.synchronize().map_err(driver::failed("the network's kernels failed"));
        enqueued?;
        ended?;
        self.batch = batch;
        Ok(())
    }

    fn enqueue_host(&mut self, batch: usize) -> Result<(), crate::Error> {
        self.prepare(batch)?;
        let count = self.program.inputs.len();
        for index in 0..count {
            let (at, elements) = self.port_place(index, batch)?;
            execute::upload(&self.stream, at, &self.ports[index][..elements])?;
        }
        self.replay(batch)?;
        for index in count..self.ports.len() {
            let (at, elements) = self.port_place(index, batch)?;
            execute::download(&self.stream, &mut self.ports[index][..elements], at)?;
        }
        Ok(())
    }

    /// Runs the network on samples that are on the device, and leaves the outputs there. It returns when the work is
    /// enqueued on the model's stream: behind all work that the streams of the buffers have by now, and ahead of all that
    /// they get from now on. Of longer buffers the first values are used.
    ///
    /// [`Model::output`] and [`Model::dump`] are empty afterwards.
    ///
    /// # Errors
    ///
    /// As [`Model::run`], and [`Error::OutputCount`], [`Error::OutputLength`] or [`Error::OtherDevice`] for buffers that do
    /// not fit. Of a kernel that fails, the next call tells that waits for the stream.
    pub fn run_device(
        &mut self,
        batch: usize,
        inputs: &[&CudaSlice<f32>],
        outputs: &mut [&mut CudaSlice<f32>],
    ) -> Result<(), crate::Error> {
        self.check_inputs(batch, inputs.iter().map(|input| input.len()), |found, expected| found >= expected)?;
        self.check_outputs(batch, outputs)?;
        let ports = self.program.inputs.iter().zip(inputs.iter().copied());
        let written = self.program.outputs.iter().zip(outputs.iter().map(|output| &**output));
        for (port, buffer) in ports.chain(written) {
            if buffer.context() != self.device.context() {
                let device = self.device.name().to_owned();
                return Err(Error::OtherDevice { port: port.name.to_string(), device }.into());
            }
        }
        self.batch = 0;
        let enqueued = self.enqueue_device(batch, inputs, outputs);
        if enqueued.is_err() {
            // The caller's buffers must not be in use when nothing says until when.
            self.stream.context().record_err(self.stream.synchronize());
        }
        enqueued
    }

    fn enqueue_device(
        &mut self,
        batch: usize,
        inputs: &[&CudaSlice<f32>],
        outputs: &mut [&mut CudaSlice<f32>],
    ) -> Result<(), crate::Error> {
        self.prepare(batch)?;
        let stream = self.stream.clone();
        for (index, input) in inputs.iter().enumerate() {
            follow(&stream, input.stream())?;
            let (to, elements) = self.port_place(index, batch)?;
            let (from, _used) = input.device_ptr(&stream);
            execute::copy(&stream, to, from, elements * size_of::<f32>())?;
            // The input may be freed or overwritten on its own stream once it has been read.
            follow(input.stream(), &stream)?;
        }
        self.replay(batch)?;
        for (index, output) in (inputs.len()..).zip(outputs) {
            let own = output.stream().clone();
            follow(&stream, &own)?;
            let (from, elements) = self.port_place(index, batch)?;
            {
                let (to, _used) = output.device_ptr_mut(&stream);
                execute::copy(&stream, to, from, elements * size_of::<f32>())?;
            }
            follow(&own, &stream)?;
        }
        Ok(())
    }

    /// Makes sure that there is a graph of a batch.
    pub(super) fn prepare(&mut self, batch: usize) -> Result<(), crate::Error> {
        self.device.context().bind_to_thread().map_err(driver::failed("the device cannot be used"))?;
        if !self.graphs.contains_key(&batch) {
            let graph = self.executor().capture(self.variant(batch)?, batch)?;
            self.graphs.insert(batch, graph);
        }
        Ok(())
    }

    pub(super) fn replay(&mut self, batch: usize) -> Result<(), crate::Error> {
        self.held = batch;
        self.graphs.get(&batch).map_or(Ok(()), Graph::launch)?;
        Ok(())
    }

    pub(super) fn executor(&self) -> Executor<'_> {
        Executor { program: &self.program, module: &self.module, stream: &self.stream, addresses: self.addresses }
    }

    /// The variant that runs a batch.
    pub(super) fn variant(&self, batch: usize) -> Result<&Variant, crate::Error> {
        if batch == 0 {
            return Err(crate::Error::EmptyBatch);
        }
        let maximum = self.program.max_batch;
        self.program.variant(batch).ok_or(crate::Error::BatchTooLarge { batch, maximum })
    }

    fn check_inputs(
        &self,
        batch: usize,
        lengths: impl ExactSizeIterator<Item = usize>,
        fits: impl Fn(usize, usize) -> bool,
    ) -> Result<(), crate::Error> {
        self.variant(batch)?;
        let ports = &self.program.inputs;
        if lengths.len() != ports.len() {
            return Err(crate::Error::InputCount { expected: ports.len(), found: lengths.len() });
        }
        for (port, found) in ports.iter().zip(lengths) {
            let expected = port.elements() * batch;
            if !fits(found, expected) {
                let (name, shape) = (port.name.to_string(), port.shape.to_vec());
                return Err(crate::Error::InputLength { name, shape, batch, expected, found });
            }
        }
        Ok(())
    }

    fn check_outputs(&self, batch: usize, outputs: &[&mut CudaSlice<f32>]) -> Result<(), Error> {
        let ports = &self.program.outputs;
        if outputs.len() != ports.len() {
            return Err(Error::OutputCount { expected: ports.len(), found: outputs.len() });
        }
        for (port, output) in ports.iter().zip(outputs) {
            let (expected, found) = (port.elements() * batch, output.len());
            if found < expected {
                return Err(Error::OutputLength { name: port.name.to_string(), expected, found });
            }
        }
        Ok(())
    }

    /// The address of an input, output or dump with a batch, and how many elements it has.
    pub(super) fn port_place(&self, index: usize, batch: usize) -> Result<(u64, usize), crate::Error> {
        let missing = || crate::Error::Program { what: format!("there is no port {index}") };
        let id = BufferId(u32::try_from(index).map_err(|_| missing())?);
        let at = execute::buffer(self.addresses, self.variant(batch)?, id, batch).ok_or_else(missing)?;
        Ok((at, self.port(index).ok_or_else(missing)?.elements() * batch))
    }

    fn port(&self, index: usize) -> Option<&Port> {
        let Program { inputs, outputs, dumps, .. } = &self.program;
        inputs.iter().chain(outputs.iter()).chain(dumps.iter()).nth(index)
    }

    /// Output `index` of the last run, `[batch, shape...]`; empty if there is no such output or nothing has run.
    #[must_use]
    pub fn output(&self, index: usize) -> &[f32] {
        if index >= self.program.outputs.len() {
            return &[];
        }
        self.values(self.program.inputs.len() + index)
    }

    /// Dump `index` of the last run, `[batch, shape...]`; empty if there is no such dump or nothing has run.
    #[must_use]
    pub fn dump(&self, index: usize) -> &[f32] {
        self.values((self.program.inputs.len() + self.program.outputs.len()).saturating_add(index))
    }

    /// The first elements of an input, as the last run got it.
    pub(super) fn input(&self, index: usize, elements: usize) -> &[f32] {
        self.ports.get(index).and_then(|pinned| pinned.get(..elements)).unwrap_or_default()
    }

    fn values(&self, index: usize) -> &[f32] {
        let port = self.port(index).zip(self.ports.get(index));
        port.and_then(|(port, pinned)| pinned.get(..port.elements() * self.batch)).unwrap_or_default()
    }

    /// The bytes of a buffer of the last run, copied from the device: for looking for mistakes. Buffers share memory, so
    /// one that later launches no longer need holds whatever was written over it. Empty if there is no such buffer or
    /// nothing has run.
    ///
    /// # Errors
    ///
    /// [`Error::Call`] if the driver or a kernel fails.
    pub fn buffer(&self, id: BufferId) -> Result<Vec<u8>, crate::Error> {
        let found = self.program.variant(self.held).filter(|_| self.held > 0).and_then(|variant| {
            let buffer = usize::try_from(id.0).ok().and_then(|index| variant.buffers.get(index))?;
            Some((execute::buffer(self.addresses, variant, id, self.held)?, buffer.length * self.held))
        });
        let Some((at, length)) = found.filter(|&(_, length)| length > 0) else { return Ok(Vec::new()) };
        self.device.context().bind_to_thread().map_err(driver::failed("the device cannot be used"))?;
        let mut bytes = vec![0; length];
        let enqueued = execute::download(&self.stream, &mut bytes, at);
        self.stream.synchronize().map_err(driver::failed("the network's kernels failed"))?;
        enqueued?;
        Ok(bytes)
    }

    /// The Program that this model runs.
    #[must_use]
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Samples of the last run; 0 before the first.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// The device that it is on.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The stream that it runs on.
    #[must_use]
    pub fn stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }

    /// The form of the kernels' code that the device took.
    #[must_use]
    pub fn code_used(&self) -> &CodeUsed {
        &self.code_used
    }

    /// Bytes of the device's memory that it holds, without code and graphs.
    #[must_use]
    pub fn device_bytes(&self) -> usize {
        self.arena.num_bytes() + self.weights.num_bytes() + self.counters.num_bytes()
    }
}

/// Has a stream wait for what another one has by now.
fn follow(stream: &Arc<CudaStream>, other: &Arc<CudaStream>) -> Result<(), Error> {
    if stream == other {
        return Ok(());
    }
    stream.join(other).map_err(driver::failed("streams cannot be ordered"))
}

impl Drop for Model {
    fn drop(&mut self) {
        // What it has enqueued needs its code and memory.
        self.stream.context().record_err(self.stream.synchronize());
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { device, code_used, batch, .. } = self;
        f.debug_struct("Model")
            .field("program", &self.program.name)
            .field("device", device)
            .field("code_used", code_used)
            .field("batch", batch)
            .finish_non_exhaustive()
    }
}
