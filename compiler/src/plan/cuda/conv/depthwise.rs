//! Depthwise convolutions: every channel has a kernel of its own.
//!
//! They are bound by moving activations. A thread makes eight channels of some neighbouring positions of a row, so that
//! windows that overlap are read once.

use kwc_program::cuda::{CHANNELS, Extent};

use super::planar::{self, Operands};
use crate::plan::cuda::kernel::{Family, Kernel, count};
use crate::plan::cuda::lower::Lowering;
use crate::plan::cuda::work::{Amount, Work};
use crate::plan::steps::{Conv, Operand, Step};

/// Threads of a block.
const THREADS: usize = 256;
/// Positions of a row that a thread makes at most.
const RUN: usize = 4;
/// Parts of the sums that a block may leave of one sample.
const PARTS: usize = 64;

/// Width of a window at most.
const WIDEST: usize = 15;
/// Input positions of a row that a thread reads at most.
const FARTHEST: usize = 64;

/// Whether the family covers a convolution. Eight neighbouring channels must lie in one block of the kernel's.
pub(super) fn covers(lowering: &Lowering<'_>, op: &Conv) -> bool {
    let block = match op.kernel {
        Operand::Weight(_) => op.out_channels,
        Operand::Buffer(buffer) => lowering.read_mixed(buffer).block,
    };
    let depthwise = op.groups == op.in_channels && op.groups == op.out_channels;
    // A row of the window, and all of a run's, are unrolled.
    let reach = (RUN - 1) * op.stride[2] + (op.kernel_size[2] - 1) * op.dilation[2] + 1;
    let short = op.kernel_size[2] <= WIDEST && reach <= FARTHEST;
    depthwise && short && planar::is_planar(op) && (block % CHANNELS == 0 || block == op.out_channels)
}

/// One convolution.
pub(super) fn lower(lowering: &mut Lowering<'_>, step: &Step, op: &Conv) {
    let [_, out_h, out_w] = op.output_size;
    let window: usize = op.kernel_size.iter().product();
    let input = lowering.read(&step.layer, op.input, op.in_channels, op.input_size.iter().product());
    let kernel = lowering.kernel_operand(op.kernel, op.out_channels, 1, window, op.channel_block);
    let (epilogue, vectors) = planar::epilogue(lowering, &step.layer, op);
    let output = lowering.fresh(op.output, op.out_channels, planar::out_positions(op), input.channels_last);

    let groups = output.pitch / CHANNELS;
    let columns = groups.next_power_of_two().min(32);
    let run = RUN.min(out_w);
    let runs = out_h * out_w.div_ceil(run);
    let rows = THREADS / columns;
    // As many runs for a thread as keep the parts few, where there are sums.
    let averaged = lowering.is_averaged(op.output);
    let each = if averaged { runs.div_ceil(rows * PARTS) } else { 1 };
    let parts = runs.div_ceil(rows * each);
    let sums = averaged.then(|| planar::leave_sums(lowering, op.output, output, parts));
    let operands =
        Operands { input: input.buffer, input_element: input.element, kernel, epilogue: vectors, output, sums };

    let mut constants = vec![("Element", input.element.into())];
    constants.extend(planar::sizes(op, input.pitch, output.pitch));
    constants.extend(planar::layout(&kernel));
    constants.extend([
        ("COLUMNS", columns.into()),
        ("RUN", run.into()),
        ("EACH", each.into()),
        ("PARTS", parts.into()),
        ("SUMS", averaged.into()),
    ]);
    let grid = [
        Extent { fixed: 0, per_sample: count(parts), divisor: 1 },
        Extent::fixed(count(groups.div_ceil(columns))),
        Extent::ONE,
    ];
    let depthwise = Kernel {
        family: Family::Depthwise,
        constants,
        epilogue: Some(epilogue),
        parameters: operands.parameters(),
        threads: count(THREADS),
        resident: 1,
        shared_bytes: 0,
    };
    let useful = Amount::per_sample(planar::out_positions(op) * op.out_channels * window);
    let [_, kernel_h, kernel_w] = op.kernel_size;
    let columns_read = (run - 1) * op.stride[2] + (kernel_w - 1) * op.dilation[2] + 1;
    let read = runs * kernel_h * columns_read * input.pitch * input.element.bytes();
    let element = input.element;
    let kernel_read = Amount::per_sample(runs * window * output.pitch * element.bytes());
    let work = Work {
        useful,
        padded: Amount::per_sample(runs * run * output.pitch * window),
        tensor: false,
        compulsory: planar::kernel_bytes(op, &kernel, element) + operands.activation_bytes(input.bytes()),
        moved: kernel_read + operands.activation_bytes(read),
    };
    lowering.launch(&step.layer, depthwise, grid, &operands.arguments(), work);
}
