//! What a pickle of a checkpoint may hold.

use super::super::Dtype;

/// Index of a value in a [`Pickle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Id(pub(super) u32);

/// A pickle that has been read.
///
/// Values refer to each other by index, as in Python they do by reference: shared ones are kept once, and however deep
/// they are nested, nothing recurses to visit or to drop them.
#[derive(Debug)]
pub(in super::super) struct Pickle<'a> {
    pub(super) values: Vec<Value<'a>>,
    pub(super) root: Id,
}

impl<'a> Pickle<'a> {
    /// The value that the pickle is about.
    pub(in super::super) fn root(&self) -> &Value<'a> {
        self.value(self.root)
    }

    /// The value of an index.
    pub(in super::super) fn value(&self, id: Id) -> &Value<'a> {
        self.values.get(id.0 as usize).unwrap_or(&Value::None)
    }
}

/// A value. Of what a checkpoint holds besides tensors only the kind is kept.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) enum Value<'a> {
    /// `None`
    None,
    /// `True` or `False`
    Bool,
    /// An integer of 64 bits.
    Int(i64),
    /// A larger integer.
    LargeInt,
    /// A floating-point number.
    Float,
    /// A text.
    Text(&'a str),
    /// Bytes.
    Bytes,
    /// A tuple, or a `torch.Size`.
    Tuple(Vec<Id>),
    /// A list.
    List,
    /// A set.
    Set,
    /// A dict or an ordered dict: keys and values in the order in which they were put in.
    Dict(Vec<(Id, Id)>),
    /// An `argparse.Namespace`.
    Namespace,
    /// A type or a function, by name.
    Global(Global),
    /// A storage.
    Storage(Box<Storage<'a>>),
    /// A tensor or a parameter.
    Tensor(Box<Tensor<'a>>),
}

impl Value<'_> {
    /// What it is, for people.
    pub(in super::super) const fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool => "a bool",
            Self::Int(_) | Self::LargeInt => "an integer",
            Self::Float => "a float",
            Self::Text(_) => "a text",
            Self::Bytes => "bytes",
            Self::Tuple(_) => "a tuple",
            Self::List => "a list",
            Self::Set => "a set",
            Self::Dict(_) => "a dict",
            Self::Namespace => "a Namespace",
            Self::Global(_) => "a type",
            Self::Storage(_) => "a storage",
            Self::Tensor(_) => "a tensor",
        }
    }
}

/// An entry of the archive that tensors lie in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Storage<'a> {
    /// Name of the entry.
    pub(in super::super) key: &'a str,
    /// Type of its elements.
    pub(in super::super) dtype: Dtype,
    /// Number of its elements.
    pub(in super::super) elements: usize,
}

/// A view of a storage. Its elements lie within the storage, and their number fits a `usize`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Tensor<'a> {
    /// Where its elements lie.
    pub(in super::super) storage: Storage<'a>,
    /// The first of them.
    pub(in super::super) offset: usize,
    /// Shape.
    pub(in super::super) shape: Vec<usize>,
    /// Distance between neighbours in every dimension, in elements.
    pub(in super::super) strides: Vec<usize>,
}

impl Tensor<'_> {
    /// Whether the elements stand one after the other in row-major order.
    pub(in super::super) fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.shape.contains(&0)
            || self.shape.iter().zip(&self.strides).rev().all(|(&size, &stride)| {
                let fits = size == 1 || stride == expected;
                expected *= size;
                fits
            })
    }
}

/// The types and functions that a pickle may name. None of them is ever called: each stands for a value of its own kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Global {
    /// `torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks[, metadata])`
    Tensor,
    /// `torch._utils._rebuild_parameter(tensor, requires_grad, hooks)`
    Parameter,
    /// `collections.OrderedDict()`
    OrderedDict,
    /// `argparse.Namespace()`
    Namespace,
    /// `torch.Size(tuple)`
    Size,
    /// `set(list)`
    Set,
    /// `_codecs.encode(text, "latin1")`, by which protocol 2 writes bytes.
    Encode,
    /// A type of storage, such as `torch.FloatStorage`.
    Storage(Dtype),
    /// A type of elements, such as `torch.float32`.
    Dtype,
}

impl Global {
    /// What a name stands for, if it may occur at all.
    pub(super) fn find(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("torch._utils", "_rebuild_tensor_v2") => Self::Tensor,
            ("torch._utils", "_rebuild_parameter") => Self::Parameter,
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("argparse", "Namespace") => Self::Namespace,
            ("torch", "Size") => Self::Size,
            ("__builtin__" | "builtins", "set") => Self::Set,
            ("_codecs", "encode") => Self::Encode,
            ("torch", "DoubleStorage") => Self::Storage(Dtype::F64),
            ("torch", "FloatStorage") => Self::Storage(Dtype::F32),
            ("torch", "HalfStorage") => Self::Storage(Dtype::F16),
            ("torch", "BFloat16Storage") => Self::Storage(Dtype::Bf16),
            ("torch", "LongStorage") => Self::Storage(Dtype::I64),
            ("torch", "IntStorage") => Self::Storage(Dtype::I32),
            ("torch", "ShortStorage") => Self::Storage(Dtype::I16),
            ("torch", "CharStorage") => Self::Storage(Dtype::I8),
            ("torch", "ByteStorage") => Self::Storage(Dtype::U8),
            ("torch", "BoolStorage") => Self::Storage(Dtype::Bool),
            (
                "torch",
                "float64" | "float32" | "float16" | "bfloat16" | "int64" | "int32" | "int16" | "int8" | "uint8"
                | "bool",
            ) => Self::Dtype,
            _ => return None,
        })
    }
}
