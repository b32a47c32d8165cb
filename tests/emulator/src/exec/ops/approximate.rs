//! Functions that hardware approximates: `rcp sqrt rsqrt ex2 lg2 sin cos tanh` and `div`, with `.approx` or `.full`.
//! Here they are the host's, more precise than PTX demands.

use std::marker::PhantomData;

use super::Answer;
use super::float::{Float, Raw};
use super::half::{Format, Operation, flushed, of_type};
use super::modifiers::{Flags, Modifiers};
use crate::counters::Class;
use crate::exec::context::Context;
use crate::exec::decode::Decoder;
use crate::exec::instruction::{Decoded, Inst, Op, Step};
use crate::exec::lanes::{map1, map2};
use crate::gpu::LoadError;
use crate::ptx::syntax::Type;

/// Decodes approximate functions.
///
/// # Errors
///
/// Forms that aren't known.
pub fn decode(decoder: &mut Decoder<'_>) -> Answer {
    let instruction = decoder.instruction;
    let opcode: Vec<&str> = instruction.opcode.iter().map(String::as_str).collect();
    let [name, parts @ .., ty] = &opcode[..] else { return Ok(None) };
    if !matches!(*name, "rcp" | "sqrt" | "rsqrt" | "ex2" | "lg2" | "sin" | "cos" | "tanh" | "div") {
        return Ok(None);
    }
    let Some(Modifiers { rounding: None, flags }) = Modifiers::read(parts) else { return Ok(None) };
    let ftz = flags.has(Flags::FTZ);
    let rest = if flags == Flags::APPROX || flags == Flags::APPROX.and(Flags::FTZ) {
        "approx"
    } else if flags == Flags::FULL || flags == Flags::FULL.and(Flags::FTZ) {
        "full"
    } else {
        return Ok(None);
    };
    match (*name, rest, *ty) {
        ("rcp", "approx", "f32") => single::<Rcp>(decoder, ftz),
        ("sqrt", "approx", "f32") => single::<Sqrt>(decoder, ftz),
        ("rsqrt", "approx", "f32") => single::<Rsqrt>(decoder, ftz),
        ("ex2", "approx", "f32") => single::<Ex2>(decoder, ftz),
        ("lg2", "approx", "f32") => single::<Lg2>(decoder, ftz),
        ("sin", "approx", "f32") => single::<Sin>(decoder, ftz),
        ("cos", "approx", "f32") => single::<Cos>(decoder, ftz),
        ("tanh", "approx", "f32") if !ftz => single::<Tanh>(decoder, false),
        ("div", "approx", "f32") if ftz => quotient::<true, true>(decoder),
        ("div", "approx", "f32") => quotient::<true, false>(decoder),
        ("div", "full", "f32") if ftz => quotient::<false, true>(decoder),
        ("div", "full", "f32") => quotient::<false, false>(decoder),
        ("rcp", "approx", "f64") if ftz => double::<Gross<Rcp>>(decoder),
        ("rsqrt", "approx", "f64") if ftz => double::<Gross<Rsqrt>>(decoder),
        ("rsqrt", "approx", "f64") => double::<RsqrtF64>(decoder),
        ("ex2", "approx", "f16") if !ftz => half::<Ex2>(decoder, Type::F16, flags),
        ("ex2", "approx", "f16x2") if !ftz => half::<Ex2>(decoder, Type::F16x2, flags),
        ("ex2", "approx", "bf16") if ftz => half::<Ex2>(decoder, Type::Bf16, flags),
        ("ex2", "approx", "bf16x2") if ftz => half::<Ex2>(decoder, Type::Bf16x2, flags),
        ("tanh", "approx", "f16") if !ftz => half::<Tanh>(decoder, Type::F16, flags),
        ("tanh", "approx", "f16x2") if !ftz => half::<Tanh>(decoder, Type::F16x2, flags),
        ("tanh", "approx", "bf16") if !ftz => half::<Tanh>(decoder, Type::Bf16, flags),
        ("tanh", "approx", "bf16x2") if !ftz => half::<Tanh>(decoder, Type::Bf16x2, flags),
        _ => Err(decoder.unknown()),
    }
    .map(Some)
}

/// A function of one operand.
trait Function: 'static {
    fn single(a: f32) -> f32;
    fn double(a: f64) -> f64;
}

macro_rules! functions {
    ($($name:ident: |$a:ident| $value:expr;)*) => {$(
        struct $name;
        impl Function for $name {
            #[inline(always)]
            fn single($a: f32) -> f32 {
                $value
            }
            #[inline(always)]
            fn double($a: f64) -> f64 {
                $value
            }
        }
    )*};
}

functions! {
    Rcp: |a| 1.0 / a;
    Sqrt: |a| a.sqrt();
    Rsqrt: |a| 1.0 / a.sqrt();
    Ex2: |a| a.exp2();
    Lg2: |a| a.log2();
    Sin: |a| a.sin();
    Cos: |a| a.cos();
    Tanh: |a| a.tanh();
}

/// Of an f32.
struct Single<F, const FTZ: bool>(PhantomData<F>);

impl<F: Function, const FTZ: bool> Op for Single<F, FTZ> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        map1(cx, inst, |a: f32| {
            let result = F::single(if FTZ { a.flushed() } else { a });
            (if FTZ { result.flushed() } else { result }).result()
        })
    }
}

fn single<F: Function>(decoder: &mut Decoder<'_>, ftz: bool) -> Result<Decoded, LoadError> {
    if ftz {
        decoder.unary::<Single<F, true>>(Class::Special, Type::F32, Type::F32)
    } else {
        decoder.unary::<Single<F, false>>(Class::Special, Type::F32, Type::F32)
    }
}

/// A quotient of f32; by the reciprocal if `APPROX`, else as precise with every divisor.
struct Quotient<const APPROX: bool, const FTZ: bool>;

impl<const APPROX: bool, const FTZ: bool> Op for Quotient<APPROX, FTZ> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        // 2^126. The reciprocal of what is larger counts as zero (PTX ISA, `div`).
        let large = f32::from_bits((126 + 127) << 23);
        map2(cx, inst, |a: f32, b: f32| {
            let (a, b) = if FTZ { (a.flushed(), b.flushed()) } else { (a, b) };
            let vanishes = APPROX && b.abs() > large && b.abs() < f32::INFINITY;
            let result = if vanishes { a * 0f32.copysign(b) } else { a / b };
            (if FTZ { result.flushed() } else { result }).result()
        })
    }
}

fn quotient<const APPROX: bool, const FTZ: bool>(decoder: &mut Decoder<'_>) -> Result<Decoded, LoadError> {
    decoder.binary::<Quotient<APPROX, FTZ>>(Class::Special, Type::F32, [Type::F32; 2])
}

/// Of the upper 32 bits of an f64, to the upper 32 bits of the result.
struct Gross<F>(PhantomData<F>);

impl<F: Function> Op for Gross<F> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        const UPPER: u64 = !0xffff_ffff;
        map1(cx, inst, |a: f64| {
            // A NaN may have all its bits in the lower half.
            let upper = if a.is_nan() { a } else { f64::from_bits(a.to_bits() & UPPER) };
            let result = F::double(upper.flushed()).flushed();
            // The NaN has no lower half either.
            Raw(if result.is_nan() { f64::CANONICAL & UPPER } else { result.to_bits() & UPPER })
        })
    }
}

struct RsqrtF64;

impl Op for RsqrtF64 {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        map1(cx, inst, Rsqrt::double)
    }
}

fn double<O: Op>(decoder: &mut Decoder<'_>) -> Result<Decoded, LoadError> {
    decoder.unary::<O>(Class::F64, Type::F64, Type::F64)
}

/// Of 16-bit numbers.
struct OfHalf<F>(PhantomData<F>);

impl<F: Function> Operation for OfHalf<F> {
    const OPERANDS: usize = 1;
    #[inline(always)]
    fn run<T: Format>([a, ..]: [u32; 3], flags: Flags) -> u32 {
        let ftz = flags.has(Flags::FTZ);
        let result = T::round(F::single(T::widen(if ftz { flushed::<T>(a) } else { a })));
        if ftz { flushed::<T>(result) } else { result }
    }
}

fn half<F: Function>(decoder: &mut Decoder<'_>, ty: Type, flags: Flags) -> Result<Decoded, LoadError> {
    of_type::<OfHalf<F>, true>(decoder, ty, Class::Special, flags)
}
