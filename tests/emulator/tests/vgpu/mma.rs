//! `mma.sync`: layouts, accumulation, rounding and special values, and warps that aren't whole.
//!
//! Matrices are given to lanes by the formulas that the PTX ISA has for each element `a0`, `a1`, ... of a fragment, and
//! multiplied by three loops in f64.

use half::{bf16, f16};
use kwc_emulator::counters::Class;
use kwc_emulator::findings::Kind;

use crate::ptx::{Instructions, Lanes, Outcome, UNTOUCHED, lanes, refusal_of};

/// Row and column of element `i` of lane `lane`'s part of A, 16 x 16 (16 x 8: the first four elements).
fn place_in_a(lane: usize, i: usize) -> (usize, usize) {
    let (group, thread_in_group) = (lane >> 2, lane % 4);
    let row = if i < 2 || (4..6).contains(&i) { group } else { group + 8 };
    let column = if i < 4 { thread_in_group * 2 + (i & 1) } else { thread_in_group * 2 + (i & 1) + 8 };
    (row, column)
}

/// Of B, 16 x 8 (8 x 8: the first two elements).
fn place_in_b(lane: usize, i: usize) -> (usize, usize) {
    let (group, thread_in_group) = (lane >> 2, lane % 4);
    let row = if i < 2 { thread_in_group * 2 + (i & 1) } else { thread_in_group * 2 + (i & 1) + 8 };
    (row, group)
}

/// Of C and D, 16 x 8.
fn place_in_c(lane: usize, i: usize) -> (usize, usize) {
    let (group, thread_in_group) = (lane >> 2, lane % 4);
    (if i < 2 { group } else { group + 8 }, thread_in_group * 2 + (i & 1))
}

/// A format of matrix elements.
#[derive(Clone, Copy, PartialEq)]
enum Format {
    F16,
    Bf16,
    F32,
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::F32 => "f32",
        }
    }

    fn value(self, bits: u32) -> f64 {
        match self {
            Self::F16 => f16::from_bits(bits as u16).to_f64(),
            Self::Bf16 => bf16::from_bits(bits as u16).to_f64(),
            Self::F32 => f32::from_bits(bits).into(),
        }
    }

    /// The nearest one's bits.
    fn bits(self, value: f64) -> u32 {
        match self {
            Self::F16 => f16::from_f64(value).to_bits().into(),
            Self::Bf16 => bf16::from_f64(value).to_bits().into(),
            Self::F32 => (value as f32).to_bits(),
        }
    }

    /// How many are in a register.
    fn packed(self) -> usize {
        if self == Self::F32 { 1 } else { 2 }
    }
}

/// A matrix of bits, by row and column.
type Matrix = Vec<Vec<u32>>;

fn matrix(rows: usize, columns: usize, mut value: impl FnMut(usize, usize) -> u32) -> Matrix {
    (0..rows).map(|row| (0..columns).map(|column| value(row, column)).collect()).collect()
}

/// A variant of the instruction.
#[derive(Clone, Copy)]
struct Variant {
    k: usize,
    factors: Format,
    sums: Format,
}

const VARIANTS: [Variant; 6] = [
    Variant { k: 8, factors: Format::F16, sums: Format::F32 },
    Variant { k: 16, factors: Format::F16, sums: Format::F32 },
    Variant { k: 8, factors: Format::F16, sums: Format::F16 },
    Variant { k: 16, factors: Format::F16, sums: Format::F16 },
    Variant { k: 8, factors: Format::Bf16, sums: Format::F32 },
    Variant { k: 16, factors: Format::Bf16, sums: Format::F32 },
];

/// `{%x4, %x5, ...}`
fn registers(letter: char, from: usize, count: usize) -> String {
    let names: Vec<String> = (from..from + count).map(|n| format!("%{letter}{n}")).collect();
    format!("{{{}}}", names.join(", "))
}

impl Variant {
    fn opcode(self) -> String {
        let (factors, sums) = (self.factors.name(), self.sums.name());
        format!("mma.sync.aligned.m16n8k{}.row.col.{sums}.{factors}.{factors}.{sums}", self.k)
    }

    /// Registers of A, B, and C or D.
    fn registers(self) -> [usize; 3] {
        [self.k / 4, self.k / 8, 4 / self.sums.packed()]
    }

    /// A in the first inputs, then B, then C; D in the outputs.
    fn instructions(self) -> Instructions {
        let [a, b, c] = self.registers();
        let body = format!(
            "{} {}, {}, {}, {};",
            self.opcode(),
            registers('o', 0, c),
            registers('i', 0, a),
            registers('i', a, b),
            registers('i', a + b, c)
        );
        Instructions::new(&body, a + b + c, c)
    }

    fn inputs(self, a: &Matrix, b: &Matrix, c: &Matrix) -> Vec<Lanes> {
        let mut inputs = fragment(a, self.k / 2, self.factors, place_in_a);
        inputs.extend(fragment(b, self.k / 4, self.factors, place_in_b));
        inputs.extend(fragment(c, 4, self.sums, place_in_c));
        inputs
    }

    /// The bits of D.
    #[track_caller]
    fn result(self, outcome: &Outcome) -> Matrix {
        assert!(outcome.findings.is_empty(), "{:#?}", outcome.findings);
        let (outputs, mut d) = (outcome.outputs(), matrix(16, 8, |_, _| 0));
        let word = |register: usize, lane: usize| outputs[register][lane];
        for lane in 0..32 {
            for i in 0..4 {
                let (row, column) = place_in_c(lane, i);
                let one = self.sums.packed() == 1;
                d[row][column] = if one { word(i, lane) } else { word(i / 2, lane) >> (i % 2 * 16) & 0xffff };
            }
        }
        d
    }

    #[track_caller]
    fn run(self, a: &Matrix, b: &Matrix, c: &Matrix) -> Matrix {
        self.result(&self.instructions().run(&self.inputs(a, b, c)))
    }
}

/// The registers of a matrix of which each lane has `count` elements: the lower one of two in the low half.
fn fragment(matrix: &Matrix, count: usize, format: Format, place: fn(usize, usize) -> (usize, usize)) -> Vec<Lanes> {
    let element = |lane: usize, i: usize| {
        let (row, column) = place(lane, i);
        matrix[row][column]
    };
    (0..count / format.packed())
        .map(|register| {
            std::array::from_fn(|lane| match format.packed() {
                1 => element(lane, register),
                _ => element(lane, 2 * register) | element(lane, 2 * register + 1) << 16,
            })
        })
        .collect()
}

#[test]
fn products_of_small_integers_are_exact() {
    let mut random = fastrand::Rng::with_seed(2);
    for variant in VARIANTS {
        for _ in 0..20 {
            let mut integers = |format: Format, rows, columns| {
                matrix(rows, columns, |_, _| format.bits(f64::from(random.i32(-8..=8))))
            };
            let a = integers(variant.factors, 16, variant.k);
            let b = integers(variant.factors, variant.k, 8);
            let c = integers(variant.sums, 16, 8);
            let d = variant.run(&a, &b, &c);
            for row in 0..16 {
                for column in 0..8 {
                    let products = (0..variant.k)
                        .map(|k| variant.factors.value(a[row][k]) * variant.factors.value(b[k][column]))
                        .sum::<f64>();
                    let expected = variant.sums.value(c[row][column]) + products;
                    let found = variant.sums.value(d[row][column]);
                    assert_eq!(found, expected, "{}, row {row}, column {column}", variant.opcode());
                }
            }
        }
    }
}

#[test]
fn products_of_any_numbers_are_near() {
    let mut random = fastrand::Rng::with_seed(3);
    for variant in VARIANTS {
        for _ in 0..20 {
            let mut numbers = |format: Format, rows, columns| {
                matrix(rows, columns, |_, _| format.bits((random.f64() - 0.5) * f64::from(random.i32(-6..6)).exp2()))
            };
            let a = numbers(variant.factors, 16, variant.k);
            let b = numbers(variant.factors, variant.k, 8);
            let c = numbers(variant.sums, 16, 8);
            let d = variant.run(&a, &b, &c);
            for row in 0..16 {
                for column in 0..8 {
                    let c = variant.sums.value(c[row][column]);
                    let (mut exact, mut size) = (c, c.abs());
                    for k in 0..variant.k {
                        let product = variant.factors.value(a[row][k]) * variant.factors.value(b[k][column]);
                        (exact, size) = (exact + product, size + product.abs());
                    }
                    // Half a last bit for each step, and for the rounding of the sum.
                    let steps = variant.k as f64 * 2f64.powi(-24) * size;
                    let last =
                        if variant.sums == Format::F16 { 2f64.powi(-11) * exact.abs() + 2f64.powi(-25) } else { 0.0 };
                    let error = (variant.sums.value(d[row][column]) - exact).abs();
                    assert!(error <= steps + last, "{}, row {row}, column {column}: {error}", variant.opcode());
                }
            }
        }
    }
}

/// Inputs that are zero but for the bits at some (register, lane).
fn sparse(count: usize, ones: &[(usize, usize, u32)]) -> Vec<Lanes> {
    let mut inputs = vec![[0; 32]; count];
    for (register, lane, bits) in ones {
        inputs[*register][*lane] |= bits;
    }
    inputs
}

/// Where results aren't zero: (register, lane, bits).
fn nonzero(outcome: &Outcome) -> Vec<(usize, usize, u32)> {
    let mut found = Vec::new();
    for (register, values) in outcome.outputs().iter().enumerate() {
        found.extend((0..32).filter(|lane| values[*lane] != 0).map(|lane| (register, lane, values[lane])));
    }
    found
}

#[test]
fn layouts_written_out() {
    const ONE: u32 = 0x3c00;
    const HIGH: u32 = 0x3c00_0000;
    let two = 2f32.to_bits();
    // m16n8k16 of f16 into f32. Registers 0 to 3 are A, 4 and 5 B, 6 to 9 C.
    let instructions = VARIANTS[1].instructions();
    let run = |ones: &[(usize, usize, u32)]| nonzero(&instructions.run(&sparse(10, ones)));
    // A[0][0] B[0][0] is D[0][0].
    assert_eq!(run(&[(0, 0, ONE), (4, 0, 0x4000)]), [(0, 0, two)]);
    // A[1][11] B[11][6] is D[1][6].
    assert_eq!(run(&[(2, 5, HIGH), (5, 25, 0x4000_0000)]), [(0, 7, two)]);
    // A[12][3] B[3][5] is D[12][5].
    assert_eq!(run(&[(1, 17, HIGH), (4, 21, 0x4000_0000)]), [(3, 18, two)]);
    // A[15][14] B[14][7] is D[15][7].
    assert_eq!(run(&[(3, 31, ONE), (5, 31, 0x4000)]), [(3, 31, two)]);
    // A[8][9] and B[8][0] don't meet.
    assert_eq!(run(&[(3, 0, HIGH), (5, 0, ONE)]), []);
    // C goes to where it came from.
    assert_eq!(
        run(&[(6, 3, two), (7, 4, two), (8, 30, two), (9, 31, two)]),
        [(0, 3, two), (1, 4, two), (2, 30, two), (3, 31, two)]
    );

    // m16n8k8 of f16 into f16. Registers 0 and 1 are A, 2 B, 3 and 4 C.
    let instructions = VARIANTS[2].instructions();
    let run = |ones: &[(usize, usize, u32)]| nonzero(&instructions.run(&sparse(5, ones)));
    // A[9][7] B[7][2] is D[9][2], A[9][7] B[7][3] is D[9][3].
    assert_eq!(run(&[(1, 7, HIGH), (2, 11, 0x4000_0000), (2, 15, 0x4200_0000)]), [(1, 5, 0x4200_4000)]);
    // A[7][0] B[0][7] + C[7][7] is D[7][7].
    assert_eq!(run(&[(0, 28, ONE), (2, 28, ONE), (3, 31, HIGH)]), [(0, 31, 0x4000_0000)]);

    // m16n8k16 of bf16. A[2][15] B[15][1] is D[2][1].
    let instructions = VARIANTS[5].instructions();
    let outcome = instructions.run(&sparse(10, &[(2, 11, 0x3f80_0000), (5, 7, 0x4000_0000)]));
    assert_eq!(nonzero(&outcome), [(1, 8, two)]);
}

#[test]
fn every_f16_is_read_as_what_it_is() {
    // A times the unit matrix, in two parts.
    let variant = VARIANTS[1];
    let instructions = variant.instructions();
    let zero = matrix(16, 8, |_, _| 0);
    for block in 0..256 {
        let a = matrix(16, 16, |row, column| block << 8 | (row << 4 | column) as u32);
        if a.iter().flatten().any(|bits| bits & 0x7c00 == 0x7c00) {
            continue;
        }
        for part in [0, 8] {
            let unit = matrix(16, 8, |row, column| if row == column + part { 0x3c00 } else { 0 });
            let d = variant.result(&instructions.run(&variant.inputs(&a, &unit, &zero)));
            for row in 0..16 {
                for column in 0..8 {
                    let bits = a[row][column + part];
                    assert_eq!(Format::F32.value(d[row][column]), Format::F16.value(bits), "{bits:#06x}");
                }
            }
        }
    }
}

#[test]
fn sums_are_rounded_to_f16_as_the_nearest() {
    // One product and C in each element: D[row][column] = A[row][0] B[0][column] + C[row][column].
    let mut random = fastrand::Rng::with_seed(4);
    let variant = VARIANTS[2];
    let instructions = variant.instructions();
    for round in 0..200 {
        let mut finite = || loop {
            let bits = random.u32(..) & 0xffff;
            if bits & 0x7c00 != 0x7c00 {
                return bits;
            }
        };
        let a = matrix(16, 8, |_, column| if column == 0 { finite() } else { 0 });
        let b = matrix(8, 8, |row, _| if row == 0 { finite() } else { 0 });
        // Without C, subnormal results and ties of products are more frequent.
        let c = matrix(16, 8, |_, _| if round % 2 == 0 { finite() } else { 0 });
        let d = variant.result(&instructions.run(&variant.inputs(&a, &b, &c)));
        for row in 0..16 {
            for column in 0..8 {
                let [x, y, z] = [a[row][0], b[0][column], c[row][column]].map(|bits| Format::F16.value(bits));
                // Products of f16 are exact in f32, so that the sum is rounded once to f32 and once to f16.
                let expected = f16::from_f32((x * y) as f32 + z as f32);
                let found = f16::from_bits(d[row][column] as u16);
                assert_eq!(found, expected, "{x} * {y} + {z}");
            }
        }
    }
}

/// D[0][0] for A[0][..] and B[..][0] as given, from k = 0 on, and C[0][0].
#[track_caller]
fn corner(variant: Variant, a: &[u32], b: &[u32], c: u32) -> u32 {
    let a = matrix(16, variant.k, |row, k| if row == 0 { a.get(k).copied().unwrap_or(0) } else { 0 });
    let b = matrix(variant.k, 8, |k, column| if column == 0 { b.get(k).copied().unwrap_or(0) } else { 0 });
    variant.run(&a, &b, &matrix(16, 8, |row, column| if (row, column) == (0, 0) { c } else { 0 }))[0][0]
}

#[test]
fn sums_of_f16_are_kept_in_f32_until_the_end() {
    for variant in [VARIANTS[2], VARIANTS[3]] {
        let [one, large, next, after] = [1.0, 2048.0, 2050.0, 2052.0].map(|value| Format::F16.bits(value));
        // 2049 and 2051 lie between two f16; the even one is taken.
        assert_eq!(corner(variant, &[one], &[one], large), large);
        assert_eq!(corner(variant, &[one], &[one], next), after);
        // Rounded after each step, 2048 + 1 + 1 would be 2048.
        assert_eq!(corner(variant, &[one; 2], &[one; 2], large), next);
        // 65504 + 15 is still nearest to 65504, 65504 + 16 is not, and there is nothing above.
        let [most, sixteen, fifteen] = [65504.0, 16.0, 15.0].map(|value| Format::F16.bits(value));
        assert_eq!(corner(variant, &[one], &[fifteen], most), most);
        assert_eq!(corner(variant, &[one], &[sixteen], most), 0x7c00);
        assert_eq!(corner(variant, &[one], &[0x8000 | sixteen], 0x8000 | most), 0xfc00);
        // 2^-24 2^-1 is half of the least subnormal: a tie with zero. Three quarters of it aren't.
        let [half, three_quarters] = [0.5, 0.75].map(|value| Format::F16.bits(value));
        assert_eq!(corner(variant, &[1], &[half], 0), 0);
        assert_eq!(corner(variant, &[1], &[three_quarters], 0), 1);
    }
}

#[test]
fn infinities_and_nan() {
    for variant in VARIANTS {
        let infinity = variant.factors.bits(f64::INFINITY);
        let minus_infinity = variant.factors.bits(f64::NEG_INFINITY);
        let one = variant.factors.bits(1.0);
        let nan = variant.factors.bits(f64::NAN) | 1;
        let canonical = if variant.sums == Format::F16 { 0x7fff } else { 0x7fff_ffff };
        let sum = |value: f64| variant.sums.bits(value);
        assert_eq!(corner(variant, &[infinity], &[one], 0), sum(f64::INFINITY));
        assert_eq!(corner(variant, &[one], &[minus_infinity], 0), sum(f64::NEG_INFINITY));
        assert_eq!(corner(variant, &[infinity], &[0], 0), canonical);
        assert_eq!(corner(variant, &[infinity, one], &[one, minus_infinity], 0), canonical);
        assert_eq!(corner(variant, &[nan], &[one], 0), canonical);
        assert_eq!(corner(variant, &[one], &[0x8000 | nan], 0), canonical);
        assert_eq!(corner(variant, &[one], &[one], sum(f64::INFINITY)), sum(f64::INFINITY));
        assert_eq!(corner(variant, &[infinity], &[one], sum(f64::NEG_INFINITY)), canonical);
    }
}

#[test]
fn subnormal_numbers_count() {
    // 2^-24 2^-24, both the least f16; 2^-133 2^7, the least bf16 times 128.
    for variant in [VARIANTS[0], VARIANTS[1]] {
        assert_eq!(corner(variant, &[1], &[1], 0), 2f32.powi(-48).to_bits());
    }
    for variant in [VARIANTS[4], VARIANTS[5]] {
        assert_eq!(corner(variant, &[1], &[bf16::from_f32(128.0).to_bits().into()], 0), 2f32.powi(-126).to_bits());
        // A subnormal sum.
        assert_eq!(corner(variant, &[1], &[bf16::ONE.to_bits().into()], 1), (1 << 16) + 1);
    }
}

#[test]
fn f32_sums_go_in_the_order_of_k() {
    let one = Format::F16.bits(1.0);
    let tiny = Format::F16.bits(2f64.powi(-12));
    // 1 + 2^-24 is 1 each time.
    assert_eq!(corner(VARIANTS[1], &[one, tiny, tiny], &[one, tiny, tiny], 0), 1f32.to_bits());
    // The other way round the two make a last bit.
    assert_eq!(corner(VARIANTS[1], &[tiny, tiny, one], &[tiny, tiny, one], 0), 1f32.to_bits() + 1);
}

#[test]
fn the_result_may_replace_any_operand() {
    let variant = VARIANTS[1];
    let mut random = fastrand::Rng::with_seed(5);
    let mut integers =
        |format: Format, rows, columns| matrix(rows, columns, |_, _| format.bits(f64::from(random.i32(-8..=8))));
    let (a, b) = (integers(Format::F16, 16, 16), integers(Format::F16, 16, 8));
    let c = integers(Format::F32, 16, 8);
    let expected = variant.run(&a, &b, &c);
    let [a, b, c] = [
        fragment(&a, 8, Format::F16, place_in_a),
        fragment(&b, 4, Format::F16, place_in_b),
        fragment(&c, 4, Format::F32, place_in_c),
    ];
    let inputs = [a, b, c].concat();
    // D in the registers of C, of A, and of B and C.
    for d in [[6, 7, 8, 9], [0, 1, 2, 3], [4, 5, 6, 7]] {
        let names = d.map(|n| format!("%i{n}"));
        let mut body = format!(
            "{} {{{}}}, {{%i0, %i1, %i2, %i3}}, {{%i4, %i5}}, {{%i6, %i7, %i8, %i9}};\n",
            variant.opcode(),
            names.join(", ")
        );
        for (n, name) in names.iter().enumerate() {
            body += &format!("mov.b32 %o{n}, {name};\n");
        }
        assert_eq!(variant.result(&Instructions::new(&body, 10, 4).run(&inputs)), expected, "{names:?}");
    }
}

#[test]
fn operands_may_be_constants_and_declared_as_f32() {
    let body = ".reg .f32 %f<4>;
        mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%f0, %f1, %f2, _}, {0, %i0}, %i1, {0f3F800000, 0f40000000, 0f40400000, %f0};
        mov.b32 %o0, %f0;
        mov.b32 %o1, %f1;
        mov.b32 %o2, %f2;";
    let outcome = Instructions::new(body, 2, 3).run(&[[0x3c00_3c00; 32], [0x3c00_3c00; 32]]);
    assert!(outcome.findings.is_empty(), "{:#?}", outcome.findings);
    // The upper rows of A are zero, in the lower ones eight products are 1.
    assert_eq!(outcome.outputs(), [1.0f32, 2.0, 11.0].map(|value| [value.to_bits(); 32]));
}

#[test]
fn multiply_adds_are_counted() {
    for variant in VARIANTS {
        let [a, b, c] = variant.registers();
        let counters = variant.instructions().run(&vec![[0; 32]; a + b + c]).counters;
        assert_eq!(counters.tensor_multiply_adds, 16 * 8 * variant.k as u64);
        let tensor = counters.classes.iter().find(|(class, _)| *class == Class::Tensor).expect("one mma");
        assert_eq!((tensor.1.warps, tensor.1.threads), (1, 32));
    }
}

#[test]
fn a_part_of_a_warp() {
    let body = "setp.ne.u32 %p0, %lane, 13;
        @%p0 mma.sync.aligned.m16n8k8.row.col.f16.f16.f16.f16 {%o0, %o1}, {%i0, %i0}, {%i0}, {%i1, %i1};";
    let instructions = Instructions::new(body, 2, 2);
    let outcome = instructions.run(&[[0; 32], [0x3c00_3c00; 32]]);
    let opcode = "mma.sync.aligned.m16n8k8.row.col.f16.f16.f16.f16";
    let finding = outcome.only_finding(Kind::PartialWarp, opcode);
    assert_eq!(finding.thread[0], 0);
    assert!(finding.message.contains("0x00002000"), "{finding:#?}");
    assert_eq!(outcome.outputs(), [lanes(|lane| if lane == 13 { UNTOUCHED } else { 0x3c00_3c00 }); 2]);
}

#[test]
fn a_block_of_less_than_a_warp() {
    let outcome = VARIANTS[1].instructions().run_with(16, &[[0; 32]; 10]);
    let finding = outcome.only_finding(Kind::PartialWarp, &VARIANTS[1].opcode());
    assert!(finding.message.contains("0xffff0000"), "{finding:#?}");
}

#[test]
fn other_forms_are_refused() {
    for opcode in [
        "mma.sync.aligned.m16n8k16.row.row.f32.f16.f16.f32",
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.bf16.f32",
        "mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f32",
        "mma.sync.aligned.m16n8k16.row.col.bf16.bf16.bf16.bf16",
        "mma.sync.aligned.m8n8k4.row.col.f32.f16.f16.f32",
        "mma.sync.m16n8k16.row.col.f32.f16.f16.f32",
    ] {
        let body =
            format!("{opcode} {{%r0, %r1, %r2, %r3}}, {{%r0, %r1, %r2, %r3}}, {{%r4, %r5}}, {{%r0, %r1, %r2, %r3}};");
        assert!(refusal_of(&body).message.contains("doesn't know"), "{opcode}");
    }
    let opcode = VARIANTS[1].opcode();
    let body = format!("{opcode} {{%r0, %r1, %r2, %r3}}, {{%r0, %r1}}, {{%r4, %r5}}, {{%r0, %r1, %r2, %r3}};");
    assert!(refusal_of(&body).message.contains("operand 2 has 2 registers, not 4"), "{}", refusal_of(&body));
    let body =
        format!("{opcode} {{%r0, %r1, %r2, %d0}}, {{%r0, %r1, %r2, %r3}}, {{%r4, %r5}}, {{%r0, %r1, %r2, %r3}};");
    assert!(refusal_of(&body).message.contains("64 bits where 32 are needed"), "{}", refusal_of(&body));
}
