//! Micro-kernels for AVX-512F: 12 rows of two vectors take 24 of the 32 registers.

#![expect(unsafe_code, reason = "instructions that not every processor has")]

use std::arch::x86_64::{
    __m512, _mm512_add_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_max_ps, _mm512_min_ps, _mm512_mul_ps,
    _mm512_set1_ps, _mm512_storeu_ps,
};

use super::vector::{self, Vector, by_rows};
use super::{Depthwise, Product, avx2};

#[derive(Clone, Copy)]
struct Lanes16(__m512);

impl Vector for Lanes16 {
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: the caller has the instructions.
        Self(unsafe { _mm512_set1_ps(value) })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { _mm512_loadu_ps(from) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { _mm512_storeu_ps(to, self.0) }
    }

    #[inline(always)]
    unsafe fn multiply_add(self, factor: Self, term: Self) -> Self {
        // SAFETY: the caller has the instructions.
        Self(unsafe { _mm512_fmadd_ps(self.0, factor.0, term.0) })
    }

    #[inline(always)]
    unsafe fn plus(self, term: Self) -> Self {
        // SAFETY: the caller has the instructions.
        Self(unsafe { _mm512_add_ps(self.0, term.0) })
    }

    #[inline(always)]
    unsafe fn times(self, factor: Self) -> Self {
        // SAFETY: the caller has the instructions.
        Self(unsafe { _mm512_mul_ps(self.0, factor.0) })
    }

    #[inline(always)]
    unsafe fn clamp(self, low: Self, high: Self) -> Self {
        // The second operand is the result where one is not a number.
        // SAFETY: the caller has the instructions.
        Self(unsafe { _mm512_min_ps(high.0, _mm512_max_ps(low.0, self.0)) })
    }
}

/// # Safety
///
/// As [`super::Micro::product`], with whole steps of lanes and a simple activation, on a processor with AVX-512F.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn product(call: &Product<'_>) {
    // SAFETY: the caller's promise; each lane is computed once.
    unsafe {
        if call.lanes == 2 * Lanes16::LANES {
            return by_rows!(call.count, product_of_two(call); 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12);
        }
        let whole = call.lanes / Lanes16::LANES * Lanes16::LANES;
        if whole > 0 {
            by_rows!(call.count, product_of_one(call); 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12);
        }
        avx2::product_from(call, whole);
    }
}

/// # Safety
///
/// As [`product`], for two vectors of lanes and `R` rows.
#[target_feature(enable = "avx512f")]
unsafe fn product_of_two<const R: usize>(call: &Product<'_>) {
    // SAFETY: the caller's promise.
    unsafe { vector::product::<Lanes16, R, 2>(call, 0, 0) }
}

/// # Safety
///
/// As [`product`], for one vector of lanes and `R` rows.
#[target_feature(enable = "avx512f")]
unsafe fn product_of_one<const R: usize>(call: &Product<'_>) {
    // SAFETY: the caller's promise.
    unsafe { vector::product::<Lanes16, R, 1>(call, 0, 0) }
}

/// # Safety
///
/// As [`super::Micro::depthwise`], with whole steps of lanes and a simple activation, on a processor with AVX-512F.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn depthwise(call: &Depthwise<'_>) {
    let mut lane = 0;
    // SAFETY: the caller's promise; each lane is computed once.
    unsafe {
        while lane + 2 * Lanes16::LANES <= call.lanes {
            by_rows!(call.count, depthwise_of_two(call, lane); 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12);
            lane += 2 * Lanes16::LANES;
        }
        if lane + Lanes16::LANES <= call.lanes {
            by_rows!(call.count, depthwise_of_one(call, lane); 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12);
            lane += Lanes16::LANES;
        }
        avx2::depthwise_from(call, lane);
    }
}

/// # Safety
///
/// As [`depthwise`], for 32 lanes and `R` rows.
#[target_feature(enable = "avx512f")]
unsafe fn depthwise_of_two<const R: usize>(call: &Depthwise<'_>, lane: usize) {
    // SAFETY: the caller's promise.
    unsafe { vector::depthwise::<Lanes16, R, 2>(call, 0, lane) }
}

/// # Safety
///
/// As [`depthwise`], for 16 lanes and `R` rows.
#[target_feature(enable = "avx512f")]
unsafe fn depthwise_of_one<const R: usize>(call: &Depthwise<'_>, lane: usize) {
    // SAFETY: the caller's promise.
    unsafe { vector::depthwise::<Lanes16, R, 1>(call, 0, lane) }
}
