//! The loops of the micro-kernels, over any vector.
//!
//! They are inlined into functions that are compiled for an instruction set; only there do the vector's operations become
//! instructions.

#![expect(unsafe_code, reason = "vectors are loaded and stored through pointers")]
#![expect(clippy::needless_range_loop, reason = "registers have a row and a column")]

use super::{Depthwise, Finish, Product, ROWS, Taps};

/// A register of `f32`. All functions must be `#[inline(always)]`.
pub(super) trait Vector: Copy {
    /// Values in it.
    const LANES: usize;

    /// A value in all lanes.
    ///
    /// # Safety
    ///
    /// The processor has the instructions; so for all of these.
    unsafe fn splat(value: f32) -> Self;

    /// Loads `LANES` values.
    ///
    /// # Safety
    ///
    /// They can be read.
    unsafe fn load(from: *const f32) -> Self;

    /// Stores `LANES` values.
    ///
    /// # Safety
    ///
    /// They can be written.
    unsafe fn store(self, to: *mut f32);

    /// `self * factor + term`
    ///
    /// # Safety
    ///
    /// The processor has the instructions.
    unsafe fn multiply_add(self, factor: Self, term: Self) -> Self;

    /// `self + term`
    ///
    /// # Safety
    ///
    /// The processor has the instructions.
    unsafe fn plus(self, term: Self) -> Self;

    /// `self * factor`
    ///
    /// # Safety
    ///
    /// The processor has the instructions.
    unsafe fn times(self, factor: Self) -> Self;

    /// Held between two bounds; what is not a number stays so.
    ///
    /// # Safety
    ///
    /// The processor has the instructions.
    unsafe fn clamp(self, low: Self, high: Self) -> Self;
}

/// `R` rows from `first` on, `N` vectors of lanes from `lane` on, of a product.
///
/// # Safety
///
/// As [`super::Micro::product`], and the processor has the vector's instructions.
#[inline(always)]
pub(super) unsafe fn product<V: Vector, const R: usize, const N: usize>(call: &Product<'_>, first: usize, lane: usize) {
    // SAFETY: all pointers stay in what the caller vouches for: rows below `count` at `length` values, a panel at its lanes
    // from `lane` on, results at their offsets, and constants likewise.
    unsafe {
        let mut panel = call.panel.add(lane);
        for index in 0..call.repeat {
            let mut sums = [[V::splat(0.0); N]; R];
            for rows in call.rows {
                let mut starts = [std::ptr::null(); R];
                starts.copy_from_slice(&rows[first..first + R]);
                for k in 0..call.length {
                    let mut columns = [V::splat(0.0); N];
                    for n in 0..N {
                        columns[n] = V::load(panel.add(n * V::LANES));
                    }
                    for r in 0..R {
                        let value = V::splat(*starts[r].add(k));
                        for n in 0..N {
                            sums[r][n] = value.multiply_add(columns[n], sums[r][n]);
                        }
                    }
                    // Beyond the last row there is nothing to point into.
                    panel = panel.wrapping_add(call.width);
                }
            }
            if let (Some(constants), Some(rows)) = (call.constants, call.rows.first()) {
                for r in 0..R {
                    let factor = V::splat(*rows[first + r].add(call.length));
                    let from = constants.rows[first + r].add(index * constants.step + lane);
                    for n in 0..N {
                        sums[r][n] = factor.multiply_add(V::load(from.add(n * V::LANES)), sums[r][n]);
                    }
                }
            }
            let lane = index * call.width + lane;
            finish(&call.finish, sums, call.output, &call.offsets[first..first + R], lane);
        }
    }
}

/// `R` rows from `first` on, `N` vectors of lanes from `lane` on, of a depthwise product.
///
/// # Safety
///
/// As [`super::Micro::depthwise`], and the processor has the vector's instructions.
#[inline(always)]
pub(super) unsafe fn depthwise<V: Vector, const R: usize, const N: usize>(
    call: &Depthwise<'_>,
    first: usize,
    lane: usize,
) {
    // SAFETY: all pointers stay in what the caller vouches for: rows below `count` and the kernel at their lanes.
    unsafe {
        let mut sums = [[V::splat(0.0); N]; R];
        let mut kernel = call.kernel.add(lane);
        let at = call.shift + lane;
        match call.taps {
            Taps::Apart(all) => {
                for rows in all {
                    let mut starts = [std::ptr::null(); R];
                    starts.copy_from_slice(&rows[first..first + R]);
                    tap(&mut sums, &starts, at, kernel);
                    kernel = kernel.wrapping_add(call.width);
                }
            }
            Taps::Steps(rows, steps) => {
                let mut starts = [std::ptr::null(); R];
                starts.copy_from_slice(&rows[first..first + R]);
                for step in steps {
                    tap(&mut sums, &starts, step + at, kernel);
                    kernel = kernel.wrapping_add(call.width);
                }
            }
        }
        finish(&call.finish, sums, call.output, &call.offsets[first..first + R], lane);
    }
}

/// Adds one tap, whose values are so many elements after their starts.
///
/// # Safety
///
/// As [`depthwise`].
#[inline(always)]
unsafe fn tap<V: Vector, const R: usize, const N: usize>(
    sums: &mut [[V; N]; R],
    starts: &[*const f32; R],
    at: usize,
    kernel: *const f32,
) {
    // SAFETY: `N` vectors of values for each row, and of the kernel, that the caller vouches for.
    unsafe {
        let mut weights = [V::splat(0.0); N];
        for n in 0..N {
            weights[n] = V::load(kernel.add(n * V::LANES));
        }
        for r in 0..R {
            let from = starts[r].add(at);
            for n in 0..N {
                sums[r][n] = V::load(from.add(n * V::LANES)).multiply_add(weights[n], sums[r][n]);
            }
        }
    }
}

/// Finishes and stores sums: those of the lanes from `lane` on.
///
/// # Safety
///
/// As [`product`].
#[inline(always)]
unsafe fn finish<V: Vector, const R: usize, const N: usize>(
    finish: &Finish,
    mut sums: [[V; N]; R],
    output: *mut f32,
    offsets: &[usize],
    lane: usize,
) {
    debug_assert!(offsets.len() == R && R <= ROWS, "{R} rows");
    // SAFETY: what `finish` points to can be read at these lanes, and the results' places are the caller's.
    unsafe {
        if !finish.scale.is_null() {
            for n in 0..N {
                let scale = V::load(finish.scale.add(lane + n * V::LANES));
                for r in 0..R {
                    sums[r][n] = sums[r][n].times(scale);
                }
            }
        }
        if !finish.shift.is_null() {
            for n in 0..N {
                let shift = V::load(finish.shift.add(lane + n * V::LANES));
                for r in 0..R {
                    sums[r][n] = sums[r][n].plus(shift);
                }
            }
        }
        if !finish.add.is_null() {
            for r in 0..R {
                let from = finish.add.add(offsets[r] + lane);
                for n in 0..N {
                    sums[r][n] = sums[r][n].plus(V::load(from.add(n * V::LANES)));
                }
            }
        }
        if let Some((low, high)) = finish.bounds() {
            let (low, high) = (V::splat(low), V::splat(high));
            for r in 0..R {
                for n in 0..N {
                    sums[r][n] = sums[r][n].clamp(low, high);
                }
            }
        }
        for r in 0..R {
            let to = output.add(offsets[r] + lane);
            for n in 0..N {
                sums[r][n].store(to.add(n * V::LANES));
            }
        }
        if !finish.sums.is_null() {
            for n in 0..N {
                let at = finish.sums.add(lane + n * V::LANES);
                let mut total = sums[0][n];
                for r in 1..R {
                    total = total.plus(sums[r][n]);
                }
                V::load(at).plus(total).store(at);
            }
        }
    }
}

/// Calls `$run::<rows>` for a number of rows that is known at run time only.
macro_rules! by_rows {
    ($count:expr, $run:ident $arguments:tt; $($rows:literal),+) => {
        match $count {
            $($rows => $run::<$rows> $arguments,)+
            count => debug_assert!(false, "{count} rows"),
        }
    };
}
pub(super) use by_rows;
