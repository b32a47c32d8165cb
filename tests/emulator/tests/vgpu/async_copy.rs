//! `cp.async`: sizes, zeros, groups and waits, and what is wrong with a copy.

use kwc_emulator::counters::{Class, Issued, Traffic};
use kwc_emulator::findings::Kind;
use kwc_emulator::gpu::Fault;
use kwc_emulator::options::Checks;

use crate::ptx::{Outcome, Program, bytes, refusal_of, words_after};

/// Before each body: 512 bytes of shared memory for a warp, all `0xeeeeeeee`. The thread's 16 bytes of it are at `%r10`,
/// and its 16 bytes of the buffer at `%d10`.
const BEGIN: &str = "
    .shared .align 16 .b8 place[512];
    mul.wide.u32 %d10, %me, 16; add.s64 %d10, %d10, %data;
    mov.u32 %r10, place; mad.lo.s32 %r10, %me, 16, %r10;
    mov.u32 %r9, 0xeeeeeeee; st.shared.v4.u32 [%r10], {%r9, %r9, %r9, %r9};
    bar.sync 0;";

/// Puts the thread's 16 bytes of shared memory into the second half of the buffer.
const END: &str = "
    ld.shared.v4.u32 {%r1, %r2, %r3, %r4}, [%r10];
    st.global.v4.u32 [%d10+512], {%r1, %r2, %r3, %r4};";

const OLD: u32 = 0xeeee_eeee;

/// A buffer of 256 words: numbers in the first half.
fn numbers() -> Vec<u32> {
    (0..256).map(|number| if number < 128 { 0x0101_0101 * (number + 1) } else { 0 }).collect()
}

/// Runs a body between [`BEGIN`] and [`END`].
fn run(body: &str) -> Outcome {
    Program::new(&format!("{BEGIN}{body}{END}")).run(&bytes(&numbers()))
}

/// What shared memory then held.
#[track_caller]
fn copied(body: &str) -> Vec<u32> {
    run(body).clean()[128..].to_vec()
}

/// What shared memory held, whatever was found: the checks are off.
#[track_caller]
fn seen(body: &str) -> Vec<u32> {
    let program = Program::with(&format!("{BEGIN}{body}{END}"), Checks::NONE, 1);
    program.run(&bytes(&numbers())).clean()[128..].to_vec()
}

#[test]
fn sizes() {
    let numbers = numbers();
    for (opcode, words) in [
        ("cp.async.ca.shared.global [%r10], [%d10], 4;", 1),
        ("cp.async.ca.shared.global [%r10], [%d10], 8;", 2),
        ("cp.async.ca.shared.global [%r10], [%d10], 16;", 4),
        ("cp.async.cg.shared.global [%r10], [%d10], 16;", 4),
        ("cp.async.cg.shared.global.L2::128B [%r10], [%d10], 16;", 4),
        ("cp.async.ca.shared::cta.global.L2::64B [%r10], [%d10], 8;", 2),
        ("cp.async.ca.shared.global.L2::256B [%r10], [%d10], 4;", 1),
    ] {
        let expected: Vec<u32> = (0..128).map(|place| if place % 4 < words { numbers[place] } else { OLD }).collect();
        assert_eq!(copied(&format!("{opcode} cp.async.wait_all;")), expected, "{opcode}");
    }
}

#[test]
fn offsets_in_both_addresses_and_wide_ones() {
    let body = "
        mul.wide.u32 %d1, %r10, 1; add.s64 %d1, %d1, 16; add.s64 %d2, %d10, 32;
        cp.async.ca.shared.global [%d1+-8], [%d2+-24], 8; cp.async.wait_all;";
    let numbers = numbers();
    let expected: Vec<u32> = (0..128).map(|place| if place % 4 >= 2 { numbers[place] } else { OLD }).collect();
    assert_eq!(copied(body), expected);
}

#[test]
fn data_are_there_after_the_wait_and_not_before() {
    let start = "cp.async.ca.shared.global [%r10], [%d10], 16;";
    assert_eq!(seen(start), [OLD; 128]);
    assert_eq!(seen(&format!("{start} cp.async.commit_group;")), [OLD; 128]);
    assert_eq!(seen(&format!("{start} bar.sync 0;")), [OLD; 128]);
    // What isn't committed is in no group.
    assert_eq!(seen(&format!("{start} cp.async.wait_group 0;")), [OLD; 128]);
    assert_eq!(copied(&format!("{start} cp.async.commit_group; cp.async.wait_group 0;")), numbers()[..128]);
    assert_eq!(copied(&format!("{start} cp.async.wait_all;")), numbers()[..128]);
}

#[test]
fn the_source_is_read_at_the_wait() {
    let body = "cp.async.ca.shared.global [%r10], [%d10], 4; st.global.u32 [%d10], %me; cp.async.wait_all;";
    let copied = copied(body);
    assert!((0..32).all(|lane| copied[4 * lane] == lane as u32), "{copied:x?}");
}

#[test]
fn the_latest_groups_stay_on_their_way() {
    // Four groups of a word each, the third of them empty.
    let start = "
        cp.async.ca.shared.global [%r10], [%d10], 4; cp.async.commit_group;
        cp.async.ca.shared.global [%r10+4], [%d10+4], 4; cp.async.commit_group;
        cp.async.commit_group;
        cp.async.ca.shared.global [%r10+8], [%d10+8], 4; cp.async.commit_group;
        cp.async.ca.shared.global [%r10+12], [%d10+12], 4;";
    let numbers = numbers();
    for (wait, there) in [
        ("cp.async.wait_group 9;", 0),
        ("cp.async.wait_group 4;", 0),
        ("cp.async.wait_group 3;", 1),
        ("cp.async.wait_group 2;", 2),
        ("cp.async.wait_group 1;", 2),
        ("cp.async.wait_group 0;", 3),
        ("cp.async.wait_all;", 4),
        ("cp.async.wait_group 3; cp.async.commit_group; cp.async.wait_group 1;", 3),
        ("cp.async.commit_group; cp.async.wait_group 0;", 4),
    ] {
        let expected: Vec<u32> = (0..128).map(|place| if place % 4 < there { numbers[place] } else { OLD }).collect();
        assert_eq!(seen(&format!("{start}{wait}")), expected, "{wait}");
    }
}

#[test]
fn groups_are_each_threads_own() {
    // Odd lanes commit twice: for them, the first of their groups isn't among the latest one.
    let body = "
        and.b32 %r8, %me, 1; setp.eq.u32 %p1, %r8, 1;
        cp.async.ca.shared.global [%r10], [%d10], 4;
        cp.async.commit_group;
        @%p1 cp.async.commit_group;
        cp.async.wait_group 1;";
    let numbers = numbers();
    let expected: Vec<u32> =
        (0..128).map(|place| if place % 4 == 0 && place / 4 % 2 == 1 { numbers[place] } else { OLD }).collect();
    assert_eq!(seen(body), expected);
    // Only even lanes wait.
    let body = "
        and.b32 %r8, %me, 1; setp.eq.u32 %p1, %r8, 0;
        cp.async.ca.shared.global [%r10], [%d10], 4;
        @%p1 cp.async.wait_all;";
    let expected: Vec<u32> =
        (0..128).map(|place| if place % 4 == 0 && place / 4 % 2 == 0 { numbers[place] } else { OLD }).collect();
    assert_eq!(seen(body), expected);
}

#[test]
fn the_rest_of_the_destination_is_zeros() {
    // A lane's number is how many of its bytes are copied, from 17 on none.
    let body = "
        mov.u32 %r5, %me; setp.gt.u32 %p1, %r5, 16; @%p1 mov.u32 %r5, 0;
        cp.async.cg.shared.global [%r10], [%d10], 16, %r5; cp.async.wait_all;";
    let outcome = run(body);
    let (source, copied) = (bytes(&numbers()), &outcome.data[512..]);
    for lane in 0..32 {
        let count = if lane > 16 { 0 } else { lane };
        let mut expected = [0; 16];
        expected[..count].copy_from_slice(&source[16 * lane..][..count]);
        assert_eq!(copied[16 * lane..][..16], expected, "{count} bytes");
    }
    assert!(outcome.findings.is_empty(), "{:#?}", outcome.findings);
    // Sixteen lanes read 1 to 16 bytes: one request, two lanes a sector, but for lane 0, which shares lane 1's.
    let site = outcome.site("cp.async.cg.shared.global").site;
    assert_eq!((site.sectors, site.bytes), (9, 136 + 32 * 16));
    assert_eq!(outcome.counters.global_loads, Traffic { requests: 1, sectors: 9, bytes: 136 });
    assert_eq!(outcome.counters.distinct_sectors_read, 9);
    assert_eq!((outcome.counters.async_bytes, outcome.counters.async_in_flight), (136, 136));
}

#[test]
fn smaller_sizes_have_zeros_too() {
    let body = "
        cp.async.ca.shared.global [%r10], [%d10], 8, 6; cp.async.ca.shared.global [%r10+8], [%d10+8], 4, 0;
        cp.async.wait_all;";
    let numbers = numbers();
    let expected: Vec<u32> = (0..128)
        .map(|place| match place % 4 {
            0 => numbers[place],
            1 => numbers[place] & 0xffff,
            2 => 0,
            _ => OLD,
        })
        .collect();
    assert_eq!(copied(body), expected);
}

#[test]
fn a_source_that_is_ignored() {
    let numbers = numbers();
    for (predicate, ignored) in [("%p1", 1), ("!%p1", 0)] {
        let body = format!(
            "and.b32 %r8, %me, 1; setp.eq.u32 %p1, %r8, 1;
             cp.async.ca.shared.global [%r10], [%d10], 16, {predicate}; cp.async.wait_all;"
        );
        let expected: Vec<u32> =
            (0..128).map(|place| if place / 4 % 2 == ignored { 0 } else { numbers[place] }).collect();
        assert_eq!(copied(&body), expected, "{predicate}");
    }
}

#[test]
fn what_is_not_copied_may_lie_anywhere() {
    // The last 12 bytes of the buffer, and nothing from address 1.
    let body = "
        setp.eq.u32 %p1, %me, 0;
        mov.u64 %d1, 1;
        @%p1 cp.async.ca.shared.global [%r10], [%data+1024], 16, 12;
        @!%p1 cp.async.ca.shared.global [%r10], [%d1], 16, 0;
        cp.async.wait_all;";
    let mut data = numbers();
    data.extend([5, 6, 7]);
    let words = words_after(&format!("{BEGIN}{body}{END}"), &data);
    assert_eq!(words[128..132], [5, 6, 7, 0]);
    assert_eq!(words[132..256], [0; 124]);
}

#[test]
fn a_source_outside_the_buffer() {
    for (body, kind, fault) in [
        ("cp.async.cg.shared.global [%r10], [%d10+528], 16;", Kind::OutOfBounds, Fault::IllegalAddress),
        ("cp.async.cg.shared.global [%r10], [%d10+8], 16;", Kind::Misaligned, Fault::Misaligned),
        ("cp.async.cg.shared.global [%r10], [%d10+8], 16, 4;", Kind::Misaligned, Fault::Misaligned),
        ("cp.async.cg.shared.global [%r10], [%d10+528], 16, 4;", Kind::OutOfBounds, Fault::IllegalAddress),
        ("cp.async.cg.shared.global [%r10], [%d10], 16, 17;", Kind::Trap, Fault::Trap),
        ("cp.async.cg.shared.global [%r10+16], [%d10], 16;", Kind::OutOfBounds, Fault::IllegalAddress),
        ("cp.async.cg.shared.global [%r10+4], [%d10], 16;", Kind::Misaligned, Fault::Misaligned),
    ] {
        // It is found where the copy starts, though nobody waits.
        let outcome = run(body);
        assert_eq!(outcome.end, Err(fault), "{body}");
        let lane = if kind == Kind::OutOfBounds { 31 } else { 0 };
        let finding = outcome.only_finding(kind, "cp.async.cg.shared.global");
        assert_eq!(finding.thread[0], lane, "{body} {finding:#?}");
    }
}

#[test]
fn a_partial_source_behind_the_end() {
    // Thirteen bytes of 12 that are left.
    let body = format!("{BEGIN} cp.async.cg.shared.global [%r10], [%data+1024], 16, 13;");
    let mut data = numbers();
    data.extend([5, 6, 7]);
    let outcome = Program::new(&body).run(&bytes(&data));
    let finding = outcome.only_finding(Kind::OutOfBounds, "cp.async.cg.shared.global");
    assert_eq!(finding.address.map(|address| address % 256), Some(12));
}

#[test]
fn data_on_their_way_must_not_be_touched() {
    let start = "cp.async.ca.shared.global [%r10], [%d10], 16; cp.async.commit_group;";
    let outcome = run(start);
    outcome.only_finding(Kind::AsyncCopy, "ld.shared.v4.u32");
    let outcome = run(&format!("{start} st.shared.u32 [%r10+4], %me; cp.async.wait_all;"));
    outcome.only_finding(Kind::AsyncCopy, "st.shared.u32");
    // Beside them it may.
    let outcome = run("cp.async.ca.shared.global [%r10], [%d10], 8; st.shared.u32 [%r10+8], %me; cp.async.wait_all;");
    assert_eq!(outcome.clean()[128..132], [0x0101_0101, 0x0202_0202, 0, OLD]);
    // Two copies to one place.
    let outcome = run("
        cp.async.ca.shared.global [%r10], [%d10], 4;
        cp.async.cg.shared.global [%r10], [%d10], 16; cp.async.wait_all;");
    outcome.only_finding(Kind::AsyncCopy, "cp.async.cg.shared.global");
}

#[test]
fn what_arrived_is_the_threads_own_until_a_barrier() {
    let start = "cp.async.ca.shared.global [%r10], [%d10], 16; cp.async.wait_all;";
    let read = "xor.b32 %r10, %r10, 16;";
    run(&format!("{start} {read}")).only_finding(Kind::SharedRace, "ld.shared.v4.u32");
    let words = copied(&format!("{start} bar.sync 0; {read}"));
    let numbers = numbers();
    assert!((0..128).all(|place| words[place] == numbers[place ^ 4]), "{words:x?}");
}

#[test]
fn copies_that_nobody_waits_for_never_arrive() {
    // Each block waits first, for copies that a block before it may have left, and then leaves some.
    let body = format!(
        "{BEGIN} cp.async.wait_all; cp.async.wait_group 0;
         ld.shared.u32 %r1, [%r10]; mul.wide.u32 %d1, %thread, 4; add.s64 %d1, %d1, %data;
         cp.async.ca.shared.global [%r10], [%d10], 16; cp.async.commit_group;
         cp.async.ca.shared.global [%r10], [%d10], 16;
         st.global.u32 [%d1+1024], %r1;"
    );
    let mut data = numbers();
    data.extend([0; 8 * 32]);
    let outcome = Program::with(&body, Checks::NONE, 1).run_grid(8, 32, &bytes(&data));
    assert_eq!(outcome.clean()[256..], [OLD; 256]);
    assert_eq!(outcome.counters.async_bytes, 8 * 2 * 512);
    assert_eq!(outcome.counters.async_in_flight, 2 * 512);
}

#[test]
fn what_is_counted() {
    let outcome = run("
        setp.lt.u32 %p1, %me, 16;
        @%p1 cp.async.cg.shared.global [%r10], [%d10], 16;
        cp.async.commit_group;
        @!%p1 cp.async.ca.shared.global [%r10], [%data], 4;
        cp.async.commit_group;
        cp.async.wait_group 1;
        cp.async.wait_group 0;");
    let words = outcome.clean();
    assert_eq!(words[128..192], words[..64]);
    let counters = &outcome.counters;
    assert_eq!((counters.async_bytes, counters.async_in_flight), (256 + 64, 256 + 64));
    // 256 bytes of eight sectors, then one word for all.
    assert_eq!(counters.global_loads, Traffic { requests: 2, sectors: 9, bytes: 256 + 64 });
    assert_eq!(counters.distinct_sectors_read, 8);
    // Two quarters of a warp with 16 bytes a lane; 16 words 16 bytes apart: in each bank two of them.
    let site = outcome.site("cp.async.cg.shared.global").site;
    assert_eq!((site.warps, site.threads, site.wavefronts, site.conflicts), (1, 16, 2, 0));
    let site = outcome.site("cp.async.ca.shared.global").site;
    assert_eq!((site.warps, site.threads, site.wavefronts, site.conflicts), (1, 16, 2, 1));
    let class = |class| counters.classes.iter().find(|(of, _)| *of == class).map(|(_, issued)| *issued);
    // With the load of the parameter and the store at the end.
    assert_eq!(class(Class::Memory), Some(Issued { warps: 4, threads: 96 }));
}

#[test]
fn bytes_on_their_way_are_those_of_all_warps() {
    // Each of two warps has two of three copies on its way at a time; that one warp may have ended when the other begins
    // changes nothing.
    let body = "
        .shared .align 16 .b8 place[3072];
        mul.wide.u32 %d10, %me, 16; add.s64 %d10, %d10, %data;
        mov.u32 %r10, place; mad.lo.s32 %r10, %me, 16, %r10;
        cp.async.cg.shared.global [%r10], [%d10], 16; cp.async.commit_group;
        cp.async.cg.shared.global [%r10+1024], [%d10], 16; cp.async.commit_group;
        cp.async.wait_group 1;
        cp.async.cg.shared.global [%r10+2048], [%d10], 16; cp.async.wait_all;";
    let outcome = Program::new(body).run_grid(1, 64, &[0; 1024]);
    outcome.clean();
    assert_eq!((outcome.counters.async_bytes, outcome.counters.async_in_flight), (3 * 1024, 2 * 1024));
}

#[test]
fn forms_that_there_are_not() {
    for (opcode, why) in [
        ("cp.async.cg.shared.global [%r1], [%d1], 8;", "size must be"),
        ("cp.async.ca.shared.global [%r1], [%d1], 12;", "size must be"),
        ("cp.async.ca.shared.global [%r1], [%d1], %r2;", "size must be"),
        ("cp.async.ca.shared.global [%r1], [%d1];", "expected 3 or 4 operands"),
        ("cp.async.ca.shared.global.L2::cache_hint [%r1], [%d1], 16, %d2;", "doesn't know"),
        ("cp.async.ca.shared.global [%r1], [%d1], 16, %d2;", "64 bits where 32 are needed"),
        ("cp.async.ca.global.shared [%d1], [%r1], 16;", "doesn't know"),
        ("cp.async.mbarrier.arrive.shared.b64 [%r1];", "doesn't know"),
        ("cp.async.wait_group %r1;", "number of groups"),
        ("cp.async.wait_group -1;", "number of groups"),
        ("cp.async.wait_all 0;", "expected 0 operands"),
    ] {
        let message = refusal_of(opcode).message;
        assert!(message.contains(why), "{opcode}: {message}");
    }
}
