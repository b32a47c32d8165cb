//! Barriers: with numbers and counts, arrivals, reductions; what goes wrong at them.

use kwc_emulator::findings::Kind;
use kwc_emulator::gpu::{Fault, Shape};

use crate::ptx::{HEAD, Outcome, launch_with};

/// A kernel around `body` that finds its thread's number in `%t`, its warp's in `%w`, and the address of its words in
/// `%data`. `%own` is the address of its own word in shared memory, of which there are 256.
fn kernel(body: &str) -> String {
    format!(
        "{HEAD}.visible .entry test(.param .u64 data) {{
        .shared .align 4 .b8 words[1024];
        .reg .b32 %t, %w, %own, %words, %x, %r<8>;
        .reg .b64 %data, %at;
        .reg .pred %p<8>;
        mov.u32 %t, %tid.x;
        shr.u32 %w, %t, 5;
        mov.u32 %words, words;
        mad.lo.u32 %own, %t, 4, %words;
        ld.param.u64 %data, [data];
        mad.wide.u32 %at, %t, 4, %data;
        {body}
        ret;\n}}\n"
    )
}

fn run(body: &str, threads: u32, seed: u64) -> Outcome {
    let shape = Shape { grid: [1; 3], block: [threads, 1, 1], dynamic_shared: 0 };
    launch_with(&kernel(body), shape, &vec![0; threads as usize], seed)
}

/// Runs a kernel whose warps take turns in several orders; nothing may be wrong, and every thread must have stored what
/// is expected.
#[track_caller]
fn check(body: &str, threads: u32, expected: impl Fn(u32) -> u32) {
    let expected: Vec<u32> = (0..threads).map(expected).collect();
    for seed in 0..20 {
        assert_eq!(run(body, threads, seed).clean(), expected, "seed {seed}");
    }
}

/// The only finding of a launch.
#[track_caller]
fn only(outcome: &Outcome, kind: Kind) -> &str {
    let [finding] = &outcome.findings[..] else { panic!("{:#?}", outcome.findings) };
    assert_eq!(finding.kind, kind, "{finding:#?}");
    &finding.message
}

/// Each thread writes, all meet, each reads what the thread with the opposite number wrote.
fn exchange(barrier: &str) -> String {
    format!(
        "mad.lo.u32 %x, %t, 3, 1;
        st.shared.u32 [%own], %x;
        {barrier}
        mov.u32 %r0, %ntid.x;
        sub.u32 %r0, %r0, %t;
        mad.lo.u32 %r0, %r0, 4, %words;
        ld.shared.u32 %x, [%r0+-4];
        st.global.u32 [%at], %x;"
    )
}

#[test]
fn all_threads_meet() {
    for barrier in [
        "bar.sync 0;",
        "bar.cta.sync 15;",
        "barrier.sync 3;",
        "barrier.cta.sync.aligned 7;",
        "bar.sync 1, 256;",
        "mov.u32 %r1, 5;\nbar.sync %r1;",
        "mov.u32 %r1, 5;\nmov.u32 %r2, %ntid.x;\nbarrier.sync %r1, %r2;",
    ] {
        check(&exchange(barrier), 256, |t| 3 * (255 - t) + 1);
    }
    // The last warp isn't full.
    check(&exchange("bar.sync 0;"), 72, |t| 3 * (71 - t) + 1);
}

#[test]
fn without_a_barrier_it_is_a_race() {
    let outcome = run(&exchange(""), 64, 0);
    assert!(!outcome.findings.is_empty());
    for finding in outcome.findings {
        assert!(matches!(finding.kind, Kind::SharedRace | Kind::Uninitialised), "{finding:#?}");
    }
}

#[test]
fn a_barrier_is_used_again_and_again() {
    // A hundred turns, in each of which every thread takes over its neighbour's number plus one.
    let body = "mov.u32 %x, %t;
        mov.u32 %r1, 0;
        mov.u32 %r2, %ntid.x;
        LOOP:
        st.shared.u32 [%own], %x;
        bar.sync 0;
        add.u32 %r0, %t, 1;
        rem.u32 %r0, %r0, %r2;
        mad.lo.u32 %r0, %r0, 4, %words;
        ld.shared.u32 %x, [%r0];
        add.u32 %x, %x, 1;
        bar.sync 0;
        add.u32 %r1, %r1, 1;
        setp.lt.u32 %p0, %r1, 100;
        @%p0 bra LOOP;
        st.global.u32 [%at], %x;";
    check(body, 96, |t| (t + 100) % 96 + 100);
}

#[test]
fn groups_of_warps_meet_at_barriers_of_their_own() {
    // Warps 0 and 1 at barrier 1, 2 and 3 at barrier 2, and so on; each exchanges inside its group, many times.
    let body = "shr.u32 %r3, %w, 1;
        add.u32 %r3, %r3, 1;
        mov.u32 %x, %t;
        mov.u32 %r1, 0;
        LOOP:
        st.shared.u32 [%own], %x;
        bar.sync %r3, 64;
        xor.b32 %r0, %t, 63;
        mad.lo.u32 %r0, %r0, 4, %words;
        ld.shared.u32 %x, [%r0];
        add.u32 %x, %x, %r3;
        bar.sync %r3, 64;
        add.u32 %r1, %r1, 1;
        setp.lt.u32 %p0, %r1, 11;
        @%p0 bra LOOP;
        st.global.u32 [%at], %x;";
    check(body, 256, |t| (t ^ 63) + 11 * (t / 64 + 1));
}

#[test]
fn producers_arrive_and_consumers_wait() {
    // Warp 0 hands numbers to warp 1 through one buffer, 20 times: barrier 1 says that it's full, 2 that it's empty.
    let body = "mov.u32 %r1, 0;
        mov.u32 %x, 0;
        and.b32 %r2, %t, 31;
        mad.lo.u32 %r2, %r2, 4, %words;
        setp.eq.u32 %p0, %w, 1;
        @%p0 bra CONSUMER;
        PRODUCER:
        mad.lo.u32 %r3, %r1, 100, %t;
        bar.sync 2, 64;
        st.shared.u32 [%r2], %r3;
        bar.arrive 1, 64;
        add.u32 %r1, %r1, 1;
        setp.lt.u32 %p1, %r1, 20;
        @%p1 bra PRODUCER;
        bra DONE;
        CONSUMER:
        bar.arrive 2, 64;
        bar.sync 1, 64;
        ld.shared.u32 %r3, [%r2];
        mad.lo.u32 %x, %x, 3, %r3;
        add.u32 %r1, %r1, 1;
        setp.lt.u32 %p1, %r1, 20;
        @%p1 bra CONSUMER;
        DONE:
        st.global.u32 [%at], %x;";
    check(body, 64, |t| {
        if t < 32 { 0 } else { (0..20).fold(0u32, |x, turn| x.wrapping_mul(3).wrapping_add(100 * turn + t - 32)) }
    });
}

#[test]
fn reductions() {
    // By how many of the threads have a number that is a multiple of 3.
    let body = "rem.u32 %r0, %t, 3;
        setp.eq.u32 %p0, %r0, 0;
        bar.red.popc.u32 %r1, 0, %p0;
        bar.red.popc.u32 %r2, 1, !%p0;
        setp.lt.u32 %p1, %t, 1000;
        bar.red.and.pred %p2, 2, %p1;
        bar.red.and.pred %p3, 2, %p0;
        barrier.cta.red.or.aligned.pred %p4, 3, %p0;
        barrier.red.or.pred %p5, 3, !%p1;
        mov.u32 %r3, %ntid.x;
        add.u32 %r3, %r3, 31;
        and.b32 %r3, %r3, 0xffffffe0;
        bar.red.popc.u32 %r4, 4, %r3, %p1;
        mad.lo.u32 %x, %r1, 1000, %r2;
        mad.lo.u32 %x, %r4, 1000000, %x;
        @%p2 or.b32 %x, %x, 0x10000000;
        @%p3 or.b32 %x, %x, 0x20000000;
        @%p4 or.b32 %x, %x, 0x40000000;
        @%p5 or.b32 %x, %x, 0x80000000;
        st.global.u32 [%at], %x;";
    for threads in [32, 40, 128, 201_u32] {
        let multiples = threads.div_ceil(3);
        let expected = (threads * 1_000_000 + multiples * 1000 + threads - multiples) | 0x5000_0000;
        check(body, threads, |_| expected);
    }
}

#[test]
fn reductions_in_a_loop() {
    // Threads count how many are left until none is.
    let body = "mov.u32 %x, 0;
        mov.u32 %r0, %t;
        LOOP:
        setp.gt.s32 %p0, %r0, 0;
        bar.red.popc.u32 %r1, 0, %p0;
        add.u32 %x, %x, %r1;
        sub.s32 %r0, %r0, 1;
        bar.red.or.pred %p1, 0, %p0;
        @%p1 bra LOOP;
        st.global.u32 [%at], %x;";
    check(body, 64, |_| 63 * 64 / 2);
}

#[test]
fn warps_that_end_are_not_waited_for() {
    // The last warp has nothing to do; PTX lets the others meet, but the barrier is for the whole block.
    let body = "setp.eq.u32 %p0, %w, 3;\n@%p0 exit;\nbar.sync 0;\nst.global.u32 [%at], %t;";
    let outcome = run(body, 128, 3);
    assert_eq!(outcome.end, Ok(()));
    assert_eq!(outcome.words(), (0..128).map(|t| if t < 96 { t } else { 0 }).collect::<Vec<_>>());
    assert!(only(&outcome, Kind::DivergentBarrier).contains("warp 3"));
    // With a count there is nothing wrong.
    check(&body.replace("bar.sync 0;", "bar.sync 0, 96;"), 128, |t| if t < 96 { t } else { 0 });
}

#[test]
fn a_part_of_a_warp() {
    let body = "setp.lt.u32 %p0, %t, 16;\n@%p0 bra SKIP;\nbar.sync 0;\nSKIP:\nst.global.u32 [%at], %t;";
    assert!(only(&run(body, 64, 0), Kind::DivergentBarrier).contains("0x0000ffff"));
}

#[test]
fn a_barrier_that_is_never_complete() {
    let outcome = run("setp.eq.u32 %p0, %w, 0;\n@%p0 bar.sync 1, 64;\n@!%p0 bar.sync 2, 64;", 64, 0);
    assert_eq!(outcome.end, Err(Fault::Deadlock));
    let message = only(&outcome, Kind::Deadlock);
    assert!(message.contains("barrier 1") && message.contains("barrier 2"), "{message}");
}

#[test]
fn operands_that_mean_nothing() {
    for (barrier, message) in [
        ("mov.u32 %r0, 16;\nbar.sync %r0;", "barrier 16"),
        ("bar.sync 0, 33;", "33 threads"),
        ("bar.arrive 0, 0;", "0 threads"),
    ] {
        let outcome = run(barrier, 32, 0);
        assert_eq!(outcome.end, Err(Fault::Trap));
        assert!(only(&outcome, Kind::Trap).contains(message), "{:#?}", outcome.findings);
    }
}

#[test]
fn barriers_are_counted() {
    let outcome = run("bar.sync 0;\nbar.sync 0;\nst.global.u32 [%at], %t;", 96, 0);
    assert_eq!(outcome.counters.barriers, 6);
}

#[test]
fn only_barriers_that_warps_wait_at_are_counted() {
    // Two warps: each synchronises itself three times, skips a barrier, and meets the other twice, once without waiting.
    let body = "setp.lt.u32 %p0, %t, 32;
        setp.gt.u32 %p1, %t, 1000;
        bar.warp.sync -1;
        bar.warp.sync -1;
        bar.warp.sync -1;
        @%p1 bar.sync 3;
        membar.gl;
        @%p0 bra ARRIVE;
        bar.sync 1, 64;
        bra MEET;
        ARRIVE:
        bar.arrive 1, 64;
        MEET:
        bar.sync 0;";
    assert_eq!(run(body, 64, 0).counters.barriers, 3);
}

/// Both sides of a branch write, wait for each other with one mask, and read what the other side wrote.
const MEET_IN_BRANCHES: &str = "setp.lt.u32 %p0, %t, 16;
    @%p0 bra LOW;
    mul.lo.u32 %x, %t, 10;
    st.shared.u32 [%own], %x;
    bar.warp.sync -1;
    ld.shared.u32 %x, [%own + -64];
    bra DONE;
    LOW:
    st.shared.u32 [%own], %t;
    bar.warp.sync -1;
    ld.shared.u32 %x, [%own + 64];
    DONE:
    st.global.u32 [%at], %x;";

#[test]
fn lanes_that_have_parted_meet_at_a_barrier_of_the_warp() {
    check(MEET_IN_BRANCHES, 32, |thread| if thread < 16 { (thread + 16) * 10 } else { thread - 16 });
}

#[test]
fn parted_lanes_exchange_again_and_again() {
    // Sides add up what the other one has in turn: x, y = y + 1, x + 1 eight times, from x = 0 and y = 100.
    let round = |other: &str, n: u32| {
        format!(
            "st.shared.u32 [%own], %x; bar.warp.sync -1; ld.shared.u32 %r{n}, [%own + {other}];
             bar.warp.sync -1; add.u32 %x, %r{n}, 1;\n"
        )
    };
    let side = |other| (0..8).map(|n| round(other, n)).collect::<String>();
    let body = format!(
        "setp.lt.u32 %p0, %t, 16; @%p0 bra LOW; mov.u32 %x, 100;\n{}bra DONE;\nLOW: mov.u32 %x, 0;\n{}DONE:
        st.global.u32 [%at], %x;",
        side("-64"),
        side("64")
    );
    check(&body, 32, |thread| if thread < 16 { 8 } else { 108 });
}

#[test]
fn groups_of_a_warp_meet_by_masks_of_their_own() {
    let body = "and.b32 %r0, %t, 24;
        mov.u32 %r1, 255;
        shl.b32 %r1, %r1, %r0;
        st.shared.u32 [%own], %t;
        bar.warp.sync %r1;
        xor.b32 %r2, %t, 7;
        mad.lo.u32 %r3, %r2, 4, %words;
        ld.shared.u32 %x, [%r3];
        st.global.u32 [%at], %x;";
    check(body, 32, |thread| thread ^ 7);
}

#[test]
fn lanes_that_do_not_come_to_a_barrier_of_the_warp_are_found() {
    let outcome = run("setp.ge.u32 %p0, %t, 16; @%p0 bra DONE; bar.warp.sync -1; DONE:", 32, 0);
    assert_eq!(outcome.findings.iter().map(|finding| finding.kind).collect::<Vec<_>>(), [Kind::InactiveLane]);
    assert!(outcome.findings[0].message.contains("0xffff0000"), "{:?}", outcome.findings);
    let outcome = run("setp.ge.u32 %p0, %t, 16; @%p0 bra DONE; bar.warp.sync 65535; DONE:", 32, 0);
    assert_eq!(outcome.findings, []);
}

#[test]
fn a_lane_outside_its_own_mask_is_found() {
    let outcome = run("bar.warp.sync 65535;", 32, 0);
    assert_eq!(outcome.findings.iter().map(|finding| finding.kind).collect::<Vec<_>>(), [Kind::InactiveLane]);
}
