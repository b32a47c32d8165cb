//! `atom` and `red`: atomic operations on global and shared memory.
//!
//! Lanes of one instruction execute one after the other, in their order; those that name one place see each other's
//! results. On global memory each is one read-modify-write of the host, so that blocks on other threads see it whole; the
//! elements of a vector are separate ones.
//!
//! Scopes make no difference: every atomic operation is one for the whole device. Wavefronts of shared memory are counted
//! as for a read; that hardware repeats an operation for lanes that name one word is not in them.

use std::marker::PhantomData;

use half::{bf16, f16};

use super::Answer;
use crate::counters::Class;
use crate::exec::access::{Access, Kind, Offsets, saturated};
use crate::exec::context::Context;
use crate::exec::decode::{Address, Decoder};
use crate::exec::instruction::{Decoded, Inst, Op, Step};
use crate::exec::lanes::{Element, LANES, each, lanes, row, write};
use crate::exec::windows::Window;
use crate::findings::Kind as Wrong;
use crate::gpu::{Fault, LoadError};
use crate::memory::{Cell, InWords};
use crate::ptx::syntax::{Space, Type};

/// Decodes `atom` and `red`.
///
/// # Errors
///
/// Forms that aren't known.
pub fn decode(decoder: &mut Decoder<'_>) -> Answer {
    let opcode = decoder.opcode();
    let answers = match opcode.first() {
        Some(&"atom") => true,
        Some(&"red") => false,
        _ => return Ok(None),
    };
    // `red.async` is another family's.
    if opcode.get(1) == Some(&"async") {
        return Ok(None);
    }
    let form = form(decoder, &opcode[1..])?;
    let swaps = form.function == "cas";
    if !answers && (swaps || form.function == "exch") {
        return Err(decoder.unknown());
    }
    let first = usize::from(answers);
    decoder.expect_operands(first + 2 + usize::from(swaps))?;
    let address = decoder.address(first)?;
    let mut list = Vec::with_capacity(3 * form.count);
    vector(decoder, first + 1, &form, &mut list, false)?;
    vector(decoder, first + 1 + usize::from(swaps), &form, &mut list, false)?;
    if answers {
        vector(decoder, 0, &form, &mut list, true)?;
    }
    choose(decoder, &form, Operands { address, list, release: form.release }).map(Some)
}

struct Form {
    space: Space,
    function: String,
    ty: Type,
    count: usize,
    release: bool,
}

/// Reads the modifiers. Compilers write those of order and scope before or behind the function.
fn form(decoder: &Decoder<'_>, modifiers: &[&str]) -> Result<Form, LoadError> {
    let mut form = Form { space: Space::Generic, function: String::new(), ty: Type::Pred, count: 1, release: false };
    let mut unflushed = false;
    for modifier in modifiers {
        match *modifier {
            "global" => form.space = Space::Global,
            "shared" | "shared::cta" => form.space = Space::Shared,
            "add" | "min" | "max" | "and" | "or" | "xor" | "exch" | "cas" | "inc" | "dec"
                if form.function.is_empty() =>
            {
                form.function.push_str(modifier);
            }
            "v2" => form.count = 2,
            "v4" => form.count = 4,
            "v8" => form.count = 8,
            "noftz" => unflushed = true,
            "release" | "acq_rel" => form.release = true,
            // An atomic operation always acquires: see `check::order`.
            "relaxed" | "acquire" | "cta" | "cluster" | "gpu" | "sys" => {}
            other => match Type::from_suffix(other) {
                Some(ty) if form.ty == Type::Pred => form.ty = ty,
                Some(_) | None => return Err(decoder.unknown()),
            },
        }
    }
    let half = matches!(form.ty, Type::F16 | Type::F16x2 | Type::Bf16 | Type::Bf16x2);
    let vector = form.count == 1
        || form.function == "add"
            && form.space != Space::Shared
            && form.ty.size() * form.count as u32 <= 16
            && (half || form.ty == Type::F32);
    if form.function.is_empty() || half != unflushed || !vector {
        return Err(decoder.unknown());
    }
    Ok(form)
}

/// Adds the slots of an operand's elements to `list`.
fn vector(
    decoder: &mut Decoder<'_>,
    operand: usize,
    form: &Form,
    list: &mut Vec<u32>,
    written: bool,
) -> Result<(), LoadError> {
    let parts = decoder.vector(operand)?;
    if parts.len() != form.count {
        return Err(decoder.error(format!("expected {} values, found {}", form.count, parts.len())));
    }
    for part in &parts {
        list.push(if written { decoder.destination_of(part, form.ty)? } else { decoder.source_of(part, form.ty)? });
    }
    Ok(())
}

struct Operands {
    address: Address,
    list: Vec<u32>,
    release: bool,
}

/// Picks the operation for a function, a type and a space.
fn choose(decoder: &Decoder<'_>, form: &Form, operands: Operands) -> Result<Decoded, LoadError> {
    let fill = |inst: &mut Inst| {
        inst.a = operands.address.slot;
        inst.b = u32::from(operands.address.wide);
        inst.imm = operands.address.offset;
        inst.c = u32::from(operands.release);
        inst.list = operands.list.into();
    };
    macro_rules! of {
        ($function:ty, $element:ty) => {
            of!($function, $element, 1)
        };
        ($function:ty, $element:ty, $count:literal) => {
            Ok(match form.space {
                Space::Global => decoder.make::<Atomic<InGlobal, $function, $element, $count>>(Class::Atomic, fill),
                Space::Shared => decoder.make::<Atomic<InShared, $function, $element, $count>>(Class::Atomic, fill),
                Space::Generic => decoder.make::<Atomic<InGeneric, $function, $element, $count>>(Class::Atomic, fill),
                Space::Local | Space::Const | Space::Param => return Err(decoder.unknown()),
            })
        };
    }
    match (form.function.as_str(), form.ty, form.count) {
        ("add", Type::U32 | Type::S32, 1) => of!(Add, u32),
        ("add", Type::U64 | Type::S64, 1) => of!(Add, u64),
        ("add", Type::F32, 1) => of!(Add, f32),
        ("add", Type::F32, 2) => of!(Add, f32, 2),
        ("add", Type::F32, 4) => of!(Add, f32, 4),
        ("add", Type::F64, 1) => of!(Add, f64),
        ("add", Type::F16, 1) => of!(Add, f16),
        ("add", Type::F16, 2) => of!(Add, f16, 2),
        ("add", Type::F16, 4) => of!(Add, f16, 4),
        ("add", Type::F16, 8) => of!(Add, f16, 8),
        ("add", Type::Bf16, 1) => of!(Add, bf16),
        ("add", Type::Bf16, 2) => of!(Add, bf16, 2),
        ("add", Type::Bf16, 4) => of!(Add, bf16, 4),
        ("add", Type::Bf16, 8) => of!(Add, bf16, 8),
        ("add", Type::F16x2, 1) => of!(AddTwo<f16>, u32),
        ("add", Type::F16x2, 2) => of!(AddTwo<f16>, u32, 2),
        ("add", Type::F16x2, 4) => of!(AddTwo<f16>, u32, 4),
        ("add", Type::Bf16x2, 1) => of!(AddTwo<bf16>, u32),
        ("add", Type::Bf16x2, 2) => of!(AddTwo<bf16>, u32, 2),
        ("add", Type::Bf16x2, 4) => of!(AddTwo<bf16>, u32, 4),
        ("min", Type::U32, 1) => of!(Min, u32),
        ("min", Type::S32, 1) => of!(Min, i32),
        ("min", Type::U64, 1) => of!(Min, u64),
        ("min", Type::S64, 1) => of!(Min, i64),
        ("max", Type::U32, 1) => of!(Max, u32),
        ("max", Type::S32, 1) => of!(Max, i32),
        ("max", Type::U64, 1) => of!(Max, u64),
        ("max", Type::S64, 1) => of!(Max, i64),
        ("and", Type::B32, 1) => of!(And, u32),
        ("and", Type::B64, 1) => of!(And, u64),
        ("or", Type::B32, 1) => of!(Or, u32),
        ("or", Type::B64, 1) => of!(Or, u64),
        ("xor", Type::B32, 1) => of!(Xor, u32),
        ("xor", Type::B64, 1) => of!(Xor, u64),
        ("exch", Type::B32, 1) => of!(Exchange, u32),
        ("exch", Type::B64, 1) => of!(Exchange, u64),
        ("cas", Type::B16, 1) => of!(Swap, u16),
        ("cas", Type::B32, 1) => of!(Swap, u32),
        ("cas", Type::B64, 1) => of!(Swap, u64),
        ("inc", Type::U32, 1) => of!(Increment, u32),
        ("dec", Type::U32, 1) => of!(Decrement, u32),
        _ => Err(decoder.unknown()),
    }
}

/// What an atomic operation makes of the value that it finds.
trait Function<T>: 'static {
    /// The new value from the one that was there and the operands `b` and `c` (which is `b` where there is one only).
    /// `global` says in which memory it is.
    fn apply(old: T, b: T, c: T, global: bool) -> T;
}

struct Add;
struct AddTwo<T>(PhantomData<T>);
struct Min;
struct Max;
struct And;
struct Or;
struct Xor;
struct Exchange;
struct Swap;
struct Increment;
struct Decrement;

macro_rules! functions {
    ($($function:ty, $($element:ty)+: $f:expr;)*) => {$($(
        impl Function<$element> for $function {
            #[inline(always)]
            fn apply(old: $element, b: $element, c: $element, global: bool) -> $element {
                let f: fn($element, $element, $element, bool) -> $element = $f;
                f(old, b, c, global)
            }
        }
    )+)*};
}

functions! {
    Add, u32 u64: |old, b, _, _| old.wrapping_add(b);
    Add, f64: |old, b, _, _| old + b;
    // Rounded twice, which for a sum of two values of at most 11 bits in 24 is as once.
    Add, f16: |old, b, _, _| f16_of(old.to_f32() + b.to_f32());
    Add, bf16: |old, b, _, _| bf16_of(old.to_f32() + b.to_f32());
    // The sum on global memory flushes subnormal numbers to zero, that on shared memory doesn't (PTX ISA, `atom`).
    Add, f32: |old, b, _, global| {
        let flushed = |value: f32| if global && value.is_subnormal() { 0f32.copysign(value) } else { value };
        let sum = flushed(flushed(old) + flushed(b));
        if sum.is_nan() { f32::from_bits(0x7fff_ffff) } else { sum }
    };
    AddTwo<f16>, u32: |old, b, _, global| {
        halves(old, b, |old, b| Add::apply(f16::from_bits(old), f16::from_bits(b), f16::ZERO, global).to_bits())
    };
    AddTwo<bf16>, u32: |old, b, _, global| {
        halves(old, b, |old, b| Add::apply(bf16::from_bits(old), bf16::from_bits(b), bf16::ZERO, global).to_bits())
    };
    Min, u32 i32 u64 i64: |old, b, _, _| old.min(b);
    Max, u32 i32 u64 i64: |old, b, _, _| old.max(b);
    And, u32 u64: |old, b, _, _| old & b;
    Or, u32 u64: |old, b, _, _| old | b;
    Xor, u32 u64: |old, b, _, _| old ^ b;
    Exchange, u32 u64: |_, b, _, _| b;
    Swap, u16 u32 u64: |old, b, c, _| if old == b { c } else { old };
    Increment, u32: |old, b, _, _| if old >= b { 0 } else { old + 1 };
    Decrement, u32: |old, b, _, _| if old == 0 || old > b { b } else { old - 1 };
}

/// `f` on the low and on the high halves of two words.
#[inline(always)]
fn halves(a: u32, b: u32, f: impl Fn(u16, u16) -> u16) -> u32 {
    u32::from(f(a as u16, b as u16)) | u32::from(f((a >> 16) as u16, (b >> 16) as u16)) << 16
}

/// Rounds to the nearest; a result that is no number is always the same one.
#[inline(always)]
fn f16_of(value: f32) -> f16 {
    if value.is_nan() { f16::from_bits(0x7fff) } else { f16::from_f32(value) }
}

/// As [`f16_of`].
#[inline(always)]
fn bf16_of(value: f32) -> bf16 {
    if value.is_nan() { bf16::from_bits(0x7fff) } else { bf16::from_f32(value) }
}

/// What the lanes of an instruction give and get: `N` elements each.
struct Values<B, const N: usize> {
    b: [[B; LANES]; N],
    c: [[B; LANES]; N],
    old: [[B; LANES]; N],
}

/// A state space that has atomic operations.
trait Memory: 'static {
    /// Executes for the lanes of `mask`. What was there comes into `values.old`.
    fn update<F: Function<T>, T: Element<Bits: InWords>, const N: usize>(
        cx: &mut Context<'_>,
        at: &Offsets,
        mask: u32,
        release: bool,
        values: &mut Values<T::Bits, N>,
    ) -> Result<(), Step>;
}

struct InGlobal;
struct InShared;
struct InGeneric;

fn access<T: Element<Bits: InWords>, const N: usize>() -> Access {
    Access { kind: Kind::Atomic, size: N as u32 * T::Bits::SIZE as u32, strong: true }
}

#[inline(always)]
fn apply<F: Function<T>, T: Element>(old: T::Bits, b: T::Bits, c: T::Bits, global: bool) -> T::Bits {
    F::apply(T::from_bits(old), T::from_bits(b), T::from_bits(c), global).into_bits()
}

impl Memory for InGlobal {
    #[inline(always)]
    fn update<F: Function<T>, T: Element<Bits: InWords>, const N: usize>(
        cx: &mut Context<'_>,
        at: &Offsets,
        mask: u32,
        release: bool,
        values: &mut Values<T::Bits, N>,
    ) -> Result<(), Step> {
        cx.release(at, release);
        cx.global(access::<T, N>(), at, mask, |cx, allocation, offsets, part| {
            let cells = allocation.bytes.cells::<T::Bits>();
            let mut changed = false;
            for lane in lanes(part) {
                let first = (offsets[lane] / T::Bits::SIZE) as usize;
                for element in 0..N {
                    let cell = &cells[first + element];
                    let (b, c) = (values.b[element][lane], values.c[element][lane]);
                    let mut old = T::Bits::load(cell);
                    loop {
                        let new = apply::<F, T>(old, b, c, true);
                        match T::Bits::replace(cell, old, new) {
                            Ok(()) => {
                                changed |= new != old;
                                break;
                            }
                            Err(now) => old = now,
                        }
                    }
                    values.old[element][lane] = old;
                }
            }
            cx.worker.progress += u64::from(changed);
            cx.worker.atomics[0] += u64::from(part.count_ones());
        })?;
        cx.acquire(at);
        Ok(())
    }
}

impl Memory for InShared {
    #[inline(always)]
    fn update<F: Function<T>, T: Element<Bits: InWords>, const N: usize>(
        cx: &mut Context<'_>,
        at: &Offsets,
        mask: u32,
        _release: bool,
        values: &mut Values<T::Bits, N>,
    ) -> Result<(), Step> {
        let offsets = cx.shared(access::<T, N>(), &saturated(at), mask, |_, _| true)?;
        let mut changed = false;
        for lane in lanes(mask) {
            for element in 0..N {
                let offset = offsets[lane] + element as u32 * T::Bits::SIZE as u32;
                let old = cx.block.shared.load::<T::Bits>(offset);
                let new = apply::<F, T>(old, values.b[element][lane], values.c[element][lane], false);
                cx.block.shared.store(offset, new);
                changed |= new != old;
                values.old[element][lane] = old;
            }
        }
        cx.worker.progress += u64::from(changed);
        cx.worker.atomics[1] += u64::from(mask.count_ones());
        Ok(())
    }
}

impl Memory for InGeneric {
    #[inline(always)]
    fn update<F: Function<T>, T: Element<Bits: InWords>, const N: usize>(
        cx: &mut Context<'_>,
        at: &Offsets,
        mask: u32,
        release: bool,
        values: &mut Values<T::Bits, N>,
    ) -> Result<(), Step> {
        cx.by_window(at, mask, |cx, window, at, part| match window {
            Window::Global => InGlobal::update::<F, T, N>(cx, at, part, release, values),
            Window::Shared => InShared::update::<F, T, N>(cx, at, part, release, values),
            Window::Local | Window::Param => {
                let lane = part.trailing_zeros() as usize;
                cx.find(Wrong::OutOfBounds, lane, Some(at[lane]), || {
                    "atomic operation on local or parameter memory, which has none".to_owned()
                });
                Err(cx.fault(Fault::IllegalAddress))
            }
        })
    }
}

/// `atom` and `red`: address `a` (64 bits if `b`) plus `imm`; `c` says whether it releases. `list` has `N` slots each for
/// the operands `b` and `c`, and for `atom` as many for the answer.
struct Atomic<S, F, T, const N: usize>(PhantomData<(S, F, T)>);

impl<S: Memory, F: Function<T>, T: Element<Bits: InWords>, const N: usize> Op for Atomic<S, F, T, N> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        let at = cx.addresses(inst.a, inst.b != 0, inst.imm);
        let registers = &cx.warp.registers;
        let mut values = Values {
            b: each(|element| *row::<T::Bits>(registers, inst.list[element])),
            c: each(|element| *row::<T::Bits>(registers, inst.list[N + element])),
            old: [[T::Bits::default(); LANES]; N],
        };
        let mask = cx.exec;
        cx.worker.asked += 1;
        if let Err(step) = S::update::<F, T, N>(cx, &at, mask, inst.c != 0, &mut values) {
            return step;
        }
        for (slot, old) in inst.list[2 * N..].iter().zip(&values.old) {
            write::<T::Bits>(&mut cx.warp.registers, *slot, mask, old);
        }
        Step::Next
    }
}
