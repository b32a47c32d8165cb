//! Reading the traces that processes wrote: files `PID.jsonl` with a [`Record`] a line.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use super::{FORMAT, Record};

/// What one process wrote, from one [`Record::Start`] to the next. (A process that calls `exec` may start anew.)
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    /// The process; 0 if its first line is missing.
    pub process: u32,
    /// What it ran on; empty if its first line is missing.
    pub architecture: String,
    /// Whether it ended in an orderly way. Otherwise it crashed, was killed, or ended by `_exit`.
    pub ended: bool,
    /// What happened, in order: findings, launches, calls.
    pub records: Vec<Record>,
    /// Lines that can't be read, with the reason. A process that dies while it writes leaves the last one torn.
    pub unreadable: Vec<String>,
}

/// Reads all traces of a directory, in the order of their file names.
///
/// # Errors
///
/// The directory or a file can't be read. Lines that make no sense are no error: see [`Trace::unreadable`].
pub fn read_directory(directory: &Path) -> io::Result<Vec<Trace>> {
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            files.push(path);
        }
    }
    files.sort();
    let mut traces = Vec::new();
    for file in files {
        read_file(&file, &mut traces)?;
    }
    Ok(traces)
}

fn read_file(path: &Path, traces: &mut Vec<Trace>) -> io::Result<()> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut current: Option<Trace> = None;
    let mut bytes = Vec::new();
    for number in 1_u64.. {
        bytes.clear();
        if reader.read_until(b'\n', &mut bytes)? == 0 {
            break;
        }
        let record = serde_json::from_slice::<Record>(&bytes);
        if let Ok(Record::Start { format, architecture, process }) = record {
            traces.extend(current.take());
            let trace = current.insert(Trace { process, architecture, ..Trace::default() });
            if format != FORMAT {
                trace.unreadable.push(format!(
                    "{}: format {format}, but this program reads format {FORMAT}; they are of different builds",
                    path.display()
                ));
            }
            continue;
        }
        let trace = current.get_or_insert_default();
        match record {
            Ok(Record::End) => trace.ended = true,
            Ok(record) => trace.records.push(record),
            Err(_) if !bytes.ends_with(b"\n") => {
                trace.unreadable.push(format!("{}: line {number} breaks off", path.display()));
            }
            Err(error) => trace.unreadable.push(format!("{}: line {number}: {error}", path.display())),
        }
    }
    traces.extend(current);
    Ok(())
}
