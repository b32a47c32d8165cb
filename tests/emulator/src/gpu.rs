//! A device: modules, memory, launches; the interface from Rust.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::check::{Findings, Order};
use crate::driver::device::{REGISTERS_PER_THREAD, SHARED_PER_BLOCK, THREADS_PER_BLOCK};
use crate::driver::occupancy::{Demand, most_registers, resident_blocks};
use crate::exec::calls::{carry_loops, reached};
use crate::exec::code::{self, Code, FunctionCode};
use crate::exec::decode::Symbol;
use crate::exec::launch::Launch;
use crate::exec::summary::summarise;
use crate::exec::windows::address_of;
use crate::exec::{Granules, Kernel};
use crate::memory::{Global, MemoryError};
use crate::options::Options;
use crate::ptx::syntax::{self, Space, Variable};
use crate::ptx::{self, ReadError};
use crate::report::Record;

/// A virtual GPU. All methods may be called from several threads; launches run one after the other.
#[derive(Debug)]
pub struct Gpu {
    options: Options,
    memory: Arc<Global>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    launches: u64,
    records: Vec<Record>,
}

/// Device address and size in bytes of variables, by name.
pub type Places = BTreeMap<String, (u64, u64)>;

/// A module on a device. Dropping it frees its variables.
#[derive(Debug)]
pub struct Module {
    /// Its kernels by name.
    pub kernels: BTreeMap<String, Arc<Kernel>>,
    /// Its `.global` and `.const` variables: device address and size in bytes.
    pub variables: Places,
    owned: Owned,
}

/// Allocations that are freed when this is dropped.
#[derive(Debug)]
struct Owned {
    memory: Arc<Global>,
    addresses: Vec<u64>,
}

impl Drop for Owned {
    fn drop(&mut self) {
        for address in &self.addresses {
            // They were allocated here and are known nowhere else as something to free; `free` can't fail.
            let _ = self.memory.free(*address);
        }
    }
}

/// Why a module can't be loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct LoadError {
    /// Line in the PTX text, from 1.
    pub line: u32,
    /// What is wrong.
    pub message: String,
}

impl From<ReadError> for LoadError {
    fn from(error: ReadError) -> Self {
        Self { line: error.line, message: error.message }
    }
}

/// The shape of a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Blocks, x y z.
    pub grid: [u32; 3],
    /// Threads of a block, x y z.
    pub block: [u32; 3],
    /// Dynamic shared memory, bytes.
    pub dynamic_shared: u32,
}

/// Why a launch ended early. The device is as after a sticky error of a real driver: later calls on the context fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// An access outside any allocation, or to memory that was freed.
    #[error("an illegal memory access was encountered")]
    IllegalAddress,
    /// A misaligned access.
    #[error("misaligned address")]
    Misaligned,
    /// `trap`, and operands that have no meaning.
    #[error("an illegal instruction was encountered")]
    Trap,
    /// Threads wait for each other and can't go on.
    #[error("the launch timed out and was terminated")]
    Deadlock,
}

/// Parameter blocks are padded to this, so that reads of whole words stay inside.
const PARAMETER_PADDING: usize = 16;

impl Gpu {
    /// A device that nothing was allocated on.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let memory = Arc::new(Global::new(options.architecture.part().memory));
        Self { options, memory, state: Mutex::default() }
    }

    /// What it was made with.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Its global memory.
    #[must_use]
    pub fn memory(&self) -> &Global {
        &self.memory
    }

    /// Reads PTX and places its variables.
    ///
    /// # Errors
    ///
    /// The text is no PTX, or has something in it that the interpreter doesn't know.
    pub fn load(&self, ptx: &str) -> Result<Module, LoadError> {
        let module = ptx::read(ptx)?;
        let mut symbols = HashMap::new();
        for (number, function) in (0..).zip(&module.functions) {
            symbols.insert(function.name.clone(), Symbol::Function(number));
        }
        let (variables, owned) = self.place_variables(&module, &mut symbols)?;
        let common_shared = code::common_shared(&module, &mut symbols);
        let mut code = Code { files: module.files.iter().cloned().collect(), ..Code::default() };
        for function in &module.functions {
            code::append(&mut code, function, &symbols)?;
        }
        carry_loops(&mut code);
        let code = Arc::new(code);
        let constant = module
            .variables
            .iter()
            .filter(|variable| variable.space == Space::Const)
            .map(|variable| variable.size as u32)
            .fold(0, u32::saturating_add);
        let mut kernels = BTreeMap::new();
        for (number, function) in (0..).zip(&module.functions).filter(|(_, function)| function.kernel) {
            let kernel = kernel(&module, function, number, &code, &common_shared, constant)?;
            kernels.insert(function.name.clone(), Arc::new(kernel));
        }
        Ok(Module { kernels, variables, owned })
    }

    /// Allocates the `.global` and `.const` variables of a module and of its functions, and writes what they start
    /// with.
    fn place_variables(
        &self,
        module: &syntax::Module,
        symbols: &mut HashMap<String, Symbol>,
    ) -> Result<(Places, Owned), LoadError> {
        let mut owned = Owned { memory: Arc::clone(&self.memory), addresses: Vec::new() };
        let mut places = BTreeMap::new();
        let of_functions = module.functions.iter().flat_map(|function| &function.variables);
        let variables: Vec<&Variable> = module
            .variables
            .iter()
            .chain(of_functions)
            .filter(|variable| matches!(variable.space, Space::Global | Space::Const))
            .collect();
        for variable in &variables {
            let wrong =
                |error: MemoryError| LoadError { line: variable.line, message: format!("{}: {error}", variable.name) };
            let address = self.memory.allocate(variable.size).map_err(wrong)?;
            owned.addresses.push(address);
            places.insert(variable.name.clone(), (address, variable.size));
            symbols.insert(variable.name.clone(), Symbol::Global(address));
        }
        for variable in &variables {
            let wrong =
                |error: MemoryError| LoadError { line: variable.line, message: format!("{}: {error}", variable.name) };
            let (address, size) = places.get(&variable.name).copied().unwrap_or_default();
            if size == 0 {
                continue;
            }
            // Variables without a value start as zeros, as new memory does.
            self.memory.initialise(address, size).map_err(wrong)?;
            self.memory.write(address, &variable.initial).map_err(wrong)?;
            for (offset, name, addend) in &variable.addresses {
                let target = match symbols.get(name) {
                    Some(Symbol::Global(target)) => target.wrapping_add_signed(*addend),
                    Some(Symbol::Function(number)) => address_of(*number),
                    Some(
                        Symbol::Shared(_)
                        | Symbol::CommonShared(_)
                        | Symbol::DynamicShared
                        | Symbol::Local(_)
                        | Symbol::Parameter(_),
                    )
                    | None => {
                        return Err(LoadError {
                            line: variable.line,
                            message: format!("{} starts with the address of {name}, which has none", variable.name),
                        });
                    }
                };
                self.memory.write(address + offset, &target.to_le_bytes()).map_err(wrong)?;
            }
        }
        Ok((places, owned))
    }

    /// Runs a kernel to its end. `parameters` is the block of its parameters, laid out as [`Kernel::parameters`] says.
    /// The shape is within the device's limits.
    ///
    /// Every launch adds one [`Record::Launch`] to what [`take_records`](Self::take_records) gives, findings or not.
    ///
    /// # Errors
    ///
    /// A kernel that can't go on.
    pub fn launch(&self, kernel: &Kernel, shape: &Shape, parameters: &[u8]) -> Result<(), Fault> {
        let mut state = self.lock();
        state.launches += 1;
        let mut padded = vec![0; (kernel.parameter_bytes as usize).next_multiple_of(PARAMETER_PADDING)];
        let given = parameters.len().min(padded.len());
        padded[..given].copy_from_slice(&parameters[..given]);
        let shared_bytes = kernel.dynamic_shared_at.saturating_add(shape.dynamic_shared);
        let threads = shape.block.iter().product();
        let launch = Launch {
            number: state.launches,
            code: &kernel.code,
            kernel,
            shape: *shape,
            parameters: &padded,
            shared_bytes,
            memory: &self.memory,
            allocations: self.memory.allocations(),
            architecture: self.options.architecture,
            checks: self.options.checks,
            counters: self.options.counters,
            findings: Findings::new(),
            order: Order::new(state.launches, kernel.granules.global),
            fault: Mutex::default(),
            stop: AtomicBool::new(false),
        };
        let demand = Demand { threads, registers: kernel.registers, shared: shared_bytes };
        let resident = resident_blocks(self.options.architecture, &demand).max(1);
        let at_once = u64::from(resident) * u64::from(self.options.architecture.part().multiprocessors);
        let seed = self.options.seed.wrapping_add(state.launches);
        let workers = launch.run(self.options.threads, at_once, seed);
        let findings = launch.findings.take();
        let counters = self.options.counters.then(|| Box::new(summarise(&launch, &workers, resident)));
        state.records.extend(findings.iter().cloned().map(Record::Finding));
        state.records.push(Record::Launch { counters, kernel: kernel.name.clone(), launch: launch.number, findings });
        match launch.fault.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(fault) => Err(fault),
            None => Ok(()),
        }
    }

    /// Takes what happened since the last call.
    #[must_use]
    pub fn take_records(&self) -> Vec<Record> {
        std::mem::take(&mut self.lock().records)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Module {
    /// How many variables it placed in global memory.
    #[must_use]
    pub fn placed(&self) -> usize {
        self.owned.addresses.len()
    }
}

/// What a launch needs to know of a kernel.
fn kernel(
    module: &syntax::Module,
    function: &syntax::Function,
    number: u32,
    code: &Arc<Code>,
    common_shared: &[&Variable],
    constant: u32,
) -> Result<Kernel, LoadError> {
    let (parameters, parameter_bytes) = code::parameter_block(function);
    let own = &code.functions[number as usize];
    let reached: Vec<&FunctionCode> =
        reached(&code.functions, number).into_iter().map(|number| &code.functions[number as usize]).collect();
    let product = |threads: [u32; 3]| threads.iter().fold(1, |product: u32, count| product.saturating_mul(*count));
    let bound = function.required_threads.or(function.max_threads).map(product);
    let registers = reached.iter().map(|function| function.registers).max().unwrap_or(0);
    let (common_shared, static_shared) = code::place_common(common_shared, &reached, own.shared)?;
    Ok(Kernel {
        name: function.name.clone(),
        parameters,
        parameter_bytes,
        common_shared,
        static_shared,
        dynamic_shared_at: static_shared.next_multiple_of(dynamic_alignment(module, function)),
        local: reached.iter().map(|function| function.local).fold(0, u32::saturating_add),
        constant,
        registers: registers.min(most_registers_of(function, bound)),
        max_threads: bound.unwrap_or(THREADS_PER_BLOCK).min(THREADS_PER_BLOCK),
        required_threads: function.required_threads,
        ptx_version: module.version,
        code: Arc::clone(code),
        function: number,
        instructions: Range {
            start: reached.iter().map(|function| function.start).min().unwrap_or(0),
            end: reached.iter().map(|function| function.end + 1).max().unwrap_or(0),
        },
        granules: Granules {
            shared: reached.iter().map(|function| function.narrowest[0]).min().unwrap_or(4),
            global: code.functions.iter().map(|function| function.narrowest[1]).min().unwrap_or(4),
        },
    })
}

/// The most registers that a compiler would give a kernel that says how many threads a block has, at most, and how many
/// blocks are to be resident.
fn most_registers_of(function: &syntax::Function, threads: Option<u32>) -> u32 {
    let most = function.max_registers.unwrap_or(REGISTERS_PER_THREAD);
    let Some(threads) = threads else { return most };
    let threads = threads.clamp(1, THREADS_PER_BLOCK);
    let resident = threads.saturating_mul(function.min_blocks.unwrap_or(1).max(1));
    // What can't be is not asked for.
    most.min(match most_registers(resident) {
        0 => most_registers(threads),
        registers => registers,
    })
}

/// The alignment of dynamic shared memory.
fn dynamic_alignment(module: &syntax::Module, function: &syntax::Function) -> u32 {
    module
        .variables
        .iter()
        .chain(&function.variables)
        .filter(|variable| variable.space == Space::Shared && variable.external)
        .map(|variable| variable.align)
        .max()
        .unwrap_or(1)
        .min(SHARED_PER_BLOCK)
}
