//! Files below the crate that the macro reads: the compiler compiles the program again when one of them changes.

use std::cell::RefCell;
use std::path::Path;

use kwc_compiler::folder::Folder;
use kwc_compiler::source::Files;
use proc_macro2::TokenStream;
use quote::quote;

/// The files below the crate, and which of them were read.
pub(crate) struct Tracked<'a> {
    root: &'a str,
    read: RefCell<Vec<String>>,
}

impl<'a> Tracked<'a> {
    pub(crate) fn new(root: &'a str) -> Self {
        Self { root, read: RefCell::default() }
    }

    /// Items that have the compiler watch what was read.
    pub(crate) fn items(self) -> TokenStream {
        let files = self.read.into_inner().into_iter().map(|file| {
            let file = below_the_crate(&file);
            quote!(
                const _: &[u8] = ::core::include_bytes!(#file);
            )
        });
        quote!(#(#files)*)
    }
}

/// An expression for the full path of a file, whatever file it stands in.
pub(crate) fn below_the_crate(file: &str) -> TokenStream {
    let file = format!("/{file}");
    quote!(::core::concat!(::core::env!("CARGO_MANIFEST_DIR"), #file))
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
