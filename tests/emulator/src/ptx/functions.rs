//! Heads of kernels and device functions.

use super::ReadError;
use super::body;
use super::cursor::Cursor;
use super::module::{self, Globals};
use super::scope::Scopes;
use super::syntax::{Function, Variable};
use super::variables;

/// Reads what follows `.entry` or `.func`: a function, or nothing where it is only declared.
pub(super) fn function<'a>(
    cursor: &mut Cursor<'a>,
    kernel: bool,
    globals: &mut Globals<'a>,
) -> Result<Option<Function>, ReadError> {
    while cursor.take_suffix("attribute") {
        variables::attribute(cursor)?;
    }
    let mut scopes = Scopes::new();
    let mut function = Function { kernel, ..Function::default() };
    if !kernel {
        function.returns = parameters(cursor, Some(&mut scopes))?;
    }
    function.line = cursor.line();
    let name = cursor.word("the name of a function")?;
    name.clone_into(&mut function.name);
    function.parameters = parameters(cursor, Some(&mut scopes))?;
    directives(cursor, &mut function)?;
    let declared = cursor.take_mark(';');
    globals.function(name, !declared, function.line)?;
    if declared {
        return Ok(None);
    }
    body::body(cursor, &mut function, scopes, globals)?;
    Ok(Some(function))
}

/// Reads `(.param ..., .param ...)`, if it is there, and declares the names in `scopes`.
pub(super) fn parameters<'a>(
    cursor: &mut Cursor<'a>,
    mut scopes: Option<&mut Scopes<'a>>,
) -> Result<Vec<Variable>, ReadError> {
    let mut parameters = Vec::new();
    if !cursor.take_mark('(') || cursor.take_mark(')') {
        return Ok(parameters);
    }
    loop {
        let (name, mut parameter) = variables::parameter(cursor)?;
        if let Some(scopes) = &mut scopes {
            parameter.name = scopes.variable(name, parameter.line)?;
        }
        parameters.push(parameter);
        if !cursor.take_mark(',') {
            cursor.mark(')')?;
            return Ok(parameters);
        }
    }
}

/// Reads what stands between the head and the body.
fn directives(cursor: &mut Cursor<'_>, function: &mut Function) -> Result<(), ReadError> {
    while let Some(name) = cursor.peek_suffix() {
        match name {
            "maxntid" | "reqntid" => {
                cursor.advance();
                let threads = Some(cursor.dimensions("a number of threads")?);
                if name == "maxntid" {
                    function.max_threads = threads;
                } else {
                    function.required_threads = threads;
                }
            }
            "minnctapersm" => {
                cursor.advance();
                function.min_blocks = Some(cursor.number("a number of blocks")?);
            }
            "maxnreg" => {
                cursor.advance();
                function.max_registers = Some(cursor.number("a number of registers")?);
            }
            "maxnctapersm" | "maxclusterrank" | "abi_preserve" | "abi_preserve_control" => {
                cursor.advance();
                cursor.number("a number")?;
            }
            "reqnctapercluster" => {
                cursor.advance();
                cursor.dimensions("a number of blocks")?;
            }
            "noreturn" | "unique" | "explicitcluster" | "blocksareclusters" => cursor.advance(),
            "pragma" => {
                cursor.advance();
                module::pragma(cursor)?;
            }
            _ => return Err(cursor.unexpected("a directive of a function, `;` or `{`")),
        }
    }
    Ok(())
}
