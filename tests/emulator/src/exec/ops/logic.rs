//! Logic: `and`, `or`, `xor`, `not` and `cnot` of words and predicates, `lop3`.

use std::ops::{BitAnd, BitOr, BitXor, Not as Inverted};

use super::Answer;
use super::operations::operations;
use crate::counters::Class;
use crate::exec::context::Context;
use crate::exec::decode::Decoder;
use crate::exec::instruction::{Decoded, Inst, Op, Step};
use crate::exec::lanes::{Element, LANES, each, map1, map2, map3, row, write};
use crate::gpu::LoadError;
use crate::ptx::syntax::{Operand, Type};

/// Calls an operation's constructor with the word that a type of bits means.
macro_rules! words_of {
    ($decoder:expr, $ty:expr, $operation:ident, $make:ident($($argument:expr),*)) => {
        match $ty {
            Type::B16 => $decoder.$make::<$operation<u16>>($($argument),*),
            Type::B32 => $decoder.$make::<$operation<u32>>($($argument),*),
            Type::B64 => $decoder.$make::<$operation<u64>>($($argument),*),
            _ => Err($decoder.unknown()),
        }
    };
}

/// Decodes logic.
///
/// # Errors
///
/// Forms that aren't known.
pub fn decode(decoder: &mut Decoder<'_>) -> Answer {
    const CLASS: Class = Class::Integer;
    let opcode = decoder.opcode();
    let Some(ty) = opcode.last().and_then(|suffix| Type::from_suffix(suffix)) else { return Ok(None) };
    Ok(Some(match &opcode[..opcode.len() - 1] {
        ["and"] if ty == Type::Pred => logic(decoder, AND)?,
        ["or"] if ty == Type::Pred => logic(decoder, OR)?,
        ["xor"] if ty == Type::Pred => logic(decoder, XOR)?,
        ["not"] if ty == Type::Pred => logic(decoder, NOT)?,
        ["and"] => words_of!(decoder, ty, And, binary(CLASS, ty, [ty; 2]))?,
        ["or"] => words_of!(decoder, ty, Or, binary(CLASS, ty, [ty; 2]))?,
        ["xor"] => words_of!(decoder, ty, Xor, binary(CLASS, ty, [ty; 2]))?,
        ["not"] => words_of!(decoder, ty, Not, unary(CLASS, ty, ty))?,
        ["cnot"] => words_of!(decoder, ty, Cnot, unary(CLASS, ty, ty))?,
        ["lop3"] if ty == Type::B32 => lop3(decoder, None)?,
        ["lop3", "and"] if ty == Type::B32 => lop3(decoder, Some(AND))?,
        ["lop3", "or"] if ty == Type::B32 => lop3(decoder, Some(OR))?,
        _ => return Ok(None),
    }))
}

/// A word of bits.
trait Bits:
    Element
    + PartialEq
    + From<bool>
    + Default
    + BitAnd<Output = Self>
    + BitOr<Output = Self>
    + BitXor<Output = Self>
    + Inverted<Output = Self>
{
}

impl Bits for u16 {}
impl Bits for u32 {}
impl Bits for u64 {}

operations! {
    Bits:
    And, map2, |a: T, b: T| a & b;
    Or, map2, |a: T, b: T| a | b;
    Xor, map2, |a: T, b: T| a ^ b;
    Not, map1, |a: T| !a;
    Cnot, map1, |a: T| T::from(a == T::default());
}

// What logic on predicates computes, in [`Inst::imm`].
const AND: i64 = 0;
const OR: i64 = 1;
const XOR: i64 = 2;
const NOT: i64 = 3;

fn logic(decoder: &mut Decoder<'_>, operation: i64) -> Result<Decoded, LoadError> {
    decoder.expect_operands(if operation == NOT { 2 } else { 3 })?;
    let d = decoder.destination(0, Type::Pred)?;
    let a = decoder.predicate(1)?;
    let b = if operation == NOT { a } else { decoder.predicate(2)? };
    Ok(decoder.make::<Logic>(Class::Integer, |inst| (inst.d, inst.a, inst.b, inst.imm) = (d, a, b, operation)))
}

/// Logic on predicates.
struct Logic;

impl Op for Logic {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let registers = &mut cx.warp.registers;
        let (a, b) = (registers.operand(inst.a), registers.operand(inst.b));
        let result = match inst.imm {
            AND => a & b,
            OR => a | b,
            XOR => a ^ b,
            _ => !a,
        };
        registers.set_predicate(inst.d, cx.exec, result);
        Step::Next
    }
}

/// `combined` says how the predicate of the form with one is made.
fn lop3(decoder: &mut Decoder<'_>, combined: Option<i64>) -> Result<Decoded, LoadError> {
    let ty = Type::B32;
    decoder.expect_operands(if combined.is_some() { 6 } else { 5 })?;
    let (a, b, c) = (decoder.source(1, ty)?, decoder.source(2, ty)?, decoder.source(3, ty)?);
    let Some(table @ 0..=255) = decoder.integer(4)? else {
        return Err(decoder.error("a constant from 0 to 255 is needed here"));
    };
    let Some(combined) = combined else {
        let d = decoder.destination(0, ty)?;
        return Ok(decoder.make::<Lop3>(Class::Integer, |inst| {
            (inst.d, inst.a, inst.b, inst.c, inst.imm) = (d, a, b, c, table);
        }));
    };
    let Operand::Pair(value, predicate) = decoder.operand(0)?.clone() else {
        return Err(decoder.error("a register and a predicate are needed here"));
    };
    let d = decoder.destination_of(&value, ty)?;
    let p = decoder.destination_of(&predicate, Type::Pred)?;
    let list = Box::new([p, decoder.predicate(5)?, combined as u32]);
    Ok(decoder.make::<Lop3Predicate>(Class::Integer, |inst| {
        (inst.d, inst.a, inst.b, inst.c, inst.imm, inst.list) = (d, a, b, c, table, list);
    }))
}

/// The function of three bits that a table gives, its value for a, b, c in bit `4a + 2b + c`.
struct Table([u32; 8]);

impl Table {
    #[inline(always)]
    fn new(table: i64) -> Self {
        Self(each(|bit| if table >> bit & 1 != 0 { u32::MAX } else { 0 }))
    }

    /// The function of each bit, as a sum of products.
    #[inline(always)]
    fn of(&self, a: u32, b: u32, c: u32) -> u32 {
        let terms = &self.0;
        let without_a = terms[0] & !b & !c | terms[1] & !b & c | terms[2] & b & !c | terms[3] & b & c;
        let with_a = terms[4] & !b & !c | terms[5] & !b & c | terms[6] & b & !c | terms[7] & b & c;
        a & with_a | !a & without_a
    }
}

/// `lop3 d, a, b, c, table`, with the table in `imm`.
struct Lop3;

impl Op for Lop3 {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let table = Table::new(inst.imm);
        map3(cx, inst, |a: u32, b: u32, c: u32| table.of(a, b, c))
    }
}

/// `lop3.and d|p, a, b, c, table, q` and `.or`: whether the result isn't 0, combined with `q`, goes to `p`. `list` has
/// `p`, `q` and how they are combined.
struct Lop3Predicate;

impl Op for Lop3Predicate {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let table = Table::new(inst.imm);
        let registers = &mut cx.warp.registers;
        let (a, b) = (row::<u32>(registers, inst.a), row::<u32>(registers, inst.b));
        let c = row::<u32>(registers, inst.c);
        let values: [u32; LANES] = each(|lane| table.of(a[lane], b[lane], c[lane]));
        let some = values.iter().enumerate().fold(0, |mask, (lane, value)| mask | u32::from(*value != 0) << lane);
        let other = registers.operand(inst.list[1]);
        let holds = if i64::from(inst.list[2]) == AND { some & other } else { some | other };
        write::<u32>(registers, inst.d, cx.exec, &values);
        registers.set_predicate(inst.list[0], cx.exec, holds);
        Step::Next
    }
}
