//! An output, cut into pieces of whole rows for several threads.

use super::threads::{Scratch, Threads};

/// Elements' worth of work in a piece: handing one to a thread costs as much as a few thousand.
const PIECE: usize = 1 << 14;

/// Does all rows of an output, each of `row` elements and worth the work of `cost`: `work` gets pieces of whole rows, in any
/// order, each with the number of its first row. Rows count through all samples.
pub(super) fn each(
    threads: &Threads,
    output: &mut [f32],
    (row, cost): (usize, usize),
    work: impl Fn(usize, &mut [f32], &mut Scratch) + Send + Sync,
) {
    let rows = PIECE.div_ceil(cost);
    let pieces = output.chunks_mut(rows * row).enumerate().collect();
    threads.each(pieces, |(index, piece): (usize, &mut [f32]), scratch| work(index * rows, piece, scratch));
}

/// Does all parts of an operation, each worth the work of `cost` elements, in any order.
pub(super) fn each_of<T: Send>(threads: &Threads, parts: Vec<T>, cost: usize, work: impl Fn(T) + Send + Sync) {
    let count = PIECE.div_ceil(cost);
    let mut pieces: Vec<Vec<T>> = Vec::with_capacity(parts.len().div_ceil(count));
    for part in parts {
        match pieces.last_mut() {
            Some(piece) if piece.len() < count => piece.push(part),
            Some(_) | None => pieces.push(vec![part]),
        }
    }
    threads.each(pieces, |piece, _| piece.into_iter().for_each(&work));
}
