//! From code in several forms to a module: the first form that the device takes.
//!
//! The order is in the documentation of the module above.

use kwc_nvrtc::{Nvrtc, Options};

use super::cache::{Cache, Form};
use super::error::Attempts;
use super::module::{Image, Module, Refusal};
use super::{Code, CodeUsed, Cubin, Device, Error, ptx};
use crate::hash;
use crate::program::cuda::Program;

/// Loads the kernels of a Program.
pub(super) fn load(device: &Device, program: &Program, code: &Code) -> Result<(Module, CodeUsed), Error> {
    let found = hash::of([code.source.as_bytes()]);
    if found != *program.source_id {
        return Err(Error::SourceId { expected: program.source_id.to_string(), found });
    }
    let cache = Cache::find(program, code, device);
    let mut attempts = Attempts::default();
    let load = Load { device, program, code, cache };
    load.shipped_cubin(&mut attempts)
        .or_else(|| load.shipped_ptx(&mut attempts))
        .or_else(|| load.kept(&mut attempts))
        .or_else(|| load.compile(&mut attempts))
        .ok_or_else(|| Error::Code { device: device.to_string(), attempts })
}

struct Load<'l> {
    device: &'l Device,
    program: &'l Program,
    code: &'l Code,
    cache: Option<Cache>,
}

impl Load<'_> {
    fn shipped_cubin(&self, attempts: &mut Attempts) -> Option<(Module, CodeUsed)> {
        let device = self.device.architecture();
        let mut fitting: Vec<&Cubin> = self.code.cubins.iter().filter(|cubin| cubin.runs_on(device)).collect();
        fitting.sort_by_key(|cubin| std::cmp::Reverse(cubin.parsed()));
        if fitting.is_empty() {
            let names: Vec<&str> = self.code.cubins.iter().map(|cubin| cubin.architecture.as_ref()).collect();
            let names =
                if names.is_empty() { "none at all".to_owned() } else { format!("those for {}", names.join(", ")) };
            attempts.add("a cubin that came with the program", format!("none is for sm_{device}, there are {names}"));
        }
        fitting.into_iter().find_map(|cubin| {
            let architecture = cubin.architecture.to_string();
            match Module::load(self.device, Image::Cubin(&cubin.bytes), &self.program.kernels) {
                Ok(module) => Some((module, CodeUsed::Cubin { architecture })),
                Err(refusal) => {
                    attempts.add(format!("the cubin for {architecture} that came with the program"), refusal.reason);
                    None
                }
            }
        })
    }

    fn shipped_ptx(&self, attempts: &mut Attempts) -> Option<(Module, CodeUsed)> {
        let way = "the PTX that came with the program";
        let Some(text) = &self.code.ptx else {
            attempts.add(way, "there is none");
            return None;
        };
        let (module, lowered) = self.ptx(way, text, attempts)?;
        Some((module, CodeUsed::Ptx { lowered: lowered.map(str::to_owned) }))
    }

    /// Loads PTX, with a lower version if need be, which comes back with the module.
    fn ptx(&self, way: &str, text: &str, attempts: &mut Attempts) -> Option<(Module, Option<&'static str>)> {
        let load = |text: &str| Module::load(self.device, Image::Ptx(text), &self.program.kernels);
        let Refusal { version, reason } = match load(text) {
            Ok(module) => return Some((module, None)),
            Err(refusal) => refusal,
        };
        attempts.add(way, reason);
        let (text, version) = ptx::lowered(text).filter(|_| version)?;
        match load(&text) {
            Ok(module) => Some((module, Some(version))),
            Err(refusal) => {
                attempts.add(format!("{way}, as version {version}"), refusal.reason);
                None
            }
        }
    }

    fn kept(&self, attempts: &mut Attempts) -> Option<(Module, CodeUsed)> {
        let Some(cache) = &self.cache else {
            attempts.add("code compiled before", "neither XDG_CACHE_HOME nor HOME names a folder to keep it in");
            return None;
        };
        let entries = cache.entries();
        if entries.is_empty() {
            attempts.add("code compiled before", format!("there is none in {}", cache.directory().display()));
        }
        entries.into_iter().find_map(|(path, form)| {
            let way = path.display().to_string();
            let module = match (Cache::read(&path), form) {
                (Err(reason), _) => Err(reason),
                (Ok(bytes), Form::Cubin) => Module::load(self.device, Image::Cubin(&bytes), &self.program.kernels)
                    .map_err(|refusal| refusal.reason),
                (Ok(bytes), Form::Ptx) => match String::from_utf8(bytes) {
                    Ok(text) => self.ptx(&way, &text, attempts).map(|(module, _)| module).ok_or_else(String::new),
                    Err(error) => Err(error.to_string()),
                },
            };
            match module {
                Ok(module) => Some((module, CodeUsed::Cached { path })),
                Err(reason) => {
                    // PTX has said why already.
                    if !reason.is_empty() {
                        attempts.add(way, reason);
                    }
                    None
                }
            }
        })
    }

    fn compile(&self, attempts: &mut Attempts) -> Option<(Module, CodeUsed)> {
        let nvrtc = match Nvrtc::find() {
            Ok(nvrtc) => nvrtc,
            Err(error) => {
                attempts.add("compiling the source now", error.to_string());
                return None;
            }
        };
        let number = self.device.architecture();
        let mut targets = vec![format!("sm_{number}"), format!("compute_{number}"), "compute_80".to_owned()];
        targets.dedup();
        for target in targets {
            let (major, minor) = nvrtc.version();
            let way = format!("compiling the source now with NVRTC {major}.{minor} for {target}");
            let mut options = Options::new(&target);
            options.more = self.code.options.iter().map(ToString::to_string).collect();
            let output = match nvrtc.compile(&self.code.source, "kernels.cu", &options) {
                Ok(output) => output,
                Err(error) => {
                    attempts.add(way, error.to_string());
                    if matches!(error, kwc_nvrtc::Error::Source { .. }) {
                        return None;
                    }
                    continue;
                }
            };
            let loaded = match &output.code {
                kwc_nvrtc::Code::Cubin(bytes) => {
                    match Module::load(self.device, Image::Cubin(bytes), &self.program.kernels) {
                        Ok(module) => Some((module, Form::Cubin, bytes.as_slice())),
                        Err(refusal) => {
                            attempts.add(way, refusal.reason);
                            None
                        }
                    }
                }
                kwc_nvrtc::Code::Ptx(text) => {
                    let module = self.ptx(&way, text, attempts);
                    module.map(|(module, _)| (module, Form::Ptx, text.as_bytes()))
                }
            };
            if let Some((module, form, bytes)) = loaded {
                let kept = match &self.cache {
                    Some(cache) => cache.keep(nvrtc.version(), form, bytes),
                    None => Err("neither XDG_CACHE_HOME nor HOME names a folder".to_owned()),
                };
                return Some((module, CodeUsed::Compiled { architecture: target, nvrtc: nvrtc.version(), kept }));
            }
        }
        None
    }
}
