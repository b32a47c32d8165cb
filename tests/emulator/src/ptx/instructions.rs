//! Opcodes and operands.

use super::ReadError;
use super::body::Body;
use super::constant::{self, Constant};
use super::cursor::{Cursor, shown};
use super::module::Global;
use super::scope::Name;
use super::syntax::{Base, Guard, Instruction, Operand, RegisterId};

/// Special registers but for [`INDEXED`], in order. Those with components are here without them.
const SPECIAL: [&str; 43] = [
    "%aggr_smem_size",
    "%clock",
    "%clock64",
    "%clock_hi",
    "%cluster_ctaid",
    "%cluster_ctarank",
    "%cluster_nctaid",
    "%cluster_nctarank",
    "%clusterid",
    "%ctaid",
    "%current_graph_exec",
    "%dynamic_smem_size",
    "%globaltimer",
    "%globaltimer_hi",
    "%globaltimer_lo",
    "%gridid",
    "%is_explicit_cluster",
    "%laneid",
    "%lanemask_eq",
    "%lanemask_ge",
    "%lanemask_gt",
    "%lanemask_le",
    "%lanemask_lt",
    "%nclusterid",
    "%nctaid",
    "%nsmid",
    "%ntid",
    "%nwarpid",
    "%pm0_64",
    "%pm1_64",
    "%pm2_64",
    "%pm3_64",
    "%pm4_64",
    "%pm5_64",
    "%pm6_64",
    "%pm7_64",
    "%reserved_smem_offset_begin",
    "%reserved_smem_offset_cap",
    "%reserved_smem_offset_end",
    "%smid",
    "%tid",
    "%total_smem_size",
    "%warpid",
];

/// Special registers whose name ends in an index, without it.
const INDEXED: [&str; 3] = ["%envreg", "%pm", "%reserved_smem_offset_"];

/// Reads an instruction and its semicolon.
pub(super) fn instruction<'a>(cursor: &mut Cursor<'a>, body: &mut Body<'a, '_>) -> Result<Instruction, ReadError> {
    let guard = if cursor.take_mark('@') {
        let negated = cursor.take_mark('!');
        Some(Guard { register: register(cursor, body)?, negated })
    } else {
        None
    };
    let line = cursor.line();
    let mut opcode = vec![cursor.word("an opcode")?.to_owned()];
    while let Some(part) = cursor.peek_suffix() {
        cursor.advance();
        opcode.push(part.to_owned());
    }
    let operands = match opcode.first().map(String::as_str) {
        Some("bra") => vec![label(cursor, body)?],
        Some("brx") => {
            let index = operand(cursor, body)?;
            cursor.mark(',')?;
            vec![index, branch_table(cursor, body)?]
        }
        Some("call") => call(cursor, body)?,
        _ => operands(cursor, body)?,
    };
    cursor.mark(';')?;
    Ok(Instruction { line, source: body.source, guard, opcode, operands })
}

fn operands<'a>(cursor: &mut Cursor<'a>, body: &mut Body<'a, '_>) -> Result<Vec<Operand>, ReadError> {
    let mut operands = Vec::new();
    if cursor.peek_mark() == Some(';') {
        return Ok(operands);
    }
    loop {
        operands.push(operand(cursor, body)?);
        if !cursor.take_mark(',') {
            return Ok(operands);
        }
    }
}

fn label<'a>(cursor: &mut Cursor<'a>, body: &mut Body<'a, '_>) -> Result<Operand, ReadError> {
    let line = cursor.line();
    let name = cursor.word("a label")?;
    Ok(Operand::Label(body.scopes.use_label(name, line)))
}

fn branch_table<'a>(cursor: &mut Cursor<'a>, body: &mut Body<'a, '_>) -> Result<Operand, ReadError> {
    let line = cursor.line();
    let name = cursor.word("the name of a list of branch targets")?;
    match body.scopes.get(name, line)? {
        Some(Name::BranchTable(table)) => Ok(Operand::BranchTable(table)),
        _ => Err(ReadError::new(line, format!("`{}` isn't a list of branch targets", shown(name)))),
    }
}

/// `(RESULT), FUNCTION, (ARGUMENT, ...), PROTOTYPE`, where all but the function may be missing and a prototype stands
/// only behind a register.
fn call<'a>(cursor: &mut Cursor<'a>, body: &mut Body<'a, '_>) -> Result<Vec<Operand>, ReadError> {
    let mut operands = Vec::new();
    if cursor.take_mark('(') {
        operands.push(list(cursor, body)?);
        cursor.mark(',')?;
    }
    let indirect = match cursor.peek_word().map(|name| (name, body.globals.get(name))) {
        Some((name, Some(Global::Function { .. }))) => {
            cursor.advance();
            operands.push(Operand::Symbol(name.to_owned(), 0));
            false
        }
        _ => {
            operands.push(Operand::Register(register(cursor, body)?));
            true
        }
    };
    let mut more = cursor.take_mark(',');
    if more && cursor.take_mark('(') {
        operands.push(list(cursor, body)?);
        more = cursor.take_mark(',');
    }
    if indirect != more {
        return Err(cursor.unexpected(if indirect { "`,` and a prototype" } else { "`;`" }));
    }
    if indirect {
        let line = cursor.line();
        let name = cursor.word("the name of a prototype")?;
        if body.scopes.get(name, line)? != Some(Name::Prototype) {
            return Err(ReadError::new(line, format!("`{}` isn't a prototype", shown(name))));
        }
    }
    Ok(operands)
}

/// The rest of a list in parentheses.
fn list<'a>(cursor: &mut Cursor<'a>, body: &mut Body<'a, '_>) -> Result<Operand, ReadError> {
    let mut operands = Vec::new();
    if cursor.take_mark(')') {
        return Ok(Operand::List(operands));
    }
    loop {
        operands.push(simple(cursor, body)?);
        if !cursor.take_mark(',') {
            cursor.mark(')')?;
            return Ok(Operand::List(operands));
        }
    }
}

fn operand<'a>(cursor: &mut Cursor<'a>, body: &mut Body<'a, '_>) -> Result<Operand, ReadError> {
    if cursor.take_mark('{') {
        return vector(cursor, body);
    }
    if cursor.take_mark('[') {
        return address(cursor, body);
    }
    if cursor.take_mark('!') {
        return Ok(Operand::Not(register(cursor, body)?));
    }
    let first = simple(cursor, body)?;
    if cursor.take_mark('|') {
        return Ok(Operand::Pair(Box::new(first), Box::new(simple(cursor, body)?)));
    }
    Ok(first)
}

/// The rest of a vector.
fn vector<'a>(cursor: &mut Cursor<'a>, body: &mut Body<'a, '_>) -> Result<Operand, ReadError> {
    let mut elements = Vec::new();
    loop {
        elements.push(simple(cursor, body)?);
        if !cursor.take_mark(',') {
            cursor.mark('}')?;
            return Ok(Operand::Vector(elements));
        }
    }
}

/// The rest of an address.
fn address<'a>(cursor: &mut Cursor<'a>, body: &mut Body<'a, '_>) -> Result<Operand, ReadError> {
    let line = cursor.line();
    let operand = match simple(cursor, body)? {
        Operand::Register(register) => Operand::Address(Base::Register(register), constant::offset(cursor)?),
        Operand::Symbol(name, offset) => Operand::Address(Base::Symbol(name), offset),
        Operand::Integer(offset) => Operand::Address(Base::None, offset.cast_signed()),
        Operand::Not(_)
        | Operand::Pair(..)
        | Operand::Vector(_)
        | Operand::F32(_)
        | Operand::F64(_)
        | Operand::Special(_)
        | Operand::Label(_)
        | Operand::BranchTable(_)
        | Operand::Address(..)
        | Operand::Sink
        | Operand::List(_) => {
            return Err(ReadError::new(line, "an address begins with a register, a variable or a number"));
        }
    };
    cursor.mark(']')?;
    Ok(operand)
}

/// An operand without brackets: a constant, a register, a variable or function, `_`.
fn simple<'a>(cursor: &mut Cursor<'a>, body: &mut Body<'a, '_>) -> Result<Operand, ReadError> {
    if constant::begins(cursor) {
        return Ok(match constant::constant(cursor)? {
            Constant::Integer(value) => Operand::Integer(value),
            Constant::F32(bits) => Operand::F32(bits),
            Constant::F64(bits) => Operand::F64(bits),
        });
    }
    let line = cursor.line();
    let name = cursor.word("an operand")?;
    if name == "_" {
        return Ok(Operand::Sink);
    }
    match body.scopes.get(name, line)? {
        Some(Name::Register(register)) => return Ok(Operand::Register(register)),
        Some(Name::Variable(unique)) => return Ok(Operand::Symbol(unique, constant::offset(cursor)?)),
        Some(Name::UnusedRegister(_) | Name::Label | Name::BranchTable(_) | Name::Prototype) => {
            return Err(ReadError::new(line, format!("`{}` has no value", shown(name))));
        }
        None => {}
    }
    if body.globals.get(name).is_some() {
        return Ok(Operand::Symbol(name.to_owned(), constant::offset(cursor)?));
    }
    if is_special(name) {
        let component = cursor.peek_suffix().filter(|part| matches!(*part, "x" | "y" | "z" | "w"));
        return Ok(Operand::Special(match component {
            Some(component) => {
                cursor.advance();
                format!("{name}.{component}")
            }
            None => name.to_owned(),
        }));
    }
    Err(undeclared(name, line))
}

fn register<'a>(cursor: &mut Cursor<'a>, body: &mut Body<'a, '_>) -> Result<RegisterId, ReadError> {
    let line = cursor.line();
    let name = cursor.word("a register")?;
    match body.scopes.get(name, line)? {
        Some(Name::Register(register)) => Ok(register),
        Some(Name::UnusedRegister(_) | Name::Variable(_) | Name::Label | Name::BranchTable(_) | Name::Prototype) => {
            Err(ReadError::new(line, format!("`{}` isn't a register", shown(name))))
        }
        None => Err(undeclared(name, line)),
    }
}

fn undeclared(name: &str, line: u32) -> ReadError {
    ReadError::new(line, format!("`{}` isn't declared", shown(name)))
}

fn is_special(name: &str) -> bool {
    let stem = name.trim_end_matches(|digit: char| digit.is_ascii_digit());
    let index = name.len() - stem.len();
    SPECIAL.binary_search(&name).is_ok() || INDEXED.contains(&stem) && (1..=2).contains(&index)
}
