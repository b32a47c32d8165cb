//! `include_model!`: a network, compiled while the program around it is, or before.
//!
//! The macro reads a spec, plans it, and expands to the generated runtime: the Program as constant tables and a typed
//! `Model`. Given a folder that `kwc compile` made, it expands to that folder's code. It is re-exported by `kwc-runtime`,
//! which is the one dependency that a user needs.

mod arguments;
mod folder;
mod spec;
mod tracked;

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;

use arguments::Arguments;

/// Expands to the generated runtime of a network: `PROGRAM`, `Model` and `Outputs`, as items of the module where it
/// stands, and for CUDA `CODE` and `DeviceOutputs`.
///
/// The path is relative to the crate that is being compiled. It is one of
///
/// - a spec, which is compiled now. Options may follow, all of them optional: `target = cpu` (the default) or `cuda`; for
///   CUDA `precision = f16` (the default) or `f32`, `max_batch = 8`, `gpu = "a100"` and `mixing = auto` (the default),
///   `apart` or `inside`; for both `set = "classes=10"`, as often as there are parameters to set. CUDA kernels are part of
///   the program as source; NVRTC compiles them when a model is loaded, and keeps them for the next time.
/// - a folder that `kwc compile` made. Its kernels are part of the program as they were compiled, and no NVRTC is needed
///   where it runs.
///
/// Errors in a spec are errors of compilation, with file, line and hint; a change of the spec, of a file that it extends,
/// or of a file in the folder compiles the program again. The macro runs no other program and writes nothing.
///
/// ```ignore
/// mod resnet18 {
///     kwc_runtime::include_model!("specs/resnet18.yaml", target = cuda, max_batch = 16);
/// }
///
/// let device = kwc_runtime::cuda::Device::new(0)?;
/// let mut model = resnet18::Model::load(&device, &weights)?;
/// let logits = model.run(1, &image)?.output;
/// ```
#[proc_macro]
pub fn include_model(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let arguments = syn::parse_macro_input!(input as Arguments);
    expand(&arguments).unwrap_or_else(|Wrong { span, message }| error(span, &message)).into()
}

fn error(span: Span, message: &str) -> TokenStream {
    quote_spanned!(span => ::core::compile_error!(#message);)
}

/// What is wrong, and with which part of the macro's arguments.
struct Wrong {
    span: Span,
    message: String,
}

/// The items, or what is wrong.
fn expand(arguments: &Arguments) -> Result<TokenStream, Wrong> {
    // Paths in messages and in what is tracked start at the crate, wherever that is.
    let wrong = |message: String| Wrong { span: arguments.path.span(), message };
    let root = std::env::var("CARGO_MANIFEST_DIR")
        .map_err(|e| wrong(format!("cargo does not say where the crate is: {e}")))?;
    let path = arguments.path.value();
    if std::path::Path::new(&path).is_absolute() {
        return Err(wrong("give the path relative to the crate".to_owned()));
    }
    if std::path::Path::new(&root).join(&path).is_dir() {
        if let Some(option) = arguments.options.first() {
            let message = "a compiled folder has its options already: leave this out, or give them to `kwc compile`";
            return Err(Wrong { span: option.span(), message: message.to_owned() });
        }
        folder::expand(&root, &path).map_err(wrong)
    } else {
        spec::expand(&root, &path, arguments)
    }
}
