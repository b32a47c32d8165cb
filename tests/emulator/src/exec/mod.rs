//! Decoding and execution.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`decode`], [`code`], [`calls`], [`flow`], [`pressure`] | a syntax tree to instructions, and what is known of them |
//! | [`instruction`], [`ops`] | an instruction; what the families of instructions do |
//! | [`lanes`], [`registers`], [`window`] | 32 lanes: values, registers, their first contents |
//! | [`warp`], [`block`], [`barrier`], [`launch`], [`waiting`] | lockstep and divergence, barriers, the order of blocks |
//! | [`access`], [`traffic`], [`windows`], [`local`] | memory as a warp accesses it, and what that costs |
//! | [`copies`] | copies by `cp.async` that are on their way |
//! | [`summary`] | what a launch did, added up |

pub mod access;
pub mod barrier;
pub mod block;
pub mod calls;
pub mod code;
pub mod context;
pub mod copies;
pub mod decode;
pub mod flow;
pub mod instruction;
pub mod lanes;
pub mod launch;
pub mod local;
pub mod ops;
pub mod pressure;
pub mod registers;
pub mod summary;
pub mod traffic;
pub mod waiting;
pub mod warp;
pub mod window;
pub mod windows;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use code::Code;

/// A kernel, decoded.
#[derive(Debug)]
pub struct Kernel {
    /// Its name.
    pub name: String,
    /// Its parameters in order: offset in the parameter block, and size, in bytes.
    pub parameters: Vec<(u32, u32)>,
    /// Size of the parameter block, bytes.
    pub parameter_bytes: u32,
    /// Where shared variables are that aren't its own, but of the module or of device functions: offsets in the block's
    /// shared memory, by number of the variable, for those that it or what it may call names.
    pub common_shared: BTreeMap<u32, u32>,
    /// Static shared memory of a block, bytes.
    pub static_shared: u32,
    /// Where dynamic shared memory begins: behind the static, at a multiple of its alignment.
    pub dynamic_shared_at: u32,
    /// Local memory of a thread, bytes: the `.local` variables of it and of all functions that it may call.
    pub local: u32,
    /// Bytes of constant memory of its module.
    pub constant: u32,
    /// Registers of a thread: an upper estimate from the lifetimes in the PTX, not what ptxas would say, and no more than
    /// `.maxnreg`, `.maxntid`, `.reqntid` and `.minnctapersm` leave.
    pub registers: u32,
    /// The most threads of a block: `.maxntid`, `.reqntid`, or the device's limit.
    pub max_threads: u32,
    /// `.reqntid`.
    pub required_threads: Option<[u32; 3]>,
    /// `.version` of its module: major, minor.
    pub ptx_version: (u32, u32),
    /// The code of its module.
    pub code: Arc<Code>,
    /// Its place in [`Code::functions`].
    pub function: u32,
    /// A range of [`Code::insts`] that all it may execute is in.
    pub instructions: Range<u32>,
    /// The narrowest accesses that its code makes.
    pub granules: Granules,
}

/// The narrowest accesses of a kernel, bytes; powers of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granules {
    /// To shared or generic memory.
    pub shared: u32,
    /// To global or generic memory, by any kernel of the module.
    pub global: u32,
}
