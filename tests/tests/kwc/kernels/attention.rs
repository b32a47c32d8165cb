//! The attention function, with either norm, with and without a basis and a temperature.

use kwc_runtime::program::{Attention, AttentionNorm, Basis, BufferId, Op, Temperature};

use super::{Assembly, Random, assert_close};

#[derive(Debug)]
struct Case {
    batch: usize,
    channels: usize,
    hidden: usize,
    mixtures: usize,
    cells: usize,
    layer_norm: bool,
    /// Local cells, start cell, rank.
    basis: Option<(usize, usize, usize)>,
    temperature: Option<f32>,
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

fn multiply(matrix: &[f64], vector: &[f64]) -> Vec<f64> {
    matrix.chunks_exact(vector.len()).map(|row| row.iter().zip(vector).map(|(a, b)| a * b).sum()).collect()
}

impl Case {
    fn check(&self, random: &mut Random) {
        let Self { batch, channels, hidden, mixtures, cells, .. } = *self;
        let rows = self.basis.map_or(cells + 1, |(local, _, rank)| local + rank + 1);
        let fc1 = random.values(hidden * channels);
        let fc1_bias = self.layer_norm.then(|| random.values(hidden));
        let (scale, shift) = (random.values(hidden), random.values(hidden));
        let fc2 = random.values(mixtures * rows * hidden);
        let bias = random.values(mixtures * (cells + 1));
        let fc3 = self.basis.map_or(vec![], |(local, _, rank)| random.values((cells - local) * rank));
        let beta: Vec<u32> = (0..mixtures).map(|_| u32::try_from(random.between(0, cells)).unwrap()).collect();
        let average = random.values(batch * channels);
        let epsilon = 1e-2;

        let mut assembly = Assembly::default();
        let input = assembly.input(channels);
        let output: BufferId = assembly.buffer(mixtures * cells);
        let (scale_id, shift_id) = (assembly.weight(&scale), assembly.weight(&shift));
        let op = Attention {
            average: input,
            output,
            channels,
            hidden,
            mixtures,
            cells,
            fc1: assembly.weight(&fc1),
            fc1_bias: fc1_bias.as_deref().map(|bias| assembly.weight(bias)),
            norm: if self.layer_norm {
                AttentionNorm::Layer { weight: scale_id, bias: shift_id, epsilon }
            } else {
                AttentionNorm::Batch { scale: scale_id, shift: shift_id }
            },
            fc2: assembly.weight(&fc2),
            fc2_bias: self.basis.is_none().then(|| assembly.weight(&bias)),
            basis: self.basis.map(|(local, start_cell, rank)| Basis {
                local,
                start_cell,
                rank,
                fc3: assembly.weight(&fc3),
                bias: assembly.weight(&bias),
            }),
            temperature: self.temperature.map(|t| Temperature { t, beta: beta.clone().into() }),
        };
        assembly.step(Op::Attention(op));
        let actual = assembly.run(output, batch, &[&average]);

        let mut expected = Vec::new();
        for average in wide(&average).chunks_exact(channels) {
            let mut units = multiply(&wide(&fc1), average);
            if let Some(bias) = &fc1_bias {
                units.iter_mut().zip(bias).for_each(|(unit, &bias)| *unit += f64::from(bias));
            }
            if self.layer_norm {
                let count = f64::from(u32::try_from(hidden).unwrap());
                let mean = units.iter().sum::<f64>() / count;
                let variance = units.iter().map(|unit| (unit - mean).powi(2)).sum::<f64>() / count;
                let root = (variance + f64::from(epsilon)).sqrt();
                units.iter_mut().for_each(|unit| *unit = (*unit - mean) / root);
            }
            for (index, unit) in units.iter_mut().enumerate() {
                *unit = (*unit * f64::from(scale[index]) + f64::from(shift[index])).max(0.0);
            }
            let logits = multiply(&wide(&fc2), &units);
            for (mixture, parts) in logits.chunks_exact(rows).enumerate() {
                let mut row = match self.basis {
                    None => parts.to_vec(),
                    Some((local, start, rank)) => {
                        let others = multiply(&wide(&fc3), &parts[local..local + rank]);
                        [&others[..start], &parts[..local], &others[start..], &parts[rows - 1..]].concat()
                    }
                };
                let bias = &bias[mixture * (cells + 1)..];
                row.iter_mut().zip(bias).for_each(|(logit, &bias)| *logit += f64::from(bias));
                let sum = row.iter().map(|logit| logit.abs()).sum::<f64>() + 1e-3;
                for (cell, logit) in row[..cells].iter().enumerate() {
                    let t = f64::from(self.temperature.unwrap_or(0.0));
                    let one = f64::from(u8::from(usize::try_from(beta[mixture]).unwrap() == cell));
                    expected.push((1.0 - t) * logit / sum + t * one);
                }
            }
        }
        assert_close(&actual, &expected, 2e-6, self);
    }
}

#[test]
fn attention_follows_the_method() {
    let mut random = Random(0xa77);
    for _ in 0..200 {
        let cells = random.between(1, 40);
        let local = random.between(0, cells);
        let basis = (local, random.between(0, cells - local), random.between(1, 20));
        let case = Case {
            batch: random.between(1, 3),
            channels: random.between(1, 70),
            hidden: random.between(1, 40),
            mixtures: random.between(1, 12),
            cells,
            layer_norm: random.yes(),
            basis: random.yes().then_some(basis),
            temperature: random.yes().then_some(0.4),
        };
        case.check(&mut random);
    }
}

#[test]
fn attention_of_many_mixtures_follows_the_method() {
    let mut random = Random(0x3a7);
    for basis in [None, Some((100, 250, 60))] {
        let (batch, channels, hidden, mixtures, cells) = (2, 300, 16, 90, 700);
        Case { batch, channels, hidden, mixtures, cells, layer_norm: false, basis, temperature: None }
            .check(&mut random);
    }
}

/// Two mixtures of three cells from four channels, all weights 0 but those given for `fc1`.
fn attend(fc1: &[f32; 8], average: &[f32; 4]) -> Vec<f32> {
    let (mut assembly, zeros) = (Assembly::default(), [0.0; 64]);
    let (input, output) = (assembly.input(4), assembly.buffer(6));
    let (scale, shift) = (assembly.weight(&[1.0; 2]), assembly.weight(&zeros[..2]));
    let op = Attention {
        average: input,
        output,
        channels: 4,
        hidden: 2,
        mixtures: 2,
        cells: 3,
        fc1: assembly.weight(fc1),
        fc1_bias: None,
        norm: AttentionNorm::Batch { scale, shift },
        fc2: assembly.weight(&zeros[..16]),
        fc2_bias: None,
        basis: None,
        temperature: None,
    };
    assembly.step(Op::Attention(op));
    let mut model = assembly.model(output, 1).unwrap();
    model.run(1, &[average]).unwrap();
    model.output(0).to_vec()
}

#[test]
fn attention_whose_logits_vanish_is_zero() {
    // The epsilon alone keeps the quotient finite.
    assert_eq!(attend(&[1.0; 8], &[1.0; 4]), [0.0; 6]);
}

#[test]
fn attention_keeps_what_is_no_number() {
    let average = [1.0, f32::NAN, 1.0, 1.0];
    assert!(attend(&[1.0; 8], &average).iter().all(|alpha| alpha.is_nan()));
}
