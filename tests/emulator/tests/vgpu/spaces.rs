//! State spaces: parameters of kernels, generic addresses, local memory, static and dynamic shared memory.

use kwc_emulator::findings::Kind;
use kwc_emulator::gpu::{Fault, Shape};
use kwc_emulator::options::Checks;

use crate::ptx::{HEAD, device, launch, launch_with};

#[test]
fn parameters_of_a_kernel() {
    let ptx = format!(
        "{HEAD}.visible .entry test(.param .u64 data, .param .u8 a, .param .u16 b, .param .f32 c,
            .param .align 16 .b8 d[32], .param .u64 e) {{
        .reg .b32 %r<8>;\n.reg .b64 %data, %d<8>;
        ld.param.u64 %data, [data];
        ld.param.s8 %r0, [a];
        ld.param.u16 %r1, [b];
        ld.param.f32 %r2, [c];
        ld.param.v4.u32 {{%r3, %r4, %r5, %r6}}, [d+16];
        ld.param::entry.u64 %d0, [e];
        st.global.v4.u32 [%data], {{%r0, %r1, %r2, %r3}};
        st.global.v2.u32 [%data+16], {{%r4, %r5}};
        st.global.u32 [%data+24], %r6;
        st.global.u64 [%data+32], %d0;
        mov.b64 %d1, d;
        ld.param.u32 %r0, [%d1+12];
        cvta.param.u64 %d2, %d1;
        ld.u32 %r1, [%d2+8];
        st.global.v2.u32 [%data+40], {{%r0, %r1}};
        ret;\n}}\n"
    );
    let gpu = device(Checks::ALL, 1, 1);
    let module = gpu.load(&ptx).expect("a module");
    let kernel = &module.kernels["test"];
    // Each at a multiple of its alignment.
    assert_eq!(kernel.parameters, [(0, 8), (8, 1), (10, 2), (12, 4), (16, 32), (48, 8)]);
    let data = gpu.memory().allocate(48).expect("memory");
    let mut parameters = data.to_le_bytes().to_vec();
    parameters.extend([0xfe, 0]);
    parameters.extend(0x1234u16.to_le_bytes());
    parameters.extend(1.5f32.to_le_bytes());
    parameters.extend((1..=8u32).flat_map(|n| (n * 0x0101_0101).to_le_bytes()));
    parameters.extend(0x1122_3344_5566_7788u64.to_le_bytes());
    gpu.memory().write(data, &[0; 48]).expect("it fits");
    gpu.launch(kernel, &Shape { grid: [1; 3], block: [1; 3], dynamic_shared: 0 }, &parameters).expect("an end");
    let mut bytes = [0; 48];
    gpu.memory().read(data, &mut bytes).expect("it is there");
    let words: Vec<u32> = bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
    let expected = [
        0xffff_fffe,
        0x1234,
        0x3fc0_0000,
        0x0505_0505,
        0x0606_0606,
        0x0707_0707,
        0x0808_0808,
        0,
        0x5566_7788,
        0x1122_3344,
        0x0404_0404,
        0x0303_0303,
    ];
    assert_eq!(words, expected);
}

#[test]
fn a_parameter_beyond_the_last() {
    let ptx = format!(
        "{HEAD}.visible .entry test(.param .u64 data) {{
        .reg .b64 %d<2>;
        mov.b64 %d0, data;
        ld.param.u64 %d1, [%d0+64];
        ret;\n}}\n"
    );
    let outcome = launch(&ptx, [1; 3], [1; 3], &[0]);
    assert_eq!(outcome.end, Err(Fault::IllegalAddress));
    assert_eq!(outcome.findings.iter().map(|finding| finding.kind).collect::<Vec<_>>(), [Kind::OutOfBounds]);
}

/// A kernel with a word in each space, whose generic addresses are `%d1` (global, one for each lane), `%d2` (shared, the
/// same), `%d3` (local) and `%d4` (constant).
pub(crate) fn generic(body: &str) -> String {
    format!(
        "{HEAD}.const .align 4 .u32 constant[2] = {{77, 78}};
        .global .align 4 .u32 variable[2] = {{55}};
        .visible .entry test(.param .u64 data) {{
        .shared .align 4 .b8 shared[256];
        .local .align 4 .b8 own[8];
        .reg .b32 %t, %r<8>;\n.reg .b64 %at, %d<8>;\n.reg .pred %p<8>;
        mov.u32 %t, %tid.x;
        ld.param.u64 %at, [data];
        mad.wide.u32 %d1, %t, 4, %at;
        cvta.shared.u64 %d2, shared;
        mad.wide.u32 %d2, %t, 4, %d2;
        cvta.local.u64 %d3, own;
        cvta.const.u64 %d4, constant;
        {body}
        ret;\n}}\n"
    )
}

#[test]
fn generic_addresses() {
    let body = "add.u32 %r0, %t, 100;
        st.u32 [%d2], %r0;
        mul.lo.u32 %r2, %t, 5;
        st.u32 [%d3+4], %r2;
        ld.local.u32 %r3, [own+4];
        ld.u32 %r4, [%d2];
        ld.u32 %r5, [%d4+4];
        mov.u64 %d5, variable;
        ld.u32 %r6, [%d5];
        add.u32 %r3, %r3, %r4;
        add.u32 %r3, %r3, %r5;
        add.u32 %r3, %r3, %r6;
        st.u32 [%d1], %r3;";
    let words = launch(&generic(body), [1; 3], [32, 1, 1], &[0; 32]).clean();
    assert_eq!(words, (0..32).map(|t| 5 * t + (t + 100) + 78 + 55).collect::<Vec<_>>());
}

#[test]
fn lanes_in_different_spaces_at_once() {
    // By the lane's number: global, shared, local memory, all in one instruction.
    let body = "rem.u32 %r0, %t, 3;
        setp.eq.u32 %p0, %r0, 0;
        setp.eq.u32 %p1, %r0, 1;
        selp.u64 %d5, %d2, %d3, %p1;
        selp.u64 %d5, %d1, %d5, %p0;
        add.u32 %r1, %t, 1000;
        st.u32 [%d5], %r1;
        ld.u32 %r2, [%d5];
        mad.lo.u32 %r2, %r2, 2, %r0;
        st.global.u32 [%d1], %r2;";
    let words = launch(&generic(body), [1; 3], [64, 1, 1], &[0; 64]).clean();
    assert_eq!(words, (0..64).map(|t| 2 * (t + 1000) + t % 3).collect::<Vec<_>>());
}

#[test]
fn every_lane_has_local_memory_of_its_own() {
    // Words are written in an order that depends on the lane, and read in another; bytes of them, too.
    let ptx = format!(
        "{HEAD}.visible .entry test(.param .u64 data) {{
        .local .align 8 .b8 own[64];
        .reg .b32 %t, %x, %r<8>;\n.reg .b64 %at, %d<4>;\n.reg .pred %p;
        mov.u32 %t, %tid.x;
        ld.param.u64 %at, [data];
        mad.wide.u32 %at, %t, 4, %at;
        mov.u64 %d0, own;
        mov.u32 %r0, 0;
        WRITE:
        xor.b32 %r1, %r0, %t;
        and.b32 %r1, %r1, 15;
        mad.wide.u32 %d1, %r1, 4, %d0;
        mad.lo.u32 %r2, %r1, 65537, %t;
        st.local.u32 [%d1], %r2;
        add.u32 %r0, %r0, 1;
        setp.lt.u32 %p, %r0, 16;
        @%p bra WRITE;
        mov.u32 %x, 0;
        READ:
        sub.u32 %r0, %r0, 1;
        add.u32 %r1, %r0, %t;
        and.b32 %r1, %r1, 15;
        mad.wide.u32 %d1, %r1, 4, %d0;
        ld.local.u16 %r2, [%d1+2];
        ld.local.u8 %r3, [%d1];
        add.u32 %r2, %r2, %r3;
        mad.lo.u32 %x, %x, 7, %r2;
        setp.gt.u32 %p, %r0, 0;
        @%p bra READ;
        st.global.u32 [%at], %x;
        ret;\n}}\n"
    );
    let words = launch(&ptx, [1; 3], [96, 1, 1], &[0; 96]).clean();
    let expected = |t: u32| {
        (0..16).rev().fold(0u32, |x, n| {
            let place = (n + t) % 16;
            x.wrapping_mul(7).wrapping_add(place + (place + t) % 256)
        })
    };
    assert_eq!(words, (0..96).map(expected).collect::<Vec<_>>());
}

#[test]
fn local_memory_of_functions_that_call_themselves() {
    // Each of the open calls has a word of its own, which is still there when the deeper ones have returned.
    let ptx = format!(
        "{HEAD}.func (.param .b32 result) down(.param .b32 n)
        {{
        .local .align 4 .b8 own[8];
        .reg .b32 %r<4>;\n.reg .pred %p;
        .param .b32 in;\n.param .b32 out;
        ld.param.b32 %r0, [n];
        mul.lo.u32 %r1, %r0, %r0;
        st.local.u32 [own+4], %r1;
        mov.u32 %r2, 0;
        setp.eq.u32 %p, %r0, 0;
        @%p bra DONE;
        sub.u32 %r1, %r0, 1;
        st.param.b32 [in], %r1;
        call (out), down, (in);
        ld.param.b32 %r2, [out];
        DONE:
        ld.local.u32 %r3, [own+4];
        add.u32 %r2, %r2, %r3;
        st.param.b32 [result], %r2;
        ret;
        }}
        .visible .entry test(.param .u64 data) {{
        .local .align 4 .b8 own[4];
        .reg .b32 %t, %x, %y;\n.reg .b64 %at;
        .param .b32 in;\n.param .b32 out;
        mov.u32 %t, %tid.x;
        ld.param.u64 %at, [data];
        mad.wide.u32 %at, %t, 4, %at;
        st.local.u32 [own], %t;
        st.param.b32 [in], %t;
        call (out), down, (in);
        ld.param.b32 %x, [out];
        ld.local.u32 %y, [own];
        mad.lo.u32 %x, %x, 100, %y;
        st.global.u32 [%at], %x;
        ret;\n}}\n"
    );
    let words = launch(&ptx, [1; 3], [40, 1, 1], &[0; 40]).clean();
    assert_eq!(words, (0..40).map(|t| t * (t + 1) * (2 * t + 1) / 6 * 100 + t).collect::<Vec<_>>());
}

#[test]
fn static_and_dynamic_shared_memory() {
    let ptx = format!(
        "{HEAD}.extern .shared .align 16 .b8 dynamic[];
        .shared .align 4 .b8 common[8];
        .visible .entry test(.param .u64 data) {{
        .shared .align 4 .b8 own[12];
        .reg .b32 %r<16>;\n.reg .b64 %at;
        ld.param.u64 %at, [data];
        mov.u32 %r0, common;
        mov.u32 %r1, own;
        mov.u32 %r2, dynamic;
        mov.u32 %r3, %dynamic_smem_size;
        mov.u32 %r4, %total_smem_size;
        mov.u32 %r5, 11;
        st.shared.u32 [common+4], %r5;
        mov.u32 %r5, 22;
        st.shared.u32 [own+8], %r5;
        mov.u32 %r5, 33;
        st.shared.u32 [dynamic+60], %r5;
        ld.shared.u32 %r6, [%r0+4];
        ld.shared.u32 %r7, [%r1+8];
        ld.shared.u32 %r8, [%r2+60];
        st.global.v4.u32 [%at], {{%r0, %r1, %r2, %r3}};
        st.global.v4.u32 [%at+16], {{%r4, %r6, %r7, %r8}};
        ret;\n}}\n"
    );
    let shape = Shape { grid: [1; 3], block: [1; 3], dynamic_shared: 64 };
    let words = launch_with(&ptx, shape, &[0; 8], 1).clean();
    // 8 and 12 bytes, then the dynamic at a multiple of 16.
    assert_eq!(words[2..], [32, 64, 96, 11, 22, 33]);
    assert!(words[0] + 8 <= words[1] || words[1] + 12 <= words[0], "{words:?}");
}

#[test]
fn outside_of_local_memory() {
    for (place, kind, fault) in
        [("own+4096", Kind::OutOfBounds, Fault::IllegalAddress), ("own+2", Kind::Misaligned, Fault::Misaligned)]
    {
        let ptx = format!(
            "{HEAD}.visible .entry test(.param .u64 data) {{
            .local .align 4 .b8 own[8];
            .reg .b32 %r<2>;
            ld.local.u32 %r0, [{place}];
            ret;\n}}\n"
        );
        let outcome = launch(&ptx, [1; 3], [32, 1, 1], &[0]);
        assert_eq!(outcome.end, Err(fault));
        assert_eq!(outcome.findings.iter().map(|finding| finding.kind).collect::<Vec<_>>(), [kind]);
    }
}

#[test]
fn constants_are_no_traffic_of_global_memory() {
    let ptx = format!(
        "{HEAD}.const .align 4 .b32 table[4] = {{1, 20, 300, 4000}};
        .global .align 4 .b32 others[4] = {{5, 60, 700, 8000}};
        .visible .entry test(.param .u64 data) {{
        .reg .b32 %r<8>;\n.reg .b64 %data, %d<8>;
        mov.u32 %r0, %tid.x;
        and.b32 %r1, %r0, 3;
        mov.u64 %d0, table;
        mad.wide.u32 %d0, %r1, 4, %d0;
        ld.const.u32 %r2, [%d0];
        mov.u64 %d1, others;
        mad.wide.u32 %d1, %r1, 4, %d1;
        ld.global.u32 %r3, [%d1];
        add.u32 %r2, %r2, %r3;
        ld.param.u64 %data, [data];
        mad.wide.u32 %data, %r0, 4, %data;
        st.global.u32 [%data], %r2;
        ret;\n}}\n"
    );
    let outcome = launch(&ptx, [1; 3], [32, 1, 1], &[0; 32]);
    let (loads, read) = (outcome.counters.global_loads, outcome.counters.distinct_sectors_read);
    assert_eq!((loads.requests, loads.sectors, loads.bytes, read), (1, 1, 128, 1));
    assert_eq!(outcome.clean()[..5], [6, 80, 1000, 12000, 6]);
}

#[test]
fn generic_addresses_of_several_spaces_at_once() {
    // A third of the lanes each in global, shared and local memory.
    let ptx = format!(
        "{HEAD}.visible .entry test(.param .u64 data) {{
        .shared .align 4 .b8 words[128];
        .local .align 4 .b8 own[8];
        .reg .b32 %r<8>;\n.reg .b64 %data, %d<8>;\n.reg .pred %p<3>;
        mov.u32 %r0, %tid.x;
        ld.param.u64 %data, [data];
        mad.wide.u32 %data, %r0, 4, %data;
        mov.u32 %r1, words;
        mad.lo.u32 %r1, %r0, 4, %r1;
        cvt.u64.u32 %d0, %r1;
        cvta.shared.u64 %d0, %d0;
        mov.u64 %d1, own;
        add.u64 %d1, %d1, 4;
        cvta.local.u64 %d1, %d1;
        rem.u32 %r2, %r0, 3;
        setp.eq.u32 %p0, %r2, 0;
        setp.eq.u32 %p1, %r2, 1;
        selp.u64 %d2, %d0, %d1, %p0;
        selp.u64 %d2, %data, %d2, %p1;
        add.u32 %r3, %r0, 500;
        st.u32 [%d2], %r3;
        ld.u32 %r4, [%d2];
        @%p0 ld.shared.u32 %r5, [%r1];
        mov.u64 %d3, own;
        @!%p0 ld.local.u32 %r5, [%d3+4];
        @%p1 ld.global.u32 %r5, [%data];
        mad.lo.u32 %r4, %r5, 1000, %r4;
        st.global.u32 [%data], %r4;
        ret;\n}}\n"
    );
    let words = launch(&ptx, [1; 3], [32, 1, 1], &[0; 32]).clean();
    assert_eq!(words, (500..532).map(|value| 1001 * value).collect::<Vec<u32>>());
}
