//! Linear layers of one position per sample: a matrix times a vector, bound by memory.

use kwc_program::BufferId;
use kwc_program::cuda::{Argument, Element, Extent};

use super::elementwise::used;
use super::kernel::{Family, Kernel, ParameterKind, count};
use super::lower::Lowering;
use super::product::Product;
use super::storage::{Map, Storage, Sums};
use super::work::{Amount, Work};
use crate::plan::steps::{Linear, Step};

/// Most threads of a block, and fewest.
const THREADS: [usize; 2] = [32, 256];
/// Most channel groups of a block: 128 bytes of every row of the kernel.
const MOST_LANES: usize = 8;
/// Fewest: 32 bytes, one sector.
const FEWEST_LANES: usize = 2;
/// Most samples that share what a block reads of a static kernel.
const MOST_SAMPLES: usize = 8;
/// Rows of the kernel that a thread takes together.
const ROWS: usize = 8;
/// Most parts of an average that every block adds up for itself, instead of a launch that does it once.
const MOST_PARTS: usize = 8;

/// What the layer reads: elements of a type, from one sample to the next `pitch * max(parts, 1)`.
struct Input {
    buffer: BufferId,
    element: Element,
    pitch: usize,
    /// Parts of an average over so many positions; 0 for a vector.
    parts: usize,
    positions: usize,
}

impl Input {
    fn vector(map: Map) -> Self {
        Self { buffer: map.buffer, element: map.element, pitch: map.pitch, parts: 0, positions: 1 }
    }

    fn sums(sums: Sums) -> Self {
        let Sums { buffer, parts, pitch, positions, .. } = sums;
        Self { buffer, element: Element::F32, pitch, parts, positions }
    }

    /// Bytes of one sample.
    fn bytes(&self) -> usize {
        self.pitch * self.parts.max(1) * self.element.bytes()
    }
}

/// A linear layer of one position.
pub(super) fn lower(lowering: &mut Lowering<'_>, step: &Step, op: &Linear) {
    let element = lowering.element();
    let input = match lowering.storage(op.input) {
        Storage::Sums(sums) if sums.channels == op.in_channels && sums.parts <= MOST_PARTS => Input::sums(sums),
        Storage::Sums(_)
        | Storage::Port(_)
        | Storage::Map(_)
        | Storage::Attention(_)
        | Storage::Kernel(_)
        | Storage::Unmixed(_) => Input::vector(lowering.read(&step.layer, op.input, op.in_channels, 1)),
    };
    let kernel = lowering.kernel_operand(op.kernel, op.out_channels, op.in_channels, 1, op.in_channels);
    let (epilogue, vectors) = lowering.epilogue(&step.layer, &op.epilogue, op.out_channels, 1);
    let (output, out_element, out_pitch) = match lowering.claim_output(op.output) {
        Some(port) => (port, Element::F32, op.out_channels),
        None => {
            let map = lowering.fresh(op.output, op.out_channels, 1, op.channels_last);
            (map.buffer, map.element, map.pitch)
        }
    };

    let per_sample = kernel.sample_stride != 0;
    let samples = if per_sample { 1 } else { lowering.batch.next_power_of_two().min(MOST_SAMPLES) };
    let chunks = lowering.batch.div_ceil(samples);
    let vector = 16 / element.bytes();
    let groups = op.out_channels / kernel.block * (kernel.pitch / vector);
    let wanted = (lowering.options.gpu.multiprocessors as usize / 2).div_ceil(chunks);
    let mut lanes = MOST_LANES;
    while lanes > FEWEST_LANES && groups.div_ceil(lanes) < wanted {
        lanes /= 2;
    }
    let tiles = groups.div_ceil(lanes);
    let [fewest, most] = THREADS;
    let threads = (lanes * op.in_channels.div_ceil(ROWS)).next_power_of_two().clamp(fewest, most);

    let mut constants =
        vec![("Element", element.into()), ("Input", input.element.into()), ("Output", out_element.into())];
    constants.extend(
        [
            ("SAMPLES", samples),
            ("LANES", lanes),
            ("IN_CHANNELS", op.in_channels),
            ("IN_PITCH", input.pitch),
            ("PARTS", input.parts),
            ("POSITIONS", input.positions),
            ("OUT_CHANNELS", op.out_channels),
            ("OUT_PITCH", out_pitch),
            ("ADD_PITCH", super::storage::padded(op.out_channels)),
            ("BLOCK", kernel.block),
            ("BLOCK_PITCH", kernel.pitch),
            ("KERNEL_STRIDE", kernel.sample_stride),
        ]
        .map(|(name, value)| (name, value.into())),
    );
    let product = Product {
        input: (Argument::Buffer(input.buffer), input.element),
        kernel: (kernel.argument, element),
        epilogue: vectors,
        output: (Argument::Buffer(output), out_element),
    };
    let mut parameters = product.parameters();
    parameters.push(used("batch", ParameterKind::Batch));
    let mut arguments = product.arguments();
    arguments.push(Some(Argument::Batch));
    let linear = Kernel {
        family: Family::Linear,
        constants,
        epilogue: Some(epilogue),
        parameters,
        threads: count(threads),
        // Left to itself, the assembler spills to fit more blocks than there are.
        resident: if samples > 4 { 1 } else { 2 },
        shared_bytes: 0,
    };
    let divisor = count(samples);
    let grid = [Extent { divisor, ..Extent::BATCH }, Extent::fixed(count(tiles)), Extent::ONE];

    let kernel_bytes = |channels: usize| channels * op.in_channels * element.bytes();
    let useful = op.out_channels * op.in_channels;
    let once = |amount| if per_sample { Amount::per_sample(amount) } else { Amount::fixed(amount) };
    let written = out_pitch * out_element.bytes() + if epilogue.add { op.out_channels * element.bytes() } else { 0 };
    let padded = tiles * lanes * vector;
    let kernel_moved = match chunks {
        1 => once(kernel_bytes(groups * vector)),
        _ => Amount::per_sample(kernel_bytes(groups * vector) / samples),
    };
    let work = Work {
        useful: Amount::per_sample(useful),
        padded: Amount::per_sample(padded * op.in_channels),
        tensor: false,
        compulsory: once(kernel_bytes(op.out_channels)) + Amount::per_sample(input.bytes() + written),
        moved: kernel_moved + Amount::per_sample(input.bytes() * tiles + written),
    };
    lowering.launch(&step.layer, linear, grid, &arguments, work);
}
