//! Packing: from the tensors of a checkpoint to the layouts that a Program names.
