//! Checks a Program once, so that running it needs no checks.
//!
//! What an accepted Program keeps:
//!
//! - its format version is this runtime's;
//! - every buffer lies inside the arena and every weight inside the packed block, both aligned;
//! - every port has as many values as its buffer;
//! - every id in a step is in the tables, and every operand has exactly the elements that the step's sizes ask for;
//! - no size is 0, and no product or sum of sizes overflows;
//! - channels divide into groups, blocks and cells as the step says, and a mixture's cells make up exactly the kernel;
//! - packed weights have all the elements of their panels, the zeros in the last of a block included;
//! - a convolution's windows lie inside the padded input, and a pool's windows meet the input;
//! - what a step writes shares no element with what the step reads, except where the operation may run in place: then they
//!   are the same place. A convolution's average shares nothing with any other operand.

mod attention;
mod conv;

use crate::Error;
use crate::program::{
    ALIGNMENT, Buffer, BufferId, Concat, Epilogue, Export, FORMAT_VERSION, GatherRows, GlobalAverage, Import,
    LayerNorm, Map, Op, PANEL, Pool, Port, Program, Step, Upsample, Weight, WeightId,
};

/// Checks everything that this module's head lists.
pub(super) fn program(program: &Program) -> Result<(), Error> {
    if program.format != FORMAT_VERSION {
        return Err(Error::Format { found: program.format, expected: FORMAT_VERSION });
    }
    tables(program).map_err(|what| Error::Program { what })?;
    for (index, step) in program.steps.iter().enumerate() {
        let checked = Check { program }.step(step);
        checked.map_err(|what| Error::Step { index, layer: step.layer.to_string(), what })?;
    }
    Ok(())
}

/// What is wrong, for people.
type Result<T, E = String> = std::result::Result<T, E>;

fn tables(program: &Program) -> Result<()> {
    for (index, buffer) in program.buffers.iter().enumerate() {
        let end = buffer.offset.checked_add(buffer.length);
        if end.is_none_or(|end| end > program.arena) {
            return Err(format!("buffer{index} ends beyond the arena of {} elements", program.arena));
        }
        if !buffer.offset.is_multiple_of(ALIGNMENT) {
            return Err(format!("buffer{index} starts at {}, which is no multiple of {ALIGNMENT}", buffer.offset));
        }
    }
    for weight in program.weights.iter() {
        let elements = product(&weight.shape).ok_or_else(|| format!("weight `{}` is too large", weight.name))?;
        if weight.offset.checked_add(elements).is_none_or(|end| end > program.weight_elements) {
            let block = program.weight_elements;
            return Err(format!("weight `{}` ends beyond the packed block of {block} elements", weight.name));
        }
        if !weight.offset.is_multiple_of(ALIGNMENT) {
            let offset = weight.offset;
            return Err(format!("weight `{}` starts at {offset}, which is no multiple of {ALIGNMENT}", weight.name));
        }
    }
    ports(program, "input", &program.inputs)?;
    ports(program, "output", &program.outputs)?;
    ports(program, "dump", &program.dumps)
}

fn ports(program: &Program, kind: &str, ports: &[Port]) -> Result<()> {
    for port in ports {
        let Port { name, buffer: id, shape } = port;
        let buffer = Check { program }.buffer(*id).map_err(|what| format!("{kind} `{name}`: {what}"))?;
        if product(shape) != Some(buffer.length) {
            let length = buffer.length;
            return Err(format!("{kind} `{name}` has shape {shape:?}, but its {id} has {length} elements"));
        }
    }
    Ok(())
}

fn product(sizes: &[usize]) -> Option<usize> {
    sizes.iter().try_fold(1_usize, |product, &size| product.checked_mul(size))
}

/// Elements of something with these sizes, none of which may be 0.
fn volume(what: &str, sizes: &[usize]) -> Result<usize> {
    if sizes.contains(&0) {
        return Err(format!("{what} has a size of 0: {sizes:?}"));
    }
    product(sizes).ok_or_else(|| format!("{what} is too large: {sizes:?}"))
}

/// Elements of a matrix of one block of `columns` in panels of [`PANEL`], `depth` rows each.
fn panels(what: &str, columns: usize, depth: usize) -> Result<usize> {
    product(&[columns.div_ceil(PANEL), depth, PANEL])
        .ok_or_else(|| format!("{what} is too large: [{columns}, {depth}]"))
}

fn divides(what: &str, part: usize, whole: usize) -> Result<()> {
    if whole.is_multiple_of(part) { Ok(()) } else { Err(format!("{what}: {part} does not divide {whole}")) }
}

/// Checks the steps of one Program.
#[derive(Clone, Copy)]
struct Check<'p> {
    program: &'p Program,
}

impl<'p> Check<'p> {
    fn step(self, step: &Step) -> Result<()> {
        match &step.op {
            Op::Import(op) => self.import(op),
            Op::Export(op) => self.export(op),
            Op::Conv(op) => self.conv(op),
            Op::GlobalAverage(op) => self.global_average(op),
            Op::Attention(op) => self.attention(op),
            Op::Pool(op) => self.pool(op),
            Op::LayerNorm(op) => self.layer_norm(op),
            Op::Map(op) => self.map(op),
            Op::Concat(op) => self.concat(op),
            Op::Upsample(op) => self.upsample(op),
            Op::GatherRows(op) => self.gather_rows(op),
        }
    }

    fn buffer(self, id: BufferId) -> Result<&'p Buffer> {
        let found = usize::try_from(id.0).ok().and_then(|index| self.program.buffers.get(index));
        found.ok_or_else(|| format!("there is no {id}"))
    }

    fn buffer_of(self, what: &str, id: BufferId, elements: usize) -> Result<&'p Buffer> {
        let buffer = self.buffer(id).map_err(|error| format!("{what}: {error}"))?;
        if buffer.length != elements {
            return Err(format!("{what} has {elements} elements, but its {id} has {}", buffer.length));
        }
        Ok(buffer)
    }

    fn weight_of(self, what: &str, id: WeightId, elements: usize) -> Result<()> {
        let found = usize::try_from(id.0).ok().and_then(|index| self.program.weights.get(index));
        let weight = found.ok_or_else(|| format!("{what}: there is no {id}"))?;
        if weight.elements() != elements {
            let (name, found) = (&weight.name, Weight::elements(weight));
            return Err(format!("{what} has {elements} elements, but weight `{name}` has {found}"));
        }
        Ok(())
    }

    /// An operand that shares nothing with the output.
    fn apart(self, what: &str, id: BufferId, elements: usize, output: &Buffer) -> Result<()> {
        let buffer = self.buffer_of(what, id, elements)?;
        if overlap(buffer, output) {
            return Err(format!("{what} ({id}) overlaps the output"));
        }
        Ok(())
    }

    /// An operand that shares nothing with the output, or is in the same place.
    fn apart_or_same(self, what: &str, id: BufferId, elements: usize, output: &Buffer) -> Result<()> {
        let buffer = self.buffer_of(what, id, elements)?;
        if overlap(buffer, output) && buffer != output {
            return Err(format!("{what} ({id}) overlaps the output, but is not in its place"));
        }
        Ok(())
    }

    fn epilogue(self, epilogue: &Epilogue, channels: usize, output: &Buffer) -> Result<()> {
        for (what, id) in [("scale", epilogue.scale), ("shift", epilogue.shift)] {
            if let Some(id) = id {
                self.weight_of(what, id, channels)?;
            }
        }
        epilogue.add.map_or(Ok(()), |id| self.apart_or_same("addend", id, output.length, output))
    }

    fn import(self, op: &Import) -> Result<()> {
        let mut size = [op.channels, 0, 0, 0];
        for (dimension, size) in size[1..].iter_mut().enumerate() {
            let padded =
                op.padding[dimension].checked_mul(2).and_then(|both| both.checked_add(op.input_size[dimension]));
            *size = padded.ok_or_else(|| format!("dimension {dimension}: too much padding"))?;
        }
        let output = self.buffer_of("output", op.output, volume("output", &size)?)?;
        let [depth, height, width] = op.input_size;
        self.apart("input", op.input, volume("input", &[op.channels, depth, height, width])?, output)
    }

    fn export(self, op: &Export) -> Result<()> {
        let elements = volume("output", &[op.channels, op.positions])?;
        let output = self.buffer_of("output", op.output, elements)?;
        self.apart("input", op.input, elements, output)
    }

    fn global_average(self, op: &GlobalAverage) -> Result<()> {
        let output = self.buffer_of("output", op.output, volume("output", &[op.channels])?)?;
        self.apart("input", op.input, volume("input", &[op.channels, op.positions])?, output)
    }

    fn pool(self, op: &Pool) -> Result<()> {
        let [depth, height, width] = op.output_size;
        let output = volume("output", &[op.channels, depth, height, width])?;
        let output = self.buffer_of("output", op.output, output)?;
        let [depth, height, width] = op.input_size;
        self.apart("input", op.input, volume("input", &[op.channels, depth, height, width])?, output)?;
        volume("window", &op.kernel_size)?;
        volume("stride", &op.stride)?;
        for dimension in 0..3 {
            let (input, padding) = (op.input_size[dimension], op.padding[dimension]);
            let last = (op.output_size[dimension] - 1).checked_mul(op.stride[dimension]);
            let meets = last.zip(input.checked_add(padding)).is_some_and(|(last, end)| last < end)
                && last.and_then(|last| last.checked_add(op.kernel_size[dimension])).is_some()
                && padding < op.kernel_size[dimension];
            if !meets {
                return Err(format!("dimension {dimension}: a window lies outside the input"));
            }
        }
        Ok(())
    }

    fn layer_norm(self, op: &LayerNorm) -> Result<()> {
        let elements = volume("output", &[op.channels, op.positions])?;
        let output = self.buffer_of("output", op.output, elements)?;
        self.apart_or_same("input", op.input, elements, output)?;
        self.weight_of("weight", op.weight, op.channels)?;
        self.weight_of("bias", op.bias, op.channels)
    }

    fn map(self, op: &Map) -> Result<()> {
        let elements = volume("output", &[op.channels, op.positions])?;
        let output = self.buffer_of("output", op.output, elements)?;
        self.apart_or_same("input", op.input, elements, output)?;
        self.epilogue(&op.epilogue, op.channels, output)
    }

    fn concat(self, op: &Concat) -> Result<()> {
        let channels = op.inputs.iter().try_fold(0_usize, |sum, part| sum.checked_add(part.channels));
        let channels = channels.ok_or("too many channels")?;
        let output = self.buffer_of("output", op.output, volume("output", &[channels, op.positions])?)?;
        op.inputs.iter().try_for_each(|part| {
            self.apart("part", part.buffer, volume("part", &[part.channels, op.positions])?, output)
        })
    }

    fn upsample(self, op: &Upsample) -> Result<()> {
        let [depth, height, width] = op.input_size;
        let input = volume("input", &[op.channels, depth, height, width])?;
        let factor = volume("factor", &op.factor)?;
        let output = self.buffer_of("output", op.output, volume("output", &[input, factor])?)?;
        self.apart("input", op.input, input, output)
    }

    fn gather_rows(self, op: &GatherRows) -> Result<()> {
        let output = self.buffer_of("output", op.output, volume("output", &[op.rows.len(), op.width])?)?;
        let rows = self.buffer(op.input)?.length / op.width;
        self.apart("input", op.input, volume("input", &[rows, op.width])?, output)?;
        match op.rows.iter().find(|&&row| usize::try_from(row).is_ok_and(|row| row >= rows)) {
            Some(row) => Err(format!("row {row} of an input of {rows} rows")),
            None => Ok(()),
        }
    }
}

/// Whether two buffers have an element in common.
fn overlap(a: &Buffer, b: &Buffer) -> bool {
    a.offset < b.offset + b.length && b.offset < a.offset + a.length
}
