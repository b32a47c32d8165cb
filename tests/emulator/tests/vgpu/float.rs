//! Arithmetic on f32 and f64.

use std::cmp::Ordering;

use crate::numbers::pairs;
use crate::ptx::{assert_lanes, assert_results, refused, results_of};
use crate::rounding::{F32, MODES, Mode, flush, product_sum, quotient, root};

const NAN: u64 = 0x7fff_ffff;
const INFINITY: u64 = 0x7f80_0000;

fn f(bits: u64) -> f64 {
    f32::from_bits(bits as u32).into()
}

/// f32 at the edges of the format and of roundings.
pub(crate) const EDGES: [u64; 28] = [
    0,
    0x8000_0000,
    1,
    0x8000_0001,
    2,
    3,
    0x007f_ffff,
    0x807f_ffff,
    0x0080_0000,
    0x8080_0000,
    0x0080_0001,
    0x3f80_0000,
    0xbf80_0000,
    0x3f7f_ffff,
    0x3f80_0001,
    0xbf80_0001,
    0x3f00_0000,
    0x3380_0000,
    0x3380_0001,
    0xb380_0000,
    0x4b7f_ffff,
    0x4b80_0001,
    0x7f7f_ffff,
    0xff7f_ffff,
    0x7eff_ffff,
    INFINITY,
    0xff80_0000,
    0x7fc0_0001,
];

/// Random f32, half of them near one.
pub(crate) fn random(count: usize, seed: u64) -> Vec<u64> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..count)
        .map(|n| {
            let bits = random.u32(..);
            u64::from(if n % 2 == 0 { bits } else { bits & 0x83ff_ffff | 0x3c00_0000 })
        })
        .collect()
}

fn random_of<const N: usize>(count: usize, seed: u64) -> Vec<[u64; N]> {
    random(count * N, seed).as_chunks().0.to_vec()
}

/// What a function of f32 must give: NaN and what follows from infinities and zeros is the host's, the sign of an exact
/// zero given, all else by search.
fn expected(host: f32, finite: bool, zero: u64, mode: Mode, compare: impl Fn(f64) -> Ordering) -> u64 {
    if host.is_nan() {
        NAN
    } else if !finite {
        host.to_bits().into()
    } else if compare(0.0) == Ordering::Equal {
        zero
    } else {
        F32.rounded(mode, compare)
    }
}

fn finite(values: &[u64]) -> bool {
    values.iter().all(|bits| f(*bits).is_finite())
}

/// The zero that a sum gives: IEEE 754-2019, 6.3.
fn zero_sum(a: f64, b: f64, mode: Mode) -> u64 {
    let negative = match (a.is_sign_negative(), b.is_sign_negative()) {
        (true, true) => true,
        (false, false) => false,
        _ => mode == Mode::Down,
    };
    if negative { 0x8000_0000 } else { 0 }
}

fn sum(a: u64, b: u64, mode: Mode) -> u64 {
    let host = f(a) as f32 + f(b) as f32;
    expected(host, finite(&[a, b]), zero_sum(f(a), f(b), mode), mode, product_sum(f(a), 1.0, f(b)))
}

fn product(a: u64, b: u64, mode: Mode) -> u64 {
    let host = f(a) as f32 * f(b) as f32;
    expected(host, finite(&[a, b]), (a ^ b) & 0x8000_0000, mode, product_sum(f(a), f(b), 0.0))
}

fn fma(a: u64, b: u64, c: u64, mode: Mode) -> u64 {
    let host = (f(a) * f(b) + f(c)) as f32;
    expected(host, finite(&[a, b, c]), zero_sum(f(a) * f(b), f(c), mode), mode, product_sum(f(a), f(b), f(c)))
}

fn ratio(a: u64, b: u64, mode: Mode) -> u64 {
    let host = f(a) as f32 / f(b) as f32;
    expected(host, finite(&[a, b]) && f(b) != 0.0, (a ^ b) & 0x8000_0000, mode, quotient(f(a), f(b)))
}

fn square_root(a: u64, mode: Mode) -> u64 {
    let host = (f(a) as f32).sqrt();
    expected(host, finite(&[a]), a & 0x8000_0000, mode, root(f(a)))
}

/// Between 0 and 1, NaN is 0.
fn saturate(bits: u64) -> u64 {
    if f(bits) > 0.0 { bits.min(0x3f80_0000) } else { 0 }
}

type Binary = fn(u64, u64, Mode) -> u64;

fn two_operands() -> Vec<[u64; 2]> {
    let mut inputs = pairs(&EDGES, &EDGES);
    inputs.extend(random_of::<2>(1500, 1));
    // Sums that cancel almost entirely.
    inputs.extend(random(200, 2).iter().map(|a| [*a, (a ^ 0x8000_0000).wrapping_add(a % 5)]));
    inputs
}

#[test]
fn sums_and_products_are_rounded_once() {
    let inputs = two_operands();
    let operations: [(&str, Binary); 3] = [
        ("add", sum),
        ("sub", |a, b, mode| if f(b).is_nan() { NAN } else { sum(a, b ^ 0x8000_0000, mode) }),
        ("mul", product),
    ];
    for (name, operation) in operations {
        for (modifier, mode) in MODES {
            let types = ["f32"; 3];
            let body = |rest: &str| format!("{name}.{modifier}{rest}.f32 %o0, %i0, %i1;");
            assert_lanes(&body(""), &types, &inputs, |[a, b]| operation(a, b, mode));
            assert_lanes(&body(".ftz"), &types, &inputs, |[a, b]| flush(operation(flush(a), flush(b), mode)));
            assert_lanes(&body(".sat"), &types, &inputs, |[a, b]| saturate(operation(a, b, mode)));
            assert_lanes(&body(".ftz.sat"), &types, &inputs, |[a, b]| {
                saturate(flush(operation(flush(a), flush(b), mode)))
            });
        }
    }
}

#[test]
fn without_a_rounding_it_is_to_the_nearest() {
    let inputs = two_operands();
    assert_lanes("add.f32 %o0, %i0, %i1;", &["f32"; 3], &inputs, |[a, b]| sum(a, b, Mode::Nearest));
    assert_lanes("mul.f32 %o0, %i0, %i1;", &["f32"; 3], &inputs, |[a, b]| product(a, b, Mode::Nearest));
}

#[test]
fn multiply_adds_are_rounded_once() {
    let mut inputs: Vec<[u64; 3]> = random_of(3000, 3);
    inputs.extend(pairs(&EDGES, &EDGES).iter().flat_map(|[a, b]| [3, 11, 13, 22, 25].map(|n| [*a, *b, EDGES[n]])));
    // The product almost cancels the third: only with a single rounding is something left.
    inputs.extend(random_of::<2>(500, 4).iter().map(|[a, b]| [*a, *b, product(*a, *b, Mode::Nearest) ^ 0x8000_0000]));
    for (modifier, mode) in MODES {
        for name in ["fma", "mad"] {
            let body = |rest: &str| format!("{name}.{modifier}{rest}.f32 %o0, %i0, %i1, %i2;");
            assert_lanes(&body(""), &["f32"; 4], &inputs, |[a, b, c]| fma(a, b, c, mode));
        }
        let body = |rest: &str| format!("fma.{modifier}{rest}.f32 %o0, %i0, %i1, %i2;");
        assert_lanes(&body(".ftz"), &["f32"; 4], &inputs, |[a, b, c]| flush(fma(flush(a), flush(b), flush(c), mode)));
        assert_lanes(&body(".sat"), &["f32"; 4], &inputs, |[a, b, c]| saturate(fma(a, b, c, mode)));
    }
}

#[test]
fn quotients_and_roots_are_rounded_once() {
    let inputs = two_operands();
    let alone: Vec<[u64; 1]> = inputs.iter().map(|[a, _]| [*a]).collect();
    const ONE: u64 = 0x3f80_0000;
    for (modifier, mode) in MODES {
        let two = |rest: &str| format!("div.{modifier}{rest}.f32 %o0, %i0, %i1;");
        assert_lanes(&two(""), &["f32"; 3], &inputs, |[a, b]| ratio(a, b, mode));
        assert_lanes(&two(".ftz"), &["f32"; 3], &inputs, |[a, b]| flush(ratio(flush(a), flush(b), mode)));
        let one = |name: &str, rest: &str| format!("{name}.{modifier}{rest}.f32 %o0, %i0;");
        assert_lanes(&one("rcp", ""), &["f32"; 2], &alone, |[a]| ratio(ONE, a, mode));
        assert_lanes(&one("rcp", ".ftz"), &["f32"; 2], &alone, |[a]| flush(ratio(ONE, flush(a), mode)));
        assert_lanes(&one("sqrt", ""), &["f32"; 2], &alone, |[a]| square_root(a, mode));
        assert_lanes(&one("sqrt", ".ftz"), &["f32"; 2], &alone, |[a]| square_root(flush(a), mode));
    }
}

/// f64 whose sums and products are integers that an `i128` holds.
fn integers<const N: usize>(count: usize) -> Vec<[i64; N]> {
    let mut random = fastrand::Rng::with_seed(5);
    (0..count).map(|_| std::array::from_fn(|_| random.i64(-(1 << 53)..=1 << 53) >> random.u32(0..52))).collect()
}

/// The f64 that an integer below 2^120 rounds to, found from the integer's digits.
fn rounded(exact: i128, mode: Mode) -> u64 {
    let magnitude = exact.unsigned_abs();
    let excess = (128 - magnitude.leading_zeros()).saturating_sub(53);
    let (kept, rest) = (magnitude >> excess, magnitude & ((1 << excess) - 1));
    let up = match mode {
        Mode::Nearest => 2 * rest > 1 << excess || 2 * rest == 1 << excess && kept % 2 == 1,
        Mode::Away => 2 * rest >= 1 << excess,
        Mode::Zero => false,
        Mode::Down => exact < 0 && rest > 0,
        Mode::Up => exact > 0 && rest > 0,
    };
    // Exact: 53 digits and a power of two.
    let value = (kept + u128::from(up)) as f64 * f64::from(excess).exp2();
    (if exact < 0 { -value } else { value }).to_bits()
}

#[test]
fn doubles_are_rounded_once() {
    let inputs = integers::<3>(3000);
    let bits = |values: &[i64; 3]| values.map(|value| (value as f64).to_bits());
    let three: Vec<[u64; 3]> = inputs.iter().map(bits).collect();
    let two: Vec<[u64; 2]> = three.iter().map(|[a, b, _]| [*a, *b]).collect();
    let back = |bits: u64| f64::from_bits(bits) as i128;
    // A sum of two integers of 53 bits isn't often inexact: the second is scaled by 2^50.
    let scaled: Vec<[u64; 2]> =
        two.iter().map(|[a, b]| [*a, (f64::from_bits(*b) * f64::from(50).exp2()).to_bits()]).collect();
    let zero = |exact: i128, mode: Mode, sum: bool| match exact {
        0 if sum && mode == Mode::Down => 1 << 63,
        0 => 0,
        _ => rounded(exact, mode),
    };
    for (modifier, mode) in MODES {
        let nonzero = |values: &[u64]| values.iter().all(|bits| back(*bits) != 0);
        let two: Vec<[u64; 2]> = two.iter().copied().filter(|pair| nonzero(pair)).collect();
        let three: Vec<[u64; 3]> = three.iter().copied().filter(|values| nonzero(values)).collect();
        let body = |name: &str| format!("{name}.{modifier}.f64 %o0, %i0, %i1;");
        assert_lanes(&body("add"), &["f64"; 3], &scaled, |[a, b]| zero(back(a) + back(b), mode, true));
        assert_lanes(&body("sub"), &["f64"; 3], &scaled, |[a, b]| zero(back(a) - back(b), mode, true));
        assert_lanes(&body("mul"), &["f64"; 3], &two, |[a, b]| rounded(back(a) * back(b), mode));
        let fma = format!("fma.{modifier}.f64 %o0, %i0, %i1, %i2;");
        assert_lanes(&fma, &["f64"; 4], &three, |[a, b, c]| zero(back(a) * back(b) + back(c), mode, true));
    }
}

#[test]
fn quotients_and_roots_of_doubles_are_next_to_the_exact_ones() {
    let inputs: Vec<[u64; 2]> = {
        let mut random = fastrand::Rng::with_seed(6);
        // Exponents from -200 to 200, so that no product below comes near the ends of the format.
        let mut value = || random.u64(..) & 0x800f_ffff_ffff_ffff | random.u64(1023 - 200..1023 + 200) << 52;
        (0..3000).map(|_| [value(), value()]).collect()
    };
    let check = |result: u64, mode: Mode, error: &dyn Fn(f64) -> f64| {
        let result = f64::from_bits(result);
        // The exact value less what is asked.
        let [below, at, above] = [result.next_down(), result, result.next_up()].map(error);
        let positive = result > 0.0;
        match mode {
            _ if at == 0.0 => true,
            Mode::Up => at < 0.0 && below > 0.0,
            Mode::Down => at > 0.0 && above < 0.0,
            Mode::Zero => {
                if positive {
                    at > 0.0 && above < 0.0
                } else {
                    at < 0.0 && below > 0.0
                }
            }
            Mode::Nearest | Mode::Away => below > 0.0 && above < 0.0 && at.abs() <= below.abs().min(above.abs()),
        }
    };
    for (modifier, mode) in MODES {
        let quotients = results_of(&format!("div.{modifier}.f64 %o0, %i0, %i1;"), &["f64"; 3], &inputs);
        let reciprocals = results_of(&format!("rcp.{modifier}.f64 %o0, %i1;"), &["f64"; 3], &inputs);
        let roots = results_of(&format!("abs.f64 %i0, %i0; sqrt.{modifier}.f64 %o0, %i0;"), &["f64"; 3], &inputs);
        for (n, input) in inputs.iter().enumerate() {
            let [a, b] = input.map(f64::from_bits);
            assert!(check(quotients[n], mode, &|x| (-x).mul_add(b, a) * b.signum()), "{a:e} / {b:e}, {modifier}");
            assert!(check(reciprocals[n], mode, &|x| (-x).mul_add(b, 1.0) * b.signum()), "1 / {b:e}, {modifier}");
            assert!(check(roots[n], mode, &|x| (-x).mul_add(x, a.abs())), "root of {a:e}, {modifier}");
        }
    }
}

#[test]
fn doubles_at_the_ends_of_the_format() {
    const MAX: u64 = 0x7fef_ffff_ffff_ffff;
    const INFINITY: u64 = 0x7ff0_0000_0000_0000;
    const SIGN: u64 = 1 << 63;
    const TWO: u64 = 2 << 61;
    const HALF: u64 = 0x3fe0_0000_0000_0000;
    // Overflow goes to infinity or to the largest; below the smallest lies zero or the smallest.
    let table = [
        ("rn", [INFINITY, SIGN | INFINITY, 0]),
        ("rz", [MAX, SIGN | MAX, 0]),
        ("rm", [MAX, SIGN | INFINITY, 0]),
        ("rp", [INFINITY, SIGN | MAX, 1]),
    ];
    for (modifier, [over, under, tiny]) in table {
        let cases = [([MAX, TWO], over), ([SIGN | MAX, TWO], under), ([1, HALF], tiny), ([1, 1], tiny)];
        assert_results(&format!("mul.{modifier}.f64 %o0, %i0, %i1;"), &["f64"; 3], &cases);
        let cases = [([MAX, HALF], over), ([1, TWO], tiny)];
        assert_results(&format!("div.{modifier}.f64 %o0, %i0, %i1;"), &["f64"; 3], &cases);
        let cases = [([MAX, MAX], over), ([SIGN | MAX, SIGN | MAX], under), ([INFINITY, MAX], INFINITY), ([1, 1], 2)];
        assert_results(&format!("add.{modifier}.f64 %o0, %i0, %i1;"), &["f64"; 3], &cases);
        // Three halves of the smallest number: a tie.
        let up = if modifier == "rn" || modifier == "rp" { 2 } else { 1 };
        // What overflows on the way may come back.
        let cases = [([3, HALF, 0], up), ([MAX, TWO, SIGN | MAX], MAX)];
        assert_results(&format!("fma.{modifier}.f64 %o0, %i0, %i1, %i2;"), &["f64"; 4], &cases);
        // The root of the smallest number, 2^-537, and of its double.
        let cases = [([1], (1023 - 537) << 52), ([INFINITY], INFINITY), ([SIGN], SIGN)];
        assert_results(&format!("sqrt.{modifier}.f64 %o0, %i0;"), &["f64"; 2], &cases);
    }
}

#[test]
fn a_double_nan_lives_on() {
    let quiet = 0x7ff8_0000_0000_1234;
    for modifier in ["rn", "rz", "rm", "rp"] {
        let cases = [([quiet, 0x3ff0_0000_0000_0000], quiet), ([0x3ff0_0000_0000_0000, quiet], quiet)];
        assert_results(&format!("add.{modifier}.f64 %o0, %i0, %i1;"), &["f64"; 3], &cases);
    }
}

const ONE: u64 = 0x3f80_0000;
const MINUS_TWO: u64 = 0xc000_0000;
const MINUS_ZERO: u64 = 0x8000_0000;
const QUIET: u64 = 0x7fc0_1234;
const SIGN: u64 = 1 << 31;

#[test]
fn minima_and_maxima() {
    // a, b, minimum, maximum.
    let cases = [
        (ONE, MINUS_TWO, MINUS_TWO, ONE),
        (MINUS_TWO, ONE, MINUS_TWO, ONE),
        (0, MINUS_ZERO, MINUS_ZERO, 0),
        (MINUS_ZERO, 0, MINUS_ZERO, 0),
        (MINUS_ZERO, MINUS_ZERO, MINUS_ZERO, MINUS_ZERO),
        (INFINITY, ONE, ONE, INFINITY),
        (SIGN | INFINITY, INFINITY, SIGN | INFINITY, INFINITY),
        (1, 2, 1, 2),
        (QUIET, ONE, ONE, ONE),
        (MINUS_TWO, QUIET, MINUS_TWO, MINUS_TWO),
        (QUIET, QUIET | SIGN, NAN, NAN),
    ];
    let [least, most] =
        [0, 1].map(|which| cases.map(|(a, b, least, most)| ([a, b], if which == 0 { least } else { most })));
    assert_results("min.f32 %o0, %i0, %i1;", &["f32"; 3], &least);
    assert_results("max.f32 %o0, %i0, %i1;", &["f32"; 3], &most);
    let nan = |cases: [([u64; 2], u64); 11]| {
        cases.map(|([a, b], result)| ([a, b], if f(a).is_nan() || f(b).is_nan() { NAN } else { result }))
    };
    assert_results("min.NaN.f32 %o0, %i0, %i1;", &["f32"; 3], &nan(least));
    assert_results("max.NaN.f32 %o0, %i0, %i1;", &["f32"; 3], &nan(most));
    let flushed = [([1, 2], 0), ([SIGN | 1, 5], SIGN), ([ONE, 7], 0), ([3, QUIET], 0)];
    assert_results("min.ftz.f32 %o0, %i0, %i1;", &["f32"; 3], &flushed);
    assert_results(
        "max.ftz.NaN.f32 %o0, %i0, %i1;",
        &["f32"; 3],
        &[([1, SIGN | 2], 0), ([ONE, 7], ONE), ([3, QUIET], NAN)],
    );
    let signs = [
        ([ONE, MINUS_TWO], SIGN | ONE, MINUS_TWO),
        ([SIGN | ONE, MINUS_TWO], ONE, 0x4000_0000),
        ([ONE, 0x4000_0000], ONE, 0x4000_0000),
        ([MINUS_ZERO, ONE], MINUS_ZERO, SIGN | ONE),
        ([QUIET, MINUS_TWO], MINUS_TWO, MINUS_TWO),
        ([QUIET, SIGN | QUIET], NAN, NAN),
    ];
    assert_results("min.xorsign.abs.f32 %o0, %i0, %i1;", &["f32"; 3], &signs.map(|(input, least, _)| (input, least)));
    assert_results("max.xorsign.abs.f32 %o0, %i0, %i1;", &["f32"; 3], &signs.map(|(input, _, most)| (input, most)));
    assert_results(
        "max.NaN.xorsign.abs.f32 %o0, %i0, %i1;",
        &["f32"; 3],
        &[([QUIET, MINUS_TWO], NAN), ([ONE, MINUS_TWO], MINUS_TWO)],
    );
}

#[test]
fn minima_and_maxima_of_doubles() {
    let d = |value: f64| value.to_bits();
    let nan = 0x7fff_ffff_ffff_ffff;
    let cases = [
        ([d(1.5), d(-2.0)], d(-2.0), d(1.5)),
        ([d(0.0), d(-0.0)], d(-0.0), d(0.0)),
        ([d(-0.0), d(0.0)], d(-0.0), d(0.0)),
        ([d(f64::NAN), d(3.0)], d(3.0), d(3.0)),
        ([d(3.0), d(f64::NAN)], d(3.0), d(3.0)),
        ([d(f64::NAN), d(f64::NAN)], nan, nan),
        ([d(f64::INFINITY), d(f64::MAX)], d(f64::MAX), d(f64::INFINITY)),
    ];
    assert_results("min.f64 %o0, %i0, %i1;", &["f64"; 3], &cases.map(|(input, least, _)| (input, least)));
    assert_results("max.f64 %o0, %i0, %i1;", &["f64"; 3], &cases.map(|(input, _, most)| (input, most)));
}

#[test]
fn signs() {
    assert_results("abs.f32 %o0, %i0;", &["f32"; 2], &[([MINUS_TWO], 0x4000_0000), ([SIGN], 0), ([SIGN | 1], 1)]);
    assert_results("abs.ftz.f32 %o0, %i0;", &["f32"; 2], &[([MINUS_TWO], 0x4000_0000), ([SIGN | 1], 0)]);
    assert_results("neg.f32 %o0, %i0;", &["f32"; 2], &[([MINUS_TWO], 0x4000_0000), ([0], SIGN), ([1], SIGN | 1)]);
    assert_results("neg.ftz.f32 %o0, %i0;", &["f32"; 2], &[([ONE], SIGN | ONE), ([1], SIGN)]);
    let negative = 1 << 63 | 0x3ff8_0000_0000_0000;
    assert_results("abs.f64 %o0, %i0;", &["f64"; 2], &[([negative], 0x3ff8_0000_0000_0000), ([1 << 63], 0)]);
    assert_results("neg.f64 %o0, %i0;", &["f64"; 2], &[([negative], 0x3ff8_0000_0000_0000), ([0], 1 << 63)]);
    let cases = [([MINUS_TWO, ONE], SIGN | ONE), ([ONE, MINUS_TWO], 0x4000_0000), ([SIGN, QUIET], SIGN | QUIET)];
    assert_results("copysign.f32 %o0, %i0, %i1;", &["f32"; 3], &cases);
    assert_results(
        "copysign.f64 %o0, %i0, %i1;",
        &["f64"; 3],
        &[([1 << 63, 5], 1 << 63 | 5), ([5, negative], negative - (1 << 63))],
    );
}

#[test]
fn properties() {
    // Which of finite, infinite, number, notanumber, normal, subnormal.
    let of_f32 = [
        (ONE, 0b01_0101),
        (SIGN, 0b00_0101),
        (SIGN | 1, 0b10_0101),
        (0x007f_ffff, 0b10_0101),
        (0x0080_0000, 0b01_0101),
        (0xff7f_ffff, 0b01_0101),
        (SIGN | INFINITY, 0b00_0110),
        (QUIET, 0b00_1000),
    ];
    let of_f64 = [
        (1 << 63, 0b00_0101),
        (1, 0b10_0101),
        (0x000f_ffff_ffff_ffff, 0b10_0101),
        (0x8010_0000_0000_0000, 0b01_0101),
        (0x7ff0_0000_0000_0000, 0b00_0110),
        (0xfff0_0000_0000_0001, 0b00_1000),
    ];
    for (n, name) in ["finite", "infinite", "number", "notanumber", "normal", "subnormal"].iter().enumerate() {
        let body = |ty: &str| format!("testp.{name}.{ty} %p0, %i0; selp.b32 %o0, 1, 0, %p0;");
        let cases = |cases: &[(u64, u64)]| -> Vec<([u64; 1], u64)> {
            cases.iter().map(|(value, properties)| ([*value], properties >> n & 1)).collect()
        };
        assert_results(&body("f32"), &["b32", "f32"], &cases(&of_f32));
        assert_results(&body("f64"), &["b32", "f64"], &cases(&of_f64));
    }
}

#[test]
fn forms_that_ptx_has_not_are_refused() {
    for body in [
        "add.rna.f32 %o0, %i0, %i1;",
        "add.rn.rz.f32 %o0, %i0, %i1;",
        "add.relu.f32 %o0, %i0, %i1;",
        "fma.f32 %o0, %i0, %i1, %i0;",
        "div.f32 %o0, %i0, %i1;",
        "div.rn.sat.f32 %o0, %i0, %i1;",
        "min.sat.f32 %o0, %i0, %i1;",
        "abs.rn.f32 %o0, %i0;",
        "copysign.ftz.f32 %o0, %i0, %i1;",
        "add.rn.f32 %o0, %i0;",
    ] {
        let error = refused(body, &["f32"; 3]);
        let name = body.split(' ').next().unwrap();
        assert!(error.line > 10 && error.message.starts_with(name), "{error}");
    }
    for body in ["add.ftz.f64 %o0, %i0, %i1;", "mul.sat.f64 %o0, %i0, %i1;", "min.NaN.f64 %o0, %i0, %i1;"] {
        refused(body, &["f64"; 3]);
    }
}
