//! How far two results are apart.

use serde::Serialize;

/// Smallest magnitude that f16 has all its digits for.
const NORMAL: f32 = 6.103_515_6e-5;

/// A tensor of a GPU beside the processor's.
#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    /// The output's name or the module's path.
    pub(super) name: String,
    /// Shape of one sample.
    pub(super) shape: Vec<usize>,
    /// `|gpu - cpu| / |cpu|`, L2; infinite where the GPU has values that are no numbers.
    pub(super) relative_error: f64,
    /// Largest difference of any value.
    pub(super) largest_difference: f64,
    /// Largest magnitude on the processor.
    pub(super) largest: f64,
    /// Values that are infinite or no number on the GPU only.
    pub(super) overflow: usize,
    /// Values that are not zero on the processor, and too small for f16 to have all its digits.
    pub(super) underflow: usize,
    /// Values compared.
    pub(super) values: usize,
    #[serde(skip)]
    squares: (f64, f64),
}

impl Comparison {
    /// A comparison of nothing yet.
    pub(super) fn new(name: &str, shape: &[usize]) -> Self {
        Self {
            name: name.to_owned(),
            shape: shape.to_vec(),
            relative_error: 0.0,
            largest_difference: 0.0,
            largest: 0.0,
            overflow: 0,
            underflow: 0,
            values: 0,
            squares: (0.0, 0.0),
        }
    }

    /// Takes in more values.
    pub(super) fn add(&mut self, gpu: &[f32], cpu: &[f32]) {
        self.values += cpu.len();
        for (&gpu, &cpu) in gpu.iter().zip(cpu) {
            self.overflow += usize::from(!gpu.is_finite() && cpu.is_finite());
            self.underflow += usize::from(cpu != 0.0 && cpu.abs() < NORMAL);
            let (gpu, cpu) = (f64::from(gpu), f64::from(cpu));
            let difference = (gpu - cpu).abs();
            self.squares.0 += difference * difference;
            self.squares.1 += cpu * cpu;
            self.largest_difference =
                if difference.is_nan() { f64::INFINITY } else { self.largest_difference.max(difference) };
            self.largest = self.largest.max(cpu.abs());
        }
    }

    /// The comparison with its error.
    pub(super) fn finish(mut self) -> Self {
        let (difference, norm) = self.squares;
        self.relative_error = match (difference == 0.0, norm == 0.0) {
            (true, _) => 0.0,
            (false, true) => f64::INFINITY,
            (false, false) if difference.is_nan() => f64::INFINITY,
            (false, false) => (difference / norm).sqrt(),
        };
        self
    }
}
