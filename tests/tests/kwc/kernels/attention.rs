//! The attention function, with either norm, with a basis, plain and folded, and with a temperature.

use kwc_runtime::program::{Attention, AttentionNorm, Basis, BufferId, Op, Temperature};

use super::panels::linear;
use super::{Assembly, Expected, Random, real, wide};

#[derive(Debug)]
struct Case {
    batch: usize,
    channels: usize,
    hidden: usize,
    mixtures: usize,
    cells: usize,
    layer_norm: bool,
    basis: Option<Local>,
    temperature: Option<f32>,
}

/// The cells of the layer itself, and the basis of the others.
#[derive(Debug, Clone, Copy)]
struct Local {
    cells: usize,
    start: usize,
    rank: usize,
    is_folded: bool,
}

fn multiply(matrix: &[f32], vector: &[f64]) -> Vec<f64> {
    matrix.chunks_exact(vector.len()).map(|row| row.iter().zip(vector).map(|(&a, b)| f64::from(a) * b).sum()).collect()
}

/// The weights of a case, as PyTorch has them.
struct Weights {
    fc1: Vec<f32>,
    fc1_bias: Option<Vec<f32>>,
    scale: Vec<f32>,
    shift: Vec<f32>,
    fc2: Vec<f32>,
    fc3: Vec<f32>,
    /// Of all logits, after the basis.
    bias: Option<Vec<f32>>,
    beta: Vec<u32>,
}

const EPSILON: f32 = 1e-2;

impl Case {
    /// Logits of a mixture that `fc2` gives.
    fn rows(&self) -> usize {
        self.basis.map_or(self.cells, |basis| basis.cells + basis.rank) + 1
    }

    fn weights(&self, random: &mut Random) -> Weights {
        let Self { channels, hidden, mixtures, cells, .. } = *self;
        let has_bias = self.basis.is_some() || random.yes();
        Weights {
            fc1: random.values(hidden * channels),
            fc1_bias: self.layer_norm.then(|| random.values(hidden)),
            scale: random.values(hidden),
            shift: random.values(hidden),
            fc2: random.values(mixtures * self.rows() * hidden),
            fc3: self.basis.map_or(vec![], |basis| random.values((cells - basis.cells) * basis.rank)),
            bias: has_bias.then(|| random.values(mixtures * (cells + 1))),
            beta: (0..mixtures).map(|_| u32::try_from(random.between(0, cells)).unwrap()).collect(),
        }
    }

    fn op(&self, assembly: &mut Assembly, weights: &Weights, average: BufferId, output: BufferId) -> Attention {
        let Self { channels, hidden, mixtures, cells, .. } = *self;
        let (scale, shift) = (assembly.weight(&weights.scale), assembly.weight(&weights.shift));
        let bias = weights.bias.as_deref().map(|bias| assembly.weight(bias));
        Attention {
            average,
            output,
            channels,
            hidden,
            mixtures,
            cells,
            fc1: assembly.weight(&linear(&weights.fc1, channels)),
            fc1_bias: weights.fc1_bias.as_deref().map(|bias| assembly.weight(bias)),
            norm: if self.layer_norm {
                AttentionNorm::Layer { weight: scale, bias: shift, epsilon: EPSILON }
            } else {
                AttentionNorm::Batch { scale, shift }
            },
            fc2: assembly.weight(&linear(&weights.fc2, hidden)),
            fc2_bias: bias.filter(|_| self.basis.is_none()),
            basis: self.basis.zip(bias).map(|(local, bias)| Basis {
                local: local.cells,
                start_cell: local.start,
                rank: local.rank,
                fc3: assembly.weight(&linear(&weights.fc3, local.rank)),
                bias,
                is_folded: local.is_folded,
            }),
            temperature: self.temperature.map(|t| Temperature { t, beta: weights.beta.clone().into() }),
        }
    }

    /// `relu(norm(fc1 g + bias))`
    fn hidden(&self, weights: &Weights, average: &[f32]) -> Vec<f64> {
        let mut units = multiply(&weights.fc1, &wide(average));
        if let Some(bias) = &weights.fc1_bias {
            units.iter_mut().zip(bias).for_each(|(unit, &bias)| *unit += f64::from(bias));
        }
        if self.layer_norm {
            let count = real(self.hidden);
            let mean = units.iter().sum::<f64>() / count;
            let variance = units.iter().map(|unit| (unit - mean).powi(2)).sum::<f64>() / count;
            let root = (variance + f64::from(EPSILON)).sqrt();
            units.iter_mut().for_each(|unit| *unit = (*unit - mean) / root);
        }
        let factors = weights.scale.iter().zip(&weights.shift);
        units.iter().zip(factors).map(|(x, (&a, &b))| (x * f64::from(a) + f64::from(b)).max(0.0)).collect()
    }

    /// What a mixture's logits, as `fc2` gives them, become.
    fn attend(&self, weights: &Weights, mixture: usize, parts: &[f64]) -> Vec<f64> {
        let cells = self.cells;
        let mut logits = match self.basis {
            None => parts.to_vec(),
            Some(Local { cells: local, start, rank, .. }) => {
                let others = multiply(&weights.fc3, &parts[local..local + rank]);
                [&others[..start], &parts[..local], &others[start..], &parts[local + rank..]].concat()
            }
        };
        if let Some(bias) = &weights.bias {
            let bias = &bias[mixture * (cells + 1)..];
            logits.iter_mut().zip(bias).for_each(|(logit, &bias)| *logit += f64::from(bias));
        }
        let sum = logits.iter().map(|logit| logit.abs()).sum::<f64>() + 1e-3;
        match self.basis {
            // The layer's own logits, those of the basis, and 1.
            Some(Local { cells: local, start, rank, is_folded: true }) => {
                let kept = logits[start..start + local].iter().chain(&parts[local..local + rank]).chain(&[1.0]);
                kept.map(|logit| logit / sum).collect()
            }
            Some(Local { is_folded: false, .. }) | None => {
                let t = f64::from(self.temperature.unwrap_or(0.0));
                let beta = |cell: usize| real(usize::from(usize::try_from(weights.beta[mixture]).unwrap() == cell));
                let blended = |(cell, logit)| (1.0 - t) * logit / sum + t * beta(cell);
                logits[..cells].iter().enumerate().map(blended).collect()
            }
        }
    }

    fn check(&self, random: &mut Random) {
        let weights = self.weights(random);
        let average = random.values(self.batch * self.channels);
        let mut expected = Vec::new();
        for average in average.chunks_exact(self.channels) {
            let logits = multiply(&weights.fc2, &self.hidden(&weights, average));
            for (mixture, parts) in logits.chunks_exact(self.rows()).enumerate() {
                expected.extend(self.attend(&weights, mixture, parts));
            }
        }
        let mut assembly = Assembly::default();
        let input = assembly.input(self.channels);
        let output = assembly.buffer(expected.len() / self.batch);
        let op = self.op(&mut assembly, &weights, input, output);
        assembly.step(Op::Attention(op));
        assembly.check(self.batch, &[&average], &[Expected::new(output, expected, 2e-6)], self);
    }
}

#[test]
fn attention_follows_the_method() {
    let mut random = Random(0xa77);
    for _ in 0..200 {
        let cells = random.between(1, 40);
        let local = random.between(0, cells);
        let is_folded = random.yes();
        let (start, rank) = (random.between(0, cells - local), random.between(1, 20));
        let basis = random.yes().then_some(Local { cells: local, start, rank, is_folded });
        let case = Case {
            batch: random.pick(&[1, 2, 3, 14]),
            channels: random.between(1, 70),
            hidden: random.between(1, 40),
            mixtures: random.between(1, 12),
            cells,
            layer_norm: random.yes(),
            basis,
            // A folded basis is for inference.
            temperature: (random.yes() && !(is_folded && basis.is_some())).then_some(0.4),
        };
        case.check(&mut random);
    }
}

#[test]
fn attention_of_many_mixtures_follows_the_method() {
    let mut random = Random(0x3a7);
    let basis = |is_folded| Some(Local { cells: 100, start: 250, rank: 60, is_folded });
    for basis in [None, basis(false), basis(true)] {
        let (batch, channels, hidden, mixtures, cells) = (2, 300, 16, 90, 700);
        Case { batch, channels, hidden, mixtures, cells, layer_norm: false, basis, temperature: None }
            .check(&mut random);
    }
}

/// Two mixtures of three cells from four channels, all weights 0 but those of `fc1`, which are 1.
fn attend(average: &[f32; 4], mut each: impl FnMut(&[f32])) {
    let case = Case {
        batch: 1,
        channels: 4,
        hidden: 2,
        mixtures: 2,
        cells: 3,
        layer_norm: false,
        basis: None,
        temperature: None,
    };
    let weights = Weights {
        fc1: vec![1.0; 8],
        fc1_bias: None,
        scale: vec![1.0; 2],
        shift: vec![0.0; 2],
        fc2: vec![0.0; 16],
        fc3: vec![],
        bias: None,
        beta: vec![],
    };
    let mut assembly = Assembly::default();
    let (input, output) = (assembly.input(4), assembly.buffer(6));
    let op = case.op(&mut assembly, &weights, input, output);
    assembly.step(Op::Attention(op));
    assembly.every_way(output, 1, &[average], |model, _| each(model.output(0)));
}

#[test]
fn attention_whose_logits_vanish_is_zero() {
    // The epsilon alone keeps the quotient finite.
    attend(&[1.0; 4], |alphas| assert_eq!(alphas, [0.0; 6]));
}

#[test]
fn attention_keeps_what_is_no_number() {
    attend(&[1.0, f32::NAN, 1.0, 1.0], |alphas| assert!(alphas.iter().all(|alpha| alpha.is_nan()), "{alphas:?}"));
}
