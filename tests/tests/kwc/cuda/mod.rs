//! The CUDA target on a virtual GPU.

mod attention;
mod compare;
mod conv;
mod conv_f32;
mod counted;
mod depthwise;
mod device;
mod edges;
mod emitted;
mod inside;
mod layers;
mod limits;
mod linear;
mod mix;
mod networks;
mod operations;
mod plain;
mod resources;
mod stem;

pub(crate) use compare::{Numbers, relative_l2};
