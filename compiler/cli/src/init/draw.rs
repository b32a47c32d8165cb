//! Drawing a random state: the method's initialisation.
//!
//! Cells are drawn as Kaiming initialisation (mode fan-out) would draw the kernels of the layer that they start at, one
//! range of cells per layer. An attention that is not yet trained spreads over all cells, so cells are widened by the
//! inverse of its expected norm: then mixed kernels have Kaiming's variance.

use kwc_compiler::check::Checked;
use kwc_compiler::ir::{Layer, LayerId, Op};
use kwc_compiler::partition::Cells;
use kwc_compiler::state::{self, Kind, Tensor};
use kwc_compiler::weights::State;
use rand_distr::{Distribution as _, Normal};
use rand_pcg::Pcg64Mcg;

use super::Error;

/// Spread of biases, and of the factors of norms around 1.
const SMALL: f32 = 0.1;

/// Draws all parameters of a network; statistics of batch norms are 0 and 1.
pub(super) fn draw(checked: &Checked, rng: &mut Pcg64Mcg) -> Result<State, Error> {
    let mut state = State::default();
    let mut warehouses = checked.partition().warehouses.iter();
    for tensor in state::tensors(checked) {
        let elements = tensor.shape.iter().product();
        let values = match tensor.layer {
            None => match warehouses.next() {
                Some(cells) => draw_cells(checked, cells, rng)?,
                None => Vec::new(),
            },
            Some(_) if tensor.kind == Kind::Counter => continue,
            Some(id) => {
                let (mean, deviation) = spread(checked, id, &tensor);
                normal(rng, mean, deviation, elements)?
            }
        };
        state.insert(tensor.name, tensor.shape, values)?;
    }
    Ok(state)
}

/// Values of a normal distribution; `deviation` is finite and not negative.
///
/// # Errors
/// [`kwc_runtime::Error::Memory`] if there is no room for them.
pub(crate) fn normal(
    rng: &mut Pcg64Mcg,
    mean: f32,
    deviation: f32,
    elements: usize,
) -> Result<Vec<f32>, kwc_runtime::Error> {
    let mut values = room(elements)?;
    match Normal::new(mean, deviation) {
        Ok(normal) => values.extend(normal.sample_iter(rng).take(elements)),
        Err(_) => values.resize(elements, mean),
    }
    Ok(values)
}

/// An empty vector that has room for so many elements.
pub(crate) fn room(elements: usize) -> Result<Vec<f32>, kwc_runtime::Error> {
    let mut values = Vec::new();
    let memory = |_| kwc_runtime::Error::Memory { what: "the random values", elements };
    values.try_reserve_exact(elements).map_err(memory)?;
    Ok(values)
}

fn draw_cells(checked: &Checked, cells: &Cells, rng: &mut Pcg64Mcg) -> Result<Vec<f32>, Error> {
    // Expected norm of n values out of n + 1 normal ones whose magnitudes sum to 1.
    let n = cells.cells as f32;
    let attention = n.sqrt() / ((n + 1.0) * (2.0 / std::f32::consts::PI).sqrt());
    let starts: Vec<usize> = cells.members.iter().map(|&l| checked.mixtures(l).start_cell).collect();
    let mut values = room(cells.cells * cells.cell_elements())?;
    for (index, &layer) in cells.members.iter().enumerate() {
        let end = starts.get(index + 1).copied().unwrap_or(cells.cells);
        let own = end.saturating_sub(starts[index]);
        let deviation = kaiming(checked.network().layer(layer)) / attention;
        values.extend(normal(rng, 0.0, deviation, own * cells.cell_elements())?);
    }
    Ok(values)
}

/// Standard deviation of Kaiming initialisation, mode fan-out, for rectifiers.
fn kaiming(layer: &Layer) -> f32 {
    let conv = layer.op.convolution();
    let fan_out = conv.map_or(1, |c| c.out_channels / c.groups * c.kernel.iter().product::<usize>());
    (2.0 / fan_out.max(1) as f32).sqrt()
}

/// Mean and standard deviation of a layer's tensor.
fn spread(checked: &Checked, id: LayerId, tensor: &Tensor) -> (f32, f32) {
    let layer = checked.network().layer(id);
    let columns = tensor.shape.get(1).copied().unwrap_or(1) as f32;
    let path = state::module_path(layer);
    let suffix = tensor.name.strip_prefix(&path).unwrap_or(&tensor.name);
    match suffix {
        ".running_mean" | ".attention.norm1.running_mean" => (0.0, 0.0),
        ".running_var" | ".attention.norm1.running_var" => (1.0, 0.0),
        ".attention.norm1.weight" => (1.0, SMALL),
        ".attention.fc1.weight" | ".attention.fc3.weight" => (0.0, columns.sqrt().recip()),
        // Half of the hidden units are zero behind the rectifier.
        ".attention.fc2.weight" => (0.0, (2.0 / columns).sqrt()),
        ".weight" => match &layer.op {
            Op::BatchNorm { .. } | Op::LayerNorm { .. } => (1.0, SMALL),
            Op::Linear(_) => (0.0, columns.sqrt().recip()),
            Op::Conv(_)
            | Op::Scale { .. }
            | Op::Activation(_)
            | Op::Pool(_)
            | Op::GlobalAverage
            | Op::Add
            | Op::Concat
            | Op::Upsample { .. }
            | Op::Flatten => (0.0, kaiming(layer)),
        },
        // All that is left are biases, and the factors of a scale.
        _ if matches!(layer.op, Op::Scale { .. }) => (0.5, SMALL),
        _ => (0.0, SMALL),
    }
}
