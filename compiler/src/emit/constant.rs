//! Rust expressions for constants: a serde serializer whose output is tokens.
//!
//! Every type of a Program derives `Serialize`, under the names that it has in Rust. So one serializer writes any of them
//! as an expression that is legal in a `const`: a struct as a struct expression, an enum's variant by its path, a sequence
//! (a `List`) as a borrowed slice, an array as an array. All types must be in scope where the expression is used.

use std::fmt;

use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::{ToTokens as _, quote};
use serde::ser::{self, Serialize};

/// The expression for a value.
///
/// # Errors
/// The value holds a type that no Program holds: a map, bytes, a tuple struct.
pub fn expression(value: &impl Serialize) -> Result<TokenStream, Unsupported> {
    value.serialize(Constant)
}

/// A type that has no expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsupported(String);

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} can't be written as a constant", self.0)
    }
}

impl std::error::Error for Unsupported {}

impl ser::Error for Unsupported {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

fn unsupported<T>(what: &str) -> Result<T, Unsupported> {
    Err(Unsupported(what.to_owned()))
}

fn ident(name: &str) -> Ident {
    Ident::new(name, Span::call_site())
}

struct Constant;

macro_rules! literals {
    ($($method:ident: $type:ty => $literal:ident),* $(,)?) => {
        $(fn $method(self, value: $type) -> Result<TokenStream, Unsupported> {
            Ok(Literal::$literal(value).to_token_stream())
        })*
    };
}

impl ser::Serializer for Constant {
    type Ok = TokenStream;
    type Error = Unsupported;
    type SerializeSeq = Elements;
    type SerializeTuple = Elements;
    type SerializeTupleStruct = ser::Impossible<TokenStream, Unsupported>;
    type SerializeTupleVariant = ser::Impossible<TokenStream, Unsupported>;
    type SerializeMap = ser::Impossible<TokenStream, Unsupported>;
    type SerializeStruct = Fields;
    type SerializeStructVariant = Fields;

    literals! {
        serialize_i8: i8 => i8_unsuffixed,
        serialize_i16: i16 => i16_unsuffixed,
        serialize_i32: i32 => i32_unsuffixed,
        serialize_i64: i64 => i64_unsuffixed,
        serialize_u8: u8 => u8_unsuffixed,
        serialize_u16: u16 => u16_unsuffixed,
        serialize_u32: u32 => u32_unsuffixed,
        serialize_u64: u64 => u64_unsuffixed,
        serialize_char: char => character,
    }

    fn serialize_f32(self, value: f32) -> Result<TokenStream, Unsupported> {
        if value.is_finite() { Ok(Literal::f32_unsuffixed(value).to_token_stream()) } else { unsupported("infinity") }
    }

    fn serialize_f64(self, value: f64) -> Result<TokenStream, Unsupported> {
        if value.is_finite() { Ok(Literal::f64_unsuffixed(value).to_token_stream()) } else { unsupported("infinity") }
    }

    fn serialize_bool(self, value: bool) -> Result<TokenStream, Unsupported> {
        Ok(quote!(#value))
    }

    fn serialize_str(self, value: &str) -> Result<TokenStream, Unsupported> {
        Ok(quote!(Cow::Borrowed(#value)))
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<TokenStream, Unsupported> {
        unsupported("a byte string")
    }

    fn serialize_none(self) -> Result<TokenStream, Unsupported> {
        Ok(quote!(None))
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<TokenStream, Unsupported> {
        let value = value.serialize(Self)?;
        Ok(quote!(Some(#value)))
    }

    fn serialize_unit(self) -> Result<TokenStream, Unsupported> {
        Ok(quote!(()))
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<TokenStream, Unsupported> {
        Ok(ident(name).to_token_stream())
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<TokenStream, Unsupported> {
        let (name, variant) = (ident(name), ident(variant));
        Ok(quote!(#name::#variant))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<TokenStream, Unsupported> {
        let (name, value) = (ident(name), value.serialize(Self)?);
        Ok(quote!(#name(#value)))
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<TokenStream, Unsupported> {
        let (name, variant, value) = (ident(name), ident(variant), value.serialize(Self)?);
        Ok(quote!(#name::#variant(#value)))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Elements, Unsupported> {
        Ok(Elements { list: true, elements: Vec::new() })
    }

    fn serialize_tuple(self, _: usize) -> Result<Elements, Unsupported> {
        Ok(Elements { list: false, elements: Vec::new() })
    }

    fn serialize_tuple_struct(self, name: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, Unsupported> {
        unsupported(name)
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Unsupported> {
        unsupported(name)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Unsupported> {
        unsupported("a map")
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Fields, Unsupported> {
        Ok(Fields { path: ident(name).to_token_stream(), fields: Vec::new() })
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Fields, Unsupported> {
        let (name, variant) = (ident(name), ident(variant));
        Ok(Fields { path: quote!(#name::#variant), fields: Vec::new() })
    }
}

/// A list or an array in the making.
struct Elements {
    list: bool,
    elements: Vec<TokenStream>,
}

impl Elements {
    fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unsupported> {
        self.elements.push(value.serialize(Constant)?);
        Ok(())
    }

    fn finish(self) -> TokenStream {
        let elements = self.elements;
        if self.list { quote!(Cow::Borrowed(&[#(#elements),*])) } else { quote!([#(#elements),*]) }
    }
}

impl ser::SerializeSeq for Elements {
    type Ok = TokenStream;
    type Error = Unsupported;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unsupported> {
        self.push(value)
    }

    fn end(self) -> Result<TokenStream, Unsupported> {
        Ok(self.finish())
    }
}

impl ser::SerializeTuple for Elements {
    type Ok = TokenStream;
    type Error = Unsupported;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unsupported> {
        self.push(value)
    }

    fn end(self) -> Result<TokenStream, Unsupported> {
        Ok(self.finish())
    }
}

/// A struct expression in the making.
struct Fields {
    path: TokenStream,
    fields: Vec<TokenStream>,
}

impl Fields {
    fn push<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Unsupported> {
        let (key, value) = (ident(key), value.serialize(Constant)?);
        self.fields.push(quote!(#key: #value));
        Ok(())
    }

    fn finish(self) -> TokenStream {
        let Self { path, fields } = self;
        quote!(#path { #(#fields),* })
    }
}

impl ser::SerializeStruct for Fields {
    type Ok = TokenStream;
    type Error = Unsupported;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Unsupported> {
        self.push(key, value)
    }

    fn end(self) -> Result<TokenStream, Unsupported> {
        Ok(self.finish())
    }
}

impl ser::SerializeStructVariant for Fields {
    type Ok = TokenStream;
    type Error = Unsupported;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Unsupported> {
        self.push(key, value)
    }

    fn end(self) -> Result<TokenStream, Unsupported> {
        Ok(self.finish())
    }
}
