//! `kwc eval`: accuracy on folders of images.

use std::path::Path;

use kwc_compiler::weights::State;

use super::{folder_with, kwc};

/// Tells colours apart: the score of a class is the mean of one channel.
const COLOURS: &str = "\
kwc: 1
name: colours
params: { classes: 3 }
input: { channels: 3, height: 2, width: 2 }
image: { mean: [0, 0, 0], std: [1, 1, 1] }
layers:
  - global_avg_pool
  - linear: { name: fc, out: $classes, bias: false }
";

pub(super) fn colours() -> tempfile::TempDir {
    let folder = folder_with("colours.yaml", COLOURS);
    let mut state = State::default();
    state.insert("fc.weight", vec![3, 3], vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]).unwrap();
    let mut file = std::fs::File::create(folder.path().join("w.safetensors")).unwrap();
    state.write_safetensors(&mut file).unwrap();
    // Sorted by name: red, green, blue. One green image among the red ones.
    for (path, colour) in [
        ("data/0-red/a.png", [250, 10, 0]),
        ("data/0-red/b.JPEG", [250, 10, 0]),
        ("data/0-red/c.png", [10, 250, 0]),
        ("data/1-green/a.png", [0, 250, 10]),
        ("data/2-blue/a.png", [0, 10, 250]),
    ] {
        save(&folder.path().join(path), colour);
    }
    std::fs::write(folder.path().join("data/2-blue/notes.txt"), "not an image").unwrap();
    std::fs::write(folder.path().join("data/README"), "not a class").unwrap();
    std::fs::create_dir(folder.path().join("data/.cache")).unwrap();
    folder
}

fn save(path: &Path, colour: [u8; 3]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::RgbImage::from_pixel(4, 3, image::Rgb(colour)).save(path).unwrap();
}

pub(super) const EVAL: &str = "eval colours.yaml --weights w.safetensors --data data";

#[test]
fn right_answers_are_counted() {
    let folder = colours();
    for batch in ["", "--batch 1", "--batch 2 --threads 1"] {
        let json = kwc(folder.path(), &format!("{EVAL} --format json {batch}")).assert_ok().json();
        assert_eq!((&json["classes"], &json["images"], &json["unreadable"]), (&3.into(), &5.into(), &0.into()));
        assert_eq!(json["top1"], serde_json::json!({ "right": 4, "fraction": 0.8 }));
        assert_eq!(json["top5"], serde_json::json!({ "right": 5, "fraction": 1.0 }));
    }
    let text = kwc(folder.path(), EVAL).assert_ok().stdout.clone();
    assert!(text.contains("top-1   80.00 %  4 of 5 right") && text.contains("top-5  100.00 %  5 of 5 right"), "{text}");
}

#[test]
fn unreadable_images_are_all_named_and_fail_the_run() {
    let folder = colours();
    std::fs::write(folder.path().join("data/0-red/c.png"), "damaged").unwrap();
    std::fs::write(folder.path().join("data/1-green/b.png"), "").unwrap();
    let outcome = kwc(folder.path(), &format!("{EVAL} --format json"));
    outcome.assert_wrong_input();
    assert_eq!(outcome.json()["top1"], serde_json::json!({ "right": 4, "fraction": 1.0 }));
    assert_eq!(outcome.json()["unreadable"], 2);
    insta::assert_snapshot!("eval_unreadable", outcome.stderr);
}

#[test]
fn data_that_does_not_fit_is_refused() {
    let folder = colours();
    let mut text = String::new();
    let mut refuse = |what: &str, arguments: &str| {
        let outcome = kwc(folder.path(), arguments);
        text.push_str(&format!("--- {what}\n{}", outcome.assert_wrong_input().stderr));
        assert_eq!(outcome.stdout, "");
    };
    refuse("no folder", &EVAL.replace("data data", "data absent"));
    refuse("a file", &EVAL.replace("data data", "data w.safetensors"));
    refuse("no classes", &EVAL.replace("data data", "data data/0-red"));
    refuse("weights of another network", &format!("{EVAL} --set classes=4"));
    std::fs::create_dir(folder.path().join("data/3-empty")).unwrap();
    refuse("a class without images", EVAL);
    save(&folder.path().join("data/3-empty/a.png"), [0, 0, 0]);
    refuse("too many classes", EVAL);
    insta::assert_snapshot!("eval_errors", text);
}
