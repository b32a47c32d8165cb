//! What a step has to do: multiply-adds of one sample, and the weights that are read.
//!
//! Work is what the arithmetic needs, without the lanes that fill up panels. Of a convolution with `P` output positions, whose
//! kernel has `K` rows and `C_out` columns, `P * K * C_out`. Of mixing `m` mixtures over `n` cells of `e` elements, `m * n * e`, and
//! `m * e` more with a constant part; with a folded basis, `n` counts what it is folded to. Of an attention,
//! `C_in * hidden + hidden * m * rows`, and `m * q * (n - local)` more with a basis of rank `q`, where `rows` is the number of logits
//! that the last layer makes for a mixture. Norms, activations, pooling and additions are not counted. Products and sums saturate
//! at the largest `u64`; the sizes themselves are those of a Program that a runtime has accepted.

use serde::Serialize;

use crate::{
    Attention, AttentionNorm, Basis, Conv, Epilogue, LayerNorm, Map, Mixing, Op, Program, Source, Step, Weight,
    WeightId,
};

/// Multiply-adds of one sample.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Work {
    /// Convolutions and linear layers, with static and with mixed kernels.
    pub convolution: u64,
    /// Mixing of kernels.
    pub mixing: u64,
    /// Matrices of the attention function.
    pub attention: u64,
}

impl Work {
    /// Nothing to count.
    pub const NONE: Self = Self { convolution: 0, mixing: 0, attention: 0 };

    /// All three together.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.convolution.saturating_add(self.mixing).saturating_add(self.attention)
    }

    /// This and another one's.
    #[must_use]
    pub const fn plus(&self, other: &Self) -> Self {
        Self {
            convolution: self.convolution.saturating_add(other.convolution),
            mixing: self.mixing.saturating_add(other.mixing),
            attention: self.attention.saturating_add(other.attention),
        }
    }
}

impl Op {
    /// Multiply-adds of one sample.
    #[must_use]
    pub fn work(&self) -> Work {
        match self {
            Self::Conv(op) => op.work(),
            Self::Attention(op) => Work { attention: op.multiply_adds(), ..Work::NONE },
            Self::Import(_)
            | Self::Export(_)
            | Self::GlobalAverage(_)
            | Self::Pool(_)
            | Self::LayerNorm(_)
            | Self::Map(_)
            | Self::Concat(_)
            | Self::Upsample(_)
            | Self::GatherRows(_) => Work::NONE,
        }
    }

    /// The weights that are read, each once whatever the batch: a warehouse and its constants, a kernel, matrices and vectors.
    #[must_use]
    pub fn weights(&self) -> Vec<WeightId> {
        let read: Vec<Option<WeightId>> = match self {
            Self::Conv(op) => {
                let (kernel, constants) = match op.kernel.source {
                    Source::Weight(id) => (id, None),
                    Source::Mixed(mixing) => (mixing.warehouse, mixing.constants),
                };
                let Epilogue { scale, shift, .. } = op.epilogue;
                vec![Some(kernel), constants, scale, shift]
            }
            Self::Attention(op) => {
                let (scale, shift) = match op.norm {
                    AttentionNorm::Batch { scale, shift } => (scale, shift),
                    AttentionNorm::Layer { weight, bias, .. } => (weight, bias),
                };
                let basis = op.basis.map(|basis| [basis.fc3, basis.bias]);
                let [fc3, bias] = basis.map_or([None; 2], |ids| ids.map(Some));
                vec![Some(op.fc1), op.fc1_bias, Some(scale), Some(shift), Some(op.fc2), op.fc2_bias, fc3, bias]
            }
            Self::LayerNorm(LayerNorm { weight, bias, .. }) => vec![Some(*weight), Some(*bias)],
            Self::Map(Map { epilogue: Epilogue { scale, shift, .. }, .. }) => vec![*scale, *shift],
            Self::Import(_)
            | Self::Export(_)
            | Self::GlobalAverage(_)
            | Self::Pool(_)
            | Self::Concat(_)
            | Self::Upsample(_)
            | Self::GatherRows(_) => Vec::new(),
        };
        read.into_iter().flatten().collect()
    }
}

impl Conv {
    fn work(&self) -> Work {
        let positions = product(&self.output_size);
        let convolution = product(&[self.depth(), self.out_channels]).saturating_mul(positions);
        let mixing = match &self.kernel.source {
            Source::Weight(_) => 0,
            Source::Mixed(mixing) => mixing.multiply_adds(),
        };
        Work { convolution, mixing, attention: 0 }
    }
}

impl Mixing {
    /// A constant part is one more cell of each mixture's own.
    fn multiply_adds(&self) -> u64 {
        product(&[self.mixtures(), self.pitch(), self.cell_out, self.cell_in, self.cell_spatial])
    }
}

impl Attention {
    fn multiply_adds(&self) -> u64 {
        let (rows, basis) = match &self.basis {
            None => (self.cells + 1, 0),
            Some(Basis { local, rank, .. }) => {
                (local + rank + 1, product(&[self.mixtures, *rank, self.cells.saturating_sub(*local)]))
            }
        };
        product(&[self.channels, self.hidden])
            .saturating_add(product(&[self.hidden, self.mixtures, rows]))
            .saturating_add(basis)
    }
}

impl Step {
    /// Bytes of the weights that this step of a Program reads, in single precision and with what fills up panels.
    #[must_use]
    pub fn weight_bytes(&self, program: &Program) -> u64 {
        let elements = |id: WeightId| {
            let weight = usize::try_from(id.0).ok().and_then(|index| program.weights.get(index));
            weight.map_or(0, Weight::elements)
        };
        let bytes = self.op.weights().into_iter().map(|id| product(&[elements(id), size_of::<f32>()]));
        bytes.fold(0, u64::saturating_add)
    }
}

fn product(factors: &[usize]) -> u64 {
    factors.iter().fold(1, |product, &factor| product.saturating_mul(factor as u64))
}
