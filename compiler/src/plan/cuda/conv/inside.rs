//! Convolutions that mix their kernels themselves, in half precision on tensor cores, and when that is better than a mixing
//! product and a convolution.
//!
//! One kernel reads the warehouse once and leaves no mixed kernel in memory. That is for few samples and few output
//! positions: every sample's mixtures are mixed in one block, and were the positions more than a tile, each tile would mix
//! anew. So it covers batches to [`MAX_BATCH`], one tile of [`MAX_POSITIONS`] output positions, one group, one or two
//! dimensions, and cells whose channels, of inputs and of outputs, are multiples of 16; and mixtures whose sums fit in
//! registers and shared memory (`tiles`). Mixed kernels that anything but one such convolution reads are mixed apart.
//!
//! Both ways have a modelled time, from the same figures of the GPU: apart it is the product's, the convolution's, and the
//! start of one more kernel; inside it is that of its own best tiles (`tiles`). Each is the largest of what its busiest
//! multiprocessor takes, what moves through the L2 cache, and, for what mixes, the warehouse at the bandwidth of global
//! memory: neither way may count on finding it in the L2 cache. The shorter one is taken. The attention is computed ahead of
//! either, in the same way.

mod tiles;

use kwc_program::BufferId;
use kwc_program::cuda::{Argument, Element, Extent};

use super::planar::{self, Constants, Ending};
use super::tiles::seconds as conv_seconds;
use super::{stem, tensor};
use crate::partition::Grid;
use crate::plan::cuda::Mixing;
use crate::plan::cuda::elementwise::used;
use crate::plan::cuda::kernel::{Family, Kernel, Parameter, ParameterKind, count};
use crate::plan::cuda::lower::Lowering;
use crate::plan::cuda::storage::{Attention, Map, padded};
use crate::plan::cuda::work::{Amount, Work};
use crate::plan::steps::{Conv, Mix, Op, Operand, Step};
pub(in crate::plan::cuda) use tiles::Tiles;
use tiles::{Axis, Problem};

/// Samples of a batch at most.
const MAX_BATCH: usize = 2;
/// Output positions at most.
const MAX_POSITIONS: usize = 64;
/// Channels of a cell are a multiple of this.
const CHANNELS: usize = 16;
/// Strides, and positions of a kernel, at most: tables of pixels are computed with them.
const MAX_STRIDE: usize = 4;
const MAX_WINDOW: usize = 49;

/// A kernel that its convolution mixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::plan::cuda) struct Unmixed {
    pub attention: Attention,
    /// `[cells, cell_spatial * cell_in, cell_out]`
    pub warehouse: Argument,
    pub cells: Cells,
    pub tiles: Tiles,
}

/// The cells that a kernel is mixed of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::plan::cuda) struct Cells {
    /// Output channels of a cell.
    pub out: usize,
    /// Input channels of a cell.
    pub input: usize,
    /// Positions of a cell.
    pub spatial: usize,
    /// The layer's mixtures.
    pub grid: Grid,
}

/// What the model says of a dynamic layer that could be computed in both ways, seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// Path of the layer.
    pub layer: String,
    /// A mixing product, then a convolution.
    pub apart: f64,
    /// One kernel.
    pub inside: f64,
}

/// The convolution that reads a mixed kernel, if it is alone to do so and this family covers it.
fn consumer(lowering: &Lowering<'_>, mixed: BufferId) -> Option<Conv> {
    let steps = lowering.steps;
    if steps.outputs.iter().chain(steps.dumps.iter()).any(|port| port.buffer == mixed) {
        return None;
    }
    let mut readers = steps.steps.iter().filter(|step| step.op.reads().contains(&mixed));
    let (Some(reader), None) = (readers.next(), readers.next()) else { return None };
    let conv = match &reader.op {
        Op::Conv(op) => op.clone(),
        Op::Linear(op) if op.positions > 1 => op.as_conv(),
        Op::Linear(_)
        | Op::GlobalAverage(_)
        | Op::Attention(_)
        | Op::Mix(_)
        | Op::Pool(_)
        | Op::LayerNorm(_)
        | Op::Map(_)
        | Op::Concat(_)
        | Op::Upsample(_)
        | Op::GatherRows(_) => return None,
    };
    let is_kernel = matches!(conv.kernel, Operand::Buffer(buffer) if buffer == mixed);
    (is_kernel && !stem::covers(lowering, &conv) && covers(lowering, &conv)).then_some(conv)
}

fn covers(lowering: &Lowering<'_>, op: &Conv) -> bool {
    let elements = op.input_size.iter().product::<usize>() * padded(op.in_channels);
    tensor::covers(lowering, op)
        && lowering.batch <= MAX_BATCH
        && planar::out_positions(op) <= MAX_POSITIONS
        && op.stride.iter().all(|&stride| stride <= MAX_STRIDE)
        && op.kernel_size.iter().product::<usize>() <= MAX_WINDOW
        // Elements of all samples are counted in 32 bits.
        && i32::try_from(elements.saturating_mul(MAX_BATCH)).is_ok()
}

/// Whether a layer's kernel is to be mixed inside its convolution: what that then needs.
pub(in crate::plan::cuda) fn choose(
    lowering: &mut Lowering<'_>,
    step: &Step,
    op: &Mix,
    attention: Attention,
    warehouse: Argument,
    cell_out: usize,
    apart: f64,
) -> Option<Unmixed> {
    let setting = lowering.options.mixing;
    if setting == Mixing::Apart {
        return None;
    }
    let conv = consumer(lowering, op.output)?;
    let grid = lowering.mixture_grid(&step.layer);
    let input = conv.in_channels / grid.input;
    let cells = Cells { out: cell_out, input, spatial: op.cell / (cell_out * input), grid };
    if !cell_out.is_multiple_of(CHANNELS) || !input.is_multiple_of(CHANNELS) {
        return None;
    }
    let problem = problem(&conv, &cells, attention.cells, lowering.batch);
    let gpu = lowering.options.gpu;
    let tiles = tiles::choose(&problem, gpu)?;
    let conv_problem = tensor::problem(&conv, cell_out, cell_out, lowering.batch);
    let apart = apart + conv_seconds(&conv_problem, gpu)? + gpu.launch;
    let inside = tiles.seconds(&problem, gpu);
    lowering.choices.push(Choice { layer: step.layer.to_string(), apart, inside });
    let is_inside = setting == Mixing::Inside || inside < apart;
    is_inside.then_some(Unmixed { attention, warehouse, cells, tiles })
}

fn problem(op: &Conv, cells: &Cells, count: usize, samples: usize) -> Problem {
    let axis = |dimension: usize| Axis {
        kernel: op.kernel_size[dimension],
        stride: op.stride[dimension],
        dilation: op.dilation[dimension],
        outputs: op.output_size[dimension],
    };
    Problem {
        cells: count,
        cell_out: cells.out,
        cell_in: cells.input,
        cell_spatial: cells.spatial,
        grid: cells.grid,
        axes: [axis(1), axis(2)],
        samples,
    }
}

/// One convolution, its kernel mixed in it.
pub(super) fn lower(lowering: &mut Lowering<'_>, step: &Step, op: &Conv, unmixed: &Unmixed) {
    let Unmixed { attention, warehouse, cells, tiles } = *unmixed;
    let problem = problem(op, &cells, attention.cells, lowering.batch);
    let out_positions = planar::out_positions(op);
    let input = lowering.read(&step.layer, op.input, op.in_channels, op.input_size.iter().product());
    let (epilogue, [scale, shift, add]) = lowering.epilogue(&step.layer, &op.epilogue, op.out_channels, out_positions);
    let output = lowering.fresh(op.output, op.out_channels, out_positions, input.channels_last);
    let averaged = lowering
        .is_averaged(op.output)
        .then(|| Argument::Buffer(planar::leave_sums(lowering, op.output, output, 1).buffer));
    let c_tiles = tiles.c_tiles(&problem);
    let is_split = tiles.parts > 1;
    let parts = is_split.then(|| Argument::Buffer(lowering.allocate(tiles.parts_bytes(&problem))));
    let counters = is_split.then(|| lowering.counters(c_tiles));

    let ending = Ending { epilogue, is_averaged: averaged.is_some(), is_split };
    let operands = ["input", "attention", "warehouse"].map(|name| used(name, ParameterKind::Input(Element::F16)));
    let mut parameters: Vec<Parameter> = operands.into_iter().chain(ending.parameters()).collect();
    parameters.push(used("batch", ParameterKind::Batch));
    let arguments = [
        Some(Argument::Buffer(input.buffer)),
        Some(Argument::Buffer(attention.buffer)),
        Some(warehouse),
        scale,
        shift,
        add,
        Some(Argument::Buffer(output.buffer)),
        averaged,
        parts,
        counters,
        Some(Argument::Batch),
    ];
    let work = work(op, &problem, unmixed, (&input, &output), &ending);
    let kernel = Kernel {
        family: Family::MixConv,
        constants: constants(op, unmixed, lowering.batch, (&input, &output), averaged.is_some()),
        epilogue: Some(epilogue),
        parameters,
        threads: count(tiles.threads()),
        resident: count(tiles.resident(&problem, lowering.options.gpu)),
        shared_bytes: count(tiles.shared_bytes(&problem)),
    };
    let grid = [Extent::fixed(count(tiles.parts)), Extent::fixed(count(c_tiles)), Extent::ONE];
    lowering.launch(&step.layer, kernel, grid, &arguments, work);
}

fn constants(op: &Conv, unmixed: &Unmixed, samples: usize, (input, output): (&Map, &Map), averaged: bool) -> Constants {
    let Unmixed { attention, cells, tiles, .. } = unmixed;
    let mut constants = planar::sizes(op, input.pitch, output.pitch);
    let others = [
        ("CELLS", attention.cells),
        ("CELL_OUT", cells.out),
        ("CELL_IN", cells.input),
        ("CELL_SPATIAL", cells.spatial),
        ("GRID_S", cells.grid.spatial),
        ("GRID_O", cells.grid.out),
        ("GRID_I", cells.grid.input),
        ("ATTENTION_PITCH", attention.pitch),
        ("SAMPLES", samples),
        ("C_TILE", tiles.c_tile),
        ("P_TILE", tiles.p_tile),
        ("K_TILE", tiles.k_tile),
        ("RUN", tiles.run),
        ("STAGES", tiles.stages),
        ("PARTS", tiles.parts),
        ("WARPS_E", tiles.warps_e),
        ("WARPS_G", tiles.warps_g),
        ("WARPS_M", tiles.warps_m),
        ("WARPS_P", tiles.warps_p),
    ];
    constants.extend(others.map(|(name, value)| (name, value.into())));
    constants.push(("AVERAGED", averaged.into()));
    constants
}

fn work(op: &Conv, problem: &Problem, unmixed: &Unmixed, (input, output): (&Map, &Map), ending: &Ending) -> Work {
    let Unmixed { attention, tiles, .. } = unmixed;
    let bytes = Element::F16.bytes();
    let (mixtures, cell, c_tiles) = (problem.mixtures(), problem.cell(), tiles.c_tiles(problem));
    // A mixture's elements are each mixed of all cells, and multiplied with every position.
    let useful = mixtures * cell * (problem.cells + problem.positions());
    let warehouse = problem.cells * cell * bytes;
    let attentions = mixtures * attention.pitch * bytes;
    let results = ending.bytes(output, 1);
    // Blocks of each tile of channels read all pixels, once for each position of a cell.
    let pixels = [1, 2].map(|d| problem.axes[d - 1].pixels(op.input_size[d], op.padding[d]));
    let pixels = pixels[0] * pixels[1] * input.pitch * bytes * c_tiles * problem.cell_spatial;
    // Each warp that finishes channels reads their scale and shift.
    let vectors = ending.vector_bytes(output, tiles.warps_m * tiles.warps_p);
    let moved = attentions * c_tiles * tiles.parts + pixels + results + vectors + tiles.gathered_bytes(problem);
    Work {
        useful: Amount::per_sample(useful),
        // A block mixes columns for all samples, whether they are there or not.
        padded: Amount::fixed(tiles.mixing(problem)) + Amount::per_sample(tiles.multiplying(problem)),
        tensor: true,
        compulsory: Amount::fixed(warehouse) + Amount::per_sample(attentions + input.bytes() + results),
        moved: Amount::fixed(warehouse) + Amount::per_sample(moved),
    }
}
