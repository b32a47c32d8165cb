//! What generated code says of a network's inputs and outputs: identifiers and documentation.

use proc_macro2::Ident;

use super::names::Names;

/// The inputs or outputs of a Program: an identifier and a line of documentation for each.
pub(super) struct Ports {
    /// Legal and unique.
    pub(super) idents: Vec<Ident>,
    /// Shapes with the batch, and the name in the spec where the identifier is another.
    pub(super) docs: Vec<String>,
}

impl Ports {
    /// `ports` are names and shapes of one sample; no identifier is one of `reserved`.
    pub(super) fn new<'a>(ports: impl Iterator<Item = (&'a str, &'a [usize])>, reserved: &[&str]) -> Self {
        let mut names = Names::default();
        for name in reserved {
            names.ident(name);
        }
        let mut this = Self { idents: Vec::new(), docs: Vec::new() };
        for (name, sizes) in ports {
            let ident = names.ident(name);
            let sizes: Vec<String> = sizes.iter().map(ToString::to_string).collect();
            let shape = format!("`[batch, {}]`", sizes.join(", "));
            let doc = if ident == name { shape } else { format!("{shape}; `{name}` in the spec") };
            this.idents.push(ident);
            this.docs.push(doc);
        }
        this
    }

    /// Lines of documentation of a function: `about`, a list of the ports, and when it fails.
    pub(super) fn function_docs(&self, about: &str, errors: &str) -> Vec<String> {
        let items = self.idents.iter().zip(&self.docs).map(|(ident, doc)| format!("- `{ident}`: {doc}"));
        let mut lines = vec![about.to_owned(), String::new()];
        lines.extend(items);
        lines.extend([String::new(), "# Errors".to_owned(), errors.to_owned()]);
        lines.into_iter().map(|line| if line.is_empty() { line } else { format!(" {line}") }).collect()
    }
}
