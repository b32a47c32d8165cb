//! A state dict in memory.

use std::collections::BTreeMap;
use std::io::{self, Write};

use safetensors::tensor::{Dtype, Metadata, TensorInfo};

use super::{Error, Tensors};

/// Named tensors of `f32`, in the order in which they were put in.
#[derive(Debug, Clone, Default)]
pub struct State {
    tensors: Vec<Tensor>,
    index: BTreeMap<String, usize>,
}

#[derive(Debug, Clone)]
struct Tensor {
    name: String,
    shape: Vec<usize>,
    values: Vec<f32>,
}

impl State {
    /// Adds a tensor, `values` in row-major order, or replaces the one that had its name.
    ///
    /// # Errors
    /// [`Error::Shape`] if the values don't fill the shape.
    pub fn insert(&mut self, name: impl Into<String>, shape: Vec<usize>, values: Vec<f32>) -> Result<(), Error> {
        let name = name.into();
        let elements = shape.iter().try_fold(1, |product: usize, &d| product.checked_mul(d));
        if elements != Some(values.len()) {
            return Err(Error::Shape { name, shape, elements: values.len() });
        }
        let tensor = Tensor { name: name.clone(), shape, values };
        match self.index.get(&name).and_then(|&i| self.tensors.get_mut(i)) {
            Some(known) => *known = tensor,
            None => {
                self.index.insert(name, self.tensors.len());
                self.tensors.push(tensor);
            }
        }
        Ok(())
    }

    /// Shape and values of a tensor.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<(&[usize], &[f32])> {
        let tensor = self.tensors.get(*self.index.get(name)?)?;
        Some((&tensor.shape, &tensor.values))
    }

    /// Name, shape and values of all tensors.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &[usize], &[f32])> {
        self.tensors.iter().map(|t| (t.name.as_str(), t.shape.as_slice(), t.values.as_slice()))
    }

    /// Writes the state as safetensors, tensors in their order. The same state gives the same bytes.
    ///
    /// # Errors
    /// [`Error::Write`] if `out` fails.
    pub fn write_safetensors(&self, out: &mut dyn Write) -> Result<(), Error> {
        self.write(out).map_err(|source| Error::Write { source })
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut end = 0;
        let infos = self.tensors.iter().map(|t| {
            let start = end;
            end += t.values.len() * size_of::<f32>();
            (t.name.clone(), TensorInfo { dtype: Dtype::F32, shape: t.shape.clone(), data_offsets: (start, end) })
        });
        let metadata = Metadata::new(None, infos.collect()).map_err(io::Error::other)?;
        let mut header = serde_json::to_vec(&metadata)?;
        // The data starts at a multiple of eight bytes.
        header.resize(header.len().next_multiple_of(8), b' ');
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&header)?;
        let mut bytes = Vec::new();
        for values in self.tensors.iter().flat_map(|t| t.values.chunks(1 << 14)) {
            bytes.clear();
            bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
            out.write_all(&bytes)?;
        }
        out.flush()
    }
}

impl Tensors for State {
    fn read(&mut self, name: &str, start: usize, out: &mut [f32]) -> Result<(), Error> {
        const FILE: &str = "the state in memory";
        let Some((_, values)) = self.get(name) else {
            return Err(Error::NoTensor { file: FILE.to_owned(), name: name.to_owned() });
        };
        let end = start.saturating_add(out.len());
        let Some(piece) = values.get(start..end) else {
            return Err(Error::Range {
                file: FILE.to_owned(),
                name: name.to_owned(),
                elements: values.len(),
                start,
                end,
            });
        };
        out.copy_from_slice(piece);
        Ok(())
    }
}
