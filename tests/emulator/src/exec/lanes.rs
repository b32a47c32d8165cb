//! Operations on 32 lanes: the types of lanes, and maps from rows to rows that compilers turn into vector code.

use half::{bf16, f16};

use super::context::Context;
use super::instruction::{Inst, Step};
use super::registers::{File, Registers};

/// Lanes of a warp.
pub const LANES: usize = 32;

/// The mask of all lanes.
pub const ALL: u32 = u32::MAX;

/// Whether lane `lane` is in `mask`.
#[inline(always)]
#[must_use]
pub fn is_in(mask: u32, lane: usize) -> bool {
    mask >> lane & 1 != 0
}

/// The lanes of a mask, lowest first.
pub fn lanes(mask: u32) -> impl Iterator<Item = usize> {
    let mut left = mask;
    std::iter::from_fn(move || {
        if left == 0 {
            return None;
        }
        let lane = left.trailing_zeros() as usize;
        left &= left - 1;
        Some(lane)
    })
}

/// A width of registers.
pub trait Word: Copy + Default + 'static {
    /// The registers of this width.
    fn file(registers: &Registers) -> &File<Self>;
    /// The registers of this width, to write.
    fn file_mut(registers: &mut Registers) -> &mut File<Self>;
}

impl Word for u16 {
    #[inline(always)]
    fn file(registers: &Registers) -> &File<Self> {
        &registers.b16
    }
    #[inline(always)]
    fn file_mut(registers: &mut Registers) -> &mut File<Self> {
        &mut registers.b16
    }
}

impl Word for u32 {
    #[inline(always)]
    fn file(registers: &Registers) -> &File<Self> {
        &registers.b32
    }
    #[inline(always)]
    fn file_mut(registers: &mut Registers) -> &mut File<Self> {
        &mut registers.b32
    }
}

impl Word for u64 {
    #[inline(always)]
    fn file(registers: &Registers) -> &File<Self> {
        &registers.b64
    }
    #[inline(always)]
    fn file_mut(registers: &mut Registers) -> &mut File<Self> {
        &mut registers.b64
    }
}

/// A type that a register of its width can hold.
pub trait Element: Copy + 'static {
    /// The width.
    type Bits: Word;
    /// From a register's bits.
    fn from_bits(bits: Self::Bits) -> Self;
    /// To a register's bits.
    fn into_bits(self) -> Self::Bits;
}

macro_rules! elements {
    ($($ty:ty: $bits:ty, $from:expr, $into:expr;)*) => {$(
        impl Element for $ty {
            type Bits = $bits;
            #[inline(always)]
            fn from_bits(bits: $bits) -> Self {
                $from(bits)
            }
            #[inline(always)]
            fn into_bits(self) -> $bits {
                $into(self)
            }
        }
    )*};
}

elements! {
    u16: u16, |bits| bits, |value| value;
    i16: u16, |bits: u16| bits.cast_signed(), |value: Self| value.cast_unsigned();
    f16: u16, Self::from_bits, |value: Self| value.to_bits();
    bf16: u16, Self::from_bits, |value: Self| value.to_bits();
    u32: u32, |bits| bits, |value| value;
    i32: u32, |bits: u32| bits.cast_signed(), |value: Self| value.cast_unsigned();
    f32: u32, Self::from_bits, |value: Self| value.to_bits();
    u64: u64, |bits| bits, |value| value;
    i64: u64, |bits: u64| bits.cast_signed(), |value: Self| value.cast_unsigned();
    f64: u64, Self::from_bits, |value: Self| value.to_bits();
}

/// An array of what `value` gives for each index.
///
/// As `std::array::from_fn`, but inlined for certain, and so compiled for the vector instructions of its caller: an
/// operation that std's function isn't inlined into loses them, and calls a library for each fused multiply-add.
#[inline(always)]
pub fn each<T: Copy + Default, const N: usize>(mut value: impl FnMut(usize) -> T) -> [T; N] {
    let mut values = [T::default(); N];
    for (index, slot) in values.iter_mut().enumerate() {
        *slot = value(index);
    }
    values
}

/// The row of a slot.
#[inline(always)]
#[must_use]
pub fn row<T: Word>(registers: &Registers, slot: u32) -> &[T; LANES] {
    T::file(registers).row(slot)
}

/// Writes the lanes of `mask`.
#[inline(always)]
pub fn write<T: Word>(registers: &mut Registers, slot: u32, mask: u32, values: &[T; LANES]) {
    let row = T::file_mut(registers).row_mut(slot);
    if mask == ALL {
        *row = *values;
    } else {
        for lane in 0..LANES {
            row[lane] = if is_in(mask, lane) { values[lane] } else { row[lane] };
        }
    }
}

/// `d = f(a)` in every lane.
#[inline(always)]
pub fn map1<A: Element, D: Element>(cx: &mut Context<'_>, inst: &Inst, f: impl Fn(A) -> D) -> Step {
    let a = row::<A::Bits>(&cx.warp.registers, inst.a);
    let values = each(|lane| f(A::from_bits(a[lane])).into_bits());
    write::<D::Bits>(&mut cx.warp.registers, inst.d, cx.exec, &values);
    Step::Next
}

/// `d = f(a, b)` in every lane.
#[inline(always)]
pub fn map2<A: Element, B: Element, D: Element>(cx: &mut Context<'_>, inst: &Inst, f: impl Fn(A, B) -> D) -> Step {
    let a = row::<A::Bits>(&cx.warp.registers, inst.a);
    let b = row::<B::Bits>(&cx.warp.registers, inst.b);
    let values = each(|lane| f(A::from_bits(a[lane]), B::from_bits(b[lane])).into_bits());
    write::<D::Bits>(&mut cx.warp.registers, inst.d, cx.exec, &values);
    Step::Next
}

/// `d = f(a, b, c)` in every lane.
#[inline(always)]
pub fn map3<A: Element, B: Element, C: Element, D: Element>(
    cx: &mut Context<'_>,
    inst: &Inst,
    f: impl Fn(A, B, C) -> D,
) -> Step {
    let a = row::<A::Bits>(&cx.warp.registers, inst.a);
    let b = row::<B::Bits>(&cx.warp.registers, inst.b);
    let c = row::<C::Bits>(&cx.warp.registers, inst.c);
    let values = each(|lane| f(A::from_bits(a[lane]), B::from_bits(b[lane]), C::from_bits(c[lane])).into_bits());
    write::<D::Bits>(&mut cx.warp.registers, inst.d, cx.exec, &values);
    Step::Next
}

/// The lanes for which `f(a, b)` holds, as a mask over all 32 (whatever is active).
#[inline(always)]
pub fn compare<T: Element>(cx: &Context<'_>, inst: &Inst, f: impl Fn(T, T) -> bool) -> u32 {
    let a = row::<T::Bits>(&cx.warp.registers, inst.a);
    let b = row::<T::Bits>(&cx.warp.registers, inst.b);
    let bits: [u32; LANES] = each(|lane| u32::from(f(T::from_bits(a[lane]), T::from_bits(b[lane]))) << lane);
    bits.iter().fold(0, |mask, bit| mask | bit)
}
