//! Random inputs: what statistics are measured on, and devices compared. They are smooth, as images are, and some of them grainy: so that the
//! statistics hold for inputs of either kind.

use kwc_compiler::ir::{ChannelOrder, Shape};
use rand_pcg::Pcg64Mcg;

use crate::init::draw::{normal, room};

/// Points per dimension of the coarse and of the fine grid that an image is interpolated from.
const GRIDS: [(usize, f32); 2] = [(4, 1.0), (13, 0.4)];

/// Standard deviation of the noise on top, one sample after the other.
const GRAIN: [f32; 4] = [0.0, 0.0, 0.3, 1.0];

/// `count` samples of a shape, one after the other. Along spatial dimensions they are sums of linearly interpolated random
/// grids, and of noise; each channel of each sample has an offset of its own.
///
/// # Errors
/// [`kwc_runtime::Error::Memory`] if there is no room for them.
pub(crate) fn smooth(shape: &Shape, count: usize, rng: &mut Pcg64Mcg) -> Result<Vec<f32>, kwc_runtime::Error> {
    let positions = shape.positions();
    let mut all = room(count.saturating_mul(shape.elements()))?;
    for &grain in GRAIN.iter().cycle().take(count) {
        let mut sample = normal(rng, 0.0, grain, shape.elements())?;
        for channel in 0..shape.channels {
            let offset = normal(rng, 0.0, 0.5, 1)?.first().copied().unwrap_or(0.0);
            let plane = plane(&shape.spatial, offset, rng)?;
            for (position, value) in plane.into_iter().enumerate() {
                let at = match shape.order {
                    ChannelOrder::First => channel * positions + position,
                    ChannelOrder::Last => position * shape.channels + channel,
                };
                sample[at] += value;
            }
        }
        all.extend(sample);
    }
    Ok(all)
}

/// One channel.
fn plane(sizes: &[usize], offset: f32, rng: &mut Pcg64Mcg) -> Result<Vec<f32>, kwc_runtime::Error> {
    let mut sum = vec![offset; sizes.iter().product()];
    for (points, weight) in GRIDS {
        let mut values = normal(rng, 0.0, weight, points.pow(u32::try_from(sizes.len()).unwrap_or(0)))?;
        // Interpolate one dimension after the other, the last one first; dimensions that were done stand behind.
        let mut behind = 1;
        for &size in sizes.iter().rev() {
            values = interpolate(&values, points, size, behind);
            behind *= size;
        }
        for (sum, value) in sum.iter_mut().zip(values) {
            *sum += value;
        }
    }
    Ok(sum)
}

/// `[rest, points, behind]` to `[rest, size, behind]`.
fn interpolate(values: &[f32], points: usize, size: usize, behind: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(values.len() / points * size);
    for values in values.chunks_exact(points * behind) {
        for i in 0..size {
            let at = i as f32 * (points - 1) as f32 / (size - 1).max(1) as f32;
            let left = (at as usize).min(points - 2);
            let t = at - left as f32;
            for b in 0..behind {
                out.push(values[left * behind + b] * (1.0 - t) + values[(left + 1) * behind + b] * t);
            }
        }
    }
    out
}
