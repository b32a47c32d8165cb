//! A module's code: its functions decoded into one array of instructions.

use std::collections::{BTreeMap, HashMap};

use super::calls::{Called, Calls};
use super::decode::{Decoder, Fill, Layout, Symbol, Width};
use super::flow::{self, Next};
use super::instruction::{Decoded, Facts, Inst, NEGATED, UNGUARDED};
use super::ops;
use super::registers::{Sizes, WINDOW_LIMIT};
use crate::gpu::LoadError;
use crate::ptx::syntax::{
    Function, Instruction, LabelId, Module, Operand, SourceLine, Space, Statement, Type, Variable,
};

/// A module's code.
#[derive(Debug, Default)]
pub struct Code {
    /// All instructions, function after function, each closed by one that stands for its end.
    pub insts: Vec<Inst>,
    /// What is known of each.
    pub notes: Vec<Note>,
    /// The functions in the order of the text.
    pub functions: Vec<FunctionCode>,
    /// The names of source files, by number.
    pub files: HashMap<u32, String>,
}

impl Code {
    /// File and line of an instruction in the source, where the module has line information.
    #[must_use]
    pub fn source(&self, note: &Note) -> Option<(String, u32)> {
        let place = note.source?;
        Some((self.files.get(&place.file).cloned().unwrap_or_default(), place.line))
    }
}

/// What is known of an instruction.
#[derive(Debug, Clone)]
pub struct Note {
    /// Its line in the PTX text.
    pub line: u32,
    /// Its line in the source.
    pub source: Option<SourceLine>,
    /// Its opcode.
    pub opcode: String,
    /// What it is counted as.
    pub facts: Facts,
    /// Whether it is in a loop, of its function or of a function that calls it.
    pub in_loop: bool,
}

/// A function, decoded.
#[derive(Debug, Default)]
pub struct FunctionCode {
    /// Its name.
    pub name: String,
    /// Its first instruction.
    pub start: u32,
    /// The instruction that stands for its end.
    pub end: u32,
    /// Its registers.
    pub sizes: Sizes,
    /// Rows that are filled when it begins.
    pub fills: Vec<(Width, u32, Fill)>,
    /// Bytes of its frame in local memory: parameters and results, its own and those of calls, and its variables.
    pub frame: u32,
    /// Bytes of its `.local` variables.
    pub local: u32,
    /// Its parameters in its frame, for a device function: offset and bytes.
    pub parameters: Vec<(u32, u32)>,
    /// Its return values in its frame: offset and bytes.
    pub returns: Vec<(u32, u32)>,
    /// Whether it is a kernel.
    pub kernel: bool,
    /// What it calls.
    pub calls: Calls,
    /// What it calls in loops.
    pub calls_in_loops: Calls,
    /// Its narrowest access to shared or generic memory, and to global or generic, in bytes.
    pub narrowest: [u32; 2],
    /// Bytes of a kernel's own shared variables.
    pub shared: u32,
    /// An estimate of its registers.
    pub registers: u32,
}

/// Frames are multiples of this, and their variables begin at multiples of 4 at least.
const FRAME_ALIGNMENT: u32 = 16;

/// The most local memory of a thread, bytes.
pub const LOCAL_LIMIT: u32 = 512 << 10;

/// More shared memory than any block can have, bytes.
const SHARED_LIMIT: u32 = 1 << 20;

/// The most that a kernel's parameters take, bytes.
const PARAMETER_LIMIT: u32 = 32764;

type Result<T> = std::result::Result<T, LoadError>;

/// Decodes a function and appends it. `names` are those of the module: of globals, constants, shared variables and
/// functions.
///
/// # Errors
///
/// What the interpreter doesn't know.
pub fn append(code: &mut Code, function: &Function, names: &HashMap<String, Symbol>) -> Result<()> {
    let start = code.insts.len() as u32;
    let mut own = Own::default();
    let mut result = FunctionCode {
        name: function.name.clone(),
        kernel: function.kernel,
        start,
        narrowest: [16; 2],
        ..FunctionCode::default()
    };
    own.place_signature(function, &mut result)?;
    own.place_variables(function, &mut result)?;
    let instructions: Vec<&Instruction> = function
        .body
        .iter()
        .filter_map(|statement| match statement {
            Statement::Instruction(instruction) => Some(instruction),
            Statement::Label(_) => None,
        })
        .collect();
    let labels = label_places(function);
    let end = start + instructions.len() as u32;
    let symbols = |name: &str| own.symbols.get(name).or_else(|| names.get(name)).copied();
    let mut layout = Layout::new(function)?;
    let mut nexts = Vec::with_capacity(instructions.len());
    let mut called = Vec::with_capacity(instructions.len());
    for (place, instruction) in instructions.iter().enumerate() {
        let mut decoder = Decoder { function, instruction, symbols: &symbols, layout: &mut layout };
        let mut decoded = decode(&mut decoder)?;
        decoded.inst.guard = match instruction.guard {
            None => UNGUARDED,
            Some(guard) => {
                let slot = decoder.register(guard.register, Type::Pred)?;
                if guard.negated { slot | NEGATED } else { slot }
            }
        };
        let next = where_to(&decoder, &labels, place as u32, instructions.len() as u32)?;
        called.push(note_uses(&mut result, &decoder));
        nexts.push(next);
        push(code, decoded, instruction);
    }
    let flow = flow::analyse(&nexts);
    for (place, next) in nexts.iter().enumerate() {
        let pc = start as usize + place;
        let note = &mut code.notes[pc];
        note.in_loop = flow.loops[place] > 0;
        if let Some(called) = called[place] {
            result.calls.add(called);
            if note.in_loop {
                result.calls_in_loops.add(called);
            }
        }
        let meet = start + flow.meets[place];
        link(&mut code.insts[pc], next, start, meet, end);
    }
    push_end(code, function);
    result.end = end;
    result.sizes = layout.sizes;
    result.fills = layout.fills;
    result.frame = result.frame.next_multiple_of(FRAME_ALIGNMENT);
    let bytes = result.sizes.bytes();
    if bytes > WINDOW_LIMIT {
        return Err(LoadError {
            line: function.line,
            message: format!(
                "the registers of {} take {bytes} bytes a warp, the most that the interpreter has are {WINDOW_LIMIT}",
                function.name
            ),
        });
    }
    result.registers = super::pressure::estimate(function, &instructions, &nexts);
    code.functions.push(result);
    Ok(())
}

/// The first family whose own the instruction is.
fn decode(decoder: &mut Decoder<'_>) -> Result<Decoded> {
    for family in ops::FAMILIES {
        if let Some(decoded) = family(decoder)? {
            return Ok(decoded);
        }
    }
    Err(decoder.unknown())
}

fn push(code: &mut Code, decoded: Decoded, instruction: &Instruction) {
    code.insts.push(decoded.inst);
    code.notes.push(Note {
        line: instruction.line,
        source: instruction.source,
        opcode: instruction.to_string(),
        facts: decoded.facts,
        in_loop: false,
    });
}

fn push_end(code: &mut Code, function: &Function) {
    let decoded = ops::control::end();
    code.insts.push(decoded.inst);
    let line = code.notes.last().map_or(function.line, |note| note.line);
    code.notes.push(Note { line, source: None, opcode: "ret".to_owned(), facts: decoded.facts, in_loop: false });
}

/// Which instruction follows each label.
fn label_places(function: &Function) -> HashMap<LabelId, u32> {
    let mut places = HashMap::new();
    let mut next = 0;
    for statement in &function.body {
        match statement {
            Statement::Label(label) => {
                places.insert(*label, next);
            }
            Statement::Instruction(_) => next += 1,
        }
    }
    places
}

/// Where execution goes after the instruction at `place`.
fn where_to(decoder: &Decoder<'_>, labels: &HashMap<LabelId, u32>, place: u32, end: u32) -> Result<Next> {
    let instruction = decoder.instruction;
    let guarded = instruction.guard.is_some();
    let target =
        |label: &LabelId| labels.get(label).copied().ok_or_else(|| decoder.error("the label is not in this function"));
    let opcode = instruction.opcode.first().map_or("", String::as_str);
    Ok(match opcode {
        "bra" => {
            let Operand::Label(label) = decoder.operand(0)? else {
                return Err(decoder.error("a label is needed here"));
            };
            let target = target(label)?;
            if guarded { Next::Branch(vec![target, place + 1]) } else { Next::Jump(target) }
        }
        "brx" => {
            let Operand::BranchTable(table) = decoder.operand(1)? else {
                return Err(decoder.error("a table of branch targets is needed here"));
            };
            let (_, table) = decoder
                .function
                .branch_targets
                .get(*table as usize)
                .ok_or_else(|| decoder.error("the table is not in this function"))?;
            let mut targets: Vec<u32> = table.iter().map(target).collect::<Result<_>>()?;
            if guarded {
                targets.push(place + 1);
            }
            Next::Branch(targets)
        }
        "ret" | "exit" | "trap" if guarded => Next::Branch(vec![end, place + 1]),
        "ret" | "exit" | "trap" => Next::Leave,
        _ => Next::Through,
    })
}

/// Puts the places of its targets into a branch.
fn link(inst: &mut Inst, next: &Next, start: u32, meet: u32, end: u32) {
    match next {
        Next::Jump(target) => (inst.a, inst.b) = (start + target, meet),
        Next::Branch(targets) => {
            (inst.a, inst.b) = (start + targets.first().copied().unwrap_or(end - start), meet);
            if !inst.list.is_empty() {
                inst.list = targets.iter().map(|target| start + target).collect();
            }
        }
        Next::Through | Next::Leave => {}
    }
}

/// What only this function's body can name.
#[derive(Default)]
struct Own {
    symbols: HashMap<String, Symbol>,
}

impl Own {
    /// Parameters and return values. A kernel's lie in the parameter block, a device function's at the start of its
    /// frame.
    fn place_signature(&mut self, function: &Function, code: &mut FunctionCode) -> Result<()> {
        if function.kernel {
            let (places, bytes) = parameter_block(function);
            if bytes > PARAMETER_LIMIT {
                return Err(LoadError {
                    line: function.line,
                    message: format!("the parameters of {} take more than {PARAMETER_LIMIT} bytes", function.name),
                });
            }
            for ((offset, _), parameter) in places.iter().zip(&function.parameters) {
                self.symbols.insert(parameter.name.clone(), Symbol::Parameter(*offset));
            }
            return Ok(());
        }
        for (variables, places) in
            [(&function.parameters, &mut code.parameters), (&function.returns, &mut code.returns)]
        {
            for variable in variables {
                let offset = take(&mut code.frame, variable, LOCAL_LIMIT)?;
                places.push((offset, variable.size as u32));
                self.symbols.insert(variable.name.clone(), Symbol::Local(offset));
            }
        }
        Ok(())
    }

    fn place_variables(&mut self, function: &Function, code: &mut FunctionCode) -> Result<()> {
        for variable in &function.variables {
            let symbol = match variable.space {
                Space::Local | Space::Param | Space::Generic => {
                    let offset = take(&mut code.frame, variable, LOCAL_LIMIT)?;
                    if variable.space == Space::Local {
                        take(&mut code.local, variable, LOCAL_LIMIT)?;
                    }
                    Symbol::Local(offset)
                }
                Space::Shared if variable.external => Symbol::DynamicShared,
                // Shared variables of device functions are common, as the module's.
                Space::Shared if !function.kernel => continue,
                Space::Shared => Symbol::Shared(take(&mut code.shared, variable, SHARED_LIMIT)?),
                // Placed with the module's.
                Space::Global | Space::Const => continue,
            };
            self.symbols.insert(variable.name.clone(), symbol);
        }
        Ok(())
    }
}

/// Takes room for a variable out of `limit` bytes, and gives its offset.
fn take(used: &mut u32, variable: &Variable, limit: u32) -> Result<u32> {
    let offset = used.next_multiple_of(variable.align.max(4));
    let end = u64::from(offset).saturating_add(variable.size.next_multiple_of(4));
    match u32::try_from(end) {
        Ok(end) if end <= limit => {
            *used = end;
            Ok(offset)
        }
        Ok(_) | Err(_) => Err(LoadError {
            line: variable.line,
            message: format!("{} takes {} bytes where {} of {limit} are taken", variable.name, variable.size, offset),
        }),
    }
}

/// The parameter block of a kernel: offset and size of each parameter, and the size of the whole, in bytes.
#[must_use]
pub fn parameter_block(kernel: &Function) -> (Vec<(u32, u32)>, u32) {
    let mut used = 0u32;
    let places = kernel
        .parameters
        .iter()
        .map(|parameter| {
            let offset = used.checked_next_multiple_of(parameter.align.max(1)).unwrap_or(u32::MAX);
            used = offset.saturating_add(parameter.size as u32);
            (offset, parameter.size as u32)
        })
        .collect();
    (places, used)
}

/// The shared variables of a module and of its device functions, which are placed for each kernel anew; gives them numbers.
#[must_use]
pub fn common_shared<'a>(module: &'a Module, symbols: &mut HashMap<String, Symbol>) -> Vec<&'a Variable> {
    let of_functions =
        module.functions.iter().filter(|function| !function.kernel).flat_map(|function| &function.variables);
    let mut variables = Vec::new();
    for variable in module.variables.iter().chain(of_functions).filter(|variable| variable.space == Space::Shared) {
        let symbol = if variable.external {
            Symbol::DynamicShared
        } else {
            variables.push(variable);
            Symbol::CommonShared(variables.len() as u32 - 1)
        };
        symbols.insert(variable.name.clone(), symbol);
    }
    variables
}

/// Places the common shared variables that a kernel and the functions it `reached` name, behind `used` bytes of its own:
/// their offsets, by number, and how many bytes are used then.
///
/// # Errors
///
/// More than any device has.
pub fn place_common(
    variables: &[&Variable],
    reached: &[&FunctionCode],
    mut used: u32,
) -> Result<(BTreeMap<u32, u32>, u32)> {
    let mut places = BTreeMap::new();
    for (_, _, fill) in reached.iter().flat_map(|function| &function.fills) {
        if let Fill::CommonShared(number, _) = fill
            && let Some(variable) = variables.get(*number as usize)
            && !places.contains_key(number)
        {
            places.insert(*number, take(&mut used, variable, SHARED_LIMIT)?);
        }
    }
    Ok((places, used))
}

/// Notes how narrow an instruction's accesses are, and says what it calls.
fn note_uses(code: &mut FunctionCode, decoder: &Decoder<'_>) -> Option<Called> {
    let opcode = decoder.opcode();
    match opcode.first().copied().unwrap_or("") {
        "call" => {
            for operand in &decoder.instruction.operands {
                if let Operand::Symbol(name, _) = operand
                    && let Ok(Symbol::Function(number)) = decoder.lookup(name)
                {
                    return Some(Called::Function(number));
                }
            }
            return Some(Called::Any);
        }
        "ld" | "st" | "atom" | "red" | "ldu" => {
            let size =
                opcode.iter().filter_map(|part| Type::from_suffix(part)).map(Type::size).min().unwrap_or(1).max(1);
            let shared = !opcode.contains(&"global") && !opcode.contains(&"const") && !opcode.contains(&"param");
            let global = !opcode.iter().any(|part| part.starts_with("shared") || *part == "param" || *part == "local");
            if shared {
                code.narrowest[0] = code.narrowest[0].min(size);
            }
            if global {
                code.narrowest[1] = code.narrowest[1].min(size);
            }
        }
        "cp" | "ldmatrix" | "stmatrix" => {
            code.narrowest = code.narrowest.map(|size| size.min(4));
        }
        _ => {}
    }
    None
}
