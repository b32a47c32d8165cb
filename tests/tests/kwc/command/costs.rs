//! Plans: their cost against what one computes by hand, and against the paper's networks.

use serde_json::json;

use super::{TINY, folder_with, kwc};

#[test]
fn a_plan_as_computed_by_hand() {
    let folder = folder_with("tiny.yaml", TINY);
    let plan = kwc(folder.path(), "plan tiny.yaml --format json").assert_ok().json();
    // Cells: gcd(8, 16) = 8 output channels, gcd(8, 8) / 2 = 4 input channels. Mixtures: 9*1*2 and 9*2*2; half of 54 cells.
    let warehouse = &plan["warehouses"][0];
    assert_eq!(warehouse["name"], "w");
    assert_eq!(warehouse["cells"], 27);
    assert_eq!(warehouse["cell_shape"], json!([8, 4, 1, 1]));
    assert_eq!(warehouse["mixtures"], 54);
    assert_eq!(warehouse["budget"], 0.5);
    assert_eq!(warehouse["budget_got"], 0.5);
    assert_eq!(warehouse["parameters"], 27 * 32);
    assert_eq!(warehouse["bytes"], 27 * 32 * 4);
    assert_eq!(warehouse["members"], json!(["a", "b"]));

    let (a, b) = (&plan["layers"][0], &plan["layers"][1]);
    assert_eq!(b["mixture_grid"], json!({ "spatial": 9, "out": 2, "in": 2 }));
    assert_eq!((&a["local_cells"], &b["start_cell"], &b["local_cells"]), (&json!(9), &json!(9), &json!(18)));
    // 6x6 positions, then 3x3. Hidden width max(8 / 16, 16) = 16, and 28 logits for each mixture.
    assert_eq!(
        a["multiply_adds"],
        json!({ "convolution": 36 * 8 * 8 * 9, "mixing": 18 * 27 * 32, "attention": 8 * 16 + 16 * 18 * 28 })
    );
    assert_eq!(
        b["multiply_adds"],
        json!({ "convolution": 9 * 16 * 8 * 9, "mixing": 36 * 27 * 32, "attention": 8 * 16 + 16 * 36 * 28 })
    );
    // fc1, the norm's weight and bias, fc2 and its bias.
    assert_eq!(a["parameters"], 8 * 16 + 2 * 16 + 18 * 28 * 16 + 18 * 28);
    assert_eq!(b["parameters"], 8 * 16 + 2 * 16 + 36 * 28 * 16 + 36 * 28);
    assert_eq!((&a["kernel_elements"], &b["kernel_elements"]), (&json!(8 * 8 * 9), &json!(16 * 8 * 9)));

    let dynamic = 20736 + 15552 + 8192 + 10368 + 31104 + 16256;
    let totals = &plan["totals"];
    assert_eq!(totals["dynamic"], json!({ "convolution": 31104, "mixing": 46656, "attention": 24448 }));
    assert_eq!(totals["static_layers"], 160);
    assert_eq!(totals["multiply_adds"], dynamic + 160);
    assert_eq!(totals["warehouse_bytes"], 864 * 4);
    assert_eq!(totals["warehouse_reads"], 864 * 4 * 2);
    assert_eq!(totals["kernel_bytes"], (576 + 1152) * 4);
    assert_eq!(plan["static_parameters"], 576 + 1152 + 170);
}

#[test]
fn a_basis_costs_what_its_matrices_cost() {
    let spec = TINY.replace("cell_in_ratio: 1/2", "cell_in_ratio: 1/2, basis_ratio: 1/2");
    let folder = folder_with("tiny.yaml", &spec);
    let plan = kwc(folder.path(), "plan tiny.yaml --format json").assert_ok().json();
    let (a, b) = (&plan["layers"][0], &plan["layers"][1]);
    // Rank max((27 - local) / 2, 16) = 16 for both.
    assert_eq!((&a["basis"], &b["basis"]), (&json!(16), &json!(16)));
    assert_eq!(a["multiply_adds"]["attention"], 8 * 16 + 16 * 18 * (9 + 16 + 1) + 18 * 16 * 18);
    assert_eq!(b["multiply_adds"]["attention"], 8 * 16 + 16 * 36 * (18 + 16 + 1) + 36 * 16 * 9);
    assert_eq!(a["parameters"], 18 * 28 + 8 * 16 + 2 * 16 + 18 * 26 * 16 + 18 * 16);
}

#[test]
fn linear_and_static_layers() {
    let spec = "\
kwc: 1
name: tokens
input: { tokens: 5, channels: 8 }
layers:
  - linear: { name: a, out: 6, warehouse: w }
  - linear: { name: b, out: 4, bias: false }
";
    let folder = folder_with("tokens.yaml", spec);
    let plan = kwc(folder.path(), "plan tokens.yaml --format json").assert_ok().json();
    let a = &plan["layers"][0];
    assert_eq!(a["name"], "a.conv");
    for (field, value) in [("kernel", 1), ("stride", 1), ("padding", 0), ("dilation", 1)] {
        assert_eq!(a[field], json!([value]), "{field}");
    }
    assert_eq!(a["multiply_adds"]["convolution"], 5 * 6 * 8);
    assert_eq!(plan["totals"]["static_layers"], 5 * 4 * 6);
    assert_eq!(plan["static_parameters"], 8 * 6 + 6 + 6 * 4);

    // Without a warehouse the plan is that of the static network.
    let folder = folder_with("tokens.yaml", &spec.replace(", warehouse: w", ""));
    let plan = kwc(folder.path(), "plan tokens.yaml --format json").assert_ok().json();
    assert_eq!((&plan["layers"], &plan["warehouses"]), (&json!([]), &json!([])));
    assert_eq!((&plan["parameters"], &plan["static_parameters"]), (&json!(78), &json!(78)));
    assert_eq!(plan["totals"]["multiply_adds"], 5 * (6 * 8 + 4 * 6));
}

/// Cost of one 224x224 image: convolution and mixing in 1e9 multiply-adds; warehouse reads and kernels in 1e6 bytes, f16.
const PUBLISHED: [(&str, f64, f64, f64, f64); 7] = [
    ("resnet18", 1.70, 0.38, 84.0, 22.3),
    ("resnet18_kw4x", 1.70, 1.54, 335.0, 22.3),
    ("resnet50_kw1d2x", 3.90, 4.07, 296.0, 46.9),
    ("resnet50", 3.90, 2.04, 592.0, 46.9),
    ("resnet50_kw4x", 3.90, 8.14, 2369.0, 46.9),
    ("mobilenetv2_100", 0.30, 0.16, 30.0, 4.4),
    ("convnext_tiny", 4.45, 1.23, 572.0, 55.5),
];

#[test]
fn the_papers_networks_cost_what_is_published() {
    let specs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../specs");
    for (name, convolution, mixing, reads, kernels) in PUBLISHED {
        let plan = kwc(&specs, &format!("plan {name}.yaml --format json")).assert_ok().json();
        let totals = &plan["totals"];
        let close = |what: &str, value: &serde_json::Value, unit: f64, published: f64, rounding: f64| {
            let value = value.as_f64().unwrap() / unit;
            assert!((value - published).abs() <= rounding, "{name}: {what} {value}, published {published}");
        };
        close("convolution", &totals["dynamic"]["convolution"], 1e9, convolution, 0.005);
        close("mixing", &totals["dynamic"]["mixing"], 1e9, mixing, 0.005);
        // The report counts single precision.
        close("warehouse reads", &totals["warehouse_reads"], 2e6, reads, 0.5);
        close("mixed kernels", &totals["kernel_bytes"], 2e6, kernels, 0.05);
    }
}

#[test]
fn the_text_shows_who_shares_what() {
    let folder = folder_with("tiny.yaml", TINY);
    insta::assert_snapshot!("plan_tiny", kwc(folder.path(), "plan tiny.yaml").assert_ok().stdout);
    let specs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../specs");
    let text = kwc(&specs, "plan resnet18.yaml").assert_ok().stdout.clone();
    let widest = text.lines().map(|l| l.chars().count()).max();
    assert!(widest <= Some(120), "{widest:?} columns:\n{text}");
    insta::assert_snapshot!("plan_resnet18", text);
}
