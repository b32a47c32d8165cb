//! Where records go: lines of a trace, or of the standard error.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::findings::Finding;
use crate::report::Record;

/// Takes the records of a process as they occur.
#[derive(Debug)]
pub struct Log {
    /// The trace; without one, the standard error is written to.
    trace: Option<Mutex<File>>,
    /// Functions that aren't offered and were reported.
    reported: Mutex<BTreeSet<String>>,
}

impl Log {
    /// Opens `PROCESS.jsonl` in a folder, which is made if there is none, for adding to; without a folder, the log is
    /// the standard error.
    ///
    /// # Errors
    ///
    /// The folder can't be made or the file can't be opened.
    pub fn open(folder: Option<&Path>) -> io::Result<Self> {
        let trace = match folder {
            Some(folder) => {
                fs::create_dir_all(folder)?;
                let path = folder.join(format!("{}.jsonl", std::process::id()));
                Some(Mutex::new(OpenOptions::new().create(true).append(true).open(path)?))
            }
            None => None,
        };
        Ok(Self { trace, reported: Mutex::default() })
    }

    /// Writes a record. What can't be written is lost: a program doesn't end because its trace is full.
    pub fn write(&self, record: &Record) {
        match &self.trace {
            Some(trace) => {
                let Ok(mut line) = serde_json::to_vec(record) else { return };
                line.push(b'\n');
                let _ = trace.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line);
            }
            None => {
                if let Some(line) = readable(record) {
                    let _ = writeln!(io::stderr(), "vgpu: {line}");
                }
            }
        }
    }

    /// Whether a function that isn't offered is called for the first time.
    pub fn first_call(&self, function: &str) -> bool {
        self.reported.lock().unwrap_or_else(PoisonError::into_inner).insert(function.to_owned())
    }
}

/// The line for a record that a reader of the standard error wants to see.
fn readable(record: &Record) -> Option<String> {
    match record {
        Record::Finding(finding) => Some(finding_line(finding)),
        Record::Call { function, error, message } => Some(format!("{function}: {error}: {message}")),
        Record::Start { .. } | Record::Launch { .. } | Record::End => None,
    }
}

fn finding_line(finding: &Finding) -> String {
    let Finding { kind, kernel, launch, block, thread, instruction, line, source, address, message, count: _ } =
        finding;
    let kind = serde_json::to_value(kind).ok();
    let kind = kind.as_ref().and_then(serde_json::Value::as_str).unwrap_or("finding");
    let source = source.as_ref().map(|(file, line)| format!(" ({file}:{line})")).unwrap_or_default();
    let address = address.map(|address| format!(" address {address:#x}")).unwrap_or_default();
    format!(
        "{kind} in {kernel}, launch {launch}, block {block:?}, thread {thread:?}, PTX line {line}{source}: \
         {instruction}:{address} {message}"
    )
}
