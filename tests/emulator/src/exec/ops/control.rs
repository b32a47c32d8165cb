//! Control: branches, calls, returns, and what only passes the time.

use super::Answer;
use crate::counters::Class;
use crate::exec::code::FunctionCode;
use crate::exec::context::Context;
use crate::exec::decode::{Decoder, Symbol};
use crate::exec::instruction::{Decoded, Facts, Inst, Op, Step};
use crate::exec::lanes::lanes;
use crate::exec::registers::WINDOW_LIMIT;
use crate::exec::warp::{Frame, NOWHERE, Split};
use crate::exec::window::fill;
use crate::exec::windows::function_at;
use crate::findings::Kind;
use crate::gpu::{Fault, LoadError};
use crate::ptx::syntax::{Operand, Type};

/// Calls that may be open at a time.
const DEPTH: usize = 4096;

/// The most local memory that nested calls may take, bytes a thread.
const STACK: u32 = 1 << 20;

/// Decodes control instructions.
///
/// # Errors
///
/// Forms that aren't known.
pub fn decode(decoder: &mut Decoder<'_>) -> Answer {
    let opcode = decoder.opcode();
    Ok(Some(match opcode.as_slice() {
        ["bra"] | ["bra", "uni"] => {
            decoder.expect_operands(1)?;
            decoder.make::<Branch>(Class::Control, |_| {})
        }
        ["brx", "idx"] | ["brx", "idx", "uni"] => {
            decoder.expect_operands(2)?;
            let index = decoder.source(0, Type::U32)?;
            let Operand::BranchTable(table) = decoder.operand(1)? else {
                return Err(decoder.error("a table of branch targets is needed here"));
            };
            let targets = decoder.function.branch_targets.get(*table as usize).map_or(0, |(_, targets)| targets.len());
            decoder.make::<BranchTable>(Class::Control, |inst| {
                (inst.c, inst.imm, inst.list) = (index, targets as i64, Box::new([0]));
            })
        }
        ["call"] | ["call", "uni"] => call(decoder)?,
        ["ret"] | ["ret", "uni"] => decoder.make::<Return>(Class::Control, |_| {}),
        ["exit"] => decoder.make::<Exit>(Class::Control, |_| {}),
        ["trap"] => decoder.make::<Trap>(Class::Control, |_| {}),
        ["nanosleep", "u32"] | ["brkpt"] | ["pmevent"] | ["pmevent", "mask"] => {
            decoder.make::<Nothing>(Class::Control, |_| {})
        }
        // Launches run one after the other: what a kernel waits for has ended when it begins.
        ["griddepcontrol", "launch_dependents" | "wait"] => decoder.make::<Nothing>(Class::Control, |_| {}),
        _ => return Ok(None),
    }))
}

/// What closes a function's code.
#[must_use]
pub fn end() -> Decoded {
    Decoded { inst: Inst::new::<Return>(), facts: Facts { class: Class::Control, tensor_multiply_adds: 0 } }
}

/// `call (results), function, (arguments)` with either list left out. Arguments and results are `.param` variables of
/// the caller, of which [`Inst::list`] has the offsets: how many arguments, they, the results.
fn call(decoder: &mut Decoder<'_>) -> Result<Decoded, LoadError> {
    let operands = decoder.instruction.operands.clone();
    let target = operands
        .iter()
        .position(|operand| matches!(operand, Operand::Symbol(..) | Operand::Register(_)))
        .ok_or_else(|| decoder.error("a function is needed here"))?;
    let offsets = |part: Option<&Operand>| -> Result<Vec<u32>, LoadError> {
        let Some(Operand::List(parts)) = part else { return Ok(Vec::new()) };
        parts
            .iter()
            .map(|part| {
                let Operand::Symbol(name, 0) = part else {
                    return Err(decoder.error("arguments and results must be .param variables"));
                };
                match decoder.lookup(name)? {
                    Symbol::Local(offset) => Ok(offset),
                    Symbol::Global(_)
                    | Symbol::Shared(_)
                    | Symbol::CommonShared(_)
                    | Symbol::DynamicShared
                    | Symbol::Parameter(_)
                    | Symbol::Function(_) => {
                        Err(decoder.error(format!("{name} is no .param variable of this function")))
                    }
                }
            })
            .collect()
    };
    let results = offsets(target.checked_sub(1).and_then(|place| operands.get(place)))?;
    let arguments = offsets(operands.get(target + 1))?;
    let list: Box<[u32]> = std::iter::once(arguments.len() as u32).chain(arguments).chain(results).collect();
    if let Operand::Symbol(name, 0) = &operands[target] {
        let number = match (decoder.symbols)(name) {
            Some(Symbol::Function(number)) => number,
            Some(_) => return Err(decoder.error(format!("{name} is no function"))),
            None => return Err(decoder.error(without_body(name))),
        };
        return Ok(decoder.make::<Call>(Class::Control, |inst| (inst.c, inst.list) = (number, list)));
    }
    let slot = decoder.source_of(&operands[target], Type::U64)?;
    Ok(decoder.make::<CallThrough>(Class::Control, |inst| (inst.c, inst.list) = (slot, list)))
}

/// Why a function can't be called that is declared only.
fn without_body(name: &str) -> String {
    let reason = match name {
        "vprintf" => "printf is not offered on the virtual GPU: take it out, or store to memory what it would show",
        "malloc" | "free" => "the heap of the device is not offered on the virtual GPU: allocate from the host",
        "__assertfail" => "assert is not offered on the virtual GPU: compile with -DNDEBUG",
        _ => "a module must hold all that it calls, since modules are not linked",
    };
    format!("{name} has no body in this module; {reason}")
}

/// `bra`, with the target in `a` and the meeting point in `b`.
struct Branch;

impl Op for Branch {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let (taken, next) = (cx.exec, cx.warp.pc + 1);
        if taken == cx.warp.active {
            cx.warp.pc = inst.a;
        } else {
            cx.worker.site(cx.warp.pc).divergent += 1;
            cx.warp.part(taken, inst.a, next, inst.b);
        }
        Step::Moved
    }
}

/// `brx.idx`, with the index in `c`, the targets in `list` (`imm` of them; a guarded one has the next instruction, too)
/// and the meeting point in `b`.
struct BranchTable;

impl Op for BranchTable {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let index = *cx.warp.registers.b32.row(inst.c);
        for lane in lanes(cx.exec) {
            if i64::from(index[lane]) >= inst.imm {
                cx.find(Kind::Trap, lane, None, || {
                    format!("branch to number {} of a table of {}", index[lane], inst.imm)
                });
                return cx.fault(Fault::Trap);
            }
        }
        let pc = cx.warp.pc;
        let rest = cx.warp.active & !cx.exec;
        let mut left = cx.exec;
        let mut parts = Vec::new();
        if rest != 0 {
            parts.push((pc + 1, rest));
        }
        while left != 0 {
            let target = inst.list[index[left.trailing_zeros() as usize] as usize];
            let part = lanes(left)
                .filter(|lane| inst.list[index[*lane] as usize] == target)
                .fold(0, |mask, lane| mask | 1 << lane);
            parts.push((target, part));
            left &= !part;
        }
        let warp = &mut *cx.warp;
        if let [(target, _)] = parts[..] {
            warp.pc = target;
            return Step::Moved;
        }
        cx.worker.site(pc).divergent += 1;
        let meet = inst.b;
        if meet != warp.meet {
            warp.splits.push(Split { pc: meet, mask: warp.active, meet: warp.meet });
        }
        warp.splits.extend(parts.iter().map(|(pc, mask)| Split { pc: *pc, mask: *mask, meet }));
        warp.active = 0;
        warp.settle()
    }
}

/// `call` of the function `c`.
struct Call;

impl Op for Call {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        enter(cx, inst, inst.c, cx.exec, cx.warp.pc + 1, cx.warp.active)
    }
}

/// `call` through the register `c`. Lanes that call different functions do so one function after the other.
struct CallThrough;

impl Op for CallThrough {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let functions = cx.warp.registers.b64.row(inst.c);
        let lane = cx.exec.trailing_zeros() as usize;
        let address = functions[lane];
        let same: u32 =
            lanes(cx.exec).filter(|lane| functions[*lane] == address).fold(0, |mask, lane| mask | 1 << lane);
        let functions = &cx.launch.code.functions;
        let number = function_at(address, functions.len()).filter(|number| !functions[*number as usize].kernel);
        let Some(number) = number else {
            cx.find(Kind::Trap, lane, Some(address), || format!("call of {address:#x}, where no device function is"));
            return cx.fault(Fault::Trap);
        };
        let pc = cx.warp.pc;
        if same == cx.exec {
            return enter(cx, inst, number, same, pc + 1, cx.warp.active);
        }
        // The others come back to this instruction, and are counted then; all meet behind it.
        let others = cx.exec & !same;
        let site = cx.worker.site(pc);
        site.divergent += 1;
        site.threads -= u64::from(others.count_ones());
        if cx.warp.meet != pc + 1 {
            cx.warp.splits.push(Split { pc: pc + 1, mask: cx.warp.active, meet: cx.warp.meet });
        }
        cx.warp.splits.push(Split { pc, mask: others, meet: pc + 1 });
        cx.warp.meet = pc + 1;
        enter(cx, inst, number, same, pc + 1, same)
    }
}

#[inline(never)]
fn enter(cx: &mut Context<'_>, inst: &Inst, number: u32, called: u32, back: u32, mask: u32) -> Step {
    let function: &FunctionCode = &cx.launch.code.functions[number as usize];
    let warp = &mut *cx.warp;
    let local = [warp.local_base, warp.local_top];
    let base = warp.local_top;
    let top = base.saturating_add(function.frame);
    let registers = warp.registers.bytes() + function.sizes.bytes();
    if warp.frames.len() >= DEPTH || top > STACK || registers > 2 * WINDOW_LIMIT {
        cx.find(Kind::Trap, called.trailing_zeros() as usize, None, || {
            format!(
                "calls are nested too deeply: {DEPTH} calls, {STACK} bytes of local memory a thread or {} bytes of \
                 registers a warp are the most",
                2 * WINDOW_LIMIT
            )
        });
        return cx.fault(Fault::IllegalAddress);
    }
    let arguments = inst.list.first().map_or(0, |count| *count as usize);
    let (arguments, results) = inst.list.get(1..).unwrap_or_default().split_at(arguments);
    for (from, (to, bytes)) in arguments.iter().zip(&function.parameters) {
        warp.local.copy(local[0] + from, base + to, *bytes, called);
    }
    let results =
        results.iter().zip(&function.returns).map(|(to, (from, bytes))| (base + from, local[0] + to, *bytes)).collect();
    let window = warp.registers.push(function.sizes);
    warp.frames.push(Frame {
        caller: Split { pc: back, mask, meet: warp.meet },
        window,
        local,
        splits: warp.splits.len(),
        called,
        inside: called,
        results,
    });
    (warp.local_base, warp.local_top) = (base, top);
    (warp.pc, warp.active, warp.meet) = (function.start, called, NOWHERE);
    fill(warp, cx.block, cx.launch, &function.fills);
    Step::Moved
}

/// `ret`, and the end of a function.
struct Return;

impl Op for Return {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, _inst: &Inst) -> Step {
        cx.warp.leave(cx.exec);
        if cx.warp.active == 0 { cx.warp.settle() } else { Step::Next }
    }
}

/// `exit`
struct Exit;

impl Op for Exit {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, _inst: &Inst) -> Step {
        cx.warp.exit(cx.exec);
        if cx.warp.active == 0 { cx.warp.settle() } else { Step::Next }
    }
}

/// `trap`
struct Trap;

impl Op for Trap {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, _inst: &Inst) -> Step {
        cx.find(Kind::Trap, cx.exec.trailing_zeros() as usize, None, || "the kernel executed trap".to_owned());
        cx.fault(Fault::Trap)
    }
}

/// What only passes the time.
struct Nothing;

impl Op for Nothing {
    #[inline(always)]
    fn run(_cx: &mut Context<'_>, _inst: &Inst) -> Step {
        Step::Next
    }
}
