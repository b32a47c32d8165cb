//! Packed weights as a file: the block that a Program's weights lie in, for every target.
//!
//! The file is a safetensors file of one tensor, `weights`, of bytes, which begin at a multiple of 64 bytes. Its metadata
//! have the format's version (`format`), what it is packed for (`target`), the id of the table that says where each weight
//! lies and how it is made (`weights_id`), the network's name (`network`), and the SHA-256 of the bytes (`sha256`). Numbers
//! are little-endian.
//!
//! [`crate::Weights::open`] maps such a file for the CPU; [`PackedWeights`] holds the bytes of one for any target.

mod header;

use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use crate::{Error, Weights, hash, program};

pub(crate) use header::{DATA_ALIGNMENT, Header};

/// What weights are packed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The processor: [`program::Program`].
    Cpu,
    /// CUDA devices: [`program::cuda::Program`].
    Cuda,
}

impl Target {
    /// Its name in files and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        }
    }

    fn of(name: &str) -> Option<Self> {
        [Self::Cpu, Self::Cuda].into_iter().find(|target| target.name() == name)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The packed weights of one Program.
pub struct PackedWeights {
    target: Target,
    network: String,
    weights_id: String,
    block: Block,
}

/// The bytes, as they are in the file.
enum Block {
    Bytes(Vec<u8>),
    /// Of a little-endian processor.
    #[cfg(target_endian = "little")]
    Floats(Weights),
}

impl PackedWeights {
    /// Weights that were packed by the table of a Program for CUDA.
    ///
    /// # Errors
    ///
    /// [`Error::Program`] if there are not as many bytes as the Program says.
    pub fn new(program: &program::cuda::Program, bytes: Vec<u8>) -> Result<Self, Error> {
        let this = Self {
            target: Target::Cuda,
            network: program.name.to_string(),
            weights_id: program.weights_id.to_string(),
            block: Block::Bytes(bytes),
        };
        this.check(program)?;
        Ok(this)
    }

    /// Weights that were packed by the table of a Program for the CPU.
    ///
    /// # Errors
    ///
    /// [`Error::WeightCount`] if there are not as many as the Program says.
    pub fn of_block(program: &program::Program, weights: Weights) -> Result<Self, Error> {
        if weights.len() != program.weight_elements {
            return Err(Error::WeightCount { expected: program.weight_elements, found: weights.len() });
        }
        Ok(Self {
            target: Target::Cpu,
            network: program.name.to_string(),
            weights_id: program.weights_id.to_string(),
            #[cfg(target_endian = "little")]
            block: Block::Floats(weights),
            #[cfg(target_endian = "big")]
            block: Block::Bytes(weights.iter().flat_map(|x| x.to_le_bytes()).collect()),
        })
    }

    /// The packed block, as in the file: little-endian numbers.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match &self.block {
            Block::Bytes(bytes) => bytes,
            #[cfg(target_endian = "little")]
            Block::Floats(weights) => weights.bytes(),
        }
    }

    /// What they are packed for.
    #[must_use]
    pub fn target(&self) -> Target {
        self.target
    }

    /// Names the table that the weights were packed by: a Program's `weights_id`.
    #[must_use]
    pub fn weights_id(&self) -> &str {
        &self.weights_id
    }

    /// The name of the network that they were packed for.
    #[must_use]
    pub fn network(&self) -> &str {
        &self.network
    }

    /// SHA-256 of the packed block, as 64 hexadecimal digits.
    #[must_use]
    pub fn sha256(&self) -> String {
        hash::of([self.bytes()])
    }

    /// Whether they are those of a Program for CUDA.
    pub(crate) fn check(&self, program: &program::cuda::Program) -> Result<(), Error> {
        let Self { target, network, weights_id, block: _ } = self;
        let header = Header {
            target: *target,
            network: network.clone(),
            weights_id: weights_id.clone(),
            sha256: String::new(),
            length: self.bytes().len(),
        };
        header.check(Target::Cuda, &program.name, &program.weights_id)?;
        let (expected, found) = (program.weight_bytes, header.length);
        if found != expected {
            let what = format!("its weights take {expected} bytes, and {found} are packed: pack the checkpoint again");
            return Err(Error::Program { what });
        }
        Ok(())
    }

    /// Reads a file that [`PackedWeights::write`] wrote, and compares the bytes with their hash.
    ///
    /// # Errors
    ///
    /// [`Error::WeightsFile`] if it cannot be read, is no such file, is of another version, or is damaged.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let failed = |problem| failed(path, problem);
        let (file, length) = open(path).map_err(failed)?;
        parse(BufReader::new(file), length).map_err(failed)
    }

    /// Reads the bytes of a file that [`PackedWeights::write`] wrote; `name` is what errors call it.
    ///
    /// # Errors
    ///
    /// As [`PackedWeights::read`].
    pub fn from_file_bytes(name: &str, bytes: &[u8]) -> Result<Self, Error> {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        parse(bytes, length).map_err(|problem| Error::WeightsFile { file: name.to_owned(), problem })
    }

    /// Writes a file. The same weights give the same bytes, and who reads meanwhile sees the old file or the new one; a map
    /// of the old one stays as it is.
    ///
    /// # Errors
    ///
    /// [`Error::WeightsFile`] if the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let write = || -> std::io::Result<()> {
            let mut file = tempfile::Builder::new().prefix(".kwc-").tempfile_in(folder)?;
            self.write_to(&mut file)?;
            readable(file.as_file())?;
            file.persist(path)?;
            Ok(())
        };
        write().map_err(|error| failed(path, error.to_string()))
    }

    /// Writes the bytes of such a file.
    ///
    /// # Errors
    ///
    /// What `to` says.
    pub fn write_to(&self, to: &mut dyn std::io::Write) -> std::io::Result<()> {
        let bytes = self.bytes();
        to.write_all(&Header::of(self.target, &self.network, &self.weights_id, bytes).bytes())?;
        to.write_all(bytes)
    }
}

/// Whether a file says of itself that it holds packed weights, of whatever version and target. It may be damaged.
#[must_use]
pub fn is_packed(path: &Path) -> bool {
    open(path).is_ok_and(|(file, _)| header::is_packed(BufReader::new(file)))
}

/// Opens a file, and says how many bytes it has.
pub(crate) fn open(path: &Path) -> Result<(File, u64), String> {
    let open = || -> std::io::Result<(File, u64)> {
        // A pipe would have its reader wait, and a folder has no bytes.
        if !std::fs::metadata(path)?.is_file() {
            return Err(std::io::Error::other("it is not an ordinary file"));
        }
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok((file, length))
    };
    open().map_err(|error| error.to_string())
}

/// What is wrong with a file.
pub(crate) fn failed(path: &Path, problem: String) -> Error {
    Error::WeightsFile { file: path.display().to_string(), problem }
}

/// As a program makes files that others may read; temporary ones are for their owner only.
#[cfg(unix)]
fn readable(file: &File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn readable(_: &File) -> std::io::Result<()> {
    Ok(())
}

/// Reads a file of so many bytes. The error is what is wrong.
fn parse(mut reader: impl Read, length: u64) -> Result<PackedWeights, String> {
    let (header, _) = Header::read(&mut reader, length)?;
    let mut bytes = Vec::new();
    let described = header.length;
    bytes.try_reserve_exact(described).map_err(|_| format!("there is no memory for its {described} bytes"))?;
    reader.read_to_end(&mut bytes).map_err(|error| format!("it cannot be read: {error}"))?;
    header.check_data(&hash::of([bytes.as_slice()]))?;
    let Header { target, network, weights_id, .. } = header;
    Ok(PackedWeights { target, network, weights_id, block: Block::Bytes(bytes) })
}

impl PartialEq for PackedWeights {
    fn eq(&self, other: &Self) -> bool {
        let said = |this: &Self| (this.target, this.network.clone(), this.weights_id.clone());
        said(self) == said(other) && self.bytes() == other.bytes()
    }
}

impl Eq for PackedWeights {}

impl fmt::Debug for PackedWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, network, weights_id, block: _ } = self;
        f.debug_struct("PackedWeights")
            .field("target", target)
            .field("network", network)
            .field("weights_id", weights_id)
            .field("bytes", &self.bytes().len())
            .finish()
    }
}
