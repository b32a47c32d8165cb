//! The environment variables that a virtual GPU is set up by.
//!
//! | variable | values | without it |
//! | --- | --- | --- |
//! | `VGPU_ARCH` | `sm_80`, `sm_86`, `sm_89`, `sm_90` | `sm_80` |
//! | `VGPU_CHECK` | `all`, `none`, or a list of `initialised`, `races`, `synchronisation` with commas | `all` |
//! | `VGPU_COUNTERS` | `on`, `off` | `on` where a trace is written |
//! | `VGPU_SEED` | a whole number | 0 |
//! | `VGPU_THREADS` | threads of the host that run blocks, from 1 | one for each of the machine's cores |
//! | `VGPU_TRACE` | a folder, in which each process writes `PROCESS.jsonl` | findings go to the standard error |
//! | `VGPU_DRIVER_VERSION` | `MAJOR.MINOR` of the CUDA version that the driver says it is, 11.0 to 13.5 | 13.5 |

use std::path::PathBuf;

use super::device::Architecture;
use crate::options::{Checks, Options};

/// What the environment says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How the GPU behaves.
    pub options: Options,
    /// The folder of the trace.
    pub trace: Option<PathBuf>,
    /// The CUDA version that the driver says it is.
    pub version: Version,
}

/// A CUDA version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// For example 13.
    pub major: u32,
    /// For example 5.
    pub minor: u32,
}

/// A variable with a value that it can't have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}={value}: {expected}")]
pub struct SettingError {
    /// The variable.
    pub variable: &'static str,
    /// Its value.
    pub value: String,
    /// What it can be.
    pub expected: String,
}

impl Version {
    /// The newest: the one whose PTX NVRTC 13.5 writes.
    pub const NEWEST: Self = Self { major: 13, minor: 5 };

    /// What `cuDriverGetVersion` gives, for example 13050.
    #[must_use]
    pub fn number(self) -> u32 {
        self.major * 1000 + self.minor * 10
    }

    /// The newest PTX that a driver of this version takes: major, minor. From the release notes of the PTX ISA.
    #[must_use]
    pub fn ptx(self) -> (u32, u32) {
        match (self.major, self.minor) {
            (..=11, minor) => (7, minor),
            (12, minor @ ..=5) => (8, minor),
            (12, minor) => (8, minor - 1),
            (13.., minor) => (9, minor),
        }
    }

    fn from_text(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        let version = Self { major: major.parse().ok()?, minor: minor.parse().ok()? };
        let last = match version.major {
            11 => 8,
            12 => 9,
            13 => Self::NEWEST.minor,
            _ => return None,
        };
        (version.minor <= last).then_some(version)
    }
}

impl Settings {
    /// Reads the environment of the process.
    ///
    /// # Errors
    ///
    /// A variable with a value that it can't have.
    pub fn from_environment() -> Result<Self, SettingError> {
        Self::from_lookup(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    /// Reads variables that a function gives by name. An empty one is as one that isn't set.
    ///
    /// # Errors
    ///
    /// A variable with a value that it can't have.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingError> {
        let trace = read(&lookup, "VGPU_TRACE", "a folder", |value| Some(PathBuf::from(value)))?;
        let architecture = read(&lookup, "VGPU_ARCH", "sm_80, sm_86, sm_89 or sm_90", Architecture::from_name)?;
        let expected = "all, none, or a list of initialised, races, synchronisation";
        let checks = read(&lookup, "VGPU_CHECK", expected, checks)?;
        let counters = read(&lookup, "VGPU_COUNTERS", "on or off", |value| match value {
            "on" => Some(true),
            "off" => Some(false),
            _ => None,
        })?;
        let seed = read(&lookup, "VGPU_SEED", "a whole number below 2^64", |value| value.parse().ok())?;
        let threads = read(&lookup, "VGPU_THREADS", "a whole number from 1 to 1024", |value| {
            value.parse().ok().filter(|threads| (1..=1024).contains(threads))
        })?;
        let expected = "a CUDA version from 11.0 to 13.5, for example 12.8";
        let version = read(&lookup, "VGPU_DRIVER_VERSION", expected, Version::from_text)?;
        let options = Options {
            architecture: architecture.unwrap_or(Architecture::Sm80),
            checks: checks.unwrap_or(Checks::ALL),
            counters: counters.unwrap_or(trace.is_some()),
            seed: seed.unwrap_or(0),
            threads: threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
        };
        Ok(Self { options, trace, version: version.unwrap_or(Version::NEWEST) })
    }
}

fn read<T>(
    lookup: &impl Fn(&str) -> Option<String>,
    variable: &'static str,
    expected: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, SettingError> {
    let Some(value) = lookup(variable).filter(|value| !value.is_empty()) else { return Ok(None) };
    match parse(&value) {
        Some(parsed) => Ok(Some(parsed)),
        None => Err(SettingError { variable, value, expected: format!("expected {expected}") }),
    }
}

fn checks(value: &str) -> Option<Checks> {
    match value {
        "all" => Some(Checks::ALL),
        "none" => Some(Checks::NONE),
        list => list.split(',').try_fold(Checks::NONE, |checks, name| match name.trim() {
            "initialised" => Some(Checks { initialised: true, ..checks }),
            "races" => Some(Checks { races: true, ..checks }),
            "synchronisation" => Some(Checks { synchronisation: true, ..checks }),
            _ => None,
        }),
    }
}
