//! Directives at module scope.

use std::collections::HashMap;

use super::ReadError;
use super::cursor::{Cursor, shown};
use super::functions;
use super::lexer::Kind;
use super::syntax::{Module, Space};
use super::variables;

/// What names at module scope stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    /// A variable.
    Variable,
    /// A kernel or device function, and whether its body was read.
    Function {
        /// Whether its body was read, or is being read.
        defined: bool,
    },
}

/// The names at module scope that were declared so far.
#[derive(Debug, Default)]
pub(super) struct Globals<'a> {
    names: HashMap<&'a str, Global>,
    /// Bytes that may yet lie between the rows of initialisers; bounds the memory that a short text can ask for.
    pub(super) gaps: u64,
}

impl<'a> Globals<'a> {
    /// What a name stands for.
    pub(super) fn get(&self, name: &str) -> Option<Global> {
        self.names.get(name).copied()
    }

    /// Declares a variable.
    pub(super) fn variable(&mut self, name: &'a str, line: u32) -> Result<(), ReadError> {
        match self.names.insert(name, Global::Variable) {
            None => Ok(()),
            Some(Global::Variable | Global::Function { .. }) => Err(twice(name, line)),
        }
    }

    /// Declares a function, with a body or without.
    pub(super) fn function(&mut self, name: &'a str, body: bool, line: u32) -> Result<(), ReadError> {
        let before = match self.names.get(name) {
            None | Some(Global::Function { defined: false }) => false,
            Some(Global::Function { defined: true }) if !body => true,
            Some(Global::Variable | Global::Function { defined: true }) => return Err(twice(name, line)),
        };
        self.names.insert(name, Global::Function { defined: before || body });
        Ok(())
    }
}

/// That a name was declared before.
pub(super) fn twice(name: &str, line: u32) -> ReadError {
    ReadError::new(line, format!("`{}` is declared twice", shown(name)))
}

/// Reads a module.
pub(super) fn module(cursor: &mut Cursor<'_>) -> Result<Module, ReadError> {
    let mut module = Module { version: version(cursor)?, target: target(cursor)?, ..Module::default() };
    let mut globals = Globals { gaps: variables::GAPS, ..Globals::default() };
    while cursor.peek() != Kind::End {
        directive(cursor, &mut module, &mut globals)?;
    }
    Ok(module)
}

fn version(cursor: &mut Cursor<'_>) -> Result<(u32, u32), ReadError> {
    if !cursor.take_suffix("version") {
        return Err(cursor.unexpected("`.version` at the start of the module"));
    }
    let Kind::Number(digits) = cursor.peek() else { return Err(cursor.unexpected("a version such as 8.0")) };
    let numbers = digits.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    let version = numbers.ok_or_else(|| cursor.unexpected("a version such as 8.0"))?;
    cursor.advance();
    Ok(version)
}

fn target(cursor: &mut Cursor<'_>) -> Result<String, ReadError> {
    if !cursor.take_suffix("target") {
        return Err(cursor.unexpected("`.target` after the version"));
    }
    let target = cursor.word("an architecture such as sm_80")?.to_owned();
    while cursor.take_mark(',') {
        cursor.word("an option of the target")?;
    }
    Ok(target)
}

fn directive<'a>(cursor: &mut Cursor<'a>, module: &mut Module, globals: &mut Globals<'a>) -> Result<(), ReadError> {
    let line = cursor.line();
    let name = cursor.suffix("a directive")?;
    match name {
        "address_size" => match cursor.number("the size of an address")? {
            64 => Ok(()),
            size => Err(ReadError::new(line, format!("addresses of {size} bits aren't supported, only of 64"))),
        },
        "file" => {
            module.files.push(file(cursor)?);
            Ok(())
        }
        "section" => {
            cursor.suffix("the name of a section")?;
            cursor.skip_braces()
        }
        "pragma" => pragma(cursor),
        "visible" | "weak" | "common" | "extern" => {
            let line = cursor.line();
            let behind = cursor.suffix("a function or a state space")?;
            declaration(cursor, behind, name == "extern", line, module, globals)
        }
        _ => declaration(cursor, name, false, line, module, globals),
    }
}

/// What `.name` at `line` begins; `external` says that it came behind `.extern`.
fn declaration<'a>(
    cursor: &mut Cursor<'a>,
    name: &str,
    external: bool,
    line: u32,
    module: &mut Module,
    globals: &mut Globals<'a>,
) -> Result<(), ReadError> {
    let space = match name {
        "entry" | "func" => {
            module.functions.extend(functions::function(cursor, name == "entry", globals)?);
            return Ok(());
        }
        "global" => Space::Global,
        "const" => Space::Const,
        "shared" => Space::Shared,
        _ => return Err(ReadError::new(line, format!("the directive `.{}` isn't supported here", shown(name)))),
    };
    let variables = variables::declaration(cursor, space, external, globals, |name, line, globals| {
        globals.variable(name, line)?;
        Ok(name.to_owned())
    })?;
    module.variables.extend(variables);
    Ok(())
}

/// `.file NUMBER "NAME"` with, at times, a date and a size.
pub(super) fn file(cursor: &mut Cursor<'_>) -> Result<(u32, String), ReadError> {
    let number = cursor.number("the number of a file")?;
    let name = cursor.text("the name of a file")?.to_owned();
    while cursor.take_mark(',') {
        super::constant::integer(cursor, "the date or the size of a file")?;
    }
    Ok((number, name))
}

/// `.pragma "TEXT", ...;`, which says nothing about meaning.
pub(super) fn pragma(cursor: &mut Cursor<'_>) -> Result<(), ReadError> {
    cursor.text("the text of a pragma")?;
    while cursor.take_mark(',') {
        cursor.text("the text of a pragma")?;
    }
    cursor.mark(';')
}
