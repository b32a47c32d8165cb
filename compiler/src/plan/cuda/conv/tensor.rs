//! Convolutions of one group in one or two dimensions, in half precision: products of matrices on tensor cores.

use kwc_program::cuda::{Argument, Element, Extent};

use super::planar::{self, Constants, Ending};
use super::tiles::{Problem, Tiles, costs};
use crate::plan::cuda::choice::Choices;
use crate::plan::cuda::elementwise::used;
use crate::plan::cuda::gpu::Gpu;
use crate::plan::cuda::kernel::{Epilogue, Family, Kernel, Parameter, ParameterKind, count};
use crate::plan::cuda::lower::Lowering;
use crate::plan::cuda::storage::{KernelOperand, Map, padded};
use crate::plan::cuda::work::{Amount, Work};
use crate::plan::steps::{Conv, Step};

/// Whether this family covers a convolution.
pub(super) fn covers(lowering: &Lowering<'_>, op: &Conv) -> bool {
    lowering.element() == Element::F16 && op.groups == 1 && planar::is_planar(op)
}

/// One convolution.
pub(super) fn lower(lowering: &mut Lowering<'_>, step: &Step, op: &Conv) {
    let positions: usize = op.input_size.iter().product();
    let out_positions = planar::out_positions(op);
    let window: usize = op.kernel_size.iter().product();
    let input = lowering.read(&step.layer, op.input, op.in_channels, positions);
    let kernel = lowering.kernel_operand(op.kernel, op.out_channels, op.in_channels, window, op.channel_block);
    let (epilogue, [scale, shift, add]) = lowering.epilogue(&step.layer, &op.epilogue, op.out_channels, out_positions);
    let problem = problem(op, kernel.block, kernel.pitch, lowering.batch);
    let output = lowering.fresh(op.output, op.out_channels, out_positions, input.channels_last);
    let is_averaged = lowering.is_averaged(op.output);
    let form = Form { op, kernel: &kernel, input: &input, output: &output, epilogue, is_averaged };
    let choices = Choices::new(lowering, |batch| costs(&Problem { batch, ..problem }, lowering.options.gpu));
    let Some((tiles, conv)) = choices.take(lowering, |tiles| form.kernel(tiles, lowering.options.gpu)) else {
        unreachable!("the smallest tiles fit whatever the sizes");
    };
    let (p_tiles, c_tiles) = (tiles.p_tiles(&problem), tiles.c_tiles(&problem));
    let averaged =
        is_averaged.then(|| Argument::Buffer(planar::leave_sums(lowering, op.output, output, p_tiles).buffer));
    let tile_bytes = tiles.c_tile * tiles.p_tile * Element::F32.bytes();
    let is_split = tiles.parts > 1;
    let parts = is_split.then(|| Argument::Buffer(lowering.allocate(p_tiles * c_tiles * tiles.parts * tile_bytes)));
    let max_batch = lowering.options.max_batch;
    let counters = is_split.then(|| lowering.counters(p_tiles * c_tiles * max_batch));

    let arguments = [
        Some(Argument::Buffer(input.buffer)),
        Some(kernel.argument),
        scale,
        shift,
        add,
        Some(Argument::Buffer(output.buffer)),
        averaged,
        parts,
        counters,
    ];
    let work = work(&form, &problem, &tiles);
    let per_sample = Extent { fixed: 0, per_sample: count(p_tiles * tiles.parts), divisor: 1 };
    let grid = [per_sample, Extent::fixed(count(c_tiles)), Extent::ONE];
    lowering.launch(&step.layer, conv, grid, &arguments, work);
}

/// The product that a convolution is, if its kernel has blocks of so many output channels, and so many with padding.
pub(super) fn problem(op: &Conv, block: usize, pitch: usize, batch: usize) -> Problem {
    Problem {
        columns: op.out_channels / block * pitch,
        positions: planar::out_positions(op),
        chunks: op.kernel_size.iter().product::<usize>() * padded(op.in_channels) / 8,
        batch,
    }
}

/// What a convolution's kernel is made of, whatever its tiles.
struct Form<'a> {
    op: &'a Conv,
    kernel: &'a KernelOperand,
    input: &'a Map,
    output: &'a Map,
    epilogue: Epilogue,
    /// Whether it leaves sums for an average of its output.
    is_averaged: bool,
}

impl Form<'_> {
    fn kernel(&self, tiles: &Tiles, gpu: &Gpu) -> Kernel {
        Kernel {
            family: Family::Conv,
            constants: self.constants(tiles),
            epilogue: Some(self.epilogue),
            parameters: self.parameters(tiles),
            threads: count(tiles.threads()),
            resident: count(tiles.resident(gpu)),
            shared_bytes: count(tiles.shared_bytes()),
        }
    }

    fn ending(&self, tiles: &Tiles) -> Ending {
        Ending { epilogue: self.epilogue, is_averaged: self.is_averaged, is_split: tiles.parts > 1 }
    }

    fn parameters(&self, tiles: &Tiles) -> Vec<Parameter> {
        let operands = ["input", "kernel"].map(|name| used(name, ParameterKind::Input(Element::F16)));
        operands.into_iter().chain(self.ending(tiles).parameters()).collect()
    }

    fn constants(&self, tiles: &Tiles) -> Constants {
        let mut constants = planar::sizes(self.op, self.input.pitch, self.output.pitch);
        constants.extend(planar::layout(self.kernel));
        let tiles = [
            ("C_TILE", tiles.c_tile),
            ("P_TILE", tiles.p_tile),
            ("K_TILE", tiles.k_tile),
            ("WARPS_C", tiles.warps_c),
            ("WARPS_P", tiles.warps_p),
            ("STAGES", tiles.stages),
            ("PARTS", tiles.parts),
        ];
        constants.extend(tiles.map(|(name, value)| (name, value.into())));
        constants.push(("AVERAGED", self.is_averaged.into()));
        constants
    }
}

/// Pairs of an output position and a position of the kernel, along one dimension, whose pixel is inside the input.
fn inside(op: &Conv, dimension: usize) -> usize {
    let [size, outputs, kernel] = [op.input_size, op.output_size, op.kernel_size].map(|sizes| sizes[dimension]);
    let [stride, padding, dilation] = [op.stride, op.padding, op.dilation].map(|sizes| sizes[dimension]);
    let pixels = (0..outputs).flat_map(|o| (0..kernel).map(move |k| o * stride + k * dilation));
    pixels.filter(|&pixel| (padding..padding + size).contains(&pixel)).count()
}

fn work(form: &Form<'_>, problem: &Problem, tiles: &Tiles) -> Work {
    let Form { op, kernel, input, output, .. } = *form;
    let ending = form.ending(tiles);
    let bytes = Element::F16.bytes();
    let terms = op.in_channels * op.kernel_size.iter().product::<usize>();
    let (p_tiles, c_tiles) = (tiles.p_tiles(problem), tiles.c_tiles(problem));
    let useful = problem.positions * op.out_channels * terms;
    let padded = p_tiles * tiles.p_tile * c_tiles * tiles.c_tile * tiles.steps(problem) * tiles.k_tile;
    let once = planar::kernel_bytes(op, kernel, Element::F16);
    let results = ending.bytes(output, p_tiles);
    let compulsory = once + Amount::per_sample(input.bytes() + results);
    // Each tile of channels reads all pixels of its windows, each tile of positions all weights of its channels.
    let pixels = inside(op, 1) * inside(op, 2) * input.pitch * bytes * c_tiles;
    let weights = problem.columns * terms * bytes * p_tiles;
    // Each warp of a tile that finishes channels reads their scale and shift.
    let vectors = ending.vector_bytes(output, p_tiles * tiles.threads() / 32);
    let shared =
        if ending.is_split { 2 * tiles.parts * p_tiles * c_tiles * tiles.c_tile * tiles.p_tile * 4 } else { 0 };
    let moved = Amount::per_sample(pixels + weights + results + vectors + shared);
    Work { useful: Amount::per_sample(useful), padded: Amount::per_sample(padded), tensor: true, compulsory, moved }
}
