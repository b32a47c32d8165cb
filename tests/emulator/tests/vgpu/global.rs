//! Global memory as the host sees it.

use kwc_emulator::memory::Global;

#[test]
fn ranges_that_overlap_are_copied_as_if_by_way_of_a_third_place() {
    // Larger than what is copied at a time, by steps that divide nothing.
    const SIZE: usize = 5_000_000;
    let start: Vec<u8> = (0..SIZE).map(|place| ((place * 7919) >> 5) as u8).collect();
    for (to, from, size) in [
        (0, 4321, SIZE - 4321),
        (4321, 0, SIZE - 4321),
        (1_500_001, 3, 3_000_000),
        (3, 1_500_001, 3_000_000),
        (5, 5, 99),
    ] {
        let memory = Global::new(1 << 30);
        let address = memory.allocate(SIZE as u64).expect("there is memory");
        memory.write(address, &start).expect("it fits");
        memory.copy(address + to as u64, address + from as u64, size as u64).expect("both are inside");
        let mut expected = start.clone();
        expected.copy_within(from..from + size, to);
        let mut found = vec![0; SIZE];
        memory.read(address, &mut found).expect("it is there");
        assert!(found == expected, "{size} bytes from {from} to {to}");
    }
}

#[test]
fn copies_between_allocations() {
    let memory = Global::new(1 << 30);
    let [from, to] = [3_000_000, 2_500_000].map(|size| memory.allocate(size).expect("there is memory"));
    let bytes: Vec<u8> = (0..3_000_000).map(|place: u32| ((place * 31) >> 3) as u8).collect();
    memory.write(from, &bytes).expect("it fits");
    memory.copy(to + 1, from + 500_001, 2_499_999).expect("both are inside");
    let mut found = vec![0; 2_500_000];
    memory.read(to, &mut found).expect("it is there");
    assert!(found[0] == 0 && found[1..] == bytes[500_001..]);
}
