//! The typed tree of a spec: what is written, with expressions parsed but not computed.

use std::collections::BTreeMap;

use super::expr::Expr;
use super::template::Template;
use crate::diagnostic::Diagnostic;
use crate::ir::Activation;
use crate::source::{Span, Spanned};

/// A spec, with what it extends merged in and settings from outside applied.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The network's name.
    pub name: String,
    /// The whole spec.
    pub span: Span,
    /// Parameters of the network, in order.
    pub params: Vec<Param>,
    /// Inputs, in order; never empty, unless that was reported.
    pub inputs: Vec<Input>,
    /// Outputs; without any, the result of the last layer is the only one.
    pub outputs: Option<Vec<Output>>,
    /// How an image becomes the input.
    pub image: Option<Image>,
    /// Settings of the warehouses.
    pub warehouses: Warehouses,
    /// Blocks by name.
    pub blocks: BTreeMap<String, Block>,
    /// The network.
    pub layers: Vec<Item>,
}

/// A parameter of the network or of a block.
#[derive(Debug, Clone)]
pub struct Param {
    /// Its name.
    pub name: Spanned<String>,
    /// Its value where nothing else sets it; without one it is required.
    pub default: Option<Argument>,
}

/// A value whose use decides how it is read: a text is an expression where a number or condition is needed, a template
/// where a name is.
#[derive(Debug, Clone)]
pub enum Argument {
    /// A number or truth value, or something broken that was reported.
    Plain(Expr),
    /// A text, read both ways.
    Text {
        /// Where it is written.
        span: Span,
        /// As an expression.
        expression: Result<Expr, Box<Diagnostic>>,
        /// As a template.
        template: Result<Template, Box<Diagnostic>>,
    },
    /// A list.
    List {
        /// Where it is written.
        span: Span,
        /// Its elements.
        items: Vec<Argument>,
    },
}

impl Argument {
    /// Where it is written.
    #[must_use]
    pub fn span(&self) -> Span {
        match self {
            Self::Plain(expr) => expr.span,
            Self::Text { span, .. } | Self::List { span, .. } => *span,
        }
    }
}

/// An input of the network.
#[derive(Debug, Clone)]
pub struct Input {
    /// Its name.
    pub name: Spanned<String>,
    /// Its shape.
    pub shape: InputShape,
}

/// The shape of an input.
#[derive(Debug, Clone)]
pub enum InputShape {
    /// Channels first; a vector without spatial sizes.
    Map {
        /// Channels.
        channels: Expr,
        /// Spatial sizes.
        spatial: Vec<Expr>,
    },
    /// Channels last.
    Tokens {
        /// How many.
        tokens: Expr,
        /// Channels.
        channels: Expr,
    },
    /// Reported.
    Broken,
}

/// An output of the network.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its name outside.
    pub name: Template,
    /// The value's name inside.
    pub value: Template,
}

/// How an image becomes the input.
#[derive(Debug, Clone)]
pub struct Image {
    /// The section's key.
    pub span: Span,
    /// Length of the shorter side, or height and width.
    pub resize: Option<Expr>,
    /// Filter.
    pub interpolation: Option<Template>,
    /// Per channel.
    pub mean: Option<Expr>,
    /// Per channel.
    pub std: Option<Expr>,
    /// Names of the classes.
    pub labels: Vec<String>,
}

/// The section `warehouses`.
#[derive(Debug, Clone, Default)]
pub struct Warehouses {
    /// For all of them.
    pub settings: Settings,
    /// Their numbers in a checkpoint.
    pub order: Option<Spanned<Vec<Template>>>,
    /// For some, by name.
    pub each: Vec<(Spanned<String>, Settings)>,
}

/// Settings of warehouses; what is absent is as for all, or as the language's default.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "named and documented as in `ir::Settings`")]
pub struct Settings {
    pub budget: Option<Expr>,
    pub cell_out_ratio: Option<Expr>,
    pub cell_in_ratio: Option<Expr>,
    pub reduction: Option<Expr>,
    pub basis_ratio: Option<Expr>,
    pub partition: Option<Template>,
    pub attention_norm: Option<Template>,
}

/// A reusable part.
#[derive(Debug, Clone)]
pub struct Block {
    /// Its name.
    pub name: Spanned<String>,
    /// Its parameters, in order.
    pub params: Vec<Param>,
    /// Its items.
    pub layers: Vec<Item>,
}

/// An item of a list of layers.
#[derive(Debug, Clone)]
pub struct Item {
    /// The operation's name as it is written.
    pub span: Span,
    /// Segment of the module's path.
    pub name: Option<Template>,
    /// What it takes; the result of the item before if empty.
    pub from: Vec<Operand>,
    /// Name of the result.
    pub result: Option<Template>,
    /// Whether it is there.
    pub when: Option<Expr>,
    /// Its place among the registered modules.
    pub register: Option<Expr>,
    /// What it is.
    pub kind: ItemKind,
}

/// A value that an item takes.
#[derive(Debug, Clone)]
pub enum Operand {
    /// The result of the item before.
    Previous(Span),
    /// A named value.
    Named(Template),
}

/// The kinds of item. A field that is required and absent here was reported.
#[derive(Debug, Clone)]
pub enum ItemKind {
    /// Items one after the other.
    Sequence(Vec<Item>),
    /// A list several times.
    Repeat {
        /// How often.
        count: Option<Expr>,
        /// Name of the parameter that counts.
        index: Option<String>,
        /// The list.
        layers: Vec<Item>,
    },
    /// A sum of two lists' results.
    Residual {
        /// The first.
        body: Vec<Item>,
        /// The second; empty for the input itself.
        shortcut: Vec<Item>,
    },
    /// Several lists with the same input.
    Branch {
        /// The lists.
        paths: Vec<Vec<Item>>,
        /// How the results are joined.
        join: Option<Template>,
    },
    /// A use of a block.
    Block {
        /// The block's name.
        block: String,
        /// Values of its parameters.
        arguments: BTreeMap<String, Argument>,
    },
    /// One layer.
    Operation(Operation),
    /// Reported; its result is unknown.
    Broken,
}

/// The operations, with their own fields.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "fields are named and documented as in the reference of the language")]
pub enum Operation {
    Conv(Box<ConvFields>),
    Linear { out: Option<Expr>, bias: Option<Expr>, warehouse: Option<Template> },
    BatchNorm { eps: Option<Expr> },
    LayerNorm { eps: Option<Expr> },
    Scale { param: Option<Template>, shape: Option<Expr> },
    Activation(Activation),
    MaxPool { kernel: Option<Expr>, stride: Option<Expr>, padding: Option<Expr> },
    AveragePool { kernel: Option<Expr>, stride: Option<Expr>, padding: Option<Expr>, count_padding: Option<Expr> },
    GlobalAveragePool { keep: Option<Expr> },
    Add,
    Concat,
    Upsample { factor: Option<Expr> },
    Flatten,
}

/// The fields of a convolution.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "fields are named and documented as in the reference of the language")]
pub struct ConvFields {
    pub out: Option<Expr>,
    pub kernel: Option<Expr>,
    pub stride: Option<Expr>,
    pub padding: Option<Expr>,
    pub dilation: Option<Expr>,
    pub groups: Option<Argument>,
    pub bias: Option<Expr>,
    pub warehouse: Option<Template>,
}
