//! The header of a safetensors file.
//!
//! Eight bytes of length (little endian), a JSON object of that length with type, shape and place of every tensor, then
//! the tensors' bytes without gaps, to the end of the file.

use safetensors::tensor::{Dtype as FileDtype, Metadata};

use super::checkpoint::Tensor;
use super::error::printable;
use super::window::Window;
use super::{Dtype, Error, Place, TensorInfo};

/// Bytes of the longest header that is read. Those of real networks are a thousand times shorter.
const MAX_HEADER: u64 = 1 << 24;

/// All tensors of a file, in the order of their data.
pub(super) fn tensors(file: &str, window: &mut Window, state: Option<&str>) -> Result<Vec<(String, Tensor)>, Error> {
    if let Some(wanted) = state {
        return Err(Error::Unsupported {
            file: file.to_owned(),
            problem: format!("a safetensors file holds one state dict, so there is no `{}` in it", printable(wanted)),
            hint: "leave `--state` out".to_owned(),
        });
    }
    let damaged = |problem: String| Error::Damaged { file: file.to_owned(), place: Place::Whole, problem };
    let header = header(file, window)?;
    let metadata: Metadata = serde_json::from_slice(&header)
        .map_err(|e| damaged(format!("the header doesn't describe tensors: {}", printable(&e.to_string()))))?;
    let entry = |name: &str| metadata.metadata().as_ref()?.get(name);
    if let (Some(network), Some(_)) = (entry("network"), entry("weights_id")) {
        return Err(Error::Unsupported {
            file: file.to_owned(),
            problem: format!(
                "these are weights of `{}`, packed by `kwc compile`, not a checkpoint",
                printable(network)
            ),
            hint: "give the checkpoint that they were packed from".to_owned(),
        });
    }
    let data_start = 8 + header.len() as u64;
    let held = window.length().saturating_sub(data_start);
    if metadata.data_len() as u64 != held {
        let described = metadata.data_len();
        return Err(damaged(format!("the header describes {described} bytes of tensors, and the file holds {held}")));
    }
    let mut list = Vec::new();
    for name in metadata.offset_keys() {
        let Some(info) = metadata.info(&name) else { continue };
        let dtype = dtype(info.dtype).ok_or_else(|| Error::Unsupported {
            file: file.to_owned(),
            problem: format!("tensor `{}` has elements of type {}", printable(&name), info.dtype),
            hint: "convert it before saving: `tensor.float()`".to_owned(),
        })?;
        let offset = data_start + info.data_offsets.0 as u64;
        list.push((name, Tensor { info: TensorInfo { shape: info.shape.clone(), dtype }, offset, strides: None }));
    }
    Ok(list)
}

fn header(file: &str, window: &mut Window) -> Result<Vec<u8>, Error> {
    let read = |source| Error::Read { file: file.to_owned(), source };
    let damaged = |problem: String| Error::Damaged { file: file.to_owned(), place: Place::Whole, problem };
    let mut length = [0; 8];
    length.copy_from_slice(window.bytes(0, 8).map_err(read)?);
    let length = u64::from_le_bytes(length);
    if length > window.length() - 8 {
        return Err(damaged(format!("a header of {length} bytes doesn't fit a file of {}", window.length())));
    }
    if length > MAX_HEADER {
        return Err(damaged(format!("a header of {length} bytes can't be meant; at most {MAX_HEADER} are read")));
    }
    let mut header = Vec::new();
    let end = 8 + length;
    let mut offset = 8;
    while offset < end {
        let piece = (end - offset).min(super::window::CAPACITY as u64);
        header.extend_from_slice(window.bytes(offset, piece as usize).map_err(read)?);
        offset += piece;
    }
    Ok(header)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the format may get more types; none of them is read")]
fn dtype(dtype: FileDtype) -> Option<Dtype> {
    Some(match dtype {
        FileDtype::F64 => Dtype::F64,
        FileDtype::F32 => Dtype::F32,
        FileDtype::F16 => Dtype::F16,
        FileDtype::BF16 => Dtype::Bf16,
        FileDtype::I64 => Dtype::I64,
        FileDtype::I32 => Dtype::I32,
        FileDtype::I16 => Dtype::I16,
        FileDtype::I8 => Dtype::I8,
        FileDtype::U8 => Dtype::U8,
        FileDtype::BOOL => Dtype::Bool,
        _ => return None,
    })
}
