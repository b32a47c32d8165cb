//! Modules, their variables, and functions with their attributes.

use std::collections::BTreeMap;
use std::ffi::{CString, c_char};
use std::sync::Arc;

use super::arguments::{Image, In, Out, OutHandle, Pointers, Text};
use super::capture;
use super::device::{self, Architecture};
use super::environment::Version;
use super::errors::{Answer, Code, Failure};
use super::handles::{ContextHandle, FunctionHandle, ModuleHandle};
use super::jit::Logs;
use super::occupancy::{self, Demand};
use super::state::Device;
use crate::exec::Kernel;
use crate::gpu;

/// A module.
#[derive(Debug)]
pub struct Module {
    /// The context that it is in.
    pub context: ContextHandle,
    loaded: Arc<gpu::Module>,
    /// What it was compiled for: 80 for `sm_80`.
    target: u32,
    /// The functions that the program asked for.
    functions: BTreeMap<String, FunctionHandle>,
}

/// A function: a kernel of a module, with what the program set.
#[derive(Debug)]
pub struct Function {
    /// The context that it is in.
    pub context: ContextHandle,
    /// The module, which is there as long as any launch of the function may run.
    pub loaded: Arc<gpu::Module>,
    /// The kernel.
    pub kernel: Arc<Kernel>,
    /// The most dynamic shared memory that a launch may ask for, bytes.
    pub most_dynamic: u32,
    module: ModuleHandle,
    name: CString,
    target: u32,
    /// How much of the multiprocessor's memory shared memory is to get, percent; a hint.
    carveout: i32,
}

/// What the head of a PTX text says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head<'a> {
    /// `.version`: major, minor, and its line from 1.
    pub version: Option<(u32, u32, u32)>,
    /// The first word of `.target`, and its line from 1.
    pub target: Option<(&'a str, u32)>,
}

impl<'a> Head<'a> {
    /// Finds the directives at the head of a PTX text. What isn't found is left to the reader of PTX.
    #[must_use]
    pub fn of(text: &'a str) -> Self {
        let mut head = Self::default();
        for (line, number) in text.lines().zip(1..) {
            let mut words = line.split_whitespace();
            match words.next() {
                Some(".version") => {
                    let version = words.next().and_then(|version| version.split_once('.'));
                    head.version =
                        version.and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?, number)));
                }
                Some(".target") => {
                    head.target = words.next().and_then(|word| word.split(',').next()).map(|word| (word, number));
                    break;
                }
                Some(_) | None => {}
            }
        }
        head
    }

    /// Checks that a driver of a version, for a part, takes the text.
    ///
    /// # Errors
    ///
    /// PTX newer than the driver is `CUDA_ERROR_UNSUPPORTED_PTX_VERSION`. PTX for a newer part is what ptxas refuses,
    /// and so `CUDA_ERROR_INVALID_PTX` (`CUDA_ERROR_NO_BINARY_FOR_GPU` is for binaries).
    pub fn check(&self, version: Version, architecture: Architecture) -> Answer {
        let newest = version.ptx();
        if let Some((major, minor, line)) = self.version
            && (major, minor) > newest
        {
            let message = format!(
                "line {line}: .version {major}.{minor} is newer than {}.{}, the PTX of a driver for CUDA {}.{}",
                newest.0, newest.1, version.major, version.minor
            );
            return Err(Code::UnsupportedPtxVersion.because(message));
        }
        if let Some((target, line)) = self.target
            && let Some((number, suffix)) = target_number(target)
        {
            let own = architecture.number();
            // Code for one architecture alone has a letter.
            if number > own || (!suffix.is_empty() && number != own) {
                let message = format!("line {line}: .target {target} doesn't run on {}", architecture.name());
                return Err(Code::InvalidPtx.because(message));
            }
        }
        Ok(())
    }
}

/// The number and the letter of a target: 90 and `a` of `sm_90a`.
fn target_number(target: &str) -> Option<(u32, &str)> {
    let rest = target.strip_prefix("sm_")?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (number, suffix) = rest.split_at_checked(end)?;
    Some((number.parse().ok()?, suffix))
}

fn load_text(device: &Device, text: &[u8]) -> Answer<(gpu::Module, u32)> {
    let text = str::from_utf8(text).map_err(|_| Code::InvalidImage.because("the module is no text and no binary"))?;
    if text.trim().is_empty() {
        return Err(Code::InvalidImage.because("the module is empty"));
    }
    let architecture = device.settings.options.architecture;
    let head = Head::of(text);
    head.check(device.settings.version, architecture)?;
    let target = head.target.and_then(|(target, _)| target_number(target)).map_or(architecture.number(), |(n, _)| n);
    let module = device.gpu.load(text).map_err(|error| Code::InvalidPtx.because(error.to_string()))?;
    Ok((module, target))
}

fn load(device: &Device, module: OutHandle<ModuleHandle>, text: Option<&[u8]>) -> Answer {
    module.check()?;
    let context = {
        let mut state = device.state();
        let context = state.current()?;
        capture::refuse_unsafe(&mut state)?;
        context
    };
    let Some(text) = text else {
        let message = "a cubin or fat binary holds machine code, which the virtual GPU has none of: load PTX";
        return Err(Code::NoBinaryForGpu.because(message));
    };
    let (loaded, target) = load_text(device, text)?;
    let object = Module { context, loaded: Arc::new(loaded), target, functions: BTreeMap::new() };
    module.set(Some(device.state().modules.add(object)))
}

/// `cuModuleLoadData`, `cuModuleLoadFatBinary`
pub fn load_data(device: &Device, module: OutHandle<ModuleHandle>, image: Image) -> Answer {
    load(device, module, image.text()?)
}

/// `cuModuleLoadDataEx`: of the options, the logs have an effect.
pub fn load_data_with_options(
    device: &Device,
    module: OutHandle<ModuleHandle>,
    image: Image,
    count: u32,
    options: In<u32>,
    values: Pointers,
) -> Answer {
    let logs = Logs::new(count, options, values)?;
    let answer = image.text().and_then(|text| load(device, module, text));
    logs.write(answer.as_ref().err().map_or("", |failure: &Failure| &failure.message));
    answer
}

/// `cuModuleLoad`
pub fn load_file(device: &Device, module: OutHandle<ModuleHandle>, path: Text) -> Answer {
    let path = path.read()?;
    let bytes = std::fs::read(path).map_err(|error| Code::FileNotFound.because(format!("{path}: {error}")))?;
    load(device, module, Image::text_of(&bytes))
}

/// `cuModuleUnload`
pub fn unload(device: &Device, module: ModuleHandle) -> Answer {
    let mut state = device.state();
    let object = state.modules.remove(module)?;
    for function in object.functions.into_values() {
        state.functions.remove(function)?;
    }
    Ok(())
}

/// `cuModuleGetFunction`: the same handle each time.
pub fn get_function(device: &Device, function: OutHandle<FunctionHandle>, module: ModuleHandle, name: Text) -> Answer {
    function.check()?;
    let name = name.read()?;
    let mut state = device.state();
    let object = state.modules.get(module)?;
    state.usable(object.context)?;
    if let Some(known) = object.functions.get(name) {
        return function.set(Some(*known));
    }
    let kernel = object.loaded.kernels.get(name).map(Arc::clone).ok_or_else(|| {
        let names: Vec<&str> = object.loaded.kernels.keys().map(String::as_str).collect();
        Code::NotFound.because(format!("the module has no kernel {name:?}; it has {names:?}"))
    })?;
    let object = Function {
        context: object.context,
        loaded: Arc::clone(&object.loaded),
        most_dynamic: device::SHARED_PER_BLOCK.saturating_sub(kernel.static_shared),
        kernel,
        module,
        name: CString::new(name).unwrap_or_default(),
        target: object.target,
        carveout: -1,
    };
    let handle = state.functions.add(object);
    state.modules.get_mut(module)?.functions.insert(name.to_owned(), handle);
    function.set(Some(handle))
}

/// `cuModuleGetFunctionCount`
pub fn function_count(device: &Device, count: Out<u32>, module: ModuleHandle) -> Answer {
    let state = device.state();
    count.set(u32::try_from(state.modules.get(module)?.loaded.kernels.len()).unwrap_or(u32::MAX))
}

/// `cuModuleGetGlobal_v2`: address and size of a variable.
pub fn get_global(device: &Device, address: Out<u64>, size: Out<usize>, module: ModuleHandle, name: Text) -> Answer {
    let name = name.read()?;
    let state = device.state();
    let object = state.modules.get(module)?;
    let Some((start, bytes)) = object.loaded.variables.get(name) else {
        return Err(Code::NotFound.because(format!("the module has no variable {name:?}")));
    };
    address.set_if_wanted(*start);
    size.set_if_wanted(*bytes as usize);
    Ok(())
}

/// `cuModuleGetLoadingMode`: a module is loaded whole.
pub fn loading_mode(_: &Device, mode: Out<u32>) -> Answer {
    mode.set(1)
}

impl Function {
    /// What a block takes.
    #[must_use]
    pub fn demand(&self, threads: u32, dynamic: u32) -> Demand {
        Demand { threads, registers: self.kernel.registers, shared: self.kernel.static_shared.saturating_add(dynamic) }
    }

    /// The most threads that a block of it can have.
    #[must_use]
    pub fn most_threads(&self) -> u32 {
        let limit = self.kernel.max_threads.min(device::THREADS_PER_BLOCK);
        let fits = |threads: &u32| occupancy::registers_fit(&self.demand(*threads, 0));
        (1..=limit)
            .rev()
            .find(|threads| (*threads == limit || threads.is_multiple_of(32)) && fits(threads))
            .unwrap_or(0)
    }
}

/// `cuFuncGetAttribute`
pub fn get_attribute(device: &Device, value: Out<i32>, attribute: u32, function: FunctionHandle) -> Answer {
    let state = device.state();
    let function = state.functions.get(function)?;
    let kernel = &function.kernel;
    let number = match attribute {
        0 => function.most_threads(),
        1 => kernel.static_shared,
        2 => kernel.constant,
        3 => kernel.local,
        4 => kernel.registers,
        5 => function.target,
        6 => device.settings.options.architecture.number(),
        8 => function.most_dynamic,
        9 => return value.set(function.carveout),
        // Loads cached in L1 by an option of the compiler; clusters: no size that must be set or is required, none
        // above the portable ones, no preference.
        7 | 10..=15 => 0,
        other => return Err(Code::InvalidValue.because(format!("there is no attribute {other} of functions"))),
    };
    value.set(i32::try_from(number).unwrap_or(i32::MAX))
}

/// `cuFuncSetAttribute`
pub fn set_attribute(device: &Device, function: FunctionHandle, attribute: u32, value: i32) -> Answer {
    let mut state = device.state();
    let optin = device.settings.options.architecture.part().shared_per_block_optin;
    let function = state.functions.get_mut(function)?;
    match attribute {
        8 => {
            let most = optin.saturating_sub(function.kernel.static_shared);
            let wanted = u32::try_from(value).ok().filter(|wanted| *wanted <= most).ok_or_else(|| {
                let fixed = function.kernel.static_shared;
                Code::InvalidValue.because(format!(
                    "{value} bytes of dynamic shared memory: with {fixed} static ones, 0 to {most} can be had"
                ))
            })?;
            function.most_dynamic = wanted;
        }
        9 if (-1..=100).contains(&value) => function.carveout = value,
        // Clusters larger than the portable size, and how they are scheduled: clusters aren't launched.
        14 | 15 if value == 0 => {}
        other => {
            return Err(Code::InvalidValue.because(format!("attribute {other} of a function can't be set to {value}")));
        }
    }
    Ok(())
}

/// `cuFuncSetCacheConfig`, `cuFuncSetSharedMemConfig`: hints, which the stand-in takes and doesn't need.
pub fn set_preference(device: &Device, function: FunctionHandle, preference: u32) -> Answer {
    device.state().functions.get(function)?;
    if preference > 3 {
        return Err(Code::InvalidValue.because(format!("there is no preference {preference}")));
    }
    Ok(())
}

/// `cuFuncGetModule`
pub fn get_module(device: &Device, module: OutHandle<ModuleHandle>, function: FunctionHandle) -> Answer {
    module.set(Some(device.state().functions.get(function)?.module))
}

/// `cuFuncGetName`: valid as long as the module is loaded.
pub fn get_name(device: &Device, name: Out<*const c_char>, function: FunctionHandle) -> Answer {
    name.set(device.state().functions.get(function)?.name.as_ptr())
}

/// `cuFuncIsLoaded`: 1.
pub fn is_loaded(device: &Device, loaded: Out<u32>, function: FunctionHandle) -> Answer {
    device.state().functions.get(function)?;
    loaded.set(1)
}

/// `cuFuncLoad`
pub fn load_function(device: &Device, function: FunctionHandle) -> Answer {
    device.state().functions.get(function).map(|_| ())
}

/// `cuFuncGetParamCount`
pub fn parameter_count(device: &Device, function: FunctionHandle, count: Out<usize>) -> Answer {
    count.set(device.state().functions.get(function)?.kernel.parameters.len())
}

/// `cuFuncGetParamInfo`: offset and size of a parameter in the block of parameters.
pub fn parameter_info(
    device: &Device,
    function: FunctionHandle,
    index: usize,
    offset: Out<usize>,
    size: Out<usize>,
) -> Answer {
    let state = device.state();
    let kernel = &state.functions.get(function)?.kernel;
    let Some((start, bytes)) = kernel.parameters.get(index) else {
        return Err(Code::InvalidValue.because(format!("there is no parameter {index}")));
    };
    offset.set(*start as usize)?;
    size.set_if_wanted(*bytes as usize);
    Ok(())
}
