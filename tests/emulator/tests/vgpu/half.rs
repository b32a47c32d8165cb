//! Arithmetic on f16 and bf16, alone and in pairs.

use std::cmp::Ordering;

use crate::numbers::pairs;
use crate::ptx::{assert_lanes, assert_results, refused};
use crate::rounding::{BF16, F16, Format, Mode, product_sum};

/// A format with its names.
type Half = (&'static str, &'static str, Format);

const FORMATS: [Half; 2] = [("f16", "f16x2", F16), ("bf16", "bf16x2", BF16)];

const SIGN: u64 = 0x8000;
const NAN: u64 = 0x7fff;

fn one(format: Format) -> u64 {
    (format.bias as u64) << format.fraction
}

/// Numbers at the edges of a format.
fn edges(format: Format) -> Vec<u64> {
    let normal = 1 << format.fraction;
    let one = one(format);
    [0, 1, 2, 3, normal - 1, normal, normal + 1, one - 1, one, one + 1, one + normal, format.largest - 1]
        .into_iter()
        .chain([
            format.largest,
            format.largest + 1,
            format.largest + 3,
            one - (u64::from(format.fraction) << format.fraction),
        ])
        .flat_map(|magnitude| [magnitude, SIGN | magnitude])
        .collect()
}

/// Random numbers, some of them near one.
fn random(count: usize, format: Format, seed: u64) -> Vec<u64> {
    let mut random = fastrand::Rng::with_seed(seed);
    let near = |random: &mut fastrand::Rng| one(format) + random.u64(..12 << format.fraction) - (6 << format.fraction);
    (0..count)
        .map(|n| if n % 2 == 0 { random.u64(..=0xffff) } else { near(&mut random) | u64::from(random.bool()) << 15 })
        .collect()
}

fn two_operands(format: Format) -> Vec<[u64; 2]> {
    let edges = edges(format);
    let mut inputs = pairs(&edges, &edges);
    inputs.extend(random(4000, format, 21).as_chunks().0.iter().copied());
    if format.bias == 127 {
        // Products of a bf16 below all f32.
        let mut random = fastrand::Rng::with_seed(22);
        let mut small = || random.u64(..) & 0x80ff | random.u64(55..70) << 7;
        inputs.extend((0..2000).map(|_| [small(), small()]));
    }
    inputs
}

/// With products next to half of the last place of the third operand.
fn three_operands(format: Format) -> Vec<[u64; 3]> {
    let edges = edges(format);
    let mut inputs: Vec<[u64; 3]> = random(6000, format, 23).as_chunks().0.to_vec();
    for (n, a) in edges.iter().enumerate() {
        inputs.extend(edges.iter().map(|b| [*a, *b, edges[(n * 7 + *b as usize) % edges.len()]]));
    }
    let unit = 1 << format.fraction;
    for c in random(400, format, 24) {
        let half_place = (c & 0x7fff) >> format.fraction;
        let Some(exponent) = half_place.checked_sub(u64::from(format.fraction) + 1).filter(|exponent| *exponent > 0)
        else {
            continue;
        };
        for near in [1, 2, 3, 5] {
            // (1 + x) (1 - x), times half of the last place of c: a tie, less x^2.
            let a = exponent << format.fraction | near;
            let b = one(format) - 2 * near;
            inputs.extend([[a, b, c], [SIGN | a, b, c]]);
            // (1 + x) (1 + x) - a power of two: above a tie by x^2, after 2 x.
            inputs.push([exponent << format.fraction, one(format) | (near % unit), c]);
        }
    }
    inputs
}

/// The result of a function of numbers: NaN and infinities are the host's.
fn expected(format: Format, host: f64, finite: bool, zero: bool, compare: impl Fn(f64) -> Ordering) -> u64 {
    if host.is_nan() {
        NAN
    } else if !finite {
        (format.largest + 1) | if host < 0.0 { SIGN } else { 0 }
    } else if compare(0.0) == Ordering::Equal {
        if zero { SIGN } else { 0 }
    } else {
        format.rounded(Mode::Nearest, compare)
    }
}

fn fma(format: Format, [a, b, c]: [u64; 3]) -> u64 {
    let [x, y, z] = [a, b, c].map(|bits| format.number(bits));
    let finite = x.is_finite() && y.is_finite() && z.is_finite();
    let negative = (x * y).is_sign_negative() && z.is_sign_negative();
    expected(format, x * y + z, finite, negative, product_sum(x, y, z))
}

fn sum(format: Format, [a, b]: [u64; 2]) -> u64 {
    fma(format, [a, one(format), b])
}

fn difference(format: Format, [a, b]: [u64; 2]) -> u64 {
    fma(format, [b, SIGN | one(format), a])
}

fn product(format: Format, [a, b]: [u64; 2]) -> u64 {
    // The sign of a zero is that of the product.
    fma(format, [a, b, (a ^ b) & SIGN])
}

fn flush(format: Format, bits: u64) -> u64 {
    if bits & 0x7fff < 1 << format.fraction { bits & SIGN } else { bits }
}

fn saturate(format: Format, bits: u64) -> u64 {
    if format.number(bits) > 0.0 { bits.min(one(format)) } else { 0 }
}

fn relu(bits: u64) -> u64 {
    if bits & SIGN == 0 { bits } else { 0 }
}

/// Checks an instruction on single numbers and on pairs.
fn check<const N: usize>(
    opcode: &str,
    (name, pair, format): Half,
    inputs: &[[u64; N]],
    expected: impl Fn(Format, [u64; N]) -> u64,
) {
    let operands = ["", " %i0", " %i0, %i1", " %i0, %i1, %i2"][N];
    let types = |width: &'static str| vec![width; N + 1];
    assert_lanes(&format!("{opcode}.{name} %o0,{operands};"), &types("b16"), inputs, |input| expected(format, input));
    let pairs: Vec<[u64; N]> = inputs
        .iter()
        .zip(inputs.iter().rev())
        .map(|(low, high)| std::array::from_fn(|n| high[n] << 16 | low[n]))
        .collect();
    assert_lanes(&format!("{opcode}.{pair} %o0,{operands};"), &types("b32"), &pairs, |input| {
        expected(format, input.map(|pair| pair >> 16)) << 16 | expected(format, input.map(|pair| pair & 0xffff))
    });
}

type Binary = fn(Format, [u64; 2]) -> u64;

#[test]
fn sums_and_products_are_rounded_once() {
    let operations: [(&str, Binary); 3] = [("add", sum), ("sub", difference), ("mul", product)];
    for half in FORMATS {
        let inputs = two_operands(half.2);
        for (name, operation) in operations {
            check(name, half, &inputs, operation);
            check(&format!("{name}.rn"), half, &inputs, operation);
            if half.0 == "f16" {
                check(&format!("{name}.sat"), half, &inputs, |format, input| {
                    saturate(format, operation(format, input))
                });
                check(&format!("{name}.rn.ftz"), half, &inputs, |format, input| {
                    flush(format, operation(format, input.map(|bits| flush(format, bits))))
                });
            }
        }
    }
}

#[test]
fn multiply_adds_are_rounded_once() {
    for half in FORMATS {
        let inputs = three_operands(half.2);
        check("fma.rn", half, &inputs, fma);
        check("fma.rn.relu", half, &inputs, |format, input| relu(fma(format, input)));
        if half.0 == "f16" {
            check("fma.rn.sat", half, &inputs, |format, input| saturate(format, fma(format, input)));
            check("fma.rn.ftz.relu", half, &inputs, |format, input| {
                relu(flush(format, fma(format, input.map(|bits| flush(format, bits)))))
            });
        }
    }
}

#[test]
fn a_multiply_add_that_two_roundings_get_wrong() {
    // 1 + 2^-11 (1 + 2^-10) (1 - 2^-10): just below the tie between 1 and the next f16. Rounded to f32 it is the tie;
    // of 1 + 2^-10, which is odd, the tie goes up and the exact value down.
    let (a, b) = (0x1001, 0x3bfe);
    assert_results(
        "fma.rn.f16 %o0, %i0, %i1, %i2;",
        &["b16"; 4],
        &[([a, b, 0x3c01], 0x3c01), ([a, 0x3c00, 0x3c00], 0x3c01)],
    );
    // 2^-67 2^-67 (1 + 2^-7): above half of the smallest bf16, and below it without the second term.
    let cases = [([0x1e00, 0x1e01], 1), ([0x1e00, 0x1e00], 0), ([0x9e00, 0x1e01], 0x8001)];
    assert_results("mul.rn.bf16 %o0, %i0, %i1;", &["b16"; 3], &cases);
}

/// The smaller or larger by value, -0 below +0; of a number and NaN the number.
fn extreme(format: Format, max: bool, nan: bool, [a, b]: [u64; 2]) -> u64 {
    let number = |bits| !format.number(bits).is_nan();
    match (number(a), number(b)) {
        (false, false) => NAN,
        (false, true) | (true, false) if nan => NAN,
        (false, true) => b,
        (true, false) => a,
        (true, true) => {
            // Magnitude and sign as an integer that has the order of the values.
            let rank = |bits: u64| if bits & SIGN != 0 { -1 - (bits & 0x7fff) as i32 } else { bits as i32 };
            if (rank(a) > rank(b)) == max { a } else { b }
        }
    }
}

#[test]
fn minima_and_maxima() {
    for half in FORMATS {
        let inputs = two_operands(half.2);
        for (name, max) in [("min", false), ("max", true)] {
            check(name, half, &inputs, |format, input| extreme(format, max, false, input));
            check(&format!("{name}.NaN"), half, &inputs, |format, input| extreme(format, max, true, input));
            for (rest, nan) in [("xorsign.abs", false), ("NaN.xorsign.abs", true)] {
                check(&format!("{name}.{rest}"), half, &inputs, |format, [a, b]| {
                    let result = extreme(format, max, nan, [a & 0x7fff, b & 0x7fff]);
                    if result == NAN { NAN } else { result | (a ^ b) & SIGN }
                });
            }
        }
    }
    check("max.ftz", FORMATS[0], &two_operands(F16), |format, input| {
        extreme(format, true, false, input.map(|bits| flush(format, bits)))
    });
}

#[test]
fn signs() {
    for half in FORMATS {
        let inputs: Vec<[u64; 1]> = edges(half.2).into_iter().map(|bits| [bits]).collect();
        check("abs", half, &inputs, |_, [a]| a & 0x7fff);
        check("neg", half, &inputs, |_, [a]| a ^ SIGN);
    }
    let inputs: Vec<[u64; 1]> = edges(F16).into_iter().map(|bits| [bits]).collect();
    check("abs.ftz", FORMATS[0], &inputs, |format, [a]| flush(format, a) & 0x7fff);
    check("neg.ftz", FORMATS[0], &inputs, |format, [a]| flush(format, a) ^ SIGN);
}

#[test]
fn forms_that_ptx_has_not_are_refused() {
    for body in [
        "add.rz.f16 %o0, %i0, %i1;",
        "add.relu.f16 %o0, %i0, %i1;",
        "add.sat.bf16 %o0, %i0, %i1;",
        "mul.ftz.bf16 %o0, %i0, %i1;",
        "fma.f16 %o0, %i0, %i1, %i0;",
        "fma.rn.sat.relu.f16 %o0, %i0, %i1, %i0;",
        "min.rn.f16 %o0, %i0, %i1;",
        "neg.sat.f16 %o0, %i0;",
        "abs.ftz.bf16 %o0, %i0;",
    ] {
        refused(body, &["b16"; 3]);
    }
    refused("add.f16 %o0, %i0, %i1;", &["b32"; 3]);
    refused("add.f16x2 %o0, %i0, %i1;", &["b16"; 3]);
}
