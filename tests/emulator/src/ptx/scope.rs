//! The names of a function: registers, variables, labels, and the scopes that they are in.
//!
//! A label may be used before it is defined, in its own scope or in an inner one. A use is therefore entered in its own
//! scope and, where that ends without defining it, handed on to the scope around.

use std::collections::HashMap;

use super::ReadError;
use super::cursor::shown;
use super::module::twice;
use super::syntax::{LabelId, Register, RegisterId, Type};

/// The most scopes inside each other.
const DEPTH: usize = 64;

/// The most registers of a range.
const RANGE: u32 = 1 << 20;

/// What a name of a function stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Name {
    Register(RegisterId),
    /// A register that wasn't used yet.
    UnusedRegister(Type),
    /// What the syntax tree calls it.
    Variable(String),
    Label,
    /// Its place among the function's branch targets.
    BranchTable(u32),
    /// A `.callprototype` or `.calltargets`.
    Prototype,
}

/// `%r<9>`: the registers `%r0` to `%r8`.
#[derive(Debug)]
struct Range {
    ty: Type,
    count: u32,
    /// Those that were used.
    used: HashMap<u32, RegisterId>,
}

#[derive(Debug, Default)]
struct Scope<'a> {
    names: HashMap<&'a str, Name>,
    ranges: HashMap<&'a str, Range>,
    /// Labels that were used or defined, as places in [`Scopes::labels`].
    labels: HashMap<&'a str, usize>,
    /// The same, in order.
    ordered: Vec<usize>,
}

/// A label as one scope knows it.
#[derive(Debug)]
struct Label<'a> {
    name: &'a str,
    /// Line of its first use or its definition.
    line: u32,
    defined: bool,
    /// The label of the scope around that it turned out to be.
    outer: Option<usize>,
}

/// All scopes of a function.
#[derive(Debug)]
pub(super) struct Scopes<'a> {
    /// From the outermost to the current.
    open: Vec<Scope<'a>>,
    labels: Vec<Label<'a>>,
    registers: Vec<Register>,
    /// How often a name of a variable was declared.
    declared: HashMap<&'a str, u32>,
}

impl<'a> Scopes<'a> {
    /// The outermost scope, which parameters are in.
    pub(super) fn new() -> Self {
        Self { open: vec![Scope::default()], labels: Vec::new(), registers: Vec::new(), declared: HashMap::new() }
    }

    /// Whether no inner scope is open.
    pub(super) fn outermost(&self) -> bool {
        self.open.len() == 1
    }

    /// Begins a scope.
    pub(super) fn enter(&mut self, line: u32) -> Result<(), ReadError> {
        if self.open.len() > DEPTH {
            return Err(ReadError::new(line, format!("more than {DEPTH} scopes are inside each other")));
        }
        self.open.push(Scope::default());
        Ok(())
    }

    /// Ends the current scope and hands the labels that it uses and doesn't define on to the one around.
    pub(super) fn leave(&mut self) -> Result<(), ReadError> {
        let Some(scope) = self.open.pop() else { return Ok(()) };
        for index in scope.ordered {
            let Some(&Label { name, line, defined, .. }) = self.labels.get(index) else { continue };
            if defined {
                continue;
            }
            if self.open.is_empty() {
                return Err(ReadError::new(line, format!("the label `{}` isn't defined", shown(name))));
            }
            let outer = self.label(name, line);
            if let Some(label) = self.labels.get_mut(index) {
                label.outer = Some(outer);
            }
        }
        Ok(())
    }

    /// The place of a label of the current scope, entered if it isn't there.
    fn label(&mut self, name: &'a str, line: u32) -> usize {
        let index = self.labels.len();
        let Some(scope) = self.open.last_mut() else { return index };
        let found = *scope.labels.entry(name).or_insert(index);
        if found == index {
            scope.ordered.push(index);
            self.labels.push(Label { name, line, defined: false, outer: None });
        }
        found
    }

    /// A use of a label. The number is good until [`finish`](Self::finish).
    pub(super) fn use_label(&mut self, name: &'a str, line: u32) -> LabelId {
        LabelId(number(self.label(name, line)))
    }

    /// Defines a label. The number is good until [`finish`](Self::finish).
    pub(super) fn define_label(&mut self, name: &'a str, line: u32) -> Result<LabelId, ReadError> {
        self.declare(name, Name::Label, line)?;
        let index = self.label(name, line);
        if let Some(label) = self.labels.get_mut(index) {
            label.defined = true;
        }
        Ok(LabelId(number(index)))
    }

    /// Declares a name in the current scope.
    pub(super) fn declare(&mut self, name: &'a str, meaning: Name, line: u32) -> Result<(), ReadError> {
        let Some(scope) = self.open.last_mut() else { return Ok(()) };
        let covered =
            splits(name).any(|(prefix, number)| scope.ranges.get(prefix).is_some_and(|range| number < range.count));
        match scope.names.insert(name, meaning) {
            None if !covered => Ok(()),
            None | Some(_) => Err(twice(name, line)),
        }
    }

    /// Declares a variable and gives the name that it has in the syntax tree: one of its own, where another scope has
    /// one of this name. No name in the text has a dot in it.
    pub(super) fn variable(&mut self, name: &'a str, line: u32) -> Result<String, ReadError> {
        let count = self.declared.entry(name).or_insert(0);
        let unique = if *count == 0 { name.to_owned() } else { format!("{name}.{count}") };
        *count += 1;
        self.declare(name, Name::Variable(unique.clone()), line)?;
        Ok(unique)
    }

    /// Declares a register, which gets its number when it is used.
    pub(super) fn register(&mut self, name: &'a str, ty: Type, line: u32) -> Result<(), ReadError> {
        self.declare(name, Name::UnusedRegister(ty), line)
    }

    /// Declares the registers `prefix` 0 to `count` - 1, which get their numbers when they are used.
    pub(super) fn range(&mut self, prefix: &'a str, count: u32, ty: Type, line: u32) -> Result<(), ReadError> {
        if count > RANGE {
            let prefix = shown(prefix);
            return Err(ReadError::new(line, format!("`{prefix}<{count}>` has more than {RANGE} registers")));
        }
        let Some(scope) = self.open.last_mut() else { return Ok(()) };
        match scope.ranges.insert(prefix, Range { ty, count, used: HashMap::new() }) {
            None => Ok(()),
            Some(_) => Err(ReadError::new(line, format!("`{}<>` is declared twice", shown(prefix)))),
        }
    }

    /// What a name stands for in the current scope or those around it: never an unused register.
    ///
    /// # Errors
    ///
    /// It is declared twice, as a register of two ranges or as one of a range and by itself.
    pub(super) fn get(&mut self, name: &'a str, line: u32) -> Result<Option<Name>, ReadError> {
        for scope in self.open.iter_mut().rev() {
            let mut found = match scope.names.get_mut(name) {
                Some(known) => {
                    if let Name::UnusedRegister(ty) = *known {
                        *known = Name::Register(enter(&mut self.registers, name, ty));
                    }
                    Some(known.clone())
                }
                None => None,
            };
            for (prefix, index) in splits(name) {
                let Some(range) = scope.ranges.get_mut(prefix).filter(|range| index < range.count) else { continue };
                if found.is_some() {
                    return Err(twice(name, line));
                }
                let id = range.used.entry(index).or_insert_with(|| enter(&mut self.registers, name, range.ty));
                found = Some(Name::Register(*id));
            }
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The registers, the names of the labels, and, by the number that a label was given, the one that it has among
    /// those. All scopes must be left.
    pub(super) fn finish(self) -> (Vec<Register>, Vec<String>, Vec<LabelId>) {
        let mut names = Vec::new();
        let mut numbers: Vec<Option<LabelId>> = vec![None; self.labels.len()];
        for (index, label) in self.labels.iter().enumerate() {
            if label.outer.is_none() {
                if let Some(slot) = numbers.get_mut(index) {
                    *slot = Some(LabelId(number(names.len())));
                }
                names.push(label.name.to_owned());
            }
        }
        let resolved = (0..self.labels.len()).map(|index| {
            // At most one step a scope.
            let mut outermost = index;
            while let Some(outer) = self.labels.get(outermost).and_then(|label| label.outer) {
                outermost = outer;
            }
            numbers.get(outermost).copied().flatten().unwrap_or(LabelId(u32::MAX))
        });
        let resolved = resolved.collect();
        (self.registers, names, resolved)
    }
}

/// Adds a register.
fn enter(registers: &mut Vec<Register>, name: &str, ty: Type) -> RegisterId {
    let id = RegisterId(number(registers.len()));
    registers.push(Register { name: name.to_owned(), ty });
    id
}

/// A name as that of a register of a range: `%x12` may be number 12 of `%x` or number 2 of `%x1`.
fn splits(name: &str) -> impl Iterator<Item = (&str, u32)> {
    // As many digits as the largest range needs.
    (1..=7).filter_map(move |digits| {
        let (prefix, digits) = name.split_at_checked(name.len().checked_sub(digits)?)?;
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits.len() == 1 || !digits.starts_with('0'));
        if plain && !prefix.is_empty() { Some((prefix, digits.parse().ok()?)) } else { None }
    })
}

/// A place in a list as a number of 32 bits. A text of 4 GB would be needed for more.
fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
