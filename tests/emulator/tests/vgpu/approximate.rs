//! Approximate functions: within the errors that PTX documents, and exact where it says what they give.

use crate::float::random;
use crate::ptx::{Case, assert_results, refused, results_of};
use crate::rounding::{BF16, F16, flush};

fn f(bits: u64) -> f64 {
    f32::from_bits(bits as u32).into()
}

const NAN: u64 = 0x7fff_ffff;
const INFINITY: u64 = 0x7f80_0000;
const SIGN: u64 = 0x8000_0000;
const ONE: u64 = 0x3f80_0000;

/// Asserts that `error(a, exact, result)` is small: of the exact value, which `function` gives in f64.
fn close(
    body: &str,
    types: &[&str],
    inputs: &[[u64; 1]],
    value: impl Fn(u64) -> f64,
    function: impl Fn(f64) -> f64,
    bound: impl Fn(f64) -> f64,
) {
    let results = results_of(body, types, inputs);
    let mut compared = 0;
    for ([a], result) in inputs.iter().zip(results) {
        let (exact, result) = (function(value(*a)), value(result));
        // What comes out of the range of the type is for the tables below.
        if exact.is_finite() && exact.abs() < 1e38 && (exact == 0.0 || exact.abs() > 1e-37) {
            compared += 1;
            assert!((result - exact).abs() <= bound(exact), "{body} of {:e} gave {result:e}, not {exact:e}", value(*a));
        }
    }
    assert!(compared * 4 > inputs.len(), "{body}: only {compared} of {} compared", inputs.len());
}

/// Positive f32 of all exponents, and some near one.
fn positive() -> Vec<[u64; 1]> {
    random(4000, 31).into_iter().map(|bits| [bits & 0x7fff_ffff]).filter(|[bits]| *bits < INFINITY).collect()
}

/// Without those that `.ftz` takes for zero.
fn normal(inputs: &[[u64; 1]]) -> Vec<[u64; 1]> {
    inputs.iter().copied().filter(|[bits]| flush(*bits) == *bits).collect()
}

/// f32 in a range.
fn within(limit: f32, seed: u64) -> Vec<[u64; 1]> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..4000).map(|_| [((random.f32() - 0.5) * 2.0 * limit).to_bits().into()]).collect()
}

fn relative(exponent: f64) -> impl Fn(f64) -> f64 {
    move |exact| exact.abs() * (-exponent).exp2()
}

#[test]
fn functions_of_f32_are_within_the_documented_errors() {
    let types = ["f32"; 2];
    for rest in ["approx", "approx.ftz"] {
        let body = |name: &str| format!("{name}.{rest}.f32 %o0, %i0;");
        let positive = || if rest == "approx" { positive() } else { normal(&positive()) };
        close(&body("rcp"), &types, &positive(), f, f64::recip, relative(23.0));
        close(&body("sqrt"), &types, &positive(), f, f64::sqrt, relative(23.0));
        close(&body("rsqrt"), &types, &positive(), f, |a| a.sqrt().recip(), relative(22.9));
        close(&body("ex2"), &types, &within(120.0, 32), f, f64::exp2, relative(22.5));
        close(&body("lg2"), &types, &positive(), f, f64::log2, |exact| (-22.6_f64).exp2() * exact.abs().max(1.0));
        let circle = std::f32::consts::TAU;
        close(&body("sin"), &types, &within(circle, 33), f, f64::sin, |_| (-20.5_f64).exp2());
        close(&body("cos"), &types, &within(circle, 34), f, f64::cos, |_| (-20.5_f64).exp2());
        close(&body("sin"), &types, &within(50.0 * circle, 35), f, f64::sin, |_| (-14.7_f64).exp2());
    }
    close("tanh.approx.f32 %o0, %i0;", &types, &within(10.0, 36), f, f64::tanh, relative(11.0));
}

#[test]
fn quotients_are_within_two_places() {
    let inputs: Vec<[u64; 2]> = random(6000, 37).as_chunks().0.to_vec();
    for rest in ["approx", "approx.ftz", "full", "full.ftz"] {
        let body = format!("div.{rest}.f32 %o0, %i0, %i1;");
        for ([a, b], result) in inputs.iter().zip(results_of(&body, &["f32"; 3], &inputs)) {
            let exact = f(*a) / f(*b);
            let (least, most) = (f64::from(-126).exp2(), f64::from(126).exp2());
            let flushed = rest.ends_with("ftz") && flush(*a) != *a;
            if !flushed && exact.abs() > least && exact.abs() < most && f(*b).abs() >= least && f(*b).abs() <= most {
                assert!((f(result) - exact).abs() <= exact.abs() * f64::from(-22).exp2(), "{body} {a:#x} {b:#x}");
            }
        }
    }
    // Divisors above 2^126 count as infinite where the quotient is approximate.
    let large = 0x7f00_0000;
    let cases =
        [([ONE, large], 0), ([INFINITY, large], NAN), ([ONE, SIGN | large], SIGN), ([ONE, 0x7e80_0000], 0x0080_0000)];
    assert_results("div.approx.f32 %o0, %i0, %i1;", &["f32"; 3], &cases);
    let cases = [([ONE, large], 0x0040_0000), ([INFINITY, large], INFINITY), ([large, large], ONE)];
    assert_results("div.full.f32 %o0, %i0, %i1;", &["f32"; 3], &cases);
    assert_results("div.full.ftz.f32 %o0, %i0, %i1;", &["f32"; 3], &[([ONE, large], 0), ([ONE, 1], INFINITY)]);
}

#[test]
fn values_that_the_documentation_fixes() {
    let minus_one = SIGN | ONE;
    let minus_infinity = SIGN | INFINITY;
    let quiet = 0x7fc0_0000;
    let tables: [(&str, &[Case<1>]); 12] = [
        (
            "rcp.approx",
            &[([0], INFINITY), ([SIGN], minus_infinity), ([minus_infinity], SIGN), ([INFINITY], 0), ([quiet], NAN)],
        ),
        ("rcp.approx.ftz", &[([1], INFINITY), ([SIGN | 1], minus_infinity), ([0x7f00_0000], 0)]),
        (
            "sqrt.approx",
            &[([minus_infinity], NAN), ([minus_one], NAN), ([SIGN], SIGN), ([0], 0), ([INFINITY], INFINITY)],
        ),
        ("sqrt.approx.ftz", &[([SIGN | 1], SIGN), ([1], 0), ([0x4080_0000], 0x4000_0000)]),
        (
            "rsqrt.approx",
            &[([minus_one], NAN), ([SIGN], minus_infinity), ([0], INFINITY), ([INFINITY], 0), ([quiet], NAN)],
        ),
        ("rsqrt.approx.ftz", &[([1], INFINITY), ([SIGN | 1], minus_infinity), ([0x4080_0000], 0x3f00_0000)]),
        (
            "ex2.approx",
            &[
                ([minus_infinity], 0),
                ([SIGN | 1], ONE),
                ([1], ONE),
                ([INFINITY], INFINITY),
                ([quiet], NAN),
                ([0xc300_0000], 0x0020_0000),
            ],
        ),
        ("ex2.approx.ftz", &[([0xc300_0000], 0), ([1], ONE), ([0x4040_0000], 0x4100_0000)]),
        (
            "lg2.approx",
            &[
                ([minus_one], NAN),
                ([0], minus_infinity),
                ([SIGN], minus_infinity),
                ([INFINITY], INFINITY),
                ([1], 0xc315_0000),
            ],
        ),
        ("lg2.approx.ftz", &[([1], minus_infinity), ([SIGN | 1], minus_infinity), ([0x4100_0000], 0x4040_0000)]),
        ("sin.approx", &[([INFINITY], NAN), ([minus_infinity], NAN), ([SIGN], SIGN), ([0], 0)]),
        ("cos.approx", &[([INFINITY], NAN), ([SIGN], ONE), ([1], ONE)]),
    ];
    for (name, cases) in tables {
        assert_results(&format!("{name}.f32 %o0, %i0;"), &["f32"; 2], cases);
    }
    let cases = [([INFINITY], ONE), ([minus_infinity], minus_one), ([SIGN], SIGN), ([1], 1), ([quiet], NAN)];
    assert_results("tanh.approx.f32 %o0, %i0;", &["f32"; 2], &cases);
}

#[test]
fn a_double_is_approximated_by_its_upper_half() {
    let mut random = fastrand::Rng::with_seed(38);
    let inputs: Vec<[u64; 1]> =
        (0..2000).map(|_| [random.u64(..1 << 52) | random.u64(1023 - 300..1023 + 300) << 52]).collect();
    let places = f64::from(-19).exp2();
    for (body, exact) in [
        ("rcp.approx.ftz.f64 %o0, %i0;", (|a: f64| a.recip()) as fn(f64) -> f64),
        ("rsqrt.approx.ftz.f64 %o0, %i0;", |a| a.sqrt().recip()),
    ] {
        for ([a], result) in inputs.iter().zip(results_of(body, &["f64"; 2], &inputs)) {
            let exact = exact(f64::from_bits(*a));
            assert_eq!(result & 0xffff_ffff, 0, "{body}");
            assert!((f64::from_bits(result) - exact).abs() <= exact * places, "{body} of {a:#x} gave {result:#x}");
        }
    }
    let (infinity, sign) = (0x7ff0_0000_0000_0000, 1 << 63);
    let nan = 0x7fff_ffff_0000_0000;
    let cases = [([5], infinity), ([sign | 5], sign | infinity), ([infinity], 0), ([infinity | 1], nan)];
    assert_results("rcp.approx.ftz.f64 %o0, %i0;", &["f64"; 2], &cases);
    let cases = [([5], infinity), ([sign], sign | infinity), ([infinity], 0), ([sign | infinity], nan)];
    assert_results("rsqrt.approx.ftz.f64 %o0, %i0;", &["f64"; 2], &cases);
    let cases = [([0x4010_0000_0000_0000], 0x3fe0_0000_0000_0000), ([0], infinity)];
    assert_results("rsqrt.approx.f64 %o0, %i0;", &["f64"; 2], &cases);
}

#[test]
fn functions_of_halves() {
    let all: Vec<[u64; 1]> = (0..0x1_0000).step_by(5).map(|bits| [bits]).collect();
    let in_f16 = |bits: u64| F16.number(bits);
    let in_bf16 = |bits: u64| BF16.number(bits);
    let f16: Vec<[u64; 1]> = all.iter().copied().filter(|[a]| in_f16(*a).abs() < 13.0).collect();
    let bf16: Vec<[u64; 1]> = all.iter().copied().filter(|[a]| in_bf16(*a).abs() < 120.0).collect();
    let types = ["b16"; 2];
    close("ex2.approx.f16 %o0, %i0;", &types, &f16, in_f16, f64::exp2, relative(9.9));
    close("tanh.approx.f16 %o0, %i0;", &types, &f16, in_f16, f64::tanh, |exact| {
        exact.abs() * (-10.987_f64).exp2() + 3e-8
    });
    close("ex2.approx.ftz.bf16 %o0, %i0;", &types, &bf16, in_bf16, f64::exp2, relative(7.0));
    close("tanh.approx.bf16 %o0, %i0;", &types, &bf16, in_bf16, f64::tanh, relative(8.0));
    // 2 and -1; infinity and 0.
    assert_results(
        "ex2.approx.f16x2 %o0, %i0;",
        &["b32"; 2],
        &[([0x4000_bc00], 0x4400_3800), ([0x7c00_0000], 0x7c00_3c00)],
    );
    assert_results(
        "ex2.approx.ftz.bf16x2 %o0, %i0;",
        &["b32"; 2],
        &[([0x4000_bf80], 0x4080_3f00), ([0x7fff_0001], 0x7fff_3f80)],
    );
    assert_results("ex2.approx.ftz.bf16 %o0, %i0;", &["b16"; 2], &[([0xc300], 0), ([0xc2fc], 0x0080)]);
    assert_results(
        "tanh.approx.f16x2 %o0, %i0;",
        &["b32"; 2],
        &[([0x7c00_fc00], 0x3c00_bc00), ([0x8000_0001], 0x8000_0001)],
    );
    assert_results(
        "tanh.approx.bf16x2 %o0, %i0;",
        &["b32"; 2],
        &[([0x7f80_ff80], 0x3f80_bf80), ([0x0001_7fc0], 0x0001_7fff)],
    );
}

#[test]
fn subnormal_results_are_flushed_only_where_asked() {
    let inputs: Vec<[u64; 1]> = (0..200)
        .map(|n| [f64::to_bits(-126.0 - f64::from(n) / 8.0)])
        .map(|[bits]| [u64::from((f64::from_bits(bits) as f32).to_bits())])
        .collect();
    let plain = results_of("ex2.approx.f32 %o0, %i0;", &["f32"; 2], &inputs);
    let flushed = results_of("ex2.approx.ftz.f32 %o0, %i0;", &["f32"; 2], &inputs);
    assert_eq!(plain.iter().map(|bits| flush(*bits)).collect::<Vec<_>>(), flushed);
    assert!(plain[20] != 0 && flushed[20] == 0);
}

#[test]
fn forms_that_ptx_has_not_are_refused() {
    for body in [
        "ex2.f32 %o0, %i0;",
        "lg2.full.f32 %o0, %i0;",
        "rsqrt.rn.f32 %o0, %i0;",
        "tanh.approx.ftz.f32 %o0, %i0;",
        "sin.approx.sat.f32 %o0, %i0;",
        "div.approx.rn.f32 %o0, %i0, %i0;",
    ] {
        refused(body, &["f32"; 2]);
    }
    for body in ["rcp.approx.f64 %o0, %i0;", "sqrt.approx.f64 %o0, %i0;", "ex2.approx.f64 %o0, %i0;"] {
        refused(body, &["f64"; 2]);
    }
    for body in ["ex2.approx.bf16 %o0, %i0;", "ex2.approx.ftz.f16 %o0, %i0;", "lg2.approx.f16 %o0, %i0;"] {
        refused(body, &["b16"; 2]);
    }
}
