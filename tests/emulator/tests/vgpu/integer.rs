//! Integer arithmetic, against numbers of 128 bits.

use crate::numbers::{INTEGERS, Integer, pairs, random, triples, values};
use crate::ptx::{UNTOUCHED, lanes_of, refusal_of};

const S32: Integer = INTEGERS[3];

/// Checks `op.type d, a` of some types.
#[track_caller]
fn unary(op: &str, types: &[Integer], expected: impl Fn(Integer, i128) -> i128) {
    for ty in types {
        let inputs: Vec<_> = values(ty.bits, 200).into_iter().map(|a| [a]).collect();
        let outputs = lanes_of(&format!("{op}.{} %o0, %i0;", ty.name), ([ty.bits], [ty.bits]), &inputs);
        for ([a], [d]) in inputs.into_iter().zip(outputs) {
            assert_eq!(d, ty.wrap(expected(*ty, ty.value(a))), "{op}.{} of {a:#x}", ty.name);
        }
    }
}

/// Checks `op.type d, a, b` of some types; `d` is `wider` times as wide.
#[track_caller]
fn binary(op: &str, types: &[Integer], wider: u32, expected: impl Fn(Integer, i128, i128) -> i128) {
    for ty in types {
        let result = Integer { bits: ty.bits * wider, ..*ty };
        let inputs = pairs(&values(ty.bits, 15), &values(ty.bits, 15));
        let outputs = lanes_of(&format!("{op}.{} %o0, %i0, %i1;", ty.name), ([ty.bits; 2], [result.bits]), &inputs);
        for ([a, b], [d]) in inputs.into_iter().zip(outputs) {
            let expected = result.wrap(expected(*ty, ty.value(a), ty.value(b)));
            assert_eq!(d, expected, "{op}.{} of {a:#x}, {b:#x}", ty.name);
        }
    }
}

/// Checks `op.type d, a, b, c` of some types; `c` and `d` are `wider` times as wide.
#[track_caller]
fn ternary(op: &str, types: &[Integer], wider: u32, expected: impl Fn(Integer, i128, i128, i128) -> i128) {
    for ty in types {
        let result = Integer { bits: ty.bits * wider, ..*ty };
        let few = [0, 1, 2, 1 << (ty.bits - 1), u64::MAX >> (64 - ty.bits), (1 << (ty.bits - 1)) - 1, 0x35a7, 0xff81];
        let mut inputs = triples(&few);
        inputs.extend(random([ty.bits, ty.bits, result.bits], 500));
        let widths = ([ty.bits, ty.bits, result.bits], [result.bits]);
        let outputs = lanes_of(&format!("{op}.{} %o0, %i0, %i1, %i2;", ty.name), widths, &inputs);
        for ([a, b, c], [d]) in inputs.into_iter().zip(outputs) {
            let expected = result.wrap(expected(*ty, ty.value(a), ty.value(b), result.value(c)));
            assert_eq!(d, expected, "{op}.{} of {a:#x}, {b:#x}, {c:#x}", ty.name);
        }
    }
}

fn signed() -> Vec<Integer> {
    INTEGERS.into_iter().filter(|ty| ty.signed).collect()
}

fn up_to_32() -> Vec<Integer> {
    INTEGERS.into_iter().filter(|ty| ty.bits < 64).collect()
}

fn of_32() -> Vec<Integer> {
    INTEGERS.into_iter().filter(|ty| ty.bits == 32).collect()
}

fn saturated(ty: Integer, value: i128) -> i128 {
    let (least, greatest) = ty.range();
    value.clamp(least, greatest)
}

/// The upper half of a product.
fn high(ty: Integer, a: i128, b: i128) -> i128 {
    if ty.signed { (a * b) >> ty.bits } else { ((a.cast_unsigned() * b.cast_unsigned()) >> ty.bits).cast_signed() }
}

#[test]
fn add() {
    binary("add", &INTEGERS, 1, |_, a, b| a + b);
}

#[test]
fn add_sat() {
    binary("add.sat", &[S32], 1, |ty, a, b| saturated(ty, a + b));
}

#[test]
fn sub() {
    binary("sub", &INTEGERS, 1, |_, a, b| a - b);
}

#[test]
fn sub_sat() {
    binary("sub.sat", &[S32], 1, |ty, a, b| saturated(ty, a - b));
}

#[test]
fn mul_lo() {
    binary("mul.lo", &INTEGERS, 1, |_, a, b| a.wrapping_mul(b));
}

#[test]
fn mul_hi() {
    binary("mul.hi", &INTEGERS, 1, high);
}

#[test]
fn mul_wide() {
    binary("mul.wide", &up_to_32(), 2, |_, a, b| a * b);
}

#[test]
fn mad_lo() {
    ternary("mad.lo", &INTEGERS, 1, |_, a, b, c| a.wrapping_mul(b).wrapping_add(c));
}

#[test]
fn mad_hi() {
    ternary("mad.hi", &INTEGERS, 1, |ty, a, b, c| high(ty, a, b) + c);
}

#[test]
fn mad_hi_sat() {
    ternary("mad.hi.sat", &[S32], 1, |ty, a, b, c| saturated(ty, high(ty, a, b) + c));
}

#[test]
fn mad_wide() {
    ternary("mad.wide", &up_to_32(), 2, |_, a, b, c| a * b + c);
}

#[test]
fn div() {
    // By zero, hardware gives all ones.
    binary("div", &INTEGERS, 1, |_, a, b| a.checked_div(b).unwrap_or(-1));
}

#[test]
fn rem() {
    binary("rem", &INTEGERS, 1, |_, a, b| a.checked_rem(b).unwrap_or(a));
}

#[test]
fn min() {
    binary("min", &INTEGERS, 1, |_, a, b| a.min(b));
    binary("min.relu", &[S32], 1, |_, a, b| a.min(b).max(0));
}

#[test]
fn max() {
    binary("max", &INTEGERS, 1, |_, a, b| a.max(b));
    binary("max.relu", &[S32], 1, |_, a, b| a.max(b).max(0));
}

#[test]
fn abs() {
    unary("abs", &signed(), |_, a| a.abs());
}

#[test]
fn neg() {
    unary("neg", &signed(), |_, a| -a);
}

#[test]
fn sad() {
    ternary("sad", &INTEGERS, 1, |_, a, b, c| (a - b).abs() + c);
}

/// The low 24 bits as a number.
fn low_24(ty: Integer, value: i128) -> i128 {
    let value = value.rem_euclid(1 << 24);
    if ty.signed && value >= 1 << 23 { value - (1 << 24) } else { value }
}

#[test]
fn mul24() {
    let product = |ty, a, b| low_24(ty, a) * low_24(ty, b);
    binary("mul24.lo", &of_32(), 1, product);
    binary("mul24.hi", &of_32(), 1, |ty, a, b| product(ty, a, b) >> 16);
}

#[test]
fn mad24() {
    let product = |ty, a, b| low_24(ty, a) * low_24(ty, b);
    ternary("mad24.lo", &of_32(), 1, |ty, a, b, c| product(ty, a, b) + c);
    ternary("mad24.hi", &of_32(), 1, |ty, a, b, c| (product(ty, a, b) >> 16) + c);
    ternary("mad24.hi.sat", &[S32], 1, |ty, a, b, c| saturated(ty, (product(ty, a, b) >> 16) + c));
}

/// Part `place` of a word, of so many bits.
fn part(word: u64, place: u32, bits: u32, signed: bool) -> i128 {
    Integer { name: "", bits, signed }.value(word >> (place * bits))
}

#[test]
fn dp4a() {
    let mut inputs = triples(&[0, 0xffff_ffff, 0x8080_8080, 0x7f80_ff01, 0x0102_0304]);
    inputs.extend(random([32; 3], 300));
    for (a_signed, b_signed) in [(false, false), (false, true), (true, false), (true, true)] {
        let name = |signed| if signed { "s32" } else { "u32" };
        let body = format!("dp4a.{}.{} %o0, %i0, %i1, %i2;", name(a_signed), name(b_signed));
        for ([a, b, c], [d]) in inputs.iter().zip(lanes_of(&body, ([32; 3], [32]), &inputs)) {
            let products = (0..4).map(|n| part(*a, n, 8, a_signed) * part(*b, n, 8, b_signed));
            assert_eq!(d, S32.wrap(i128::from(*c) + products.sum::<i128>()), "{body} of {a:#x}, {b:#x}, {c:#x}");
        }
    }
}

#[test]
fn dp2a() {
    let mut inputs = triples(&[0, 0xffff_ffff, 0x8000_8000, 0x7fff_80ff, 0x0102_0304]);
    inputs.extend(random([32; 3], 300));
    for (a_signed, b_signed) in [(false, false), (false, true), (true, false), (true, true)] {
        for (half, first) in [("lo", 0), ("hi", 2)] {
            let name = |signed| if signed { "s32" } else { "u32" };
            let body = format!("dp2a.{half}.{}.{} %o0, %i0, %i1, %i2;", name(a_signed), name(b_signed));
            for ([a, b, c], [d]) in inputs.iter().zip(lanes_of(&body, ([32; 3], [32]), &inputs)) {
                let products = (0..2).map(|n| part(*a, n, 16, a_signed) * part(*b, first + n, 8, b_signed));
                assert_eq!(d, S32.wrap(i128::from(*c) + products.sum::<i128>()), "{body} of {a:#x}, {b:#x}, {c:#x}");
            }
        }
    }
}

#[test]
fn packed() {
    let mut halves = vec![0, 1, 0x7fff, 0x8000, 0x8001, 0xffff];
    halves.extend(random([16], 20).into_iter().flatten());
    let words: Vec<u64> =
        halves.iter().zip(halves.iter().cycle().skip(5)).map(|(low, high)| low | high << 16).collect();
    let inputs = pairs(&words, &words);
    type Operation = fn(i128, i128) -> i128;
    let operations: [(&str, bool, Operation); 8] = [
        ("add.u16x2", false, |a, b| a + b),
        ("add.s16x2", true, |a, b| a + b),
        ("min.u16x2", false, |a, b| a.min(b)),
        ("max.u16x2", false, |a, b| a.max(b)),
        ("min.s16x2", true, |a, b| a.min(b)),
        ("max.s16x2", true, |a, b| a.max(b)),
        ("min.relu.s16x2", true, |a, b| a.min(b).max(0)),
        ("max.relu.s16x2", true, |a, b| a.max(b).max(0)),
    ];
    for (op, signed, f) in operations {
        let outputs = lanes_of(&format!("{op} %o0, %i0, %i1;"), ([32; 2], [32]), &inputs);
        for ([a, b], [d]) in inputs.iter().zip(outputs) {
            for place in 0..2 {
                let expected = f(part(*a, place, 16, signed), part(*b, place, 16, signed));
                assert_eq!(part(d, place, 16, false), expected.rem_euclid(1 << 16), "{op} of {a:#x}, {b:#x}");
            }
        }
    }
}

#[test]
fn constants() {
    let [row] = lanes_of(
        "add.u32 %o0, %i0, -1;
         add.s16 %o1, %i1, -3;
         mul.wide.s32 %o2, %i0, -2;
         mad.lo.u32 %o3, %i0, 0x10, 0b101;
         sub.u64 %o4, 017, %i2;",
        ([32, 16, 64], [32, 16, 64, 32, 64]),
        &[[5, 2, 16]],
    )[..] else {
        panic!("one row")
    };
    assert_eq!(row, [4, 0xffff, 10_u64.wrapping_neg(), 85, u64::MAX]);
}

#[test]
fn only_lanes_whose_guard_holds() {
    let inputs: Vec<_> = (0..64).map(|n| [n, n % 3]).collect();
    let outputs = lanes_of("setp.eq.u32 %p0, %i1, 1;\n@!%p0 add.u32 %o0, %i0, 100;", ([32; 2], [32]), &inputs);
    for ([n, third], [d]) in inputs.into_iter().zip(outputs) {
        assert_eq!(d, if third == 1 { UNTOUCHED.into() } else { n + 100 });
    }
}

#[test]
fn forms_that_there_are_not() {
    for body in [
        "add.sat.u32 %o1, %i1, %i1;",
        "mul.u32 %o1, %i1, %i1;",
        "mul.wide.u64 %o2, %i2, %i2;",
        "neg.u32 %o1, %i1;",
        "abs.u64 %o2, %i2;",
        "add.u8 %o0, %i0, %i0;",
        "mul24.lo.u64 %o2, %i2, %i2;",
        "dp4a.u32 %o1, %i1, %i1, %i1;",
        "dp2a.u32.u32 %o1, %i1, %i1, %i1;",
        "min.relu.u32 %o1, %i1, %i1;",
        "add.cc.u16 %o0, %i0, %i0;",
        "add.u32 %o1, %i1;",
        "add.u32 %o1, %i1, %i2;",
        "add.u32 %o1, %i1, %i1, %i1;",
    ] {
        refusal_of(body);
    }
}
