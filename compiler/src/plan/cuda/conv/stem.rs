//! Convolutions that read an input of the network as it is given: few channels, in PyTorch's order.

use kwc_program::cuda::{Element, Extent};

use super::planar::{self, Operands};
use crate::plan::cuda::kernel::{Family, Kernel, count};
use crate::plan::cuda::lower::Lowering;
use crate::plan::cuda::storage::{Port, Storage};
use crate::plan::cuda::work::{Amount, Work};
use crate::plan::steps::{Conv, Step};

/// Input channels up to which an image in shared memory is better than the gathering of rows of channels.
const CHANNELS: usize = 4;

/// Positions of a tile, and threads of a block.
const POSITIONS: usize = 128;

/// Static shared memory of a block, bytes.
const SHARED: usize = 48 << 10;

/// What one block makes.
#[derive(Debug, Clone, Copy)]
struct Tile {
    height: usize,
    width: usize,
    channels: usize,
    /// Terms of the sums, with padding.
    depth: usize,
    /// Elements of the image in shared memory.
    image: usize,
}

/// The port that a convolution reads and the tile to do it with, if the family covers it.
fn find(lowering: &Lowering<'_>, op: &Conv) -> Option<(Port, Tile)> {
    let Storage::Port(port) = lowering.storage(op.input) else { return None };
    let is_covered = op.groups == 1 && op.in_channels <= CHANNELS && planar::is_planar(op) && !port.channels_last;
    if !is_covered || (port.channels, port.positions) != (op.in_channels, op.input_size.iter().product()) {
        return None;
    }
    Some((port, tile(op, lowering.element())?))
}

/// The tile that covers the output with the fewest positions; `None` if none fits into shared memory.
fn tile(op: &Conv, element: Element) -> Option<Tile> {
    let [_, out_h, out_w] = op.output_size;
    let [_, kernel_h, kernel_w] = op.kernel_size;
    // As in the device code: pairs of terms make words, 16 a step, of tensor cores.
    let (row, step, kernel_padding) = match element {
        Element::F16 => (kernel_w.next_multiple_of(2), 16, 8),
        Element::F32 => (kernel_w, 1, 0),
    };
    let depth = (op.in_channels * kernel_h * row).next_multiple_of(step);
    let channel_tiles = op.out_channels.div_ceil(64);
    let channels = op.out_channels.div_ceil(channel_tiles).next_multiple_of(16);
    let sizes = [16, 8, 32, 64, 128].into_iter().map(|width| {
        let height = POSITIONS / width;
        let image_h = (height - 1) * op.stride[1] + (kernel_h - 1) * op.dilation[1] + 1;
        let image_w = (width - 1) * op.stride[2] + (row - 1) * op.dilation[2] + 1;
        let image = op.in_channels * image_h * image_w.next_multiple_of(2);
        Tile { height, width, channels, depth, image }
    });
    let fits = |tile: &Tile| {
        let image = tile.image.next_multiple_of(16 / element.bytes());
        let operands = (image + depth * (channels + kernel_padding)) * element.bytes();
        operands.max(POSITIONS * (channels + 8) * 4) <= SHARED
    };
    let covered = |tile: &Tile| out_h.next_multiple_of(tile.height) * out_w.next_multiple_of(tile.width);
    sizes.filter(fits).min_by_key(covered)
}

/// Whether the family covers a convolution.
pub(super) fn covers(lowering: &Lowering<'_>, op: &Conv) -> bool {
    find(lowering, op).is_some()
}

/// One convolution.
pub(super) fn lower(lowering: &mut Lowering<'_>, step: &Step, op: &Conv) {
    let Some((port, tile)) = find(lowering, op) else { return };
    let element = lowering.element();
    let [_, out_h, out_w] = op.output_size;
    let window: usize = op.kernel_size.iter().product();
    let positions = planar::out_positions(op);
    let kernel = lowering.kernel_operand(op.kernel, op.out_channels, op.in_channels, window, op.channel_block);
    let (epilogue, vectors) = planar::epilogue(lowering, &step.layer, op);
    let output = lowering.fresh(op.output, op.out_channels, positions, false);
    let averaged = lowering.is_averaged(op.output);
    let tiles = out_h.div_ceil(tile.height) * out_w.div_ceil(tile.width);
    let sums = averaged.then(|| planar::leave_sums(lowering, op.output, output, tiles));
    let operands =
        Operands { input: port.buffer, input_element: Element::F32, kernel, epilogue: vectors, output, sums };

    let mut constants = vec![("Element", element.into())];
    constants.extend(planar::sizes(op, op.in_channels, output.pitch));
    constants.extend(planar::layout(&kernel));
    constants.extend([
        ("TILE_H", tile.height.into()),
        ("TILE_W", tile.width.into()),
        ("TILE_CHANNELS", tile.channels.into()),
        ("SUMS", averaged.into()),
    ]);
    let channel_tiles = op.out_channels.div_ceil(tile.channels);
    let grid =
        [Extent { fixed: 0, per_sample: count(tiles), divisor: 1 }, Extent::fixed(count(channel_tiles)), Extent::ONE];
    let stem = Kernel {
        family: Family::Stem,
        constants,
        epilogue: Some(epilogue),
        parameters: operands.parameters(),
        threads: count(POSITIONS),
        resident: 1,
        shared_bytes: 0,
    };
    let port_bytes = port.channels * port.positions * Element::F32.bytes();
    let tile_bytes = tile.image * Element::F32.bytes() + op.in_channels * window * tile.channels * element.bytes();
    let work = Work {
        useful: Amount::per_sample(positions * op.out_channels * op.in_channels * window),
        padded: Amount::per_sample(tiles * POSITIONS * channel_tiles * tile.channels * tile.depth),
        tensor: element == Element::F16,
        compulsory: planar::kernel_bytes(op, &kernel, element) + operands.activation_bytes(port_bytes),
        moved: Amount::per_sample(tiles * channel_tiles * tile_bytes) + operands.activation_bytes(0),
    };
    lowering.launch(&step.layer, stem, grid, &operands.arguments(), work);
}
