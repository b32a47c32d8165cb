//! The statements of a function.

use super::ReadError;
use super::cursor::{Cursor, shown};
use super::functions;
use super::instructions;
use super::lexer::Kind;
use super::module::{self, Global, Globals};
use super::scope::{Name, Scopes};
use super::syntax::{Function, LabelId, Operand, SourceLine, Space, Statement, Type};
use super::variables;

/// What the statements of a function are read into.
pub(super) struct Body<'a, 'm> {
    pub(super) function: &'m mut Function,
    pub(super) scopes: Scopes<'a>,
    pub(super) globals: &'m mut Globals<'a>,
    /// What the last `.loc` said.
    pub(super) source: Option<SourceLine>,
}

/// Reads the body of a function, whose parameters are in `scopes`, up to its closing brace.
pub(super) fn body<'a>(
    cursor: &mut Cursor<'a>,
    function: &mut Function,
    scopes: Scopes<'a>,
    globals: &mut Globals<'a>,
) -> Result<(), ReadError> {
    cursor.mark('{')?;
    let mut body = Body { function, scopes, globals, source: None };
    loop {
        let line = cursor.line();
        if cursor.take_mark('{') {
            body.scopes.enter(line)?;
        } else if cursor.take_mark('}') {
            let last = body.scopes.outermost();
            body.scopes.leave()?;
            if last {
                break;
            }
        } else if let Some(name) = cursor.peek_suffix() {
            cursor.advance();
            body.directive(cursor, name, line)?;
        } else if let Some(name) = cursor.peek_word().filter(|_| cursor.second_is(':')) {
            cursor.advance();
            cursor.advance();
            body.label(cursor, name, line)?;
        } else if matches!(cursor.peek(), Kind::Word(_) | Kind::Mark('@')) {
            let instruction = instructions::instruction(cursor, &mut body)?;
            body.function.body.push(Statement::Instruction(instruction));
        } else if !cursor.take_mark(';') {
            return Err(cursor.unexpected("an instruction, a label, a directive or `}`"));
        }
    }
    let Body { function, scopes, .. } = body;
    let (registers, labels, numbers) = scopes.finish();
    function.registers = registers;
    function.labels = labels;
    renumber(function, &numbers);
    Ok(())
}

impl<'a> Body<'a, '_> {
    /// What `.name` begins.
    fn directive(&mut self, cursor: &mut Cursor<'a>, name: &str, line: u32) -> Result<(), ReadError> {
        let space = match name {
            "reg" => return self.registers(cursor),
            "loc" => return self.location(cursor),
            "pragma" => return module::pragma(cursor),
            "file" => return Err(ReadError::new(line, "`.file` belongs at module scope")),
            "local" => Space::Local,
            "shared" => Space::Shared,
            "param" => Space::Param,
            "const" => Space::Const,
            "global" => Space::Global,
            _ => return Err(ReadError::new(line, format!("the directive `.{}` isn't supported here", shown(name)))),
        };
        let scopes = &mut self.scopes;
        let variables =
            variables::declaration(cursor, space, false, self.globals, |name, line, _| scopes.variable(name, line))?;
        self.function.variables.extend(variables);
        Ok(())
    }

    /// `.reg TYPE NAME, PREFIX<COUNT>;`
    fn registers(&mut self, cursor: &mut Cursor<'a>) -> Result<(), ReadError> {
        let line = cursor.line();
        let name = cursor.suffix("the type of a register")?;
        let ty = match (name, Type::from_suffix(name)) {
            ("v2" | "v4", _) => return Err(ReadError::new(line, "registers of vector type aren't supported")),
            (_, Some(ty)) => ty,
            (_, None) => {
                return Err(ReadError::new(line, format!("expected the type of a register, found `.{}`", shown(name))));
            }
        };
        loop {
            let line = cursor.line();
            let name = cursor.word("the name of a register")?;
            if cursor.take_mark('<') {
                let count = cursor.number("the number of registers")?;
                cursor.mark('>')?;
                self.scopes.range(name, count, ty, line)?;
            } else {
                self.scopes.register(name, ty, line)?;
            }
            if !cursor.take_mark(',') {
                return cursor.mark(';');
            }
        }
    }

    /// `.loc FILE LINE COLUMN` with, at times, `, function_name LABEL + OFFSET, inlined_at FILE LINE COLUMN`.
    fn location(&mut self, cursor: &mut Cursor<'a>) -> Result<(), ReadError> {
        let file = cursor.number("the number of a file")?;
        let line = cursor.number("a line")?;
        cursor.number("a column")?;
        while cursor.take_mark(',') {
            match cursor.peek_word() {
                Some("function_name") => {
                    cursor.advance();
                    cursor.word("a label of a debug section")?;
                    super::constant::offset(cursor)?;
                }
                Some("inlined_at") => {
                    cursor.advance();
                    cursor.number("the number of a file")?;
                    cursor.number("a line")?;
                    cursor.number("a column")?;
                }
                _ => return Err(cursor.unexpected("`function_name` or `inlined_at`")),
            }
        }
        self.source = (line != 0).then_some(SourceLine { file, line });
        Ok(())
    }

    /// What follows `NAME:`, which is a label or names a table.
    fn label(&mut self, cursor: &mut Cursor<'a>, name: &'a str, line: u32) -> Result<(), ReadError> {
        match cursor.peek_suffix() {
            Some("branchtargets") => {
                cursor.advance();
                let mut targets = Vec::new();
                loop {
                    let line = cursor.line();
                    let target = cursor.word("a label")?;
                    targets.push(self.scopes.use_label(target, line));
                    if !cursor.take_mark(',') {
                        break;
                    }
                }
                let table = u32::try_from(self.function.branch_targets.len()).unwrap_or(u32::MAX);
                self.scopes.declare(name, Name::BranchTable(table), line)?;
                self.function.branch_targets.push((name.to_owned(), targets));
                cursor.mark(';')
            }
            Some("callprototype") => {
                cursor.advance();
                functions::parameters(cursor, None)?;
                cursor.word("`_`")?;
                functions::parameters(cursor, None)?;
                while let Some("noreturn" | "abi_preserve" | "abi_preserve_control") = cursor.peek_suffix() {
                    let counted = !cursor.take_suffix("noreturn");
                    if counted {
                        cursor.advance();
                        cursor.number("a number of registers")?;
                    }
                }
                self.scopes.declare(name, Name::Prototype, line)?;
                cursor.mark(';')
            }
            Some("calltargets") => {
                cursor.advance();
                loop {
                    let target = cursor.peek_word().and_then(|name| self.globals.get(name));
                    let Some(Global::Function { .. }) = target else {
                        return Err(cursor.unexpected("a function that is declared"));
                    };
                    cursor.advance();
                    if !cursor.take_mark(',') {
                        break;
                    }
                }
                self.scopes.declare(name, Name::Prototype, line)?;
                cursor.mark(';')
            }
            _ => {
                let label = self.scopes.define_label(name, line)?;
                self.function.body.push(Statement::Label(label));
                Ok(())
            }
        }
    }
}

/// Gives the labels of a body the numbers that they have over all scopes.
fn renumber(function: &mut Function, numbers: &[LabelId]) {
    let renumber = |label: &mut LabelId| {
        if let Some(number) = numbers.get(label.0 as usize) {
            *label = *number;
        }
    };
    for statement in &mut function.body {
        match statement {
            Statement::Label(label) => renumber(label),
            Statement::Instruction(instruction) => {
                for operand in &mut instruction.operands {
                    // Labels occur nowhere inside of other operands.
                    if let Operand::Label(label) = operand {
                        renumber(label);
                    }
                }
            }
        }
    }
    for (_, targets) in &mut function.branch_targets {
        targets.iter_mut().for_each(renumber);
    }
}
