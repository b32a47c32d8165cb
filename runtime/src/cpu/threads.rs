//! The threads of a model, and the memory that each of them works in.

use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use crate::Error;

/// More threads than any machine that this is for has.
const MOST: usize = 1024;

/// What one thread works in; grown on first use, then kept.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Packed rows of a product's left side.
    pub(super) left: Vec<f32>,
    /// Packed columns of its right side, or an operation's own copy of what it reads.
    pub(super) right: Vec<f32>,
    /// A few values, as many as there are.
    pub(super) few: Vec<f32>,
}

/// The first `elements` of a scratch vector, which only ever grows; they hold whatever the last task left there.
pub(super) fn grow(scratch: &mut Vec<f32>, elements: usize) -> &mut [f32] {
    if scratch.len() < elements {
        scratch.resize(elements, 0.0);
    }
    &mut scratch[..elements]
}

/// A pool of threads, or none where one is enough.
#[derive(Debug)]
pub(super) struct Threads {
    pool: Option<rayon::ThreadPool>,
    /// One per thread; a lock is only ever taken by its own thread.
    scratch: Vec<Mutex<Scratch>>,
}

impl Threads {
    /// Starts `count` threads, or as many as there are processors.
    pub(super) fn new(count: Option<usize>) -> Result<Self, Error> {
        let count = count.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get().min(MOST)));
        if !(1..=MOST).contains(&count) {
            return Err(Error::Threads { count, why: format!("it must be a number from 1 to {MOST}") });
        }
        let pool = if count == 1 {
            None
        } else {
            let builder = rayon::ThreadPoolBuilder::new().num_threads(count);
            let builder = builder.thread_name(|index| format!("kwc-{index}"));
            Some(builder.build().map_err(|error| Error::Threads { count, why: error.to_string() })?)
        };
        let scratch = (0..count).map(|_| Mutex::default()).collect();
        Ok(Self { pool, scratch })
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.scratch.len()
    }

    /// Does every task, each as a unit, in any order.
    pub(super) fn each<T: Send>(&self, tasks: Vec<T>, work: impl Fn(T, &mut Scratch) + Send + Sync) {
        let work = |task| {
            // `None` on the caller's own thread, which is then the only one at work.
            let thread = self.pool.as_ref().and_then(rayon::ThreadPool::current_thread_index).unwrap_or(0);
            let mut scratch = self.scratch[thread].lock().unwrap_or_else(PoisonError::into_inner);
            work(task, &mut scratch);
        };
        match &self.pool {
            Some(pool) if tasks.len() > 1 => {
                pool.install(|| tasks.into_par_iter().with_max_len(1).for_each(work));
            }
            Some(_) | None => tasks.into_iter().for_each(work),
        }
    }
}
