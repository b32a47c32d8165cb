//! `cvt` to pairs of 16-bit and 8-bit numbers, to tf32, and `cvt.pack`.

use super::{floats, rounded};
use crate::ptx::{assert_lanes, assert_results, refused};
use crate::rounding::{BF16, E4M3, E5M2, F16, Format, Mode, TF32};

/// Each value with one from elsewhere.
fn couples(values: &[[u64; 1]]) -> Vec<[u64; 2]> {
    let others = values.iter().rev();
    values.iter().zip(others).map(|([a], [b])| [*a, *b]).collect()
}

fn f(bits: u64) -> f64 {
    f32::from_bits(bits as u32).into()
}

/// `.relu` and `.satfinite`: negative results are zero, and none is infinite.
fn limited(format: Format, value: f64, mode: Mode, relu: bool, finite: bool) -> u64 {
    let value = if relu && value.is_sign_negative() && !value.is_nan() { 0.0 } else { value };
    let result = rounded(format, value, mode);
    if finite && !value.is_nan() && result & !format.sign > format.largest { result - 1 } else { result }
}

const MODES: [(&str, Mode); 2] = [("rn", Mode::Nearest), ("rz", Mode::Zero)];

#[test]
fn the_first_of_a_pair_is_the_high_half() {
    const ONE: u64 = 0x3f80_0000;
    const MINUS_TWO: u64 = 0xc000_0000;
    let types = ["b32", "f32", "f32"];
    assert_results("cvt.rn.f16x2.f32 %o0, %i0, %i1;", &types, &[([ONE, MINUS_TWO], 0x3c00_c000)]);
    assert_results("cvt.rn.bf16x2.f32 %o0, %i0, %i1;", &types, &[([ONE, MINUS_TWO], 0x3f80_c000)]);
    let types = ["b16", "f32", "f32"];
    assert_results("cvt.rn.satfinite.e4m3x2.f32 %o0, %i0, %i1;", &types, &[([ONE, MINUS_TWO], 0x38c0)]);
    assert_results("cvt.rn.satfinite.e5m2x2.f32 %o0, %i0, %i1;", &types, &[([ONE, MINUS_TWO], 0x3cc0)]);
}

#[test]
fn pairs_of_f32_to_f16_and_bf16() {
    let inputs = couples(&floats("f32"));
    for (name, format) in [("f16x2", F16), ("bf16x2", BF16)] {
        for (modifier, mode) in MODES {
            for (relu, finite) in [(false, false), (false, true), (true, false), (true, true)] {
                let rest = if relu { ".relu" } else { "" }.to_owned() + if finite { ".satfinite" } else { "" };
                let body = format!("cvt.{modifier}{rest}.{name}.f32 %o0, %i0, %i1;");
                let half = |bits: u64| limited(format, f(bits), mode, relu, finite);
                assert_lanes(&body, &["b32", "f32", "f32"], &inputs, |[a, b]| half(a) << 16 | half(b));
                let single = format!("cvt.{modifier}{rest}.{}.f32 %o0, %i0;", name.trim_end_matches("x2"));
                assert_lanes(&single, &["b16", "f32", "f32"], &inputs, |[a, _]| half(a));
            }
        }
    }
}

#[test]
fn f32_to_tf32() {
    let inputs = floats("f32");
    for (modifier, mode) in [MODES[0], MODES[1], ("rna", Mode::Away)] {
        for (relu, finite) in [(false, false), (false, true), (true, false), (true, true)] {
            if relu && mode == Mode::Away {
                continue;
            }
            let rest = if finite { ".satfinite" } else { "" }.to_owned() + if relu { ".relu" } else { "" };
            let body = format!("cvt.{modifier}{rest}.tf32.f32 %o0, %i0;");
            assert_lanes(&body, &["b32", "f32"], &inputs, |[a]| {
                if f(a).is_nan() { 0x7fff_ffff } else { limited(TF32, f(a), mode, relu, finite) << 13 }
            });
        }
    }
    // Ties: half of the last place above 1, and above the number after it.
    let ties = [0x3f80_1000, 0x3f80_3000, 0xbf80_1000];
    let cases = |results: [u64; 3]| [([ties[0]], results[0]), ([ties[1]], results[1]), ([ties[2]], results[2])];
    let results = cases([0x3f80_2000, 0x3f80_4000, 0xbf80_2000]);
    assert_results("cvt.rna.tf32.f32 %o0, %i0;", &["b32", "f32"], &results);
    let results = cases([0x3f80_0000, 0x3f80_4000, 0xbf80_0000]);
    assert_results("cvt.rn.tf32.f32 %o0, %i0;", &["b32", "f32"], &results);
}

/// An 8-bit format: its name, and the NaN of results.
const BYTES: [(&str, Format); 2] = [("e4m3x2", E4M3), ("e5m2x2", E5M2)];

/// A value in an 8-bit format; the largest instead of what is larger.
fn byte(format: Format, value: f64, relu: bool) -> u64 {
    limited(format, if value.is_infinite() { 1e9_f64.copysign(value) } else { value }, Mode::Nearest, relu, true)
}

#[test]
fn pairs_to_8_bits() {
    let singles = couples(&floats("f32"));
    let halves: Vec<[u64; 1]> = (0..0x1_0000).step_by(3).map(|half| [half | (half ^ 0x9234) << 16]).collect();
    for (name, format) in BYTES {
        for (relu, rest) in [(false, ".satfinite"), (true, ".satfinite.relu")] {
            let body = format!("cvt.rn{rest}.{name}.f32 %o0, %i0, %i1;");
            assert_lanes(&body, &["b16", "f32", "f32"], &singles, |[a, b]| {
                byte(format, f(a), relu) << 8 | byte(format, f(b), relu)
            });
            let body = format!("cvt.rn{rest}.{name}.f16x2 %o0, %i0;");
            assert_lanes(&body, &["b16", "b32"], &halves, |[a]| {
                byte(format, F16.number(a >> 16), relu) << 8 | byte(format, F16.number(a & 0xffff), relu)
            });
        }
    }
}

#[test]
fn all_8_bit_numbers_to_f16() {
    let inputs: Vec<[u64; 1]> = (0..0x100).map(|byte| [byte | (255 - byte) << 8]).collect();
    for (name, format) in BYTES {
        for (relu, rest) in [(false, ""), (true, ".relu")] {
            assert_lanes(&format!("cvt.rn{rest}.f16x2.{name} %o0, %i0;"), &["b32", "b16"], &inputs, |[a]| {
                let half = |bits: u64| limited(F16, format.number(bits), Mode::Nearest, relu, false);
                half(a >> 8) << 16 | half(a & 0xff)
            });
        }
    }
}

#[test]
fn packed_integers_saturate() {
    let s = |value: i32| u64::from(value.cast_unsigned());
    let cases = [([s(70000), s(-5)], 0xffff_0000), ([s(1), s(0x1234)], 0x0001_1234)];
    assert_results("cvt.pack.sat.u16.s32 %o0, %i0, %i1;", &["b32", "s32", "s32"], &cases);
    let cases = [([s(70000), s(-70000)], 0x7fff_8000), ([s(-1), s(2)], 0xffff_0002)];
    assert_results("cvt.pack.sat.s16.s32 %o0, %i0, %i1;", &["b32", "s32", "s32"], &cases);
    let types = ["b32", "s32", "s32", "b32"];
    let above = 0xabcd_1234;
    for (name, big, small, mixed) in [
        ("u8", 0x1234_ff00, 0x1234_0305, 0x1234_0301),
        ("s8", 0x1234_7f80, 0x1234_0305, 0x1234_0301),
        ("u4", 0xcd12_34f0, 0xcd12_3435, 0xcd12_3431),
        ("s4", 0xcd12_3478, 0xcd12_3435, 0xcd12_3431),
        ("u2", 0xbcd1_234c, 0xbcd1_234f, 0xbcd1_234d),
        ("s2", 0xbcd1_2346, 0xbcd1_2345, 0xbcd1_2345),
    ] {
        let cases = [([s(1000), s(-1000), above], big), ([s(3), s(5), above], small), ([s(3), s(1), above], mixed)];
        assert_results(&format!("cvt.pack.sat.{name}.s32.b32 %o0, %i0, %i1, %i2;"), &types, &cases);
    }
}

#[test]
fn forms_that_ptx_has_not_are_refused() {
    for body in [
        "cvt.f16x2.f32 %o0, %i0, %i1;",
        "cvt.rm.f16x2.f32 %o0, %i0, %i1;",
        "cvt.rn.sat.f16x2.f32 %o0, %i0, %i1;",
        "cvt.rn.f16x2.f32 %o0, %i0;",
        "cvt.tf32.f32 %o0, %i0;",
        "cvt.rna.relu.tf32.f32 %o0, %i0;",
        "cvt.pack.u16.s32 %o0, %i0, %i1;",
        "cvt.pack.sat.u8.s32 %o0, %i0, %i1;",
    ] {
        refused(body, &["b32", "f32", "f32"]);
    }
    refused("cvt.rn.e4m3x2.f32 %o0, %i0, %i1;", &["b16", "f32", "f32"]);
    refused("cvt.rz.satfinite.e4m3x2.f32 %o0, %i0, %i1;", &["b16", "f32", "f32"]);
}
