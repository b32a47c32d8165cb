//! Checks of convolutions: their windows, their packed kernels, and what those are mixed of.

use super::{Check, Result, divides, overlap, product, volume};
use crate::program::{Buffer, BufferId, Conv, Kernel, Mixing, PANEL, Source};

impl Check<'_> {
    pub(super) fn conv(self, op: &Conv) -> Result<()> {
        let [depth, height, width] = op.output_size;
        let output = volume("output", &[op.out_channels, depth, height, width])?;
        let output = self.buffer_of("output", op.output, output)?;
        let [depth, height, width] = op.input_size;
        self.apart("input", op.input, volume("input", &[op.in_channels, depth, height, width])?, output)?;
        volume("the group count", &[op.groups])?;
        divides("input channels in groups", op.groups, op.in_channels)?;
        divides("output channels in groups", op.groups, op.out_channels)?;
        let [depth, height, width] = op.kernel_size;
        let rows = volume("kernel", &[depth, height, width, op.in_channels / op.groups])?;
        self.kernel(op, rows, output)?;
        volume("stride", &op.stride)?;
        volume("dilation", &op.dilation)?;
        for dimension in 0..3 {
            let expected = output_size(op, dimension);
            if expected != Some(op.output_size[dimension]) {
                let found = op.output_size[dimension];
                let expected = expected.map_or("no output".to_owned(), |expected| format!("an output of {expected}"));
                return Err(format!("dimension {dimension}: the windows give {expected}, not {found}"));
            }
        }
        // Places of windows are counted in the padded input.
        let padded = |d: usize| op.padding[d].checked_mul(2).and_then(|both| both.checked_add(op.input_size[d]));
        let padded = [padded(0), padded(1), padded(2)].map(|size| size.unwrap_or(usize::MAX));
        volume("padded input", &[op.in_channels, padded[0], padded[1], padded[2]])?;
        self.epilogue(&op.epilogue, op.out_channels, output)?;
        op.average.map_or(Ok(()), |average| self.average(op, average, output))
    }

    /// A kernel of `rows` rows.
    fn kernel(self, op: &Conv, rows: usize, output: &Buffer) -> Result<()> {
        let Kernel { source, block, width } = op.kernel;
        if width != PANEL && width != PANEL / 2 {
            return Err(format!("panels of the kernel are {width} wide, not {PANEL} or {}", PANEL / 2));
        }
        volume("a block of the kernel", &[block])?;
        divides("output channels in blocks", block, op.out_channels)?;
        if !op.is_depthwise() {
            divides("output channels of a group in blocks", block, op.out_channels / op.groups)?;
        }
        // As many panels as channels at most.
        let panels = op.kernel.panels(op.out_channels);
        let elements = volume("kernel", &[panels, rows, width])?;
        match source {
            Source::Weight(id) => self.weight_of("kernel", id, elements),
            Source::Mixed(mixing) => self.mixing(op, &mixing, output),
        }
    }

    /// Mixing into a kernel whose own sizes are in order.
    fn mixing(self, op: &Conv, mixing: &Mixing, output: &Buffer) -> Result<()> {
        let Mixing { cells, cell_out, cell_in, cell_spatial, grid, .. } = *mixing;
        let [out_groups, spatial_groups, in_groups] = grid;
        let mixtures = volume("the grid of mixtures", &grid)?;
        volume("a cell", &[cell_out, cell_in, cell_spatial])?;
        divides("output channels of a cell in blocks", op.kernel.block, cell_out)?;
        let taps = op.kernel_size.iter().product::<usize>();
        for (what, groups, part, whole) in [
            ("output channels", out_groups, cell_out, op.out_channels),
            ("input channels of a group", in_groups, cell_in, op.in_channels / op.groups),
            ("positions", spatial_groups, cell_spatial, taps),
        ] {
            if product(&[groups, part]) != Some(whole) {
                return Err(format!("{groups} cells of {part} {what} do not make up the kernel's {whole}"));
            }
        }
        if spatial_groups != 1 && cell_spatial != 1 {
            return Err(format!("{spatial_groups} cells in space have {cell_spatial} positions each, not one"));
        }
        volume("the cells of the warehouse", &[cells])?;
        let pitch = cells.checked_add(usize::from(mixing.constants.is_some())).ok_or("too many cells")?;
        let attention = volume("attention", &[mixtures, pitch])?;
        self.apart("attention", mixing.attention, attention, output)?;
        // Neither is larger than what the kernel has of it.
        let panels = op.kernel.panels(cell_out);
        let rows = cell_spatial * cell_in;
        let warehouse = volume("warehouse", &[panels, rows, cells, op.kernel.width])?;
        self.weight_of("warehouse", mixing.warehouse, warehouse)?;
        mixing.constants.map_or(Ok(()), |constants| {
            let elements = volume("constants", &[panels, rows, mixtures, op.kernel.width])?;
            self.weight_of("constants", constants, elements)
        })
    }

    fn average(self, op: &Conv, id: BufferId, output: &Buffer) -> Result<()> {
        self.apart("average", id, op.out_channels, output)?;
        let average = self.buffer(id)?;
        let attention = match op.kernel.source {
            Source::Weight(_) => None,
            Source::Mixed(mixing) => Some(mixing.attention),
        };
        for (what, other) in [("input", Some(op.input)), ("attention", attention), ("addend", op.epilogue.add)] {
            if let Some(other) = other
                && overlap(self.buffer(other)?, average)
            {
                return Err(format!("average ({id}) overlaps the {what}"));
            }
        }
        Ok(())
    }
}

/// `(input + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1`, where that makes sense.
fn output_size(op: &Conv, dimension: usize) -> Option<usize> {
    let padded = op.padding[dimension].checked_mul(2)?.checked_add(op.input_size[dimension])?;
    let reach = op.dilation[dimension].checked_mul(op.kernel_size[dimension] - 1)?.checked_add(1)?;
    Some(padded.checked_sub(reach)? / op.stride[dimension] + 1)
}
