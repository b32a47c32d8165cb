//! Shifts, fields, permutations and counts of bits, against descriptions bit by bit; logic.

use crate::numbers::{INTEGERS, pairs, random, triples, values};
use crate::ptx::{lanes_of, refusal_of};

fn bit(word: u64, place: u32) -> bool {
    place < 64 && word >> place & 1 != 0
}

/// A word of bits that a function of their places gives.
fn word(bits: u32, f: impl Fn(u32) -> bool) -> u64 {
    (0..bits).fold(0, |word, place| word | u64::from(f(place)) << place)
}

/// Checks an operation on one word against a function of it.
#[track_caller]
fn unary(op: &str, bits: u32, result: u32, expected: impl Fn(u64) -> u64) {
    let inputs: Vec<_> = values(bits, 300).into_iter().map(|a| [a]).collect();
    for ([a], [d]) in inputs.iter().zip(lanes_of(&format!("{op} %o0, %i0;"), ([bits], [result]), &inputs)) {
        assert_eq!(d, expected(*a), "{op} of {a:#x}");
    }
}

/// Checks an operation on two words bit by bit.
#[track_caller]
fn logic(op: &str, expected: impl Fn(bool, bool) -> bool) {
    for bits in [16, 32, 64] {
        let body = format!("{op}.b{bits} %o0, %i0, %i1;");
        let inputs = pairs(&values(bits, 10), &values(bits, 10));
        for ([a, b], [d]) in inputs.iter().zip(lanes_of(&body, ([bits; 2], [bits]), &inputs)) {
            assert_eq!(d, word(bits, |n| expected(bit(*a, n), bit(*b, n))), "{body} of {a:#x}, {b:#x}");
        }
    }
    let inputs = pairs(&[0, 1], &[0, 1]);
    let body = format!(
        "setp.ne.u32 %p0, %i0, 0;\nsetp.ne.u32 %p1, %i1, 0;\n{op}.pred %p2, %p0, %p1;\nselp.u32 %o0, 1, 0, %p2;"
    );
    for ([a, b], [d]) in inputs.iter().zip(lanes_of(&body, ([32; 2], [32]), &inputs)) {
        assert_eq!(d != 0, expected(*a != 0, *b != 0), "{op}.pred of {a}, {b}");
    }
}

#[test]
fn and() {
    logic("and", |a, b| a && b);
}

#[test]
fn or() {
    logic("or", |a, b| a || b);
}

#[test]
fn xor() {
    logic("xor", |a, b| a != b);
}

#[test]
fn not() {
    for bits in [16, 32, 64] {
        unary(&format!("not.b{bits}"), bits, bits, |a| word(bits, |n| !bit(a, n)));
    }
    let body = "setp.ne.u32 %p0, %i0, 0;\nnot.pred %p1, %p0;\nselp.u32 %o0, 1, 0, %p1;";
    assert_eq!(lanes_of(body, ([32], [32]), &[[0], [1]]), [[1], [0]]);
}

#[test]
fn cnot() {
    for bits in [16, 32, 64] {
        unary(&format!("cnot.b{bits}"), bits, bits, |a| if a == 0 { 1 } else { 0 });
    }
}

#[test]
fn logic_of_predicates_is_for_lanes_whose_guard_holds() {
    let body = "setp.ne.u32 %p0, %i0, 0;
        setp.ne.u32 %p1, %i1, 0;
        setp.eq.u32 %p2, 0, 0;
        @%p1 and.pred %p2, %p0, %p0;
        selp.u32 %o0, 1, 0, %p2;";
    let inputs = pairs(&[0, 1], &[0, 1]);
    assert_eq!(lanes_of(body, ([32; 2], [32]), &inputs), [[1], [0], [1], [1]]);
}

/// Counts of shifts: some beyond every width.
const COUNTS: [u64; 13] = [0, 1, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 0x8000_0001];

#[test]
fn shl() {
    for bits in [16, 32, 64] {
        let inputs = pairs(&values(bits, 20), &COUNTS);
        let body = format!("shl.b{bits} %o0, %i0, %i1;");
        for ([a, count], [d]) in inputs.iter().zip(lanes_of(&body, ([bits, 32], [bits]), &inputs)) {
            let expected = word(bits, |n| u64::from(n) >= *count && bit(*a, n - *count as u32));
            assert_eq!(d, expected, "{body} of {a:#x}, {count}");
        }
    }
}

#[test]
fn shr() {
    for bits in [16, 32, 64] {
        for (kind, signed) in [('b', false), ('u', false), ('s', true)] {
            let inputs = pairs(&values(bits, 20), &COUNTS);
            let body = format!("shr.{kind}{bits} %o0, %i0, %i1;");
            for ([a, count], [d]) in inputs.iter().zip(lanes_of(&body, ([bits, 32], [bits]), &inputs)) {
                let expected = word(bits, |n| {
                    let from = u64::from(n) + count;
                    if from < u64::from(bits) { bit(*a, from as u32) } else { signed && bit(*a, bits - 1) }
                });
                assert_eq!(d, expected, "{body} of {a:#x}, {count}");
            }
        }
    }
}

#[test]
fn shifts_by_constants() {
    let body = "shl.b32 %o0, %i0, 4;\nshl.b32 %o1, %i0, 32;\nshr.s32 %o2, %i0, 40;\nshr.u32 %o3, %i0, 31;";
    let outputs = lanes_of(body, ([32], [32; 4]), &[[0x8000_0001]]);
    assert_eq!(outputs, [[0x10, 0, 0xffff_ffff, 1]]);
}

/// What `bfe` gives, in PTX's own words.
fn field(a: u64, start: u32, length: u32, bits: u32, signed: bool) -> u64 {
    let sign = signed && length > 0 && bit(a, (start + length - 1).min(bits - 1));
    word(bits, |n| if n < length && start + n < bits { bit(a, start + n) } else { sign })
}

/// Starts and lengths: inside, to the end, over it, and such of which only the low 8 bits count.
const PLACES: [u64; 14] = [0, 1, 5, 8, 16, 31, 32, 33, 63, 64, 65, 255, 256, 0xffff_ff04];

#[test]
fn bfe() {
    for (name, bits, signed) in [("u32", 32, false), ("s32", 32, true), ("u64", 64, false), ("s64", 64, true)] {
        let words = values(bits, 3);
        let inputs: Vec<_> = words
            .iter()
            .flat_map(|a| pairs(&PLACES, &PLACES).into_iter().map(|[start, length]| [*a, start, length]))
            .collect();
        let body = format!("bfe.{name} %o0, %i0, %i1, %i2;");
        for ([a, start, length], [d]) in inputs.iter().zip(lanes_of(&body, ([bits, 32, 32], [bits]), &inputs)) {
            let expected = field(*a, (start & 255) as u32, (length & 255) as u32, bits, signed);
            assert_eq!(d, expected, "{body} of {a:#x}, {start}, {length}");
        }
    }
}

#[test]
fn bfe_of_every_field() {
    let a = 0x9e37_79b9;
    let inputs = pairs(&(0..32).collect::<Vec<_>>(), &(0..=32).collect::<Vec<_>>());
    let body = format!("bfe.u32 %o0, {a}, %i0, %i1;\nbfe.s32 %o1, {a}, %i0, %i1;");
    for ([start, length], [unsigned, signed]) in inputs.iter().zip(lanes_of(&body, ([32; 2], [32; 2]), &inputs)) {
        let (start, length) = (*start as u32, *length as u32);
        assert_eq!(unsigned, field(a, start, length, 32, false), "{start}, {length}");
        assert_eq!(signed, field(a, start, length, 32, true), "{start}, {length}");
    }
}

#[test]
fn bfe_of_constants() {
    let body = "bfe.u32 %o0, %i0, 8, 8;
        bfe.s32 %o1, %i0, 8, 8;
        bfe.s32 %o2, %i0, 28, 8;
        bfe.u32 %o3, %i0, 28, 8;
        bfe.s32 %o4, %i0, 3, 0;
        bfe.s64 %o5, %i1, 4, 60;";
    let outputs = lanes_of(body, ([32, 64], [32, 32, 32, 32, 32, 64]), &[[0x8765_f321, 0x8000_0000_0000_0010]]);
    assert_eq!(outputs, [[0xf3, 0xffff_fff3, 0xffff_fff8, 8, 0, 0xf800_0000_0000_0001]]);
}

/// What `bfi` gives, in PTX's own words.
fn inserted(a: u64, b: u64, start: u32, length: u32, bits: u32) -> u64 {
    word(bits, |n| if n >= start && n - start < length { bit(a, n - start) } else { bit(b, n) })
}

#[test]
fn bfi() {
    for bits in [32, 64] {
        let words = [0, u64::MAX >> (64 - bits), 0x0123_4567_89ab_cdef >> (64 - bits)];
        let inputs: Vec<_> = pairs(&words, &words)
            .into_iter()
            .flat_map(|[a, b]| pairs(&PLACES, &PLACES).into_iter().map(move |[start, length]| [a, b, start, length]))
            .collect();
        let body = format!("bfi.b{bits} %o0, %i0, %i1, %i2, %i3;");
        let outputs = lanes_of(&body, ([bits, bits, 32, 32], [bits]), &inputs);
        for ([a, b, start, length], [d]) in inputs.iter().zip(outputs) {
            let expected = inserted(*a, *b, (start & 255) as u32, (length & 255) as u32, bits);
            assert_eq!(d, expected, "{body} of {a:#x}, {b:#x}, {start}, {length}");
        }
    }
}

#[test]
fn bfi_of_every_field() {
    let inputs = pairs(&(0..32).collect::<Vec<_>>(), &(0..=32).collect::<Vec<_>>());
    let (a, b) = (0x9e37_79b9, 0x7f4a_7c15);
    let body = format!("bfi.b32 %o0, {a}, {b}, %i0, %i1;");
    for ([start, length], [d]) in inputs.iter().zip(lanes_of(&body, ([32; 2], [32]), &inputs)) {
        assert_eq!(d, inserted(a, b, *start as u32, *length as u32, 32), "{start}, {length}");
    }
}

#[test]
fn bfi_of_constants() {
    let body = "bfi.b32 %o0, %i0, %i1, 8, 16;
        bfi.b32 %o1, %i0, -1, 24, 16;
        bfi.b32 %o2, 0xab, 0, 4, 8;
        bfi.b32 %o3, %i0, %i1, 0, 32;
        bfi.b32 %o4, %i0, %i1, 32, 4;
        bfi.b64 %o5, 1, 0, 63, 1;";
    let outputs = lanes_of(body, ([32; 2], [32, 32, 32, 32, 32, 64]), &[[0x1234_5678, 0xaaaa_aaaa]]);
    assert_eq!(outputs, [[0xaa56_78aa, 0x78ff_ffff, 0xab0, 0x1234_5678, 0xaaaa_aaaa, 1 << 63]]);
}

/// The bytes of `a` and `b`, that of `a` first, lowest first.
fn bytes(a: u64, b: u64) -> [u8; 8] {
    (a | b << 32).to_le_bytes()
}

fn from_bytes(bytes: [u8; 4]) -> u64 {
    u32::from_le_bytes(bytes).into()
}

#[test]
fn prmt() {
    // Every selection in every place, those of the others by chance.
    let mut inputs: Vec<_> = (0..16).map(|select| [0x8091_22b3, 0x447f_c6ff, select * 0x1111]).collect();
    inputs.extend((0..0x1_0000).step_by(0x35).map(|c| [0xf00d_8001, 0x7f80_01fe, c]));
    inputs.extend(random([32; 3], 300));
    for ([a, b, c], [d]) in inputs.iter().zip(lanes_of("prmt.b32 %o0, %i0, %i1, %i2;", ([32; 3], [32]), &inputs)) {
        let expected = std::array::from_fn(|place| {
            let select = c >> (4 * place) & 15;
            let byte = bytes(*a, *b)[(select & 7) as usize];
            if select < 8 {
                byte
            } else if byte < 128 {
                0
            } else {
                255
            }
        });
        assert_eq!(d, from_bytes(expected), "prmt of {a:#x}, {b:#x}, {c:#x}");
    }
}

#[test]
fn prmt_of_constants() {
    let body = "prmt.b32 %o0, %i0, %i1, 0x7531;
        prmt.b32 %o1, %i0, 0, 0x4442;
        prmt.b32 %o2, %i0, %i1, 0xcba8;
        prmt.b32 %o3, %i0, %i0, 0x0123;
        prmt.b32 %o4, %i0, %i1, 0xffff3210;";
    let outputs = lanes_of(body, ([32; 2], [32; 5]), &[[0x8122_b344, 0x55e6_7788]]);
    assert_eq!(outputs, [[0x5577_81b3, 0x22, 0xffff_0000, 0x44b3_2281, 0x8122_b344]]);
}

/// The bytes that a mode of `prmt` picks for the low two bits of `c`, highest first, as PTX's table lists them.
const MODES: [(&str, [[usize; 4]; 4]); 6] = [
    ("f4e", [[3, 2, 1, 0], [4, 3, 2, 1], [5, 4, 3, 2], [6, 5, 4, 3]]),
    ("b4e", [[5, 6, 7, 0], [6, 7, 0, 1], [7, 0, 1, 2], [0, 1, 2, 3]]),
    ("rc8", [[0, 0, 0, 0], [1, 1, 1, 1], [2, 2, 2, 2], [3, 3, 3, 3]]),
    ("ecl", [[3, 2, 1, 0], [3, 2, 1, 1], [3, 2, 2, 2], [3, 3, 3, 3]]),
    ("ecr", [[0, 0, 0, 0], [1, 1, 1, 0], [2, 2, 1, 0], [3, 2, 1, 0]]),
    ("rc16", [[1, 0, 1, 0], [3, 2, 3, 2], [1, 0, 1, 0], [3, 2, 3, 2]]),
];

#[test]
fn prmt_modes() {
    let mut inputs: Vec<_> = (0..16).map(|c| [0x8091_22b3, 0x447f_c6ff, c]).collect();
    inputs.extend(random([32; 3], 100));
    for (mode, table) in MODES {
        let body = format!("prmt.b32.{mode} %o0, %i0, %i1, %i2;");
        for ([a, b, c], [d]) in inputs.iter().zip(lanes_of(&body, ([32; 3], [32]), &inputs)) {
            let row = table[(c & 3) as usize];
            let expected = std::array::from_fn(|place| bytes(*a, *b)[row[3 - place]]);
            assert_eq!(d, from_bytes(expected), "{body} of {a:#x}, {b:#x}, {c:#x}");
        }
    }
}

#[test]
fn lop3_with_every_table() {
    let body: String = (0..256).map(|table| format!("lop3.b32 %o{table}, %i0, %i1, %i2, {table};\n")).collect();
    let mut inputs = vec![[0xf0, 0xcc, 0xaa]];
    inputs.extend(triples(&[0, 0xffff_ffff, 0x0f0f_3355]));
    inputs.extend(random([32; 3], 20));
    let outputs: Vec<[u64; 256]> = lanes_of(&body, ([32; 3], [32; 256]), &inputs);
    for (table, d) in (0..).zip(outputs[0]) {
        // The table is what its function gives for these three.
        assert_eq!(d & 0xff, table);
    }
    for ([a, b, c], row) in inputs.iter().zip(outputs) {
        for (table, d) in (0..256).zip(row) {
            let place = |n| u32::from(bit(*a, n)) * 4 + u32::from(bit(*b, n)) * 2 + u32::from(bit(*c, n));
            assert_eq!(d, word(32, |n| bit(table, place(n))), "table {table:#x} of {a:#x}, {b:#x}, {c:#x}");
        }
    }
}

#[test]
fn lop3_of_named_functions() {
    type Function = fn(u64, u64, u64) -> u64;
    let functions: [(u32, Function); 6] = [
        (0x80, |a, b, c| a & b & c),
        (0xfe, |a, b, c| a | b | c),
        (0x96, |a, b, c| a ^ b ^ c),
        (0x40, |a, b, c| a & b & !c),
        (0x1a, |a, b, c| (a & b | c) ^ a),
        (0xca, |a, b, c| a & b | !a & c),
    ];
    let inputs = random([32; 3], 100);
    for (table, f) in functions {
        let body = format!("lop3.b32 %o0, %i0, %i1, %i2, {table:#x};");
        for ([a, b, c], [d]) in inputs.iter().zip(lanes_of(&body, ([32; 3], [32]), &inputs)) {
            assert_eq!(d, f(*a, *b, *c) & 0xffff_ffff, "{body}");
        }
    }
}

#[test]
fn lop3_with_a_predicate() {
    let inputs = [[0x0f, 0xf0, 0], [0x0f, 0xf0, 1], [0x0f, 0xf1, 0], [0x0f, 0xf1, 1]];
    let body = "setp.ne.u32 %p0, %i2, 0;
        lop3.and.b32 %o0|%p1, %i0, %i1, 0, 0xc0, %p0;
        lop3.or.b32 _|%p2, %i0, %i1, 0, 0xc0, %p0;
        lop3.or.b32 %r0|%p3, %i0, %i1, 0, 0xc0, !%p0;
        selp.u32 %o1, 1, 0, %p1;
        selp.u32 %o2, 1, 0, %p2;
        selp.u32 %o3, 1, 0, %p3;";
    let outputs = lanes_of(body, ([32; 3], [32; 4]), &inputs);
    assert_eq!(outputs, [[0, 0, 0, 1], [0, 0, 1, 0], [1, 0, 1, 1], [1, 1, 1, 1]]);
}

#[test]
fn shf() {
    let counts = [0, 1, 8, 31, 32, 33, 63, 64, 65, 0xffff_ffff];
    let mut inputs: Vec<_> = counts.iter().map(|count| [0x8000_0001, 0x7654_3210, *count]).collect();
    inputs.extend(random([32, 32, 6], 300));
    for left in [true, false] {
        for wrap in [true, false] {
            let direction = if left { "l" } else { "r" };
            let mode = if wrap { "wrap" } else { "clamp" };
            let body = format!("shf.{direction}.{mode}.b32 %o0, %i0, %i1, %i2;");
            for ([a, b, c], [d]) in inputs.iter().zip(lanes_of(&body, ([32; 3], [32]), &inputs)) {
                let count = if wrap { c % 32 } else { *c.min(&32) } as u32;
                let both = |n: u32| if n < 32 { bit(*a, n) } else { bit(*b, n - 32) };
                let expected = word(32, |n| if left { both(32 + n - count) } else { both(n + count) });
                assert_eq!(d, expected, "{body} of {a:#x}, {b:#x}, {c}");
            }
        }
    }
}

#[test]
fn popc() {
    for bits in [32, 64] {
        unary(&format!("popc.b{bits}"), bits, 32, |a| (0..bits).filter(|n| bit(a, *n)).count() as u64);
    }
}

#[test]
fn clz() {
    for bits in [32, 64] {
        unary(&format!("clz.b{bits}"), bits, 32, |a| {
            (0..bits).rev().position(|n| bit(a, n)).unwrap_or(bits as usize) as u64
        });
    }
}

#[test]
fn brev() {
    for bits in [32, 64] {
        unary(&format!("brev.b{bits}"), bits, bits, |a| word(bits, |n| bit(a, bits - 1 - n)));
    }
}

#[test]
fn bfind() {
    for ty in INTEGERS.into_iter().filter(|ty| ty.bits > 16) {
        let place = |a: u64| {
            // Of a negative number the highest bit that isn't set.
            let wanted = !(ty.signed && bit(a, ty.bits - 1));
            (0..ty.bits).rev().find(|n| bit(a, *n) == wanted)
        };
        unary(&format!("bfind.{}", ty.name), ty.bits, 32, |a| place(a).map_or(0xffff_ffff, u64::from));
        unary(&format!("bfind.shiftamt.{}", ty.name), ty.bits, 32, |a| {
            place(a).map_or(0xffff_ffff, |place| u64::from(ty.bits - 1 - place))
        });
    }
}

#[test]
fn fns() {
    let offsets = [0, 1, 2, 3, 5, 16, 17, 32, 33, 0x7fff_ffff].map(i64::from);
    let masks = [0, 1, 0x8000_0000, 0xffff_ffff, 0xaaaa_aaaa, 0x8001_0100, 0x0ff0_0000];
    let mut inputs = vec![];
    for mask in masks {
        for base in 0..32 {
            let signs = offsets.iter().flat_map(|offset| [*offset, -*offset]);
            inputs.extend(signs.map(|offset| [mask, base, offset as u64 & 0xffff_ffff]));
        }
    }
    inputs.push([0xffff_ffff, 31, 0x8000_0000]);
    for ([mask, base, offset], [d]) in
        inputs.iter().zip(lanes_of("fns.b32 %o0, %i0, %i1, %i2;", ([32; 3], [32]), &inputs))
    {
        let offset = i64::from(*offset as u32 as i32);
        let step = if offset < 0 { -1 } else { 1 };
        let (mut place, mut left, mut found) = (*base as i64, offset.abs().max(1), None);
        while (0..32).contains(&place) && found.is_none() {
            if bit(*mask, place as u32) {
                left -= 1;
                found = (left == 0).then_some(place as u64);
            }
            if offset == 0 {
                break;
            }
            place += step;
        }
        assert_eq!(d, found.unwrap_or(0xffff_ffff), "fns of {mask:#x}, {base}, {offset}");
    }
    // PTX's own examples.
    let examples =
        [[0xaaaa_aaaa, 3, 1], [0xaaaa_aaaa, 3, 0xffff_ffff], [0xaaaa_aaaa, 2, 1], [0xaaaa_aaaa, 2, 0xffff_ffff]];
    let outputs = lanes_of("fns.b32 %o0, %i0, %i1, %i2;", ([32; 3], [32]), &examples);
    assert_eq!(outputs, [[3], [3], [3], [1]]);
}

#[test]
fn bmsk() {
    let inputs = pairs(&PLACES, &PLACES);
    for wrap in [false, true] {
        let body = format!("bmsk.{}.b32 %o0, %i0, %i1;", if wrap { "wrap" } else { "clamp" });
        for ([start, length], [d]) in inputs.iter().zip(lanes_of(&body, ([32; 2], [32]), &inputs)) {
            let limit = |value: u64| if wrap { value % 32 } else { value };
            let (start, length) = (limit(*start), limit(*length));
            let expected = word(32, |n| (start..start + length).contains(&n.into()));
            assert_eq!(d, expected, "{body} of {start}, {length}");
        }
    }
}

#[test]
fn szext() {
    let inputs = pairs(&values(32, 20), &PLACES);
    for (ty, signed) in [("u32", false), ("s32", true)] {
        for wrap in [false, true] {
            let body = format!("szext.{}.{ty} %o0, %i0, %i1;", if wrap { "wrap" } else { "clamp" });
            for ([a, b], [d]) in inputs.iter().zip(lanes_of(&body, ([32; 2], [32]), &inputs)) {
                let count = if wrap { b % 32 } else { *b.min(&32) } as u32;
                let sign = signed && count > 0 && bit(*a, count - 1);
                let expected = word(32, |n| if n < count { bit(*a, n) } else { sign });
                assert_eq!(d, expected, "{body} of {a:#x}, {b}");
            }
        }
    }
}

#[test]
fn forms_that_there_are_not() {
    for body in [
        "and.u32 %o1, %i1, %i1;",
        "shl.s32 %o1, %i1, %i1;",
        "shl.b64 %o2, %i2, %i2;",
        "popc.b16 %o1, %i0;",
        "clz.u32 %o1, %i1;",
        "brev.s32 %o1, %i1;",
        "bfind.b32 %o1, %i1;",
        "bfe.b32 %o1, %i1, 1, 1;",
        "bfi.u32 %o1, %i1, %i1, 1, 1;",
        "shf.l.wrap.b64 %o2, %i2, %i2, %i1;",
        "shf.l.b32 %o1, %i1, %i1, %i1;",
        "bmsk.clamp.b64 %o2, %i2, %i2;",
        "prmt.b32.f4 %o1, %i1, %i1, %i1;",
        "lop3.b32 %o1, %i1, %i1, %i1, 256;",
        "lop3.b32 %o1, %i1, %i1, %i1, %i1;",
        "lop3.xor.b32 %o1|%p0, %i1, %i1, %i1, 1, %p0;",
        "and.pred %o1, %p0, %p1;",
        "and.pred %p0, %i1, %p1;",
    ] {
        refusal_of(body);
    }
}
