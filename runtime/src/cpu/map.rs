//! Epilogues on their own.

use crate::program::Map;

use super::epilogue::{Finish, store};
use super::operands::Operands;
use super::pieces;
use super::simd::{self, Loop};
use super::threads::Threads;

/// Runs a [`Map`]; input and addend may be the output's own buffer.
pub(super) fn run(op: &Map, operands: &Operands<'_>, output: &mut [f32], threads: &Threads) {
    let input = operands.buffer(op.input);
    let finish = operands.finish(&op.epilogue);
    pieces::each(threads, output, (op.channels, op.channels), |first, piece, _| {
        let start = first * op.channels;
        let input = input.map(|data| &data[start..start + piece.len()]);
        let finish = Finish { add: finish.add.part(start, piece.len()), ..finish };
        simd::run(Positions { channels: op.channels, input, finish, output: piece });
    });
}

/// The positions of one piece.
struct Positions<'a> {
    channels: usize,
    /// What is mapped, unless it is the output itself.
    input: Option<&'a [f32]>,
    finish: Finish<'a>,
    output: &'a mut [f32],
}

impl Loop for Positions<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Self { channels, input, finish, output } = self;
        let is_same_for_all = finish.scale.is_none() && finish.shift.is_none();
        let run = if is_same_for_all { output.len() } else { channels };
        for (index, output) in output.chunks_exact_mut(run).enumerate() {
            let start = index * run;
            let values = input.map(|data| &data[start..start + run]);
            store(output, values, finish.each(0, run), finish.add.part(start, run), finish.activation);
        }
    }
}
