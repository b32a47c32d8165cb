//! What may be written where: the keys of every part of a spec. The reader and the tests of the schema go by these tables.

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// As it is written.
    pub name: &'static str,
    /// Whether it must be there.
    pub required: bool,
}

/// An operation or structure, and the fields of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// As it is written.
    pub name: &'static str,
    /// Beside [`COMMON`].
    pub fields: &'static [Field],
}

const fn required(name: &'static str) -> Field {
    Field { name, required: true }
}

const fn optional(name: &'static str) -> Field {
    Field { name, required: false }
}

const fn form(name: &'static str, fields: &'static [Field]) -> Form {
    Form { name, fields }
}

/// Keys of the file.
pub const FILE: &[Field] = &[
    required("kwc"),
    required("name"),
    optional("extends"),
    optional("params"),
    optional("input"),
    optional("inputs"),
    optional("outputs"),
    optional("image"),
    optional("warehouses"),
    optional("blocks"),
    required("layers"),
];

/// Keys of an input.
pub const INPUT: &[Field] = &[
    required("channels"),
    optional("depth"),
    optional("height"),
    optional("width"),
    optional("length"),
    optional("tokens"),
];

/// Keys of `image`.
pub const IMAGE: &[Field] =
    &[optional("resize"), optional("interpolation"), required("mean"), required("std"), optional("labels")];

/// Settings of one warehouse.
pub const SETTINGS: &[Field] = &[
    optional("budget"),
    optional("cell_out_ratio"),
    optional("cell_in_ratio"),
    optional("reduction"),
    optional("basis_ratio"),
    optional("partition"),
    optional("attention_norm"),
];

/// Keys of `warehouses` beside [`SETTINGS`].
pub const WAREHOUSES: &[Field] = &[optional("order"), optional("each")];

/// Keys of a block.
pub const BLOCK: &[Field] = &[optional("params"), required("layers")];

/// Fields that every item takes.
pub const COMMON: &[Field] =
    &[optional("name"), optional("from"), optional("as"), optional("when"), optional("register")];

/// All items that are no blocks.
pub const ITEMS: &[Form] = &[
    form("sequence", &[required("layers")]),
    form("repeat", &[required("count"), optional("index"), required("layers")]),
    form("residual", &[required("body"), optional("shortcut")]),
    form("branch", &[required("paths"), required("join")]),
    form(
        "conv",
        &[
            optional("out"),
            required("kernel"),
            optional("stride"),
            optional("padding"),
            optional("dilation"),
            optional("groups"),
            optional("bias"),
            optional("warehouse"),
        ],
    ),
    form("linear", &[required("out"), optional("bias"), optional("warehouse")]),
    form("batch_norm", &[optional("eps")]),
    form("layer_norm", &[optional("eps")]),
    form("scale", &[optional("param"), optional("shape")]),
    form("relu", &[]),
    form("relu6", &[]),
    form("gelu", &[]),
    form("silu", &[]),
    form("hard_swish", &[]),
    form("sigmoid", &[]),
    form("max_pool", &[required("kernel"), optional("stride"), optional("padding")]),
    form("avg_pool", &[required("kernel"), optional("stride"), optional("padding"), optional("count_padding")]),
    form("global_avg_pool", &[optional("keep")]),
    form("add", &[]),
    form("concat", &[]),
    form("upsample", &[required("factor")]),
    form("flatten", &[]),
];
