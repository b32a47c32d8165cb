//! An estimate of the registers that a function needs.
//!
//! A register lives from where it is first written to where it is last read, in the order of the text; one that is
//! used in a loop and was written ahead of it lives to the loop's end. ptxas reorders and rematerialises, so what it
//! needs may be fewer, or more.

use super::flow::Next;
use crate::ptx::syntax::{Base, Function, Instruction, Operand, RegisterId};

/// Registers that every thread has beside those of the code.
const RESERVED: u32 = 4;

/// The most 32-bit registers that live at one time, within what a thread can have.
#[must_use]
pub fn estimate(function: &Function, instructions: &[&Instruction], nexts: &[Next]) -> u32 {
    // First and last place of each register.
    let mut lives: Vec<Option<(u32, u32)>> = vec![None; function.registers.len()];
    for (place, instruction) in (0u32..).zip(instructions) {
        let mut see = |register: RegisterId| {
            if let Some(life) = lives.get_mut(register.0 as usize) {
                let (first, last) = life.get_or_insert((place, place));
                (*first, *last) = ((*first).min(place), (*last).max(place));
            }
        };
        if let Some(guard) = instruction.guard {
            see(guard.register);
        }
        for operand in &instruction.operands {
            registers(operand, &mut see);
        }
    }
    let mut backward: Vec<(u32, u32)> = Vec::new();
    for (place, next) in (0u32..).zip(nexts) {
        match next {
            Next::Jump(target) if *target <= place => backward.push((*target, place)),
            Next::Branch(targets) => {
                backward.extend(targets.iter().filter(|target| **target <= place).map(|target| (*target, place)));
            }
            Next::Jump(_) | Next::Through | Next::Leave => {}
        }
    }
    // Inner loops end first.
    backward.sort_by_key(|(head, tail)| (*tail, std::cmp::Reverse(*head)));
    backward.dedup_by_key(|(_, tail)| *tail);
    const LOOPS: usize = 1024;
    for (head, tail) in backward.iter().take(LOOPS) {
        for (first, last) in lives.iter_mut().flatten() {
            if *first < *head && *last >= *head && *last < *tail {
                *last = *tail;
            }
        }
    }
    let mut change = vec![0i64; instructions.len() + 1];
    for (life, register) in lives.iter().zip(&function.registers) {
        if let Some((first, last)) = life {
            let words = i64::from(register.ty.size().div_ceil(4));
            change[*first as usize] += words;
            change[*last as usize] -= words;
        }
    }
    let (mut now, mut most) = (0, 0);
    for step in change {
        now += step;
        most = most.max(now);
    }
    (most as u32 + RESERVED).min(crate::driver::device::REGISTERS_PER_THREAD)
}

fn registers(operand: &Operand, see: &mut impl FnMut(RegisterId)) {
    match operand {
        Operand::Register(register) | Operand::Not(register) | Operand::Address(Base::Register(register), _) => {
            see(*register);
        }
        Operand::Pair(first, second) => {
            registers(first, see);
            registers(second, see);
        }
        Operand::Vector(parts) | Operand::List(parts) => parts.iter().for_each(|part| registers(part, see)),
        Operand::Integer(_)
        | Operand::F32(_)
        | Operand::F64(_)
        | Operand::Special(_)
        | Operand::Symbol(..)
        | Operand::Label(_)
        | Operand::BranchTable(_)
        | Operand::Address(Base::Symbol(_) | Base::None, _)
        | Operand::Sink => {}
    }
}
