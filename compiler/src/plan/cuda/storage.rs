//! How what the steps compute is stored on the device.

use kwc_program::cuda::{Argument, CHANNELS, Element};
use kwc_program::{BufferId, WeightId};

use super::conv::Unmixed;
use crate::plan::steps::Basis;

/// What a buffer of the steps holds, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Storage {
    /// An input of the network.
    Port(Port),
    /// An activation.
    Map(Map),
    /// An average that is still partial sums.
    Sums(Sums),
    /// The attention of a layer.
    Attention(Attention),
    /// The mixed kernel of a layer.
    Kernel(Mixed),
    /// The kernel of a layer whose convolution mixes it.
    Unmixed(Unmixed),
}

/// `f32` in PyTorch's order: `[channels, positions]`, or `[positions, channels]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Port {
    pub buffer: BufferId,
    pub channels: usize,
    pub positions: usize,
    pub channels_last: bool,
}

/// An activation: `[positions, pitch]` per sample; zeros in the padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Map {
    pub buffer: BufferId,
    pub element: Element,
    pub channels: usize,
    pub positions: usize,
    /// Elements from one position to the next: [`padded`] channels.
    pub pitch: usize,
    /// Whether flattening it takes the channels of one position together, as tokens do; a map in PyTorch doesn't.
    pub channels_last: bool,
}

impl Map {
    /// Elements of one sample.
    pub(super) fn elements(&self) -> usize {
        self.positions * self.pitch
    }

    /// Bytes of one sample.
    pub(super) fn bytes(&self) -> usize {
        self.elements() * self.element.bytes()
    }
}

/// Sums over parts of the positions, `f32`, `[parts, pitch]` per sample. The average is their sum over `positions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sums {
    pub buffer: BufferId,
    pub parts: usize,
    pub channels: usize,
    pub pitch: usize,
    pub positions: usize,
}

/// An attention, `[mixtures, pitch]` per sample, without the null cell; zeros in the padding. Mixtures are in packed order.
///
/// One with a folded basis is over the cells of [`super::weights::Fold`] instead of the warehouse's: a mixture's logits of
/// its local cells and of the basis, and 1 for its own constant part, all over its normaliser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attention {
    pub buffer: BufferId,
    pub element: Element,
    pub mixtures: usize,
    pub cells: usize,
    /// Elements from one mixture to the next: [`padded`] cells.
    pub pitch: usize,
    /// The basis that is folded into the cells.
    pub folded: Option<Basis>,
}

/// A mixed kernel. With `K = in_channels / groups * positions`, one sample's is `[C_out / block, K, pitch]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mixed {
    pub buffer: BufferId,
    pub element: Element,
    /// Output channels that stand together: those of a cell.
    pub block: usize,
    /// The same with padding.
    pub pitch: usize,
    /// Elements of one sample.
    pub elements: usize,
}

/// The kernel that a convolution reads, static or mixed: element `(r, c, s)` (output channel, input channel of the group,
/// kernel position) is at `(r / block) * K * pitch + column * pitch + r % block`, where the column is
/// `(c / channel_block) * S * channel_block + s * channel_block + c % channel_block`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KernelOperand {
    pub argument: Argument,
    /// Elements from one sample's kernel to the next's; 0 for a static kernel.
    pub sample_stride: usize,
    pub block: usize,
    pub pitch: usize,
    pub channel_block: usize,
}

impl KernelOperand {
    /// A static kernel packed by [`super::Order::Kernel`].
    pub(super) fn fixed(weight: WeightId, rows: usize, in_channels: usize) -> Self {
        Self {
            argument: Argument::Weight(weight),
            sample_stride: 0,
            block: rows,
            pitch: padded(rows),
            channel_block: in_channels,
        }
    }
}

/// Channels with padding.
pub(super) const fn padded(channels: usize) -> usize {
    channels.next_multiple_of(CHANNELS)
}
