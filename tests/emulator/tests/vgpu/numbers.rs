//! Operands for tests of instructions: values that are likely to go wrong, random ones, and integers of every type.

/// Values of so many bits that are likely to go wrong, and random ones of every magnitude.
pub(crate) fn values(bits: u32, random: usize) -> Vec<u64> {
    let mask = u64::MAX >> (64 - bits);
    let high = 1 << (bits - 1);
    let mut values = vec![0, 1, 2, 3, 7, 31, 32, 33, high - 1, high, high + 1, mask - 1, mask];
    values.extend([0x5555_5555_5555_5555 & mask, 0x0123_4567_89ab_cdef & mask, 1 << (bits / 2), (1 << (bits / 2)) - 1]);
    let mut source = fastrand::Rng::with_seed(u64::from(bits));
    values.extend((0..random).map(|_| (source.u64(..) & mask) >> source.u32(..bits)));
    values
}

/// All pairs of some values.
pub(crate) fn pairs(a: &[u64], b: &[u64]) -> Vec<[u64; 2]> {
    a.iter().flat_map(|a| b.iter().map(|b| [*a, *b])).collect()
}

/// `count` random rows, whose values have so many bits.
pub(crate) fn random<const N: usize>(bits: [u32; N], count: usize) -> Vec<[u64; N]> {
    let mut source = fastrand::Rng::with_seed(count as u64);
    let mut row = || bits.map(|bits| source.u64(..) >> (64 - bits) >> source.u32(..bits));
    (0..count).map(|_| row()).collect()
}

/// All rows of three of some values.
pub(crate) fn triples(values: &[u64]) -> Vec<[u64; 3]> {
    pairs(values, values).into_iter().flat_map(|[a, b]| values.iter().map(move |c| [a, b, *c])).collect()
}

/// The types of 16 bits and more that are neither halves nor predicates, and how many bits they have.
pub(crate) const WIDE_TYPES: [(&str, u32); 11] = [
    ("b16", 16),
    ("u16", 16),
    ("s16", 16),
    ("b32", 32),
    ("u32", 32),
    ("s32", 32),
    ("f32", 32),
    ("b64", 64),
    ("u64", 64),
    ("s64", 64),
    ("f64", 64),
];

/// The types of 8 bits.
pub(crate) const NARROW_TYPES: [(&str, u32); 3] = [("b8", 8), ("u8", 8), ("s8", 8)];

/// An integer type of PTX.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Integer {
    pub(crate) name: &'static str,
    pub(crate) bits: u32,
    pub(crate) signed: bool,
}

/// The six integer types.
pub(crate) const INTEGERS: [Integer; 6] = [
    Integer { name: "u16", bits: 16, signed: false },
    Integer { name: "s16", bits: 16, signed: true },
    Integer { name: "u32", bits: 32, signed: false },
    Integer { name: "s32", bits: 32, signed: true },
    Integer { name: "u64", bits: 64, signed: false },
    Integer { name: "s64", bits: 64, signed: true },
];

impl Integer {
    /// The number that bits stand for.
    pub(crate) fn value(self, bits: u64) -> i128 {
        let value = i128::from(bits) & ((1 << self.bits) - 1);
        if self.signed && value >> (self.bits - 1) != 0 { value - (1 << self.bits) } else { value }
    }

    /// The bits of a number modulo 2^n.
    pub(crate) fn wrap(self, value: i128) -> u64 {
        value as u64 & (u64::MAX >> (64 - self.bits))
    }

    /// The least and the greatest number.
    pub(crate) fn range(self) -> (i128, i128) {
        let half = 1 << (self.bits - 1);
        if self.signed { (-half, half - 1) } else { (0, 2 * half - 1) }
    }
}
