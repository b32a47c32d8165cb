//! `atom` and `red`, each function and type in each memory.

use half::{bf16, f16};
use kwc_emulator::counters::{Class, Issued, Traffic};
use kwc_emulator::findings::Kind;
use kwc_emulator::gpu::Fault;
use kwc_emulator::options::Checks;

use crate::ptx::{Program, bytes, refusal_of, words_after};

/// Where an operation works.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Global,
    Shared,
    Generic,
    GenericShared,
}

const PLACES: [Place; 4] = [Place::Global, Place::Shared, Place::Generic, Place::GenericShared];

/// Runs `opcode` (with `{}` where the space is named) by all lanes of a warp on one place of `width` bits, once with an
/// answer and once without, in each memory.
///
/// `next` says what the operation makes of a value and the operands of a lane: expected are its results, lane after lane.
#[track_caller]
fn check(
    opcode: &str,
    width: u32,
    first: u64,
    operands: impl Fn(u64) -> [u64; 2],
    next: impl Fn(u64, [u64; 2]) -> u64,
) {
    let (mut value, mut answers) = (first, Vec::new());
    for lane in 0..32 {
        answers.push(value & (u64::MAX >> (64 - width)));
        value = next(value, operands(lane));
    }
    let swaps = opcode.contains("cas");
    let answers_always = swaps || opcode.contains("exch");
    for place in PLACES {
        for answered in [true, false] {
            if answers_always && !answered {
                continue;
            }
            let body = body(opcode, width, place, answered, swaps);
            // The place, then for each lane two operands and the answer, 8 bytes each.
            let mut data = vec![0; 8 + 32 * 24];
            data[..8].copy_from_slice(&first.to_le_bytes());
            for lane in 0..32 {
                for (number, operand) in operands(lane as u64).into_iter().enumerate() {
                    data[8 + 24 * lane + 8 * number..][..8].copy_from_slice(&operand.to_le_bytes());
                }
            }
            let outcome = Program::new(&body).run(&data);
            assert!(outcome.findings.is_empty() && outcome.end.is_ok(), "{body}\n{:#?}", outcome.findings);
            let at = |offset: usize| u64::from_le_bytes(outcome.data[offset..][..8].try_into().expect("8 bytes"));
            assert_eq!(at(0), value, "the last value\n{body}");
            if answered {
                let got: Vec<u64> = (0..32).map(|lane| at(8 + 24 * lane + 16)).collect();
                assert_eq!(got, answers, "the answers\n{body}");
            }
        }
    }
}

fn body(opcode: &str, width: u32, place: Place, answered: bool, swaps: bool) -> String {
    let register = match width {
        16 => 'h',
        32 => 'r',
        _ => 'd',
    };
    let space = match place {
        Place::Global => ".global",
        Place::Shared => ".shared",
        Place::Generic | Place::GenericShared => "",
    };
    let opcode = opcode.replace("{}", space);
    let address = match place {
        Place::Global | Place::Generic => "mov.u64 %d9, %data;",
        Place::Shared => "mov.u64 %d9, place;",
        Place::GenericShared => "mov.u64 %d9, place; cvta.shared.u64 %d9, %d9;",
    };
    let operation = if answered { "atom" } else { "red" };
    let answer = if answered { format!("%{register}4, ") } else { String::new() };
    let second = if swaps { format!(", %{register}3") } else { String::new() };
    let store = if answered { format!("st.global.b{width} [%d8+16], %{register}4;") } else { String::new() };
    format!(
        ".shared .align 8 .b8 place[8];
         mul.wide.u32 %d8, %me, 24; add.s64 %d8, %d8, %data; add.s64 %d8, %d8, 8;
         ld.global.b64 %d10, [%data]; st.shared.b64 [place], %d10; bar.sync 0;
         ld.global.b{width} %{register}2, [%d8]; ld.global.b{width} %{register}3, [%d8+8];
         {address}
         {operation}{opcode} {answer}[%d9], %{register}2{second};
         {store}
         bar.sync 0;
         {}",
        if matches!(place, Place::Shared | Place::GenericShared) {
            "ld.shared.b64 %d10, [place]; st.global.b64 [%data], %d10;"
        } else {
            ""
        }
    )
}

/// Numbers without a pattern.
fn mixed(lane: u64) -> u64 {
    (lane + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17)
}

fn mixed_32(lane: u64) -> [u64; 2] {
    [mixed(lane) & 0xffff_ffff, 0]
}

fn mixed_64(lane: u64) -> [u64; 2] {
    [mixed(lane), 0]
}

const LOW: u64 = 0xffff_ffff;
/// What lies behind the 32 bits of a place, and stays.
const ABOVE: u64 = 0x0123_4567 << 32;

/// A value of 32 bits at the place, and what lies behind it.
fn on_32(f: impl Fn(u32, u32) -> u32) -> impl Fn(u64, [u64; 2]) -> u64 {
    move |old, [b, _]| old & !LOW | u64::from(f(old as u32, b as u32))
}

#[test]
fn add() {
    let sum = on_32(|old, b| (u64::from(old) + u64::from(b)) as u32);
    check("{}.add.u32", 32, ABOVE | 0xffff_fff0, mixed_32, &sum);
    check("{}.add.s32", 32, ABOVE | 0x7fff_fff0, mixed_32, &sum);
    let sum = |old: u64, [b, _]: [u64; 2]| (u128::from(old) + u128::from(b)) as u64;
    check("{}.add.u64", 64, u64::MAX - 5, mixed_64, sum);
    check("{}.add.s64", 64, 77, mixed_64, sum);
}

#[test]
fn min_and_max() {
    check("{}.min.u32", 32, ABOVE | 0xf000_0000, mixed_32, on_32(|old, b| if b < old { b } else { old }));
    check("{}.max.u32", 32, ABOVE | 1, mixed_32, on_32(|old, b| if b > old { b } else { old }));
    let less = |a: u32, b: u32| a ^ 0x8000_0000 < b ^ 0x8000_0000;
    check("{}.min.s32", 32, ABOVE | 1, mixed_32, on_32(move |old, b| if less(b, old) { b } else { old }));
    check("{}.max.s32", 32, ABOVE | 0xffff_0000, mixed_32, on_32(move |old, b| if less(old, b) { b } else { old }));
    check("{}.min.u64", 64, u64::MAX, mixed_64, |old, [b, _]| if b < old { b } else { old });
    check("{}.max.u64", 64, 1, mixed_64, |old, [b, _]| if b > old { b } else { old });
    let less = |a: u64, b: u64| a ^ 1 << 63 < b ^ 1 << 63;
    check("{}.min.s64", 64, 1, mixed_64, move |old, [b, _]| if less(b, old) { b } else { old });
    check("{}.max.s64", 64, 1 << 63, mixed_64, move |old, [b, _]| if less(old, b) { b } else { old });
}

#[test]
fn bits() {
    check("{}.and.b32", 32, ABOVE | LOW, |lane| [!(1 << lane) & LOW, 0], on_32(|old, b| old & b));
    check("{}.or.b32", 32, ABOVE, |lane| [1 << lane, 0], on_32(|old, b| old | b));
    check("{}.xor.b32", 32, ABOVE | 0x5555_0000, mixed_32, on_32(|old, b| old ^ b));
    check("{}.and.b64", 64, u64::MAX, |lane| [!(3 << (2 * lane)), 0], |old, [b, _]| old & b);
    check("{}.or.b64", 64, 0, |lane| [2 << (2 * lane), 0], |old, [b, _]| old | b);
    check("{}.xor.b64", 64, 99, mixed_64, |old, [b, _]| old ^ b);
}

#[test]
fn exchange() {
    check("{}.exch.b32", 32, ABOVE | 7, mixed_32, on_32(|_, b| b));
    check("{}.exch.b64", 64, 7, mixed_64, |_, [b, _]| b);
}

#[test]
fn compare_and_swap() {
    // Lanes look for 0, 1, 1, 2, 3, 3, ...: two of three find it, and count up.
    let sought = |lane: u64| lane / 3 * 2 + (lane % 3).min(1);
    let count_up = |lane: u64| [sought(lane), sought(lane) + 1];
    check("{}.cas.b32", 32, ABOVE, count_up, |old, [b, c]| if old & LOW == b { ABOVE | c } else { old });
    check("{}.cas.b64", 64, 0, count_up, |old, [b, c]| if old == b { c } else { old });
    let beside = 0xaaaa_bbbb_cccc_0000;
    let next = |old: u64, [b, c]: [u64; 2]| if old & 0xffff == b { beside | c } else { old };
    check("{}.cas.b16", 16, beside, count_up, next);
}

#[test]
fn increment_and_decrement() {
    // Around 5: 3, 4, 5, 0, 1, ...
    check("{}.inc.u32", 32, ABOVE | 3, |_| [5, 0], on_32(|old, b| if old >= b { 0 } else { old + 1 }));
    check("{}.inc.u32", 32, ABOVE | 3, |lane| [lane % 7, 0], on_32(|old, b| if old >= b { 0 } else { old + 1 }));
    let down = |old, b| if old == 0 || old > b { b } else { old - 1 };
    check("{}.dec.u32", 32, ABOVE | 3, |_| [5, 0], on_32(down));
    check("{}.dec.u32", 32, ABOVE | 90, |lane| [lane % 7, 0], on_32(down));
}

#[test]
fn increments_written_out() {
    let body = "atom.global.inc.u32 %r1, [%data+128], 2; st.global.u32 [%mine], %r1;";
    let words = words_after(body, &[&[0; 32][..], &[1]].concat());
    assert_eq!(words[..8], [1, 2, 0, 1, 2, 0, 1, 2]);
    let body = "atom.global.dec.u32 %r1, [%data+128], 2; st.global.u32 [%mine], %r1;";
    let words = words_after(body, &[&[0; 32][..], &[9]].concat());
    assert_eq!(words[..8], [9, 2, 1, 0, 2, 1, 0, 2]);
}

#[test]
fn sums_of_floating_point_numbers() {
    let value = |lane: u64| (lane as f32 - 11.5) * 1.000_123;
    let sum = |old, b| (f32::from_bits(old) + f32::from_bits(b)).to_bits();
    check(
        "{}.add.f32",
        32,
        ABOVE | u64::from(0.1f32.to_bits()),
        |lane| [u64::from(value(lane).to_bits()), 0],
        on_32(sum),
    );
    check(
        "{}.add.f64",
        64,
        0.1f64.to_bits(),
        |lane| [f64::from(value(lane)).sqrt().abs().max(0.25).to_bits(), 0],
        |old, [b, _]| (f64::from_bits(old) + f64::from_bits(b)).to_bits(),
    );
}

#[test]
fn sums_of_halves() {
    // Exact sums, and then rounded once: f64 holds every sum of two.
    let half = |old: u16, b: u16| f16::from_f64(f16::from_bits(old).to_f64() + f16::from_bits(b).to_f64()).to_bits();
    let brain =
        |old: u16, b: u16| bf16::from_f64(bf16::from_bits(old).to_f64() + bf16::from_bits(b).to_f64()).to_bits();
    let value = |lane: u64| (lane as f64 - 13.0) * 1.37;
    let of_half = |lane: u64| u64::from(f16::from_f64(value(lane)).to_bits());
    let of_brain = |lane: u64| u64::from(bf16::from_f64(value(lane)).to_bits());
    let beside = 0x1111_2222_3333_0000;
    let one =
        |f: fn(u16, u16) -> u16| move |old: u64, [b, _]: [u64; 2]| old & !0xffff | u64::from(f(old as u16, b as u16));
    check("{}.add.noftz.f16", 16, beside | 0x3c00, |lane| [of_half(lane), 0], one(half));
    check("{}.add.noftz.bf16", 16, beside | 0x3f80, |lane| [of_brain(lane), 0], one(brain));
    let two = |f: fn(u16, u16) -> u16| {
        on_32(move |old, b| {
            u32::from(f(old as u16, b as u16)) | u32::from(f((old >> 16) as u16, (b >> 16) as u16)) << 16
        })
    };
    let pair = |low: u64, high: u64| [low | high << 16, 0];
    check("{}.add.noftz.f16x2", 32, ABOVE | 0x3c00_4000, |lane| pair(of_half(lane), of_half(31 - lane)), two(half));
    check("{}.add.noftz.bf16x2", 32, ABOVE | 0x3f80_4000, |lane| pair(of_brain(lane), of_brain(31 - lane)), two(brain));
}

#[test]
fn subnormal_sums_are_zero_in_global_memory_only() {
    let (tiny, negative) = (0x0000_1234, 0x8000_1234);
    let body = "
        .shared .align 8 .b8 place[8];
        ld.global.u32 %r1, [%data+8]; ld.global.v2.u32 {%r2, %r3}, [%data];
        st.shared.v2.u32 [place], {%r2, %r3};
        setp.eq.u32 %p1, %me, 0;
        bar.sync 0;
        @%p1 red.global.add.f32 [%data], %r1;
        @%p1 red.global.add.f32 [%data+4], %r1;
        @%p1 red.shared.add.f32 [place], %r1;
        @%p1 red.shared.add.f32 [place+4], %r1;
        @%p1 ld.shared.v2.u32 {%r4, %r5}, [place];
        @%p1 st.global.v2.u32 [%data+16], {%r4, %r5};";
    // A subnormal number to another, and to the least normal one with the other sign, of which it leaves a subnormal.
    let words = words_after(body, &[tiny, 0x0080_0000, negative, 0, 9, 9]);
    assert_eq!(words, [0, 0x0080_0000, negative, 0, 0, 0x0080_0000 - 0x1234]);
    let words = words_after(body, &[negative, 0x8000_0000, negative, 0, 9, 9]);
    assert_eq!(words, [0x8000_0000, 0x8000_0000, negative, 0, 0x8000_2468, negative]);
    // Two normal numbers whose difference is subnormal.
    let words = words_after(body, &[0x0080_0001, 0x0080_0000, 0x8080_0000, 0, 9, 9]);
    assert_eq!(words, [0, 0, 0x8080_0000, 0, 1, 0]);
}

#[test]
fn half_sums_keep_subnormals() {
    let body = "
        setp.eq.u32 %p1, %me, 0;
        ld.global.u16 %h1, [%data+4];
        @%p1 red.global.add.noftz.f16 [%data], %h1;
        @%p1 red.global.add.noftz.bf16 [%data+2], %h1;";
    assert_eq!(words_after(body, &[0x0003_0001, 0x0005])[0], 0x0008_0006);
    // Infinity less infinity is no number, always the same one.
    let body = body.replace("bf16", "f16");
    assert_eq!(words_after(&body, &[0x7c01_7c00, 0xfc00])[0], 0x7fff_7fff);
}

#[test]
fn vectors() {
    let body = "
        mul.wide.u32 %d1, %me, 16; add.s64 %d1, %d1, %data;
        ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%d1];
        atom.global.v4.f32.add {%r5, %r6, %r7, %r8}, [%d1+512], {%r1, %r2, %r3, %r4};
        st.global.v4.u32 [%d1], {%r5, %r6, %r7, %r8};
        red.relaxed.gpu.global.add.v2.f32 [%d1+520], {%r1, %r2};"
        .replace("v4.f32.add", "add.v4.f32");
    let value = |number: u32| (number as f32).to_bits();
    let data: Vec<u32> = (0..128).map(value).chain((0..128).map(|number| value(1000 * number))).collect();
    let words = words_after(&body, &data);
    for number in 0..128u32 {
        // The third and fourth of each four have the first and second added as well.
        let more = if number % 4 >= 2 { number - 2 } else { 0 };
        assert_eq!(words[number as usize], value(1000 * number), "answer {number}");
        assert_eq!(words[128 + number as usize], value(1001 * number + more), "sum {number}");
    }
}

#[test]
fn vectors_of_halves() {
    let body = "
        setp.lt.u32 %p1, %me, 3;
        ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%data];
        mov.b32 {%h0, %h1}, %r1; mov.b32 {%h2, %h3}, %r2; mov.b32 {%h4, %h5}, %r3; mov.b32 {%h6, %h7}, %r4;
        @%p1 red.global.add.noftz.v8.f16 [%data+16], {%h0, %h1, %h2, %h3, %h4, %h5, %h6, %h7};
        @%p1 red.global.add.noftz.v4.f16x2 [%data+32], {%r1, %r2, %r3, %r4};
        @%p1 red.global.add.noftz.v2.bf16 [%data+48], {%h0, %h1};";
    let pair =
        |low: f32, high: f32| u32::from(f16::from_f32(low).to_bits()) | u32::from(f16::from_f32(high).to_bits()) << 16;
    let operands = [pair(1.0, 2.0), pair(3.0, 4.0), pair(5.0, 6.0), pair(7.0, -8.0)];
    let mut data = operands.to_vec();
    data.extend([0; 12]);
    let words = words_after(body, &data);
    let threefold = [pair(3.0, 6.0), pair(9.0, 12.0), pair(15.0, 18.0), pair(21.0, -24.0)];
    assert_eq!((&words[4..8], &words[8..12]), (&threefold[..], &threefold[..]));
    // As bf16 these bits are 2^-7 and 2; three times that.
    assert_eq!(operands[0], 0x4000_3c00);
    assert_eq!(words[12], 0x40c0_3cc0);
}

#[test]
fn lanes_at_places_of_their_own() {
    let body = "
        sub.u32 %r1, 31, %me; mul.wide.u32 %d1, %r1, 4; add.s64 %d1, %d1, %data;
        atom.global.add.u32 %r2, [%d1+128], %me; st.global.u32 [%mine], %r2;";
    let data: Vec<u32> = (0..64).map(|number| 100 * number).collect();
    let words = words_after(body, &data);
    for lane in 0..32 {
        assert_eq!(words[lane], 100 * (63 - lane as u32));
        assert_eq!(words[32 + lane], 100 * (32 + lane as u32) + 31 - lane as u32);
    }
}

#[test]
fn lanes_that_a_guard_stops_do_nothing() {
    let body = "
        and.b32 %r1, %me, 1; setp.eq.u32 %p1, %r1, 0; mov.u32 %r2, 77;
        @!%p1 atom.global.add.u32 %r2, [%data+128], 1; st.global.u32 [%mine], %r2;";
    let words = words_after(body, &[0; 33]);
    let expected: Vec<u32> = (0..32).map(|lane| if lane % 2 == 0 { 77 } else { lane / 2 }).collect();
    assert_eq!(words[..32], expected);
    assert_eq!(words[32], 16);
}

#[test]
fn orders_scopes_and_answers_that_nobody_wants() {
    for modifiers in [".relaxed.cta", ".acquire.gpu", ".release.gpu", ".acq_rel.sys", ".relaxed.cluster"] {
        for opcode in [format!("atom{modifiers}.global.add.u32"), format!("atom.add{modifiers}.global.u32")] {
            assert_eq!(words_after(&format!("{opcode} _, [%data], 2;"), &[5]), [69]);
        }
    }
    assert_eq!(words_after("red.release.gpu.global.add.u32 [%data], 2;", &[5]), [69]);
}

#[test]
fn blocks_draw_tickets_on_several_threads_of_the_host() {
    let body = "atom.global.add.u32 %r1, [%data+16384], 1; st.global.u32 [%mine], %r1;";
    let outcome = Program::with(body, Checks::NONE, 4).run_grid(32, 128, &vec![0; 4 * 4097]);
    let mut words = outcome.clean();
    assert_eq!(words.pop(), Some(4096));
    words.sort_unstable();
    assert!(words.iter().copied().eq(0..4096), "every ticket is drawn once");
}

#[test]
fn blocks_add_by_compare_and_swap_on_several_threads_of_the_host() {
    let body = "
        ld.global.u32 %r1, [%data];
        again: add.u32 %r2, %r1, 3; atom.global.cas.b32 %r3, [%data], %r1, %r2;
        setp.ne.u32 %p1, %r3, %r1; mov.u32 %r1, %r3; @%p1 bra again;";
    let outcome = Program::with(body, Checks::NONE, 4).run_grid(64, 64, &bytes(&[10]));
    assert_eq!(outcome.clean(), [10 + 3 * 64 * 64]);
}

#[test]
fn what_is_counted() {
    let body = "
        .shared .align 8 .b8 place[128];
        mul.wide.u32 %d1, %me, 4; mov.u64 %d2, place; add.s64 %d1, %d1, %d2;
        st.shared.u32 [%d1], %me;
        setp.lt.u32 %p1, %me, 20;
        @%p1 atom.global.add.u32 %r1, [%mine], 1;
        red.shared.add.u32 [%d1], 1;
        cvta.shared.u64 %d1, %d1;
        red.add.u32 [%d1], 1;";
    let outcome = Program::new(body).run(&[0; 128]);
    assert_eq!(outcome.clean()[..21], [&[1; 20][..], &[0]].concat());
    let counters = &outcome.counters;
    assert_eq!(counters.atomics, [20, 64]);
    let class = counters.classes.iter().find(|(class, _)| *class == Class::Atomic).map(|(_, issued)| *issued);
    assert_eq!(class, Some(Issued { warps: 3, threads: 84 }));
    // Both read and written: 80 bytes in three sectors.
    let traffic = Traffic { requests: 1, sectors: 3, bytes: 80 };
    assert_eq!((counters.global_loads, counters.global_stores), (traffic, traffic));
    assert_eq!((counters.distinct_sectors_read, counters.distinct_sectors_written), (3, 3));
    assert_eq!(counters.distinct_sectors, 3);
    assert_eq!(outcome.site("red.shared.add.u32").site.wavefronts, 1);
    assert_eq!(counters.shared_requests, 3);
}

#[test]
fn an_atomic_operation_outside_the_buffer() {
    let outcome = Program::new("atom.global.add.u32 %r1, [%data+64], 1;").run(&[0; 64]);
    assert_eq!(outcome.end, Err(Fault::IllegalAddress));
    let finding = outcome.only_finding(Kind::OutOfBounds, "atom.global.add.u32");
    assert!(finding.message.starts_with("atomic operation of global memory"), "{}", finding.message);
    let outcome = Program::new("red.global.add.u64 [%data+4], 1;").run(&[0; 64]);
    assert_eq!(outcome.end, Err(Fault::Misaligned));
    outcome.only_finding(Kind::Misaligned, "red.global.add.u64");
}

#[test]
fn an_atomic_operation_on_local_memory() {
    let body = ".local .align 8 .b8 place[8]; mov.u64 %d1, place; cvta.local.u64 %d1, %d1; red.add.u32 [%d1], 1;";
    let outcome = Program::new(body).run(&[0; 4]);
    assert_eq!(outcome.end, Err(Fault::IllegalAddress));
    outcome.only_finding(Kind::OutOfBounds, "red.add.u32");
}

#[test]
fn uninitialised_shared_memory() {
    let body = ".shared .align 4 .b8 place[4]; red.shared.add.u32 [place], 1;";
    Program::new(body).run(&[0; 4]).only_finding(Kind::Uninitialised, "red.shared.add.u32");
}

#[test]
fn atomic_operations_race_with_plain_ones_only() {
    // Two warps: with each other's atomics there is no race, with a store there is.
    let atomic = ".shared .align 4 .b8 place[4]; setp.eq.u32 %p1, %me, 0; @%p1 st.shared.u32 [place], 0; bar.sync 0;
        red.shared.add.u32 [place], 1; bar.sync 0; ld.shared.u32 %r1, [place]; st.global.u32 [%data], %r1;";
    assert_eq!(Program::new(atomic).run_grid(1, 64, &[0; 4]).clean(), [64]);
    let plain = ".shared .align 4 .b8 place[4]; setp.eq.u32 %p1, %me, 0; @%p1 st.shared.u32 [place], 0; bar.sync 0;
        setp.lt.u32 %p1, %me, 32; @%p1 red.shared.add.u32 [place], 1; @!%p1 st.shared.u32 [place], 1;";
    let outcome = Program::new(plain).run_grid(1, 64, &[0; 4]);
    assert_eq!(outcome.findings.len(), 1, "{:#?}", outcome.findings);
    assert_eq!(outcome.findings[0].kind, Kind::SharedRace);
}

#[test]
fn to_look_at_a_lock_without_end_is_no_progress() {
    let body = "again: atom.global.cas.b32 %r1, [%data], 0, 1; setp.ne.u32 %p1, %r1, 0; @%p1 bra again;";
    let outcome = Program::with(body, Checks::NONE, 1).run_grid(1, 1, &bytes(&[1]));
    assert_eq!(outcome.end, Err(Fault::Deadlock));
    assert_eq!(outcome.findings[0].kind, Kind::Deadlock);
}

#[test]
fn forms_that_there_are_not() {
    for opcode in [
        "red.global.cas.b32 [%data], %r1, %r2",
        "red.global.exch.b32 [%data], %r1",
        "red.global.add.b32 [%data], %r1",
        "red.global.add.f16 [%data], %h1",
        "red.global.add.noftz.f32 [%data], %r1",
        "red.global.min.f32 [%data], %r1",
        "red.global.xor.u32 [%data], %r1",
        "red.shared.add.v2.f32 [%data], {%r1, %r2}",
        "red.global.add.v2.u32 [%data], {%r1, %r2}",
        "red.global.add.v8.f32 [%data], {%r1, %r2, %r1, %r2, %r1, %r2, %r1, %r2}",
        "red.local.add.u32 [%data], %r1",
        "red.global.u32 [%data], %r1",
        "atom.global.add.u32.u32 %r1, [%data], %r1",
    ] {
        let message = refusal_of(&format!("{opcode};")).message;
        assert!(message.contains("doesn't know this instruction"), "{opcode}: {message}");
    }
    let message = refusal_of("red.global.add.u32 [%data], %d1;").message;
    assert!(message.contains("64 bits where 32 are needed"), "{message}");
    let message = refusal_of("red.global.add.v2.f32 [%data], %r1;").message;
    assert!(message.contains("expected 2 values, found 1"), "{message}");
}
