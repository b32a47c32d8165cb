//! Means and variances, in double precision.

/// Sum of many values.
#[inline(always)]
fn sum(values: &[f32]) -> f64 {
    sum_of(values, f64::from)
}

/// Sum over a function of many values, in lanes that the compiler can keep in vectors.
#[inline(always)]
fn sum_of(values: &[f32], function: impl Fn(f32) -> f64) -> f64 {
    let (chunks, rest) = values.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for chunk in chunks {
        sums.iter_mut().zip(chunk).for_each(|(sum, &value)| *sum += function(value));
    }
    sums.iter().sum::<f64>() + rest.iter().map(|&value| function(value)).sum::<f64>()
}

/// A sum of `count` values as their mean.
#[expect(clippy::cast_precision_loss, reason = "counts are below 2^53")]
pub(super) fn mean(sum: f64, count: usize) -> f64 {
    sum / count as f64
}

/// Rounds to single precision.
#[expect(clippy::cast_possible_truncation, reason = "rounding is the point")]
pub(super) fn narrow(value: f64) -> f32 {
    value as f32
}

/// What brings values to mean 0 and variance 1.
#[derive(Clone, Copy, Default)]
pub(super) struct Norm {
    /// Subtracted first.
    mean: f64,
    /// Multiplied then: `1 / sqrt(variance + epsilon)`, the variance biased.
    factor: f64,
}

impl Norm {
    /// That of these values.
    #[inline(always)]
    pub(super) fn of(values: &[f32], epsilon: f32) -> Self {
        let mean_of_all = mean(sum(values), values.len());
        let squares = sum_of(values, |value| (f64::from(value) - mean_of_all).powi(2));
        Self { mean: mean_of_all, factor: factor(squares, values.len(), epsilon) }
    }

    /// One value, normed.
    #[inline(always)]
    pub(super) fn apply(self, value: f32) -> f32 {
        narrow((f64::from(value) - self.mean) * self.factor)
    }
}

/// `1 / sqrt(variance + epsilon)`, from the sum of the squared distances from the mean.
fn factor(squares: f64, count: usize, epsilon: f32) -> f64 {
    (mean(squares, count) + f64::from(epsilon)).sqrt().recip()
}
