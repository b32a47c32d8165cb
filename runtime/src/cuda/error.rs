//! What can go wrong on a CUDA device, and what to do about it.

use std::fmt;

use crate::error::named;

/// An error of a CUDA device, for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The driver's library is not there or cannot be loaded.
    #[error(
        "no CUDA driver: {reason}. Install NVIDIA's driver, and in a container give it the GPU \
         (`docker run --gpus all`); `nvidia-smi` shows whether it works"
    )]
    NoDriver {
        /// What the loader says.
        reason: String,
    },
    /// The driver lacks a function.
    #[error("the CUDA driver has no function {symbol}: it is too old, install one for CUDA 11.4 or newer")]
    OldDriver {
        /// The function.
        symbol: &'static str,
    },
    /// There is no device of this number.
    #[error(
        "there is no CUDA device {ordinal}: the driver shows {count}. Devices count from 0, and CUDA_VISIBLE_DEVICES hides some"
    )]
    NoDevice {
        /// The number asked for.
        ordinal: usize,
        /// Devices that there are.
        count: usize,
    },
    /// The device is too old.
    #[error(
        "{name} has compute capability {major}.{minor}, and 8.0 is the least that the kernels run on: use a GPU of the \
         Ampere generation or newer, or run the network on the CPU"
    )]
    Capability {
        /// The device.
        name: String,
        /// Compute capability, first number.
        major: i32,
        /// Compute capability, second number.
        minor: i32,
    },
    /// The driver refused something, or a kernel failed.
    #[error("{what}: {reason}")]
    Call {
        /// What was being done.
        what: String,
        /// What the driver says.
        reason: String,
    },
    /// Memory that the device or the system does not give.
    #[error("out of memory: {what} take {bytes} bytes ({reason}); compile for a smaller batch, or free memory")]
    Memory {
        /// What the memory was for.
        what: &'static str,
        /// Bytes asked for.
        bytes: usize,
        /// What the driver says.
        reason: String,
    },
    /// The source is not the one that the Program was made with.
    #[error(
        "the kernels' source has id {found}, but the program was compiled with {expected}: take both from one compilation"
    )]
    SourceId {
        /// Id in the Program.
        expected: String,
        /// SHA-256 of the source given.
        found: String,
    },
    /// No form of the kernels' code can be used on the device.
    #[error(
        "no kernels for {device}:\n{attempts}Compile the network for this GPU, update the driver, or install NVRTC so that \
         the kernels can be compiled here (`pip install nvidia-cuda-nvrtc`, or set KWC_NVRTC to the library)"
    )]
    Code {
        /// Name and architecture of the device.
        device: String,
        /// What was tried.
        attempts: Attempts,
    },
    /// A kernel does not fit the device.
    #[error("kernel {kernel} of {} does not fit {device}: {what}. Compile the network for this GPU", named(layer))]
    Kernel {
        /// Its entry point.
        kernel: String,
        /// A layer that it is launched for.
        layer: String,
        /// Name of the device.
        device: String,
        /// What does not fit.
        what: String,
    },
    /// Not as many outputs as the Program has.
    #[error("the network has {expected} outputs, but buffers for {found} were given")]
    OutputCount {
        /// Outputs of the Program.
        expected: usize,
        /// Buffers given.
        found: usize,
    },
    /// An output buffer that is too short.
    #[error("output `{name}` has {expected} values, but its buffer holds {found}")]
    OutputLength {
        /// Name of the output.
        name: String,
        /// Values of the output.
        expected: usize,
        /// Values that the buffer holds.
        found: usize,
    },
    /// A buffer that is not on the model's device.
    #[error("the buffer for `{port}` is on another device than the model: copy it to {device}")]
    OtherDevice {
        /// Name of the input or output.
        port: String,
        /// Name of the model's device.
        device: String,
    },
}

/// A form of the code that was tried, and why it was no good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// What was tried.
    pub way: String,
    /// Why it was no good.
    pub outcome: String,
}

/// Attempts, in order. Displayed one a line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attempts(pub Vec<Attempt>);

impl Attempts {
    pub(super) fn add(&mut self, way: impl Into<String>, outcome: impl Into<String>) {
        self.0.push(Attempt { way: way.into(), outcome: outcome.into() });
    }
}

impl fmt::Display for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Attempt { way, outcome } in &self.0 {
            writeln!(f, "  {way}: {}", outcome.trim_end().replace('\n', "\n    "))?;
        }
        Ok(())
    }
}
