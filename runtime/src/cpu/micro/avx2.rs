//! Micro-kernels for AVX2 and FMA: 6 rows of two vectors take 12 of the 16 registers.

#![expect(unsafe_code, reason = "instructions that not every processor has")]

use std::arch::x86_64::{
    __m256, _mm256_add_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_max_ps, _mm256_min_ps, _mm256_mul_ps,
    _mm256_set1_ps, _mm256_storeu_ps,
};

use super::vector::{self, Vector, by_rows};
use super::{Depthwise, Product};

/// Rows that are computed at a time, of two vectors each.
const MOST: usize = 6;
/// Lanes of two vectors.
const PAIR: usize = 16;

#[derive(Clone, Copy)]
struct Lanes8(__m256);

impl Vector for Lanes8 {
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: the caller has the instructions.
        Self(unsafe { _mm256_set1_ps(value) })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { _mm256_loadu_ps(from) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { _mm256_storeu_ps(to, self.0) }
    }

    #[inline(always)]
    unsafe fn multiply_add(self, factor: Self, term: Self) -> Self {
        // SAFETY: the caller has the instructions.
        Self(unsafe { _mm256_fmadd_ps(self.0, factor.0, term.0) })
    }

    #[inline(always)]
    unsafe fn plus(self, term: Self) -> Self {
        // SAFETY: the caller has the instructions.
        Self(unsafe { _mm256_add_ps(self.0, term.0) })
    }

    #[inline(always)]
    unsafe fn times(self, factor: Self) -> Self {
        // SAFETY: the caller has the instructions.
        Self(unsafe { _mm256_mul_ps(self.0, factor.0) })
    }

    #[inline(always)]
    unsafe fn clamp(self, low: Self, high: Self) -> Self {
        // The second operand is the result where one is not a number.
        // SAFETY: the caller has the instructions.
        Self(unsafe { _mm256_min_ps(high.0, _mm256_max_ps(low.0, self.0)) })
    }
}

/// Rows of a call in even parts of at most [`MOST`]: the first of each, and how many.
fn parts(count: usize) -> impl Iterator<Item = (usize, usize)> {
    let size = count.div_ceil(count.div_ceil(MOST).max(1));
    (0..count).step_by(size.max(1)).map(move |first| (first, size.min(count - first)))
}

/// # Safety
///
/// As [`super::Micro::product`], with whole steps of lanes and a simple activation, on a processor with AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn product(call: &Product<'_>) {
    // SAFETY: the caller's promise.
    unsafe { product_from(call, 0) }
}

/// The lanes from `lane` on.
///
/// # Safety
///
/// As [`product`].
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn product_from(call: &Product<'_>, mut lane: usize) {
    while lane + PAIR <= call.lanes {
        for (first, rows) in parts(call.count) {
            // SAFETY: the caller's promise; each row and lane is computed once.
            unsafe { by_rows!(rows, product_of_two(call, first, lane); 1, 2, 3, 4, 5, 6) };
        }
        lane += PAIR;
    }
    if lane < call.lanes {
        // SAFETY: as above, for the last vector; one for each row leaves room for all rows.
        unsafe { by_rows!(call.count, product_of_one(call, lane); 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12) };
    }
}

/// # Safety
///
/// As [`product`], for 8 lanes and `R` rows.
#[target_feature(enable = "avx2,fma")]
unsafe fn product_of_one<const R: usize>(call: &Product<'_>, lane: usize) {
    // SAFETY: the caller's promise.
    unsafe { vector::product::<Lanes8, R, 1>(call, 0, lane) }
}

/// # Safety
///
/// As [`product`], for 16 lanes and `R` rows.
#[target_feature(enable = "avx2,fma")]
unsafe fn product_of_two<const R: usize>(call: &Product<'_>, first: usize, lane: usize) {
    // SAFETY: the caller's promise.
    unsafe { vector::product::<Lanes8, R, 2>(call, first, lane) }
}

/// # Safety
///
/// As [`super::Micro::depthwise`], with whole steps of lanes and a simple activation, on a processor with AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn depthwise(call: &Depthwise<'_>) {
    // SAFETY: the caller's promise.
    unsafe { depthwise_from(call, 0) }
}

/// The lanes from `lane` on.
///
/// # Safety
///
/// As [`depthwise`].
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn depthwise_from(call: &Depthwise<'_>, mut lane: usize) {
    while lane + PAIR <= call.lanes {
        for (first, rows) in parts(call.count) {
            // SAFETY: the caller's promise; each row and lane is computed once.
            unsafe { by_rows!(rows, depthwise_of_two(call, first, lane); 1, 2, 3, 4, 5, 6) };
        }
        lane += PAIR;
    }
    if lane < call.lanes {
        // SAFETY: as above, for the last vector.
        unsafe { by_rows!(call.count, depthwise_of_one(call, lane); 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12) };
    }
}

/// # Safety
///
/// As [`depthwise`], for 16 lanes and `R` rows.
#[target_feature(enable = "avx2,fma")]
unsafe fn depthwise_of_two<const R: usize>(call: &Depthwise<'_>, first: usize, lane: usize) {
    // SAFETY: the caller's promise.
    unsafe { vector::depthwise::<Lanes8, R, 2>(call, first, lane) }
}

/// # Safety
///
/// As [`depthwise`], for 8 lanes and `R` rows.
#[target_feature(enable = "avx2,fma")]
unsafe fn depthwise_of_one<const R: usize>(call: &Depthwise<'_>, lane: usize) {
    // SAFETY: the caller's promise.
    unsafe { vector::depthwise::<Lanes8, R, 1>(call, 0, lane) }
}
