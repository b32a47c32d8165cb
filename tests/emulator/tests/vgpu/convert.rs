//! `cvt` between all types.

mod narrow;

use crate::float::{EDGES, random};
use crate::ptx::{assert_lanes, assert_results, refused};
use crate::rounding::{BF16, F16, F32, Format, MODES, Mode, flush, value};

/// An integer type: name, bits, whether it is signed.
type Integer = (&'static str, u32, bool);

const INTEGERS: [Integer; 8] = [
    ("u8", 8, false),
    ("u16", 16, false),
    ("u32", 32, false),
    ("u64", 64, false),
    ("s8", 8, true),
    ("s16", 16, true),
    ("s32", 32, true),
    ("s64", 64, true),
];

/// The registers that hold a type of so many bits.
fn holders(bits: u32) -> impl Iterator<Item = u32> {
    [16, 32, 64].into_iter().filter(move |holder| *holder >= bits)
}

/// The integer in the low bits.
fn integer(bits: u64, (_, width, signed): Integer) -> i128 {
    let modulus = 1_i128 << width;
    let value = i128::from(bits) % modulus;
    if signed && value >= modulus / 2 { value - modulus } else { value }
}

/// An integer as the low bits of a register.
fn low(value: i128, bits: u32) -> u64 {
    value.rem_euclid(1 << bits) as u64
}

fn limits((_, width, signed): Integer) -> (i128, i128) {
    if signed { (-(1 << (width - 1)), (1 << (width - 1)) - 1) } else { (0, (1 << width) - 1) }
}

/// Integers at the edges of all types, with bits above those that count.
fn integers() -> Vec<[u64; 1]> {
    let mut values = vec![[0], [0x1234_5678_9abc_def0], [0xfedc_ba98_7654_3210]];
    for bits in [4, 7, 8, 15, 16, 23, 24, 25, 31, 32, 52, 53, 54, 62, 63] {
        let power = 1_u64 << bits;
        values
            .extend([power - 1, power, power + 1, power.wrapping_neg(), !power, power | power >> 1].map(|bits| [bits]));
    }
    let mut random = fastrand::Rng::with_seed(11);
    values.extend((0..200).map(|_| [random.u64(..) >> random.u32(0..64)]));
    values
}

/// What of 64 bits a register of a width holds.
fn held(values: &[[u64; 1]], bits: u32) -> Vec<[u64; 1]> {
    values.iter().map(|[value]| [value & u64::MAX >> (64 - bits)]).collect()
}

#[test]
fn integers_to_integers_of_all_widths() {
    let values = integers();
    for from in INTEGERS {
        for to in INTEGERS {
            for (from_holder, to_holder) in holders(from.1).flat_map(|from| holders(to.1).map(move |to| (from, to))) {
                let types = [format!("b{to_holder}"), format!("b{from_holder}")];
                let types = [types[0].as_str(), &types[1]];
                let body = |sat: &str| format!("cvt{sat}.{}.{} %o0, %i0;", to.0, from.0);
                let inputs = held(&values, from_holder);
                assert_lanes(&body(""), &types, &inputs, |[a]| {
                    low(integer(low(integer(a, from), to.1), to), to_holder)
                });
                assert_lanes(&body(".sat"), &types, &inputs, |[a]| {
                    let (least, most) = limits(to);
                    low(integer(a, from).clamp(least, most), to_holder)
                });
            }
        }
    }
}

/// A floating-point type of at most 24 digits.
const FLOATS: [(&str, u32, Format); 3] = [("f16", 16, F16), ("bf16", 16, BF16), ("f32", 32, F32)];

/// How an integer compares with a value.
fn compare(exact: i128, x: f64) -> std::cmp::Ordering {
    if x.is_infinite() {
        return 0.0.partial_cmp(&x).unwrap();
    }
    let floor = x.floor();
    exact.cmp(&(floor as i128)).then(if floor < x { std::cmp::Ordering::Less } else { std::cmp::Ordering::Equal })
}

#[test]
fn integers_to_floats_in_all_directions() {
    let values = integers();
    for from in INTEGERS {
        for holder in holders(from.1) {
            let inputs = held(&values, holder);
            for (modifier, mode) in MODES {
                for (name, bits, format) in FLOATS {
                    let types = [format!("b{bits}"), format!("b{holder}")];
                    let types = [types[0].as_str(), &types[1]];
                    let expected = |exact: i128| {
                        if exact == 0 { 0 } else { format.rounded(mode, |x| compare(exact, x)) }
                    };
                    let body = format!("cvt.{modifier}.{name}.{} %o0, %i0;", from.0);
                    assert_lanes(&body, &types, &inputs, |[a]| expected(integer(a, from)));
                    let body = format!("cvt.{modifier}.sat.{name}.{} %o0, %i0;", from.0);
                    assert_lanes(&body, &types, &inputs, |[a]| expected(integer(a, from).clamp(0, 1)));
                }
            }
        }
    }
}

#[test]
fn integers_to_doubles_in_all_directions() {
    let inputs = integers();
    for from in INTEGERS {
        for (modifier, mode) in MODES {
            let types = ["f64".to_owned(), format!("b{}", from.1.max(16))];
            let types = [types[0].as_str(), &types[1]];
            let inputs = held(&inputs, from.1.max(16));
            let body = format!("cvt.{modifier}.f64.{} %o0, %i0;", from.0);
            assert_lanes(&body, &types, &inputs, |[a]| {
                let exact = integer(a, from);
                // The nearest by the host; from there it is at most a step.
                let near = exact as f64;
                let step = (near as i128).cmp(&exact);
                let (below, above) = match step {
                    std::cmp::Ordering::Equal => (near, near),
                    std::cmp::Ordering::Less => (near, near.next_up()),
                    std::cmp::Ordering::Greater => (near.next_down(), near),
                };
                match mode {
                    Mode::Nearest | Mode::Away => near,
                    Mode::Zero => {
                        if exact < 0 {
                            above
                        } else {
                            below
                        }
                    }
                    Mode::Down => below,
                    Mode::Up => above,
                }
                .to_bits()
            });
        }
    }
}

/// A value rounded to an integer, by its fraction.
fn integral(value: f64, mode: Mode) -> f64 {
    let below = value.div_euclid(1.0);
    let fraction = value - below;
    let up = match mode {
        Mode::Nearest => fraction > 0.5 || fraction == 0.5 && below.rem_euclid(2.0) == 1.0,
        Mode::Away => fraction > 0.5 || fraction == 0.5 && value > 0.0,
        Mode::Zero => fraction > 0.0 && value < 0.0,
        Mode::Down => false,
        Mode::Up => fraction > 0.0,
    };
    if up { below + 1.0 } else { below }
}

/// Values at the edges of integers, as f64.
fn near_integers() -> Vec<f64> {
    let mut values = vec![0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e30, -1e30, 1e-310, -1e-40];
    for exponent in [0, 1, 6, 7, 8, 14, 15, 16, 22, 23, 24, 30, 31, 32, 51, 52, 53, 62, 63, 64] {
        let power = f64::from(exponent).exp2();
        for step in [-1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.5] {
            values.extend([power + step, -power - step]);
        }
    }
    let mut random = fastrand::Rng::with_seed(12);
    values.extend((0..300).map(|_| (random.f64() - 0.5) * f64::from(random.u32(0..70)).exp2()));
    values
}

const INTEGRAL: [(&str, Mode); 4] =
    [("rni", Mode::Nearest), ("rzi", Mode::Zero), ("rmi", Mode::Down), ("rpi", Mode::Up)];

/// The bits of values in a type, as the host rounds them.
fn in_type(name: &str, values: &[f64]) -> Vec<[u64; 1]> {
    values
        .iter()
        .map(|value| match name {
            "f16" => half::f16::from_f64(*value).to_bits().into(),
            "bf16" => half::bf16::from_f64(*value).to_bits().into(),
            "f32" => (*value as f32).to_bits().into(),
            _ => value.to_bits(),
        })
        .map(|bits| [bits])
        .collect()
}

/// The value of bits of a type.
fn of_type(name: &str, bits: u64) -> f64 {
    match name {
        "f16" => F16.number(bits),
        "bf16" => BF16.number(bits),
        "f32" => f32::from_bits(bits as u32).into(),
        _ => f64::from_bits(bits),
    }
}

#[test]
fn floats_to_integers_saturate() {
    let values = near_integers();
    for (name, bits) in [("f16", 16), ("bf16", 16), ("f32", 32), ("f64", 64)] {
        let inputs = in_type(name, &values);
        for to in INTEGERS {
            for holder in holders(to.1) {
                for (modifier, mode) in INTEGRAL {
                    let types = [format!("b{holder}"), format!("b{bits}")];
                    let types = [types[0].as_str(), &types[1]];
                    let expected = |value: f64| {
                        let (least, most) = limits(to);
                        // PTX: NaN is zero, but between wide types the highest bit.
                        let nan = if name == "f64" || to.1 == 64 { 1 << (to.1 - 1) } else { 0 };
                        let result = if value.is_nan() {
                            integer(nan, to)
                        } else if value.abs() > 1e25 {
                            if value > 0.0 { most } else { least }
                        } else {
                            (integral(value, mode) as i128).clamp(least, most)
                        };
                        low(result, holder)
                    };
                    for sat in ["", ".sat"] {
                        let body = format!("cvt.{modifier}{sat}.{}.{name} %o0, %i0;", to.0);
                        assert_lanes(&body, &types, &inputs, |[a]| expected(of_type(name, a)));
                    }
                    if name == "f32" {
                        let body = format!("cvt.{modifier}.ftz.{}.{name} %o0, %i0;", to.0);
                        assert_lanes(&body, &types, &inputs, |[a]| expected(of_type(name, flush(a))));
                    }
                }
            }
        }
    }
}

#[test]
fn written_out_conversions_to_integers() {
    const HALF: u64 = 0x3f00_0000;
    const SIGN: u64 = 1 << 31;
    // 0.5, 1.5, 2.5, -0.5, -1.5, the smallest, 2^31, 3e9, -3e9.
    let inputs = [HALF, 0x3fc0_0000, 0x4020_0000, HALF | SIGN, 0xbfc0_0000, 1, 0x4f00_0000, 0x4f32_d05e, 0xcf32_d05e];
    let table: [(&str, [i32; 9]); 4] = [
        ("rni", [0, 2, 2, 0, -2, 0, i32::MAX, i32::MAX, i32::MIN]),
        ("rzi", [0, 1, 2, 0, -1, 0, i32::MAX, i32::MAX, i32::MIN]),
        ("rmi", [0, 1, 2, -1, -2, 0, i32::MAX, i32::MAX, i32::MIN]),
        ("rpi", [1, 2, 3, 0, -1, 1, i32::MAX, i32::MAX, i32::MIN]),
    ];
    for (modifier, results) in table {
        let cases: Vec<([u64; 1], u64)> =
            inputs.iter().zip(results).map(|(input, result)| ([*input], result.cast_unsigned().into())).collect();
        assert_results(&format!("cvt.{modifier}.s32.f32 %o0, %i0;"), &["s32", "f32"], &cases);
    }
    let cases = [([0xbf80_0000], 0), ([0x4f32_d05e], 3_000_000_000), ([0x4f80_0000], 0xffff_ffff), ([0x7fc0_0000], 0)];
    assert_results("cvt.rzi.u32.f32 %o0, %i0;", &["u32", "f32"], &cases);
    assert_results("cvt.rpi.ftz.s32.f32 %o0, %i0;", &["s32", "f32"], &[([1], 0), ([0x0080_0000], 1)]);
}

#[test]
fn floats_to_integers_in_their_own_type() {
    let values = near_integers();
    for (name, bits) in [("f16", 16_u32), ("bf16", 16), ("f32", 32), ("f64", 64)] {
        let ty = format!("b{bits}");
        let inputs = in_type(name, &values);
        let nan = u64::MAX >> (65 - bits);
        let expected = |a: u64, mode: Mode| {
            let value = of_type(name, a);
            if value.is_nan() {
                nan
            } else if value.is_infinite() || value == 0.0 {
                a
            } else {
                in_type(name, &[integral(value, mode).copysign(value)])[0][0]
            }
        };
        for (modifier, mode) in INTEGRAL {
            let types = [ty.as_str(), &ty];
            assert_lanes(&format!("cvt.{modifier}.{name}.{name} %o0, %i0;"), &types, &inputs, |[a]| expected(a, mode));
            assert_lanes(&format!("cvt.{modifier}.sat.{name}.{name} %o0, %i0;"), &types, &inputs, |[a]| {
                let value = of_type(name, a);
                if value > 0.0 { expected(in_type(name, &[value.min(1.0)])[0][0], mode) } else { 0 }
            });
            if name == "f32" {
                let body = format!("cvt.{modifier}.ftz.f32.f32 %o0, %i0;");
                assert_lanes(&body, &types, &inputs, |[a]| expected(flush(a), mode));
            }
        }
    }
}

/// Values of a type: edges, its neighbours' ties, random ones.
fn floats(name: &str) -> Vec<[u64; 1]> {
    match name {
        "f16" | "bf16" => {
            (0..=0xffff).step_by(7).chain([0x7c00, 0xfc00, 0x7f80, 0xff80, 0x3bff, 1]).map(|a| [a]).collect()
        }
        "f32" => {
            let mut values: Vec<u64> = EDGES.to_vec();
            values.extend(random(1000, 13));
            // Ties of f16 and bf16, with and without something below them, over the exponents of both.
            for exponent in (0..255).step_by(3).chain(100..145) {
                for fraction in
                    [0x1000, 0x1001, 0x0fff, 0x3000, 0x8000, 0x8001, 0x7fff, 0x01_8000, 0x7f_ffff, 0x7f_f000]
                {
                    values.extend([exponent << 23 | fraction, 1 << 31 | exponent << 23 | fraction]);
                }
            }
            values.into_iter().map(|a| [a]).collect()
        }
        _ => {
            let mut random = fastrand::Rng::with_seed(14);
            let mut values: Vec<u64> =
                vec![0, 1 << 63, 1, 0x7ff0_0000_0000_0000, 0xfff0_0000_0000_0000, 0x7ff8_0000_0000_0000];
            for exponent in (-160..=140).step_by(3) {
                let fraction = random.u64(..1 << 52);
                for fraction in [
                    fraction,
                    fraction & !0x1fff_ffff,
                    0x1000_0000,
                    0x1000_0001,
                    0x0fff_ffff,
                    0x200_0000_0000,
                    0x200_0000_0001,
                ] {
                    let bits = ((1023 + exponent) as u64) << 52 | fraction;
                    values.extend([bits, 1 << 63 | bits]);
                }
            }
            values.into_iter().map(|a| [a]).collect()
        }
    }
}

/// What a value becomes in a format: PTX's NaN, the sign of a zero, all else by search.
pub(crate) fn rounded(format: Format, value_of: f64, mode: Mode) -> u64 {
    let sign = if value_of.is_sign_negative() { format.sign } else { 0 };
    if value_of.is_nan() {
        format.sign - 1
    } else if value_of.is_infinite() {
        sign | (format.largest + 1)
    } else if value_of == 0.0 {
        sign
    } else {
        format.rounded(mode, value(value_of))
    }
}

#[test]
fn floats_to_narrower_and_wider_floats() {
    for (from, from_bits) in [("f16", 16), ("bf16", 16), ("f32", 32), ("f64", 64)] {
        let inputs = floats(from);
        for (to, to_bits, format) in FLOATS {
            if from == to {
                continue;
            }
            let types = [format!("b{to_bits}"), format!("b{from_bits}")];
            let types = [types[0].as_str(), &types[1]];
            for (modifier, mode) in MODES {
                let body = |rest: &str| format!("cvt.{modifier}{rest}.{to}.{from} %o0, %i0;");
                let expected = |a: u64| rounded(format, of_type(from, a), mode);
                assert_lanes(&body(""), &types, &inputs, |[a]| expected(a));
                assert_lanes(&body(".sat"), &types, &inputs, |[a]| {
                    let value = of_type(from, a);
                    if value > 0.0 { rounded(format, value.min(1.0), mode) } else { 0 }
                });
                if from == "f32" {
                    assert_lanes(&body(".ftz"), &types, &inputs, |[a]| expected(flush(a)));
                } else if to == "f32" {
                    assert_lanes(&body(".ftz"), &types, &inputs, |[a]| flush(expected(a)));
                }
            }
        }
    }
    for (from, plain) in [("f16", "cvt.f32.f16 %o0, %i0;"), ("bf16", "cvt.f32.bf16 %o0, %i0;")] {
        assert_lanes(plain, &["f32", "b16"], &floats(from), |[a]| rounded(F32, of_type(from, a), Mode::Nearest));
    }
}

#[test]
fn floats_to_doubles_are_exact() {
    for (from, bits) in [("f16", 16), ("bf16", 16), ("f32", 32)] {
        let inputs: Vec<[u64; 1]> = floats(from).into_iter().filter(|[a]| !of_type(from, *a).is_nan()).collect();
        let ty = format!("b{bits}");
        assert_lanes(&format!("cvt.f64.{from} %o0, %i0;"), &["f64", &ty], &inputs, |[a]| of_type(from, a).to_bits());
    }
    assert_results(
        "cvt.ftz.f64.f32 %o0, %i0;",
        &["f64", "f32"],
        &[([1], 0), ([0x8000_0001], 1 << 63), ([0x3f80_0000], 0x3ff0_0000_0000_0000)],
    );
}

#[test]
fn copies_flush_and_saturate() {
    let cases = [([1], 1), ([0x8000_0001], 0x8000_0001), ([0xc000_0000], 0xc000_0000)];
    assert_results("cvt.f32.f32 %o0, %i0;", &["f32"; 2], &cases);
    assert_results("cvt.ftz.f32.f32 %o0, %i0;", &["f32"; 2], &[([0x8000_0001], 0x8000_0000), ([0x40], 0)]);
    let cases = [([0x4000_0000], 0x3f80_0000), ([0xbf80_0000], 0), ([0x7fc0_0000], 0), ([0x3e80_0000], 0x3e80_0000)];
    assert_results("cvt.sat.f32.f32 %o0, %i0;", &["f32"; 2], &cases);
    assert_results("cvt.sat.f16.f16 %o0, %i0;", &["f16"; 2], &[([0x4000], 0x3c00), ([0x8001], 0), ([1], 1)]);
}

#[test]
fn an_immediate_or_a_special_register_is_a_source() {
    assert_results("cvt.rn.f32.s32 %o0, -3;", &["f32", "b32"], &[([0], 0xc040_0000)]);
    assert_results("cvt.u64.u32 %o0, %ntid.x;", &["u64", "b32"], &[([0], 32)]);
    assert_results("cvt.rn.f16.f32 %o0, 0f3F800000;", &["f16", "b32"], &[([0], 0x3c00)]);
}

#[test]
fn forms_that_ptx_has_not_are_refused() {
    for (body, types) in [
        ("cvt.f32.s32 %o0, %i0;", ["f32", "s32"]),
        ("cvt.s32.f32 %o0, %i0;", ["s32", "f32"]),
        ("cvt.rn.s32.f32 %o0, %i0;", ["s32", "f32"]),
        ("cvt.rni.f32.s32 %o0, %i0;", ["f32", "s32"]),
        ("cvt.rn.f32.f32 %o0, %i0;", ["f32", "f32"]),
        ("cvt.rna.f32.s32 %o0, %i0;", ["f32", "s32"]),
        ("cvt.ftz.u32.s32 %o0, %i0;", ["u32", "s32"]),
        ("cvt.rn.rz.f32.s32 %o0, %i0;", ["f32", "s32"]),
        ("cvt.rn.relu.f32.s32 %o0, %i0;", ["f32", "s32"]),
        ("cvt.f32.f64 %o0, %i0;", ["f32", "f64"]),
        ("cvt.f16.f32 %o0, %i0;", ["f16", "f32"]),
        ("cvt.rm.relu.f16.f32 %o0, %i0;", ["f16", "f32"]),
        ("cvt.rn.f16.f32 %o0, %i0;", ["b32", "f32"]),
        ("cvt.u32.u64 %o0, %i0;", ["u32", "u32"]),
        ("cvt.u32.b32 %o0, %i0;", ["u32", "u32"]),
        ("cvt.u64.u32 %o0, %i0;", ["u32", "u32"]),
    ] {
        refused(body, &types);
    }
}
