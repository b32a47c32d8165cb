//! The syntax tree of a PTX module, as the text says it: names resolved, scopes flattened, nothing interpreted.
//!
//! Registers and labels of a function are numbered over all of its scopes, so that two scopes may use one name.
//! Opcodes stay text, split at the dots: what an instruction means is decided where it is decoded, in
//! [`exec`](crate::exec).

use std::fmt;

/// A PTX module.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Module {
    /// `.version major.minor`.
    pub version: (u32, u32),
    /// The first word of `.target`, for example `sm_80`.
    pub target: String,
    /// Variables at module scope, in the order of the text: `.global`, `.const`, `.shared`.
    pub variables: Vec<Variable>,
    /// Kernels and device functions that have a body, in the order of the text.
    pub functions: Vec<Function>,
    /// The names of `.file` directives, by their number.
    pub files: Vec<(u32, String)>,
}

/// A state space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Space {
    /// `.global`
    Global,
    /// `.const`
    Const,
    /// `.shared`
    Shared,
    /// `.local`
    Local,
    /// `.param`, of a kernel, a device function or a call.
    Param,
    /// No space named: a generic address.
    Generic,
}

/// A fundamental type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are PTX's own")]
pub enum Type {
    Pred,
    B8,
    B16,
    B32,
    B64,
    B128,
    U8,
    U16,
    U32,
    U64,
    S8,
    S16,
    S32,
    S64,
    F16,
    F16x2,
    Bf16,
    Bf16x2,
    F32,
    F64,
}

impl Type {
    /// The type that a suffix (without its dot) names.
    #[must_use]
    pub fn from_suffix(suffix: &str) -> Option<Self> {
        Some(match suffix {
            "pred" => Self::Pred,
            "b8" => Self::B8,
            "b16" => Self::B16,
            "b32" => Self::B32,
            "b64" => Self::B64,
            "b128" => Self::B128,
            "u8" => Self::U8,
            "u16" => Self::U16,
            "u32" => Self::U32,
            "u64" => Self::U64,
            "s8" => Self::S8,
            "s16" => Self::S16,
            "s32" => Self::S32,
            "s64" => Self::S64,
            "f16" => Self::F16,
            "f16x2" => Self::F16x2,
            "bf16" => Self::Bf16,
            "bf16x2" => Self::Bf16x2,
            "f32" => Self::F32,
            "f64" => Self::F64,
            _ => return None,
        })
    }

    /// Size in bytes; 0 for a predicate.
    #[must_use]
    pub fn size(self) -> u32 {
        match self {
            Self::Pred => 0,
            Self::B8 | Self::U8 | Self::S8 => 1,
            Self::B16 | Self::U16 | Self::S16 | Self::F16 | Self::Bf16 => 2,
            Self::B32 | Self::U32 | Self::S32 | Self::F16x2 | Self::Bf16x2 | Self::F32 => 4,
            Self::B64 | Self::U64 | Self::S64 | Self::F64 => 8,
            Self::B128 => 16,
        }
    }

    /// Whether it is `.s8` to `.s64`.
    #[must_use]
    pub fn is_signed(self) -> bool {
        matches!(self, Self::S8 | Self::S16 | Self::S32 | Self::S64)
    }
}

/// A variable in memory, or a parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Where it lives.
    pub space: Space,
    /// Alignment in bytes: a power of two.
    pub align: u32,
    /// Size in bytes; 0 for `.extern .shared NAME[]`.
    pub size: u64,
    /// Its first bytes; what is missing is zero (`.global` and `.const`).
    pub initial: Vec<u8>,
    /// Addresses of variables and functions inside `initial`: (offset in bytes, name, addend). Eight bytes each. A
    /// generic address and one of the variable's own space aren't told apart.
    pub addresses: Vec<(u64, String, i64)>,
    /// `.extern`.
    pub external: bool,
    /// Line in the PTX text, from 1.
    pub line: u32,
}

/// A kernel (`.entry`) or a device function (`.func`).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Whether it is a kernel.
    pub kernel: bool,
    /// Parameters in order.
    pub parameters: Vec<Variable>,
    /// Return values of a device function.
    pub returns: Vec<Variable>,
    /// `.maxntid`, missing dimensions are 1.
    pub max_threads: Option<[u32; 3]>,
    /// `.reqntid`, missing dimensions are 1.
    pub required_threads: Option<[u32; 3]>,
    /// `.minnctapersm`.
    pub min_blocks: Option<u32>,
    /// `.maxnreg`.
    pub max_registers: Option<u32>,
    /// The registers that the body uses, over all scopes, in the order of their first uses. Two scopes may each have
    /// one of the same name.
    pub registers: Vec<Register>,
    /// `.local`, `.shared`, `.const`, `.global` and `.param` (of call sequences) variables of all scopes. A name that
    /// two scopes declare is made unique by a dot and a number, as are its uses; it hides one of
    /// [`Module::variables`].
    pub variables: Vec<Variable>,
    /// The names of its labels; see [`Statement::Label`].
    pub labels: Vec<String>,
    /// `.branchtargets` tables by label name: what a `brx.idx` names.
    pub branch_targets: Vec<(String, Vec<LabelId>)>,
    /// The body.
    pub body: Vec<Statement>,
    /// Line of its head in the PTX text, from 1.
    pub line: u32,
}

/// A register of a function.
#[derive(Debug, Clone, PartialEq)]
pub struct Register {
    /// Its name with the percent sign, for example `%r12`.
    pub name: String,
    /// Its declared type.
    pub ty: Type,
}

/// The number of a register in its function's [`registers`](Function::registers).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegisterId(pub u32);

/// The number of a label in its function's [`labels`](Function::labels).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LabelId(pub u32);

/// What a body consists of.
#[derive(Debug, Clone, PartialEq)]
pub enum Statement {
    /// `name:`
    Label(LabelId),
    /// An instruction.
    Instruction(Instruction),
}

/// A place in the CUDA source, from `.loc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SourceLine {
    /// Number of the `.file`.
    pub file: u32,
    /// Line, from 1.
    pub line: u32,
}

/// An instruction.
#[derive(Debug, Clone, PartialEq)]
pub struct Instruction {
    /// Line in the PTX text, from 1.
    pub line: u32,
    /// Where it stems from in the CUDA source, with `-lineinfo`. (`.loc` with line 0 carries none.)
    pub source: Option<SourceLine>,
    /// `@%p` or `@!%p`.
    pub guard: Option<Guard>,
    /// The opcode split at its dots, `ld.global.nc.v4.f32` as `["ld", "global", "nc", "v4", "f32"]`, and
    /// `cp.async.cg.shared.global.L2::128B` as `["cp", "async", "cg", "shared", "global", "L2::128B"]`.
    pub opcode: Vec<String>,
    /// Operands in the order of the text. Those of a `call` are the list of results, if it has one, the function or the
    /// register that holds its address, and the list of arguments, if it has one; the prototype of an indirect call is
    /// checked to be there and left out.
    pub operands: Vec<Operand>,
}

/// The predicate that guards an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guard {
    /// The predicate register.
    pub register: RegisterId,
    /// Whether it must be false.
    pub negated: bool,
}

/// An operand.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// `%r1`
    Register(RegisterId),
    /// `!%p1`, as a source.
    Not(RegisterId),
    /// `%p1|%p2` as in `setp`, `%r1|%p1` as in `shfl`: two destinations.
    Pair(Box<Operand>, Box<Operand>),
    /// `{%r1, %r2}`
    Vector(Vec<Operand>),
    /// A decimal, hexadecimal, octal or binary integer, as 64-bit two's complement.
    Integer(u64),
    /// `0f3F800000`: the bits of an f32.
    F32(u32),
    /// `0d3FF0000000000000` or a decimal floating-point number: the bits of an f64.
    F64(u64),
    /// A special register with its percent sign: `%tid.x`, `%laneid`, `%clock64`.
    Special(String),
    /// A variable or a function, used as a value: its address plus an offset.
    Symbol(String, i64),
    /// A label, in `bra`.
    Label(LabelId),
    /// The name of a `.branchtargets` table in `brx.idx`: its place in [`Function::branch_targets`].
    BranchTable(u32),
    /// `[base + offset]`
    Address(Base, i64),
    /// `_`
    Sink,
    /// The parenthesised parts of a `call`: `(retval0)` or `(param0, param1)`.
    List(Vec<Operand>),
}

/// What an address starts from.
#[derive(Debug, Clone, PartialEq)]
pub enum Base {
    /// A register.
    Register(RegisterId),
    /// A variable.
    Symbol(String),
    /// `[64]`: the offset alone.
    None,
}

impl fmt::Display for Instruction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.opcode.join("."))
    }
}

impl Function {
    /// The type of a register.
    #[must_use]
    pub fn type_of(&self, register: RegisterId) -> Option<Type> {
        self.registers.get(register.0 as usize).map(|register| register.ty)
    }
}
