//! `ld` and `st`: types in registers that are wider, vectors, offsets, modifiers.

use crate::numbers::{NARROW_TYPES, WIDE_TYPES, random};
use crate::ptx::{HEAD, lanes_of, launch, refusal_of};
use crate::spaces::generic;

/// The types that memory holds.
fn types() -> impl Iterator<Item = (&'static str, u32)> {
    NARROW_TYPES.into_iter().chain(WIDE_TYPES)
}

/// The low bits of a word.
fn low(value: u64, bits: u32) -> u64 {
    value & (u64::MAX >> (64 - bits))
}

/// The low `from` bits of a word, extended to `to`.
fn extended(value: u64, from: u32, to: u32, signed: bool) -> u64 {
    let value = low(value, from);
    if signed && value >> (from - 1) != 0 { low(value | !(u64::MAX >> (64 - from)), to) } else { value }
}

#[test]
fn types_in_registers_of_every_width() {
    // A value goes to memory from a wide register and comes back to one, through every space.
    let inputs: Vec<[u64; 1]> = random([64], 64);
    for (name, bits) in types() {
        for width in [16, 32, 64].into_iter().filter(|width| *width >= bits) {
            let mut body = String::from(
                ".shared .align 16 .b8 shared[512];\n.local .align 16 .b8 own[16];\nmov.u32 %r0, %laneid;
                mov.u32 %r1, shared;\nmad.lo.u32 %r1, %r0, 16, %r1;\n",
            );
            // What is there before.
            for space in ["shared.u64 [%r1]", "local.u64 [own]"] {
                body += &format!("st.{space}, -1;\n");
            }
            body += "mov.b64 {%r2, %r3}, %i0;\nmov.b64 {%h0, _, _, _}, %i0;\n";
            let from = match width {
                16 => "%h0",
                32 => "%r2",
                _ => "%i0",
            };
            for (n, space) in ["shared", "local"].iter().enumerate() {
                let at = if *space == "shared" { "%r1" } else { "own" };
                body += &format!(
                    "st.{space}.{name} [{at}], {from};\nld.{space}.{name} %o{n}, [{at}];\nld.{space}.u64 %o{}, [{at}];\n",
                    n + 2
                );
            }
            for ([value], row) in inputs.iter().zip(lanes_of(&body, ([64], [width, width, 64, 64]), &inputs)) {
                let signed = name.starts_with('s');
                let register = extended(*value, bits, width, signed);
                let memory = low(*value, bits) | if bits < 64 { u64::MAX << bits } else { 0 };
                assert_eq!(row, [register, register, memory, memory], "{name} and {width} bits of {value:#x}");
            }
        }
    }
}

#[test]
fn global_types_in_registers_of_every_width() {
    // Lane by lane 8 bytes of input, then 8 of output.
    for (name, bits) in types() {
        for width in [16, 32, 64].into_iter().filter(|width| *width >= bits) {
            let ptx = format!(
                "{HEAD}.visible .entry test(.param .u64 data) {{
                .reg .b32 %t;\n.reg .b64 %at;\n.reg .b{width} %x;
                mov.u32 %t, %tid.x;
                ld.param.u64 %at, [data];
                mad.wide.u32 %at, %t, 16, %at;
                ld.global.{name} %x, [%at];
                st.global.b{width} [%at+8], %x;
                ret;\n}}\n"
            );
            let words: Vec<u32> = random([32; 4], 32).as_flattened().iter().map(|word| *word as u32).collect();
            let after = launch(&ptx, [1; 3], [32, 1, 1], &words).clean();
            for (before, after) in words.chunks(4).zip(after.chunks(4)) {
                let whole = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
                let value = extended(whole(before[0], before[1]), bits, width, name.starts_with('s'));
                let kept = if width < 64 { whole(before[2], before[3]) >> width << width } else { 0 };
                assert_eq!(whole(after[2], after[3]), value | kept, "{name} and {width} bits of {before:#x?}");
                assert_eq!(after[..2], before[..2]);
            }
        }
    }
}

/// `{%p0, %p1, ...}`
fn list(prefix: &str, count: u32) -> String {
    let parts: Vec<String> = (0..count).map(|n| format!("{prefix}{n}")).collect();
    format!("{{{}}}", parts.join(", "))
}

#[test]
fn vectors() {
    // A lane's 16 bytes of input are copied to 16 of output, through registers and a space.
    for (name, bits) in types() {
        for count in [2, 4].into_iter().filter(|count| bits * count <= 128) {
            for (space, place, declaration) in [
                ("shared", "[%there]", ".shared .align 16 .b8 there[1024];"),
                ("local", "[there+16]", ".local .align 16 .b8 there[32];"),
                ("global", "[%d1]", ""),
            ] {
                let width = bits.max(16);
                let ptx = format!(
                    "{HEAD}.visible .entry test(.param .u64 data) {{
                    {declaration}
                    .reg .b32 %t, %there;\n.reg .b64 %at, %d1;\n.reg .b{width} %x<4>, %y<4>;
                    mov.u32 %t, %tid.x;
                    mad.lo.u32 %there, %t, 16, 0;
                    ld.param.u64 %at, [data];
                    mad.wide.u32 %at, %t, 64, %at;
                    add.u64 %d1, %at, 32;
                    ld.global.v{count}.{name} {x}, [%at];
                    st.{space}.v{count}.{name} {place}, {x};
                    ld.{space}.v{count}.{name} {y}, {place};
                    st.global.v{count}.{name} [%at+16], {y};
                    ret;\n}}\n",
                    x = list("%x", count),
                    y = list("%y", count),
                );
                let words: Vec<u32> = random([32; 16], 64).as_flattened().iter().map(|word| *word as u32).collect();
                let after = launch(&ptx, [1; 3], [64, 1, 1], &words).clean();
                let bytes = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
                let size = (bits / 8 * count) as usize;
                for (before, after) in bytes(&words).chunks(64).zip(bytes(&after).chunks(64)) {
                    let mut expected = before.to_vec();
                    expected.copy_within(..size, 16);
                    if space == "global" {
                        expected.copy_within(..size, 32);
                    }
                    assert_eq!(after, expected, "{space}.v{count}.{name}");
                }
            }
        }
    }
}

#[test]
fn parts_of_vectors_that_nobody_wants() {
    let body = ".shared .align 16 .b8 there[16];
        st.shared.v4.u32 [there], {1, 2, %i0, 4};
        ld.shared.v4.u32 {_, %o0, %o1, _}, [there];
        ld.shared.v2.u64 {_, %o2}, [there];";
    // One lane, as all write to one place.
    let body = format!("setp.eq.u32 %p0, %i0, 3;\n@!%p0 bra DONE;\n{body}\nDONE:\n");
    assert_eq!(lanes_of(&body, ([32], [32, 32, 64]), &[[3]]), [[2, 3, 4 << 32 | 3]]);
}

#[test]
fn how_it_is_cached_and_ordered_does_not_change_what_is_read() {
    let mut body = String::from("mov.u32 %r0, 0;\nld.global.u32 %r1, [%d1];\n");
    for load in [
        "ld.global.ca",
        "ld.global.cg",
        "ld.global.cs",
        "ld.global.lu",
        "ld.global.cv",
        "ld.global.nc",
        "ld.global.nc.L1::no_allocate",
        "ld.global.nc.L1::evict_last.L2::128B",
        "ld.weak.global",
        "ld.volatile.global",
        "ld.relaxed.gpu.global",
        "ld.acquire.sys.global",
        "ld.relaxed.cta",
        "ldu.global",
    ] {
        body += &format!("{load}.u32 %r1, [%d1];\nmad.lo.u32 %r0, %r0, 3, %r1;\n");
    }
    for store in [
        "st.global.wb",
        "st.global.cg",
        "st.global.cs",
        "st.global.wt",
        "st.volatile.global",
        "st.relaxed.gpu.global",
        "st.release.gpu.global",
    ] {
        body += &format!("add.u32 %r0, %r0, 1;\n{store}.u32 [%d1], %r0;\n");
    }
    let words = launch(&generic(&body), [1; 3], [32, 1, 1], &(0..32).collect::<Vec<_>>()).clean();
    let expected = |t: u32| (0..14).fold(0u32, |x, _| x.wrapping_mul(3).wrapping_add(t)).wrapping_add(7);
    assert_eq!(words, (0..32).map(expected).collect::<Vec<_>>());
}

#[test]
fn offsets_may_be_negative() {
    let body = ".shared .align 4 .b8 there[256];
        mov.u32 %r0, %laneid;
        mad.lo.u32 %r0, %r0, 4, 128;
        mov.u32 %r1, there;
        add.u32 %r0, %r0, %r1;
        st.shared.u32 [%r0+-128], %i0;
        ld.shared.u32 %o0, [%r0+-128];
        cvta.shared.u64 %d0, there;
        mov.u32 %r2, %laneid;
        mad.wide.u32 %d0, %r2, 4, %d0;
        add.u64 %d0, %d0, 1000;
        ld.u32 %o1, [%d0-1000];";
    let inputs: Vec<_> = (0..32).map(|lane| [lane * lane]).collect();
    for ([value], row) in inputs.iter().zip(lanes_of(body, ([32], [32; 2]), &inputs)) {
        assert_eq!(row, [*value; 2]);
    }
}

#[test]
fn forms_that_there_are_not() {
    for body in [
        "ld.global.u64 %o1, [%i2];",
        "ld.global.u32 %o0, [%i2];",
        "ld.global.v2.u32 %o1, [%i2];",
        "ld.global.v4.u64 {%d0, %d1, %d2, %d3}, [%i2];",
        "ld.global.v3.u32 {%r0, %r1, %r2}, [%i2];",
        "ld.global.v2.u32 {%r0, %d1}, [%i2];",
        "ld.global.u32 %o1, [%i0];",
        "ld.global.pred %p0, [%i2];",
        "ld.global.somehow.u32 %o1, [%i2];",
        "ld.global.u32 %o1, %i2;",
        "ld.global %o1, [%i2];",
        "ld.global.u32.u32 %o1, [%i2];",
        "ld.release.gpu.global.u32 %o1, [%i2];",
        "st.const.u32 [%i2], %i1;",
        "st.param.u32 [inputs], %i1;",
        "st.acquire.gpu.global.u32 [%i2], %i1;",
        "st.global.u32 [%i2], [%i2];",
        "ld.global.u32 %o1, [nothing];",
    ] {
        refusal_of(body);
    }
}
