//! How long each launch of a network takes, by the device's events.

use cudarc::driver::sys::CUevent_flags;
use cudarc::driver::{CudaEvent, DriverError};

use super::{Error, Model, driver, execute};

/// Times of a network at one batch size.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Samples.
    pub batch: usize,
    /// The launches, in order.
    pub launches: Vec<LaunchTime>,
    /// Microseconds of the whole forward pass as a graph, without copies from and to the host.
    pub graph: Times,
}

/// Times of one launch, on its own: what it costs between the launches around it is not in it, what an event costs is.
#[derive(Debug, Clone, PartialEq)]
pub struct LaunchTime {
    /// The layer that it stems from.
    pub layer: String,
    /// The kernel's entry point.
    pub kernel: String,
    /// Blocks: x, y, z.
    pub grid: [u64; 3],
    /// Threads of a block.
    pub threads: u32,
    /// Microseconds.
    pub time: Times,
}

/// What repetitions took, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Times {
    /// The shortest.
    pub least: f32,
    /// The median.
    pub median: f32,
}

impl Model {
    /// Measures each launch, and the whole graph, so many times (at least once), after one pass that is not measured. It
    /// runs on the inputs of the last run if that had as many samples, else on zeros; what [`Model::output`] gives stays.
    ///
    /// # Errors
    ///
    /// [`crate::Error::EmptyBatch`] or [`crate::Error::BatchTooLarge`]; [`Error::Call`] if the driver or a kernel fails.
    pub fn profile(&mut self, batch: usize, repetitions: usize) -> Result<Profile, crate::Error> {
        let repetitions = repetitions.max(1);
        self.prepare(batch)?;
        let same = self.batch() == batch;
        self.fill(batch, same)?;
        self.replay(batch)?;
        let mut passes = Vec::new();
        let mut whole = Vec::new();
        for _ in 0..repetitions {
            self.fill(batch, same)?;
            passes.push(self.pass(batch)?);
            self.fill(batch, same)?;
            let start = self.event()?;
            self.replay(batch)?;
            whole.push(elapsed(&start, &self.event()?)?);
        }
        let variant = self.variant(batch)?;
        let launches = variant.launches.iter().enumerate().map(|(index, launch)| {
            let kernel = usize::try_from(launch.kernel.0).ok().and_then(|index| self.program().kernels.get(index));
            LaunchTime {
                layer: launch.layer.to_string(),
                kernel: kernel.map_or_else(String::new, |kernel| kernel.symbol.to_string()),
                grid: launch.grid.map(|extent| extent.blocks(batch)),
                threads: kernel.map_or(0, |kernel| kernel.threads),
                time: times(passes.iter().filter_map(|pass| pass.get(index)).copied().collect()),
            }
        });
        Ok(Profile { batch, launches: launches.collect(), graph: times(whole) })
    }

    /// Writes the inputs of the last run, or zeros: other buffers take their memory once they have been read.
    fn fill(&self, batch: usize, same: bool) -> Result<(), crate::Error> {
        for index in 0..self.program().inputs.len() {
            let (at, elements) = self.port_place(index, batch)?;
            if same {
                execute::upload(self.stream(), at, self.input(index, elements))?;
            } else {
                execute::clear(self.stream(), at, elements * size_of::<f32>())?;
            }
        }
        Ok(())
    }

    /// One pass with an event around each launch: microseconds of each.
    fn pass(&self, batch: usize) -> Result<Vec<f32>, crate::Error> {
        let (executor, variant) = (self.executor(), self.variant(batch)?);
        let mut events = vec![self.event()?];
        for launch in variant.launches.iter() {
            executor.launch(variant, launch, batch)?;
            events.push(self.event()?);
        }
        events.windows(2).map(|pair| Ok(elapsed(&pair[0], &pair[1])?)).collect()
    }

    /// An event that has been recorded on the model's stream.
    fn event(&self) -> Result<CudaEvent, Error> {
        let event = self.stream().record_event(Some(CUevent_flags::CU_EVENT_DEFAULT));
        event.map_err(driver::failed("no event can be recorded"))
    }
}

fn elapsed(start: &CudaEvent, end: &CudaEvent) -> Result<f32, Error> {
    let milliseconds: Result<f32, DriverError> = start.elapsed_ms(end);
    Ok(milliseconds.map_err(driver::failed("the network's kernels failed"))? * 1000.0)
}

fn times(mut microseconds: Vec<f32>) -> Times {
    microseconds.sort_by(f32::total_cmp);
    let middle = microseconds.get(microseconds.len() / 2).copied().unwrap_or(0.0);
    Times { least: microseconds.first().copied().unwrap_or(0.0), median: middle }
}
