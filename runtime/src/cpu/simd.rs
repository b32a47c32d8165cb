//! Inner loops, compiled once for any processor and once for those with wide vectors.
//!
//! A loop implements [`Loop`]; [`run`] picks the instance that the processor can execute. The loops are plain Rust: the
//! compiler vectorises them, because their bodies are inlined into a function for which the wide instructions are on.

/// A loop that gains from wide vectors. `run` must be `#[inline(always)]`, as must be what it calls in its inner part.
pub(super) trait Loop {
    /// Its result.
    type Output;

    /// Does it; `FUSED` says that [`multiply_add`] may fuse, because it is one instruction here.
    fn run<const FUSED: bool>(self) -> Self::Output;
}

/// Runs a loop with the best instructions that this processor has.
#[inline]
pub(super) fn run<L: Loop>(work: L) -> L::Output {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
        #[expect(unsafe_code, reason = "a function with more instructions than the target's own")]
        // SAFETY: the processor has just been asked for both features that the function needs.
        return unsafe { with_avx2(work) };
    }
    work.run::<{ cfg!(any(target_feature = "fma", target_arch = "aarch64")) }>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2<L: Loop>(work: L) -> L::Output {
    work.run::<true>()
}

/// `a * b + c`, in one rounding where that is one instruction.
#[inline(always)]
pub(super) fn multiply_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// Sum of the products of two slices' elements.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    run(Dot { a, b })
}

struct Dot<'a> {
    a: &'a [f32],
    b: &'a [f32],
}

impl Loop for Dot<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<const FUSED: bool>(self) -> f32 {
        const LANES: usize = 32;
        let mut sums = [0.0_f32; LANES];
        let (a, a_rest) = self.a.as_chunks::<LANES>();
        let (b, b_rest) = self.b.as_chunks::<LANES>();
        for (a, b) in a.iter().zip(b) {
            for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(b) {
                *sum = multiply_add::<FUSED>(a, b, *sum);
            }
        }
        let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
        // Pairwise, so that the rounding stays that of a tree.
        let mut width = LANES / 2;
        while width > 0 {
            for lane in 0..width {
                sums[lane] += sums[lane + width];
            }
            width /= 2;
        }
        sums[0] + rest
    }
}
