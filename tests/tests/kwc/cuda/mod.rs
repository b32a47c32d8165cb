//! The CUDA target on a virtual GPU.

mod compare;
mod device;
mod edges;
