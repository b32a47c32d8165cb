//! Control flow: divergence, loops, tables of targets, returns and exits.

use kwc_emulator::findings::Kind;
use kwc_emulator::gpu::Fault;

use crate::ptx::{HEAD, launch};

/// A module with a kernel `test` around `body`, which finds its thread's number in `%t` and leaves a result in `%x`, to
/// be stored at the end. `functions` come first.
pub(crate) fn module(functions: &str, body: &str) -> String {
    format!(
        "{HEAD}{functions}
        .visible .entry test(.param .u64 data) {{
        .reg .b32 %t, %x, %r<16>;
        .reg .b64 %at, %d<8>;
        .reg .pred %p<8>;
        mov.u32 %t, %tid.x;
        ld.param.u64 %at, [data];
        mad.wide.u32 %at, %t, 4, %at;
        mov.u32 %x, 0;
        {body}
        st.global.u32 [%at], %x;
        ret;\n}}\n"
    )
}

/// What a result is of threads that don't store one.
pub(crate) const NOTHING: u32 = 0xffff_fff1;

/// Runs a kernel of [`module`] with 64 threads; nothing may be wrong.
#[track_caller]
fn results(functions: &str, body: &str) -> Vec<u32> {
    launch(&module(functions, body), [1; 3], [64, 1, 1], &[NOTHING; 64]).clean()
}

/// As [`results`], which must be what is expected of each thread.
#[track_caller]
pub(crate) fn check(functions: &str, body: &str, expected: impl Fn(u32) -> u32) {
    let expected: Vec<u32> = (0..64).map(expected).collect();
    assert_eq!(results(functions, body), expected);
}

#[test]
fn branches_inside_branches() {
    let body = "and.b32 %r0, %t, 1;
        setp.eq.u32 %p0, %r0, 0;
        @%p0 bra EVEN;
        and.b32 %r0, %t, 2;
        setp.eq.u32 %p0, %r0, 0;
        @!%p0 bra THREE;
        add.u32 %x, %x, 10;
        bra.uni ODD;
        THREE:
        add.u32 %x, %x, 30;
        ODD:
        add.u32 %x, %x, 1;
        bra JOIN;
        EVEN:
        and.b32 %r0, %t, 4;
        setp.ne.u32 %p0, %r0, 0;
        @%p0 bra JOIN;
        add.u32 %x, %x, 20;
        JOIN:
        mad.lo.u32 %x, %x, 1000, %t;";
    check("", body, |t| {
        let x = match t % 2 {
            0 if t & 4 != 0 => 0,
            0 => 20,
            _ if t & 2 != 0 => 31,
            _ => 11,
        };
        x * 1000 + t
    });
}

#[test]
fn a_loop_of_as_many_turns_as_a_lane_needs() {
    // How often n is halved, or tripled and incremented, until it is 1.
    let body = "add.u32 %r0, %t, 1;
        LOOP:
        setp.eq.u32 %p0, %r0, 1;
        @%p0 bra DONE;
        add.u32 %x, %x, 1;
        and.b32 %r1, %r0, 1;
        setp.eq.u32 %p1, %r1, 0;
        @%p1 bra HALVE;
        mad.lo.u32 %r0, %r0, 3, 1;
        bra LOOP;
        HALVE:
        shr.u32 %r0, %r0, 1;
        bra LOOP;
        DONE:";
    check("", body, |t| {
        let (mut n, mut steps) = (t + 1, 0);
        while n != 1 {
            n = if n % 2 == 0 { n / 2 } else { 3 * n + 1 };
            steps += 1;
        }
        steps
    });
}

#[test]
fn loops_inside_loops_with_break_and_continue() {
    let body = "mov.u32 %r0, 0;
        OUTER:
        add.u32 %r0, %r0, 1;
        setp.gt.u32 %p0, %r0, 9;
        @%p0 bra DONE;
        rem.u32 %r2, %t, 7;
        setp.eq.u32 %p0, %r0, %r2;
        @%p0 bra OUTER;
        mov.u32 %r1, 0;
        INNER:
        mad.lo.u32 %x, %x, 31, %r1;
        add.u32 %r1, %r1, 1;
        xor.b32 %r2, %r1, %t;
        and.b32 %r2, %r2, 7;
        setp.eq.u32 %p1, %r2, 0;
        @%p1 bra OUTER;
        setp.lt.u32 %p2, %r1, %r0;
        @%p2 bra INNER;
        setp.gt.u32 %p3, %x, 0xf0000000;
        @!%p3 bra OUTER;
        DONE:
        add.u32 %x, %x, %r0;";
    check("", body, |t| {
        let (mut x, mut i) = (0u32, 0);
        'outer: loop {
            i += 1;
            if i > 9 {
                break;
            }
            if i == t % 7 {
                continue;
            }
            let mut j = 0;
            loop {
                x = x.wrapping_mul(31).wrapping_add(j);
                j += 1;
                if (j ^ t) & 7 == 0 {
                    continue 'outer;
                }
                if j >= i {
                    break;
                }
            }
            if x > 0xf000_0000 {
                break;
            }
        }
        x.wrapping_add(i)
    });
}

#[test]
fn lanes_meet_behind_what_parted_them() {
    // The lanes that are together: in a branch, behind it, in each turn of a loop, behind that.
    let body = "and.b32 %r0, %t, 3;
        setp.eq.u32 %p0, %r0, 0;
        @%p0 bra SOME;
        setp.eq.u32 %p1, %r0, 1;
        @%p1 bra INSIDE;
        mov.u32 %r5, 0;
        INSIDE:
        activemask.b32 %r1;
        bra JOIN;
        SOME:
        activemask.b32 %r1;
        JOIN:
        activemask.b32 %r2;
        mov.u32 %r3, 0;
        mov.u32 %r4, 0;
        LOOP:
        activemask.b32 %r5;
        xor.b32 %r4, %r4, %r5;
        add.u32 %r3, %r3, 1;
        setp.le.u32 %p2, %r3, %r0;
        @%p2 bra LOOP;
        activemask.b32 %r6;
        setp.ne.u32 %p3, %r2, -1;
        @%p3 mov.u32 %r1, 0;
        setp.ne.u32 %p3, %r6, -1;
        @%p3 mov.u32 %r1, 0;
        xor.b32 %x, %r1, %r4;";
    check("", body, |t| {
        let lanes = |f: fn(u32) -> bool| (0..32).filter(|lane| f(lane % 4)).fold(0, |mask, lane| mask | 1u32 << lane);
        let in_branch = if t % 4 == 0 { lanes(|n| n == 0) } else { lanes(|n| n != 0) };
        // Turn n is for the lanes whose number modulo 4 is n at least.
        let turns = [lanes(|_| true), lanes(|n| n > 0), lanes(|n| n > 1), lanes(|n| n > 2)];
        in_branch ^ turns[..=(t % 4) as usize].iter().fold(0, |all, turn| all ^ turn)
    });
}

/// A table of four targets, the third twice, the first falling into the second.
const TABLE: &str = "
        ZERO:
        add.u32 %x, %x, 100;
        ONE:
        add.u32 %x, %x, 10;
        bra JOIN;
        TWO:
        add.u32 %x, %x, 200;
        JOIN:
        mad.lo.u32 %x, %x, 10, %r0;";

fn through_table(case: u32) -> u32 {
    match case {
        0 => 110,
        1 => 10,
        _ => 200,
    }
}

#[test]
fn a_table_of_targets() {
    let body = format!(
        "rem.u32 %r0, %t, 5;
        min.u32 %r1, %r0, 3;
        TARGETS: .branchtargets ZERO, ONE, TWO, TWO;
        brx.idx %r1, TARGETS;
        {TABLE}"
    );
    check("", &body, |t| through_table((t % 5).min(3)) * 10 + t % 5);
}

#[test]
fn a_table_of_targets_that_all_lanes_read_alike() {
    let body = format!(
        "mov.u32 %r0, 1;
        TARGETS: .branchtargets ZERO, ONE, TWO;
        brx.idx.uni %r0, TARGETS;
        {TABLE}"
    );
    check("", &body, |_| 101);
}

#[test]
fn a_table_of_targets_behind_a_guard() {
    let body = format!(
        "rem.u32 %r0, %t, 5;
        TARGETS: .branchtargets ZERO, ONE, TWO;
        setp.lt.u32 %p0, %r0, 3;
        @%p0 brx.idx %r0, TARGETS;
        add.u32 %x, %x, 7;
        bra JOIN;
        {TABLE}"
    );
    check("", &body, |t| if t % 5 < 3 { through_table(t % 5) * 10 + t % 5 } else { 70 + t % 5 });
}

#[test]
fn an_index_outside_of_the_table() {
    for guard in ["", "@%p0 "] {
        let body = format!(
            "mov.u32 %r0, %t;
            TARGETS: .branchtargets ZERO, ONE, TWO;
            setp.lt.u32 %p0, %r0, 4;
            @!%p0 mov.u32 %r0, 0;
            {guard}brx.idx %r0, TARGETS;
            {TABLE}"
        );
        let outcome = launch(&module("", &body), [1; 3], [64, 1, 1], &[0; 64]);
        assert_eq!(outcome.end, Err(Fault::Trap));
        let [finding] = &outcome.findings[..] else { panic!("{:#?}", outcome.findings) };
        assert_eq!((finding.kind, finding.thread), (Kind::Trap, [3, 0, 0]));
        assert!(finding.instruction.starts_with("brx.idx"), "{finding:#?}");
    }
}

#[test]
fn lanes_that_return_early() {
    for leave in ["ret", "exit"] {
        // Some before the loop, some in it, in any turn.
        let body = format!(
            "setp.eq.u32 %p0, %t, 5;
            @%p0 {leave};
            LOOP:
            add.u32 %x, %x, 1;
            setp.eq.u32 %p1, %x, %t;
            @%p1 {leave};
            setp.lt.u32 %p2, %x, 40;
            @%p2 bra LOOP;
            activemask.b32 %x;"
        );
        check("", &body, |t| match t {
            0 => 1,
            1..=40 => NOTHING,
            _ => 0xffff_fe00,
        });
    }
}

#[test]
fn all_lanes_of_a_branch_return() {
    let body = "setp.lt.u32 %p0, %t, 40;
        @%p0 bra SOME;
        mov.u32 %x, 5;
        bra JOIN;
        SOME:
        st.global.u32 [%at], %t;
        ret;
        JOIN:
        add.u32 %x, %x, 1;";
    check("", body, |t| if t < 40 { t } else { 6 });
}

#[test]
fn trap() {
    let body = "setp.eq.u32 %p0, %t, 33;\n@%p0 trap;";
    let outcome = launch(&module("", body), [1; 3], [64, 1, 1], &[0; 64]);
    assert_eq!(outcome.end, Err(Fault::Trap));
    let [finding] = &outcome.findings[..] else { panic!("{:#?}", outcome.findings) };
    assert_eq!((finding.kind, finding.thread), (Kind::Trap, [33, 0, 0]));
}

#[test]
fn what_only_passes_the_time() {
    check("", "nanosleep.u32 100;\npmevent 1;\nadd.u32 %x, %t, 1;", |t| t + 1);
}
