//! Packed weights: the block that a Program's weights lie in, in memory and as a file.
//!
//! The file is a safetensors file of one tensor, `weights`, of bytes. Its metadata have the format's version (`format`),
//! the id of the table that says where each weight lies (`weights_id`), the network's name (`network`), and the SHA-256
//! of the bytes (`sha256`).

use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use safetensors::tensor::{Dtype, Metadata};

use super::{Error, hash};
use crate::program::cuda::Program;

/// Version of the file's format.
const FORMAT: &str = "1";
/// Bytes of the longest header that is read; one has a few hundred.
const MAX_HEADER: u64 = 1 << 20;
/// The only tensor.
const TENSOR: &str = "weights";

/// The packed weights of one Program.
#[derive(Clone, PartialEq, Eq)]
pub struct PackedWeights {
    network: String,
    weights_id: String,
    bytes: Vec<u8>,
}

impl PackedWeights {
    /// Weights that were packed by a Program's table.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Program`] if there are not as many bytes as the Program says.
    pub fn new(program: &Program, bytes: Vec<u8>) -> Result<Self, crate::Error> {
        let this = Self { network: program.name.to_string(), weights_id: program.weights_id.to_string(), bytes };
        this.check(program)?;
        Ok(this)
    }

    /// The packed block.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
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
        hash::of([self.bytes.as_slice()])
    }

    /// Whether they are a Program's.
    pub(super) fn check(&self, program: &Program) -> Result<(), crate::Error> {
        if self.weights_id != program.weights_id {
            return Err(Error::WeightsId {
                network: program.name.to_string(),
                expected: program.weights_id.to_string(),
                found_network: self.network.clone(),
                found: self.weights_id.clone(),
            }
            .into());
        }
        if self.bytes.len() != program.weight_bytes {
            let (expected, found) = (program.weight_bytes, self.bytes.len());
            let what = format!("its weights take {expected} bytes, and {found} are packed: pack the checkpoint again");
            return Err(crate::Error::Program { what });
        }
        Ok(())
    }

    /// Reads a file that [`PackedWeights::write`] wrote.
    ///
    /// # Errors
    ///
    /// [`Error::WeightsFile`] if it cannot be read, is no such file, is of another version, or is damaged.
    pub fn read(path: &Path) -> Result<Self, crate::Error> {
        let failed = |problem| Error::WeightsFile { file: path.display().to_string(), problem };
        let open = || -> std::io::Result<(File, u64)> {
            let file = File::open(path)?;
            let length = file.metadata()?.len();
            Ok((file, length))
        };
        let (file, length) = open().map_err(|error| failed(error.to_string()))?;
        Ok(parse(BufReader::new(file), length).map_err(failed)?)
    }

    /// Reads the bytes of a file that [`PackedWeights::write`] wrote; `name` is what errors call it.
    ///
    /// # Errors
    ///
    /// As [`PackedWeights::read`].
    pub fn from_file_bytes(name: &str, bytes: &[u8]) -> Result<Self, crate::Error> {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(parse(bytes, length).map_err(|problem| Error::WeightsFile { file: name.to_owned(), problem })?)
    }

    /// Writes a file. The same weights give the same bytes, and who reads meanwhile sees the old file or the new one.
    ///
    /// # Errors
    ///
    /// [`Error::WeightsFile`] if the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), crate::Error> {
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let write = || -> std::io::Result<()> {
            let mut file = tempfile::Builder::new().prefix(".kwc-").tempfile_in(folder)?;
            self.write_to(&mut file)?;
            readable(file.as_file())?;
            file.persist(path)?;
            Ok(())
        };
        let file = || path.display().to_string();
        Ok(write().map_err(|error| Error::WeightsFile { file: file(), problem: error.to_string() })?)
    }

    /// Writes the bytes of such a file.
    ///
    /// # Errors
    ///
    /// What `to` says.
    pub fn write_to(&self, to: &mut dyn std::io::Write) -> std::io::Result<()> {
        let header = self.header();
        to.write_all(&(header.len() as u64).to_le_bytes())?;
        to.write_all(header.as_bytes())?;
        to.write_all(&self.bytes)
    }

    /// The safetensors header, padded so that the data begin at a multiple of 8 bytes.
    fn header(&self) -> String {
        let length = self.bytes.len();
        let header = serde_json::json!({
            "__metadata__": {
                "format": FORMAT,
                "network": self.network,
                "weights_id": self.weights_id,
                "sha256": self.sha256(),
            },
            TENSOR: { "dtype": "U8", "shape": [length], "data_offsets": [0, length] },
        });
        let mut header = header.to_string();
        header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
        header
    }
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
    let foreign = |what: &str| {
        format!("{what}: this is no file of packed weights; `kwc compile --weights` makes one of a checkpoint")
    };
    let mut prefix = [0; 8];
    reader.read_exact(&mut prefix).map_err(|_| foreign("it is shorter than 8 bytes"))?;
    let header_length = u64::from_le_bytes(prefix);
    if header_length > MAX_HEADER || header_length > length.saturating_sub(8) {
        return Err(foreign("it does not begin with a header of a plausible length"));
    }
    let mut header = Vec::new();
    let cut = |error: std::io::Error| format!("it cannot be read: {error}");
    reader.by_ref().take(header_length).read_to_end(&mut header).map_err(cut)?;
    let metadata: Metadata = serde_json::from_slice(&header)
        .map_err(|error| foreign(&format!("its header is not of safetensors ({error})")))?;
    let entries = metadata.metadata().as_ref();
    let entry = |name: &str| entries.and_then(|entries| entries.get(name)).map(String::as_str);
    let wanted = |name: &str| entry(name).ok_or_else(|| foreign(&format!("its metadata have no `{name}`")));
    let format = wanted("format")?;
    let (network, weights_id, expected) = (wanted("network")?, wanted("weights_id")?, wanted("sha256")?);
    if format != FORMAT {
        return Err(format!("it has format {format}, and this runtime reads {FORMAT}: pack the checkpoint again"));
    }
    let tensor = metadata.info(TENSOR).filter(|tensor| tensor.dtype == Dtype::U8 && tensor.data_offsets.0 == 0);
    let tensor = tensor.ok_or_else(|| foreign("it has no tensor `weights` of bytes"))?;
    let described = tensor.data_offsets.1;
    let held = length - 8 - header_length;
    if u64::try_from(described) != Ok(held) {
        return Err(format!(
            "it should hold {described} bytes of weights and holds {held}: it was cut off or added to, copy it again"
        ));
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(described).map_err(|_| format!("there is no memory for its {described} bytes"))?;
    reader.read_to_end(&mut bytes).map_err(cut)?;
    if bytes.len() != described || hash::of([bytes.as_slice()]) != expected {
        return Err("its bytes are not those that were written: it is damaged, copy it again".to_owned());
    }
    Ok(PackedWeights { network: network.to_owned(), weights_id: weights_id.to_owned(), bytes })
}

impl fmt::Debug for PackedWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { network, weights_id, bytes } = self;
        f.debug_struct("PackedWeights")
            .field("network", network)
            .field("weights_id", weights_id)
            .field("bytes", &bytes.len())
            .finish()
    }
}
