//! What this machine can do at most: how fast the micro-kernel multiplies, and how fast memory is read.
//!
//! Both are measured with the threads that a network runs on, the first with its instructions too; each takes well under a second,
//! and is the best of several rounds. Data that stay in a cache are read faster than memory is.

#![expect(unsafe_code, reason = "a call of the micro-kernel")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::Error;
use crate::program::PANEL;

use super::micro::{Finish, Instructions, Micro, Product, ROWS, Rows};
use super::simd::{self, Loop};
use super::threads::Threads;

/// Rows of the panel that is multiplied: with the values that it is multiplied by, it takes two thirds of a first-level cache of
/// 32 KiB.
const DEPTH: usize = 128;
/// Rounds, of which the best counts.
const ROUNDS: usize = 8;
/// Least time of a round of products.
const ROUND: Duration = Duration::from_millis(10);
/// Elements that are read, all threads together: 256 MiB.
const READ: usize = 1 << 26;
/// Fewest elements that are read where memory is short: 32 MiB.
const LEAST_READ: usize = 1 << 23;
/// Sums that a loop keeps apart, so that none waits for another.
const SUMS: usize = 64;

/// Multiply-adds a second of the micro-kernel, 12 rows by a panel of 32 on every one of `threads` threads at once
/// (`None` is one for each processor), with all data in the first-level cache.
///
/// # Errors
///
/// [`Error::Instructions`] if the processor can't execute them, [`Error::Threads`] if the threads can't be had.
pub fn peak(instructions: Instructions, threads: Option<usize>) -> Result<f64, Error> {
    let micro = Micro::new(instructions).ok_or(Error::Instructions { name: instructions.name() })?;
    let threads = Threads::new(threads)?;
    // Enough calls for a round, as they go on one thread.
    let mut calls = 64_usize;
    while timed(|| multiply(micro, calls)) < ROUND && calls < 1 << 24 {
        calls *= 2;
    }
    let shortest = shortest(&threads, || {
        let tasks = vec![calls; threads.count()];
        threads.each(tasks, |calls, _| multiply(micro, calls));
    });
    Ok((threads.count() * calls * ROWS * PANEL * DEPTH) as f64 / shortest.as_secs_f64())
}

/// Bytes a second that `threads` threads (`None` is one for each processor) read together, each summing up a block of its own
/// that is much larger than the caches.
///
/// # Errors
///
/// [`Error::Threads`] if the threads can't be had, [`Error::Memory`] if there is no memory for 32 MiB.
pub fn read_bandwidth(threads: Option<usize>) -> Result<f64, Error> {
    let threads = Threads::new(threads)?;
    let mut blocks = blocks(threads.count())?;
    let each = blocks.first().map_or(0, Vec::capacity);
    // Pages that nobody has written share one place in memory.
    threads.each(blocks.iter_mut().collect(), |block: &mut Vec<f32>, _| block.resize(each, 1.0));
    let shortest = shortest(&threads, || {
        threads.each(blocks.iter().collect(), |block: &Vec<f32>, _| {
            black_box(simd::run(Sum { values: block }));
        });
    });
    let elements: usize = blocks.iter().map(Vec::len).sum();
    Ok((elements * size_of::<f32>()) as f64 / shortest.as_secs_f64())
}

/// Room for what is read, a block for each thread: as much as there is memory for.
fn blocks(count: usize) -> Result<Vec<Vec<f32>>, Error> {
    let mut all = READ;
    loop {
        let mut blocks = vec![Vec::new(); count];
        if blocks.iter_mut().all(|block: &mut Vec<f32>| block.try_reserve_exact(all.div_ceil(count)).is_ok()) {
            return Ok(blocks);
        }
        if all <= LEAST_READ {
            return Err(Error::Memory { what: "what is read to measure the memory", elements: all });
        }
        all /= 2;
    }
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// The shortest of several rounds, on the threads; never nothing.
fn shortest(threads: &Threads, round: impl Fn() + Send + Sync) -> Duration {
    let rounds = threads.enter(|| (0..ROUNDS).map(|_| timed(&round)).min());
    rounds.unwrap_or_default().max(Duration::from_nanos(1))
}

/// So many products of the same rows and the same panel.
fn multiply(micro: Micro, calls: usize) {
    // No results grow, and none is denormal.
    let left = vec![0.5_f32; ROWS * DEPTH];
    let panel = vec![0.25_f32; DEPTH * PANEL];
    let mut output = vec![0.0_f32; ROWS * PANEL];
    let rows: Rows = std::array::from_fn(|row| left[row * DEPTH..].as_ptr());
    let offsets: [usize; ROWS] = std::array::from_fn(|row| row * PANEL);
    for _ in 0..calls {
        let call = Product {
            rows: &[rows],
            count: ROWS,
            length: DEPTH,
            panel: panel.as_ptr(),
            width: PANEL,
            repeat: 1,
            lanes: PANEL,
            output: output.as_mut_ptr(),
            offsets: &offsets,
            constants: None,
            finish: Finish::NONE,
        };
        // SAFETY: each row has `DEPTH` values, the panel as many rows of `PANEL`, and the output `PANEL` places for each row.
        unsafe { micro.product(black_box(&call)) };
    }
    black_box(&output);
}

/// The sum of all values.
struct Sum<'a> {
    values: &'a [f32],
}

impl Loop for Sum<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<const FUSED: bool>(self) -> f32 {
        let mut sums = [0.0_f32; SUMS];
        let mut parts = self.values.chunks_exact(SUMS);
        for part in parts.by_ref() {
            sums.iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
        }
        sums.iter().sum::<f32>() + parts.remainder().iter().sum::<f32>()
    }
}
