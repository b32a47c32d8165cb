//! `kwc run`: a network's output for tensors or images.

use std::path::{Path, PathBuf};

use clap::Args;
use kwc_compiler::ir::Network;
use kwc_compiler::weights::State;
use serde::Serialize;

use crate::failure::Failure;
use crate::inputs::{Images, Inputs};
use crate::model::{Model, ModelArguments};
use crate::output::Output;
use crate::progress;
use crate::scores::{self, Guess};
use crate::spec::SpecArguments;
use crate::terminal::{self, DIM, EMPHASIS, Format};
use crate::warnings::{Warnings, not_finite};

/// Classes to show for an image.
const BEST: usize = 5;
/// Values to show of a sample.
const FIRST: usize = 6;
/// Samples to show.
const SHOWN: usize = 16;

/// Run a network on tensors or images
#[derive(Debug, Args)]
#[command(
    override_usage = "kwc run <SPEC> --weights <FILE> --input <FILE>... [OPTIONS]",
    after_help = "\
Examples:
  kwc run specs/resnet18.yaml --weights kw.pth --input cat.jpg
  kwc run specs/resnet18.yaml --weights kw.pth --input x.safetensors --output y.safetensors
  kwc run SPEC --weights W --input X --output Y --dump layer1.0,layer1.0.conv1.attention
  kwc run SPEC --weights W --input X --device cuda --precision f32
  kwc run SPEC --weights compiled/NAME/weights.safetensors --input X

A .safetensors input holds a tensor [samples, shape...] for each input of the spec, by its name (`input` where there is \
only one), in f32, f16, bf16 or f64. Images (PNG, JPEG) need an `image:` section in the spec; EXIF orientation is ignored. \
The output file holds the spec's outputs in f32, and dumps as `act/PATH`."
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    spec: SpecArguments,

    #[command(flatten)]
    model: ModelArguments,

    /// A .safetensors file, or images (several may be given)
    #[arg(long, short, required = true, num_args = 1.., value_name = "FILE")]
    input: Vec<PathBuf>,

    /// Where to write the outputs, as a .safetensors file
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Modules whose result to write too, by path; `PATH.attention` is the attention of a dynamic layer
    #[arg(long, value_delimiter = ',', value_name = "PATH,...", value_parser = path)]
    dump: Vec<String>,

    /// Samples to run at a time
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    batch: u16,

    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// A module's path, without spaces around it.
fn path(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("there is no path between the commas".to_owned()),
        path => Ok(path.to_owned()),
    }
}

/// Runs the network and prints or writes what comes out.
///
/// # Errors
/// What is wrong with the spec, the weights, the input or the place of the output.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let output = arguments.output.as_ref().map(|path| {
        let mut inputs: Vec<&Path> = arguments.input.iter().map(PathBuf::as_path).collect();
        inputs.extend(arguments.model.weights.as_deref());
        inputs.push(Path::new(&arguments.spec.spec));
        Output::at(path, &inputs)
    });
    let output = output.transpose()?;
    let checked = arguments.spec.load()?;
    let network = checked.network();
    let mut inputs = Inputs::open(&arguments.input, network)?;
    let samples = inputs.samples();
    let batch = arguments.model.at_most(usize::from(arguments.batch)).min(samples.max(1));
    let opened = arguments.model.open(&checked, &arguments.dump, batch)?;
    if inputs.images().is_some() && !arguments.dump.is_empty() && output.is_none() {
        return Err(Failure::input("with images, `--dump` has nowhere to go").hint("give `--output FILE` too"));
    }
    let mut warnings = Warnings::default();
    let mut model = opened.load(&mut warnings)?;

    let mut results = ports(&model, network, samples)?;
    // Of each input, the values that are not finite, and all.
    let mut read = vec![(0, 0); network.inputs.len()];
    let bar = progress::bar("Running", samples);
    for start in (0..samples).step_by(batch) {
        let range = start..(start + batch).min(samples);
        let count = range.len();
        let values = inputs.read(range)?;
        for ((bad, all), values) in read.iter_mut().zip(&values) {
            *bad += not_finite(values);
            *all += values.len();
        }
        model.run(count, values)?;
        for result in &mut results {
            let values = match result.port {
                Port::Output(i) => model.output(i),
                Port::Dump(i) => model.dump(i),
            };
            result.values.extend_from_slice(values);
        }
        bar.advance(count);
    }
    drop(bar);
    for (port, (bad, all)) in network.inputs.iter().zip(read) {
        warnings.input(&port.name, bad, all);
    }
    for Computed { name, values, .. } in &results {
        warnings.output(name, not_finite(values), values.len(), model.is_half());
    }

    let text = match (inputs.images(), results.as_slice()) {
        (Some(images), [scores, ..]) if scores.shape.len() == 1 => {
            Some(guesses(arguments.format, images, scores, &warnings)?)
        }
        _ if output.is_some() && arguments.format == Format::Text => None,
        _ => Some(summaries(arguments.format, &results, samples, &warnings)?),
    };
    if let Some(output) = &output {
        let mut state = State::default();
        for result in results {
            state.insert(result.name.clone(), result.full_shape(samples), result.values)?;
        }
        output.write(|file| state.write_safetensors(file))?;
    }
    text.map_or(Ok(()), |text| terminal::print(&text))
}

/// A tensor that the run makes.
struct Computed {
    name: String,
    port: Port,
    /// Shape of one sample; of an attention, `[mixtures, cells]`.
    shape: Vec<usize>,
    /// Whether the samples' mixtures stand in one dimension, as PyTorch has them: `[samples * mixtures, cells]`.
    joined: bool,
    values: Vec<f32>,
}

#[derive(Clone, Copy)]
enum Port {
    Output(usize),
    Dump(usize),
}

impl Computed {
    fn full_shape(&self, samples: usize) -> Vec<usize> {
        match self.shape.split_first() {
            Some((first, rest)) if self.joined => {
                std::iter::once(samples * first).chain(rest.iter().copied()).collect()
            }
            Some(_) | None => std::iter::once(samples).chain(self.shape.iter().copied()).collect(),
        }
    }

    fn samples(&self) -> std::slice::ChunksExact<'_, f32> {
        self.values.chunks_exact(self.shape.iter().product::<usize>().max(1))
    }
}

/// Room for what the model makes of all samples.
fn ports(model: &Model, network: &Network, samples: usize) -> Result<Vec<Computed>, Failure> {
    let (outputs, dumps) = model.ports();
    let computed = |name: String, port: Port, shape: &[usize], joined: bool| {
        let elements = shape.iter().product::<usize>().saturating_mul(samples);
        let mut values = Vec::new();
        values.try_reserve_exact(elements).map_err(|_| {
            Failure::input(format!("out of memory: `{name}` of {samples} samples has {elements} values"))
                .hint("run on fewer samples")
        })?;
        Ok(Computed { name, port, shape: shape.to_vec(), joined, values })
    };
    let outputs = outputs.iter().enumerate();
    let outputs = outputs.map(|(i, port)| computed(port.name.to_owned(), Port::Output(i), port.shape, false));
    let dumps = dumps.iter().enumerate().map(|(i, port)| {
        // What isn't a module is an attention.
        let joined = !network.paths.contains_key(port.name);
        computed(format!("act/{}", port.name), Port::Dump(i), port.shape, joined)
    });
    outputs.chain(dumps).collect()
}

#[derive(Serialize)]
struct ImageEntry {
    image: String,
    best: Vec<Guess>,
}

fn guesses(format: Format, images: &Images, scores: &Computed, warnings: &Warnings) -> Result<String, Failure> {
    let entries: Vec<ImageEntry> = images
        .paths()
        .iter()
        .zip(scores.samples())
        .map(|(path, sample)| ImageEntry {
            image: path.display().to_string(),
            best: scores::best(sample, BEST, images.labels()),
        })
        .collect();
    match format {
        Format::Json => terminal::json(&serde_json::json!({ "images": entries, "warnings": warnings })),
        Format::Text => {
            let mut text = String::new();
            for entry in &entries {
                text.push_str(&format!("{EMPHASIS}{}{EMPHASIS:#}\n", entry.image));
                if entry.best.iter().any(|guess| guess.probability.is_nan()) {
                    text.push_str("  no class: the scores are infinite or not a number\n");
                    continue;
                }
                for guess in &entry.best {
                    let label = guess.label.as_deref().unwrap_or("");
                    let line = format!("{:>7.2} %  {:>5}  {label}", guess.probability * 100.0, guess.class);
                    text.push_str(line.trim_end());
                    text.push('\n');
                }
            }
            Ok(text)
        }
    }
}

#[derive(Serialize)]
struct TensorEntry<'a> {
    name: &'a str,
    shape: Vec<usize>,
    samples: Vec<SampleEntry<'a>>,
}

#[derive(Serialize)]
struct SampleEntry<'a> {
    /// Index of the largest value of a vector that has any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    argmax: Option<usize>,
    first: &'a [f32],
}

fn summaries(format: Format, results: &[Computed], samples: usize, warnings: &Warnings) -> Result<String, Failure> {
    let entries: Vec<TensorEntry<'_>> = results
        .iter()
        .map(|r| TensorEntry {
            name: &r.name,
            shape: r.full_shape(samples),
            samples: r
                .samples()
                .map(|sample| SampleEntry {
                    argmax: (r.shape.len() == 1)
                        .then(|| scores::best(sample, 1, &[]).first().map(|g| g.class))
                        .flatten()
                        .filter(|_| sample.iter().any(|x| !x.is_nan())),
                    first: sample.get(..FIRST.min(sample.len())).unwrap_or_default(),
                })
                .collect(),
        })
        .collect();
    match format {
        Format::Json => terminal::json(&serde_json::json!({ "outputs": entries, "warnings": warnings })),
        Format::Text => Ok(entries.iter().map(summary).collect()),
    }
}

fn summary(entry: &TensorEntry<'_>) -> String {
    let mut text = format!("{EMPHASIS}{}{EMPHASIS:#} {:?}\n", entry.name, entry.shape);
    let elements: usize = entry.shape.iter().product();
    let more = if elements > entry.samples.len() * FIRST { " ..." } else { "" };
    for (i, sample) in entry.samples.iter().take(SHOWN).enumerate() {
        let values: Vec<String> = sample.first.iter().map(|x| format!("{x:>10.4}")).collect();
        let argmax = sample.argmax.map_or_else(String::new, |i| format!("  {DIM}largest at{DIM:#} {i}"));
        text.push_str(&format!("  {DIM}{i:>4}{DIM:#} {}{more}{argmax}\n", values.join(" ")));
    }
    if entry.samples.len() > SHOWN {
        text.push_str(&format!("  {DIM}and {} more samples{DIM:#}\n", entry.samples.len() - SHOWN));
    }
    text
}
