//! Opening a window of registers: the rows that hold constants and special registers.

use super::block::Block;
use super::decode::{Fill, Special, Width};
use super::lanes::{ALL, LANES, write};
use super::launch::Launch;
use super::warp::Warp;

/// Fills the rows of a window that has just been opened.
pub fn fill(warp: &mut Warp, block: &Block, launch: &Launch<'_>, fills: &[(Width, u32, Fill)]) {
    for (width, slot, fill) in fills {
        let values: [u64; LANES] = match fill {
            Fill::Constant(bits) => [*bits; LANES],
            Fill::CommonShared(number, offset) => {
                // All that the kernel may name has a place.
                let place = launch.kernel.common_shared.get(number).copied().unwrap_or_default();
                [u64::from(place).wrapping_add_signed(*offset); LANES]
            }
            Fill::DynamicShared(offset) => {
                [u64::from(launch.kernel.dynamic_shared_at).wrapping_add_signed(*offset); LANES]
            }
            Fill::Local(offset) => [u64::from(warp.local_base).wrapping_add_signed(*offset); LANES],
            Fill::Special(special) => {
                std::array::from_fn(|lane| u64::from(value(*special, lane as u32, warp, block, launch)))
            }
        };
        match width {
            Width::B16 => write(&mut warp.registers, *slot, ALL, &values.map(|value| value as u16)),
            Width::B32 => write(&mut warp.registers, *slot, ALL, &values.map(|value| value as u32)),
            Width::B64 => write(&mut warp.registers, *slot, ALL, &values),
        }
    }
}

/// The place of a thread in its block, x y z.
#[must_use]
pub fn thread(shape: [u32; 3], number: u32) -> [u32; 3] {
    let [width, height, _] = shape;
    [number % width, number / width % height, number / width / height]
}

fn value(special: Special, lane: u32, warp: &Warp, block: &Block, launch: &Launch<'_>) -> u32 {
    let bit = 1u32 << lane;
    match special {
        Special::Tid(dimension) => thread(launch.shape.block, warp.index * 32 + lane)[dimension as usize],
        Special::Ntid(dimension) => launch.shape.block[dimension as usize],
        Special::Ctaid(dimension) => block.id[dimension as usize],
        Special::Nctaid(dimension) => launch.shape.grid[dimension as usize],
        Special::LaneId => lane,
        Special::WarpId => warp.index,
        Special::Nwarpid => launch.architecture.part().threads_per_multiprocessor / 32,
        Special::SmId => (block.number % u64::from(launch.architecture.part().multiprocessors)) as u32,
        Special::Nsmid => launch.architecture.part().multiprocessors,
        Special::GridId => launch.number as u32,
        Special::LanemaskEq => bit,
        Special::LanemaskLe => bit | (bit - 1),
        Special::LanemaskLt => bit - 1,
        Special::LanemaskGe => !(bit - 1),
        Special::LanemaskGt => !(bit | (bit - 1)),
        Special::TotalSharedBytes => launch.shared_bytes,
        Special::DynamicSharedBytes => launch.shape.dynamic_shared,
    }
}
