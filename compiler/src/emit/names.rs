//! Identifiers from the names of a spec: legal, unique, recognisable.

use std::collections::BTreeSet;

use proc_macro2::{Ident, Span};

/// Gives names of one scope identifiers.
#[derive(Debug, Default)]
pub(super) struct Names {
    taken: BTreeSet<String>,
}

impl Names {
    /// A snake-case identifier for a name that no other name of this scope has got.
    pub(super) fn ident(&mut self, name: &str) -> Ident {
        let mut base: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
        if !base.starts_with(|c: char| c.is_ascii_alphabetic()) {
            base.insert_str(0, "value_");
        }
        // Keywords aren't identifiers.
        if is_keyword(&base) {
            base.push('_');
        }
        let mut candidate = base.clone();
        let mut number = 2;
        while !self.taken.insert(candidate.clone()) {
            candidate = format!("{base}_{number}");
            number += 1;
        }
        Ident::new(&candidate, Span::call_site())
    }
}

/// Whether an identifier is kept for the language.
pub(super) fn is_keyword(name: &str) -> bool {
    syn::parse_str::<Ident>(name).is_err()
}
