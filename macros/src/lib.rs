//! `include_model!`: a network, compiled while the program around it is.
//!
//! The macro reads a spec, plans it for the CPU and expands to the generated runtime: the Program as constant tables and a
//! typed `Model`. It is re-exported by `kwc-runtime`, which is the one dependency that a user needs.

use std::cell::RefCell;
use std::path::Path;

use kwc_compiler::folder::Folder;
use kwc_compiler::pipeline::{self, Failure};
use kwc_compiler::source::Files;
use kwc_compiler::{emit, plan};
use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::LitStr;

/// Expands to the generated runtime of a spec: `PROGRAM`, `Model` and `Outputs`, as items of the module where it stands.
///
/// The path is relative to the crate that is being compiled. Errors in the spec are errors of compilation, with file,
/// line and hint; a change of the spec, or of a file that it extends, compiles the program again.
///
/// ```ignore
/// mod resnet18 {
///     kwc_runtime::include_model!("specs/resnet18.yaml");
/// }
///
/// let mut model = resnet18::Model::new(weights, &Default::default())?;
/// let logits = model.run(1, &image)?.output;
/// ```
#[proc_macro]
pub fn include_model(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let path = syn::parse_macro_input!(input as LitStr);
    expand(&path).unwrap_or_else(|message| error(path.span(), &message)).into()
}

fn error(span: Span, message: &str) -> TokenStream {
    quote_spanned!(span => ::core::compile_error!(#message);)
}

/// The items, or what is wrong.
fn expand(path: &LitStr) -> Result<TokenStream, String> {
    // Paths in messages and in what is tracked start at the crate, wherever that is.
    let root =
        std::env::var("CARGO_MANIFEST_DIR").map_err(|e| format!("cargo does not say where the crate is: {e}"))?;
    if Path::new(&path.value()).is_absolute() {
        return Err("give the path of the spec relative to the crate".to_owned());
    }
    let files = Tracked { root: &root, read: RefCell::default() };
    let checked = pipeline::front(&path.value(), &files, &[]).map_err(|failure| render(&failure))?;
    let planned = plan::plan(&checked, &plan::Options::default()).map_err(|e| e.to_string())?;
    let model = emit::model(&planned.program).map_err(|e| e.to_string())?;
    // The compiler rebuilds what includes a file when that file changes.
    let read = files.read.into_inner();
    let tracked = read.iter().map(|file| {
        let file = format!("/{file}");
        quote!(
            const _: &[u8] = ::core::include_bytes!(::core::concat!(::core::env!("CARGO_MANIFEST_DIR"), #file));
        )
    });
    Ok(quote!(#(#tracked)* #model))
}

fn render(failure: &Failure) -> String {
    failure.diagnostics.render(&failure.sources, false)
}

/// The files below the crate, and which of them were read.
struct Tracked<'a> {
    root: &'a str,
    read: RefCell<Vec<String>>,
}

impl Files for Tracked<'_> {
    fn read(&self, path: &str) -> Result<String, String> {
        let text = Folder.read(&Path::new(self.root).join(path).to_string_lossy())?;
        self.read.borrow_mut().push(path.to_owned());
        Ok(text)
    }

    fn resolve(&self, from: &str, relative: &str) -> String {
        Folder.resolve(from, relative)
    }
}
