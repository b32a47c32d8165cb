//! Specs: compiled now.

use kwc_compiler::emit::{self, CodeForm};
use kwc_compiler::pipeline::{self, Setting};
use kwc_compiler::plan;
use kwc_compiler::plan::cuda::{self, GPUS, Gpu, Mixing};
use kwc_program::cuda::Precision;
use proc_macro2::{Span, TokenStream};
use quote::quote;

use crate::Wrong;
use crate::arguments::{Arguments, Choice, Value};
use crate::tracked::Tracked;

/// The items of a spec.
pub(crate) fn expand(root: &str, path: &str, arguments: &Arguments) -> Result<TokenStream, Wrong> {
    let options = Options::read(&arguments.options)?;
    let span = arguments.path.span();
    let wrong = |message: String| Wrong { span, message };
    let files = Tracked::new(root);
    let checked = pipeline::front(path, &files, &options.settings)
        .map_err(|failure| wrong(failure.diagnostics.render(&failure.sources, false)))?;
    let items = match options.target {
        Target::Cpu => {
            let planned = plan::plan(&checked, &plan::Options::default()).map_err(|e| wrong(e.to_string()))?;
            emit::model(&planned.program)
        }
        Target::Cuda(options) => {
            let network = pipeline::cuda(&checked, &options).map_err(|e| wrong(e.to_string()))?;
            emit::cuda_model(&network.planned.program, CodeForm::Inline { source: &network.source })
        }
    };
    let items = items.map_err(|e| wrong(e.to_string()))?;
    let tracked = files.items();
    Ok(quote!(#tracked #items))
}

/// What to compile for.
enum Target {
    Cpu,
    Cuda(cuda::Options),
}

struct Options {
    target: Target,
    settings: Vec<Setting>,
}

impl Options {
    fn read(choices: &[Choice]) -> Result<Self, Wrong> {
        let mut settings = Vec::new();
        let mut options = cuda::Options::default();
        let mut is_cuda = false;
        // The first option that only CUDA has.
        let mut of_cuda: Option<Span> = None;
        let mut seen: Vec<String> = Vec::new();
        for choice in choices {
            let name = choice.name.to_string();
            if name != "set" && seen.contains(&name) {
                return Err(Wrong { span: choice.span(), message: format!("`{name}` is given twice") });
            }
            match name.as_str() {
                "target" => is_cuda = word(choice, &[("cpu", false), ("cuda", true)])?,
                "precision" => {
                    options.precision = word(choice, &[("f16", Precision::F16), ("f32", Precision::F32)])?;
                }
                "max_batch" => options.max_batch = number(choice)?,
                "gpu" => {
                    let known: Vec<(&str, &'static Gpu)> = GPUS.iter().map(|gpu| (gpu.name, gpu)).collect();
                    options.gpu = word(choice, &known)?;
                }
                "mixing" => {
                    let places = [("auto", Mixing::Auto), ("apart", Mixing::Apart), ("inside", Mixing::Inside)];
                    options.mixing = word(choice, &places)?;
                }
                "set" => settings.push(setting(choice)?),
                _ => {
                    let message = format!(
                        "there is no option `{name}`: there are target, precision, max_batch, gpu, mixing and set"
                    );
                    return Err(Wrong { span: choice.span(), message });
                }
            }
            if ["precision", "max_batch", "gpu", "mixing"].contains(&name.as_str()) {
                of_cuda.get_or_insert(choice.span());
            }
            seen.push(name);
        }
        match of_cuda {
            Some(span) if !is_cuda => {
                Err(Wrong { span, message: "this is an option of CUDA: give `target = cuda` too".to_owned() })
            }
            Some(_) | None => {
                let target = if is_cuda { Target::Cuda(options) } else { Target::Cpu };
                Ok(Self { target, settings })
            }
        }
    }
}

/// The meaning of a word among those that an option has.
fn word<T: Copy>(choice: &Choice, words: &[(&str, T)]) -> Result<T, Wrong> {
    let given = choice.value.text();
    let found = words.iter().find(|(word, _)| *word == given).map(|(_, meaning)| *meaning);
    found.ok_or_else(|| {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let message = format!("`{}` is one of {}, not `{given}`", choice.name, known.join(", "));
        Wrong { span: choice.value.span(), message }
    })
}

/// A batch size.
fn number(choice: &Choice) -> Result<usize, Wrong> {
    let number = match &choice.value {
        Value::Number(number) => number.base10_parse::<u16>().ok().filter(|number| (1..=4096).contains(number)),
        Value::Name(_) | Value::Text(_) => None,
    };
    let wrong =
        || Wrong { span: choice.value.span(), message: format!("`{}` is a whole number from 1 to 4096", choice.name) };
    number.map(usize::from).ok_or_else(wrong)
}

/// `"classes=10"`
fn setting(choice: &Choice) -> Result<Setting, Wrong> {
    let wrong = || Wrong {
        span: choice.value.span(),
        message: "write NAME=VALUE in quotes, as in `set = \"classes=10\"`".to_owned(),
    };
    let Value::Text(text) = &choice.value else { return Err(wrong()) };
    let text = text.value();
    let (name, value) = text.split_once('=').ok_or_else(wrong)?;
    Ok(Setting { name: name.trim().to_owned(), value: value.to_owned() })
}
