//! The C interface, called as a program calls it.

mod calls;
mod capture;
mod context;
mod environment;
mod launch;
mod limits;
mod memory;
mod module;
mod process;
mod stream;
