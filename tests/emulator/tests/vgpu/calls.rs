//! Calls: under divergence, recursive, through registers; their parameters and results.

use kwc_emulator::counters::{Class, Issued};
use kwc_emulator::findings::Kind;
use kwc_emulator::gpu::Fault;

use crate::control::{NOTHING, check, module};
use crate::ptx::launch;

/// `twice(x) = 2x`, and `fib(x)` by recursion.
const FUNCTIONS: &str = "
.func (.param .b32 result) twice(.param .b32 x)
{
        .reg .b32 %r<2>;
        ld.param.b32 %r0, [x];
        add.u32 %r0, %r0, %r0;
        st.param.b32 [result], %r0;
        ret;
}
.func (.param .b32 result) fib(.param .b32 x)
{
        .reg .b32 %r<4>;
        .reg .pred %p;
        ld.param.u32 %r0, [x];
        st.param.b32 [result], %r0;
        setp.lt.u32 %p, %r0, 2;
        @%p ret;
        sub.u32 %r1, %r0, 1;
        {
        .param .b32 in;
        .param .b32 out;
        st.param.b32 [in], %r1;
        call (out), fib, (in);
        ld.param.b32 %r2, [out];
        }
        sub.u32 %r1, %r0, 2;
        {
        .param .b32 in;
        .param .b32 out;
        st.param.b32 [in], %r1;
        call (out), fib, (in);
        ld.param.b32 %r3, [out];
        }
        add.u32 %r2, %r2, %r3;
        st.param.b32 [result], %r2;
}
";

/// A call of a function of one number.
fn call(function: &str, guard: &str) -> String {
    format!(
        "{{
        .param .b32 in;
        .param .b32 out;
        st.param.b32 [in], %r0;
        st.param.b32 [out], 77;
        {guard} call (out), {function}, (in);
        ld.param.b32 %x, [out];
        }}"
    )
}

fn fib(n: u32) -> u32 {
    (0..n).fold((0, 1), |(a, b), _| (b, a + b)).0
}

#[test]
fn a_call() {
    check(FUNCTIONS, &format!("add.u32 %r0, %t, 5;\n{}", call("twice", "")), |t| 2 * (t + 5));
}

#[test]
fn a_call_of_some_lanes() {
    let body = format!("mov.u32 %r0, %t;\nsetp.gt.u32 %p0, %t, 20;\n{}", call("twice", "@%p0"));
    check(FUNCTIONS, &body, |t| if t > 20 { 2 * t } else { 77 });
}

#[test]
fn calls_of_diverged_lanes() {
    let body = format!(
        "mov.u32 %r0, %t;
        and.b32 %r1, %t, 1;
        setp.eq.u32 %p0, %r1, 0;
        @%p0 bra EVEN;
        {}
        bra JOIN;
        EVEN:
        rem.u32 %r0, %t, 11;
        {}
        JOIN:
        activemask.b32 %r2;
        setp.ne.u32 %p1, %r2, -1;
        @%p1 mov.u32 %x, 0;",
        call("twice", ""),
        call("fib", "")
    );
    check(FUNCTIONS, &body, |t| if t % 2 == 1 { 2 * t } else { fib(t % 11) });
}

#[test]
fn recursion_of_a_different_depth_in_every_lane() {
    let body = format!("rem.u32 %r0, %t, 13;\n{}", call("fib", ""));
    check(FUNCTIONS, &body, |t| fib(t % 13));
}

#[test]
fn functions_that_call_each_other() {
    // Whether a number is even, by a way down.
    let functions = ["even", "odd"].map(|name| {
        let other = if name == "even" { "odd" } else { "even" };
        format!(
            ".func (.param .b32 result) {name}(.param .b32 x)
            {{
            .reg .b32 %r<2>;
            .reg .pred %p;
            .param .b32 in;
            .param .b32 out;
            ld.param.b32 %r0, [x];
            setp.ne.u32 %p, %r0, 0;
            @%p bra ON;
            st.param.b32 [result], {};
            ret;
            ON:
            sub.u32 %r0, %r0, 1;
            st.param.b32 [in], %r0;
            call (out), {other}, (in);
            ld.param.b32 %r1, [out];
            st.param.b32 [result], %r1;
            ret;
            }}\n",
            u32::from(name == "even")
        )
    });
    let first = ".func (.param .b32 result) odd(.param .b32 x);\n";
    let body = format!("mov.u32 %r0, %t;\n{}", call("even", ""));
    check(&(first.to_owned() + &functions.concat()), &body, |t| u32::from(t % 2 == 0));
}

#[test]
fn a_function_that_ends_its_threads() {
    let functions = ".func (.param .b32 result) most(.param .b32 x)
        {
        .reg .b32 %r<2>;
        .reg .pred %p<2>;
        ld.param.b32 %r0, [x];
        LOOP:
        sub.u32 %r0, %r0, 1;
        setp.eq.u32 %p0, %r0, 20;
        @%p0 exit;
        setp.gt.s32 %p1, %r0, 0;
        @%p1 bra LOOP;
        st.param.b32 [result], 3;
        ret;
        }\n";
    let body = format!(
        "mov.u32 %r0, %t;\nsetp.gt.u32 %p0, %t, 9;\n@!%p0 bra JOIN;\n{}\nJOIN:\nadd.u32 %x, %x, 1;",
        call("most", "")
    );
    check(functions, &body, |t| match t {
        0..=9 => 1,
        10..=20 => 4,
        _ => NOTHING,
    });
}

#[test]
fn calls_through_registers() {
    // The prototype goes ahead of its use, as NVRTC puts it.
    let body = "mov.u64 %d0, twice;
        mov.u64 %d1, fib;
        rem.u32 %r0, %t, 9;
        rem.u32 %r1, %t, 3;
        setp.eq.u32 %p0, %r1, 0;
        selp.u64 %d2, %d0, %d1, %p0;
        {
        .param .b32 in;
        .param .b32 out;
        st.param.b32 [in], %r0;
        prototype: .callprototype (.param .b32 _) _ (.param .b32 _);
        call (out), %d2, (in), prototype;
        ld.param.b32 %x, [out];
        }
        activemask.b32 %r2;
        setp.ne.u32 %p1, %r2, -1;
        @%p1 mov.u32 %x, 0;";
    check(FUNCTIONS, body, |t| if t % 3 == 0 { 2 * (t % 9) } else { fib(t % 9) });
}

#[test]
fn calls_through_registers_behind_a_guard() {
    let body = "mov.u64 %d0, twice;
        mov.u64 %d1, fib;
        rem.u32 %r0, %t, 9;
        rem.u32 %r1, %t, 4;
        setp.eq.u32 %p0, %r1, 0;
        selp.u64 %d2, %d0, %d1, %p0;
        setp.ne.u32 %p1, %r1, 1;
        {
        .param .b32 in;
        .param .b32 out;
        st.param.b32 [in], %r0;
        st.param.b32 [out], 99;
        prototype: .callprototype (.param .b32 _) _ (.param .b32 _);
        @%p1 call (out), %d2, (in), prototype;
        ld.param.b32 %x, [out];
        }";
    check(FUNCTIONS, body, |t| match t % 4 {
        0 => 2 * (t % 9),
        1 => 99,
        _ => fib(t % 9),
    });
}

#[test]
fn calls_through_a_table_in_memory() {
    let functions = format!("{FUNCTIONS}.global .align 8 .u64 table[2] = {{twice, fib}};\n");
    let body = "rem.u32 %r0, %t, 9;
        and.b32 %r1, %t, 1;
        mov.u64 %d0, table;
        mad.wide.u32 %d0, %r1, 8, %d0;
        ld.global.u64 %d1, [%d0];
        {
        .param .b32 in;
        .param .b32 out;
        st.param.b32 [in], %r0;
        prototype: .callprototype (.param .b32 _) _ (.param .b32 _);
        call (out), %d1, (in), prototype;
        ld.param.b32 %x, [out];
        }";
    check(&functions, body, |t| if t % 2 == 0 { 2 * (t % 9) } else { fib(t % 9) });
}

#[test]
fn a_call_to_where_no_function_is() {
    let body = "mov.u64 %d1, 12345;
        {
        prototype: .callprototype _ ();
        call %d1, (), prototype;
        }";
    let outcome = launch(&module(FUNCTIONS, body), [1; 3], [64, 1, 1], &[0; 64]);
    assert_eq!(outcome.end, Err(Fault::Trap));
    assert_eq!(outcome.findings.iter().map(|finding| finding.kind).collect::<Vec<_>>(), [Kind::Trap]);
}

#[test]
fn recursion_without_end() {
    let functions = ".func forever() {\ncall forever;\nret;\n}\n";
    let outcome = launch(&module(functions, "call forever;"), [1; 3], [64, 1, 1], &[0; 64]);
    assert_eq!(outcome.end, Err(Fault::IllegalAddress));
    assert_eq!(outcome.findings.iter().map(|finding| finding.kind).collect::<Vec<_>>(), [Kind::Trap]);
}

#[test]
fn parameters_of_many_kinds() {
    let functions =
        ".func (.param .align 8 .b8 result[24]) many(.param .b8 a, .param .align 16 .b8 b[16], .param .b64 c,
        .param .b16 d)
        {
        .reg .b16 %h<2>;
        .reg .b32 %r<8>;
        .reg .b64 %d<4>;
        ld.param.s8 %r0, [a];
        ld.param.v4.b32 {%r1, %r2, %r3, %r4}, [b];
        ld.param.b64 %d0, [c];
        ld.param.s16 %r5, [d];
        add.u32 %r1, %r1, %r2;
        add.u32 %r1, %r1, %r3;
        add.u32 %r1, %r1, %r4;
        st.param.b32 [result], %r0;
        st.param.v2.b32 [result+8], {%r1, %r5};
        st.param.b64 [result+16], %d0;
        ret;
        }\n";
    let body = "add.u32 %r0, %t, 1;
        add.u32 %r1, %t, 2;
        add.u32 %r2, %t, 3;
        mov.b64 %d0, {%t, %t};
        neg.s32 %r3, %t;
        {
        .param .align 8 .b8 out[24];
        .param .b8 a;
        .param .align 16 .b8 b[16];
        .param .b64 c;
        .param .b16 d;
        st.param.b8 [a], %r3;
        st.param.v2.b32 [b+0], {%t, %r0};
        st.param.v2.b32 [b+8], {%r1, %r2};
        st.param.b64 [c], %d0;
        st.param.b16 [d], %r3;
        call (out), many, (a, b, c, d);
        ld.param.b32 %r4, [out];
        ld.param.v2.b32 {%r5, %r6}, [out+8];
        ld.param.b64 %d1, [out+16];
        }
        mov.b64 {%r7, %r8}, %d1;
        add.u32 %x, %r4, %r5;
        add.u32 %x, %x, %r6;
        mad.lo.u32 %x, %r7, 1000, %x;
        mad.lo.u32 %x, %r8, 100000, %x;";
    check(functions, body, |t| (4 * t + 6 + 1000 * t + 100_000 * t).wrapping_sub(2 * t));
}

#[test]
fn a_parameter_whose_address_is_taken() {
    // An array, one of whose elements is picked at run time; also through a generic address.
    let functions = ".func (.param .b32 result) pick(.param .align 4 .b8 list[16], .param .b32 n)
        {
        .reg .b32 %r<4>;
        .reg .b64 %d<4>;
        ld.param.u32 %r0, [n];
        mov.b64 %d0, list;
        mad.wide.u32 %d0, %r0, 4, %d0;
        ld.param.u32 %r1, [%d0];
        cvta.local.u64 %d1, %d0;
        ld.u32 %r2, [%d1];
        mad.lo.u32 %r1, %r1, 1000, %r2;
        st.param.b32 [result], %r1;
        ret;
        }\n";
    let body = "and.b32 %r0, %t, 3;
        {
        .param .b32 out;
        .param .align 4 .b8 list[16];
        .param .b32 n;
        st.param.b32 [list], 5;
        st.param.b32 [list+4], 7;
        st.param.b32 [list+8], %t;
        st.param.b32 [list+12], 9;
        st.param.b32 [n], %r0;
        call (out), pick, (list, n);
        ld.param.b32 %x, [out];
        }";
    check(functions, body, |t| 1001 * [5, 7, t, 9][(t % 4) as usize]);
}

#[test]
fn no_function_has_the_address_zero() {
    // The functions come first in the module, so that one of them has number 0.
    let body = "mov.u64 %d0, twice;
        setp.ne.u64 %p0, %d0, 0;
        mov.u64 %d1, fib;
        setp.ne.and.u64 %p1, %d1, 0, %p0;
        setp.ne.and.u64 %p2, %d0, %d1, %p1;
        selp.u32 %x, 1, 0, %p2;";
    check(FUNCTIONS, body, |_| 1);
}

#[test]
fn calls_through_registers_are_counted_once_a_lane() {
    let body = "mov.u64 %d0, twice;
        mov.u64 %d1, fib;
        and.b32 %r1, %t, 1;
        setp.eq.u32 %p0, %r1, 0;
        selp.u64 %d2, %d0, %d1, %p0;
        mov.u32 %r0, 1;
        {
        .param .b32 in;
        .param .b32 out;
        st.param.b32 [in], %r0;
        prototype: .callprototype (.param .b32 _) _ (.param .b32 _);
        call (out), %d2, (in), prototype;
        ld.param.b32 %x, [out];
        }";
    let outcome = launch(&module(FUNCTIONS, body), [1; 3], [64, 1, 1], &[NOTHING; 64]);
    let calls: Vec<_> = outcome.counters.instructions.iter().filter(|one| one.opcode == "call").collect();
    // Two warps, each of which calls one function after the other. `fib(1)` calls nothing, so that its calls aren't listed.
    let [call] = calls[..] else { panic!("{calls:#?}") };
    assert_eq!((call.site.warps, call.site.threads, call.site.divergent), (4, 64, 2));
    assert_eq!(outcome.clean(), (0..64).map(|t| if t % 2 == 0 { 2 } else { 1 }).collect::<Vec<u32>>());
}

#[test]
fn calls_of_no_function() {
    for address in ["0", "4096", "123456789012345"] {
        let body = format!(
            "mov.u64 %d2, {address};
            {{
            prototype: .callprototype _ ();
            call %d2, (), prototype;
            }}"
        );
        let outcome = launch(&module("", &body), [1; 3], [32, 1, 1], &[0; 32]);
        assert_eq!(outcome.end, Err(Fault::Trap));
        assert!(outcome.findings[0].message.contains("where no device function is"), "{:#?}", outcome.findings);
    }
}

#[test]
fn recursion_with_many_registers_ends_before_the_host_s_memory_does() {
    // 20000 registers of 64 bits are 5 MB a warp and call. The words count how deep it came.
    let registers: String = (0..20_000).map(|n| format!("mov.u64 %d{n}, 1;\n")).collect();
    let functions = format!(
        ".func deep(.param .b64 at)
        {{
        .reg .b64 %d<20000>, %at;
        .param .b64 next;
        ld.param.u64 %at, [at];
        red.global.add.u32 [%at], 1;
        {registers}
        st.param.u64 [next], %at;
        call deep, (next);
        ret;
        }}\n"
    );
    let body = ".param .b64 at;\nst.param.u64 [at], %at;\ncall deep, (at);";
    let outcome = launch(&module(&functions, body), [1; 3], [32, 1, 1], &[0; 32]);
    assert!((2..100).contains(&outcome.words()[0]), "{} calls", outcome.words()[0]);
    assert_eq!(outcome.end, Err(Fault::IllegalAddress));
    assert_eq!(outcome.findings[0].kind, Kind::Trap);
    assert!(outcome.findings[0].message.contains("nested too deeply"), "{:#?}", outcome.findings);
}

#[test]
fn what_loops_call_is_in_loops() {
    // A leaf under a function that is called in a loop, and one that calls itself.
    let functions = ".func leaf()
        {
        .reg .f32 %f;
        mov.f32 %f, 0f3F800000;
        add.f32 %f, %f, %f;
        ret;
        }
        .func above()
        {
        call leaf;
        ret;
        }\n";
    let once = "call above;";
    let looped = "mov.u32 %r0, 0;
        LOOP:
        call above;
        add.u32 %r0, %r0, 1;
        setp.lt.u32 %p0, %r0, 3;
        @%p0 bra LOOP;";
    let adds = |body: &str| {
        let counters = launch(&module(functions, body), [1; 3], [64, 1, 1], &[0; 64]).counters;
        let of =
            |list: &[(Class, Issued)]| list.iter().find(|(class, _)| *class == Class::F32).map(|(_, one)| one.warps);
        (of(&counters.classes), of(&counters.in_loops))
    };
    assert_eq!(adds(once), (Some(2), None));
    assert_eq!(adds(looped), (Some(6), Some(6)));
    let recursive = format!("rem.u32 %r0, %t, 5;\n{}", call("fib", ""));
    let counters = launch(&module(FUNCTIONS, &recursive), [1; 3], [64, 1, 1], &[0; 64]).counters;
    let looped = counters.in_loops.iter().find(|(class, _)| *class == Class::Control).expect("its calls");
    assert!(looped.1.warps > 8, "{looped:?}");
}
