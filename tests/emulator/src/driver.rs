//! The C interface: a stand-in for `libcuda.so.1`.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`abi`], [`unsupported`] | the tables of `extern "C"` functions: those offered, and those that say they aren't |
//! | [`entry`] | how a line of the table becomes a function; no panic passes it |
//! | [`arguments`], [`host`] | pointers of the program as safe types: all unsafe code of the interface |
//! | [`handles`], [`errors`] | handles in tables, error codes |
//! | [`state`], [`context`] | the process's device, contexts, which is current, faults that stay |
//! | [`module`], [`jit`], [`launch`] | modules, functions, checks of launches, parameters |
//! | [`memory`], [`pool`] | allocations, copies, what is known of a pointer |
//! | [`stream`], [`event`], [`work`] | work and its order |
//! | [`capture`], [`graph`] | work that is written down, and done later |
//! | [`device`], [`attributes`], [`occupancy`], [`query`] | the parts, their limits, what can be asked |
//! | [`environment`], [`log`] | what a user sets, and where findings go |
//!
//! Work is done when it is enqueued, in the thread that enqueues it. That is one of the orders that streams and events
//! allow; what a program wrongly relies on shows in other ways: in races that the interpreter finds, and in graphs,
//! whose nodes run in a random order that their edges allow.

pub mod abi;
pub mod arguments;
pub mod attributes;
pub mod capture;
pub mod context;
pub mod device;
pub mod entry;
pub mod environment;
pub mod errors;
pub mod event;
mod exit;
pub mod graph;
pub mod handles;
pub mod host;
pub mod jit;
pub mod launch;
pub mod log;
pub mod memory;
pub mod module;
pub mod occupancy;
pub mod pool;
pub mod procedures;
pub mod query;
pub mod state;
pub mod stream;
pub mod unsupported;
pub mod work;
