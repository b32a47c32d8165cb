//! `ld` and `st` in all spaces, widths and vectors.

use std::marker::PhantomData;

use super::Answer;
use super::spaces::{
    Addresses, Holder, InConst, InFrame, InGeneric, InGlobal, InLocal, InParam, InShared, Memory, Narrow, OfAnyWidth,
    OfItsWidth,
};
use crate::counters::Class;
use crate::exec::access::Offsets;
use crate::exec::context::Context;
use crate::exec::decode::{Address, Decoder, Width};
use crate::exec::instruction::{Decoded, Inst, Op, Step};
use crate::gpu::LoadError;
use crate::ptx::syntax::{Operand, Space, Type};

/// Decodes `ld`, `ldu` and `st`.
///
/// # Errors
///
/// Forms that aren't known.
pub fn decode(decoder: &mut Decoder<'_>) -> Answer {
    let opcode = decoder.opcode();
    let loads = match opcode.first() {
        Some(&("ld" | "ldu")) => true,
        Some(&"st") => false,
        _ => return Ok(None),
    };
    let form = form(decoder, &opcode[1..], loads)?;
    decoder.expect_operands(2)?;
    let (value, at) = if loads { (0, 1) } else { (1, 0) };
    // A parameter of a device function or of a call lies in its frame, also where its address was taken.
    let in_frame = form.space == Space::Param
        && match decoder.space_of(at)? {
            Some(space) => space == Space::Local,
            None => !decoder.function.kernel && !form.of_entry,
        };
    let address = decoder.address(at)?;
    let parts = decoder.vector(value)?;
    if parts.len() != form.count {
        return Err(decoder.error(format!("expected {} values, found {}", form.count, parts.len())));
    }
    let mut width = None;
    for part in &parts {
        if let Operand::Register(register) = part {
            let declared = Width::of(decoder.type_of(*register)?);
            if width.is_some() && declared != width {
                return Err(decoder.error("all registers of a vector must have one width"));
            }
            width = declared;
        }
    }
    let width = width.or(Width::of(form.ty)).ok_or_else(|| decoder.error("values of this type aren't known"))?;
    if form.ty.size() > bytes(width) {
        return Err(decoder.error("the register is narrower than the value"));
    }
    let holder = match width {
        Width::B16 => Type::B16,
        Width::B32 => Type::B32,
        Width::B64 => Type::B64,
    };
    let slots = parts
        .iter()
        .map(|part| if loads { decoder.destination_of(part, holder) } else { decoder.source_of(part, holder) })
        .collect::<Result<Vec<u32>, LoadError>>()?;
    let operands = Operands { address, slots, strong: form.strong, release: form.release };
    choose(decoder, loads, (form.space, in_frame), form.ty, width, operands).map(Some)
}

// In `Inst::c`: the order of an access.
pub(super) const STRONG: u32 = 1;
const RELEASE: u32 = 2;
// What a register gets that is wider than the value, and the width of registers, as a number of [`Width`].
pub(super) const SIGNED: u32 = 4;
pub(super) const WIDTH: u32 = 3;

struct Form {
    space: Space,
    /// Whether the parameter is said to be the kernel's.
    of_entry: bool,
    ty: Type,
    count: usize,
    strong: bool,
    release: bool,
}

fn form(decoder: &Decoder<'_>, modifiers: &[&str], loads: bool) -> Result<Form, LoadError> {
    let mut form =
        Form { space: Space::Generic, of_entry: false, ty: Type::Pred, count: 1, strong: false, release: false };
    for modifier in modifiers {
        match *modifier {
            "global" => form.space = Space::Global,
            "shared" | "shared::cta" => form.space = Space::Shared,
            "local" => form.space = Space::Local,
            "const" => form.space = Space::Const,
            "param" | "param::func" => form.space = Space::Param,
            "param::entry" => (form.space, form.of_entry) = (Space::Param, true),
            "v2" => form.count = 2,
            "v4" => form.count = 4,
            "volatile" | "relaxed" | "mmio" => form.strong = true,
            // A strong read always acquires: see `check::order`.
            "acquire" if loads => form.strong = true,
            "release" if !loads => (form.strong, form.release) = (true, true),
            // Scopes, cache operators, eviction priorities and prefetch sizes change how fast it is.
            "weak"
            | "cta"
            | "cluster"
            | "gpu"
            | "sys"
            | "nc"
            | "ca"
            | "cg"
            | "cs"
            | "lu"
            | "cv"
            | "wb"
            | "wt"
            | "L1::evict_normal"
            | "L1::evict_unchanged"
            | "L1::evict_first"
            | "L1::evict_last"
            | "L1::no_allocate"
            | "L2::evict_normal"
            | "L2::evict_first"
            | "L2::evict_last"
            | "L2::64B"
            | "L2::128B"
            | "L2::256B" => {}
            other => match Type::from_suffix(other) {
                Some(ty) if form.ty == Type::Pred && ty != Type::Pred && ty != Type::B128 => form.ty = ty,
                Some(_) | None => return Err(decoder.unknown()),
            },
        }
    }
    if form.ty == Type::Pred || form.ty.size() * form.count as u32 > 16 {
        return Err(decoder.unknown());
    }
    Ok(form)
}

struct Operands {
    address: Address,
    slots: Vec<u32>,
    strong: bool,
    release: bool,
}

fn bytes(width: Width) -> u32 {
    match width {
        Width::B16 => 2,
        Width::B32 => 4,
        Width::B64 => 8,
    }
}

/// Picks the operation for a space, a type in memory and a width of registers.
fn choose(
    decoder: &Decoder<'_>,
    loads: bool,
    (space, in_frame): (Space, bool),
    ty: Type,
    width: Width,
    operands: Operands,
) -> Result<Decoded, LoadError> {
    let code = if operands.strong { STRONG } else { 0 }
        | if operands.release { RELEASE } else { 0 }
        | if ty.is_signed() { SIGNED } else { 0 }
        | (width as u32) << WIDTH;
    let class = if space == Space::Shared { Class::Shared } else { Class::Memory };
    let fill = |inst: &mut Inst| {
        inst.a = operands.address.slot;
        inst.b = u32::from(operands.address.wide);
        inst.c = code;
        inst.imm = operands.address.offset;
        inst.list = operands.slots.into();
    };
    macro_rules! of {
        // In the spaces that inner loops work on, registers as wide as the value are dealt with by themselves.
        ($memory:ty, $holder:ty) => {
            match (loads, space) {
                (true, Space::Global) => decoder.make::<Load<InGlobal, $memory, $holder>>(class, fill),
                (true, Space::Const) => decoder.make::<Load<InConst, $memory, OfAnyWidth>>(class, fill),
                (true, Space::Shared) => decoder.make::<Load<InShared, $memory, $holder>>(class, fill),
                (false, Space::Global) => decoder.make::<Store<InGlobal, $memory, $holder>>(class, fill),
                (false, Space::Shared) => decoder.make::<Store<InShared, $memory, $holder>>(class, fill),
                (true, Space::Local) => decoder.make::<Load<InLocal, $memory, OfAnyWidth>>(class, fill),
                (false, Space::Local) => decoder.make::<Store<InLocal, $memory, OfAnyWidth>>(class, fill),
                (true, Space::Param) if in_frame => decoder.make::<Load<InFrame, $memory, OfAnyWidth>>(class, fill),
                (false, Space::Param) if in_frame => decoder.make::<Store<InFrame, $memory, OfAnyWidth>>(class, fill),
                (true, Space::Param) => decoder.make::<Load<InParam, $memory, OfAnyWidth>>(class, fill),
                (true, Space::Generic) => decoder.make::<Load<InGeneric, $memory, OfAnyWidth>>(class, fill),
                (false, Space::Generic) => decoder.make::<Store<InGeneric, $memory, OfAnyWidth>>(class, fill),
                (false, Space::Const | Space::Param) => return Err(decoder.error("this memory can't be written")),
            }
        };
    }
    Ok(match (ty.size(), width) {
        (1, _) => of!(u8, OfAnyWidth),
        (2, Width::B16) => of!(u16, OfItsWidth),
        (2, _) => of!(u16, OfAnyWidth),
        (4, Width::B32) => of!(u32, OfItsWidth),
        (4, _) => of!(u32, OfAnyWidth),
        (8, _) => of!(u64, OfItsWidth),
        _ => return Err(decoder.unknown()),
    })
}

/// `ld`: address `a` (64 bits if `b`) plus `imm`, destinations in `list`, order in `c`.
struct Load<S, M, H>(PhantomData<(S, M, H)>);

impl<S: Memory, M: Narrow, H: Holder<M>> Op for Load<S, M, H> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        // Kept, since the load may write the register that its address comes from.
        let acquired = (inst.c & STRONG != 0).then(|| Offsets::of(cx, inst));
        if let Err(step) = S::load::<M, H>(cx, inst, &S::At::of(cx, inst), cx.exec) {
            return step;
        }
        if let Some(addresses) = acquired {
            cx.worker.asked += 1;
            cx.acquire(&addresses);
        }
        Step::Next
    }
}

/// `st`: address `a` (64 bits if `b`) plus `imm`, sources in `list`, order in `c`.
struct Store<S, M, H>(PhantomData<(S, M, H)>);

impl<S: Memory, M: Narrow, H: Holder<M>> Op for Store<S, M, H> {
    #[inline(always)]
    fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
        if inst.c & STRONG != 0 {
            cx.release(&Offsets::of(cx, inst), inst.c & RELEASE != 0);
        }
        match S::store::<M, H>(cx, inst, &S::At::of(cx, inst), cx.exec) {
            Ok(()) => Step::Next,
            Err(step) => step,
        }
    }
}
