//! Products of small matrices on the tensor cores: `mma.sync` m16n8k8 and m16n8k16 of f16 and bf16.
//!
//! `D = A B + C` with A of 16 x K, B of K x 8, C and D of 16 x 8. The warp holds them in pieces: lane `4 g + t` has the
//! elements below, of which the two that share a register are neighbours along K (A, B) or along a row (C, D), the
//! lower one in the low half (PTX ISA, "Matrix fragments for mma.m16n8k16").
//!
//! | operand | register | row | column |
//! | --- | --- | --- | --- |
//! | A | `r`, 2 halves | `g + 8 (r % 2)` | `2 t + 8 (r / 2)`, and the next |
//! | B | `r`, 2 halves | `2 t + 8 r`, and the next | `g` |
//! | C, D of f32 | `r` | `g + 8 (r / 2)` | `2 t + r % 2` |
//! | C, D of f16 | `r`, 2 halves | `g + 8 r` | `2 t`, and the next |
//!
//! Each element of D is `C + A[0] B[0]`, then `+ A[1] B[1]` and so on in the order of K, each step one f32 multiply-add
//! with a single rounding to nearest; with C and D of f16 the sum is rounded to f16 at the end. Tensor cores add
//! several products at a time in an accumulator that keeps a few bits more and cuts off the rest, in an order that
//! isn't documented: the last bits of f32 results differ from theirs. NaN results are the canonical NaN.

use std::marker::PhantomData;

use half::slice::{HalfBitsSliceExt as _, HalfFloatSliceExt as _};
use half::{bf16, f16};

use super::Answer;
use super::members::expect_whole_warp;
use crate::counters::Class;
use crate::exec::context::Context;
use crate::exec::decode::Decoder;
use crate::exec::instruction::{Decoded, Inst, Op, Step};
use crate::exec::lanes::{LANES, each, row, write};
use crate::exec::registers::Registers;
use crate::gpu::LoadError;
use crate::ptx::syntax::Type;

/// Rows of A, C and D.
const M: usize = 16;

/// Columns of B, C and D.
const N: usize = 8;

/// The steps of K that one register of B holds over the warp.
const STEP: usize = 8;

/// Decodes `mma.sync` of the shapes and formats of this file.
///
/// # Errors
///
/// Operands that don't fit.
pub fn decode(decoder: &mut Decoder<'_>) -> Answer {
    let opcode = decoder.opcode();
    let ["mma", "sync", "aligned", shape, "row", "col", d, a, b, c] = opcode[..] else { return Ok(None) };
    let multiply = match (shape, [d, a, b, c]) {
        ("m16n8k8", ["f32", "f16", "f16", "f32"]) => multiply::<f16, Single, 1>,
        ("m16n8k16", ["f32", "f16", "f16", "f32"]) => multiply::<f16, Single, 2>,
        ("m16n8k8", ["f16", "f16", "f16", "f16"]) => multiply::<f16, Half, 1>,
        ("m16n8k16", ["f16", "f16", "f16", "f16"]) => multiply::<f16, Half, 2>,
        ("m16n8k8", ["f32", "bf16", "bf16", "f32"]) => multiply::<bf16, Single, 1>,
        ("m16n8k16", ["f32", "bf16", "bf16", "f32"]) => multiply::<bf16, Single, 2>,
        _ => return Ok(None),
    };
    multiply(decoder).map(Some)
}

/// `{d}, {a}, {b}, {c}`: all slots in `list`, in this order.
fn multiply<F: Format, S: Sums, const STEPS: usize>(decoder: &mut Decoder<'_>) -> Result<Decoded, LoadError> {
    decoder.expect_operands(4)?;
    let mut list = Vec::new();
    for (n, count, ty) in
        [(0, S::REGISTERS, S::TYPE), (1, 2 * STEPS, Type::B32), (2, STEPS, Type::B32), (3, S::REGISTERS, S::TYPE)]
    {
        let parts = decoder.vector(n)?;
        if parts.len() != count {
            return Err(decoder.error(format!("operand {} has {} registers, not {count}", n + 1, parts.len())));
        }
        for part in &parts {
            list.push(if n == 0 { decoder.destination_of(part, ty)? } else { decoder.source_of(part, ty)? });
        }
    }
    let mut decoded = decoder.make::<Multiply<F, S, STEPS>>(Class::Tensor, |inst| inst.list = list.into());
    decoded.facts.tensor_multiply_adds = (M * N * STEP * STEPS) as u32;
    Ok(decoded)
}

/// A format of the elements of A and B.
trait Format: 'static {
    /// Elements as f32, which is exact.
    fn widen(halves: &[u16; 2 * LANES]) -> [f32; 2 * LANES];
}

impl Format for f16 {
    #[inline(always)]
    fn widen(halves: &[u16; 2 * LANES]) -> [f32; 2 * LANES] {
        let mut values = [0.0; 2 * LANES];
        halves.reinterpret_cast::<Self>().convert_to_f32_slice(&mut values);
        values
    }
}

impl Format for bf16 {
    #[inline(always)]
    fn widen(halves: &[u16; 2 * LANES]) -> [f32; 2 * LANES] {
        each(|place| f32::from_bits(u32::from(halves[place]) << 16))
    }
}

/// The lower halves of all lanes, then the upper ones.
#[inline(always)]
fn unpack(pairs: &[u32; LANES]) -> [u16; 2 * LANES] {
    each(|place| (pairs[place % LANES] >> (place / LANES * 16)) as u16)
}

/// Half of the sums, 8 rows. Row `g` has the columns 0, 2, 4, 6 and then 1, 3, 5, 7: the lanes `4 g` to `4 g + 3` hold
/// the one half of them in one register, and the other in another or in the high halves.
type Rows = [[f32; N]; 8];

/// The column in a place of [`Rows`].
const COLUMNS: [usize; N] = [0, 2, 4, 6, 1, 3, 5, 7];

/// Rows from what the lanes hold of even columns and of odd ones.
#[inline(always)]
fn by_row(even: &[f32; LANES], odd: &[f32; LANES]) -> Rows {
    let mut rows = [[0.0; N]; 8];
    for lane in 0..LANES {
        rows[lane / 4][lane % 4] = even[lane];
        rows[lane / 4][lane % 4 + N / 2] = odd[lane];
    }
    rows
}

/// What the lanes hold of even columns (`odd` is 0), or of odd ones (1).
#[inline(always)]
fn by_lane(rows: &Rows, odd: usize) -> [f32; LANES] {
    each(|lane| rows[lane / 4][lane % 4 + odd * N / 2])
}

/// How C and D are held.
trait Sums: 'static {
    /// Their registers.
    const REGISTERS: usize;
    /// The type of each.
    const TYPE: Type;
    /// Reads the rows from `8 half` on.
    fn read(registers: &Registers, slots: &[u32], half: usize) -> Rows;
    /// Writes them.
    fn write(registers: &mut Registers, slots: &[u32], half: usize, exec: u32, rows: &Rows);
}

/// f32.
struct Single;

impl Sums for Single {
    const REGISTERS: usize = 4;
    const TYPE: Type = Type::F32;

    #[inline(always)]
    fn read(registers: &Registers, slots: &[u32], half: usize) -> Rows {
        let even = row::<u32>(registers, slots[2 * half]);
        let odd = row::<u32>(registers, slots[2 * half + 1]);
        by_row(&each(|lane| f32::from_bits(even[lane])), &each(|lane| f32::from_bits(odd[lane])))
    }

    #[inline(always)]
    fn write(registers: &mut Registers, slots: &[u32], half: usize, exec: u32, rows: &Rows) {
        for odd in 0..2 {
            let values = by_lane(rows, odd);
            let bits = each(|lane| {
                let bits = values[lane].to_bits();
                if bits & 0x7fff_ffff > 0x7f80_0000 { 0x7fff_ffff } else { bits }
            });
            write::<u32>(registers, slots[2 * half + odd], exec, &bits);
        }
    }
}

/// f16, two to a register.
struct Half;

impl Sums for Half {
    const REGISTERS: usize = 2;
    const TYPE: Type = Type::F16x2;

    #[inline(always)]
    fn read(registers: &Registers, slots: &[u32], half: usize) -> Rows {
        let values = f16::widen(&unpack(row(registers, slots[half])));
        by_row(&each(|lane| values[lane]), &each(|lane| values[lane + LANES]))
    }

    #[inline(always)]
    fn write(registers: &mut Registers, slots: &[u32], half: usize, exec: u32, rows: &Rows) {
        let mut halves = [[0; LANES]; 2];
        for (odd, halves) in halves.iter_mut().enumerate() {
            halves.reinterpret_cast_mut::<f16>().convert_from_f32_slice(&by_lane(rows, odd));
        }
        let canonical = |bits: u16| u32::from(if bits & 0x7fff > 0x7c00 { 0x7fff } else { bits });
        let pairs = each(|lane| canonical(halves[0][lane]) | canonical(halves[1][lane]) << 16);
        write::<u32>(registers, slots[half], exec, &pairs);
    }
}

/// `mma` with K of `8 STEPS`.
struct Multiply<F, S, const STEPS: usize>(PhantomData<(F, S)>);

impl<F: Format, S: Sums, const STEPS: usize> Op for Multiply<F, S, STEPS> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        expect_whole_warp(cx);
        let registers = &mut cx.warp.registers;
        let (d, sources) = inst.list.split_at(S::REGISTERS);
        let (a, sources) = sources.split_at(2 * STEPS);
        let (b, c) = sources.split_at(STEPS);
        let mut factors = [[0.0; N * STEP]; STEPS];
        for step in 0..STEPS {
            factors[step] = right::<F>(row(registers, b[step]));
        }
        // D may be where A, B or C are: all are read before anything is written.
        let mut rows = [[[0.0; N]; 8]; M / 8];
        for (half, rows) in rows.iter_mut().enumerate() {
            *rows = S::read(registers, c, half);
            for (step, right) in factors.iter().enumerate() {
                let left = F::widen(bytemuck::cast_ref(row::<u32>(registers, a[2 * step + half])));
                add_products(rows, &left, right);
            }
        }
        for (half, rows) in rows.iter().enumerate() {
            S::write(registers, d, half, cx.exec, rows);
        }
        Step::Next
    }
}

/// 8 rows of B, one behind the other, each with its columns in the order of [`COLUMNS`].
#[inline(always)]
fn right<F: Format>(pairs: &[u32; LANES]) -> [f32; N * STEP] {
    let mut halves = [0; N * STEP];
    for t in 0..STEP / 2 {
        for (place, column) in COLUMNS.iter().enumerate() {
            let pair = pairs[4 * column + t];
            halves[2 * t * N + place] = pair as u16;
            halves[(2 * t + 1) * N + place] = (pair >> 16) as u16;
        }
    }
    F::widen(&halves)
}

/// Adds the products of 8 rows and 8 columns of A, one row behind the other as the lanes hold them, and 8 rows of B.
#[inline(always)]
fn add_products(rows: &mut Rows, left: &[f32; 8 * STEP], right: &[f32; N * STEP]) {
    for (k, right) in right.chunks_exact(N).enumerate() {
        for (g, sums) in rows.iter_mut().enumerate() {
            for (sum, right) in sums.iter_mut().zip(right) {
                *sum = left[STEP * g + k].mul_add(*right, *sum);
            }
        }
    }
}
