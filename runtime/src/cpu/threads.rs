//! The threads of a model, and the memory that each of them works in.

use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use crate::Error;

use super::micro::{ROWS, Rows};

/// More threads than any machine that this is for has.
const MOST: usize = 1024;

/// What one thread works in; grown on first use, then kept.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// The channels of one position.
    pub(super) few: Vec<f32>,
    /// Mixed kernels.
    pub(super) kernels: Vec<f32>,
    /// Places of windows.
    pub(super) windows: Pointers,
    /// Places of attentions.
    pub(super) attentions: Pointers,
    /// Places of results.
    pub(super) offsets: Vec<[usize; ROWS]>,
}

/// Places of rows. They mean something within one task only.
#[derive(Debug, Default)]
pub(super) struct Pointers(pub(super) Vec<Rows>);

#[expect(unsafe_code, reason = "pointers are not Send by themselves")]
// SAFETY: a task writes all the pointers that it reads; those that it finds are never followed.
unsafe impl Send for Pointers {}

impl Pointers {
    /// The first `count`, whatever they point to.
    pub(super) fn grow(&mut self, count: usize) -> &mut [Rows] {
        if self.0.len() < count {
            self.0.resize(count, [std::ptr::null(); ROWS]);
        }
        &mut self.0[..count]
    }
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
    /// Whether the caller does everything itself, for now.
    is_alone: bool,
    /// One per thread; a lock is only ever taken by its own thread, or by the caller while no other works.
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
        Ok(Self { pool, is_alone: false, scratch })
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.scratch.len()
    }

    /// Says whether the caller is to do everything itself: what comes is too little to wake others for.
    pub(super) fn leave_alone(&mut self, is_alone: bool) {
        self.is_alone = is_alone;
    }

    /// Does something on one of the threads, so that what it has the others do costs no change of threads.
    pub(super) fn enter<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match &self.pool {
            Some(pool) if !self.is_alone => pool.install(work),
            Some(_) | None => work(),
        }
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
            Some(pool) if tasks.len() > 1 && !self.is_alone => {
                pool.install(|| tasks.into_par_iter().with_max_len(1).for_each(work));
            }
            Some(_) | None => tasks.into_iter().for_each(work),
        }
    }
}
