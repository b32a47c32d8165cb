//! What the steps read.

use kwc_program::{BufferId, Op};

/// The buffers of the steps that an operation reads.
pub(super) fn reads(op: &Op) -> Vec<BufferId> {
    let kernel = |kernel: &kwc_program::Kernel| match kernel.data {
        kwc_program::Operand::Buffer(buffer) => Some(buffer),
        kwc_program::Operand::Weight(_) => None,
    };
    match op {
        Op::Conv(op) => [Some(op.input), kernel(&op.kernel), op.epilogue.add].into_iter().flatten().collect(),
        Op::Linear(op) => [Some(op.input), kernel(&op.kernel), op.epilogue.add].into_iter().flatten().collect(),
        Op::GlobalAverage(op) => vec![op.input],
        Op::Attention(op) => vec![op.average],
        Op::Mix(op) => vec![op.attention],
        Op::Pool(op) => vec![op.input],
        Op::LayerNorm(op) => vec![op.input],
        Op::Map(op) => [Some(op.input), op.epilogue.add].into_iter().flatten().collect(),
        Op::Concat(op) => op.inputs.iter().map(|part| part.buffer).collect(),
        Op::Upsample(op) => vec![op.input],
        Op::GatherRows(op) => vec![op.input],
    }
}
