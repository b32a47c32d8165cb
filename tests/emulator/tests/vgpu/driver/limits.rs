//! Parts, their attributes, and occupancy: against figures from NVIDIA's tables, and worked out by hand.

use kwc_emulator::driver::attributes::attribute;
use kwc_emulator::driver::device::Architecture::{self, Sm80, Sm86, Sm89, Sm90};
use kwc_emulator::driver::occupancy::{self, Demand, resident_blocks};

/// For one attribute, the values of the four parts.
fn row(number: i32) -> [i32; 4] {
    [Sm80, Sm86, Sm89, Sm90].map(|architecture| attribute(architecture, number).unwrap())
}

#[test]
fn attributes_are_those_of_the_parts() {
    assert_eq!(row(16), [108, 72, 58, 132], "multiprocessors");
    assert_eq!(row(75), [8, 8, 8, 9], "major capability");
    assert_eq!(row(76), [0, 6, 9, 0], "minor capability");
    assert_eq!(row(39), [2048, 1536, 1536, 2048], "threads of a multiprocessor");
    assert_eq!(row(106), [32, 16, 24, 32], "blocks of a multiprocessor");
    assert_eq!(row(81), [167_936, 102_400, 102_400, 233_472], "shared memory of a multiprocessor");
    assert_eq!(row(97), [166_912, 101_376, 101_376, 232_448], "shared memory of a block, opted in");
    assert_eq!(row(8), [49_152; 4], "shared memory of a block");
    assert_eq!(row(111), [1024; 4], "shared memory that is reserved");
    assert_eq!(row(12), [65_536; 4], "registers of a block");
    assert_eq!(row(82), [65_536; 4], "registers of a multiprocessor");
    assert_eq!(row(38), [41_943_040, 6_291_456, 50_331_648, 52_428_800], "L2");
    assert_eq!(row(13), [1_410_000, 1_695_000, 2_040_000, 1_980_000], "clock, kHz");
    assert_eq!(row(37), [5120, 384, 192, 5120], "memory bus, bits");
    assert_eq!([1, 2, 3, 4].map(row), [[1024; 4], [1024; 4], [1024; 4], [64; 4]], "threads of a block");
    assert_eq!([5, 6, 7].map(row), [[i32::MAX; 4], [65_535; 4], [65_535; 4]], "blocks of a grid");
    assert_eq!(row(10), [32; 4], "lanes");
    assert_eq!(row(9), [65_536; 4], "constant memory");
    assert_eq!(row(41), [1; 4], "one address space");
    assert_eq!(row(95), [1; 4], "cooperative launches");
    assert_eq!(row(115), [1; 4], "memory pools");
    assert_eq!(row(120), [0, 0, 0, 1], "clusters");
}

#[test]
fn attributes_say_what_is_not_emulated() {
    for number in [19, 83, 89, 96, 102] {
        assert_eq!(
            row(number),
            [0; 4],
            "mapped host memory, managed memory, launches on several devices, virtual memory: {number}"
        );
    }
}

#[test]
fn every_attribute_of_cuda_13_has_a_value_and_no_other() {
    let known: Vec<i32> = (-3..400).filter(|number| attribute(Sm80, *number).is_some()).collect();
    let expected: Vec<i32> = (1..=158).chain([161]).collect();
    assert_eq!(known, expected);
    assert_eq!(attribute(Sm80, i32::MAX), None);
    assert_eq!(attribute(Sm80, i32::MIN), None);
}

#[test]
fn names_and_numbers_of_architectures() {
    assert_eq!(Architecture::ALL.map(Architecture::name), ["sm_80", "sm_86", "sm_89", "sm_90"]);
    assert_eq!(Architecture::ALL.map(Architecture::number), [80, 86, 89, 90]);
    assert_eq!(Architecture::from_name("sm_89"), Some(Sm89));
    assert_eq!(Architecture::from_name("sm_70"), None);
}

fn resident(architecture: Architecture, threads: u32, registers: u32, shared: u32) -> u32 {
    resident_blocks(architecture, &Demand { threads, registers, shared })
}

#[test]
fn threads_bound_the_resident_blocks() {
    // 2048 / 256, 1536 / 256; 32 and 16 blocks; 2048 / 96 = 21.3; 33 threads are 2 warps: 64 / 2 = 32, 48 / 2 = 24.
    assert_eq!(resident(Sm80, 256, 16, 0), 8);
    assert_eq!(resident(Sm86, 256, 16, 0), 6);
    assert_eq!(resident(Sm80, 32, 16, 0), 32);
    assert_eq!(resident(Sm86, 32, 16, 0), 16);
    assert_eq!(resident(Sm89, 32, 16, 0), 24);
    assert_eq!(resident(Sm80, 96, 16, 0), 21);
    assert_eq!(resident(Sm90, 33, 16, 0), 32);
    assert_eq!(resident(Sm89, 33, 16, 0), 24);
    // 1536 / 1024 = 1.5.
    assert_eq!(resident(Sm86, 1024, 16, 0), 1);
}

#[test]
fn registers_bound_the_resident_blocks() {
    // 128 registers: 4096 a warp, 16384 / 4096 = 4 warps a scheduler, 16 warps; 8 warps a block.
    assert_eq!(resident(Sm80, 256, 128, 0), 2);
    // 65 registers: 2080, rounded up to 2304; 16384 / 2304 = 7, 28 warps; 8 a block.
    assert_eq!(resident(Sm80, 256, 65, 0), 3);
    // 33 registers: 1056, to 1280; 12 a scheduler, 48 warps.
    assert_eq!(resident(Sm80, 256, 33, 0), 6);
    // 255 registers: 8160, to 8192; 2 a scheduler, 8 warps: one block of 8, none of 9.
    assert_eq!(resident(Sm80, 256, 255, 0), 1);
    assert_eq!(resident(Sm80, 288, 255, 0), 0);
    // 64 registers: 2048 a warp, 32 warps.
    assert_eq!(resident(Sm80, 1024, 64, 0), 1);
    assert_eq!(resident(Sm80, 1024, 65, 0), 0);
    // Three warps of 168 registers (5376): 3 a scheduler, 12 warps, 4 blocks.
    assert_eq!(resident(Sm80, 96, 168, 0), 4);
    assert_eq!(resident(Sm80, 32, 256, 0), 0);
}

#[test]
fn shared_memory_bounds_the_resident_blocks() {
    // 48 KiB and 1 KiB: 164 / 49 = 3, 228 / 49 = 4, 100 / 49 = 2.
    assert_eq!(resident(Sm80, 128, 32, 49_152), 3);
    assert_eq!(resident(Sm90, 128, 32, 49_152), 4);
    assert_eq!(resident(Sm86, 128, 32, 49_152), 2);
    // All that a block can have, and one byte more.
    assert_eq!(resident(Sm80, 128, 32, 166_912), 1);
    assert_eq!(resident(Sm80, 128, 32, 166_913), 0);
    // 1 byte takes 128 and 1 KiB: 167936 / 1152 = 145, over the 16 of threads.
    assert_eq!(resident(Sm80, 128, 32, 1), 16);
    // 10241 bytes: 11265, to 11392; 167936 / 11392 = 14.7.
    assert_eq!(resident(Sm80, 128, 32, 10_241), 14);
}

#[test]
fn blocks_that_can_not_be() {
    assert_eq!(resident(Sm80, 0, 16, 0), 0);
    assert_eq!(resident(Sm80, 1025, 16, 0), 0);
    assert_eq!(resident(Sm80, u32::MAX, u32::MAX, u32::MAX), 0);
}

#[test]
fn the_most_registers_of_a_thread() {
    // 65536 / 1024 = 64; 65536 / 512 = 128; 288 threads are 9 warps, as 12: 5461 each, 5376 in units, 168 a thread.
    assert_eq!(occupancy::most_registers(1024), 64);
    assert_eq!(occupancy::most_registers(512), 128);
    assert_eq!(occupancy::most_registers(288), 168);
    assert_eq!(occupancy::most_registers(256), 255);
    assert_eq!(occupancy::most_registers(1), 255);
}

#[test]
fn shared_memory_that_leaves_room_for_blocks() {
    // 167936 / 2 = 83968, less 1024; / 3 = 55978, 55936 in units, less 1024 and 1000 static ones.
    assert_eq!(occupancy::available_shared(Sm80, 2, 0), 82_944);
    assert_eq!(occupancy::available_shared(Sm80, 3, 1000), 53_912);
    assert_eq!(occupancy::available_shared(Sm80, 1, 0), 166_912);
}
