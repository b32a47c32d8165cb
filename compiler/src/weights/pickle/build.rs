//! What a pickle would call, and the tensors that come of it.

use super::Machine;
use super::input::{Problem, damaged};
use super::value::{Global, Id, Storage, Tensor, Value};

/// Dimensions that a tensor can have; a network's have five at most.
const MAX_RANK: usize = 16;

impl<'a> Machine<'a> {
    /// Puts on the stack what a call would make.
    pub(super) fn call(&mut self, callee: Id, arguments: Id) -> Result<(), Problem> {
        let Value::Global(global) = *self.value(callee) else {
            return damaged(format!("{} is called", self.value(callee).kind()));
        };
        let Value::Tuple(arguments) = self.value(arguments) else {
            return damaged(format!("something is called with {}", self.value(arguments).kind()));
        };
        let made = match (global, arguments.as_slice()) {
            (Global::OrderedDict, []) => Value::Dict(Vec::new()),
            (Global::Namespace, []) => Value::Namespace,
            (Global::Set, [list]) if matches!(self.value(*list), Value::List) => Value::Set,
            (Global::Encode, [_, _]) => Value::Bytes,
            // These two are what they are made of.
            (Global::Size, &[sizes]) if matches!(self.value(sizes), Value::Tuple(_)) => return self.push_id(sizes),
            (Global::Parameter, &[tensor, ..]) if matches!(self.value(tensor), Value::Tensor(_)) => {
                return self.push_id(tensor);
            }
            (Global::Tensor, &[storage, offset, shape, strides, _grad, _hooks, ..]) => {
                Value::Tensor(Box::new(self.tensor(storage, offset, shape, strides)?))
            }
            (
                Global::OrderedDict
                | Global::Namespace
                | Global::Set
                | Global::Encode
                | Global::Tensor
                | Global::Parameter
                | Global::Size
                | Global::Storage(_)
                | Global::Dtype,
                _,
            ) => return damaged("something is made of arguments that don't fit"),
        };
        self.push(made)
    }

    /// `("storage", type, key, device, elements)`
    pub(super) fn storage(&self, id: Id) -> Result<Storage<'a>, Problem> {
        let Value::Tuple(parts) = self.value(id) else {
            return damaged(format!("a storage is described by {}", self.value(id).kind()));
        };
        let [kind, dtype, key, _device, elements] = parts.as_slice() else {
            return damaged(format!("a storage is described by {} values in place of 5", parts.len()));
        };
        match (self.value(*kind), self.value(*dtype), self.value(*key), self.value(*elements)) {
            (
                Value::Text("storage"),
                &Value::Global(Global::Storage(dtype)),
                &Value::Text(key),
                Value::Int(elements),
            ) => match usize::try_from(*elements) {
                Ok(elements) => Ok(Storage { key, dtype, elements }),
                Err(_) => damaged(format!("a storage has {elements} elements")),
            },
            (kind, dtype, key, elements) => damaged(format!(
                "a storage is described by {}, {}, {} and {}",
                kind.kind(),
                dtype.kind(),
                key.kind(),
                elements.kind()
            )),
        }
    }

    fn tensor(&self, storage: Id, offset: Id, shape: Id, strides: Id) -> Result<Tensor<'a>, Problem> {
        let Value::Storage(storage) = self.value(storage) else {
            return damaged(format!("a tensor lies in {}", self.value(storage).kind()));
        };
        let offset = self.size(offset)?;
        let shape = self.sizes(shape)?;
        let strides = self.sizes(strides)?;
        if shape.len() != strides.len() {
            return damaged(format!("a tensor has {} sizes and {} strides", shape.len(), strides.len()));
        }
        let mut tensor = Tensor { storage: Storage::clone(storage), offset, shape, strides };
        let elements = tensor.shape.iter().try_fold(1_usize, |n, &size| n.checked_mul(size));
        let bytes = elements.and_then(|n| n.checked_mul(tensor.storage.dtype.size()));
        let Some(_) = bytes.filter(|&n| i64::try_from(n).is_ok()) else {
            return damaged(format!("a tensor of shape {:?} can't exist", tensor.shape));
        };
        if elements == Some(0) {
            // Nothing has to lie in the storage, so the offset means nothing.
            tensor.offset = 0;
            return Ok(tensor);
        }
        let last = tensor.shape.iter().zip(&tensor.strides).try_fold(offset, |at, (&size, &stride)| {
            (size - 1).checked_mul(stride).and_then(|distance| at.checked_add(distance))
        });
        if last.is_none_or(|last| last >= tensor.storage.elements) {
            return damaged(format!(
                "a tensor of shape {:?} with strides {:?} from element {offset} exceeds a storage of {} elements",
                tensor.shape, tensor.strides, tensor.storage.elements
            ));
        }
        Ok(tensor)
    }

    fn sizes(&self, id: Id) -> Result<Vec<usize>, Problem> {
        let Value::Tuple(sizes) = self.value(id) else {
            return damaged(format!("the shape of a tensor is {}", self.value(id).kind()));
        };
        if sizes.len() > MAX_RANK {
            return damaged(format!("a tensor has {} dimensions", sizes.len()));
        }
        sizes.iter().map(|&size| self.size(size)).collect()
    }

    fn size(&self, id: Id) -> Result<usize, Problem> {
        let Value::Int(size) = *self.value(id) else {
            return damaged(format!("a size or stride is {}", self.value(id).kind()));
        };
        usize::try_from(size).or_else(|_| damaged(format!("a size or stride is {size}")))
    }
}
