//! Moves: `mov` in all forms, special registers, clocks, `cvta`, `isspacep`.

use crate::ptx::{HEAD, lanes_of, launch, refusal_of};

#[test]
fn mov() {
    let body = "mov.b16 %o0, %i0;
        mov.u32 %o1, %i1;
        mov.f32 %o2, %i1;
        mov.b64 %o3, %i2;
        mov.f64 %o4, %i2;
        mov.s16 %o5, -2;
        mov.f32 %o6, 0fBF800000;
        mov.f64 %o7, 0.5;
        mov.b32 %o8, 0x80000000;
        mov.s64 %o9, -9223372036854775808;";
    let outputs =
        lanes_of(body, ([16, 32, 64], [16, 32, 32, 64, 64, 16, 32, 64, 32, 64]), &[[0xabcd, 0x7fc0_1234, 1 << 40]]);
    let expected = [
        0xabcd,
        0x7fc0_1234,
        0x7fc0_1234,
        1 << 40,
        1 << 40,
        0xfffe,
        0xbf80_0000,
        0x3fe0_0000_0000_0000,
        0x8000_0000,
        1 << 63,
    ];
    assert_eq!(outputs, [expected]);
}

#[test]
fn packing() {
    let body = "mov.b32 %o0, {%i0, %i1};
        mov.b64 %o1, {%i0, %i1, %i2, %i3};
        mov.b64 %o2, {%i4, %i5};
        mov.u32 %o3, {%i0, -2};
        mov.f64 %o4, {0, %i4};
        mov.b16 %o5, {%i0, %i1};
        mov.b32 %o6, {%i0, %i1, %i2, %i3};";
    let widths = ([16, 16, 16, 16, 32, 32], [32, 64, 64, 32, 64, 16, 32]);
    let inputs = [[0x1122, 0x3344, 0x5566, 0x7788, 0x99aa_bbcc, 0xddee_ff00]];
    let expected = [
        0x3344_1122,
        0x7788_5566_3344_1122,
        0xddee_ff00_99aa_bbcc,
        0xfffe_1122,
        0x99aa_bbcc_0000_0000,
        0x4422,
        0x8866_4422,
    ];
    assert_eq!(lanes_of(body, widths, &inputs), [expected]);
}

#[test]
fn unpacking() {
    let body = "mov.b32 {%o0, %o1}, %i0;
        mov.b64 {%o2, %o3, %o4, %o5}, %i1;
        mov.b64 {%o6, %o7}, %i1;
        mov.b32 {%h0, %h1, %h2, %h3}, %i0;
        mov.b64 %o8, {%h0, %h1, %h2, %h3};
        mov.b16 {%h4, %h5}, %h7;
        mov.b32 {%h6, %h7}, %i0;
        mov.b16 {%h4, %h5}, %h7;
        mov.b32 %o9, {%h4, %h5};";
    let widths = ([32, 64], [16, 16, 16, 16, 16, 16, 32, 32, 64, 32]);
    let expected =
        [0x5678, 0x1234, 0xaabb, 0xeeff, 0xccdd, 0x8899, 0xeeff_aabb, 0x8899_ccdd, 0x0012_0034_0056_0078, 0x0012_0034];
    assert_eq!(lanes_of(body, widths, &[[0x1234_5678, 0x8899_ccdd_eeff_aabb]]), [expected]);
}

#[test]
fn unpacking_of_some_parts() {
    let body = "mov.b32 {_, %o0}, %i0;
        mov.b32 {%o1, _}, %i0;
        mov.b64 {_, %o2}, %i1;
        mov.b64 {_, _, %o3, _}, %i1;
        mov.b64 {%o4, _}, %i1;";
    let outputs = lanes_of(body, ([32, 64], [16, 16, 32, 16, 32]), &[[0x1234_5678, 0x8899_ccdd_eeff_aabb]]);
    assert_eq!(outputs, [[0x1234, 0x5678, 0x8899_ccdd, 0xccdd, 0xeeff_aabb]]);
}

#[test]
fn parts_that_are_the_whole() {
    // Both halves swapped in place, through one register.
    let body = "mov.b64 {%r0, %r1}, %i0;\nmov.b64 %d0, {%r1, %r0};\nmov.b64 {%r1, %r0}, %d0;\nmov.b64 %o0, {%r1, %r0};";
    assert_eq!(lanes_of(body, ([64], [64]), &[[0x1111_1111_2222_2222]]), [[0x2222_2222_1111_1111]]);
}

#[test]
fn predicates() {
    let body = "setp.ne.u32 %p0, %i0, 0;
        mov.pred %p1, %p0;
        mov.pred %p2, !%p0;
        mov.pred %p3, -1;
        mov.pred %p4, 1;
        mov.pred %p5, 1;
        @%p0 mov.pred %p5, 0;
        selp.u32 %o0, 1, 0, %p1;
        selp.u32 %o1, 1, 0, %p2;
        selp.u32 %o2, 1, 0, %p3;
        selp.u32 %o3, 1, 0, %p4;
        selp.u32 %o4, 1, 0, %p5;";
    assert_eq!(lanes_of(body, ([32], [32; 5]), &[[0], [1]]), [[0, 1, 1, 1, 1], [1, 0, 1, 1, 0]]);
}

/// A kernel that stores special registers, thread by thread and block by block.
fn specials(names: &[&str]) -> String {
    let stores: String = names
        .iter()
        .enumerate()
        .map(|(n, name)| format!("mov.u32 %value, {name};\nst.global.u32 [%data+{}], %value;\n", 4 * n))
        .collect();
    format!(
        "{HEAD}.visible .entry test(.param .u64 data) {{
        .reg .b32 %value, %place, %r<8>;
        .reg .b64 %data, %offset;
        mov.u32 %r0, %tid.x;
        mov.u32 %r1, %tid.y;
        mov.u32 %r2, %tid.z;
        mov.u32 %r3, %ntid.x;
        mov.u32 %r4, %ntid.y;
        mov.u32 %r5, %ntid.z;
        mad.lo.u32 %place, %r2, %r4, %r1;
        mad.lo.u32 %place, %place, %r3, %r0;
        mul.lo.u32 %r3, %r3, %r4;
        mul.lo.u32 %r3, %r3, %r5;
        mov.u32 %r0, %ctaid.x;
        mov.u32 %r1, %ctaid.y;
        mov.u32 %r2, %ctaid.z;
        mov.u32 %r6, %nctaid.x;
        mov.u32 %r7, %nctaid.y;
        mad.lo.u32 %r2, %r2, %r7, %r1;
        mad.lo.u32 %r2, %r2, %r6, %r0;
        mad.lo.u32 %place, %r2, %r3, %place;
        mul.wide.u32 %offset, %place, {};
        ld.param.u64 %data, [data];
        add.u64 %data, %data, %offset;
        {stores}
        ret;\n}}\n",
        4 * names.len()
    )
}

#[test]
fn special_registers_of_threads_and_blocks() {
    let (grid, block) = ([2, 3, 4], [5, 3, 6]);
    let names = [
        "%tid.x",
        "%tid.y",
        "%tid.z",
        "%ntid.x",
        "%ntid.y",
        "%ntid.z",
        "%ctaid.x",
        "%ctaid.y",
        "%ctaid.z",
        "%nctaid.x",
        "%nctaid.y",
        "%nctaid.z",
        "%laneid",
        "%warpid",
    ];
    let count = 24 * 90;
    let words = launch(&specials(&names), grid, block, &vec![0; count * names.len()]).clean();
    let mut rows = words.chunks(names.len());
    for z in 0..grid[2] {
        for y in 0..grid[1] {
            for x in 0..grid[0] {
                let mut thread = 0;
                for tz in 0..block[2] {
                    for ty in 0..block[1] {
                        for tx in 0..block[0] {
                            let expected = [tx, ty, tz, 5, 3, 6, x, y, z, 2, 3, 4, thread % 32, thread / 32];
                            assert_eq!(rows.next(), Some(&expected[..]));
                            thread += 1;
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn special_registers_of_lanes() {
    let names = [
        "%laneid",
        "%lanemask_eq",
        "%lanemask_lt",
        "%lanemask_le",
        "%lanemask_gt",
        "%lanemask_ge",
        "WARP_SZ",
        "%nsmid",
    ];
    let words = launch(&specials(&names), [1; 3], [64, 1, 1], &[0; 64 * 8]).clean();
    for (thread, row) in (0u32..).zip(words.chunks(names.len())) {
        let lane = thread % 32;
        let lanes =
            |f: fn(u32, u32) -> bool| (0..32).filter(|other| f(*other, lane)).fold(0u32, |mask, n| mask | 1 << n);
        let expected = [
            lane,
            lanes(|other, lane| other == lane),
            lanes(|other, lane| other < lane),
            lanes(|other, lane| other <= lane),
            lanes(|other, lane| other > lane),
            lanes(|other, lane| other >= lane),
            32,
            // Of an H100.
            132,
        ];
        assert_eq!(row, expected);
    }
}

#[test]
fn special_registers_as_operands_and_in_other_widths() {
    let body = "mov.u16 %o0, %laneid;\nmov.u64 %o1, %laneid;\nmov.u64 %o2, %gridid;\nmov.u32 %o3, %clock_hi;\n
        mov.u32 %o4, %globaltimer_hi;";
    let inputs: Vec<_> = (0..32).map(|lane| [lane]).collect();
    for ([lane], row) in inputs.iter().zip(lanes_of(body, ([32], [16, 64, 64, 32, 32]), &inputs)) {
        assert_eq!(row, [*lane, *lane, 1, 0, 0]);
    }
}

#[test]
fn clocks_go_on() {
    let body = "mov.u32 %o0, %clock;\nmov.u64 %o1, %clock64;\nmov.u64 %o2, %globaltimer;\nmov.u32 %o3, %globaltimer_lo;
        mov.u32 %o4, %clock;";
    for row in lanes_of(body, ([32], [32, 64, 64, 32, 32]), &[[0]; 64]) {
        assert!(row[0] > 0 && row.is_sorted_by(|a, b| a < b), "{row:?}");
    }
}

/// A kernel whose addresses of every space are `%d0` to `%d4`, generic as `%d5` to `%d9`: global, constant, shared,
/// local, the parameter.
fn addresses(body: &str) -> String {
    format!(
        "{HEAD}.global .align 4 .b32 in_global = 7;
        .const .align 4 .b32 in_const = 8;
        .visible .entry test(.param .u64 data) {{
        .shared .align 4 .b32 before, in_shared;
        .local .align 4 .b32 in_local;
        .reg .b32 %r<8>;
        .reg .b64 %d<16>, %data;
        .reg .pred %p<8>;
        ld.param.u64 %data, [data];
        mov.u64 %d0, in_global;
        mov.u64 %d1, in_const;
        mov.u64 %d2, in_shared;
        mov.u64 %d3, in_local;
        mov.b64 %d4, data;
        cvta.global.u64 %d5, %d0;
        cvta.const.u64 %d6, in_const;
        cvta.shared.u64 %d7, in_shared;
        cvta.local.u64 %d8, %d3;
        cvta.param.u64 %d9, data;
        {body}
        ret;\n}}\n"
    )
}

#[test]
fn cvta() {
    // All the same data through generic addresses, and back.
    let body = "mov.u32 %r2, 9;
        st.shared.u32 [in_shared], %r2;
        mov.u32 %r3, 10;
        st.local.u32 [in_local], %r3;
        ld.u32 %r0, [%d5];
        st.global.u32 [%data], %r0;
        ld.u32 %r0, [%d6];
        st.global.u32 [%data+4], %r0;
        ld.u32 %r0, [%d7];
        st.global.u32 [%data+8], %r0;
        ld.u32 %r0, [%d8];
        st.global.u32 [%data+12], %r0;
        ld.u64 %d10, [%d9];
        sub.u64 %d10, %d10, %data;
        st.global.u64 [%data+16], %d10;
        cvta.to.global.u64 %d10, %d5;
        sub.u64 %d10, %d10, %d0;
        st.global.u64 [%data+24], %d10;
        cvta.to.const.u64 %d10, %d6;
        sub.u64 %d10, %d10, %d1;
        st.global.u64 [%data+32], %d10;
        cvta.to.shared.u64 %d10, %d7;
        sub.u64 %d10, %d10, %d2;
        st.global.u64 [%data+40], %d10;
        cvta.to.local.u64 %d10, %d8;
        sub.u64 %d10, %d10, %d3;
        st.global.u64 [%data+48], %d10;
        cvta.to.param.u64 %d10, %d9;
        sub.u64 %d10, %d10, %d4;
        st.global.u64 [%data+56], %d10;";
    let words = launch(&addresses(body), [1; 3], [1; 3], &[0xffff_ffff; 16]).clean();
    let mut expected = [0; 16];
    expected[..4].copy_from_slice(&[7, 8, 9, 10]);
    assert_eq!(words, expected);
}

#[test]
fn isspacep() {
    let mut body = String::new();
    let spaces = ["global", "shared", "shared::cta", "local", "param", "param::entry"];
    for (n, space) in spaces.iter().enumerate() {
        for (m, address) in [5, 7, 8, 9].iter().enumerate() {
            body += &format!(
                "isspacep.{space} %p0, %d{address};\nselp.u32 %r0, 1, 0, %p0;\nst.global.u32 [%data+{}], %r0;\n",
                16 * n + 4 * m
            );
        }
    }
    let words = launch(&addresses(&body), [1; 3], [1; 3], &[9; 24]).clean();
    // In columns: global, shared, local, the kernel's parameters, which are global, too.
    let expected = [[1, 0, 0, 1], [0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1]];
    assert_eq!(words, expected.as_flattened());
}

#[test]
fn forms_that_there_are_not() {
    for body in [
        "mov.b32 %o1, %i2;",
        "mov.b32 %o1, %i0;",
        "mov.b32 %o1, {%i0, %i0, %i0};",
        "mov.b64 %o2, {%i1, %i0};",
        "mov.b32 {%h0, %r0}, %i1;",
        "mov.b128 %o2, {%i2, %i2};",
        "mov.b8 %o0, %i0;",
        "mov.u32 %o1, %nothing;",
        "mov.u32 %o1, nothing;",
        "mov.pred %p0, %i1;",
        "mov.pred %o1, %p0;",
        "mov.u16 %o0, %clock;",
        "cvta.shared.u32 %o1, %i1;",
        "cvta.const.u64 %o1, %i2;",
        "isspacep.shared %p0, %i1;",
        "isspacep.somewhere %p0, %i2;",
    ] {
        refusal_of(body);
    }
}
