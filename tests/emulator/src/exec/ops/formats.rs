//! f16 and bf16 to and from f32, by arithmetic on bits that compilers turn into vector code. Bits are in the lower half
//! of a `u32`; NaN becomes the one that GPUs give.

/// The NaN of 16-bit results.
const NAN: u32 = 0x7fff;

/// 2^-14 as f32, the least normal f16.
const LEAST_NORMAL: u32 = (127 - 14) << 23;

/// An f16 of which the upper 16 bits are zero. Exact; a NaN stays one.
#[inline(always)]
#[must_use]
pub fn from_f16(bits: u32) -> f32 {
    let shifted = (bits & 0x7fff) << 13;
    let magnitude = if bits & 0x7c00 == 0 {
        // Subnormal: 2^-14 (1 + m) - 2^-14, which is exact.
        (f32::from_bits(shifted + LEAST_NORMAL) - f32::from_bits(LEAST_NORMAL)).to_bits()
    } else if bits & 0x7c00 == 0x7c00 {
        shifted | 0x7f80_0000
    } else {
        shifted + ((127 - 15) << 23)
    };
    f32::from_bits(magnitude | (bits & 0x8000) << 16)
}

/// The nearest f16, ties to even; too large a value gives infinity.
#[inline(always)]
#[must_use]
pub fn round_to_f16(value: f32) -> u32 {
    let bits = value.to_bits();
    let magnitude = bits & 0x7fff_ffff;
    // All ways are gone, so that lanes needn't part: 0.5 has its last bit at 2^-24, as subnormal f16 have, and the
    // addition rounds.
    let subnormal = (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0.5f32.to_bits());
    // Half of the last bit that stays, less one if that bit is even; a carry goes into the exponent as it should.
    let odd = magnitude >> 13 & 1;
    let normal = (magnitude.wrapping_add(0xfff + odd).wrapping_sub((127 - 15) << 23) >> 13).min(0x7c00);
    let rounded = if magnitude < LEAST_NORMAL { subnormal } else { normal };
    if magnitude > 0x7f80_0000 { NAN } else { rounded | bits >> 16 & 0x8000 }
}

/// A bf16 of which the upper 16 bits are zero. Exact; a NaN stays one.
#[inline(always)]
#[must_use]
pub fn from_bf16(bits: u32) -> f32 {
    f32::from_bits(bits << 16)
}

/// The nearest bf16, ties to even.
#[inline(always)]
#[must_use]
pub fn round_to_bf16(value: f32) -> u32 {
    let bits = value.to_bits();
    let odd = bits >> 16 & 1;
    if value.is_nan() { NAN } else { bits.wrapping_add(0x7fff + odd) >> 16 }
}

/// The f32 next to an f64 whose last bit is odd, or the equal one. Rounding it again to 22 bits or fewer gives what
/// rounding the f64 at once would.
#[inline(always)]
#[must_use]
pub fn round_to_odd(value: f64) -> f32 {
    let near = value as f32;
    let bits = near.to_bits();
    let (magnitude, of_near) = (value.abs(), f64::from(near).abs());
    // Both are false of NaN.
    let (above, below) = (magnitude > of_near, magnitude < of_near);
    let other = if above { bits.wrapping_add(1) } else { bits.wrapping_sub(1) };
    f32::from_bits(if (above | below) && bits & 1 == 0 { other } else { bits })
}
