//! The sanitizer's shadow memory, through the interface that accesses call.

mod global;
mod order;
mod random;
mod shared;
mod sink;
mod written;
