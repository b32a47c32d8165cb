//! Comparisons and choices: `setp`, `set`, `selp`, `slct`.

use half::{bf16, f16};

use crate::numbers::{WIDE_TYPES, pairs, values};
use crate::ptx::{lanes_of, refusal_of};

/// A type that can be compared, its values as numbers.
struct Compared {
    name: &'static str,
    bits: u32,
    relations: &'static [&'static str],
    number: fn(u64) -> Number,
}

/// Integers exactly, and numbers of any floating-point type.
#[derive(Debug, Clone, Copy)]
enum Number {
    Integer(i128),
    Float(f64),
}

const OF_BITS: [&str; 2] = ["eq", "ne"];
const OF_SIGNED: [&str; 6] = ["eq", "ne", "lt", "le", "gt", "ge"];
const OF_UNSIGNED: [&str; 10] = ["eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs"];
const OF_FLOATS: [&str; 14] =
    ["eq", "ne", "lt", "le", "gt", "ge", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"];

fn integers() -> Vec<Compared> {
    fn unsigned(bits: u64) -> Number {
        Number::Integer(bits.into())
    }
    vec![
        Compared { name: "b16", bits: 16, relations: &OF_BITS, number: unsigned },
        Compared { name: "b32", bits: 32, relations: &OF_BITS, number: unsigned },
        Compared { name: "b64", bits: 64, relations: &OF_BITS, number: unsigned },
        Compared { name: "u16", bits: 16, relations: &OF_UNSIGNED, number: unsigned },
        Compared { name: "u32", bits: 32, relations: &OF_UNSIGNED, number: unsigned },
        Compared { name: "u64", bits: 64, relations: &OF_UNSIGNED, number: unsigned },
        Compared {
            name: "s16",
            bits: 16,
            relations: &OF_SIGNED,
            number: |bits| Number::Integer((bits as u16).cast_signed().into()),
        },
        Compared {
            name: "s32",
            bits: 32,
            relations: &OF_SIGNED,
            number: |bits| Number::Integer((bits as u32).cast_signed().into()),
        },
        Compared {
            name: "s64",
            bits: 64,
            relations: &OF_SIGNED,
            number: |bits| Number::Integer(bits.cast_signed().into()),
        },
    ]
}

fn halves() -> [Compared; 2] {
    [
        Compared { name: "f16", bits: 16, relations: &OF_FLOATS, number: |bits| Number::Float(of_f16(bits)) },
        Compared { name: "bf16", bits: 16, relations: &OF_FLOATS, number: |bits| Number::Float(of_bf16(bits)) },
    ]
}

fn floats() -> [Compared; 2] {
    [
        Compared {
            name: "f32",
            bits: 32,
            relations: &OF_FLOATS,
            number: |bits| Number::Float(f32::from_bits(bits as u32).into()),
        },
        Compared { name: "f64", bits: 64, relations: &OF_FLOATS, number: |bits| Number::Float(f64::from_bits(bits)) },
    ]
}

fn of_f16(bits: u64) -> f64 {
    f16::from_bits(bits as u16).to_f64()
}

fn of_bf16(bits: u64) -> f64 {
    bf16::from_bits(bits as u16).to_f64()
}

fn every_type() -> impl Iterator<Item = Compared> {
    integers().into_iter().chain(halves()).chain(floats())
}

impl Compared {
    /// Values that are likely to go wrong, among them numbers of both signs and zeros, infinities, NaN, subnormals.
    fn values(&self) -> Vec<u64> {
        let mut some = values(self.bits, 4);
        let one: u64 = match self.name {
            "f16" => 0x3c00,
            "bf16" => 0x3f80,
            "f32" => 0x3f80_0000,
            "f64" => 0x3ff0_0000_0000_0000,
            _ => return some,
        };
        let infinity = match self.name {
            "f16" => 0x7c00,
            "bf16" => 0x7f80,
            "f32" => 0x7f80_0000,
            _ => 0x7ff0_0000_0000_0000,
        };
        some.truncate(4);
        let sign = 1 << (self.bits - 1);
        for value in [0, 1, one, one + 1, infinity - 1, infinity, infinity + 1] {
            some.extend([value, value | sign]);
        }
        some
    }
}

/// Whether a relation holds, as PTX's table describes it.
fn holds(relation: &str, a: Number, b: Number) -> bool {
    match (a, b) {
        (Number::Integer(a), Number::Integer(b)) => match relation {
            "eq" => a == b,
            "ne" => a != b,
            "lt" | "lo" => a < b,
            "le" | "ls" => a <= b,
            "gt" | "hi" => a > b,
            "ge" | "hs" => a >= b,
            other => panic!("{other}"),
        },
        (Number::Float(a), Number::Float(b)) => {
            let unordered = a.is_nan() || b.is_nan();
            match relation {
                "eq" => a == b,
                "ne" => !unordered && a != b,
                "lt" => a < b,
                "le" => a <= b,
                "gt" => a > b,
                "ge" => a >= b,
                "equ" => unordered || a == b,
                "neu" => a != b,
                "ltu" => unordered || a < b,
                "leu" => unordered || a <= b,
                "gtu" => unordered || a > b,
                "geu" => unordered || a >= b,
                "num" => !unordered,
                "nan" => unordered,
                other => panic!("{other}"),
            }
        }
        (Number::Integer(_), Number::Float(_)) | (Number::Float(_), Number::Integer(_)) => panic!("one type"),
    }
}

type Combination = fn(bool, bool) -> bool;

/// The ways in which a comparison is combined with a predicate.
const COMBINATIONS: [(&str, Combination); 3] = [("and", |t, c| t && c), ("or", |t, c| t || c), ("xor", |t, c| t != c)];

/// Pairs of values, each with a predicate.
fn rows(values: &[u64]) -> Vec<[u64; 3]> {
    pairs(values, values).into_iter().flat_map(|[a, b]| [0, 1].map(|c| [a, b, c])).collect()
}

#[test]
fn setp() {
    for ty in every_type() {
        let inputs = rows(&ty.values());
        for relation in ty.relations {
            let body = format!("setp.{relation}.{} %p0, %i0, %i1;\nselp.u32 %o0, 1, 0, %p0;", ty.name);
            for ([a, b, _], [d]) in inputs.iter().zip(lanes_of(&body, ([ty.bits, ty.bits, 32], [32]), &inputs)) {
                let expected = holds(relation, (ty.number)(*a), (ty.number)(*b));
                assert_eq!(d, u64::from(expected), "setp.{relation}.{} of {a:#x}, {b:#x}", ty.name);
            }
        }
    }
}

#[test]
fn setp_with_two_predicates() {
    for ty in every_type() {
        let inputs = rows(&ty.values());
        for relation in ty.relations {
            let name = ty.name;
            let mut body = format!(
                "setp.ne.u32 %p2, %i2, 0;\nsetp.{relation}.{name} %p0|%p1, %i0, %i1;\n\
                 selp.u32 %o0, 1, 0, %p0;\nselp.u32 %o1, 1, 0, %p1;\n"
            );
            // One way after the other, with `c` and with its opposite.
            for (n, (combination, _)) in COMBINATIONS.iter().enumerate() {
                for (m, not) in ["", "!"].iter().enumerate() {
                    let out = 2 + 4 * n + 2 * m;
                    body += &format!(
                        "setp.{relation}.{combination}.{name} %p0|%p1, %i0, %i1, {not}%p2;\n\
                         selp.u32 %o{out}, 1, 0, %p0;\nselp.u32 %o{}, 1, 0, %p1;\n",
                        out + 1
                    );
                }
            }
            let outputs: Vec<[u64; 14]> = lanes_of(&body, ([ty.bits, ty.bits, 32], [32; 14]), &inputs);
            for ([a, b, c], row) in inputs.iter().zip(outputs) {
                let t = holds(relation, (ty.number)(*a), (ty.number)(*b));
                let mut expected = vec![t, !t];
                for (_, f) in COMBINATIONS {
                    for c in [*c != 0, *c == 0] {
                        expected.extend([f(t, c), f(!t, c)]);
                    }
                }
                let found = row.map(|value| value != 0);
                assert_eq!(found[..], expected[..], "setp.{relation}.{name} of {a:#x}, {b:#x}, {c}");
            }
        }
    }
}

#[test]
fn setp_without_one_of_its_predicates() {
    let body = "setp.lt.s32 _|%p0, %i0, %i1;\nsetp.lt.s32 %p1|_, %i0, %i1;
        selp.u32 %o0, 1, 0, %p0;\nselp.u32 %o1, 1, 0, %p1;";
    assert_eq!(lanes_of(body, ([32; 2], [32; 2]), &[[1, 2], [2, 1]]), [[0, 1], [1, 0]]);
}

#[test]
fn setp_combined_with_the_predicate_that_it_sets() {
    let body = "setp.ne.u32 %p0, %i2, 0;
        setp.lt.and.s32 %p0|%p1, %i0, %i1, %p0;
        selp.u32 %o0, 1, 0, %p0;
        selp.u32 %o1, 1, 0, %p1;";
    let inputs = [[1, 2, 0], [1, 2, 1], [2, 1, 0], [2, 1, 1]];
    assert_eq!(lanes_of(body, ([32; 3], [32; 2]), &inputs), [[0, 0], [1, 0], [0, 0], [0, 1]]);
    let body = body.replace("lt.and.s32", "lt.and.f16x2");
    // 1.0 against 2.0 in the low halves, against 0.5 in the high ones.
    let (a, b) = (0x3c00_3c00, 0x3800_4000);
    assert_eq!(lanes_of(&body, ([32; 3], [32; 2]), &[[a, b, 0], [a, b, 1]]), [[0, 0], [1, 0]]);
    assert_eq!(lanes_of(&body, ([32; 3], [32; 2]), &[[b, a, 0], [b, a, 1]]), [[0, 0], [0, 1]]);
}

#[test]
fn setp_of_constants() {
    let body = "setp.gt.s32 %p0, %i0, -5;
        setp.lt.f32 %p1, %i1, 0f3F800000;
        setp.eq.f64 %p2, 0d4000000000000000, 0d4000000000000000;
        setp.lt.s16 %p3, %i2, -2;
        selp.u32 %o0, 1, 0, %p0;
        selp.u32 %o1, 1, 0, %p1;
        selp.u32 %o2, 1, 0, %p2;
        selp.u32 %o3, 1, 0, %p3;";
    let half = u64::from(0.5f32.to_bits());
    let inputs = [[0xffff_fffc, half, 0xfffd], [0xffff_fffb, half * 2, 0xfffe]];
    assert_eq!(lanes_of(body, ([32, 32, 16], [32; 4]), &inputs), [[1, 1, 1, 1], [0, 0, 1, 0]]);
}

/// Subnormals and zeros of f32, f16; flushed, they are equal.
const TINY: [(&str, u32, [u64; 3], u64); 2] =
    [("f32", 32, [1, 0x8000_0001, 0x007f_ffff], 0x0080_0000), ("f16", 16, [1, 0x8001, 0x03ff], 0x0400)];

#[test]
fn setp_ftz() {
    for (name, bits, subnormals, least) in TINY {
        let inputs: Vec<_> = subnormals.iter().flat_map(|a| [[*a, 0], [*a, least]]).collect();
        let mut body = String::new();
        for (n, relation) in ["eq", "ne", "neu", "gt"].iter().enumerate() {
            body += &format!("setp.{relation}.ftz.{name} %p0, %i0, %i1;\nselp.u32 %o{n}, 1, 0, %p0;\n");
        }
        body += &format!("setp.eq.{name} %p0, %i0, %i1;\nselp.u32 %o4, 1, 0, %p0;\n");
        body += &format!("set.eq.ftz.u32.{name} %o5, %i0, %i1;\n");
        body += &format!("setp.ltu.and.ftz.{name} %p0, %i0, %i1, %p1;\nselp.u32 %o6, 1, 0, %p0;\n");
        let outputs: Vec<[u64; 7]> = lanes_of(&body, ([bits; 2], [32; 7]), &inputs);
        for ([a, b], row) in inputs.iter().zip(outputs) {
            let expected = if *b == 0 { [1, 0, 0, 0, 0, 0xffff_ffff, 0] } else { [0, 1, 1, 0, 0, 0, 0] };
            assert_eq!(row, expected, "{name} {a:#x}, {b:#x}");
        }
    }
}

#[test]
fn setp_of_packed_halves() {
    for (ty, packed) in halves().iter().zip(["f16x2", "bf16x2"]) {
        let some = ty.values();
        let words: Vec<u64> =
            some.iter().zip(some.iter().cycle().skip(7)).map(|(low, high)| low | high << 16).collect();
        let inputs = rows(&words);
        for relation in ty.relations {
            let body = format!(
                "setp.ne.u32 %p2, %i2, 0;
                 setp.{relation}.{packed} %p0|%p1, %i0, %i1;
                 selp.u32 %o0, 1, 0, %p0;
                 selp.u32 %o1, 1, 0, %p1;
                 setp.{relation}.xor.{packed} %p0|%p1, %i0, %i1, %p2;
                 selp.u32 %o2, 1, 0, %p0;
                 selp.u32 %o3, 1, 0, %p1;"
            );
            for ([a, b, c], row) in inputs.iter().zip(lanes_of(&body, ([32; 3], [32; 4]), &inputs)) {
                let part = |n: u32| holds(relation, (ty.number)(a >> n & 0xffff), (ty.number)(b >> n & 0xffff));
                let (low, high, c) = (part(0), part(16), *c != 0);
                let expected = [low, high, low != c, high != c].map(u64::from);
                assert_eq!(row, expected, "setp.{relation}.{packed} of {a:#x}, {b:#x}, {c}");
            }
        }
    }
}

/// Destinations of `set` with what they get where a comparison holds.
const TRUTHS: [(&str, u32, u64); 7] = [
    ("u32", 32, 0xffff_ffff),
    ("s32", 32, 0xffff_ffff),
    ("f32", 32, 0x3f80_0000),
    ("f16", 16, 0x3c00),
    ("bf16", 16, 0x3f80),
    ("u16", 16, 0xffff),
    ("s16", 16, 0xffff),
];

#[test]
fn set() {
    for ty in every_type() {
        let half = ty.name.ends_with("f16");
        let inputs = rows(&ty.values());
        for (to, bits, truth) in TRUTHS {
            // Halves aren't compared to an f32, nor other types to 16-bit integers.
            if half && to == "f32" || !half && to.ends_with("16") && !to.ends_with("f16") {
                let [d, a] = [bits, ty.bits].map(|bits| bits.ilog2() - 4);
                refusal_of(&format!("set.eq.{to}.{} %o{d}, %i{a}, %i{a};", ty.name));
                continue;
            }
            for relation in ty.relations {
                let name = ty.name;
                let body = format!(
                    "setp.ne.u32 %p0, %i2, 0;
                     set.{relation}.{to}.{name} %o0, %i0, %i1;
                     set.{relation}.and.{to}.{name} %o1, %i0, %i1, %p0;
                     set.{relation}.or.{to}.{name} %o2, %i0, %i1, !%p0;
                     set.{relation}.xor.{to}.{name} %o3, %i0, %i1, %p0;"
                );
                for ([a, b, c], row) in inputs.iter().zip(lanes_of(&body, ([ty.bits, ty.bits, 32], [bits; 4]), &inputs))
                {
                    let t = holds(relation, (ty.number)(*a), (ty.number)(*b));
                    let c = *c != 0;
                    let expected = [t, t && c, t || !c, t != c].map(|holds| if holds { truth } else { 0 });
                    assert_eq!(row, expected, "set.{relation}.{to}.{name} of {a:#x}, {b:#x}, {c}");
                }
            }
        }
    }
}

#[test]
fn set_of_packed_halves() {
    for (ty, packed, one) in [(&halves()[0], "f16x2", 0x3c00), (&halves()[1], "bf16x2", 0x3f80)] {
        let some = ty.values();
        let words: Vec<u64> =
            some.iter().zip(some.iter().cycle().skip(5)).map(|(low, high)| low | high << 16).collect();
        let inputs = rows(&words);
        for relation in ty.relations {
            let body = format!(
                "setp.ne.u32 %p0, %i2, 0;
                 set.{relation}.{packed}.{packed} %o0, %i0, %i1;
                 set.{relation}.u32.{packed} %o1, %i0, %i1;
                 set.{relation}.and.s32.{packed} %o2, %i0, %i1, %p0;"
            );
            for ([a, b, c], row) in inputs.iter().zip(lanes_of(&body, ([32; 3], [32; 3]), &inputs)) {
                let part = |n: u32| holds(relation, (ty.number)(a >> n & 0xffff), (ty.number)(b >> n & 0xffff));
                let both = |truth: u64, c: bool| {
                    [part(0), part(16)].iter().rev().fold(0, |word, t| word << 16 | if *t && c { truth } else { 0 })
                };
                let expected = [both(one, true), both(0xffff, true), both(0xffff, *c != 0)];
                assert_eq!(row, expected, "set.{relation}.{packed} of {a:#x}, {b:#x}, {c}");
            }
        }
    }
}

#[test]
fn selp() {
    for (name, bits) in WIDE_TYPES {
        let body = format!("setp.ne.u32 %p0, %i2, 0;\nselp.{name} %o0, %i0, %i1, %p0;");
        let inputs = rows(&values(bits, 3));
        for ([a, b, c], [d]) in inputs.iter().zip(lanes_of(&body, ([bits, bits, 32], [bits]), &inputs)) {
            assert_eq!(d, if *c != 0 { *a } else { *b }, "{body}");
        }
    }
    let body = "setp.ne.u32 %p0, %i0, 0;\nselp.f32 %o0, 0f3F800000, 0f40000000, %p0;\nselp.s16 %o1, -1, 7, %p0;";
    assert_eq!(lanes_of(body, ([32], [32, 16]), &[[0], [1]]), [[0x4000_0000, 7], [0x3f80_0000, 0xffff]]);
}

#[test]
fn slct() {
    let by_integer = [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];
    // Zeros, NaN of both signs, infinities, subnormals.
    let by_float = [
        0,
        0x8000_0000,
        1,
        0x8000_0001,
        0x3f80_0000,
        0xbf80_0000,
        0x7f80_0000,
        0xff80_0000,
        0x7fc0_0000,
        0xffc0_0000,
        0x7f80_0001,
    ];
    for (name, bits) in [("b16", 16), ("u16", 16), ("s32", 32), ("f32", 32), ("u64", 64), ("f64", 64)] {
        let (a, b) = (0x1234_5678_9abc_def1 & (u64::MAX >> (64 - bits)), 5);
        for (by, values) in [("s32", &by_integer[..]), ("f32", &by_float), ("ftz", &by_float)] {
            let body = match by {
                "ftz" => format!("slct.ftz.{name}.f32 %o0, %i0, %i1, %i2;"),
                by => format!("slct.{name}.{by} %o0, %i0, %i1, %i2;"),
            };
            let inputs: Vec<_> = values.iter().map(|c| [a, b, *c]).collect();
            for ([_, _, c], [d]) in inputs.iter().zip(lanes_of(&body, ([bits, bits, 32], [bits]), &inputs)) {
                let number = f32::from_bits(*c as u32);
                let takes_a = match by {
                    "s32" => (*c as u32).cast_signed() >= 0,
                    // The least subnormal below zero is flushed to it.
                    "ftz" => number >= 0.0 || *c == 0x8000_0001,
                    _ => number >= 0.0,
                };
                assert_eq!(d, if takes_a { a } else { b }, "{body} by {c:#x}");
            }
        }
    }
}

#[test]
fn forms_that_there_are_not() {
    for body in [
        "setp.lt.b32 %p0, %i1, %i1;",
        "setp.lo.s32 %p0, %i1, %i1;",
        "setp.hs.f32 %p0, %i1, %i1;",
        "setp.ltu.u32 %p0, %i1, %i1;",
        "setp.num.s64 %p0, %i2, %i2;",
        "setp.eq.ftz.f64 %p0, %i2, %i2;",
        "setp.eq.ftz.bf16 %p0, %i0, %i0;",
        "setp.eq.and.u32 %p0, %i1, %i1;",
        "setp.eq.u32 %p0, %i1, %i1, %p1;",
        "setp.eq.and.or.u32 %p0, %i1, %i1, %p1;",
        "setp.eq.u8 %p0, %i0, %i0;",
        "setp.eq.u32 %i1, %i1, %i1;",
        "setp.eq.f16x2 %p0, %i1, %i1;",
        "set.eq.f64.u32 %o2, %i1, %i1;",
        "set.eq.u64.u32 %o2, %i1, %i1;",
        "selp.u32 %o1, %i1, %i1, %i1;",
        "selp.b8 %o0, %i0, %i0, %p0;",
        "slct.u32.u32 %o1, %i1, %i1, %i1;",
        "slct.ftz.u32.s32 %o1, %i1, %i1, %i1;",
        "setp.u32 %p0, %i1, %i1;",
        "set.eq.u32 %o1, %i1, %i1;",
    ] {
        refusal_of(body);
    }
}
