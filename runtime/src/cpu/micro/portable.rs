//! Micro-kernels in plain Rust, for processors without the instructions of the others, and for tests to compare with.

#![expect(unsafe_code, reason = "rows and panels are read through pointers")]

use super::vector::{self, Vector};
use super::{Depthwise, Product, STEP};

/// Lanes that are computed at a time.
const LANES: usize = STEP;

#[derive(Clone, Copy)]
struct Plain([f32; LANES]);

impl Plain {
    #[inline(always)]
    fn map(self, with: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|lane| f(self.0[lane], with.0[lane])))
    }
}

impl Vector for Plain {
    const LANES: usize = LANES;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; LANES])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise; an array of f32 is aligned as one.
        Self(unsafe { *from.cast() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise; an array of f32 is aligned as one.
        unsafe { *to.cast() = self.0 }
    }

    #[inline(always)]
    unsafe fn multiply_add(self, factor: Self, term: Self) -> Self {
        // Not `mul_add`: without the instruction that is a function call.
        Self(std::array::from_fn(|lane| self.0[lane] * factor.0[lane] + term.0[lane]))
    }

    #[inline(always)]
    unsafe fn plus(self, term: Self) -> Self {
        self.map(term, |a, b| a + b)
    }

    #[inline(always)]
    unsafe fn times(self, factor: Self) -> Self {
        self.map(factor, |a, b| a * b)
    }

    #[inline(always)]
    unsafe fn clamp(self, low: Self, high: Self) -> Self {
        let at_least = self.map(low, |a, low| if a < low { low } else { a });
        at_least.map(high, |a, high| if a > high { high } else { a })
    }
}

/// # Safety
///
/// As [`super::Micro::product`], with whole steps of lanes and a simple activation.
pub(super) unsafe fn product(call: &Product<'_>) {
    for lane in (0..call.lanes).step_by(LANES) {
        let mut row = 0;
        // SAFETY: the caller's promise; each row and lane is computed once.
        unsafe {
            while row + 4 <= call.count {
                vector::product::<Plain, 4, 1>(call, row, lane);
                row += 4;
            }
            while row < call.count {
                vector::product::<Plain, 1, 1>(call, row, lane);
                row += 1;
            }
        }
    }
}

/// # Safety
///
/// As [`super::Micro::depthwise`], with whole steps of lanes and a simple activation.
pub(super) unsafe fn depthwise(call: &Depthwise<'_>) {
    for lane in (0..call.lanes).step_by(LANES) {
        for row in 0..call.count {
            // SAFETY: the caller's promise; each row and lane is computed once.
            unsafe { vector::depthwise::<Plain, 1, 1>(call, row, lane) };
        }
    }
}
