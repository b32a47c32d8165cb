//! The steps of each kind of layer.

use std::borrow::Cow;

use kwc_program::{AttentionNorm, BufferId, Epilogue, Temperature};

use super::build::Builder;
use super::fuse::Group;
use super::recipe::{self, Affine, Recipe};
use super::steps::{
    Attention, Basis, Concat, ConcatPart, Conv, LayerNorm, Linear, Map, Mix, Op as StepOp, Operand, Pool, Upsample,
    three,
};
use crate::ir::{self, ChannelOrder, Layer, LayerId, Op, Shape, SpatialPartition, ValueId};
use crate::state::module_path;

/// Adds the steps of a group.
pub(super) fn group(builder: &mut Builder<'_>, group: &Group) {
    let layer = builder.network.layer(group.anchor);
    let output = builder.network.layer(group.last).output;
    // Every layer has the inputs that its operation needs; only `add` and `concat` have more than one.
    let Some(&input) = layer.inputs.first() else { return };
    match &layer.op {
        Op::Conv(conv) => convolution(builder, group, layer, conv, input, output),
        Op::Linear(linear) => linear_layer(builder, group, layer, linear, input, output),
        Op::BatchNorm { .. } | Op::Scale { .. } | Op::Activation(_) => map(builder, group, layer, input, output),
        Op::Add => addition(builder, group, layer, output),
        Op::LayerNorm { epsilon } => layer_norm(builder, group, layer, *epsilon, input, output),
        Op::Pool(pool) => pooling(builder, layer, pool, input, output),
        Op::GlobalAverage => {
            let stored = builder.consume(input);
            let average = builder.average(layer, input, stored);
            builder.store(output, average);
        }
        Op::Concat => concatenation(builder, layer, output),
        Op::Upsample { factor } => upsampling(builder, layer, factor, input, output),
        Op::Flatten => {
            let stored = builder.consume(input);
            builder.store(output, stored);
        }
    }
}

fn spatial(shape: &Shape) -> [usize; 3] {
    three(&shape.spatial, 1)
}

fn channels_last(shape: &Shape) -> bool {
    shape.order == ChannelOrder::Last
}

/// The buffers that an epilogue's addition reads and the result is written to.
fn output_buffer(
    builder: &mut Builder<'_>,
    add: Option<ValueId>,
    output: ValueId,
    others: &[BufferId],
) -> (Option<BufferId>, BufferId) {
    let add = add.map(|value| builder.consume(value));
    let buffer = builder.in_place(output, add, others);
    (add, buffer)
}

fn convolution(
    builder: &mut Builder<'_>,
    group: &Group,
    layer: &Layer,
    conv: &ir::Conv,
    input: ValueId,
    output: ValueId,
) {
    let stored = builder.consume(input);
    let (kernel, channel_block) = match conv.warehouse {
        None => {
            let columns = conv.in_channels / conv.groups * conv.kernel.iter().product::<usize>();
            (static_kernel(builder, group, layer, conv.out_channels, columns), 1)
        }
        Some(warehouse) => {
            let kernel = mixed_kernel(builder, group.anchor, layer, input, stored);
            let block = match builder.network.warehouse(warehouse).settings.partition {
                SpatialPartition::Spatial => conv.in_channels / conv.groups,
                SpatialPartition::Whole => builder.checked.cells(warehouse).cell_in,
            };
            (kernel, block)
        }
    };
    let (add, buffer) = output_buffer(builder, group.add, output, &[stored, mixed(kernel).unwrap_or(stored)]);
    let epilogue = builder.epilogue(group, Some(kernel), add, conv.out_channels);
    let op = StepOp::Conv(Conv {
        input: stored,
        output: buffer,
        kernel,
        in_channels: conv.in_channels,
        out_channels: conv.out_channels,
        groups: conv.groups,
        channel_block,
        input_size: spatial(builder.shape(input)),
        output_size: spatial(builder.shape(output)),
        kernel_size: three(&conv.kernel, 1),
        stride: three(&conv.stride, 1),
        padding: three(&conv.padding, 0),
        dilation: three(&conv.dilation, 1),
        epilogue,
    });
    builder.step(&layer.path, op);
}

fn linear_layer(
    builder: &mut Builder<'_>,
    group: &Group,
    layer: &Layer,
    linear: &ir::Linear,
    input: ValueId,
    output: ValueId,
) {
    let stored = builder.consume(input);
    let kernel = if linear.warehouse.is_some() {
        mixed_kernel(builder, group.anchor, layer, input, stored)
    } else {
        static_kernel(builder, group, layer, linear.out_channels, linear.in_channels)
    };
    let (add, buffer) = output_buffer(builder, group.add, output, &[stored, mixed(kernel).unwrap_or(stored)]);
    let epilogue = builder.epilogue(group, Some(kernel), add, linear.out_channels);
    let shape = builder.shape(input);
    let op = StepOp::Linear(Linear {
        input: stored,
        output: buffer,
        kernel,
        in_channels: linear.in_channels,
        out_channels: linear.out_channels,
        positions: shape.positions(),
        // A single position is stored the same way in both orders; channels last lets a batch be one product.
        channels_last: channels_last(shape) || shape.positions() == 1,
        epilogue,
    });
    builder.step(&layer.path, op);
}

fn mixed(kernel: Operand) -> Option<BufferId> {
    match kernel {
        Operand::Buffer(buffer) => Some(buffer),
        Operand::Weight(_) => None,
    }
}

/// A static kernel, with the group's factors folded in.
fn static_kernel(builder: &mut Builder<'_>, group: &Group, layer: &Layer, rows: usize, columns: usize) -> Operand {
    let name = format!("{}.weight", module_path(layer));
    let recipe = if recipe::scales(&group.affine) {
        Recipe::Rows { tensor: name.clone(), rows, affine: group.affine.clone() }
    } else {
        Recipe::Copy { tensor: name.clone() }
    };
    let weight = builder.weight(name, vec![rows, columns], recipe);
    Operand::Weight(weight)
}

/// The attention and the mixing of a dynamic layer.
fn mixed_kernel(builder: &mut Builder<'_>, id: LayerId, layer: &Layer, input: ValueId, stored: BufferId) -> Operand {
    let part = builder.checked.mixtures(id);
    let cells = builder.checked.cells(part.warehouse);
    let alpha = attention(builder, id, layer, input, stored);
    let cell_spatial: usize = cells.cell_spatial.iter().product();
    let warehouse = if let Some(&weight) = builder.warehouses.get(&part.warehouse) {
        weight
    } else {
        let tensor = format!("warehouse_manager.weights.{}", part.warehouse.index());
        let recipe =
            Recipe::Cells { tensor: tensor.clone(), cell_out: cells.cell_out, cell_in: cells.cell_in, cell_spatial };
        let shape = vec![cells.cells, cell_spatial, cells.cell_in, cells.cell_out];
        let weight = builder.weight(tensor, shape, recipe);
        builder.warehouses.insert(part.warehouse, weight);
        weight
    };
    let output = builder.buffer(part.mixtures * cells.cell_elements());
    let op = StepOp::Mix(Mix {
        attention: alpha,
        warehouse,
        output,
        mixtures: part.mixtures,
        cells: cells.cells,
        cell: cells.cell_elements(),
    });
    builder.step(&layer.path, op);
    Operand::Buffer(output)
}

fn attention(builder: &mut Builder<'_>, id: LayerId, layer: &Layer, input: ValueId, stored: BufferId) -> BufferId {
    let part = builder.checked.mixtures(id);
    let cells = builder.checked.cells(part.warehouse).cells;
    let settings = &builder.network.warehouse(part.warehouse).settings;
    let path = format!("{}.attention", module_path(layer));
    let channels = builder.shape(input).channels;
    let average = builder.average(layer, input, stored);
    let copy = |builder: &mut Builder<'_>, suffix: &str, shape: Vec<usize>| {
        let tensor = format!("{path}.{suffix}");
        builder.weight(tensor.clone(), shape, Recipe::Copy { tensor })
    };
    let mixtures = |builder: &mut Builder<'_>, suffix: &str, shape: Vec<usize>| {
        let tensor = format!("{path}.{suffix}");
        builder.weight(tensor.clone(), shape, Recipe::Mixtures { tensor, grid: part.grid })
    };

    let fc1 = copy(builder, "fc1.weight", vec![part.hidden, channels]);
    let (fc1_bias, norm) = match settings.attention_norm {
        ir::AttentionNorm::Batch => {
            let path = format!("{path}.norm1");
            let affine = [Affine::BatchNorm { path: path.clone(), epsilon: ATTENTION_EPSILON }];
            let scale = builder.weight(format!("{path}.scale"), vec![part.hidden], Recipe::Scale(affine.to_vec()));
            let shift = builder.weight(format!("{path}.shift"), vec![part.hidden], Recipe::Shift(affine.to_vec()));
            (None, AttentionNorm::Batch { scale, shift })
        }
        ir::AttentionNorm::Layer => {
            let fc1_bias = copy(builder, "fc1.bias", vec![part.hidden]);
            let weight = copy(builder, "norm1.weight", vec![part.hidden]);
            let bias = copy(builder, "norm1.bias", vec![part.hidden]);
            (Some(fc1_bias), AttentionNorm::Layer { weight, bias, epsilon: ATTENTION_EPSILON as f32 })
        }
    };
    let rows = part.mixtures * part.rows(cells);
    let fc2 = mixtures(builder, "fc2.weight", vec![rows, part.hidden]);
    let (fc2_bias, basis) = match part.basis {
        None => (Some(mixtures(builder, "fc2.bias", vec![rows])), None),
        Some(rank) => {
            let fc3 = copy(builder, "fc3.weight", vec![cells - part.local_cells, rank]);
            let bias = mixtures(builder, "basis_bias", vec![part.mixtures * (cells + 1)]);
            (None, Some(Basis { local: part.local_cells, start_cell: part.start_cell, rank, fc3, bias }))
        }
    };
    let temperature = builder.options.temperature.map(|t| {
        let beta = part.beta(settings.budget, cells);
        let packed = recipe::packed_order(part.grid).map(|mixture| u32::try_from(beta[mixture]).unwrap_or(u32::MAX));
        Temperature { t, beta: Cow::Owned(packed.collect()) }
    });
    let output = builder.buffer(part.mixtures * cells);
    let op = StepOp::Attention(Attention {
        average,
        output,
        channels,
        hidden: part.hidden,
        mixtures: part.mixtures,
        cells,
        fc1,
        fc1_bias,
        norm,
        fc2,
        fc2_bias,
        basis,
        temperature,
    });
    builder.step(&layer.path, op);
    builder.attentions.insert(id, output);
    output
}

/// Epsilon of the attention's norm, whichever it is.
const ATTENTION_EPSILON: f64 = 1e-5;

fn map(builder: &mut Builder<'_>, group: &Group, layer: &Layer, input: ValueId, output: ValueId) {
    let stored = builder.consume(input);
    let add = group.add.map(|value| builder.consume(value));
    let mut buffer = None;
    for (candidate, other) in [(Some(stored), add), (add, Some(stored))] {
        if buffer.is_none() && candidate.is_some_and(|c| builder.is_free(c)) && candidate != other {
            buffer = candidate;
        }
    }
    let buffer = builder.in_place(output, buffer, &[]);
    let shape = builder.shape(input);
    let epilogue = builder.epilogue(group, None, add, shape.channels);
    push_map(builder, layer, shape, stored, buffer, epilogue);
}

fn push_map(
    builder: &mut Builder<'_>,
    layer: &Layer,
    shape: &Shape,
    input: BufferId,
    output: BufferId,
    epilogue: Epilogue,
) {
    let op = StepOp::Map(Map {
        input,
        output,
        channels: shape.channels,
        positions: shape.positions(),
        channels_last: channels_last(shape),
        epilogue,
    });
    builder.step(&layer.path, op);
}

/// A sum of two values is a map; each further one is added in place.
fn addition(builder: &mut Builder<'_>, group: &Group, layer: &Layer, output: ValueId) {
    let [first, .., last] = layer.inputs[..] else { return };
    if layer.inputs.len() == 2 {
        let group = Group { add: Some(last), ..group.clone() };
        map(builder, &group, layer, first, output);
        return;
    }
    let shape = builder.shape(output);
    let operands: Vec<BufferId> = layer.inputs.iter().map(|&v| builder.consume(v)).collect();
    let buffer = builder.fresh(output);
    let mut sum = operands[0];
    for &add in &operands[1..] {
        push_map(builder, layer, shape, sum, buffer, Epilogue { add: Some(add), ..Epilogue::NONE });
        sum = buffer;
    }
}

fn layer_norm(builder: &mut Builder<'_>, group: &Group, layer: &Layer, epsilon: f64, input: ValueId, output: ValueId) {
    let stored = builder.consume(input);
    let buffer = builder.in_place(output, Some(stored), &[]);
    let shape = builder.shape(input);
    let mut vector = |suffix: &str| {
        let tensor = format!("{}.{suffix}", layer.path);
        builder.weight(tensor.clone(), vec![shape.channels], Recipe::Copy { tensor })
    };
    let (weight, bias) = (vector("weight"), vector("bias"));
    let op = StepOp::LayerNorm(LayerNorm {
        input: stored,
        output: buffer,
        channels: shape.channels,
        positions: shape.positions(),
        channels_last: channels_last(shape),
        weight,
        bias,
        epsilon: epsilon as f32,
        activation: group.activation,
    });
    builder.step(&layer.path, op);
}

fn pooling(builder: &mut Builder<'_>, layer: &Layer, pool: &ir::Pool, input: ValueId, output: ValueId) {
    let stored = builder.consume(input);
    let buffer = builder.fresh(output);
    let op = StepOp::Pool(Pool {
        kind: pool.kind,
        input: stored,
        output: buffer,
        channels: builder.shape(input).channels,
        input_size: spatial(builder.shape(input)),
        output_size: spatial(builder.shape(output)),
        kernel_size: three(&pool.kernel, 1),
        stride: three(&pool.stride, 1),
        padding: three(&pool.padding, 0),
    });
    builder.step(&layer.path, op);
}

fn concatenation(builder: &mut Builder<'_>, layer: &Layer, output: ValueId) {
    let inputs: Vec<ConcatPart> = layer
        .inputs
        .iter()
        .map(|&v| ConcatPart { buffer: builder.consume(v), channels: builder.shape(v).channels })
        .collect();
    let buffer = builder.fresh(output);
    let shape = builder.shape(output);
    let op = StepOp::Concat(Concat {
        inputs: Cow::Owned(inputs),
        output: buffer,
        positions: shape.positions(),
        channels_last: channels_last(shape),
    });
    builder.step(&layer.path, op);
}

fn upsampling(builder: &mut Builder<'_>, layer: &Layer, factor: &[usize], input: ValueId, output: ValueId) {
    let stored = builder.consume(input);
    let buffer = builder.fresh(output);
    let op = StepOp::Upsample(Upsample {
        input: stored,
        output: buffer,
        channels: builder.shape(input).channels,
        input_size: spatial(builder.shape(input)),
        factor: three(factor, 1),
    });
    builder.step(&layer.path, op);
}
