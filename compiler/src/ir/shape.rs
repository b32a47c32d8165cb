//! Shapes of values.

use std::fmt;

/// Where the channels stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelOrder {
    /// `[C, spatial...]`: maps.
    First,
    /// `[T, C]`: tokens.
    Last,
}

/// Shape of one sample: channels and the positions that they stand at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Channels.
    pub channels: usize,
    /// Spatial sizes; empty for a vector, one entry for tokens and 1-d maps.
    pub spatial: Vec<usize>,
    /// Where the channels stand. A vector counts as channels first.
    pub order: ChannelOrder,
}

impl Shape {
    /// A map `[channels, spatial...]`; a vector if `spatial` is empty.
    #[must_use]
    pub const fn map(channels: usize, spatial: Vec<usize>) -> Self {
        Self { channels, spatial, order: ChannelOrder::First }
    }

    /// A vector `[channels]`.
    #[must_use]
    pub const fn vector(channels: usize) -> Self {
        Self::map(channels, Vec::new())
    }

    /// Tokens `[tokens, channels]`.
    #[must_use]
    pub fn tokens(tokens: usize, channels: usize) -> Self {
        Self { channels, spatial: vec![tokens], order: ChannelOrder::Last }
    }

    /// Whether this is a vector.
    #[must_use]
    pub const fn is_vector(&self) -> bool {
        self.spatial.is_empty()
    }

    /// Whether this is a map with at least one spatial dimension.
    #[must_use]
    pub fn is_map(&self) -> bool {
        !self.is_vector() && self.order == ChannelOrder::First
    }

    /// Positions: the product of the spatial sizes.
    #[must_use]
    pub fn positions(&self) -> usize {
        self.spatial.iter().product()
    }

    /// Elements.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.channels * self.positions()
    }

    /// All dimensions in storage order, without the batch.
    #[must_use]
    pub fn dims(&self) -> Vec<usize> {
        match self.order {
            ChannelOrder::First => std::iter::once(self.channels).chain(self.spatial.iter().copied()).collect(),
            ChannelOrder::Last => self.spatial.iter().copied().chain(std::iter::once(self.channels)).collect(),
        }
    }

    /// The same positions with another channel count.
    #[must_use]
    pub fn with_channels(&self, channels: usize) -> Self {
        Self { channels, ..self.clone() }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[")?;
        for (i, d) in self.dims().iter().enumerate() {
            write!(f, "{}{d}", if i == 0 { "" } else { ", " })?;
        }
        write!(f, "]")
    }
}
