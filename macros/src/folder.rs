//! Folders that `kwc compile` made: their code, with the paths of their files.

use std::collections::BTreeMap;
use std::path::Path;

use kwc_compiler::hash;
use kwc_compiler::source::Files as _;
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use quote::quote;
use serde::Deserialize;

use crate::tracked::{Tracked, below_the_crate};

/// What the manifest says that matters here.
#[derive(Deserialize)]
struct Manifest {
    kwc: String,
    program: u32,
    target: String,
    files: BTreeMap<String, String>,
}

/// Files of a folder that aren't part of the program.
const OTHERS: [&str; 4] = ["Cargo.toml", "plan.txt", "plan.json", "weights.safetensors"];

/// The items of a folder.
pub(crate) fn expand(root: &str, path: &str) -> Result<TokenStream, String> {
    let folder = path.trim_end_matches('/');
    let again = |what: String| format!("{what}\nhelp: compile the folder again: `kwc compile SPEC -o {folder}`");
    let files = Tracked::new(root);
    let manifest = files
        .read(&format!("{folder}/manifest.json"))
        .map_err(|e| format!("{folder} is no folder of `kwc compile`: manifest.json: {e}\nhelp: name a spec, or a folder that `kwc compile SPEC -o DIR` made"))?;
    let manifest: Manifest = serde_json::from_str(&manifest)
        .map_err(|e| again(format!("{folder}/manifest.json is not of this version of `kwc compile`: {e}")))?;
    let format = match manifest.target.as_str() {
        "cpu" => kwc_program::FORMAT_VERSION,
        "cuda" => kwc_program::cuda::FORMAT_VERSION,
        other => return Err(again(format!("{folder} was compiled for the target `{other}`, which is unknown here"))),
    };
    if manifest.program != format {
        return Err(again(format!(
            "{folder} was compiled by kwc {}, to Programs of format {}, and this runtime reads {format}",
            manifest.kwc, manifest.program
        )));
    }
    for (name, expected) in manifest.files.iter().filter(|(name, _)| !OTHERS.contains(&name.as_str())) {
        let bytes = std::fs::read(Path::new(root).join(folder).join(name))
            .map_err(|e| again(format!("{folder}/{name} can't be read: {e}")))?;
        if hash::of(&bytes) != *expected {
            return Err(again(format!("{folder}/{name} is not as it was compiled")));
        }
    }
    let library =
        files.read(&format!("{folder}/src/lib.rs")).map_err(|e| again(format!("{folder}/src/lib.rs: {e}")))?;
    let file = syn::parse_file(&library).map_err(|e| again(format!("{folder}/src/lib.rs: {e}")))?;
    let items = &file.items;
    let code = with_paths(quote!(#(#items)*), folder);
    let tracked = files.items();
    Ok(quote!(#tracked #code))
}

/// Has `include_str!("../NAME")` and its like find the folder's files from where the macro stands.
fn with_paths(tokens: TokenStream, folder: &str) -> TokenStream {
    let mut before: [Option<String>; 2] = [None, None];
    let mut result = TokenStream::new();
    for tree in tokens {
        let includes = matches!(&before, [Some(name), Some(bang)]
            if ["include_str", "include_bytes"].contains(&name.as_str()) && bang == "!");
        let text = match &tree {
            TokenTree::Group(_) | TokenTree::Literal(_) => None,
            TokenTree::Ident(ident) => Some(ident.to_string()),
            TokenTree::Punct(punct) => Some(punct.to_string()),
        };
        let tree = match tree {
            TokenTree::Group(group) => {
                let inner = match syn::parse2::<syn::LitStr>(group.stream()) {
                    Ok(path) if includes => {
                        let path = path.value();
                        below_the_crate(&format!("{folder}/{}", path.trim_start_matches("../")))
                    }
                    Ok(_) | Err(_) => with_paths(group.stream(), folder),
                };
                let delimiter = if includes { Delimiter::Parenthesis } else { group.delimiter() };
                TokenTree::Group(Group::new(delimiter, inner))
            }
            other @ (TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_)) => other,
        };
        result.extend([tree]);
        before = [before[1].take(), text];
    }
    result
}
