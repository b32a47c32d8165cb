//! The attention of a dynamic layer: one launch, or two where its hidden units are many.
//!
//! A block makes the attention of some mixtures of one sample. It needs all hidden units, which are few: each block
//! computes them anew from the average, so that nothing waits for another launch. That reads `fc1` once per block from the
//! L2 cache; where this costs more than a launch does, the hidden units have a launch of their own.
//!
//! The model behind it: blocks read from the L2 cache, each multiprocessor what its port lets through, all together what the
//! cache gives. The rest of a block's time is much the same however the mixtures are divided.

use kwc_program::cuda::{Argument, Element, Extent};
use kwc_program::{AttentionNorm, WeightId};

use super::elementwise::used;
use super::gpu::{L2_PORT, MAX_SHARED};
use super::kernel::{Constant, Family, Kernel, Parameter, ParameterKind, count};
use super::lower::Lowering;
use super::mix;
use super::storage::{Attention, Storage, padded};
use super::weights::{Order, PackRecipe};
use super::work::{Amount, Work};
use crate::plan::Base;
use crate::plan::steps::{Attention as AttentionOp, Basis, Step};

/// Threads of a block that has little to do.
const FEW: usize = 256;
/// Threads of a block that has much to do.
const MANY: usize = 512;
/// Vectors of four weights that a thread of a small block multiplies at most.
const VECTORS: usize = 16;
/// Shared memory of a block without asking the driver for more, bytes. One mixture may take more, several may not.
const STATIC_SHARED: usize = 48 << 10;
/// What the compiler may put between arrays of static shared memory, bytes: the scratch is aligned to 16.
const STATIC_PADDING: usize = 16;
/// What a launch of the hidden units costs beside its reading, in launches: it waits for the one before it, and has to get
/// its first weights.
const PATIENCE: f64 = 2.0;

/// Seconds that blocks take to read so many bytes each.
fn seconds(lowering: &Lowering<'_>, blocks: usize, bytes: usize) -> f64 {
    let gpu = lowering.options.gpu;
    let blocks = blocks * lowering.batch;
    let multiprocessors = gpu.multiprocessors as usize;
    let readers = blocks.min(multiprocessors) as f64;
    let clock = gpu.issue / 4.0;
    let each = (L2_PORT * clock).min(gpu.l2 / readers);
    (blocks.div_ceil(multiprocessors) * bytes) as f64 / each
}

/// How the mixtures are divided among blocks.
#[derive(Debug, Clone, Copy)]
struct Division {
    /// Whether the hidden units have a launch of their own.
    apart: bool,
    /// Mixtures of a block.
    per_block: usize,
}

/// The division that takes least time, by the model.
fn divide(lowering: &mut Lowering<'_>, layer: &str, op: &AttentionOp, average: &Average, rows: usize) -> Division {
    let fc1 = op.hidden * padded(op.channels) * 4;
    let sums = average.bytes();
    let basis = op.basis.map_or(0, |basis| basis.rank * padded(op.cells - basis.local) * 4);
    let bias = if op.basis.is_some() { op.cells + 1 } else { padded(rows) };
    let mixture = (op.hidden * padded(rows) + bias) * 4;
    let expanded = if op.basis.is_some() { (op.cells + 1) * 4 } else { 0 };
    let shared = |apart: bool| shared_bytes(op, rows, Division { apart, per_block: 1 });
    if shared(true) > MAX_SHARED {
        let what = format!(
            "one mixture's {} logits{} and {} hidden units take {} bytes of shared memory, and {MAX_SHARED} are the most; \
             fewer cells, by larger cell ratios or a smaller budget, and a smaller `reduction` take less",
            op.cells + 1,
            if op.basis.is_some() { ", through a basis," } else { "" },
            op.hidden,
            shared(true)
        );
        lowering.refuse(layer, what);
        return Division { apart: true, per_block: 1 };
    }
    let best = |apart: bool, before: usize| {
        let time = |&per_block: &usize| {
            let blocks = op.mixtures.div_ceil(per_block);
            seconds(lowering, blocks, before + basis + per_block * mixture)
        };
        // Shared memory: the average, the hidden units, and of each mixture its logits. Slices of few logits take no more
        // than 16 bytes a thread.
        let fixed = (if apart { 0 } else { padded(op.channels) } + op.hidden) * 4 + MANY * 16;
        let fits = |per_block: usize| fixed + per_block * (padded(rows) * 4 + expanded) <= STATIC_SHARED;
        let sizes = (1..=op.mixtures).filter(|&per_block| per_block == 1 || fits(per_block));
        let best = sizes.min_by(|a, b| time(a).total_cmp(&time(b))).unwrap_or(1);
        (best, time(&best))
    };
    let (together, together_time) = best(false, fc1 + sums);
    let (apart, apart_time) = best(true, op.hidden * 4);
    let units = FEW / 32;
    let hidden_time = seconds(lowering, op.hidden.div_ceil(units), fc1.div_ceil(op.hidden) * units + sums);
    let must_part = is_wide(op) || shared(false) > MAX_SHARED;
    if must_part || together_time > apart_time + hidden_time + PATIENCE * lowering.options.gpu.launch {
        Division { apart: true, per_block: apart }
    } else {
        Division { apart: false, per_block: together }
    }
}

/// Whether the average has too many channels for shared memory: then it is whole before the hidden units are computed, and
/// their launch reads it from global memory.
const fn is_wide(op: &AttentionOp) -> bool {
    (padded(op.channels) + 4) * 4 > STATIC_SHARED
}

/// Shared memory of a block of the mixtures' launch, bytes; what the device code declares.
fn shared_bytes(op: &AttentionOp, rows: usize, division: Division) -> usize {
    let Division { apart, per_block } = division;
    let threads = threads(op, rows, division);
    let pitch = padded(op.channels);
    let (averages, slices) = if apart {
        (4, 0)
    } else {
        let groups = (threads / (pitch / 4)).max(1);
        (pitch, if groups > 1 { groups * pitch } else { 0 })
    };
    let logits = per_block * padded(rows);
    let split = (threads / (logits / 4)).clamp(1, op.hidden);
    let expanded = if op.basis.is_some() { per_block * (op.cells + 1) } else { 1 };
    (averages + slices.max(split * logits) + op.hidden + expanded) * 4
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

impl Average {
    /// How many parts and positions there are. They are no constants, so that layers that differ in nothing else have one
    /// kernel.
    fn numbers(&self) -> [Option<Argument>; 2] {
        [self.parts, self.positions].map(|number| Some(Argument::int(number)))
    }

    /// Bytes of one sample.
    fn bytes(&self) -> usize {
        self.parts * self.pitch * self.element.bytes()
    }
}

/// Adds the launches of an attention.
pub(super) fn lower(lowering: &mut Lowering<'_>, step: &Step, op: &AttentionOp) {
    let average = average(lowering, step, op);
    let fc1_order = Order::Rows { width: op.channels, pitch: padded(op.channels) };
    let fc1 = operand(lowering, op.fc1, fc1_order, "[hidden, channels]");
    let fc1_bias = op.fc1_bias.map(|weight| lowering.vector(weight));
    let rows = op.basis.map_or(op.cells + 1, |basis| basis.local + basis.rank + 1);
    let division = divide(lowering, &step.layer, op, &average, rows);
    let Division { apart, per_block } = division;
    let bytes = shared_bytes(op, rows, division);
    let dynamic = if bytes + STATIC_PADDING > STATIC_SHARED { bytes } else { 0 };
    let hidden = apart.then(|| hidden(lowering, step, op, &average, fc1, fc1_bias));
    let (layer_norm, epsilon, norm) = match op.norm {
        AttentionNorm::Batch { scale, shift } => (false, 0.0, [scale, shift]),
        AttentionNorm::Layer { weight, bias, epsilon } => (true, epsilon, [weight, bias]),
    };
    let [norm_scale, norm_shift] = norm.map(|weight| lowering.vector(weight));

    let fc2_order = Order::Blocks { rows, columns: op.hidden, pitch: padded(rows) };
    let fc2 = operand(lowering, op.fc2, fc2_order, "[mixtures, hidden, logits]");
    let bias_order = Order::Rows { width: rows, pitch: padded(rows) };
    let fc2_bias = op.fc2_bias.map(|weight| operand(lowering, weight, bias_order, "[mixtures, logits]"));
    let [fc3, bias] = match op.basis {
        Some(basis) => basis_operands(lowering, op, basis),
        None => [None; 2],
    };
    let beta = op.temperature.as_ref().map(|temperature| {
        let columns = temperature.beta.iter().map(|&column| column as f32).collect();
        values(lowering, format!("{}.attention.beta", step.layer), columns, "[mixtures]")
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
    let (local, rank) = op.basis.map_or((0, 0), |basis| (basis.local, basis.rank));
    let mut constants = average_constants(op, source_element);
    constants.extend([
        ("HIDDEN_GIVEN", apart.into()),
        ("LAYER_NORM", layer_norm.into()),
        ("EPSILON", Constant::Float(epsilon)),
        ("PER_BLOCK", per_block.into()),
        ("CELLS", op.cells.into()),
        ("ROWS", rows.into()),
        ("ROW_PITCH", padded(rows).into()),
        ("LOCAL", local.into()),
        ("RANK", rank.into()),
        ("NONLOCAL_PITCH", padded(op.cells - local).into()),
        ("TEMPERATURE", Constant::Float(op.temperature.as_ref().map_or(0.0, |temperature| temperature.t))),
        ("FOLDED", folded.is_some().into()),
        ("Output", element.into()),
        ("OUT_PITCH", pitch.into()),
        ("DYNAMIC_BYTES", dynamic.into()),
    ]);
    let [parts, positions] = average.numbers().map(|argument| argument.filter(|_| !apart));
    let start = op.basis.map(|basis| Argument::int(basis.start_cell));
    let fc1 = (!apart).then_some(fc1);
    let fc1_bias = fc1_bias.filter(|_| !apart);
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
        used("mixtures", ParameterKind::Int),
        number("parts", parts),
        number("positions", positions),
        number("start", start),
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
        Some(Argument::int(op.mixtures)),
        parts,
        positions,
        start,
    ];
    let blocks = op.mixtures.div_ceil(per_block);
    let grid = [Extent::fixed(count(blocks)), Extent::BATCH, Extent::ONE];
    let work = work(op, &average, rows, (!apart).then_some(blocks), mixture_bytes(op, rows, pitch * element.bytes()));
    let mut kernel = kernel(Family::AttentionMixtures, constants, parameters, threads(op, rows, division));
    kernel.shared_bytes = count(dynamic);
    lowering.launch(&step.layer, kernel, grid, &arguments, work);
}

fn average(lowering: &mut Lowering<'_>, step: &Step, op: &AttentionOp) -> Average {
    if let Storage::Sums(sums) = lowering.storage(op.average)
        && !is_wide(op)
    {
        return Average {
            argument: Argument::Buffer(sums.buffer),
            element: Element::F32,
            parts: sums.parts,
            pitch: sums.pitch,
            positions: sums.positions,
        };
    }
    let map = lowering.read(&step.layer, op.average, op.channels, 1);
    debug_assert_eq!(map.pitch, padded(op.channels), "device code has one pitch for averages");
    Average { argument: Argument::Buffer(map.buffer), element: map.element, parts: 1, pitch: map.pitch, positions: 1 }
}

fn average_constants(op: &AttentionOp, element: Element) -> Vec<(&'static str, Constant)> {
    vec![
        ("Average", element.into()),
        ("CHANNELS", op.channels.into()),
        ("CHANNEL_PITCH", padded(op.channels).into()),
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
    let [parts, positions] = average.numbers().map(|argument| argument.filter(|_| !is_wide(op)));
    let parameters = vec![
        used("average", ParameterKind::Input(average.element)),
        vector("fc1", Some(fc1)),
        vector("fc1_bias", fc1_bias),
        used("output", ParameterKind::Output(Element::F32)),
        number("parts", parts),
        number("positions", positions),
    ];
    let output = Argument::Buffer(buffer);
    let arguments = [Some(average.argument), Some(fc1), fc1_bias, Some(output), parts, positions];
    // A warp makes one hidden unit.
    let blocks = op.hidden.div_ceil(FEW / 32);
    let grid = [Extent::fixed(count(blocks)), Extent::BATCH, Extent::ONE];
    let bytes =
        Amount::fixed(op.hidden * padded(op.channels) * 4) + Amount::per_sample(average.bytes() + op.hidden * 4);
    let moved = Amount::per_sample(op.hidden * padded(op.channels) * 4 + blocks * average.bytes());
    let useful = Amount::per_sample(op.hidden * op.channels);
    let work = Work { useful, padded: useful, tensor: false, compulsory: bytes, moved };
    let mut constants = average_constants(op, average.element);
    constants.push(("WHOLE", is_wide(op).into()));
    let kernel = kernel(Family::AttentionHidden, constants, parameters, FEW);
    lowering.launch(&step.layer, kernel, grid, &arguments, work);
    output
}

/// Threads of a block of the mixtures' launch.
const fn threads(op: &AttentionOp, rows: usize, division: Division) -> usize {
    let Division { apart, per_block } = division;
    // Vectors of four weights that it multiplies.
    let fc1 = if apart { 0 } else { op.hidden * padded(op.channels) / 4 };
    let vectors = fc1 + per_block * op.hidden * padded(rows) / 4;
    if vectors > FEW * VECTORS { MANY } else { FEW }
}

fn kernel(
    family: Family,
    constants: Vec<(&'static str, Constant)>,
    parameters: Vec<Parameter>,
    threads: usize,
) -> Kernel {
    let threads = count(threads);
    Kernel { family, constants, epilogue: None, parameters, threads, resident: 1, shared_bytes: 0 }
}

fn vector(name: &'static str, argument: Option<Argument>) -> Parameter {
    Parameter { name, kind: ParameterKind::Input(Element::F32), used: argument.is_some() }
}

fn number(name: &'static str, argument: Option<Argument>) -> Parameter {
    Parameter { name, kind: ParameterKind::Int, used: argument.is_some() }
}

fn operand(lowering: &mut Lowering<'_>, weight: WeightId, order: Order, layout: &'static str) -> Argument {
    Argument::Weight(lowering.weight(weight, order, Element::F32, layout))
}

/// A weight of known values.
fn values(lowering: &mut Lowering<'_>, name: String, values: Vec<f32>, layout: &'static str) -> Argument {
    let elements = values.len();
    let recipe = PackRecipe { base: Base::Values(values), elements, order: Order::Same, element: Element::F32 };
    Argument::Weight(lowering.pack(name, recipe, layout))
}

/// `fc3` and the bias of a basis. Where all cells are the layer's own, there is no `fc3`.
fn basis_operands(lowering: &mut Lowering<'_>, op: &AttentionOp, basis: Basis) -> [Option<Argument>; 2] {
    let rows = op.cells - basis.local;
    let order = Order::Transposed { rows, pitch: padded(rows) };
    let fc3 = (rows > 0).then(|| operand(lowering, basis.fc3, order, "[rank, cells]"));
    [fc3, Some(operand(lowering, basis.bias, Order::Same, "[mixtures, logits]"))]
}

/// Bytes of what the mixtures' part reads once, and of the attention that it writes.
fn mixture_bytes(op: &AttentionOp, rows: usize, attention: usize) -> Amount {
    let basis = op.basis.map_or(0, |basis| basis.rank * (op.cells - basis.local));
    let bias = op.mixtures * (op.cells + 1);
    Amount::fixed((op.mixtures * rows * op.hidden + basis + bias) * 4) + Amount::per_sample(op.mixtures * attention)
}

/// Work of the mixtures' launch; with the hidden units, that is with so many blocks that compute them, or without.
fn work(op: &AttentionOp, average: &Average, rows: usize, blocks: Option<usize>, mixtures: Amount) -> Work {
    let basis = op.basis.map_or(0, |basis| op.mixtures * basis.rank * (op.cells - basis.local));
    let fc1 = op.hidden * op.channels;
    let fc2 = op.mixtures * rows * op.hidden + basis;
    let sums = average.bytes();
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
