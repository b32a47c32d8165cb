//! Golden layers: small warehouses with one to three layers, each run on an input of its own.

use std::fmt::Write as _;

use kwc_compiler::plan::Options;
use kwc_compiler::weights::Checkpoint;
use kwc_runtime::cpu;
use serde_json::Value;

use crate::golden::{
    Tensor, assert_near, cases, checked_text, folder, instruction_sets, json, max_difference, max_over_std, model,
    model_with, tensors,
};

/// Near enough, in standard deviations of the reference.
pub(crate) const TOLERANCE: f64 = 3e-5;

/// The spec of a golden case: layer `i` is `layers.i`, takes input `xi` and makes output `yi`.
pub(crate) fn spec(case: &Value, inputs: &[&Tensor]) -> String {
    let layers = case["layers"].as_array().unwrap();
    let mut text = String::from("kwc: 1\nname: golden\ninputs:\n");
    for (i, (layer, input)) in layers.iter().zip(inputs).enumerate() {
        let names = match layer["layer_type"].as_str() {
            Some("linear") => ["tokens", "channels", "", ""],
            Some("conv1d") => ["channels", "length", "", ""],
            Some("conv3d") => ["channels", "depth", "height", "width"],
            Some("conv2d") | None => ["channels", "height", "width", ""],
            Some(other) => panic!("layer type {other}"),
        };
        let sizes: Vec<String> = names.iter().zip(&input.shape[1..]).map(|(n, s)| format!("{n}: {s}")).collect();
        writeln!(text, "  x{i}: {{ {} }}", sizes.join(", ")).unwrap();
    }
    let outputs: Vec<String> = (0..layers.len()).map(|i| format!("y{i}")).collect();
    write!(text, "outputs: [{}]\nwarehouses:\n", outputs.join(", ")).unwrap();
    for (key, value) in case["manager"].as_object().unwrap() {
        match (key.as_str(), value) {
            ("cell_num_ratio", budget) => writeln!(text, "  budget: {budget}").unwrap(),
            ("cell_outplane_ratio", ratio) => writeln!(text, "  cell_out_ratio: {ratio}").unwrap(),
            ("cell_inplane_ratio", ratio) => writeln!(text, "  cell_in_ratio: {ratio}").unwrap(),
            ("nonlocal_basis_ratio", ratio) => writeln!(text, "  basis_ratio: {ratio}").unwrap(),
            ("spatial_partition", Value::Bool(false)) => text.push_str("  partition: whole\n"),
            ("norm_layer", norm) if norm == "LayerNorm" => text.push_str("  attention_norm: layer\n"),
            // It names warehouses; the plan has the names.
            ("sharing_range", _) => {}
            other => panic!("unknown setting {other:?}"),
        }
    }
    text.push_str("layers:\n");
    for (i, layer) in layers.iter().enumerate() {
        let linear = layer["layer_type"] == "linear";
        let warehouse = case["plan"]["layers"][i]["warehouse"].as_u64().unwrap();
        let warehouse = &case["plan"]["warehouses"][usize::try_from(warehouse).unwrap()]["name"];
        let mut fields = format!("name: layers.{i}, from: x{i}, as: y{i}, warehouse: {warehouse}");
        for (key, value) in layer.as_object().unwrap() {
            match key.as_str() {
                "out_planes" => write!(fields, ", out: {value}").unwrap(),
                "kernel_size" if linear => assert_eq!(value, 1),
                "kernel_size" => write!(fields, ", kernel: {value}").unwrap(),
                "bias" | "stride" | "padding" | "dilation" | "groups" => write!(fields, ", {key}: {value}").unwrap(),
                // The input's channels; its kind; a name that the plan has cut back.
                "in_planes" | "layer_type" | "warehouse_name" => {}
                other => panic!("unknown field {other}"),
            }
        }
        writeln!(text, "  - {}: {{ {fields} }}", if linear { "linear" } else { "conv" }).unwrap();
    }
    text
}

#[test]
fn layers() {
    let names = cases("layers", ".json");
    assert!(names.len() >= 12);
    for name in names {
        let case = json(&format!("layers/{name}.json"));
        let io = tensors(&format!("layers/{name}.io.safetensors"));
        let weights = folder().join(format!("layers/{name}.weights.safetensors"));
        let count = case["layers"].as_array().unwrap().len();
        let inputs: Vec<&Tensor> = (0..count).map(|i| &io[&format!("{i}/input")]).collect();
        let text = spec(&case, &inputs);
        let checked = checked_text(&text);

        // `beta`, which training adds and inference leaves out.
        for (i, (id, _, warehouse)) in checked.network().dynamic_layers().enumerate() {
            let columns = checked.cells(warehouse).cells + 1;
            let budget = checked.network().warehouse(warehouse).settings.budget;
            let mut beta = vec![0.0f32; checked.mixtures(id).mixtures * columns];
            for (row, column) in checked.mixtures(id).beta(budget, columns - 1).into_iter().enumerate() {
                beta[row * columns + column] = 1.0;
            }
            assert_eq!(max_difference(&beta, &io[&format!("{i}/temperature_bias")].data), 0.0, "{name}, layer {i}");
        }

        let temperature = case["temperature"].as_f64().filter(|&t| t != 0.0).map(|t| t as f32);
        let attentions =
            (0..count).map(|i| format!("{}.attention", case["plan"]["layers"][i]["name"].as_str().unwrap()));
        let attentions: Vec<String> = attentions.collect();
        let data: Vec<Vec<f32>> = inputs.iter().map(|t| t.f32()).collect();
        let data: Vec<&[f32]> = data.iter().map(Vec::as_slice).collect();
        let ways = [(&attentions[..], true, 2), (&attentions[..], false, 1), (&[][..], true, 1)];
        for (instructions, (dumps, fuse, threads)) in instruction_sets().flat_map(|set| ways.map(|way| (set, way))) {
            let options = Options { dumps: dumps.to_vec(), fuse, temperature, ..Options::default() };
            let how = cpu::Options { threads: Some(threads), instructions: Some(instructions) };
            let mut model = model_with(&checked, &options, &mut Checkpoint::open(&weights, None).unwrap(), &how);
            model.run(inputs[0].shape[0], &data).unwrap();
            for i in 0..count {
                let output = max_over_std(model.output(i), &io[&format!("{i}/output")].data);
                let set = instructions.name();
                assert_near(&format!("{name}, {set}, fuse {fuse}, output {i}"), output, TOLERANCE);
            }
            for i in 0..dumps.len() {
                let attention = max_over_std(model.dump(i), &io[&format!("{i}/attention")].data);
                assert_near(&format!("{name}, fuse {fuse}, attention {i}"), attention, TOLERANCE);
            }
        }
    }
}

/// The temperature is no ornament: without it the case that has one comes out wrong.
#[test]
fn temperature_matters() {
    let case = json("layers/conv2d_temperature.json");
    let io = tensors("layers/conv2d_temperature.io.safetensors");
    let inputs = [&io["0/input"], &io["1/input"]];
    let checked = checked_text(&spec(&case, &inputs));
    let weights = folder().join("layers/conv2d_temperature.weights.safetensors");
    let mut model = model(&checked, &Options::default(), &mut Checkpoint::open(&weights, None).unwrap(), 1);
    model.run(2, &[&inputs[0].f32(), &inputs[1].f32()]).unwrap();
    assert!(max_over_std(model.output(0), &io["0/output"].data) > 0.1);
}
