//! Programs on CUDA devices.
//!
//! ```ignore
//! let device = cuda::Device::new(0)?;
//! let weights = cuda::PackedWeights::read(Path::new("network.weights"))?;
//! let mut model = cuda::Model::load(&device, &program, &code, &weights)?;
//! model.run(1, &[&image])?;
//! let logits = model.output(0);
//! ```
//!
//! [`Model::load`] checks everything that a Program's tables could get wrong. Nothing here needs a CUDA toolkit, and
//! nothing panics where there is no driver.
//!
//! # Which code is run
//!
//! The first form of [`Code`] that the device takes; [`Model::code_used`] says which that was. If none can be used, the
//! error lists why, one by one.
//!
//! 1. A cubin that came with the code: of the device's architecture, or of the same major number and a lower minor one.
//! 2. The PTX that came with the code; where the driver is too old for its version, once more under the oldest version
//!    that knows its target.
//! 3. What an earlier load compiled and kept in the folder `kwc` in the user's cache folder, `XDG_CACHE_HOME` or `.cache`
//!    in the home folder. Files there may be removed at any time; damaged ones are made anew.
//! 4. The source, compiled now by NVRTC, which is looked for as [`kwc_nvrtc::Search`] says: to a cubin of the device's
//!    architecture, else to PTX, as a driver may be too old for one or the other. What it takes is kept.

mod cache;
mod check;
mod code;
mod device;
mod driver;
mod error;
mod execute;
mod load;
mod memory;
mod model;
mod module;
mod profile;
mod ptx;

pub use crate::packed::PackedWeights;
pub use code::{Code, CodeUsed, Cubin};
/// The types of streams and buffers in [`Model::run_device`] are those of this version of cudarc.
pub use cudarc;
pub use device::Device;
pub use error::{Attempt, Attempts, Error};
pub use model::Model;
pub use profile::{LaunchTime, Profile, Times};
