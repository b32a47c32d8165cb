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
//! [`Model::load`] checks everything that a Program's tables could get wrong (`check`), and picks the form of the kernels'
//! code that the device takes (`load`). Nothing here needs a CUDA toolkit, and nothing panics where there is no driver.

mod cache;
mod check;
mod code;
mod device;
mod driver;
mod error;
mod execute;
mod hash;
mod load;
mod memory;
mod model;
mod module;
mod profile;
mod ptx;
mod weights;

pub use code::{Code, CodeUsed, Cubin};
/// The types of streams and buffers in [`Model::run_device`] are those of this version of cudarc.
pub use cudarc;
pub use device::Device;
pub use error::{Attempt, Attempts, Error};
pub use model::Model;
pub use profile::{LaunchTime, Profile, Times};
pub use weights::PackedWeights;
