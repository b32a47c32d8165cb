//! A step's operands: the arena, cut into the output and all the rest.

use std::ops::Range;

use crate::program::{BufferId, Epilogue, Program, WeightId};

use super::epilogue::{Add, Finish};

/// Where a buffer lies in the arena; empty for an id that the Program does not have.
pub(super) fn place(program: &Program, id: BufferId, batch: usize) -> Range<usize> {
    let buffer = usize::try_from(id.0).ok().and_then(|index| program.buffers.get(index));
    buffer.map_or(0..0, |buffer| buffer.offset * batch..(buffer.offset + buffer.length) * batch)
}

/// Where a weight lies in the packed block; empty for an id that the Program does not have.
pub(super) fn weight_place(program: &Program, id: WeightId) -> Range<usize> {
    let weight = usize::try_from(id.0).ok().and_then(|index| program.weights.get(index));
    weight.map_or(0..0, |weight| weight.offset..weight.offset + weight.elements())
}

/// Everything that a step reads.
pub(super) struct Operands<'a> {
    program: &'a Program,
    weights: &'a [f32],
    before: &'a [f32],
    after: &'a [f32],
    /// The output's place in the arena.
    output: Range<usize>,
    batch: usize,
}

impl<'a> Operands<'a> {
    /// Cuts the arena at the output's borders. A checked step's other buffers lie on one side of it, or are the output.
    pub(super) fn split(
        program: &'a Program,
        weights: &'a [f32],
        arena: &'a mut [f32],
        output: BufferId,
        batch: usize,
    ) -> (Self, &'a mut [f32]) {
        let place = place(program, output, batch);
        let (before, rest) = arena.split_at_mut(place.start);
        let (own, after) = rest.split_at_mut(place.len());
        (Self { program, weights, before, after, output: place, batch }, own)
    }

    /// Samples.
    pub(super) fn batch(&self) -> usize {
        self.batch
    }

    /// A packed weight.
    pub(super) fn weight(&self, id: WeightId) -> &'a [f32] {
        &self.weights[weight_place(self.program, id)]
    }

    /// A buffer's samples, or `None` if it is the output's own place.
    pub(super) fn buffer(&self, id: BufferId) -> Option<&'a [f32]> {
        let place = place(self.program, id, self.batch);
        if place.end <= self.output.start {
            Some(&self.before[place])
        } else if place.start >= self.output.end {
            Some(&self.after[place.start - self.output.end..place.end - self.output.end])
        } else {
            None
        }
    }

    /// A buffer that a checked step keeps apart from its output.
    pub(super) fn input(&self, id: BufferId) -> &'a [f32] {
        self.buffer(id).unwrap_or_default()
    }

    /// An epilogue's operands, for all samples.
    pub(super) fn finish(&self, epilogue: &Epilogue) -> Finish<'a> {
        Finish {
            scale: epilogue.scale.map(|id| self.weight(id)),
            shift: epilogue.shift.map(|id| self.weight(id)),
            add: epilogue.add.map_or(Add::Nothing, |id| self.buffer(id).map_or(Add::Own, Add::Other)),
            activation: epilogue.activation,
        }
    }
}
