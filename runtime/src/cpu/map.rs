//! Epilogues on their own.

use crate::program::Map;

use super::epilogue::store;
use super::operands::Operands;
use super::threads::Threads;
use super::tile::Tile;

/// Elements that one thread maps in one go.
const PIECE: usize = 1 << 14;

/// Runs a [`Map`]; input and addend may be the output's own buffer.
pub(super) fn run(op: &Map, operands: &Operands<'_>, output: &mut [f32], threads: &Threads) {
    let input = operands.buffer(op.input);
    let finish = operands.finish(&op.epilogue);
    // One row is a channel's positions, or a position's channels.
    let columns = if op.channels_last { op.channels } else { op.positions };
    let rows = (PIECE / columns).max(1);
    let pieces = Tile::new(output, columns).grid(rows, PIECE);
    threads.each(pieces, |(first_row, first_column, mut tile), _| {
        let width = tile.columns();
        for row in 0..tile.rows() {
            let start = (first_row + row) * columns + first_column;
            let factors = if op.channels_last {
                finish.each(first_column, width)
            } else {
                finish.one((first_row + row) % op.channels)
            };
            let values = input.map(|data| &data[start..start + width]);
            store(tile.row(row), values, factors, finish.add.part(start, width), finish.activation);
        }
    });
}
