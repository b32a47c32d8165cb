//! `kwc eval`: a classifier's accuracy on a folder of images.

mod dataset;

use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Instant;

use clap::Args;
use kwc_compiler::ir::Network;
use rayon::prelude::*;
use serde::Serialize;

use crate::failure::Failure;
use crate::images::Preparation;
use crate::model::{Model, ModelArguments};
use crate::spec::SpecArguments;
use crate::terminal::{self, EMPHASIS, Format};
use crate::warnings::{Warnings, not_finite};
use crate::{progress, scores};
use dataset::{Dataset, Sample};

/// Measure a classifier's accuracy on a folder of images
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kwc eval specs/resnet18.yaml --weights kw.pth --data imagenet/val
  kwc eval SPEC --weights compiled/NAME/weights.safetensors --data DATA

DATA has one folder for each class, as ImageNet does: sorted by name, the first folder is class 0. The images in it are \
PNG or JPEG files; other files are ignored.")]
pub(crate) struct Arguments {
    #[command(flatten)]
    spec: SpecArguments,

    #[command(flatten)]
    model: ModelArguments,

    /// The images: a folder with a folder for each class
    #[arg(long, value_name = "DATA")]
    data: PathBuf,

    /// Images to run at a time
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    batch: u16,

    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Runs the network on all images and prints how many it got right.
///
/// # Errors
/// What is wrong with the spec, the weights or the data. Images that can't be read don't stop the rest: the figures are of
/// the others, and [`Failure::Reported`] comes after them.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let checked = arguments.spec.load()?;
    let network = checked.network();
    let classes = classes(network)?;
    let preparation = Preparation::of(network)?;
    let batch = arguments.model.at_most(usize::from(arguments.batch));
    let opened = arguments.model.open(&checked, &[], batch)?;
    let dataset = Dataset::read(&arguments.data)?;
    if dataset.classes != classes {
        return Err(Failure::file(
            &arguments.data,
            format!("there are {} folders, but `{}` tells {classes} classes apart", dataset.classes, network.name),
        )
        .hint("there must be one folder for each class; if the spec has a parameter for their number, set it: `--set NAME=VALUE`"));
    }
    let mut warnings = Warnings::default();
    let mut model = opened.load(&mut warnings)?;
    let tally = evaluate(&mut model, &preparation, &dataset.samples, batch)?;
    let output = network.outputs.first().map_or("output", |port| port.name.as_str());
    let input = network.inputs.first().map_or("input", |port| port.name.as_str());
    warnings.input(input, tally.inputs_not_finite, tally.inputs);
    warnings.output(output, tally.not_finite, tally.values, model.is_half());
    match arguments.format {
        Format::Json => terminal::print_json(&tally.report(classes, &warnings))?,
        Format::Text => terminal::print(&tally.text(classes))?,
    }
    if tally.unreadable.is_empty() {
        return Ok(());
    }
    for failure in &tally.unreadable {
        terminal::error(failure);
    }
    let (bad, all) = (tally.unreadable.len(), dataset.samples.len());
    Err(Failure::input(format!("{bad} of {all} images could not be used; the figures are of the others")))
}

/// How many classes the network tells apart.
fn classes(network: &Network) -> Result<usize, Failure> {
    let [output] = network.outputs.as_slice() else {
        return Err(Failure::input(format!(
            "`{}` has {} outputs, and a classifier has one",
            network.name,
            network.outputs.len()
        )));
    };
    let shape = &network.value(output.value).shape;
    if shape.is_vector() {
        Ok(shape.channels)
    } else {
        Err(Failure::input(format!("the output `{}` has shape {shape}, and a classifier's is a vector", output.name)))
    }
}

/// What an evaluation found.
#[derive(Default)]
struct Tally {
    images: usize,
    top1: usize,
    top5: usize,
    seconds: f64,
    unreadable: Vec<Failure>,
    /// Values of all inputs.
    inputs: usize,
    /// Those that are infinite or no number.
    inputs_not_finite: usize,
    /// Values of all outputs.
    values: usize,
    /// Those that are infinite or no number.
    not_finite: usize,
}

/// Runs the network on all samples. The next batch is decoded while the network runs on one.
fn evaluate(model: &mut Model, preparation: &Preparation, samples: &[Sample], batch: usize) -> Result<Tally, Failure> {
    let mut tally = Tally::default();
    let bar = progress::bar("Evaluating", samples.len());
    let start = Instant::now();
    std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel(1);
        scope.spawn(move || {
            for batch in samples.chunks(batch) {
                let decoded: Vec<Result<Vec<f32>, String>> =
                    batch.par_iter().map(|sample| preparation.read(&sample.path)).collect();
                // The receiver is gone if the network failed.
                if sender.send((batch, decoded)).is_err() {
                    return;
                }
            }
        });
        for (batch, decoded) in receiver {
            tally.add(model, batch, decoded)?;
            bar.advance(batch.len());
        }
        Ok::<(), Failure>(())
    })?;
    tally.seconds = start.elapsed().as_secs_f64();
    Ok(tally)
}

impl Tally {
    fn add(
        &mut self,
        model: &mut Model,
        batch: &[Sample],
        decoded: Vec<Result<Vec<f32>, String>>,
    ) -> Result<(), Failure> {
        let mut input = Vec::new();
        let mut readable = Vec::new();
        for (sample, pixels) in batch.iter().zip(decoded) {
            match pixels {
                Ok(pixels) => {
                    input.extend(pixels);
                    readable.push(sample);
                }
                Err(what) => self.unreadable.push(Failure::file(&sample.path, what)),
            }
        }
        if readable.is_empty() {
            return Ok(());
        }
        self.inputs += input.len();
        self.inputs_not_finite += not_finite(&input);
        model.run(readable.len(), vec![input])?;
        let output = model.output(0);
        self.values += output.len();
        self.not_finite += not_finite(output);
        let classes = output.len() / readable.len();
        for (sample, scores) in readable.iter().zip(output.chunks_exact(classes.max(1))) {
            let Some(rank) = scores::rank(scores, sample.class) else {
                self.unreadable
                    .push(Failure::file(&sample.path, "the network's output for this image is not a number"));
                continue;
            };
            self.images += 1;
            self.top1 += usize::from(rank < 1);
            self.top5 += usize::from(rank < 5);
        }
        Ok(())
    }

    fn fraction(&self, count: usize) -> f64 {
        if self.images == 0 { 0.0 } else { count as f64 / self.images as f64 }
    }

    fn report<'w>(&self, classes: usize, warnings: &'w Warnings) -> Report<'w> {
        let accuracy = |right| Accuracy { right, fraction: self.fraction(right) };
        Report {
            classes,
            images: self.images,
            unreadable: self.unreadable.len(),
            top1: accuracy(self.top1),
            top5: accuracy(self.top5),
            seconds: self.seconds,
            images_per_second: self.images_per_second(),
            warnings,
        }
    }

    fn images_per_second(&self) -> f64 {
        self.images as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }

    fn text(&self, classes: usize) -> String {
        let line = |name: &str, right: usize| {
            let percent = self.fraction(right) * 100.0;
            format!("{EMPHASIS}{name} {percent:>7.2} %{EMPHASIS:#}  {right} of {} right\n", self.images)
        };
        format!(
            "{}{}{} images of {classes} classes in {:.1} s, {:.1} images/s\n",
            line("top-1", self.top1),
            line("top-5", self.top5),
            self.images,
            self.seconds,
            self.images_per_second()
        )
    }
}

/// The JSON of an evaluation.
#[derive(Serialize)]
struct Report<'w> {
    classes: usize,
    images: usize,
    unreadable: usize,
    top1: Accuracy,
    top5: Accuracy,
    seconds: f64,
    images_per_second: f64,
    warnings: &'w Warnings,
}

#[derive(Serialize)]
struct Accuracy {
    right: usize,
    fraction: f64,
}
