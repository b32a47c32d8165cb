//! What happens to results before they are stored: `activation(scale * x + shift + add)`.

use crate::program::{Activation, Map};

use super::operands::Operands;
use super::threads::Threads;
use super::tile::Tile;

/// The buffer that is added to a result.
#[derive(Clone, Copy)]
pub(super) enum Add<'a> {
    /// None.
    Nothing,
    /// What the output held before.
    Own,
    /// Another one, laid out as the output.
    Other(&'a [f32]),
}

impl<'a> Add<'a> {
    /// The part that belongs to elements `start .. start + length` of the output.
    pub(super) fn part(self, start: usize, length: usize) -> Self {
        match self {
            Self::Nothing => Self::Nothing,
            Self::Own => Self::Own,
            Self::Other(data) => Self::Other(&data[start..start + length]),
        }
    }
}

/// The operands of an epilogue.
#[derive(Clone, Copy)]
pub(super) struct Finish<'a> {
    /// Per channel.
    pub(super) scale: Option<&'a [f32]>,
    /// Per channel.
    pub(super) shift: Option<&'a [f32]>,
    /// Laid out as the output.
    pub(super) add: Add<'a>,
    /// Applied last.
    pub(super) activation: Activation,
}

impl<'a> Finish<'a> {
    /// Nothing but storing.
    pub(super) const NONE: Self =
        Self { scale: None, shift: None, add: Add::Nothing, activation: Activation::Identity };

    /// The operands of one part of the output: `length` elements from `start`, whose channels are `count` from `channel`.
    pub(super) fn part(self, start: usize, length: usize, channel: usize, count: usize) -> Self {
        let channels = |data: &'a [f32]| &data[channel..channel + count];
        Self {
            scale: self.scale.map(channels),
            shift: self.shift.map(channels),
            add: self.add.part(start, length),
            activation: self.activation,
        }
    }

    /// Scale and shift of one channel.
    pub(super) fn channel(&self, channel: usize) -> (f32, f32) {
        (self.scale.map_or(1.0, |scale| scale[channel]), self.shift.map_or(0.0, |shift| shift[channel]))
    }
}

/// Stores a run of results of one channel.
pub(super) fn store(output: &mut [f32], results: &[f32], (scale, shift): (f32, f32), add: Add<'_>, act: Activation) {
    match add {
        Add::Nothing => {
            for (y, &x) in output.iter_mut().zip(results) {
                *y = scale * x + shift;
            }
        }
        Add::Own => {
            for (y, &x) in output.iter_mut().zip(results) {
                *y += scale * x + shift;
            }
        }
        Add::Other(add) => {
            for ((y, &x), &a) in output.iter_mut().zip(results).zip(add) {
                *y = scale * x + shift + a;
            }
        }
    }
    activate(act, output);
}

/// Applies an activation to every value. A value that is not a number stays one.
#[inline]
pub(super) fn activate(activation: Activation, values: &mut [f32]) {
    let each = match activation {
        Activation::Identity => return,
        Activation::Relu => return values.iter_mut().for_each(|x| *x = if *x < 0.0 { 0.0 } else { *x }),
        Activation::Relu6 => return values.iter_mut().for_each(|x| *x = x.clamp(0.0, 6.0)),
        Activation::HardSwish => return values.iter_mut().for_each(|x| *x *= (*x + 3.0).clamp(0.0, 6.0) / 6.0),
        Activation::Gelu => gelu,
        Activation::Silu => silu,
        Activation::Sigmoid => sigmoid,
    };
    values.iter_mut().for_each(|x| *x = each(*x));
}

fn gelu(x: f32) -> f32 {
    let wide = f64::from(x);
    #[expect(clippy::cast_possible_truncation, reason = "rounds to the result's type")]
    {
        (wide * 0.5 * (1.0 + libm::erf(wide * std::f64::consts::FRAC_1_SQRT_2))) as f32
    }
}

fn sigmoid(x: f32) -> f32 {
    // The exponent is never positive, so nothing overflows on the way.
    let small = (-x.abs()).exp();
    if x < 0.0 { small / (1.0 + small) } else { 1.0 / (1.0 + small) }
}

fn silu(x: f32) -> f32 {
    // Minus infinity, the only x that the product would make indefinite, has the limit 0.
    if x == f32::NEG_INFINITY { 0.0 } else { x * sigmoid(x) }
}

/// Elements that one thread maps in one go.
const PIECE: usize = 1 << 14;

/// Runs a [`Map`]; input and addend may be the output's own buffer.
pub(super) fn map(op: &Map, operands: &Operands<'_>, output: &mut [f32], threads: &Threads) {
    let input = operands.buffer(op.input);
    let finish = operands.finish(&op.epilogue);
    // One row is a channel's positions, or a position's channels.
    let columns = if op.channels_last { op.channels } else { op.positions };
    let rows = (PIECE / columns).max(1);
    let pieces = Tile::new(output, columns).grid(rows, PIECE);
    threads.each(pieces, |(first_row, first_column, mut tile), _| {
        for row in 0..tile.rows() {
            let width = tile.columns();
            let start = (first_row + row) * columns + first_column;
            let output = tile.row(row);
            let add = finish.add.part(start, width);
            if op.channels_last {
                let finish = finish.part(start, width, first_column, width);
                map_channels(output, input.map(|data| &data[start..start + width]), &finish);
            } else {
                let factors = finish.channel((first_row + row) % op.channels);
                match input {
                    Some(data) => store(output, &data[start..start + width], factors, add, finish.activation),
                    None => map_in_place(output, factors, add, finish.activation),
                }
            }
        }
    });
}

/// Maps a run of one channel's values where they are.
fn map_in_place(values: &mut [f32], (scale, shift): (f32, f32), add: Add<'_>, activation: Activation) {
    match add {
        Add::Nothing => values.iter_mut().for_each(|x| *x = scale * *x + shift),
        Add::Own => values.iter_mut().for_each(|x| *x += scale * *x + shift),
        Add::Other(add) => {
            for (x, &a) in values.iter_mut().zip(add) {
                *x = scale * *x + shift + a;
            }
        }
    }
    activate(activation, values);
}

/// Maps one position's channels, from `input` or where they are.
fn map_channels(output: &mut [f32], input: Option<&[f32]>, finish: &Finish<'_>) {
    for (channel, y) in output.iter_mut().enumerate() {
        let (scale, shift) = finish.channel(channel);
        let x = input.map_or(*y, |data| data[channel]);
        let add = match finish.add {
            Add::Nothing => 0.0,
            Add::Own => *y,
            Add::Other(data) => data[channel],
        };
        *y = scale * x + shift + add;
    }
    activate(finish.activation, output);
}
