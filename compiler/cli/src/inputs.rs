//! The input of `kwc run`: tensors of a safetensors file, or images.

use std::ops::Range;
use std::path::{Path, PathBuf};

use kwc_compiler::ir::Network;
use kwc_compiler::weights::{Checkpoint, Error, Tensors as _};
use rayon::prelude::*;

use crate::failure::Failure;
use crate::images::Preparation;

/// The samples to run a network on.
pub(crate) enum Inputs {
    /// One tensor `[samples, shape...]` for each input of the network.
    Tensors(Tensors),
    /// One sample for each image.
    Images(Images),
}

/// Tensors of a safetensors file.
pub(crate) struct Tensors {
    file: Checkpoint,
    /// Names of the network's inputs and elements of one sample.
    ports: Vec<(String, usize)>,
    samples: usize,
}

/// Image files.
pub(crate) struct Images {
    paths: Vec<PathBuf>,
    preparation: Preparation,
}

impl Inputs {
    /// Opens the inputs and compares them with the network.
    ///
    /// # Errors
    /// If they can't be read, or aren't what the network takes.
    pub(crate) fn open(paths: &[PathBuf], network: &Network) -> Result<Self, Failure> {
        if paths.iter().all(|p| is_image(p)) {
            let preparation = Preparation::of(network)?;
            return Ok(Self::Images(Images { paths: paths.to_vec(), preparation }));
        }
        match paths {
            [path] => Tensors::open(path, network).map(Self::Tensors),
            _ => Err(Failure::input("several inputs are given, and not all of them are images")
                .hint("give one .safetensors file, or any number of .png, .jpg and .jpeg files")),
        }
    }

    /// How many samples there are.
    pub(crate) fn samples(&self) -> usize {
        match self {
            Self::Tensors(tensors) => tensors.samples,
            Self::Images(images) => images.paths.len(),
        }
    }

    /// Reads some samples: for each input of the network `[range.len(), shape...]`.
    ///
    /// # Errors
    /// If they can't be read.
    pub(crate) fn read(&mut self, range: Range<usize>) -> Result<Vec<Vec<f32>>, Failure> {
        match self {
            Self::Tensors(tensors) => tensors.read(&range),
            Self::Images(images) => images.read(range),
        }
    }

    /// The images, if that is what the samples are.
    pub(crate) fn images(&self) -> Option<&Images> {
        match self {
            Self::Tensors(_) => None,
            Self::Images(images) => Some(images),
        }
    }
}

impl Images {
    /// The files, in the order of the samples.
    pub(crate) fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Names of the classes; may be empty.
    pub(crate) fn labels(&self) -> &[String] {
        self.preparation.labels()
    }

    fn read(&self, range: Range<usize>) -> Result<Vec<Vec<f32>>, Failure> {
        let paths = self.paths.get(range).unwrap_or_default();
        let read = |path: &PathBuf| self.preparation.read(path).map_err(|e| Failure::file(path, e));
        let samples = paths.par_iter().map(read).collect::<Result<Vec<_>, _>>()?;
        Ok(vec![samples.concat()])
    }
}

impl Tensors {
    fn open(path: &Path, network: &Network) -> Result<Self, Failure> {
        let file = Checkpoint::open(path, None).map_err(|e| {
            if let Error::Unsupported { problem, .. } = e {
                Failure::file(path, problem).hint("give one .safetensors file, or images called .png, .jpg or .jpeg")
            } else {
                e.into()
            }
        })?;
        let mut ports = Vec::new();
        let mut samples: Option<(&str, usize)> = None;
        for port in &network.inputs {
            let shape = &network.value(port.value).shape;
            let wanted = format!(
                "`{}` takes an input `{}` of shape [samples, {}]",
                network.name,
                port.name,
                list(&shape.dims())
            );
            let Some(info) = file.info(&port.name) else {
                let names: Vec<String> =
                    file.tensors().take(8).map(|(name, _)| format!("`{}`", name.escape_debug())).collect();
                let more = if file.tensors().count() > names.len() { ", ..." } else { "" };
                return Err(Failure::file(path, format!("there is no tensor `{}`", port.name))
                    .hint(format!("{wanted}; the file has {}{more}", names.join(", "))));
            };
            if !info.dtype.is_float() {
                return Err(Failure::file(path, format!("tensor `{}` is of type {}", port.name, info.dtype))
                    .hint("inputs are f32, f16, bf16 or f64"));
            }
            let count = match info.shape.split_first() {
                Some((&count, dims)) if dims == shape.dims() => count,
                Some(_) | None => return Err(wrong_shape(path, &port.name, &info.shape, &shape.dims(), &wanted)),
            };
            if count == 0 {
                return Err(Failure::file(path, format!("tensor `{}` has no samples", port.name)));
            }
            match samples {
                Some((other, known)) if known != count => {
                    return Err(Failure::file(
                        path,
                        format!("`{other}` has {known} samples, but `{}` has {count}", port.name),
                    ));
                }
                Some(_) | None => samples = Some((&port.name, count)),
            }
            ports.push((port.name.clone(), shape.elements()));
        }
        let samples = samples.map_or(0, |(_, count)| count);
        Ok(Self { file, ports, samples })
    }

    fn read(&mut self, range: &Range<usize>) -> Result<Vec<Vec<f32>>, Failure> {
        let mut inputs = Vec::new();
        for (name, elements) in &self.ports {
            let mut values = vec![0.0; range.len() * elements];
            self.file.read(name, range.start * elements, &mut values)?;
            inputs.push(values);
        }
        Ok(inputs)
    }
}

fn wrong_shape(path: &Path, name: &str, found: &[usize], dims: &[usize], wanted: &str) -> Failure {
    let hint = if found == dims {
        format!("{wanted}: add the dimension of samples in front, `x.unsqueeze(0)`")
    } else {
        format!("{wanted}; if the spec has a parameter for the size, set it: `--set NAME=VALUE`")
    };
    Failure::file(path, format!("tensor `{name}` has shape [{}]", list(found))).hint(hint)
}

fn list(sizes: &[usize]) -> String {
    sizes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Whether a file's name is that of an image.
pub(crate) fn is_image(path: &Path) -> bool {
    path.extension().is_some_and(|e| ["png", "jpg", "jpeg"].iter().any(|known| e.eq_ignore_ascii_case(known)))
}
