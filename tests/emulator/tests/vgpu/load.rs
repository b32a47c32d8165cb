//! What can't be loaded, and what is said of it.

use std::fmt::Write as _;

use kwc_emulator::gpu::LoadError;
use kwc_emulator::options::Checks;

use crate::ptx::{HEAD, device};

#[track_caller]
fn refusal(module: &str) -> LoadError {
    match device(Checks::NONE, 1, 1).load(&format!("{HEAD}{module}")) {
        Ok(_) => panic!("it was loaded"),
        Err(error) => error,
    }
}

/// The number of the line of a module that has a text, behind [`HEAD`].
fn line_of(module: &str, text: &str) -> u32 {
    let before = module.lines().position(|line| line.contains(text)).expect("the text is there");
    (HEAD.lines().count() + before + 1) as u32
}

#[test]
fn an_unknown_instruction_wherever_it_is() {
    let in_a_function_that_nobody_calls = ".func never()
        {
        .reg .b32 %r<2>;
        frobnicate.b32 %r0, %r1;
        ret;
        }
        .visible .entry test()
        {
        ret;
        }";
    let behind_the_end = ".visible .entry test()
        {
        .reg .b32 %r<2>;
        ret;
        frobnicate.b32 %r0, %r1;
        }";
    for module in [in_a_function_that_nobody_calls, behind_the_end] {
        let error = refusal(module);
        assert_eq!(error.line, line_of(module, "frobnicate"));
        assert!(error.message.contains("frobnicate.b32"), "{error}");
    }
}

#[test]
fn functions_without_a_body() {
    for (name, hint) in [
        ("vprintf", "printf"),
        ("malloc", "heap"),
        ("free", "heap"),
        ("__assertfail", "-DNDEBUG"),
        ("elsewhere", "not linked"),
    ] {
        let module = format!(
            ".extern .func (.param .b32 result) {name}(.param .b64 a);
            .visible .entry test()
            {{
            .param .b64 in;
            .param .b32 out;
            call.uni (out), {name}, (in);
            ret;
            }}"
        );
        let error = refusal(&module);
        assert_eq!(error.line, line_of(&module, "call.uni"));
        assert!(error.message.contains(&format!("{name} has no body")) && error.message.contains(hint), "{error}");
    }
}

/// A kernel with many declarations, of which each is small.
fn many(declaration: impl Fn(usize) -> String, count: usize) -> String {
    let mut text = ".visible .entry test()\n{\n".to_owned();
    for number in 0..count {
        writeln!(text, "{}", declaration(number)).expect("a string takes it");
    }
    text + "ret;\n}\n"
}

#[test]
fn more_memory_than_there_is() {
    // In all, more than 32 bits can say.
    let local = refusal(&many(|n| format!(".local .b8 v{n}[524288];"), 10_000));
    assert!(local.message.contains("v1 takes 524288 bytes"), "{local}");
    let shared = refusal(&many(|n| format!(".shared .b8 v{n}[200000];"), 30_000));
    assert!(shared.message.contains("v5 takes 200000 bytes"), "{shared}");
    let list: Vec<String> = (0..10_000).map(|n| format!(".param .align 16 .b8 p{n}[524288]")).collect();
    let parameters = refusal(&format!(".visible .entry test({})\n{{\nret;\n}}\n", list.join(", ")));
    assert!(parameters.message.contains("parameters of test"), "{parameters}");
    let functions = refusal(&format!(".func f({})\n{{\nret;\n}}\n", list.join(", ")));
    assert!(functions.message.contains("p1 takes 524288 bytes"), "{functions}");
}

#[test]
fn more_registers_than_a_warp_can_hold() {
    // Those that no instruction names take nothing.
    let declared = ".reg .b64 %d<200000>;";
    let module = format!("{HEAD}{}", many(|_| declared.to_owned(), 1));
    assert!(device(Checks::NONE, 1, 1).load(&module).is_ok());
    let error = refusal(&many(|n| if n == 0 { declared.to_owned() } else { format!("mov.u64 %d{n}, 1;") }, 200_000));
    assert!(error.message.contains("the registers of test take"), "{error}");
}
