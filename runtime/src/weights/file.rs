//! Packed weights from a file: mapped, or read.

use std::fs::File;
use std::io::{Read, Seek as _, SeekFrom};
use std::path::Path;

use super::map::Map;
use super::{Origin, Store, Weights};
use crate::packed::{self, DATA_ALIGNMENT, Header, Target};
use crate::program::Program;
use crate::{Error, hash};

/// Bytes that are read at a time.
const PIECE: usize = 1 << 16;

impl Weights {
    /// Maps a file that `kwc compile --target cpu --weights` wrote for a Program, and waits for no more than its head: the system is
    /// asked to read the rest ahead, and processes that map the same file share them. What is changed of the weights
    /// (as by [`crate::cpu::Model::weight_mut`]) stays in this process.
    ///
    /// The file's version, target, table and length are checked; its bytes are not compared with their hash, which would read all
    /// of them on one thread (0.6 ms a megabyte where the processor has instructions for SHA-256, several times as much where
    /// not). [`Weights::read`] does that, and `kwc compile --check`.
    ///
    /// While the weights live, the file must not be changed in place nor cut: the first is undefined behaviour, at best weights that
    /// change under way, and the second ends the process (SIGBUS). To put another in its place, rename it there, as `kwc compile` and
    /// [`packed::PackedWeights::write`] do; the map is then still that of the old file. Where that cannot be relied on, take
    /// [`Weights::read`]. On big-endian processors and where a file cannot be mapped, it is read.
    ///
    /// # Errors
    ///
    /// [`Error::WeightsFile`] if it cannot be read, is no such file, is cut off, of another version, for another target or
    /// another Program; [`Error::Memory`] if it has to be read and the memory does not suffice.
    pub fn open(path: &Path, program: &Program) -> Result<Self, Error> {
        let (mut file, header, start) = head(path, program)?;
        let mapped = usize::try_from(start)
            .ok()
            .and_then(|start| Map::new(&file, start, program.weight_elements, DATA_ALIGNMENT));
        match mapped {
            Some(map) => Ok(Self { store: Store::Mapped(map), origin: origin(header) }),
            None => copy(path, &mut file, header, start, program),
        }
    }

    /// Reads such a file into memory, and compares its bytes with their hash. Nothing that happens to the file later matters.
    ///
    /// # Errors
    ///
    /// As [`Weights::open`]; [`Error::WeightsFile`] if it is damaged, too.
    pub fn read(path: &Path, program: &Program) -> Result<Self, Error> {
        let (mut file, header, start) = head(path, program)?;
        copy(path, &mut file, header, start, program)
    }

    /// Whether they are a map of a file.
    #[must_use]
    pub fn is_mapped(&self) -> bool {
        match &self.store {
            Store::Mapped(_) => true,
            Store::Owned(_) => false,
        }
    }

    /// Their bytes, as they are in a file.
    #[cfg(target_endian = "little")]
    pub(crate) fn bytes(&self) -> &[u8] {
        super::map::bytes(self)
    }
}

/// Opens a file and checks what it says of itself. Gives the place where the data begin, too.
fn head(path: &Path, program: &Program) -> Result<(File, Header, u64), Error> {
    let failed = |problem| packed::failed(path, problem);
    let (file, length) = packed::open(path).map_err(failed)?;
    let (header, start) = Header::read(&file, length).map_err(failed)?;
    header.check(Target::Cpu, &program.name, &program.weights_id).map_err(|error| failed(error.to_string()))?;
    if program.weight_elements.checked_mul(size_of::<f32>()) != Some(header.length) {
        let (expected, found) = (program.weight_elements, header.length);
        return Err(failed(format!(
            "the program has {expected} weights of 4 bytes, and it holds {found} bytes: pack the checkpoint again"
        )));
    }
    Ok((file, header, start))
}

fn copy(path: &Path, file: &mut File, header: Header, start: u64, program: &Program) -> Result<Weights, Error> {
    let mut weights = Weights::zeroed(program.weight_elements)?;
    let mut hasher = hash::Hasher::default();
    let mut read = || -> std::io::Result<()> {
        file.seek(SeekFrom::Start(start))?;
        let mut buffer = [0; PIECE];
        for elements in weights.chunks_mut(PIECE / size_of::<f32>()) {
            let bytes = &mut buffer[..size_of_val(elements)];
            file.read_exact(bytes)?;
            hasher.update(bytes);
            for (x, bytes) in elements.iter_mut().zip(bytes.as_chunks().0) {
                *x = f32::from_le_bytes(*bytes);
            }
        }
        Ok(())
    };
    read().map_err(|error| packed::failed(path, format!("it cannot be read: {error}")))?;
    header.check_data(&hasher.finish()).map_err(|problem| packed::failed(path, problem))?;
    weights.origin = origin(header);
    Ok(weights)
}

fn origin(header: Header) -> Option<Origin> {
    Some(Origin { network: header.network, weights_id: header.weights_id })
}
