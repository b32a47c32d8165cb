//! Conditioning a random state, so that the network is worth running.
//!
//! With plain random weights the outputs of such a network vanish or don't depend on its input. So the network runs once
//! over smooth random inputs, layer by layer, and what a layer needs is measured just before it runs:
//!
//! - every batch norm gets the mean and variance of its input;
//! - an attention's batch norm too, the variance raised by `(0.6 mean)^2` and 2% of the mean square, so that inputs unlike
//!   those seen here don't throw it far;
//! - `fc2` is scaled by 0.12 to 0.35, and its bias (or the basis's) drawn with the spread that the logits had before: a
//!   part of the attention depends on the input, and the rest holds it in place;
//! - a linear layer over vectors gets a bias that centres its outputs.

use kwc_compiler::check::Checked;
use kwc_compiler::ir;
use kwc_compiler::plan::{self, Affine, Base, Planned, Recipe};
use kwc_compiler::weights::{self, State, pack};
use kwc_runtime::Weights;
use kwc_runtime::cpu::{self, Model};
use kwc_runtime::program::{Attention, AttentionNorm, BufferId, Conv, Map, Op, Source, WeightId};
use rand_distr::{Distribution as _, Uniform};
use rand_pcg::Pcg64Mcg;

use super::Error;
use super::draw::normal;
use crate::smooth::smooth;

/// Samples to measure on; fewer where they would take more than [`MEMORY`].
const SAMPLES: usize = 48;
/// Elements of the largest arena to measure in (2 GiB).
const MEMORY: usize = 1 << 29;
/// Fewest samples that statistics are measured on.
const FEWEST: usize = 8;

/// Measures what the layers need and writes it into the state. `progress` is told steps done and their total.
pub(super) fn condition(
    checked: &Checked,
    state: &mut State,
    threads: Option<usize>,
    rng: &mut Pcg64Mcg,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<(), Error> {
    let planned = plan::plan(checked, &plan::Options { fuse: false, ..plan::Options::default() })?;
    let program = &planned.program;
    let samples = (MEMORY / program.arena.max(1)).clamp(FEWEST, SAMPLES);
    let mut weights = Weights::zeroed(program.weight_elements)?;
    pack::pack(&planned, state, &mut weights, &mut |_, _| {})?;
    let mut model = Model::new(program.clone(), weights, &cpu::Options { threads, ..cpu::Options::default() })?;

    let network = checked.network();
    let inputs: Result<Vec<Vec<f32>>, _> =
        network.inputs.iter().map(|port| smooth(&network.value(port.value).shape, samples, rng)).collect();
    let inputs = inputs?;
    let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    model.begin(samples, &inputs)?;
    let mut conditioner = Conditioner { planned: &planned, state, model, rng };
    for (index, step) in program.steps.iter().enumerate() {
        match &step.op {
            Op::Map(map) => conditioner.batch_norm(map)?,
            Op::Attention(attention) => conditioner.attention(attention, samples)?,
            Op::Conv(conv) => match network.layer(planned.layers[index]).op {
                ir::Op::Linear(_) => conditioner.linear(conv, samples)?,
                ir::Op::Conv(_)
                | ir::Op::BatchNorm { .. }
                | ir::Op::LayerNorm { .. }
                | ir::Op::Scale { .. }
                | ir::Op::Activation(_)
                | ir::Op::Pool(_)
                | ir::Op::GlobalAverage
                | ir::Op::Add
                | ir::Op::Concat
                | ir::Op::Upsample { .. }
                | ir::Op::Flatten => {}
            },
            Op::Import(_)
            | Op::Export(_)
            | Op::GlobalAverage(_)
            | Op::Pool(_)
            | Op::LayerNorm(_)
            | Op::Concat(_)
            | Op::Upsample(_)
            | Op::GatherRows(_) => {}
        }
        conditioner.model.step(index)?;
        progress(index + 1, program.steps.len());
    }
    Ok(())
}

struct Conditioner<'a> {
    planned: &'a Planned,
    state: &'a mut State,
    model: Model,
    rng: &'a mut Pcg64Mcg,
}

/// Mean and (population) variance of one channel.
#[derive(Clone, Copy, Default)]
struct Moments {
    mean: f64,
    variance: f64,
}

fn moments(values: impl Iterator<Item = f32> + Clone) -> Moments {
    let count = values.clone().count().max(1) as f64;
    let mean = values.clone().map(f64::from).sum::<f64>() / count;
    let variance = values.map(|x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
    Moments { mean, variance }
}

impl Conditioner<'_> {
    /// The recipe of a weight, if it is made by one alone.
    fn recipe(&self, id: WeightId) -> Option<&Recipe> {
        match &self.planned.recipes[id.0 as usize].base {
            Base::Recipe(recipe) => Some(recipe),
            Base::Values(_) | Base::Folded(_) => None,
        }
    }

    /// The tensor that a weight is made from, if it is made from just one.
    fn tensor(&self, id: WeightId) -> Option<String> {
        match self.recipe(id)? {
            Recipe::Copy { tensor } | Recipe::Rows { tensor, .. } | Recipe::Mixtures { tensor, .. } => {
                Some(tensor.clone())
            }
            Recipe::Scale(_) | Recipe::Shift(_) | Recipe::Cells { .. } => None,
        }
    }

    /// Makes weights again from the state.
    fn remake(&mut self, ids: impl IntoIterator<Item = WeightId>) -> Result<(), weights::Error> {
        for id in ids {
            pack::make(&self.planned.recipes[id.0 as usize], self.state, self.model.weight_mut(id))?;
        }
        Ok(())
    }

    fn replace(&mut self, name: &str, values: Vec<f32>) -> Result<(), weights::Error> {
        let shape = self.state.get(name).map_or_else(|| vec![values.len()], |(shape, _)| shape.to_vec());
        self.state.insert(name, shape, values)
    }

    fn values(&self, name: &str) -> Vec<f32> {
        self.state.get(name).map_or_else(Vec::new, |(_, values)| values.to_vec())
    }

    fn set_statistics(&mut self, path: &str, moments: &[Moments]) -> Result<(), weights::Error> {
        self.replace(&format!("{path}.running_mean"), moments.iter().map(|m| m.mean as f32).collect())?;
        self.replace(&format!("{path}.running_var"), moments.iter().map(|m| m.variance as f32).collect())
    }

    /// A map that is a batch norm gets the statistics of its input.
    fn batch_norm(&mut self, map: &Map) -> Result<(), Error> {
        let Some(scale) = map.epilogue.scale else { return Ok(()) };
        let Some(Recipe::Scale(affine)) = self.recipe(scale) else { return Ok(()) };
        let [Affine::BatchNorm { path, .. }] = affine.as_slice() else { return Ok(()) };
        let path = path.clone();
        let data = self.model.buffer(map.input);
        let mut all: Vec<Moments> =
            (0..map.channels).map(|c| moments(data.iter().skip(c).step_by(map.channels).copied())).collect();
        // A channel that hardly varies isn't blown up.
        let typical = all.iter().map(|m| m.variance).sum::<f64>() / map.channels as f64;
        for m in &mut all {
            m.variance += 1e-3 * typical + 1e-12;
        }
        self.set_statistics(&path, &all)?;
        self.remake(map.epilogue.scale.into_iter().chain(map.epilogue.shift))?;
        Ok(())
    }

    fn attention(&mut self, attention: &Attention, samples: usize) -> Result<(), Error> {
        let mut hidden = self.hidden(attention, samples);
        if let AttentionNorm::Batch { scale, shift } = attention.norm
            && let Some(Recipe::Scale(affine)) = self.recipe(scale)
            && let [Affine::BatchNorm { path, .. }] = affine.as_slice()
        {
            let path = path.clone();
            let all: Vec<Moments> = (0..attention.hidden)
                .map(|unit| {
                    let m = moments(hidden.iter().skip(unit).step_by(attention.hidden).copied());
                    let square = m.variance + m.mean.powi(2);
                    Moments { variance: m.variance + (0.6 * m.mean).powi(2) + 0.02 * square + 1e-12, ..m }
                })
                .collect();
            self.set_statistics(&path, &all)?;
            self.remake([scale, shift])?;
        }
        self.normalise(attention, &mut hidden);
        let Some(fc2) = self.tensor(attention.fc2) else { return Ok(()) };
        let mut weights = self.values(&fc2);
        let spread = spread(&weights, &hidden, attention.hidden);
        let factor = Uniform::new(0.12, 0.35).map_or(0.2, |range: Uniform<f32>| range.sample(self.rng));
        for w in &mut weights {
            *w *= factor;
        }
        self.replace(&fc2, weights)?;
        let bias = attention.fc2_bias.or(attention.basis.map(|b| b.bias));
        if let Some(name) = bias.and_then(|id| self.tensor(id)) {
            let count = self.values(&name).len();
            let values = normal(self.rng, 0.0, spread, count)?;
            self.replace(&name, values)?;
        }
        let constants = self.constants(attention);
        self.remake([attention.fc2].into_iter().chain(bias).chain(constants))?;
        Ok(())
    }

    /// What the bias of an attention's folded basis is part of.
    fn constants(&self, attention: &Attention) -> Option<WeightId> {
        self.planned.program.steps.iter().find_map(|step| match &step.op {
            Op::Conv(Conv { kernel, .. }) => match kernel.source {
                Source::Mixed(mixing) if mixing.attention == attention.output => mixing.constants,
                Source::Mixed(_) | Source::Weight(_) => None,
            },
            Op::Import(_)
            | Op::Export(_)
            | Op::GlobalAverage(_)
            | Op::Attention(_)
            | Op::Pool(_)
            | Op::LayerNorm(_)
            | Op::Map(_)
            | Op::Concat(_)
            | Op::Upsample(_)
            | Op::GatherRows(_) => None,
        })
    }

    /// `fc1 g + bias`, `[samples, hidden]`.
    fn hidden(&self, attention: &Attention, samples: usize) -> Vec<f32> {
        let average = self.model.buffer(attention.average);
        let fc1 = self.tensor(attention.fc1).map_or_else(Vec::new, |name| self.values(&name));
        let bias = attention.fc1_bias.map(|id| self.model.weight(id));
        let mut hidden = Vec::with_capacity(samples * attention.hidden);
        for g in average.chunks_exact(attention.channels) {
            for (unit, row) in fc1.chunks_exact(attention.channels).enumerate() {
                hidden.push(dot(row, g) + bias.map_or(0.0, |b| b[unit]));
            }
        }
        hidden
    }

    /// The attention's norm and rectifier.
    fn normalise(&self, attention: &Attention, hidden: &mut [f32]) {
        for sample in hidden.chunks_exact_mut(attention.hidden) {
            let (scale, shift): (Vec<f32>, Vec<f32>) = match attention.norm {
                AttentionNorm::Batch { scale, shift } => {
                    (self.model.weight(scale).to_vec(), self.model.weight(shift).to_vec())
                }
                AttentionNorm::Layer { weight, bias, epsilon } => {
                    let m = moments(sample.iter().copied());
                    let factor = ((m.variance + f64::from(epsilon)).sqrt().recip()) as f32;
                    let scale: Vec<f32> = self.model.weight(weight).iter().map(|w| w * factor).collect();
                    let bias = self.model.weight(bias);
                    let shift = scale.iter().zip(bias).map(|(s, b)| b - s * m.mean as f32).collect();
                    (scale, shift)
                }
            };
            for ((x, scale), shift) in sample.iter_mut().zip(scale).zip(shift) {
                *x = (*x * scale + shift).max(0.0);
            }
        }
    }

    /// A static linear layer over vectors gets a bias that takes the mean away from its outputs.
    fn linear(&mut self, linear: &Conv, samples: usize) -> Result<(), Error> {
        let (Source::Weight(kernel), Some(shift), [1, 1, 1]) =
            (linear.kernel.source, linear.epilogue.shift, linear.output_size)
        else {
            return Ok(());
        };
        let Some(Recipe::Copy { tensor: kernel }) = self.recipe(kernel) else { return Ok(()) };
        let Some(Recipe::Shift(affine)) = self.recipe(shift) else { return Ok(()) };
        let [Affine::Bias(bias)] = affine.as_slice() else { return Ok(()) };
        let kernel = self.values(kernel);
        let bias = bias.clone();
        let mean = self.mean(linear.input, linear.in_channels, samples);
        let drawn = self.values(&bias);
        let rows = kernel.chunks_exact(linear.in_channels);
        let values = rows.zip(drawn).map(|(row, b)| b - dot(row, &mean)).collect();
        self.replace(&bias, values)?;
        self.remake([shift])?;
        Ok(())
    }

    /// Mean of vectors over all samples.
    fn mean(&self, buffer: BufferId, channels: usize, samples: usize) -> Vec<f32> {
        let mut mean = vec![0.0; channels];
        for sample in self.model.buffer(buffer).chunks_exact(channels) {
            for (mean, x) in mean.iter_mut().zip(sample) {
                *mean += x / samples as f32;
            }
        }
        mean
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Standard deviation of all products of rows of `weights` with rows of `hidden`.
fn spread(weights: &[f32], hidden: &[f32], width: usize) -> f32 {
    let (mut sum, mut squares, mut count) = (0.0, 0.0, 0.0);
    for h in hidden.chunks_exact(width) {
        for row in weights.chunks_exact(width) {
            let z = f64::from(dot(row, h));
            sum += z;
            squares += z * z;
            count += 1.0;
        }
    }
    let mean = sum / f64::max(count, 1.0);
    (squares / f64::max(count, 1.0) - mean * mean).max(0.0).sqrt() as f32
}
