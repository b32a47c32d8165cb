//! `kwc plan --target cuda`: what is launched, and how long that takes at least, against numbers computed by hand.

use serde_json::{Value, json};

use super::{TINY, folder_with, kwc};

/// A matrix product of 4096 positions: 2^32 multiply-adds.
const WIDE: &str = "\
kwc: 1
name: wide
input: { channels: 1024, height: 64, width: 64 }
layers:
  - conv: { name: a, out: 1024, kernel: 1, bias: false }
";

#[track_caller]
fn assert_close(value: &Value, expected: f64) {
    let value = value.as_f64().unwrap();
    assert!((value - expected).abs() <= 1e-9 * expected, "{value}, not {expected}");
}

#[test]
fn launches_and_strategies_of_a_plan() {
    let folder = folder_with("tiny.yaml", TINY);
    let plan = kwc(folder.path(), "plan tiny.yaml --target cuda --max-batch 5 --format json").assert_ok().json();
    // The partition's report is what it is without a target.
    assert_eq!(plan["totals"]["multiply_adds"], 102_368);
    assert_eq!(plan.get("bounds"), None);
    let cuda = &plan["cuda"];
    assert_eq!((&cuda["precision"], &cuda["gpu"], &cuda["max_batch"]), (&json!("f16"), &json!("a100"), &json!(5)));
    let variants = cuda["variants"].as_array().unwrap();
    let ranges: Vec<&Value> = variants.iter().map(|variant| &variant["batches"]).collect();
    assert_eq!(ranges, [&json!([1, 2]), &json!([3, 5])]);
    for variant in variants {
        let strategy = |layer: &str| json!({ "layer": layer, "cells": "warehouse", "cell_count": 27, "mixing": "mix", "convolution": "conv" });
        assert_eq!(variant["strategies"], json!([strategy("a"), strategy("b")]));
        let layers: Vec<&Value> = variant["launches"].as_array().unwrap().iter().map(|l| &l["layer"]).collect();
        assert_eq!(layers, ["a", "a", "a", "a", "a", "b", "b", "b", "fc"]);
    }
    let text = kwc(folder.path(), "plan tiny.yaml --target cuda --precision f32").assert_ok().stdout.clone();
    assert!(text.contains("Batches 3 to 8: 9 launches in a graph"), "{text}");
    assert!(text.contains("mix cells of the warehouse (mix_f32), then convolve (conv_f32): a, b\n"), "{text}");
}

#[test]
fn a_basis_that_is_folded_is_a_strategy() {
    // 216 cells: 72 and 144 of the layers' own, a basis of rank 16 for the others, and a constant part of each mixture.
    let spec = TINY.replace("budget: 1/2, cell_in_ratio: 1/2", "budget: 4, cell_in_ratio: 1/2, basis_ratio: 1/16");
    let folder = folder_with("tiny.yaml", &spec);
    let plan = kwc(folder.path(), "plan tiny.yaml --target cuda --format json").assert_ok().json();
    let strategies = &plan["cuda"]["variants"][0]["strategies"];
    assert_eq!((&strategies[0]["cells"], &strategies[1]["cells"]), (&json!("folded_basis"), &json!("folded_basis")));
    assert_eq!(strategies[0]["cell_count"], 72 + 16 + 18);
    assert_eq!(strategies[1]["cell_count"], 144 + 16 + 36);
    let text = kwc(folder.path(), "plan tiny.yaml --target cuda").assert_ok().stdout.clone();
    assert!(text.contains("mix own cells and the folded basis (mix), then convolve (conv): a, b\n"), "{text}");
}

/// A layer of 512x512 channels at 7x7 whose warehouse has 47 cells, and one of 16x16 channels whose warehouse has a thousand.
const WAYS: &str = "\
kwc: 1
name: ways
input: { channels: 512, height: 7, width: 7 }
warehouses: { budget: 47, each: { x: { budget: 1000 } } }
layers:
  - conv: { name: few_large, out: 512, kernel: 1, warehouse: w }
  - conv: { name: narrow, out: 16, kernel: 1 }
  - conv: { name: many_small, out: 16, kernel: 1, warehouse: x }
";

#[test]
fn where_a_layer_is_mixed_is_a_strategy() {
    let folder = folder_with("ways.yaml", WAYS);
    let plan = |arguments: &str| {
        let arguments = format!("plan ways.yaml --target cuda --max-batch 1 --format json {arguments}");
        kwc(folder.path(), &arguments).assert_ok().json()["cuda"].clone()
    };
    let auto = plan("");
    let strategies = &auto["variants"][0]["strategies"];
    let families = |strategies: &Value| {
        let of = |n: usize| (strategies[n]["mixing"].clone(), strategies[n]["convolution"].clone());
        [of(0), of(1)]
    };
    let (inside, apart) = ((json!("mix_conv"), json!("mix_conv")), (json!("mix"), json!("conv")));
    assert_eq!(families(strategies), [inside.clone(), apart.clone()]);
    let modelled = |n: usize, way: &str| strategies[n]["modelled"][way].as_f64().unwrap();
    // 24.6 MB at the bandwidth of the A100's memory are what both ways take at least, and a launch more apart.
    let warehouse = 47.0 * 512.0 * 512.0 * 2.0 / 1555e9 * 1e6;
    let microseconds = |cycles: f64| cycles / 1.41e3;
    assert!(modelled(0, "apart") > warehouse + 1.5);
    assert!(modelled(0, "inside") > warehouse + microseconds(1800.0));
    assert!(modelled(0, "inside") < modelled(0, "apart"));
    // One block has all elements of a cell of 16x16, and so reads 512 kB alone, with the share of the bandwidth that one and
    // a half of 108 multiprocessors have, after 1800 cycles.
    let alone = 1000.0 * 256.0 * 2.0 / (1555e9 * 1.5 / 108.0) * 1e6 + microseconds(1800.0);
    assert_close(&strategies[1]["modelled"]["inside"], alone);
    assert!(modelled(1, "apart") < modelled(1, "inside"));
    // What is asked for is done.
    assert_eq!(families(&plan("--mixing apart")["variants"][0]["strategies"]), [apart.clone(), apart]);
    assert_eq!(families(&plan("--mixing inside")["variants"][0]["strategies"]), [inside.clone(), inside]);
    let text = kwc(folder.path(), "plan ways.yaml --target cuda --mixing inside").assert_ok().stdout.clone();
    let line = "mix cells of the warehouse inside the convolution (mix_conv): few_large, many_small\n";
    assert!(text.contains(line), "{text}");
    let refused = kwc(folder.path(), "plan ways.yaml --mixing inside");
    assert!(refused.stderr.contains("--mixing is of the target `cuda`"), "{}", refused.stderr);
}

#[test]
fn bounds_as_computed_by_hand() {
    let folder = folder_with("tiny.yaml", TINY);
    let arguments = "plan tiny.yaml --target cuda --bounds --format json";
    let bounds = &kwc(folder.path(), arguments).assert_ok().json()["bounds"];
    assert_eq!((&bounds["gpu"], &bounds["batch"]), (&json!("a100"), &json!(8)));
    let launches = bounds["launches"].as_array().unwrap();
    let of = |kernel: &str| launches.iter().find(|launch| launch["kernel"] == kernel).unwrap();
    // The input in f32 and the same in f16: 36 positions of 8 channels.
    let port = of("port_in_0");
    assert_eq!((&port["useful"], &port["compulsory"]), (&json!(0), &json!(8 * 36 * 8 * (4 + 2))));
    assert_eq!(port["grid"], json!([2, 1, 1]));
    // 18 mixtures of 27 cells, whose attention has a pitch of 32; cells and kernels of 8x4 elements.
    let mix = of("mix_0");
    assert_eq!(mix["useful"], 8 * 18 * 27 * 32);
    assert_eq!(mix["compulsory"], 2 * (27 * 32 + 8 * 18 * (32 + 32)));
    assert_close(&mix["times"]["memory"], 20160.0 / 1555e9 * 1e6);
    // Nothing here takes as long as a kernel's start.
    assert!(launches.iter().all(|launch| launch["limit"] == "launch" && launch["bound"] == launch["times"]["launch"]));
    assert_close(&bounds["sums"]["bound"], 9.0 * 1.5);
    let sum = |field: &str| launches.iter().map(|launch| launch[field].as_u64().unwrap()).sum::<u64>();
    for field in ["useful", "padded", "compulsory", "moved"] {
        assert_eq!(bounds["sums"][field], sum(field), "{field}");
    }
    assert_close(&bounds["sums"]["memory_floor"], sum("compulsory") as f64 / 1555e9 * 1e6);
}

#[test]
fn the_largest_bound_binds() {
    let folder = folder_with("wide.yaml", WIDE);
    let launches = |arguments: &str| {
        let arguments = format!("plan wide.yaml --target cuda --bounds --batch 1 --format json {arguments}");
        let plan = kwc(folder.path(), &arguments).assert_ok().json();
        plan["bounds"]["launches"].as_array().unwrap().clone()
    };
    let (map, products) = (f64::from(1 << 22), f64::from(1 << 16) * f64::from(1 << 16));
    let [port, conv, _] = launches("").try_into().unwrap();
    assert_eq!((&port["limit"], &conv["limit"]), (&json!("memory"), &json!("l2")));
    assert_close(&port["bound"], map * 6.0 / 1555e9 * 1e6);
    assert_eq!(conv["padded"], 1_u64 << 32);
    assert_close(&conv["times"]["tensor"], products / 156e12 * 1e6);
    assert_close(&conv["times"]["fma"], 0.0);
    assert_close(&conv["times"]["memory"], (map * 4.0 + 2.0 * 1024.0 * 1024.0) / 1555e9 * 1e6);
    assert_close(&conv["bound"], conv["moved"].as_f64().unwrap() / 4e12 * 1e6);
    // Outside tensor cores products take longest.
    let [_, conv, _] = launches("--precision f32").try_into().unwrap();
    assert_eq!((&conv["limit"], &conv["times"]["tensor"]), (&json!("fma"), &json!(0.0)));
    assert_close(&conv["bound"], products / 9.75e12 * 1e6);
    // The figures are those of the GPU that is asked for.
    let [port, conv, _] = launches("--gpu h100").try_into().unwrap();
    assert_close(&port["times"]["memory"], map * 6.0 / 3350e9 * 1e6);
    assert_close(&conv["times"]["tensor"], products / 494.7e12 * 1e6);
}

#[test]
fn the_table_of_bounds() {
    let folder = folder_with("wide.yaml", WIDE);
    let text = kwc(folder.path(), "plan wide.yaml --target cuda --bounds --batch 1").assert_ok().stdout.clone();
    let at = text.find("Bounds of").unwrap();
    let lines: Vec<&str> = text[at..].lines().collect();
    assert!(lines[0].starts_with("Bounds of batch 1 on a100"), "{text}");
    // 25.17 MB at 1555 GB/s.
    let port: Vec<&str> = lines[2].split_whitespace().collect();
    assert_eq!(port[..6], ["a", "port_in_0", "0", "0", "25.17", "MB"], "{text}");
    assert_eq!(port[8..], ["0.000", "16.2", "6.291", "16.2", "memory"], "{text}");
}

#[test]
fn bounds_that_nobody_can_give() {
    let folder = folder_with("tiny.yaml", TINY);
    let outcome = kwc(folder.path(), "plan tiny.yaml --target cuda --bounds --batch 9");
    let stderr = &outcome.assert_wrong_input().stderr;
    assert!(stderr.contains("a batch of 9 is larger than the plan's largest, 8"), "{stderr}");
    assert!(stderr.contains("--max-batch 9"), "{stderr}");
    for arguments in ["--bounds", "--gpu h100", "--target cpu --max-batch 2", "--target cuda --batch 2"] {
        let outcome = kwc(folder.path(), &format!("plan tiny.yaml {arguments}"));
        assert_eq!(outcome.code, Some(2), "{arguments}: {}", outcome.text());
    }
}

/// 64 channels at 7x7 can be mixed inside in f16, not in f32, and a network of static layers never.
#[test]
fn mixing_inside_that_changes_nothing_is_said() {
    let dynamic = "\
kwc: 1
name: dynamic
input: { channels: 64, height: 7, width: 7 }
warehouses: { budget: 1 }
layers:
  - conv: { name: a, out: 64, kernel: 3, padding: 1, warehouse: w }
";
    let folder = folder_with("dynamic.yaml", dynamic);
    std::fs::write(folder.path().join("wide.yaml"), WIDE).unwrap();
    for (options, is_said) in [("dynamic.yaml", false), ("dynamic.yaml --precision f32", true), ("wide.yaml", true)] {
        let planned = kwc(folder.path(), &format!("plan {options} --target cuda --mixing inside"));
        assert_eq!(planned.code, Some(0), "{}", planned.text());
        assert_eq!(planned.stderr.contains("`--mixing inside` changes nothing"), is_said, "{}", planned.text());
    }
}
