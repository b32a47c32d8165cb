//! A strict reader of pickles, the part of a PyTorch archive that says which tensors it holds.
//!
//! A pickle is a program for a stack machine, which in Python may import and call anything. This machine has the
//! instructions of protocols 2 to 5 that build plain data, knows the few names in [`Global`], and calls nothing: where
//! Python would call, it puts a value of the right kind on the stack, or stops.
//!
//! Memory is bounded by the input: texts stay where they are, an instruction makes one value at most, and there are at
//! most [`MAX_VALUES`] values, stack entries and memo entries.

mod build;
mod input;
mod value;

use std::collections::BTreeMap;

pub(super) use input::{Fault, Problem};
use input::{Input, damaged};
use value::Global;
pub(super) use value::{Id, Pickle, Tensor, Value};

/// Values, stack entries and memo entries of the largest pickle that is read; a real network has some thousands.
const MAX_VALUES: usize = 1 << 20;

/// Reads a whole pickle.
pub(super) fn read(bytes: &[u8]) -> Result<Pickle<'_>, Fault> {
    let mut machine = Machine {
        input: Input { bytes, at: 0 },
        values: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: BTreeMap::new(),
    };
    loop {
        let offset = machine.input.at;
        match machine.step(offset) {
            Ok(None) => {}
            Ok(Some(root)) => return Ok(Pickle { values: machine.values, root }),
            Err(problem) => return Err(Fault { offset, problem }),
        }
    }
}

struct Machine<'a> {
    input: Input<'a>,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack at which a list of values begins.
    marks: Vec<usize>,
    memo: BTreeMap<usize, Id>,
}

impl<'a> Machine<'a> {
    /// Executes the instruction at `offset`. The last one yields the pickle's value.
    fn step(&mut self, offset: usize) -> Result<Option<Id>, Problem> {
        let Ok(opcode) = self.input.byte() else {
            return damaged("it ends before its last instruction");
        };
        #[expect(clippy::cast_possible_truncation, reason = "it was a byte")]
        let opcode = opcode as u8;
        if offset == 0 && opcode != 0x80 {
            return damaged("it doesn't begin as a pickle of protocol 2 or later");
        }
        match opcode {
            // Frame of the pickle.
            0x80 => self.protocol(offset)?,
            0x95 => self.frame()?,
            b'.' => return self.stop().map(Some),

            // Values that stand for themselves.
            b'N' => self.push(Value::None)?,
            0x88 | 0x89 => self.push(Value::Bool)?,
            b'K' => self.integer::<1>(|[a]| i64::from(a))?,
            b'M' => self.integer::<2>(|bytes| i64::from(u16::from_le_bytes(bytes)))?,
            b'J' => self.integer::<4>(|bytes| i64::from(i32::from_le_bytes(bytes)))?,
            0x8a => self.long_integer(Input::byte)?,
            0x8b => self.long_integer(Input::word)?,
            b'G' => {
                self.input.take(8)?;
                self.push(Value::Float)?;
            }
            0x8c => self.text(Input::byte)?,
            b'X' => self.text(Input::word)?,
            0x8d => self.text(Input::long)?,
            b'C' => self.bytes(Input::byte)?,
            b'B' => self.bytes(Input::word)?,
            0x8e | 0x96 => self.bytes(Input::long)?,

            // Containers.
            b')' => self.push(Value::Tuple(Vec::new()))?,
            b']' => self.push(Value::List)?,
            b'}' => self.push(Value::Dict(Vec::new()))?,
            0x8f => self.push(Value::Set)?,
            b'(' => self.mark()?,
            b't' => {
                let items = self.pop_to_mark()?;
                self.push(Value::Tuple(items))?;
            }
            0x85..=0x87 => {
                let mut items = Vec::new();
                for _ in 0x85..=opcode {
                    items.insert(0, self.pop()?);
                }
                self.push(Value::Tuple(items))?;
            }
            b'l' => {
                self.pop_to_mark()?;
                self.push(Value::List)?;
            }
            0x91 => {
                self.pop_to_mark()?;
                self.push(Value::Set)?;
            }
            b'd' => {
                let items = self.pop_to_mark()?;
                self.push(Value::Dict(Vec::new()))?;
                self.set_items(&items)?;
            }
            b'a' => {
                self.pop()?;
                self.expect_top("a list", |v| matches!(v, Value::List))?;
            }
            b'e' => {
                self.pop_to_mark()?;
                self.expect_top("a list", |v| matches!(v, Value::List))?;
            }
            0x90 => {
                self.pop_to_mark()?;
                self.expect_top("a set", |v| matches!(v, Value::Set))?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set_items(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.set_items(&items)?;
            }

            // The stack and the memo.
            b'0' => {
                self.pop()?;
            }
            b'1' => {
                self.pop_to_mark()?;
            }
            b'2' => {
                let top = self.top()?;
                self.push_id(top)?;
            }
            b'h' => self.get(Input::byte)?,
            b'j' => self.get(Input::word)?,
            b'q' => {
                let index = self.input.byte()?;
                self.put(index)?;
            }
            b'r' => {
                let index = self.input.word()?;
                self.put(index)?;
            }
            0x94 => self.put(self.memo.len())?,

            // Names, and what Python would call.
            b'c' => {
                let module = self.input.line()?;
                let name = self.input.line()?;
                self.global(module, name)?;
            }
            0x93 => {
                let name = self.pop()?;
                let module = self.pop()?;
                match (self.value(module), self.value(name)) {
                    (&Value::Text(module), &Value::Text(name)) => self.global(module, name)?,
                    (module, name) => return damaged(format!("a name is {} and {}", module.kind(), name.kind())),
                }
            }
            b'R' | 0x81 => {
                let arguments = self.pop()?;
                let callee = self.pop()?;
                self.call(callee, arguments)?;
            }
            b'b' => {
                // The attributes of an ordered dict (`_metadata`) and of a Namespace are no part of a state.
                self.pop()?;
                self.expect_top("a dict or a Namespace", |v| matches!(v, Value::Dict(_) | Value::Namespace))?;
            }
            b'Q' => {
                let id = self.pop()?;
                let storage = self.storage(id)?;
                self.push(Value::Storage(Box::new(storage)))?;
            }
            _ => {
                return Err(Problem::Unsupported(format!(
                    "it has an instruction {opcode:#04x} that `torch.save` never writes"
                )));
            }
        }
        Ok(None)
    }

    fn protocol(&mut self, offset: usize) -> Result<(), Problem> {
        let version = self.input.byte()?;
        if offset != 0 {
            return damaged("a second pickle begins inside it");
        }
        if !(2..=5).contains(&version) {
            return Err(Problem::Unsupported(format!("it is of protocol {version}, and 2 to 5 are read")));
        }
        Ok(())
    }

    fn frame(&mut self) -> Result<(), Problem> {
        let length = self.input.long()?;
        let left = self.input.bytes.len() - self.input.at;
        if length > left {
            damaged(format!("a frame of {length} bytes begins {left} bytes before its end"))
        } else {
            Ok(())
        }
    }

    fn stop(&mut self) -> Result<Id, Problem> {
        let root = self.pop()?;
        if !self.stack.is_empty() || !self.marks.is_empty() {
            return damaged("values are left over at its end");
        }
        if self.input.at != self.input.bytes.len() {
            return damaged("bytes follow its last instruction");
        }
        Ok(root)
    }

    fn value(&self, id: Id) -> &Value<'a> {
        self.values.get(id.0 as usize).unwrap_or(&Value::None)
    }

    fn push(&mut self, value: Value<'a>) -> Result<(), Problem> {
        if self.values.len() >= MAX_VALUES {
            return Err(Problem::Unsupported(format!("it has more than {MAX_VALUES} values, which no state dict has")));
        }
        #[expect(clippy::cast_possible_truncation, reason = "MAX_VALUES fits")]
        let id = Id(self.values.len() as u32);
        self.values.push(value);
        self.push_id(id)
    }

    fn push_id(&mut self, id: Id) -> Result<(), Problem> {
        if self.stack.len() >= MAX_VALUES {
            return damaged(format!("its stack grows beyond {MAX_VALUES} values"));
        }
        self.stack.push(id);
        Ok(())
    }

    fn top(&self) -> Result<Id, Problem> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.last() {
            Some(&id) if self.stack.len() > floor => Ok(id),
            Some(_) | None => damaged("an instruction lacks a value to work on"),
        }
    }

    fn pop(&mut self) -> Result<Id, Problem> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn mark(&mut self) -> Result<(), Problem> {
        if self.marks.len() >= MAX_VALUES {
            return damaged(format!("it nests more than {MAX_VALUES} lists"));
        }
        self.marks.push(self.stack.len());
        Ok(())
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, Problem> {
        match self.marks.pop() {
            Some(height) if height <= self.stack.len() => Ok(self.stack.split_off(height)),
            Some(_) | None => damaged("a list of values ends that never began"),
        }
    }

    fn expect_top(&self, what: &str, fits: impl Fn(&Value<'a>) -> bool) -> Result<(), Problem> {
        let top = self.value(self.top()?);
        if fits(top) { Ok(()) } else { damaged(format!("{} stands where {what} is filled", top.kind())) }
    }

    fn set_items(&mut self, items: &[Id]) -> Result<(), Problem> {
        let (pairs, rest) = items.as_chunks();
        if !rest.is_empty() {
            return damaged("a key of a dict has no value");
        }
        let top = self.top()?;
        match self.values.get_mut(top.0 as usize) {
            Some(Value::Dict(entries)) => {
                entries.extend(pairs.iter().map(|&[key, value]| (key, value)));
                Ok(())
            }
            Some(other) => damaged(format!("{} stands where a dict is filled", other.kind())),
            None => damaged("an instruction lacks a value to work on"),
        }
    }

    fn put(&mut self, index: usize) -> Result<(), Problem> {
        let top = self.top()?;
        if self.memo.len() >= MAX_VALUES {
            return damaged(format!("it remembers more than {MAX_VALUES} values"));
        }
        self.memo.insert(index, top);
        Ok(())
    }

    fn get(&mut self, index: fn(&mut Input<'a>) -> Result<usize, Problem>) -> Result<(), Problem> {
        let index = index(&mut self.input)?;
        match self.memo.get(&index) {
            Some(&id) => self.push_id(id),
            None => damaged(format!("it recalls value {index}, which it never remembered")),
        }
    }

    fn integer<const N: usize>(&mut self, convert: fn([u8; N]) -> i64) -> Result<(), Problem> {
        let value = convert(self.input.array()?);
        self.push(Value::Int(value))
    }

    fn long_integer(&mut self, length: fn(&mut Input<'a>) -> Result<usize, Problem>) -> Result<(), Problem> {
        let length = length(&mut self.input)?;
        let digits = self.input.take(length)?;
        if length > 8 {
            return self.push(Value::LargeInt);
        }
        let sign = if digits.last().is_some_and(|&d| d >= 0x80) { 0xff } else { 0 };
        let mut bytes = [sign; 8];
        for (byte, &digit) in bytes.iter_mut().zip(digits) {
            *byte = digit;
        }
        self.push(Value::Int(i64::from_le_bytes(bytes)))
    }

    fn text(&mut self, length: fn(&mut Input<'a>) -> Result<usize, Problem>) -> Result<(), Problem> {
        let length = length(&mut self.input)?;
        let text = self.input.text(length)?;
        self.push(Value::Text(text))
    }

    fn bytes(&mut self, length: fn(&mut Input<'a>) -> Result<usize, Problem>) -> Result<(), Problem> {
        let length = length(&mut self.input)?;
        self.input.take(length)?;
        self.push(Value::Bytes)
    }

    fn global(&mut self, module: &str, name: &str) -> Result<(), Problem> {
        match Global::find(module, name) {
            Some(global) => self.push(Value::Global(global)),
            None => Err(Problem::Refused { module: module.to_owned(), name: name.to_owned() }),
        }
    }
}
