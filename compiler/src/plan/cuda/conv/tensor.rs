//! Convolutions of one group in one or two dimensions, in half precision: products of matrices on tensor cores.

use kwc_program::cuda::{Argument, Element, Extent};
use kwc_program::{Conv, Step};

use super::planar::{self, Constants};
use super::tiles::{Problem, Tiles, costs};
use crate::plan::cuda::choice::Choices;
use crate::plan::cuda::elementwise::used;
use crate::plan::cuda::gpu::Gpu;
use crate::plan::cuda::kernel::{Epilogue, Family, Kernel, Parameter, ParameterKind};
use crate::plan::cuda::lower::Lowering;
use crate::plan::cuda::storage::{KernelOperand, Map, padded};
use crate::plan::cuda::work::{Amount, Work};

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
    let kernel = lowering.kernel_operand(&op.kernel, op.out_channels, op.in_channels, window, op.channel_block);
    let (epilogue, [scale, shift, add]) = lowering.epilogue(&step.layer, &op.epilogue, op.out_channels, out_positions);
    let problem = problem(op, kernel.block, kernel.pitch, lowering.batch);
    let output = lowering.fresh(op.output, op.out_channels, out_positions, input.channels_last);
    let is_averaged = lowering.is_averaged(op.output);
    let form = Form { op, kernel: &kernel, input: &input, output: &output, epilogue: &epilogue, is_averaged };
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
    let per_sample = Extent { fixed: 0, per_sample: extent(p_tiles * tiles.parts), divisor: 1 };
    let grid = [per_sample, Extent::fixed(extent(c_tiles)), Extent::ONE];
    lowering.launch(&step.layer, conv, grid, &arguments, work);
}

fn extent(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
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
    epilogue: &'a Epilogue,
    /// Whether it leaves sums for an average of its output.
    is_averaged: bool,
}

impl Form<'_> {
    fn kernel(&self, tiles: &Tiles, gpu: &Gpu) -> Kernel {
        Kernel {
            family: Family::Conv,
            constants: self.constants(tiles),
            epilogue: Some(*self.epilogue),
            parameters: self.parameters(tiles),
            threads: extent(tiles.threads()),
            resident: extent(tiles.resident(gpu)),
            shared_bytes: extent(tiles.shared_bytes()),
        }
    }

    fn parameters(&self, tiles: &Tiles) -> Vec<Parameter> {
        let optional = |name, kind, used| Parameter { name, kind, used };
        let (half, single) = (Element::F16, Element::F32);
        let Epilogue { scale, shift, add, .. } = *self.epilogue;
        vec![
            used("input", ParameterKind::Input(half)),
            used("kernel", ParameterKind::Input(half)),
            optional("scale", ParameterKind::Input(single), scale),
            optional("shift", ParameterKind::Input(single), shift),
            optional("add", ParameterKind::Input(half), add),
            used("output", ParameterKind::Output(half)),
            optional("averaged", ParameterKind::Output(single), self.is_averaged),
            optional("parts", ParameterKind::Output(single), tiles.parts > 1),
            optional("counters", ParameterKind::Counters, tiles.parts > 1),
        ]
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
    let Form { op, kernel, input, output, epilogue, is_averaged } = *form;
    let bytes = Element::F16.bytes();
    let terms = op.in_channels * op.kernel_size.iter().product::<usize>();
    let (p_tiles, c_tiles) = (tiles.p_tiles(problem), tiles.c_tiles(problem));
    let useful = problem.positions * op.out_channels * terms;
    let padded = p_tiles * tiles.p_tile * c_tiles * tiles.c_tile * tiles.steps(problem) * tiles.k_tile;
    let once = planar::kernel_bytes(op, kernel, Element::F16);
    let added = if epilogue.add { output.bytes() } else { 0 };
    let sums = if is_averaged { p_tiles * output.pitch * Element::F32.bytes() } else { 0 };
    let compulsory = once + Amount::per_sample(input.bytes() + output.bytes() + added + sums);
    // Each tile of channels reads all pixels of its windows, each tile of positions all weights of its channels.
    let pixels = inside(op, 1) * inside(op, 2) * input.pitch * bytes * c_tiles;
    let weights = problem.columns * terms * bytes * p_tiles;
    // Each warp that finishes channels reads their scale and shift, in two accesses of half a sector each.
    let vectors = usize::from(epilogue.scale) + usize::from(epilogue.shift);
    let vectors = vectors * p_tiles * output.pitch * 4 * 2 * tiles.threads() / 32;
    let shared =
        if tiles.parts > 1 { 2 * tiles.parts * p_tiles * c_tiles * tiles.c_tile * tiles.p_tile * 4 } else { 0 };
    let moved = Amount::per_sample(pixels + weights + output.bytes() + added + sums + vectors + shared);
    Work { useful: Amount::per_sample(useful), padded: Amount::per_sample(padded), tensor: true, compulsory, moved }
}
