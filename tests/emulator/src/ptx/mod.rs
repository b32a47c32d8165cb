//! PTX text to a syntax tree.
//!
//! | module | what it reads |
//! | --- | --- |
//! | `lexer` | text to tokens |
//! | `cursor` | a place among the tokens, and what is expected there |
//! | `constant` | literals and constant expressions |
//! | `module` | directives at module scope |
//! | `variables` | declarations of variables and parameters, and what they start with |
//! | `functions` | heads of kernels and device functions |
//! | `scope` | the names of a function: registers, variables, labels |
//! | `body` | the statements of a function |
//! | `instructions` | opcodes and operands |
//!
//! Time and memory are linear in the length of the text, whatever it says.

mod body;
mod constant;
mod cursor;
mod functions;
mod instructions;
mod lexer;
mod module;
mod scope;
pub mod syntax;
mod variables;

/// Why a text is no PTX that can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct ReadError {
    /// Line in the text, from 1.
    pub line: u32,
    /// What was expected or is wrong.
    pub message: String,
}

impl ReadError {
    fn new(line: u32, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }
}

/// Reads the text of a module.
///
/// # Errors
///
/// The first thing that isn't PTX, or that the syntax tree has no place for: texture and surface references, registers
/// of vector type, parameters in registers, aliases.
pub fn read(text: &str) -> Result<syntax::Module, ReadError> {
    module::module(&mut cursor::Cursor::new(lexer::tokens(text)?))
}
