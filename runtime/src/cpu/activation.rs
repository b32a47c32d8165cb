//! Activations, value by value.

use crate::program::Activation;

use super::simd::{self, Loop, multiply_add};

/// Writes each value's activation. A value that is not a number stays one.
///
/// Not in place: the compiler would then store the rectifier's zeros alone, under a mask, which is slow.
#[inline(always)]
pub(super) fn activate(activation: Activation, from: &[f32], to: &mut [f32]) {
    match activation {
        Activation::Identity => to.copy_from_slice(from),
        Activation::Relu => each(from, to, |x| if x < 0.0 { 0.0 } else { x }),
        Activation::Relu6 => each(from, to, |x| x.clamp(0.0, 6.0)),
        Activation::HardSwish => each(from, to, |x| x * ((x + 3.0).clamp(0.0, 6.0) / 6.0)),
        Activation::Gelu => simd::run(Gelu { from, to }),
        Activation::Silu => simd::run(Silu { from, to }),
        Activation::Sigmoid => simd::run(Sigmoid { from, to }),
    }
}

/// Applies a short function to every value, explicitly a vector at a time.
#[inline(always)]
fn each(from: &[f32], to: &mut [f32], function: impl Fn(f32) -> f32) {
    let (from, from_rest) = from.as_chunks::<8>();
    let (to, to_rest) = to.as_chunks_mut::<8>();
    for (from, to) in from.iter().zip(to) {
        let mut values = *from;
        values.iter_mut().for_each(|x| *x = function(*x));
        *to = values;
    }
    to_rest.iter_mut().zip(from_rest).for_each(|(y, &x)| *y = function(x));
}

struct Gelu<'a> {
    from: &'a [f32],
    to: &'a mut [f32],
}

impl Loop for Gelu<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        self.to.iter_mut().zip(self.from).for_each(|(y, &x)| *y = x * normal_below::<FUSED>(x));
    }
}

struct Silu<'a> {
    from: &'a [f32],
    to: &'a mut [f32],
}

impl Loop for Silu<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        // Minus infinity, the only x for which the product would be indefinite, has the limit 0.
        let limit = |x: f32| if x == f32::NEG_INFINITY { 0.0 } else { x };
        self.to.iter_mut().zip(self.from).for_each(|(y, &x)| *y = limit(x) * sigmoid::<FUSED>(x));
    }
}

struct Sigmoid<'a> {
    from: &'a [f32],
    to: &'a mut [f32],
}

impl Loop for Sigmoid<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        self.to.iter_mut().zip(self.from).for_each(|(y, &x)| *y = sigmoid::<FUSED>(x));
    }
}

#[inline(always)]
fn sigmoid<const FUSED: bool>(x: f32) -> f32 {
    // The exponent is never positive, so nothing overflows on the way.
    let small = exp_below_one::<FUSED>(-x.abs());
    let above = 1.0 / (1.0 + small);
    if x < 0.0 { small * above } else { above }
}

/// The normal distribution's integral up to `x`, which is `(1 + erf(x / sqrt 2)) / 2`, within 2e-7.
///
/// The integral from `y = |x|` upwards is `exp(-y * y / 2)` times a smooth factor, here a polynomial in
/// `u = 1 / (1 + 0.33 y)`, the form of Abramowitz and Stegun's 7.1.26; its coefficients are a minimax fit whose own error
/// is 2e-9.
#[inline(always)]
fn normal_below<const FUSED: bool>(x: f32) -> f32 {
    const FACTOR: [f32; 7] =
        [0.132_600_56, 0.119_562_7, 0.180_754_75, -0.088_981_285, 0.331_093_46, -0.220_596_15, 0.045_565_973];
    let u = 1.0 / multiply_add::<FUSED>(0.33, x.abs(), 1.0);
    let factor = FACTOR.iter().rev().fold(0.0, |sum, &coefficient| multiply_add::<FUSED>(sum, u, coefficient));
    let above = factor * u * exp_below_one::<FUSED>(x * x * -0.5);
    if x < 0.0 { above } else { 1.0 - above }
}

/// `exp(x)` for `x` not above 0, within 2e-7 of its value; 0 from -87 downwards, where that is below 2e-38.
#[inline(always)]
fn exp_below_one<const FUSED: bool>(x: f32) -> f32 {
    /// Reciprocals of the factorials of 7 to 0: the exponential's own series.
    const SERIES: [f32; 8] = [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];
    /// ln 2 as a sum whose first part has so few digits that whole multiples of it are exact.
    const LN_2: [f32; 2] = [0.693_359_4, -0.000_212_194_44];
    /// Adding this leaves a number's nearest whole number in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    // Not `max`, which would turn what is not a number into one.
    let x = if x < -87.0 { -87.0 } else { x };
    let shifted = multiply_add::<FUSED>(x, std::f32::consts::LOG2_E, ROUND);
    let whole = shifted - ROUND;
    let rest = multiply_add::<FUSED>(whole, -LN_2[0], x);
    let rest = multiply_add::<FUSED>(whole, -LN_2[1], rest);
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0_f32.to_bits()));
    let series = SERIES.iter().fold(0.0, |sum, &coefficient| multiply_add::<FUSED>(sum, rest, coefficient));
    if x == -87.0 { 0.0 } else { series * power }
}
