//! `vote`, `match`, `redux`, `elect` and `activemask`: every operation, over whole warps and parts.

use kwc_emulator::findings::Kind;

use crate::ptx::{Instructions, Lanes, UNTOUCHED, lanes, outputs_of, refusal_of};

/// All four votes on bit 0 of `%i0` with the mask in `%i1`, by the lanes of which bit 0 of `%i2` is set.
const VOTES: &str = "and.b32 %r0, %i0, 1;
    setp.ne.u32 %p0, %r0, 0;
    and.b32 %r1, %i2, 1;
    setp.ne.u32 %p1, %r1, 0;
    @%p1 vote.sync.all.pred %p2, %p0, %i1;
    @%p1 vote.sync.any.pred %p3, %p0, %i1;
    @%p1 vote.sync.uni.pred %p4, %p0, %i1;
    @%p1 vote.sync.ballot.b32 %o3, %p0, %i1;
    @%p1 selp.b32 %o0, 1, 0, %p2;
    @%p1 selp.b32 %o1, 1, 0, %p3;
    @%p1 selp.b32 %o2, 1, 0, %p4;";

#[test]
fn votes_of_a_warp() {
    let instructions = Instructions::new(VOTES, 3, 4);
    // Who votes for it, and what all, any and uni say.
    for (votes, expected) in [
        (0, [0, 0, 1]),
        (!0, [1, 1, 1]),
        (1, [0, 1, 0]),
        (1 << 31, [0, 1, 0]),
        (!(1 << 31), [0, 1, 0]),
        (0x5555_5555, [0, 1, 0]),
    ] {
        let outcome = instructions.run(&[lanes(|lane| votes >> lane), [!0; 32], [1; 32]]);
        let [all, any, uniform] = expected;
        assert_eq!(outcome.outputs(), [all, any, uniform, votes].map(|value| [value; 32]), "{votes:#x}");
        assert!(outcome.findings.is_empty(), "{:#?}", outcome.findings);
    }
}

#[test]
fn votes_of_two_groups() {
    // Lanes 0 to 9 all vote for it, of 10 to 19 some, the others don't take part but would.
    let votes = !0 << 20 | 0x6_7bff;
    let masks = lanes(|lane| if lane < 10 { 0x3ff } else { 0xf_fc00 });
    let outcome =
        Instructions::new(VOTES, 3, 4).run(&[lanes(|lane| votes >> lane), masks, lanes(|lane| u32::from(lane < 20))]);
    let by_group = |first, second| {
        lanes(|lane| {
            if lane < 10 {
                first
            } else if lane < 20 {
                second
            } else {
                UNTOUCHED
            }
        })
    };
    assert_eq!(outcome.outputs(), [by_group(1, 0), by_group(1, 1), by_group(1, 0), by_group(0x3ff, 0x6_7800)]);
    assert!(outcome.findings.is_empty(), "{:#?}", outcome.findings);
}

#[test]
fn votes_against() {
    let outputs: [Lanes; 4] = outputs_of(
        "setp.lt.u32 %p0, %lane, 3;
         vote.sync.ballot.b32 %o0, !%p0, -1;
         vote.sync.all.pred %p1, !%p0, 0xffffffff;
         vote.sync.any.pred %p2, !%p0, 0xffffffff;
         vote.ballot.b32 %o3, %p0;
         selp.b32 %o1, 1, 0, %p1;
         selp.b32 %o2, 1, 0, %p2;",
        &[],
    );
    assert_eq!(outputs, [0xffff_fff8, 0, 1, 7].map(|value| [value; 32]));
}

#[test]
fn votes_without_a_mask_are_of_the_lanes_that_execute() {
    let outputs: [Lanes; 4] = outputs_of(
        "setp.lt.u32 %p1, %lane, 8;
         setp.ge.u32 %p0, %lane, 6;
         @%p1 vote.ballot.b32 %o0, %p0;
         @%p1 vote.all.pred %p2, !%p0;
         @%p1 vote.any.pred %p3, %p0;
         @%p1 vote.uni.pred %p4, %p1;
         selp.b32 %o1, 1, 0, %p2;
         selp.b32 %o2, 1, 0, %p3;
         selp.b32 %o3, 1, 0, %p4;",
        &[],
    );
    let first = |yes, no| lanes(|lane| if lane < 8 { yes } else { no });
    // A predicate that nothing wrote is false.
    assert_eq!(outputs, [first(0xc0, UNTOUCHED), [0; 32], first(1, 0), first(1, 0)]);
}

#[test]
fn a_vote_by_a_lane_that_is_not_in_its_mask() {
    let outcome =
        Instructions::new("setp.eq.u32 %p0, %lane, 0;\nvote.sync.any.pred %p1, %p0, 0xfffeffff;", 0, 0).run(&[]);
    let finding = outcome.only_finding(Kind::InactiveLane, "vote.sync.any.pred");
    assert_eq!(finding.thread[0], 16);
    assert!(finding.message.contains("own member mask 0xfffeffff"), "{finding:#?}");
}

#[test]
fn matches_of_any() {
    let values = lanes(|lane| [7, 8, 7, 9][lane as usize % 4]);
    let high = lanes(|lane| lane / 16);
    let [narrow, wide] = outputs_of(
        "match.any.sync.b32 %o0, %i0, -1;
         mov.b64 %d0, {%i0, %i1};
         match.any.sync.b64 %o1, %d0, -1;",
        &[values, high],
    );
    let of = [0x5555_5555, 0x2222_2222, 0x5555_5555, 0x8888_8888];
    assert_eq!(narrow, lanes(|lane| of[lane as usize % 4]));
    let half = |lane: u32| if lane < 16 { 0xffff } else { 0xffff_0000 };
    assert_eq!(wide, lanes(|lane| of[lane as usize % 4] & half(lane)));
}

#[test]
fn matches_of_any_among_some() {
    // Lanes 0 to 7; lane 8 has the value of lane 0 but doesn't take part.
    let outcome = Instructions::new(
        "setp.lt.u32 %p0, %lane, 8;
         @%p0 match.any.sync.b32 %o0, %i0, 0xff;",
        1,
        1,
    )
    .run(&[lanes(|lane| lane % 8 / 6)]);
    assert_eq!(
        outcome.outputs()[0],
        lanes(|lane| match lane {
            0..6 => 0x3f,
            6..8 => 0xc0,
            _ => UNTOUCHED,
        })
    );
    assert!(outcome.findings.is_empty(), "{:#?}", outcome.findings);
}

#[test]
fn matches_of_all() {
    let body = "match.all.sync.b32 %o0|%p0, %i0, %i2;
        mov.b64 %d0, {%i0, %i1};
        match.all.sync.b64 %o1|%p1, %d0, %i2;
        match.all.sync.b32 %o4, %i0, %i2;
        selp.b32 %o2, 1, 0, %p0;
        selp.b32 %o3, 1, 0, %p1;";
    let instructions = Instructions::new(body, 3, 5);
    // One value in each half of the warp, and one lane of the upper half with other upper bits.
    let values = lanes(|lane| 5 + lane / 16);
    let high = lanes(|lane| u32::from(lane == 20));
    let outcome = instructions.run(&[values, high, [!0; 32]]);
    assert_eq!(outcome.outputs(), [[0; 32]; 5]);
    let halves = lanes(|lane| if lane < 16 { 0xffff } else { 0xffff_0000 });
    let outcome = instructions.run(&[values, high, halves]);
    let lower = |value| lanes(|lane| if lane < 16 { value } else { 0 });
    assert_eq!(outcome.outputs(), [halves, lower(0xffff), [1; 32], lower(1), halves]);
    assert!(outcome.findings.is_empty(), "{:#?}", outcome.findings);
}

#[test]
fn reductions_written_out() {
    // -1, then 1 to 31.
    let values = lanes(|lane| if lane == 0 { u32::MAX } else { lane });
    let outputs: [Lanes; 9] = outputs_of(
        "redux.sync.add.u32 %o0, %i0, -1;
         redux.sync.add.s32 %o1, %i0, -1;
         redux.sync.min.u32 %o2, %i0, -1;
         redux.sync.min.s32 %o3, %i0, -1;
         redux.sync.max.u32 %o4, %i0, -1;
         redux.sync.max.s32 %o5, %i0, -1;
         redux.sync.and.b32 %o6, %i0, -1;
         redux.sync.or.b32 %o7, %i0, -1;
         redux.sync.xor.b32 %o8, %i0, -1;",
        &[values],
    );
    let minus_one = u32::MAX;
    // 1 ^ 2 ^ ... ^ 31 is 0.
    let expected = [495, 495, 1, minus_one, minus_one, 31, 0, minus_one, minus_one];
    assert_eq!(outputs, expected.map(|value| [value; 32]));
}

#[test]
fn reductions_of_groups() {
    let values = lanes(|lane| (lane + 3) * 0x0101_0101);
    let masks = lanes(|lane| if lane % 2 == 0 { 0x5555_5555 } else { 0xaaaa_aaaa });
    let outputs: [Lanes; 7] = outputs_of(
        "redux.sync.add.u32 %o0, %i0, %i1;
         redux.sync.min.u32 %o1, %i0, %i1;
         redux.sync.max.u32 %o2, %i0, %i1;
         redux.sync.and.b32 %o3, %i0, %i1;
         redux.sync.or.b32 %o4, %i0, %i1;
         redux.sync.xor.b32 %o5, %i0, %i1;
         redux.sync.max.s32 %o6, %i0, %i1;",
        &[values, masks],
    );
    let reduce = |f: fn(u32, u32) -> u32| {
        lanes(|lane| (lane % 2..32).step_by(2).map(|other| values[other as usize]).reduce(f).expect("some lanes"))
    };
    let (sum, least, most) = (reduce(u32::wrapping_add), reduce(u32::min), reduce(u32::max));
    let [and, or, xor] = [reduce(|x, y| x & y), reduce(|x, y| x | y), reduce(|x, y| x ^ y)];
    assert_eq!(outputs, [sum, least, most, and, or, xor, most]);
}

#[test]
fn reductions_of_values_of_one_sign() {
    // -2 to -33, and then 1 to 32.
    let negative = lanes(|lane| u32::MAX - 1 - lane);
    let [least, most, least_unsigned, most_positive, least_positive] = outputs_of(
        "redux.sync.min.s32 %o0, %i0, -1;
         redux.sync.max.s32 %o1, %i0, -1;
         redux.sync.min.u32 %o2, %i0, -1;
         not.b32 %r0, %i0;
         redux.sync.max.u32 %o3, %r0, -1;
         redux.sync.min.s32 %o4, %r0, -1;",
        &[negative],
    );
    assert_eq!([least, most, least_unsigned], [u32::MAX - 32, u32::MAX - 1, u32::MAX - 32].map(|value| [value; 32]));
    assert_eq!([most_positive, least_positive], [32, 1].map(|value| [value; 32]));
}

#[test]
fn a_reduction_of_some_lanes() {
    let outcome = Instructions::new(
        "setp.ge.u32 %p0, %lane, 29;
         @%p0 redux.sync.min.s32 %o0, %i0, 0xe0000000;",
        1,
        1,
    )
    .run(&[lanes(|lane| lane.wrapping_sub(30))]);
    // -1, 0 and 1; all others are less.
    assert_eq!(outcome.outputs()[0], lanes(|lane| if lane >= 29 { u32::MAX } else { UNTOUCHED }));
    assert!(outcome.findings.is_empty(), "{:#?}", outcome.findings);
}

#[test]
fn one_lane_is_elected() {
    let outcome = Instructions::new(
        "setp.lt.u32 %p1, %lane, 24;
         @%p1 elect.sync %o0|%p0, %i0;
         @%p1 elect.sync _|%p2, %i0;
         selp.b32 %o1, 1, 0, %p0;
         selp.b32 %o2, 1, 0, %p2;",
        1,
        3,
    )
    .run(&[lanes(|lane| if lane < 4 { 0xf } else { 0xff_fff0 })]);
    let leaders = lanes(|lane| u32::from(lane == 0 || lane == 4));
    let names = lanes(|lane| match lane {
        0..4 => 0,
        4..24 => 4,
        _ => UNTOUCHED,
    });
    assert_eq!(outcome.outputs(), [names, leaders, leaders]);
    assert!(outcome.findings.is_empty(), "{:#?}", outcome.findings);
}

#[test]
fn the_lanes_that_are_active() {
    let outcome = Instructions::new(
        "setp.lt.u32 %p0, %lane, 5;
         activemask.b32 %o0;
         @%p0 activemask.b32 %o1;
         @!%p0 activemask.b32 %o1;
         @%p0 bra MEET;
         activemask.b32 %o2;
         MEET:
         activemask.b32 %o3;",
        0,
        4,
    )
    .run(&[]);
    let (some, others) = (0x1f, 0xffff_ffe0);
    let by_part = |yes, no| lanes(|lane| if lane < 5 { yes } else { no });
    assert_eq!(outcome.outputs(), [[!0; 32], by_part(some, others), by_part(UNTOUCHED, others), [!0; 32]]);
}

#[test]
fn lanes_that_never_were_are_not_counted() {
    let outcome = Instructions::new(
        "setp.ge.u32 %p0, %lane, 0;
         vote.sync.ballot.b32 %o0, %p0, -1;
         match.any.sync.b32 %o1, 0, -1;
         activemask.b32 %o2;
         redux.sync.add.u32 %o3, 1, -1;
         vote.sync.all.pred %p1, %p0, -1;
         selp.b32 %o4, 1, 0, %p1;",
        0,
        5,
    )
    .run_with(7, &[]);
    let expected = [0x7f, 0x7f, 0x7f, 7, 1].map(|value| lanes(|lane| if lane < 7 { value } else { UNTOUCHED }));
    assert_eq!(outcome.outputs(), expected);
    assert!(outcome.findings.is_empty(), "{:#?}", outcome.findings);
}

#[test]
fn lanes_that_have_exited_are_not_counted() {
    let outcome = Instructions::new(
        "setp.ge.u32 %p0, %lane, 0;
         setp.lt.u32 %p1, %lane, 30;
         @%p1 exit;
         vote.sync.ballot.b32 %o0, %p0, -1;
         vote.sync.all.pred %p2, %p0, -1;
         selp.b32 %o1, 1, 0, %p2;
         redux.sync.max.s32 %o2, %lane, -1;
         elect.sync %o3|%p3, -1;",
        0,
        4,
    )
    .run(&[]);
    let expected = [0xc000_0000, 1, 31, 30].map(|value| lanes(|lane| if lane < 30 { UNTOUCHED } else { value }));
    assert_eq!(outcome.outputs(), expected);
    assert!(outcome.findings.is_empty(), "{:#?}", outcome.findings);
}

#[test]
fn other_forms_are_refused() {
    for body in [
        "vote.sync.none.pred %p0, %p1, -1;",
        "redux.sync.add.f32 %r0, %r1, -1;",
        "redux.sync.and.u32 %r0, %r1, -1;",
        "match.some.sync.b32 %r0, %r1, -1;",
        "match.any.sync.b16 %r0, %r1, -1;",
    ] {
        assert!(refusal_of(body).message.contains("doesn't know"), "{body}");
    }
    assert!(refusal_of("vote.sync.all.pred %p0, %p1;").message.contains("expected 3 operands"));
    assert!(refusal_of("vote.sync.all.pred %p0, %r1, -1;").message.contains("wrong kind"));
    assert!(refusal_of("match.any.sync.b64 %r0, %r1, -1;").message.contains("32 bits where 64 are needed"));
}
