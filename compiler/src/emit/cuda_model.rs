//! The generated runtime of a Program for CUDA: its tables, its code, and a typed `Model` over them.
//!
//! As the CPU's, the code holds no logic, names the runtime as `kwc_runtime`, and brings into scope itself what it needs.
//! The files of a compiled network and what `include_model!` expands to are the same items; they differ in where the
//! kernels' code lies.

use kwc_program::cuda::{Port, Precision, Program};
use proc_macro2::TokenStream;
use quote::quote;

use super::constant::{self, Unsupported};
use super::cuda;
use super::ports::Ports;
use crate::pipeline::NVRTC_OPTIONS;

/// Where the kernels' code lies.
#[derive(Debug, Clone, Copy)]
pub enum CodeForm<'a> {
    /// The source in the generated code itself; it is compiled when a model is loaded.
    Inline {
        /// The source.
        source: &'a str,
    },
    /// Files in the folder above that of the generated code, named by [`cuda::SOURCE_FILE`], [`cuda::PTX_FILE`] and
    /// [`cuda::cubin_file`].
    Files {
        /// Whether there is PTX.
        ptx: bool,
        /// Architectures of the cubins: `sm_80`.
        cubins: &'a [String],
    },
}

/// The runtime of a Program for CUDA devices, as items of a module.
///
/// # Errors
/// The Program holds something that has no constant expression.
pub fn cuda_model(program: &Program, form: CodeForm<'_>) -> Result<TokenStream, Unsupported> {
    let expression = constant::expression(program)?;
    let code = code(form);
    let about = format!(
        " The network `{}` on a CUDA device, in {}. It runs up to {} samples at a time.",
        program.name,
        precision(program.precision),
        program.max_batch
    );
    let inputs = Ports::new(pairs(&program.inputs), &["batch", "outputs"]);
    let outputs = Ports::new(pairs(&program.outputs), &[]);
    let run = inputs.function_docs(
        "Runs the network on `batch` samples from the host, and waits for the results.",
        "The batch or an input has the wrong length, or the device fails.",
    );
    let run_device = inputs.function_docs(
        "Runs the network on samples that are on the device, leaves the results there, and returns when that is enqueued.",
        "As [`Model::run`]; a buffer is too short, or of another device.",
    );
    let (parameters, fields, field_docs) = (&inputs.idents, &outputs.idents, &outputs.docs);
    let indices = 0..fields.len();
    Ok(quote! {
        use ::kwc_runtime::Error;
        use ::kwc_runtime::cuda;
        use ::kwc_runtime::cuda::cudarc::driver::CudaSlice;

        #[doc = #about]
        #[derive(Debug)]
        pub struct Model(cuda::Model);

        /// The results of a run, on the host.
        #[derive(Debug, Clone, Copy)]
        pub struct Outputs<'a> {
            #(#[doc = #field_docs] pub #fields: &'a [f32],)*
        }

        /// Where a run on the device leaves its results.
        #[derive(Debug)]
        pub struct DeviceOutputs<'a> {
            #(#[doc = #field_docs] pub #fields: &'a mut CudaSlice<f32>,)*
        }

        impl Model {
            /// A model on a device, with weights that `kwc` packed for this Program.
            ///
            /// # Errors
            /// The weights are not this Program's, there is no code that the device takes, or its memory does not suffice.
            pub fn load(device: &cuda::Device, weights: &cuda::PackedWeights) -> Result<Self, Error> {
                cuda::Model::load(device, &PROGRAM, &CODE, weights).map(Self)
            }

            #(#[doc = #run])*
            pub fn run(&mut self, batch: usize, #(#parameters: &[f32]),*) -> Result<Outputs<'_>, Error> {
                self.0.run(batch, &[#(#parameters),*])?;
                Ok(Outputs { #(#fields: self.0.output(#indices)),* })
            }

            #(#[doc = #run_device])*
            pub fn run_device(
                &mut self,
                batch: usize,
                #(#parameters: &CudaSlice<f32>,)*
                outputs: DeviceOutputs<'_>,
            ) -> Result<(), Error> {
                self.0.run_device(batch, &[#(#parameters),*], &mut [#(outputs.#fields),*])
            }

            /// The model without types: its stream, its profile, which code it runs.
            #[must_use]
            pub fn untyped(&mut self) -> &mut cuda::Model {
                &mut self.0
            }
        }

        #code

        /// The Program: constant tables.
        pub static PROGRAM: ::kwc_runtime::program::cuda::Program = {
            #[allow(unused_imports)]
            use ::kwc_runtime::program::{BufferId, WeightId};
            #[allow(unused_imports)]
            use ::kwc_runtime::program::cuda::*;
            #[allow(unused_imports)]
            use ::std::borrow::Cow;
            #expression
        };
    })
}

/// The static that holds the kernels' code.
fn code(form: CodeForm<'_>) -> TokenStream {
    let options = NVRTC_OPTIONS;
    let none = quote!(::core::option::Option::None);
    let (source, ptx, cubins) = match form {
        CodeForm::Inline { source } => (quote!(#source), none, Vec::new()),
        CodeForm::Files { ptx, cubins } => {
            let text = |file: &str| {
                let path = format!("../{file}");
                quote!(::core::include_str!(#path))
            };
            let cubin = |architecture: &String| {
                let path = format!("../{}", cuda::cubin_file(architecture));
                quote!(cuda::Cubin::new(#architecture, ::core::include_bytes!(#path)))
            };
            let ptx = if ptx {
                let text = text(cuda::PTX_FILE);
                quote!(::core::option::Option::Some(::std::borrow::Cow::Borrowed(#text)))
            } else {
                none
            };
            (text(cuda::SOURCE_FILE), ptx, cubins.iter().map(cubin).collect())
        }
    };
    quote! {
        const CUBINS: &[cuda::Cubin] = &[#(#cubins),*];

        /// The kernels' code.
        pub static CODE: cuda::Code = cuda::Code {
            source: ::std::borrow::Cow::Borrowed(#source),
            options: ::std::borrow::Cow::Borrowed(&[#(::std::borrow::Cow::Borrowed(#options)),*]),
            ptx: #ptx,
            cubins: ::std::borrow::Cow::Borrowed(CUBINS),
        };
    }
}

fn pairs(ports: &[Port]) -> impl Iterator<Item = (&str, &[usize])> {
    ports.iter().map(|port| (&*port.name, &*port.shape))
}

const fn precision(precision: Precision) -> &'static str {
    match precision {
        Precision::F16 => "half precision",
        Precision::F32 => "single precision",
    }
}
