//! Averages over all positions: partial sums, and what becomes of them.
//!
//! Most averages are read by an attention, which adds the parts up itself. Kernels that make an activation leave its partial
//! sums beside it where an average of it is needed; otherwise a kernel of its own makes them.

use kwc_program::cuda::{Argument, CHANNELS, Element, Extent};

use super::elementwise::{blocks, kernel, used};
use super::kernel::{Family, ParameterKind, count};
use super::lower::Lowering;
use super::storage::{Map, Storage, Sums, padded};
use super::work::{Amount, Work};
use crate::plan::steps::{GlobalAverage, Step};

/// Positions of a part at least, where there are as many.
const PART: usize = 64;
/// Parts at most: whoever needs the average adds them up.
const MOST_PARTS: usize = 1024;

/// The average of an activation, as partial sums.
pub(super) fn lower(lowering: &mut Lowering<'_>, step: &Step, op: &GlobalAverage) {
    let sums = match lowering.sums.get(&op.input) {
        Some(&sums) => sums,
        None => partial_sums(lowering, step, op),
    };
    lowering.store(op.output, Storage::Sums(sums));
}

fn partial_sums(lowering: &mut Lowering<'_>, step: &Step, op: &GlobalAverage) -> Sums {
    let input = lowering.read(&step.layer, op.input, op.channels, op.positions);
    let part = op.positions.div_ceil(op.positions.div_ceil(PART).min(MOST_PARTS));
    let parts = op.positions.div_ceil(part);
    let buffer = lowering.allocate(parts * input.pitch * Element::F32.bytes());
    let sums = Sums { buffer, parts, channels: op.channels, pitch: input.pitch, positions: op.positions };
    // A thread adds up eight channels; the other dimension of a block are positions.
    let columns = (input.pitch / CHANNELS).next_power_of_two().min(32);
    let constants = vec![
        ("Element", input.element.into()),
        ("PITCH", input.pitch.into()),
        ("POSITIONS", input.positions.into()),
        ("PARTS", parts.into()),
        ("PART", part.into()),
        ("COLUMNS", columns.into()),
    ];
    let parameters =
        vec![used("input", ParameterKind::Input(input.element)), used("sums", ParameterKind::Output(Element::F32))];
    let kernel = kernel(Family::PartialSums, constants, parameters);
    let extent = |blocks: usize| Extent::fixed(count(blocks));
    let grid = [extent((input.pitch / CHANNELS).div_ceil(columns)), extent(parts), Extent::BATCH];
    let bytes = Amount::per_sample(input.bytes() + parts * input.pitch * Element::F32.bytes());
    let work = Work { compulsory: bytes, moved: bytes, ..Work::default() };
    let arguments = [Some(Argument::Buffer(input.buffer)), Some(Argument::Buffer(buffer))];
    lowering.launch(&step.layer, kernel, grid, &arguments, work);
    sums
}

/// The average that partial sums amount to, as an activation of one position.
pub(super) fn finish(lowering: &mut Lowering<'_>, layer: &str, sums: Sums) -> Map {
    let element = lowering.element();
    let pitch = padded(sums.channels);
    let buffer = lowering.allocate(pitch * element.bytes());
    let map = Map { buffer, element, channels: sums.channels, positions: 1, pitch, channels_last: true };
    let constants = vec![
        ("Element", element.into()),
        ("CHANNELS", sums.channels.into()),
        ("PITCH", pitch.into()),
        ("PARTS", sums.parts.into()),
        ("PART_PITCH", sums.pitch.into()),
        ("POSITIONS", sums.positions.into()),
    ];
    let parameters = vec![
        used("sums", ParameterKind::Input(Element::F32)),
        used("output", ParameterKind::Output(element)),
        used("batch", ParameterKind::Batch),
    ];
    let kernel = kernel(Family::Average, constants, parameters);
    let bytes = Amount::per_sample(sums.parts * sums.pitch * Element::F32.bytes() + map.bytes());
    let work = Work { compulsory: bytes, moved: bytes, ..Work::default() };
    let arguments = [Some(Argument::Buffer(sums.buffer)), Some(Argument::Buffer(buffer)), Some(Argument::Batch)];
    lowering.launch(layer, kernel, [blocks(pitch / CHANNELS), Extent::ONE, Extent::ONE], &arguments, work);
    map
}
