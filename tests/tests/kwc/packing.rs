//! Packing for the CPU: every element of a packed weight is the one of the checkpoint that its layout says.

use kwc_compiler::plan::{self, Options, Planned};
use kwc_compiler::state;
use kwc_compiler::weights::{State, pack};
use kwc_program::{Attention, Conv, Kernel, Mixing, Op, PANEL, Source, WeightId};

use crate::golden::checked_text;

/// A plan, a state without equal values in a tensor, and all weights packed of it.
struct Packed {
    planned: Planned,
    state: State,
    block: Vec<f32>,
}

impl Packed {
    fn of(spec: &str) -> Self {
        let mut packed = Self::unpacked(spec);
        packed.block = vec![0.0; packed.planned.program.weight_elements];
        pack::pack(&packed.planned, &mut packed.state, &mut packed.block, &mut |_, _| {}).unwrap();
        packed
    }

    fn unpacked(spec: &str) -> Self {
        let checked = checked_text(spec);
        let mut state = State::default();
        for tensor in state::tensors(&checked).into_iter().filter(|t| t.kind != state::Kind::Counter) {
            let elements: usize = tensor.shape.iter().product();
            let values = (0..elements).map(|i| (i + 1) as f32 / 1024.0);
            state.insert(tensor.name, tensor.shape, values.collect()).unwrap();
        }
        let planned = plan::plan(&checked, &Options::default()).unwrap();
        Self { planned, state, block: Vec::new() }
    }

    fn weight(&self, id: WeightId) -> (&[usize], &[f32]) {
        let weight = &self.planned.program.weights[id.0 as usize];
        (&weight.shape, &self.block[weight.offset..][..weight.elements()])
    }

    fn tensor(&self, name: &str) -> (&[usize], &[f32]) {
        self.state.get(name).unwrap_or_else(|| panic!("no tensor {name}"))
    }

    fn ops(&self, layer: &str) -> Vec<&Op> {
        self.planned.program.steps.iter().filter(|step| step.layer == layer).map(|step| &step.op).collect()
    }

    fn conv(&self, layer: &str) -> &Conv {
        let convolutions: Vec<&Conv> = self
            .ops(layer)
            .into_iter()
            .filter_map(|op| if let Op::Conv(conv) = op { Some(conv) } else { None })
            .collect();
        assert_eq!(convolutions.len(), 1, "{layer}");
        convolutions[0]
    }

    fn attention(&self, layer: &str) -> &Attention {
        let mut all = self.ops(layer).into_iter();
        all.find_map(|op| if let Op::Attention(attention) = op { Some(attention) } else { None }).unwrap()
    }

    fn mixing(&self, layer: &str) -> (Kernel, Mixing) {
        let kernel = self.conv(layer).kernel;
        let Source::Mixed(mixing) = kernel.source else { panic!("{layer} is static") };
        (kernel, mixing)
    }

    /// Compares a static kernel with the tensor `[C_out, C_in / groups, positions]`, times the factor of each channel.
    fn assert_kernel(&self, layer: &str, block: usize, width: usize, factor: impl Fn(usize) -> f64) {
        let conv = self.conv(layer);
        let Source::Weight(id) = conv.kernel.source else { panic!("{layer} is dynamic") };
        assert_eq!((conv.kernel.block, conv.kernel.width), (block, width), "{layer}");
        let (shape, values) = self.weight(id);
        let (_, tensor) = self.tensor(&format!("{layer}.weight"));
        let (channels, positions) = (conv.in_channels / conv.groups, conv.kernel_size.iter().product::<usize>());
        let depth = channels * positions;
        assert_eq!(shape, [conv.kernel.panels(conv.out_channels), depth, width], "{layer}");
        let mut expected = vec![0.0; values.len()];
        for out in 0..conv.out_channels {
            for c in 0..channels {
                for t in 0..positions {
                    let x = f64::from(tensor[(out * channels + c) * positions + t]) * factor(out);
                    expected[at(conv.kernel, out, t * channels + c, depth)] = x as f32;
                }
            }
        }
        assert!(values == expected, "{layer}");
    }

    /// Compares a matrix of an attention with rows in their order in the packed weight.
    fn assert_matrix(&self, id: WeightId, columns: usize, rows: &[&[f32]]) {
        let (shape, values) = self.weight(id);
        assert_eq!(shape, [rows.len().div_ceil(PANEL), columns, PANEL]);
        let kernel = Kernel { source: Source::Weight(id), block: rows.len(), width: PANEL };
        let mut expected = vec![0.0; values.len()];
        for (r, row) in rows.iter().enumerate() {
            for (k, x) in row.iter().enumerate() {
                expected[at(kernel, r, k, columns)] = *x;
            }
        }
        assert!(values == expected);
    }

    /// Compares cells in panels with `cells`, each `[cell_out, cell_in, cell_spatial]`.
    fn assert_cells(&self, layer: &str, id: WeightId, cells: &[Vec<f64>]) {
        let (kernel, mixing) = self.mixing(layer);
        let (shape, values) = self.weight(id);
        let Mixing { cell_out, cell_in, cell_spatial, .. } = mixing;
        let Kernel { block, width, .. } = kernel;
        let rows = cell_spatial * cell_in;
        assert_eq!(shape, [cell_out / block * block.div_ceil(width), rows, cells.len(), width]);
        let mut filled = 0;
        for (j, cell) in cells.iter().enumerate() {
            for out in 0..cell_out {
                let panel = out / block * block.div_ceil(width) + out % block / width;
                for c in 0..cell_in {
                    for t in 0..cell_spatial {
                        let row = t * cell_in + c;
                        let is = values[((panel * rows + row) * cells.len() + j) * width + out % block % width];
                        let expected = cell[(out * cell_in + c) * cell_spatial + t];
                        assert!(
                            (f64::from(is) - expected).abs() <= 1e-6 * expected.abs(),
                            "cell {j}: {is} for {expected}"
                        );
                        filled += 1;
                    }
                }
            }
        }
        assert_eq!(values.iter().filter(|x| **x != 0.0).count(), filled, "padding is zero");
    }
}

/// Where output channel `out` has its row `k` of so many, by the definition of [`Kernel`].
fn at(kernel: Kernel, out: usize, k: usize, depth: usize) -> usize {
    let Kernel { block, width, .. } = kernel;
    let panel = out / block * block.div_ceil(width) + out % block / width;
    (panel * depth + k) * width + out % block % width
}

fn cells_of(tensor: (&[usize], &[f32])) -> Vec<Vec<f64>> {
    let (shape, values) = tensor;
    values.chunks_exact(values.len() / shape[0]).map(|cell| cell.iter().map(|&x| f64::from(x)).collect()).collect()
}

#[test]
fn static_kernels_stand_in_panels() {
    let packed = Packed::of(
        "\
kwc: 1
name: static
input: { channels: 3, height: 9, width: 8 }
layers:
  - conv: { name: stem, out: 40, kernel: 3 }
  - conv: { name: groups, out: 90, kernel: [3, 2], groups: 2 }
  - batch_norm: { name: bn }
  - conv: { name: point, out: 72, kernel: 1 }
  - conv: { name: deep, out: 72, kernel: 3, padding: 1, groups: 72 }
  - conv: { name: narrow, out: 12, kernel: 1, groups: 6 }
  - flatten
  - linear: { name: fc, out: 2000 }
  - linear: { name: out, out: 1023 }
",
    );
    let plain = |_| 1.0;
    let vector = |name: &str| packed.tensor(&format!("bn.{name}")).1;
    let (weight, variance) = (vector("weight"), vector("running_var"));
    packed.assert_kernel("stem", 40, 16, plain);
    packed.assert_kernel("groups", 45, 16, |c| f64::from(weight[c]) / (f64::from(variance[c]) + 1e-5).sqrt());
    packed.assert_kernel("point", 72, 16, plain);
    packed.assert_kernel("deep", 72, 16, plain);
    packed.assert_kernel("narrow", 2, 16, plain);
    // More than is read at a time.
    packed.assert_kernel("fc", 2000, 32, plain);
    packed.assert_kernel("out", 1023, 32, plain);
}

#[test]
fn warehouses_stand_in_panels() {
    let packed = Packed::of(
        "\
kwc: 1
name: dynamic
input: { channels: 12, height: 8, width: 8 }
warehouses:
  each:
    a: { budget: 1, cell_in_ratio: 1/2 }
    b: { budget: 2, partition: whole, cell_out_ratio: 1/2 }
    c: { budget: 1, attention_norm: layer }
    d: { budget: 1 }
layers:
  - conv: { name: a1, out: 96, kernel: 3, padding: 1, warehouse: a }
  - conv: { name: a2, out: 48, kernel: 1, groups: 4, warehouse: a }
  - conv: { name: b1, out: 80, kernel: [1, 2], warehouse: b }
  - conv: { name: c1, out: 80, kernel: 3, groups: 80, warehouse: c }
  - global_avg_pool
  - linear: { name: fc, out: 20, warehouse: d }
",
    );
    // Groups of 12 channels: of 48 that a cell has.
    for (layer, warehouse, block, width) in
        [("a1", 0, 12, 16), ("a2", 0, 12, 16), ("b1", 1, 40, 16), ("c1", 2, 80, 16), ("fc", 3, 20, 32)]
    {
        let (kernel, mixing) = packed.mixing(layer);
        assert_eq!((kernel.block, kernel.width), (block, width), "{layer}");
        assert_eq!(mixing.constants, None);
        let tensor = packed.tensor(&format!("warehouse_manager.weights.{warehouse}"));
        let cell = [mixing.cells, mixing.cell_out, mixing.cell_in];
        assert_eq!(tensor.0[..3], cell, "{layer}");
        assert_eq!(mixing.cell_spatial, tensor.0[3..].iter().product::<usize>(), "{layer}");
        packed.assert_cells(layer, mixing.warehouse, &cells_of(tensor));
    }
    assert_eq!(packed.mixing("a1").1.warehouse, packed.mixing("a2").1.warehouse);
    // `[O, S, I]`
    assert_eq!(packed.mixing("a1").1.grid, [2, 9, 2]);
    assert_eq!(packed.mixing("a2").1.grid, [1, 1, 4]);

    // The mixtures of `a1` in packed order; the method's own is `[S, O, I]`.
    let attention = packed.attention("a1");
    let path = "a1.attention";
    let (shape, fc1) = packed.tensor(&format!("{path}.fc1.weight"));
    let rows: Vec<&[f32]> = fc1.chunks_exact(shape[1]).collect();
    packed.assert_matrix(attention.fc1, shape[1], &rows);
    let (shape, fc2) = packed.tensor(&format!("{path}.fc2.weight"));
    let (hidden, logits) = (shape[1], attention.cells + 1);
    let mut rows: Vec<&[f32]> = Vec::new();
    for (o, s, i) in (0..36).map(|mixture| (mixture / 18, mixture / 2 % 9, mixture % 2)) {
        let mixture = (s * 2 + o) * 2 + i;
        rows.extend(fc2[mixture * logits * hidden..][..logits * hidden].chunks_exact(hidden));
    }
    packed.assert_matrix(attention.fc2, hidden, &rows);
}

/// Compares what a layer with a folded basis mixes. Its warehouse is the first, `local` cells are its own, from `start` on.
fn assert_folded(packed: &Packed, layer: &str, local: usize, start: usize) {
    let (_, mixing) = packed.mixing(layer);
    let warehouse = cells_of(packed.tensor("warehouse_manager.weights.0"));
    let basis = packed.attention(layer).basis.unwrap();
    assert!(basis.is_folded);
    assert_eq!((basis.local, basis.start_cell), (local, start), "{layer}");
    assert_eq!((mixing.cells, mixing.pitch()), (local + basis.rank, local + basis.rank + 1), "{layer}");
    let others: Vec<usize> = (0..warehouse.len()).filter(|cell| !(start..start + local).contains(cell)).collect();
    let sum = |factor: &dyn Fn(usize, usize) -> f32| -> Vec<f64> {
        let mut sums = vec![0.0; warehouse[0].len()];
        for (j, &cell) in others.iter().enumerate() {
            let factor = f64::from(factor(j, cell));
            for (sum, x) in sums.iter_mut().zip(&warehouse[cell]) {
                *sum += factor * x;
            }
        }
        sums
    };
    let (_, fc3) = packed.tensor(&format!("{layer}.attention.fc3.weight"));
    let own = warehouse[start..][..local].iter().cloned();
    let cells: Vec<_> = own.chain((0..basis.rank).map(|q| sum(&|j, _| fc3[j * basis.rank + q]))).collect();
    packed.assert_cells(layer, mixing.warehouse, &cells);
    let (_, bias) = packed.tensor(&format!("{layer}.attention.basis_bias"));
    let mixtures = 0..mixing.mixtures();
    let constants: Vec<_> = mixtures.map(|i| sum(&|_, cell| bias[i * (warehouse.len() + 1) + cell])).collect();
    packed.assert_cells(layer, mixing.constants.unwrap(), &constants);
}

const BASIS: &str = "\
kwc: 1
name: basis
input: { channels: 16, length: 40 }
warehouses: { budget: 1, basis_ratio: 1/64 }
layers:
  - repeat: { name: \"r$i\", index: i, count: 10, layers: [conv: { name: c, out: 16, kernel: 3, warehouse: w }] }
";

/// Of 30 cells a layer has 3, and the basis has 16 rows for the others.
#[test]
fn folded_cells_are_sums() {
    let packed = Packed::of(BASIS);
    for index in [0, 4, 9] {
        let layer = format!("r{index}.c");
        assert_folded(&packed, &layer, 3, 3 * index);
        let (_, fc3) = packed.tensor(&format!("{layer}.attention.fc3.weight"));
        let rows: Vec<&[f32]> = fc3.chunks_exact(16).collect();
        packed.assert_matrix(packed.attention(&layer).basis.unwrap().fc3, 16, &rows);
    }
    // No layer mixes the warehouse itself.
    let mut names = packed.planned.program.weights.iter().map(|weight| weight.name.as_ref());
    assert!(names.all(|name| !name.starts_with("warehouse_manager")));
}

/// The other cells, 29 of 36864 elements, are more than is read at a time.
#[test]
fn folded_cells_are_made_in_pieces() {
    let mut packed = Packed::unpacked(
        "\
kwc: 1
name: pieces
input: { channels: 64, height: 1, width: 1 }
warehouses: { budget: 1, basis_ratio: 1/64, partition: whole }
layers:
  - repeat:
      name: \"r$i\"
      index: i
      count: 30
      layers: [conv: { name: c, out: 64, kernel: 3, padding: 1, warehouse: w }]
",
    );
    packed.block = vec![0.0; packed.planned.program.weight_elements];
    let (_, mixing) = packed.mixing("r7.c");
    for id in [mixing.warehouse, mixing.constants.unwrap()] {
        let weight = &packed.planned.program.weights[id.0 as usize];
        let out = &mut packed.block[weight.offset..][..weight.elements()];
        pack::make(&packed.planned.recipes[id.0 as usize], &mut packed.state, out).unwrap();
    }
    assert_folded(&packed, "r7.c", 1, 7);
}

/// Folding reads a warehouse many times, in pieces; what isn't finite in it counts once.
#[test]
fn values_that_are_not_finite_count_once() {
    let mut packed = Packed::unpacked(BASIS);
    let name = "warehouse_manager.weights.0";
    let (shape, values) = packed.tensor(name);
    let (shape, mut values) = (shape.to_vec(), values.to_vec());
    for index in [0, 255, 256, 4000, 7679] {
        values[index] = f32::NAN;
    }
    packed.state.insert(name, shape, values).unwrap();
    let mut block = vec![0.0; packed.planned.program.weight_elements];
    let found = pack::pack(&packed.planned, &mut packed.state, &mut block, &mut |_, _| {}).unwrap();
    let given: Vec<_> = found.given.iter().map(|count| (count.name.as_str(), count.values)).collect();
    assert_eq!(given, [(name, 5)]);
    assert!(found.folded.is_empty());
}
