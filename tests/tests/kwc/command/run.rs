//! `kwc run`: inputs, outputs, and what is wrong with either.

use std::collections::BTreeMap;
use std::path::Path;

use kwc_compiler::weights::State;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};

use super::{command, folder_with, kwc};

/// An image goes in, its pixels come out, and a linear layer over them.
const PIXELS: &str = "\
kwc: 1
name: pixels
params: { channels: 3, size: 3 }
input: { channels: $channels, height: $size, width: $size }
outputs: { scores: scores, pixels: pixels }
image: { mean: [0.25, 0.5, 0.75], std: [0.5, 0.25, 0.125], labels: [red, green, blue] }
layers:
  - flatten: { as: pixels }
  - linear: { name: fc, out: 3, as: scores }
";

/// Weights that sum the pixels of one channel each.
fn pixel_weights(folder: &Path) {
    let mut weight = vec![0.0; 3 * 27];
    for (row, values) in weight.chunks_mut(27).enumerate() {
        values[row * 9..(row + 1) * 9].fill(1.0);
    }
    let mut state = State::default();
    state.insert("fc.weight", vec![3, 27], weight).unwrap();
    state.insert("fc.bias", vec![3], vec![0.5, 0.0, -0.5]).unwrap();
    let mut file = std::fs::File::create(folder.join("w.safetensors")).unwrap();
    state.write_safetensors(&mut file).unwrap();
}

fn pixels() -> tempfile::TempDir {
    let folder = folder_with("pixels.yaml", PIXELS);
    pixel_weights(folder.path());
    folder
}

/// A PNG whose pixel at `(x, y)` is `(16 x, 16 y, x + y)`.
fn gradient(path: &Path, width: u32, height: u32) {
    image::RgbImage::from_fn(width, height, |x, y| image::Rgb([(16 * x) as u8, (16 * y) as u8, (x + y) as u8]))
        .save(path)
        .unwrap();
}

pub(super) fn write(path: &Path, name: &str, dtype: Dtype, shape: &[usize], data: &[u8]) {
    let view = TensorView::new(dtype, shape.to_vec(), data).unwrap();
    serialize_to_file([(name, view)], None, path).unwrap();
}

pub(super) fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// The tensors of a safetensors file of f32: shape and values by name.
pub(super) fn read(path: &Path) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.tensors()
        .into_iter()
        .map(|(name, view)| {
            assert_eq!(view.dtype(), Dtype::F32);
            let values = view.data().as_chunks().0.iter().map(|&x| f32::from_le_bytes(x)).collect();
            (name, (view.shape().to_vec(), values))
        })
        .collect()
}

/// What is in a folder.
fn entries(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn tensors_of_any_float_type_run_alike() {
    let folder = pixels();
    // Whole numbers are exact in every type.
    let values: Vec<f32> = (0..54_u8).map(f32::from).collect();
    let half = |bits: fn(f32) -> [u8; 2]| values.iter().flat_map(|&x| bits(x)).collect::<Vec<u8>>();
    let files = [
        (Dtype::F32, f32_bytes(&values)),
        (Dtype::F64, values.iter().flat_map(|&x| f64::from(x).to_le_bytes()).collect()),
        (Dtype::F16, half(|x| half::f16::from_f32(x).to_le_bytes())),
        (Dtype::BF16, half(|x| half::bf16::from_f32(x).to_le_bytes())),
    ];
    for (dtype, data) in files {
        write(&folder.path().join("x.safetensors"), "input", dtype, &[2, 3, 3, 3], &data);
        // One sample at a time gives the same as both at once.
        for batch in ["--batch 1", ""] {
            let arguments = "run pixels.yaml --weights w.safetensors --input x.safetensors --output y.safetensors";
            assert_eq!(kwc(folder.path(), &format!("{arguments} {batch}")).assert_ok().stdout, "");
            let outputs = read(&folder.path().join("y.safetensors"));
            assert_eq!(outputs["pixels"], (vec![2, 27], values.clone()), "{dtype:?}");
            // 0 + ... + 8, and 9 * 9 more for each row after it; then the bias.
            let scores: Vec<f32> = (0..6_u8).map(|i| 36.0 + 81.0 * f32::from(i)).collect();
            let bias = [0.5, 0.0, -0.5, 0.5, 0.0, -0.5];
            let scores: Vec<f32> = scores.iter().zip(bias).map(|(s, b)| s + b).collect();
            assert_eq!(outputs["scores"], (vec![2, 3], scores), "{dtype:?}");
        }
    }
}

#[test]
fn a_summary_stands_for_the_output_where_none_is_written() {
    let folder = pixels();
    write(&folder.path().join("x.safetensors"), "input", Dtype::F32, &[1, 3, 3, 3], &f32_bytes(&[1.0; 27]));
    let arguments = "run pixels.yaml --weights w.safetensors --input x.safetensors";
    insta::assert_snapshot!("run_summary", kwc(folder.path(), arguments).assert_ok().stdout);
    let json = kwc(folder.path(), &format!("{arguments} --format json")).assert_ok().json();
    assert_eq!(json["outputs"][0]["name"], "scores");
    assert_eq!(json["outputs"][0]["shape"], serde_json::json!([1, 3]));
    assert_eq!(json["outputs"][0]["samples"][0], serde_json::json!({ "argmax": 0, "first": [9.5, 9.0, 8.5] }));
}

#[test]
fn dumps_may_have_spaces_between_them() {
    let folder = pixels();
    write(&folder.path().join("x.safetensors"), "input", Dtype::F32, &[1, 3, 3, 3], &f32_bytes(&[1.0; 27]));
    let run = |dump: &str| {
        let arguments = "run pixels.yaml --weights w.safetensors --input x.safetensors --output y.safetensors --dump";
        command(folder.path()).args(arguments.split(' ')).arg(dump).output().unwrap()
    };
    assert!(run(" fc , fc").status.success());
    assert_eq!(read(&folder.path().join("y.safetensors"))["act/fc"].0, [1, 3]);
    let output = run("fc, ,fc");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("no path between the commas"));
}

#[test]
fn an_image_is_cropped_around_its_centre_and_normalised() {
    let folder = pixels();
    // Distances (7 - 3) / 2 = 2, (5 - 3) / 2 = 1, (6 - 3) / 2 = 1.5 and (4 - 3) / 2 = 0.5: half goes to the even number.
    for (width, height, left, top) in [(7, 5, 2, 1), (6, 4, 2, 0), (3, 3, 0, 0)] {
        gradient(&folder.path().join("a.png"), width, height);
        let arguments = "run pixels.yaml --weights w.safetensors --input a.png --output y.safetensors";
        kwc(folder.path(), arguments).assert_ok();
        let expected = |channel: u8| {
            (0..9_u8).map(move |i| {
                let (x, y) = (left + i % 3, top + i / 3);
                let value = f32::from([16 * x, 16 * y, x + y][usize::from(channel)]) / 255.0;
                let (mean, std) = ([0.25, 0.5, 0.75][usize::from(channel)], [0.5, 0.25, 0.125][usize::from(channel)]);
                (value - mean) / std
            })
        };
        let expected: Vec<f32> = (0..3).flat_map(expected).collect();
        assert_eq!(read(&folder.path().join("y.safetensors"))["pixels"], (vec![1, 27], expected), "{width} x {height}");
    }
}

#[test]
fn an_image_is_resized_by_its_shorter_side() {
    let folder = pixels();
    let spec = PIXELS.replace("image: {", "image: { resize: 3,");
    std::fs::write(folder.path().join("pixels.yaml"), &spec).unwrap();
    // 7 x 6 blocks of 4 x 4 equal pixels... resized to 3: every channel is linear in x and y, and stays so.
    gradient(&folder.path().join("a.png"), 12, 6);
    kwc(folder.path(), "run pixels.yaml --weights w.safetensors --input a.png --output y.safetensors").assert_ok();
    let outputs = read(&folder.path().join("y.safetensors"));
    // 6 x 3 pixels, of which the columns 2 (1.5 rounded to even), 3 and 4 stay. Inside the image, pixel i of the smaller one
    // is at 2 i + 0.5 of the larger: red is 16 times that.
    for (column, x) in [(0, 2.0_f32), (1, 3.0), (2, 4.0)] {
        let red = (16.0 * (2.0 * x + 0.5)) / 255.0;
        let got = outputs["pixels"].1[column] * 0.5 + 0.25;
        assert!((got - red).abs() <= 0.6 / 255.0, "column {column}: {} instead of {}", got * 255.0, red * 255.0);
    }
}

#[test]
fn a_grey_network_takes_colour_images() {
    let folder = tempfile::tempdir().unwrap();
    let spec = "\
kwc: 1
name: grey
input: { channels: 1, height: 1, width: 1 }
image: { mean: [0], std: [1] }
layers:
  - linear: { name: fc, out: 1, bias: false }
  - flatten
";
    std::fs::write(folder.path().join("grey.yaml"), spec).unwrap();
    let mut state = State::default();
    state.insert("fc.weight", vec![1, 1], vec![255.0]).unwrap();
    let mut file = std::fs::File::create(folder.path().join("w.safetensors")).unwrap();
    state.write_safetensors(&mut file).unwrap();
    image::RgbImage::from_pixel(1, 1, image::Rgb([200, 100, 50])).save(folder.path().join("a.png")).unwrap();
    image::GrayImage::from_pixel(1, 1, image::Luma([77])).save(folder.path().join("b.png")).unwrap();
    kwc(folder.path(), "run grey.yaml --weights w.safetensors --input a.png b.png --output y.safetensors").assert_ok();
    // 0.299 * 200 + 0.587 * 100 + 0.114 * 50 = 124.2
    let (shape, values) = read(&folder.path().join("y.safetensors")).remove("output").unwrap();
    assert_eq!(shape, [2, 1]);
    assert!((values[0] - 124.0).abs() < 1e-3 && (values[1] - 77.0).abs() < 1e-3, "{values:?}");
}

#[test]
fn images_are_classified() {
    let folder = pixels();
    for (name, colour) in [("red", [255, 0, 0]), ("green", [0, 255, 0])] {
        image::RgbImage::from_pixel(4, 4, image::Rgb(colour)).save(folder.path().join(format!("{name}.jpg"))).unwrap();
    }
    let spec = PIXELS.replace("mean: [0.25, 0.5, 0.75], std: [0.5, 0.25, 0.125]", "mean: [0, 0, 0], std: [9, 9, 9]");
    std::fs::write(folder.path().join("pixels.yaml"), spec).unwrap();
    let arguments = "run pixels.yaml --weights w.safetensors --input red.jpg green.jpg";
    let json = kwc(folder.path(), &format!("{arguments} --format json")).assert_ok().json();
    assert_eq!(json["images"][0]["image"], "red.jpg");
    assert_eq!(
        (&json["images"][0]["best"][0]["label"], &json["images"][0]["best"][0]["class"]),
        (&"red".into(), &0.into())
    );
    assert_eq!(json["images"][1]["best"][0]["label"], "green");
    // Sums over 9 pixels of 1 / 9, then the bias: 1.5, 0, -0.5. JPEG moves red by a level or two.
    let expected = 1.5_f64.exp() / (1.5_f64.exp() + 1.0 + (-0.5_f64).exp());
    let got = json["images"][0]["best"][0]["probability"].as_f64().unwrap();
    assert!((got - expected).abs() < 0.01, "{got} instead of {expected}");
    insta::assert_snapshot!("run_images", kwc(folder.path(), arguments).assert_ok().stdout);
}

#[test]
fn wrong_inputs_are_told_apart() {
    let folder = pixels();
    let path = |name: &str| folder.path().join(name);
    let ones = f32_bytes(&[1.0; 27]);
    write(&path("name.safetensors"), "x", Dtype::F32, &[1, 3, 3, 3], &ones);
    write(&path("shape.safetensors"), "input", Dtype::F32, &[3, 1, 3, 3], &ones);
    write(&path("sample.safetensors"), "input", Dtype::F32, &[3, 3, 3], &ones);
    write(&path("type.safetensors"), "input", Dtype::U8, &[1, 3, 3, 3], &[0; 27]);
    write(&path("none.safetensors"), "input", Dtype::F32, &[0, 3, 3, 3], &[]);
    std::fs::write(path("text.safetensors"), "these are no tensors").unwrap();
    std::fs::write(path("text.png"), "this is no image").unwrap();
    std::fs::write(
        path("plain.yaml"),
        PIXELS.lines().filter(|l| !l.starts_with("image")).collect::<Vec<_>>().join("\n"),
    )
    .unwrap();
    gradient(&path("small.png"), 2, 3);
    gradient(&path("a.png"), 3, 3);
    let whole = std::fs::read(path("a.png")).unwrap();
    std::fs::write(path("cut.png"), &whole[..whole.len() - 30]).unwrap();
    // A PNG that says it is 50,000 x 50,000 (bytes 16 to 23), with the checksum of that header.
    let mut huge = whole.clone();
    huge[16..24].copy_from_slice(&[0, 0, 0xC3, 0x50, 0, 0, 0xC3, 0x50]);
    let checksum = crc32(&huge[12..29]).to_be_bytes();
    huge[29..33].copy_from_slice(&checksum);
    std::fs::write(path("huge.png"), &huge).unwrap();

    let mut text = String::new();
    for input in [
        "absent.safetensors",
        "text.safetensors",
        "name.safetensors",
        "shape.safetensors",
        "sample.safetensors",
        "type.safetensors",
        "none.safetensors",
        "a.png name.safetensors",
        "absent.png",
        "text.png",
        "small.png",
        "cut.png",
        "huge.png",
        ".",
    ] {
        let outcome = kwc(
            folder.path(),
            &format!("run pixels.yaml --weights w.safetensors --input {input} --output y.safetensors"),
        );
        outcome.assert_wrong_input();
        text.push_str(&format!("--- {input}\n{}", outcome.stderr));
    }
    let outcome = kwc(folder.path(), "run plain.yaml --weights w.safetensors --input a.png");
    text.push_str(&format!("--- without `image:`\n{}", outcome.assert_wrong_input().stderr));
    let outcome = kwc(folder.path(), "run pixels.yaml --weights w.safetensors --input a.png --dump fcc");
    text.push_str(&format!("--- a dump of nothing\n{}", outcome.assert_wrong_input().stderr));
    insta::assert_snapshot!("run_errors", text);
    assert!(!path("y.safetensors").exists());
}

/// The checksum of PNG, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |c, _| if c & 1 == 1 { 0xEDB8_8320 ^ (c >> 1) } else { c >> 1 })
    })
}

#[test]
fn outputs_are_whole_or_not_there() {
    let folder = pixels();
    let path = |name: &str| folder.path().join(name);
    write(&path("x.safetensors"), "input", Dtype::F32, &[1, 3, 3, 3], &f32_bytes(&[1.0; 27]));
    std::fs::create_dir(path("sub")).unwrap();
    let before = entries(folder.path());
    let input = std::fs::read(path("x.safetensors")).unwrap();
    let weights = std::fs::read(path("w.safetensors")).unwrap();
    let run = "run pixels.yaml --weights w.safetensors --input x.safetensors --output";
    let mut text = String::new();
    for output in
        ["absent/y.safetensors", "sub", ".", "/", "x.safetensors", "sub/../w.safetensors", "./pixels.yaml", "/dev/null"]
    {
        let outcome = kwc(folder.path(), &format!("{run} {output}"));
        outcome.assert_wrong_input();
        let shown = folder.path().canonicalize().unwrap();
        text.push_str(&format!("--- {output}\n{}", outcome.stderr.replace(shown.to_str().unwrap(), "FOLDER")));
    }
    insta::assert_snapshot!("run_output_errors", text);
    // The place is looked at before anything else, even a spec that isn't there.
    let outcome = kwc(folder.path(), "run absent.yaml --weights absent --input absent --output absent/y.safetensors");
    assert!(outcome.assert_wrong_input().stderr.contains("there is no folder `absent`"), "{}", outcome.text());

    // A run that fails leaves what was there.
    std::fs::write(path("y.safetensors"), "old").unwrap();
    kwc(folder.path(), &format!("{run} y.safetensors --set channels=1")).assert_wrong_input();
    assert_eq!(std::fs::read(path("y.safetensors")).unwrap(), b"old");
    kwc(folder.path(), &format!("{run} y.safetensors")).assert_ok();
    assert_eq!(read(&path("y.safetensors"))["pixels"].1, [1.0; 27]);
    std::fs::remove_file(path("y.safetensors")).unwrap();
    assert_eq!(entries(folder.path()), before);
    assert_eq!(std::fs::read(path("x.safetensors")).unwrap(), input);
    assert_eq!(std::fs::read(path("w.safetensors")).unwrap(), weights);
}

#[cfg(unix)]
#[test]
fn an_output_has_the_permissions_of_any_new_file_and_keeps_its_link() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = pixels();
    let path = |name: &str| folder.path().join(name);
    write(&path("x.safetensors"), "input", Dtype::F32, &[1, 3, 3, 3], &f32_bytes(&[1.0; 27]));
    std::fs::write(path("new"), "").unwrap();
    std::fs::create_dir(path("sub")).unwrap();
    std::fs::write(path("sub/target"), "old").unwrap();
    std::os::unix::fs::symlink("sub/target", path("link")).unwrap();
    kwc(folder.path(), "run pixels.yaml --weights w.safetensors --input x.safetensors --output link").assert_ok();
    assert!(path("link").is_symlink());
    assert_eq!(read(&path("sub/target")).len(), 2);
    let mode = |name: &str| std::fs::metadata(path(name)).unwrap().permissions().mode();
    assert_eq!(mode("sub/target"), mode("new"));
}

#[test]
fn dumps_stand_beside_the_outputs() {
    let folder = folder_with("tiny.yaml", super::TINY);
    // The attention of `a` with all logits equal to 1: alpha is 1 / (28 + 0.001) in every mixture.
    let mut state = State::default();
    let zeros = |n: usize| vec![0.0_f32; n];
    let mut insert =
        |name: &str, shape: &[usize], values: Vec<f32>| state.insert(name, shape.to_vec(), values).unwrap();
    insert("warehouse_manager.weights.0", &[27, 8, 4, 1, 1], vec![0.5; 27 * 32]);
    for (layer, mixtures) in [("a", 18), ("b", 36)] {
        let rows = mixtures * 28;
        insert(&format!("{layer}.attention.fc1.weight"), &[16, 8], zeros(16 * 8));
        for (name, value) in [("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)] {
            insert(&format!("{layer}.attention.norm1.{name}"), &[16], vec![value; 16]);
        }
        insert(&format!("{layer}.attention.fc2.weight"), &[rows, 16], zeros(rows * 16));
        insert(&format!("{layer}.attention.fc2.bias"), &[rows], vec![1.0; rows]);
    }
    insert("fc.weight", &[10, 16], zeros(160));
    insert("fc.bias", &[10], zeros(10));
    let mut file = std::fs::File::create(folder.path().join("w.safetensors")).unwrap();
    state.write_safetensors(&mut file).unwrap();
    write(&folder.path().join("x.safetensors"), "input", Dtype::F32, &[3, 8, 6, 6], &f32_bytes(&vec![1.0; 3 * 288]));

    let arguments =
        "run tiny.yaml --weights w.safetensors --input x.safetensors --output y.safetensors --dump a,a.attention";
    kwc(folder.path(), arguments).assert_ok();
    let outputs = read(&folder.path().join("y.safetensors"));
    let names: Vec<&str> = outputs.keys().map(String::as_str).collect();
    assert_eq!(names, ["act/a", "act/a.attention", "output"]);
    let (shape, alpha) = &outputs["act/a.attention"];
    assert_eq!(shape, &[3 * 18, 27]);
    let expected = 1.0 / (28.0 + 0.001);
    assert!(alpha.iter().all(|a| (a - expected).abs() < 1e-6), "{:?}", &alpha[..3]);
    // Every weight of the kernel is 27 * alpha * 0.5; inside the map 72 of them meet ones, in a corner 32.
    let (shape, map) = &outputs["act/a"];
    assert_eq!(shape, &[3, 8, 6, 6]);
    let weight = 27.0 * expected * 0.5;
    assert!((map[7] - 72.0 * weight).abs() < 1e-4 && (map[0] - 32.0 * weight).abs() < 1e-4, "{:?}", &map[..8]);
}
