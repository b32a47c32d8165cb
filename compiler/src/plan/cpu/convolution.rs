//! What has a kernel: convolutions, linear layers, and the attention and mixing of dynamic ones.

use kwc_program::{AttentionNorm, Basis, BufferId, Conv, Epilogue, Kernel, Mixing, Op, PANEL, Source, WeightId};

use super::lower::{Attention, Lowering, Map, Storage};
use super::weights::{CellPanels, Order};
use crate::ir::WarehouseId;
use crate::partition::{Cells, Grid, gcd};
use crate::plan::Fold;
use crate::plan::steps::{self, Operand};

/// Columns of a panel for blocks of so many: half a [`PANEL`] where that saves a seventh of the lanes. (Half a panel loads a row's
/// value for every vector, which costs about as much.)
const fn width(block: usize) -> usize {
    let half = PANEL / 2;
    if block.next_multiple_of(half) * 8 <= block.next_multiple_of(PANEL) * 7 { half } else { PANEL }
}

impl Lowering<'_> {
    pub(super) fn convolution(&mut self, op: &steps::Conv) {
        let mut lowered = Conv {
            input: op.input,
            output: op.output,
            kernel: self.kernel(op.kernel, op),
            in_channels: op.in_channels,
            out_channels: op.out_channels,
            groups: op.groups,
            input_size: op.input_size,
            output_size: op.output_size,
            kernel_size: op.kernel_size,
            stride: op.stride,
            padding: op.padding,
            dilation: op.dilation,
            epilogue: Epilogue::NONE,
            average: None,
        };
        if let Storage::Given(given) = self.storage(op.input)
            && given.padding != [0; 3]
        {
            // All its readers have this padding.
            for (size, padding) in lowered.input_size.iter_mut().zip(given.padding) {
                *size += 2 * padding;
            }
            lowered.padding = [0; 3];
        }
        self.push_conv(lowered, &op.epilogue, false);
    }

    /// A linear layer: the convolution over tokens that it amounts to.
    pub(super) fn linear(&mut self, op: &steps::Linear) {
        let conv = op.as_conv();
        let lowered = Conv {
            input: op.input,
            output: op.output,
            kernel: self.kernel(op.kernel, &conv),
            in_channels: op.in_channels,
            out_channels: op.out_channels,
            groups: 1,
            input_size: conv.input_size,
            output_size: conv.output_size,
            kernel_size: [1; 3],
            stride: [1; 3],
            padding: [0; 3],
            dilation: [1; 3],
            epilogue: Epilogue::NONE,
            average: None,
        };
        self.push_conv(lowered, &op.epilogue, op.channels_last);
    }

    /// Adds a convolution, so far with the buffers of the steps.
    fn push_conv(&mut self, mut conv: Conv, epilogue: &Epilogue, flattens: bool) {
        let (to, channels, positions) = (conv.output, conv.out_channels, conv.output_size.iter().product());
        let input = match self.storage(conv.input) {
            Storage::Given(given) if given.padding != [0; 3] => self.import(given),
            Storage::Given(_) | Storage::Map(_) | Storage::Attention(_) | Storage::Kernel(_) => {
                self.read(conv.input, conv.in_channels, conv.input_size.iter().product())
            }
        };
        conv.input = input.buffer;
        conv.epilogue = self.epilogue(epilogue, channels, positions);
        // It works in place on what it adds, but never on what it convolves.
        let addend: Vec<BufferId> = conv.epilogue.add.into_iter().filter(|&add| add != conv.input).collect();
        conv.output = self.write(to, Map { buffer: to, channels, positions, flattens, producer: None }, &addend);
        self.push(Op::Conv(conv));
    }

    /// The packed kernel of a convolution.
    fn kernel(&mut self, kernel: Operand, op: &steps::Conv) -> Kernel {
        match kernel {
            Operand::Weight(weight) => {
                let is_depthwise = op.groups > 1 && op.groups == op.in_channels && op.groups == op.out_channels;
                let block = if is_depthwise { op.out_channels } else { op.out_channels / op.groups };
                let width = width(block);
                let order = Order::Panels {
                    rows: op.out_channels,
                    channels: op.in_channels / op.groups,
                    positions: op.kernel_size.iter().product(),
                    block,
                    width,
                };
                Kernel { source: Source::Weight(self.weights.panels(weight, order)), block, width }
            }
            Operand::Buffer(buffer) => {
                let mixing = self.read_mixing(buffer);
                let block = self.block(self.checked.mixtures(self.id).warehouse);
                Kernel { source: Source::Mixed(mixing), block, width: width(block) }
            }
        }
    }

    /// Output channels that stand together in the kernels of a warehouse: they divide a cell, and every group of every layer.
    fn block(&self, warehouse: WarehouseId) -> usize {
        let Cells { cell_out, members, .. } = self.checked.cells(warehouse);
        let network = self.checked.network();
        let convolutions = members.iter().filter_map(|&layer| network.layer(layer).op.convolution());
        convolutions.fold(*cell_out, |block, conv| {
            let is_depthwise = conv.groups == conv.in_channels && conv.groups == conv.out_channels;
            if conv.groups == 1 || is_depthwise { block } else { gcd(block, conv.out_channels / conv.groups) }
        })
    }

    /// The mixing of the layer that is lowered. Its convolution does it.
    pub(super) fn mix(&mut self, op: &steps::Mix) {
        let attention = self.read_attention(op.attention);
        let part = self.checked.mixtures(self.id);
        let cells = self.checked.cells(part.warehouse);
        let block = self.block(part.warehouse);
        let panels = CellPanels {
            cell_out: cells.cell_out,
            cell_in: cells.cell_in,
            cell_spatial: cells.cell_spatial.iter().product(),
            block,
            width: width(block),
        };
        let (warehouse, constants, count) = match attention.folded {
            None => (self.weights.warehouse(op.warehouse, op.cells, panels), None, op.cells),
            Some(basis) => {
                let recipe = |weight: WeightId| self.steps.recipes[weight.0 as usize].clone();
                let fold = Fold {
                    warehouse: recipe(op.warehouse),
                    fc3: recipe(basis.fc3),
                    bias: recipe(basis.bias),
                    cells: op.cells,
                    cell: op.cell,
                    local: basis.local,
                    start_cell: basis.start_cell,
                    rank: basis.rank,
                    mixtures: op.mixtures,
                };
                let (warehouse, constants) = self.weights.folded(&self.layer, &fold, panels);
                (warehouse, Some(constants), basis.local + basis.rank)
            }
        };
        let Grid { spatial, out, input } = part.grid;
        let mixing = Mixing {
            attention: attention.buffer,
            warehouse,
            constants,
            cells: count,
            cell_out: panels.cell_out,
            cell_in: panels.cell_in,
            cell_spatial: panels.cell_spatial,
            grid: [out, spatial, input],
            backwards: self.alternate(warehouse),
        };
        self.store(op.output, Storage::Kernel(mixing));
    }

    /// Whether the next layer that reads a warehouse takes it from its end.
    fn alternate(&mut self, warehouse: WeightId) -> bool {
        let turns = self.turns.entry(warehouse).or_insert(true);
        *turns = !*turns;
        *turns
    }

    /// The mixing that makes the kernel which a buffer of the steps holds.
    fn read_mixing(&self, buffer: BufferId) -> Mixing {
        match self.storage(buffer) {
            Storage::Kernel(mixing) => mixing,
            Storage::Given(_) | Storage::Map(_) | Storage::Attention(_) => unreachable!("{buffer} is no kernel"),
        }
    }

    /// The attention that a buffer of the steps holds.
    pub(super) fn read_attention(&self, buffer: BufferId) -> Attention {
        match self.storage(buffer) {
            Storage::Attention(attention) => attention,
            Storage::Given(_) | Storage::Map(_) | Storage::Kernel(_) => unreachable!("{buffer} is no attention"),
        }
    }

    pub(super) fn attention(&mut self, op: &steps::Attention) {
        let average = self.read(op.average, op.channels, 1).buffer;
        let folded = self.folded(op);
        let cells = folded.map_or(op.cells, |basis| basis.local + basis.rank + 1);
        let output = self.buffer(op.mixtures * cells);
        self.store(op.output, Storage::Attention(Attention { buffer: output, folded }));
        let rows = op.mixtures * op.basis.map_or(op.cells + 1, |basis| basis.local + basis.rank + 1);
        let weights = &mut self.weights;
        let mut matrix = |weight: WeightId, rows: usize, channels: usize| {
            weights.panels(weight, Order::Panels { rows, channels, positions: 1, block: rows, width: PANEL })
        };
        let fc1 = matrix(op.fc1, op.hidden, op.channels);
        let fc2 = matrix(op.fc2, rows, op.hidden);
        let fc3 = op.basis.map(|basis| matrix(basis.fc3, op.cells - basis.local, basis.rank));
        let fc1_bias = op.fc1_bias.map(|weight| weights.vector(weight));
        let norm = match op.norm {
            AttentionNorm::Batch { scale, shift } => {
                AttentionNorm::Batch { scale: weights.vector(scale), shift: weights.vector(shift) }
            }
            AttentionNorm::Layer { weight, bias, epsilon } => {
                AttentionNorm::Layer { weight: weights.vector(weight), bias: weights.vector(bias), epsilon }
            }
        };
        let fc2_bias = op.fc2_bias.map(|weight| weights.mixtures(weight));
        let basis = op.basis.zip(fc3).map(|(basis, fc3)| Basis {
            local: basis.local,
            start_cell: basis.start_cell,
            rank: basis.rank,
            fc3,
            bias: weights.mixtures(basis.bias),
            is_folded: folded.is_some(),
        });
        self.push(Op::Attention(kwc_program::Attention {
            average,
            output,
            channels: op.channels,
            hidden: op.hidden,
            mixtures: op.mixtures,
            cells: op.cells,
            fc1,
            fc1_bias,
            norm,
            fc2,
            fc2_bias,
            basis,
            temperature: op.temperature.clone(),
        }));
    }

    /// The basis of an attention, if it is folded into the layer's cells: where that leaves fewer cells to read, those of the
    /// constants counted as one. Blending with a temperature, and a caller who wants the attention, need one over the cells of
    /// the warehouse.
    fn folded(&self, op: &steps::Attention) -> Option<steps::Basis> {
        let is_fewer = |basis: &steps::Basis| basis.local + basis.rank + 1 < op.cells;
        let is_gathered = self.steps.is_gathered(op.output);
        op.basis.filter(|basis| is_fewer(basis) && op.temperature.is_none() && !is_gathered)
    }
}
