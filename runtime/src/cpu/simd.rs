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
