//! The head of a file of packed weights: what it says of itself.

use std::collections::HashMap;
use std::io::Read;

use safetensors::tensor::{Dtype, Metadata};

use super::Target;
use crate::{Error, hash};

/// Version of the file's format.
const FORMAT: &str = "2";
/// Bytes of the longest header that is read; one has a few hundred.
const MAX_HEADER: u64 = 1 << 20;
/// The only tensor.
const TENSOR: &str = "weights";
/// The data begin at a multiple of so many bytes: a map of the file is then as aligned as a block in memory.
pub(crate) const DATA_ALIGNMENT: usize = 64;

/// What a file of packed weights says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// What they are packed for.
    pub(crate) target: Target,
    /// The network's name.
    pub(crate) network: String,
    /// Names the table that they were packed by.
    pub(crate) weights_id: String,
    /// SHA-256 of the data, in hexadecimal digits.
    pub(crate) sha256: String,
    /// Bytes of data.
    pub(crate) length: usize,
}

impl Header {
    /// Reads the head of a file of so many bytes, and gives the place where the data begin too. The error is what is wrong,
    /// with a way out.
    pub(crate) fn read(mut reader: impl Read, length: u64) -> Result<(Self, u64), String> {
        let text = text(&mut reader, length)?;
        let this = Self::parse(&metadata(&text)?)?;
        let start = 8 + text.len() as u64;
        let held = length - start;
        if u64::try_from(this.length) != Ok(held) {
            let described = this.length;
            return Err(format!(
                "it should hold {described} bytes of weights and holds {held}: it was cut off or added to, copy it again"
            ));
        }
        Ok((this, start))
    }

    fn parse(metadata: &Metadata) -> Result<Self, String> {
        let none = HashMap::new();
        let entries = metadata.metadata().as_ref().unwrap_or(&none);
        let wanted =
            |name: &str| entries.get(name).cloned().ok_or_else(|| foreign(&format!("its metadata have no `{name}`")));
        let format = wanted("format")?;
        let (network, weights_id, sha256) = (wanted("network")?, wanted("weights_id")?, wanted("sha256")?);
        if format != FORMAT {
            return Err(format!("it has format {format}, and this runtime reads {FORMAT}: pack the checkpoint again"));
        }
        let target = wanted("target")?;
        let target = Target::of(&target).ok_or_else(|| {
            format!("it is for the target `{target}`, which this runtime does not know: pack the checkpoint again")
        })?;
        let tensor = metadata.info(TENSOR).filter(|tensor| tensor.dtype == Dtype::U8 && tensor.data_offsets.0 == 0);
        let tensor = tensor.ok_or_else(|| foreign("it has no tensor `weights` of bytes"))?;
        Ok(Self { target, network, weights_id, sha256, length: tensor.data_offsets.1 })
    }

    /// The first bytes of the file: as many as make the data begin at a multiple of [`DATA_ALIGNMENT`] bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let length = self.length;
        let header = serde_json::json!({
            "__metadata__": {
                "format": FORMAT,
                "target": self.target.name(),
                "network": self.network,
                "weights_id": self.weights_id,
                "sha256": self.sha256,
            },
            TENSOR: { "dtype": "U8", "shape": [length], "data_offsets": [0, length] },
        });
        let mut header = header.to_string().into_bytes();
        header.resize((8 + header.len()).next_multiple_of(DATA_ALIGNMENT) - 8, b' ');
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.append(&mut header);
        bytes
    }

    /// Whether they are those of a Program for a target.
    pub(crate) fn check(&self, target: Target, network: &str, weights_id: &str) -> Result<(), Error> {
        if self.target != target {
            return Err(Error::WeightsTarget {
                network: network.to_owned(),
                expected: target.name(),
                found: self.target.name(),
            });
        }
        if self.weights_id != weights_id {
            return Err(Error::WeightsId {
                network: network.to_owned(),
                expected: weights_id.to_owned(),
                found_network: self.network.clone(),
                found: self.weights_id.clone(),
            });
        }
        Ok(())
    }

    /// Whether the data are those that were written.
    pub(crate) fn check_data(&self, sha256: &str) -> Result<(), String> {
        if sha256 == self.sha256 {
            Ok(())
        } else {
            Err("its bytes are not those that were written: it is damaged, copy it again".to_owned())
        }
    }

    /// Of data in memory.
    pub(super) fn of(target: Target, network: &str, weights_id: &str, data: &[u8]) -> Self {
        Self {
            target,
            network: network.to_owned(),
            weights_id: weights_id.to_owned(),
            sha256: hash::of([data]),
            length: data.len(),
        }
    }
}

/// Whether a file begins as those of packed weights do, of whatever version.
pub(super) fn is_packed(mut reader: impl Read) -> bool {
    let metadata = text(&mut reader, u64::MAX).and_then(|text| metadata(&text));
    metadata
        .is_ok_and(|metadata| metadata.metadata().as_ref().is_some_and(|entries| entries.contains_key("weights_id")))
}

/// The header as text, of a file of so many bytes.
fn text(reader: &mut impl Read, length: u64) -> Result<Vec<u8>, String> {
    let mut prefix = [0; 8];
    reader.read_exact(&mut prefix).map_err(|_| foreign("it is shorter than 8 bytes"))?;
    let header_length = u64::from_le_bytes(prefix);
    if header_length > MAX_HEADER || header_length > length.saturating_sub(8) {
        return Err(foreign("it does not begin with a header of a plausible length"));
    }
    let mut text = Vec::new();
    reader.take(header_length).read_to_end(&mut text).map_err(|error| format!("it cannot be read: {error}"))?;
    Ok(text)
}

fn metadata(text: &[u8]) -> Result<Metadata, String> {
    serde_json::from_slice(text).map_err(|error| foreign(&format!("its header is not of safetensors ({error})")))
}

fn foreign(what: &str) -> String {
    format!("{what}: this is no file of packed weights; `kwc compile --weights` makes one of a checkpoint")
}
