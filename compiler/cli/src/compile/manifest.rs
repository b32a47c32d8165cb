//! `manifest.json`: what a folder was compiled with, and what its files hold.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Component, Path};

use kwc_compiler::pipeline::Setting;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::terminal;

/// Name of the file.
pub(super) const FILE: &str = "manifest.json";

/// Name of the option that says where the runtime's crate is.
pub(super) const RUNTIME: &str = "runtime";

/// What comes before the name of a parameter in the name of an option.
const SET: &str = "set ";

/// Version of this format.
const FORMAT: u32 = 1;

/// What a folder was compiled with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// Version of this format.
    pub(super) format: u32,
    /// Version of the command.
    pub(super) kwc: String,
    /// Version of the Program's format.
    pub(super) program: u32,
    /// The network's name.
    pub(super) network: String,
    /// `cpu` or `cuda`.
    pub(super) target: String,
    /// What it was compiled with, by the options' names.
    pub(super) options: BTreeMap<String, String>,
    /// What compiled the kernels; `None` where nothing did.
    pub(super) nvrtc: Option<Compiler>,
    /// What was warned of when the weights were packed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) warnings: Vec<String>,
    /// SHA-256 of every other file.
    pub(super) files: BTreeMap<String, String>,
}

/// What compiled the kernels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Compiler {
    /// Version of NVRTC.
    pub(super) version: String,
    /// Its options, besides the architecture.
    pub(super) options: Vec<String>,
    /// Version that the PTX asks for.
    pub(super) ptx: String,
    /// What keeps it from asking for less than 7.0, the first version for `sm_80`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) newer: Vec<String>,
}

impl Manifest {
    /// An empty one.
    pub(super) fn new(network: &str, target: &str, program: u32) -> Self {
        Self {
            format: FORMAT,
            kwc: env!("CARGO_PKG_VERSION").to_owned(),
            program,
            network: network.to_owned(),
            target: target.to_owned(),
            options: BTreeMap::new(),
            nvrtc: None,
            warnings: Vec::new(),
            files: BTreeMap::new(),
        }
    }

    /// The manifest in a folder, if it has one.
    ///
    /// # Errors
    /// There is one, but it can't be read or isn't of `kwc compile`: the folder may be somebody else's.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>, Failure> {
        let path = folder.join(FILE);
        let foreign = |what: String| {
            Failure::file(&path, format!("not a manifest of `kwc compile`: {what}"))
                .hint("compile to another folder, or remove the file")
        };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
            Err(e) => return Err(foreign(e.to_string())),
        };
        let manifest: Self = serde_json::from_str(&text).map_err(|e| foreign(e.to_string()))?;
        // A manifest names files below its folder; anything else isn't followed.
        let is_below = |name: &String| {
            !name.is_empty() && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
        };
        match manifest.files.keys().find(|name| !is_below(name)) {
            Some(name) => Err(foreign(format!("it names `{name}`, which is not below the folder"))),
            None => Ok(Some(manifest)),
        }
    }

    /// Notes a parameter of the spec that was set.
    pub(super) fn set(&mut self, Setting { name, value }: &Setting) {
        self.options.insert(format!("{SET}{name}"), value.clone());
    }

    /// Parameters of the spec that were set.
    pub(super) fn settings(&self) -> impl Iterator<Item = Setting> {
        self.options.iter().filter_map(|(name, value)| {
            Some(Setting { name: name.strip_prefix(SET)?.to_owned(), value: value.clone() })
        })
    }

    /// What this was compiled with that another wasn't, a few words for each option.
    pub(super) fn different_options(&self, other: &Self) -> Vec<String> {
        if self.target != other.target {
            return vec![format!("compiled for the target {}, not {}", self.target, other.target)];
        }
        let changed = other.options.iter().filter_map(|(name, value)| match self.options.get(name) {
            Some(known) if known == value => None,
            Some(known) => Some(format!("compiled with {}, not {value}", option(name, known))),
            None => Some(format!("compiled without {}", option(name, value))),
        });
        changed.collect()
    }

    /// The options that another doesn't have, or has otherwise, as they are written on a command line.
    pub(super) fn beyond(&self, other: &Self) -> Vec<String> {
        let mut beyond = Vec::new();
        if self.target != other.target {
            beyond.push(option("target", &self.target));
        }
        let more = self.options.iter().filter(|(name, value)| other.options.get(*name) != Some(*value));
        beyond.extend(more.map(|(name, value)| option(name, value)));
        beyond
    }

    /// Its text.
    ///
    /// # Errors
    /// As [`terminal::json`].
    pub(super) fn text(&self) -> Result<String, Failure> {
        terminal::json(self)
    }
}

/// An option as it is written on a command line.
fn option(name: &str, value: &str) -> String {
    match name.strip_prefix(SET) {
        Some(parameter) => format!("--set {parameter}={value}"),
        None => format!("--{name} {value}"),
    }
}
