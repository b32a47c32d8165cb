//! NVRTC, NVIDIA's run-time compiler for CUDA C++: found, fetched if need be, and called.
//!
//! NVRTC needs no GPU and no CUDA toolkit. It makes PTX (for `compute_80` and the like) or a cubin (for `sm_80`), and
//! the same source and options give the same bytes.
//!
//! ```no_run
//! let nvrtc = kwc_nvrtc::Nvrtc::find()?;
//! let source = r#"extern "C" __global__ void twice(float* x) { x[threadIdx.x] *= 2; }"#;
//! let output = nvrtc.compile(source, "twice.cu", &kwc_nvrtc::Options::new("compute_80"))?;
//! let kwc_nvrtc::Code::Ptx(ptx) = output.code else { unreachable!("compute_80 asks for PTX") };
//! assert!(ptx.contains(".entry twice"));
//! # Ok::<(), kwc_nvrtc::Error>(())
//! ```
//!
//! Linux only: elsewhere the libraries have other names.

mod compile;
mod error;
mod fetch;
mod library;
mod locate;

pub use compile::{Code, Options, Output};
pub use error::{Attempt, Error, Places};
pub use fetch::{VERSION, fetch, fetched, user_directory};
pub use library::Nvrtc;
pub use locate::Search;
