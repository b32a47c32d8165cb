//! Arithmetic on f32 and f64: `add sub mul fma mad div rcp sqrt`, exactly rounded in every direction, and `min max abs
//! neg copysign testp`.
//!
//! f32 results that are NaN are the one that GPUs give, 0x7fffffff; f64 keeps what the host makes of operands that are.

use std::marker::PhantomData;

use super::Answer;
use super::exact::{self, Format, Real, Rounding};
use super::modifiers::{Flags, Modifiers};
use crate::counters::Class;
use crate::exec::context::Context;
use crate::exec::decode::Decoder;
use crate::exec::instruction::{Decoded, Inst, Op, Step};
use crate::exec::lanes::{Element, Word, compare, map1, map2, map3};
use crate::gpu::LoadError;
use crate::ptx::syntax::Type;

/// Decodes arithmetic on f32 and f64.
///
/// # Errors
///
/// Forms that aren't known.
pub fn decode(decoder: &mut Decoder<'_>) -> Answer {
    let instruction = decoder.instruction;
    let opcode: Vec<&str> = instruction.opcode.iter().map(String::as_str).collect();
    let [name, parts @ .., ty] = &opcode[..] else { return Ok(None) };
    let double = match *ty {
        "f32" => false,
        "f64" => true,
        _ => return Ok(None),
    };
    if *name == "testp" {
        return testp(decoder, parts, double).map(Some);
    }
    let Some(modifiers) = Modifiers::read(parts) else { return Ok(None) };
    if modifiers.flags.has(Flags::APPROX) || modifiers.flags.has(Flags::FULL) {
        return Ok(None);
    }
    let class = if double { Class::F64 } else { Class::F32 };
    let slow = if double { Class::F64 } else { Class::Special };
    match *name {
        "add" => arithmetic::<Add>(decoder, modifiers, double, false, class),
        "sub" => arithmetic::<Sub>(decoder, modifiers, double, false, class),
        "mul" => arithmetic::<Mul>(decoder, modifiers, double, false, class),
        "fma" | "mad" => arithmetic::<Fma>(decoder, modifiers, double, true, class),
        "div" => arithmetic::<Div>(decoder, modifiers, double, true, slow),
        "rcp" => arithmetic::<Rcp>(decoder, modifiers, double, true, slow),
        "sqrt" => arithmetic::<Sqrt>(decoder, modifiers, double, true, slow),
        "min" => extreme::<false>(decoder, modifiers, double),
        "max" => extreme::<true>(decoder, modifiers, double),
        "abs" => sign::<Abs>(decoder, modifiers, double),
        "neg" => sign::<Neg>(decoder, modifiers, double),
        "copysign" if modifiers == Modifiers::default() => {
            if double {
                decoder.binary::<Copysign<f64>>(Class::F64, Type::F64, [Type::F64; 2])
            } else {
                decoder.binary::<Copysign<f32>>(Class::F32, Type::F32, [Type::F32; 2])
            }
        }
        "copysign" => Err(decoder.unknown()),
        _ => return Ok(None),
    }
    .map(Some)
}

/// A floating-point type of the host.
pub trait Float: Element + PartialOrd {
    /// The format.
    const FORMAT: Format;
    /// The NaN of results.
    const CANONICAL: Self::Bits;
    /// Exactly as `f64`.
    fn wide(self) -> f64;
    /// From the bits of [`FORMAT`](Self::FORMAT).
    fn of_bits(bits: u64) -> Self;
    /// Zero of the same sign, if it is subnormal.
    fn flushed(self) -> Self;
    /// Between 0 and 1; 0 for NaN.
    fn saturated(self) -> Self;
    /// Its bits, or those of the NaN of results. As a float a compiler may give any NaN.
    fn result(self) -> Raw<Self::Bits>;
    /// Whether the sign is set.
    fn signed(self) -> bool;
    /// The magnitude.
    fn magnitude(self) -> Self;
    /// With the sign changed.
    fn negated(self) -> Self;
    /// Whether it is NaN.
    fn nan(self) -> bool;
}

macro_rules! floats {
    ($($ty:ident: $bits:ty, $format:expr, $nan:expr, $keeps:literal;)*) => {$(
        impl Float for $ty {
            const FORMAT: Format = $format;
            const CANONICAL: $bits = $nan;
            #[inline(always)]
            fn wide(self) -> f64 {
                self.into()
            }
            #[inline(always)]
            fn of_bits(bits: u64) -> Self {
                Self::from_bits(bits as _)
            }
            #[inline(always)]
            fn flushed(self) -> Self {
                if $ty::abs(self) < Self::MIN_POSITIVE { Self::copysign(0.0, self) } else { self }
            }
            #[inline(always)]
            fn saturated(self) -> Self {
                // A comparison with NaN is false.
                let positive = if self > 0.0 { self } else { 0.0 };
                if positive < 1.0 { positive } else { 1.0 }
            }
            #[inline(always)]
            fn result(self) -> Raw<$bits> {
                Raw(if $keeps || !self.is_nan() { self.to_bits() } else { $nan })
            }
            #[inline(always)]
            fn signed(self) -> bool {
                self.is_sign_negative()
            }
            #[inline(always)]
            fn magnitude(self) -> Self {
                self.abs()
            }
            #[inline(always)]
            fn negated(self) -> Self {
                -self
            }
            #[inline(always)]
            fn nan(self) -> bool {
                self.is_nan()
            }
        }
    )*};
}

floats! {
    f32: u32, Format::F32, 0x7fff_ffff, false;
    f64: u64, Format::F64, 0x7fff_ffff_ffff_ffff, true;
}

/// Bits of a result.
#[derive(Debug, Clone, Copy)]
pub struct Raw<B>(pub B);

impl<B: Word> Element for Raw<B> {
    type Bits = B;
    #[inline(always)]
    fn from_bits(bits: B) -> Self {
        Self(bits)
    }
    #[inline(always)]
    fn into_bits(self) -> B {
        self.0
    }
}

/// A function of up to three operands that is rounded once.
trait Function: 'static {
    /// How many operands it has.
    const OPERANDS: usize;
    /// Rounded to the nearest f32.
    fn single(operands: [f32; 3]) -> f32;
    /// Rounded to the nearest f64.
    fn double(operands: [f64; 3]) -> f64;
    /// Not rounded.
    fn exact(operands: [f64; 3], rounding: Rounding) -> Real;
}

macro_rules! functions {
    ($($name:ident($operands:literal): |$a:pat_param, $b:pat_param, $c:pat_param| $nearest:expr, $rounding:pat_param, $exact:expr;)*) => {$(
        struct $name;
        impl Function for $name {
            const OPERANDS: usize = $operands;
            #[inline(always)]
            fn single([$a, $b, $c]: [f32; 3]) -> f32 {
                $nearest
            }
            #[inline(always)]
            fn double([$a, $b, $c]: [f64; 3]) -> f64 {
                $nearest
            }
            #[inline(always)]
            fn exact([$a, $b, $c]: [f64; 3], $rounding: Rounding) -> Real {
                $exact
            }
        }
    )*};
}

functions! {
    Add(2): |a, b, _| a + b, rounding, exact::sum(a, b, rounding);
    Sub(2): |a, b, _| a - b, rounding, exact::sum(a, -b, rounding);
    Mul(2): |a, b, _| a * b, _, exact::product(a, b);
    Fma(3): |a, b, c| a.mul_add(b, c), rounding, exact::product_sum(a, b, c, rounding);
    Div(2): |a, b, _| a / b, _, exact::quotient(a, b);
    Rcp(1): |a, _, _| 1.0 / a, _, exact::quotient(1.0, a);
    Sqrt(1): |a, _, _| a.sqrt(), _, exact::root(a);
}

/// A host type for which a [`Function`] can be rounded to the nearest.
trait Nearest: Float {
    fn nearest<F: Function>(operands: [Self; 3]) -> Self;
}

impl Nearest for f32 {
    #[inline(always)]
    fn nearest<F: Function>(operands: [Self; 3]) -> Self {
        F::single(operands)
    }
}

impl Nearest for f64 {
    #[inline(always)]
    fn nearest<F: Function>(operands: [Self; 3]) -> Self {
        F::double(operands)
    }
}

/// `d = f(a, b, c)` for a function of so many operands; those that it hasn't are its first.
#[inline(always)]
fn map<F: Function, T: Float>(cx: &mut Context<'_>, inst: &Inst, f: impl Fn([T; 3]) -> Raw<T::Bits>) -> Step {
    match F::OPERANDS {
        1 => map1(cx, inst, |a: T| f([a; 3])),
        2 => map2(cx, inst, |a: T, b: T| f([a, b, a])),
        _ => map3(cx, inst, |a: T, b: T, c: T| f([a, b, c])),
    }
}

#[inline(always)]
fn flush<T: Float, const FTZ: bool>(value: T) -> T {
    if FTZ { value.flushed() } else { value }
}

/// Rounded to the nearest.
struct Rounded<F, T, const FTZ: bool, const SAT: bool>(PhantomData<(F, T)>);

impl<F: Function, T: Nearest, const FTZ: bool, const SAT: bool> Op for Rounded<F, T, FTZ, SAT> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        map::<F, T>(cx, inst, |operands| {
            let result = flush::<T, FTZ>(T::nearest::<F>(operands.map(flush::<T, FTZ>)));
            if SAT { Raw(result.saturated().into_bits()) } else { result.result() }
        })
    }
}

/// Rounded in the direction that the low bits of `imm` name; [`Flags`] are above them.
struct Directed<F, T>(PhantomData<(F, T)>);

const FLAGS_AT: u32 = 8;

impl<F: Function, T: Nearest> Op for Directed<F, T> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let rounding = Rounding::from_number(inst.imm & 0xff);
        let flags = Flags::from_bits((inst.imm >> FLAGS_AT) as u16);
        map::<F, T>(cx, inst, |operands| directed::<F, T>(operands, rounding, flags))
    }
}

#[inline(never)]
fn directed<F: Function, T: Nearest>(operands: [T; 3], rounding: Rounding, flags: Flags) -> Raw<T::Bits> {
    let flush = |value: T| if flags.has(Flags::FTZ) { value.flushed() } else { value };
    let operands = operands.map(flush);
    let nearest = T::nearest::<F>(operands);
    // A NaN of an operand lives on in an f64.
    let result = if nearest.nan() {
        nearest
    } else {
        T::of_bits(F::exact(operands.map(T::wide), rounding).round(T::FORMAT, rounding, false, 0))
    };
    let result = flush(result);
    if flags.has(Flags::SAT) { Raw(result.saturated().into_bits()) } else { result.result() }
}

fn arithmetic<F: Function>(
    decoder: &mut Decoder<'_>,
    modifiers: Modifiers,
    double: bool,
    needs_rounding: bool,
    class: Class,
) -> Result<Decoded, LoadError> {
    let Modifiers { rounding, flags } = modifiers;
    let saturates = matches!(class, Class::F32);
    let known = if double {
        Flags::NONE
    } else if saturates {
        Flags::FTZ.and(Flags::SAT)
    } else {
        Flags::FTZ
    };
    if !modifiers.only(known) || rounding == Some(Rounding::Away) || needs_rounding && rounding.is_none() {
        return Err(decoder.unknown());
    }
    let rounding = rounding.unwrap_or(Rounding::Nearest);
    if rounding != Rounding::Nearest {
        let mut decoded = if double {
            operands::<Directed<F, f64>>(decoder, F::OPERANDS, class, Type::F64)
        } else {
            operands::<Directed<F, f32>>(decoder, F::OPERANDS, class, Type::F32)
        }?;
        decoded.inst.imm = rounding.number() | i64::from(flags.bits()) << FLAGS_AT;
        return Ok(decoded);
    }
    if double {
        return operands::<Rounded<F, f64, false, false>>(decoder, F::OPERANDS, class, Type::F64);
    }
    match (flags.has(Flags::FTZ), flags.has(Flags::SAT)) {
        (false, false) => operands::<Rounded<F, f32, false, false>>(decoder, F::OPERANDS, class, Type::F32),
        (false, true) => operands::<Rounded<F, f32, false, true>>(decoder, F::OPERANDS, class, Type::F32),
        (true, false) => operands::<Rounded<F, f32, true, false>>(decoder, F::OPERANDS, class, Type::F32),
        (true, true) => operands::<Rounded<F, f32, true, true>>(decoder, F::OPERANDS, class, Type::F32),
    }
}

/// Decodes so many operands of one type.
fn operands<O: Op>(decoder: &mut Decoder<'_>, count: usize, class: Class, ty: Type) -> Result<Decoded, LoadError> {
    match count {
        1 => decoder.unary::<O>(class, ty, ty),
        2 => decoder.binary::<O>(class, ty, [ty; 2]),
        _ => decoder.ternary::<O>(class, ty, [ty; 3]),
    }
}

/// The smaller or the larger; -0 is smaller than +0. Of a NaN and a number it is the number, with `NAN` NaN. `None` for
/// NaN.
#[inline(always)]
pub fn extreme_of<T: Float, const MAX: bool, const NAN: bool>(a: T, b: T) -> Option<T> {
    let first = if MAX { a > b } else { a < b };
    let equal = a == b && (a.signed() != MAX);
    let nan = if NAN { a.nan() || b.nan() } else { a.nan() && b.nan() };
    let number = if first || equal || b.nan() { a } else { b };
    if nan { None } else { Some(number) }
}

/// [`extreme_of`] of the magnitudes, with the product of the signs.
#[inline(always)]
pub fn extreme_of_magnitudes<T: Float, const MAX: bool, const NAN: bool>(a: T, b: T) -> Option<T> {
    let magnitude = extreme_of::<T, MAX, NAN>(a.magnitude(), b.magnitude());
    magnitude.map(|magnitude| if a.signed() != b.signed() { magnitude.negated() } else { magnitude })
}

struct Extreme<T, const MAX: bool, const FTZ: bool, const NAN: bool, const XORSIGN: bool>(PhantomData<T>);

impl<T: Float, const MAX: bool, const FTZ: bool, const NAN: bool, const XORSIGN: bool> Op
    for Extreme<T, MAX, FTZ, NAN, XORSIGN>
{
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        map2(cx, inst, |a: T, b: T| {
            let (a, b) = (flush::<T, FTZ>(a), flush::<T, FTZ>(b));
            let extreme =
                if XORSIGN { extreme_of_magnitudes::<T, MAX, NAN>(a, b) } else { extreme_of::<T, MAX, NAN>(a, b) };
            Raw(extreme.map_or(T::CANONICAL, T::into_bits))
        })
    }
}

fn extreme<const MAX: bool>(
    decoder: &mut Decoder<'_>,
    modifiers: Modifiers,
    double: bool,
) -> Result<Decoded, LoadError> {
    let flags = modifiers.flags;
    let known = if double { Flags::NONE } else { Flags::FTZ.and(Flags::NAN).and(Flags::XORSIGN_ABS) };
    if modifiers.rounding.is_some() || !modifiers.only(known) {
        return Err(decoder.unknown());
    }
    if double {
        return decoder.binary::<Extreme<f64, MAX, false, false, false>>(Class::F64, Type::F64, [Type::F64; 2]);
    }
    macro_rules! of {
        ($ftz:literal, $nan:literal, $xorsign:literal) => {
            decoder.binary::<Extreme<f32, MAX, $ftz, $nan, $xorsign>>(Class::F32, Type::F32, [Type::F32; 2])
        };
    }
    match (flags.has(Flags::FTZ), flags.has(Flags::NAN), flags.has(Flags::XORSIGN_ABS)) {
        (false, false, false) => of!(false, false, false),
        (false, false, true) => of!(false, false, true),
        (false, true, false) => of!(false, true, false),
        (false, true, true) => of!(false, true, true),
        (true, false, false) => of!(true, false, false),
        (true, false, true) => of!(true, false, true),
        (true, true, false) => of!(true, true, false),
        (true, true, true) => of!(true, true, true),
    }
}

/// A change of the sign alone.
trait Sign: 'static {
    fn of<T: Float>(value: T) -> T;
}

struct Abs;
struct Neg;

impl Sign for Abs {
    #[inline(always)]
    fn of<T: Float>(value: T) -> T {
        value.magnitude()
    }
}

impl Sign for Neg {
    #[inline(always)]
    fn of<T: Float>(value: T) -> T {
        value.negated()
    }
}

struct Signed<S, T, const FTZ: bool>(PhantomData<(S, T)>);

impl<S: Sign, T: Float, const FTZ: bool> Op for Signed<S, T, FTZ> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        map1(cx, inst, |a: T| S::of(flush::<T, FTZ>(a)))
    }
}

fn sign<S: Sign>(decoder: &mut Decoder<'_>, modifiers: Modifiers, double: bool) -> Result<Decoded, LoadError> {
    let known = if double { Flags::NONE } else { Flags::FTZ };
    if modifiers.rounding.is_some() || !modifiers.only(known) {
        return Err(decoder.unknown());
    }
    if double {
        decoder.unary::<Signed<S, f64, false>>(Class::F64, Type::F64, Type::F64)
    } else if modifiers.flags.has(Flags::FTZ) {
        decoder.unary::<Signed<S, f32, true>>(Class::F32, Type::F32, Type::F32)
    } else {
        decoder.unary::<Signed<S, f32, false>>(Class::F32, Type::F32, Type::F32)
    }
}

/// The second operand with the sign of the first.
struct Copysign<T>(PhantomData<T>);

impl<T: Float> Op for Copysign<T> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        map2(cx, inst, |a: T, b: T| {
            let magnitude = b.magnitude();
            if a.signed() { magnitude.negated() } else { magnitude }
        })
    }
}

/// A property of numbers.
struct Property<T>(PhantomData<T>);

const PROPERTIES: [&str; 6] = ["finite", "infinite", "number", "notanumber", "normal", "subnormal"];

impl<T: Float> Op for Property<T> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        // Exact, and no f32 is subnormal as f64: what is normal is a matter of magnitude.
        let smallest = T::of_bits(1 << (T::FORMAT.digits - 1)).wide();
        let mask = compare(cx, inst, |value: T, _: T| {
            let magnitude = value.wide().abs();
            match inst.imm {
                0 => magnitude < f64::INFINITY,
                1 => magnitude == f64::INFINITY,
                2 => !magnitude.is_nan(),
                3 => magnitude.is_nan(),
                4 => magnitude >= smallest && magnitude < f64::INFINITY,
                _ => magnitude > 0.0 && magnitude < smallest,
            }
        });
        cx.warp.registers.set_predicate(inst.d, cx.exec, mask);
        Step::Next
    }
}

fn testp(decoder: &mut Decoder<'_>, parts: &[&str], double: bool) -> Result<Decoded, LoadError> {
    let property = match parts {
        [property] => PROPERTIES.iter().position(|known| known == property),
        _ => None,
    };
    let Some(property) = property else { return Err(decoder.unknown()) };
    decoder.expect_operands(2)?;
    let (class, ty) = if double { (Class::F64, Type::F64) } else { (Class::F32, Type::F32) };
    let (d, a) = (decoder.destination(0, Type::Pred)?, decoder.source(1, ty)?);
    let fill = |inst: &mut Inst| (inst.d, inst.a, inst.b, inst.imm) = (d, a, a, property as i64);
    Ok(if double { decoder.make::<Property<f64>>(class, fill) } else { decoder.make::<Property<f32>>(class, fill) })
}
