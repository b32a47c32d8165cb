//! What happens to results before they are stored: `activation(scale * x + shift + add)`.

use crate::program::Activation;

use super::activation::activate;
use super::machine::Shared;
use super::micro;

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
    /// The operands from a channel on, for a micro-kernel; `output` is what the addend may be.
    pub(super) fn pointers(&self, channel: usize, output: Shared) -> micro::Finish {
        let from = |data: Option<&[f32]>| data.map_or(std::ptr::null(), |data| data[channel..].as_ptr());
        micro::Finish {
            scale: from(self.scale),
            shift: from(self.shift),
            add: match self.add {
                Add::Nothing => std::ptr::null(),
                Add::Own => output.at(channel),
                Add::Other(data) => data.as_ptr().wrapping_add(channel),
            },
            activation: self.activation,
            sums: std::ptr::null_mut(),
        }
    }

    /// Scale and shift for a run of values, each of the next channel.
    pub(super) fn each(&self, first: usize, count: usize) -> Factors<'a> {
        let channels = |data: &'a [f32]| &data[first..first + count];
        Factors(self.scale.map(channels), self.shift.map(channels))
    }
}

/// Scale and shift of a run of values: one for each value, where there are any.
#[derive(Clone, Copy)]
pub(super) struct Factors<'a>(Option<&'a [f32]>, Option<&'a [f32]>);

/// Values that are finished at a time.
const CHUNK: usize = 64;

/// Finishes and stores a run of results; without any, what the output holds is taken for them.
#[inline(always)]
pub(super) fn store(
    output: &mut [f32],
    results: Option<&[f32]>,
    factors: Factors<'_>,
    add: Add<'_>,
    activation: Activation,
) {
    for (index, output) in output.chunks_mut(CHUNK).enumerate() {
        let part = index * CHUNK..index * CHUNK + output.len();
        let mut values = [0.0; CHUNK];
        let values = &mut values[..output.len()];
        values.copy_from_slice(results.map_or(&*output, |results| &results[part.clone()]));
        let Factors(scale, shift) = factors;
        if let Some(scale) = scale {
            values.iter_mut().zip(&scale[part.clone()]).for_each(|(value, scale)| *value *= scale);
        }
        if let Some(shift) = shift {
            values.iter_mut().zip(&shift[part.clone()]).for_each(|(value, shift)| *value += shift);
        }
        match add {
            Add::Nothing => {}
            Add::Own => values.iter_mut().zip(&*output).for_each(|(value, add)| *value += add),
            Add::Other(add) => values.iter_mut().zip(&add[part]).for_each(|(value, add)| *value += add),
        }
        activate(activation, values, output);
    }
}
