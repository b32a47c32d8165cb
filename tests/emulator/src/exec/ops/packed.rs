//! Arithmetic on two 16-bit integers in one register: `add`, `min` and `max` of `.u16x2` and `.s16x2`.

use super::Answer;
use crate::counters::Class;
use crate::exec::context::Context;
use crate::exec::decode::Decoder;
use crate::exec::instruction::{Inst, Op, Step};
use crate::exec::lanes::map2;
use crate::ptx::syntax::Type;

/// Decodes arithmetic on packed integers.
///
/// # Errors
///
/// Forms that aren't known.
pub fn decode(decoder: &mut Decoder<'_>) -> Answer {
    const CLASS: Class = Class::Integer;
    let (d, types) = (Type::B32, [Type::B32; 2]);
    Ok(Some(match decoder.opcode().as_slice() {
        ["add", "u16x2" | "s16x2"] => decoder.binary::<Add>(CLASS, d, types)?,
        ["min", "u16x2"] => decoder.binary::<MinUnsigned>(CLASS, d, types)?,
        ["max", "u16x2"] => decoder.binary::<MaxUnsigned>(CLASS, d, types)?,
        ["min", "s16x2"] => decoder.binary::<Min>(CLASS, d, types)?,
        ["max", "s16x2"] => decoder.binary::<Max>(CLASS, d, types)?,
        ["min", "relu", "s16x2"] | ["min", "s16x2", "relu"] => decoder.binary::<MinRelu>(CLASS, d, types)?,
        ["max", "relu", "s16x2"] | ["max", "s16x2", "relu"] => decoder.binary::<MaxRelu>(CLASS, d, types)?,
        _ => return Ok(None),
    }))
}

macro_rules! operations {
    ($($name:ident, $f:expr;)*) => {$(
        struct $name;
        impl Op for $name {
            #[inline(always)]
            fn run(cx: &mut Context<'_>, inst: &Inst) -> Step {
                map2(cx, inst, |a: u32, b: u32| {
                    let low: u16 = $f(a as u16, b as u16);
                    let high: u16 = $f((a >> 16) as u16, (b >> 16) as u16);
                    u32::from(low) | u32::from(high) << 16
                })
            }
        }
    )*};
}

operations! {
    Add, u16::wrapping_add;
    MinUnsigned, Ord::min;
    MaxUnsigned, Ord::max;
    Min, |a: u16, b: u16| signed(a, b, Ord::min);
    Max, |a: u16, b: u16| signed(a, b, Ord::max);
    MinRelu, |a: u16, b: u16| signed(a, b, |a, b| a.min(b).max(0));
    MaxRelu, |a: u16, b: u16| signed(a, b, |a, b| a.max(b).max(0));
}

#[inline(always)]
fn signed(a: u16, b: u16, f: impl Fn(i16, i16) -> i16) -> u16 {
    f(a.cast_signed(), b.cast_signed()).cast_unsigned()
}
