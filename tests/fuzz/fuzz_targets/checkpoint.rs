//! Fuzzes the readers of checkpoints: whatever the bytes, opening and reading ends with values or with an error.
//!
//! Run it as the target `spec`; `tests/golden/layers/*.pth` and `*.safetensors`, cut to a few kilobytes, make a corpus.

#![no_main]

use std::io::Cursor;

use kwc_compiler::weights::{Checkpoint, Tensors};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut checkpoint) = Checkpoint::from_source("fuzzed", Cursor::new(bytes.to_vec()), None) else { return };
    let tensors: Vec<_> = checkpoint.tensors().map(|(name, info)| (name.to_owned(), info.elements())).collect();
    let mut values = [0.0; 256];
    for (name, elements) in tensors {
        let piece = values.len().min(elements);
        let _ = checkpoint.read(&name, 0, &mut values[..piece]);
        let _ = checkpoint.read(&name, elements - piece, &mut values[..piece]);
        // Beyond the end: an error.
        assert!(checkpoint.read(&name, elements, &mut values[..1]).is_err());
    }
});
