//! The state spaces that `ld` and `st` work on, and the registers that they work with.

use super::memory::{SIGNED, STRONG, WIDTH};
use crate::exec::access::{Access, Kind, Offsets, saturated};
use crate::exec::context::Context;
use crate::exec::instruction::{Inst, Step};
use crate::exec::lanes::{LANES, Word, each, is_in, lanes, row, write};
use crate::exec::registers::Registers;
use crate::exec::windows::Window;
use crate::findings::Kind as Wrong;
use crate::gpu::Fault;
use crate::memory::InWords;

/// A value in memory that is the low bits of 64.
pub(super) trait Narrow: InWords {
    /// The low bits.
    fn narrow(bits: u64) -> Self;
    /// The value in 64 bits, zeros above it.
    fn to_low(self) -> u64;
    /// The value that bytes begin with, little-endian; what is missing is zero.
    fn from_bytes(bytes: &[u8]) -> Self;
}

macro_rules! narrow {
    ($($ty:ty)*) => {$(
        impl Narrow for $ty {
            #[inline(always)]
            fn narrow(bits: u64) -> Self {
                bits as Self
            }
            #[inline(always)]
            fn to_low(self) -> u64 {
                u64::from(self)
            }
            fn from_bytes(bytes: &[u8]) -> Self {
                let mut value = [0; size_of::<$ty>()];
                let len = value.len().min(bytes.len());
                value[..len].copy_from_slice(&bytes[..len]);
                Self::from_le_bytes(value)
            }
        }
    )*};
}

narrow!(u8 u16 u32 u64);

/// The registers that values of type `M` are loaded into and stored from.
pub(super) trait Holder<M>: 'static {
    /// Puts a row of values of number `number` into its register, for the lanes of `part`.
    fn take(inst: &Inst, registers: &mut Registers, number: usize, part: u32, values: &[M; LANES]);
    /// The row of the values of number `number`.
    fn give(inst: &Inst, registers: &Registers, number: usize) -> [M; LANES];
}

/// Registers as wide as the value.
pub(super) struct OfItsWidth;

impl<M: Narrow + Word> Holder<M> for OfItsWidth {
    #[inline(always)]
    fn take(inst: &Inst, registers: &mut Registers, number: usize, part: u32, values: &[M; LANES]) {
        write::<M>(registers, inst.list[number], part, values);
    }

    #[inline(always)]
    fn give(inst: &Inst, registers: &Registers, number: usize) -> [M; LANES] {
        *row::<M>(registers, inst.list[number])
    }
}

/// Registers at least as wide as the value, which is extended by its sign or by zeros: [`Inst::c`] says how.
pub(super) struct OfAnyWidth;

impl<M: Narrow> Holder<M> for OfAnyWidth {
    #[inline(always)]
    fn take(inst: &Inst, registers: &mut Registers, number: usize, part: u32, values: &[M; LANES]) {
        let slot = inst.list[number];
        let above = 64 - M::SIZE as u32 * 8;
        let extended: [u64; LANES] = if inst.c & SIGNED != 0 {
            each(|lane| ((values[lane].to_low() << above).cast_signed() >> above).cast_unsigned())
        } else {
            each(|lane| values[lane].to_low())
        };
        match inst.c >> WIDTH & 3 {
            0 => write::<u16>(registers, slot, part, &each(|lane| extended[lane] as u16)),
            1 => write::<u32>(registers, slot, part, &each(|lane| extended[lane] as u32)),
            _ => write::<u64>(registers, slot, part, &extended),
        }
    }

    #[inline(always)]
    fn give(inst: &Inst, registers: &Registers, number: usize) -> [M; LANES] {
        let slot = inst.list[number];
        match inst.c >> WIDTH & 3 {
            0 => each(|lane| M::narrow(row::<u16>(registers, slot)[lane].into())),
            1 => each(|lane| M::narrow(row::<u32>(registers, slot)[lane].into())),
            _ => each(|lane| M::narrow(row::<u64>(registers, slot)[lane])),
        }
    }
}

/// The access of an instruction whose values are of type `M`.
#[inline(always)]
fn access<M: Narrow>(inst: &Inst, kind: Kind) -> Access {
    Access { kind, size: M::SIZE as u32 * inst.list.len() as u32, strong: inst.c & STRONG != 0 }
}

/// The addresses of the lanes of a warp.
pub(super) trait Addresses {
    /// Those of `ld` and `st`: `a` (64 bits if `b`) plus `imm`.
    fn of(cx: &Context<'_>, inst: &Inst) -> Self;
}

impl Addresses for Offsets {
    #[inline(always)]
    fn of(cx: &Context<'_>, inst: &Inst) -> Self {
        cx.addresses(inst.a, inst.b != 0, inst.imm)
    }
}

/// In shared memory, where 32 bits are enough.
impl Addresses for [u32; LANES] {
    #[inline(always)]
    fn of(cx: &Context<'_>, inst: &Inst) -> Self {
        cx.shared_addresses(inst.a, inst.b != 0, inst.imm)
    }
}

/// Nothing, or the step that ends the launch, after a finding.
type Done = Result<(), Step>;

/// A state space.
pub(super) trait Memory: 'static {
    /// The addresses of the lanes.
    type At: Addresses;

    /// Reads the values of each lane of `mask` into the registers of `inst`.
    fn load<M: Narrow, H: Holder<M>>(cx: &mut Context<'_>, inst: &Inst, at: &Self::At, mask: u32) -> Done;

    /// Writes the values of each lane of `mask` from the registers of `inst`.
    fn store<M: Narrow, H: Holder<M>>(cx: &mut Context<'_>, inst: &Inst, at: &Self::At, mask: u32) -> Done;
}

/// Global memory; `COUNTED` where it is read as such, and not through the cache of constants.
pub(super) struct Device<const COUNTED: bool>;
pub(super) type InGlobal = Device<true>;
pub(super) type InConst = Device<false>;
pub(super) struct InShared;
pub(super) struct InParam;
pub(super) struct InGeneric;

impl<const COUNTED: bool> Memory for Device<COUNTED> {
    type At = Offsets;

    #[inline(always)]
    fn load<M: Narrow, H: Holder<M>>(cx: &mut Context<'_>, inst: &Inst, at: &Offsets, mask: u32) -> Done {
        let mut left = mask;
        while left != 0 {
            let (allocation, offsets, part) =
                cx.part_of_global(access::<M>(inst, Kind::Read), at, left, COUNTED && cx.launch.counters)?;
            let cells = allocation.bytes.cells::<M>();
            for number in 0..inst.list.len() {
                // Lanes that have no part in it read at offset 0, which is there, and are dropped.
                let values = each(|lane| M::load(&cells[(offsets[lane] / M::SIZE) as usize + number]));
                H::take(inst, &mut cx.warp.registers, number, part, &values);
            }
            left &= !part;
        }
        Ok(())
    }

    #[inline(always)]
    fn store<M: Narrow, H: Holder<M>>(cx: &mut Context<'_>, inst: &Inst, at: &Offsets, mask: u32) -> Done {
        cx.worker.progress += 1;
        let mut left = mask;
        while left != 0 {
            let (allocation, offsets, part) =
                cx.part_of_global(access::<M>(inst, Kind::Write), at, left, COUNTED && cx.launch.counters)?;
            let cells = allocation.bytes.cells::<M>();
            for number in 0..inst.list.len() {
                let values = H::give(inst, &cx.warp.registers, number);
                for lane in 0..LANES {
                    if is_in(part, lane) {
                        M::store(&cells[(offsets[lane] / M::SIZE) as usize + number], values[lane]);
                    }
                }
            }
            left &= !part;
        }
        Ok(())
    }
}

impl Memory for InShared {
    type At = [u32; LANES];

    #[inline(always)]
    fn load<M: Narrow, H: Holder<M>>(cx: &mut Context<'_>, inst: &Inst, at: &[u32; LANES], mask: u32) -> Done {
        let offsets = cx.shared(access::<M>(inst, Kind::Read), at, mask, |_, _| true)?;
        for number in 0..inst.list.len() {
            let values = each(|lane| cx.block.shared.load(offsets[lane] + number as u32 * M::SIZE as u32));
            H::take(inst, &mut cx.warp.registers, number, mask, &values);
        }
        Ok(())
    }

    #[inline(always)]
    fn store<M: Narrow, H: Holder<M>>(cx: &mut Context<'_>, inst: &Inst, at: &[u32; LANES], mask: u32) -> Done {
        cx.worker.progress += 1;
        // Compared by the bits that are written, in the rare case that two lanes write one place.
        let rows: [[M; LANES]; 4] = each(|number| {
            if number < inst.list.len() { H::give(inst, &cx.warp.registers, number) } else { [M::default(); LANES] }
        });
        let same = |one: usize, other: usize| rows.iter().all(|row| row[one] == row[other]);
        let offsets = cx.shared(access::<M>(inst, Kind::Write), at, mask, same)?;
        for (number, values) in rows.iter().take(inst.list.len()).enumerate() {
            for lane in 0..LANES {
                if is_in(mask, lane) {
                    cx.block.shared.store(offsets[lane] + number as u32 * M::SIZE as u32, values[lane]);
                }
            }
        }
        Ok(())
    }
}

/// Local memory; `COUNTED` where it is memory on hardware, too, and not the parameters of a call, which pass in
/// registers.
pub(super) struct Lanes<const COUNTED: bool>;
pub(super) type InLocal = Lanes<true>;
pub(super) type InFrame = Lanes<false>;

impl<const COUNTED: bool> Memory for Lanes<COUNTED> {
    type At = Offsets;

    #[inline(always)]
    fn load<M: Narrow, H: Holder<M>>(cx: &mut Context<'_>, inst: &Inst, at: &Offsets, mask: u32) -> Done {
        cx.local(access::<M>(inst, Kind::Read), at, mask, COUNTED)?;
        for number in 0..inst.list.len() {
            let mut values = [M::default(); LANES];
            for lane in lanes(mask) {
                values[lane] = cx.warp.local.load(lane, at[lane] + number as u64 * M::SIZE);
            }
            H::take(inst, &mut cx.warp.registers, number, mask, &values);
        }
        Ok(())
    }

    #[inline(always)]
    fn store<M: Narrow, H: Holder<M>>(cx: &mut Context<'_>, inst: &Inst, at: &Offsets, mask: u32) -> Done {
        cx.local(access::<M>(inst, Kind::Write), at, mask, COUNTED)?;
        for number in 0..inst.list.len() {
            let values = H::give(inst, &cx.warp.registers, number);
            for lane in lanes(mask) {
                cx.warp.local.store(lane, at[lane] + number as u64 * M::SIZE, values[lane]);
            }
        }
        Ok(())
    }
}

impl Memory for InParam {
    type At = Offsets;

    #[inline(always)]
    fn load<M: Narrow, H: Holder<M>>(cx: &mut Context<'_>, inst: &Inst, at: &Offsets, mask: u32) -> Done {
        let parameters = cx.launch.parameters;
        let size = u64::from(access::<M>(inst, Kind::Read).size);
        // Mostly all lanes read one parameter.
        let same = at.iter().fold(true, |same, offset| same & (*offset == at[0]));
        let first = mask.trailing_zeros() as usize;
        let checked = if same { 1 << first } else { mask };
        for lane in lanes(checked) {
            if at[lane].saturating_add(size) > parameters.len() as u64 || !at[lane].is_multiple_of(size) {
                cx.find(Wrong::OutOfBounds, lane, Some(at[lane]), || {
                    format!("read at offset {} of the {} bytes of parameters", at[lane], parameters.len())
                });
                return Err(cx.fault(Fault::IllegalAddress));
            }
        }
        for number in 0..inst.list.len() {
            let value = |lane: usize| M::from_bytes(&parameters[(at[lane] + number as u64 * M::SIZE) as usize..]);
            let mut values = [M::default(); LANES];
            if same {
                values = [value(first); LANES];
            } else {
                for lane in lanes(mask) {
                    values[lane] = value(lane);
                }
            }
            H::take(inst, &mut cx.warp.registers, number, mask, &values);
        }
        Ok(())
    }

    #[cold]
    fn store<M: Narrow, H: Holder<M>>(cx: &mut Context<'_>, _inst: &Inst, at: &Offsets, mask: u32) -> Done {
        let lane = mask.trailing_zeros() as usize;
        cx.find(Wrong::Trap, lane, Some(at[lane]), || "a kernel's parameters can't be written".to_owned());
        Err(cx.fault(Fault::IllegalAddress))
    }
}

impl Memory for InGeneric {
    type At = Offsets;

    #[inline(always)]
    fn load<M: Narrow, H: Holder<M>>(cx: &mut Context<'_>, inst: &Inst, at: &Offsets, mask: u32) -> Done {
        cx.by_window(at, mask, |cx, window, at, part| match window {
            Window::Global => InGlobal::load::<M, H>(cx, inst, at, part),
            Window::Shared => InShared::load::<M, H>(cx, inst, &saturated(at), part),
            Window::Local => InLocal::load::<M, H>(cx, inst, at, part),
            Window::Param => InParam::load::<M, H>(cx, inst, at, part),
        })
    }

    #[inline(always)]
    fn store<M: Narrow, H: Holder<M>>(cx: &mut Context<'_>, inst: &Inst, at: &Offsets, mask: u32) -> Done {
        cx.by_window(at, mask, |cx, window, at, part| match window {
            Window::Global => InGlobal::store::<M, H>(cx, inst, at, part),
            Window::Shared => InShared::store::<M, H>(cx, inst, &saturated(at), part),
            Window::Local => InLocal::store::<M, H>(cx, inst, at, part),
            Window::Param => InParam::store::<M, H>(cx, inst, at, part),
        })
    }
}
