//! Convolutions in `f32`, as products of matrices on the units for fused multiply-adds.

use kwc_program::cuda::{Element, Extent};

use super::planar::{self, Operands};
use crate::plan::cuda::kernel::{Family, Kernel, count};
use crate::plan::cuda::lower::Lowering;
use crate::plan::cuda::work::{Amount, Work};
use crate::plan::steps::{Conv, Step};

/// What one block makes.
#[derive(Debug, Clone, Copy)]
struct Tile {
    channels: usize,
    positions: usize,
    /// Positions of a thread; it makes an eighth of the channels.
    thread_positions: usize,
    /// Wavefronts of shared memory that a block takes for one term of the sums: they bound its main loop. A warp takes four
    /// for each access of 16 bytes a lane: a quarter of its positions and a fourth of its channels.
    wavefronts: usize,
}

const TILES: [Tile; 4] = [
    Tile { channels: 64, positions: 128, thread_positions: 8, wavefronts: 4 * 16 },
    Tile { channels: 64, positions: 64, thread_positions: 4, wavefronts: 4 * 12 },
    Tile { channels: 32, positions: 64, thread_positions: 4, wavefronts: 4 * 8 },
    Tile { channels: 32, positions: 32, thread_positions: 4, wavefronts: 2 * 8 },
];

impl Tile {
    fn threads(self) -> usize {
        8 * self.positions / self.thread_positions
    }
}

/// Whether the family covers a convolution.
pub(super) fn covers(lowering: &Lowering<'_>, op: &Conv) -> bool {
    lowering.element() == Element::F32 && op.groups == 1 && planar::is_planar(op)
}

/// One convolution.
pub(super) fn lower(lowering: &mut Lowering<'_>, step: &Step, op: &Conv) {
    let window: usize = op.kernel_size.iter().product();
    let positions = planar::out_positions(op);
    let input = lowering.read(&step.layer, op.input, op.in_channels, op.input_size.iter().product());
    let kernel = lowering.kernel_operand(op.kernel, op.out_channels, op.in_channels, window, op.channel_block);
    let (epilogue, vectors) = planar::epilogue(lowering, &step.layer, op);
    let output = lowering.fresh(op.output, op.out_channels, positions, input.channels_last);
    let averaged = lowering.is_averaged(op.output);
    let is_flat = kernel.sample_stride == 0 && !averaged;
    let tile = choose(lowering, op.out_channels, positions, is_flat);
    let tiles = positions.div_ceil(tile.positions);
    let sums = averaged.then(|| planar::leave_sums(lowering, op.output, output, tiles));
    let operands =
        Operands { input: input.buffer, input_element: input.element, kernel, epilogue: vectors, output, sums };

    let mut constants = planar::sizes(op, input.pitch, output.pitch);
    constants.extend(planar::layout(&kernel));
    constants.extend([
        ("TILE_CHANNELS", tile.channels.into()),
        ("TILE_POSITIONS", tile.positions.into()),
        ("THREAD_POSITIONS", tile.thread_positions.into()),
        ("FLAT", is_flat.into()),
        ("SUMS", averaged.into()),
    ]);
    let along_positions = if is_flat {
        Extent { fixed: 0, per_sample: count(positions), divisor: count(tile.positions) }
    } else {
        Extent { fixed: 0, per_sample: count(tiles), divisor: 1 }
    };
    let channel_tiles = op.out_channels.div_ceil(tile.channels);
    let grid = [along_positions, Extent::fixed(count(channel_tiles)), Extent::ONE];
    let kernel_of = Kernel {
        family: Family::ConvF32,
        constants,
        epilogue: Some(epilogue),
        parameters: operands.parameters(),
        threads: count(tile.threads()),
        resident: 1,
        shared_bytes: 0,
    };
    let terms = op.in_channels * window;
    let tile_bytes = (tile.positions + tile.channels) * terms * Element::F32.bytes();
    let work = Work {
        useful: Amount::per_sample(positions * op.out_channels * terms),
        padded: Amount::per_sample(tiles * tile.positions * channel_tiles * tile.channels * terms.next_multiple_of(16)),
        tensor: false,
        compulsory: planar::kernel_bytes(op, &kernel, Element::F32) + operands.activation_bytes(input.bytes()),
        moved: Amount::per_sample(tiles * channel_tiles * tile_bytes) + operands.activation_bytes(0),
    };
    lowering.launch(&step.layer, kernel_of, grid, &operands.arguments(), work);
}

/// The tile with which the busiest multiprocessor has the least to do.
fn choose(lowering: &Lowering<'_>, channels: usize, positions: usize, is_flat: bool) -> Tile {
    let multiprocessors = lowering.options.gpu.multiprocessors as usize;
    let busiest = |tile: &Tile| {
        let tiles = if is_flat {
            (positions * lowering.batch).div_ceil(tile.positions)
        } else {
            positions.div_ceil(tile.positions) * lowering.batch
        };
        (tiles * channels.div_ceil(tile.channels)).div_ceil(multiprocessors) * tile.wavefronts
    };
    TILES.into_iter().min_by_key(busiest).unwrap_or(TILES[0])
}
