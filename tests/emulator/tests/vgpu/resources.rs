//! What a kernel takes: registers, shared memory, local memory.

use std::fmt::Write as _;

use kwc_emulator::gpu::{Module, Shape};
use kwc_emulator::options::Checks;

use crate::ptx::{HEAD, device, launch};

#[track_caller]
fn load(module: &str) -> Module {
    device(Checks::NONE, 1, 1).load(&format!("{HEAD}{module}")).unwrap_or_else(|error| panic!("{error}"))
}

/// A kernel in which 200 32-bit registers live at one time.
fn crowded(directives: &str) -> String {
    let mut text = format!(".visible .entry test(.param .u64 data) {directives}\n{{\n.reg .b32 %r<200>;\n");
    for pass in ["mov.u32 %r{}, %clock;", "add.u32 %r0, %r0, %r{};"] {
        for number in 0..200 {
            writeln!(text, "{}", pass.replace("{}", &number.to_string())).expect("a string takes it");
        }
    }
    text + "ret;\n}\n"
}

#[test]
fn registers_leave_room_for_the_threads_that_are_asked_for() {
    let registers = |directives: &str| load(&crowded(directives)).kernels["test"].registers;
    assert!((200..=210).contains(&registers("")));
    // 65536 registers for 1024 threads; for two blocks of 256; for what the kernel says itself.
    assert_eq!(registers(".maxntid 1024, 1, 1"), 64);
    assert_eq!(registers(".reqntid 32, 32, 1"), 64);
    assert_eq!(registers(".maxntid 256, 1, 1 .minnctapersm 2"), 128);
    assert_eq!(registers(".maxnreg 40"), 40);
    assert_eq!(registers(".maxntid 128, 1, 1"), registers(""));
    // What can't be counts as not said.
    assert_eq!(registers(".maxntid 1024, 1, 1 .minnctapersm 1000"), 64);
}

#[test]
fn shared_memory_of_functions_counts_where_they_are_called() {
    let module = ".shared .align 4 .b8 first[4096];
        .func small()
        {
        .shared .align 4 .b8 little[64];
        .reg .b32 %r;
        mov.u32 %r, little;
        ret;
        }
        .func large()
        {
        .shared .align 4 .b8 much[40000];
        .reg .b32 %r;
        mov.u32 %r, much;
        call small;
        ret;
        }
        .visible .entry none()
        {
        ret;
        }
        .visible .entry own()
        {
        .shared .align 4 .b8 mine[100];
        .reg .b32 %r;
        mov.u32 %r, mine;
        call small;
        ret;
        }
        .visible .entry both()
        {
        call large;
        ret;
        }
        .visible .entry named()
        {
        .reg .b32 %r;
        ld.shared.b32 %r, [first+4];
        ret;
        }\n";
    let module = load(module);
    let shared = |name: &str| module.kernels[name].static_shared;
    assert_eq!(["none", "own", "both", "named"].map(shared), [0, 164, 40064, 4096]);
}

#[test]
fn shared_memory_of_functions_lies_behind_the_kernel_s() {
    // Twice the same function, from kernels with different amounts of their own.
    let ptx = |own: u32| {
        format!(
            "{HEAD}.func put(.param .b32 value)
            {{
            .shared .align 4 .b8 little[128];
            .reg .b32 %r<4>;
            ld.param.u32 %r0, [value];
            mov.u32 %r1, %tid.x;
            mov.u32 %r2, little;
            mad.lo.u32 %r2, %r1, 4, %r2;
            st.shared.u32 [%r2], %r0;
            ret;
            }}
            .visible .entry test(.param .u64 data)
            {{
            .shared .align 4 .b8 mine[{own}];
            .reg .b32 %r<8>;
            .reg .b64 %d<4>;
            .param .b32 value;
            mov.u32 %r0, %tid.x;
            mov.u32 %r1, mine;
            mad.lo.u32 %r1, %r0, 4, %r1;
            st.shared.u32 [%r1], %r0;
            add.u32 %r2, %r0, 100;
            st.param.u32 [value], %r2;
            call put, (value);
            ld.shared.u32 %r3, [%r1];
            ld.shared.u32 %r4, [%r1+{own}];
            mad.lo.u32 %r3, %r3, 1000, %r4;
            ld.param.u64 %d0, [data];
            mad.wide.u32 %d0, %r0, 4, %d0;
            st.global.u32 [%d0], %r3;
            ret;
            }}\n"
        )
    };
    for own in [128, 4096] {
        let words = launch(&ptx(own), [1; 3], [32, 1, 1], &[0; 32]).clean();
        assert_eq!(words, (0..32).map(|t| 1000 * t + t + 100).collect::<Vec<_>>());
    }
}

#[test]
fn parameters_of_calls_are_no_local_memory() {
    let module = ".func f(.param .b32 x)
        {
        .local .align 4 .b8 array[40];
        ret;
        }
        .visible .entry calls()
        {
        .param .align 4 .b8 value[100];
        call f, (value);
        ret;
        }
        .visible .entry has()
        {
        .local .align 8 .b8 array[24];
        ret;
        }\n";
    let module = load(module);
    assert_eq!(["calls", "has"].map(|name| module.kernels[name].local), [40, 24]);
}

#[test]
fn a_launch_of_no_blocks_does_nothing() {
    let gpu = device(Checks::ALL, 1, 1);
    let module = gpu.load(&format!("{HEAD}.visible .entry test()\n{{\ntrap;\n}}\n")).expect("a module");
    let shape = Shape { grid: [0, 1, 1], block: [32, 1, 1], dynamic_shared: 0 };
    assert_eq!(gpu.launch(&module.kernels["test"], &shape, &[]), Ok(()));
}
