//! How far two results are apart.

use serde::Serialize;

use crate::failure::Failure;

/// Smallest magnitude that f16 has all its digits for.
const NORMAL: f32 = 6.103_515_6e-5;

/// A tensor of a GPU beside the processor's.
#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    /// The output's name or the module's path.
    pub(super) name: String,
    /// Shape of one sample.
    pub(super) shape: Vec<usize>,
    /// `|gpu - cpu| / |cpu|`, L2, over the values that are finite on the processor; infinite, which is null in JSON, where
    /// the GPU has one that is not, or where nothing was compared. None if no value is finite on the processor.
    pub(super) relative_error: Option<f64>,
    /// Largest difference of any value; as above.
    pub(super) largest_difference: Option<f64>,
    /// Largest finite magnitude on the processor; none if there is none.
    pub(super) largest: Option<f64>,
    /// Values that are infinite or no number on the processor: nothing is said of the GPU's.
    pub(super) not_finite: usize,
    /// Values that are infinite or no number on the GPU only.
    pub(super) overflow: usize,
    /// Values that are not zero on the processor, and on the GPU are zero or so small that f16 lacks digits for them; none
    /// in single precision.
    pub(super) underflow: usize,
    /// Values compared.
    pub(super) values: usize,
    /// Whether the GPU stores f16.
    #[serde(skip)]
    half: bool,
    #[serde(skip)]
    squares: Squares,
}

/// Sums over all values so far.
#[derive(Debug, Default)]
struct Squares {
    difference: f64,
    processor: f64,
}

impl Comparison {
    /// A comparison of nothing yet. `half` says whether the GPU stores f16.
    pub(super) fn new(name: &str, shape: &[usize], half: bool) -> Self {
        Self {
            name: name.to_owned(),
            shape: shape.to_vec(),
            relative_error: Some(f64::INFINITY),
            largest_difference: None,
            largest: None,
            not_finite: 0,
            overflow: 0,
            underflow: 0,
            values: 0,
            half,
            squares: Squares::default(),
        }
    }

    /// Takes in more values.
    ///
    /// # Errors
    /// If there are not as many of one as of the other.
    pub(super) fn add(&mut self, gpu: &[f32], cpu: &[f32]) -> Result<(), Failure> {
        if gpu.len() != cpu.len() {
            return Err(Failure::input(format!(
                "`{}` has {} values on the GPU and {} on the processor: this is a mistake in kwc, please report it",
                self.name,
                gpu.len(),
                cpu.len()
            )));
        }
        self.values += cpu.len();
        for (&gpu, &cpu) in gpu.iter().zip(cpu) {
            if !cpu.is_finite() {
                self.not_finite += 1;
                continue;
            }
            self.overflow += usize::from(!gpu.is_finite());
            self.underflow += usize::from(self.half && cpu != 0.0 && gpu.abs() < NORMAL);
            let (gpu, cpu) = (f64::from(gpu), f64::from(cpu));
            let difference = (gpu - cpu).abs();
            // No comparison with a value that is no number is true.
            let difference = if difference.is_finite() { difference } else { f64::INFINITY };
            self.squares.difference += difference * difference;
            self.squares.processor += cpu * cpu;
            self.largest_difference =
                Some(self.largest_difference.map_or(difference, |largest| largest.max(difference)));
            self.largest = Some(self.largest.map_or(cpu.abs(), |largest| largest.max(cpu.abs())));
        }
        Ok(())
    }

    /// The comparison with its error.
    pub(super) fn finish(mut self) -> Self {
        let Squares { difference, processor } = self.squares;
        self.relative_error = if self.values > 0 && self.values == self.not_finite {
            None
        } else if self.values == 0 || !difference.is_finite() || !processor.is_finite() {
            Some(f64::INFINITY)
        } else if difference == 0.0 {
            Some(0.0)
        } else {
            // Infinite where the processor has zeros only.
            Some((difference / processor).sqrt())
        };
        self
    }
}
