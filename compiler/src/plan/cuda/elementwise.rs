//! Maps per element, and copies in another order: at the edges, of concatenations, upsampling and flattening.
//!
//! Each thread makes eight channels of one position, the padding included; threads are counted over the batch.

use kwc_program::cuda::{Argument, CHANNELS, Element, Extent};

use super::kernel::{Constant, Family, Kernel, Parameter, ParameterKind, count};
use super::lower::Lowering;
use super::storage::{Map, Port, padded};
use super::work::{Amount, Work};
use crate::plan::steps::{Concat, GatherRows, Map as MapOp, Step, Upsample};

/// Threads of a block.
const THREADS: u32 = 256;

/// Blocks for so many threads a sample.
pub(super) fn blocks(threads_per_sample: usize) -> Extent {
    Extent { fixed: 0, per_sample: count(threads_per_sample), divisor: THREADS }
}

/// A kernel of plain threads: no shared memory, and no wish for residence.
pub(super) fn kernel(family: Family, constants: Vec<(&'static str, Constant)>, parameters: Vec<Parameter>) -> Kernel {
    Kernel { family, constants, epilogue: None, parameters, threads: THREADS, resident: 1, shared_bytes: 0 }
}

/// A parameter that is used.
pub(super) const fn used(name: &'static str, kind: ParameterKind) -> Parameter {
    Parameter { name, kind, used: true }
}

const BATCH: Parameter = used("batch", ParameterKind::Batch);

/// Work of what moves so many bytes per sample, and computes little.
pub(super) fn copied(read: usize, written: usize) -> Work {
    let bytes = Amount::per_sample(read + written);
    Work { compulsory: bytes, moved: bytes, ..Work::default() }
}

/// An input of the network as an activation.
pub(super) fn import(lowering: &mut Lowering<'_>, layer: &str, port: Port) -> Map {
    let element = lowering.element();
    let Port { buffer, channels, positions, channels_last } = port;
    let pitch = padded(channels);
    let output = lowering.allocate(positions * pitch * element.bytes());
    let map = Map { buffer: output, element, channels, positions, pitch, channels_last };
    let constants = vec![
        ("Element", element.into()),
        ("CHANNELS", channels.into()),
        ("PITCH", pitch.into()),
        ("POSITIONS", positions.into()),
        ("CHANNELS_LAST", channels_last.into()),
    ];
    let parameters =
        vec![used("input", ParameterKind::Input(Element::F32)), used("output", ParameterKind::Output(element)), BATCH];
    let grid = [blocks(positions * pitch / CHANNELS), Extent::ONE, Extent::ONE];
    let arguments = [Some(Argument::Buffer(buffer)), Some(Argument::Buffer(output)), Some(Argument::Batch)];
    let work = copied(channels * positions * 4, map.bytes());
    lowering.launch(layer, kernel(Family::PortIn, constants, parameters), grid, &arguments, work);
    map
}

/// An activation as an output of the network.
pub(super) fn export(lowering: &mut Lowering<'_>, layer: &str, map: Map, port: Port) {
    let constants = vec![
        ("Element", map.element.into()),
        ("CHANNELS", map.channels.into()),
        ("PITCH", map.pitch.into()),
        ("POSITIONS", map.positions.into()),
        ("CHANNELS_LAST", port.channels_last.into()),
    ];
    let parameters = vec![
        used("input", ParameterKind::Input(map.element)),
        used("output", ParameterKind::Output(Element::F32)),
        BATCH,
    ];
    let grid = [blocks(map.channels * map.positions), Extent::ONE, Extent::ONE];
    let arguments = [Some(Argument::Buffer(map.buffer)), Some(Argument::Buffer(port.buffer)), Some(Argument::Batch)];
    let work = copied(map.bytes(), map.channels * map.positions * 4);
    lowering.launch(layer, kernel(Family::PortOut, constants, parameters), grid, &arguments, work);
}

/// A map as the vector that flattening it makes.
pub(super) fn flatten(lowering: &mut Lowering<'_>, layer: &str, map: Map) -> Map {
    let channels = map.channels * map.positions;
    let pitch = padded(channels);
    let buffer = lowering.allocate(pitch * map.element.bytes());
    let vector = Map { buffer, channels, positions: 1, pitch, channels_last: true, ..map };
    let constants = vec![
        ("Element", map.element.into()),
        ("CHANNELS", map.channels.into()),
        ("PITCH", map.pitch.into()),
        ("POSITIONS", map.positions.into()),
        ("CHANNELS_LAST", map.channels_last.into()),
        ("OUT_PITCH", pitch.into()),
    ];
    let parameters = vec![
        used("input", ParameterKind::Input(map.element)),
        used("output", ParameterKind::Output(map.element)),
        BATCH,
    ];
    let grid = [blocks(pitch), Extent::ONE, Extent::ONE];
    let arguments = [Some(Argument::Buffer(map.buffer)), Some(Argument::Buffer(buffer)), Some(Argument::Batch)];
    let work = copied(map.bytes(), vector.bytes());
    lowering.launch(layer, kernel(Family::Flatten, constants, parameters), grid, &arguments, work);
    vector
}

/// Scale, shift, addition and activation on their own.
pub(super) fn map(lowering: &mut Lowering<'_>, step: &Step, op: &MapOp) {
    let input = lowering.read(&step.layer, op.input, op.channels, op.positions);
    let (epilogue, [scale, shift, add]) = lowering.epilogue(&step.layer, &op.epilogue, op.channels, op.positions);
    let output = lowering.fresh(op.output, op.channels, op.positions, input.channels_last);
    let constants = vec![
        ("Element", input.element.into()),
        ("CHANNELS", input.channels.into()),
        ("PITCH", input.pitch.into()),
        ("POSITIONS", input.positions.into()),
    ];
    let vector = |name, argument: Option<Argument>| Parameter {
        name,
        kind: ParameterKind::Input(Element::F32),
        used: argument.is_some(),
    };
    let parameters = vec![
        used("input", ParameterKind::Input(input.element)),
        vector("scale", scale),
        vector("shift", shift),
        Parameter { name: "add", kind: ParameterKind::Input(input.element), used: add.is_some() },
        used("output", ParameterKind::Output(input.element)),
        BATCH,
    ];
    let grid = [blocks(input.elements() / CHANNELS), Extent::ONE, Extent::ONE];
    let arguments = [
        Some(Argument::Buffer(input.buffer)),
        scale,
        shift,
        add,
        Some(Argument::Buffer(output.buffer)),
        Some(Argument::Batch),
    ];
    let mut kernel = kernel(Family::Map, constants, parameters);
    kernel.epilogue = Some(epilogue);
    let read = input.bytes() * if add.is_some() { 2 } else { 1 };
    lowering.launch(&step.layer, kernel, grid, &arguments, copied(read, output.bytes()));
}

/// What the device code of a concatenation calls a part: its parameter, and its constants.
const PARTS: [[&str; 4]; 8] = [
    ["part_0", "PITCH_0", "BEGIN_0", "END_0"],
    ["part_1", "PITCH_1", "BEGIN_1", "END_1"],
    ["part_2", "PITCH_2", "BEGIN_2", "END_2"],
    ["part_3", "PITCH_3", "BEGIN_3", "END_3"],
    ["part_4", "PITCH_4", "BEGIN_4", "END_4"],
    ["part_5", "PITCH_5", "BEGIN_5", "END_5"],
    ["part_6", "PITCH_6", "BEGIN_6", "END_6"],
    ["part_7", "PITCH_7", "BEGIN_7", "END_7"],
];

/// A concatenation along channels, one launch for every eight parts.
pub(super) fn concat(lowering: &mut Lowering<'_>, step: &Step, op: &Concat) {
    let channels = op.inputs.iter().map(|part| part.channels).sum();
    let parts: Vec<Map> =
        op.inputs.iter().map(|part| lowering.read(&step.layer, part.buffer, part.channels, op.positions)).collect();
    let output = lowering.fresh(op.output, channels, op.positions, op.channels_last);
    let mut first = 0;
    for parts in parts.chunks(PARTS.len()) {
        let mut constants = vec![
            ("Element", output.element.into()),
            ("POSITIONS", op.positions.into()),
            ("OUT_PITCH", output.pitch.into()),
            ("FIRST", first.into()),
        ];
        let mut parameters = Vec::new();
        let mut arguments = Vec::new();
        let (mut end, mut read) = (first, 0);
        for (index, [name, pitch_name, begin_name, end_name]) in PARTS.into_iter().enumerate() {
            let part = parts.get(index);
            let begin = end;
            end += part.map_or(0, |part| part.channels);
            read += part.map_or(0, Map::bytes);
            let pitch = part.map_or(0, |part| part.pitch);
            constants.extend([(pitch_name, pitch.into()), (begin_name, begin.into()), (end_name, end.into())]);
            parameters.push(Parameter { name, kind: ParameterKind::Input(output.element), used: part.is_some() });
            arguments.push(part.map(|part| Argument::Buffer(part.buffer)));
        }
        constants.push(("END", end.into()));
        parameters.extend([used("output", ParameterKind::Output(output.element)), BATCH]);
        arguments.extend([Some(Argument::Buffer(output.buffer)), Some(Argument::Batch)]);
        let groups = end.div_ceil(CHANNELS) - first / CHANNELS;
        let grid = [blocks(op.positions * groups), Extent::ONE, Extent::ONE];
        let work = copied(read, op.positions * groups * CHANNELS * output.element.bytes());
        lowering.launch(&step.layer, kernel(Family::Concat, constants, parameters), grid, &arguments, work);
        first = end;
    }
}

/// Nearest-neighbour upsampling.
pub(super) fn upsample(lowering: &mut Lowering<'_>, step: &Step, op: &Upsample) {
    let positions: usize = op.input_size.iter().product();
    let factor: usize = op.factor.iter().product();
    let input = lowering.read(&step.layer, op.input, op.channels, positions);
    let output = lowering.fresh(op.output, op.channels, positions * factor, input.channels_last);
    let [in_d, in_h, in_w] = op.input_size;
    let [factor_d, factor_h, factor_w] = op.factor;
    let mut constants = vec![("Element", input.element.into())];
    constants.extend(
        [
            ("PITCH", input.pitch),
            ("IN_D", in_d),
            ("IN_H", in_h),
            ("IN_W", in_w),
            ("FACTOR_D", factor_d),
            ("FACTOR_H", factor_h),
            ("FACTOR_W", factor_w),
        ]
        .map(|(name, value)| (name, value.into())),
    );
    let parameters = vec![
        used("input", ParameterKind::Input(input.element)),
        used("output", ParameterKind::Output(input.element)),
        BATCH,
    ];
    let grid = [blocks(output.elements() / CHANNELS), Extent::ONE, Extent::ONE];
    let arguments =
        [Some(Argument::Buffer(input.buffer)), Some(Argument::Buffer(output.buffer)), Some(Argument::Batch)];
    let work = copied(input.bytes(), output.bytes());
    lowering.launch(&step.layer, kernel(Family::Upsample, constants, parameters), grid, &arguments, work);
}

/// The attention of a layer, for the caller, in the method's own order of mixtures: a dump, which this writes itself.
pub(super) fn gather_rows(lowering: &mut Lowering<'_>, step: &Step, op: &GatherRows) {
    let attention = lowering.read_attention(op.input);
    let Some(output) = lowering.claim_output(op.output) else {
        unreachable!("nothing but the caller reads attentions in the method's order")
    };
    let grid = lowering.mixture_grid(&step.layer);
    let constants = vec![
        ("Element", attention.element.into()),
        ("SPATIAL", grid.spatial.into()),
        ("OUT", grid.out.into()),
        ("IN", grid.input.into()),
        ("CELLS", attention.cells.into()),
        ("PITCH", attention.pitch.into()),
    ];
    let parameters = vec![
        used("input", ParameterKind::Input(attention.element)),
        used("output", ParameterKind::Output(Element::F32)),
        BATCH,
    ];
    let elements = attention.mixtures * attention.cells;
    let grid = [blocks(elements), Extent::ONE, Extent::ONE];
    let arguments = [Some(Argument::Buffer(attention.buffer)), Some(Argument::Buffer(output)), Some(Argument::Batch)];
    let work = copied(elements * attention.element.bytes(), elements * 4);
    lowering.launch(&step.layer, kernel(Family::GatherRows, constants, parameters), grid, &arguments, work);
}
