//! Where NVRTC may be: what the user says, a CUDA toolkit, the dynamic loader, Python packages, what was fetched.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Error, Places};
use crate::fetch;
use crate::library::Nvrtc;

/// The names that the dynamic loader is asked for.
const BARE_NAMES: [&str; 4] = ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so", "libnvrtc.so.11.2"];

/// Where to look, in the order of the fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    /// `KWC_NVRTC`: the library, or the directory that it is in. If it is set, nothing else is looked at.
    pub library: Option<OsString>,
    /// `CUDA_PATH`: the root of a CUDA toolkit.
    pub toolkit: Option<OsString>,
    /// Whether to ask the dynamic loader.
    pub loader: bool,
    /// Directories with Python packages.
    pub site_packages: Vec<PathBuf>,
    /// The directory that [`fetch`](fetch::fetch) was told to fetch to.
    pub fetched: Option<PathBuf>,
}

impl Search {
    /// What the environment says. Runs `python3` to ask for its directories, unless `KWC_NVRTC` is set. An empty
    /// variable counts as unset.
    #[must_use]
    pub fn from_environment() -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let library = variable("KWC_NVRTC");
        let site_packages = if library.is_some() { Vec::new() } else { site_packages(variable("VIRTUAL_ENV")) };
        let fetched = fetch::user_directory();
        Self { library, toolkit: variable("CUDA_PATH"), loader: true, site_packages, fetched }
    }

    /// Looks, and loads the first NVRTC that can be loaded.
    ///
    /// # Errors
    ///
    /// [`Error::Wrong`] if [`library`](Self::library) names none; [`Error::NotFound`] with every place looked at.
    pub fn find(&self) -> Result<Nvrtc, Error> {
        if let Some(value) = &self.library {
            let wrong =
                |reason| Error::Wrong { variable: "KWC_NVRTC", value: value.to_string_lossy().into_owned(), reason };
            return named(Path::new(value)).and_then(|path| open(&path)).map_err(wrong);
        }
        let mut places = Places::default();
        let found = self
            .toolkit_directories()
            .into_iter()
            .find_map(|directory| open_in(&directory, &mut places))
            .or_else(|| self.ask_loader(&mut places))
            .or_else(|| {
                self.site_packages
                    .iter()
                    .flat_map(|site| package_directories(site))
                    .find_map(|directory| open_in(&directory, &mut places))
            })
            .or_else(|| self.open_fetched(&mut places));
        if found.is_none() {
            if self.toolkit.is_none() {
                places.0.insert(0, crate::Attempt { place: "CUDA_PATH".to_owned(), outcome: "not set".to_owned() });
            }
            for site in &self.site_packages {
                places.add(site.display().to_string(), "no nvidia/*/lib with an NVRTC that can be loaded");
            }
        }
        found.ok_or(Error::NotFound(places))
    }

    fn toolkit_directories(&self) -> Vec<PathBuf> {
        let Some(root) = self.toolkit.as_ref().map(Path::new) else { return Vec::new() };
        let mut directories = vec![root.join("lib64"), root.join("lib")];
        directories.extend(subdirectories(&root.join("targets")).into_iter().map(|target| target.join("lib")));
        directories
    }

    fn open_fetched(&self, places: &mut Places) -> Option<Nvrtc> {
        let directory = self.fetched.as_ref()?;
        let Some(path) = fetch::fetched(directory) else {
            places.add(directory.display().to_string(), "nothing was fetched there");
            return None;
        };
        open(&path).map_err(|reason| places.add(path.display().to_string(), reason)).ok()
    }

    fn ask_loader(&self, places: &mut Places) -> Option<Nvrtc> {
        if !self.loader {
            return None;
        }
        BARE_NAMES.iter().find_map(|name| match Nvrtc::open(Path::new(name)) {
            Ok(nvrtc) => Some(nvrtc),
            Err(_) => {
                places.add(format!("the dynamic loader, {name}"), "not found");
                None
            }
        })
    }
}

impl Nvrtc {
    /// Looks where the environment says: see [`Search`].
    ///
    /// # Errors
    ///
    /// It isn't found, or `KWC_NVRTC` is wrong.
    pub fn find() -> Result<Self, Error> {
        Search::from_environment().find()
    }

    /// As [`find`](Self::find); if there is none, uses what was fetched to `directory`, or fetches it now.
    ///
    /// # Errors
    ///
    /// `KWC_NVRTC` is wrong, or fetching fails.
    pub fn find_or_fetch(directory: &Path) -> Result<Self, Error> {
        match Self::find() {
            Err(Error::NotFound(_)) => Self::open(&fetch::fetch(directory)?),
            other => other,
        }
    }
}

/// The library that a path names: itself, or the one in the directory.
fn named(path: &Path) -> Result<PathBuf, String> {
    if path.is_file() {
        return Ok(path.to_owned());
    }
    if !path.is_dir() {
        return Err("there is no such file or directory".to_owned());
    }
    library_in(path).ok_or_else(|| "there is no libnvrtc.so in this directory".to_owned())
}

fn open(path: &Path) -> Result<Nvrtc, String> {
    Nvrtc::open(path).map_err(|error| if let Error::Load { reason, .. } = error { reason } else { error.to_string() })
}

fn open_in(directory: &Path, places: &mut Places) -> Option<Nvrtc> {
    let Some(path) = library_in(directory) else {
        places.add(directory.display().to_string(), "no libnvrtc.so there");
        return None;
    };
    match open(&path) {
        Ok(nvrtc) => Some(nvrtc),
        Err(reason) => {
            places.add(path.display().to_string(), reason);
            None
        }
    }
}

/// The NVRTC of the highest version in a directory.
pub(crate) fn library_in(directory: &Path) -> Option<PathBuf> {
    fs::read_dir(directory)
        .ok()?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version = version_of(entry.file_name().to_str()?)?;
            Some((version, entry.path()))
        })
        .max()
        .map(|(_, path)| path)
}

/// The numbers in `libnvrtc.so.13` or `libnvrtc.so`; `None` for other files, such as the built-ins beside it.
fn version_of(file: &str) -> Option<Vec<u32>> {
    let rest = file.strip_prefix("libnvrtc.so")?;
    match rest.strip_prefix('.') {
        Some(version) => version.split('.').map(|part| part.parse().ok()).collect(),
        None => rest.is_empty().then(Vec::new),
    }
}

/// `nvidia/*/lib` below a directory of Python packages: of the wheels for CUDA 13 (`cu13`) and 12 (`cuda_nvrtc`).
pub(crate) fn package_directories(site: &Path) -> Vec<PathBuf> {
    let mut directories: Vec<PathBuf> = subdirectories(&site.join("nvidia"))
        .into_iter()
        .map(|package| package.join("lib"))
        .filter(|lib| library_in(lib).is_some())
        .collect();
    // The highest version first.
    directories.sort_by_key(|lib| {
        let file = library_in(lib).and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
        std::cmp::Reverse(file.as_deref().and_then(version_of))
    });
    directories
}

/// In the order of their names.
fn subdirectories(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut found: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()).collect();
    found.sort();
    found
}

/// The directories that Python imports packages from: of the virtual environment, then of the `python3` on `PATH`.
fn site_packages(virtual_environment: Option<OsString>) -> Vec<PathBuf> {
    let mut directories: Vec<PathBuf> = Vec::new();
    if let Some(root) = virtual_environment {
        let libraries = subdirectories(&Path::new(&root).join("lib"));
        directories.extend(libraries.into_iter().map(|python| python.join("site-packages")));
    }
    let asked = Command::new("python3")
        .args(["-c", "import sys\nfor path in sys.path[1:]: print(path)"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    if let Ok(output) = asked {
        directories.extend(String::from_utf8_lossy(&output.stdout).lines().map(PathBuf::from));
    }
    let mut seen = Vec::new();
    for directory in directories {
        if directory.is_dir() && !seen.contains(&directory) {
            seen.push(directory);
        }
    }
    seen
}
