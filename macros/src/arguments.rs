//! The macro's arguments: a path and options.

use proc_macro2::Span;
use syn::parse::{Parse, ParseStream};
use syn::{Ident, LitInt, LitStr, Token};

/// A path and options.
pub(crate) struct Arguments {
    pub(crate) path: LitStr,
    pub(crate) options: Vec<Choice>,
}

/// An option and its value.
pub(crate) struct Choice {
    pub(crate) name: Ident,
    pub(crate) value: Value,
}

/// The value of an option.
pub(crate) enum Value {
    Name(Ident),
    Text(LitStr),
    Number(LitInt),
}

impl Choice {
    pub(crate) fn span(&self) -> Span {
        self.name.span()
    }
}

impl Value {
    pub(crate) fn span(&self) -> Span {
        match self {
            Self::Name(name) => name.span(),
            Self::Text(text) => text.span(),
            Self::Number(number) => number.span(),
        }
    }

    /// As a word: `f16` and `"f16"` are the same.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Name(name) => name.to_string(),
            Self::Text(text) => text.value(),
            Self::Number(number) => number.to_string(),
        }
    }
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let path = input.parse()?;
        let mut options = Vec::new();
        while !input.is_empty() {
            input.parse::<Token![,]>()?;
            if !input.is_empty() {
                options.push(input.parse()?);
            }
        }
        Ok(Self { path, options })
    }
}

impl Parse for Choice {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let name = input.parse()?;
        input.parse::<Token![=]>()?;
        let value = if input.peek(LitStr) {
            Value::Text(input.parse()?)
        } else if input.peek(LitInt) {
            Value::Number(input.parse()?)
        } else {
            Value::Name(input.parse()?)
        };
        Ok(Self { name, value })
    }
}
