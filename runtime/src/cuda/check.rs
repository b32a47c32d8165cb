//! Checks a Program once, so that no launch of it touches memory that is not its own for want of a sound table.
//!
//! What an accepted Program keeps:
//!
//! - its format version is this runtime's, its ids are ids, and the largest batch is a positive `i32`;
//! - every weight lies inside the packed block, and every buffer inside its variant's arena, all aligned;
//! - the variants cover the batches from 1 to the largest, in order, and each launches something;
//! - every variant's first buffers have room for the inputs, outputs and dumps;
//! - every id in a launch is in the tables, and its arguments fit a kernel's parameters;
//! - every grid has blocks in each dimension, and no more than a device allows, at every batch of its range;
//! - no size overflows.
//!
//! What it does not show: that a kernel keeps to the operands that it is given.

use crate::Error;
use crate::program::cuda::{ALIGNMENT, Argument, Extent, FORMAT_VERSION, Kernel, Launch, Port, Program, Variant};

use crate::hash;

/// Most threads of a block, on any device.
const MAX_THREADS: u32 = 1024;
/// Most blocks of a grid in x, y and z, on any device.
const MAX_BLOCKS: [u64; 3] = [0x7fff_ffff, 65535, 65535];
/// Bytes of parameters that a kernel may have in every version of PTX, of 8 each.
const MAX_PARAMETERS: usize = 4096 / 8;

/// Checks everything that this module's head lists.
pub(super) fn program(program: &Program) -> Result<(), Error> {
    if program.format != FORMAT_VERSION {
        return Err(Error::Format { found: program.format, expected: FORMAT_VERSION });
    }
    tables(program).map_err(|what| Error::Program { what })?;
    let mut smallest = 1;
    for (index, variant) in program.variants.iter().enumerate() {
        let named = |what| Error::Program { what: format!("variant {index}: {what}") };
        self::variant(program, variant, smallest).map_err(named)?;
        for (index, launch) in variant.launches.iter().enumerate() {
            let named = |what| Error::Launch { batch: variant.batch, index, layer: launch.layer.to_string(), what };
            self::launch(program, variant, launch, smallest).map_err(named)?;
        }
        smallest = variant.batch + 1;
    }
    if smallest == 1 || smallest - 1 != program.max_batch {
        let (last, largest) = (smallest - 1, program.max_batch);
        return Err(Error::Program { what: format!("the variants end at batch {last}, and the largest is {largest}") });
    }
    Ok(())
}

/// What is wrong, for people.
type Result<T, E = String> = std::result::Result<T, E>;

fn tables(program: &Program) -> Result<()> {
    if program.max_batch == 0 || i32::try_from(program.max_batch).is_err() {
        return Err(format!("the largest batch is {}", program.max_batch));
    }
    for (what, id) in [("weights_id", &program.weights_id), ("source_id", &program.source_id)] {
        if !hash::is_id(id) {
            return Err(format!("{what} is `{id}`, not 64 hexadecimal digits"));
        }
    }
    if isize::try_from(program.weight_bytes).is_err() {
        return Err(format!("the packed block of {} bytes is too large", program.weight_bytes));
    }
    if program.counters.checked_mul(4).is_none_or(|bytes| isize::try_from(bytes).is_err()) {
        return Err(format!("{} counters are too many", program.counters));
    }
    for weight in program.weights.iter() {
        let elements = product(&weight.shape).and_then(|elements| elements.checked_mul(weight.element.bytes()));
        let end = elements.and_then(|bytes| weight.offset.checked_add(bytes));
        if end.is_none_or(|end| end > program.weight_bytes) {
            let block = program.weight_bytes;
            return Err(format!("weight `{}` ends beyond the packed block of {block} bytes", weight.name));
        }
        if !weight.offset.is_multiple_of(ALIGNMENT) {
            let offset = weight.offset;
            return Err(format!("weight `{}` starts at {offset}, which is no multiple of {ALIGNMENT}", weight.name));
        }
    }
    for Kernel { symbol, threads, .. } in program.kernels.iter() {
        if symbol.is_empty() || symbol.contains('\0') {
            return Err(format!("a kernel is called `{}`", symbol.escape_default()));
        }
        if *threads == 0 || *threads > MAX_THREADS {
            return Err(format!("kernel {symbol} has blocks of {threads} threads"));
        }
    }
    Ok(())
}

/// All ports in the order of their buffers, each with what it is.
fn ports(program: &Program) -> impl Iterator<Item = (&'static str, &Port)> {
    let inputs = program.inputs.iter().map(|port| ("input", port));
    let outputs = program.outputs.iter().map(|port| ("output", port));
    inputs.chain(outputs).chain(program.dumps.iter().map(|port| ("dump", port)))
}

fn variant(program: &Program, variant: &Variant, smallest: usize) -> Result<()> {
    if variant.batch < smallest || variant.batch > program.max_batch {
        let (batch, largest) = (variant.batch, program.max_batch);
        return Err(format!("its largest batch is {batch}, which is not from {smallest} to {largest}"));
    }
    if variant.launches.is_empty() {
        return Err("it launches nothing".to_owned());
    }
    if variant.arena.checked_mul(variant.batch).is_none_or(|bytes| isize::try_from(bytes).is_err()) {
        return Err(format!("an arena of {} bytes for each of {} samples is too large", variant.arena, variant.batch));
    }
    for (index, buffer) in variant.buffers.iter().enumerate() {
        if buffer.offset.checked_add(buffer.length).is_none_or(|end| end > variant.arena) {
            return Err(format!("buffer{index} ends beyond the arena of {} bytes", variant.arena));
        }
        if !buffer.offset.is_multiple_of(ALIGNMENT) {
            return Err(format!("buffer{index} starts at {}, which is no multiple of {ALIGNMENT}", buffer.offset));
        }
    }
    for (index, (kind, Port { name, shape })) in ports(program).enumerate() {
        let Some(buffer) = variant.buffers.get(index) else {
            return Err(format!("{kind} `{name}` has no buffer{index}"));
        };
        let bytes = product(shape).and_then(|elements| elements.checked_mul(4));
        if bytes.is_none_or(|bytes| bytes == 0 || bytes > buffer.length) {
            let length = buffer.length;
            return Err(format!("{kind} `{name}` has shape {shape:?}, but its buffer{index} has {length} bytes"));
        }
    }
    Ok(())
}

fn launch(program: &Program, variant: &Variant, launch: &Launch, smallest: usize) -> Result<()> {
    let has = |id: u32, length: usize| usize::try_from(id).is_ok_and(|id| id < length);
    if !has(launch.kernel.0, program.kernels.len()) {
        return Err(format!("there is no kernel {}", launch.kernel.0));
    }
    for (extent, (most, axis)) in launch.grid.iter().zip(MAX_BLOCKS.into_iter().zip(["x", "y", "z"])) {
        let Extent { fixed, per_sample, divisor } = *extent;
        if divisor == 0 {
            return Err(format!("the grid's {axis} has the divisor 0"));
        }
        // Blocks grow with the batch, so the ends of the range say it all.
        if extent.blocks(smallest) == 0 {
            return Err(format!("the grid has no blocks in {axis} at batch {smallest}"));
        }
        if extent.blocks(variant.batch) > most {
            let work = format!("{fixed} + {per_sample} * {}", variant.batch);
            return Err(format!("the grid has ceil(({work}) / {divisor}) blocks in {axis}, and {most} are the most"));
        }
    }
    if launch.arguments.len() > MAX_PARAMETERS {
        return Err(format!("{} arguments exceed the {MAX_PARAMETERS} that kernels take", launch.arguments.len()));
    }
    launch.arguments.iter().try_for_each(|argument| match *argument {
        Argument::Buffer(id) if !has(id.0, variant.buffers.len()) => Err(format!("there is no {id}")),
        Argument::Weight(id) if !has(id.0, program.weights.len()) => Err(format!("there is no {id}")),
        Argument::Counter(index) if !has(index, program.counters) => Err(format!("there is no counter {index}")),
        Argument::Buffer(_) | Argument::Weight(_) | Argument::Counter(_) | Argument::Batch | Argument::Int(_) => Ok(()),
    })
}

fn product(sizes: &[usize]) -> Option<usize> {
    sizes.iter().try_fold(1_usize, |product, &size| product.checked_mul(size))
}
