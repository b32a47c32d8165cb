//! The trained digits network.

use std::path::Path;
use std::process::Command;

use image::{GrayImage, ImageFormat};
use kwc_compiler::plan::Options;
use kwc_compiler::weights::Checkpoint;
use serde_json::Value;

use crate::golden::{assert_near, checked, folder, json, max_over_std, model, package, tensors, tolerance};

const SIZE: usize = 28;

#[test]
fn logits_and_modules() {
    let golden = json("digits/digits_resnet18_kw1x.json");
    let io = tensors("digits/digits_test.io.safetensors");
    let checked = checked(&package().join("cases/digits_resnet18_kw1x.yaml"));
    let weights = folder().join("digits/digits_resnet18_kw1x.pth");
    let tolerance = tolerance(&golden);

    let image = golden["input"].as_object().unwrap();
    let (mean, std) = (image["mean"].as_f64().unwrap() as f32, image["std"].as_f64().unwrap() as f32);
    let images: Vec<f32> = io["images"].data.iter().map(|&v| (v as f32 / 255.0 - mean) / std).collect();
    let mut whole = model(&checked, &Options::default(), &mut Checkpoint::open(&weights, None).unwrap(), 2);
    let mut logits = Vec::new();
    for images in images.chunks(100 * SIZE * SIZE) {
        whole.run(100, &[images]).unwrap();
        logits.extend_from_slice(whole.output(0));
    }
    let distance = max_over_std(&logits, &io["output_f64"].data);
    assert_near("logits", distance, tolerance);

    let right =
        logits.chunks(10).zip(&io["labels"].data).filter(|(row, label)| argmax(row) == **label as usize).count();
    assert_eq!(right, 1967);

    let dumps: Vec<String> = io.keys().filter_map(|k| k.strip_prefix("act/")).map(str::to_owned).collect();
    let options = Options { dumps: dumps.clone(), ..Options::default() };
    let mut first = model(&checked, &options, &mut Checkpoint::open(&weights, None).unwrap(), 2);
    first.run(4, &[&io["normalised_first4"].f32()]).unwrap();
    for (i, path) in dumps.iter().enumerate() {
        let distance = max_over_std(first.dump(i), &io[&format!("act/{path}")].data);
        assert_near(path, distance, tolerance);
    }
}

fn argmax(row: &[f32]) -> usize {
    (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap()
}

/// Writes the test images as `LABEL/NUMBER.png`.
fn write_images(directory: &Path) {
    let io = tensors("digits/digits_test.io.safetensors");
    for label in 0..10 {
        std::fs::create_dir(directory.join(label.to_string())).unwrap();
    }
    for (i, (pixels, label)) in io["images"].data.chunks(SIZE * SIZE).zip(&io["labels"].data).enumerate() {
        let pixels = pixels.iter().map(|&v| v as u8).collect();
        let image = GrayImage::from_raw(SIZE as u32, SIZE as u32, pixels).unwrap();
        image.save_with_format(directory.join(format!("{label}/{i:04}.png")), ImageFormat::Png).unwrap();
    }
}

#[test]
fn eval_counts_what_the_reference_counts() {
    let data = tempfile::tempdir().unwrap();
    write_images(data.path());
    let output = Command::new(env!("CARGO_BIN_EXE_kwc-under-test"))
        .arg("eval")
        .arg(package().join("cases/digits_resnet18_kw1x.yaml"))
        .arg("--weights")
        .arg(folder().join("digits/digits_resnet18_kw1x.pth"))
        .arg("--data")
        .arg(data.path())
        .args(["--format", "json"])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["images"], 2000, "{result}");
    assert_eq!(result["top1"]["right"], 1967, "{result}");
}
