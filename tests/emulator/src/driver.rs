//! The C interface.

pub mod device;
pub mod occupancy;
