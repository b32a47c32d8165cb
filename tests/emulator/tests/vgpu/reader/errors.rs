//! Errors and their lines; texts that were cut or changed.

use kwc_emulator::ptx::read;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::{SAMPLES, instructions, kernel, show};

/// Errors of whole modules: the text, the line, what the message has in it.
#[test]
fn errors_of_modules() {
    let head = ".version 8.0\n.target sm_80\n.address_size 64\n";
    let cases = [
        ("", 1, "expected `.version` at the start of the module, found the end of the text"),
        (".version 8", 1, "expected a version such as 8.0, found `8`"),
        (".version 8.0 .entry", 1, "expected `.target` after the version, found `.entry`"),
        (".version 8.0\n.target sm_80 .address_size 32", 2, "addresses of 32 bits"),
        ("@.global .u32 a;", 4, "expected a directive, found `@`"),
        (".texref t;", 4, "`.texref` isn't supported here"),
        (".alias a, b;", 4, "`.alias` isn't supported here"),
        ("\n/* x\n", 5, "the comment has no end"),
        (".file 1 \"x", 4, "the string has no end"),
        ("\u{e4}", 4, "the character '\u{e4}' isn't part of PTX"),
        (".section .debug {\n{ }", 4, "the brace isn't closed"),
        (".global .u32 a;\n.global .f32 a;", 5, "`a` is declared twice"),
        (".global .u32 f;\n.func f { ret; }", 5, "`f` is declared twice"),
        (".func f { ret; }\n.func f { ret; }", 5, "`f` is declared twice"),
        (".global .u32 a", 5, "expected `;`, found the end of the text"),
        (".global .pred a;", 4, "a predicate can't be in memory"),
        (".global .q32 a;", 4, "expected a type, found `.q32`"),
        (".global .align 3 .u32 a;", 4, "a power of two"),
        (".global .b8 a[4294967297];", 4, "larger than 4294967296 bytes"),
        (".global .b64 a[0x100000000][0x100000000];", 4, "larger than 4294967296 bytes"),
        (".shared .b8 a[300000];", 4, "larger than 232448 bytes"),
        (".const .b8 a[65537];", 4, "larger than 65536 bytes"),
        (".global .b8 a[1][1][1][1][1][1][1][1][1];", 4, "at most 8 dimensions"),
        (".global .b8 a[];", 4, "only an `.extern` variable"),
        (".global .b8 a[2] = {1, 2,\n3};", 5, "more elements than the array"),
        (".global .b8 a[2] = 1;", 4, "expected `{`, found `1`"),
        (".global .b8 a = 256;", 4, "doesn't fit"),
        (".global .b8 a = -129;", 4, "doesn't fit"),
        (".global .u32 a = 0d0000000000000000;", 4, "doesn't fit"),
        (".global .f32 a = 1;", 4, "doesn't fit"),
        (".global .u64 a = b;", 4, "`b` isn't declared"),
        (".global .u32 a = a;", 4, "an address needs a type of 64 bits"),
        (".global .b8 a[2] = {0xFF(a), 0xFF0000(a)};", 4, "must follow each other"),
        (".global .b8 a[2] = {0xFF(a), 1};", 4, "expected the next byte of an address"),
        (".global .b8 a[2] = {0xFF(a)};", 4, "expected the next byte of an address"),
        (".global .b8 a[9][0x10000000] = {{1}, {2}};", 4, "between rows"),
        (".shared .u32 a = 1;", 4, "only `.global` and `.const`"),
        (".entry k(.reg .u32 a) { ret; }", 4, "parameters in registers"),
        (".entry k(.param .u32 a, .param .u32 a) { ret; }", 4, "`a` is declared twice"),
        (".entry k(.param .b8 a[]) { ret; }", 4, "a parameter must have a size"),
        (".entry k() .maxntid x { ret; }", 4, "expected a number of threads, found `x`"),
        (".entry k() .strange { ret; }", 4, "expected a directive of a function, `;` or `{`, found `.strange`"),
        (".entry k() {\nret;\n", 7, "expected an instruction, a label, a directive or `}`, found the end"),
    ];
    for (index, (text, line, message)) in cases.into_iter().enumerate() {
        let text = if index < 4 { text.to_owned() } else { format!("{head}{text}\n") };
        let error = read(&text).expect_err(&text);
        assert_eq!(error.line, line, "{text}: {error}");
        assert!(error.message.contains(message), "{text}: {error}");
    }
}

/// Errors of bodies, the first line of which is 6.
#[test]
fn errors_of_functions() {
    let deep = "{".repeat(100);
    let parentheses = format!("mov.b32 %r0, {}1;", "(".repeat(100_000));
    let long = format!("mov.b32 %r0, {};", "a".repeat(1000));
    let cases = [
        ("mov.b32 %r0, %r1\nret;", 7, "expected `;`, found `ret`"),
        ("mov.b32 %r0, %r8;", 6, "`%r8` isn't declared"),
        ("mov.b32 %r0, %r01;", 6, "`%r01` isn't declared"),
        ("\nmov.b32 %r0, x;", 7, "`x` isn't declared"),
        ("{ .reg .b32 x; }\nmov.b32 %r0, x;", 7, "`x` isn't declared"),
        ("mov.b32 %r0, %tidy;", 6, "`%tidy` isn't declared"),
        ("mov.b32 %r0, %envreg;", 6, "`%envreg` isn't declared"),
        ("ret;\nbra A;\nbra A;", 7, "the label `A` isn't defined"),
        ("bra A;\n{ A: ret; }", 6, "the label `A` isn't defined"),
        ("{ { bra A; } }", 6, "the label `A` isn't defined"),
        ("A: ret;\nA: ret;", 7, "`A` is declared twice"),
        (".reg .b32 A;\nA: ret;", 7, "`A` is declared twice"),
        (".reg .f32 %f<2>;", 6, "`%f<>` is declared twice"),
        (".reg .f32 %f3;", 6, "`%f3` is declared twice"),
        (".reg .b32 %z1; .reg .b32 %z<2>;\nmov.b32 %z1, 0;", 7, "`%z1` is declared twice"),
        (".reg .b32 %r<4000000000>;", 6, "`%r<4000000000>` has more than 1048576 registers"),
        (".reg .b32 %r<5000000000>;", 6, "must be below 2^32"),
        (".reg .v2 .b32 v;", 6, "registers of vector type"),
        (".reg .strange v;", 6, "expected the type of a register, found `.strange`"),
        (".strange 5;", 6, "`.strange` isn't supported here"),
        ("@%r0x bra A;", 6, "`%r0x` isn't declared"),
        ("@tile ret;", 6, "`tile` isn't a register"),
        ("mov.b32 %r0, ;", 6, "expected an operand, found `;`"),
        ("mov.b32 %r0, 0f3F8;", 6, "`0f3F8` is no number"),
        ("mov.b32 %r0, 0x;", 6, "`0x` is no number"),
        ("mov.b32 %r0, 09;", 6, "`09` is no number"),
        ("mov.b32 %r0, 12ab;", 6, "`12ab` is no number"),
        ("mov.b64 %d0, 0x1FFFFFFFFFFFFFFFF;", 6, "is no number"),
        ("mov.b32 %r0, 1 + 1.5;", 6, "expected an integer, found a fraction"),
        ("ld.u32 %r0, [%d0;", 6, "expected `]`, found `;`"),
        ("ld.u32 %r0, [%d0+%d1];", 6, "expected a constant, found `%d1`"),
        ("ld.u32 %r0, [1.5];", 6, "an address begins with"),
        ("ld.v2.u32 {%r0, %r1, [%d0];", 6, "expected an operand, found `[`"),
        ("brx.idx %r0, k;", 6, "`k` isn't a list of branch targets"),
        ("call f;", 6, "`f` isn't declared"),
        ("call %d0;", 6, "expected `,` and a prototype, found `;`"),
        ("call %d0, P;", 6, "`P` isn't a prototype"),
        ("P: .calltargets f;", 6, "expected a function that is declared, found `f`"),
        ("P: .callprototype _ _;", 6, "expected `;`, found `_`"),
        (".param .b8 x[1000000];", 6, "larger than 524288 bytes"),
        (".loc 1 2;", 6, "expected a column, found `;`"),
        (&deep, 6, "more than 64 scopes"),
        (&parentheses, 6, "nested too deeply"),
        (&long, 6, "aaaaaaaaaa...` isn't declared"),
    ];
    for (body, line, message) in cases {
        let error = read(&kernel(body)).expect_err(body);
        assert_eq!(error.line, line, "{error}");
        assert!(error.message.contains(message), "{error}");
        assert!(error.message.len() < 200);
    }
}

#[test]
fn any_part_of_a_text_is_read_or_refused() {
    for (_, [text, _]) in SAMPLES {
        for cut in (0..text.len()).step_by(7) {
            let _ = read(&text[..cut]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_texts_are_read_or_refused(
        text in select(SAMPLES.iter().flat_map(|(_, texts)| texts).copied().collect::<Vec<_>>()),
        changes in prop::collection::vec((any::<Index>(), any::<Index>(), 0..24_usize, 0..3_u8), 1..6),
    ) {
        let mut bytes = text.as_bytes().to_vec();
        for (to, from, length, kind) in changes {
            let (to, from) = (to.index(bytes.len()), from.index(bytes.len()));
            let piece = bytes[from..(from + length).min(bytes.len())].to_vec();
            let end = if kind == 0 { to } else { (to + length).min(bytes.len()) };
            bytes.splice(to..end, if kind == 2 { vec![] } else { piece });
            if bytes.is_empty() {
                break;
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        let lines = text.bytes().filter(|&byte| byte == b'\n').count() + 1;
        match read(&text) {
            Ok(module) => {
                // Whatever the text, numbers are those of registers and labels that there are.
                for function in &module.functions {
                    for instruction in instructions(function) {
                        let _ = show(function, instruction);
                    }
                }
            }
            Err(error) => prop_assert!((1..=lines).contains(&(error.line as usize)), "{error}"),
        }
    }
}
