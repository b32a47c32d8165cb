//! Which bytes of an allocation were written.

use kwc_emulator::check::written::Written;

const ALL: u32 = u32::MAX;

#[test]
fn bytes_are_written_one_by_one() {
    let written = Written::new(200_000);
    let ranges = [0..1, 63..65, 100..100, 128..192, 1000..3000, 65_535..65_538, 199_999..200_000];
    for range in ranges.clone() {
        written.set(range);
    }
    for byte in 0..200_000 {
        assert_eq!(written.is_set(byte), ranges.iter().any(|range| range.contains(&byte)), "{byte}");
    }
    assert!(written.all(1000..3000) && !written.all(999..3000) && !written.all(1000..3001));
    assert!(written.all(5..5));
}

#[test]
fn a_copy_takes_along_what_is_unwritten() {
    let mut random = fastrand::Rng::with_seed(11);
    for _ in 0..200 {
        let (from, to) = (Written::new(1000), Written::new(1000));
        let mut expected = [false; 1000];
        let mut source = [false; 1000];
        for byte in 0..1000 {
            source[byte] = random.bool();
            expected[byte] = random.bool();
            if source[byte] {
                from.set(byte as u64..byte as u64 + 1);
            }
            if expected[byte] {
                to.set(byte as u64..byte as u64 + 1);
            }
        }
        let length = random.usize(0..500);
        let (a, b) = (random.usize(0..500), random.usize(0..500));
        to.copy(b as u64, &from, a as u64, length as u64);
        expected[b..b + length].copy_from_slice(&source[a..a + length]);
        assert!((0..1000).all(|byte| to.is_set(byte as u64) == expected[byte]), "{length} bytes from {a} to {b}");
    }
}

#[test]
fn a_copy_within_an_allocation_may_overlap() {
    let written = Written::new(1000);
    written.set(100..300);
    written.copy(150, &written, 50, 200);
    let expected = |byte: u64| (200..350).contains(&byte) || (100..150).contains(&byte);
    assert!((0..1000).all(|byte| written.is_set(byte) == expected(byte)));
}

#[test]
fn the_first_lane_that_reads_what_is_unwritten() {
    let written = Written::new(1 << 17);
    let consecutive = |from: u64, size: u64| std::array::from_fn(|lane| from + size * lane as u64);
    written.set_lanes(&consecutive(65_472, 4), ALL, 4);
    assert!(written.all(65_472..65_600) && !written.is_set(65_471) && !written.is_set(65_600));
    assert_eq!(written.first_unwritten(&consecutive(65_472, 4), ALL, 4), None);
    assert_eq!(written.first_unwritten(&consecutive(65_464, 4), ALL, 4), Some(0));
    assert_eq!(written.first_unwritten(&consecutive(65_484, 4), ALL, 4), Some(29));
    assert_eq!(written.first_unwritten(&consecutive(65_484, 4), !(1 << 29), 4), Some(30));
    assert_eq!(written.first_unwritten(&consecutive(65_484, 4), (1 << 29) - 1, 4), None, "the others don't read");
    assert_eq!(written.first_unwritten(&consecutive(65_472, 16), ALL, 16), Some(8));
    assert_eq!(written.first_unwritten(&[65_472; 32], ALL, 8), None);
    assert_eq!(written.first_unwritten(&[65_596; 32], ALL, 8), Some(0));

    written.set_lanes(&consecutive(0, 8), 0b101, 4);
    assert!((0..64).all(|byte| written.is_set(byte) == (byte < 4 || (16..20).contains(&byte))));
}

#[test]
fn threads_that_write_neighbours_lose_nothing() {
    let written = Written::new(4096);
    std::thread::scope(|scope| {
        for part in 0..4 {
            let written = &written;
            scope.spawn(move || (part..4096).step_by(4).for_each(|byte| written.set(byte..byte + 1)));
        }
    });
    assert!(written.all(0..4096));
}
