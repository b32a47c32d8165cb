//! Decoding one instruction: operands to slots, by the rules of PTX, for the families of operations to use.

use std::collections::HashMap;

use half::{bf16, f16};

use super::instruction::{Decoded, Facts, Inst, NEGATED, Op};
use super::registers::Sizes;
use super::windows::address_of;
use crate::counters::Class;
use crate::gpu::LoadError;
use crate::ptx::syntax::{Base, Function, Instruction, Operand, RegisterId, Space, Type};

type Result<T> = std::result::Result<T, LoadError>;

/// What is known of a name that is no register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Symbol {
    /// A `.global` or `.const` variable: its address.
    Global(u64),
    /// A `.shared` variable of the kernel itself: its offset from the start of the block's shared memory.
    Shared(u32),
    /// A `.shared` variable of the module or of a device function, by its number: where it is depends on the kernel.
    CommonShared(u32),
    /// `.extern .shared`: behind all static shared memory, which depends on the kernel.
    DynamicShared,
    /// A `.local` variable, or a parameter of a device function or call: its offset in the frame of the function.
    Local(u32),
    /// A parameter of the kernel: its offset in the parameter block.
    Parameter(u32),
    /// A function, by its number in the module.
    Function(u32),
}

/// A row that is filled when a window of registers is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fill {
    /// The same bits in every lane.
    Constant(u64),
    /// A special register that doesn't change while the function runs.
    Special(Special),
    /// Where a common shared variable is, plus an offset.
    CommonShared(u32, i64),
    /// Where dynamic shared memory begins, plus an offset.
    DynamicShared(i64),
    /// Where the function's local frame begins in the local window, plus an offset.
    Local(i64),
}

/// Special registers that are constant during a function's execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are PTX's own; the number is the dimension, x y z")]
pub enum Special {
    Tid(u8),
    Ntid(u8),
    Ctaid(u8),
    Nctaid(u8),
    LaneId,
    WarpId,
    Nwarpid,
    SmId,
    Nsmid,
    GridId,
    LanemaskEq,
    LanemaskLe,
    LanemaskLt,
    LanemaskGe,
    LanemaskGt,
    TotalSharedBytes,
    DynamicSharedBytes,
}

impl Special {
    /// The register that a name with its percent sign means; `None` also for clocks, which aren't constant.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let dimension = |suffix: &str| match suffix {
            "x" => Some(0),
            "y" => Some(1),
            "z" => Some(2),
            _ => None,
        };
        if let Some((register, suffix)) = name.split_once('.') {
            let dimension = dimension(suffix)?;
            return match register {
                "%tid" => Some(Self::Tid(dimension)),
                "%ntid" => Some(Self::Ntid(dimension)),
                "%ctaid" => Some(Self::Ctaid(dimension)),
                "%nctaid" => Some(Self::Nctaid(dimension)),
                _ => None,
            };
        }
        Some(match name {
            "%laneid" => Self::LaneId,
            "%warpid" => Self::WarpId,
            "%nwarpid" => Self::Nwarpid,
            "%smid" => Self::SmId,
            "%nsmid" => Self::Nsmid,
            "%gridid" => Self::GridId,
            "%lanemask_eq" => Self::LanemaskEq,
            "%lanemask_le" => Self::LanemaskLe,
            "%lanemask_lt" => Self::LanemaskLt,
            "%lanemask_ge" => Self::LanemaskGe,
            "%lanemask_gt" => Self::LanemaskGt,
            "%total_smem_size" => Self::TotalSharedBytes,
            "%dynamic_smem_size" => Self::DynamicSharedBytes,
            _ => return None,
        })
    }
}

/// The width of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "bits")]
pub enum Width {
    B16,
    B32,
    B64,
}

impl Width {
    /// The width of the registers that hold a type; 8-bit values live in 16-bit registers.
    #[must_use]
    pub fn of(ty: Type) -> Option<Self> {
        match ty.size() {
            1 | 2 => Some(Self::B16),
            4 => Some(Self::B32),
            8 => Some(Self::B64),
            _ => None,
        }
    }
}

/// Where a function's registers are, and what else its window holds.
#[derive(Debug, Default)]
pub struct Layout {
    /// Rows of each width.
    pub sizes: Sizes,
    /// Rows that are filled when the window is opened.
    pub fills: Vec<(Width, u32, Fill)>,
    slots: Vec<u32>,
    filled: HashMap<(Width, Fill), u32>,
    scratch: [Option<u32>; 4],
}

impl Layout {
    /// The registers of a function.
    ///
    /// # Errors
    ///
    /// A register wider than 64 bits.
    pub fn new(function: &Function) -> Result<Self> {
        let mut layout = Self::default();
        for register in &function.registers {
            let slot = if register.ty == Type::Pred {
                next(&mut layout.sizes.predicates)
            } else {
                let width = Width::of(register.ty).ok_or_else(|| LoadError {
                    line: function.line,
                    message: format!("register {} is of 128 bits, which the interpreter doesn't know", register.name),
                })?;
                layout.row(width)
            };
            layout.slots.push(slot);
        }
        Ok(layout)
    }

    fn row(&mut self, width: Width) -> u32 {
        next(match width {
            Width::B16 => &mut self.sizes.b16,
            Width::B32 => &mut self.sizes.b32,
            Width::B64 => &mut self.sizes.b64,
        })
    }

    fn fill(&mut self, width: Width, fill: Fill) -> u32 {
        if let Some(slot) = self.filled.get(&(width, fill)) {
            return *slot;
        }
        let slot = self.row(width);
        self.fills.push((width, slot, fill));
        self.filled.insert((width, fill), slot);
        slot
    }
}

fn next(count: &mut u32) -> u32 {
    *count += 1;
    *count - 1
}

/// One instruction on its way to a [`Decoded`].
pub struct Decoder<'a> {
    /// The function.
    pub function: &'a Function,
    /// The instruction.
    pub instruction: &'a Instruction,
    /// Names that are no registers.
    pub symbols: &'a dyn Fn(&str) -> Option<Symbol>,
    /// Registers and constants of the function.
    pub layout: &'a mut Layout,
}

/// An address: where its first part is, and the offset to add.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The slot of the base.
    pub slot: u32,
    /// Whether the base is a 64-bit row, else of 32 bits.
    pub wide: bool,
    /// Bytes to add.
    pub offset: i64,
}

impl<'a> Decoder<'a> {
    /// The parts of the opcode, as text.
    #[must_use]
    pub fn opcode(&self) -> Vec<&'a str> {
        self.instruction.opcode.iter().map(String::as_str).collect()
    }

    /// An error at this instruction.
    #[must_use]
    pub fn error(&self, message: impl Into<String>) -> LoadError {
        LoadError { line: self.instruction.line, message: format!("{}: {}", self.instruction, message.into()) }
    }

    /// An instruction of which the interpreter doesn't know this form.
    #[must_use]
    pub fn unknown(&self) -> LoadError {
        self.error("the interpreter doesn't know this instruction")
    }

    /// Requires a number of operands.
    pub fn expect_operands(&self, count: usize) -> Result<()> {
        if self.instruction.operands.len() == count {
            Ok(())
        } else {
            Err(self.error(format!("expected {count} operands, found {}", self.instruction.operands.len())))
        }
    }

    /// Operand `n`, from 0.
    pub fn operand(&self, n: usize) -> Result<&Operand> {
        self.instruction.operands.get(n).ok_or_else(|| self.error(format!("operand {} is missing", n + 1)))
    }

    /// The slot of a register, which must have the width of `ty`.
    pub fn register(&self, register: RegisterId, ty: Type) -> Result<u32> {
        let declared = self.type_of(register)?;
        if ty == Type::Pred || declared == Type::Pred {
            if ty != declared {
                return Err(self.error(format!("{} is of the wrong kind", self.name_of(register))));
            }
        } else if Width::of(ty) != Width::of(declared) {
            return Err(self.error(format!(
                "{} has {} bits where {} are needed",
                self.name_of(register),
                declared.size() * 8,
                ty.size() * 8
            )));
        }
        self.slot(register)
    }

    /// The slot of a register, whatever its width.
    pub fn slot(&self, register: RegisterId) -> Result<u32> {
        self.layout.slots.get(register.0 as usize).copied().ok_or_else(|| self.error("unknown register"))
    }

    /// The declared type of a register.
    pub fn type_of(&self, register: RegisterId) -> Result<Type> {
        self.function.type_of(register).ok_or_else(|| self.error("unknown register"))
    }

    fn name_of(&self, register: RegisterId) -> &str {
        self.function.registers.get(register.0 as usize).map_or("?", |register| &register.name)
    }

    /// The slot that operand `n` is written to: a register of the width of `ty`, or `_`.
    pub fn destination(&mut self, n: usize, ty: Type) -> Result<u32> {
        let operand = self.operand(n)?.clone();
        self.destination_of(&operand, ty)
    }

    /// As [`destination`](Self::destination), for a part of an operand.
    pub fn destination_of(&mut self, operand: &Operand, ty: Type) -> Result<u32> {
        if let Operand::Register(register) = operand {
            self.register(*register, ty)
        } else if *operand == Operand::Sink {
            Ok(self.scratch(ty))
        } else {
            Err(self.error("the destination must be a register"))
        }
    }

    /// A slot of the width of `ty` whose value nobody reads.
    pub fn scratch(&mut self, ty: Type) -> u32 {
        let width = Width::of(ty);
        let place = width.map_or(3, |width| width as usize);
        if let Some(slot) = self.layout.scratch[place] {
            return slot;
        }
        let slot = match width {
            Some(width) => self.layout.row(width),
            None => next(&mut self.layout.sizes.predicates),
        };
        self.layout.scratch[place] = Some(slot);
        slot
    }

    /// The slot that operand `n` is read from: a register of the width of `ty`, or a row that holds a constant (converted
    /// to `ty`, if it is a floating-point type), a special register or an address.
    pub fn source(&mut self, n: usize, ty: Type) -> Result<u32> {
        let operand = self.operand(n)?.clone();
        self.source_of(&operand, ty)
    }

    /// As [`source`](Self::source), for a part of an operand.
    pub fn source_of(&mut self, operand: &Operand, ty: Type) -> Result<u32> {
        let width = Width::of(ty).ok_or_else(|| self.error("an operand of this type isn't known"))?;
        if let Operand::Register(register) = operand {
            return self.register(*register, ty);
        }
        if let Operand::Symbol(name, offset) = operand {
            return self.symbol(name, *offset, width);
        }
        let fill = if let Operand::Special(name) = operand {
            Special::from_name(name)
                .map(Fill::Special)
                .or_else(|| (name == "WARP_SZ").then_some(Fill::Constant(32)))
                .ok_or_else(|| self.error(format!("the interpreter doesn't know {name} here")))?
        } else {
            Fill::Constant(self.constant(operand, ty)?)
        };
        Ok(self.layout.fill(width, fill))
    }

    fn symbol(&mut self, name: &str, offset: i64, width: Width) -> Result<u32> {
        let fill = match self.lookup(name)? {
            Symbol::Global(address) => Fill::Constant(address.wrapping_add_signed(offset)),
            Symbol::Shared(at) | Symbol::Parameter(at) => Fill::Constant(u64::from(at).wrapping_add_signed(offset)),
            Symbol::CommonShared(number) => Fill::CommonShared(number, offset),
            Symbol::DynamicShared => Fill::DynamicShared(offset),
            Symbol::Local(at) => Fill::Local(i64::from(at).wrapping_add(offset)),
            Symbol::Function(number) => Fill::Constant(address_of(number)),
        };
        Ok(self.layout.fill(width, fill))
    }

    /// What a name means.
    pub fn lookup(&self, name: &str) -> Result<Symbol> {
        (self.symbols)(name).ok_or_else(|| self.error(format!("{name} is not declared")))
    }

    /// A row of constant bits.
    pub fn constant_row(&mut self, bits: u64, ty: Type) -> Result<u32> {
        let width = Width::of(ty).ok_or_else(|| self.error("a constant of this type isn't known"))?;
        Ok(self.layout.fill(width, Fill::Constant(bits)))
    }

    /// The bits of a constant operand as `ty`.
    pub fn constant(&self, operand: &Operand, ty: Type) -> Result<u64> {
        let bits = if let Operand::Integer(value) = operand {
            if ty == Type::F32 {
                u64::from((value.cast_signed() as f32).to_bits())
            } else if ty == Type::F64 {
                (value.cast_signed() as f64).to_bits()
            } else {
                *value
            }
        } else if let Operand::F32(bits) = operand {
            u64::from(*bits)
        } else if let Operand::F64(bits) = operand {
            let value = f64::from_bits(*bits);
            if ty == Type::F32 {
                u64::from((value as f32).to_bits())
            } else if ty == Type::F16 {
                u64::from(f16::from_f64(value).to_bits())
            } else if ty == Type::Bf16 {
                u64::from(bf16::from_f64(value).to_bits())
            } else {
                *bits
            }
        } else {
            return Err(self.error("a constant or a register is needed here"));
        };
        Ok(match ty.size() {
            1 => bits & 0xff,
            2 => bits & 0xffff,
            4 => bits & 0xffff_ffff,
            _ => bits,
        })
    }

    /// Operand `n` as an integer constant, if it is one.
    pub fn integer(&self, n: usize) -> Result<Option<i64>> {
        Ok(if let Operand::Integer(value) = self.operand(n)? { Some(value.cast_signed()) } else { None })
    }

    /// Operand `n` as a predicate source: its slot, with [`NEGATED`] for `!%p`.
    pub fn predicate(&self, n: usize) -> Result<u32> {
        let operand = self.operand(n)?;
        if let Operand::Register(register) = operand {
            self.register(*register, Type::Pred)
        } else if let Operand::Not(register) = operand {
            Ok(self.register(*register, Type::Pred)? | NEGATED)
        } else {
            Err(self.error("a predicate is needed here"))
        }
    }

    /// Operand `n` as `[base + offset]`.
    pub fn address(&mut self, n: usize) -> Result<Address> {
        let operand = self.operand(n)?.clone();
        let Operand::Address(base, offset) = operand else {
            return Err(self.error("an address in brackets is needed here"));
        };
        match base {
            Base::Register(register) => {
                let wide = match Width::of(self.type_of(register)?) {
                    Some(Width::B64) => true,
                    Some(Width::B32) => false,
                    Some(Width::B16) | None => return Err(self.error("an address has 32 or 64 bits")),
                };
                Ok(Address { slot: self.slot(register)?, wide, offset })
            }
            Base::Symbol(name) => Ok(Address { slot: self.symbol(&name, 0, Width::B64)?, wide: true, offset }),
            Base::None => Ok(Address { slot: self.constant_row(0, Type::U64)?, wide: true, offset }),
        }
    }

    /// The space of the variable that operand `n` names, if its address starts from one.
    pub fn space_of(&self, n: usize) -> Result<Option<Space>> {
        let Operand::Address(Base::Symbol(name), _) = self.operand(n)? else { return Ok(None) };
        Ok(Some(match self.lookup(name)? {
            Symbol::Global(_) => Space::Global,
            Symbol::Shared(_) | Symbol::CommonShared(_) | Symbol::DynamicShared => Space::Shared,
            Symbol::Local(_) => Space::Local,
            Symbol::Parameter(_) => Space::Param,
            Symbol::Function(_) => return Err(self.error(format!("{name} is a function"))),
        }))
    }

    /// Operand `n` as `{a, b, ...}`; a single operand is a vector of one.
    pub fn vector(&self, n: usize) -> Result<Vec<Operand>> {
        let operand = self.operand(n)?;
        Ok(if let Operand::Vector(parts) = operand { parts.clone() } else { vec![operand.clone()] })
    }

    /// The instruction `O` of class `class`: `fill` sets its operands.
    pub fn make<O: Op>(&self, class: Class, fill: impl FnOnce(&mut Inst)) -> Decoded {
        let mut inst = Inst::new::<O>();
        fill(&mut inst);
        Decoded { inst, facts: Facts { class, tensor_multiply_adds: 0 } }
    }

    /// `d = O(a)`, operands of types `d` and `a`.
    pub fn unary<O: Op>(&mut self, class: Class, d: Type, a: Type) -> Result<Decoded> {
        self.expect_operands(2)?;
        let (d, a) = (self.destination(0, d)?, self.source(1, a)?);
        Ok(self.make::<O>(class, |inst| (inst.d, inst.a) = (d, a)))
    }

    /// `d = O(a, b)`.
    pub fn binary<O: Op>(&mut self, class: Class, d: Type, [a, b]: [Type; 2]) -> Result<Decoded> {
        self.expect_operands(3)?;
        let (d, a, b) = (self.destination(0, d)?, self.source(1, a)?, self.source(2, b)?);
        Ok(self.make::<O>(class, |inst| (inst.d, inst.a, inst.b) = (d, a, b)))
    }

    /// `d = O(a, b, c)`.
    pub fn ternary<O: Op>(&mut self, class: Class, d: Type, [a, b, c]: [Type; 3]) -> Result<Decoded> {
        self.expect_operands(4)?;
        let (d, a, b, c) = (self.destination(0, d)?, self.source(1, a)?, self.source(2, b)?, self.source(3, c)?);
        Ok(self.make::<O>(class, |inst| (inst.d, inst.a, inst.b, inst.c) = (d, a, b, c)))
    }
}
