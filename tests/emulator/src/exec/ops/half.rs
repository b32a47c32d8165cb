//! Arithmetic on f16 and bf16, alone or as pairs in 32 bits: `add sub mul fma min max abs neg`. Results are rounded
//! once; those that are NaN are the one that GPUs give, 0x7fff.

use std::marker::PhantomData;

use super::Answer;
use super::exact::Rounding;
use super::float::{extreme_of, extreme_of_magnitudes};
use super::formats::{from_bf16, from_f16, round_to_bf16, round_to_f16, round_to_odd};
use super::modifiers::{Flags, Modifiers};
use crate::counters::Class;
use crate::exec::context::Context;
use crate::exec::decode::Decoder;
use crate::exec::instruction::{Decoded, Inst, Op, Step};
use crate::exec::lanes::{LANES, Word, row, write};
use crate::gpu::LoadError;
use crate::ptx::syntax::Type;

/// Decodes arithmetic on f16, bf16 and pairs of them.
///
/// # Errors
///
/// Forms that aren't known.
pub fn decode(decoder: &mut Decoder<'_>) -> Answer {
    let instruction = decoder.instruction;
    let opcode: Vec<&str> = instruction.opcode.iter().map(String::as_str).collect();
    let [name, parts @ .., ty] = &opcode[..] else { return Ok(None) };
    if !matches!(*name, "add" | "sub" | "mul" | "fma" | "min" | "max" | "abs" | "neg") {
        return Ok(None);
    }
    let Some(ty @ (Type::F16 | Type::F16x2 | Type::Bf16 | Type::Bf16x2)) = Type::from_suffix(ty) else {
        return Ok(None);
    };
    let Some(modifiers) = Modifiers::read(parts) else { return Err(decoder.unknown()) };
    let known = known(name, matches!(ty, Type::F16 | Type::F16x2));
    let rounds = matches!(*name, "add" | "sub" | "mul" | "fma");
    let rounding = match modifiers.rounding {
        None => *name != "fma",
        Some(rounding) => rounds && rounding == Rounding::Nearest,
    };
    let both = modifiers.flags.has(Flags::SAT.and(Flags::RELU));
    if !modifiers.only(known) || !rounding || both {
        return Err(decoder.unknown());
    }
    let flags = modifiers.flags;
    match *name {
        "add" => plain_or_flagged::<Arithmetic<Add>>(decoder, ty, flags),
        "sub" => plain_or_flagged::<Arithmetic<Sub>>(decoder, ty, flags),
        "mul" => plain_or_flagged::<Arithmetic<Mul>>(decoder, ty, flags),
        "fma" => plain_or_flagged::<Arithmetic<Fma>>(decoder, ty, flags),
        "min" => plain_or_flagged::<Extreme<false>>(decoder, ty, flags),
        "max" => plain_or_flagged::<Extreme<true>>(decoder, ty, flags),
        "abs" => plain_or_flagged::<Abs>(decoder, ty, flags),
        _ => plain_or_flagged::<Neg>(decoder, ty, flags),
    }
    .map(Some)
}

/// The modifiers of an instruction for f16, or else bf16.
fn known(name: &str, f16: bool) -> Flags {
    let flags = match name {
        "add" | "sub" | "mul" if f16 => Flags::SAT,
        "fma" if f16 => Flags::SAT.and(Flags::RELU),
        "fma" => Flags::RELU,
        "min" | "max" => Flags::NAN.and(Flags::XORSIGN_ABS),
        _ => Flags::NONE,
    };
    if f16 { flags.and(Flags::FTZ) } else { flags }
}

/// The NaN of results.
const NAN: u32 = 0x7fff;

/// A 16-bit format. Values are in the lower half of a `u32`, the upper one zero.
pub(super) trait Format: 'static {
    /// The bits of the exponent.
    const EXPONENT: u32;
    /// Exactly as f32.
    fn widen(bits: u32) -> f32;
    /// The nearest.
    fn round(value: f32) -> u32;
    /// A function rounded in such a way that rounding it again gives what rounding it at once would.
    fn compute<F: Function>(operands: [f32; 3]) -> f32;
}

pub(super) struct F16;
pub(super) struct Bf16;

impl Format for F16 {
    const EXPONENT: u32 = 0x7c00;
    #[inline(always)]
    fn widen(bits: u32) -> f32 {
        from_f16(bits)
    }
    #[inline(always)]
    fn round(value: f32) -> u32 {
        round_to_f16(value)
    }
    #[inline(always)]
    fn compute<F: Function>(operands: [f32; 3]) -> f32 {
        F::of_f16(operands)
    }
}

impl Format for Bf16 {
    const EXPONENT: u32 = 0x7f80;
    #[inline(always)]
    fn widen(bits: u32) -> f32 {
        from_bf16(bits)
    }
    #[inline(always)]
    fn round(value: f32) -> u32 {
        round_to_bf16(value)
    }
    #[inline(always)]
    fn compute<F: Function>(operands: [f32; 3]) -> f32 {
        F::of_bf16(operands)
    }
}

/// A register that holds one or two values.
pub(super) trait Holder: Word {
    /// `O` on each of the values.
    fn each<O: Operation, T: Format>(operands: [Self; 3], flags: Flags) -> Self;
}

impl Holder for u16 {
    #[inline(always)]
    fn each<O: Operation, T: Format>([a, b, c]: [Self; 3], flags: Flags) -> Self {
        O::run::<T>([a.into(), b.into(), c.into()], flags) as Self
    }
}

impl Holder for u32 {
    #[inline(always)]
    fn each<O: Operation, T: Format>([a, b, c]: [Self; 3], flags: Flags) -> Self {
        let low = O::run::<T>([a & 0xffff, b & 0xffff, c & 0xffff], flags);
        let high = O::run::<T>([a >> 16, b >> 16, c >> 16], flags);
        low | high << 16
    }
}

/// Zero of the same sign, if it is subnormal.
#[inline(always)]
pub(super) fn flushed<T: Format>(bits: u32) -> u32 {
    if bits & T::EXPONENT == 0 { bits & 0x8000 } else { bits }
}

#[inline(always)]
fn widened<T: Format>(bits: u32, flush: bool) -> f32 {
    T::widen(if flush { flushed::<T>(bits) } else { bits })
}

/// What an instruction does with the bits of its operands.
pub(super) trait Operation: 'static {
    /// How many operands it has.
    const OPERANDS: usize;
    /// The result.
    fn run<T: Format>(operands: [u32; 3], flags: Flags) -> u32;
}

/// An operation on registers of a type; [`Flags`] are in `imm` if it is `FLAGGED`.
struct Lanes<O, T, H, const FLAGGED: bool>(PhantomData<(O, T, H)>);

impl<O: Operation, T: Format, H: Holder, const FLAGGED: bool> Op for Lanes<O, T, H, FLAGGED> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let flags = if FLAGGED { Flags::from_bits(inst.imm as u16) } else { Flags::NONE };
        let rows = &cx.warp.registers;
        let a = row::<H>(rows, inst.a);
        let b = row::<H>(rows, if O::OPERANDS > 1 { inst.b } else { inst.a });
        let c = row::<H>(rows, if O::OPERANDS > 2 { inst.c } else { inst.a });
        // A closure of this size isn't inlined, and what isn't loses the vector instructions.
        let mut values = [H::default(); LANES];
        for (lane, value) in values.iter_mut().enumerate() {
            *value = H::each::<O, T>([a[lane], b[lane], c[lane]], flags);
        }
        write(&mut cx.warp.registers, inst.d, cx.exec, &values);
        Step::Next
    }
}

fn make<O: Operation, T: Format, H: Holder, const FLAGGED: bool>(
    decoder: &mut Decoder<'_>,
    ty: Type,
    class: Class,
    flags: Flags,
) -> Result<Decoded, LoadError> {
    let mut decoded = match O::OPERANDS {
        1 => decoder.unary::<Lanes<O, T, H, FLAGGED>>(class, ty, ty),
        2 => decoder.binary::<Lanes<O, T, H, FLAGGED>>(class, ty, [ty; 2]),
        _ => decoder.ternary::<Lanes<O, T, H, FLAGGED>>(class, ty, [ty; 3]),
    }?;
    decoded.inst.imm = flags.bits().into();
    Ok(decoded)
}

/// An operation on one of the four types.
pub(super) fn of_type<O: Operation, const FLAGGED: bool>(
    decoder: &mut Decoder<'_>,
    ty: Type,
    class: Class,
    flags: Flags,
) -> Result<Decoded, LoadError> {
    if ty == Type::F16 {
        make::<O, F16, u16, FLAGGED>(decoder, ty, class, flags)
    } else if ty == Type::F16x2 {
        make::<O, F16, u32, FLAGGED>(decoder, ty, class, flags)
    } else if ty == Type::Bf16 {
        make::<O, Bf16, u16, FLAGGED>(decoder, ty, class, flags)
    } else if ty == Type::Bf16x2 {
        make::<O, Bf16, u32, FLAGGED>(decoder, ty, class, flags)
    } else {
        Err(decoder.unknown())
    }
}

fn plain_or_flagged<O: Operation>(decoder: &mut Decoder<'_>, ty: Type, flags: Flags) -> Result<Decoded, LoadError> {
    if flags == Flags::NONE {
        of_type::<O, false>(decoder, ty, Class::Half, flags)
    } else {
        of_type::<O, true>(decoder, ty, Class::Half, flags)
    }
}

/// A function of up to three operands.
pub(super) trait Function: 'static {
    /// How many operands it has.
    const OPERANDS: usize;
    /// Of f16: see [`Format::compute`].
    fn of_f16(operands: [f32; 3]) -> f32;
    /// Of bf16.
    fn of_bf16(operands: [f32; 3]) -> f32;
}

struct Add;
struct Sub;
struct Mul;
struct Fma;

// A sum of two numbers of p digits that is rounded to 2p + 2 digits or more can be rounded again as if it hadn't been
// (S. A. Figueroa, When is double rounding innocuous?, 1995).
impl Function for Add {
    const OPERANDS: usize = 2;
    #[inline(always)]
    fn of_f16([a, b, _]: [f32; 3]) -> f32 {
        a + b
    }
    #[inline(always)]
    fn of_bf16([a, b, _]: [f32; 3]) -> f32 {
        a + b
    }
}

impl Function for Sub {
    const OPERANDS: usize = 2;
    #[inline(always)]
    fn of_f16([a, b, _]: [f32; 3]) -> f32 {
        a - b
    }
    #[inline(always)]
    fn of_bf16([a, b, _]: [f32; 3]) -> f32 {
        a - b
    }
}

impl Function for Mul {
    const OPERANDS: usize = 2;
    #[inline(always)]
    fn of_f16([a, b, _]: [f32; 3]) -> f32 {
        // Exact.
        a * b
    }
    #[inline(always)]
    fn of_bf16([a, b, _]: [f32; 3]) -> f32 {
        // Exact: 16 digits, of which those below 2^-149 belong to products that are less than half of the smallest.
        a * b
    }
}

/// The sum of two numbers, with an odd last bit if it isn't exact.
macro_rules! odd_sum {
    ($a:expr, $b:expr, $ty:ident) => {{
        let (a, b) = ($a, $b);
        let sum = a + b;
        // What was lost (D. E. Knuth, The Art of Computer Programming, 4.2.2); NaN where the sum isn't finite.
        let of_b = sum - a;
        let error = (a - (sum - of_b)) + (b - of_b);
        let (above, below) = (error > 0.0, error < 0.0);
        let bits = sum.to_bits();
        let away = above == (sum > 0.0);
        let other = if away { bits.wrapping_add(1) } else { bits.wrapping_sub(1) };
        $ty::from_bits(if (above | below) && bits & 1 == 0 { other } else { bits })
    }};
}

impl Function for Fma {
    const OPERANDS: usize = 3;
    #[inline(always)]
    fn of_f16([a, b, c]: [f32; 3]) -> f32 {
        // The product is exact.
        odd_sum!(a * b, c, f32)
    }
    #[inline(always)]
    fn of_bf16([a, b, c]: [f32; 3]) -> f32 {
        round_to_odd(odd_sum!(f64::from(a) * f64::from(b), f64::from(c), f64))
    }
}

struct Arithmetic<F>(PhantomData<F>);

impl<F: Function> Operation for Arithmetic<F> {
    const OPERANDS: usize = F::OPERANDS;
    #[inline(always)]
    fn run<T: Format>(operands: [u32; 3], flags: Flags) -> u32 {
        let ftz = flags.has(Flags::FTZ);
        let [a, b, c] = operands;
        let operands = [widened::<T>(a, ftz), widened::<T>(b, ftz), widened::<T>(c, ftz)];
        let result = T::round(T::compute::<F>(operands));
        let result = if ftz { flushed::<T>(result) } else { result };
        let negative = result & 0x8000 != 0;
        if flags.has(Flags::SAT) {
            let one = T::round(1.0);
            if negative || result > T::EXPONENT { 0 } else { result.min(one) }
        } else if flags.has(Flags::RELU) && negative {
            0
        } else {
            result
        }
    }
}

struct Extreme<const MAX: bool>;

impl<const MAX: bool> Operation for Extreme<MAX> {
    const OPERANDS: usize = 2;
    #[inline(always)]
    fn run<T: Format>([a, b, _]: [u32; 3], flags: Flags) -> u32 {
        let ftz = flags.has(Flags::FTZ);
        let (a, b) = (widened::<T>(a, ftz), widened::<T>(b, ftz));
        let extreme = match (flags.has(Flags::XORSIGN_ABS), flags.has(Flags::NAN)) {
            (false, false) => extreme_of::<f32, MAX, false>(a, b),
            (false, true) => extreme_of::<f32, MAX, true>(a, b),
            (true, false) => extreme_of_magnitudes::<f32, MAX, false>(a, b),
            (true, true) => extreme_of_magnitudes::<f32, MAX, true>(a, b),
        };
        // One of the operands, so that rounding changes nothing.
        extreme.map_or(NAN, T::round)
    }
}

struct Abs;

impl Operation for Abs {
    const OPERANDS: usize = 1;
    #[inline(always)]
    fn run<T: Format>([a, ..]: [u32; 3], flags: Flags) -> u32 {
        (if flags.has(Flags::FTZ) { flushed::<T>(a) } else { a }) & 0x7fff
    }
}

struct Neg;

impl Operation for Neg {
    const OPERANDS: usize = 1;
    #[inline(always)]
    fn run<T: Format>([a, ..]: [u32; 3], flags: Flags) -> u32 {
        (if flags.has(Flags::FTZ) { flushed::<T>(a) } else { a }) ^ 0x8000
    }
}
