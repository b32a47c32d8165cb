//! `ldmatrix` and `stmatrix`: 8x8 matrices of 16-bit elements between shared memory and the registers of a warp.
//!
//! Lane `8 m + r` gives the address of row `r` of matrix `m`: 16 bytes. Of each matrix, lane `l` has the elements
//! (`l / 4`, `2 (l % 4)`) and the one right of it, the left one in the low half; with `.trans` it has those of the
//! transposed matrix.
//!
//! A matrix takes a wavefront, and more where pieces of 16 bytes of its rows are in the same banks. As an access a row
//! counts as those lanes' who have it without `.trans`: 4 bytes each.

use super::Answer;
use crate::counters::Class;
use crate::exec::access::{Access, Kind, Offsets, saturated};
use crate::exec::context::Context;
use crate::exec::decode::Decoder;
use crate::exec::instruction::{Inst, Op, Step};
use crate::exec::lanes::{ALL, LANES, each, is_in, lanes, write};
use crate::exec::windows::Window;
use crate::findings::Kind as Wrong;
use crate::gpu::{Fault, LoadError};
use crate::ptx::syntax::Type;

/// Rows of a matrix.
const ROWS: usize = 8;
/// Bytes of a row.
const ROW: u32 = 16;
/// The most matrices of an instruction.
const MOST: usize = 4;

/// Decodes `ldmatrix` and `stmatrix` of 8x8 matrices.
///
/// # Errors
///
/// Forms that aren't known.
pub fn decode(decoder: &mut Decoder<'_>) -> Answer {
    let opcode = decoder.opcode();
    let (loads, rest) = match opcode.as_slice() {
        ["ldmatrix", "sync", "aligned", "m8n8", rest @ ..] => (true, rest),
        ["stmatrix", "sync", "aligned", "m8n8", rest @ ..] => (false, rest),
        _ => return Ok(None),
    };
    let (count, rest) = match rest {
        ["x1", rest @ ..] => (1, rest),
        ["x2", rest @ ..] => (2, rest),
        ["x4", rest @ ..] => (4, rest),
        _ => return Err(decoder.unknown()),
    };
    let (transposed, rest) = if let ["trans", rest @ ..] = rest { (true, rest) } else { (false, rest) };
    let generic = match rest {
        ["shared" | "shared::cta", "b16"] => false,
        ["b16"] => true,
        _ => return Err(decoder.unknown()),
    };
    decoder.expect_operands(2)?;
    let (value, at) = if loads { (0, 1) } else { (1, 0) };
    let parts = decoder.vector(value)?;
    if parts.len() != count {
        return Err(decoder.error(format!("expected {count} registers, found {}", parts.len())));
    }
    let list = parts
        .iter()
        .map(|part| if loads { decoder.destination_of(part, Type::B32) } else { decoder.source_of(part, Type::B32) })
        .collect::<Result<Vec<u32>, LoadError>>()?;
    let address = decoder.address(at)?;
    let fill = |inst: &mut Inst| {
        (inst.a, inst.b, inst.imm) = (address.slot, u32::from(address.wide), address.offset);
        (inst.c, inst.d) = (u32::from(transposed), u32::from(generic));
        inst.list = list.into();
    };
    Ok(Some(if loads { decoder.make::<Load>(Class::Shared, fill) } else { decoder.make::<Store>(Class::Shared, fill) }))
}

/// `ldmatrix`: address `a` (64 bits if `b`) plus `imm`, a generic one if `d`, transposed if `c`; a register for each
/// matrix in `list`.
struct Load;

impl Op for Load {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let rows = match Rows::find(cx, inst, Kind::Read) {
            Ok(rows) => rows,
            Err(step) => return step,
        };
        if cx.launch.checks.any() {
            rows.check(cx, Kind::Read, &[[0; LANES]; MOST]);
        }
        let mask = cx.exec;
        for (matrix, slot) in inst.list.iter().enumerate() {
            let words = rows.read(cx, matrix);
            let fragment = if inst.c == 0 { words } else { transposed(&words) };
            write::<u32>(&mut cx.warp.registers, *slot, mask, &fragment);
        }
        Step::Next
    }
}

/// `stmatrix`, with the fields of [`Load`].
struct Store;

impl Op for Store {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let rows = match Rows::find(cx, inst, Kind::Write) {
            Ok(rows) => rows,
            Err(step) => return step,
        };
        let mut words = [[0; LANES]; MOST];
        for (words, slot) in words.iter_mut().zip(&inst.list) {
            let fragment = cx.warp.registers.b32.row(*slot);
            *words = if inst.c == 0 { *fragment } else { transposed(fragment) };
        }
        if cx.launch.checks.any() {
            rows.check(cx, Kind::Write, &words);
        }
        for (matrix, words) in words.iter().enumerate().take(inst.list.len()) {
            rows.write(cx, matrix, words);
        }
        cx.worker.progress += 1;
        Step::Next
    }
}

/// A matrix as words, of which lane `l` has number `l % 4` of row `l / 4`, transposed.
///
/// The elements that lane `l` gets lie below each other: in rows `2 (l % 4)` and the next, column `l / 4`.
#[inline(always)]
fn transposed(words: &[u32; LANES]) -> [u32; LANES] {
    let element = |row: usize, column: usize| words[4 * row + column / 2] >> (16 * (column % 2)) & 0xffff;
    each(|lane| {
        let (row, column) = (2 * (lane % 4), lane / 4);
        element(row, column) | element(row + 1, column) << 16
    })
}

/// The rows of an instruction's matrices.
struct Rows {
    /// Offsets in shared memory.
    offsets: [u32; LANES],
    /// Which are there: those whose lanes execute.
    present: u32,
}

impl Rows {
    /// Finds them, and has them counted.
    #[inline(always)]
    fn find(cx: &mut Context<'_>, inst: &Inst, kind: Kind) -> Result<Self, Step> {
        if cx.exec != ALL {
            partial(cx);
        }
        let at = cx.addresses(inst.a, inst.b != 0, inst.imm);
        let present = cx.exec & (ALL >> (LANES - ROWS * inst.list.len()));
        let access = Access { kind, size: ROW, strong: false };
        let mut offsets = [0; LANES];
        if present == 0 {
            return Ok(Self { offsets, present });
        }
        if inst.d == 0 {
            offsets = cx.shared_unchecked(access, &saturated(&at), present)?;
        } else {
            cx.by_window(&at, present, |cx, window, at, part| {
                if window != Window::Shared {
                    return Err(elsewhere(cx, at, part));
                }
                offsets = cx.shared_unchecked(access, &saturated(at), part)?;
                Ok(())
            })?;
        }
        Ok(Self { offsets, present })
    }

    /// By lane: where the word is that it has, and whether it has one.
    #[inline(always)]
    fn places(&self, matrix: usize) -> ([u32; LANES], u32) {
        let row = |lane: usize| ROWS * matrix + lane / 4;
        let places = each(|lane| self.offsets[row(lane)] + 4 * (lane as u32 % 4));
        let mut there = 0;
        for lane in 0..LANES {
            there |= u32::from(is_in(self.present, row(lane))) << lane;
        }
        (places, there)
    }

    /// Has the accesses of the lanes that execute checked. `words` is what they write.
    #[inline(never)]
    fn check(&self, cx: &mut Context<'_>, kind: Kind, words: &[[u32; LANES]; MOST]) {
        let matrices = (LANES - self.present.leading_zeros() as usize).div_ceil(ROWS);
        for (matrix, words) in words.iter().enumerate().take(matrices) {
            let (places, there) = self.places(matrix);
            let mask = there & cx.exec;
            if mask != 0 {
                let access = Access { kind, size: 4, strong: false };
                cx.check_shared(access, &places, mask, &|one, other| words[one] == words[other]);
            }
        }
    }

    /// A matrix, as words; rows that aren't there are zeros.
    #[inline(always)]
    fn read(&self, cx: &Context<'_>, matrix: usize) -> [u32; LANES] {
        let (places, there) = self.places(matrix);
        let memory = cx.block.shared.words();
        each(|lane| if is_in(there, lane) { memory[places[lane] as usize / 4] } else { 0 })
    }

    #[inline(always)]
    fn write(&self, cx: &mut Context<'_>, matrix: usize, words: &[u32; LANES]) {
        let (places, there) = self.places(matrix);
        for lane in lanes(there & cx.exec) {
            cx.block.shared.store(places[lane], words[lane]);
        }
    }
}

#[cold]
fn partial(cx: &Context<'_>) {
    if cx.launch.checks.synchronisation {
        let lane = cx.exec.trailing_zeros() as usize;
        cx.find(Wrong::PartialWarp, lane, None, || {
            format!("all 32 lanes must execute it, but {:#010x} don't", !cx.exec)
        });
    }
}

#[cold]
fn elsewhere(cx: &Context<'_>, at: &Offsets, part: u32) -> Step {
    let lane = part.trailing_zeros() as usize;
    cx.find(Wrong::OutOfBounds, lane, Some(at[lane]), || "row of a matrix that is not in shared memory".to_owned());
    cx.fault(Fault::IllegalAddress)
}
