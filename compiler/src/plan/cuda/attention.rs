//! The attention of a dynamic layer: one launch, or two where its hidden units are many.
//!
//! A block makes the attention of some mixtures of one sample. It needs all hidden units, which are few: each block
//! computes them anew from the average, so that nothing waits for another launch. That reads `fc1` once per block from the
//! L2 cache; where this costs more than a launch does, the hidden units have a launch of their own.

use kwc_program::cuda::{Argument, Element, Extent};
use kwc_program::{Attention as AttentionOp, AttentionNorm, Basis, Step, WeightId};

use super::elementwise::used;
use super::kernel::{Constant, Family, Kernel, Parameter, ParameterKind};
use super::lower::Lowering;
use super::mix;
use super::storage::{Attention, Storage, padded};
use super::weights::{Base, Order, PackRecipe};
use super::work::{Amount, Work};

/// Threads of a block.
const THREADS: usize = 256;
/// Logits that a block makes at least, where there are as many.
const LOGITS: usize = 512;
/// Bytes that a multiprocessor takes from the L2 cache in one cycle, on every GPU from Ampere on.
const L2_PORT: f64 = 64.0;
/// Launches that computing the hidden units anew may cost before they get one of their own: it has to start, too, and then
/// to read its part of `fc1`.
const PATIENCE: f64 = 2.0;

/// Whether the hidden units get a launch of their own: reading `fc1` in each of so many blocks takes longer than that.
fn is_apart(lowering: &Lowering<'_>, op: &AttentionOp, blocks: usize) -> bool {
    let gpu = lowering.options.gpu;
    let bytes = (op.hidden * padded(op.channels) * 4) as f64;
    let readers = (blocks * lowering.batch).min(gpu.multiprocessors as usize) as f64;
    let clock = gpu.issue / 4.0;
    bytes / (L2_PORT * clock).min(gpu.l2 / readers) > PATIENCE * gpu.launch
}

/// The average that an attention starts from.
struct Average {
    argument: Argument,
    element: Element,
    /// Partial sums, `[parts, pitch]`; one part is the whole.
    parts: usize,
    pitch: usize,
    positions: usize,
}

/// Adds the launches of an attention.
pub(super) fn lower(lowering: &mut Lowering<'_>, step: &Step, op: &AttentionOp) {
    let average = average(lowering, step, op);
    let fc1 = operand(lowering, op.fc1, Order::Rows { width: op.channels, pitch: padded(op.channels) });
    let fc1_bias = op.fc1_bias.map(|weight| lowering.vector(weight));
    let per_block = LOGITS.div_ceil(op.cells + 1).min(op.mixtures);
    let blocks = op.mixtures.div_ceil(per_block);
    let apart = is_apart(lowering, op, blocks);
    let hidden = apart.then(|| hidden(lowering, step, op, &average, fc1, fc1_bias));
    let (layer_norm, epsilon, norm) = match op.norm {
        AttentionNorm::Batch { scale, shift } => (false, 0.0, [scale, shift]),
        AttentionNorm::Layer { weight, bias, epsilon } => (true, epsilon, [weight, bias]),
    };
    let [norm_scale, norm_shift] = norm.map(|weight| lowering.vector(weight));

    let rows = op.basis.map_or(op.cells + 1, |basis| basis.local + basis.rank + 1);
    let fc2 = operand(lowering, op.fc2, Order::Blocks { rows, columns: op.hidden, pitch: padded(rows) });
    let fc2_bias = op.fc2_bias.map(|weight| operand(lowering, weight, Order::Same));
    let basis = op.basis.map(|basis| basis_operands(lowering, op, basis));
    let beta = op.temperature.as_ref().map(|temperature| {
        let values = temperature.beta.iter().map(|&column| column as f32).collect();
        let recipe =
            PackRecipe { base: Base::Values(values), elements: op.mixtures, order: Order::Same, element: Element::F32 };
        Argument::Weight(lowering.pack(format!("{}.attention.beta", step.layer), recipe, "[mixtures]"))
    });

    let element = lowering.element();
    let folded = mix::folded(lowering, op);
    let cells = folded.map_or(op.cells, |basis| mix::folded_cells(&basis, op.mixtures));
    let pitch = padded(cells);
    let output = lowering.allocate(op.mixtures * pitch * element.bytes());
    let stored = Attention { buffer: output, element, mixtures: op.mixtures, cells, pitch, folded };
    lowering.store(op.output, Storage::Attention(stored));

    let source = hidden.unwrap_or(average.argument);
    let source_element = if apart { Element::F32 } else { average.element };
    let (local, start, rank) = op.basis.map_or((0, 0, 0), |basis| (basis.local, basis.start_cell, basis.rank));
    let mut constants = average_constants(op, &average, source_element);
    constants.extend([
        ("HIDDEN_GIVEN", apart.into()),
        ("LAYER_NORM", layer_norm.into()),
        ("EPSILON", Constant::Float(epsilon)),
        ("MIXTURES", op.mixtures.into()),
        ("PER_BLOCK", per_block.into()),
        ("CELLS", op.cells.into()),
        ("ROWS", rows.into()),
        ("ROW_PITCH", padded(rows).into()),
        ("LOCAL", local.into()),
        ("START", start.into()),
        ("RANK", rank.into()),
        ("NONLOCAL_PITCH", padded(op.cells - local).into()),
        ("TEMPERATURE", Constant::Float(op.temperature.as_ref().map_or(0.0, |temperature| temperature.t))),
        ("FOLDED", folded.is_some().into()),
        ("Output", element.into()),
        ("OUT_PITCH", pitch.into()),
    ]);
    let fc1 = (!apart).then_some(fc1);
    let fc1_bias = fc1_bias.filter(|_| !apart);
    let (fc3, bias) = basis.unzip();
    let parameters = vec![
        used("average", ParameterKind::Input(source_element)),
        vector("fc1", fc1),
        vector("fc1_bias", fc1_bias),
        vector("norm_scale", Some(norm_scale)),
        vector("norm_shift", Some(norm_shift)),
        vector("fc2", Some(fc2)),
        vector("fc2_bias", fc2_bias),
        vector("fc3", fc3),
        vector("bias", bias),
        vector("beta", beta),
        used("output", ParameterKind::Output(element)),
    ];
    let arguments = [
        Some(source),
        fc1,
        fc1_bias,
        Some(norm_scale),
        Some(norm_shift),
        Some(fc2),
        fc2_bias,
        fc3,
        bias,
        beta,
        Some(Argument::Buffer(output)),
    ];
    let grid = [Extent::fixed(u32::try_from(blocks).unwrap_or(u32::MAX)), Extent::BATCH, Extent::ONE];
    let work = work(op, &average, rows, (!apart).then_some(blocks), mixture_bytes(op, rows, pitch * element.bytes()));
    let kernel = kernel(Family::AttentionMixtures, constants, parameters);
    lowering.launch(&step.layer, kernel, grid, &arguments, work);
}

fn average(lowering: &mut Lowering<'_>, step: &Step, op: &AttentionOp) -> Average {
    if let Storage::Sums(sums) = lowering.storage(op.average) {
        return Average {
            argument: Argument::Buffer(sums.buffer),
            element: Element::F32,
            parts: sums.parts,
            pitch: sums.pitch,
            positions: sums.positions,
        };
    }
    let map = lowering.read(&step.layer, op.average, op.channels, 1);
    Average { argument: Argument::Buffer(map.buffer), element: map.element, parts: 1, pitch: map.pitch, positions: 1 }
}

fn average_constants(op: &AttentionOp, average: &Average, element: Element) -> Vec<(&'static str, Constant)> {
    vec![
        ("Average", element.into()),
        ("CHANNELS", op.channels.into()),
        ("CHANNEL_PITCH", padded(op.channels).into()),
        ("PARTS", average.parts.into()),
        ("PART_PITCH", average.pitch.into()),
        ("POSITIONS", average.positions.into()),
        ("HIDDEN", op.hidden.into()),
    ]
}

/// The launch of the hidden units: `[padded(hidden)]` per sample, before their norm.
fn hidden(
    lowering: &mut Lowering<'_>,
    step: &Step,
    op: &AttentionOp,
    average: &Average,
    fc1: Argument,
    fc1_bias: Option<Argument>,
) -> Argument {
    let buffer = lowering.allocate(padded(op.hidden) * 4);
    let parameters = vec![
        used("average", ParameterKind::Input(average.element)),
        vector("fc1", Some(fc1)),
        vector("fc1_bias", fc1_bias),
        used("output", ParameterKind::Output(Element::F32)),
    ];
    let output = Argument::Buffer(buffer);
    let arguments = [Some(average.argument), Some(fc1), fc1_bias, Some(output)];
    // A warp makes one hidden unit.
    let blocks = op.hidden.div_ceil(THREADS / 32);
    let grid = [Extent::fixed(u32::try_from(blocks).unwrap_or(u32::MAX)), Extent::BATCH, Extent::ONE];
    let bytes = Amount::fixed(op.hidden * padded(op.channels) * 4)
        + Amount::per_sample(average.parts * average.pitch * average.element.bytes() + op.hidden * 4);
    let moved = Amount::per_sample(
        op.hidden * padded(op.channels) * 4 + blocks * average.parts * average.pitch * average.element.bytes(),
    );
    let useful = Amount::per_sample(op.hidden * op.channels);
    let work = Work { useful, padded: useful, tensor: false, compulsory: bytes, moved };
    let kernel = kernel(Family::AttentionHidden, average_constants(op, average, average.element), parameters);
    lowering.launch(&step.layer, kernel, grid, &arguments, work);
    output
}

fn kernel(family: Family, constants: Vec<(&'static str, Constant)>, parameters: Vec<Parameter>) -> Kernel {
    let threads = u32::try_from(THREADS).unwrap_or(u32::MAX);
    Kernel { family, constants, epilogue: None, parameters, threads, resident: 1, shared_bytes: 0 }
}

fn vector(name: &'static str, argument: Option<Argument>) -> Parameter {
    Parameter { name, kind: ParameterKind::Input(Element::F32), used: argument.is_some() }
}

fn operand(lowering: &mut Lowering<'_>, weight: WeightId, order: Order) -> Argument {
    let layout = match order {
        Order::Rows { .. } => "[hidden, channels]",
        Order::Blocks { .. } => "[mixtures, hidden, logits]",
        Order::Transposed { .. } => "[rank, cells]",
        Order::Same | Order::Padded { .. } | Order::Kernel { .. } | Order::Outer { .. } => "[mixtures, logits]",
    };
    Argument::Weight(lowering.weight(weight, order, Element::F32, layout))
}

/// `fc3` and the bias of a basis.
fn basis_operands(lowering: &mut Lowering<'_>, op: &AttentionOp, basis: Basis) -> (Argument, Argument) {
    let rows = op.cells - basis.local;
    let fc3 = operand(lowering, basis.fc3, Order::Transposed { rows, pitch: padded(rows) });
    (fc3, operand(lowering, basis.bias, Order::Same))
}

/// Bytes of what the mixtures' part reads once, and of the attention that it writes.
fn mixture_bytes(op: &AttentionOp, rows: usize, attention: usize) -> Amount {
    let basis = op.basis.map_or(0, |basis| basis.rank * (op.cells - basis.local) + op.mixtures * (op.cells + 1));
    Amount::fixed((op.mixtures * rows * op.hidden + basis) * 4) + Amount::per_sample(op.mixtures * attention)
}

/// Work of the mixtures' launch; with the hidden units, that is with so many blocks that compute them, or without.
fn work(op: &AttentionOp, average: &Average, rows: usize, blocks: Option<usize>, mixtures: Amount) -> Work {
    let basis = op.basis.map_or(0, |basis| op.mixtures * basis.rank * (op.cells - basis.local));
    let fc1 = op.hidden * op.channels;
    let fc2 = op.mixtures * rows * op.hidden + basis;
    let sums = average.parts * average.pitch * average.element.bytes();
    let (useful, padded, once, moved) = match blocks {
        Some(blocks) => (
            fc1 + fc2,
            blocks * fc1 + fc2,
            Amount::fixed(fc1 * 4) + Amount::per_sample(sums),
            Amount::per_sample(blocks * (fc1 * 4 + sums)),
        ),
        None => (fc2, fc2, Amount::per_sample(op.hidden * 4), Amount::per_sample(op.hidden * 4)),
    };
    // Every sample's blocks read the weights of their mixtures.
    let all = Amount::per_sample(usize::try_from(mixtures.fixed + mixtures.per_sample).unwrap_or(usize::MAX));
    Work {
        useful: Amount::per_sample(useful),
        padded: Amount::per_sample(padded),
        tensor: false,
        compulsory: mixtures + once,
        moved: all + moved,
    }
}
