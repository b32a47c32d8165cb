//! PyTorch archives: which tensors a file of `torch.save` holds, and where.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read};

use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use super::checkpoint::Tensor;
use super::error::printable;
use super::pickle::{self, Fault, Id, Pickle, Problem, Value};
use super::window::{Source, Window};
use super::{Error, Place, TensorInfo};

/// Bytes of the longest `data.pkl` that is read; a real one has some hundred thousand.
const MAX_PICKLE: u64 = 1 << 26;

/// Characters of the longest name of a tensor.
const MAX_NAME: usize = 1024;

/// Names that are listed where there is no state dict.
const MAX_LISTED: usize = 20;

/// A zip archive, read in small pieces: the tensors' own bytes don't go through it.
type Archive<'s> = ZipArchive<BufReader<&'s mut dyn Source>>;

/// The tensors of a file's state dict, in its order.
pub(super) fn tensors(file: &str, window: &mut Window, state: Option<&str>) -> Result<Vec<(String, Tensor)>, Error> {
    let length = window.length();
    let context = Context { file, length };
    let source = BufReader::with_capacity(1 << 12, window.source());
    let mut archive = ZipArchive::new(source)
        .map_err(|e| context.archive(e, "the list of the archive's entries, at its end, is missing or broken"))?;
    if archive.has_duplicate_names() {
        return Err(context.damaged(Place::Whole, "two entries of the archive have one name".to_owned()));
    }
    let folder = context.folder(&archive)?;
    context.check_byte_order(&mut archive, &folder)?;
    let bytes = context.entry_bytes(&mut archive, &format!("{folder}/data.pkl"), MAX_PICKLE)?;
    let pickle = pickle::read(&bytes).map_err(|fault| context.fault(fault))?;
    let chosen = context.state(&pickle, state)?;
    chosen.into_iter().map(|(name, tensor)| context.placed(&mut archive, &folder, name, tensor)).collect()
}

/// The file that errors are about.
#[derive(Clone, Copy)]
struct Context<'f> {
    file: &'f str,
    length: u64,
}

impl Context<'_> {
    fn damaged(self, place: Place, problem: String) -> Error {
        Error::Damaged { file: self.file.to_owned(), place, problem }
    }

    fn unsupported(self, problem: String, hint: &str) -> Error {
        Error::Unsupported { file: self.file.to_owned(), problem, hint: hint.to_owned() }
    }

    fn read(self, source: io::Error) -> Error {
        Error::Read { file: self.file.to_owned(), source }
    }

    /// An error of the zip reader, which had to do with `part`.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the zip crate's enum may grow")]
    fn archive(self, error: ZipError, part: &str) -> Error {
        let problem = match error {
            ZipError::Io(source) if source.raw_os_error().is_some() => return self.read(source),
            ZipError::Io(source) if source.kind() == io::ErrorKind::UnexpectedEof => "the file ends there".to_owned(),
            ZipError::Io(source) => source.to_string(),
            ZipError::InvalidArchive(problem) => problem.into_owned(),
            _ => error.to_string(),
        };
        self.damaged(Place::Part(printable(part)), printable(&problem))
    }

    fn fault(self, fault: Fault) -> Error {
        let place = Place::Byte { part: "data.pkl", offset: fault.offset };
        match fault.problem {
            Problem::Damaged(problem) => self.damaged(place, problem),
            Problem::Unsupported(problem) => self.unsupported(format!("{place}{problem}"), SAVE_STATE),
            Problem::Refused { module, name } => {
                let hint = if is_dangerous(&module, &name) {
                    "no network needs it, and PyTorch or Python might run it: don't load this file with them"
                } else {
                    SAVE_STATE
                };
                let global = printable(&format!("{module}.{name}"));
                Error::Refused { file: self.file.to_owned(), place, global, hint: hint.to_owned() }
            }
        }
    }

    /// The folder that everything in the archive is in.
    fn folder(self, archive: &Archive<'_>) -> Result<String, Error> {
        let folder_of = |entry: &str| {
            let mut folders = archive.file_names().filter_map(Result::ok).filter_map(|name| {
                name.strip_suffix(entry)?.strip_suffix('/').filter(|f| !f.contains('/')).map(str::to_owned)
            });
            (folders.next(), folders.next())
        };
        if let (Some(_), _) = folder_of("constants.pkl") {
            return Err(self.unsupported(
                "it is a TorchScript program, with the network's code".to_owned(),
                "save the state dict of the loaded program: `torch.save(torch.jit.load(FILE).state_dict(), NEW_FILE)`",
            ));
        }
        match folder_of("data.pkl") {
            (Some(folder), None) => Ok(folder),
            (Some(_), Some(_)) => Err(self.damaged(Place::Whole, "it holds two `data.pkl`".to_owned())),
            (None, _) => Err(self.unsupported(
                "it is a zip archive without a `data.pkl`, which `torch.save` would have put there".to_owned(),
                "a checkpoint is a file that `torch.save` or safetensors has written",
            )),
        }
    }

    fn check_byte_order(self, archive: &mut Archive<'_>, folder: &str) -> Result<(), Error> {
        let entry = format!("{folder}/byteorder");
        if archive.index_for_name(&entry).is_none() {
            return Ok(());
        }
        match self.entry_bytes(archive, &entry, 16)?.as_slice() {
            b"little" => Ok(()),
            order => Err(self.unsupported(
                format!("its numbers are stored `{}`-endian", printable(&String::from_utf8_lossy(order))),
                "save it again on a little-endian machine",
            )),
        }
    }

    /// Where the bytes of an entry begin, and how many there are.
    fn entry(self, archive: &mut Archive<'_>, name: &str) -> Result<(u64, u64), Error> {
        let place = || Place::Part(printable(name));
        let Some(index) = archive.index_for_name(name) else {
            return Err(self.damaged(place(), "it isn't in the archive".to_owned()));
        };
        let entry = archive.by_index_raw(index).map_err(|e| self.archive(e, name))?;
        if entry.encrypted() || entry.compression() != CompressionMethod::Stored {
            return Err(self.unsupported(
                format!("{}the archive has been packed again, compressed or encrypted", place()),
                "use the file as `torch.save` wrote it, or load it with PyTorch and save it again",
            ));
        }
        let size = entry.size();
        if size != entry.compressed_size() {
            return Err(self.damaged(place(), format!("it has {size} bytes and {} bytes", entry.compressed_size())));
        }
        let start = entry.data_start().unwrap_or(self.length);
        if start.checked_add(size).is_none_or(|end| end > self.length) {
            return Err(self
                .damaged(place(), format!("its {size} bytes from byte {start} don't fit a file of {}", self.length)));
        }
        Ok((start, size))
    }

    /// All bytes of an entry of at most `limit` bytes, checked against their checksum.
    fn entry_bytes(self, archive: &mut Archive<'_>, name: &str, limit: u64) -> Result<Vec<u8>, Error> {
        let (_, size) = self.entry(archive, name)?;
        if size > limit {
            let place = Place::Part(printable(name));
            return Err(self.damaged(place, format!("{size} bytes can't be meant; at most {limit} are read")));
        }
        let mut bytes = Vec::new();
        let mut entry = archive.by_name(name).map_err(|e| self.archive(e, name))?;
        entry.read_to_end(&mut bytes).map_err(|source| self.archive(source.into(), name))?;
        Ok(bytes)
    }

    /// The state dict that `wanted` names, or the usual one.
    fn state<'p>(
        self,
        pickle: &'p Pickle<'_>,
        wanted: Option<&str>,
    ) -> Result<Vec<(&'p str, &'p pickle::Tensor<'p>)>, Error> {
        let Value::Dict(top) = pickle.root() else {
            return Err(self.unsupported(format!("it holds {}, not a dict", pickle.root().kind()), SAVE_STATE));
        };
        let under = |name: &str| {
            let is_name = |key: Id| matches!(pickle.value(key), Value::Text(text) if *text == name);
            let (_, value) = top.iter().rev().find(|(key, _)| is_name(*key))?;
            as_state(pickle, pickle.value(*value))
        };
        let found = match wanted {
            Some(name) => under(name),
            None => under("model").or_else(|| under("state_dict")).or_else(|| as_state(pickle, pickle.root())),
        };
        let Some(found) = found else {
            return Err(Error::NoState {
                file: self.file.to_owned(),
                wanted: wanted.map(printable),
                available: listing(pickle, top),
            });
        };
        if let Some((name, _)) = found.iter().find(|(name, _)| name.len() > MAX_NAME) {
            let problem = format!("the name of a tensor, `{}`, has {} bytes", printable(name), name.len());
            return Err(self.damaged(Place::Part("data.pkl".to_owned()), problem));
        }
        Ok(found)
    }

    /// Finds a tensor's bytes in the file.
    fn placed(
        self,
        archive: &mut Archive<'_>,
        folder: &str,
        name: &str,
        tensor: &pickle::Tensor<'_>,
    ) -> Result<(String, Tensor), Error> {
        let storage = &tensor.storage;
        let (start, size) = self.entry(archive, &format!("{folder}/data/{}", storage.key))?;
        let element = storage.dtype.size() as u64;
        if (storage.elements as u64).checked_mul(element) != Some(size) {
            return Err(self.damaged(
                Place::Tensor(printable(name)),
                format!("its {} elements of {element} bytes are stored in {size} bytes", storage.elements),
            ));
        }
        let placed = Tensor {
            info: TensorInfo { shape: tensor.shape.clone(), dtype: storage.dtype },
            offset: start + tensor.offset as u64 * element,
            strides: (!tensor.is_contiguous()).then(|| tensor.strides.clone()),
        };
        Ok((name.to_owned(), placed))
    }
}

const SAVE_STATE: &str = "save only the state dict: `torch.save({\"model\": model.state_dict()}, FILE)`";

/// Whether a name can do harm when Python loads it.
fn is_dangerous(module: &str, name: &str) -> bool {
    let root = module.split('.').next().unwrap_or(module);
    match root {
        "os" | "posix" | "nt" | "subprocess" | "sys" | "shutil" | "socket" | "runpy" | "importlib" | "pty"
        | "ctypes" => true,
        "builtins" | "__builtin__" => matches!(name, "eval" | "exec" | "compile" | "open" | "getattr" | "__import__"),
        _ => false,
    }
}

/// Names and tensors of a dict that holds nothing else. Of entries with one name the last counts.
fn as_state<'p>(pickle: &'p Pickle<'_>, value: &'p Value<'_>) -> Option<Vec<(&'p str, &'p pickle::Tensor<'p>)>> {
    let Value::Dict(entries) = value else { return None };
    let mut list: Vec<(&str, &pickle::Tensor<'_>)> = Vec::new();
    let mut index = BTreeMap::new();
    for &(key, value) in entries {
        let (&Value::Text(name), Value::Tensor(tensor)) = (pickle.value(key), pickle.value(value)) else { return None };
        match index.get(name).and_then(|&i: &usize| list.get_mut(i)) {
            Some(known) => *known = (name, tensor),
            None => {
                index.insert(name, list.len());
                list.push((name, tensor));
            }
        }
    }
    (!list.is_empty()).then_some(list)
}

/// What a dict holds, for people.
fn listing(pickle: &Pickle<'_>, entries: &[(Id, Id)]) -> Vec<String> {
    let mut lines: Vec<String> = entries
        .iter()
        .take(MAX_LISTED)
        .map(|&(key, value)| {
            let key = if let Value::Text(text) = pickle.value(key) {
                format!("`{}`", printable(text))
            } else {
                pickle.value(key).kind().to_owned()
            };
            format!("{key}: {}", describe(pickle, pickle.value(value)))
        })
        .collect();
    if entries.len() > MAX_LISTED {
        lines.push(format!("and {} more", entries.len() - MAX_LISTED));
    }
    lines
}

fn describe(pickle: &Pickle<'_>, value: &Value<'_>) -> String {
    let Value::Dict(entries) = value else { return value.kind().to_owned() };
    if let Some(tensors) = as_state(pickle, value) {
        return match tensors.len() {
            1 => "a state dict of 1 tensor".to_owned(),
            count => format!("a state dict of {count} tensors"),
        };
    }
    let named = entries.iter().find_map(|&(key, value)| match (pickle.value(key), pickle.value(value)) {
        (Value::Text(_), Value::Tensor(_)) => None,
        (&Value::Text(key), value) => Some(format!("a dict, whose `{}` is {}", printable(key), value.kind())),
        (_, _) => None,
    });
    named.unwrap_or_else(|| "a dict".to_owned())
}
