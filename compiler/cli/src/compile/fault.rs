//! What to say where NVRTC refuses kernels that kwc wrote.

use std::fmt::Write as _;

use kwc_compiler::emit::cuda::SOURCE_FILE;
use kwc_compiler::emit::cuda::fault::{Fault, faults};
use kwc_compiler::pipeline::CudaNetwork;

use crate::failure::Failure;

/// Faults that are shown.
const SHOWN: usize = 5;

/// Layers of a kernel that are named.
const NAMED: usize = 4;

/// An error with the kernels, layers and lines that NVRTC's messages are about.
pub(super) fn failure(network: &CudaNetwork, architecture: &str, log: &str) -> Failure {
    let faults = faults(log, &network.source, &network.lines, &network.planned);
    let mut text = format!("NVRTC refuses the kernels of `{}` for {architecture}", network.planned.program.name);
    for fault in faults.iter().take(SHOWN) {
        text.push_str(&shown(fault));
    }
    if faults.len() > SHOWN {
        let _ = write!(text, "\n  and {} more", faults.len() - SHOWN);
    }
    if faults.is_empty() {
        let _ = write!(text, "\n{log}");
    }
    Failure::input(text)
        .hint("no spec should do this: please report it with the spec; `--emit kernels.cu` prints the kernels")
}

fn shown(fault: &Fault) -> String {
    let mut text = String::new();
    let place = fault.line.as_ref().map_or_else(|| SOURCE_FILE.to_owned(), |(line, _)| format!("{SOURCE_FILE}:{line}"));
    let _ = write!(text, "\n  {place}: {}", fault.message);
    if let Some((line, source)) = &fault.line {
        let _ = write!(text, "\n    {line} | {}", source.trim_end());
    }
    if let Some(kernel) = &fault.kernel {
        let named = |layer: &String| {
            if layer.is_empty() { "a layer without a name".to_owned() } else { format!("`{layer}`") }
        };
        let mut layers = kernel.layers.iter().take(NAMED).map(named).collect::<Vec<_>>().join(", ");
        if kernel.layers.len() > NAMED {
            let _ = write!(layers, " and {} more", kernel.layers.len() - NAMED);
        }
        let _ = write!(text, "\n    in the kernel {}, of {layers}", kernel.symbol);
    }
    text
}
