//! `ldmatrix` and `stmatrix`: who has which element, who gives which row, and what it costs.

use kwc_emulator::counters::{Class, Issued};
use kwc_emulator::findings::Kind;
use kwc_emulator::gpu::Fault;

use crate::ptx::{Outcome, Program, bytes, refusal_of};

/// Elements of 16 bits of the shared memory that the kernels here have: 4 KiB.
const ELEMENTS: u32 = 2048;

/// The value of an element by its place, none twice.
fn element(place: u32) -> u32 {
    (place * 7 + 3) % 65536
}

/// Fills shared memory from the buffer, runs `body` with the address in the buffer's end in `%r10`, and puts `%r1` to
/// `%r4` there: for each lane an address, then four words.
fn program(body: &str) -> Program {
    Program::new(&format!(
        ".shared .align 16 .b8 place[4096];
         mov.u32 %r11, place; mad.lo.s32 %r11, %me, 16, %r11; mul.wide.u32 %d1, %me, 16; add.s64 %d1, %d1, %data;
         {}
         bar.sync 0;
         mul.wide.u32 %d1, %me, 20; add.s64 %d1, %d1, %data;
         ld.global.u32 %r10, [%d1+4096];
         mov.u32 %r11, place; add.s32 %r10, %r10, %r11;
         mov.u32 %r1, 0x77777777; mov.u32 %r2, %r1; mov.u32 %r3, %r1; mov.u32 %r4, %r1;
         {body}
         st.global.u32 [%d1+4100], %r1; st.global.u32 [%d1+4104], %r2;
         st.global.u32 [%d1+4108], %r3; st.global.u32 [%d1+4112], %r4;",
        (0..8)
            .map(|part| format!(
                "ld.global.v4.u32 {{%r1, %r2, %r3, %r4}}, [%d1+{0}]; st.shared.v4.u32 [%r11+{0}], {{%r1, %r2, %r3, %r4}};\n",
                512 * part
            ))
            .collect::<String>(),
    ))
}

fn buffer(addresses: impl Fn(u32) -> u32) -> Vec<u8> {
    let elements = (0..ELEMENTS / 2).map(|word| element(2 * word) | element(2 * word + 1) << 16);
    bytes(&elements.chain((0..32).flat_map(|lane| [addresses(lane), 0, 0, 0, 0])).collect::<Vec<u32>>())
}

/// Register `register` of each lane.
fn register(outcome: &Outcome, register: usize) -> [u32; 32] {
    std::array::from_fn(|lane| {
        let at = 4096 + 20 * lane + 4 * (register + 1);
        u32::from_le_bytes(outcome.data[at..][..4].try_into().expect("4 bytes"))
    })
}

/// Where row `row` of matrix `matrix` lies: without an order, none twice.
fn scattered(matrix: u32, row: u32) -> u32 {
    16 * ((matrix * 8 + row) * 77 % 256)
}

/// The lane that has an element of a matrix, and in which half.
fn holder(row: u32, column: u32, transposed: bool) -> (usize, u32) {
    let (row, column) = if transposed { (column, row) } else { (row, column) };
    ((4 * row + column / 2) as usize, column % 2)
}

/// The fragments of matrices whose rows are at `at`.
fn fragment(at: impl Fn(u32) -> u32, transposed: bool) -> [u32; 32] {
    let mut fragment = [0; 32];
    for row in 0..8 {
        for column in 0..8 {
            let (lane, half) = holder(row, column, transposed);
            fragment[lane] |= element(at(row) / 2 + column) << (16 * half);
        }
    }
    fragment
}

#[track_caller]
fn nothing_found(outcome: &Outcome) {
    assert!(outcome.findings.is_empty() && outcome.end.is_ok(), "{:?} {:#?}", outcome.end, outcome.findings);
}

#[test]
fn every_number_of_matrices_both_ways() {
    for (count, registers) in [(1, "%r1"), (2, "%r1, %r2"), (4, "%r1, %r2, %r3, %r4")] {
        for (suffix, transposed) in [("", false), (".trans", true)] {
            for (space, address) in
                [(".shared", ""), (".shared::cta", ""), ("", "mul.wide.u32 %d2, %r10, 1; cvta.shared.u64 %d2, %d2;")]
            {
                let from = if space.is_empty() { "%d2" } else { "%r10" };
                let opcode = format!("ldmatrix.sync.aligned.m8n8.x{count}{suffix}{space}.b16");
                let body = format!("{address} {opcode} {{{registers}}}, [{from}];");
                // Lanes that give no row have addresses that mean nothing.
                let addresses =
                    |lane| if lane < 8 * count { scattered(lane / 8, lane % 8) } else { 0x00ff_fff1 + lane };
                let outcome = program(&body).run(&buffer(addresses));
                nothing_found(&outcome);
                for matrix in 0..4 {
                    let expected = if matrix < count {
                        fragment(|row| scattered(matrix, row), transposed)
                    } else {
                        [0x7777_7777; 32]
                    };
                    assert_eq!(register(&outcome, matrix as usize), expected, "{opcode}, matrix {matrix}");
                }
            }
        }
    }
}

#[test]
fn written_out() {
    // Rows side by side. Lane 0 has the first two elements of row 0, lane 5 elements 2 and 3 of row 1; transposed, lane 0
    // has the first elements of rows 0 and 1, lane 5 elements 1 of rows 2 and 3.
    let pair = |low, high| element(low) | element(high) << 16;
    let body = "ldmatrix.sync.aligned.m8n8.x1.shared.b16 %r1, [%r10+32];
        ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%r2}, [%r10+32];";
    let outcome = program(body).run(&buffer(|lane| 16 * lane));
    nothing_found(&outcome);
    let (plain, transposed) = (register(&outcome, 0), register(&outcome, 1));
    assert_eq!((plain[0], plain[5], plain[31]), (pair(16, 17), pair(26, 27), pair(78, 79)));
    assert_eq!((transposed[0], transposed[5], transposed[31]), (pair(16, 24), pair(33, 41), pair(71, 79)));
}

#[test]
fn the_same_row_more_than_once() {
    let outcome = program("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%r1, _}, [%r10];").run(&buffer(|_| 48));
    nothing_found(&outcome);
    assert_eq!(register(&outcome, 0), fragment(|_| 48, false));
    assert_eq!(register(&outcome, 1), [0x7777_7777; 32]);
}

#[test]
fn bank_conflicts() {
    // A matrix of which all rows are in the same four banks takes eight wavefronts.
    let wavefronts = |count: u32, address: fn(u32) -> u32| {
        let registers = ["%r1", "%r1, %r2", "%r1, %r2, %r3, %r4"][count.ilog2() as usize];
        let body = format!("ldmatrix.sync.aligned.m8n8.x{count}.shared.b16 {{{registers}}}, [%r10];");
        let outcome = program(&body).run(&buffer(address));
        nothing_found(&outcome);
        let site = outcome.site(&format!("ldmatrix.sync.aligned.m8n8.x{count}.shared.b16")).site;
        assert_eq!((site.requests, site.bytes), (1, u64::from(128 * count)));
        (site.wavefronts, site.conflicts)
    };
    assert_eq!(wavefronts(1, |lane| 16 * lane), (1, 0));
    assert_eq!(wavefronts(2, |lane| 16 * lane), (2, 0));
    assert_eq!(wavefronts(4, |lane| 16 * lane), (4, 0));
    // Rows of 32, 64 and 128 bytes, of which each has 16 here.
    assert_eq!(wavefronts(4, |lane| 32 * lane), (8, 4));
    assert_eq!(wavefronts(4, |lane| 64 * lane), (16, 12));
    assert_eq!(wavefronts(4, |lane| 128 * (lane % 8) + 16 * (lane / 8)), (32, 28));
    assert_eq!(wavefronts(1, |lane| 128 * lane), (8, 7));
    // Rows of 128 bytes, padded by 16, or with pieces in another order in each.
    assert_eq!(wavefronts(4, |lane| 144 * (lane % 8) + 16 * (lane / 8)), (4, 0));
    assert_eq!(wavefronts(4, |lane| 128 * (lane % 8) + 16 * ((lane / 8) ^ (lane % 8))), (4, 0));
    // Rows that are one: a wavefront gives it to all.
    assert_eq!(wavefronts(4, |_| 16), (4, 0));
    assert_eq!(wavefronts(2, |lane| 16 * (lane / 8)), (2, 0));
}

#[test]
fn it_counts_as_an_access_of_shared_memory() {
    let outcome = program("ldmatrix.sync.aligned.m8n8.x1.shared.b16 %r1, [%r10];").run(&buffer(|lane| 16 * lane));
    let counters = &outcome.counters;
    let class = counters.classes.iter().find(|(class, _)| *class == Class::Shared).map(|(_, issued)| *issued);
    // With eight stores of the setting up.
    assert_eq!(class, Some(Issued { warps: 9, threads: 9 * 32 }));
    assert_eq!((counters.shared_requests, counters.shared_wavefronts), (9, 8 * 4 + 1));
}

#[test]
fn stores_are_loads_backwards() {
    for (suffix, transposed) in [("", false), (".trans", true)] {
        for (count, registers) in [(1, "%r1"), (2, "%r1, %r2"), (4, "%r1, %r2, %r3, %r4")] {
            // A lane's registers: its number and which. Then the rows are read as they lie.
            let body = format!(
                "shl.b32 %r1, %me, 16; or.b32 %r1, %r1, %me; add.u32 %r1, %r1, 0x00400000;
                 add.u32 %r2, %r1, 0x01000100; add.u32 %r3, %r2, 0x01000100; add.u32 %r4, %r3, 0x01000100;
                 stmatrix.sync.aligned.m8n8.x{count}{suffix}.shared.b16 [%r10], {{{registers}}};
                 bar.sync 0;
                 ld.shared.v4.u32 {{%r1, %r2, %r3, %r4}}, [%r10];"
            );
            let outcome = program(&body).run(&buffer(|lane| scattered(lane / 8, lane % 8)));
            nothing_found(&outcome);
            let words: Vec<[u32; 32]> = (0..4).map(|number| register(&outcome, number)).collect();
            for matrix in 0..count {
                for (row, column) in (0..8).flat_map(|row| (0..8).map(move |column| (row, column))) {
                    let (lane, half) = holder(row, column, transposed);
                    let expected = lane as u32 + 0x40 * half + 0x100 * matrix;
                    let word = words[column as usize / 2][(8 * matrix + row) as usize];
                    assert_eq!(word >> (16 * (column % 2)) & 0xffff, expected, "{suffix} {matrix} {row} {column}");
                }
            }
        }
    }
}

#[test]
fn a_partial_warp() {
    // The lanes that are there get what they would; rows whose lanes aren't there are zeros.
    let body = "setp.ge.u32 %p1, %me, 4; @%p1 ldmatrix.sync.aligned.m8n8.x1.shared.b16 %r1, [%r10];";
    let outcome = program(body).run(&buffer(|lane| 16 * lane));
    assert_eq!(outcome.end, Ok(()));
    let finding = outcome.only_finding(Kind::PartialWarp, "ldmatrix.sync.aligned.m8n8.x1.shared.b16");
    assert_eq!((finding.thread[0], finding.line > 0), (4, true));
    let full = fragment(|row| 16 * row, false);
    let expected: [u32; 32] = std::array::from_fn(|lane| match lane {
        0..4 => 0x7777_7777,
        4..16 => 0,
        _ => full[lane],
    });
    assert_eq!(register(&outcome, 0), expected);
    // The same by all is right.
    let outcome = program("ldmatrix.sync.aligned.m8n8.x1.shared.b16 %r1, [%r10];").run(&buffer(|lane| 16 * lane));
    nothing_found(&outcome);
}

#[test]
fn a_warp_without_the_lanes_that_give_rows() {
    let body = "setp.ge.u32 %p1, %me, 8; @%p1 ldmatrix.sync.aligned.m8n8.x1.shared.b16 %r1, [%r10];";
    let outcome = program(body).run(&buffer(|_| 1));
    outcome.only_finding(Kind::PartialWarp, "ldmatrix.sync.aligned.m8n8.x1.shared.b16");
    assert_eq!(register(&outcome, 0)[8..], [0; 24]);
}

#[test]
fn rows_that_are_wrong() {
    let opcode = "ldmatrix.sync.aligned.m8n8.x2.shared.b16";
    let body = format!("{opcode} {{%r1, %r2}}, [%r10];");
    let outcome = program(&body).run(&buffer(|lane| if lane == 9 { 24 } else { 16 * lane }));
    assert_eq!(outcome.end, Err(Fault::Misaligned));
    assert_eq!(outcome.only_finding(Kind::Misaligned, opcode).thread[0], 9);
    let outcome = program(&body).run(&buffer(|lane| if lane == 11 { 4096 } else { 16 * lane }));
    assert_eq!(outcome.end, Err(Fault::IllegalAddress));
    assert_eq!(outcome.only_finding(Kind::OutOfBounds, opcode).thread[0], 11);
    // A row in global memory.
    let opcode = "ldmatrix.sync.aligned.m8n8.x1.b16";
    let outcome = program(&format!("{opcode} %r1, [%data];")).run(&buffer(|_| 0));
    assert_eq!(outcome.end, Err(Fault::IllegalAddress));
    outcome.only_finding(Kind::OutOfBounds, opcode);
}

#[test]
fn what_was_never_written() {
    let body = ".shared .align 16 .b8 place[256]; mov.u32 %r10, place; mad.lo.s32 %r10, %me, 4, %r10;
        setp.lt.u32 %p1, %me, 31; @%p1 st.shared.u32 [%r10], %me; bar.sync 0;
        mov.u32 %r10, place; mad.lo.s32 %r10, %me, 16, %r10;
        ldmatrix.sync.aligned.m8n8.x1.shared.b16 %r1, [%r10];";
    let outcome = Program::new(body).run(&[0; 4]);
    let finding = outcome.only_finding(Kind::Uninitialised, "ldmatrix.sync.aligned.m8n8.x1.shared.b16");
    assert_eq!((finding.address, finding.thread[0]), (Some(124), 31));
}

#[test]
fn races_are_of_the_lanes_that_get_a_word() {
    // Each lane writes a word and then, with no synchronisation, the warp loads a matrix. Where the words are those that
    // the lanes get, nobody reads what another wrote.
    let body = |word: &str| {
        format!(
            ".shared .align 16 .b8 place[128]; mov.u32 %r11, place; mad.lo.s32 %r10, {word}, 4, %r11;
             st.shared.u32 [%r10], %me;
             mad.lo.s32 %r10, %me, 16, %r11;
             ldmatrix.sync.aligned.m8n8.x1.shared.b16 %r1, [%r10]; st.global.u32 [%mine], %r1;"
        )
    };
    let own = Program::new(&body("%me")).run(&[0; 128]);
    assert_eq!(own.clean(), (0..32).collect::<Vec<u32>>());
    let other = Program::new(&format!("xor.b32 %r12, %me, 1; {}", body("%r12"))).run(&[0; 128]);
    let opcode = "ldmatrix.sync.aligned.m8n8.x1.shared.b16";
    other.only_finding(Kind::SharedRace, opcode);
    let synchronised =
        body("%r12").replace("st.shared.u32 [%r10], %me;", "st.shared.u32 [%r10], %me; bar.warp.sync -1;");
    let outcome = Program::new(&format!("xor.b32 %r12, %me, 1; {synchronised}")).run(&[0; 128]);
    assert_eq!(outcome.clean(), (0..32).map(|lane| lane ^ 1).collect::<Vec<u32>>());
}

#[test]
fn a_matrix_on_its_way_by_an_asynchronous_copy() {
    let body = |wait: &str| {
        format!(
            ".shared .align 16 .b8 place[128]; mov.u32 %r11, place; mad.lo.s32 %r10, %me, 16, %r11;
             setp.lt.u32 %p1, %me, 8; mul.wide.u32 %d1, %me, 16; add.s64 %d1, %d1, %data;
             @%p1 cp.async.cg.shared.global [%r10], [%d1], 16;
             {wait} bar.sync 0;
             ldmatrix.sync.aligned.m8n8.x1.shared.b16 %r1, [%r10]; st.global.u32 [%mine+128], %r1;"
        )
    };
    let data = bytes(&(0..64).map(|number| number * number).collect::<Vec<u32>>());
    let outcome = Program::new(&body("cp.async.wait_all;")).run(&data);
    assert_eq!(outcome.clean()[32..], (0..32).map(|number| number * number).collect::<Vec<u32>>());
    let outcome = Program::new(&body("")).run(&data);
    outcome.only_finding(Kind::AsyncCopy, "ldmatrix.sync.aligned.m8n8.x1.shared.b16");
}

#[test]
fn forms_that_there_are_not() {
    for (opcode, why) in [
        ("ldmatrix.sync.aligned.m8n8.x3.shared.b16 {%r1, %r2, %r3}, [%r4];", "doesn't know"),
        ("ldmatrix.sync.aligned.m8n8.x1.shared.b8 %r1, [%r4];", "doesn't know"),
        ("ldmatrix.sync.aligned.m8n8.x1.global.b16 %r1, [%r4];", "doesn't know"),
        ("ldmatrix.sync.aligned.m16n16.x1.trans.shared.b8 {%r1, %r2}, [%r4];", "doesn't know"),
        ("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%r1}, [%r4];", "expected 2 registers, found 1"),
        ("ldmatrix.sync.aligned.m8n8.x1.shared.b16 %d1, [%r4];", "64 bits where 32 are needed"),
        ("stmatrix.sync.aligned.m8n8.x1.shared.b16 %r1, [%r4];", "a register is needed here"),
    ] {
        let message = refusal_of(opcode).message;
        assert!(message.contains(why), "{opcode}: {message}");
    }
}
