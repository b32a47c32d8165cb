//! Carry chains: `add.cc`, `addc`, `sub.cc`, `subc`, `mad.cc`, `madc`.

use crate::numbers::{INTEGERS, Integer, pairs, random, triples, values};
use crate::ptx::lanes_of;

const LOW: u128 = u64::MAX as u128;

fn whole(low: u64, high: u64) -> u128 {
    u128::from(low) | u128::from(high) << 64
}

/// Pairs of numbers of 128 bits, as four words of 64.
fn numbers() -> Vec<[u64; 4]> {
    let words = [0, 1, u64::MAX, 1 << 63, 0xffff_ffff, 1 << 32];
    let halves = pairs(&words, &words);
    let mut numbers: Vec<_> =
        halves.iter().flat_map(|[a, b]| halves.iter().map(move |[c, d]| [*a, *b, *c, *d])).collect();
    numbers.extend(random([64; 4], 500));
    numbers
}

#[test]
fn sums_of_128_bits() {
    let body = "add.cc.u64 %o0, %i0, %i2;\naddc.u64 %o1, %i1, %i3;";
    let inputs = numbers();
    for ([a, b, c, d], [low, high]) in inputs.iter().zip(lanes_of(body, ([64; 4], [64; 2]), &inputs)) {
        assert_eq!(whole(low, high), whole(*a, *b).wrapping_add(whole(*c, *d)), "{a:#x} {b:#x} {c:#x} {d:#x}");
    }
}

#[test]
fn differences_of_128_bits() {
    let body = "sub.cc.s64 %o0, %i0, %i2;\nsubc.s64 %o1, %i1, %i3;";
    let inputs = numbers();
    for ([a, b, c, d], [low, high]) in inputs.iter().zip(lanes_of(body, ([64; 4], [64; 2]), &inputs)) {
        assert_eq!(whole(low, high), whole(*a, *b).wrapping_sub(whole(*c, *d)), "{a:#x} {b:#x} {c:#x} {d:#x}");
    }
}

/// `op` of two numbers of 128 bits in four words of 32.
fn in_words(first: &str, middle: &str, last: &str) -> Vec<[u64; 2]> {
    let body = format!(
        "mov.b64 {{%r0, %r1}}, %i0;\nmov.b64 {{%r2, %r3}}, %i1;\nmov.b64 {{%r4, %r5}}, %i2;\nmov.b64 {{%r6, %r7}}, %i3;\n\
         {first} %r0, %r0, %r4;\n{middle} %r1, %r1, %r5;\n{middle} %r2, %r2, %r6;\n{last} %r3, %r3, %r7;\n\
         mov.b64 %o0, {{%r0, %r1}};\nmov.b64 %o1, {{%r2, %r3}};"
    );
    lanes_of(&body, ([64; 4], [64; 2]), &numbers())
}

#[test]
fn chains_of_32_bits() {
    let sums = in_words("add.cc.u32", "addc.cc.u32", "addc.u32");
    let differences = in_words("sub.cc.s32", "subc.cc.s32", "subc.s32");
    for (([a, b, c, d], sum), difference) in numbers().into_iter().zip(sums).zip(differences) {
        assert_eq!(whole(sum[0], sum[1]), whole(a, b).wrapping_add(whole(c, d)));
        assert_eq!(whole(difference[0], difference[1]), whole(a, b).wrapping_sub(whole(c, d)));
    }
}

#[test]
fn products_of_64_bits_from_32() {
    let body = "mov.b64 {%r0, %r1}, %i0;
        mov.b64 {%r2, %r3}, %i1;
        mul.lo.u32 %r4, %r0, %r2;
        mul.hi.u32 %r5, %r0, %r2;
        mad.lo.cc.u32 %r5, %r0, %r3, %r5;
        madc.hi.u32 %r6, %r0, %r3, 0;
        mad.lo.cc.u32 %r5, %r1, %r2, %r5;
        madc.hi.cc.u32 %r6, %r1, %r2, %r6;
        addc.u32 %r7, 0, 0;
        mad.lo.cc.u32 %r6, %r1, %r3, %r6;
        madc.hi.u32 %r7, %r1, %r3, %r7;
        mov.b64 %o0, {%r4, %r5};
        mov.b64 %o1, {%r6, %r7};";
    let inputs = pairs(&values(64, 20), &values(64, 20));
    for ([a, b], [low, high]) in inputs.iter().zip(lanes_of(body, ([64; 2], [64; 2]), &inputs)) {
        assert_eq!(whole(low, high), u128::from(*a) * u128::from(*b), "{a:#x} {b:#x}");
    }
}

#[test]
fn products_of_128_by_64_bits() {
    let body = "mul.lo.u64 %o0, %i0, %i2;
        mul.hi.u64 %o1, %i0, %i2;
        mad.lo.cc.u64 %o1, %i1, %i2, %o1;
        madc.hi.u64 %o2, %i1, %i2, 0;";
    let mut inputs = triples(&[0, 1, u64::MAX, 1 << 63, 0xffff_ffff]);
    inputs.extend(random([64; 3], 500));
    for ([a, b, c], row) in inputs.iter().zip(lanes_of(body, ([64; 3], [64; 3]), &inputs)) {
        let (low, high) = (u128::from(*a) * u128::from(*c), u128::from(*b) * u128::from(*c));
        let middle = (low >> 64) + (high & LOW);
        let expected = [low & LOW, middle & LOW, (high >> 64) + (middle >> 64)];
        assert_eq!(row.map(u128::from), expected, "{a:#x} {b:#x} {c:#x}");
    }
}

/// The types that carry.
fn types() -> impl Iterator<Item = Integer> {
    INTEGERS.into_iter().filter(|ty| ty.bits >= 32)
}

/// The unsigned number that bits stand for.
fn unsigned(ty: Integer, value: i128) -> i128 {
    i128::from(ty.wrap(value))
}

/// Checks what instructions with and without a carry in compute, and what carry they leave. `f` gives the sum to which
/// the carry is added.
#[track_caller]
fn check(ops: [&str; 2], f: impl Fn(Integer, [u64; 3]) -> i128) {
    for ty in types() {
        let bits = ty.bits;
        let mut inputs = triples(&[0, 1, u64::MAX >> (64 - bits), 1 << (bits - 1), (1 << (bits - 1)) - 1]);
        inputs.extend(random([bits; 3], 200));
        let inputs: Vec<[u64; 4]> =
            inputs.into_iter().flat_map(|[a, b, c]| [0, 1].map(|flag| [a, b, c, flag])).collect();
        let operands = if ops[0].starts_with("mad") { "%i0, %i1, %i2" } else { "%i0, %i1" };
        // The flag: a carry out of flag + (2^32 - 1).
        for (op, takes) in [(ops[0], false), (ops[1], true)] {
            for leaves in [false, true] {
                // There is no form that neither takes nor leaves a carry.
                if !takes && !leaves {
                    continue;
                }
                let cc = if leaves { ".cc" } else { "" };
                let body =
                    format!("add.cc.u32 %r0, %i3, -1;\n{op}{cc}.{} %o0, {operands};\naddc.u32 %o1, 0, 0;", ty.name);
                let widths = ([bits, bits, bits, 32], [bits, 32]);
                for ([a, b, c, flag], [d, carry]) in inputs.iter().zip(lanes_of(&body, widths, &inputs)) {
                    let sum = f(ty, [*a, *b, *c]) + if takes { i128::from(*flag) } else { 0 };
                    assert_eq!(d, ty.wrap(sum), "{body} of {a:#x}, {b:#x}, {c:#x}");
                    let expected = if leaves { (sum >> bits != 0).into() } else { *flag };
                    assert_eq!(carry, expected, "carry of {body} of {a:#x}, {b:#x}, {c:#x}");
                }
            }
        }
    }
}

#[test]
fn add() {
    check(["add", "addc"], |_, [a, b, _]| i128::from(a) + i128::from(b));
}

#[test]
fn mad_lo() {
    check(["mad.lo", "madc.lo"], |ty, [a, b, c]| unsigned(ty, ty.value(a).wrapping_mul(ty.value(b))) + i128::from(c));
}

#[test]
fn mad_hi() {
    check(["mad.hi", "madc.hi"], |ty, [a, b, c]| {
        let (a, b) = (ty.value(a), ty.value(b));
        let high = if ty.signed { (a * b) >> ty.bits } else { ((a as u128 * b as u128) >> ty.bits) as i128 };
        unsigned(ty, high) + i128::from(c)
    });
}

#[test]
fn sub() {
    for ty in types() {
        let bits = ty.bits;
        let mut inputs = triples(&[0, 1, u64::MAX >> (64 - bits), 1 << (bits - 1)]);
        inputs.extend(random([bits; 3], 200));
        // `sub.cc` of 0 and a flag borrows where the flag is set.
        for (op, takes) in [("sub.cc", false), ("subc.cc", true), ("subc", true)] {
            let body = format!(
                "and.b{bits} %d0, %i2, 1;\nsub.cc.u{bits} %d0, 0, %d0;\n{op}.{} %o0, %i0, %i1;\nsubc.u32 %o1, 0, 0;",
                ty.name
            );
            let body = if bits == 32 { body.replace("%d0", "%r0") } else { body };
            for ([a, b, c], [d, borrow]) in inputs.iter().zip(lanes_of(&body, ([bits; 3], [bits, 32]), &inputs)) {
                let flag = i128::from(*c & 1);
                let difference = i128::from(*a) - i128::from(*b) - if takes { flag } else { 0 };
                assert_eq!(d, ty.wrap(difference), "{body} of {a:#x}, {b:#x}, {c:#x}");
                let borrows = if op == "subc" { flag != 0 } else { difference < 0 };
                assert_eq!(borrow, if borrows { 0xffff_ffff } else { 0 }, "{body} of {a:#x}, {b:#x}, {c:#x}");
            }
        }
    }
}

#[test]
fn lanes_keep_their_own_carries() {
    // Odd lanes carry; then lanes whose number has bit 1 do something else that doesn't.
    let body = "and.b32 %r0, %i0, 1;
        add.cc.u32 %r1, %r0, -1;
        and.b32 %r0, %i0, 2;
        setp.ne.u32 %p0, %r0, 0;
        @%p0 add.cc.u32 %r1, 0, 0;
        addc.u32 %o0, 0, 0;";
    let inputs: Vec<_> = (0..32).map(|lane| [lane]).collect();
    for ([lane], [carry]) in inputs.iter().zip(lanes_of(body, ([32], [32]), &inputs)) {
        assert_eq!(carry, u64::from(lane % 4 == 1), "lane {lane}");
    }
}
