//! Fuzzes the front end: whatever the text of a spec, it ends with a network or with errors that can be shown.
//!
//! In this folder's parent, with a stable toolchain: `RUSTC_BOOTSTRAP=1 cargo fuzz run -s none spec -- -max_len=4096`. The
//! specs of the repository make a good corpus: copy them into `fuzz/corpus/spec/`.

#![no_main]

use kwc_compiler::pipeline::{self, Setting};
use kwc_compiler::source::Memory;
use libfuzzer_sys::fuzz_target;

/// What a fuzzed spec may extend.
const BASE: &str = "
kwc: 1
name: base
params: { width: 8, names: [a, b] }
input: { channels: 3, height: 16, width: 16 }
warehouses: { budget: 2, each: { w: { budget: 1 } } }
blocks:
  body:
    params: { width: required, warehouse: '' }
    layers: [{ conv: { name: conv, out: $width, kernel: 3, warehouse: $warehouse } }, relu]
layers:
  - body: { name: one, width: $width, warehouse: w }
  - repeat: { count: len($names), index: i, name: \"$names[$i]\", layers: [{ body: { name: x, width: 4 } }] }
";

fuzz_target!(|text: &str| {
    // The first line may set a parameter, so that settings are fuzzed too.
    let (first, rest) = text.split_once('\n').unwrap_or(("", text));
    let setting = first.strip_prefix("# --set width=");
    let settings: Vec<Setting> =
        setting.map(|value| Setting { name: "width".to_owned(), value: value.to_owned() }).into_iter().collect();
    let files = Memory::default().with("spec.yaml", if settings.is_empty() { text } else { rest }).with("base.yaml", BASE);
    if let Err(failure) = pipeline::front("spec.yaml", &files, &settings) {
        assert!(!failure.diagnostics.is_empty());
        for diagnostic in failure.diagnostics.iter() {
            assert_ne!(diagnostic.code.id(), "K0099", "{}", diagnostic.message);
        }
        let _ = failure.diagnostics.render(&failure.sources, false);
        let _ = failure.diagnostics.to_json(&failure.sources);
    }
});
