//! The options that name a spec, and reading it.

use std::path::Path;

use clap::Args;
use kwc_compiler::check::Checked;
use kwc_compiler::folder::Folder;
use kwc_compiler::pipeline::{self, Setting};

use crate::failure::Failure;

/// Options of every verb that reads one spec.
#[derive(Debug, Args)]
pub(crate) struct SpecArguments {
    /// The network, as a YAML file
    pub(crate) spec: String,

    #[command(flatten)]
    pub(crate) settings: Settings,
}

/// Parameters set on the command line.
#[derive(Debug, Clone, Args)]
pub(crate) struct Settings {
    /// Set a parameter of the network, as in `--set classes=10`; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = setting)]
    pub(crate) set: Vec<Setting>,
}

impl Settings {
    /// Adds parameters that were not set.
    pub(crate) fn complete(&mut self, known: impl Iterator<Item = Setting>) {
        let known: Vec<Setting> = known.filter(|known| self.set.iter().all(|given| given.name != known.name)).collect();
        self.set.extend(known);
    }
}

impl SpecArguments {
    /// Reads and checks the spec.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn load(&self) -> Result<Checked, Failure> {
        self.load_with(&self.settings)
    }

    /// The same with other parameters.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub(crate) fn load_with(&self, settings: &Settings) -> Result<Checked, Failure> {
        refuse_others(&self.spec)?;
        load(&self.spec, settings).map_err(|f| Failure::Spec(Box::new(f)))
    }
}

/// Refuses files and folders that are known to be something else.
///
/// # Errors
/// What they are.
pub(crate) fn refuse_others(spec: &str) -> Result<(), Failure> {
    let path = Path::new(spec);
    let extension = path.extension().unwrap_or_default();
    let (what, hint) = if is_compiled(path) {
        (
            "a network that `kwc compile` made",
            "give the YAML file that it was made of; a Rust program runs the folder itself, by `include_model!`",
        )
    } else if path.file_name().is_some_and(|name| name == "manifest.json")
        && path
            .parent()
            .is_some_and(|folder| is_compiled(if folder == Path::new("") { Path::new(".") } else { folder }))
    {
        ("the manifest of a network that `kwc compile` made", "give the YAML file that it was made of")
    } else if path.is_file() && ["pth", "pt", "safetensors"].iter().any(|known| extension.eq_ignore_ascii_case(known)) {
        ("a file of weights", "give the network's YAML file, and this one with `--weights`")
    } else {
        return Ok(());
    };
    Err(Failure::file(path, format!("this is {what}, not a spec")).hint(hint))
}

/// Whether a path is a folder that `kwc compile` wrote.
pub(crate) fn is_compiled(path: &Path) -> bool {
    path.is_dir() && path.join("manifest.json").is_file() && path.join("src/lib.rs").is_file()
}

/// Reads and checks a spec.
///
/// # Errors
/// Everything that is wrong with it.
pub(crate) fn load(path: &str, settings: &Settings) -> Result<Checked, pipeline::Failure> {
    pipeline::front(path, &Folder, &settings.set)
}

fn setting(text: &str) -> Result<Setting, String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE, as in classes=10")?;
    let name = name.trim();
    if name.is_empty() {
        return Err("there is no name before the `=`".to_owned());
    }
    Ok(Setting { name: name.to_owned(), value: value.to_owned() })
}
