//! The families of operations. A family decodes the instructions that are its own, and executes them; a new one is a
//! file here and a line in [`FAMILIES`].

pub mod approximate;
pub mod async_copy;
pub mod atomic;
pub mod barrier;
pub mod bits;
pub mod compare;
pub mod control;
pub mod convert;
pub mod dot;
pub mod exact;
pub mod float;
pub mod formats;
pub mod half;
pub mod integer;
pub mod ldmatrix;
pub mod logic;
mod members;
pub mod memory;
pub mod mma;
pub mod modifiers;
pub mod moves;
mod operations;
pub mod packed;
pub mod shuffle;
mod spaces;
pub mod vote;

use super::decode::Decoder;
use super::instruction::Decoded;
use crate::gpu::LoadError;

/// What a family says of an instruction: not its own, or decoded, or wrong.
pub type Answer = Result<Option<Decoded>, LoadError>;

/// A family: decodes the instruction at hand if it is its own.
pub type Family = fn(&mut Decoder<'_>) -> Answer;

/// All families; the first one whose own an instruction is decodes it.
pub const FAMILIES: &[Family] = &[
    memory::decode,
    control::decode,
    barrier::decode,
    moves::decode,
    integer::decode,
    packed::decode,
    dot::decode,
    compare::decode,
    logic::decode,
    bits::decode,
    float::decode,
    convert::decode,
    half::decode,
    approximate::decode,
    atomic::decode,
    async_copy::decode,
    ldmatrix::decode,
    shuffle::decode,
    vote::decode,
    mma::decode,
];
