//! One kernel as text: its constants, its epilogue, its entry point.

use kwc_program::Activation;
use kwc_program::cuda::Element;

use super::writer::Writer;
use crate::plan::cuda::{Constant, Epilogue, Kernel, Parameter, ParameterKind};

/// Writes a kernel. `layers` are those that launch it.
pub(super) fn emit(writer: &mut Writer, kernel: &Kernel, symbol: &str, layers: &[&str]) {
    let name = format!("{}Constants", camel(symbol));
    for layer in layers {
        writer.line(&format!("// {layer}"));
    }
    writer.block(&format!("struct {name}"), "};", |writer| {
        for (name, constant) in &kernel.constants {
            writer.line(&member(name, *constant));
        }
        writer.line(&member("THREADS", Constant::Int(i64::from(kernel.threads))));
        if let Some(finish) = &kernel.epilogue {
            epilogue(writer, finish);
        }
    });
    let parameters: Vec<String> = kernel.parameters.iter().filter(|p| p.used).map(parameter).collect();
    // Without a number of blocks, the compiler spills registers to make room for more of them.
    let bounds = format!("{}, {}", kernel.threads, kernel.resident);
    let head = format!("extern \"C\" __global__ void __launch_bounds__({bounds}) {symbol}({})", parameters.join(", "));
    writer.block(&head, "}", |writer| {
        let arguments: Vec<&str> = kernel.parameters.iter().map(argument).collect();
        writer.line(&format!("kwc::{}::run<{name}>({});", kernel.family.name(), arguments.join(", ")));
    });
    writer.blank();
}

/// A member of the struct. Whole numbers are enumerators: a static member of a struct is a variable of the module, which
/// code that reads only its value leaves behind, thousands of them in a network.
fn member(name: &str, constant: Constant) -> String {
    match constant {
        Constant::Int(value) => format!("enum : int {{ {name} = {value} }};"),
        Constant::Float(value) => format!("static constexpr float {name} = {value:e}f;"),
        Constant::Bool(value) => format!("enum : bool {{ {name} = {value} }};"),
        Constant::Type(element) => format!("using {name} = {};", element_type(element)),
    }
}

const fn element_type(element: Element) -> &'static str {
    match element {
        Element::F16 => "kwc::half",
        Element::F32 => "float",
    }
}

fn parameter(parameter: &Parameter) -> String {
    let name = parameter.name;
    match parameter.kind {
        ParameterKind::Input(element) => format!("const {}* __restrict__ {name}", element_type(element)),
        ParameterKind::Output(element) => format!("{}* __restrict__ {name}", element_type(element)),
        ParameterKind::Counters => format!("unsigned* {name}"),
        ParameterKind::Batch | ParameterKind::Int => format!("int {name}"),
    }
}

/// What an entry point gives for a parameter of `run`.
const fn argument(parameter: &Parameter) -> &'static str {
    match (parameter.used, parameter.kind) {
        (true, _) => parameter.name,
        (false, ParameterKind::Input(_) | ParameterKind::Output(_) | ParameterKind::Counters) => "nullptr",
        (false, ParameterKind::Batch | ParameterKind::Int) => "0",
    }
}

/// What happens to a result before it is stored, as a function without branches on what is known.
fn epilogue(writer: &mut Writer, epilogue: &Epilogue) {
    let Epilogue { scale, shift, add, activation } = *epilogue;
    for (name, is_there) in [("SCALE", scale), ("SHIFT", shift), ("ADD", add)] {
        writer.line(&member(name, Constant::Bool(is_there)));
    }
    let head = "static __device__ __forceinline__ float finish(float x, float scale, float shift, float add)";
    writer.block(head, "}", |writer| {
        match (scale, shift) {
            (true, true) => writer.line("x = fmaf(x, scale, shift);"),
            (true, false) => writer.line("x *= scale;"),
            (false, true) => writer.line("x += shift;"),
            (false, false) => {}
        }
        if add {
            writer.line("x += add;");
        }
        writer.line(&format!("return {};", activated(activation)));
    });
}

const fn activated(activation: Activation) -> &'static str {
    match activation {
        Activation::Identity => "x",
        Activation::Relu => "kwc::relu(x)",
        Activation::Relu6 => "kwc::relu6(x)",
        Activation::Gelu => "kwc::gelu(x)",
        Activation::Silu => "kwc::silu(x)",
        Activation::HardSwish => "kwc::hard_swish(x)",
        Activation::Sigmoid => "kwc::sigmoid(x)",
    }
}

/// `conv_12` as `Conv12`.
fn camel(symbol: &str) -> String {
    let mut name = String::new();
    for part in symbol.split('_') {
        let mut letters = part.chars();
        name.extend(letters.next().map(|c| c.to_ascii_uppercase()));
        name.push_str(letters.as_str());
    }
    name
}
