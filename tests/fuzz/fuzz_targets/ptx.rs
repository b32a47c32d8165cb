//! Fuzzes the reader of PTX: whatever the text, it ends with a module or with an error on a line of the text.
//!
//! Run it as the target `spec`, with `-max_len=65536`; `tests/emulator/tests/vgpu/ptx/*.ptx` make a corpus.

#![no_main]

use kwc_emulator::ptx;
use kwc_emulator::ptx::syntax::{Operand, Statement};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| match ptx::read(text) {
    Ok(module) => {
        for function in &module.functions {
            for statement in &function.body {
                match statement {
                    Statement::Label(label) => assert!((label.0 as usize) < function.labels.len()),
                    Statement::Instruction(instruction) => {
                        for operand in &instruction.operands {
                            match operand {
                                Operand::Register(register) => assert!(function.type_of(*register).is_some()),
                                Operand::Label(label) => assert!((label.0 as usize) < function.labels.len()),
                                _ => {}
                            }
                        }
                    }
                }
            }
        }
        for variable in &module.variables {
            assert!(variable.initial.len() as u64 <= variable.size);
        }
    }
    Err(error) => {
        let lines = text.bytes().filter(|&byte| byte == b'\n').count() + 1;
        assert!((1..=lines).contains(&(error.line as usize)), "{error}");
    }
});
