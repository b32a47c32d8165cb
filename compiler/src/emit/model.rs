//! The generated runtime: a Program as constant tables, and a typed `Model` over it.
//!
//! The code holds no logic. It names the runtime as `kwc_runtime`, and everything else it needs it brings into scope
//! itself, so that it can stand in a file or come out of a macro.

use kwc_program::Program;
use proc_macro2::TokenStream;
use quote::quote;

use super::constant::{self, Unsupported};
use super::ports::Ports;

/// The runtime of a Program for the CPU, as items of a module.
///
/// # Errors
/// The Program holds something that has no constant expression.
pub fn model(program: &Program) -> Result<TokenStream, Unsupported> {
    let expression = constant::expression(program)?;
    let name = &program.name;
    let about = format!(" The network `{name}`, compiled for the CPU.");
    let inputs = Ports::new(program.inputs.iter().map(|p| (&*p.name, &*p.shape)), &["batch"]);
    let outputs = Ports::new(program.outputs.iter().map(|p| (&*p.name, &*p.shape)), &[]);
    let run = inputs
        .function_docs("Runs the network on `batch` samples.", "An input has the wrong length, or memory is short.");
    let (parameters, fields, field_docs) = (&inputs.idents, &outputs.idents, &outputs.docs);
    let indices = 0..fields.len();
    Ok(quote! {
        use ::kwc_runtime::cpu;
        use ::kwc_runtime::{Error, Weights};

        /// The Program: constant tables.
        pub static PROGRAM: ::kwc_runtime::program::Program = {
            #[allow(unused_imports)]
            use ::kwc_runtime::program::*;
            #[allow(unused_imports)]
            use ::std::borrow::Cow;
            #expression
        };

        #[doc = #about]
        #[derive(Debug)]
        pub struct Model(cpu::Model);

        /// The results of a run.
        #[derive(Debug, Clone, Copy)]
        pub struct Outputs<'a> {
            #(#[doc = #field_docs] pub #fields: &'a [f32],)*
        }

        impl Model {
            /// A model with packed weights in memory.
            ///
            /// # Errors
            /// The weights are not this Program's.
            pub fn new(weights: Weights, options: &cpu::Options) -> Result<Self, Error> {
                cpu::Model::new(PROGRAM.clone(), weights, options).map(Self)
            }

            /// A model with packed weights from a file that `kwc compile --target cpu --weights` wrote. The file is mapped, not
            /// read: it must not be changed in place nor cut while the model lives ([`Weights::open`]).
            ///
            /// # Errors
            /// The file cannot be read, holds no packed weights or not all of them, or they are not this Program's.
            pub fn load(path: impl AsRef<::std::path::Path>, options: &cpu::Options) -> Result<Self, Error> {
                let weights = Weights::open(path.as_ref(), &PROGRAM)?;
                Self::new(weights, options)
            }

            #(#[doc = #run])*
            pub fn run(&mut self, batch: usize, #(#parameters: &[f32]),*) -> Result<Outputs<'_>, Error> {
                self.0.run(batch, &[#(#parameters),*])?;
                Ok(Outputs { #(#fields: self.0.output(#indices)),* })
            }
        }
    })
}
