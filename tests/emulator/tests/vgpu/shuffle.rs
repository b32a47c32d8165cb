//! `shfl`: every mode, width and clamp, and lanes that aren't there.

use kwc_emulator::findings::Kind;
use kwc_emulator::options::Checks;

use crate::ptx::{Instructions, Lanes, UNTOUCHED, lanes, outputs_of, refusal_of};

/// What a lane gives away: nothing that looks like a lane's number.
fn values() -> Lanes {
    lanes(|lane| 1000 + 7 * lane)
}

/// A shuffle of `%i0` with `b` in `%i1` and `c` in `%i2`: gives the value and the predicate.
fn shuffle(mode: &str) -> Instructions {
    let body = format!(
        "shfl.sync.{mode}.b32 %o0|%p0, %i0, %i1, %i2, 0xffffffff;
         selp.b32 %o1, 1, 0, %p0;"
    );
    Instructions::new(&body, 3, 2)
}

/// What CUDA says of `__shfl_*_sync(~0u, value, b, width)`: where each lane's value comes from, in a segment of `width`
/// lanes, or `None` if it would come from outside.
type Rule = fn(place: usize, b: usize, width: usize) -> Option<usize>;

const MODES: [(&str, Rule); 4] = [
    ("up", |place, b, _| place.checked_sub(b)),
    ("down", |place, b, width| (place + b < width).then_some(place + b)),
    // A segment above may not be read, one below may.
    ("bfly", |place, b, width| (b < width).then_some(place ^ b)),
    ("idx", |_, b, width| Some(b % width)),
];

#[test]
fn segments_of_every_width() {
    for (mode, rule) in MODES {
        let shuffle = shuffle(mode);
        for width in [1, 2, 4, 8, 16, 32] {
            for b in 0..32 {
                // What nvcc makes of a width: the upper bits name the segment, and the last lane is its bound.
                let c = (32 - width as u32) << 8 | if mode == "up" { 0 } else { 0x1f };
                let outcome = shuffle.run(&[values(), [b as u32; 32], [c; 32]]);
                let mut expected = [[0; 32]; 2];
                for (segment, start) in (0..32).step_by(width).enumerate() {
                    for place in 0..width {
                        let from = rule(place, b, width).map(|place| segment * width + place);
                        let below = (mode == "bfly" && from.is_none()).then_some((start + place) ^ b);
                        let from = from.or(below.filter(|from| *from < start));
                        expected[0][start + place] = values()[from.unwrap_or(start + place)];
                        expected[1][start + place] = u32::from(from.is_some());
                    }
                }
                assert_eq!(outcome.outputs(), expected, "{mode}, width {width}, b {b}");
                assert!(outcome.findings.is_empty(), "{:#?}", outcome.findings);
            }
        }
    }
}

/// The bits of `yes` where `mask` has ones, those of `no` elsewhere.
fn bitwise(mask: u32, yes: u32, no: u32) -> u32 {
    (0..5).map(|bit| 1 << bit).filter(|bit| (if mask & bit != 0 { yes } else { no }) & bit != 0).sum()
}

#[test]
fn any_clamp_and_segment_in_any_lane() {
    let mut random = fastrand::Rng::with_seed(1);
    for (mode, _) in MODES {
        let shuffle = shuffle(mode);
        for _ in 0..500 {
            // Bits that don't count are set as well.
            let (b, c) = (lanes(|_| random.u32(..)), lanes(|_| random.u32(..)));
            let outputs = shuffle.run(&[values(), b, c]).outputs();
            for lane in 0..32 {
                let (distance, clamp, segment) = (b[lane] % 32, c[lane] % 32, c[lane] / 256 % 32);
                let own = lane as u32;
                let bound = bitwise(segment, own, clamp);
                let from = match mode {
                    "up" => (bound..=31).find(|from| from + distance == own),
                    "down" => (0..=bound).find(|from| *from == own + distance),
                    "bfly" => (0..=bound).find(|from| from ^ own == distance),
                    _ => (0..=bound).find(|from| *from == bitwise(segment, own, distance)),
                };
                let expected = [values()[from.unwrap_or(own) as usize], u32::from(from.is_some())];
                let found = [outputs[0][lane], outputs[1][lane]];
                assert_eq!(found, expected, "{mode}, lane {lane}, b {distance}, c {:#x}", c[lane]);
            }
        }
    }
}

#[test]
fn shuffles_written_out() {
    let own = lanes(|lane| lane);
    let [up, down, bfly, idx] = outputs_of(
        "shfl.sync.up.b32 %o0, %i0, 3, 0, -1;
         shfl.sync.down.b32 %o1, %i0, 5, 20, -1;
         shfl.sync.bfly.b32 %o2, %i0, 1, 6, -1;
         shfl.sync.idx.b32 %o3, %i0, 9, 0x181f, -1;",
        &[own],
    );
    assert_eq!(
        up,
        [
            0, 1, 2, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26,
            27, 28
        ]
    );
    // Lane 16 is the first that would read beyond lane 20.
    assert_eq!(
        down,
        [
            5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27,
            28, 29, 30, 31
        ]
    );
    // Lane 6 would read lane 7, which is beyond lane 6; lane 7 may read lane 6.
    assert_eq!(
        bfly,
        [
            1, 0, 3, 2, 5, 4, 6, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28,
            29, 30, 31
        ]
    );
    // Lane 9 modulo 8 of each eight.
    assert_eq!(
        idx,
        [
            1, 1, 1, 1, 1, 1, 1, 1, 9, 9, 9, 9, 9, 9, 9, 9, 17, 17, 17, 17, 17, 17, 17, 17, 25, 25, 25, 25, 25, 25, 25,
            25
        ]
    );
}

#[test]
fn the_destination_may_be_the_source() {
    let [rotated] = outputs_of(
        "mov.b32 %o0, %i0;
         add.u32 %r0, %lane, 1;
         shfl.sync.idx.b32 %o0, %o0, %r0, 0x1f, -1;",
        &[values()],
    );
    assert_eq!(rotated, lanes(|lane| 1000 + 7 * ((lane + 1) % 32)));
}

#[test]
fn a_result_may_be_dropped() {
    let [in_bounds] = outputs_of(
        "shfl.sync.down.b32 _|%p0, %i0, 30, 0x1f, -1;
         selp.b32 %o0, 1, 0, %p0;",
        &[values()],
    );
    assert_eq!(in_bounds, lanes(|lane| u32::from(lane < 2)));
}

#[test]
fn the_form_without_mask() {
    let outcome = Instructions::new(
        "setp.lt.u32 %p1, %lane, 16;
         @%p1 shfl.bfly.b32 %o0|%p0, %i0, 15, 0x1f;",
        1,
        1,
    )
    .run(&[values()]);
    assert_eq!(outcome.outputs()[0], lanes(|lane| if lane < 16 { values()[15 - lane as usize] } else { UNTOUCHED }));
    assert!(outcome.findings.is_empty(), "{:#?}", outcome.findings);
}

/// A shuffle by the lanes of which bit 0 of `%i1` is set, with `c` of 0x1f and the mask in `%i3`.
const BY_SOME: &str = "and.b32 %r0, %i1, 1;
    setp.ne.u32 %p1, %r0, 0;
    @%p1 shfl.sync.idx.b32 %o0, %i0, %i2, 0x1f, %i3;";

fn by_some(exec: u32, from: impl FnMut(u32) -> u32, masks: impl FnMut(u32) -> u32) -> [Lanes; 4] {
    [values(), lanes(|lane| exec >> lane), lanes(from), lanes(masks)]
}

#[test]
fn lanes_outside_the_mask_keep_their_values() {
    let outcome = Instructions::new(BY_SOME, 4, 1).run(&by_some(0x00ff_0f0f, |lane| lane ^ 1, |_| 0x00ff_0f0f));
    let expected = lanes(|lane| if 0x00ff_0f0f >> lane & 1 != 0 { values()[lane as usize ^ 1] } else { UNTOUCHED });
    assert_eq!(outcome.outputs(), [expected]);
    assert!(outcome.findings.is_empty(), "{:#?}", outcome.findings);
}

#[test]
fn predicates_of_other_lanes_stay() {
    // Of the upper half, lane 31 alone is out of bounds.
    let [in_bounds] = outputs_of(
        "setp.lt.u32 %p1, %lane, 16;
         setp.eq.u32 %p0, %lane, 3;
         @!%p1 shfl.sync.down.b32 _|%p0, %i0, 1, 0x1f, 0xffff0000;
         selp.b32 %o0, 1, 0, %p0;",
        &[values()],
    );
    assert_eq!(in_bounds, lanes(|lane| u32::from(lane == 3 || (16..31).contains(&lane))));
}

#[test]
fn groups_of_lanes_may_have_masks_of_their_own() {
    let masks = |lane: u32| if lane < 12 { 0x0fff } else { 0xffff_f000 };
    let outcome = Instructions::new(BY_SOME, 4, 1).run(&by_some(!0, |lane| if lane < 12 { 3 } else { 30 }, masks));
    assert_eq!(outcome.outputs(), [lanes(|lane| values()[if lane < 12 { 3 } else { 30 }])]);
    assert!(outcome.findings.is_empty(), "{:#?}", outcome.findings);
}

/// The finding of a shuffle by the lanes `exec`.
#[track_caller]
fn finding(exec: u32, from: impl FnMut(u32) -> u32, masks: impl FnMut(u32) -> u32) -> (u32, String) {
    let inputs = by_some(exec, from, masks);
    let silent = Checks { synchronisation: false, ..Checks::ALL };
    let outcome = Instructions::with_checks(BY_SOME, 4, 1, silent).run(&inputs);
    assert!(outcome.findings.is_empty(), "{:#?}", outcome.findings);
    let outcome = Instructions::new(BY_SOME, 4, 1).run(&inputs);
    let finding = outcome.only_finding(Kind::InactiveLane, "shfl.sync.idx.b32");
    assert_eq!(finding.count, 1);
    (finding.thread[0], finding.message.clone())
}

#[test]
fn a_source_that_does_not_execute() {
    let (lane, message) = finding(0xffff, |lane| if lane == 5 { 20 } else { lane }, |_| 0xffff);
    assert_eq!(lane, 5);
    assert!(message.contains("reads from lane 20"), "{message}");
}

#[test]
fn a_source_that_is_not_in_the_mask() {
    let masks = |lane: u32| if lane < 16 { 0xffff } else { 0xffff_0000 };
    let (lane, message) = finding(!0, |lane| if lane == 7 { 16 } else { lane }, masks);
    assert_eq!(lane, 7);
    assert!(message.contains("lane 16") && message.contains("0x0000ffff"), "{message}");
}

#[test]
fn a_lane_that_is_not_in_its_own_mask() {
    let (lane, message) = finding(!0, |_| 0, |_| !(1 << 9));
    assert_eq!(lane, 9);
    assert!(message.contains("own member mask 0xfffffdff"), "{message}");
}

#[test]
fn a_mask_that_names_lanes_elsewhere() {
    let (lane, message) = finding(!(1 << 30 | 1), |lane| lane, |_| !0);
    assert_eq!(lane, 1);
    assert!(message.contains("0x40000001 are elsewhere"), "{message}");
}

#[test]
fn masks_that_overlap() {
    let (lane, message) = finding(!0, |lane| lane, |lane| if lane == 4 { 0xf0 } else { !0 });
    assert_eq!(lane, 0);
    assert!(message.contains("lane 4") && message.contains("0x000000f0"), "{message}");
}

#[test]
fn a_target_out_of_bounds_reads_nothing() {
    // Lanes 12 to 15 would read from lanes 16 to 19, which don't execute.
    let body = "setp.lt.u32 %p1, %lane, 16;\n@%p1 shfl.sync.down.b32 %o0, %i0, 4, 15, 0xffff;";
    let outcome = Instructions::new(body, 1, 1).run(&[values()]);
    assert_eq!(
        outcome.outputs()[0],
        lanes(|lane| match lane {
            0..12 => values()[lane as usize + 4],
            12..16 => values()[lane as usize],
            _ => UNTOUCHED,
        })
    );
    assert!(outcome.findings.is_empty(), "{:#?}", outcome.findings);
}

#[test]
fn lanes_that_never_were_may_be_named_but_not_read() {
    let body = "shfl.sync.idx.b32 %o0, %i0, %i1, 0x1f, -1;";
    let instructions = Instructions::new(body, 2, 1);
    assert!(instructions.run_with(20, &[values(), [19; 32]]).findings.is_empty());
    let outcome = instructions.run_with(20, &[values(), [20; 32]]);
    let finding = outcome.only_finding(Kind::InactiveLane, "shfl.sync.idx.b32");
    assert_eq!(finding.thread[0], 0);
    assert!(finding.message.contains("reads from lane 20"), "{finding:#?}");
}

#[test]
fn lanes_that_have_exited_may_be_named() {
    let body = "setp.ge.u32 %p0, %lane, 8;\n@%p0 exit;\nshfl.sync.idx.b32 %o0, %i0, 7, 0x1f, -1;";
    let outcome = Instructions::new(body, 1, 1).run(&[values()]);
    assert_eq!(outcome.outputs()[0], lanes(|lane| if lane < 8 { values()[7] } else { UNTOUCHED }));
    assert!(outcome.findings.is_empty(), "{:#?}", outcome.findings);
}

#[test]
fn other_forms_are_refused() {
    assert!(refusal_of("shfl.sync.idx.b32 %r0, %r1, 0, 0x1f;").message.contains("expected 5 operands"));
    assert!(refusal_of("shfl.sync.idx.b64 %d0, %d1, 0, 0x1f, -1;").message.contains("doesn't know"));
    assert!(refusal_of("shfl.sync.ring.b32 %r0, %r1, 0, 0x1f, -1;").message.contains("doesn't know"));
    assert!(refusal_of("shfl.sync.idx.b32 %d0, %r1, 0, 0x1f, -1;").message.contains("64 bits where 32 are needed"));
}
