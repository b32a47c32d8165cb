//! Which functions of a module call which.

use std::collections::BTreeSet;

use super::code::{Code, FunctionCode};
use super::flow;

/// What an instruction calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Called {
    /// A function, by its number in the module.
    Function(u32),
    /// The function that a register holds.
    Any,
}

/// What a function calls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Calls {
    /// Functions that are called by name.
    pub named: BTreeSet<u32>,
    /// Whether there are calls through registers.
    pub any: bool,
}

impl Calls {
    /// Adds a call.
    pub fn add(&mut self, called: Called) {
        match called {
            Called::Function(number) => {
                self.named.insert(number);
            }
            Called::Any => self.any = true,
        }
    }
}

/// The functions that a function may call, and itself.
#[must_use]
pub fn reached(functions: &[FunctionCode], from: u32) -> Vec<u32> {
    let mut found = vec![false; functions.len()];
    follow(functions, vec![from], &mut found);
    (0..).zip(found).filter(|(_, found)| *found).map(|(number, _)| number).collect()
}

/// Marks the functions of `pending`, and all that they may call.
fn follow(functions: &[FunctionCode], mut pending: Vec<u32>, found: &mut [bool]) {
    let mut any = false;
    while let Some(number) = pending.pop() {
        if std::mem::replace(&mut found[number as usize], true) {
            continue;
        }
        let calls = &functions[number as usize].calls;
        pending.extend(&calls.named);
        if calls.any && !std::mem::replace(&mut any, true) {
            pending.extend((0..).zip(functions).filter(|(_, function)| !function.kernel).map(|(number, _)| number));
        }
    }
}

/// Says of all instructions of functions that are called in a loop, or that call themselves, that they are in one; and so
/// on for the functions that those call.
pub fn carry_loops(code: &mut Code) {
    let functions = &code.functions;
    let edges: Vec<(u32, u32)> = (0..)
        .zip(functions)
        .flat_map(|(from, function)| function.calls.named.iter().map(move |to| (from, *to)))
        .collect();
    let mut called: Calls = Calls::default();
    for function in functions {
        called.named.extend(&function.calls_in_loops.named);
        called.any |= function.calls_in_loops.any;
    }
    let cyclic = flow::in_cycles(functions.len(), &edges);
    let first = (0..).zip(functions).zip(cyclic).filter(|((number, function), cyclic)| {
        *cyclic || called.named.contains(number) || (called.any && !function.kernel)
    });
    let pending = first.map(|((number, _), _)| number).collect();
    let mut looped = vec![false; functions.len()];
    follow(functions, pending, &mut looped);
    for (function, _) in functions.iter().zip(looped).filter(|(_, looped)| *looped) {
        for note in &mut code.notes[function.start as usize..=function.end as usize] {
            note.in_loop = true;
        }
    }
}
